use super::*;
use clap::Parser;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    trust: TrustArgs,
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

/// A place for a root, keys and state.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        bench.write("hardpan.toml", b"");
        bench.write("root/etc/os-release", b"ID=almalinux\nVERSION_ID=9.3\n");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Puts a package database into the root; `None` without data.
    fn database(&self, name: &str, file: &str) -> Option<()> {
        let bytes = fs::read(shared_data(&format!("rpmdb/{name}"))?).unwrap();
        self.write(&format!("root/var/lib/rpm/{file}"), &bytes);
        Some(())
    }

    /// Runs a command with state and keys in this place.
    fn run(&self, arguments: &[&str]) -> Result<Answer, Failure> {
        let at = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let state = [
            "--state-dir",
            &at("state"),
            "--keys-dir",
            &at("keys.d"),
            "--config",
            &at("hardpan.toml"),
        ];
        let needs_state = !matches!(arguments[0], "sign" | "pubkey");
        let all = ["trust"]
            .iter()
            .chain(arguments)
            .chain(if needs_state { state.as_slice() } else { &[] });
        answer(
            &Cli::try_parse_from(all)
                .map_err(|error| panic!("{error}"))
                .unwrap()
                .trust,
        )
    }

    /// The same, looking at the root and with all published keys.
    fn look(&self, arguments: &[&str]) -> Answer {
        let root = self.path("root");
        let keyring = shared_data("keys").unwrap();
        let sight = [
            "--root",
            root.to_str().unwrap(),
            "--keyring",
            keyring.to_str().unwrap(),
        ];
        self.run(&[arguments, sight.as_slice()].concat()).unwrap()
    }

    fn whence(&self, path: &str) -> (Value, Exit) {
        let answer = self.look(&["whence", "--json", path]);
        (serde_json::from_str(&answer.text).unwrap(), answer.exit)
    }

    #[track_caller]
    fn check_state(&self, path: &str, state: &str, exit: Exit) -> Value {
        let (json, found) = self.whence(path);
        assert_eq!(
            (json["state"].as_str().unwrap(), found),
            (state, exit),
            "{json:#}"
        );
        json
    }

    /// A private key of openssl, and its public half among the host's keys; `None` without openssl.
    fn key(&self, name: &str, algorithm: &[&str]) -> Option<PathBuf> {
        let path = self.path(&format!("{name}.pem"));
        let output = Command::new("openssl")
            .arg("genpkey")
            .args(algorithm)
            .arg("-out")
            .arg(&path)
            .output();
        match output {
            Ok(output) => assert!(output.status.success()),
            Err(error) => {
                println!("skipped: no openssl ({error})");
                return None;
            }
        }
        let public = self
            .run(&["pubkey", "--key", path.to_str().unwrap(), "--name", name])
            .unwrap();
        self.write(&format!("keys.d/{name}.hpkey"), public.text.as_bytes());
        Some(path)
    }
}

fn refused(outcome: Result<Answer, Failure>, exit: Exit, expected: &str) -> Failure {
    let failure = outcome.expect_err("it should have been refused");
    let text = sight::chain(&*failure.error);
    assert!(text.contains(expected), "{text}");
    assert_eq!(failure.exit, exit, "{text}");
    failure
}

#[test]
fn arguments_are_consistent() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
    // A path after the scopes would be taken for a scope.
    assert!(Cli::try_parse_from(["x", "keys", "pin", "AB", "--scope", "a*", "b*", "--name", "n"]).is_ok());
    assert!(Cli::try_parse_from(["x", "keys", "pin", "AB", "--name", "n"]).is_err());
    assert!(Cli::try_parse_from(["x", "list", "--foreign", "--findings"]).is_err());
    assert!(Cli::try_parse_from(["x", "whence"]).is_err());
}

