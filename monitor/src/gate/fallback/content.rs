//! Digests of files that nobody writes to, and how long they are good for.

use crate::crypto::sha256_of;
use crate::sensor::ReadUntil;
use crate::sys::lease::ReadLease;
use hardpan_abi::GATE_HASH_SIGNED_BYTES;
use hardpan_core::gate::Known;
use nix::sys::stat::{FileStat, fstat};
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Files that are remembered, at most, in each half of the memory.
const MOST: usize = 16_384;
/// Files that are hashed in advance, at most, and the time for one.
const MOST_ADVANCE: usize = 4096;
const FOR_ONE: Duration = Duration::from_secs(10);
/// A content this much younger than its hash may change again without its change time telling.
const TICK: Duration = Duration::from_millis(50);
/// The same on file systems that count change times in seconds.
const SECONDS: Duration = Duration::from_secs(3);

/// What tells one content of a file from another, as long as nobody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size_bytes: u64,
    ctime_s: i64,
    ctime_ns: u64,
}

/// Digests that were taken.
#[derive(Debug, Default)]
pub(super) struct Digests {
    young: HashMap<(u64, u64), (Stamp, [u8; 32])>,
    /// Goes when `young` is full: so neither many files nor somebody who runs many of them push out what is in use.
    old: HashMap<(u64, u64), (Stamp, [u8; 32])>,
}

/// A digest, and whether it was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub sha256: [u8; 32],
    pub is_cached: bool,
}

impl Digests {
    /// Takes those that somebody has taken in advance.
    pub(super) fn know(&mut self, known: &[Known]) {
        for one in known.iter().take(MOST_ADVANCE) {
            let stamp = Stamp {
                size_bytes: one.size_bytes,
                ctime_s: one.ctime_s,
                ctime_ns: one.ctime_ns,
            };
            self.put((one.dev, one.ino), stamp, one.sha256);
        }
    }

    /// The digest of a file that nobody has open for writing, and nobody opens for writing before `file` and all its
    /// duplicates are closed. `None`: it cannot be had.
    pub(super) fn take(&mut self, file: &File, until: Instant) -> Option<Taken> {
        let lease = ReadLease::take(file).ok()?;
        let stat = fstat(file).ok()?;
        let (key, stamp) = key(&stat);
        if let Some(sha256) = self.get(key, stamp) {
            lease.until_closed();
            return Some(Taken {
                sha256,
                is_cached: true,
            });
        }
        let (sha256, is_settled) = hash(file, &stat, &lease, until)?;
        if is_settled {
            self.put(key, stamp, sha256);
        }
        lease.until_closed();
        Some(Taken {
            sha256,
            is_cached: false,
        })
    }

    fn get(&mut self, key: (u64, u64), stamp: Stamp) -> Option<[u8; 32]> {
        let young = self.young.get(&key);
        let (was, sha256) = *young.or_else(|| self.old.get(&key))?;
        if was != stamp {
            return None;
        }
        if young.is_none() {
            self.put(key, stamp, sha256);
        }
        Some(sha256)
    }

    fn put(&mut self, key: (u64, u64), stamp: Stamp, sha256: [u8; 32]) {
        if self.young.len() >= MOST && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, (stamp, sha256));
    }
}

fn key(stat: &FileStat) -> ((u64, u64), Stamp) {
    let stamp = Stamp {
        size_bytes: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
        ctime_s: stat.st_ctime,
        ctime_ns: u64::try_from(stat.st_ctime_nsec).unwrap_or_default(),
    };
    ((stat.st_dev, stat.st_ino), stamp)
}

/// The digest, and whether a later change must show in the change time. Nobody wrote from before it was begun until after
/// it was done.
fn hash(file: &File, before: &FileStat, lease: &ReadLease<'_>, until: Instant) -> Option<([u8; 32], bool)> {
    let is_settled = is_settled(before, SystemTime::now());
    let content = ReadUntil::new(file, Some(until)).take(GATE_HASH_SIGNED_BYTES);
    let (sha256, _) = sha256_of(content).ok()?;
    let after = fstat(file).ok()?;
    (lease.holds() && key(before) == key(&after)).then_some((sha256, is_settled))
}

