//! Packages that package managers opened: those that wait to be verified, and what verified headers list.

use super::managers::Process;
use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;

/// Packages that wait, at most: each is an open file. The oldest goes; it is opened once more before it is unpacked.
const MOST_WAITING: usize = 256;
/// Packages that are remembered, at most, and digests in all of them: more than any transaction brings. The oldest go.
const MOST: usize = 4096;
const MOST_DIGESTS: usize = 200_000;

/// What tells one content of a package file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    place: (u64, u64),
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn new(meta: &Metadata) -> Self {
        Self {
            place: (meta.dev(), meta.ino()),
            size_bytes: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A package that a package manager opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// Which file it is.
    pub stamp: Stamp,
    /// Who opened it.
    pub by: Process,
    /// The file.
    pub file: File,
}

/// What is asked about the packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether one lists this digest.
    Sha256([u8; 32]),
    /// Whether one has a file of this size, in bytes.
    Size(u64),
}

/// A package, as its header was when it was verified.
#[derive(Debug)]
struct Package {
    stamp: Stamp,
    by: Process,
    /// Ascending. None: nobody signed it who counts.
    digests: Box<[([u8; 32], u64)]>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Packages {
    waiting: VecDeque<Opened>,
    known: VecDeque<Package>,
    digests: usize,
}

impl Packages {
    /// Whether this package waits, or is known. One that waits is the next then.
    pub(super) fn is_known(&mut self, stamp: Stamp, by: Process) -> bool {
        let at = self
            .waiting
            .iter()
            .position(|one| (one.stamp, one.by) == (stamp, by));
        if let Some(again) = at.and_then(|at| self.waiting.remove(at)) {
            self.waiting.push_back(again);
            return true;
        }
        self.known.iter().any(|one| (one.stamp, one.by) == (stamp, by))
    }

    /// One more waits.
    pub(super) fn put(&mut self, opened: Opened) {
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(opened);
    }

    /// The one that was opened last, by one of these processes or by anybody: what is executed is mostly of that one.
    pub(super) fn next(&mut self, by: Option<&[Process]>) -> Option<Opened> {
        let is_theirs = |one: &Opened| by.is_none_or(|by| by.contains(&one.by));
        let at = self.waiting.iter().rposition(is_theirs)?;
        self.waiting.remove(at)
    }

    /// Whether none waits or is known.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.known.is_empty()
    }

    /// Whether some wait.
    pub(super) fn wait(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What a package lists.
    pub(super) fn verified(&mut self, stamp: Stamp, by: Process, mut digests: Vec<([u8; 32], u64)>) {
        digests.sort_unstable();
        self.digests += digests.len();
        self.known.push_back(Package {
            stamp,
            by,
            digests: digests.into_boxed_slice(),
        });
        while self.known.len() > MOST || (self.digests > MOST_DIGESTS && self.known.len() > 1) {
            let Some(oldest) = self.known.pop_front() else {
                break;
            };
            self.digests -= oldest.digests.len();
        }
    }

    /// Whether a package that one of these processes opened answers yes.
    pub(super) fn list(&self, by: &[Process], question: Question) -> bool {
        let mut theirs = self.known.iter().filter(|one| by.contains(&one.by));
        match question {
            Question::Sha256(sha256) => theirs.any(|one| {
                one.digests
                    .binary_search_by(|(digest, _)| digest.cmp(&sha256))
                    .is_ok()
            }),
            Question::Size(bytes) => theirs.any(|one| one.digests.iter().any(|(_, size)| *size == bytes)),
        }
    }

    /// Forgets what processes opened that are none any more.
    pub(super) fn retain(&mut self, lives: impl Fn(Process) -> bool) {
        self.waiting.retain(|one| lives(one.by));
        self.known.retain(|one| lives(one.by));
        self.digests = self.known.iter().map(|one| one.digests.len()).sum();
    }

    /// Forgets what headers said: other signatures count now.
    pub(super) fn forget_verified(&mut self) {
        self.known.clear();
        self.digests = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Process = Process { tgid: 7, start_ns: 1 };
    const OTHER: Process = Process { tgid: 8, ..ONE };

    fn stamp(n: u64) -> Stamp {
        Stamp {
            place: (1, n),
            size_bytes: 0,
            modified: (0, 0),
            changed: (0, 0),
        }
    }

    fn digest(n: u64) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        digest
    }

    fn opened(n: u64, by: Process) -> Opened {
        Opened {
            stamp: stamp(n),
            by,
            file: File::open("/dev/null").unwrap(),
        }
    }

    #[test]
    fn each_has_what_it_opened_itself() {
        let mut all = Packages::default();
        all.verified(stamp(1), ONE, vec![(digest(2), 20), (digest(1), 10)]);
        all.verified(stamp(2), OTHER, vec![(digest(3), 30)]);
        all.verified(stamp(3), ONE, Vec::new());
        let asks = |by: &[Process], n| all.list(by, Question::Sha256(digest(n)));
        assert!(asks(&[ONE], 1) && asks(&[ONE], 2) && !asks(&[ONE], 3));
        assert!(asks(&[OTHER], 3) && !asks(&[OTHER], 1) && !asks(&[], 1));
        assert!(all.list(&[ONE], Question::Size(20)) && !all.list(&[ONE], Question::Size(30)));
        assert!(
            all.is_known(stamp(3), ONE),
            "nobody signed it, and it is not read again"
        );
        assert!(!all.is_known(stamp(1), OTHER));
        all.retain(|process| process == OTHER);
        assert!(!all.list(&[ONE], Question::Sha256(digest(1))));
        assert_eq!(all.digests, 1);
        all.forget_verified();
        assert!(!all.list(&[OTHER], Question::Sha256(digest(3))));
    }

    #[test]
    fn the_last_one_opened_is_the_next() {
        let mut all = Packages::default();
        for n in 0..400 {
            assert!(!all.is_known(stamp(n), ONE));
            all.put(opened(n, ONE));
        }
        assert_eq!(all.waiting.len(), MOST_WAITING);
        all.put(opened(1000, OTHER));
        assert!(all.is_known(stamp(300), ONE), "opened again");
        let next = |all: &mut Packages, by| all.next(by).map(|one| one.stamp);
        assert_eq!(next(&mut all, Some(&[ONE])), Some(stamp(300)));
        assert_eq!(next(&mut all, None), Some(stamp(1000)));
        assert_eq!(next(&mut all, Some(&[OTHER])), None);
        assert!(all.wait());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut all = Packages::default();
        for n in 0..100 {
            let digests = (0..10_000).map(|file| (digest(n * 10_000 + file), 1)).collect();
            all.verified(stamp(n), ONE, digests);
            assert!(all.digests <= MOST_DIGESTS);
        }
        assert!(all.list(&[ONE], Question::Sha256(digest(999_999))));
        assert!(!all.list(&[ONE], Question::Sha256(digest(0))));
        for n in 0..10_000 {
            all.verified(stamp(n), ONE, Vec::new());
        }
        assert!(all.known.len() <= MOST);
    }
}
