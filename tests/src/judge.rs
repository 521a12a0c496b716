//! Judging: what a part must have left behind against what it left.

use crate::predicate::{Facts, Where, fill, values};
use crate::scenario::{Balance, Expect, Forbid, Half, Term};
use serde_json::Value;
use std::fmt;

/// How many near misses a problem shows.
const NEAR_MISSES: usize = 3;

/// An expectation that was not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What had to be.
    pub expected: String,
    /// What was, a line each.
    pub found: Vec<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected: {}", self.expected)?;
        self.found
            .iter()
            .try_for_each(|line| write!(f, "\n   found: {line}"))
    }
}

/// Compares the records of a part with what its half of the scenario asks for.
pub fn judge(half: &Half, records: &[Value], facts: &Facts, tier: &str) -> Vec<Problem> {
    let holds = |tiers: &[String]| tiers.is_empty() || tiers.iter().any(|name| name == tier);
    let expected = half
        .expect
        .iter()
        .filter(|expect| holds(&expect.tiers))
        .filter_map(|expect| missing(expect, records, facts));
    let forbidden = half
        .forbid
        .iter()
        .filter(|forbid| holds(&forbid.tiers))
        .filter_map(|forbid| present(forbid, records, facts));
    let sums = half
        .balance
        .iter()
        .filter(|sum| holds(&sum.tiers))
        .filter_map(|sum| unbalanced(sum, records, facts));
    expected.chain(forbidden).chain(sums).collect()
}

fn missing(expect: &Expect, records: &[Value], facts: &Facts) -> Option<Problem> {
    let matching: Vec<_> = records
        .iter()
        .filter(|record| expect.conditions.matches(record, facts))
        .collect();
    let (met, how_many) = match expect.count {
        Some(count) => (matching.len() == count, format!("exactly {count}")),
        None => (!matching.is_empty(), "at least 1".into()),
    };
    if met {
        return None;
    }
    let mut found = vec![format!("{} such among {} records", matching.len(), records.len())];
    if matching.is_empty() {
        found.extend(near_misses(&expect.conditions, records, facts));
    } else {
        found.extend(matching.iter().take(NEAR_MISSES).map(|record| brief(record)));
    }
    Some(Problem {
        expected: format!("{how_many} with {}", expect.conditions.describe(facts)),
        found,
    })
}

fn present(forbid: &Forbid, records: &[Value], facts: &Facts) -> Option<Problem> {
    let matching: Vec<_> = records
        .iter()
        .filter(|record| forbid.conditions.matches(record, facts))
        .collect();
    (!matching.is_empty()).then(|| Problem {
        expected: format!("none with {}", forbid.conditions.describe(facts)),
        found: matching
            .iter()
            .take(NEAR_MISSES)
            .map(|record| brief(record))
            .collect(),
    })
}

fn unbalanced(balance: &Balance, records: &[Value], facts: &Facts) -> Option<Problem> {
    let wanted = fill(&balance.equals, facts);
    let terms = balance
        .add
        .iter()
        .map(|term| (1, term))
        .chain(balance.subtract.iter().map(|term| (-1, term)));
    let terms: Vec<_> = terms
        .map(|(sign, term)| (sign * amount(term, records, facts), term))
        .collect();
    let total: i64 = terms.iter().map(|(amount, _)| amount).sum();
    if wanted
        .trim()
        .parse::<i64>()
        .is_ok_and(|wanted| (wanted..=wanted + balance.slack).contains(&total))
    {
        return None;
    }
    let lines = terms.iter().map(|(amount, term)| {
        let of = term.field.as_deref().unwrap_or("records");
        format!("{amount:+} {of} where {}", term.conditions.describe(facts))
    });
    Some(Problem {
        expected: match balance.slack {
            0 => format!("a sum of {wanted}"),
            slack => format!("a sum of {wanted}, or up to {slack} more"),
        },
        found: lines.chain([format!("{total} in all")]).collect(),
    })
}

fn amount(term: &Term, records: &[Value], facts: &Facts) -> i64 {
    records
        .iter()
        .filter(|record| term.conditions.matches(record, facts))
        .map(|record| match &term.field {
            None => 1,
            Some(field) => values(record, field)
                .iter()
                .filter_map(|value| value.as_i64())
                .sum(),
        })
        .sum()
}

