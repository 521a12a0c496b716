//! Text of unknown encoding and length, on its way into a record.

use super::own::{Own, OwnArgs};
use crate::event::{Argv, RawText};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Room for the arguments in a record, in bytes of shown text. With the command line that repeats them, a record
/// stays below the 8 kB that log collectors take by default.
const ARGS_TEXT_BYTES: usize = 2048;

/// Longest shown path or name, in bytes.
const TEXT_BYTES: usize = 1280;

/// The shown form of `text`; its exact bytes go to `own.raw` under `field` if the two differ.
pub(super) fn shown(own: &mut Own, field: &'static str, text: &RawText) -> String {
    if !text.is_plain() {
        own.raw.insert(field, STANDARD.encode(text.as_bytes()));
    }
    let shown = text.text();
    match cut(&shown, TEXT_BYTES) {
        None => shown.into_owned(),
        Some(head) => format!("{head}…[cut, {} bytes in all]", text.as_bytes().len()),
    }
}

/// The arguments, and the same in one line.
pub(super) fn arguments(own: &mut Own, argv: &Argv) -> (Vec<String>, String) {
    if argv.args.iter().any(|arg| !arg.is_plain()) {
        let mut area = Vec::new();
        for arg in &argv.args {
            area.extend_from_slice(arg.as_bytes());
            area.push(0);
        }
        own.raw.insert("args", STANDARD.encode(area));
    }
    let mut room = ARGS_TEXT_BYTES;
    let mut texts = Vec::new();
    let mut is_cut = argv.cut;
    for arg in &argv.args {
        let shown = arg.text();
        // Every argument costs its quotes and its comma too, so that a million empty ones are bounded.
        let cost = shown.len().saturating_add(3);
        if cost > room {
            is_cut = true;
            if let Some(head) = cut(&shown, room.saturating_sub(3))
                && !head.is_empty()
            {
                texts.push(head.to_owned());
            }
            break;
        }
        room = room.saturating_sub(cost);
        texts.push(shown.into_owned());
    }
    let mut line = texts.join(" ");
    if is_cut {
        let marker = format!("…[cut, {} bytes in all]", argv.total_bytes);
        line.push_str(&marker);
        texts.push(marker);
    }
    own.args = (is_cut || argv.unreadable).then_some(OwnArgs {
        total_bytes: argv.total_bytes,
        cut: is_cut,
        unreadable: argv.unreadable,
    });
    (texts, line)
}

/// The longest beginning of at most `max` bytes that ends between characters; `None` if all of it fits.
fn cut(text: &str, max: usize) -> Option<&str> {
    if text.len() <= max {
        return None;
    }
    let end = (0..=max)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(args: &[&[u8]]) -> Argv {
        Argv {
            args: args.iter().map(|a| RawText::new(*a)).collect(),
            total_bytes: 9000,
            ..Argv::default()
        }
    }

    #[test]
    fn plain_arguments_stand_alone() {
        let mut own = Own::default();
        let (args, line) = arguments(&mut own, &argv(&[b"ls", b"-la", b""]));
        assert_eq!(
            (args.as_slice(), line.as_str()),
            (["ls", "-la", ""].map(String::from).as_slice(), "ls -la ")
        );
        assert!(own.args.is_none() && own.raw.is_empty());
    }

    #[test]
    fn odd_arguments_keep_their_bytes() {
        let mut own = Own::default();
        let (args, line) = arguments(&mut own, &argv(&[b"x", b"\xff\n"]));
        assert_eq!(args, ["x", "\\xff\\x0a"]);
        assert_eq!(line, "x \\xff\\x0a");
        assert_eq!(STANDARD.decode(&own.raw["args"]).unwrap(), b"x\0\xff\n\0");
    }

    #[test]
    fn long_arguments_are_cut_with_a_marker() {
        let mut own = Own::default();
        let long = "ä".repeat(3000);
        let (args, line) = arguments(&mut own, &argv(&[b"x", long.as_bytes()]));
        assert_eq!(args.len(), 3);
        assert!(args[1].len() <= ARGS_TEXT_BYTES && args[1].chars().all(|c| c == 'ä'));
        assert_eq!(args[2], "…[cut, 9000 bytes in all]");
        assert!(line.ends_with(&args[2]));
        assert!(own.args.is_some_and(|a| a.cut && a.total_bytes == 9000));
    }

    #[test]
    fn many_empty_arguments_are_bounded() {
        let mut own = Own::default();
        let many = Argv {
            args: vec![RawText::default(); 4096],
            total_bytes: 4096,
            ..Argv::default()
        };
        let (args, _) = arguments(&mut own, &many);
        assert!(args.len() < 1000);
        assert!(own.args.is_some_and(|a| a.cut));
    }
}
