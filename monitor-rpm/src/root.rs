//! A directory tree that paths cannot leave: the running system's root or a mounted image.
//!
//! Symbolic links are resolved as the system inside would resolve them; absolute ones start at the root given here,
//! and `..` stops there. The kernel does it where it can (openat2 with RESOLVE_IN_ROOT, Linux 5.6); on EL 8 every
//! component is opened by itself and parents are kept as open descriptors, so that a rename meanwhile cannot lead
//! outside either.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Most symbolic links that one path may go through (the kernel's own limit).
const MAX_LINKS: usize = 40;
/// How often openat2 is tried when it says that a rename or mount came in between.
const MAX_RACES: usize = 8;

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It is.
    Follow,
    /// It is not: the link itself is meant.
    Keep,
}

/// An open root directory.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    /// Cleared when the kernel turns out to lack openat2, or a seccomp filter refuses it.
    has_openat2: AtomicBool,
}

impl Root {
    /// Opens a root directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
            has_openat2: AtomicBool::new(true),
        })
    }

    /// Where the root is in the file system of the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something inside, as the host would call it. For messages only: opening it could leave the root.
    pub fn display(&self, inside: &Path) -> PathBuf {
        self.path.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// Never use openat2, to test the walk on kernels that have it.
    #[cfg(test)]
    fn without_openat2(self) -> Self {
        self.has_openat2.store(false, Ordering::Relaxed);
        self
    }

    /// Opens what a path means, for fstat, readlink, or as the start of further openat calls (O_PATH).
    pub fn resolve(&self, inside: &Path, last: Last) -> io::Result<OwnedFd> {
        let inside = if inside.as_os_str().is_empty() {
            Path::new("/")
        } else {
            inside
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let flags = if last == Last::Keep {
            flags | OFlags::NOFOLLOW
        } else {
            flags
        };
        if self.has_openat2.load(Ordering::Relaxed) {
            for _ in 0..MAX_RACES {
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                match rustix::fs::openat2(&self.fd, inside, flags, Mode::empty(), resolve) {
                    Ok(fd) => return Ok(fd),
                    Err(Errno::AGAIN) => {}
                    Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                        self.has_openat2.store(false, Ordering::Relaxed);
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.walk(inside, last)
    }

    /// [`Root::resolve`] one component at a time.
    fn walk(&self, inside: &Path, last: Last) -> io::Result<OwnedFd> {
        use std::os::unix::ffi::OsStrExt;
        let mut todo: VecDeque<Vec<u8>> = components(inside.as_os_str().as_bytes()).collect();
        // Directories from below the root down to where we are; empty means the root itself.
        let mut parents: Vec<OwnedFd> = Vec::new();
        let mut n_links = 0;
        while let Some(name) = todo.pop_front() {
            if name == b".." {
                parents.pop();
                continue;
            }
            let here = parents.last().map_or_else(|| self.fd.as_fd(), AsFd::as_fd);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(here, name.as_slice(), flags, Mode::empty())?;
            let is_link = is_link(&rustix::fs::fstat(&fd)?);
            if is_link && (last == Last::Follow || !todo.is_empty()) {
                n_links += 1;
                if n_links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = rustix::fs::readlinkat(&fd, "", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    parents.clear();
                }
                for part in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    todo.push_front(part);
                }
                continue;
            }
            parents.push(fd);
        }
        match parents.pop() {
            Some(fd) => Ok(fd),
            None => Ok(self.fd.try_clone()?),
        }
    }

    /// Facts about what a path means; a link at its end is not followed.
    pub fn lstat(&self, inside: &Path) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.resolve(inside, Last::Keep)?)?)
    }

    /// Opens a directory for reading entries or as the start of further calls.
    pub fn open_dir(&self, inside: &Path) -> io::Result<Dir> {
        let fd = self.resolve(inside, Last::Follow)?;
        Dir::from_path_fd(fd.as_fd())
    }

    /// Opens a regular file for reading, following links inside the root.
    pub fn open_file(&self, inside: &Path) -> io::Result<File> {
        let fd = self.resolve(inside, Last::Follow)?;
        reopen_regular(fd.as_fd())
    }
}

