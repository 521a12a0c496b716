use super::*;
use clap::Parser;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    verify: VerifyArgs,
}

fn shared_data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data")
        .join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data ({})", path.display());
    None
}

/// A root with the database of one RHEL 8 package, libuuid, and none of its files.
fn bench() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("var/lib/rpm")).unwrap();
    let database = shared_data("rpmdb/rhel8-libuuid.Packages")?;
    fs::copy(database, dir.path().join("var/lib/rpm/Packages")).unwrap();
    fs::write(dir.path().join("hardpan.toml"), "").unwrap();
    Some(dir)
}

fn verify_in(dir: &Path, arguments: &[&str]) -> Result<Answer, Failure> {
    let keyring = shared_data("keys/RPM-GPG-KEY-redhat8-release").unwrap();
    let config = dir.join("hardpan.toml");
    let sight = [
        "--root",
        dir.to_str().unwrap(),
        "--keyring",
        keyring.to_str().unwrap(),
        "--config",
    ];
    let all = ["x"]
        .iter()
        .chain(arguments)
        .chain(&sight)
        .copied()
        .chain([config.to_str().unwrap()]);
    answer(&Cli::try_parse_from(all).unwrap().verify)
}

fn lines(answer: &Answer) -> Vec<Value> {
    answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const LIBRARY: &str = "usr/lib64/libuuid.so.1.3.0";

#[test]
fn arguments_are_consistent() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}

#[test]
fn missing_and_changed_files_are_shown_as_rpm_does() {
    let Some(dir) = bench() else { return };
    let answer = verify_in(dir.path(), &[]).unwrap();
    assert_eq!(answer.exit, Exit::Findings);
    assert!(
        answer.text.contains("missing     /usr/lib64/libuuid.so.1.3.0\n"),
        "{}",
        answer.text
    );
    fs::create_dir_all(dir.path().join("usr/lib64")).unwrap();
    fs::write(dir.path().join(LIBRARY), "changed").unwrap();
    let answer = verify_in(dir.path(), &["/usr/lib64/libuuid.so.1.3.0"]).unwrap();
    let line = answer.text.lines().next().unwrap();
    assert!(
        line.starts_with("SM5.") && line.ends_with("  /usr/lib64/libuuid.so.1.3.0"),
        "{line}"
    );
    assert_eq!(answer.text.lines().count(), 1, "{}", answer.text);
}

#[test]
fn json_has_a_summary_and_the_signer_counts() {
    let Some(dir) = bench() else { return };
    let answer = verify_in(dir.path(), &["--json", "libuuid"]).unwrap();
    let lines = lines(&answer);
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["kind"], &summary["verified"]),
        (&"summary".into(), &1.into())
    );
    let files: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "file").collect();
    assert_eq!(Some(files.len() as u64), summary["missing"].as_u64());
    assert!(files.iter().all(|file| file["verified"] == true));
}

#[test]
fn what_does_not_exist_could_not_be_looked_at() {
    let Some(dir) = bench() else { return };
    for target in ["no-such-package", "/no/such/path"] {
        let failure = verify_in(dir.path(), &[target]).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.error.to_string().contains(target), "{}", failure.error);
    }
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("hardpan.toml"), "").unwrap();
    assert_eq!(verify_in(empty.path(), &[]).unwrap_err().exit, Exit::Failed);
}

#[test]
fn strangers_in_system_directories() {
    let Some(dir) = bench() else { return };
    let put = |path: &str, mode: u32| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.to_str().unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    put(LIBRARY, 0o755);
    put("usr/bin/root-shell", 0o4755);
    put("usr/lib64/deep/plugin.so.1", 0o644);
    put("usr/lib/modules/5/extra/evil.ko.xz", 0o644);
    put("usr/share/tool", 0o755);
    put("usr/bin/readme", 0o644);
    std::os::unix::fs::symlink("/etc", dir.path().join("usr/bin/link")).unwrap();
    let strangers = |arguments: &[&str]| {
        let answer = verify_in(dir.path(), &[&["--json", "--unowned"], arguments].concat()).unwrap();
        let paths =
            |line: Value| (line["kind"] == "unowned").then(|| line["path"].as_str().unwrap().to_owned());
        lines(&answer).into_iter().filter_map(paths).collect::<Vec<_>>()
    };
    assert_eq!(
        strangers(&[]),
        [
            "/usr/bin/root-shell",
            "/usr/lib/modules/5/extra/evil.ko.xz",
            "/usr/lib64/deep/plugin.so.1"
        ]
    );
    assert_eq!(strangers(&["/usr/lib64"]), ["/usr/lib64/deep/plugin.so.1"]);
    let table = verify_in(dir.path(), &["--unowned"]).unwrap().text;
    let line = "unowned     /usr/bin/root-shell (set-user-id or set-group-id, mode 4755)\n";
    assert!(table.contains(line), "{table}");
}
