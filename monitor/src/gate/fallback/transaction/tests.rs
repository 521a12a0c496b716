use super::super::channel;
use super::super::handed::{open as take_table, sealed};
use super::*;
use crate::config::Config;
use crate::crypto::sha256_of;
use crate::trust::Request;
use hardpan_abi::{GateClass, GateConfig, GateMode, TrustedEntry, trusted_mark};
use hardpan_core::event::{Event, decode};
use hardpan_core::gate::Table;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use zerocopy::FromZeros as _;

/// What is handed over where the packages of a root count, and these programs are package managers.
fn given(root: &Path, managers: &[[u8; 32]]) -> Arc<Given> {
    let trust = Trust {
        root: root.to_owned(),
        ..Config::default().trust
    };
    let mut config = GateConfig::new_zeroed();
    config.mode = GateMode::Enforce as u32;
    let namespace = fs::metadata("/proc/self/ns/user").unwrap().ino();
    config.init_user_ns = u32::try_from(namespace).unwrap();
    let entry = TrustedEntry {
        class: GateClass::Trusted as u32,
        marks: trusted_mark::PACKAGE_MANAGER,
        capabilities: 0,
    };
    let digests: BTreeMap<_, _> = managers.iter().map(|sha256| (*sha256, entry)).collect();
    let json = serde_json::to_vec(&Request::new(&trust, None)).unwrap();
    let bytes = Table::bytes(&config, &[], digests.iter(), (&[], &[]), &[], &json);
    Arc::new(take_table(sealed(&bytes).unwrap()).unwrap())
}

fn watch(given: Arc<Given>) -> (Watch, OwnedFd) {
    let (here, there) = channel::pair().unwrap();
    let managers = Managers::default();
    let watch = Watch {
        shared: Arc::new(Mutex::new(Shared { given, managers })),
        believed: None,
        keys: Keys::default(),
        programs: Digests::default(),
        packages: Packages::default(),
        records: Records::new(here),
        opens: None,
        since: Instant::now(),
        holders: Vec::new(),
        held: Held::default(),
    };
    (watch, there)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// How often the daemon was told of this file; other tests open packages, too.
fn told_of(line: &OwnedFd, file: &File) -> usize {
    let (ino, mut count) = (file.metadata().unwrap().ino(), 0);
    channel::drain(line, &mut |body| {
        let Ok(Event::Package(event)) = decode(&body[8..]) else {
            panic!("no record of a package");
        };
        assert_eq!(event.head.task.process.tgid, std::process::id());
        count += usize::from(event.file.ino == ino);
    });
    count
}

#[test]
fn nobody_installs_here() {
    let dir = tempfile::tempdir().unwrap();
    let (here, _there) = channel::pair().unwrap();
    let all = Transactions::begin(given(dir.path(), &[]), Records::new(here)).unwrap();
    assert!(!all.list(&[0; 32], soon()) && !all.list_size(1, soon()));
    let late = Instant::now();
    assert!(!all.list(&[0; 32], late));
}

#[test]
fn only_package_managers_that_hold_the_lock_install() {
    let exe = File::open("/proc/self/exe").unwrap();
    let free_root = |watch: &Watch| {
        let shared = lock(&watch.shared);
        let by = (shared.given.table.config(), shared.given.table.rules());
        Waiting::new(std::process::id(), &exe, by, (0, 0)).is_free_root()
    };
    let (own, _) = sha256_of(&exe).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut watch, line) = watch(given(dir.path(), &[own]));
    if !free_root(&watch) || ReadLease::take(&exe).is_err() {
        return println!("skipped: not root, or no leases here");
    }
    let folder = dir.path().join("var/lib/rpm");
    fs::create_dir_all(&folder).unwrap();
    let path = dir.path().join("hostile.rpm");
    fs::write(&path, b"\xed\xab\xee\xdb\x03hostile").unwrap();
    let hostile = File::open(&path).unwrap();
    let question = Question::Sha256([7; 32]);
    assert!(!watch.answer(question, soon()));
    assert_eq!(told_of(&line, &hostile), 0, "nobody holds the lock");
    let held = File::create(folder.join(".rpm.lock")).unwrap();
    crate::gate::locks::tests::take(&held);
    let writer = OpenOptions::new().append(true).open(&path).unwrap();
    assert!(!watch.answer(question, soon()));
    assert_eq!(told_of(&line, &hostile), 0, "it is being downloaded");
    drop(writer);
    assert!(!watch.answer(question, soon()));
    if told_of(&line, &hostile) != 1 {
        return println!("skipped: no list of locks here");
    }
    // It is not read again, and what a package of this process lists counts.
    let (process, _) = Process::now(std::process::id()).unwrap();
    let signed = Stamp::new(&exe.metadata().unwrap());
    watch.packages.verified(signed, process, vec![([7; 32], 70)]);
    assert!(watch.answer(question, soon()) && watch.answer(Question::Size(70), soon()));
    assert!(!watch.answer(Question::Sha256([8; 32]), soon()));
    assert_eq!(told_of(&line, &hostile), 0);
    // Other signatures count: what was verified before is none any more.
    watch.held = Held::default();
    lock(&watch.shared).given = given(dir.path(), &[]);
    assert!(
        !watch.answer(question, soon()),
        "its program is no package manager"
    );
    lock(&watch.shared).given = given(&dir.path().join("var"), &[own]);
    assert!(!watch.answer(question, soon()), "the lock of another root");
    lock(&watch.shared).given = given(dir.path(), &[own]);
    assert!(!watch.answer(question, soon()), "verified by other keys");
    // It has no time.
    watch.packages.verified(signed, process, vec![([7; 32], 70)]);
    assert!(!watch.answer(question, Instant::now()));
    // Nobody holds the lock any more, but it was held by one who installed, until lately.
    drop(held);
    watch.held = Held::default();
    assert!(!watch.answer(question, soon()));
    let other = Process {
        start_ns: 1,
        ..process
    };
    watch.held.note(other);
    assert!(!watch.answer(question, soon()), "another process installed");
    watch.held.note(process);
    assert!(watch.answer(question, soon()));
    watch.holders.clear();
    watch.end();
    assert!(watch.opens.is_none() && watch.answer(question, soon()));
    assert_eq!(watch.pause(), Some(LOOK_HELD));
    watch.held = Held::default();
    assert!(!watch.answer(question, soon()));
    // Then nothing is kept.
    watch.end();
    assert!(watch.packages.is_empty() && watch.pause().is_none());
}