/// The names in a path, without empty ones and `.`.
fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
}

fn is_link(stat: &Stat) -> bool {
    stat.st_mode & 0o170_000 == 0o120_000
}

/// Opens for reading what an O_PATH descriptor stands for. Only regular files: opening a device or a FIFO can block
/// or have effects.
fn reopen_regular(fd: BorrowedFd<'_>) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    if rustix::fs::fstat(fd)?.st_mode & 0o170_000 != 0o100_000 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::openat(CWD, name, flags, Mode::empty())?))
}

/// An open directory, for many lookups in it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl Dir {
    fn from_path_fd(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            fd: rustix::fs::openat(fd, ".", flags, Mode::empty())?,
        })
    }

    /// Facts about an entry; links are not followed.
    pub fn lstat(&self, name: &[u8]) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens an entry that is a regular file, never through a link. NONBLOCK, so that a FIFO put there meanwhile
    /// cannot hold us.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// Opens an entry that is a directory, never through a link.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self {
            fd: rustix::fs::openat(&self.fd, name, flags, Mode::empty())?,
        })
    }

    /// Target of a symbolic link.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, name, Vec::new())?.into_bytes())
    }

    /// Names of the entries, sorted, without `.` and `..`.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root with a file, links that stay inside, and links that try to leave; and a secret beside the root.
    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("usr/bin")).unwrap();
        std::fs::write(root.join("usr/bin/tool"), "inside").unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("/usr/bin/tool", root.join("absolute")).unwrap();
        symlink("../../../../usr/bin/tool", root.join("up")).unwrap();
        symlink("../secret", root.join("escape")).unwrap();
        symlink(folder.path().join("secret"), root.join("escape-absolute")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        folder
    }

    #[test]
    fn links_stay_inside_with_and_without_openat2() {
        let folder = tree();
        let path = folder.path().join("root");
        for root in [
            Root::open(&path).unwrap(),
            Root::open(&path).unwrap().without_openat2(),
        ] {
            let check = |inside: &str, expected: Result<&str, Errno>| {
                let found = root.open_file(Path::new(inside)).map(|mut file| {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    text
                });
                match (found, expected) {
                    (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{inside}"),
                    (Err(error), Err(expected)) => {
                        assert_eq!(error.raw_os_error(), Some(expected.raw_os_error()), "{inside}");
                    }
                    (found, expected) => panic!("{inside}: {found:?}, expected {expected:?}"),
                }
            };
            check("/usr/bin/tool", Ok("inside"));
            check("usr//bin/./tool", Ok("inside"));
            check("/bin/tool", Ok("inside"));
            check("/absolute", Ok("inside"));
            check("/up", Ok("inside"));
            check("/bin/../../../usr/bin/tool", Ok("inside"));
            check("/escape", Err(Errno::NOENT));
            check("/escape-absolute", Err(Errno::NOENT));
            check("/../secret", Err(Errno::NOENT));
            check("/loop", Err(Errno::LOOP));
            check("/usr/bin/tool/x", Err(Errno::NOTDIR));
            assert!(is_link(&root.lstat(Path::new("/loop")).unwrap()));
            assert!(!is_link(&root.lstat(Path::new("/bin/tool")).unwrap()));
            assert_eq!(
                root.open_dir(Path::new("/bin")).unwrap().names().unwrap(),
                [b"tool"]
            );
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tree();
        let root = Root::open(folder.path()).unwrap();
        assert!(root.open_file(Path::new("root")).is_err());
        let dir = root.open_dir(Path::new("root")).unwrap();
        assert_eq!(
            dir.open_file(b"absolute").unwrap_err().raw_os_error(),
            Some(Errno::LOOP.raw_os_error())
        );
        assert_eq!(dir.read_link(b"absolute").unwrap(), b"/usr/bin/tool");
    }
}