/// The records that meet most of the conditions, with what keeps each from matching.
fn near_misses(conditions: &Where, records: &[Value], facts: &Facts) -> Vec<String> {
    let mut ranked: Vec<_> = records
        .iter()
        .map(|record| (conditions.misses(record, facts), record))
        .collect();
    ranked.sort_by_key(|(misses, _)| misses.len());
    ranked
        .into_iter()
        .filter(|(misses, _)| misses.len() < conditions.0.len())
        .take(NEAR_MISSES)
        .map(|(misses, record)| format!("{} but {}", brief(record), misses.join("; ")))
        .collect()
}

/// A record in one short line.
pub fn brief(record: &Value) -> String {
    const FIELDS: [&str; 6] = [
        "event.sequence",
        "event.action",
        "event.outcome",
        "process.executable",
        "file.path",
        "message",
    ];
    let parts: Vec<_> = FIELDS
        .iter()
        .filter_map(|path| {
            values(record, path)
                .first()
                .map(|value| format!("{path}={value}"))
        })
        .collect();
    if parts.is_empty() {
        record.to_string().chars().take(200).collect()
    } else {
        parts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect as Golden, expect};
    use serde_json::json;

    fn check(half: &str, expected: &Golden) {
        let half: Half = toml::from_str(&format!("run = ''\n{half}")).unwrap();
        let records = [
            json!({"event": {"action": "exec", "sequence": 1}, "process": {"executable": "/usr/bin/a"}, "lost": 2}),
            json!({"event": {"action": "exec", "sequence": 2}, "process": {"executable": "/tmp/b"}, "lost": 3}),
            json!({"event": {"action": "stop", "sequence": 3}, "lost": 4}),
        ];
        let facts = Facts::from([("execs".to_owned(), "7".to_owned())]);
        let problems = judge(&half, &records, &facts, "B");
        expected.assert_eq(
            &problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
        );
    }

    #[test]
    fn met_expectations_say_nothing() {
        check(
            "[[expect]]\nwhere.'event.action' = 'exec'\ncount = 2\n\
             [[expect]]\nwhere.'nowhere' = 1\ntiers = ['A']\n\
             [[forbid]]\nwhere.'event.action' = 'load'\n\
             [[balance]]\nequals = '${execs}'\nadd = [{ where.'event.action' = 'exec' }, { where.'event.action' = 'exec', field = 'lost' }]",
            &expect![""],
        );
        check(
            "[[balance]]\nequals = '5'\nslack = 2\nadd = [{ where.'event.action' = 'exec', field = 'lost' }, { where = {} }]\nsubtract = [{ where.'event.action' = 'stop' }]",
            &expect![""],
        );
    }

    #[test]
    fn unmet_expectations_show_what_was_found() {
        check(
            "[[expect]]\nwhere = { 'event.action' = 'exec', 'process.executable' = '/tmp/c' }\n\
             [[expect]]\nwhere.'event.action' = 'exec'\ncount = 1\ntiers = ['B']\n\
             [[forbid]]\nwhere.'event.action' = 'stop'\n\
             [[balance]]\nequals = '${execs}'\nadd = [{ where.'event.action' = 'exec' }]",
            &expect![[r#"
                expected: at least 1 with event.action = "exec", process.executable = "/tmp/c"
                   found: 0 such among 3 records
                   found: event.sequence=1 event.action="exec" process.executable="/usr/bin/a" but process.executable: "/usr/bin/a"
                   found: event.sequence=2 event.action="exec" process.executable="/tmp/b" but process.executable: "/tmp/b"
                expected: exactly 1 with event.action = "exec"
                   found: 2 such among 3 records
                   found: event.sequence=1 event.action="exec" process.executable="/usr/bin/a"
                   found: event.sequence=2 event.action="exec" process.executable="/tmp/b"
                expected: none with event.action = "stop"
                   found: event.sequence=3 event.action="stop"
                expected: a sum of 7
                   found: +2 records where event.action = "exec"
                   found: 2 in all"#]],
        );
    }
}
