//! A private copy of the database files that is known to be one consistent state.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bdb::PageSource;
use super::{DbError, Located, MAX_DATABASE_BYTES};

/// How often a copy is tried, and the pause before the next attempt: about 4 s in all.
const TRIES: u32 = 12;
const PAUSE: Duration = Duration::from_millis(60);
const CHUNK_BYTES: usize = 256 * 1024;

/// Originals that nobody changed for this long before the copying began are not read again after it, in seconds.
const QUIET_S: i64 = 2;

/// A copy in a directory that only this user can enter; removed when dropped.
#[derive(Debug)]
pub(super) struct Snapshot {
    _folder: tempfile::TempDir,
    database: PathBuf,
}

impl Snapshot {
    /// Copies all parts, then makes sure that they are what the originals were at one moment: either nobody touched an
    /// original since well before the copying began, or every part is still the same after the last one was copied.
    pub(super) fn take(located: &Located, scratch: Option<&Path>) -> Result<Self, DbError> {
        let parent = scratch.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new()
            .prefix("hardpan-rpmdb-")
            .tempdir_in(&parent)
            .map_err(|source| DbError::Scratch { path: parent, source })?;
        let database = folder.path().join("rpmdb");
        let begun_s = std::fs::metadata(folder.path())
            .map_err(|source| DbError::Scratch {
                path: folder.path().to_owned(),
                source,
            })?
            .ctime();
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(PAUSE * attempt);
            }
            let before = located.stamp()?;
            copy(located, folder.path())?;
            let untouched = unchanged_since(located, begun_s - QUIET_S)? && located.stamp()? == before;
            if untouched || agrees(located, folder.path())? {
                return Ok(Self {
                    _folder: folder,
                    database,
                });
            }
        }
        Err(DbError::Busy {
            path: located.path.clone(),
            tries: TRIES,
        })
    }

    /// The copy of the main file; SQLite finds the others beside it.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }
}

/// Whether no part was changed at or after that second. The kernel sets the time of change at every write; that it is the
/// same after the copying as before says nothing about two writes within one tick of its clock, hence the distance.
fn unchanged_since(located: &Located, second: i64) -> Result<bool, DbError> {
    for name in located.parts() {
        let Some(part) = located.open_part(&name)? else {
            continue;
        };
        let changed_s = part
            .metadata()
            .map_err(|source| DbError::Open {
                path: located.part_path(&name),
                source,
            })?
            .ctime();
        if changed_s >= second {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Name of a part's copy: the same ending after another base.
fn copy_path(located: &Located, folder: &Path, name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let main = located.parts().into_iter().next().unwrap_or_default();
    let ending = name.strip_prefix(main.as_slice()).unwrap_or_default();
    let mut copy = std::ffi::OsString::from("rpmdb");
    copy.push(std::ffi::OsStr::from_bytes(ending));
    folder.join(copy)
}

fn copy(located: &Located, folder: &Path) -> Result<(), DbError> {
    for name in located.parts() {
        let path = copy_path(located, folder, &name);
        let scratch = |source| DbError::Scratch {
            path: path.clone(),
            source,
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(scratch(error)),
            _ => {}
        }
        let Some(source) = located.open_part(&name)? else {
            continue;
        };
        let found = source
            .metadata()
            .map_err(|source| DbError::Open {
                path: located.part_path(&name),
                source,
            })?
            .len();
        if found > MAX_DATABASE_BYTES {
            return Err(DbError::TooLarge {
                path: located.part_path(&name),
                found,
            });
        }
        let mut target = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(scratch)?;
        io::copy(&mut source.take(MAX_DATABASE_BYTES), &mut target).map_err(scratch)?;
    }
    Ok(())
}

fn agrees(located: &Located, folder: &Path) -> Result<bool, DbError> {
    for name in located.parts() {
        let path = copy_path(located, folder, &name);
        let copy = match File::open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(DbError::Scratch { path, source }),
        };
        let same = match (located.open_part(&name)?, copy) {
            (None, None) => true,
            (Some(original), Some(copy)) => same_bytes(original, copy).map_err(|source| DbError::Open {
                path: located.part_path(&name),
                source,
            })?,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(mut a: File, mut b: File) -> io::Result<bool> {
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let n_left = read_full(&mut a, &mut left)?;
        let n_right = read_full(&mut b, &mut right)?;
        if left.get(..n_left) != right.get(..n_right) {
            return Ok(false);
        }
        if n_left < CHUNK_BYTES {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Pages out of a file.
#[derive(Debug)]
pub(super) struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

impl PageSource for FileSource {
    type Error = io::Error;

    fn len_bytes(&self) -> u64 {
        self.len
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::super::locate::locate;
    use super::*;
    use crate::root::Root;

    #[test]
    fn a_fresh_write_to_any_part_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let rpm = folder.path().join("var/lib/rpm");
        std::fs::create_dir_all(&rpm).unwrap();
        std::fs::write(rpm.join("rpmdb.sqlite"), "SQLite format 3\0").unwrap();
        let located = locate(&Root::open(folder.path()).unwrap(), None).unwrap();
        let changed_s = |name: &str| std::fs::metadata(rpm.join(name)).unwrap().ctime();
        let begun_s = changed_s("rpmdb.sqlite");
        assert!(!unchanged_since(&located, begun_s - QUIET_S).unwrap());
        assert!(unchanged_since(&located, begun_s + QUIET_S).unwrap());
        std::fs::write(rpm.join("rpmdb.sqlite-wal"), "x").unwrap();
        assert!(!unchanged_since(&located, changed_s("rpmdb.sqlite-wal")).unwrap());
    }
}
