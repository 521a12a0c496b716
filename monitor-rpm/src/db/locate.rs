//! Where a system's rpm database is, and what kind it is.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::{Backend, DbError};
use crate::root::{Dir, Root};

/// Where rpm keeps its database: EL 10 (and new systems), then EL 8 and 9 (and systems upgraded in place).
pub const DEFAULT_DBPATHS: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];

/// Names that the back ends give their file, in the order in which they are looked for: a system that was upgraded
/// can have the older ones left over.
const FILE_NAMES: [&str; 3] = ["rpmdb.sqlite", "Packages", "Packages.db"];

/// A database that was found and recognised.
#[derive(Debug)]
pub struct Located {
    /// The file, as the host names it.
    pub path: PathBuf,
    /// What kind it is, by its content.
    pub backend: Backend,
    /// Other databases that were found and not taken.
    pub ignored: Vec<PathBuf>,
    dir: Dir,
    name: Vec<u8>,
}

/// Finds the database below a root. Symbolic links are followed inside the root only.
pub fn locate(root: &Root, dbpath: Option<&Path>) -> Result<Located, DbError> {
    let candidates: Vec<PathBuf> = match dbpath {
        Some(path) => vec![path.to_owned()],
        None => DEFAULT_DBPATHS.iter().map(PathBuf::from).collect(),
    };
    let mut found: Option<(PathBuf, Dir, Vec<u8>)> = None;
    let mut ignored = Vec::new();
    // EL 10 links the old directory to the new one: the same file must not count as another database.
    let mut seen: Vec<(u64, u64)> = Vec::new();
    for candidate in &candidates {
        let Some(Place { folder, names }) = place(root, candidate, dbpath.is_some())? else {
            continue;
        };
        for name in names {
            let path = root.display(&folder).join(OsStr::from_bytes(&name));
            let dir = match root.open_dir(&folder) {
                Ok(dir) => dir,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => {
                    return Err(DbError::Open {
                        path: root.display(&folder),
                        source,
                    });
                }
            };
            let file = match dir.open_file(&name) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(DbError::Open { path, source }),
            };
            let facts = file.metadata().map_err(|source| DbError::Open {
                path: path.clone(),
                source,
            })?;
            if seen.contains(&(facts.dev(), facts.ino())) {
                continue;
            }
            seen.push((facts.dev(), facts.ino()));
            if found.is_some() {
                ignored.push(path);
            } else {
                found = Some((path, dir, name));
            }
        }
    }
    let Some((path, dir, name)) = found else {
        let tried = candidates
            .iter()
            .map(|candidate| root.display(candidate))
            .collect();
        return Err(DbError::Missing {
            root: root.path().to_owned(),
            tried,
        });
    };
    let mut file = dir.open_file(&name).map_err(|source| DbError::Open {
        path: path.clone(),
        source,
    })?;
    let backend = recognise(&mut file, &path)?;
    Ok(Located {
        path,
        backend,
        ignored,
        dir,
        name,
    })
}

/// The directory to look in, and the names to look for there.
struct Place {
    folder: PathBuf,
    names: Vec<Vec<u8>>,
}

/// Where to look for one candidate; a `dbpath` may name the file itself.
fn place(root: &Root, candidate: &Path, given: bool) -> Result<Option<Place>, DbError> {
    match root.open_file(candidate) {
        Ok(_) if given => {
            let folder = candidate.parent().unwrap_or_else(|| Path::new("/")).to_owned();
            let name = candidate.file_name().unwrap_or_default().as_bytes().to_vec();
            Ok(Some(Place {
                folder,
                names: vec![name],
            }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(DbError::Open {
            path: root.display(candidate),
            source: error,
        }),
        _ => Ok(Some(Place {
            folder: candidate.to_owned(),
            names: FILE_NAMES.iter().map(|name| name.as_bytes().to_vec()).collect(),
        })),
    }
}

/// Tells the back end by the first bytes of the file.
fn recognise(file: &mut File, path: &Path) -> Result<Backend, DbError> {
    let mut first = Vec::with_capacity(512);
    file.take(512)
        .read_to_end(&mut first)
        .map_err(|source| DbError::Open {
            path: path.to_owned(),
            source,
        })?;
    let foreign = |backend: &str| DbError::Backend {
        path: path.to_owned(),
        backend: backend.to_owned(),
    };
    if first.starts_with(b"SQLite format 3\0") {
        return Ok(Backend::Sqlite);
    }
    if first.starts_with(b"RpmP") {
        return Err(foreign("ndb"));
    }
    let magic = |at: usize| -> Option<[u8; 4]> { first.get(at..at + 4)?.try_into().ok() };
    match magic(12).map(|bytes| (u32::from_le_bytes(bytes), u32::from_be_bytes(bytes))) {
        Some((0x0006_1561, _) | (_, 0x0006_1561)) => return Ok(Backend::Bdb),
        Some((0x0005_3162, _) | (_, 0x0005_3162)) => return Err(foreign("BerkeleyDB btree")),
        _ => {}
    }
    if magic(16).is_some_and(|bytes| u32::from_le_bytes(bytes) == 0xbeef_c0de) {
        return Err(foreign("lmdb"));
    }
    if first.len() < 512 {
        return Err(DbError::Truncated {
            path: path.to_owned(),
            expected: 512,
            found: first.len() as u64,
        });
    }
    let found = hex::encode(first.get(..16).unwrap_or_default());
    Err(DbError::UnknownFormat {
        path: path.to_owned(),
        found,
    })
}

impl Located {
    /// The files that make up the database: the first always, the others if they exist.
    pub(super) fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![self.name.clone()];
        if self.backend == Backend::Sqlite {
            parts.push([&self.name[..], b"-wal"].concat());
            parts.push([&self.name[..], b"-journal"].concat());
        }
        parts
    }

    /// Opens one part; `None` if it does not exist.
    pub(super) fn open_part(&self, name: &[u8]) -> Result<Option<File>, DbError> {
        match self.dir.open_file(name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && name != self.name => Ok(None),
            Err(source) => Err(DbError::Open {
                path: self.part_path(name),
                source,
            }),
        }
    }

    /// Path of a part, for messages.
    pub(super) fn part_path(&self, name: &[u8]) -> PathBuf {
        self.path.with_file_name(OsStr::from_bytes(name))
    }

    /// Identity, sizes and times of all parts; see [`super::RpmDb::stamp`].
    pub fn stamp(&self) -> Result<String, DbError> {
        let mut stamp = self.backend.name().to_owned();
        for name in self.parts() {
            let Some(file) = self.open_part(&name)? else {
                stamp.push_str(" -");
                continue;
            };
            let facts = file.metadata().map_err(|source| DbError::Open {
                path: self.part_path(&name),
                source,
            })?;
            let written = write!(
                stamp,
                " {}:{}:{}:{}.{:09}:{}.{:09}",
                facts.dev(),
                facts.ino(),
                facts.size(),
                facts.mtime(),
                facts.mtime_nsec(),
                facts.ctime(),
                facts.ctime_nsec()
            );
            debug_assert!(written.is_ok(), "writing to a String");
        }
        Ok(stamp)
    }

    /// Whether some process holds rpm's transaction lock. Asks without taking it.
    pub(super) fn transaction_running(&self) -> bool {
        let Ok(lock) = self.dir.open_file(b".rpm.lock") else {
            return false;
        };
        matches!(
            fcntl_getlk(&lock, &Flock::from(FlockType::WriteLock)),
            Ok(Some(_))
        )
    }
}