#[test]
fn who_holds_the_lock_is_remembered_though_nobody_asks() {
    let exe = File::open("/proc/self/exe").unwrap();
    let (own, _) = sha256_of(&exe).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("var/lib/rpm");
    fs::create_dir_all(&folder).unwrap();
    let (mut watch, _line) = watch(given(dir.path(), &[own]));
    let lock = File::create(folder.join(".rpm.lock")).unwrap();
    let (process, _) = Process::now(std::process::id()).unwrap();
    let seen = |watch: &mut Watch| {
        let given = watch.given();
        watch.see_holders(&given);
        watch.held.lately().collect::<Vec<_>>()
    };
    watch.begin();
    assert!(seen(&mut watch).is_empty(), "nobody holds it");
    crate::gate::locks::tests::take(&lock);
    let by = watch.given();
    if watch.opens.is_none() || watch.installs(&by, process.tgid, soon()).is_none() {
        return println!("skipped: not root, or no fanotify or leases here");
    }
    if !fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.contains("POSIX")) {
        return println!("skipped: no list of locks here");
    }
    assert_eq!(seen(&mut watch), [process]);
    assert_eq!(seen(&mut watch), [process], "the same again");
    watch.held = Held::default();
    believe(&watch, given(dir.path(), &[]));
    assert!(seen(&mut watch).is_empty(), "its program is no package manager");
    believe(&watch, given(dir.path(), &[own]));
    watch.opens = None;
    assert!(seen(&mut watch).is_empty(), "no package manager was executed");
}

fn believe(watch: &Watch, given: Arc<Given>) {
    lock(&watch.shared).given = given;
}
