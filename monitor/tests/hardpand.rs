//! `hardpand` and `hardpan` as processes: usage, configuration, the reader of the package database, exit codes.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use hardpan::config::{Config, Trust};
use hardpan::trust::{LoadedTrust, Reading, SeenTrust, TrustError, read_with};
use hardpan_core::record::FindingCode;
use hardpan_core::verdict::{Subject, judge};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const HARDPAND: &str = env!("CARGO_BIN_EXE_hardpand");
const HARDPAN: &str = env!("CARGO_BIN_EXE_hardpan");

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env_remove("HARDPAN_BPF_OBJECT")
        .output()
        .unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, on_stderr: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(on_stderr), "{stderr}");
}

#[test]
fn help_has_examples_and_wrong_usage_is_2() {
    for program in [HARDPAND, HARDPAN] {
        let help = run(program, &["--help"]);
        check(&help, 0, "");
        let text = String::from_utf8_lossy(&help.stdout);
        assert!(
            text.contains("Examples:") && text.contains("Exit codes:"),
            "{text}"
        );
        check(&run(program, &["--no-such-flag"]), 2, "--no-such-flag");
    }
}

#[test]
fn the_printed_configuration_is_usable() {
    let printed = run(HARDPAND, &["--print-config"]);
    check(&printed, 0, "");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hardpan.toml");
    fs::write(&file, printed.stdout).unwrap();
    check(
        &run(HARDPAND, &["--config", file.to_str().unwrap(), "--check"]),
        0,
        "",
    );
}

#[test]
fn configuration_mistakes_are_2_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hardpan.toml");
    fs::write(&file, "[record]\nexce = 'all'\n").unwrap();
    let output = run(HARDPAND, &["--config", file.to_str().unwrap(), "--check"]);
    check(
        &output,
        2,
        &format!("{}:2: unknown key \"record.exce\"", file.display()),
    );
    check(&output, 2, "hint: did you mean \"record.exec\"?");
    check(
        &run(HARDPAND, &["--config", "/nonexistent/x", "--check"]),
        2,
        "cannot read /nonexistent/x",
    );
}

#[test]
fn what_it_cannot_do_is_3() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hardpan.toml");
    fs::write(&file, "[sensor]\ntask_response = 'record'\n").unwrap();
    let arguments = ["--config", file.to_str().unwrap(), "--output", "-"];
    if !nix::unistd::Uid::effective().is_root() {
        check(&run(HARDPAND, &arguments), 3, "hint: run it with sudo");
        println!("skipped: the part that needs root");
        return;
    }
    // A copy where nobody can be kept from reading it.
    let copy = PathBuf::from(format!("/tmp/hardpand-test-{}", std::process::id()));
    fs::copy(HARDPAND, &copy).unwrap();
    let output = Command::new(&copy)
        .arg("--output")
        .arg("-")
        .uid(65534)
        .gid(65534)
        .output();
    fs::remove_file(&copy).unwrap();
    check(&output.unwrap(), 3, "hint: run it with sudo");
    if option_env!("HARDPAN_BPF_OBJECT").is_none() && !Path::new("/usr/lib/hardpan/hardpan-ebpf").exists() {
        check(&run(HARDPAND, &arguments), 3, "cargo xtask ebpf");
    }
    let nowhere = Command::new(HARDPAND)
        .args(arguments)
        .env("HARDPAN_BPF_OBJECT", "/nonexistent/object")
        .output();
    check(&nowhere.unwrap(), 3, "/nonexistent/object");
}

#[test]
fn the_child_refuses_what_is_no_job() {
    check(
        &run(HARDPAND, &["--trust-child"]),
        3,
        "not meant to be started by hand",
    );
}

/// A root with this database, or `None` where the shared data is not at hand.
fn root_with(database: &str, name: &str) -> Option<tempfile::TempDir> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("var/lib/rpm");
    fs::create_dir_all(&dir).unwrap();
    if fs::copy(shared.join("rpmdb").join(database), dir.join(name)).is_err() {
        println!("skipped: no shared data");
        return None;
    }
    let keys = root.path().join("etc/pki/rpm-gpg");
    fs::create_dir_all(&keys).unwrap();
    for key in fs::read_dir(shared.join("keys")).unwrap() {
        let key = key.unwrap();
        fs::copy(key.path(), keys.join(key.file_name())).unwrap();
    }
    Some(root)
}

