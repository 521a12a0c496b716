//! What a check answers: an XCCDF result word, and the evidence that led to it.

use serde::{Deserialize, Serialize};

/// The result words of XCCDF 1.2 (`rule-result/result`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The host is as the control wants it.
    Pass,
    /// The host differs from what the control wants.
    Fail,
    /// Something the check needs could not be read or understood.
    Error,
    /// The check ran and could not decide.
    Unknown,
    /// The control does not concern this host.
    NotApplicable,
    /// The check was not carried out (manual control, run-time half of an image).
    NotChecked,
    /// The operator left the control out.
    NotSelected,
    /// A fact for the reader, neither good nor bad.
    Informational,
}

impl Verdict {
    /// All words, in the order reports count them.
    pub const ALL: [Self; 8] = [
        Self::Pass,
        Self::Fail,
        Self::Error,
        Self::Unknown,
        Self::NotApplicable,
        Self::NotChecked,
        Self::NotSelected,
        Self::Informational,
    ];

    /// The word as XCCDF writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Unknown => "unknown",
            Self::NotApplicable => "notapplicable",
            Self::NotChecked => "notchecked",
            Self::NotSelected => "notselected",
            Self::Informational => "informational",
        }
    }

    /// XCCDF's truth table for AND: fail, then error, unknown, not checked, pass, informational, not applicable.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self.and_rank() <= other.and_rank() {
            self
        } else {
            other
        }
    }

    /// XCCDF's truth table for OR: pass, then error, unknown, not checked, fail, informational, not applicable.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.or_rank() <= other.or_rank() {
            self
        } else {
            other
        }
    }

    fn and_rank(self) -> u8 {
        match self {
            Self::Fail => 0,
            Self::Error => 1,
            Self::Unknown => 2,
            Self::NotChecked => 3,
            Self::Pass => 4,
            Self::Informational => 5,
            Self::NotApplicable => 6,
            Self::NotSelected => 7,
        }
    }

    fn or_rank(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Error => 1,
            Self::Unknown => 2,
            Self::NotChecked => 3,
            Self::Fail => 4,
            Self::Informational => 5,
            Self::NotApplicable => 6,
            Self::NotSelected => 7,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where it was read: a path with line, a kernel key, a command.
    pub source: String,
    /// What the check wanted there; empty for a plain fact.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected: String,
    /// What was there.
    pub found: String,
    /// Whether that is as wanted; `None` for a plain fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
}

/// The answer of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The result word.
    pub result: Verdict,
    /// One sentence: why this result.
    pub reason: String,
    /// True when only the configuration on disk could be looked at, so that "pass" means "pass (configured)".
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured_only: bool,
    /// What was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Pieces of evidence beyond those kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Evidence beyond this many entries is counted, not kept: a sweep may find a million files.
const EVIDENCE_MAX: usize = 50;

/// Longest piece of foreign text kept in evidence, in characters.
const FOUND_MAX: usize = 400;

impl Outcome {
    /// An answer with one reason and no evidence.
    pub fn of(result: Verdict, reason: impl Into<String>) -> Self {
        Self {
            result,
            reason: reason.into(),
            configured_only: false,
            evidence: Vec::new(),
            omitted: 0,
        }
    }

    /// Starts an answer that passes until something speaks against it.
    pub fn start() -> Self {
        Self::of(Verdict::Pass, "")
    }

    /// The control does not concern this host.
    pub fn not_applicable(reason: impl Into<String>) -> Self {
        Self::of(Verdict::NotApplicable, reason)
    }

    /// Records one comparison; the first that does not hold turns the answer into `fail` and gives its reason.
    pub fn expect(
        &mut self,
        ok: bool,
        source: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let evidence = Evidence {
            source: source.into(),
            expected: expected.into(),
            found: clip(&found.into()),
            ok: Some(ok),
        };
        if !ok && self.result != Verdict::Fail {
            self.result = Verdict::Fail;
            self.reason = format!(
                "{}: expected {}, found {}",
                evidence.source, evidence.expected, evidence.found
            );
        }
        self.push(evidence);
    }

    /// Records a plain fact.
    pub fn note(&mut self, source: impl Into<String>, found: impl Into<String>) {
        self.push(Evidence {
            source: source.into(),
            expected: String::new(),
            found: clip(&found.into()),
            ok: None,
        });
    }

    /// Turns the answer into `fail` with a reason of its own.
    pub fn fail(&mut self, reason: impl Into<String>) {
        if self.result != Verdict::Fail {
            self.result = Verdict::Fail;
            self.reason = reason.into();
        }
    }

    /// Sets the reason when none is there yet.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        if self.reason.is_empty() {
            self.reason = reason.into();
        }
        self
    }

    /// Marks that the run-time half could not be looked at.
    #[must_use]
    pub fn configured(mut self) -> Self {
        self.configured_only = true;
        self
    }

    fn push(&mut self, evidence: Evidence) {
        if self.evidence.len() < EVIDENCE_MAX {
            self.evidence.push(evidence);
            return;
        }
        self.omitted += 1;
        // What speaks against the host goes before what does not.
        if evidence.ok == Some(false)
            && let Some(place) = self.evidence.iter_mut().rev().find(|kept| kept.ok != Some(false))
        {
            *place = evidence;
        }
    }
}

/// Makes foreign text fit for a report: one line, no control characters, bounded length.
pub fn clip(text: &str) -> String {
    let mut out = String::new();
    for (count, character) in text.trim().chars().enumerate() {
        if count >= FOUND_MAX {
            out.push('…');
            break;
        }
        match character {
            '\n' => out.push_str(" ⏎ "),
            '\t' => out.push(' '),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_tables_follow_xccdf() {
        use Verdict::{Error, Fail, NotApplicable, NotChecked, Pass};
        for (left, right, and, or) in [
            (Pass, Fail, Fail, Pass),
            (Pass, Error, Error, Pass),
            (Fail, Error, Fail, Error),
            (Pass, NotApplicable, Pass, Pass),
            (NotChecked, Pass, NotChecked, Pass),
            (NotChecked, Fail, Fail, NotChecked),
        ] {
            assert_eq!(left.and(right), and, "{left:?} and {right:?}");
            assert_eq!(right.and(left), and, "{right:?} and {left:?}");
            assert_eq!(left.or(right), or, "{left:?} or {right:?}");
        }
    }

    #[test]
    fn foreign_text_cannot_forge_a_line() {
        assert_eq!(clip("a\nb\u{1b}[31m"), "a ⏎ b\u{fffd}[31m");
        assert_eq!(clip(&"x".repeat(1000)).chars().count(), FOUND_MAX + 1);
    }

    #[test]
    fn what_fails_is_kept_and_the_rest_counted() {
        let mut outcome = Outcome::start();
        for number in 0..60 {
            outcome.expect(number != 55, number.to_string(), "x", "y");
        }
        assert_eq!((outcome.evidence.len(), outcome.omitted), (50, 10));
        let failing: Vec<&str> = outcome
            .evidence
            .iter()
            .filter(|evidence| evidence.ok == Some(false))
            .map(|evidence| evidence.source.as_str())
            .collect();
        assert_eq!(failing, ["55"]);
    }

    #[test]
    fn the_first_difference_gives_the_reason() {
        let mut outcome = Outcome::start();
        outcome.expect(true, "a", "1", "1");
        outcome.expect(false, "b", "1", "2");
        outcome.expect(false, "c", "1", "3");
        assert_eq!(outcome.result, Verdict::Fail);
        assert_eq!(outcome.reason, "b: expected 1, found 2");
        assert_eq!(outcome.evidence.len(), 3);
    }
}
