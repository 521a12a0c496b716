//! Readers of rpm databases: SQLite (EL 9, EL 10) and BerkeleyDB (EL 8).
//!
//! The database files are copied into a private place first, and compared with the originals until both agree; all
//! reading happens on the copy. So no lock is taken, nothing in the database's directory is created or changed, and
//! rpm can work at the same time.

pub mod bdb;
mod error;
mod locate;
mod snapshot;
mod sqlite;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub use error::DbError;
pub use locate::{DEFAULT_DBPATHS, Located, locate};
use snapshot::Snapshot;

use crate::root::Root;

/// Largest database that is read, 4 GiB: many times the largest ones in use.
pub const MAX_DATABASE_BYTES: u64 = 4 << 30;

/// How a database stores its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// BerkeleyDB hash, version 9.
    Bdb,
    /// SQLite 3.
    Sqlite,
}

impl Backend {
    /// rpm's name (`%_db_backend`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bdb => "bdb",
            Self::Sqlite => "sqlite",
        }
    }
}

/// A header's number and bytes, or why it cannot be read.
pub type Record = Result<(u32, Vec<u8>), DbError>;

/// Takes the records of a walk, and says whether it goes on.
pub type Visit<'a> = dyn FnMut(Record) -> ControlFlow<()> + 'a;

/// An rpm database, open as a private copy.
#[derive(Debug)]
pub struct RpmDb {
    path: PathBuf,
    backend: Backend,
    stamp: String,
    transaction_running: bool,
    ignored: Vec<PathBuf>,
    snapshot: Snapshot,
}

impl RpmDb {
    /// Finds the database of a system and copies it. `dbpath` is a directory inside the root (or the database file
    /// itself); `scratch` is where the copy goes, by default the directory for temporary files.
    pub fn open(root: &Root, dbpath: Option<&Path>, scratch: Option<&Path>) -> Result<Self, DbError> {
        Self::open_located(locate(root, dbpath)?, scratch)
    }

    /// Copies a database that is given as a file.
    pub fn open_file(path: &Path, scratch: Option<&Path>) -> Result<Self, DbError> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."));
        let open = |source| DbError::Open {
            path: path.to_owned(),
            source,
        };
        let name = path
            .file_name()
            .ok_or_else(|| open(std::io::ErrorKind::InvalidInput.into()))?;
        let root = Root::open(folder).map_err(open)?;
        Self::open(&root, Some(Path::new(name)), scratch)
    }

    fn open_located(located: Located, scratch: Option<&Path>) -> Result<Self, DbError> {
        let stamp = located.stamp()?;
        let transaction_running = located.transaction_running();
        let snapshot = Snapshot::take(&located, scratch)?;
        Ok(Self {
            path: located.path,
            backend: located.backend,
            stamp,
            transaction_running,
            ignored: located.ignored,
            snapshot,
        })
    }

    /// The original file, as the host names it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it stores headers.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Identity, sizes and times of the original files before they were copied. An equal stamp later means that the
    /// database has not changed.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    /// Whether rpm held its transaction lock when the copy was begun: the answers may be those of a moment between
    /// two packages. (Only asked, never taken.)
    pub fn transaction_running(&self) -> bool {
        self.transaction_running
    }

    /// Other databases beside or instead of the one that was read, which rpm may or may not use.
    pub fn ignored(&self) -> &[PathBuf] {
        &self.ignored
    }

    /// Calls `visit` with each header's number and bytes, or with the error in its place: the walk goes on after a
    /// record that cannot be read. An error of the whole means that nothing, or not everything, was visited.
    pub fn for_each(&self, visit: &mut Visit<'_>) -> Result<(), DbError> {
        match self.backend {
            Backend::Sqlite => sqlite::for_each(&self.path, self.snapshot.database(), visit),
            Backend::Bdb => {
                let source =
                    snapshot::FileSource::open(self.snapshot.database()).map_err(|source| DbError::Open {
                        path: self.path.clone(),
                        source,
                    })?;
                let records = bdb::Records::open(source).map_err(|error| self.bdb_error(error))?;
                for record in records {
                    if visit(record.map_err(|error| self.bdb_error(error))).is_break() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn bdb_error(&self, error: bdb::BdbError<std::io::Error>) -> DbError {
        let path = self.path.clone();
        match error {
            bdb::BdbError::Corrupt { offset, problem, .. } => DbError::Corrupt {
                path,
                offset,
                problem,
            },
            bdb::BdbError::Encrypted => DbError::Encrypted { path },
            bdb::BdbError::HashVersion { found } => DbError::Backend {
                path,
                backend: format!("BerkeleyDB hash version {found}"),
            },
            bdb::BdbError::NotHash => DbError::Backend {
                path,
                backend: "BerkeleyDB, but not a hash".to_owned(),
            },
            bdb::BdbError::Read { source, .. } => DbError::Open { path, source },
            bdb::BdbError::Truncated { expected, found } => DbError::Truncated {
                path,
                expected,
                found,
            },
        }
    }
}

#[cfg(test)]
mod tests;
