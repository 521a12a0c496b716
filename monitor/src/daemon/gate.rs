//! The exec gate in the daemon: trust and policy go into the kernel's maps, and enforcement begins only when nothing
//! that runs would be refused.

mod fanotify;
mod kernel;
mod stance;

use super::fallback::Fallback;
use super::packages::{Provisional, Withdrawn};
use super::policy::InForce;
use super::source::EventSource;
use super::withdrawn::Strays;
use crate::chain::chain;
use crate::config::Trust;
use crate::enrich::Proc;
use crate::gate::fallback::{self, Filled};
use crate::gate::locks::holders;
use crate::gate::{self, Entries, Obstacle, entries, obstacles};
use crate::harden::Root;
use crate::sensor::{Lockers, Remembered, Sensor, SubjectIds, Subjects};
use crate::trust::LoadedTrust;
use hardpan_abi::{GateClass, GateConfig, GateHook, GateMode};
use hardpan_core::gate::Known;
use hardpan_core::platform::{HookState, Tier};
use hardpan_core::record::{Finding, FindingCode};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Time between two looks whether enforcement may begin.
const RETRY: Duration = Duration::from_secs(30);
/// Tier B: time after which digests of libraries are put into the kernel again. It forgets them with the inode.
const REFILL: Duration = Duration::from_secs(300);

/// Time within which the package database must list a package, where no policy says another.
const WITHIN: Duration = Duration::from_secs(900);

/// What was worked out off the event loop.
#[derive(Debug)]
pub(super) struct Worked {
    entries: Entries,
    policy: Arc<InForce>,
    /// Obstacles to enforcement and their number; `None` if nobody asked.
    obstacles: Option<(Vec<Obstacle>, usize)>,
    /// Digests of what ran already, if they were put into the kernel meanwhile.
    remembered: Option<Remembered>,
    /// Tier B: verdicts that were put into the kernel, or why not.
    filled: Option<Result<Filled, String>>,
    /// Tier C: digests of what runs and must run.
    known: Vec<Known>,
}

/// What the daemon tells about it.
#[derive(Debug, Default)]
pub(super) struct News {
    /// What is wrong, the whole of it.
    pub findings: Vec<Finding>,
    /// The mode changed: to which, and why.
    pub mode: Option<(GateMode, String)>,
}

/// The gate as the kernel has it.
#[derive(Debug)]
pub(super) struct Gate {
    root: PathBuf,
    state_dir: PathBuf,
    configured: bool,
    tier: Tier,
    capacity: u32,
    held: Entries,
    epoch: u32,
    mode: GateMode,
    working: bool,
    again: bool,
    last_look: Option<Instant>,
    results: mpsc::Sender<Worked>,
    /// Why no program of the gate runs here.
    missing: Option<String>,
    /// The operator's files when last looked at.
    operator: [Option<(u64, i64, i64)>; 2],
    operator_known: bool,
    /// Searches for who runs what was not installed.
    pub(super) strays: Strays,
    /// Packages that are being installed.
    provisional: Provisional,
    /// Which package managers take the lock of the package database.
    lockers: Option<Lockers>,
    /// The settings in the kernel.
    config: Option<GateConfig>,
    /// Where digests of what runs already go, until they are there.
    subjects: Option<Subjects>,
    /// They are.
    knows_subjects: bool,
    /// Tier B: number of the kernel's memory of inodes.
    maps: Option<SubjectIds>,
    /// Digests of scripts are put into the kernel in advance: it takes none of what interpreters open.
    fills_scripts: bool,
    /// Tier B: who takes digests of what is executed. Tier C: who refuses it.
    pub(super) fallback: Fallback,
    /// Tier C: digests of what runs and must run, taken in advance.
    known: Vec<Known>,
    /// Tier C: whose signatures on packages count, for who answers.
    believed: Option<Trust>,
    /// Tier C: executions of what is in anonymous memory are asked about.
    pub(super) sees_memory: bool,
}