fn trust_of(root: &Path) -> Trust {
    Trust {
        root: root.to_owned(),
        // Nowhere, for the running system.
        state_dir: if root == Path::new("/") {
            "/dev/null/state".into()
        } else {
            root.join("state")
        },
        pins: vec![],
        keyring: vec![root.join("etc/pki/rpm-gpg")],
        ..Config::default().trust
    }
}

#[tokio::test]
async fn a_forged_digest_is_not_trusted_and_the_package_is_named() {
    let Some(root) = root_with("el9-TAMPERED-dribble-filedigests.rpmdb.sqlite", "rpmdb.sqlite") else {
        return;
    };
    let reading = read_with(Path::new(HARDPAND), &trust_of(root.path()), None)
        .await
        .unwrap();
    assert!(reading.trust.state.loaded, "{:?}", reading.trust.state);
    let tampered: Vec<_> = reading
        .findings
        .iter()
        .filter(|f| f.code == FindingCode::RpmdbTampered)
        .collect();
    assert_eq!(tampered.len(), 1, "{:?}", reading.findings);
    assert_eq!(tampered[0].packages, ["almalinux-release-9.3-1.el9.x86_64"]);
    // The unsigned entry claims this digest, and stock rpm believes it.
    let database = fs::read(root.path().join("var/lib/rpm/rpmdb.sqlite")).unwrap();
    let forged = "f".repeat(64);
    assert!(database.windows(64).any(|window| window == forged.as_bytes()));
    assert!(reading.trust.index.lookup(&[0xff; 32]).is_none());
    // Read again with the first reading as the previous one: nothing retires.
    let again = read_with(Path::new(HARDPAND), &trust_of(root.path()), Some(&reading.trust))
        .await
        .unwrap();
    assert_eq!(again.trust.index.n_digests(), reading.trust.index.n_digests());
}

/// The second start takes what the first one stored, also the findings.
#[tokio::test]
async fn a_start_takes_the_stored_reading() {
    let Some(root) = root_with("el9-TAMPERED-dribble-filedigests.rpmdb.sqlite", "rpmdb.sqlite") else {
        return;
    };
    let config = trust_of(root.path());
    let store = root.path().join("state/trust.index");
    let read = async || read_with(Path::new(HARDPAND), &config, None).await.unwrap();
    let first = read().await;
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let stored = inode(&store);
    let second = read().await;
    assert_eq!(inode(&store), stored, "it was not written again");
    let codes = |reading: &Reading| reading.findings.iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(&second), codes(&first));
    assert_eq!(second.trust.index.as_bytes(), first.trust.index.as_bytes());
    // A database with another time of change is read again.
    let database = root.path().join("var/lib/rpm/rpmdb.sqlite");
    let file = fs::File::options().write(true).open(database).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    read().await;
    assert_ne!(inode(&store), stored);
}

/// A running daemon hands its next child what the last one found good; a new one starts with nothing.
#[tokio::test]
async fn signatures_are_computed_once_in_a_daemons_life() {
    let Some(root) = root_with("el9-content-rpm4.18.rpmdb.sqlite", "rpmdb.sqlite") else {
        return;
    };
    let config = trust_of(root.path());
    let read = async |config: &Trust, previous: Option<&Reading>| {
        let trust = previous.map(|reading| &reading.trust);
        read_with(Path::new(HARDPAND), config, trust).await.unwrap()
    };
    let counts = |reading: &Reading| {
        let proven = &reading.trust.proven;
        (proven.n_computed(), proven.n_recalled())
    };
    let touch = || {
        let database = root.path().join("var/lib/rpm/rpmdb.sqlite");
        let file = fs::File::options().write(true).open(database).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    };
    let first = read(&config, None).await;
    assert_eq!(counts(&first), (4, 0));
    touch();
    let second = read(&config, Some(&first)).await;
    assert_eq!(counts(&second), (0, 4));
    assert_eq!(
        second.trust.state.packages_verified,
        first.trust.state.packages_verified
    );
    // Nothing has changed: the stored reading, and what is known stays known.
    let third = read(&config, Some(&second)).await;
    assert_eq!(counts(&third), (0, 4));
    // A daemon that starts finds the reading, but no word about signatures in it.
    let started = read(&config, None).await;
    assert_eq!((counts(&started), started.trust.proven.n_facts()), ((0, 0), 0));
    touch();
    assert_eq!(counts(&read(&config, Some(&started)).await), (4, 0));
    // Other pins.
    let fewer = Trust {
        key_sets: Some(vec!["almalinux".to_owned()]),
        ..trust_of(root.path())
    };
    touch();
    assert_eq!(counts(&read(&fewer, Some(&second)).await), (3, 0));
    let stored = fs::read(root.path().join("state/trust.index")).unwrap();
    let proven = second.trust.proven.to_bytes();
    assert!(
        !stored.windows(8).any(|window| window == &proven[..8]),
        "facts are in no file"
    );
}

