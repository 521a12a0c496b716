//! Two lists of answers side by side.

use super::Variant;
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::ui;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A check that SCAP Security Guide has a rule for.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// Our check.
    pub(super) check: String,
    /// Their rules.
    rules: Vec<String>,
}

#[derive(Deserialize)]
struct BenchmarkFile {
    controls: Vec<Control>,
}

#[derive(Deserialize)]
struct Control {
    #[serde(default)]
    checks: Vec<String>,
}

#[derive(Deserialize)]
struct CheckFile {
    #[serde(default)]
    check: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    id: String,
    #[serde(default)]
    ssg: Vec<String>,
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Done<T> {
    let text = place::read(path)?;
    toml::from_str(&String::from_utf8_lossy(&text)).map_err(|error| {
        TaskError::cannot(
            format!("{}: {error}", path.display()),
            "this is a bug in the file",
        )
    })
}

impl Question {
    /// The checks of a benchmark that have a rule.
    pub(super) fn of_benchmark(places: &Places, profile: &str, el: u8) -> Done<Vec<Self>> {
        let dir = places.root.join("policies/audit");
        let benchmark: BenchmarkFile = parse(&dir.join(format!("benchmarks/{profile}-rhel{el}.toml")))?;
        let wanted: BTreeSet<String> = benchmark
            .controls
            .into_iter()
            .flat_map(|control| control.checks)
            .collect();
        let checks = dir.join("checks");
        let mut questions = Vec::new();
        for entry in fs::read_dir(&checks).map_err(TaskError::file("reading", &checks))? {
            let path = entry.map_err(TaskError::file("reading", &checks))?.path();
            let file: CheckFile = parse(&path)?;
            questions.extend(
                file.check
                    .into_iter()
                    .filter(|check| !check.ssg.is_empty() && wanted.contains(&check.id))
                    .map(|check| Self {
                        check: check.id,
                        rules: check.ssg,
                    }),
            );
        }
        questions.sort_by(|a, b| a.check.cmp(&b.check));
        Ok(questions)
    }
}

#[derive(Deserialize)]
struct Report {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    control: String,
    result: String,
    #[serde(default)]
    reason: String,
}

/// Result and reason by control, from a JSON report.
pub(super) fn our_results(text: &str) -> Done<BTreeMap<String, (String, String)>> {
    let broken = |error| TaskError::cannot(format!("hardpan's JSON report: {error}"), "this is a bug");
    let report: Report = serde_json::from_str(text).map_err(broken)?;
    Ok(report
        .rules
        .into_iter()
        .map(|rule| (rule.control, (rule.result, rule.reason)))
        .collect())
}

/// Disagreements that are known, with their reasons.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Differences {
    difference: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// Our checks; `*` is a wildcard.
    checks: Vec<String>,
    /// Their results; any if empty.
    #[serde(default)]
    oscap: Vec<String>,
    /// Our results; any if empty.
    #[serde(default)]
    hardpan: Vec<String>,
    /// Only for this release.
    el: Option<u8>,
    /// Why.
    reason: String,
}

impl Differences {
    pub(super) fn read(places: &Places) -> Done<Self> {
        parse(&places.root.join("tests/audit/differences.toml"))
    }

    fn reason(&self, el: u8, check: &str, theirs: &str, ours: &str) -> Option<&str> {
        let among = |list: &[String], word: &str| list.is_empty() || list.iter().any(|known| known == word);
        self.difference
            .iter()
            .find(|known| {
                known.el.is_none_or(|only| only == el)
                    && known.checks.iter().any(|pattern| wildcard(pattern, check))
                    && among(&known.oscap, theirs)
                    && among(&known.hardpan, ours)
            })
            .map(|known| known.reason.as_str())
    }
}

fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter_map(|at| rest.get(at..))
                .any(|rest| wildcard(after, rest))
        }),
    }
}

/// One root looked at with one profile.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    el: u8,
    profile: String,
    root: &'static str,
    /// Checks with an answer of both.
    compared: usize,
    /// The same answer.
    same: usize,
    /// By answer: "oscap/hardpan".
    answers: BTreeMap<String, usize>,
    /// Another answer, for a known reason.
    pub(super) explained: Vec<Disagreement>,
    /// Another answer.
    pub(super) unexplained: Vec<Disagreement>,
}

