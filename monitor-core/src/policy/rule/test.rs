//! One condition of a rule: an attribute and the values it may have.

use super::facts::Fact;
use super::glob::Glob;
use super::kind::{Attribute, AttributeKind, Kind};
use crate::policy::value::Value;
use crate::process::CAPABILITIES;
use std::fmt;

/// The values a condition accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept {
    /// Numbers within any of these inclusive ranges.
    Ids(Vec<(u64, u64)>),
    /// This truth value.
    Flag(bool),
    /// Any of these texts, whole.
    Texts(Vec<String>),
    /// Any of these patterns.
    Paths(Vec<Glob>),
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What is looked at.
    pub attribute: &'static Attribute,
    /// True if the values are the ones it must *not* have.
    pub negated: bool,
    /// The values.
    pub accept: Accept,
}

/// How a condition turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// The event does not tell.
    Unknown,
}

impl Test {
    /// Whether the condition holds for this fact. An unknown fact fits neither a condition nor its opposite.
    pub fn outcome(&self, fact: Option<&Fact>) -> Outcome {
        let Some(fact) = fact else { return Outcome::Unknown };
        let found = match (&self.accept, fact) {
            (Accept::Ids(ranges), Fact::Id(id)) => {
                ranges.iter().any(|(low, high)| (low..=high).contains(&id))
            }
            (Accept::Flag(wanted), Fact::Flag(flag)) => wanted == flag,
            (Accept::Texts(texts), Fact::Text(text)) => texts.contains(text),
            (Accept::Texts(texts), Fact::Texts(any)) => any.iter().any(|text| texts.contains(text)),
            (Accept::Paths(globs), Fact::Text(path)) => globs.iter().any(|glob| glob.matches(path)),
            _ => return Outcome::Unknown,
        };
        if found == self.negated {
            Outcome::Fails
        } else {
            Outcome::Holds
        }
    }

    /// Whether everything that passes `self` surely passes `other` (same attribute).
    pub(super) fn is_within(&self, other: &Self) -> bool {
        match (self.negated, other.negated) {
            (false, false) => self.accept.is_within(&other.accept),
            (true, true) => other.accept.is_within(&self.accept),
            (false, true) => self.accept.is_disjoint(&other.accept),
            (true, false) => false,
        }
    }

    /// Whether surely nothing passes both (same attribute).
    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        // A task has many capabilities at once: two different lists do not exclude each other.
        if self.attribute.kind == AttributeKind::Capabilities {
            return false;
        }
        match (self.negated, other.negated) {
            (false, false) => self.accept.is_disjoint(&other.accept),
            (false, true) => self.accept.is_within(&other.accept),
            (true, false) => other.accept.is_within(&self.accept),
            (true, true) => false,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attribute { side, name, .. } = self.attribute;
        write!(
            out,
            "{}.{name} {} {}",
            side.name(),
            if self.negated { "not in" } else { "in" },
            self.accept
        )
    }
}

