//! Counts, scores and coverage.
//!
//! **Score.** Pass ÷ (pass + fail + error + unknown), in percent: XCCDF's flat, unweighted model. Controls that do
//! not apply, were not checked, were not selected or are informational count neither way. A waived control is a fail.

use super::{Chapter, Means, Report, RuleResult, Severity, text};
use crate::audit::outcome::Verdict;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// How many controls got which result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All controls.
    pub total: usize,
    /// Results `pass`.
    pub pass: usize,
    /// Results `fail`, the waived ones included.
    pub fail: usize,
    /// Results `fail` with a waiver in force.
    pub waived: usize,
    /// Results `error`.
    pub error: usize,
    /// Results `unknown`.
    pub unknown: usize,
    /// Results `notapplicable`.
    pub notapplicable: usize,
    /// Results `notchecked`.
    pub notchecked: usize,
    /// Results `notselected`.
    pub notselected: usize,
    /// Results `informational`.
    pub informational: usize,
}

impl Counts {
    /// Counts results.
    pub fn of<'a>(rules: impl IntoIterator<Item = &'a RuleResult>) -> Self {
        let mut counts = Self::default();
        for rule in rules {
            counts.total += 1;
            counts.waived += usize::from(rule.result() == Verdict::Fail && rule.accepted().is_some());
            *counts.slot(rule.result()) += 1;
        }
        counts
    }

    fn slot(&mut self, verdict: Verdict) -> &mut usize {
        match verdict {
            Verdict::Pass => &mut self.pass,
            Verdict::Fail => &mut self.fail,
            Verdict::Error => &mut self.error,
            Verdict::Unknown => &mut self.unknown,
            Verdict::NotApplicable => &mut self.notapplicable,
            Verdict::NotChecked => &mut self.notchecked,
            Verdict::NotSelected => &mut self.notselected,
            Verdict::Informational => &mut self.informational,
        }
    }

    /// How many got that result.
    pub fn get(mut self, verdict: Verdict) -> usize {
        *self.slot(verdict)
    }

    /// Controls that count for the score.
    pub fn scored(self) -> usize {
        self.pass + self.fail + self.error + self.unknown
    }

    /// Percent of the scored controls that pass; `None` when none counts.
    pub fn score(self) -> Option<f64> {
        percent(self.pass, self.scored())
    }
}

/// `part` of `whole` in percent.
#[expect(clippy::cast_precision_loss, reason = "counts of controls are small")]
pub(super) fn percent(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// A score as text: one decimal, cut and not rounded, so that 99.96 is never shown as 100.
pub(super) fn score_text(score: Option<f64>) -> String {
    score.map_or_else(
        || "–".to_owned(),
        |score| format!("{:.1}", (score * 10.0).floor() / 10.0),
    )
}

/// How much of the profile was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Controls of the profile that the operator did not leave out.
    pub controls: usize,
    /// Controls with an answer by checks: pass, fail, notapplicable or informational.
    pub checked: usize,
    /// Checks that could not decide: error or unknown.
    pub undecided: usize,
    /// Controls a person must answer.
    pub manual: usize,
    /// Controls without a check yet.
    pub not_implemented: usize,
    /// Controls whose checks could not run here (the run-time half of an image).
    pub not_checked: usize,
}

impl Coverage {
    /// Counts coverage.
    pub fn of(rules: &[RuleResult]) -> Self {
        let mut coverage = Self::default();
        for rule in rules {
            if rule.result() == Verdict::NotSelected {
                continue;
            }
            coverage.controls += 1;
            let slot = match (rule.result(), rule.means) {
                (Verdict::Pass | Verdict::Fail | Verdict::NotApplicable, _)
                | (Verdict::Informational, Means::Automated) => &mut coverage.checked,
                (Verdict::Error | Verdict::Unknown, _) => &mut coverage.undecided,
                (_, Means::Manual) => &mut coverage.manual,
                (_, Means::NotImplemented) => &mut coverage.not_implemented,
                (_, Means::Automated) => &mut coverage.not_checked,
            };
            *slot += 1;
        }
        coverage
    }