#[test]
fn states_of_files() {
    let bench = Bench::new();
    let Some(()) = bench.database("el9-content-rpm4.18.rpmdb.sqlite", "rpmdb.sqlite") else {
        return;
    };
    // Content that the package has, of a package that puts plain files somewhere.
    let listed = bench.look(&["list", "--json"]);
    assert_eq!(listed.text.lines().count(), 4);
    let index = {
        let TrustCommand::List(args) = Cli::parse_from([
            "x",
            "list",
            "--root",
            bench.path("root").to_str().unwrap(),
            "--keyring",
            shared_data("keys").unwrap().to_str().unwrap(),
            "--config",
            bench.path("hardpan.toml").to_str().unwrap(),
        ])
        .trust
        .command
        else {
            panic!("`trust list` parses as something else")
        };
        args.sight().look(false).unwrap().current.outcome.index
    };
    let plain = |config: bool| {
        let wanted = |file: &hardpan_rpm::Owner<'_>| {
            file.sha256().is_some() && file.is_config() == config && file.mode() & 0o170_000 == 0o100_000
        };
        String::from_utf8(index.files().find(wanted).unwrap().path()).unwrap()
    };
    let (file, config) = (plain(false), plain(true));
    let json = bench.check_state(&file, "missing", Exit::Findings);
    assert_eq!(json["package"]["vendor"], "AlmaLinux");
    bench.write(&format!("root{file}"), b"changed");
    let json = bench.check_state(&file, "mismatch", Exit::Findings);
    assert_eq!(json["package"]["build_system"], "ALBS");
    assert_eq!(json["package"]["signer"]["name"], "AlmaLinux 9");
    assert_eq!(json["expected_sha256"].as_str().unwrap().len(), 64);
    bench.write(&format!("root{config}"), b"changed");
    bench.check_state(&config, "config-modified", Exit::Fine);
    bench.write("root/opt/own", b"own");
    bench.check_state("/opt/own", "unowned", Exit::Findings);
    // A directory where a file should be.
    fs::remove_file(bench.path(&format!("root{file}"))).unwrap();
    fs::create_dir(bench.path(&format!("root{file}"))).unwrap();
    bench.check_state(&file, "mismatch", Exit::Findings);
    // Links are followed, but not out of the root.
    std::os::unix::fs::symlink("/opt/own", bench.path("root/link")).unwrap();
    let json = bench.check_state("/link", "unowned", Exit::Findings);
    assert_eq!(
        (&json["path"], &json["asked"]),
        (&"/opt/own".into(), &"/link".into())
    );
    std::os::unix::fs::symlink("/../../../../../../etc/passwd", bench.path("root/out")).unwrap();
    bench.check_state("/out", "unowned", Exit::Findings);
    bench.check_state("/nothing", "missing", Exit::Findings);
}

/// The vendor's digest in the unsigned part of the header was replaced: rpm believes it, the answer must not.
#[test]
fn a_forged_digest_is_not_expected() {
    let bench = Bench::new();
    let tampered = "el9-TAMPERED-dribble-filedigests.rpmdb.sqlite";
    let Some(()) = bench.database(tampered, "rpmdb.sqlite") else {
        return;
    };
    let findings = bench.look(&["list", "--findings", "--json"]);
    assert_eq!(findings.exit, Exit::Findings);
    assert!(
        findings.text.contains("\"kind\":\"rpmdb-tampered\""),
        "{}",
        findings.text
    );
    let clean = Bench::new();
    clean
        .database("el9-content-rpm4.18.rpmdb.sqlite", "rpmdb.sqlite")
        .unwrap();
    for path in [
        "/etc/os-release",
        "/usr/lib/os-release",
        "/etc/almalinux-release",
        "/etc/issue",
    ] {
        let expected = |bench: &Bench| bench.whence(path).0["expected_sha256"].clone();
        bench.write(&format!("root{path}"), b"x");
        clean.write(&format!("root{path}"), b"x");
        assert_eq!(expected(&bench), expected(&clean), "{path}");
    }
}

#[test]
fn content_of_a_package_is_trusted_wherever_it_is() {
    let bench = Bench::new();
    let Some(()) = bench.database("el9-content-rpm4.18.rpmdb.sqlite", "rpmdb.sqlite") else {
        return;
    };
    let Some(key) = shared_data("keys/RPM-GPG-KEY-AlmaLinux-9") else {
        return;
    };
    // The almalinux-gpg-keys package brings the published key file.
    let bytes = fs::read(key).unwrap();
    let (json, _) = {
        bench.write("root/tmp/copy", &bytes);
        bench.whence("/tmp/copy")
    };
    if json["state"] == "unowned" {
        println!("skipped: the published key is not the packaged one");
        return;
    }
    assert_eq!(
        (&json["state"], &json["provenance"]),
        (&"trusted".into(), &"verified".into())
    );
    assert!(
        json["detail"]
            .as_str()
            .unwrap()
            .contains("RPM-GPG-KEY-AlmaLinux-9"),
        "{json}"
    );
    bench.write("root/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9", &bytes);
    let json = bench.check_state("/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9", "trusted", Exit::Fine);
    assert!(json.get("detail").is_none(), "{json}");
}

