//! A directory that is treated as `/`: symbolic links in it, absolute ones too, never lead out of it.

use hardpan_core::policy::harden::{Host, Stat};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// Longest file that is read as text.
const MAX_TEXT_BYTES: u64 = 4 << 20;
/// Most links followed in one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// A root that cannot be used.
#[derive(Debug, Error)]
pub enum RootError {
    /// It is not there, or not a directory.
    #[error("cannot use {path} as root: not a directory")]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// Links go round in circles.
    #[error("cannot follow {path}: more than {MAX_LINKS} symbolic links")]
    Loop {
        /// The path within the root.
        path: String,
    },
}

/// A host's root directory.
#[derive(Debug, Clone)]
pub struct Root {
    directory: PathBuf,
    live: bool,
}

impl Root {
    /// The running host, or an image below a directory.
    pub fn new(directory: &Path) -> Result<Self, RootError> {
        Self::with_liveness(directory, directory == Path::new("/"))
    }

    /// The same with the caller's word on whether /proc and /sys below it are those of the running system.
    pub fn with_liveness(directory: &Path, live: bool) -> Result<Self, RootError> {
        if !directory.is_dir() {
            return Err(RootError::NotADirectory {
                path: directory.to_owned(),
            });
        }
        Ok(Self {
            directory: directory.to_owned(),
            live,
        })
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// True for `/` itself, not for a test's idea of a live host.
    pub fn is_real(&self) -> bool {
        self.directory == Path::new("/")
    }

    /// Where `path` (absolute within the root) really lies, links followed, the last component too.
    /// Components that do not exist are kept as they are.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, RootError> {
        self.walk(path, true)
    }

    /// The same without following the last component.
    pub fn resolve_parent(&self, path: &str) -> Result<PathBuf, RootError> {
        self.walk(path, false)
    }

    fn walk(&self, path: &str, follow_last: bool) -> Result<PathBuf, RootError> {
        let mut todo: Vec<std::ffi::OsString> = components(Path::new(path));
        let mut within = PathBuf::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                within.pop();
                continue;
            }
            let here = self.directory.join(&within).join(&name);
            let is_last = todo.is_empty();
            let link = if is_last && !follow_last {
                None
            } else {
                fs::read_link(&here).ok()
            };
            let Some(target) = link else {
                within.push(name);
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(RootError::Loop {
                    path: path.to_owned(),
                });
            }
            if target.is_absolute() {
                within.clear();
            }
            todo.extend(components(&target));
        }
        Ok(self.directory.join(within))
    }
}

/// The components of a path, the first one last.
fn components(path: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<std::ffi::OsString> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect();
    names.reverse();
    names
}

impl Host for Root {
    fn read(&self, path: &str) -> Option<String> {
        let file = fs::File::open(self.resolve(path).ok()?).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        // /proc files have size 0, so the limit is on what is read.
        let read = file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).ok()?;
        if read as u64 > MAX_TEXT_BYTES {
            return None;
        }
        String::from_utf8(bytes).ok()
    }

    fn list(&self, path: &str) -> Vec<String> {
        let Some(entries) = self.resolve(path).ok().and_then(|path| fs::read_dir(path).ok()) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .take(10_000)
            .collect();
        names.sort();
        names
    }

    fn stat(&self, path: &str) -> Option<Stat> {
        let path = self.resolve(path).ok()?;
        let metadata = fs::metadata(&path).ok()?;
        let mut capability = [0_u8; 64];
        let has_capabilities = rustix::fs::lgetxattr(&path, "security.capability", &mut capability).is_ok();
        Some(Stat {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            has_capabilities,
            is_file: metadata.is_file(),
        })
    }

    fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.resolve_parent(path).ok()?).ok()?;
        target.into_os_string().into_string().ok()
    }

    fn is_live(&self) -> bool {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_within_the_root() {
        let directory = tempfile::tempdir().expect("directory");
        let at = |path: &str| directory.path().join(path);
        fs::create_dir_all(at("etc/real")).expect("directories");
        fs::write(at("etc/real/file"), "inside\n").expect("file");
        symlink("/etc/real", at("etc/absolute")).expect("link");
        symlink("../../../../etc/real/file", at("etc/climbing")).expect("link");
        symlink("loop", at("etc/loop")).expect("link");
        let root = Root::new(directory.path()).expect("root");
        assert_eq!(root.read("/etc/absolute/file").as_deref(), Some("inside\n"));
        assert_eq!(root.read("/etc/climbing").as_deref(), Some("inside\n"));
        assert!(matches!(root.resolve("/etc/loop"), Err(RootError::Loop { .. })));
        assert_eq!(root.resolve("/../../x").ok(), Some(at("x")));
        assert_eq!(root.link("/etc/absolute").as_deref(), Some("/etc/real"));
        assert_eq!(root.list("/etc/absolute"), ["file"]);
        assert!(root.read("/etc/real").is_none(), "a directory is no text");
    }
}
