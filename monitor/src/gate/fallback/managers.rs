//! Which processes executed a package manager, by what the responder was asked about.

use super::task::{Stat, stat};
use std::collections::VecDeque;

/// Processes that are remembered, at most; the oldest goes.
const MOST: usize = 64;

/// A process, for good: its number may be another's later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    /// Process id.
    pub tgid: u32,
    /// When it began, in nanoseconds since boot.
    pub start_ns: u64,
}

impl Process {
    /// The process that has this id now.
    pub(super) fn now(tgid: u32) -> Option<(Self, Stat)> {
        let stat = stat(tgid)?;
        let start_ns = stat.start_ns;
        Some((Self { tgid, start_ns }, stat))
    }

    /// Whether it still is there.
    pub(super) fn lives(self) -> bool {
        Self::now(self.tgid).is_some_and(|(now, _)| now == self)
    }
}

/// What is about to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Executed {
    /// Device and inode, as `stat` tells them.
    pub file: (u64, u64),
    /// It is a package manager's.
    pub is_manager: bool,
    /// It is a `#!` script.
    pub is_script: bool,
}

/// A process that executed one.
#[derive(Debug, Clone, Copy)]
struct Manager {
    process: Process,
    /// The script's interpreter, or the program.
    runs: Option<(u64, u64)>,
    is_script: bool,
    /// Where its stack began when it was asked about: after an execution that succeeded it begins elsewhere.
    stack: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Managers(VecDeque<Manager>);

impl Managers {
    /// Whether an execution of something else by a process that is known would change anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The process is about to execute something; `stack` is where its stack begins until then.
    pub(super) fn executes(&mut self, process: Process, stack: u64, what: Executed) {
        if what.is_manager {
            self.0.retain(|known| known.process.tgid != process.tgid);
            if self.0.len() >= MOST {
                self.0.pop_front();
            }
            self.0.push_back(Manager {
                process,
                runs: (!what.is_script).then_some(what.file),
                is_script: what.is_script,
                stack,
            });
            return;
        }
        // What comes right after a script is its interpreter. Whatever comes later is another file (the dynamic linker), or that
        // interpreter with another script: then it is none any more.
        let known = self.0.iter_mut().find(|known| known.process == process);
        let ends = known.is_some_and(|known| match known.runs {
            None => {
                known.runs = Some(what.file);
                false
            }
            Some(runs) => runs == what.file,
        });
        if ends {
            self.0.retain(|known| known.process != process);
        }
    }

    /// Whether the process runs a package manager that is a script: `runs` is what it runs now. Programs are known by their
    /// content, which says more.
    pub(super) fn runs_script(&self, process: Process, stack: u64, runs: (u64, u64)) -> bool {
        self.0.iter().any(|known| {
            known.is_script && known.process == process && known.runs == Some(runs) && known.stack != stack
        })
    }

    /// The process with this id.
    pub(super) fn find(&self, tgid: u32) -> Option<Process> {
        let known = self.0.iter().find(|known| known.process.tgid == tgid);
        known.map(|known| known.process)
    }

    /// Forgets those that are gone.
    pub(super) fn forget_gone(&mut self) {
        self.0.retain(|known| known.process.lives());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Process = Process { tgid: 7, start_ns: 1 };

    fn what(file: u64, is_manager: bool, is_script: bool) -> Executed {
        Executed {
            file: (1, file),
            is_manager,
            is_script,
        }
    }

    #[test]
    fn a_script_is_known_by_its_interpreter() {
        let mut all = Managers::default();
        // dnf, python3, the dynamic linker.
        all.executes(ONE, 100, what(1, true, true));
        assert!(!all.runs_script(ONE, 200, (1, 1)));
        all.executes(ONE, 100, what(2, false, false));
        all.executes(ONE, 100, what(3, false, false));
        assert!(all.runs_script(ONE, 200, (1, 2)));
        assert!(!all.runs_script(ONE, 200, (1, 3)), "another program");
        assert!(!all.runs_script(ONE, 100, (1, 2)), "it was never executed");
        let reused = Process { start_ns: 2, ..ONE };
        assert!(!all.runs_script(reused, 200, (1, 2)), "another process");
        assert_eq!((all.find(7), all.find(8)), (Some(ONE), None));
        // The interpreter again, with something else.
        all.executes(ONE, 200, what(2, false, false));
        assert!(all.is_empty());
    }

    #[test]
    fn a_program_is_not_known_by_its_place() {
        let mut all = Managers::default();
        all.executes(ONE, 100, what(1, true, false));
        assert!(!all.runs_script(ONE, 200, (1, 1)));
        assert_eq!(all.find(7), Some(ONE), "but what it opens is looked at");
        all.forget_gone();
        assert!(all.is_empty());
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut all = Managers::default();
        for n in 0..1000 {
            let process = Process { tgid: n, start_ns: 1 };
            all.executes(process, 100, what(1, true, true));
        }
        assert_eq!(all.0.len(), MOST);
        assert_eq!((all.find(0), all.find(999).is_some()), (None, true));
        let (own, _) = Process::now(std::process::id()).unwrap();
        assert!(own.lives() && !Process { start_ns: 0, ..own }.lives());
    }
}