impl Gate {
    /// `configured`: the configuration says `enforce`.
    pub(super) fn new(state_dir: &Path, configured: bool, tier: Tier) -> (Self, mpsc::Receiver<Worked>) {
        let (results, worked) = mpsc::channel(1);
        let gate = Self {
            root: PathBuf::from("/"),
            state_dir: state_dir.to_owned(),
            configured,
            tier,
            capacity: 0,
            held: Entries::default(),
            epoch: 1,
            mode: GateMode::Off,
            working: false,
            again: false,
            last_look: None,
            results,
            missing: None,
            operator: [None; 2],
            operator_known: false,
            strays: Strays::new(),
            provisional: Provisional::default(),
            lockers: None,
            config: None,
            subjects: None,
            knows_subjects: false,
            maps: None,
            fills_scripts: false,
            fallback: Fallback::new(),
            known: Vec::new(),
            believed: None,
            sees_memory: false,
        };
        (gate, worked)
    }

    /// Else it judges nothing: its programs are never told of a policy, and return at once.
    pub(super) fn only_if(mut self, wanted: bool) -> Self {
        self.missing = (!wanted).then(|| "sensor.gate = false in hardpand's configuration".to_owned());
        self
    }

    /// Where digests of what runs already go.
    pub(super) fn set_subjects(&mut self, sensor: &mut Sensor) {
        self.maps = sensor.subject_ids();
        let post_open = GateHook::FilePostOpen.name();
        self.fills_scripts = !sensor.hooks().iter().any(|hook| {
            hook.hook == post_open && matches!(hook.state, HookState::Attached | HookState::SelfTested)
        });
        self.subjects = sensor.take_subjects();
        self.lockers = sensor.lockers();
    }

    /// Room in the kernel's map, fixed when the programs are loaded.
    pub(super) const fn set_capacity(&mut self, digests: u32) {
        self.capacity = digests;
    }

    /// Whose signatures count from now on.
    pub(super) fn believe(&mut self, trust: Trust) {
        self.believed = Some(trust);
    }

    /// Trust, policy or the operator's word changed: works it out again, off the loop.
    pub(super) fn renew(&mut self, trust: Option<Arc<LoadedTrust>>, policy: Option<Arc<InForce>>) {
        let Some(policy) = policy else { return };
        if self.working {
            self.again = true;
            return;
        }
        self.working = true;
        self.last_look = Some(Instant::now());
        let scan = self.wanted(&policy).is_ok() && self.mode != GateMode::Enforce;
        // What is asked for before anything is refused, and again when something may have changed.
        let to_fill = self
            .maps
            .filter(|_| self.tier == Tier::B && self.gates_files(&policy) && self.wanted(&policy).is_ok());
        // Where the kernel cannot take the digest of what an interpreter opens.
        let scripts = self
            .maps
            .filter(|_| self.fills_scripts && self.gates_files(&policy));
        let to_know = self.is_alone() && self.gates_files(&policy) && self.wanted(&policy).is_ok();
        let results = self.results.clone();
        let root = self.root.clone();
        let subjects = (self.tier == Tier::A).then(|| self.subjects.take()).flatten();
        tokio::task::spawn_blocking(move || {
            let remembered = subjects.map(|mut subjects| subjects.remember_all(Path::new("/proc")));
            let settings = &policy.gate;
            let entries = Root::new(&root).map_or_else(
                |_| Entries::default(),
                |root| {
                    entries(
                        trust.as_deref(),
                        policy.accepts_local_unsigned,
                        &policy.table,
                        &settings.package_managers,
                        &settings.interpreters,
                        &root,
                    )
                },
            );
            let obstacles =
                scan.then(|| obstacles(Path::new("/proc"), &settings.must_run, &entries, &policy.table));
            if let Some((id, trust)) = scripts.zip(trust.as_deref()) {
                match fallback::fill_files(id, gate::scripts(trust)) {
                    Ok(filled) => tracing::debug!(?filled, "digests of scripts are in the kernel"),
                    Err(error) => tracing::warn!(error = chain(&error), "digests of scripts"),
                }
            }
            let filled = to_fill.map(|id| {
                fallback::fill(id, Path::new("/proc"), &settings.must_run, trust.as_deref())
                    .map_err(|error| chain(&error))
            });
            let known = if to_know {
                fallback::in_advance(Path::new("/proc"), &settings.must_run)
            } else {
                Vec::new()
            };
            let worked = Worked {
                entries,
                policy,
                obstacles,
                remembered,
                filled,
                known,
            };
            // The daemon may be ending.
            let _gone = results.blocking_send(worked);
        });
    }

