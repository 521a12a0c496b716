//! What changed between two audits.

use super::outcome::Verdict;
use super::run::Report;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The difference to an earlier result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// When the earlier audit began.
    pub since: String,
    /// Controls with another result.
    pub changed: Vec<Change>,
    /// Controls the earlier result does not have.
    pub added: Vec<String>,
    /// Controls only the earlier result has.
    pub removed: Vec<String>,
}

/// One control with another result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its id.
    pub id: String,
    /// What it asks.
    pub title: String,
    /// The earlier result.
    pub before: Verdict,
    /// The result now.
    pub after: Verdict,
}

impl Change {
    /// Whether it got worse: it does not pass any more, or it fails now.
    pub fn worse(&self) -> bool {
        let bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Error | Verdict::Unknown);
        bad(self.after) && !bad(self.before)
    }
}

/// Compares two reports by control id.
pub fn diff(before: &Report, after: &Report) -> Diff {
    let old: BTreeMap<&str, Verdict> = before.results.iter().map(|r| (r.id.as_str(), r.result)).collect();
    let mut diff = Diff {
        since: before.started.clone(),
        ..Diff::default()
    };
    for result in &after.results {
        match old.get(result.id.as_str()) {
            None => diff.added.push(result.id.clone()),
            Some(verdict) if *verdict != result.result => diff.changed.push(Change {
                id: result.id.clone(),
                title: result.title.clone(),
                before: *verdict,
                after: result.result,
            }),
            Some(_) => {}
        }
    }
    let new: std::collections::BTreeSet<&str> = after.results.iter().map(|r| r.id.as_str()).collect();
    diff.removed = old
        .keys()
        .filter(|id| !new.contains(*id))
        .map(|id| (*id).to_owned())
        .collect();
    diff
}
