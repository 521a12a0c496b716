//! One audit: which controls, answered step by step as inputs arrive, put together into a report.

use super::benchmark::{Benchmark, Control, Profile};
use super::check::{Check, Checks, evaluate};
use super::facts::{Facts, Host, Want, wildcard};
use super::outcome::{Outcome, Verdict};
use super::tailoring::Tailoring;
use super::waiver::{Applied, Waivers};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an operator selects beyond the profile.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only controls or checks that match one of these; empty means all. `*` is a wildcard, a chapter stands for its
    /// controls.
    pub only: Vec<String>,
    /// Controls or checks that are left out.
    pub skip: Vec<String>,
    /// An SSG tailoring file.
    pub tailoring: Option<Tailoring>,
    /// Leave out everything that needs the walk over all file systems.
    pub no_sweeps: bool,
}

/// An audit under way.
#[derive(Debug)]
pub struct Run<'a> {
    checks: &'a Checks,
    controls: Vec<(&'a Control, bool)>,
    selection: &'a Selection,
    pending: BTreeSet<&'a str>,
    done: BTreeMap<&'a str, Outcome>,
    /// Microseconds spent on each check.
    spent: BTreeMap<&'a str, u64>,
}

impl<'a> Run<'a> {
    /// Begins an audit of a profile.
    pub fn new(
        checks: &'a Checks,
        benchmark: &'a Benchmark,
        profile: Profile,
        selection: &'a Selection,
    ) -> Self {
        Self::of(checks, benchmark.select(profile), selection)
    }

    /// Begins an audit of these controls.
    pub fn of(checks: &'a Checks, controls: Vec<&'a Control>, selection: &'a Selection) -> Self {
        let controls: Vec<(&Control, bool)> = controls
            .into_iter()
            .map(|control| (control, selected(control, selection)))
            .collect();
        let mut run = Self {
            checks,
            controls,
            selection,
            pending: BTreeSet::new(),
            done: BTreeMap::new(),
            spent: BTreeMap::new(),
        };
        let wanted: BTreeSet<&'a str> = run
            .controls
            .iter()
            .filter(|(_, selected)| *selected)
            .flat_map(|(control, _)| control.checks.iter().map(String::as_str))
            .filter(|id| run.checks.get(id).is_some_and(|check| run.check_selected(check)))
            .collect();
        run.pending = wanted;
        run
    }

    fn check_selected(&self, check: &Check) -> bool {
        let tailored_away = self
            .selection
            .tailoring
            .as_ref()
            .is_some_and(|tailoring| tailoring.removes(check));
        let skipped = self
            .selection
            .skip
            .iter()
            .any(|pattern| wildcard(pattern, &check.id));
        !(tailored_away || skipped || self.selection.no_sweeps && check.kind.sweeps())
    }

    /// Whether the operator's selection leaves nothing to do.
    pub fn is_empty(&self) -> bool {
        self.controls.iter().all(|(_, selected)| !selected)
    }

