//! What changed since an earlier run.

use super::{Report, RuleResult};
use crate::audit::outcome::Verdict;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Differences between two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Host of the earlier run.
    pub host: String,
    /// Benchmark and version of the earlier run.
    pub benchmark: String,
    /// When the earlier run ended, seconds since 1970.
    pub ended: i64,
    /// How many controls kept their result.
    pub unchanged: usize,
    /// The others, worst first, else in the benchmark's order.
    pub changes: Vec<Change>,
}

/// What kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Was fine, is not any more.
    Regressed,
    /// Was not fine, is now.
    Fixed,
    /// Another result, neither of the two.
    Changed,
    /// Not in the earlier run.
    Added,
    /// Only in the earlier run.
    Removed,
}

impl ChangeKind {
    /// All kinds, worst first.
    pub const ALL: [Self; 5] = [
        Self::Regressed,
        Self::Fixed,
        Self::Changed,
        Self::Added,
        Self::Removed,
    ];

    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Fixed => "fixed",
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What kind.
    pub kind: ChangeKind,
    /// The control, numbered as in the later run where it is there.
    pub control: String,
    /// Its title.
    pub title: String,
    /// Result then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Verdict>,
    /// Result now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Verdict>,
}

impl Diff {
    /// Compares two reports. Controls meet by number within one benchmark version, else by the checks behind them,
    /// so that a renumbered benchmark does not look like drift.
    pub fn between(earlier: &Report, now: &Report) -> Self {
        let same_numbers =
            earlier.benchmark.id == now.benchmark.id && earlier.benchmark.version == now.benchmark.version;
        let key = |rule: &RuleResult| {
            if same_numbers || rule.checks.is_empty() {
                rule.control.clone()
            } else {
                rule.checks.join(" ")
            }
        };
        let before: HashMap<String, &RuleResult> =
            earlier.rules.iter().map(|rule| (key(rule), rule)).collect();
        let mut met = HashSet::new();
        let mut unchanged = 0;
        let mut changes = Vec::new();
        for rule in &now.rules {
            let key = key(rule);
            let old = before.get(&key).map(|old| old.result());
            met.insert(key);
            let kind = match old {
                None => ChangeKind::Added,
                Some(old) if old == rule.result() => {
                    unchanged += 1;
                    continue;
                }
                Some(old) => kind(old, rule.result()),
            };
            changes.push(Change {
                kind,
                control: rule.control.clone(),
                title: rule.title.clone(),
                before: old,
                after: Some(rule.result()),
            });
        }
        for rule in earlier.rules.iter().filter(|rule| !met.contains(&key(rule))) {
            changes.push(Change {
                kind: ChangeKind::Removed,
                control: rule.control.clone(),
                title: rule.title.clone(),
                before: Some(rule.result()),
                after: None,
            });
        }
        changes.sort_by_key(|change| change.kind);
        Self {
            host: earlier.target.display_name().to_owned(),
            benchmark: format!("{} {}", earlier.benchmark.id, earlier.benchmark.version),
            ended: earlier.ended,
            unchanged,
            changes,
        }
    }

    /// How many differences of that kind.
    pub fn count(&self, kind: ChangeKind) -> usize {
        self.changes.iter().filter(|change| change.kind == kind).count()
    }

    /// One line: `2 regressed, 1 fixed, 290 unchanged`.
    pub fn line(&self) -> String {
        let mut parts: Vec<String> = ChangeKind::ALL
            .into_iter()
            .map(|kind| (self.count(kind), kind))
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{count} {}", kind.word()))
            .collect();
        parts.push(format!("{} unchanged", self.unchanged));
        parts.join(", ")
    }
}

fn kind(before: Verdict, after: Verdict) -> ChangeKind {
    let is_bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Error | Verdict::Unknown);
    match (before, after) {
        (before, Verdict::Fail) if before != Verdict::Fail => ChangeKind::Regressed,
        (Verdict::Pass, after) if is_bad(after) => ChangeKind::Regressed,
        (before, Verdict::Pass) if is_bad(before) => ChangeKind::Fixed,
        _ => ChangeKind::Changed,
    }
}
