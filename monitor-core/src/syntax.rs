//! What is said of a file that is not the TOML it should be: one line with the place, for the parser's own text draws a
//! picture over several.

use std::ops::Range;

/// The line, from 1, in which a span of the text begins; without a span the first.
pub fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start);
    let before = text.bytes().take(start).filter(|byte| *byte == b'\n');
    before.count().saturating_add(1)
}

/// The parser's complaint and where it has its reason.
pub fn complaint(text: &str, error: &toml::de::Error) -> String {
    let line = line_of(text, error.span());
    format!("line {line}: {}", error.message().replace('\n', ", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_one_line_and_name_theirs() {
        let text = "[a]\nb = 1\n\n[c\n";
        let error = toml::from_str::<toml::Table>(text).unwrap_err();
        let said = complaint(text, &error);
        assert!(said.starts_with("line 4: ") && !said.contains('\n'), "{said:?}");
        assert_eq!(line_of(text, None), 1);
        assert_eq!(line_of(text, Some(4..5)), 2);
    }
}
