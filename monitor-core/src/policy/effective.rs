//! The policy as the daemon uses it: typed, complete, nothing left to interpret.

use super::origin::{Layer, Problem};
use super::resolve::Resolved;
use super::rule::{Defaults, Kind, Rule, unheard};
use super::schema::RESERVED;
use super::value::{KeyPath, Value};
use crate::platform::Tier;
use thiserror::Error;

/// A policy that cannot be used because a key has no value (a base file is masked or replaced).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the policy sets no usable {key}; is a file of the base layer masked or replaced?")]
pub struct MissingKey {
    /// The key.
    pub key: KeyPath,
}

/// `gate.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Record what would happen.
    Observe,
    /// Refuse and kill.
    Enforce,
}

/// `gate.on_doubt`, `gate.daemon_lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Allow.
    Open,
    /// Refuse.
    Closed,
}

/// The exec gate's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Whether denials act.
    pub mode: Mode,
    /// The answer when no verdict can be had.
    pub on_doubt: Doubt,
    /// The answer while hardpand does not run.
    pub daemon_lost: Doubt,
    /// The tier this host should reach.
    pub expected_tier: Tier,
    /// Whether fanotify answers where the kernel cannot.
    pub fanotify_fallback: bool,
    /// After which a stalled fanotify answer is given by `on_doubt`.
    pub fallback_timeout_ms: u32,
    /// Largest file hashed in the kernel.
    pub max_hash_bytes: u64,
    /// Room for trusted digests.
    pub max_digests: u32,
    /// Seconds after boot during which denials are only recorded.
    pub boot_grace_s: u32,
    /// A trust refresh that would lose more percent is held.
    pub refresh_loss_percent: u8,
    /// What a package manager of root opens counts whether it takes the lock of this system's package database or not.
    pub provisional_any: bool,
    /// Seconds within which the package database must list an opened package.
    pub provisional_s: u32,
    /// Whether a process that runs a file of a package that it does not list is killed.
    pub kill_withdrawn: bool,
    /// Packages whose programs install packages.
    pub package_managers: Vec<String>,
    /// Packages and files whose programs are interpreters, by family (as in [`FAMILIES`](super::interpreter::FAMILIES)).
    pub interpreters: Vec<Vec<String>>,
    /// Files that must be allowed to run before the gate enforces.
    pub must_run: Vec<String>,
    /// Patterns of files that are protected against writing.
    pub protect: Vec<String>,
    /// Hook candidates by family: exec, library, script, module, credential.
    pub hooks: [Vec<String>; 5],
}

/// Intervals and budgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cadence {
    /// Between two passes over all tasks, milliseconds.
    pub tasks_interval_ms: u32,
    /// Between two passes over the kernel, seconds.
    pub kernel_interval_s: u32,
    /// Between two verifications of all files, seconds.
    pub files_interval_s: u32,
    /// Between two audits, seconds.
    pub audit_interval_s: u32,
    /// Bytes hashed per second in user space.
    pub hash_bytes_per_s: u64,
    /// Hashing threads; 0 = one per CPU.
    pub hash_threads: u32,
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Trusted executions one by one instead of aggregated.
    pub every_exec: bool,
    /// Length of an aggregate's window, seconds.
    pub aggregate_s: u32,
    /// Argument bytes kept.
    pub argv_bytes: u32,
}

/// Whose word counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Sets of pinned release keys.
    pub key_sets: Vec<String>,
    /// Accept SHA-1, MD5 and DSA signatures.
    pub accept_legacy_signatures: bool,
    /// Accept digest manifests without a signature.
    pub accept_local_unsigned: bool,
    /// Accept policy files without a signature.
    pub accept_unsigned_policy: bool,
    /// `accept`, `report` or `distrust` packages of other vendors.
    pub foreign_packages: String,
}

