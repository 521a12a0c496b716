//! The values a policy can hold, and the path that names each of them.

use serde::Serialize;
use std::fmt::{self, Write as _};

/// A setting's value. TOML's floats and dates have no use in a policy and are refused while parsing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; the key's name carries its unit.
    Integer(i64),
    /// Text.
    Text(String),
    /// A list of texts or numbers.
    List(Vec<Value>),
}

impl Value {
    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The list, if this is one.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// The texts of a list of texts; numbers in it are written out.
    pub fn to_texts(&self) -> Vec<String> {
        self.as_list()
            .unwrap_or_default()
            .iter()
            .map(Self::to_plain)
            .collect()
    }

    /// The value as the kernel's files have it: no quotes, list items separated by a space.
    pub fn to_plain(&self) -> String {
        match self {
            Self::Bool(truth) => truth.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(list) => list.iter().map(Self::to_plain).collect::<Vec<_>>().join(" "),
        }
    }
}

/// As it would be written in TOML.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(truth) => write!(out, "{truth}"),
            Self::Integer(number) => write!(out, "{number}"),
            Self::Text(text) => out.write_str(&quote(text)),
            Self::List(list) => {
                out.write_str("[")?;
                for (n, item) in list.iter().enumerate() {
                    if n > 0 {
                        out.write_str(", ")?;
                    }
                    write!(out, "{item}")?;
                }
                out.write_str("]")
            }
        }
    }
}

/// Text as a TOML basic string, control characters escaped, so that no value can forge a line of output.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The name of a setting: `gate.mode`, `sysctl."kernel.kptr_restrict".value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<String>);

impl KeyPath {
    /// A path of these segments.
    pub fn new(segments: &[&str]) -> Self {
        Self(segments.iter().map(|segment| (*segment).to_owned()).collect())
    }

    /// The segments, outermost first.
    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// This path with one more segment.
    #[must_use]
    pub fn child(&self, segment: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment.to_owned());
        Self(segments)
    }

    /// The segment at `depth`, counted from 0.
    pub fn segment(&self, depth: usize) -> Option<&str> {
        self.0.get(depth).map(String::as_str)
    }

    /// How many segments there are.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// Reads a path as [`Display`](fmt::Display) writes it. `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut segments = Vec::new();
        let mut rest = text.trim();
        loop {
            let (segment, after) = if let Some(quoted) = rest.strip_prefix('"') {
                let (inside, after) = quoted.split_once('"')?;
                (inside.to_owned(), after)
            } else {
                let end = rest.find('.').unwrap_or(rest.len());
                let (inside, after) = rest.split_at_checked(end)?;
                (inside.to_owned(), after)
            };
            if segment.is_empty() || segments.len() >= 16 {
                return None;
            }
            segments.push(segment);
            if after.is_empty() {
                return Some(Self(segments));
            }
            rest = after.strip_prefix('.')?;
        }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.iter().enumerate() {
            if n > 0 {
                out.write_str(".")?;
            }
            let bare = !segment.is_empty()
                && segment
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if bare {
                out.write_str(segment)?;
            } else {
                out.write_str(&quote(segment))?;
            }
        }
        Ok(())
    }
}

impl Serialize for KeyPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back_as_written() {
        for path in [
            KeyPath::new(&["gate", "mode"]),
            KeyPath::new(&["sysctl", "kernel.kptr_restrict", "value"]),
            KeyPath::new(&["mount", "/tmp", "options"]),
        ] {
            assert_eq!(KeyPath::parse(&path.to_string()), Some(path));
        }
        for bad in ["", ".", "a..b", "a.", "\"open", "a.\"b\"c"] {
            assert_eq!(KeyPath::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn quoting_keeps_a_value_on_one_line() {
        assert_eq!(
            Value::Text("a\n\"b\"\u{1b}".to_owned()).to_string(),
            "\"a\\n\\\"b\\\"\\u001B\""
        );
    }
}
