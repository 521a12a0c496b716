//! Conditions on one JSON record: field paths and what their values must be.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Facts that a part reported (`name=value`), for `${name}` in conditions.
pub type Facts = BTreeMap<String, String>;

/// Conditions on fields; a record matches when every one of them holds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Where(pub BTreeMap<String, Test>);

/// What a field's value must be. An array holds it when one of its elements does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Test {
    /// Equal to this text; a number in the record is compared by its decimal form.
    Text(String),
    /// Equal to this number.
    Number(i64),
    /// Equal to this truth value.
    Bool(bool),
    /// Every operator given must hold.
    Ops(Ops),
}

/// Operators on a field's value.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// A text that contains this one.
    pub contains: Option<String>,
    /// A text that starts with this one.
    pub starts: Option<String>,
    /// A text that ends with this one.
    pub ends: Option<String>,
    /// Equal to one of these texts.
    pub one_of: Option<Vec<String>>,
    /// Equal to none of the field's values.
    pub not: Option<String>,
    /// None of these texts is one of the field's values.
    pub none_of: Option<Vec<String>>,
    /// A number of at least this.
    pub at_least: Option<i64>,
    /// A number of at most this.
    pub at_most: Option<i64>,
    /// Whether the field exists at all.
    pub present: Option<bool>,
}

impl Where {
    /// Whether `record` meets every condition.
    pub fn matches(&self, record: &Value, facts: &Facts) -> bool {
        self.0
            .iter()
            .all(|(path, test)| test.holds(&values(record, path), facts))
    }

    /// The conditions that `record` does not meet, each with what stands there instead.
    pub fn misses(&self, record: &Value, facts: &Facts) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|(path, test)| {
                let found = values(record, path);
                (!test.holds(&found, facts)).then(|| format!("{path}: {}", render(&found)))
            })
            .collect()
    }

    /// The conditions in words, facts filled in.
    pub fn describe(&self, facts: &Facts) -> String {
        let parts: Vec<_> = self
            .0
            .iter()
            .map(|(path, test)| format!("{path} {}", test.describe(facts)))
            .collect();
        if parts.is_empty() {
            "any record".into()
        } else {
            parts.join(", ")
        }
    }
}

impl Test {
    fn holds(&self, found: &[&Value], facts: &Facts) -> bool {
        match self {
            Self::Text(text) => {
                let text = fill(text, facts);
                found.iter().any(|value| equals_text(value, &text))
            }
            Self::Number(number) => found.iter().any(|value| value.as_i64() == Some(*number)),
            Self::Bool(truth) => found.iter().any(|value| value.as_bool() == Some(*truth)),
            Self::Ops(ops) => ops.holds(found, facts),
        }
    }

    fn describe(&self, facts: &Facts) -> String {
        match self {
            Self::Text(text) => format!("= {:?}", fill(text, facts)),
            Self::Number(number) => format!("= {number}"),
            Self::Bool(truth) => format!("= {truth}"),
            Self::Ops(ops) => ops.describe(facts),
        }
    }
}

impl Ops {
    fn holds(&self, found: &[&Value], facts: &Facts) -> bool {
        let text = |wanted: &Option<String>, holds: fn(&str, &str) -> bool| {
            wanted.as_ref().is_none_or(|wanted| {
                let wanted = fill(wanted, facts);
                found
                    .iter()
                    .filter_map(|value| value.as_str())
                    .any(|value| holds(value, &wanted))
            })
        };
        let number = |wanted: Option<i64>, holds: fn(i64, i64) -> bool| {
            wanted.is_none_or(|wanted| {
                found
                    .iter()
                    .filter_map(|value| value.as_i64())
                    .any(|value| holds(value, wanted))
            })
        };
        text(&self.contains, |value, wanted| value.contains(wanted))
            && text(&self.starts, |value, wanted| value.starts_with(wanted))
            && text(&self.ends, |value, wanted| value.ends_with(wanted))
            && self.one_of.as_ref().is_none_or(|wanted| {
                wanted
                    .iter()
                    .any(|wanted| found.iter().any(|value| equals_text(value, &fill(wanted, facts))))
            })
            && self
                .none_of
                .iter()
                .flatten()
                .all(|wanted| !found.iter().any(|value| equals_text(value, &fill(wanted, facts))))
            && self
                .not
                .as_ref()
                .is_none_or(|wanted| !found.iter().any(|value| equals_text(value, &fill(wanted, facts))))
            && number(self.at_least, |value, wanted| value >= wanted)
            && number(self.at_most, |value, wanted| value <= wanted)
            && self.present.is_none_or(|present| present != found.is_empty())
    }

