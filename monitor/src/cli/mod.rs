//! The commands, one file each.

pub mod audit;
pub mod doctor;
mod exit;
pub mod explain;
pub mod harden;
pub mod hardpan;
pub mod hardpand;
pub mod policy;
pub mod trust;
pub mod verify;

pub use exit::{Exit, complain};

use std::io::{self, Write as _};

/// Tells what is wrong with a command line, or prints the help that was asked for.
fn usage(error: &clap::Error) -> Exit {
    let wrong = error.use_stderr();
    // A reader that went away is not our failure.
    let _closed = error.print();
    if wrong { Exit::Usage } else { Exit::Fine }
}

/// Prints a text to standard output.
fn print(text: &str) -> Exit {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Exit::Fine,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Fine,
        Err(_) => Exit::Failed,
    }
}