/// Everything, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The exec gate.
    pub gate: Gate,
    /// Intervals and budgets.
    pub cadence: Cadence,
    /// Records.
    pub recording: Recording,
    /// Trust.
    pub trust: Trust,
    /// Freeze the cgroup of a tampered task.
    pub freeze_cgroup: bool,
    /// What happens to what no rule names.
    pub defaults: Defaults,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl Effective {
    /// The typed form of a resolved policy.
    pub fn new(resolved: &Resolved) -> Result<Self, MissingKey> {
        let get = Get(resolved);
        let doubt = |path: &[&str]| {
            Ok(if get.text(path)? == "closed" {
                Doubt::Closed
            } else {
                Doubt::Open
            })
        };
        let hooks = |family: &str| get.texts(&["gate", "hooks", family]);
        Ok(Self {
            gate: Gate {
                mode: if get.text(&["gate", "mode"])? == "enforce" {
                    Mode::Enforce
                } else {
                    Mode::Observe
                },
                on_doubt: doubt(&["gate", "on_doubt"])?,
                daemon_lost: doubt(&["gate", "daemon_lost"])?,
                expected_tier: Tier::from_name(get.text(&["gate", "expected_tier"])?)
                    .ok_or_else(|| missing(&["gate", "expected_tier"]))?,
                fanotify_fallback: get.text(&["gate", "fallback"])? == "fanotify",
                fallback_timeout_ms: get.number(&["gate", "fallback_timeout_ms"])?,
                max_hash_bytes: get.number(&["gate", "max_hash_bytes"])?,
                max_digests: get.number(&["gate", "max_digests"])?,
                boot_grace_s: get.number(&["gate", "boot_grace_s"])?,
                refresh_loss_percent: get.number(&["gate", "refresh_loss_percent"])?,
                provisional_any: get.text(&["gate", "provisional"])? == "any",
                provisional_s: get.number(&["gate", "provisional_s"])?,
                kill_withdrawn: get.text(&["gate", "withdrawn"])? == "kill",
                package_managers: get.texts(&["gate", "package_managers"])?,
                interpreters: super::interpreter::NAMES
                    .iter()
                    .map(|name| get.texts(&["gate", "interpreters", name]))
                    .collect::<Result<_, _>>()?,
                must_run: get.texts(&["gate", "must_run"])?,
                protect: get.texts(&["protect", "paths"])?,
                hooks: [
                    hooks("exec")?,
                    hooks("library")?,
                    hooks("script")?,
                    hooks("module")?,
                    hooks("credential")?,
                ],
            },
            cadence: Cadence {
                tasks_interval_ms: get.number(&["sweep", "tasks_interval_ms"])?,
                kernel_interval_s: get.number(&["sweep", "kernel_interval_s"])?,
                files_interval_s: get.number(&["sweep", "files_interval_s"])?,
                audit_interval_s: get.number(&["sweep", "audit_interval_s"])?,
                hash_bytes_per_s: get.number(&["hash", "budget_bytes_per_s"])?,
                hash_threads: get.number(&["hash", "threads"])?,
            },
            recording: Recording {
                every_exec: get.text(&["record", "exec"])? == "all",
                aggregate_s: get.number(&["record", "aggregate_s"])?,
                argv_bytes: get.number(&["record", "argv_bytes"])?,
            },
            trust: Trust {
                key_sets: get.texts(&["trust", "key_sets"])?,
                accept_legacy_signatures: get.text(&["trust", "legacy_signatures"])? == "accept",
                accept_local_unsigned: get.text(&["trust", "local_unsigned"])? == "accept",
                accept_unsigned_policy: get.text(&["policy", "unsigned_local"])? == "accept",
                foreign_packages: get.text(&["trust", "foreign_packages"])?.to_owned(),
            },
            freeze_cgroup: get
                .value(&["response", "freeze_cgroup"])?
                .as_bool()
                .unwrap_or(false),
            defaults: resolved.defaults(),
            rules: resolved.rules.clone(),
        })
    }
}

/// Warnings about local settings and rules that are read and have no effect: nobody should rely on them.
pub fn without_effect(resolved: &Resolved) -> Vec<Problem> {
    let unheard = unheard(&resolved.rules, &resolved.defaults());
    let unheard = unheard
        .into_iter()
        .filter(|problem| problem.origin.layer == Layer::Local);
    let reserved = RESERVED.iter().map(|path| path.to_vec());
    let defaults = Kind::ALL.into_iter().flat_map(|kind| {
        let seen = kind.observed_classes();
        let unseen = kind.classes().iter().filter(|class| !seen.contains(class));
        unseen.map(move |class| vec!["default", kind.name(), *class])
    });
    reserved
        .chain(defaults)
        .filter_map(|path: Vec<&str>| resolved.setting(&path).map(|setting| (path, setting)))
        .filter(|(_, setting)| setting.origin.layer == Layer::Local)
        .map(|(path, setting)| {
            let message = format!("{} is reserved and has no effect yet", path.join("."));
            Problem::warning(setting.origin.clone(), message)
        })
        .chain(unheard)
        .collect()
}

fn missing(path: &[&str]) -> MissingKey {
    MissingKey {
        key: KeyPath::new(path),
    }
}

/// Reads keys; the schema has checked their types and bounds.
struct Get<'p>(&'p Resolved);

