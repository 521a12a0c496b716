use super::*;
use hardpan_core::audit::report::{Benchmark, Profile, RuleResult, Target, Tool, Waiver};
use hardpan_core::audit::{Host, Outcome};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn report(results: &[(&str, Verdict)], ended: i64) -> Report {
    Report {
        tool: Tool {
            name: "hardpan".into(),
            version: "0".into(),
        },
        target: Target {
            host: Host {
                name: "web01".into(),
                ..Host::default()
            },
            ..Target::default()
        },
        benchmark: Benchmark {
            id: "cis-rhel9".into(),
            version: "2.0.0".into(),
            title: "t".into(),
        },
        profile: Profile {
            id: "cis-l1-server".into(),
            title: "t".into(),
        },
        started: ended,
        ended,
        warnings: Vec::new(),
        rules: results
            .iter()
            .map(|(control, result)| {
                let mut rule =
                    RuleResult::new(*control, "a title", Outcome::of(*result, "because of a file"));
                rule.remedy = "put it right".into();
                rule
            })
            .collect(),
        diff: None,
    }
}

/// The same from another release.
fn of_release(mut report: Report, os_version: &str) -> Report {
    report.target.host.os_id = "rocky".into();
    report.target.host.os_version = os_version.into();
    report.target.host.os_name = format!("Rocky Linux {os_version}");
    report
}

#[test]
fn an_upgraded_host_is_audited_at_once_and_nobody_is_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), "cis-l1-server");
    let results = |verdict| report(&[("1.1", verdict)], 100);
    drift(&file, &of_release(results(Verdict::Pass), "8.10"));
    fs::create_dir(dir.path().join("etc")).unwrap();
    let os_release = |version| {
        let text = format!("ID=rocky\nVERSION_ID=\"{version}\"\n");
        fs::write(dir.path().join("etc/os-release"), text).unwrap();
    };
    os_release("8.10");
    assert_eq!(last_run(&file, dir.path()), Some(100));
    os_release("9.6");
    assert_eq!(
        last_run(&file, dir.path()),
        None,
        "a result of EL 8 says nothing about EL 9"
    );
    let told = drift(&file, &of_release(results(Verdict::Fail), "9.6"));
    assert_eq!(codes(&told), ["audit-done"]);
    assert!(
        told[0]
            .message
            .ends_with("the last run was of Rocky Linux 8.10: baseline renewed"),
        "{}",
        told[0].message
    );
    // A minor release is the same system.
    let told = drift(&file, &of_release(results(Verdict::Pass), "9.7"));
    assert_eq!(codes(&told), ["audit-fixed", "audit-done"]);
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.code.word()).collect()
}

#[test]
fn what_changed_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir.path().join("new"), "cis-l1-server@2.0.0");
    assert!(file.ends_with("cis-l1-server@2.0.0.json"));
    let first = report(
        &[
            ("1.1", Verdict::Pass),
            ("1.2", Verdict::Fail),
            ("1.3", Verdict::Pass),
            ("1.4", Verdict::NotApplicable),
        ],
        100,
    );
    let told = drift(&file, &first);
    assert_eq!(codes(&told), ["audit-done"]);
    assert!(told[0].message.ends_with("first run"), "{}", told[0].message);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "evidence is for root only");

    let mut second = report(
        &[
            ("1.1", Verdict::Fail),
            ("1.2", Verdict::Pass),
            ("1.3", Verdict::Pass),
            ("1.4", Verdict::NotChecked),
            ("1.5", Verdict::Fail),
        ],
        200,
    );
    second.rules[0].waiver = Some(Waiver {
        reason: "r".into(),
        owner: "o".into(),
        expires: "2099-01-01".into(),
        expired: false,
    });
    let told = drift(&file, &second);
    assert_eq!(
        codes(&told),
        ["audit-regressed", "audit-fixed", "audit-changed", "audit-done"]
    );
    assert_eq!(
        told[0].message,
        "cis-rhel9 1.1: a title was pass, is fail: because of a file (waived)"
    );
    assert_eq!(told[0].hint.as_deref(), Some("put it right"));
    assert_eq!(told[3].count, Some(2));
    assert!(
        told[3]
            .message
            .contains("1 regressed, 1 fixed, 1 changed, 1 added, 1 unchanged"),
        "{}",
        told[3].message
    );
    assert_eq!(codes(&drift(&file, &second)), ["audit-done"], "nothing new");
}

