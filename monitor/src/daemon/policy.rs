//! The policy in force. Loaded at the start and on SIGHUP; a candidate that is wrong changes nothing.

use crate::chain::chain;
use crate::config;
use crate::harden::{Root, RootError};
use crate::policy::{self, DetectError, Folders, LoadError, Overrides, accept_serials, detect, load};
use hardpan_abi::{TaskFindingKind, TaskResponse};
use hardpan_core::event::{ModuleChange, TaskFinding};
use hardpan_core::platform::lifecycle::{self, Phase};
use hardpan_core::platform::{Release, Tier};
use hardpan_core::policy::effective::{Active, Effective, Mode, Recording, RejectedPolicy, Reload};
use hardpan_core::policy::gate::GateTable;
use hardpan_core::policy::harden::Host as _;
use hardpan_core::policy::rule::observed::{Around, exec_events, module_event, task_class, task_event};
use hardpan_core::policy::rule::{
    Action, Asked, Decision, Defaults, Fact, Facts, HitCounters, Kind, Outcome, Rule, Side, Test, Why, decide,
};
use hardpan_core::policy::{Problem, Selector};
use hardpan_core::record::{ExecFacts, Finding, FindingCode, PolicyState};
use hardpan_core::verdict::ExecVerdict;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Most problems of a policy that become findings of their own.
const MAX_PROBLEMS: usize = 20;
/// Name under which decisions by no rule are counted.
const DEFAULT: &str = "default";

/// What decides events. Shared with whoever decides them; replaced as a whole.
#[derive(Debug)]
pub(super) struct InForce {
    rules: Vec<Rule>,
    /// What the rules look at.
    asked: Asked,
    defaults: Defaults,
    tier: Tier,
    hits: HitCounters,
    /// What is written down.
    pub recording: Recording,
    /// Bytes hashed per second in user space; 0: no limit.
    pub hash_bytes_per_s: u64,
    /// Some rule asks for something that must be looked up in `/proc`, or has trusted executions recorded.
    pub asks_proc: bool,
    /// No rule wants executions of what is trusted recorded: they can be counted without a look at each.
    pub may_tally: bool,
    /// Manifests without a signature count.
    pub accepts_local_unsigned: bool,
    /// The exec gate's settings.
    pub gate: hardpan_core::policy::effective::Gate,
    /// What the kernel side gets of the rules.
    pub table: GateTable,
    /// The cgroup of a tampered task is frozen, in mode enforce.
    pub freeze_cgroup: bool,
}

impl InForce {
    fn new(effective: &Effective, tier: Tier) -> Self {
        let trusted = Fact::Text("trusted".to_owned());
        let excludes_trusted = |rule: &Rule| {
            rule.tests.iter().any(|test| {
                test.attribute.side == Side::Object
                    && test.attribute.name == "class"
                    && test.outcome(Some(&trusted)) == Outcome::Fails
            })
        };
        let tells_of_trusted =
            |rule: &Rule| (rule.record || rule.action >= Action::Alert) && !excludes_trusted(rule);
        let asks = |rule: &Rule| {
            let looks = rule.tests.iter().any(|test| {
                test.attribute.side == Side::Subject && ["container", "cgroup"].contains(&test.attribute.name)
            });
            looks || tells_of_trusted(rule)
        };
        let tells_of_execs = |rule: &Rule| rule.on.contains(&Kind::Exec) && tells_of_trusted(rule);
        Self {
            may_tally: !effective.rules.iter().any(tells_of_execs),
            asks_proc: effective.rules.iter().any(asks),
            accepts_local_unsigned: effective.trust.accept_local_unsigned,
            gate: effective.gate.clone(),
            table: GateTable::new(effective, tier, &cgroup_id),
            freeze_cgroup: effective.freeze_cgroup,
            hits: HitCounters::new(effective.rules.len()),
            recording: effective.recording.clone(),
            hash_bytes_per_s: effective.cadence.hash_bytes_per_s,
            asked: Asked::by(&effective.rules),
            rules: effective.rules.clone(),
            defaults: effective.defaults.clone(),
            tier,
        }
    }

