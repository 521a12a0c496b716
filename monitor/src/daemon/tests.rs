//! The whole way of events, from raw records to lines in a file, with real files, a real package database and a list
//! of records in the sensor's place.

use super::gate::Gate;
use super::health::Health;
use super::life::Daemon;
use super::notify::Notify;
use super::packages::Packages;
use super::pipeline::Pipeline;
use super::policy::Keeper;
use super::recorder::Recorder;
use super::source::EventSource;
use crate::config::{Config, RecordExec};
use crate::enrich::clock::{Clock, boottime_ns};
use crate::enrich::identity::file_info;
use crate::enrich::pool::{DigestCache, HashPool};
use crate::enrich::{Proc, Users, host};
use crate::export::{LogFile, Sequence, Sink};
use crate::trust::LoadedTrust;
use crate::trust::manifest::LocalTrust;
use hardpan_abi::{
    ABI_VERSION, Counter, CredEvent, CredIds, DigestState, EventHeader, EventKind, ExecEvent, FileInfo,
    ModuleEvent, TaskInfo, exec_flag,
};
use hardpan_core::platform::{HookReport, Probes, TierDecision, tier};
use hardpan_core::record::TrustState;
use hardpan_rpm::scan::{KeyMaterial, ScanOptions, scan};
use serde_json::Value;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use zerocopy::{FromZeros as _, IntoBytes as _};

/// Records in the sensor's place; its counters say what it has handed out.
#[derive(Default)]
struct Replay {
    records: VecDeque<Vec<u8>>,
    generated: u64,
    lost: u64,
}

impl Replay {
    fn push(&mut self, record: Vec<u8>) {
        self.records.push_back(record);
        self.generated += 1;
    }
}

impl EventSource for Replay {
    async fn next(&mut self, take: impl FnMut(&[u8])) -> io::Result<usize> {
        Ok(self.drain(take))
    }

    fn drain(&mut self, mut take: impl FnMut(&[u8])) -> usize {
        let n = self.records.len();
        self.records.drain(..).for_each(|record| take(&record));
        n
    }

    fn detach(&mut self) {}

    fn counters(&self) -> io::Result<Vec<u64>> {
        let mut counters = vec![0; 64];
        counters[Counter::ExecGenerated as usize] = self.generated + self.lost;
        counters[Counter::ExecLost as usize] = self.lost;
        Ok(counters)
    }

    fn hooks(&self) -> Vec<HookReport> {
        Vec::new()
    }
}

fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text);
    bytes
}

fn header(kind: EventKind, size: usize) -> EventHeader {
    let mut task = TaskInfo::new_zeroed();
    task.tgid = std::process::id();
    task.pid = task.tgid;
    task.parent_tgid = std::os::unix::process::parent_id();
    task.comm = padded(b"test");
    EventHeader {
        kind: kind as u16,
        abi_version: ABI_VERSION,
        size_bytes: u32::try_from(size).unwrap(),
        boottime_ns: boottime_ns().unwrap(),
        cpu: 0,
        generation: 1,
        task,
    }
}

/// An exec of a file at a path; with a digest it is the kernel's.
fn exec(path: &[u8], digest: Option<[u8; 32]>, file: FileInfo) -> Vec<u8> {
    let mut event = ExecEvent::new_zeroed();
    event.header = header(EventKind::Exec, size_of::<ExecEvent>());
    event.file = file;
    event.flags = exec_flag::PATH_FROM_KERNEL | exec_flag::SEEN_BY_LSM;
    event.path = padded(path);
    event.path_bytes = u16::try_from(path.len()).unwrap();
    if let Some(digest) = digest {
        event.digest = digest;
        event.digest_state = DigestState::Sha256 as u8;
    }
    event.as_bytes().to_vec()
}