    fn describe(&self, facts: &Facts) -> String {
        let mut parts = Vec::new();
        let mut text = |name: &str, wanted: &Option<String>| {
            if let Some(wanted) = wanted {
                parts.push(format!("{name} {:?}", fill(wanted, facts)));
            }
        };
        text("contains", &self.contains);
        text("starts with", &self.starts);
        text("ends with", &self.ends);
        text("is not", &self.not);
        if let Some(wanted) = &self.one_of {
            parts.push(format!("is one of {wanted:?}"));
        }
        if let Some(wanted) = &self.none_of {
            parts.push(format!("is none of {wanted:?}"));
        }
        if let Some(wanted) = self.at_least {
            parts.push(format!(">= {wanted}"));
        }
        if let Some(wanted) = self.at_most {
            parts.push(format!("<= {wanted}"));
        }
        match self.present {
            Some(true) => parts.push("is present".into()),
            Some(false) => parts.push("is absent".into()),
            None => {}
        }
        parts.join(" and ")
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(&Facts::new()))
    }
}

/// Replaces `${name}` by the fact of that name; an unknown name stays as it is and so is seen in the message.
pub fn fill(text: &str, facts: &Facts) -> String {
    facts.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    })
}

/// All values at a dotted path: arrays are looked through, and an object's key may itself contain dots.
pub fn values<'a>(record: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    collect(record, path, &mut found);
    found
}

fn collect<'a>(value: &'a Value, path: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, found)),
        Value::Null => {}
        _ if path.is_empty() => found.push(value),
        Value::Object(map) => {
            for (key, inner) in map {
                if path == key {
                    collect(inner, "", found);
                } else if let Some(rest) = path
                    .strip_prefix(key.as_str())
                    .and_then(|rest| rest.strip_prefix('.'))
                {
                    collect(inner, rest, found);
                }
            }
        }
        _ => {}
    }
}

fn equals_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text,
        Value::Number(number) => number.to_string() == text,
        _ => false,
    }
}

fn render(found: &[&Value]) -> String {
    if found.is_empty() {
        return "absent".into();
    }
    found
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(conditions: &str, record: &Value, expected: bool) {
        let parsed: Where = toml::from_str(conditions).unwrap();
        let facts = Facts::from([
            ("sum".to_owned(), "abc".to_owned()),
            ("pid".to_owned(), "42".to_owned()),
        ]);
        assert_eq!(parsed.matches(record, &facts), expected, "{conditions}");
        assert_eq!(parsed.misses(record, &facts).is_empty(), expected, "{conditions}");
    }

    #[test]
    fn conditions() {
        let record = json!({
            "event": { "category": ["process", "driver"], "sequence": 7 },
            "process": { "pid": 42, "hash": { "sha256": "abc" }, "trusted": false, "gone": null },
            "process.flat": "dotted",
        });
        check("", &record, true);
        check("'event.category' = 'driver'", &record, true);
        check("'event.category' = 'file'", &record, false);
        check("'event.sequence' = 7", &record, true);
        check("'process.hash.sha256' = '${sum}'", &record, true);
        check("'process.hash.sha256' = '${unknown}'", &record, false);
        check("'process.pid' = '${pid}'", &record, true);
        check("'process.trusted' = false", &record, true);
        check("'process.trusted' = true", &record, false);
        check("'process.flat' = 'dotted'", &record, true);
        check("'process.flat'.ends = 'ted'", &record, true);
        check("'process.flat'.starts = 'ted'", &record, false);
        check("'process.flat'.one_of = ['a', 'dotted']", &record, true);
        check("'process.gone'.present = false", &record, true);
        check("'process.flat'.present = true", &record, true);
        check("'process.flat'.present = false", &record, false);
        check("'event.category'.not = 'driver'", &record, false);
        check("'event.category'.not = 'file'", &record, true);
        check("'event.category'.none_of = ['file', 'driver']", &record, false);
        check("'event.category'.none_of = ['file', 'host']", &record, true);
        check("'event.sequence' = { at_least = 7, at_most = 8 }", &record, true);
        check("'event.sequence'.at_least = 8", &record, false);
        check(
            "'process.flat'.contains = 'tt'\n'event.sequence' = 8",
            &record,
            false,
        );
    }

    #[test]
    fn an_unknown_operator_is_refused() {
        assert!(toml::from_str::<Where>("'a'.matches = 'x'").is_err());
    }
}
