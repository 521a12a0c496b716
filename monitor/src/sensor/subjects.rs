//! What ran before the sensor was there: its digests go into the kernel's memory of inodes, so that rules can tell which
//! program asks.

use crate::crypto::sha256_of;
use crate::sys::lease::ReadLease;
use aya::maps::{Array, InodeStorage, Map, MapData, MapError};
use hardpan_abi::{GATE_HASH_SIGNED_BYTES, InodeDigest, content_can_change_at_will};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::sys::statfs::fstatfs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;
use zerocopy::{FromZeros as _, IntoBytes as _};

type Value = [u8; size_of::<InodeDigest>()];

/// The kernel's memory of inodes.
pub struct Subjects {
    inodes: InodeStorage<MapData, Value>,
    raw_writes: Array<MapData, u32>,
}

impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subjects").finish_non_exhaustive()
    }
}

/// Numbers of its maps, by which another process opens them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectIds {
    /// What is remembered of inodes.
    pub inodes: u32,
    /// How often everything was withdrawn, because a device was written to.
    pub raw_writes: u32,
}

/// What a walk over all processes came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Files whose digest is known now.
    pub files: usize,
    /// Files that could not be read, or changed meanwhile: rules take them for untrusted.
    pub failed: usize,
}

impl Subjects {
    pub(super) const fn new(inodes: InodeStorage<MapData, Value>, raw_writes: Array<MapData, u32>) -> Self {
        Self { inodes, raw_writes }
    }

    /// Hashes what all processes run and puts it in. Takes as long as reading these files takes.
    pub fn remember_all(&mut self, proc: &Path) -> Remembered {
        let mut remembered = Remembered::default();
        let mut seen = BTreeSet::new();
        for process in fs::read_dir(proc).into_iter().flatten().flatten() {
            let is_process = process
                .file_name()
                .to_str()
                .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
            // Kernel threads have none, and processes may end meanwhile.
            let Some(file) = is_process
                .then(|| File::open(process.path().join("exe")).ok())
                .flatten()
            else {
                continue;
            };
            let Ok(stat) = fstat(&file) else { continue };
            if !seen.insert((stat.st_dev, stat.st_ino)) {
                continue;
            }
            match self.remember(&file, &stat) {
                Ok(true) => remembered.files += 1,
                Ok(false) | Err(_) => remembered.failed += 1,
            }
        }
        remembered
    }

    /// Opens the memory of the programs that run, by its number. For the process that answers for executions at tier B.
    pub fn open(ids: SubjectIds) -> Result<Self, MapError> {
        let inodes = MapData::from_id(ids.inodes)?;
        let raw_writes = MapData::from_id(ids.raw_writes)?;
        Ok(Self {
            inodes: InodeStorage::try_from(Map::InodeStorage(inodes))?,
            raw_writes: Array::try_from(Map::Array(raw_writes))?,
        })
    }

    /// Hashes one file and puts its digest in, unless the kernel has it already. `false`: it cannot be known.
    fn remember(&mut self, file: &File, stat: &FileStat) -> Result<bool, MapError> {
        let Some((before, is_current)) = self.before(file, stat)? else {
            return Ok(false);
        };
        is_current
            .then_some(true)
            .map_or_else(|| self.hash(file, stat, &before, None), Ok)
    }

    /// The same for a verdict that the gate goes by: nobody can begin to write between the last look and the moment when
    /// the digest is in the kernel. Gives up after `until`. The file's position does not matter, and does not move.
    pub fn vouch(&mut self, file: &File, until: Instant) -> Result<bool, MapError> {
        let Ok(stat) = fstat(file) else { return Ok(false) };
        let Some((_, is_current)) = self.before(file, &stat)? else {
            return Ok(false);
        };
        if is_current {
            return Ok(true);
        }
        let Ok(lease) = ReadLease::take(file) else {
            return Ok(false);
        };
        let Ok(stat) = fstat(file) else { return Ok(false) };
        let Some((before, _)) = self.before(file, &stat)? else {
            return Ok(false);
        };
        let known = self.hash(file, &stat, &before, Some(until))?;
        if known && !lease.holds() {
            // A writer was on its way in when the digest was put there, and may have been asked about before.
            let now = parse(&self.inodes.get(file, 0)?);
            self.put(file, &InodeDigest { filled: 0, ..now })?;
            return Ok(false);
        }
        Ok(known)
    }

    /// What the kernel remembers of a file that can be judged by its content, and whether that is current.
    fn before(&mut self, file: &File, stat: &FileStat) -> Result<Option<(InodeDigest, bool)>, MapError> {
        let is_regular = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let is_foreign = fstatfs(file).map_or(true, |fs| {
            u64::try_from(fs.filesystem_type().0).map_or(true, content_can_change_at_will)
        });
        if !is_regular || is_foreign || size > GATE_HASH_SIGNED_BYTES {
            return Ok(None);
        }
        // Before anything of the file is read: a device that is written to meanwhile withdraws what is put in.
        let raw_writes = self.raw_writes.get(&0, 0)?;
        let before = match self.inodes.get(file, 0) {
            Ok(bytes) => parse(&bytes),
            Err(MapError::KeyNotFound) => {
                // There before the hash is, so that whoever opens the file for writing leaves a trace in it.
                let empty = InodeDigest::new_zeroed();
                self.put(file, &empty)?;
                empty
            }
            Err(error) => return Err(error),
        };
        let is_current = is_whole(&before) && before.raw_writes == raw_writes && is_of(&before, stat);
        let before = InodeDigest { raw_writes, ..before };
        Ok(Some((before, is_current)))
    }

