//! The way of an event: decode, enrich, judge, record. One owner, no locks; nothing here waits for a disk.

use super::execs::{self, Known, Surroundings, Waiting};
use super::freeze::Freezer;
use super::packages::{Looked, Queue, Verified};
use super::policy::{InForce, wants_record};
use super::recorder::Recorder;
use crate::config::{self, Config, Mode, RecordExec};
use crate::enrich::clock::Clock;
use crate::enrich::hash::Hashed;
use crate::enrich::identity::Identity;
use crate::enrich::pool::{DigestCache, Done, HashPool, Job};
use crate::enrich::{Proc, Users};
use crate::trust::{ExpectedFiles, LoadedTrust, SeenTrust};
use hardpan_abi::{TaskFindingKind, TaskResponse};
use hardpan_core::aggregate::{Aggregate, Aggregator};
use hardpan_core::event::{
    CredChange, DecodeError, Event, Exec, GateEvent, ModuleAction, ModuleChange, RawText, Task, TaskFinding,
    decode,
};
use hardpan_core::policy::rule::observed;
use hardpan_core::process::ProcessTable;
use hardpan_core::record::{
    DigestSource, Draft, ExecFacts, ExecSummary, FileDigest, FileFacts, GateFacts, Ledger, PathSource, Scene,
    cred_change, exec, exec_aggregate, gate, module_change, package_opened, task_finding,
};
use hardpan_core::verdict::{ExecVerdict, NoDigest, Subject, TrustIndex, Verdict, judge};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// Processes whose executables are remembered.
const PROCESSES: usize = 32_768;

/// Length of a window that neither configuration nor policy sets.
const AGGREGATE_WINDOW: Duration = Duration::from_secs(60);

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What executions must share to be counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ExecKey {
    file: [u8; 32],
    script: Option<[u8; 32]>,
    parent: RawText,
    uid: u32,
}

/// Events in, records out.
#[derive(Debug)]
pub(super) struct Pipeline {
    record: RecordExec,
    /// What the configuration says of records beats the policy.
    configured: config::Record,
    /// In mode enforce only: observing touches nothing.
    freezer: Option<Freezer>,
    clock: Clock,
    users: Users,
    proc: Proc,
    processes: ProcessTable,
    cache: DigestCache,
    pool: HashPool<Waiting>,
    trust: Option<Arc<LoadedTrust>>,
    policy: Option<Arc<InForce>>,
    aggregator: Aggregator<ExecKey, ExecSummary>,
    /// Where every event went.
    pub ledger: Ledger,
    undecodable: BTreeMap<&'static str, u64>,
    /// Files of packages that are being installed.
    expected: ExpectedFiles,
    /// Packages that wait to be verified.
    pub packages: Queue,
    /// The way out.
    pub recorder: Recorder,
}

impl Pipeline {
    /// A pipeline without trust: every verdict is "unverified" until [`set_trust`](Self::set_trust).
    pub(super) fn new(
        config: &Config,
        clock: Clock,
        users: Users,
        proc: Proc,
        cache: DigestCache,
        pool: HashPool<Waiting>,
        recorder: Recorder,
    ) -> Self {
        Self {
            record: config.record.exec.unwrap_or(RecordExec::Untrusted),
            configured: config.record.clone(),
            freezer: (config.mode == Mode::Enforce).then(|| Freezer::below(Path::new("/"))),
            clock,
            users,
            proc,
            processes: ProcessTable::new(PROCESSES),
            cache,
            pool,
            trust: None,
            policy: None,
            aggregator: Aggregator::new(
                nanoseconds(config.record.aggregate_window.unwrap_or(AGGREGATE_WINDOW)),
                config.record.aggregate_max_keys,
            ),
            ledger: Ledger::default(),
            undecodable: BTreeMap::new(),
            packages: Queue::default(),
            expected: ExpectedFiles::new(),
            recorder,
        }
    }

    /// Judges by this from now on.
    pub(super) fn set_trust(&mut self, trust: Option<Arc<LoadedTrust>>) {
        if let Some(trust) = &trust {
            // What the database lists by now is its business.
            self.expected
                .retain(|sha256, _| trust.index.lookup(sha256).is_none());
        }
        self.trust = trust;
    }