    /// Nothing is put into words that no rule looks at.
    const fn only_asked<'a>(&'a self, around: Around<'a>) -> Around<'a> {
        Around {
            asked: Some(&self.asked),
            ..around
        }
    }

    fn decide(&self, facts: &Facts) -> Decision<'_> {
        let decision = decide(&self.rules, &self.defaults, facts, self.tier);
        self.hits.count(&decision);
        decision
    }

    /// The decision on an exec: the stronger one of that on the file and that on the script.
    pub(super) fn exec(
        &self,
        event: &hardpan_core::event::Exec,
        facts: &ExecFacts,
        verdict: &ExecVerdict,
        around: Around<'_>,
    ) -> Decision<'_> {
        let (file, script) = exec_events(event, facts, verdict, self.only_asked(around));
        let file = self.decide(&file);
        match script.map(|script| self.decide(&script)) {
            Some(script) if script.action > file.action => Decision {
                record: script.record || file.record,
                ..script
            },
            Some(script) => Decision {
                record: script.record || file.record,
                ..file
            },
            None => file,
        }
    }

    /// Executions that were only counted: as one of their like, this rule decided them, or `None` a default.
    pub(super) fn tallied(&self, rule: Option<usize>, count: u64) {
        self.hits.count_many(rule, count);
    }

    /// The decision on a module.
    pub(super) fn module(&self, event: &ModuleChange, around: Around<'_>) -> Decision<'_> {
        self.decide(&module_event(event, self.only_asked(around)))
    }

    /// The decision on a finding about a task.
    pub(super) fn task(&self, event: &TaskFinding, around: Around<'_>) -> Decision<'_> {
        self.decide(&task_event(event, self.only_asked(around)))
    }

    /// What the kernel side does about tampering of this class: the first rule that asks for nothing else, else the
    /// default. Rules that need more are decided when the finding is recorded.
    fn kernel_action(&self, class: &str) -> Action {
        let fact = Fact::Text(class.to_owned());
        let by_class = |test: &Test| test.attribute.side == Side::Object && test.attribute.name == "class";
        let fits = |rule: &&Rule| {
            rule.on.contains(&Kind::Credential)
                && rule
                    .tests
                    .iter()
                    .all(|test| by_class(test) && test.outcome(Some(&fact)) == Outcome::Holds)
        };
        let rule = self.rules.iter().find(fits).map(|rule| rule.action_at(self.tier));
        rule.or_else(|| {
            let default = self.defaults.action(Kind::Credential, class);
            default.map(|(action, _)| action)
        })
        .unwrap_or(Action::Allow)
    }

    /// The rule behind one that the kernel side compared.
    pub(super) fn kernel_rule(&self, compiled: u32) -> Option<&Rule> {
        let index = self.table.sources.get(usize::try_from(compiled).ok()?)?;
        self.hits.count(&Decision {
            action: Action::Alert,
            why: Why::Rule(*index, self.rules.get(*index)?),
            weakened: false,
            record: true,
        });
        self.rules.get(*index)
    }

    fn hits(&self) -> BTreeMap<String, u64> {
        let names = self.rules.iter().map(|rule| rule.name.clone());
        let mut hits: BTreeMap<String, u64> = names.zip(self.hits.rules()).collect();
        hits.insert(DEFAULT.to_owned(), self.hits.defaults());
        hits
    }
}

/// The id by which the kernel knows a cgroup: the inode number of its directory.
fn cgroup_id(path: &str) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let below = path.trim_start_matches('/');
    let meta = std::fs::metadata(Path::new("/sys/fs/cgroup").join(below)).ok()?;
    Some(meta.ino())
}

/// What the kernel side does, by finding.
pub(super) type Responses = [(TaskFindingKind, TaskResponse); TaskFindingKind::ALL.len()];

/// Whether a decision wants a record of its own even for what would only be counted.
pub(super) fn wants_record(decision: &Decision<'_>) -> bool {
    decision.record || decision.action >= Action::Alert
}

