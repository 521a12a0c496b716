//! Which user and group numbers are known.
//!
//! Local files are asked first. On a running system the name service is asked for the rest, in a child with a time
//! limit: SSSD or LDAP may take their time. In an image only its files can be asked.

use std::collections::BTreeSet;

use hardpan_core::audit::parse::accounts;
use hardpan_rpm::root::Root;

use super::{files, tools};

/// Users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Database {
    /// passwd.
    Users,
    /// group.
    Groups,
}

/// Most numbers that are asked of the name service.
const ASK_MAX: usize = 2000;

/// Numbers in local files.
pub(super) fn local(root: &Root, which: Database) -> Result<BTreeSet<u32>, String> {
    let paths = match which {
        Database::Users => ["/etc/passwd", "/usr/lib/passwd"],
        Database::Groups => ["/etc/group", "/usr/lib/group"],
    };
    let mut known = BTreeSet::new();
    for path in paths {
        let text = files::text(root, path)
            .map_err(|why| format!("{path}: {why}"))?
            .unwrap_or_else(|| "".into());
        match which {
            Database::Users => known.extend(accounts::passwd(&text).entries.iter().map(|user| user.uid)),
            Database::Groups => known.extend(accounts::group(&text).entries.iter().map(|group| group.gid)),
        }
    }
    Ok(known)
}

/// Of these numbers, which local files do not know, those nobody knows; or why that cannot be told.
pub(super) fn unknown(
    root: &Root,
    live: bool,
    which: Database,
    rest: BTreeSet<u32>,
) -> Result<BTreeSet<u32>, String> {
    let database = match which {
        Database::Users => "passwd",
        Database::Groups => "group",
    };
    if rest.is_empty() {
        return Ok(rest);
    }
    let sources = sources(root, database)?;
    if sources
        .iter()
        .all(|source| matches!(source.as_str(), "files" | "compat" | "altfiles" | "systemd"))
    {
        return Ok(rest);
    }
    if !live {
        return Err(format!(
            "{database} entries may come from {}, which an image cannot ask",
            sources.join(" ")
        ));
    }
    if rest.len() > ASK_MAX {
        return Err(format!(
            "{} unknown numbers are too many to ask the name service",
            rest.len()
        ));
    }
    let numbers: Vec<String> = rest.iter().map(u32::to_string).collect();
    let mut args = vec![database];
    args.extend(numbers.iter().map(String::as_str));
    let answer = tools::run("getent", &args)?.ok_or_else(|| "getent is not installed".to_owned())?;
    // 0: all found, 2: some not found; anything else is no answer.
    if !matches!(answer.status, Some(0 | 2)) {
        return Err(format!("getent {database}: {}", answer.complaint));
    }
    let found: BTreeSet<u32> = answer
        .stdout
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    Ok(rest.difference(&found).copied().collect())
}

/// Sources of a database in nsswitch.conf.
fn sources(root: &Root, database: &str) -> Result<Vec<String>, String> {
    const PATH: &str = "/etc/nsswitch.conf";
    let text = files::text(root, PATH)
        .map_err(|why| format!("{PATH}: {why}"))?
        .unwrap_or_else(|| "".into());
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(database)?.trim_start().strip_prefix(':'));
    Ok(line
        .unwrap_or("files")
        .split_whitespace()
        .filter(|word| !word.starts_with('['))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_a_directory_service_cannot_tell() {
        let check = |nsswitch: &str, expected: Result<Vec<u32>, ()>| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("etc")).unwrap();
            std::fs::write(dir.path().join("etc/nsswitch.conf"), nsswitch).unwrap();
            let root = Root::open(dir.path()).unwrap();
            let found = unknown(&root, false, Database::Users, BTreeSet::from([1234]));
            assert_eq!(
                found.map(|set| set.into_iter().collect()).map_err(|_| ()),
                expected,
                "{nsswitch}"
            );
        };
        check("passwd: files systemd\n", Ok(vec![1234]));
        check("", Ok(vec![1234]));
        check("passwd:     sss files\n", Err(()));
    }

    #[test]
    fn local_files_are_known_and_must_be_readable() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(local(&root, Database::Users), Ok(BTreeSet::from([0])));
        assert_eq!(local(&root, Database::Groups), Ok(BTreeSet::new()));
        // Larger than any text that is read: not "no such user", but no answer.
        let file = std::fs::File::create(dir.path().join("etc/nsswitch.conf")).unwrap();
        file.set_len(64 << 20).unwrap();
        assert!(unknown(&root, false, Database::Users, BTreeSet::from([1234])).is_err());
    }
}
