//! Tables for people.

use hardpan_core::event::escape;
use std::fmt::{Arguments, Write as _};

/// Lines with columns of equal width, two spaces apart; foreign text cannot steer the terminal. `rows` have as many
/// cells as `head`.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let clean: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| escape(cell.as_bytes()).into_owned())
                .collect()
        })
        .collect();
    let width = |column: usize| {
        let cells = clean.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(head.get(column).map_or(0, |name| name.chars().count()))
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(&clean) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let missing = (width + 2).saturating_sub(cell.chars().count());
            line.extend(std::iter::repeat_n(' ', missing));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// `name   value` lines under a title; empty values are left out.
pub(super) fn facts(title: &str, facts: &[(&str, String)]) -> String {
    let mut out = escape(title.as_bytes()).into_owned();
    out.push('\n');
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        push(
            &mut out,
            format_args!("  {name:<12} {}\n", escape(value.as_bytes())),
        );
    }
    out
}

/// Appends a text; writing to a String cannot fail.
pub(in crate::cli) fn push(out: &mut String, text: Arguments<'_>) {
    let _never = out.write_fmt(text);
}

/// `1 package`, `2 packages`.
pub(in crate::cli) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_clean() {
        let rows = vec![
            vec!["a".to_owned(), "long cell".to_owned()],
            vec!["\u{1b}[2J".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["ONE", "TWO"], &rows),
            "ONE      TWO\na        long cell\n\\x1b[2J\n"
        );
        assert_eq!(
            facts("x", &[("one", "1".into()), ("none", String::new())]),
            "x\n  one          1\n"
        );
        assert_eq!(
            (count(1, "file"), count(0, "file")),
            ("1 file".into(), "0 files".into())
        );
    }
}
