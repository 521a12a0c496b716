//! What can go wrong in a task, and the exit code it leads to.

use std::io;
use std::path::PathBuf;

/// A task did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// It ran and found failures (exit code 1). They have been printed already.
    #[error("{what}")]
    Found {
        /// Of what kind, and how many.
        what: String,
    },
    /// It cannot run here (exit code 3).
    #[error("{what}")]
    Cannot {
        /// What was attempted, and why it cannot be.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A program could not be started (exit code 3).
    #[error("starting `{command}`")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program failed (exit code 3).
    #[error("`{command}` {ended}{}", if said.is_empty() { String::new() } else { format!(":\n{said}") })]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        ended: String,
        /// The end of what it said, when that was not shown already.
        said: String,
    },
    /// A file (exit code 3).
    #[error("{action} {}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A scenario cannot be read (exit code 3).
    #[error("scenarios")]
    Scenario(#[from] hardpan_tests::scenario::ScenarioError),
    /// Somebody pressed Ctrl-C (exit code 130, as shells have it).
    #[error("interrupted")]
    Interrupted,
}

/// Result of a task.
pub(crate) type Done<T = ()> = Result<T, TaskError>;

impl TaskError {
    /// An error with a hint.
    pub(crate) fn cannot(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Cannot {
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    /// For `map_err` after an operation on a file.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// The code the process ends with.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Found { .. } => 1,
            Self::Interrupted => 130,
            Self::Cannot { .. }
            | Self::Start { .. }
            | Self::Command { .. }
            | Self::File { .. }
            | Self::Scenario(_) => 3,
        }
    }

    /// What to do about it, if that is known.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Cannot { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}