fn is_settled(stat: &FileStat, now: SystemTime) -> bool {
    let age = || {
        let seconds = u64::try_from(stat.st_ctime).ok()?;
        let nanoseconds = u64::try_from(stat.st_ctime_nsec).ok()?;
        let changed = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds);
        now.duration_since(changed).ok()
    };
    let least = if stat.st_ctime_nsec == 0 { SECONDS } else { TICK };
    age().is_some_and(|age| age >= least)
}

/// Digests of what runs and of what must be able to run: nobody has to wait for these files to be read. Takes as long as
/// reading them takes.
pub fn in_advance(proc: &Path, must_run: &[String]) -> Vec<Known> {
    let running = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let running = running.map(|process| process.path().join("exe"));
    let mut known = Vec::new();
    let mut seen = BTreeSet::new();
    for path in must_run.iter().map(PathBuf::from).chain(running) {
        if known.len() >= MOST_ADVANCE {
            break;
        }
        // What must run may be a FIFO by now.
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let Ok(file) = file else { continue };
        let Ok(stat) = fstat(&file) else { continue };
        let (key, stamp) = key(&stat);
        let is_file = file.metadata().is_ok_and(|meta| meta.is_file());
        if !is_file || stamp.size_bytes > GATE_HASH_SIGNED_BYTES || !seen.insert(key) {
            continue;
        }
        let Ok(lease) = ReadLease::take(&file) else {
            continue;
        };
        if let Some((sha256, true)) = hash(&file, &stat, &lease, Instant::now() + FOR_ONE) {
            known.push(Known {
                dev: key.0,
                ino: key.1,
                size_bytes: stamp.size_bytes,
                ctime_s: stamp.ctime_s,
                ctime_ns: stamp.ctime_ns,
                sha256,
            });
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(n: u64) -> Stamp {
        Stamp {
            size_bytes: n,
            ctime_s: 0,
            ctime_ns: 0,
        }
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let mut digests = Digests::default();
        digests.put((0, 0), stamp(0), [7; 32]);
        for n in 1..100_000 {
            digests.put((0, n), stamp(n), [1; 32]);
            if n % 10_000 == 0 {
                assert_eq!(digests.get((0, 0), stamp(0)), Some([7; 32]), "{n}");
            }
        }
        assert!(digests.young.len() <= MOST && digests.old.len() <= MOST);
        assert_eq!(digests.get((0, 99_999), stamp(1)), None, "another content");
        assert_eq!(digests.get((0, 1), stamp(1)), None, "long ago");
    }

    #[test]
    fn a_file_is_hashed_again_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let open = || File::open(&path).unwrap();
        let mut digests = Digests::default();
        let until = || Instant::now() + FOR_ONE;
        if ReadLease::take(&open()).is_err() {
            return println!("skipped: no leases here");
        }
        let first = digests.take(&open(), until()).unwrap();
        assert!(!first.is_cached);
        std::thread::sleep(TICK * 2);
        // So young that it was not kept; now it is.
        assert!(!digests.take(&open(), until()).unwrap().is_cached);
        assert!(digests.take(&open(), until()).unwrap().is_cached);
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(digests.take(&open(), until()), None, "somebody can write");
        drop(writer);
        std::fs::write(&path, "another").unwrap();
        let second = digests.take(&open(), until()).unwrap();
        assert!(!second.is_cached && second.sha256 != first.sha256);
        let too_late = Instant::now()
            .checked_sub(Duration::from_secs(1))
            .unwrap_or_else(Instant::now);
        assert_eq!(digests.take(&open(), too_late), None);
        // While the file is open, nobody begins to write.
        let file = open();
        digests.take(&file, until()).unwrap();
        let can_write = || {
            let mut options = OpenOptions::new();
            options.append(true).custom_flags(nix::libc::O_NONBLOCK);
            options.open(&path).is_ok()
        };
        assert!(!can_write());
        drop(file);
        assert!(can_write());
    }

    #[test]
    fn what_runs_is_known_in_advance() {
        let own = std::env::current_exe().unwrap();
        let known = in_advance(Path::new("/nowhere"), &[own.display().to_string()]);
        if ReadLease::take(&File::open(&own).unwrap()).is_err() {
            return println!("skipped: no leases here");
        }
        let (sha256, _) = sha256_of(File::open(&own).unwrap()).unwrap();
        assert_eq!(known.first().map(|one| one.sha256), Some(sha256));
        let mut digests = Digests::default();
        digests.know(&known);
        let taken = digests.take(&File::open(&own).unwrap(), Instant::now()).unwrap();
        assert!(taken.is_cached);
    }
}