impl Accept {
    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ids(inner), Self::Ids(outer)) => inner
                .iter()
                .all(|(low, high)| outer.iter().any(|(from, to)| from <= low && high <= to)),
            (Self::Flag(inner), Self::Flag(outer)) => inner == outer,
            (Self::Texts(inner), Self::Texts(outer)) => inner.iter().all(|text| outer.contains(text)),
            (Self::Paths(inner), Self::Paths(outer)) => inner
                .iter()
                .all(|glob| outer.iter().any(|wider| glob.is_within(wider))),
            _ => false,
        }
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ids(left), Self::Ids(right)) => left
                .iter()
                .all(|(low, high)| right.iter().all(|(from, to)| high < from || to < low)),
            (Self::Flag(left), Self::Flag(right)) => left != right,
            (Self::Texts(left), Self::Texts(right)) => !left.iter().any(|text| right.contains(text)),
            (Self::Paths(left), Self::Paths(right)) => left
                .iter()
                .all(|glob| right.iter().all(|other| glob.is_disjoint(other))),
            _ => false,
        }
    }

    /// Reads the values of a condition on `attribute` in a rule on `kinds`. The error says what is wrong with which.
    pub(super) fn read(attribute: &Attribute, kinds: &[Kind], values: &[Value]) -> Result<Self, String> {
        let texts = |check: &dyn Fn(&str) -> Result<String, String>| {
            values
                .iter()
                .map(|value| check(&value.to_plain()))
                .collect::<Result<Vec<_>, _>>()
                .map(Self::Texts)
        };
        match attribute.kind {
            AttributeKind::Ids => values
                .iter()
                .map(read_range)
                .collect::<Result<Vec<_>, _>>()
                .map(Self::Ids),
            AttributeKind::Flag => match values {
                [Value::Bool(flag)] => Ok(Self::Flag(*flag)),
                _ => Err(format!("{} takes true or false", attribute.name)),
            },
            AttributeKind::Digests => texts(&|text| {
                let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
                hex.then(|| text.to_ascii_lowercase())
                    .ok_or_else(|| format!("{text:?} is no SHA-256 digest (64 hexadecimal digits)"))
            }),
            AttributeKind::Devices => texts(&|text| {
                let parts = text
                    .split_once(':')
                    .map(|(major, minor)| (major.parse::<u32>(), minor.parse::<u32>()));
                matches!(parts, Some((Ok(_), Ok(_))))
                    .then(|| text.to_owned())
                    .ok_or_else(|| format!("{text:?} is no device (major:minor)"))
            }),
            AttributeKind::Capabilities => texts(&|text| {
                let upper = text.to_ascii_uppercase();
                let known = CAPABILITIES.contains(&upper.as_str());
                known
                    .then_some(upper)
                    .ok_or_else(|| format!("{text:?} is no capability (CAP_SYS_ADMIN, …)"))
            }),
            AttributeKind::Classes => texts(&|text| {
                let exec = attribute.side == super::kind::Side::Subject;
                let known = if exec {
                    Kind::Exec.classes().contains(&text)
                } else {
                    kinds.iter().all(|kind| kind.classes().contains(&text))
                };
                known.then(|| text.to_owned()).ok_or_else(|| {
                    let on = kinds.first().copied().unwrap_or(Kind::Exec);
                    let classes = if exec { Kind::Exec.classes() } else { on.classes() };
                    format!(
                        "{text:?} is no class of {}; there are {}",
                        on.name(),
                        classes.join(", ")
                    )
                })
            }),
            AttributeKind::Names => texts(&|text| Ok(text.to_owned())),
            AttributeKind::Paths => values
                .iter()
                .map(|value| {
                    let text = value.to_plain();
                    Glob::new(&text).ok_or_else(|| format!("{text:?} is no absolute path"))
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Self::Paths),
        }
    }
}

/// `5`, `"5"` or `"1000-59999"`.
fn read_range(value: &Value) -> Result<(u64, u64), String> {
    let text = value.to_plain();
    let (low, high) = text.split_once('-').unwrap_or((&text, &text));
    match (low.trim().parse::<u64>(), high.trim().parse::<u64>()) {
        (Ok(low), Ok(high)) if low <= high => Ok((low, high)),
        _ => Err(format!(
            "{text:?} is neither a number nor a range like \"1000-59999\""
        )),
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        match self {
            Self::Ids(ranges) => {
                let shown = ranges.iter().map(|(low, high)| {
                    if low == high {
                        low.to_string()
                    } else {
                        format!("{low}-{high}")
                    }
                });
                out.write_str(&list(shown.collect()))
            }
            Self::Flag(flag) => write!(out, "{flag}"),
            Self::Texts(texts) => out.write_str(&list(texts.clone())),
            Self::Paths(globs) => {
                out.write_str(&list(globs.iter().map(|glob| glob.as_str().to_owned()).collect()))
            }
        }
    }
}