    fn hash(
        &mut self,
        file: &File,
        stat: &FileStat,
        before: &InodeDigest,
        until: Option<Instant>,
    ) -> Result<bool, MapError> {
        let content = ReadUntil::new(file, until);
        let Ok((digest, _)) = sha256_of(content.take(GATE_HASH_SIGNED_BYTES)) else {
            return Ok(false);
        };
        let Ok(after) = fstat(file) else { return Ok(false) };
        let now = parse(&self.inodes.get(file, 0)?);
        if now.writes != before.writes || !is_same(stat, &after) {
            return Ok(false);
        }
        if is_whole(&now) && now.raw_writes == before.raw_writes && is_of(&now, stat) {
            // Somebody executed it meanwhile: the kernel knows better.
            return Ok(true);
        }
        let entry = InodeDigest {
            size_bytes: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
            ctime_s: stat.st_ctime,
            ctime_ns: u32::try_from(stat.st_ctime_nsec).unwrap_or_default(),
            filled: 1,
            digest,
            // Looked up by whoever asks.
            epoch: 0,
            passed: [0; 2],
            raw_writes: before.raw_writes,
            judged: 0,
            ..now
        };
        let entry = InodeDigest {
            check: check_of(&entry),
            ..entry
        };
        self.put(file, &entry)?;
        Ok(true)
    }

    fn put(&mut self, file: &File, entry: &InodeDigest) -> Result<(), MapError> {
        let mut bytes: Value = [0; size_of::<InodeDigest>()];
        bytes.copy_from_slice(entry.as_bytes());
        self.inodes.insert(file, bytes, 0)
    }
}

/// A file from its beginning, wherever its position is, until some time.
pub(crate) struct ReadUntil<'f> {
    file: &'f File,
    at: u64,
    until: Option<Instant>,
}

impl<'f> ReadUntil<'f> {
    pub(crate) const fn new(file: &'f File, until: Option<Instant>) -> Self {
        Self { file, at: 0, until }
    }
}

impl Read for ReadUntil<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.until.is_some_and(|until| Instant::now() > until) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn parse(bytes: &Value) -> InodeDigest {
    zerocopy::transmute!(*bytes)
}

/// All of it was written by one, and nobody has opened the file for writing since.
fn is_whole(entry: &InodeDigest) -> bool {
    entry.filled == 1 && entry.check == check_of(entry)
}

fn check_of(entry: &InodeDigest) -> u64 {
    let digest: [u64; 4] = zerocopy::transmute!(entry.digest);
    let base = InodeDigest::base(&digest, entry.size_bytes, entry.ctime_s, entry.ctime_ns);
    InodeDigest::check(base, entry.writes, entry.raw_writes)
}

fn is_of(entry: &InodeDigest, stat: &FileStat) -> bool {
    i64::try_from(entry.size_bytes) == Ok(stat.st_size)
        && entry.ctime_s == stat.st_ctime
        && i64::from(entry.ctime_ns) == stat.st_ctime_nsec
}

const fn is_same(before: &FileStat, after: &FileStat) -> bool {
    before.st_size == after.st_size
        && before.st_ctime == after.st_ctime
        && before.st_ctime_nsec == after.st_ctime_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> InodeDigest {
        let mut entry = InodeDigest {
            size_bytes: 4096,
            ctime_s: 7,
            ctime_ns: 8,
            filled: 1,
            digest: [9; 32],
            writes: 3,
            raw_writes: 1,
            ..InodeDigest::new_zeroed()
        };
        entry.check = check_of(&entry);
        entry
    }

    #[test]
    fn what_two_wrote_is_not_known() {
        assert!(is_whole(&whole()));
        let other = |change: fn(&mut InodeDigest)| {
            let mut entry = whole();
            change(&mut entry);
            is_whole(&entry)
        };
        assert!(!other(|entry| entry.filled = 0));
        assert!(!other(|entry| entry.digest[31] = 8));
        assert!(!other(|entry| entry.size_bytes += 1));
        assert!(!other(|entry| entry.ctime_s += 1));
        assert!(!other(|entry| entry.ctime_ns += 1));
        assert!(!other(|entry| entry.writes += 1));
        assert!(!other(|entry| entry.raw_writes += 1));
        assert!(!other(|entry| entry.check = 0));
        // The word of one, and a digest of another.
        assert!(!other(|entry| entry.digest = [1; 32]));
    }

    #[test]
    fn a_class_belongs_to_a_digest_and_an_epoch() {
        let judged = |digest: u64, value, epoch| InodeDigest::judged(&[digest, 2, 3, 4], value, epoch);
        let own = judged(1, 5, 6);
        assert_ne!(own, 0, "0 says that nothing is remembered");
        for other in [judged(9, 5, 6), judged(1, 9, 6), judged(1, 5, 9)] {
            assert_ne!(own, other);
        }
    }
}