    /// Whether it is time to look again whether enforcement may begin.
    pub(super) fn is_due(&mut self, policy: Option<&Arc<InForce>>) -> bool {
        let proc = Proc::below(Path::new("/"));
        self.provisional.notice(|process| !proc.is_same(process));
        let within = policy.map_or(WITHIN, |policy| provisional_within(policy));
        if self.provisional.is_due(within) && !self.working {
            return true;
        }
        let refill =
            (self.tier == Tier::B || self.fills_scripts) && self.mode == GateMode::Enforce && !self.working;
        if refill && self.last_look.is_none_or(|last| last.elapsed() >= REFILL) {
            return true;
        }
        self.mode != GateMode::Enforce
            && !self.working
            && self.last_look.is_none_or(|last| last.elapsed() >= RETRY)
            && policy.is_some_and(|policy| self.wanted(policy).is_ok())
    }

    /// Takes a result into the kernel. True if it has to be worked out again.
    pub(super) fn take(&mut self, worked: Worked, source: &mut impl EventSource) -> (News, bool) {
        self.working = false;
        let again = std::mem::take(&mut self.again);
        let Worked {
            entries,
            policy,
            obstacles,
            remembered,
            filled,
            known,
        } = worked;
        self.known = known;
        if let Some(remembered) = remembered {
            tracing::debug!(?remembered, "digests of what runs are in the kernel");
            self.knows_subjects = true;
        }
        let not_looked = obstacles.is_none();
        let mut news = News::default();
        if !self.gates_files(&policy) {
            self.enforce_objects(&policy, source, &mut news.findings);
            news.mode = self.is_asked_no_longer();
            return (news, false);
        }
        let mut entries = entries;
        let withdrawn = self.settle(&mut entries, &policy, &mut news.findings);
        let full = self.write_trust(entries, &policy, source, &mut news.findings);
        // Only now: until then more of them could begin.
        if !withdrawn.is_empty() {
            self.strays.search(withdrawn);
        }
        let mut begins = false;
        let (mode, why) = match self.wanted(&policy) {
            Err(None) if self.operator_observes() => (GateMode::Observe, self.operator_word()),
            Err(None) => (GateMode::Observe, "configuration and policy say so".to_owned()),
            Err(Some(finding)) => {
                let why = finding.message.clone();
                news.findings.push(*finding);
                (GateMode::Observe, why)
            }
            Ok(()) if full => (
                GateMode::Observe,
                "not all trusted digests are in the kernel".to_owned(),
            ),
            Ok(()) if matches!(filled, Some(Err(_))) => {
                let why = filled.and_then(Result::err).unwrap_or_default();
                (
                    GateMode::Observe,
                    format!("no digests could be put into the kernel: {why}"),
                )
            }
            Ok(()) if self.mode == GateMode::Enforce => (GateMode::Enforce, String::new()),
            Ok(()) => match obstacles {
                Some((_, 0)) if self.must_wait(&policy) => {
                    begins = true;
                    let why = "the process that is told of executions has not begun yet".to_owned();
                    (GateMode::Observe, why)
                }
                Some((_, 0)) => (
                    GateMode::Enforce,
                    format!(
                        "everything that runs, and must be able to run, is trusted{}",
                        self.limits()
                    ),
                ),
                Some((first, count)) => {
                    news.findings.push(not_ready(&first, count));
                    (
                        GateMode::Observe,
                        format!("{count} files that run, or must be able to run, would be refused"),
                    )
                }
                // Asked for meanwhile: the next look tells.
                None => (GateMode::Observe, "not looked at yet".to_owned()),
            },
        };
        if let Some(job) = self.job(&policy) {
            // Nobody is made to wait where nothing is refused.
            if mode == GateMode::Enforce {
                self.fallback.ensure(job);
            } else if !begins {
                self.fallback.stop();
            }
        }
        self.write_settings(mode, &policy, source, &mut news.findings);
        if self.is_alone() {
            fanotify::pin(mode, &policy, &mut news.findings);
        } else {
            kernel::pin(mode, &policy, source, &mut news.findings);
        }
        if mode != self.mode {
            self.mode = mode;
            news.mode = Some((mode, why));
        }
        // Enforcement was asked for while this was worked out, and nobody has looked whether it may begin.
        let look_again =
            again || (not_looked && mode != GateMode::Enforce && !full && self.wanted(&policy).is_ok());
        (news, look_again)
    }