#[test]
fn foreign_packages_have_reasons() {
    let bench = Bench::new();
    let Some(()) = bench.database("el9-content-rpm4.18.rpmdb.sqlite", "rpmdb.sqlite") else {
        return;
    };
    let foreign = |os_release: &str| {
        bench.write("root/etc/os-release", os_release.as_bytes());
        let answer = bench.look(&["list", "--foreign", "--json"]);
        let reasons = |line: &str| {
            let json: Value = serde_json::from_str(line).unwrap();
            let reasons: Vec<String> = json["reasons"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r.as_str().unwrap().to_owned())
                .collect();
            let package = json["package"].as_str().unwrap();
            format!("{} {}", package.split("-9").next().unwrap(), reasons.join("+"))
        };
        answer.text.lines().map(reasons).collect::<Vec<_>>()
    };
    // As it was installed; after a conversion; after an in-place upgrade.
    assert_eq!(foreign("ID=almalinux\nVERSION_ID=9.3\n"), ["epel-release add-on"]);
    let other = "other-distribution";
    assert_eq!(
        foreign("ID=rocky\nVERSION_ID=9.3\n"),
        [
            format!("almalinux-gpg-keys {other}"),
            format!("almalinux-release {other}"),
            format!("almalinux-repos {other}"),
            "epel-release add-on".to_owned(),
        ]
    );
    let older = "key-of-other-release+built-for-other-release";
    assert_eq!(
        foreign("ID=almalinux\nVERSION_ID=10.0\n"),
        [
            format!("almalinux-gpg-keys {older}"),
            format!("almalinux-release {older}"),
            format!("almalinux-repos {older}"),
            format!("epel-release add-on+{older}"),
        ]
    );
}

#[test]
fn refresh_keeps_what_whence_reads() {
    let bench = Bench::new();
    let Some(()) = bench.database("rhel8-libuuid.Packages", "Packages") else {
        return;
    };
    let answer = bench.look(&["refresh"]);
    assert!(
        answer.text.contains("1 of 1 package verified, 7 files"),
        "{}",
        answer.text
    );
    let store = bench.path("state/trust.index");
    assert!(answer.text.contains(store.to_str().unwrap()), "{}", answer.text);
    // One of the published keys is for file signatures, no OpenPGP: nothing is wrong with it.
    assert_eq!(answer.exit, Exit::Fine);
    let made = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = made(&store);
    bench.check_state("/usr/lib64/libuuid.so.1.3.0", "missing", Exit::Findings);
    assert_eq!(made(&store), before);
}

#[test]
fn a_root_without_a_database_could_not_be_looked_at() {
    let bench = Bench::new();
    let root = bench.path("root");
    let outcome = bench.run(&["whence", "/x", "--root", root.to_str().unwrap()]);
    assert_eq!(outcome.unwrap_err().exit, Exit::Failed);
}

const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

#[test]
fn pins_come_and_go() {
    let bench = Bench::new();
    let pin = |fingerprint: &str, scope: &str| {
        bench.run(&[
            "keys",
            "pin",
            fingerprint,
            "--scope",
            scope,
            "other*",
            "--name",
            "Our \"own\" key",
        ])
    };
    let file = bench.path(&format!("keys.d/{FINGERPRINT}.toml"));
    for short in ["01234567", "0123456789ABCDEF", "0x01234567"] {
        let failure = refused(pin(short, "a*"), Exit::Usage, "is not a key fingerprint");
        assert!(failure.hint.unwrap().contains("gpg --show-keys"));
    }
    assert!(!file.exists());
    pin("0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567", "acme-*").unwrap();
    let pins = hardpan_rpm::Pins::from_toml(&fs::read_to_string(&file).unwrap(), "x").unwrap();
    let pinned = pins.iter().next().unwrap();
    assert_eq!(pinned.name, "Our \"own\" key");
    assert!(pinned.covers("acme-tools") && pinned.covers("others") && !pinned.covers("bash"));
    refused(pin(FINGERPRINT, "*"), Exit::Findings, "is already pinned in");
    bench.run(&["keys", "unpin", FINGERPRINT]).unwrap();
    assert!(!file.exists());
    refused(
        bench.run(&["keys", "unpin", FINGERPRINT]),
        Exit::Findings,
        "is not pinned",
    );
}