fn cred() -> Vec<u8> {
    let mut event = CredEvent::new_zeroed();
    event.header = header(EventKind::Cred, size_of::<CredEvent>());
    event.old = CredIds {
        uid: 1000,
        euid: 1000,
        ..CredIds::default()
    };
    event.witness = 1;
    event.as_bytes().to_vec()
}

fn module() -> Vec<u8> {
    let mut event = ModuleEvent::new_zeroed();
    event.header = header(EventKind::ModuleLoad, size_of::<ModuleEvent>());
    event.sig_ok = 1;
    event.name = padded(b"nf_tables");
    event.as_bytes().to_vec()
}

/// Verified packages of a real database that was tampered with; `None` where the shared data is not at hand.
fn trust() -> Option<Arc<LoadedTrust>> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("var/lib/rpm");
    fs::create_dir_all(&dir).unwrap();
    let database = shared.join("rpmdb/el9-TAMPERED-dribble-filedigests.rpmdb.sqlite");
    if fs::copy(database, dir.join("rpmdb.sqlite")).is_err() {
        println!("skipped: no shared data");
        return None;
    }
    let (pins, _) = crate::trust::vendor_pins();
    let mut options = ScanOptions::new(root.path(), pins);
    for key in fs::read_dir(shared.join("keys")).unwrap() {
        let path = key.unwrap().path();
        options.keys.push(KeyMaterial {
            source: path.display().to_string(),
            bytes: fs::read(path).unwrap(),
        });
    }
    let outcome = scan(&options).unwrap();
    let state = TrustState {
        database: outcome.summary.database,
        loaded: true,
        packages_total: outcome.summary.packages,
        packages_verified: outcome.summary.verified,
        digests: 0,
    };
    Some(Arc::new(LoadedTrust {
        index: outcome.index,
        local: LocalTrust::default(),
        proven: hardpan_rpm::Proven::default(),
        state,
    }))
}

/// Path and digest of a file that a verified package owns and that is no configuration.
fn packaged(trust: &LoadedTrust) -> (Vec<u8>, [u8; 32]) {
    let owner = trust
        .index
        .files()
        .find(|f| f.sha256().is_some_and(|d| d != [0xff; 32]) && !f.is_config() && !f.is_ghost())
        .unwrap();
    (owner.path(), owner.sha256().unwrap())
}

struct Fixture {
    dir: TempDir,
    config: Config,
    decision: TierDecision,
}