    /// Takes what is expected of running transactions into the entries, and drops what was not installed in time.
    fn settle(
        &mut self,
        entries: &mut Entries,
        policy: &InForce,
        findings: &mut Vec<Finding>,
    ) -> Vec<Withdrawn> {
        let within = provisional_within(policy);
        let lockers = self.lockers.as_ref();
        let holders = self
            .believed
            .as_ref()
            .filter(|_| self.provisional.is_due(within))
            .map(holders)
            .unwrap_or_default();
        let withdrawn = self.provisional.settle(
            within,
            |digest| entries.by_digest.contains_key(digest),
            |process| holders.contains(&process.tgid),
            |manager| Lockers::counts(lockers, manager),
        );
        if let Some(lockers) = lockers
            && let Err(error) = lockers.forget_old(|manager| self.provisional.is_needed(manager))
        {
            tracing::warn!(%error, "package managers that took the lock cannot be forgotten");
        }
        for Withdrawn { name, .. } in &withdrawn {
            findings.push(Finding {
                packages: vec![name.clone()],
                ..Finding::new(
                    FindingCode::ProvisionalWithdrawn,
                    format!("{name} was opened by a package manager and not installed: its files are no longer trusted"),
                )
            });
        }
        for (digest, manager, size) in self.provisional.digests() {
            let entry = entries
                .by_digest
                .entry(digest)
                .or_insert_with(|| Provisional::entry(manager));
            if entry.class == GateClass::Provisional as u32 && !Lockers::counts(lockers, entry.marks) {
                *entry = Provisional::entry(manager);
            }
            entries.sizes.push(size);
        }
        withdrawn
    }

    /// Files are not judged here: what needs no digests is.
    fn enforce_objects(
        &mut self,
        policy: &InForce,
        source: &mut impl EventSource,
        findings: &mut Vec<Finding>,
    ) {
        self.fallback.stop();
        // Without digests from the kernel every mapping would look unsigned: files are not judged (the policy's table
        // leaves them out). Modules, BPF programs and processes need none.
        let enforces = match self.wanted(policy) {
            Err(Some(finding)) => {
                findings.push(*finding);
                self.objects_enforced(policy)
            }
            Ok(()) | Err(None) => false,
        };
        if self.tier == Tier::B {
            let mode = if enforces {
                GateMode::Enforce
            } else {
                GateMode::Observe
            };
            self.write_settings(mode, policy, source, findings);
        }
    }

    /// Has digests taken of what is executed, at tier B, or executions answered for, at tier C; true as long as nobody does.
    fn must_wait(&mut self, policy: &InForce) -> bool {
        let Some(job) = self.job(policy) else { return false };
        self.fallback.ensure(job);
        !self.fallback.answers(job)
    }

    /// Has digests taken of files that the kernel had none of, off the loop: it is in doubt about each once.
    pub(super) fn learn(&self, paths: BTreeSet<PathBuf>) {
        if let Some(maps) = self.maps
            && (self.fills_scripts || self.tier == Tier::B)
            && (self.tier == Tier::A || self.mode == GateMode::Enforce)
            && !paths.is_empty()
        {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = fallback::fill_files(maps, paths) {
                    tracing::warn!(error = chain(&error), "digests could not be put into the kernel");
                }
            });
        }
    }
}

fn provisional_within(policy: &InForce) -> Duration {
    Duration::from_secs(u64::from(policy.gate.provisional_s))
}

fn not_ready(first: &[Obstacle], count: usize) -> Finding {
    let list: Vec<String> = first.iter().map(ToString::to_string).collect();
    Finding {
        count: Some(count as u64),
        path: first.first().map(|one| one.path.as_str().into()),
        ..Finding::new(
            FindingCode::EnforceNotReady,
            format!(
                "the gate does not enforce yet: {count} files that run, or must be able to run, would be refused: {}",
                list.join("; ")
            ),
        )
        .hint("install them from signed packages, or `hardpan trust add` them; looked at again every 30 s")
    }
}