    /// How many checks are answered, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.done.len(), self.done.len() + self.pending.len())
    }

    /// Answers what can be answered and says what has to be read for the rest. Done when nothing is wished for.
    pub fn step(&mut self, facts: &Facts) -> BTreeSet<Want> {
        self.step_timed(facts, &|| 0)
    }

    /// The same, with a clock in microseconds for the time each check takes. Reading its inputs is not part of that:
    /// they are read once for all checks that want them.
    pub fn step_timed(&mut self, facts: &Facts, clock_us: &dyn Fn() -> u64) -> BTreeSet<Want> {
        let mut wants = BTreeSet::new();
        for id in std::mem::take(&mut self.pending) {
            let Some(check) = self.checks.get(id) else {
                continue;
            };
            let begin_us = clock_us();
            let answer = evaluate(check, facts);
            let spent = self.spent.entry(id).or_default();
            *spent = spent.saturating_add(clock_us().saturating_sub(begin_us));
            match answer {
                Ok(outcome) => {
                    self.done.insert(id, outcome);
                }
                Err(missing) if missing.iter().all(|want| facts.has(want)) => {
                    let outcome = Outcome::of(
                        Verdict::Error,
                        "asked again for inputs it has: a defect of the check",
                    );
                    self.done.insert(id, outcome);
                }
                Err(missing) => {
                    wants.extend(missing);
                    self.pending.insert(id);
                }
            }
        }
        wants
    }

    /// Gives up on checks that still wait for inputs, with a reason.
    pub fn abandon(&mut self, why: &str) {
        for id in std::mem::take(&mut self.pending) {
            self.done.insert(id, Outcome::of(Verdict::Error, why));
        }
    }

    /// Puts the answers together, control by control.
    pub fn results(self, waivers: &Waivers, benchmark: &str, today: &str) -> Vec<ControlResult> {
        self.controls
            .iter()
            .map(|(control, selected)| {
                let mut result = self.result(control, *selected);
                result.waiver = waivers.applied(benchmark, &result, today);
                result
            })
            .collect()
    }

    fn result(&self, control: &Control, selected: bool) -> ControlResult {
        let checks: Vec<CheckResult> = control
            .checks
            .iter()
            .filter_map(|id| {
                let check = self.checks.get(id)?;
                let outcome = self.done.get(id.as_str())?;
                Some(CheckResult::new(check, outcome.clone()))
            })
            .collect();
        let swept_away = checks.len() < control.checks.len();
        let joined = checks
            .iter()
            .map(|check| check.outcome.result)
            .reduce(Verdict::and);
        let (result, reason) = match joined {
            _ if !selected => (Verdict::NotSelected, "left out by the operator".to_owned()),
            None if control.checks.is_empty() => {
                (Verdict::NotChecked, "no check has been written for it".to_owned())
            }
            None => (Verdict::NotSelected, "all its checks were left out".to_owned()),
            Some(Verdict::Pass) if swept_away => (
                Verdict::NotChecked,
                "some of its checks were left out; the others pass".to_owned(),
            ),
            Some(result) => {
                let reason = checks.iter().find(|check| check.outcome.result == result);
                (
                    result,
                    reason.map_or(String::new(), |check| check.outcome.reason.clone()),
                )
            }
        };
        ControlResult {
            id: control.id.clone(),
            title: control.title.clone(),
            chapter: control.chapter.clone(),
            severity: control.severity.clone(),
            server: control.server,
            workstation: control.workstation,
            automated: control.automated,
            result,
            configured_only: checks.iter().any(|check| check.outcome.configured_only),
            reason,
            cce: control.cce.clone(),
            waiver: None,
            duration_us: control
                .checks
                .iter()
                .filter_map(|id| self.spent.get(id.as_str()))
                .copied()
                .reduce(u64::saturating_add),
            checks,
        }
    }
}

fn selected(control: &Control, selection: &Selection) -> bool {
    let matches = |pattern: &String| {
        wildcard(pattern, &control.id)
            || control.id.starts_with(&format!("{pattern}."))
            || control.checks.iter().any(|check| wildcard(pattern, check))
    };
    (selection.only.is_empty() || selection.only.iter().any(matches))
        && !selection
            .skip
            .iter()
            .any(|pattern| wildcard(pattern, &control.id) || control.id.starts_with(&format!("{pattern}.")))
}

/// The answer to one control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlResult {
    /// Number or id in the benchmark.
    pub id: String,
    /// What it asks.
    pub title: String,
    /// Chapter.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chapter: String,
    /// DISA category.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub severity: String,
    /// CIS level for servers; 0 if none.
    #[serde(default)]
    pub server: u8,
    /// CIS level for workstations; 0 if none.
    #[serde(default)]
    pub workstation: u8,
    /// Whether the benchmark calls it automated.
    pub automated: bool,
    /// The result word.
    pub result: Verdict,
    /// True when only configuration on disk was looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured_only: bool,
    /// Why this result.
    pub reason: String,
    /// Common Configuration Enumeration ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cce: Vec<String>,
    /// A waiver for it. The result stays what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Applied>,
    /// Time its checks took, without reading their inputs, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// The answers of its checks.
    pub checks: Vec<CheckResult>,
}

impl ControlResult {
    /// The result as people read it: "pass (configured)" where the run-time half was not looked at.
    pub fn shown(&self) -> &'static str {
        if self.result == Verdict::Pass && self.configured_only {
            "pass (configured)"
        } else {
            self.result.word()
        }
    }

    /// Whether a waiver that still holds covers it.
    pub fn waived(&self) -> bool {
        self.waiver.as_ref().is_some_and(|waiver| !waiver.expired)
    }

    /// CIS level for the more demanding of both variants, 0 where there is none.
    pub fn level(&self) -> u8 {
        self.server.max(self.workstation)
    }

    /// All evidence, with the check it belongs to.
    pub fn evidence(&self) -> impl Iterator<Item = (&CheckResult, &super::outcome::Evidence)> {
        self.checks.iter().flat_map(|check| {
            check
                .outcome
                .evidence
                .iter()
                .map(move |evidence| (check, evidence))
        })
    }

    /// The piece of evidence that decided: the first that is not as wanted, or the first.
    pub fn decisive(&self) -> Option<&super::outcome::Evidence> {
        let failed = self.evidence().find(|(_, evidence)| evidence.ok == Some(false));
        failed
            .or_else(|| self.evidence().next())
            .map(|(_, evidence)| evidence)
    }

    /// Remedies of the checks that failed.
    pub fn remedies(&self) -> Vec<&str> {
        let mut remedies: Vec<&str> = self
            .checks
            .iter()
            .filter(|check| check.outcome.result == Verdict::Fail && !check.remedy.is_empty())
            .map(|check| check.remedy.as_str())
            .collect();
        remedies.dedup();
        remedies
    }
}