impl Fixture {
    fn new(record: RecordExec) -> Self {
        let mut config = Config::default();
        config.record.exec = Some(record);
        let dir = tempfile::tempdir().unwrap();
        Self {
            dir,
            config,
            decision: tier(&Probes::untried("6.12.0", "x86_64", "a test")),
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("events.json")
    }

    /// Takes all records, stops, and reads back what was written.
    async fn run(&self, trust: Option<Arc<LoadedTrust>>, source: Replay) -> Vec<Value> {
        self.run_with(trust, None, source).await
    }

    async fn run_with(
        &self,
        trust: Option<Arc<LoadedTrust>>,
        policy: Option<&Keeper>,
        mut source: Replay,
    ) -> Vec<Value> {
        let sink = Sink::start("file", LogFile::open(&self.log()).unwrap(), 1000).unwrap();
        let (sequence, saved) = Sequence::open(self.dir.path(), "boot", 1);
        saved.unwrap();
        let root = Path::new("/");
        let recorder = Recorder::new(host(root), sequence, vec![sink]);
        let cache = DigestCache::new(100);
        let (pool, hashed) = HashPool::start(2, 100, 1 << 30, &cache).unwrap();
        let clock = Clock::now().unwrap();
        let mut pipeline = Pipeline::new(
            &self.config,
            clock,
            Users::below(root),
            Proc::below(root),
            cache,
            pool,
            recorder,
        );
        pipeline.set_trust(trust);
        if let Some(policy) = policy {
            pipeline.set_policy(policy.in_force(), policy.epoch());
        }
        let (_updates, trust) = tokio::sync::mpsc::channel(1);
        let (trust_config, _wanted) = tokio::sync::watch::channel(self.config.trust.clone());
        let (_looks, hardening) = tokio::sync::mpsc::channel(1);
        let (gate, gate_work) = Gate::new(self.dir.path(), false, self.decision.tier);
        let daemon = Daemon {
            gate,
            gate_work,
            packages: Packages::new(),
            config: &self.config,
            decision: &self.decision,
            pipeline,
            hashed,
            trust,
            trust_config,
            audits: tokio::sync::mpsc::channel(1).1,
            reload: Arc::default(),
            policy: Keeper::new(self.dir.path(), &self.config, self.decision.tier),
            hardening,
            health: Health::new(boottime_ns().unwrap()),
            notify: Notify::new(),
        };
        daemon.stop(&mut source, "test").await.unwrap();
        let lines: Vec<Value> = fs::read_to_string(self.log())
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for (line, number) in lines.iter().zip(1u64..) {
            assert_eq!(line["event"]["sequence"], number, "no gap");
        }
        lines
    }
}

fn verdicts(lines: &[Value]) -> Vec<String> {
    let mut verdicts: Vec<String> = lines
        .iter()
        .filter(|line| line["event"]["action"] == "exec")
        .map(|line| line["Hardpan"]["verdict"].as_str().unwrap().to_owned())
        .collect();
    verdicts.sort();
    verdicts
}

fn some_file() -> FileInfo {
    FileInfo {
        ino: 1,
        size_bytes: 1,
        nlink: 1,
        mode: 0o100_755,
        ..FileInfo::default()
    }
}

#[tokio::test]
async fn verdicts_come_from_signed_digests() {
    let Some(trust) = trust() else { return };
    let (path, digest) = packaged(&trust);
    let mut source = Replay::default();
    for _ in 0..5 {
        source.push(exec(&path, Some(digest), some_file()));
    }
    source.push(exec(&path, Some([7; 32]), some_file()));
    // What the tampered database claims for the package's files.
    source.push(exec(&path, Some([0xff; 32]), some_file()));
    source.push(exec(b"/tmp/x", Some([7; 32]), some_file()));
    let lines = Fixture::new(RecordExec::Untrusted)
        .run(Some(Arc::clone(&trust)), source)
        .await;
    assert_eq!(
        verdicts(&lines),
        ["digest-mismatch", "digest-mismatch", "untrusted"]
    );
    let aggregate: Vec<&Value> = lines
        .iter()
        .filter(|l| l["event"]["action"] == "exec-aggregate")
        .collect();
    assert_eq!(aggregate.len(), 1);
    assert_eq!(aggregate[0]["Hardpan"]["aggregate"]["count"], 5);
    let ledger = &lines.last().unwrap()["Hardpan"]["ledger"];
    assert_eq!(
        (&ledger["generated"], &ledger["recorded"], &ledger["aggregated"]),
        (&8.into(), &3.into(), &5.into())
    );
}

#[tokio::test]
async fn all_means_all() {
    let Some(trust) = trust() else { return };
    let (path, digest) = packaged(&trust);
    let mut source = Replay::default();
    for _ in 0..5 {
        source.push(exec(&path, Some(digest), some_file()));
    }
    let lines = Fixture::new(RecordExec::All).run(Some(trust), source).await;
    assert_eq!(verdicts(&lines), ["trusted"; 5]);
}

#[tokio::test]
async fn without_a_kernel_digest_the_very_file_is_hashed() {
    let Some(trust) = trust() else { return };
    let itself = std::env::current_exe().unwrap();
    let stat = nix::sys::stat::stat(&itself).unwrap();
    let magic = nix::sys::statfs::statfs(&itself).unwrap().filesystem_type().0;
    let info = file_info(&stat, u64::try_from(magic).unwrap());
    let path = itself.as_os_str().as_bytes();
    let mut source = Replay::default();
    // The file this process runs, as its inode is; and what claims to be another one.
    source.push(exec(path, None, info));
    source.push(exec(path, None, FileInfo { ctime_s: 1, ..info }));
    let lines = Fixture::new(RecordExec::Untrusted).run(Some(trust), source).await;
    assert_eq!(verdicts(&lines), ["untrusted", "unverified"]);
    let untrusted = lines
        .iter()
        .find(|line| line["Hardpan"]["verdict"] == "untrusted")
        .unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &fs::read(&itself).unwrap());
    assert_eq!(untrusted["process"]["hash"]["sha256"], hex::encode(digest));
    assert_eq!(untrusted["Hardpan"]["file"]["digest_source"], "user-space");
    let unverified = lines
        .iter()
        .find(|line| line["Hardpan"]["verdict"] == "unverified")
        .unwrap();
    assert_eq!(unverified["Hardpan"]["file"]["why"], "file-changed");
}

