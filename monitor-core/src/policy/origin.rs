//! Where a value came from, and what is wrong with it.

use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The layers of a policy, weakest claim first. A later layer's value replaces an earlier one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// What holds everywhere.
    Base,
    /// The Enterprise Linux release.
    El,
    /// Who built the distribution.
    Vendor,
    /// The processor level.
    Hardware,
    /// What the host is for.
    Role,
    /// How strict it is to be.
    Level,
    /// `/etc/hardpan/policies`.
    Local,
}

impl Layer {
    /// All layers, in order.
    pub const ALL: [Self; 7] = [
        Self::Base,
        Self::El,
        Self::Vendor,
        Self::Hardware,
        Self::Role,
        Self::Level,
        Self::Local,
    ];

    /// The layer's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::El => "el",
            Self::Vendor => "vendor",
            Self::Hardware => "hardware",
            Self::Role => "role",
            Self::Level => "level",
            Self::Local => "local",
        }
    }
}

/// A place in a policy file. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// The layer the file belongs to.
    pub layer: Layer,
    /// The file, as it was named when it was read.
    #[serde(serialize_with = "as_text")]
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

fn as_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.line)
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The policy may be used.
    Warning,
    /// The policy may not be used.
    Error,
}

/// Something wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether the policy can still be used.
    pub severity: Severity,
    /// The place to look at.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to do about it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem that makes the policy unusable.
    pub fn error(origin: Origin, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            origin,
            message: message.into(),
            hint: None,
        }
    }

    /// A problem the policy can be used with.
    pub fn warning(origin: Origin, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            origin,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// True if the policy may not be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `file:line:column: error: message`, the form editors and CI systems jump to.
impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let Origin {
            file, line, column, ..
        } = &self.origin;
        write!(out, "{file}:{line}:{column}: {severity}: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(out, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Finds line and column of a byte offset.
#[derive(Debug)]
pub(crate) struct Places<'t> {
    text: &'t str,
    layer: Layer,
    file: Arc<str>,
    /// Byte offset of each line's start.
    starts: Vec<usize>,
}

impl<'t> Places<'t> {
    pub(crate) fn new(layer: Layer, file: &str, text: &'t str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            text,
            layer,
            file: file.into(),
            starts,
        }
    }

    /// The place of byte `offset`; the last place for offsets beyond the end.
    pub(crate) fn at(&self, offset: usize) -> Origin {
        let line = self
            .starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let before = self
            .text
            .get(start..offset.min(self.text.len()))
            .unwrap_or_default();
        Origin {
            layer: self.layer,
            file: Arc::clone(&self.file),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns() {
        let text = "a = 1\n\nß = 2\n";
        let places = Places::new(Layer::Local, "x.toml", text);
        let at = |offset: usize| {
            let origin = places.at(offset);
            (origin.line, origin.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(4), (1, 5));
        assert_eq!(at(6), (2, 1));
        assert_eq!(at(10), (3, 3));
        assert_eq!(at(10_000), (4, 1));
        assert_eq!(places.at(4).to_string(), "x.toml:1");
    }
}
