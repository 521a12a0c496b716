//! Which files the policy's patterns name.

use super::devices::{Mount, kernel_device, mounts};
use hardpan_abi::FileKey;
use hardpan_core::policy::rule::Glob;
use nix::sys::stat::{major, minor};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Directory entries that one look visits, at most.
const VISITED: usize = 100_000;
/// Directories within one another.
const DEPTH: usize = 32;

/// What a look found.
#[derive(Debug, Default)]
pub struct Found {
    /// Regular files, by what the kernel knows them by, with the path by which they were found.
    pub files: BTreeMap<FileKey, PathBuf>,
    /// Some were not looked at: there are too many entries.
    pub cut_short: bool,
}

/// Looks for the files, but not where looking would mount something (as binfmt_misc is). A link at the end of a path is followed, so that it is the file that is protected; links to
/// directories are not walked.
pub fn find(root: &Path, patterns: &[String], mounts: &[Mount]) -> Found {
    let mut found = Found::default();
    let mut left = VISITED;
    for glob in patterns.iter().filter_map(|text| Glob::new(text)) {
        let inside = Path::new(glob.as_str())
            .strip_prefix("/")
            .unwrap_or_else(|_| Path::new(""));
        if glob.is_literal() {
            if mount_of(Path::new(glob.as_str()), mounts).is_none_or(|mount| !mount.is_automount) {
                add(&root.join(inside), glob.as_str(), mounts, &mut found);
            }
            continue;
        }
        // The directories in front of the first wildcard are known by name.
        let fixed: PathBuf = inside
            .components()
            .take_while(|part| {
                !part
                    .as_os_str()
                    .as_encoded_bytes()
                    .iter()
                    .any(|byte| b"*?".contains(byte))
            })
            .collect();
        let depth = if glob.as_str().contains("**") {
            DEPTH
        } else {
            inside.components().count() - fixed.components().count()
        };
        walk(root, &fixed, &glob, depth, mounts, &mut left, &mut found);
    }
    found.cut_short = left == 0;
    found
}

fn walk(
    root: &Path,
    dir: &Path,
    glob: &Glob,
    depth: usize,
    mounts: &[Mount],
    left: &mut usize,
    found: &mut Found,
) {
    for entry in fs::read_dir(root.join(dir)).into_iter().flatten().flatten() {
        *left = left.saturating_sub(1);
        if *left == 0 {
            return;
        }
        let below = dir.join(entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if depth > 1 {
                walk(root, &below, glob, depth - 1, mounts, left, found);
            }
            continue;
        }
        // What is no UTF-8 fits no pattern.
        let path = format!("/{}", below.display());
        if below.to_str().is_some() && glob.matches(&path) {
            add(&entry.path(), &path, mounts, found);
        }
    }
}

fn add(file: &Path, path: &str, mounts: &[Mount], found: &mut Found) {
    let Ok(meta) = fs::metadata(file) else { return };
    if meta.is_file() {
        let key = FileKey {
            ino: meta.ino(),
            dev: device_of(file, &meta, mounts),
            reserved: 0,
        };
        found.files.entry(key).or_insert_with(|| PathBuf::from(path));
    }
}

/// The root directory of this process: the host's.
pub fn root_key() -> FileKey {
    key_of(Path::new("/")).unwrap_or(FileKey::NONE)
}

/// A file or folder as the kernel side knows it.
pub(super) fn key_of(place: &Path) -> Option<FileKey> {
    let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let meta = fs::metadata(place).ok()?;
    Some(FileKey {
        ino: meta.ino(),
        dev: device_of(place, &meta, &mounts(&mountinfo)),
        reserved: 0,
    })
}

/// The device as the kernel's inode has it. Where `stat` tells a made-up one (subvolumes of btrfs do), the mount tells.
fn device_of(file: &Path, meta: &fs::Metadata, mounts: &[Mount]) -> u32 {
    let told = kernel_device(major(meta.dev()), minor(meta.dev()));
    if major(meta.dev()) != 0 {
        return told;
    }
    let Ok(real) = fs::canonicalize(file) else {
        return told;
    };
    mount_of(&real, mounts).map_or(told, |mount| mount.device)
}

/// The mount that a path is in: of two at one place the later one is seen.
fn mount_of<'m>(path: &Path, mounts: &'m [Mount]) -> Option<&'m Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[track_caller]
    fn check(patterns: &[&str], expected: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "etc/shadow",
            "etc/pam.d/sshd",
            "etc/pam.d/deep/no",
            "etc/hardpan/a/b/c.toml",
            "srv/real",
        ] {
            let file = dir.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "x").unwrap();
        }
        symlink(dir.path().join("srv/real"), dir.path().join("etc/link")).unwrap();
        symlink(dir.path().join("srv"), dir.path().join("etc/hardpan/elsewhere")).unwrap();
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        let found = find(dir.path(), &patterns, &[]);
        let mut paths: Vec<_> = found.files.values().map(|path| path.to_str().unwrap()).collect();
        paths.sort_unstable();
        assert_eq!(paths, expected);
        assert!(!found.cut_short);
    }

    #[test]
    fn patterns_name_files() {
        check(&["/etc/shadow", "/etc/gone"], &["/etc/shadow"]);
        check(&["/etc/pam.d/*"], &["/etc/pam.d/sshd"]);
        check(&["/etc/hardpan/**"], &["/etc/hardpan/a/b/c.toml"]);
        check(&["/etc/*/sshd"], &["/etc/pam.d/sshd"]);
        // The file behind a link, once, by the first name.
        check(&["/etc/link", "/srv/*"], &["/etc/link"]);
        check(&["relative", "/etc"], &[]);
    }

    #[test]
    fn nothing_is_mounted_by_looking() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("register"), "x").unwrap();
        let mount = |point: &str, is_automount| Mount {
            device: 1,
            point: point.into(),
            source: "none".into(),
            is_automount,
        };
        let count = |mounts: &[Mount]| find(dir.path(), &["/register".to_owned()], mounts).files.len();
        assert_eq!(count(&[mount("/", false)]), 1);
        assert_eq!(count(&[mount("/", false), mount("/register", true)]), 0);
        // Mounted over it since.
        let both = [mount("/register", true), mount("/register", false)];
        assert_eq!(count(&both), 1);
    }

    #[test]
    fn a_made_up_device_is_looked_up_in_the_mounts() {
        let mount = |device, point: &str| Mount {
            device,
            point: point.into(),
            source: "none".into(),
            is_automount: false,
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let meta = fs::metadata(&file).unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        let mounts = [
            mount(1, "/"),
            mount(2, real.to_str().unwrap()),
            mount(3, "/nowhere"),
        ];
        let told = kernel_device(major(meta.dev()), minor(meta.dev()));
        let expected = if major(meta.dev()) == 0 { 2 } else { told };
        assert_eq!(device_of(&file, &meta, &mounts), expected);
    }
}
