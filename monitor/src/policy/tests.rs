//! Detection on fake roots, local files, signatures.

use super::*;
use crate::crypto::{Draft, SigningKey, load_signing_key, sign};
use crate::harden::Root;
use crate::harden::tests::fake::{Fake, KINDS};
use hardpan_core::envelope::Kind;
use hardpan_core::policy::Selector;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// A time within all envelopes of these tests, seconds since 1970.
const NOW_S: i64 = 1_800_000_000;

fn x86() -> Overrides {
    Overrides {
        hardware: Some("x86-64-v3".to_owned()),
        ..Overrides::default()
    }
}

#[test]
fn three_vendors_on_three_releases_are_told_apart() {
    for kind in KINDS {
        let fake = Fake::new(kind);
        let root = Root::new(fake.path()).expect("root");
        let found = detect(&root, &x86()).expect("detected");
        assert_eq!((found.el, found.vendor.as_str()), (kind.el, kind.vendor));
        assert_eq!(
            (found.role.as_str(), found.level.as_str()),
            ("server", "balanced")
        );
        let loaded = load(&root, &Folders::default(), &found, NOW_S).expect("loaded");
        assert!(
            loaded.is_usable() && loaded.problems.is_empty(),
            "{:?}",
            loaded.problems
        );
        let parts: Vec<&str> = loaded
            .resolved
            .parts
            .iter()
            .map(|part| part.file.as_str())
            .collect();
        assert!(
            parts.contains(&format!("policies/el{}/10-release.toml", kind.el).as_str()),
            "{parts:?}"
        );
        assert!(
            parts.contains(&format!("policies/vendor/{}.toml", kind.vendor).as_str()),
            "{parts:?}"
        );
    }
}

#[test]
fn configuration_and_repositories_choose_layers() {
    let fake = Fake::new(&KINDS[4]);
    let root = Root::new(fake.path()).expect("root");
    fake.write(
        "etc/hardpan/hardpan.toml",
        "mode = \"observe\"\n[policy]\nrole = \"webhost\"\nlevel = \"strict\"\n",
    );
    fake.write("etc/hardpan/conf.d/10.toml", "[policy]\nlevel = \"locked\"\n");
    fake.write("etc/yum.repos.d/rocky-security.repo", "[security]\n");
    // Two physical processors: only the first one's flags count, and v2 lacks AVX.
    fake.write(
        "proc/cpuinfo",
        "flags\t: cmov cx8 fpu fxsr mmx syscall sse sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3\n",
    );
    let found = detect(&root, &Overrides::default()).expect("detected");
    assert_eq!(
        (found.vendor.as_str(), found.role.as_str(), found.level.as_str()),
        ("rocky-ciq", "webhost", "locked")
    );
    if cfg!(target_arch = "x86_64") {
        assert_eq!(found.hardware, "x86-64-v2");
    }
    let other = Fake::new(&KINDS[0]);
    other.write("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian\"\n");
    let error = detect(&Root::new(other.path()).expect("root"), &x86()).expect_err("no EL");
    assert_eq!(
        error.to_string(),
        "Debian is no Enterprise Linux 8, 9 or 10 of a known vendor"
    );
}

#[test]
fn a_moved_host_is_noticed_and_learned_anew_once() {
    use hardpan_core::platform::migration::{MigrationCode, findings};
    let fake = Fake::new(&KINDS[5]);
    let root = Root::new(fake.path()).expect("root");
    fake.write("etc/selinux/config", "SELINUX=enforcing\n");
    fake.write("var/lib/rpm/rpmdb.sqlite", "x");
    assert_eq!(findings(&gather_traces(&root, Vec::new())), []);
    fake.write("var/log/almalinux-deploy.log", "done\n");
    fake.write(
        "etc/yum.repos.d/rocky.repo",
        "[baseos]\nbaseurl=https://m.example/rocky/8/BaseOS\n",
    );
    let codes: Vec<MigrationCode> = findings(&gather_traces(&root, Vec::new()))
        .into_iter()
        .map(|finding| finding.code)
        .collect();
    assert_eq!(codes, [MigrationCode::Migrated, MigrationCode::OldRepository]);
    // EL 9 becomes EL 10: one record, then silence.
    assert_eq!(note_host(&root, "5.14.0").expect("noted"), None);
    assert_eq!(note_host(&root, "5.14.0").expect("noted"), None);
    fake.write("etc/os-release", "ID=almalinux\nVERSION_ID=10.0\n");
    fake.write("usr/lib/sysimage/rpm/rpmdb.sqlite", "x");
    let renewed = note_host(&root, "6.12.0").expect("noted").expect("renewed");
    assert!(
        renewed.kernel && renewed.trust && renewed.message.contains("9.6 -> 10.0"),
        "{renewed:?}"
    );
    assert_eq!(note_host(&root, "6.12.0").expect("noted"), None);
    // A state file of a newer program is not misread.
    for damaged in ["{\"version\":7}", "{\"version\":1}", "", "\u{0}"] {
        fake.write("var/lib/hardpan/host.json", damaged);
        let rebuilt = note_host(&root, "6.12.0").expect("noted").expect("told");
        assert!(rebuilt.message.contains("is not known"), "{rebuilt:?}");
        assert_eq!(note_host(&root, "6.12.0").expect("noted"), None);
    }
}

/// A host with this level, and what is wrong with its policy.
fn check(fake: &Fake, level: &str, expected: &[&str]) -> Loaded {
    let selector = Selector {
        el: 9,
        vendor: "rocky".to_owned(),
        hardware: "x86-64-v3".to_owned(),
        role: "server".to_owned(),
        level: level.to_owned(),
    };
    let root = Root::new(fake.path()).expect("root");
    let loaded = load(&root, &Folders::default(), &selector, NOW_S).expect("loaded");
    let found: Vec<String> = loaded
        .problems
        .iter()
        .map(|problem| format!("{}: {}", problem.origin, problem.message))
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}\n{expected}");
    }
    loaded
}

