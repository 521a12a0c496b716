//! Requirements: what a value must satisfy, whoever sets it.

use super::origin::Origin;
use super::schema::{KeySpec, Kind};
use super::value::{KeyPath, Value};
use serde::Serialize;
use std::fmt;

/// A predicate on one key. Requirements of all layers add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// The key.
    pub key: KeyPath,
    /// The value must be one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
    /// The number, or the word's place in its key's order, must not be below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// … nor above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// The list must hold all of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<Value>,
    /// The list must hold none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<Value>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it is written.
    pub origin: Origin,
}

impl Requirement {
    /// Whether the value satisfies it. A value without a place in the key's order satisfies no bound.
    pub fn accepts(&self, spec: &KeySpec, value: &Value) -> bool {
        // Sysctls are written as numbers or as text; "1" and 1 mean the same.
        let same = |left: &Value| left == value || left.to_plain() == value.to_plain();
        let bounded = |bound: &Option<Value>, good: fn(i64, i64) -> bool| {
            bound
                .as_ref()
                .is_none_or(|bound| match (rank(spec, value), rank(spec, bound)) {
                    (Some(value), Some(bound)) => good(value, bound),
                    _ => false,
                })
        };
        let list = value.as_list().unwrap_or_default();
        self.one_of.as_ref().is_none_or(|values| values.iter().any(same))
            && bounded(&self.min, |value, bound| value >= bound)
            && bounded(&self.max, |value, bound| value <= bound)
            && self.contains.iter().all(|item| list.contains(item))
            && !self.excludes.iter().any(|item| list.contains(item))
    }

    /// Whether some value can satisfy both.
    pub fn is_compatible(&self, spec: &KeySpec, other: &Self) -> bool {
        let lists = !self.contains.iter().any(|item| other.excludes.contains(item))
            && !other.contains.iter().any(|item| self.excludes.contains(item));
        let candidates: Option<Vec<&Value>> = match (&self.one_of, &other.one_of) {
            (Some(values), _) | (None, Some(values)) => Some(values.iter().collect()),
            (None, None) => None,
        };
        let scalars = if let Some(values) = candidates {
            values
                .into_iter()
                .any(|value| self.accepts(spec, value) && other.accepts(spec, value))
        } else {
            let bounds = |values: [&Option<Value>; 2]| {
                values
                    .into_iter()
                    .flatten()
                    .filter_map(|value| rank(spec, value))
                    .collect::<Vec<_>>()
            };
            let low = bounds([&self.min, &other.min]).into_iter().max();
            let high = bounds([&self.max, &other.max]).into_iter().min();
            !matches!((low, high), (Some(low), Some(high)) if low > high)
        };
        lists && scalars
    }
}

/// The number a bound compares: the number itself, or a word's place.
fn rank(spec: &KeySpec, value: &Value) -> Option<i64> {
    if let Kind::Word(words) = spec.kind {
        let place = words.iter().position(|word| value.as_text() == Some(word))?;
        return i64::try_from(place).ok();
    }
    match value {
        Value::Bool(truth) => Some(i64::from(*truth)),
        Value::Integer(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        Value::List(_) => None,
    }
}

/// `one_of [1, 2]`, `min 1`, …
impl fmt::Display for Requirement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(values) = &self.one_of {
            parts.push(format!("one of {}", Value::List(values.clone())));
        }
        if let Some(min) = &self.min {
            parts.push(format!("at least {min}"));
        }
        if let Some(max) = &self.max {
            parts.push(format!("at most {max}"));
        }
        if !self.contains.is_empty() {
            parts.push(format!("with {}", Value::List(self.contains.clone())));
        }
        if !self.excludes.is_empty() {
            parts.push(format!("without {}", Value::List(self.excludes.clone())));
        }
        out.write_str(&parts.join(" and "))
    }
}