    /// Trusts the files of a package that is being installed.
    pub(super) fn expect(&mut self, verified: &Verified) {
        /// More than any transaction brings.
        const MAX: usize = 200_000;
        if self.expected.len() + verified.files.len() <= MAX {
            self.expected.extend(verified.files.iter().cloned());
        }
    }

    /// What is judged by.
    pub(super) fn trust(&self) -> Option<Arc<LoadedTrust>> {
        self.trust.clone()
    }

    /// Decides by this from now on. What was counted under the policy before goes out under its epoch.
    pub(super) fn set_policy(&mut self, policy: Option<Arc<InForce>>, epoch: u64) {
        self.flush();
        if let Some(policy) = &policy {
            let every = if policy.recording.every_exec {
                RecordExec::All
            } else {
                RecordExec::Untrusted
            };
            self.record = self.configured.exec.unwrap_or(every);
            let window = Duration::from_secs(u64::from(policy.recording.aggregate_s));
            self.aggregator
                .set_window(nanoseconds(self.configured.aggregate_window.unwrap_or(window)));
            self.pool.set_budget(policy.hash_bytes_per_s);
        }
        self.policy = policy;
        self.recorder.set_epoch(epoch);
    }

    /// Takes a raw record from a ring.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.ledger.received = self.ledger.received.saturating_add(1);
        match decode(bytes) {
            Ok(Event::Exec(event)) => self.take_exec(event),
            Ok(Event::Cred(event)) => self.take_cred(&event),
            Ok(Event::Module(event)) => self.take_module(&event),
            Ok(Event::Task(event)) => self.take_task(&event),
            Ok(Event::Gate(event)) => self.take_gate(&event),
            Ok(Event::Package(event)) => self.packages.push(*event),
            Err(error) => self.undecodable(&error),
        }
    }

    fn undecodable(&mut self, error: &DecodeError) {
        self.ledger.undecodable = self.ledger.undecodable.saturating_add(1);
        *self.undecodable.entry(error.word()).or_default() += 1;
    }

    fn take_exec(&mut self, event: Box<Exec>) {
        let known = Known::of(&event, &self.cache);
        let task = &event.head.task;
        let parent_executable = self.parent_executable(task);
        // Without the kernel's path the link in /proc is the only good one, and it is there only now.
        let proc_executable = if event.path_from_kernel && !event.path_cut {
            None
        } else {
            self.proc.executable(task.process)
        };
        let complete = known.is_complete(&event);
        let mut around = Surroundings {
            at_us: self.clock.unix_us(event.head.boottime_ns),
            proc_executable,
            parent_executable,
            working_directory: None,
            container: None,
            cgroup: None,
            looked: false,
            host_tree: self.proc.saw_host_tree(task.process, task.mnt_ns),
        };
        if let Some((path, _)) = execs::executable(&event, around.proc_executable.as_ref()) {
            self.processes.insert(task.process, path);
        }
        if !complete {
            self.look_around(&event, &mut around);
            return self.submit(event, around, &known);
        }
        let facts = execs::facts(&event, &around, &known, None, None);
        let verdict = self.judge(&event, &facts, around.host_tree);
        if !self.is_aggregated(&verdict) || self.policy.as_ref().is_some_and(|policy| policy.asks_proc) {
            self.look_around(&event, &mut around);
        }
        self.settle(&event, &around, &known, None, None);
    }

    /// What only records of single execs tell.
    fn look_around(&mut self, event: &Exec, around: &mut Surroundings) {
        let task = &event.head.task;
        around.working_directory = self.proc.working_directory(task.process);
        around.container = self.proc.container(task.process, task.cgroup_id);
        if self.policy.as_ref().is_some_and(|policy| policy.asks_proc) {
            around.cgroup = self.proc.cgroup(task.process);
        }
        around.looked = true;
    }

    fn submit(&mut self, event: Box<Exec>, around: Surroundings, known: &Known) {
        let file = known
            .file
            .is_none()
            .then(|| execs::wanted_file(&event, &around, &self.proc));
        let script = (known.script.is_none() && execs::has_script(&event))
            .then(|| execs::wanted_script(&event, &around, &self.proc));
        let job = Box::new(Job {
            event: Waiting { exec: event, around },
            file,
            script,
        });
        if let Err(job) = self.pool.submit(job) {
            let Waiting { exec, around } = job.event;
            self.settle(&exec, &around, known, None, None);
        }
    }

    /// Takes a hashed exec back.
    pub(super) fn done(&mut self, done: &Done<Waiting>) {
        let Waiting { exec, around } = &done.event;
        let known = Known::of(exec, &self.cache);
        self.settle(exec, around, &known, done.file.as_ref(), done.script.as_ref());
    }

    /// Judges and records, or aggregates.
    fn settle(
        &mut self,
        event: &Exec,
        around: &Surroundings,
        known: &Known,
        file: Option<&Result<Hashed, NoDigest>>,
        script: Option<&Result<Hashed, NoDigest>>,
    ) {
        let facts = execs::facts(event, around, known, file, script);
        let mut verdict = self.judge(event, &facts, around.host_tree);
        // Before a vendor's file is called changed: is it really the host's? Processes of one mount namespace may
        // still have different roots.
        let task = &event.head.task;
        if execs::is_mismatch(&verdict) && !self.proc.sees_host_tree(task.process, task.mnt_ns) {
            verdict = self.judge(event, &facts, false);
        }
        let policy = self.policy.clone();
        let decision = policy.as_ref().map(|policy| {
            let seen = observed::Around {
                container: around.looked.then_some(around.container.is_some()),
                parent_executable: around.parent_executable.as_ref(),
                cgroup: around.cgroup.as_deref(),
            };
            policy.exec(event, &facts, &verdict, seen)
        });
        let is_quiet = !decision.as_ref().is_some_and(wants_record);
        if is_quiet && self.is_aggregated(&verdict) && self.aggregate(event, around, &facts, &verdict) {
            return;
        }
        let user_name = |uid| self.users.name(uid);
        let scene = Scene {
            at_us: around.at_us,
            boot_id: self.recorder.boot_id(),
            user_name: &user_name,
            executable: None,
            parent_executable: around.parent_executable.as_ref(),
            working_directory: around.working_directory.as_ref(),
            container: around.container.as_ref(),
        };
        let mut draft = exec(event, &facts, &verdict, &scene);
        if let Some(decision) = &decision {
            draft.decided(decision);
        }
        self.record(&draft);
    }

    fn judge(&self, event: &Exec, facts: &ExecFacts, host_tree: bool) -> ExecVerdict {
        let seen = self.seen();
        let trust = seen.as_ref().map(|seen| seen as &dyn TrustIndex);
        execs::verdict(event, facts, host_tree, trust)
    }

    /// What is trusted, as the policy has it.
    fn seen(&self) -> Option<SeenTrust<'_>> {
        // Without a policy nobody has said that they count.
        let accepts_local_unsigned = self
            .policy
            .as_ref()
            .is_some_and(|policy| policy.accepts_local_unsigned);
        self.trust.as_deref().map(|trust| SeenTrust {
            trust,
            accepts_local_unsigned,
            expected: &self.expected,
        })
    }

    /// The verdict on a file that is no execution's.
    fn judge_file(&self, file: &FileFacts, no_link: bool, host_tree: bool) -> Verdict {
        let seen = self.seen();
        let path = file.path.as_ref().map(|(path, _)| path.as_bytes());
        let subject = Subject {
            digest: file.digest.as_ref().map(|digest| &digest.sha256),
            host_path: path.filter(|path| host_tree && path.starts_with(b"/")),
            no_link,
        };
        judge(&subject, seen.as_ref().map(|seen| seen as &dyn TrustIndex))
    }

    fn is_aggregated(&self, verdict: &ExecVerdict) -> bool {
        self.record == RecordExec::Untrusted && verdict.is_trusted()
    }

    /// Counts a trusted exec together with its like. `false` if it is not one after all.
    fn aggregate(
        &mut self,
        event: &Exec,
        around: &Surroundings,
        facts: &ExecFacts,
        verdict: &ExecVerdict,
    ) -> bool {
        let (Verdict::Trusted(file), Ok(digest)) = (&verdict.file, &facts.file.digest) else {
            return false;
        };
        let script = match (&facts.script, &verdict.script) {
            (Some(facts), Some(Verdict::Trusted(owner))) => {
                let Ok(digest) = &facts.digest else { return false };
                Some((
                    facts.path.as_ref().map(|(path, _)| path.clone()),
                    digest.sha256,
                    owner.clone(),
                ))
            }
            (None, None) => None,
            _ => return false,
        };
        let task = &event.head.task;
        let parent = around
            .parent_executable
            .clone()
            .unwrap_or_else(|| task.parent_comm.clone());
        let key = ExecKey {
            file: digest.sha256,
            script: script.as_ref().map(|(_, sha256, _)| *sha256),
            parent: parent.clone(),
            uid: event.creds.euid,
        };
        let users = &self.users;
        let flushed = self.aggregator.add(key, event.head.boottime_ns, || ExecSummary {
            executable: facts.file.path.as_ref().map(|(path, _)| path.clone()),
            sha256: digest.sha256,
            file: file.clone(),
            script,
            parent,
            uid: event.creds.euid,
            user_name: users.name(event.creds.euid),
        });
        self.record_aggregates(&flushed);
        true
    }

    fn record_aggregates(&mut self, flushed: &[Aggregate<ExecKey, ExecSummary>]) {
        for aggregate in flushed {
            let [first_us, last_us] =
                [aggregate.first_ns, aggregate.last_ns].map(|ns| self.clock.unix_us(ns));
            let draft = exec_aggregate(aggregate, last_us, first_us, last_us);
            self.ledger.aggregated = self.ledger.aggregated.saturating_add(draft.events());
            self.recorder.emit(&draft);
        }
    }

    fn take_cred(&mut self, event: &CredChange) {
        let task = event.head.task.clone();
        let around = self.scene_of(&task, event.head.boottime_ns);
        let user_name = |uid| self.users.name(uid);
        let draft = cred_change(event, &around.scene(self.recorder.boot_id(), &user_name));
        self.record(&draft);
    }

    fn take_module(&mut self, event: &ModuleChange) {
        let task = event.head.task.clone();
        let around = self.scene_of(&task, event.head.boottime_ns);
        let build_id = match event.action {
            ModuleAction::Load => self.proc.module_build_id(&event.name),
            ModuleAction::Free => None,
        };
        let user_name = |uid| self.users.name(uid);
        let mut draft = module_change(
            event,
            build_id.as_deref(),
            &around.scene(self.recorder.boot_id(), &user_name),
        );
        if let Some(policy) = self
            .policy
            .as_ref()
            .filter(|_| event.action == ModuleAction::Load)
        {
            let cgroup = policy.asks_proc.then(|| self.proc.cgroup(task.process)).flatten();
            let seen = observed::Around {
                container: Some(around.container.is_some()),
                parent_executable: around.parent_executable.as_ref(),
                cgroup: cgroup.as_deref(),
            };
            draft.decided(&policy.module(event, seen));
        }
        self.record(&draft);
    }

    fn take_task(&mut self, event: &TaskFinding) {
        let around = self.scene_of(&event.task, event.head.boottime_ns);
        let user_name = |uid| self.users.name(uid);
        let mut draft = task_finding(event, &around.scene(self.recorder.boot_id(), &user_name));
        // Where the response is a record only, and where memory was accessed and nothing tampered with, nothing is frozen.
        let is_answered = event.response != TaskResponse::Record && event.kind != TaskFindingKind::Accessed;
        if let Some(freezer) = &self.freezer
            && is_answered
            && self.policy.as_ref().is_some_and(|policy| policy.freeze_cgroup)
        {
            draft.froze(&freezer.freeze(&self.proc, event.task.process, event.task.cgroup_id));
        }
        if let Some(policy) = &self.policy {
            let cgroup = policy
                .asks_proc
                .then(|| self.proc.cgroup(event.task.process))
                .flatten();
            let seen = observed::Around {
                container: Some(around.container.is_some()),
                parent_executable: around.parent_executable.as_ref(),
                cgroup: cgroup.as_deref(),
            };
            draft.decided(&policy.task(event, seen));
        }
        warn!("{}", draft.message());
        self.record(&draft);
    }

    fn take_gate(&mut self, event: &GateEvent) {
        let task = event.head.task.clone();
        let around = self.scene_of(&task, event.head.boottime_ns);
        let host_tree = self.proc.saw_host_tree(task.process, task.mnt_ns);
        let source = if event.digest_cached {
            DigestSource::KernelCache
        } else {
            DigestSource::Kernel
        };
        let digest = match (event.digest.sha256(), Identity::of_event(&event.file)) {
            (Some(sha256), _) => Ok(FileDigest {
                sha256: *sha256,
                source,
            }),
            (None, Some(identity)) => self.cache.get(&identity).map_or(Err(NoDigest::Busy), |sha256| {
                Ok(FileDigest {
                    sha256,
                    source: DigestSource::UserSpace,
                })
            }),
            (None, None) => Err(NoDigest::Busy),
        };
        let file = FileFacts {
            path: event.path.clone().map(|path| (path, PathSource::Kernel)),
            digest,
            kernel: event.digest,
            info: Some(event.file),
        };
        let verdict = self.judge_file(&file, event.file.nlink == 0, host_tree);
        let policy = self.policy.clone();
        let facts = GateFacts {
            file,
            verdict,
            rule: event
                .rule
                .and_then(|rule| policy.as_ref().and_then(|policy| policy.kernel_rule(rule))),
        };
        let user_name = |uid| self.users.name(uid);
        let draft = gate(event, &facts, &around.scene(self.recorder.boot_id(), &user_name));
        self.record(&draft);
    }

    /// Records what became of a package that a package manager opened.
    pub(super) fn record_package(&mut self, looked: &Looked) {
        let event = &looked.event;
        let around = self.scene_of(&event.head.task, event.head.boottime_ns);
        let user_name = |uid| self.users.name(uid);
        let found = match &looked.found {
            Ok(verified) => Ok((
                &verified.package,
                verified.signer.as_str(),
                verified.digests.len(),
            )),
            Err(why) => Err(why.as_str()),
        };
        let draft = package_opened(event, found, &around.scene(self.recorder.boot_id(), &user_name));
        self.record(&draft);
    }

    fn scene_of(&mut self, task: &Task, boottime_ns: u64) -> Around {
        Around {
            at_us: self.clock.unix_us(boottime_ns),
            executable: self
                .processes
                .executable(&task.process)
                .cloned()
                .or_else(|| self.proc.executable(task.process)),
            parent_executable: self.parent_executable(task),
            working_directory: self.proc.working_directory(task.process),
            container: self.proc.container(task.process, task.cgroup_id),
        }
    }

    fn parent_executable(&mut self, task: &Task) -> Option<RawText> {
        if let Some(known) = self.processes.executable(&task.parent) {
            return Some(known.clone());
        }
        let found = self.proc.executable(task.parent)?;
        self.processes.insert(task.parent, found.clone());
        Some(found)
    }

    fn record(&mut self, draft: &Draft) {
        self.ledger.recorded = self.ledger.recorded.saturating_add(draft.events());
        self.recorder.emit(draft);
    }

    /// What has to be done every second.
    pub(super) fn tick(&mut self, clock: Clock, boottime_ns: u64) {
        self.clock = clock;
        self.users.refresh();
        let due = self.aggregator.flush_due(boottime_ns);
        self.record_aggregates(&due);
        self.recorder.check_sinks(clock.unix_us(boottime_ns));
    }

    /// No more events will be hashed; those that wait still come back through [`done`](Self::done).
    pub(super) fn close_pool(&mut self) {
        self.pool.close();
    }

    /// Puts out what has been aggregated.
    pub(super) fn flush(&mut self) {
        let rest = self.aggregator.flush();
        self.record_aggregates(&rest);
    }

    /// Counters for heartbeat and stop, by name.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        for (word, count) in &self.undecodable {
            counters.insert(format!("undecodable_{}", word.replace('-', "_")), *count);
        }
        counters.insert(
            "aggregate_early_flushes".to_owned(),
            self.aggregator.early_flushes(),
        );
        counters.insert("aggregate_pending_events".to_owned(), self.aggregator.pending());
        self.recorder.counters(&mut counters);
        counters
    }
}

/// Surroundings of events that are no execs.
struct Around {
    at_us: i64,
    executable: Option<RawText>,
    parent_executable: Option<RawText>,
    working_directory: Option<RawText>,
    container: Option<hardpan_core::process::Container>,
}

impl Around {
    fn scene<'a>(&'a self, boot_id: &'a str, user_name: &'a dyn Fn(u32) -> Option<String>) -> Scene<'a> {
        Scene {
            at_us: self.at_us,
            boot_id,
            user_name,
            executable: self.executable.as_ref(),
            parent_executable: self.parent_executable.as_ref(),
            working_directory: self.working_directory.as_ref(),
            container: self.container.as_ref(),
        }
    }
}
