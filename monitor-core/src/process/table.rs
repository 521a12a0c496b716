//! What processes run, as far as their execs were seen.

use crate::event::{ProcessKey, RawText, Task};
use hardpan_abi::FileId;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Executables of processes, in bounded memory: what was entered first leaves first.
///
/// Keys hold the start time, so a reused process id is never taken for its former owner. Processes whose start time
/// is unknown are not kept.
///
/// Not each execution is told of: some are only counted. The kernel says of each event which file the process and its parent
/// run, and paths of such files are known from those that were told of, in the same mount namespace.
#[derive(Debug)]
pub struct ProcessTable {
    processes: Bounded<ProcessKey, Running>,
    files: Bounded<(FileId, Option<u32>), RawText>,
}

#[derive(Debug)]
struct Running {
    path: RawText,
    file: Option<FileId>,
}

impl ProcessTable {
    /// A table of at most `capacity` processes (at least one), and as many files.
    pub fn new(capacity: usize) -> Self {
        Self {
            processes: Bounded::new(capacity),
            files: Bounded::new(capacity),
        }
    }

    /// Notes what a process runs from now on, and which file that is.
    pub fn insert(&mut self, process: ProcessKey, path: RawText, file: Option<FileId>) {
        if process.start_boottime_ns.is_some() {
            self.processes.insert(process, Running { path, file });
        }
    }

    /// Notes the path of a file that a task executed.
    pub fn insert_file(&mut self, file: FileId, mnt_ns: Option<u32>, path: &RawText) {
        let key = (file, mnt_ns);
        if self.files.get(&key) != Some(path) {
            self.files.insert(key, path.clone());
        }
    }

    /// What the task of an event runs.
    pub fn executable(&self, task: &Task) -> Option<&RawText> {
        self.path_of(&task.process, task.exe, task.mnt_ns)
    }

    /// What its real parent runs.
    pub fn parent_executable(&self, task: &Task) -> Option<&RawText> {
        self.path_of(&task.parent, task.parent_exe, task.mnt_ns)
    }

    fn path_of(&self, process: &ProcessKey, file: Option<FileId>, mnt_ns: Option<u32>) -> Option<&RawText> {
        let running = self.processes.get(process);
        let Some(file) = file else {
            return running.map(|running| &running.path);
        };
        // A file may have several names: this process's own is the best.
        if let Some(running) = running
            && running.file.is_none_or(|known| known == file)
        {
            return Some(&running.path);
        }
        self.files.get(&(file, mnt_ns))
    }
}

/// A map that forgets what was entered first.
#[derive(Debug)]
struct Bounded<K, V> {
    capacity: usize,
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.entries.len() > self.capacity {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.entries.remove(&oldest);
        }
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

    const fn file(ino: u64) -> FileId {
        FileId {
            ino,
            dev: 1,
            generation: 0,
        }
    }

    /// A task of process 1 that runs `exe`, whose parent is process 2 and runs `parent_exe`.
    fn task(exe: Option<FileId>, parent_exe: Option<FileId>) -> Task {
        Task {
            process: key(1, 10),
            tid: 1,
            parent: key(2, 5),
            cgroup_id: None,
            loginuid: None,
            sessionid: None,
            pid_ns: None,
            mnt_ns: Some(4),
            comm: "x".into(),
            parent_comm: "y".into(),
            exe,
            parent_exe,
        }
    }

    #[test]
    fn bounded_and_exact() {
        let mut table = ProcessTable::new(2);
        table.insert(key(1, 10), "/a".into(), None);
        table.insert(key(1, 10), "/b".into(), None);
        let known = |table: &ProcessTable, process| table.path_of(&process, None, None).cloned();
        assert_eq!(known(&table, key(1, 10)), Some("/b".into()));
        assert_eq!(known(&table, key(1, 11)), None, "a reused process id");
        table.insert(key(2, 20), "/c".into(), None);
        table.insert(key(3, 30), "/d".into(), None);
        assert_eq!(known(&table, key(1, 10)), None, "the oldest left");
        assert_eq!(
            (table.processes.entries.len(), table.processes.order.len()),
            (2, 2)
        );
        let unknown = ProcessKey {
            tgid: 4,
            start_boottime_ns: None,
        };
        table.insert(unknown, "/e".into(), None);
        assert_eq!(known(&table, unknown), None);
        for ino in 0..5 {
            table.insert_file(file(ino), None, &"/f".into());
        }
        assert_eq!(table.files.entries.len(), 2);
    }

    /// Of its last execution nobody told.
    #[test]
    fn what_a_process_no_longer_runs_is_not_told() {
        let mut table = ProcessTable::new(8);
        table.insert(key(1, 10), "/usr/bin/bash".into(), Some(file(1)));
        assert_eq!(
            table.executable(&task(Some(file(1)), None)),
            Some(&"/usr/bin/bash".into())
        );
        assert_eq!(table.executable(&task(Some(file(2)), None)), None);
        table.insert_file(file(2), Some(4), &"/usr/bin/id".into());
        table.insert_file(file(3), Some(5), &"/usr/bin/other".into());
        assert_eq!(
            table.executable(&task(Some(file(2)), None)),
            Some(&"/usr/bin/id".into())
        );
        assert_eq!(
            table.executable(&task(Some(file(3)), None)),
            None,
            "another mount namespace"
        );
    }

    /// It was forked, executed nothing, and is gone: neither an execution nor `/proc` tells.
    #[test]
    fn parents_are_known_by_their_files() {
        let mut table = ProcessTable::new(8);
        let child = task(None, Some(file(1)));
        assert_eq!(table.parent_executable(&child), None);
        table.insert_file(file(1), Some(4), &"/usr/bin/bash".into());
        assert_eq!(table.parent_executable(&child), Some(&"/usr/bin/bash".into()));
        // A file of two names.
        table.insert(key(2, 5), "/usr/bin/sh".into(), Some(file(1)));
        assert_eq!(table.parent_executable(&child), Some(&"/usr/bin/sh".into()));
    }
}
