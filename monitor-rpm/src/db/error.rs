use std::io;
use std::path::PathBuf;

/// Why an rpm database cannot be read. [`DbError::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// A database of a kind that EL does not use.
    #[error("{}: the back end is {backend}, which is not read; EL uses bdb or sqlite", path.display())]
    Backend {
        /// The file.
        path: PathBuf,
        /// The back end's name.
        backend: String,
    },
    /// The database changed faster than it could be copied.
    #[error("{}: changed during each of {tries} attempts to copy it", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// How often it was tried.
        tries: u32,
    },
    /// Pages contradict each other.
    #[error("{}: damaged at offset {offset:#x}: {problem}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Encrypted BerkeleyDB.
    #[error("{}: encrypted or checksummed BerkeleyDB, which rpm never writes", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// No database in any of the usual places.
    #[error("no rpm database below {}: looked in {}", root.display(), list(tried))]
    Missing {
        /// The root directory.
        root: PathBuf,
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// A file or directory cannot be opened or read.
    #[error("{}: cannot be read", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The private copy cannot be written.
    #[error("{}: cannot hold a copy of the database", path.display())]
    Scratch {
        /// Directory or file of the copy.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// SQLite cannot read the file.
    #[error("{}: SQLite cannot read it", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// An SQLite file that is not rpm's.
    #[error("{}: SQLite file without rpm's table: {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// More than [`super::MAX_DATABASE_BYTES`].
    #[error("{}: {found} bytes, more than any rpm database", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        found: u64,
    },
    /// The file ends before its own metadata says.
    #[error("{}: truncated at offset {found:#x}, {expected} bytes expected", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes expected.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// Not a database at all.
    #[error("{}: unknown format, it starts with {found}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The first bytes, hexadecimal.
        found: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

impl DbError {
    /// What an administrator can do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Backend { .. } => "convert it with `rpmdb --rebuilddb` on the system it belongs to",
            Self::Busy { .. } => "a package transaction is running; it is tried again when rpm has finished",
            Self::Corrupt { .. } | Self::Encrypted { .. } | Self::Truncated { .. } => {
                "check it with `rpmdb --verifydb`; restore it from a backup, or rebuild it with `rpmdb --rebuilddb`"
            }
            Self::Missing { .. } => "give the directory with --dbpath, or the mounted system with --root",
            Self::Open { .. } => "root privileges, or CAP_DAC_READ_SEARCH, may be needed",
            Self::Scratch { .. } => "free space as large as the database is needed there",
            Self::Sqlite { .. } => {
                "check it with `rpmdb --verifydb`; an interrupted transaction is repaired by the next rpm run as root"
            }
            Self::Table { .. } | Self::UnknownFormat { .. } => {
                "this is no rpm database; give its directory with --dbpath"
            }
            Self::TooLarge { .. } => "compare it with `rpm -qa | wc -l`; rebuild it with `rpmdb --rebuilddb`",
        }
    }

    /// Whether trying again later can help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}