/// Two answers.
#[derive(Debug, Serialize)]
pub(super) struct Disagreement {
    check: String,
    rules: Vec<String>,
    oscap: String,
    hardpan: String,
    /// Hardpan's reason for its answer.
    because: String,
    /// Why they differ.
    reason: String,
}

impl Comparison {
    pub(super) fn new(
        el: u8,
        profile: &str,
        variant: Variant,
        questions: &[Question],
        ours: &BTreeMap<String, (String, String)>,
        theirs: &BTreeMap<String, String>,
        differences: &Differences,
    ) -> Self {
        let mut comparison = Self {
            el,
            profile: profile.to_owned(),
            root: variant.name(),
            compared: 0,
            same: 0,
            answers: BTreeMap::new(),
            explained: Vec::new(),
            unexplained: Vec::new(),
        };
        for question in questions {
            let Some((ours, because)) = ours.get(&question.check) else {
                continue;
            };
            let Some(theirs) = joined(question.rules.iter().filter_map(|rule| theirs.get(rule))) else {
                continue;
            };
            comparison.compared += 1;
            *comparison.answers.entry(format!("{theirs}/{ours}")).or_default() += 1;
            if theirs == ours {
                comparison.same += 1;
                continue;
            }
            let reason = differences.reason(el, &question.check, theirs, ours);
            let list = if reason.is_some() {
                &mut comparison.explained
            } else {
                &mut comparison.unexplained
            };
            list.push(Disagreement {
                check: question.check.clone(),
                rules: question.rules.clone(),
                oscap: theirs.to_owned(),
                hardpan: ours.clone(),
                because: because.clone(),
                reason: reason.unwrap_or_default().to_owned(),
            });
        }
        comparison
    }
}

/// XCCDF's AND of several results.
fn joined<'a>(results: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    const ORDER: [&str; 7] = [
        "fail",
        "error",
        "unknown",
        "notchecked",
        "pass",
        "informational",
        "notapplicable",
    ];
    results.map(String::as_str).min_by_key(|result| {
        ORDER
            .iter()
            .position(|known| known == result)
            .unwrap_or(ORDER.len())
    })
}

/// The comparisons as text.
pub(super) fn print(comparisons: &[Comparison]) {
    for comparison in comparisons {
        ui::data(&format!(
            "EL {} {} {}: {} compared, {} the same, {} for a known reason, {} without",
            comparison.el,
            comparison.profile,
            comparison.root,
            comparison.compared,
            comparison.same,
            comparison.explained.len(),
            comparison.unexplained.len()
        ));
        for open in &comparison.unexplained {
            ui::data(&format!(
                "  {} ({}): oscap {}, hardpan {}: {}",
                open.check,
                open.rules.join(", "),
                open.oscap,
                open.hardpan,
                open.because
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_joined_as_xccdf_does() {
        let join = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            joined(words.iter()).map(str::to_owned)
        };
        assert_eq!(join(&["pass", "fail"]).as_deref(), Some("fail"));
        assert_eq!(join(&["notapplicable", "pass"]).as_deref(), Some("pass"));
        assert_eq!(join(&[]), None);
    }

    #[test]
    fn known_differences_need_check_and_results() {
        let differences: Differences = toml::from_str(
            "[[difference]]\nchecks = [\"hp-a-*\"]\noscap = [\"fail\"]\nhardpan = [\"pass\"]\nreason = \"because\"\n",
        )
        .unwrap();
        assert_eq!(differences.reason(9, "hp-a-b", "fail", "pass"), Some("because"));
        assert_eq!(differences.reason(9, "hp-a-b", "pass", "fail"), None);
        assert_eq!(differences.reason(9, "hp-b", "fail", "pass"), None);
    }

    #[test]
    fn the_document_lists_every_reason() {
        let places = Places::find().unwrap();
        let document = fs::read_to_string(places.root.join("docs/AUDIT-DIFFERENCES.md")).unwrap();
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let document = flat(&document);
        for known in Differences::read(&places).unwrap().difference {
            assert!(document.contains(&flat(&known.reason)), "{}", known.reason);
        }
    }
}
