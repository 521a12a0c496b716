//! Package managers that hold the lock of the package database, or held it lately.

use super::managers::Process;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What was installed counts for so long after the lock was last seen held: trust is read from the database meanwhile, on
/// the slowest of hosts, too.
const LATELY: Duration = Duration::from_secs(120);
/// Processes that are remembered, at most; the oldest goes.
const MOST: usize = 64;

/// Each once, with the time at which it was last seen to. They may be gone.
#[derive(Debug, Default)]
pub(super) struct Held(VecDeque<(Process, Instant)>);

impl Held {
    /// The process holds it.
    pub(super) fn note(&mut self, process: Process) {
        self.0.retain(|(one, _)| *one != process);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((process, Instant::now()));
    }

    /// Those that did lately.
    pub(super) fn lately(&self) -> impl Iterator<Item = Process> {
        let lately = self.0.iter().filter(|(_, last)| last.elapsed() < LATELY);
        lately.map(|(process, _)| *process)
    }

    /// Forgets the others.
    pub(super) fn forget_old(&mut self) {
        self.0.retain(|(_, last)| last.elapsed() < LATELY);
    }

    /// Whether none is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(start_ns: u64) -> Process {
        Process { tgid: 7, start_ns }
    }

    #[test]
    fn who_held_it_counts_for_a_while() {
        let mut all = Held::default();
        all.note(process(1));
        all.note(process(2));
        all.note(process(1));
        assert_eq!(all.lately().collect::<Vec<_>>(), [process(2), process(1)]);
        let Some(long_ago) = Instant::now().checked_sub(LATELY) else {
            return println!("skipped: this machine just began");
        };
        if let Some((_, last)) = all.0.front_mut() {
            *last = long_ago;
        }
        assert_eq!(all.lately().collect::<Vec<_>>(), [process(1)]);
        all.forget_old();
        assert_eq!(all.0.len(), 1);
        for n in 0..1000 {
            all.note(process(n));
        }
        assert_eq!((all.0.len(), all.lately().last()), (MOST, Some(process(999))));
    }
}
