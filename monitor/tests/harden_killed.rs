//! `hardpan harden` killed before each system call that changes something, one kill per run: what is left can always be
//! taken back to the same bytes, modes, owners, labels and capabilities, and applying again ends where an undisturbed
//! run ends.
//!
//! strace(1) counts the calls and sends the signal. `HARDPAN_KILL_STEP=1` tries every call; by default every few.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise"
)]

#[expect(dead_code, reason = "made for the tests inside the crate")]
#[path = "../src/harden/tests/fake.rs"]
mod fake;

use fake::{Fake, KINDS, Kind};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// Calls that change something, or make it last.
const CALLS: &str = "write,pwrite64,rename,renameat,renameat2,fsync,fdatasync,chmod,fchmod,fchmodat,chown,fchown,lchown,\
    fchownat,setxattr,lsetxattr,fsetxattr,mkdir,mkdirat,symlink,symlinkat,unlink,unlinkat,rmdir,ftruncate";
/// One item of each way of changing things.
const ITEMS: [&str; 9] = [
    "sysctl:kernel.kptr_restrict",
    "sysctl:kernel.dmesg_restrict",
    "module:sctp",
    "boot:init_on_alloc*",
    "service:cups*",
    "suid:*",
    "mount:/tmp*",
    "sshd:*",
    "crypto-policy",
];
/// Attributes that must come through everything.
const ATTRIBUTES: [(&str, &str, &[u8]); 3] = [
    ("etc/fstab", "security.note", b"system_u:object_r:etc_t:s0"),
    (
        "usr/bin/gpasswd",
        "security.note",
        b"system_u:object_r:passwd_exec_t:s0",
    ),
    // cap_setuid=ep, as setcap writes it.
    (
        "usr/bin/newgrp",
        "security.capability",
        b"\x01\0\0\x02\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ),
];

fn hardpan(program: &mut Command, verb: &str, root: &Path) -> Output {
    program.args(["harden", verb, "--root"]).arg(root);
    if verb == "apply" {
        program.args("--el 9 --vendor rocky --hardware x86-64-v3 --role kiosk --level locked".split(' '));
        for item in ITEMS {
            program.args(["--only", item]);
        }
    }
    program.output().unwrap()
}

fn plain(verb: &str, root: &Path) -> Output {
    hardpan(&mut Command::new(env!("CARGO_BIN_EXE_hardpan")), verb, root)
}

/// Runs it under strace; `kill`: before which call, and which time that is.
fn traced(verb: &str, root: &Path, log: &Path, kill: Option<(&str, usize)>) -> Output {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(log);
    match kill {
        None => strace.arg("-e").arg(format!("trace={CALLS}")),
        Some((call, time)) => strace
            .args(["-e", &format!("trace={call}"), "-e"])
            .arg(format!("inject={call}:signal=SIGKILL:when={time}")),
    };
    strace.arg(env!("CARGO_BIN_EXE_hardpan"));
    hardpan(&mut strace, verb, root)
}

fn new_root(kind: &Kind) -> Fake {
    let fake = Fake::new(kind);
    for (path, mode) in [("usr/bin/gpasswd", 0o4755), ("usr/bin/newgrp", 0o755)] {
        fs::set_permissions(fake.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, name, value) in ATTRIBUTES {
        rustix::fs::lsetxattr(fake.at(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    }
    fake
}

/// Everything below the root but the journal, with the attributes.
fn snapshot(fake: &Fake) -> BTreeMap<String, String> {
    let mut found = fake.snapshot();
    for (path, name, _) in ATTRIBUTES {
        let mut value = [0_u8; 64];
        let length = rustix::fs::lgetxattr(fake.at(path), name, &mut value);
        let shown = length.map(|length| value.get(..length).unwrap().to_vec());
        found.insert(format!("{path} {name}"), format!("{shown:?}"));
    }
    found
}

fn differences(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let names = expected.keys().chain(found.keys());
    let mut differ: Vec<String> = names
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| format!("{name}: {:?}, not {:?}", found.get(name), expected.get(name)))
        .collect();
    differ.sort();
    differ.dedup();
    differ
}

/// Each call of a whole run: name and which time.
fn calls(log: &Path) -> Vec<(String, usize)> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let text = fs::read_to_string(log).unwrap();
    text.lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .filter(|(name, _)| CALLS.split(',').any(|call| call.trim() == *name))
        .map(|(name, _)| {
            let time = times.entry(name.to_owned()).or_default();
            *time += 1;
            (name.to_owned(), *time)
        })
        .collect()
}

fn step() -> usize {
    let given = std::env::var("HARDPAN_KILL_STEP").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(7)
}

/// strace there and allowed, and a file system with security attributes.
fn can_run() -> bool {
    let traces = Command::new("strace")
        .args(["-o", "/dev/null", "-e", "trace=none", "true"])
        .status()
        .is_ok_and(|status| status.success());
    let is_root = rustix::process::geteuid().is_root();
    if !(traces && is_root) {
        println!("skipped: needs root, strace and leave to trace");
    }
    traces && is_root
}

#[test]
fn apply_killed_anywhere_can_be_taken_back_or_finished() {
    if !can_run() {
        return;
    }
    let kind = &KINDS[4];
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    let whole = new_root(kind);
    let before = snapshot(&whole);
    let ended = traced("apply", whole.path(), &log, None);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let applied = snapshot(&whole);
    for path in [
        "usr/bin/gpasswd",
        "usr/bin/newgrp",
        "etc/fstab",
        "etc/crypto-policies/config",
    ] {
        assert_ne!(
            before.get(path),
            applied.get(path),
            "{path} is among what is changed"
        );
    }
    let calls = calls(&log);
    assert!(calls.len() > 100, "{} calls only", calls.len());
    let mut tried = 0;
    for (call, time) in calls.iter().step_by(step()) {
        for finish in [false, true] {
            let fake = new_root(kind);
            let killed = traced("apply", fake.path(), &log, Some((call, *time)));
            assert!(!killed.status.success(), "{call} {time}: was not killed");
            if finish {
                let ended = plain("apply", fake.path());
                let said = String::from_utf8_lossy(&ended.stderr);
                assert!(ended.status.success(), "{call} {time}: {said}");
                let differ = differences(&applied, &snapshot(&fake));
                assert!(
                    differ.is_empty(),
                    "apply again after a kill at {call} {time}: {differ:#?}"
                );
            }
            let ended = plain("rollback", fake.path());
            let said = String::from_utf8_lossy(&ended.stdout);
            assert!(ended.status.success(), "{call} {time}: {said}");
            let differ = differences(&before, &snapshot(&fake));
            assert!(
                differ.is_empty(),
                "rollback after a kill at {call} {time}: {differ:#?}"
            );
            tried += 1;
        }
    }
    println!("{tried} runs killed at {} of {} calls", tried / 2, calls.len());
}

#[test]
fn rollback_killed_anywhere_can_be_finished() {
    if !can_run() {
        return;
    }
    let kind = &KINDS[4];
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    let applied = || {
        let fake = new_root(kind);
        assert!(plain("apply", fake.path()).status.success());
        fake
    };
    let before = snapshot(&new_root(kind));
    let whole = applied();
    assert!(traced("rollback", whole.path(), &log, None).status.success());
    assert!(differences(&before, &snapshot(&whole)).is_empty());
    let calls = calls(&log);
    assert!(calls.len() > 100, "{} calls only", calls.len());
    let mut tried = 0;
    for (call, time) in calls.iter().step_by(step()) {
        let fake = applied();
        let killed = traced("rollback", fake.path(), &log, Some((call, *time)));
        assert!(!killed.status.success(), "{call} {time}: was not killed");
        let ended = plain("rollback", fake.path());
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{call} {time}: {said}");
        let differ = differences(&before, &snapshot(&fake));
        assert!(
            differ.is_empty(),
            "rollback again after a kill at {call} {time}: {differ:#?}"
        );
        tried += 1;
    }
    println!("{tried} runs killed at as many of {} calls", calls.len());
}