#[tokio::test]
async fn without_trust_everything_is_unverified() {
    let mut source = Replay::default();
    source.push(exec(b"/usr/bin/ls", Some([7; 32]), some_file()));
    let lines = Fixture::new(RecordExec::Untrusted).run(None, source).await;
    assert_eq!(verdicts(&lines), ["unverified"]);
    assert_eq!(lines[0]["Hardpan"]["file"]["why"], "no-trust-database");
}

#[tokio::test]
async fn the_books_balance() {
    let mut source = Replay {
        lost: 3,
        ..Replay::default()
    };
    source.push(cred());
    source.push(module());
    source.push(b"garbage".to_vec());
    source.push(exec(b"/x", Some([7; 32]), some_file()));
    let lines = Fixture::new(RecordExec::Untrusted).run(None, source).await;
    let actions: Vec<&str> = lines
        .iter()
        .map(|line| line["event"]["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "credentials-changed",
            "kernel-module-loaded",
            "exec",
            "hardpand-stopped"
        ]
    );
    let stop = lines.last().unwrap();
    assert_eq!(
        stop["message"],
        "hardpand stopped: 7 events = 3 recorded + 0 aggregated + 4 lost"
    );
    let ledger = &stop["Hardpan"]["ledger"];
    assert_eq!(
        (&ledger["unaccounted"], &ledger["pending"]),
        (&0.into(), &0.into())
    );
    assert_eq!(stop["Hardpan"]["counters"]["undecodable_short"], 1);
    assert_eq!(stop["Hardpan"]["counters"]["output_file_written_events"], 3);
}

#[tokio::test]
async fn events_that_nobody_received_are_told() {
    let mut source = Replay::default();
    source.push(exec(b"/x", Some([7; 32]), some_file()));
    // Somebody else took one out of the ring.
    source.generated += 1;
    let lines = Fixture::new(RecordExec::Untrusted).run(None, source).await;
    let finding = lines
        .iter()
        .find(|line| line["event"]["action"] == "events-unaccounted")
        .unwrap();
    assert_eq!(finding["Hardpan"]["finding"]["count"], 1);
    assert_eq!(lines.last().unwrap()["Hardpan"]["ledger"]["unaccounted"], 1);
}

/// A root with a release and local policies, and the daemon's keeper for it.
struct PolicyRoot {
    dir: TempDir,
    keeper: Keeper,
}

impl PolicyRoot {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc/hardpan/policies")).unwrap();
        fs::write(dir.path().join("etc/os-release"), "ID=rocky\nVERSION_ID=9.6\n").unwrap();
        let mut config = Config::default();
        config.policy.hardware = Some("x86-64-v3".to_owned());
        let keeper = Keeper::new(dir.path(), &config, hardpan_core::platform::Tier::A);
        Self { dir, keeper }
    }

    fn local(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join("etc/hardpan/policies").join(name), text).unwrap();
    }

    fn load(&mut self) -> (Option<String>, Vec<String>) {
        let news = self.keeper.load(std::time::SystemTime::now());
        let codes = news.findings.iter().map(|finding| finding.code.word().to_owned());
        (news.loaded.map(|state| state.layers), codes.collect())
    }
}

