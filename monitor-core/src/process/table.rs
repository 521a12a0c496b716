//! What processes run, as far as their execs were seen.

use crate::event::{ProcessKey, RawText};
use std::collections::{HashMap, VecDeque};

/// Executables of processes, in bounded memory: the one entered first leaves first.
///
/// Keys hold the start time, so a reused process id is never taken for its former owner. Processes whose start time
/// is unknown are not kept.
#[derive(Debug)]
pub struct ProcessTable {
    capacity: usize,
    executables: HashMap<ProcessKey, RawText>,
    order: VecDeque<ProcessKey>,
}

impl ProcessTable {
    /// A table of at most `capacity` processes (at least one).
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            executables: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Notes what a process runs from now on.
    pub fn insert(&mut self, process: ProcessKey, executable: RawText) {
        if process.start_boottime_ns.is_none() {
            return;
        }
        if self.executables.insert(process, executable).is_none() {
            self.order.push_back(process);
        }
        while self.executables.len() > self.capacity {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.executables.remove(&oldest);
        }
    }

    /// What the process was last seen to execute.
    pub fn executable(&self, process: &ProcessKey) -> Option<&RawText> {
        self.executables.get(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tgid: u32, start: u64) -> ProcessKey {
        ProcessKey {
            tgid,
            start_boottime_ns: Some(start),
        }
    }

    #[test]
    fn bounded_and_exact() {
        let mut table = ProcessTable::new(2);
        table.insert(key(1, 10), "/a".into());
        table.insert(key(1, 10), "/b".into());
        assert_eq!(table.executable(&key(1, 10)), Some(&"/b".into()));
        assert_eq!(table.executable(&key(1, 11)), None, "a reused process id");
        table.insert(key(2, 20), "/c".into());
        table.insert(key(3, 30), "/d".into());
        assert_eq!(table.executable(&key(1, 10)), None, "the oldest left");
        assert_eq!((table.executables.len(), table.order.len()), (2, 2));
        let unknown = ProcessKey {
            tgid: 4,
            start_boottime_ns: None,
        };
        table.insert(unknown, "/e".into());
        assert_eq!(table.executable(&unknown), None);
    }
}
