//! Has the package database changed? By looking at its files' attributes, never by opening them: closing one would
//! drop rpm's locks if this process ever held it for another reason.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Usual directories of the database: EL 8 and 9, EL 10. (tidy: table)
const DIRS: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
/// Files that change with it.
const FILES: [&str; 3] = ["rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages"];

/// Attributes of the database's files at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseStamp {
    files: Vec<(PathBuf, Attributes)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attributes {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl DatabaseStamp {
    /// Looks at the files in `dbpath` inside `root`, or in the usual directories.
    pub fn of(root: &Path, dbpath: Option<&Path>) -> Self {
        let dirs: Vec<PathBuf> = match dbpath {
            Some(dir) => vec![root.join(dir.strip_prefix("/").unwrap_or(dir))],
            None => DIRS.iter().map(|dir| root.join(dir)).collect(),
        };
        let mut files = Vec::new();
        for path in dirs
            .iter()
            .flat_map(|dir| FILES.iter().map(|file| dir.join(file)))
        {
            if let Ok(meta) = fs::metadata(&path) {
                files.push((
                    path,
                    Attributes {
                        dev: meta.dev(),
                        ino: meta.ino(),
                        size: meta.size(),
                        mtime: (meta.mtime(), meta.mtime_nsec()),
                        ctime: (meta.ctime(), meta.ctime_nsec()),
                    },
                ));
            }
        }
        Self { files }
    }

    /// No database was found.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_show() {
        let root = tempfile::tempdir().unwrap();
        let stamp = || DatabaseStamp::of(root.path(), None);
        assert!(stamp().is_empty());
        let dir = root.path().join("var/lib/rpm");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("rpmdb.sqlite"), "1").unwrap();
        let first = stamp();
        assert_eq!(first, stamp());
        fs::write(dir.join("rpmdb.sqlite-wal"), "2").unwrap();
        let second = stamp();
        assert_ne!(first, second);
        fs::write(dir.join("rpmdb.sqlite"), "12").unwrap();
        assert_ne!(second, stamp());
        assert_eq!(
            DatabaseStamp::of(root.path(), Some(Path::new("/var/lib/rpm"))),
            stamp()
        );
        assert!(DatabaseStamp::of(root.path(), Some(Path::new("/elsewhere"))).is_empty());
    }
}
