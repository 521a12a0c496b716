//! Names of users, from `/etc/passwd` alone.
//!
//! The name service switch is not asked: a directory server that does not answer would stop the records of the whole
//! host. Users that are only in such a directory have no name in records; their number is always there.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Largest passwd file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// User names by number.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    stamp: Option<Stamp>,
    names: HashMap<u32, String>,
}

/// What changes when the file does.
type Stamp = (u64, u64, i64, i64, u64);

impl Users {
    /// Reads the file below a root directory.
    pub fn below(root: &Path) -> Self {
        let mut users = Self {
            path: root.join("etc/passwd"),
            stamp: None,
            names: HashMap::new(),
        };
        users.refresh();
        users
    }

    /// Reads the file again if it has changed. A file that cannot be read leaves the names as they are.
    pub fn refresh(&mut self) {
        let Ok(meta) = fs::metadata(&self.path) else {
            return;
        };
        let stamp = stamp(&meta);
        if self.stamp == Some(stamp) || !meta.is_file() || meta.len() > MAX_FILE_BYTES {
            return;
        }
        if let Ok(bytes) = fs::read(&self.path) {
            self.names = parse(&String::from_utf8_lossy(&bytes));
            self.stamp = Some(stamp);
        }
    }

    /// Name of a user.
    pub fn name(&self, uid: u32) -> Option<String> {
        self.names.get(&uid).cloned()
    }
}

fn stamp(meta: &Metadata) -> Stamp {
    (
        meta.dev(),
        meta.ino(),
        meta.ctime(),
        meta.ctime_nsec(),
        meta.len(),
    )
}

/// The first name of each number counts, as it does for the C library.
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok()));
        if let (Some(name), Some(uid)) = (name.filter(|name| !name.is_empty()), uid) {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_changes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let mut users = Users::below(dir.path());
        assert_eq!(users.name(0), None, "no file");
        let passwd = dir.path().join("etc/passwd");
        fs::write(
            &passwd,
            "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n#c\nbad:x:y:0\n:x:5:\n",
        )
        .unwrap();
        users.refresh();
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!((users.name(5), users.name(7)), (None, None));
        fs::write(&passwd, "alice:x:1000:1000::/home/alice:/bin/bash\n").unwrap();
        users.refresh();
        assert_eq!(
            (users.name(0), users.name(1000).as_deref()),
            (None, Some("alice"))
        );
        fs::remove_file(&passwd).unwrap();
        users.refresh();
        assert_eq!(
            users.name(1000).as_deref(),
            Some("alice"),
            "an unreadable file changes nothing"
        );
    }
}