#[test]
fn a_kept_result_that_others_may_change_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), "stig");
    let now = report(&[("1.1", Verdict::Fail)], 200);
    drift(&file, &now);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(last_run(&file, dir.path()), None);
    assert_eq!(codes(&drift(&file, &now)), ["audit-failed", "audit-done"]);
    fs::write(&file, "{").unwrap();
    assert_eq!(codes(&drift(&file, &now)), ["audit-failed", "audit-done"]);
    assert_eq!(last_run(&file, dir.path()), Some(200), "it was replaced");
    drift(&file, &report(&[], now_s() + 1000));
    assert_eq!(
        last_run(&file, dir.path()),
        None,
        "a clock that ran ahead must not stop audits"
    );
}

#[test]
fn a_result_that_cannot_be_kept_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let told = drift(
        &file(&dir.path().join("file"), "stig"),
        &report(&[("1.1", Verdict::Fail)], 1),
    );
    assert_eq!(told.last().unwrap().code, FindingCode::AuditFailed);
}

/// A program that answers as a child does.
fn child(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("child");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn config(dir: &Path) -> Audit {
    Audit {
        profile: Some("cis-l1-server".into()),
        jitter: Duration::ZERO,
        dir: dir.join("state"),
        interval: Duration::from_secs(86_400),
        ..crate::config::Config::default().audit
    }
}

#[tokio::test]
async fn a_run_is_due_at_once_and_then_after_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let answer = dir.path().join("answer.json");
    let now = report(&[("1.1", Verdict::Pass)], now_s());
    fs::write(&answer, now.render(Format::Json, TableStyle::default()).unwrap()).unwrap();
    let runs = dir.path().join("runs");
    let program = child(
        dir.path(),
        &format!(
            "echo run >> {}; exec /bin/cat {}",
            runs.display(),
            answer.display()
        ),
    );
    for _start in 0..2 {
        let (updates, mut audits) = mpsc::channel(1);
        let root = dir.path().to_owned();
        let keeper = tokio::spawn(keep(program.clone(), config(dir.path()), root, updates));
        if let Ok(Some(findings)) = tokio::time::timeout(Duration::from_secs(2), audits.recv()).await {
            assert_eq!(codes(&findings), ["audit-done"]);
        }
        drop(audits);
        keeper.await.unwrap();
    }
    let runs = fs::read_to_string(runs).unwrap();
    assert_eq!(runs, "run\n", "a restart is no reason for another run");
}

#[tokio::test]
async fn an_audit_that_fails_or_hangs_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (script, said) in [
        ("echo no such root >&2; exit 3", "exit status: 3: no such root"),
        ("echo '{'", "the answer of the process that audits"),
        ("exec sleep 100", "took longer than 1 s"),
    ] {
        let program = child(dir.path(), script);
        let audit = Audit {
            timeout: Duration::from_secs(1),
            ..config(dir.path())
        };
        let (updates, mut audits) = mpsc::channel(1);
        let keeper = tokio::spawn(keep(program, audit, "/".into(), updates));
        let findings = audits.recv().await.unwrap();
        assert_eq!(codes(&findings), ["audit-failed"]);
        assert!(findings[0].message.contains(said), "{}", findings[0].message);
        drop(audits);
        keeper.await.unwrap();
    }
}

#[tokio::test]
async fn without_a_profile_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit {
        profile: None,
        ..config(dir.path())
    };
    let (updates, mut audits) = mpsc::channel(1);
    let keeper = tokio::spawn(keep("/nonexistent".into(), audit, "/".into(), updates));
    let waited = tokio::time::timeout(Duration::from_millis(200), audits.recv()).await;
    assert!(waited.is_err(), "{waited:?}");
    drop(audits);
    keeper.await.unwrap();
}
