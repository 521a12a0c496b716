//! Packages that are about to be installed: their headers are verified as soon as a package manager opens them, so that
//! their files may run before the package database lists them.
//!
//! Nothing is trusted because rpm touched it: the digests come out of a header that a pinned key signed, as those of the
//! database do. They never make anything set-id, and they go again unless the database lists the package in time.

use crate::config::Trust;
use crate::enrich::Proc;
use crate::gate::package::{self, Keys, Verified};
use hardpan_abi::TrustedEntry;
use hardpan_core::event::{PackageOpened, ProcessKey};
use hardpan_rpm::signature::Keyring;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Batches verified at once.
const WORKERS: usize = 2;
/// Packages in a batch.
const BATCH: usize = 32;
/// After the end of a transaction the package database has so long to list what it brought: it is read at once.
const AFTERWARDS: Duration = Duration::from_secs(120);
/// A transaction has so long, however long it holds the lock.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// Packages that wait to be verified.
const MAX_WAITING: usize = 2048;

/// What became of an opened package.
#[derive(Debug)]
pub(super) struct Looked {
    /// The event.
    pub event: PackageOpened,
    /// The package, or why nothing of it is trusted.
    pub found: Result<Verified, String>,
}

/// Events that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<PackageOpened>,
    working: usize,
    /// Events that found the queue full.
    overflow: Vec<PackageOpened>,
}

impl Queue {
    /// Takes an event.
    pub(super) fn push(&mut self, event: PackageOpened) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push(event);
        } else {
            self.overflow.push(event);
        }
    }

    /// What could not even wait.
    pub(super) fn overflow(&mut self) -> Vec<PackageOpened> {
        std::mem::take(&mut self.overflow)
    }

    /// The next batch, newest first, if a worker is free: rpm often installs last what it opened first.
    pub(super) fn batch(&mut self) -> Option<Vec<PackageOpened>> {
        if self.working >= WORKERS || self.waiting.is_empty() {
            return None;
        }
        self.working += 1;
        let rest = self.waiting.len().saturating_sub(BATCH);
        let mut batch = self.waiting.split_off(rest);
        batch.reverse();
        Some(batch)
    }

    /// A batch is done.
    pub(super) const fn done(&mut self) {
        self.working = self.working.saturating_sub(1);
    }
}

/// Verifies a batch, and hands each on as soon as it is done. Blocks.
fn look(batch: Vec<PackageOpened>, config: &Trust, keys: &Keys, proc: &Proc, mut tell: impl FnMut(Looked)) {
    let keyring = keys.get(config);
    for event in batch {
        let found = verify(&event, &keyring, proc);
        tell(Looked { event, found });
    }
}

fn verify(event: &PackageOpened, keyring: &Keyring, proc: &Proc) -> Result<Verified, String> {
    let inside = Path::new(OsStr::from_bytes(event.path.as_bytes()));
    let below = inside.strip_prefix("/").unwrap_or(inside);
    let through = proc.place(event.head.task.process.tgid, "root").join(below);
    let file = File::open(&through)
        .or_else(|_| File::open(inside))
        .map_err(|error| format!("it cannot be opened: {error}"))?;
    let meta = file
        .metadata()
        .map_err(|error| format!("it cannot be looked at: {error}"))?;
    if meta.ino() != event.file.ino || !meta.is_file() {
        return Err("another file has its name by now".to_owned());
    }
    package::verify(file, keyring)
}

/// A package that is not installed yet.
#[derive(Debug)]
struct Expected {
    since: Instant,
    /// When it was opened first.
    first: Instant,
    /// When its package manager was seen to have ended: the transaction is over.
    over: Option<Instant>,
    name: String,
    by: OpenedBy,
    digests: Vec<([u8; 32], u64)>,
}

/// Who opened a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenedBy {
    /// Its number; 0: the package counts whether it takes the lock of the package database or not.
    pub manager: u32,
    /// The process.
    pub process: ProcessKey,
}

impl Expected {
    fn is_due(&self, within: Duration) -> bool {
        let is_over = |over: Instant| over.elapsed() >= within.min(AFTERWARDS);
        self.since.elapsed() >= within || self.over.is_some_and(is_over)
    }
}