#[test]
fn a_bad_policy_leaves_the_one_in_force() {
    let mut root = PolicyRoot::new();
    let layers = "el9/rocky/x86-64-v3/server/balanced".to_owned();
    assert_eq!(root.load(), (Some(layers.clone()), Vec::new()));
    assert_eq!(root.keeper.epoch(), 1);
    assert_eq!(root.load(), (None, Vec::new()), "nothing new");
    root.local("20-site.toml", "schema = 1\ngate.mod = 1\n");
    let (loaded, codes) = root.load();
    assert_eq!(loaded, None);
    assert!(codes.contains(&"policy-rejected".to_owned()), "{codes:?}");
    assert_eq!(root.keeper.epoch(), 1);
    root.local("20-site.toml", "schema = 1\n[sweep]\ntasks_interval_ms = 900\n");
    assert_eq!(root.load(), (Some(layers), Vec::new()));
    assert_eq!(root.keeper.epoch(), 2);
    let mut audit = Config::default().audit;
    assert_eq!(
        root.keeper.audit(&audit).interval,
        std::time::Duration::from_secs(86_400)
    );
    audit.interval = std::time::Duration::from_secs(3600);
    assert_eq!(root.keeper.audit(&audit), audit);
    let configured = Config::default().trust;
    assert_eq!(root.keeper.trust(&configured), configured);
    root.local(
        "20-site.toml",
        "schema = 1\n[trust]\nforeign_packages = \"distrust\"\nlegacy_signatures = \"accept\"\n",
    );
    root.load();
    let wanted = root.keeper.trust(&configured);
    assert_eq!(
        (wanted.key_sets.as_deref(), wanted.legacy_signatures),
        (Some(["rocky".to_owned(), "epel".to_owned()].as_slice()), true)
    );
    root.local("20-site.toml", "schema = 1\n[gate]\nmode = \"enforce\"\n");
    assert_eq!(root.load().1, ["enforce-unavailable"]);
    fs::write(
        root.dir.path().join("etc/os-release"),
        "ID=centos\nVERSION_ID=8\n",
    )
    .unwrap();
    let (layers, codes) = root.load();
    assert!(layers.unwrap().starts_with("el8/centos-stream/"));
    assert!(codes.contains(&"release-end-of-life".to_owned()), "{codes:?}");
}

#[test]
fn a_host_of_another_kind_has_no_policy_and_says_so() {
    let mut root = PolicyRoot::new();
    fs::write(
        root.dir.path().join("etc/os-release"),
        "ID=debian\nVERSION_ID=12\n",
    )
    .unwrap();
    assert_eq!(root.load(), (None, vec!["policy-none".to_owned()]));
    assert_eq!(root.keeper.epoch(), 0);
    assert!(root.keeper.in_force().is_none());
}

#[test]
fn the_policy_says_what_is_done_about_a_tampered_task() {
    use hardpan_abi::{TaskFindingKind as Kind, TaskResponse as Response};
    let mut root = PolicyRoot::new();
    root.load();
    let done = |keeper: &Keeper, configured, kind| {
        let responses = keeper.responses(configured);
        responses.into_iter().find(|(other, _)| *other == kind).unwrap().1
    };
    assert_eq!(
        done(&root.keeper, None, Kind::CredEdited),
        Response::Record,
        "observe"
    );
    let mut config = Config::default();
    config.mode = crate::config::Mode::Enforce;
    config.policy.hardware = Some("x86-64-v3".to_owned());
    config.policy.level = Some("strict".to_owned());
    let mut keeper = Keeper::new(root.dir.path(), &config, hardpan_core::platform::Tier::A);
    keeper.load(std::time::SystemTime::now());
    assert_eq!(done(&keeper, None, Kind::CredEdited), Response::Kill);
    assert_eq!(done(&keeper, None, Kind::CredNoWitness), Response::Deny);
    assert_eq!(
        done(&keeper, Some(Response::Kill), Kind::CredNoWitness),
        Response::Kill
    );
    assert_eq!(
        done(&keeper, Some(Response::Kill), Kind::Accessed),
        Response::Deny,
        "a debugger"
    );
    let milliseconds = std::time::Duration::from_millis;
    assert_eq!(keeper.sweep(None), milliseconds(5000));
    assert_eq!(keeper.sweep(Some(milliseconds(300))), milliseconds(300));
}

