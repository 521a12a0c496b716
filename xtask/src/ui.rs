//! Talking: data goes to standard output, talk to standard error. A closed pipe is nobody's fault and ignored.

use crate::error::TaskError;
use std::error::Error;
use std::io::{self, Write};

/// A line of data.
pub(crate) fn data(line: &str) {
    drop(writeln!(io::stdout(), "{line}"));
}

/// A line of talk.
pub(crate) fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// Announces a step.
pub(crate) fn step(what: &str) {
    say(&format!("==> {what}"));
}

/// An error with its whole chain, and the hint.
pub(crate) fn report(error: &TaskError) {
    say(&format!("error: {}", chain(error)));
    if let Some(hint) = error.hint() {
        say(&format!("\nhint: {hint}"));
    }
}

/// An error and its causes in one text.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
