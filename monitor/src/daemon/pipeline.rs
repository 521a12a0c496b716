//! The way of an event: decode, enrich, judge, record. One owner, no locks; nothing here waits for a disk.

mod counted;
mod other;

use self::counted::{ExecKey, Tallied};
use super::execs::{self, Known, Surroundings, Waiting};
use super::freeze::Freezer;
use super::kill::kill;
use super::packages::Queue;
use super::policy::{InForce, wants_record};
use super::recorder::Recorder;
use super::source::EventSource;
use super::tally::Keeper as TallyKeeper;
use super::writes::Watched;
use crate::config::{self, Config, Mode, RecordExec};
use crate::enrich::clock::Clock;
use crate::enrich::hash::Hashed;
use crate::enrich::pool::{DigestCache, Done, HashPool, Job};
use crate::enrich::{Proc, Users};
use crate::gate::package::Verified;
use crate::sensor::Lockers;
use crate::trust::{ExpectedFile, ExpectedFiles, LoadedTrust, SeenTrust};
use hardpan_core::aggregate::Aggregator;
use hardpan_core::event::{DecodeError, Event, Exec, RawText, Task, decode};
use hardpan_core::policy::rule::{Action, Decision, observed};
use hardpan_core::process::ProcessTable;
use hardpan_core::record::{Draft, ExecFacts, ExecSummary, Ledger, Scene, exec};
use hardpan_core::verdict::{ExecVerdict, NoDigest, TrustIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Processes whose executables are remembered.
const PROCESSES: usize = 32_768;

/// Length of a window that neither configuration nor policy sets.
const AGGREGATE_WINDOW: Duration = Duration::from_secs(60);

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Events in, records out.
#[derive(Debug)]
pub(super) struct Pipeline {
    record: RecordExec,
    /// What the configuration says of records beats the policy.
    configured: config::Record,
    /// In mode enforce only: observing touches nothing.
    freezer: Option<Freezer>,
    /// Processes are killed that the policy says must not run, where the kernel could not refuse them.
    kills: bool,
    clock: Clock,
    users: Users,
    proc: Proc,
    processes: ProcessTable,
    cache: DigestCache,
    pool: HashPool<Waiting>,
    trust: Option<Arc<LoadedTrust>>,
    policy: Option<Arc<InForce>>,
    aggregator: Aggregator<ExecKey, ExecSummary>,
    /// What the kernel only counts.
    tallies: TallyKeeper<Tallied>,
    /// Where every event went.
    pub ledger: Ledger,
    undecodable: BTreeMap<&'static str, u64>,
    /// Files of packages that are being installed.
    expected: ExpectedFiles,
    lockers: Option<Lockers>,
    /// Packages that wait to be verified.
    pub packages: Queue,
    /// What is watched for writes.
    pub watched: Arc<Watched>,
    /// Files that the gate was in doubt about, until somebody has a look at them.
    pub in_doubt: BTreeSet<PathBuf>,
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
            kills: false,
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
            tallies: TallyKeeper::default(),
            ledger: Ledger::default(),
            undecodable: BTreeMap::new(),
            packages: Queue::default(),
            in_doubt: BTreeSet::new(),
            expected: ExpectedFiles::new(),
            lockers: None,
            watched: Arc::default(),
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
        self.tallies.forget();
        self.trust = trust;
    }

    /// Who takes the lock of the package database.
    pub(super) fn set_lockers(&mut self, lockers: Option<Lockers>) {
        self.lockers = lockers;
    }

    /// Trusts the files of a package that this package manager (0: any) installs.
    pub(super) fn expect(&mut self, verified: &Verified, manager: u32) {
        /// More than any transaction brings.
        const MAX: usize = 200_000;
        if self.expected.len() + verified.files.len() <= MAX {
            let lockers = self.lockers.as_ref();
            for (digest, file) in &verified.files {
                let known = self.expected.get(digest);
                if known.is_none_or(|known| !known.counts(lockers)) {
                    let file = file.clone();
                    self.expected.insert(*digest, ExpectedFile { file, manager });
                }
            }
        }
    }

    /// Whether the policy's `kill` is carried out.
    pub(super) const fn set_kills(&mut self, kills: bool) {
        self.kills = kills;
    }

    /// What is judged by.
    pub(super) fn trust(&self) -> Option<Arc<LoadedTrust>> {
        self.trust.clone()
    }

    /// Decides by this from now on. What was counted under the policy before goes out under its epoch.
    pub(super) fn set_policy(&mut self, policy: Option<Arc<InForce>>, epoch: u64) {
        self.tallies.forget();
        self.flush();
        self.watched.want(policy.as_ref());
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
            Ok(Event::Object(event)) => self.take_object(&event),
            Ok(Event::Package(event)) => self.packages.push(*event),
            Err(error) => self.undecodable(&error),
        }
    }

    /// Takes a record that an earlier generation of programs left in its ring.
    pub(super) fn take_left(&mut self, bytes: &[u8]) {
        self.ledger.inherited = self.ledger.inherited.saturating_add(1);
        self.take(bytes);
    }

    /// Takes what the process told that answers for executions: how many records found no room, and one that did.
    pub(super) fn take_answered(&mut self, bytes: &[u8]) {
        let Some((lost, record)) = bytes.split_first_chunk() else {
            return;
        };
        let lost = u64::from_ne_bytes(*lost);
        self.ledger.answered = self.ledger.answered.saturating_add(lost);
        self.ledger.answered_lost = self.ledger.answered_lost.saturating_add(lost);
        if !record.is_empty() {
            self.ledger.answered = self.ledger.answered.saturating_add(1);
            self.take(record);
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
            if let Some(file) = task.exe {
                self.processes.insert_file(file, task.mnt_ns, &path);
            }
            self.processes.insert(task.process, path, task.exe);
        }
        if !complete {
            self.look_around(&event, &mut around);
            return self.submit(event, around, &known);
        }
        let facts = execs::facts(&event, &around, &known, None, None);
        let verdict = self.judge(&event, &facts, around.host_tree);
        if self.is_aggregated(&verdict) && !self.policy.as_ref().is_some_and(|policy| policy.asks_proc) {
            return self.decide(&event, &around, &facts, verdict);
        }
        self.look_around(&event, &mut around);
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
        let verdict = self.judge(event, &facts, around.host_tree);
        self.decide(event, around, &facts, verdict);
    }

    /// Decides about what was judged, and records or aggregates.
    fn decide(&mut self, event: &Exec, around: &Surroundings, facts: &ExecFacts, mut verdict: ExecVerdict) {
        // Before a vendor's file is called changed: is it really the host's? Processes of one mount namespace may
        // still have different roots.
        let task = &event.head.task;
        if execs::is_mismatch(&verdict) && !self.proc.sees_host_tree(task.process, task.mnt_ns) {
            verdict = self.judge(event, facts, false);
        }
        let policy = self.policy.clone();
        let decision = policy.as_ref().map(|policy| {
            let seen = observed::Around {
                container: around.looked.then_some(around.container.is_some()),
                parent_executable: around.parent_executable.as_ref(),
                cgroup: around.cgroup.as_deref(),
                asked: None,
            };
            policy.exec(event, facts, &verdict, seen)
        });
        let is_quiet = !decision.as_ref().is_some_and(wants_record);
        let rule = decision.as_ref().and_then(Decision::rule);
        if is_quiet && self.is_aggregated(&verdict) && self.aggregate(event, around, facts, &verdict, rule) {
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
        let mut draft = exec(event, facts, &verdict, &scene);
        if let Some(decision) = &decision {
            draft.decided(decision);
            if decision.action == Action::Kill && self.kills {
                draft.killed(&kill(&self.proc, event.head.task.process));
            }
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
            lockers: self.lockers.as_ref(),
        })
    }

    fn is_aggregated(&self, verdict: &ExecVerdict) -> bool {
        self.record == RecordExec::Untrusted && verdict.is_trusted()
    }

    fn parent_executable(&mut self, task: &Task) -> Option<RawText> {
        if let Some(known) = self.processes.parent_executable(task) {
            return Some(known.clone());
        }
        let found = self.proc.executable(task.parent)?;
        self.processes.insert(task.parent, found.clone(), task.parent_exe);
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
        self.count_unwritten();
    }

    /// What was recorded or aggregated and then found no room in any output was lost after all.
    pub(super) fn count_unwritten(&mut self) {
        let (recorded, aggregated) = self.recorder.take_unwritten();
        self.ledger.unwritten(recorded, aggregated);
    }

    /// Leaves word of how many events are written.
    pub(super) fn note(&self, source: &mut impl EventSource) {
        source.note(self.recorder.written(), self.ledger.inherited);
    }

    /// Leaves word that the stop record tells of everything up to here.
    pub(super) fn note_all(&self, source: &mut impl EventSource) {
        let ledger = &self.ledger;
        let all = ledger.received.saturating_add(ledger.lost_in_ring);
        source.note(all, ledger.inherited);
    }

    /// No more events will be hashed; those that wait still come back through [`done`](Self::done).
    pub(super) fn close_pool(&mut self) {
        self.pool.close();
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