/// Why there is no policy, or no new one.
#[derive(Debug, Error)]
enum PolicyError {
    #[error("cannot look at the host")]
    Root(#[from] RootError),
    #[error("cannot tell which policies are for this host")]
    Detect(#[from] DetectError),
    #[error("cannot read policies")]
    Load(#[from] LoadError),
    #[error("the policy cannot be used")]
    Rejected(#[from] RejectedPolicy),
}

/// What a look at the policy files came to.
#[derive(Debug, Default)]
pub(super) struct News {
    /// A policy was taken into use.
    pub loaded: Option<PolicyState>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Keeps the policy.
#[derive(Debug)]
pub(super) struct Keeper {
    root: std::path::PathBuf,
    folders: Folders,
    overrides: Overrides,
    tier: Tier,
    enforcing: bool,
    active: Option<(Selector, Active)>,
    /// `sweep.files_interval_s`; 0 while there is no policy.
    files_interval_s: Arc<AtomicU32>,
    in_force: Option<Arc<InForce>>,
}

impl Keeper {
    /// Nothing is loaded yet.
    pub(super) fn new(root: &Path, config: &config::Config, tier: Tier) -> Self {
        Self {
            root: root.to_owned(),
            folders: Folders::default(),
            overrides: config.policy.clone(),
            tier,
            enforcing: config.mode == config::Mode::Enforce,
            active: None,
            files_interval_s: Arc::default(),
            in_force: None,
        }
    }

    /// What decides events at the moment.
    pub(super) fn in_force(&self) -> Option<Arc<InForce>> {
        self.in_force.clone()
    }

    /// Whether the kernel side may use the sleepable program for executions, and the largest file it may hash.
    pub(super) fn kernel_side(&self) -> (bool, Option<u64>) {
        let Some((_, active)) = &self.active else {
            return (true, None);
        };
        let gate = &active.effective().gate;
        let [exec, ..] = &gate.hooks;
        let sleepable = exec.iter().any(|hook| hook == "lsm.s/bprm_check_security");
        (sleepable, Some(gate.max_hash_bytes))
    }

    /// What the kernel side does about a tampered task: the configured answer, else the policy's default for the
    /// finding's class. Nothing but a record in mode observe.
    pub(super) fn responses(&self, configured: Option<TaskResponse>) -> Responses {
        TaskFindingKind::ALL.map(|kind| {
            let response = match (self.enforcing, configured) {
                (false, _) => TaskResponse::Record,
                (true, Some(response)) => response,
                (true, None) => self.response(kind),
            };
            // A debugger is told no, not killed.
            let response = match kind {
                TaskFindingKind::Accessed => response.min(TaskResponse::Deny),
                _ => response,
            };
            (kind, response)
        })
    }

    fn response(&self, kind: TaskFindingKind) -> TaskResponse {
        let Some(policy) = &self.in_force else {
            return TaskResponse::Record;
        };
        let action = match task_class(kind) {
            Some(class) => policy.kernel_action(class),
            // The gate answers at the same hook, knowing who asks for what.
            None if policy.gate.mode == Mode::Enforce => Action::Alert,
            None => policy
                .defaults
                .action(Kind::Ptrace, "other-user")
                .map_or(Action::Allow, |(action, _)| action),
        };
        match action {
            Action::Kill => TaskResponse::Kill,
            Action::Deny => TaskResponse::Deny,
            Action::Alert | Action::Allow => TaskResponse::Record,
        }
    }

    /// Whether the policy asks for enforcement by the exec gate.
    pub(super) fn gate_enforces(&self) -> bool {
        self.in_force
            .as_ref()
            .is_some_and(|policy| policy.gate.mode == Mode::Enforce)
    }

    /// Time between two sweeps over all tasks: the configured one, else the policy's.
    pub(super) fn sweep(&self, configured: Option<Duration>) -> Duration {
        const DEFAULT_SWEEP: Duration = Duration::from_millis(300);
        configured.unwrap_or_else(|| {
            self.active.as_ref().map_or(DEFAULT_SWEEP, |(_, active)| {
                Duration::from_millis(u64::from(active.effective().cadence.tasks_interval_ms))
            })
        })
    }

    /// Seconds between two verifications of all files, kept up to date.
    pub(super) fn files_interval(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.files_interval_s)
    }

    /// Audits with the policy's interval where the configuration names none.
    pub(super) fn audit(&self, configured: &config::Audit) -> config::Audit {
        const DAY_S: u32 = 86_400;
        let mut audit = configured.clone();
        if audit.interval.is_zero() {
            let policy = self
                .active
                .as_ref()
                .map(|(_, active)| active.effective().cadence.audit_interval_s);
            audit.interval = Duration::from_secs(u64::from(policy.unwrap_or(DAY_S)));
        }
        audit
    }

    /// Whose signatures count: the configuration with the policy's say.
    pub(super) fn trust(&self, configured: &config::Trust) -> config::Trust {
        let Some((_, active)) = &self.active else {
            return configured.clone();
        };
        let wanted = &active.effective().trust;
        config::Trust {
            key_sets: (wanted.foreign_packages == "distrust").then(|| wanted.key_sets.clone()),
            legacy_signatures: wanted.accept_legacy_signatures,
            ..configured.clone()
        }
    }

    /// Threads that hash: the configured number, else the policy's; 0 in the policy is one per CPU.
    pub(super) fn hash_threads(&self, configured: usize) -> usize {
        const DEFAULT_THREADS: usize = 2;
        if configured > 0 {
            return configured;
        }
        let wanted = self
            .active
            .as_ref()
            .and_then(|(_, active)| usize::try_from(active.effective().cadence.hash_threads).ok());
        match wanted {
            Some(0) => std::thread::available_parallelism().map_or(DEFAULT_THREADS, usize::from),
            Some(threads) => threads,
            None => DEFAULT_THREADS,
        }
        .min(64)
    }

    /// 0 while there is none.
    pub(super) fn epoch(&self) -> u64 {
        self.active.as_ref().map_or(0, |(_, active)| active.epoch())
    }

    /// Reads the files and takes them into use as a whole, or not at all.
    pub(super) fn load(&mut self, now: SystemTime) -> News {
        let mut news = News::default();
        match self.try_load(now, &mut news) {
            Ok(()) => {}
            Err(PolicyError::Detect(error)) if self.active.is_none() => news.findings.push(
                Finding::new(
                    FindingCode::PolicyNone,
                    format!(
                        "no policy: {}; verdicts are recorded, nothing is decided",
                        chain(&error)
                    ),
                )
                .hint(format!(
                    "set policy.el and policy.vendor in the configuration ({})",
                    error.hint()
                )),
            ),
            Err(error) => {
                let stays = if self.active.is_some() {
                    format!("the policy of epoch {} stays", self.epoch())
                } else {
                    "there is no policy".to_owned()
                };
                news.findings.push(
                    Finding::new(FindingCode::PolicyRejected, format!("{}; {stays}", chain(&error)))
                        .hint("`hardpan policy check` shows what is wrong and where"),
                );
            }
        }
        news
    }

    fn try_load(&mut self, now: SystemTime, news: &mut News) -> Result<(), PolicyError> {
        let now_s = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let root = Root::new(&self.root)?;
        let selector = detect(&root, &self.overrides)?;
        let loaded = load(&root, &self.folders, &selector, now_s)?;
        for problem in loaded.problems.iter().take(MAX_PROBLEMS) {
            news.findings.push(finding(problem));
        }
        let differences = if let Some((before, active)) = &mut self.active {
            let reload = active.reload(loaded.resolved, &loaded.problems)?;
            let moved = *before != selector;
            *before = selector;
            match reload {
                Reload::Unchanged if !moved => return Ok(()),
                Reload::Unchanged => Some(0),
                Reload::Changed(differences) => Some(differences as u64),
            }
        } else {
            self.active = Some((selector, Active::start(loaded.resolved, &loaded.problems)?));
            None
        };
        let Some((selector, active)) = &self.active else {
            return Ok(());
        };
        self.in_force = Some(Arc::new(InForce::new(active.effective(), self.tier)));
        self.files_interval_s
            .store(active.effective().cadence.files_interval_s, Ordering::Relaxed);
        let mode = active.effective().gate.mode;
        if mode == Mode::Enforce && !self.enforcing {
            news.findings.push(
                Finding::new(
                    FindingCode::EnforceUnavailable,
                    "the policy asks for gate.mode = \"enforce\"; hardpand only observes: nothing is refused",
                )
                .hint("decisions are recorded as they would be made (Hardpan.policy.action); `mode = \"enforce\"` in the configuration lets them act"),
            );
        }
        let lifecycle = active.resolved().setting(&["policy", "lifecycle"]);
        if lifecycle.and_then(|setting| setting.value.as_text()) != Some("ignore") {
            news.findings.extend(end_of_life(&root, now_s));
        }
        news.loaded = Some(state(selector, mode, differences, BTreeMap::new()));
        // The policy is in use: from now on an older one is refused. That the note cannot be kept is told.
        if let Err(error) = accept_serials(&root, &self.folders, &loaded.signed) {
            news.findings.push(
                Finding::new(
                    FindingCode::PolicyRejected,
                    format!("an older signed policy could come back: {}", chain(&error)),
                )
                .hint("check that /var/lib/hardpan can be written"),
            );
        }
        Ok(())
    }

    /// The policy with its hits so far, for heartbeats.
    pub(super) fn state(&self) -> Option<PolicyState> {
        let (selector, active) = self.active.as_ref()?;
        let hits = self
            .in_force
            .as_ref()
            .map(|policy| policy.hits())
            .unwrap_or_default();
        Some(state(selector, active.effective().gate.mode, None, hits))
    }

    /// Compares the host with what it was at the last start. A message if it is another one since.
    pub(super) fn note_host(&self, kernel: &str) -> Result<Option<String>, Box<Finding>> {
        let failed = |error: &dyn Error| {
            Box::new(Finding::new(
                FindingCode::PolicyNone,
                format!("cannot remember what this host is: {}", chain(error)),
            )
            .hint("an upgrade of the release will not be noticed; check that /var/lib/hardpan can be written"))
        };
        let root = Root::new(&self.root).map_err(|error| failed(&error))?;
        policy::note_host(&root, kernel)
            .map(|change| change.map(|change| change.message))
            .map_err(|error| failed(&error))
    }
}

fn state(
    selector: &Selector,
    mode: Mode,
    differences: Option<u64>,
    hits: BTreeMap<String, u64>,
) -> PolicyState {
    PolicyState {
        layers: format!(
            "el{}/{}/{}/{}/{}",
            selector.el, selector.vendor, selector.hardware, selector.role, selector.level
        ),
        mode: match mode {
            Mode::Observe => "observe",
            Mode::Enforce => "enforce",
        },
        differences,
        hits,
    }
}

/// A release without security updates.
fn end_of_life(root: &Root, now_s: i64) -> Option<Finding> {
    let os_release = root
        .read("/etc/os-release")
        .or_else(|| root.read("/usr/lib/os-release"))?;
    let release = Release::parse(&os_release);
    let today = jiff::Timestamp::from_second(now_s)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let dates = lifecycle::dates_of(&release.vendor, release.major?)?;
    (lifecycle::phase(&release, today) == Some(Phase::EndOfLife)).then(|| {
        Finding::new(
            FindingCode::ReleaseEndOfLife,
            lifecycle::ended(&release.pretty, &dates),
        )
        .hint("move to a supported release (ELevate, leapp)")
    })
}

fn finding(problem: &Problem) -> Finding {
    let finding = Finding::new(FindingCode::PolicyRejected, problem.to_string());
    match &problem.hint {
        Some(hint) => finding.hint(hint.clone()),
        None => finding,
    }
}
