//! From an event to an action, and the way to it.

use super::facts::Facts;
use super::kind::{Action, Kind};
use super::model::Rule;
use super::test::{Outcome, Test};
use crate::platform::Tier;
use crate::policy::origin::Origin;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens to events that no rule names: action and origin by kind and class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    table: BTreeMap<Kind, BTreeMap<String, (Action, Origin)>>,
}

impl Defaults {
    /// Sets the action for a class.
    pub fn set(&mut self, kind: Kind, class: &str, action: Action, origin: Origin) {
        let classes = self.table.entry(kind).or_default();
        classes.insert(class.to_owned(), (action, origin));
    }

    /// The action for a class.
    pub fn action(&self, kind: Kind, class: &str) -> Option<(Action, &Origin)> {
        let (action, origin) = self.table.get(&kind)?.get(class)?;
        Some((*action, origin))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str, Action, &Origin)> {
        self.table.iter().flat_map(|(kind, classes)| {
            let of_kind = classes.iter();
            of_kind.map(|(class, (action, origin))| (*kind, class.as_str(), *action, origin))
        })
    }
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why<'p> {
    /// The rule at this place in the list.
    Rule(usize, &'p Rule),
    /// The default for the object's class.
    Default(&'p Origin),
    /// Neither a rule nor a default fits: the class is not known. `alert` is the answer.
    Nothing,
}

/// The answer to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'p> {
    /// What to do at this tier.
    pub action: Action,
    /// What decided.
    pub why: Why<'p>,
    /// True if the policy says `deny` or `kill` but this tier cannot, or the rule says otherwise below its tier.
    pub weakened: bool,
    /// Whether a record is wanted.
    pub record: bool,
}

impl Decision<'_> {
    /// Place of the rule that decided; `None`: a default did.
    pub const fn rule(&self) -> Option<usize> {
        match self.why {
            Why::Rule(n, _) => Some(n),
            Why::Default(_) | Why::Nothing => None,
        }
    }
}

/// Decides an event at a tier. At tier C it has happened already.
pub fn decide<'p>(rules: &'p [Rule], defaults: &'p Defaults, facts: &Facts, tier: Tier) -> Decision<'p> {
    decide_before(rules, defaults, facts, (tier, false))
}

/// Decides an event that has not happened yet: at tier C, where fanotify asks (`true`), it can be refused.
pub fn decide_before<'p>(
    rules: &'p [Rule],
    defaults: &'p Defaults,
    facts: &Facts,
    (tier, by_fanotify): (Tier, bool),
) -> Decision<'p> {
    let possible = |action, kind| possible(action, kind, (tier, by_fanotify));
    for (n, rule) in rules.iter().enumerate() {
        let fits = rule.on.contains(&facts.kind)
            && rule
                .tests
                .iter()
                .all(|test| outcome(test, facts) == Outcome::Holds);
        if fits {
            let action = possible(rule.action_before(facts.kind, tier, by_fanotify), facts.kind);
            return Decision {
                action,
                why: Why::Rule(n, rule),
                weakened: action < rule.action,
                record: rule.record || action >= Action::Alert,
            };
        }
    }
    let default = facts.class().and_then(|class| defaults.action(facts.kind, class));
    match default {
        Some((wanted, origin)) => {
            let action = possible(wanted, facts.kind);
            Decision {
                action,
                why: Why::Default(origin),
                weakened: action < wanted,
                record: action >= Action::Alert,
            }
        }
        None => Decision {
            action: Action::Alert,
            why: Why::Nothing,
            weakened: false,
            record: true,
        },
    }
}

/// `deny` needs somebody who can refuse; `kill` works everywhere.
fn possible(action: Action, kind: Kind, (tier, by_fanotify): (Tier, bool)) -> Action {
    if action == Action::Deny && !kind.deniable(tier, by_fanotify) {
        Action::Alert
    } else {
        action
    }
}

fn outcome(test: &Test, facts: &Facts) -> Outcome {
    test.outcome(facts.fact(test.attribute.side, test.attribute.name))
}

/// How one rule fared with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// How it fared.
    pub outcome: StepOutcome<'p>,
}

/// How a rule fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome<'p> {
    /// It decided.
    Decided,
    /// It is about other kinds of events.
    OtherKind,
    /// This condition failed.
    Failed(&'p Test),
    /// The event does not tell whether this condition holds.
    Unknown(&'p Test),
}

/// The way to the decision: every rule up to the one that decided.
pub fn explain<'p>(rules: &'p [Rule], facts: &Facts) -> Vec<Step<'p>> {
    let mut steps = Vec::new();
    for rule in rules {
        let outcome = if rule.on.contains(&facts.kind) {
            let hindrance = rule.tests.iter().find_map(|test| match outcome(test, facts) {
                Outcome::Holds => None,
                Outcome::Fails => Some(StepOutcome::Failed(test)),
                Outcome::Unknown => Some(StepOutcome::Unknown(test)),
            });
            hindrance.unwrap_or(StepOutcome::Decided)
        } else {
            StepOutcome::OtherKind
        };
        steps.push(Step { rule, outcome });
        if outcome == StepOutcome::Decided {
            break;
        }
    }
    steps
}

/// How often each rule decided. Shared by the daemon's threads.
#[derive(Debug)]
pub struct HitCounters {
    rules: Vec<AtomicU64>,
    defaults: AtomicU64,
}

impl HitCounters {
    /// Counters for this many rules, at zero.
    pub fn new(rules: usize) -> Self {
        Self {
            rules: (0..rules).map(|_| AtomicU64::new(0)).collect(),
            defaults: AtomicU64::new(0),
        }
    }

    /// Counts a decision.
    pub fn count(&self, decision: &Decision<'_>) {
        self.count_many(decision.rule(), 1);
    }

    /// Counts decisions that were not made one by one: by a rule, or `None` by a default.
    pub fn count_many(&self, rule: Option<usize>, count: u64) {
        let counter = match rule {
            Some(n) => self.rules.get(n),
            None => Some(&self.defaults),
        };
        if let Some(counter) = counter {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Hits per rule, in the rules' order.
    pub fn rules(&self) -> Vec<u64> {
        self.rules
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .collect()
    }

    /// Events that no rule decided.
    pub fn defaults(&self) -> u64 {
        self.defaults.load(Ordering::Relaxed)
    }
}
