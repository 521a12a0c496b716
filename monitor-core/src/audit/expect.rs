//! Conditions on a single value.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// What a value must be; all stated conditions hold together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Exactly this (numbers compare as numbers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eq: Option<String>,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
    /// None of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<String>,
    /// A number, at least this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// A number, at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// Matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// An octal umask that lets through no bit beyond this mask: at least as strict as the given umask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<String>,
    /// Letter case matters; by default it does not, because configuration keywords seldom care.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub case: bool,
}

impl Expect {
    /// The value is exactly this.
    pub fn equal(value: impl Into<String>) -> Self {
        Self {
            eq: Some(value.into()),
            ..Self::default()
        }
    }

    /// Whether the value is as wanted.
    pub fn holds(&self, value: &str) -> bool {
        let value = value.trim();
        let same = |wanted: &String| {
            let spelled = if self.case {
                wanted == value
            } else {
                wanted.eq_ignore_ascii_case(value)
            };
            spelled || matches!((wanted.parse::<i64>(), value.parse::<i64>()), (Ok(a), Ok(b)) if a == b)
        };
        let number = value.parse::<i64>();
        let in_range = |min: Option<i64>, max: Option<i64>| match &number {
            Ok(number) => min.is_none_or(|min| *number >= min) && max.is_none_or(|max| *number <= max),
            Err(_) => min.is_none() && max.is_none(),
        };
        self.eq.as_ref().is_none_or(same)
            && (self.any.is_empty() || self.any.iter().any(same))
            && !self.not.iter().any(same)
            && in_range(self.min, self.max)
            && self
                .regex
                .as_ref()
                .is_none_or(|pattern| Regex::new(pattern).is_ok_and(|regex| regex.is_match(value)))
            && self
                .umask
                .as_ref()
                .is_none_or(|wanted| umask_covers(value, wanted))
    }

    /// The condition in words, for evidence.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if let Some(value) = &self.eq {
            parts.push(value.clone());
        }
        if !self.any.is_empty() {
            parts.push(self.any.join(" or "));
        }
        match (self.min, self.max) {
            (Some(min), Some(max)) => parts.push(format!("{min} to {max}")),
            (Some(min), None) => parts.push(format!("at least {min}")),
            (None, Some(max)) => parts.push(format!("at most {max}")),
            (None, None) => {}
        }
        if let Some(umask) = &self.umask {
            parts.push(format!("{umask} or stricter"));
        }
        if let Some(pattern) = &self.regex {
            parts.push(format!("a match of /{pattern}/"));
        }
        if !self.not.is_empty() {
            parts.push(format!("not {}", self.not.join(" nor ")));
        }
        if parts.is_empty() {
            "any value".to_owned()
        } else {
            parts.join(", ")
        }
    }

    /// Whether the condition itself is well formed.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(pattern) = &self.regex {
            Regex::new(pattern).map_err(|error| format!("regular expression {pattern:?}: {error}"))?;
        }
        if let Some(umask) = &self.umask {
            u32::from_str_radix(umask, 8).map_err(|_| format!("umask {umask:?} is not octal"))?;
        }
        Ok(())
    }
}

/// Whether umask `value` takes away every bit that `wanted` takes away.
pub fn umask_covers(value: &str, wanted: &str) -> bool {
    match (u32::from_str_radix(value, 8), u32::from_str_radix(wanted, 8)) {
        (Ok(value), Ok(wanted)) => value & wanted == wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expect: &Expect, value: &str, holds: bool) {
        assert_eq!(
            expect.holds(value),
            holds,
            "{} against {value}",
            expect.describe()
        );
    }

    #[test]
    fn conditions() {
        check(&Expect::equal("yes"), "Yes", true);
        check(
            &Expect {
                case: true,
                ..Expect::equal("yes")
            },
            "Yes",
            false,
        );
        check(&Expect::equal("0"), "00", true);
        check(
            &Expect {
                any: vec!["1".into(), "2".into()],
                ..Expect::default()
            },
            "2",
            true,
        );
        check(
            &Expect {
                min: Some(1),
                max: Some(5),
                ..Expect::default()
            },
            "0",
            false,
        );
        check(
            &Expect {
                min: Some(1),
                ..Expect::default()
            },
            "many",
            false,
        );
        check(
            &Expect {
                max: Some(-1),
                ..Expect::default()
            },
            "-1",
            true,
        );
        check(
            &Expect {
                umask: Some("027".into()),
                ..Expect::default()
            },
            "077",
            true,
        );
        check(
            &Expect {
                umask: Some("027".into()),
                ..Expect::default()
            },
            "022",
            false,
        );
        check(
            &Expect {
                umask: Some("027".into()),
                ..Expect::default()
            },
            "u=rwx",
            false,
        );
        check(
            &Expect {
                not: vec!["DROP".into()],
                ..Expect::default()
            },
            "drop",
            false,
        );
    }
}
