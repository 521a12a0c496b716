//! Key-value files in their usual dialects.

use serde::{Deserialize, Serialize};

/// How a file writes its settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Syntax {
    /// `key = value`, `#` or `;` comments.
    #[default]
    Equals,
    /// `key value`, separated by white space.
    Space,
    /// `[section]` headings with `key = value`.
    Ini,
    /// Shell assignments, `export` and quotes allowed.
    Shell,
    /// `key: value`.
    Colon,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Section, empty outside sections.
    pub section: String,
    /// Key as written.
    pub key: String,
    /// Value without quotes; empty for a bare key.
    pub value: String,
    /// Line number, from 1.
    pub line: usize,
}

/// All settings of a file, in its order.
pub fn settings(text: &str, syntax: Syntax) -> Vec<Setting> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if syntax == Syntax::Ini
            && let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        {
            name.trim().clone_into(&mut section);
            continue;
        }
        let line = match syntax {
            Syntax::Shell => line.strip_prefix("export ").map_or(line, str::trim_start),
            _ => line,
        };
        let (key, value) = match syntax {
            Syntax::Equals | Syntax::Ini | Syntax::Shell => line.split_once('=').unwrap_or((line, "")),
            Syntax::Colon => line.split_once(':').unwrap_or((line, "")),
            Syntax::Space => line.split_once(char::is_whitespace).unwrap_or((line, "")),
        };
        found.push(Setting {
            section: section.clone(),
            key: key.trim().to_owned(),
            value: unquote(strip_comment(value.trim())).to_owned(),
            line: index + 1,
        });
    }
    found
}

/// Cuts a trailing ` # comment` off an unquoted value.
fn strip_comment(value: &str) -> &str {
    if value.starts_with(['"', '\'']) {
        return value;
    }
    value
        .find(" #")
        .or_else(|| value.find("\t#"))
        .map_or(value, |at| value.get(..at).unwrap_or(value))
        .trim_end()
}

/// Takes one pair of matching quotes away.
pub fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.split(quote).next().unwrap_or(rest);
        }
    }
    value
}

/// Lines that are neither empty nor comments, with their numbers.
pub fn plain_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Joins lines that end in a backslash; numbers are those of the first line.
pub fn joined_lines(text: &str) -> Vec<(usize, String)> {
    let mut joined = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let (number, mut line) = open.take().unwrap_or((index + 1, String::new()));
        if let Some(head) = raw.strip_suffix('\\') {
            line.push_str(head);
            line.push(' ');
            open = Some((number, line));
        } else {
            line.push_str(raw);
            joined.push((number, line));
        }
    }
    joined.extend(open);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, syntax: Syntax, expected: &[(&str, &str, &str)]) {
        let found = settings(text, syntax);
        let found: Vec<_> = found
            .iter()
            .map(|s| (s.section.as_str(), s.key.as_str(), s.value.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn dialects() {
        check(
            "# c\nminlen = 14 # why\nenforce_for_root\n",
            Syntax::Equals,
            &[("", "minlen", "14"), ("", "enforce_for_root", "")],
        );
        check(
            "PASS_MAX_DAYS\t365\n",
            Syntax::Space,
            &[("", "PASS_MAX_DAYS", "365")],
        );
        check(
            "[Coredump]\nStorage=none\n",
            Syntax::Ini,
            &[("Coredump", "Storage", "none")],
        );
        check(
            "export TMOUT=\"900\"\nA='x # y'\n",
            Syntax::Shell,
            &[("", "TMOUT", "900"), ("", "A", "x # y")],
        );
        check("a: b\n", Syntax::Colon, &[("", "a", "b")]);
    }

    #[test]
    fn continued_lines_keep_their_number() {
        let lines = joined_lines("a \\\nb\nc\\");
        assert_eq!(lines, [(1, "a  b".to_owned()), (3, "c ".to_owned())]);
    }
}
