//! Exit codes and messages of both commands.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

/// How a command ended. The numbers are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// Findings, differences, non-compliance.
    Findings,
    /// The command or its configuration makes no sense.
    Usage,
    /// It could not do it, or could not look. Beats findings.
    Failed,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Findings => 1,
            Self::Usage => 2,
            Self::Failed => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Tells an error with everything behind it, and what to do about it, on standard error.
pub fn complain(program: &str, error: &dyn Error, hint: Option<&str>) {
    let colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = complaint(program, error, hint, colour);
    // There is nobody left to tell when standard error is gone.
    let _closed = io::stderr().lock().write_all(text.as_bytes());
}

fn complaint(program: &str, error: &dyn Error, hint: Option<&str>, colour: bool) -> String {
    let (bold, plain) = if colour {
        ("\x1b[1;31m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut text = format!("{program}: {bold}error{plain}: {}", clean(&error.to_string()));
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&clean(&cause.to_string()));
        source = cause.source();
    }
    text.push('\n');
    if let Some(hint) = hint {
        text.push_str("\nhint: ");
        text.push_str(hint);
        text.push('\n');
    }
    text
}

/// Paths and other foreign text must not steer the terminal.
fn clean(text: &str) -> String {
    hardpan_core::event::escape(text.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read \u{1b}[2J/x")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_whole_chain_and_the_hint() {
        let error = Outer(io::Error::from_raw_os_error(2));
        assert_eq!(
            complaint("hardpand", &error, Some("look elsewhere"), false),
            "hardpand: error: cannot read \\x1b[2J/x: No such file or directory (os error 2)\n\nhint: look elsewhere\n"
        );
        assert!(complaint("hardpand", &error, None, true).contains("\x1b[1;31merror\x1b[0m"));
    }

    #[test]
    fn codes() {
        let codes = [Exit::Fine, Exit::Findings, Exit::Usage, Exit::Failed].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3]);
    }
}