/// A package that the database did not list in time: its files are no longer trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Withdrawn {
    /// Name and version.
    pub name: String,
    /// Digests of its files that nothing else vouches for, with their sizes.
    pub digests: Vec<([u8; 32], u64)>,
}

/// The workers, seen from the event loop.
#[derive(Debug)]
pub(super) struct Packages {
    keys: Arc<Keys>,
    results: mpsc::Sender<Option<Looked>>,
    /// What they found; `None` at the end of a batch.
    pub looks: mpsc::Receiver<Option<Looked>>,
}

impl Packages {
    /// Nobody works yet.
    pub(super) fn new() -> Self {
        let (results, looks) = mpsc::channel(BATCH);
        Self {
            keys: Arc::default(),
            results,
            looks,
        }
    }

    /// Has a batch verified.
    pub(super) fn start(&self, batch: Vec<PackageOpened>, config: Trust) {
        let (keys, results) = (Arc::clone(&self.keys), self.results.clone());
        tokio::task::spawn_blocking(move || {
            let proc = Proc::below(Path::new("/"));
            // The daemon may be ending: then nobody listens.
            look(batch, &config, &keys, &proc, |looked| {
                let _gone = results.blocking_send(Some(looked));
            });
            let _gone = results.blocking_send(None);
        });
    }
}

/// Digests of packages that are not installed yet.
#[derive(Debug, Default)]
pub(super) struct Provisional {
    packages: Vec<Expected>,
}

impl Provisional {
    /// Adds a package. False: somebody else who opened it has taken the lock (`counts`), and this one has not.
    pub(super) fn add(&mut self, verified: &Verified, by: OpenedBy, counts: impl Fn(u32) -> bool) -> bool {
        let name = verified.package.to_string();
        let known = self.packages.iter().find(|known| known.name == name);
        if known.is_some_and(|known| {
            known.by.manager != by.manager && counts(known.by.manager) && !counts(by.manager)
        }) {
            return false;
        }
        self.packages.retain(|known| known.name != name);
        let now = Instant::now();
        self.packages.push(Expected {
            since: now,
            first: now,
            over: None,
            name,
            by,
            digests: verified.digests.clone(),
        });
        true
    }

    /// Drops what the database lists by now (`is_trusted`) and what has had its time (`within`); those of the latter that
    /// are not installed come back, if they counted. Who holds the lock (`installs`) gets more time.
    pub(super) fn settle(
        &mut self,
        within: Duration,
        is_trusted: impl Fn(&[u8; 32]) -> bool,
        installs: impl Fn(ProcessKey) -> bool,
        counts: impl Fn(u32) -> bool,
    ) -> Vec<Withdrawn> {
        let mut withdrawn = Vec::new();
        self.packages.retain_mut(|expected| {
            if expected.digests.iter().all(|(digest, _)| is_trusted(digest)) {
                return false;
            }
            if !expected.is_due(within) {
                return true;
            }
            let Expected {
                since,
                first,
                over,
                name,
                by,
                digests,
            } = expected;
            if over.is_none() && first.elapsed() < LONGEST && installs(by.process) {
                *since = Instant::now();
                return true;
            }
            if !counts(by.manager) {
                return false;
            }
            let lost = digests.iter().filter(|(digest, _)| !is_trusted(digest));
            withdrawn.push(Withdrawn {
                name: name.clone(),
                digests: lost.copied().collect(),
            });
            false
        });
        withdrawn
    }

    /// Whether the time of some is over.
    pub(super) fn is_due(&self, within: Duration) -> bool {
        self.packages.iter().any(|one| one.is_due(within))
    }

    /// Notes which package managers have ended. Those that need take no lock (images are built by many) are not asked about.
    pub(super) fn notice(&mut self, has_ended: impl Fn(ProcessKey) -> bool) {
        let mut last = None;
        for one in &mut self.packages {
            if one.by.manager == 0 || one.over.is_some() {
                continue;
            }
            let ended = match last {
                Some((process, ended)) if process == one.by.process => ended,
                _ => has_ended(one.by.process),
            };
            last = Some((one.by.process, ended));
            if ended {
                one.over = Some(Instant::now());
            }
        }
    }