/// The answer of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Its id.
    pub id: String,
    /// What it asks.
    pub title: String,
    /// Rules of SCAP Security Guide that ask the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssg: Vec<String>,
    /// How to put it right.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// What that may break.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub side_effect: String,
    /// The answer.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl CheckResult {
    fn new(check: &Check, outcome: Outcome) -> Self {
        Self {
            id: check.id.clone(),
            title: check.title.clone(),
            ssg: check.ssg.clone(),
            remedy: check.remedy(),
            side_effect: check.side_effect.clone(),
            outcome,
        }
    }
}

/// A finished audit; this is also the JSON report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `hardpan-audit/1`.
    pub schema: String,
    /// Version of the tool.
    pub tool_version: String,
    /// Profile name.
    pub profile: String,
    /// Profile title.
    pub profile_title: String,
    /// Benchmark id.
    pub benchmark: String,
    /// Benchmark title for this distribution.
    pub benchmark_title: String,
    /// Benchmark version for this distribution.
    pub benchmark_version: String,
    /// The host.
    pub host: Host,
    /// Its IP addresses, as far as they are known; none of an image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The image or directory that was looked at; `/` for the running system.
    pub root: String,
    /// Whether the running system was looked at.
    pub live: bool,
    /// Begin, RFC 3339, UTC.
    pub started: String,
    /// End, RFC 3339, UTC.
    pub finished: String,
    /// How many controls the profile has, and how many of them have checks.
    pub coverage: Coverage,
    /// Results per word.
    pub counts: BTreeMap<String, usize>,
    /// Passed controls among those that passed, failed or broke, in percent with one decimal.
    pub score: f64,
    /// Things the reader should know (ignored tailoring values, expired waivers).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The controls.
    pub results: Vec<ControlResult>,
}

/// How much of a profile has checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Controls of the profile.
    pub controls: usize,
    /// Those a check answers.
    pub implemented: usize,
    /// Those a person has to answer (with evidence).
    pub manual: usize,
}

/// Counts what checks cover of a list of controls.
pub fn coverage(checks: &Checks, controls: &[&Control]) -> Coverage {
    let kinds = |control: &Control| -> Vec<&super::kind::Kind> {
        control
            .checks
            .iter()
            .filter_map(|id| checks.get(id))
            .map(|check| &check.kind)
            .collect()
    };
    let mut coverage = Coverage {
        controls: controls.len(),
        ..Coverage::default()
    };
    for control in controls {
        let kinds = kinds(control);
        if kinds.is_empty() || kinds.iter().any(|kind| !kind.implemented()) {
            continue;
        }
        if kinds.iter().any(|kind| kind.manual()) {
            coverage.manual += 1;
        } else {
            coverage.implemented += 1;
        }
    }
    coverage
}

/// Results per word.
pub fn counts(results: &[ControlResult]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for result in results {
        *counts.entry(result.result.word().to_owned()).or_insert(0) += 1;
    }
    counts
}

/// Percentage of passed controls, with one decimal.
pub fn score<'a>(results: impl IntoIterator<Item = &'a ControlResult>) -> f64 {
    let (mut passed, mut counted) = (0_u32, 0_u32);
    for result in results {
        match result.result {
            Verdict::Pass => {
                passed += 1;
                counted += 1;
            }
            Verdict::Fail | Verdict::Error | Verdict::Unknown => counted += 1,
            _ => {}
        }
    }
    if counted == 0 {
        0.0
    } else {
        (f64::from(passed) * 1000.0 / f64::from(counted)).round() / 10.0
    }
}

impl Report {
    /// The exit status of `hardpan audit`: 3 when something could not be looked at, 1 for failures, 0 otherwise.
    /// Waived controls count as 0.
    pub fn exit_code(&self) -> u8 {
        let open = |word: Verdict| {
            self.results
                .iter()
                .any(|result| result.result == word && !result.waived())
        };
        if open(Verdict::Error) || open(Verdict::Unknown) {
            3
        } else {
            u8::from(open(Verdict::Fail))
        }
    }

    /// Chapters in order, each with its controls.
    pub fn chapters(&self) -> Vec<(String, Vec<&ControlResult>)> {
        let mut chapters: Vec<(String, Vec<&ControlResult>)> = Vec::new();
        for result in &self.results {
            let name = if result.chapter.is_empty() {
                &result.severity
            } else {
                &result.chapter
            };
            match chapters.iter_mut().find(|(known, _)| known == name) {
                Some((_, results)) => results.push(result),
                None => chapters.push((name.clone(), vec![result])),
            }
        }
        chapters
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
