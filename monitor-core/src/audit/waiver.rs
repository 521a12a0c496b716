//! Waivers: known failures somebody answers for, until a date.

use super::facts::wildcard;
use super::outcome::Verdict;
use super::run::ControlResult;
use serde::{Deserialize, Serialize};

/// A file of waivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waivers {
    /// The waivers.
    #[serde(default)]
    pub waiver: Vec<Waiver>,
}

/// One waiver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// Control id or check id; `*` is a wildcard.
    pub control: String,
    /// Only for this benchmark.
    #[serde(default)]
    pub benchmark: Option<String>,
    /// Why the failure is accepted.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Last day it holds, `YYYY-MM-DD`.
    pub expires: String,
}

/// A waiver as it stands in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Why the failure is accepted.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Last day it holds.
    pub expires: String,
    /// It does not hold any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

/// Why a file of waivers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaiverError {
    /// It is not the TOML it should be.
    #[error("{0}")]
    Syntax(String),
    /// A waiver lacks what makes it one.
    #[error("the waiver for {control}: {why}")]
    Incomplete {
        /// The control.
        control: String,
        /// What is missing.
        why: &'static str,
    },
}

impl Waivers {
    /// Reads a file. Every waiver needs a reason, an owner and a date.
    pub fn parse(text: &str) -> Result<Self, WaiverError> {
        let waivers: Self = toml::from_str(text)
            .map_err(|error| WaiverError::Syntax(crate::syntax::complaint(text, &error)))?;
        for waiver in &waivers.waiver {
            let error = |why| WaiverError::Incomplete {
                control: waiver.control.clone(),
                why,
            };
            if waiver.reason.trim().is_empty() {
                return Err(error("the reason is empty"));
            }
            if waiver.owner.trim().is_empty() {
                return Err(error("the owner is empty"));
            }
            if waiver.expires.parse::<jiff::civil::Date>().is_err() {
                return Err(error("expires is not a date (YYYY-MM-DD)"));
            }
        }
        Ok(waivers)
    }

    /// The waiver for a failure; the one that holds longest. What could not be looked at cannot be waived. `today` is `YYYY-MM-DD`.
    pub fn applied(&self, benchmark: &str, result: &ControlResult, today: &str) -> Option<Applied> {
        if result.result != Verdict::Fail {
            return None;
        }
        let bad = |check: &super::run::CheckResult| {
            matches!(
                check.outcome.result,
                Verdict::Fail | Verdict::Error | Verdict::Unknown
            )
        };
        self.waiver
            .iter()
            .filter(|waiver| waiver.benchmark.as_ref().is_none_or(|wanted| wanted == benchmark))
            .filter(|waiver| {
                // A waiver for a check covers the control only if nothing else in it is bad.
                let mut bad = result.checks.iter().filter(|check| bad(check)).peekable();
                wildcard(&waiver.control, &result.id)
                    || (bad.peek().is_some() && bad.all(|check| wildcard(&waiver.control, &check.id)))
            })
            .max_by(|a, b| a.expires.cmp(&b.expires))
            .map(|waiver| Applied {
                reason: waiver.reason.clone(),
                owner: waiver.owner.clone(),
                expires: waiver.expires.clone(),
                expired: waiver.expires.as_str() < today,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_needs_reason_owner_and_date() {
        let parse = |reason: &str, owner: &str, expires: &str| {
            Waivers::parse(&format!(
                "[[waiver]]\ncontrol = \"1.1\"\nreason = \"{reason}\"\nowner = \"{owner}\"\nexpires = \"{expires}\""
            ))
        };
        assert!(parse("r", "o", "2030-01-01").is_ok());
        assert!(parse("", "o", "2030-01-01").is_err());
        assert!(parse("r", " ", "2030-01-01").is_err());
        assert_eq!(
            parse("r", "o", "soon").unwrap_err().to_string(),
            "the waiver for 1.1: expires is not a date (YYYY-MM-DD)"
        );
    }
}
