//! The process in which hardpand audits: a real one, on a small root.
#![expect(clippy::unwrap_used, reason = "tests")]

use hardpan::audit::child::{Job, JobError, run_job};
use hardpan_core::audit::Verdict;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const HARDPAND: &str = env!("CARGO_BIN_EXE_hardpand");

fn root() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "etc/os-release",
        "ID=rocky\nID_LIKE=\"rhel\"\nVERSION_ID=9.6\nPRETTY_NAME=\"Rocky Linux 9.6\"\n",
    );
    write("etc/sysctl.d/60-x.conf", "kernel.yama.ptrace_scope = 1\n");
    dir
}

fn job(root: &Path) -> Job {
    Job {
        root: root.to_owned(),
        profile: "cis-l1-server@2.0.0".into(),
        waivers: None,
        tailoring: None,
        sweeps: true,
    }
}

async fn run(job: &Job) -> Result<hardpan_core::audit::report::Report, JobError> {
    run_job(Path::new(HARDPAND), job, Duration::from_secs(60)).await
}

fn complaint(error: JobError) -> String {
    match error {
        JobError::Ended { status, complaint } => format!("{status}: {complaint}"),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn a_child_audits() {
    let dir = root();
    let waivers: PathBuf = dir.path().join("waivers.toml");
    fs::write(
        &waivers,
        "[[waiver]]\ncontrol = \"1.5.1\"\nreason = \"r\"\nowner = \"o\"\nexpires = \"2999-01-01\"\n",
    )
    .unwrap();
    fs::set_permissions(&waivers, fs::Permissions::from_mode(0o600)).unwrap();
    let with_waivers = Job {
        waivers: Some(waivers.clone()),
        ..job(dir.path())
    };
    let report = run(&with_waivers).await.unwrap();
    let of = |control: &str| report.rules.iter().find(|rule| rule.control == control).unwrap();
    assert_eq!(of("1.5.2").result(), Verdict::Pass, "{:?}", of("1.5.2"));
    assert_eq!(of("1.5.1").result(), Verdict::Fail);
    assert!(of("1.5.1").accepted().is_some());
    assert_eq!(report.benchmark.version, "2.0.0");

    // Whoever may write the waivers could accept failures in the owner's name.
    fs::set_permissions(&waivers, fs::Permissions::from_mode(0o666)).unwrap();
    let error = complaint(run(&with_waivers).await.unwrap_err());
    assert!(
        error.contains("exit status: 3") && error.contains("is refused"),
        "{error}"
    );
}

#[tokio::test]
async fn a_child_says_what_is_wrong() {
    let dir = root();
    for (job, said) in [
        (
            Job {
                root: "/nonexistent/root".into(),
                ..job(dir.path())
            },
            "cannot open the root /nonexistent/root",
        ),
        (
            Job {
                profile: "moon".into(),
                ..job(dir.path())
            },
            "must be one of cis-l1-server",
        ),
        (
            Job {
                profile: "cis-l1-server@9.9.9".into(),
                ..job(dir.path())
            },
            "no benchmark of profile cis-l1-server@9.9.9",
        ),
        (
            Job {
                tailoring: Some("/nonexistent/tailoring".into()),
                ..job(dir.path())
            },
            "cannot read /nonexistent/tailoring",
        ),
    ] {
        let error = complaint(run(&job).await.unwrap_err());
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn it_is_not_started_by_hand() {
    let output = Command::new(HARDPAND).arg("--audit-child").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not meant to be started by hand"));
}