    /// The line for a report's head.
    pub fn line(self) -> String {
        let mut line = format!("{} of {} controls checked", self.checked, self.controls);
        for (count, what) in [
            (self.undecided, "could not be decided"),
            (self.manual, "to be answered by a person"),
            (self.not_implemented, "not implemented"),
            (self.not_checked, "not checkable here"),
        ] {
            if count > 0 {
                text::add(&mut line, format_args!("; {count} {what}"));
            }
        }
        line
    }
}

/// One chapter and its results.
#[derive(Clone, Debug)]
pub struct ChapterSummary<'a> {
    /// The chapter.
    pub chapter: &'a Chapter,
    /// Its counts.
    pub counts: Counts,
    /// Its results, each with its place in [`Report::rules`].
    pub rules: Vec<(usize, &'a RuleResult)>,
}

impl Report {
    /// Counts over all controls.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.rules)
    }

    /// Coverage over all controls.
    pub fn coverage(&self) -> Coverage {
        Coverage::of(&self.rules)
    }

    /// Failures by severity, or by level where the benchmark has no severities (CIS), waived ones apart:
    /// (word, open, waived). Severities come worst first, levels in their order.
    pub fn failures_by_weight(&self) -> Vec<(String, usize, usize)> {
        if self.has_severities() {
            return self
                .failures_by_severity()
                .into_iter()
                .map(|(severity, open, waived)| (severity.word().to_owned(), open, waived))
                .collect();
        }
        let levels: BTreeSet<&str> = self.rules.iter().map(|rule| rule.level.as_str()).collect();
        levels
            .into_iter()
            .map(|level| {
                let counts = Counts::of(self.rules.iter().filter(|rule| rule.level == level));
                let word = if level.is_empty() { "no level" } else { level };
                (
                    word.to_owned(),
                    counts.fail.saturating_sub(counts.waived),
                    counts.waived,
                )
            })
            .filter(|(_, open, waived)| open + waived > 0)
            .collect()
    }

    /// Whether any control has a severity.
    pub fn has_severities(&self) -> bool {
        self.rules.iter().any(|rule| rule.severity != Severity::Unknown)
    }

    /// Failures by severity, worst first, waived ones apart: (severity, open, waived).
    pub fn failures_by_severity(&self) -> Vec<(Severity, usize, usize)> {
        Severity::ALL
            .into_iter()
            .map(|severity| {
                let counts = Counts::of(self.rules.iter().filter(|rule| rule.severity == severity));
                (severity, counts.fail.saturating_sub(counts.waived), counts.waived)
            })
            .filter(|(_, open, waived)| open + waived > 0)
            .collect()
    }

    /// Results by chapter, chapters in the order they first appear.
    pub fn chapters(&self) -> Vec<ChapterSummary<'_>> {
        let mut places = HashMap::<&Chapter, usize>::new();
        let mut chapters = Vec::<ChapterSummary<'_>>::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let place = *places.entry(&rule.chapter).or_insert_with(|| {
                chapters.push(ChapterSummary {
                    chapter: &rule.chapter,
                    counts: Counts::default(),
                    rules: Vec::new(),
                });
                chapters.len() - 1
            });
            if let Some(chapter) = chapters.get_mut(place) {
                chapter.rules.push((index, rule));
            }
        }
        for chapter in &mut chapters {
            chapter.counts = Counts::of(chapter.rules.iter().map(|(_, rule)| *rule));
        }
        chapters
    }

    /// XCCDF's default score: the mean of the chapters' scores, chapters without a scored control left out.
    pub fn default_score(&self) -> Option<f64> {
        let scores: Vec<f64> = self
            .chapters()
            .iter()
            .filter_map(|chapter| chapter.counts.score())
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "chapters are few")]
        let count = scores.len() as f64;
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / count)
    }
}
