//! `cargo xtask run`: Hardpan at work.

use crate::cli::RunArgs;
use crate::error::{Done, TaskError};

/// `cargo xtask run`.
pub(crate) fn run(_args: &RunArgs) -> Done {
    Err(TaskError::Cannot {
        what: "not yet".into(),
        hint: None,
    })
}