impl<'p> Get<'p> {
    fn value(&self, path: &[&str]) -> Result<&'p Value, MissingKey> {
        self.0
            .setting(path)
            .map(|setting| &setting.value)
            .ok_or_else(|| missing(path))
    }

    fn text(&self, path: &[&str]) -> Result<&'p str, MissingKey> {
        self.value(path)?.as_text().ok_or_else(|| missing(path))
    }

    fn texts(&self, path: &[&str]) -> Result<Vec<String>, MissingKey> {
        Ok(self.value(path)?.to_texts())
    }

    fn number<T: TryFrom<i64>>(&self, path: &[&str]) -> Result<T, MissingKey> {
        let number = self.value(path)?.as_integer().ok_or_else(|| missing(path))?;
        T::try_from(number).map_err(|_| missing(path))
    }
}

/// A policy in use. A candidate that cannot be used changes nothing.
#[derive(Debug)]
pub struct Active {
    resolved: Resolved,
    effective: Effective,
    epoch: u64,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// The new policy is in use; this many settings, requirements and rules differ.
    Changed(usize),
    /// The new policy says the same; the epoch stays.
    Unchanged,
}

/// A policy that was not taken into use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RejectedPolicy {
    /// The files have errors.
    #[error("the policy has {} errors, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Broken(Vec<Problem>),
    /// A key is missing.
    #[error("the policy is incomplete")]
    Incomplete(#[source] MissingKey),
}

impl Active {
    /// The first policy, with epoch 1.
    pub fn start(resolved: Resolved, problems: &[Problem]) -> Result<Self, RejectedPolicy> {
        let effective = usable(&resolved, problems)?;
        Ok(Self {
            resolved,
            effective,
            epoch: 1,
        })
    }

    /// Takes a candidate into use as a whole, or not at all.
    pub fn reload(&mut self, candidate: Resolved, problems: &[Problem]) -> Result<Reload, RejectedPolicy> {
        let effective = usable(&candidate, problems)?;
        let differences = super::show::diff(&self.resolved, &candidate).len();
        self.resolved = candidate;
        self.effective = effective;
        if differences == 0 {
            return Ok(Reload::Unchanged);
        }
        self.epoch = self.epoch.saturating_add(1);
        Ok(Reload::Changed(differences))
    }

    /// The typed policy.
    pub fn effective(&self) -> &Effective {
        &self.effective
    }

    /// The policy with provenance.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Rises with each change of what the policy says; every record carries it.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

fn usable(resolved: &Resolved, problems: &[Problem]) -> Result<Effective, RejectedPolicy> {
    let errors: Vec<Problem> = problems
        .iter()
        .filter(|problem| problem.is_error())
        .cloned()
        .collect();
    if !errors.is_empty() {
        return Err(RejectedPolicy::Broken(errors));
    }
    Effective::new(resolved).map_err(RejectedPolicy::Incomplete)
}

#[cfg(test)]
mod tests {
    use super::super::{Source, shipped, source};
    use super::*;

    fn load(level: &str, local: &[Source]) -> (Resolved, Vec<Problem>) {
        let own = str::to_owned;
        let selector = super::super::Selector {
            el: 9,
            vendor: own("rhel"),
            hardware: own("x86-64-v3"),
            role: own("server"),
            level: own(level),
        };
        source::load(&selector, &shipped::shipped(), local)
    }

    #[test]
    fn a_bad_policy_changes_nothing_and_a_good_one_raises_the_epoch() {
        let (first, problems) = load("balanced", &[]);
        let mut active = Active::start(first, &problems).expect("shipped");
        assert_eq!(active.effective().gate.mode, Mode::Observe);
        let broken = Source {
            file: "x.toml".to_owned(),
            name: "x.toml".to_owned(),
            text: Some("schema = 1\ngate.mod = 1\n".to_owned()),
        };
        let (candidate, problems) = load("strict", &[broken]);
        let error = active.reload(candidate, &problems).expect_err("broken");
        assert!(error.to_string().contains("x.toml:2:6"), "{error}");
        assert_eq!((active.epoch(), active.effective().gate.mode), (1, Mode::Observe));
        let (same, problems) = load("balanced", &[]);
        assert_eq!(active.reload(same, &problems), Ok(Reload::Unchanged));
        assert_eq!(active.epoch(), 1);
        let (strict, problems) = load("strict", &[]);
        assert!(matches!(active.reload(strict, &problems), Ok(Reload::Changed(n)) if n > 10));
        assert_eq!((active.epoch(), active.effective().gate.mode), (2, Mode::Enforce));
        let masked = Source {
            file: "m".to_owned(),
            name: "base/10-gate.toml".to_owned(),
            text: None,
        };
        let (incomplete, problems) = load("strict", &[masked]);
        assert!(matches!(
            active.reload(incomplete, &problems),
            Err(RejectedPolicy::Incomplete(_))
        ));
        assert_eq!(active.epoch(), 2);
    }
}