    /// The digests, who opened their packages, and the sizes of the files.
    pub(super) fn digests(&self) -> impl Iterator<Item = ([u8; 32], u32, u64)> {
        self.packages.iter().flat_map(|one| {
            let digests = one.digests.iter();
            digests.map(|(digest, size)| (*digest, one.by.manager, *size))
        })
    }

    /// Whether some package is this package manager's.
    pub(super) fn is_needed(&self, manager: u32) -> bool {
        self.packages.iter().any(|one| one.by.manager == manager)
    }

    /// The entry of such a digest.
    pub(super) const fn entry(manager: u32) -> TrustedEntry {
        TrustedEntry {
            marks: manager,
            ..package::PROVISIONAL
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_core::verdict::Package;

    fn by(manager: u32) -> OpenedBy {
        let process = ProcessKey {
            tgid: manager,
            start_boottime_ns: Some(7),
        };
        OpenedBy { manager, process }
    }

    #[test]
    fn provisional_trust_ends_with_the_database() {
        let mut provisional = Provisional::default();
        let verified = |name: &str, digests: &[u8]| Verified {
            package: Package {
                name: name.into(),
                version: "1-1".into(),
                arch: "noarch".into(),
            },
            signer: "a vendor".into(),
            digests: digests.iter().map(|n| ([*n; 32], 10)).collect(),
            files: Vec::new(),
        };
        let (all, none) = (|_: u32| true, |_: ProcessKey| false);
        assert!(provisional.add(&verified("a", &[1, 2]), by(5), all));
        assert!(provisional.add(&verified("b", &[3]), by(5), all));
        // rpm opens a package more than once.
        assert!(provisional.add(&verified("a", &[1, 2]), by(5), all));
        assert_eq!(provisional.digests().count(), 3);
        let within = Duration::from_secs(900);
        assert!(
            provisional
                .settle(within, |digest| digest[0] != 3, none, all)
                .is_empty()
        );
        let left: Vec<u8> = provisional.digests().map(|(digest, _, _)| digest[0]).collect();
        assert_eq!(left, [3]);
        assert!(!provisional.is_due(within));
        assert!(provisional.is_due(Duration::ZERO));
        // Its time is over, and half of it is in another package.
        assert!(provisional.add(&verified("c", &[4, 5]), by(6), all));
        // Who holds the lock gets more of it.
        assert!(
            provisional
                .settle(Duration::ZERO, |_| false, |_| true, all)
                .is_empty()
        );
        // Unless it has ended.
        provisional.notice(|process| process.tgid == 6);
        assert!(
            !provisional.is_due(within),
            "the database may not have been read yet"
        );
        let withdrawn = provisional.settle(Duration::ZERO, |digest| digest[0] == 4, none, all);
        let lost: Vec<_> = withdrawn
            .iter()
            .map(|one| {
                (
                    one.name.as_str(),
                    one.digests.iter().map(|(digest, _)| digest[0]).collect(),
                )
            })
            .collect();
        assert_eq!(lost, [("b-1-1.noarch", vec![3]), ("c-1-1.noarch", vec![5])]);
        assert_eq!(provisional.digests().count(), 0);
    }

    #[test]
    fn who_only_looks_at_a_package_takes_it_from_nobody() {
        let mut provisional = Provisional::default();
        let verified = Verified {
            package: Package {
                name: "a".into(),
                version: "1-1".into(),
                arch: "noarch".into(),
            },
            signer: "a vendor".into(),
            digests: vec![([1; 32], 10)],
            files: Vec::new(),
        };
        let holds = |manager| manager == 5;
        let managers = |provisional: &Provisional| -> Vec<u32> {
            provisional.digests().map(|(_, manager, _)| manager).collect()
        };
        assert!(provisional.add(&verified, by(4), holds));
        assert!(
            provisional.add(&verified, by(5), holds),
            "4 has not taken the lock"
        );
        assert!(!provisional.add(&verified, by(6), holds), "5 has");
        assert_eq!(managers(&provisional), [5]);
        assert!(provisional.is_needed(5) && !provisional.is_needed(6));
        assert_eq!(Provisional::entry(5).marks, 5);
        // What never counted is not withdrawn.
        assert!(
            provisional
                .settle(Duration::ZERO, |_| false, |_| false, |_| false)
                .is_empty()
        );
        assert_eq!(managers(&provisional), [0; 0]);
    }
}