#[test]
fn vendors_pins_stay() {
    let bench = Bench::new();
    let red_hat = "567E347AD0044ADE55BA8A5F199E2F91FD431D51";
    let failure = refused(
        bench.run(&["keys", "unpin", red_hat]),
        Exit::Findings,
        "is one of Hardpan's own pins",
    );
    assert!(failure.hint.unwrap().contains("trust.vendor_pins"));
    let again = bench.run(&["keys", "pin", red_hat, "--scope", "*", "--name", "x"]);
    refused(
        again,
        Exit::Findings,
        "is already pinned in vendor pins redhat.toml",
    );
}

#[test]
fn unpinning_one_of_several_leaves_the_others() {
    let bench = Bench::new();
    let other = "FFFF456789ABCDEF0123456789ABCDEF01234567";
    let text = format!(
        "vendor = 'us'\n[[key]]\nname = 'a'\nfingerprint = '{FINGERPRINT}'\n[[key]]\nname = 'b'\n\
         fingerprint = '{other}'\nscope = ['x*']\n"
    );
    let path = bench.write("keys.d/ours.toml", text.as_bytes());
    bench.run(&["keys", "unpin", FINGERPRINT]).unwrap();
    let left = hardpan_rpm::Pins::from_toml(&fs::read_to_string(path).unwrap(), "x").unwrap();
    let names: Vec<&str> = left.iter().map(|pin| pin.name.as_str()).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn keys_say_whether_their_material_was_found() {
    let bench = Bench::new();
    let Some(()) = bench.database("rhel8-libuuid.Packages", "Packages") else {
        return;
    };
    let answer = bench.look(&["keys", "--json"]);
    let key = |fingerprint: &str| -> Value {
        let lines = answer
            .text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .into_iter()
            .find(|json| json["fingerprint"] == fingerprint)
            .unwrap()
    };
    let red_hat = key("567E347AD0044ADE55BA8A5F199E2F91FD431D51");
    assert_eq!(
        (&red_hat["material"], &red_hat["packages"]),
        (&"found".into(), &1.into())
    );
    assert_eq!(key("7051C470A929F454CEBE37B715AF5DAC6D745A60")["packages"], 0);
}

#[test]
fn a_signed_manifest_from_openssl_key_to_whence() {
    for algorithm in [
        ["-algorithm", "ed25519"].as_slice(),
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ] {
        let bench = Bench::new();
        let Some(()) = bench.database("rhel8-libuuid.Packages", "Packages") else {
            return;
        };
        let Some(key) = bench.key("release", algorithm) else {
            return;
        };
        bench.write("root/opt/tool/bin/tool", b"#!/bin/sh\n");
        bench.check_state("/opt/tool/bin/tool", "unowned", Exit::Findings);

        let (tree, key) = (bench.path("root/opt"), key.to_str().unwrap().to_owned());
        let out = bench.path("tool.hpm");
        let sign = |serial: &str, expires: &str, target: &str| {
            bench
                .run(&[
                    "sign",
                    "--key",
                    &key,
                    "--serial",
                    serial,
                    "--expires",
                    expires,
                    "--target",
                    target,
                    "--name",
                    "tool",
                    tree.to_str().unwrap(),
                    "-o",
                    out.to_str().unwrap(),
                ])
                .unwrap();
            bench.run(&["add", out.to_str().unwrap()])
        };
        refused(
            sign("5", "9999-01-01", "no-such-host"),
            Exit::Findings,
            "is not for this host",
        );
        sign("5", "9999-01-01", "*").unwrap();
        let json = bench.check_state("/opt/tool/bin/tool", "trusted", Exit::Fine);
        assert_eq!(json["provenance"], "local");
        assert_eq!(
            (&json["manifest"]["name"], &json["manifest"]["key_name"]),
            (&"tool".into(), &"release".into())
        );
        refused(
            sign("4", "9999-01-01", "*"),
            Exit::Findings,
            "has serial 4, but 5 was accepted before",
        );
        let listed = bench.look(&["list", "--manifests"]).text;
        assert!(
            listed.contains("release") && listed.contains("9999-01-01T00:00:00Z"),
            "{listed}"
        );

        bench.run(&["remove", "tool"]).unwrap();
        bench.check_state("/opt/tool/bin/tool", "unowned", Exit::Findings);
        refused(
            bench.run(&["remove", "tool"]),
            Exit::Findings,
            "there is no manifest \"tool\"",
        );
        // Somebody else's key.
        fs::remove_file(bench.path("keys.d/release.hpkey")).unwrap();
        refused(
            sign("6", "9999-01-01", "*"),
            Exit::Findings,
            "which is not trusted here",
        );
    }
}

#[test]
fn a_manifest_made_here_is_marked_as_such() {
    let bench = Bench::new();
    let Some(()) = bench.database("rhel8-libuuid.Packages", "Packages") else {
        return;
    };
    let tool = bench.write("root/opt/tool", b"tool");
    let tool = tool.to_str().unwrap();
    refused(
        bench.run(&["add", tool]),
        Exit::Usage,
        "one signed manifest (*.hpm) is wanted",
    );
    refused(
        bench.run(&["add", tool, "--name", "../x"]),
        Exit::Usage,
        "--name: a name has",
    );
    refused(
        bench.run(&["add", "/nonexistent", "--name", "x"]),
        Exit::Failed,
        "cannot read /nonexistent",
    );
    bench.run(&["add", tool, "--name", "mine"]).unwrap();
    let json = bench.check_state("/opt/tool", "trusted", Exit::Fine);
    assert_eq!(
        (&json["provenance"], &json["manifest"]["signed"]),
        (&"local-unsigned".into(), &false.into())
    );
    bench.write("root/opt/tool", b"tool!");
    bench.check_state("/opt/tool", "unowned", Exit::Findings);
}

/// Whoever may write the package's file must not hide a change by listing it without a signature.
#[test]
fn an_unsigned_manifest_excuses_no_mismatch() {
    let bench = Bench::new();
    let Some(()) = bench.database("rhel8-libuuid.Packages", "Packages") else {
        return;
    };
    let library = bench.write("root/usr/lib64/libuuid.so.1.3.0", b"changed");
    bench
        .run(&["add", library.to_str().unwrap(), "--name", "mine"])
        .unwrap();
    bench.check_state("/usr/lib64/libuuid.so.1.3.0", "mismatch", Exit::Findings);
}

#[test]
fn wrong_signing_is_refused() {
    let bench = Bench::new();
    let Some(key) = bench.key("release", &["-algorithm", "ed25519"]) else {
        return;
    };
    let file = bench.write("file", b"x");
    let (key, file) = (key.to_str().unwrap(), file.to_str().unwrap());
    let sign = |key: &str, expires: &str, name: &str, file: &str| {
        bench.run(&[
            "sign",
            "--key",
            key,
            "--serial",
            "1",
            "--expires",
            expires,
            "--target",
            "*",
            "--name",
            name,
            file,
            "-o",
            bench.path("out.hpm").to_str().unwrap(),
        ])
    };
    refused(
        sign(key, "1999-01-01", "n", file),
        Exit::Usage,
        "\"expires\": must be later than",
    );
    refused(
        sign(key, "2999-01-01", "a/b", file),
        Exit::Usage,
        "\"name\": a name has",
    );
    refused(
        sign(file, "2999-01-01", "n", file),
        Exit::Failed,
        "is no usable private key",
    );
    refused(
        sign(key, "2999-01-01", "n", "/dev/null"),
        Exit::Failed,
        "is neither a file nor a directory",
    );
    assert!(!bench.path("out.hpm").exists());
    assert!(Cli::try_parse_from(["x", "sign", "--expires", "tomorrow"]).is_err());
}
