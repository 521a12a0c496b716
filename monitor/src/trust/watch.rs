//! Has anything changed that trust depends on? By looking at files' attributes, never by opening them: closing a file
//! of the database would drop rpm's locks if this process ever held it for another reason.

use super::manifest::MANIFEST_DIR;
use crate::config::Trust;
use crate::crypto::LedgerFile;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Usual directories of the database: EL 8 and 9, EL 10. (tidy: table)
const DIRS: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
/// Files that change with it.
const FILES: [&str; 3] = ["rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages"];
/// Entries of a directory that are looked at, at most.
const MAX_ENTRIES: usize = 1000;

/// Attributes of the database's files, of pins, keys and manifests at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
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

impl From<Metadata> for Attributes {
    fn from(meta: Metadata) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Stamp {
    /// Looks at everything.
    pub fn of(config: &Trust) -> Self {
        let mut stamp = Self::of_database(&config.root, config.dbpath.as_deref());
        let state = &config.state_dir;
        for place in config.pins.iter().chain(&config.keyring) {
            stamp.add_all(place);
        }
        stamp.add_all(&state.join(MANIFEST_DIR));
        stamp.add(state.join(LedgerFile::NAME));
        stamp
    }

    /// Looks at the database's files in `dbpath` inside `root`, or in the usual directories.
    fn of_database(root: &Path, dbpath: Option<&Path>) -> Self {
        let dirs: Vec<PathBuf> = match dbpath {
            Some(dir) => vec![root.join(dir.strip_prefix("/").unwrap_or(dir))],
            None => DIRS.iter().map(|dir| root.join(dir)).collect(),
        };
        let mut stamp = Self { files: Vec::new() };
        for path in dirs
            .iter()
            .flat_map(|dir| FILES.iter().map(|file| dir.join(file)))
        {
            stamp.add(path);
        }
        stamp
    }

    fn add(&mut self, path: PathBuf) {
        if let Ok(meta) = fs::metadata(&path) {
            self.files.push((path, meta.into()));
        }
    }

    /// A file, or the files of a directory.
    fn add_all(&mut self, place: &Path) {
        let Ok(entries) = fs::read_dir(place) else {
            return self.add(place.to_owned());
        };
        let mut paths: Vec<PathBuf> = entries
            .take(MAX_ENTRIES)
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        paths.sort();
        for path in paths {
            self.add(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn changes_show() {
        let root = tempfile::tempdir().unwrap();
        let stamp = || Stamp::of_database(root.path(), None);
        assert!(stamp().files.is_empty());
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
        let same = Stamp::of_database(root.path(), Some(Path::new("/var/lib/rpm")));
        assert_eq!(same, stamp());
        let none = Stamp::of_database(root.path(), Some(Path::new("/elsewhere")));
        assert!(none.files.is_empty());
    }

    #[test]
    fn pins_keys_and_manifests_count() {
        let dir = tempfile::tempdir().unwrap();
        let config = Trust {
            root: dir.path().to_owned(),
            state_dir: dir.path().join("state"),
            pins: vec![dir.path().join("keys.d")],
            keyring: vec![dir.path().join("rpm-gpg"), dir.path().join("one-key")],
            ..Config::default().trust
        };
        let mut last = Stamp::of(&config);
        for file in [
            "keys.d/site.toml",
            "rpm-gpg/RPM-GPG-KEY-site",
            "one-key",
            "state/manifests/tools.hpm",
            "state/serials.json",
            "keys.d/site.toml",
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let more = fs::read_to_string(&path).unwrap_or_default() + "more";
            fs::write(&path, more).unwrap();
            let now = Stamp::of(&config);
            assert_ne!(now, last, "{file}");
            last = now;
        }
        fs::remove_file(dir.path().join("state/manifests/tools.hpm")).unwrap();
        assert_ne!(Stamp::of(&config), last);
    }
}