/// A bar on a terminal, drawn over and gone at the end; data and pipes stay free of it.
#[test]
fn verify_shows_its_progress_on_a_terminal_only() {
    let Some(root) = root_with("centos8-modularity.Packages", "Packages") else {
        return;
    };
    let place = root.path().to_str().unwrap();
    let piped = run(HARDPAN, &["verify", "--root", place, "--json"]);
    check(&piped, 1, "");
    assert!(!String::from_utf8_lossy(&piped.stderr).contains('░'));
    let typed = format!("{HARDPAN} verify --root {place} --json");
    let script = Command::new("script")
        .env("TERM", "xterm")
        .args(["--quiet", "--return", "--command", &typed, "/dev/null"])
        .output();
    let Ok(output) = script else {
        println!("skipped: no script(1) to make a terminal");
        return;
    };
    let shown = String::from_utf8_lossy(&output.stdout);
    let bar = shown.split('\r').find(|part| part.contains('░'));
    let bar = bar.unwrap_or_else(|| panic!("no bar: {shown:.500}"));
    assert!(
        bar.contains(" files, ") && bar.contains(" hashed, "),
        "{bar:.500}"
    );
    assert!(!shown.contains(" 0/0 files"), "{shown:.500}");
    // What is left when it has ended is the data.
    let left = shown.rsplit("\u{1b}[2K").next().unwrap_or_default();
    let data = String::from_utf8(piped.stdout).unwrap();
    assert!(data.lines().count() > 1000, "{data:.500}");
    assert!(left.lines().eq(data.lines()), "{left:.500}");
}

