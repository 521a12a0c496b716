//! Names of users and groups, from the files of the system that is verified: on a mounted image the host's names say
//! nothing.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use crate::root::Root;

/// Most bytes read of one file.
const MAX_BYTES: u64 = 16 << 20;

/// One name space: users or groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    by_number: HashMap<u32, Vec<u8>>,
    by_name: HashMap<Vec<u8>, u32>,
}

impl Names {
    /// Reads lines of `name:x:number:…`; the first line for a name or number counts, as it does for libc.
    pub(super) fn parse(&mut self, text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n') {
            let mut fields = line.split(|&byte| byte == b':');
            let (Some(name), Some(_), Some(number)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let number = std::str::from_utf8(number)
                .ok()
                .and_then(|number| number.parse().ok());
            let Some(number) = number.filter(|_| !name.is_empty() && !name.starts_with(b"#")) else {
                continue;
            };
            self.by_number.entry(number).or_insert_with(|| name.to_vec());
            self.by_name.entry(name.to_vec()).or_insert(number);
        }
    }

    /// Reads the files that exist; 0 is root even where there are none.
    fn read(root: &Root, paths: &[&str]) -> Self {
        let mut names = Self::default();
        for path in paths {
            let mut text = Vec::new();
            let Ok(file) = root.open_file(Path::new(path)) else {
                continue;
            };
            if file.take(MAX_BYTES).read_to_end(&mut text).is_ok() {
                names.parse(&text);
            }
        }
        names.parse(b"root:x:0:");
        names
    }

    /// Whether this number is what the name means.
    pub(super) fn agrees(&self, name: &[u8], number: u32) -> bool {
        self.by_name.get(name) == Some(&number)
            || self.by_number.get(&number).is_some_and(|known| known == name)
    }

    /// The name of a number, or the number itself.
    pub(super) fn show(&self, number: u32) -> String {
        match self.by_number.get(&number) {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => number.to_string(),
        }
    }
}

/// Users and groups of a system.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    pub(super) users: Names,
    pub(super) groups: Names,
}

impl Accounts {
    /// Reads `/etc`, then what image-based systems have in `/usr/lib`.
    pub(super) fn read(root: &Root) -> Self {
        Self {
            users: Names::read(root, &["/etc/passwd", "/usr/lib/passwd"]),
            groups: Names::read(root, &["/etc/group", "/usr/lib/group"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let mut names = Names::default();
        names.parse(b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n#bin:x:1:\nbroken\n:x:2:\nx:x:y:\nmail:x:8:12\n");
        let check = |name: &str, number: u32, expected: bool| {
            assert_eq!(names.agrees(name.as_bytes(), number), expected, "{name} {number}");
        };
        check("root", 0, true);
        check("toor", 0, true);
        check("mail", 8, true);
        check("mail", 0, false);
        check("bin", 1, false);
        check("", 2, false);
        check("absent", 99, false);
        assert_eq!(names.show(8), "mail");
        assert_eq!(names.show(99), "99");
    }

    #[test]
    fn the_files_of_the_root_count() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), "app:x:777:777::/:/bin/false\n").unwrap();
        let accounts = Accounts::read(&Root::open(folder.path()).unwrap());
        assert!(accounts.users.agrees(b"app", 777));
        assert!(accounts.users.agrees(b"root", 0) && accounts.groups.agrees(b"root", 0));
    }
}
