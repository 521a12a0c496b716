//! Foreign text on its way into a report, times, and ids.
//!
//! Evidence is whatever lay on the audited host. In every format but JSON (which escapes on its own and keeps the
//! exact text) control characters, bidirectional overrides and characters XML cannot hold become `�`, so that a
//! file's content can neither steer a terminal, nor break a document, nor reorder what an auditor reads.

use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::HashSet;

/// Text for one line: line ends and tabs become spaces.
pub fn line(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let change = |c: char| match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        c if is_plain(c) => c,
        _ => '\u{fffd}',
    };
    Cow::Owned(text.chars().map(change).collect())
}

/// Text that may have several lines: line ends and tabs stay.
pub fn block(text: &str) -> Cow<'_, str> {
    let text = text.trim_end();
    if text.chars().all(|c| is_plain(c) || c == '\n' || c == '\t') {
        return Cow::Borrowed(text);
    }
    let change = |c: char| match c {
        '\u{2028}' | '\u{2029}' => '\n',
        c if is_plain(c) || c == '\n' || c == '\t' => c,
        _ => '\u{fffd}',
    };
    Cow::Owned(text.replace("\r\n", "\n").chars().map(change).collect())
}

/// No control, no bidirectional formatting, nothing XML 1.0 forbids.
pub(super) fn is_plain(c: char) -> bool {
    !(c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}'
        ))
}

/// At most `max` characters, with `…` for what was cut.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().nth(max).is_none() {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    Cow::Owned(short)
}

/// Appends formatted text.
pub(super) fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&text.to_string());
}

/// A time as RFC 3339 writes it, in UTC; times beyond the calendar are the epoch.
pub fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

/// A time for people: `2026-11-22 05:10:03 UTC`.
pub fn time_for_people(seconds: i64) -> String {
    time(seconds).replace('T', " ").replace('Z', " UTC")
}

/// The day of a time, `YYYY-MM-DD`.
pub fn day(seconds: i64) -> String {
    time(seconds).chars().take(10).collect()
}

/// Letters, digits, dots, dashes and underscores; everything else becomes a dash. Never empty.
pub fn id(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let id: String = text
        .trim()
        .chars()
        .take(128)
        .map(|c| if keep(c) { c } else { '-' })
        .collect();
    if id.is_empty() { "-".to_owned() } else { id }
}

/// One distinct id per name, in order: a name seen before gets a number.
pub fn distinct_ids<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut next = std::collections::HashMap::<String, u32>::new();
    names
        .map(|name| {
            let base = id(name);
            let mut candidate = base.clone();
            while !taken.insert(candidate.clone()) {
                let number = next.entry(base.clone()).or_insert(1);
                *number = number.saturating_add(1);
                candidate = format!("{base}.{number}");
            }
            candidate
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_made_plain() {
        for (text, expected) in [
            ("plain", "plain"),
            (" a\nb\tc ", "a b c"),
            ("\u{1b}[31mred", "\u{fffd}[31mred"),
            ("evil\u{202e}txt", "evil\u{fffd}txt"),
            ("a\u{0}\u{ffff}", "a\u{fffd}\u{fffd}"),
            ("naïve 漢字", "naïve 漢字"),
        ] {
            assert_eq!(line(text), expected);
        }
        assert_eq!(block("a\r\n\tb\u{7}\n"), "a\n\tb\u{fffd}");
    }

    #[test]
    fn times() {
        assert_eq!(time(1_795_324_203), "2026-11-22T05:10:03Z");
        assert_eq!(time_for_people(1_795_324_203), "2026-11-22 05:10:03 UTC");
        assert_eq!(day(1_795_324_203), "2026-11-22");
        assert_eq!(time(i64::MAX), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn ids_are_distinct() {
        let ids = distinct_ids(["1.1", "1 1", "1.1", "1.1", "1.1.2", "", "é"].into_iter());
        assert_eq!(ids, ["1.1", "1-1", "1.1.2", "1.1.3", "1.1.2.2", "-", "-.2"]);
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