/// From the key to the verdict, with the commands that an operator types.
#[tokio::test]
async fn the_daemon_honours_manifests() {
    let Some(root) = root_with("el9-content-rpm4.18.rpmdb.sqlite", "rpmdb.sqlite") else {
        return;
    };
    let path = |name: &str| root.path().join(name);
    let key = path("key.pem");
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(&key)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no openssl");
        return;
    }
    let (keys, state) = (path("keys.d"), path("state"));
    fs::create_dir_all(&keys).unwrap();
    fs::create_dir_all(path("opt")).unwrap();
    for (name, content) in [("signed", "one"), ("own", "two"), ("stranger", "three")] {
        fs::write(path("opt").join(name), content).unwrap();
    }
    fs::write(path("empty.toml"), "").unwrap();
    let hardpan = |words: &[&str]| {
        let words: Vec<String> = words
            .iter()
            .map(|word| word.replace('@', root.path().to_str().unwrap()))
            .collect();
        let output = run(HARDPAN, &words.iter().map(String::as_str).collect::<Vec<_>>());
        check(&output, 0, "");
        output.stdout
    };
    let public = hardpan(&["trust", "pubkey", "--key", "@/key.pem", "--name", "Release team"]);
    let sign = [
        "trust",
        "sign",
        "--key",
        "@/key.pem",
        "--serial",
        "7",
        "--expires",
        "2099-12-31",
    ];
    let about = [
        "--target",
        "*",
        "--name",
        "tools",
        "@/opt/signed",
        "-o",
        "@/tools.hpm",
    ];
    hardpan(&[&sign[..], &about].concat());
    let here = [
        "--keys-dir",
        "@/keys.d",
        "--state-dir",
        "@/state",
        "--config",
        "@/empty.toml",
    ];
    fs::write(keys.join("release.hpkey"), &public).unwrap();
    hardpan(&[&["trust", "add", "@/tools.hpm"][..], &here].concat());
    hardpan(&[&["trust", "add", "@/opt/own", "--name", "own"][..], &here].concat());
    let config = Trust {
        pins: vec![keys.clone()],
        state_dir: state,
        ..trust_of(root.path())
    };
    let reading = read_with(Path::new(HARDPAND), &config, None).await.unwrap();
    let refused = |reading: &Reading| {
        let codes = reading.findings.iter().map(|finding| finding.code.word());
        codes.collect::<Vec<_>>()
    };
    assert_eq!(refused(&reading), [""; 0]);
    let verdict = |trust: &LoadedTrust, content: &str, accepts_local_unsigned| {
        let digest = hardpan::crypto::sha256(content.as_bytes());
        let subject = Subject {
            digest: Ok(&digest),
            host_path: Some(b"/opt/somewhere"),
            no_link: false,
        };
        let seen = SeenTrust {
            trust,
            accepts_local_unsigned,
            expected: &hardpan::trust::ExpectedFiles::new(),
            lockers: None,
        };
        let verdict = judge(&subject, Some(&seen));
        let origin = verdict.owner().map_or("nobody's", |file| file.origin.word());
        format!("{}, {origin}", verdict.word())
    };
    assert_eq!(verdict(&reading.trust, "one", false), "trusted, local");
    assert_eq!(verdict(&reading.trust, "two", true), "trusted, local-unsigned");
    assert_eq!(verdict(&reading.trust, "two", false), "untrusted, nobody's");
    assert_eq!(verdict(&reading.trust, "three", true), "untrusted, nobody's");
    // The key is withdrawn: the manifest counts no more, and a finding says so.
    fs::remove_file(keys.join("release.hpkey")).unwrap();
    let reading = read_with(Path::new(HARDPAND), &config, Some(&reading.trust))
        .await
        .unwrap();
    assert_eq!(verdict(&reading.trust, "one", false), "untrusted, nobody's");
    assert_eq!(refused(&reading), ["manifest-refused"]);
}

#[tokio::test]
async fn bad_databases_are_told_and_named() {
    let check = async |root: &Path, expected: &str| {
        let error = read_with(Path::new(HARDPAND), &trust_of(root), None)
            .await
            .unwrap_err();
        let TrustError::Refused { complaint } = error else {
            panic!("{error:?}")
        };
        assert!(complaint.to_lowercase().contains(expected), "{complaint}");
        assert!(
            complaint.contains(root.to_str().unwrap()),
            "names no file: {complaint}"
        );
    };
    let empty = tempfile::tempdir().unwrap();
    check(empty.path(), "rpm").await;
    check(Path::new("/nonexistent-root"), "root").await;
    let Some(root) = root_with("sle15-bci.ndb.Packages.db", "Packages.db") else {
        return;
    };
    check(root.path(), "ndb").await;
    let Some(root) = root_with("el9-content-rpm4.18.rpmdb.sqlite", "rpmdb.sqlite") else {
        return;
    };
    let file = root.path().join("var/lib/rpm/rpmdb.sqlite");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..50]).unwrap();
    check(root.path(), "rpmdb.sqlite").await;
    fs::write(&file, vec![0x5a; 8192]).unwrap();
    check(root.path(), "rpmdb.sqlite").await;
}

#[tokio::test]
async fn a_child_that_takes_too_long_is_ended() {
    let config = Trust {
        timeout: std::time::Duration::ZERO,
        ..trust_of(Path::new("/"))
    };
    let error = read_with(Path::new(HARDPAND), &config, None).await.unwrap_err();
    assert!(matches!(error, TrustError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_child_that_is_no_hardpand() {
    let config = trust_of(Path::new("/"));
    let error = read_with(Path::new("/nonexistent"), &config, None)
        .await
        .unwrap_err();
    assert!(matches!(error, TrustError::Spawn(_)), "{error:?}");
    let error = read_with(Path::new("/bin/false"), &config, None)
        .await
        .unwrap_err();
    assert!(matches!(error, TrustError::Died { .. }), "{error:?}");
    let error = read_with(Path::new("/bin/true"), &config, None)
        .await
        .unwrap_err();
    assert!(matches!(error, TrustError::Answer(_)), "{error:?}");
}
