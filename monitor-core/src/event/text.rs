//! Text from outside: bytes that are usually UTF-8 and may be anything.

use std::borrow::Cow;
use std::fmt;

/// Bytes of a path, an argument or a name, exactly as the kernel has them. Linux promises no encoding.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawText(Vec<u8>);

impl RawText {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes in front of the first NUL, for NUL-padded kernel arrays.
    pub fn from_padded(bytes: &[u8]) -> Self {
        Self(bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec())
    }

    /// The exact bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// There are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Text that is safe to print and to put in a record: see [`escape`].
    pub fn text(&self) -> Cow<'_, str> {
        escape(&self.0)
    }

    /// [`text`](Self::text) shows the bytes exactly: nothing had to be escaped.
    pub fn is_plain(&self) -> bool {
        matches!(self.text(), Cow::Borrowed(_))
    }

    /// The part after the last `/`; the whole where there is none.
    #[must_use]
    pub fn file_name(&self) -> Self {
        Self(self.0.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec())
    }
}

impl fmt::Debug for RawText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

impl From<&str> for RawText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Makes bytes safe to show: bytes that are not UTF-8 and characters that could move a cursor, forge a line or
/// reorder text become `\xHH` (one per byte). The answer is borrowed exactly when nothing had to be replaced, so an
/// owned answer means: keep the bytes beside it.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(is_unsafe_to_show)
    {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unsafe_to_show(c) {
                let mut buffer = [0; 4];
                push_hex(&mut shown, c.encode_utf8(&mut buffer).as_bytes());
            } else {
                shown.push(c);
            }
        }
        push_hex(&mut shown, chunk.invalid());
    }
    Cow::Owned(shown)
}

fn push_hex(shown: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        shown.push_str("\\x");
        for nibble in [byte >> 4, byte & 15] {
            shown.push(char::from(
                DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?'),
            ));
        }
    }
}

/// Controls (C0, DEL, C1), line and paragraph separators, and the marks that reorder the text around them.
fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], expected: &str, plain: bool) {
        let text = RawText::new(bytes);
        assert_eq!((text.text().as_ref(), text.is_plain()), (expected, plain));
    }

    #[test]
    fn what_is_shown() {
        check(b"/usr/bin/ls", "/usr/bin/ls", true);
        check("/tmp/ä ö".as_bytes(), "/tmp/ä ö", true);
        check(b"a\\x41", "a\\x41", true);
        check(b"a\nb\x1b[2J", "a\\x0ab\\x1b[2J", false);
        check(b"\xff\xfe", "\\xff\\xfe", false);
        check("a\u{202e}b".as_bytes(), "a\\xe2\\x80\\xaeb", false);
        check("\u{85}".as_bytes(), "\\xc2\\x85", false);
        check(b"ok\xc3", "ok\\xc3", false);
    }

    #[test]
    fn padding_and_names() {
        assert_eq!(RawText::from_padded(b"sh\0\0garbage"), RawText::from("sh"));
        assert_eq!(
            RawText::from_padded(b"0123456789abcdef"),
            RawText::from("0123456789abcdef")
        );
        assert_eq!(RawText::from("/usr/bin/ls").file_name(), RawText::from("ls"));
        assert_eq!(RawText::from("ls").file_name(), RawText::from("ls"));
    }

    proptest! {
        #[test]
        fn shown_text_has_no_controls(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let shown = escape(&bytes);
            prop_assert!(!shown.chars().any(is_unsafe_to_show));
            prop_assert_eq!(matches!(shown, Cow::Borrowed(_)), shown.as_bytes() == bytes.as_slice());
        }
    }
}