#[test]
fn unsigned_files_cannot_vouch_for_themselves() {
    let fake = Fake::new(&KINDS[4]);
    fake.write(
        "etc/hardpan/policies/20-site.toml",
        "schema = 1\nrecord.exec = \"all\"\n",
    );
    let loaded = check(&fake, "balanced", &[]);
    let setting = loaded.resolved.setting(&["record", "exec"]).expect("set");
    assert_eq!(setting.origin.to_string(), "/etc/hardpan/policies/20-site.toml:2");
    check(
        &fake,
        "locked",
        &["/etc/hardpan/policies/20-site.toml:1: the file is not signed, and policies/level/locked.toml:"],
    );
    // Nor can one mask or replace the file that refuses it.
    fs::create_dir_all(fake.at("etc/hardpan/policies/level")).expect("directory");
    symlink("/dev/null", fake.at("etc/hardpan/policies/level/locked.toml")).expect("link");
    let loaded = check(
        &fake,
        "locked",
        &[
            "20-site.toml:1: the file is not signed",
            "level/locked.toml:1: the file is not signed",
        ],
    );
    assert_eq!(
        loaded
            .resolved
            .setting(&["gate", "mode"])
            .expect("set")
            .value
            .to_plain(),
        "enforce"
    );
    // Where unsigned files count, a mask masks.
    fs::rename(
        fake.at("etc/hardpan/policies/level/locked.toml"),
        fake.at("etc/hardpan/policies/level/balanced.toml"),
    )
    .expect("renamed");
    let loaded = check(&fake, "balanced", &[]);
    assert!(
        loaded
            .resolved
            .setting(&["boot", "slab_nomerge", "value"])
            .is_none()
    );
}

#[test]
fn broken_local_files_name_file_and_line() {
    let fake = Fake::new(&KINDS[4]);
    fake.write(
        "etc/hardpan/policies/20-site.toml",
        "schema = 1\n\ngate.mod = \"enforce\"\n",
    );
    fs::write(fake.at("etc/hardpan/policies/30-bytes.toml"), [0xff, 0xfe]).expect("file");
    fake.write("etc/hardpan/policies/40.hpm", "{}");
    fake.write("etc/hardpan/policies/README", "no policy\n");
    check(
        &fake,
        "balanced",
        &[
            "30-bytes.toml:1: the file is not UTF-8",
            "40.hpm:1: no envelope",
            "20-site.toml:3: unknown key gate.mod",
            "30-bytes.toml:1: the file does not say",
        ],
    );
}

/// A key made by openssl, or `None` where there is none.
fn key(fake: &Fake, name: &str) -> Option<SigningKey> {
    let path = fake.at(&format!("{name}.pem"));
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(&path)
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        println!("skipped: no openssl");
        return None;
    }
    Some(load_signing_key(&path).expect("key"))
}

fn signed(key: &SigningKey, serial: u64, name: &str, target: &str) -> String {
    let draft = Draft {
        kind: Kind::Policy,
        serial,
        issued: NOW_S - 1_000,
        expires: NOW_S + 1_000,
        targets: vec![target.to_owned()],
        name: name.to_owned(),
        payload: format!("schema = 1\nrecord.exec = \"all\"\ngate.boot_grace_s = 0\n# {serial}\n")
            .into_bytes(),
    };
    sign(key, draft).expect("signed").to_json()
}

#[test]
fn signed_policies_count_once_and_never_go_back() {
    let fake = Fake::new(&KINDS[4]);
    let Some(ours) = key(&fake, "ours") else { return };
    let theirs = key(&fake, "theirs").expect("key");
    fake.write("etc/hostname", "web01\n");
    fake.write(
        "etc/hardpan/keys.d/ours.hpkey",
        &ours.public_key("ours", &[Kind::Policy]).to_toml(),
    );
    let file = "etc/hardpan/policies/20-site.hpm";
    fake.write(file, &signed(&ours, 5, "20-site", "web*"));
    let loaded = check(&fake, "locked", &[]);
    let setting = loaded.resolved.setting(&["record", "exec"]).expect("set");
    assert_eq!(setting.origin.to_string(), "/etc/hardpan/policies/20-site.hpm:2");
    assert_eq!(loaded.signed.len(), 1);
    let root = Root::new(fake.path()).expect("root");
    accept_serials(&root, &Folders::default(), &loaded.signed).expect("remembered");
    check(&fake, "locked", &[]);
    fake.write(file, &signed(&ours, 4, "20-site", "web*"));
    check(&fake, "locked", &["20-site.hpm:1: refused: "]);
    fake.write(file, &signed(&ours, 6, "20-site", "db*"));
    check(&fake, "locked", &["20-site.hpm:1: refused: "]);
    fake.write(file, &signed(&ours, 6, "30-other", "web*"));
    check(
        &fake,
        "locked",
        &["the signed policy is named \"30-other\", the file \"20-site\""],
    );
    fake.write(file, &signed(&theirs, 7, "20-site", "web*"));
    check(&fake, "locked", &["20-site.hpm:1: refused: "]);
    fake.write(
        file,
        &signed(&ours, 7, "20-site", "web*")
            .replace("\"serial\": 7", "\"serial\": 8")
            .replace("\"serial\":7", "\"serial\":8"),
    );
    check(&fake, "locked", &["20-site.hpm:1: refused: "]);
    fake.write(file, &signed(&ours, 7, "20-site", "*"));
    check(&fake, "locked", &[]);
}