#[tokio::test]
async fn rules_decide_and_are_counted() {
    let Some(trust) = trust() else { return };
    let (path, digest) = packaged(&trust);
    let mut root = PolicyRoot::new();
    root.local(
        "20-site.toml",
        "schema = 1\n\
         [[rules.prepend]]\nname = \"agent\"\non = [\"exec\"]\naction = \"allow\"\nobject.path = [\"/opt/agent\"]\n\
         [[rules.append]]\nname = \"watched\"\non = [\"exec\"]\naction = \"alert\"\nobject.class = [\"trusted\"]\n\
         subject.uid = [0]\n",
    );
    assert_eq!(root.load().1, Vec::<String>::new());
    let mut source = Replay::default();
    source.push(exec(&path, Some(digest), some_file()));
    source.push(exec(b"/opt/agent", Some([7; 32]), some_file()));
    source.push(exec(b"/opt/other", Some([8; 32]), some_file()));
    let lines = Fixture::new(RecordExec::Untrusted)
        .run_with(Some(trust), Some(&root.keeper), source)
        .await;
    let policies: Vec<(String, String, String)> = lines
        .iter()
        .filter(|line| line["event"]["action"] == "exec")
        .map(|line| {
            let policy = &line["Hardpan"]["policy"];
            assert_eq!(policy["epoch"], 1);
            [&line["event"]["kind"], &policy["action"], &policy["rule"]]
                .map(|value| value.as_str().unwrap_or("-").to_owned())
                .into()
        })
        .collect();
    let expected = [
        ("alert", "alert", "watched"),
        ("event", "allow", "agent"),
        ("alert", "alert", "-"),
    ];
    assert_eq!(
        policies,
        expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()))
    );
    let hits = root.keeper.state().unwrap().hits;
    assert_eq!((hits["agent"], hits["watched"], hits["default"]), (1, 1, 1));
}

#[test]
fn the_kernel_only_counts_what_no_rule_wants_recorded() {
    let mut root = PolicyRoot::new();
    assert_eq!(root.load().1, Vec::<String>::new());
    assert!(root.keeper.in_force().unwrap().may_tally);
    for (rule, may_tally) in [
        ("action = \"allow\"\nobject.path = [\"/opt/agent\"]", true),
        ("action = \"deny\"\nobject.class = [\"untrusted\"]", true),
        ("action = \"allow\"\nrecord = true\nsubject.uid = [0]", false),
        ("action = \"alert\"\nobject.path = [\"/usr/bin/nc\"]", false),
    ] {
        let head = "schema = 1\n[[rules.append]]\nname = \"site\"\non = [\"exec\"]\n";
        root.local("20-site.toml", &format!("{head}{rule}\n"));
        assert_eq!(root.load().1, Vec::<String>::new(), "{rule}");
        let in_force = root.keeper.in_force().unwrap();
        assert_eq!(in_force.may_tally, may_tally, "{rule}");
        in_force.tallied(Some(usize::MAX), 3);
    }
    root.keeper.in_force().unwrap().tallied(None, 7);
    assert_eq!(root.keeper.state().unwrap().hits["default"], 7);
}
