//! The gate at tier B: the kernel refuses by digests that user space has taken. What is executed is hashed before the
//! kernel asks for its verdict, by a process that fanotify tells of it; libraries are hashed in advance.
//!
//! Two processes beside the daemon. The *responder* has the fanotify group, takes digests and always lets go on: it is the
//! program in the kernel that refuses. The *watchdog* started it, holds no descriptor of the group, and kills it when it
//! gives no sign of life: closing the group lets everybody go on who waits. If both are stopped, the kernel ends the
//! responder by its [`deadman`] timer.
//!
//! At tier C no program in the kernel can refuse: there the responder does, by a table of the same digests, settings and
//! rules that the daemon hands over ([`refuse`]).

pub mod channel;
mod content;
mod deadman;
mod fill;
mod handed;
mod held;
mod managers;
mod marks;
mod mounts;
mod opens;
mod packages;
mod pulse;
mod records;
mod refuse;
mod responder;
mod task;
mod transaction;
mod vouch;
mod watchdog;

pub use content::in_advance;
pub use fill::{Filled, fill, fill_files};
pub use handed::{HandedError, sealed};
pub use responder::{RESPONDER_FLAG, ResponderError, responder};
pub(super) use task::read_most;
pub use watchdog::{WATCHDOG_FLAG, WatchdogError, watchdog};

use crate::sensor::SubjectIds;
use serde::{Deserialize, Serialize};

/// What the two processes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Number of the kernel's memory of inodes; `None`: there is no program in the kernel that refuses, so the responder does.
    pub maps: Option<SubjectIds>,
    /// `gate.fallback_timeout_ms`.
    pub timeout_ms: u32,
}

/// What the watchdog tells the daemon, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The responder answers.
    Answers,
    /// It does, and is not asked about what is in anonymous memory: this kernel marks no such file system.
    AnswersNotMemory,
    /// It gave no sign of life and was killed.
    Killed,
    /// It ended by itself, or could not begin: why.
    Ended(String),
}

impl News {
    /// As a line, without its end.
    pub fn line(&self) -> String {
        match self {
            Self::Answers => "answers".to_owned(),
            Self::AnswersNotMemory => "answers-not-memory".to_owned(),
            Self::Killed => "killed".to_owned(),
            Self::Ended(why) => format!("ended {}", why.replace('\n', " ")),
        }
    }

    /// From a line; `None`: it is none of these.
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            None if line == "answers" => Some(Self::Answers),
            None if line == "answers-not-memory" => Some(Self::AnswersNotMemory),
            None if line == "killed" => Some(Self::Killed),
            Some(("ended", why)) => Some(Self::Ended(why.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_nothing_else_is_taken() {
        for news in [
            News::Answers,
            News::AnswersNotMemory,
            News::Killed,
            News::Ended("exit status: 3".to_owned()),
            News::Ended(String::new()),
        ] {
            assert_eq!(News::parse(&news.line()), Some(news));
        }
        for line in ["", "answers now", "ended", "kill"] {
            assert_eq!(News::parse(line), None, "{line:?}");
        }
    }
}
