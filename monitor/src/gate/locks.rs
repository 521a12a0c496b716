//! Who holds the lock by which rpm keeps other transactions out.

use super::fallback::read_most;
use super::protect::key_of;
use crate::config::Trust;
use hardpan_abi::FileKey;
use hardpan_rpm::db::DEFAULT_DBPATHS;
use nix::sys::stat::{major, minor};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The lock file in the folder of a package database.
const LOCK: &str = ".rpm.lock";
/// Most that is read of `/proc/locks`.
const MAX_BYTES: u64 = 1 << 20;

/// Where this system's package database may be.
fn folders(trust: &Trust) -> Vec<PathBuf> {
    let usual = || DEFAULT_DBPATHS.iter().map(PathBuf::from).collect();
    let folders: Vec<PathBuf> = trust.dbpath.clone().map_or_else(usual, |path| vec![path]);
    folders
        .iter()
        .map(|folder| trust.root.join(folder.strip_prefix("/").unwrap_or(folder)))
        .collect()
}

/// The same as the kernel side knows them.
pub(crate) fn folder_keys(trust: &Trust) -> [FileKey; 2] {
    let mut keys = [FileKey::NONE; 2];
    let found = folders(trust).into_iter().filter_map(|folder| key_of(&folder));
    for (key, found) in keys.iter_mut().zip(found) {
        *key = found;
    }
    keys
}

/// Ids of the processes that hold the lock of this system's package database for writing.
pub(crate) fn holders(trust: &Trust) -> BTreeSet<u32> {
    let places: BTreeSet<String> = folders(trust)
        .iter()
        .filter_map(|folder| place(&folder.join(LOCK)))
        .collect();
    let locks = || read_most(Path::new("/proc/locks"), MAX_BYTES).unwrap_or_default();
    if places.is_empty() {
        return BTreeSet::new();
    }
    locks()
        .lines()
        .filter_map(writer)
        .filter(|(_, place)| places.contains(*place))
        .map(|(pid, _)| pid)
        .collect()
}

/// A file as `/proc/locks` names it. With a second name it could be the lock of another database.
fn place(lock: &Path) -> Option<String> {
    let meta = fs::metadata(lock).ok()?;
    let (major, minor) = (major(meta.dev()), minor(meta.dev()));
    (meta.is_file() && meta.nlink() == 1).then(|| format!("{major:02x}:{minor:02x}:{}", meta.ino()))
}

/// Holder and place of a lock for writing, from a line of `/proc/locks`.
fn writer(line: &str) -> Option<(u32, &str)> {
    // 1: POSIX  ADVISORY  WRITE 712 08:02:131 0 EOF; who waits has "->" in front.
    let mut fields = line.split_whitespace().skip(1);
    let (kind, _strength, access) = (fields.next()?, fields.next()?, fields.next()?);
    if kind != "POSIX" || access != "WRITE" {
        return None;
    }
    // Of another PID namespace: 0.
    let pid = fields.next()?.parse().ok().filter(|pid| *pid > 1)?;
    Some((pid, fields.next()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Config;

    /// Takes the lock as rpm does, until the file is closed.
    pub(crate) fn take(lock: &fs::File) {
        let whole = nix::libc::flock {
            l_type: i16::try_from(nix::libc::F_WRLCK).unwrap(),
            l_whence: 0,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        nix::fcntl::fcntl(lock, nix::fcntl::FcntlArg::F_SETLK(&whole)).unwrap();
    }

    #[test]
    fn only_locks_for_writing_count() {
        assert_eq!(
            writer("1: POSIX  ADVISORY  WRITE 712 08:02:131 0 EOF"),
            Some((712, "08:02:131"))
        );
        for line in [
            "1: -> POSIX  ADVISORY  WRITE 712 08:02:131 0 EOF",
            "2: FLOCK  ADVISORY  WRITE 712 08:02:131 0 EOF",
            "3: POSIX  ADVISORY  READ 712 08:02:131 0 EOF",
            "4: LEASE  ACTIVE    READ 712 08:02:131 0 EOF",
            "5: POSIX  ADVISORY  WRITE -1 08:02:131 0 EOF",
            "6: POSIX  ADVISORY  WRITE 0 08:02:131 0 EOF",
            "7: OFDLCK ADVISORY  WRITE 712 08:02:131 0 EOF",
            "8: POSIX  ADVISORY  WRITE 712",
            "",
            "x",
        ] {
            assert_eq!(writer(line), None, "{line}");
        }
    }

    #[test]
    fn the_systems_lock_is_found_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("var/lib/rpm");
        fs::create_dir_all(&folder).unwrap();
        let trust = Trust {
            root: dir.path().to_owned(),
            ..Config::default().trust
        };
        assert!(holders(&trust).is_empty(), "no lock file");
        let [none, here] = folder_keys(&trust);
        assert_eq!(
            (none.ino, here),
            (fs::metadata(&folder).unwrap().ino(), FileKey::NONE)
        );
        let lock = folder.join(LOCK);
        let file = fs::File::create(&lock).unwrap();
        assert!(holders(&trust).is_empty(), "nobody holds it");
        take(&file);
        if !fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.contains("POSIX")) {
            return println!("skipped: no list of locks here");
        }
        assert_eq!(holders(&trust), BTreeSet::from([std::process::id()]));
        let elsewhere = Trust {
            dbpath: Some("/tmp/x".into()),
            ..trust.clone()
        };
        assert!(holders(&elsewhere).is_empty());
        fs::hard_link(&lock, dir.path().join("other")).unwrap();
        assert!(holders(&trust).is_empty(), "the lock of two databases");
    }
}
