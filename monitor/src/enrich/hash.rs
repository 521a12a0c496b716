//! SHA-256 of files in user space, where the kernel gave none.
//!
//! A digest is worth something only if it is of the file that ran: the file is opened by its inode (`/proc/PID/exe`),
//! compared with what the kernel reported, read, and compared again.

use super::identity::{Identity, file_info};
use hardpan_abi::FileInfo;
use hardpan_core::event::RawText;
use hardpan_core::verdict::NoDigest;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statfs::fstatfs;
use ring::digest::{Context, SHA256};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A file to hash.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Places where it may be found, best first.
    pub places: Vec<PathBuf>,
    /// What it must be. `None` where the kernel did not report the inode: then it must not have changed since.
    pub identity: Option<Identity>,
    /// When it was run, microseconds since 1970.
    pub at_us: i64,
}

/// A hashed file.
#[derive(Debug, Clone)]
pub struct Hashed {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// Its inode.
    pub info: FileInfo,
    /// Its path, without symbolic links, as this process sees it.
    pub path: Option<RawText>,
    /// Old enough that another change would show in its change time: the digest may be remembered.
    pub settled: bool,
}

/// A change within this time of the look could share its change time, whose clock ticks every few milliseconds.
const SETTLED_AFTER_S: i64 = 2;

/// Opens and hashes. Blocks; may take as long as the disk does.
pub fn hash(wanted: &Wanted, max_size_bytes: u64) -> Result<Hashed, NoDigest> {
    let mut reason = NoDigest::PathUnknown;
    for place in &wanted.places {
        match hash_at(place, wanted, max_size_bytes) {
            Ok(hashed) => return Ok(hashed),
            Err(why) => reason = worse(reason, why),
        }
    }
    Err(reason)
}

/// Of several failures the one that says most.
fn worse(old: NoDigest, new: NoDigest) -> NoDigest {
    let gone = matches!(old, NoDigest::ProcessGone) && !matches!(new, NoDigest::Unreadable { .. });
    if gone || matches!(old, NoDigest::PathUnknown) {
        new
    } else {
        old
    }
}

fn hash_at(place: &Path, wanted: &Wanted, max_size_bytes: u64) -> Result<Hashed, NoDigest> {
    // O_PATH first: opening a device or a FIFO for reading could wait or have effects of its own.
    let handle =
        open(place, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ESRCH => NoDigest::ProcessGone,
            errno => unreadable(errno),
        })?;
    let stat = fstat(&handle).map_err(unreadable)?;
    let fs_magic = fs_magic(&handle);
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(NoDigest::NotRegular);
    }
    let identity = Identity::of_stat(&stat, fs_magic);
    match &wanted.identity {
        Some(expected) if *expected != identity => return Err(NoDigest::FileChanged),
        None if changed_us(&stat) > wanted.at_us => return Err(NoDigest::FileChanged),
        _ => {}
    }
    if identity.size_bytes > max_size_bytes {
        return Err(NoDigest::TooLarge {
            size_bytes: identity.size_bytes,
        });
    }
    let itself = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let path = fs::read_link(&itself)
        .ok()
        .map(|path| RawText::new(path.as_os_str().as_bytes()));
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let file = File::from(open(&itself, flags, Mode::empty()).map_err(unreadable)?);
    let sha256 = read_all(&file, identity.size_bytes)?;
    let after = fstat(&file).map_err(unreadable)?;
    if Identity::of_stat(&after, fs_magic) != identity {
        return Err(NoDigest::FileChanged);
    }
    let now_s = super::clock::unix_us().unwrap_or(0) / 1_000_000;
    Ok(Hashed {
        sha256,
        info: file_info(&after, fs_magic),
        path,
        settled: identity.ctime_s.saturating_add(SETTLED_AFTER_S) < now_s,
    })
}

/// Hashes exactly the bytes that the inode claimed; more or less means that it changes.
fn read_all(file: &File, size_bytes: u64) -> Result<[u8; 32], NoDigest> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 << 10];
    let mut left = size_bytes;
    let mut limited = file.take(size_bytes.saturating_add(1));
    loop {
        let n = match limited.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(NoDigest::Unreadable {
                    errno: error.raw_os_error().unwrap_or(0),
                });
            }
        };
        let Some(bytes) = buffer.get(..n).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        left = left.checked_sub(n as u64).ok_or(NoDigest::FileChanged)?;
        context.update(bytes);
    }
    if left != 0 {
        return Err(NoDigest::FileChanged);
    }
    context
        .finish()
        .as_ref()
        .try_into()
        .map_err(|_not_32_bytes| NoDigest::Unreadable { errno: 0 })
}

fn fs_magic(handle: &OwnedFd) -> u64 {
    fstatfs(handle).map_or(0, |fs| u64::try_from(fs.filesystem_type().0).unwrap_or(0))
}

fn changed_us(stat: &FileStat) -> i64 {
    stat.st_ctime
        .saturating_mul(1_000_000)
        .saturating_add(stat.st_ctime_nsec / 1000)
}

fn unreadable(errno: Errno) -> NoDigest {
    NoDigest::Unreadable { errno: errno as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn wanted(place: &Path) -> Wanted {
        let stat = nix::sys::stat::stat(place).unwrap();
        let magic = u64::try_from(nix::sys::statfs::statfs(place).unwrap().filesystem_type().0).unwrap();
        Wanted {
            places: vec![place.to_owned()],
            identity: Some(Identity::of_stat(&stat, magic)),
            at_us: super::super::clock::unix_us().unwrap() + 1_000_000,
        }
    }

    fn file(dir: &Path, content: &[u8]) -> PathBuf {
        let path = dir.join("file");
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn the_very_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), b"abc");
        let hashed = hash(&wanted(&path), 1000).unwrap();
        assert_eq!(hex::encode(hashed.sha256), ABC);
        assert_eq!(hashed.info.size_bytes, 3);
        assert!(!hashed.settled, "made just now");
        assert_eq!(
            hashed.path.unwrap().as_bytes(),
            fs::canonicalize(&path).unwrap().as_os_str().as_bytes()
        );
    }

    #[test]
    fn through_links_and_after_a_place_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), b"abc");
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        let mut wanted = wanted(&path);
        wanted.places = vec![PathBuf::from("/proc/4194305/exe"), link];
        let hashed = hash(&wanted, 1000).unwrap();
        assert_eq!(
            hashed.path.unwrap().as_bytes(),
            fs::canonicalize(&path).unwrap().as_os_str().as_bytes()
        );
    }

    #[test]
    fn another_file_in_its_place_is_not_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), b"abc");
        let old = wanted(&path);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"abd").unwrap();
        assert_eq!(hash(&old, 1000).unwrap_err(), NoDigest::FileChanged);
        let mut unidentified = wanted(&path);
        unidentified.identity = None;
        assert!(hash(&unidentified, 1000).is_ok());
        unidentified.at_us = 0;
        assert_eq!(
            hash(&unidentified, 1000).unwrap_err(),
            NoDigest::FileChanged,
            "changed after it ran"
        );
    }

    #[test]
    fn what_is_not_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), b"abc");
        assert_eq!(
            hash(&wanted(&path), 2).unwrap_err(),
            NoDigest::TooLarge { size_bytes: 3 }
        );
        let nowhere = Wanted {
            places: vec![],
            identity: None,
            at_us: 0,
        };
        assert_eq!(hash(&nowhere, 1000).unwrap_err(), NoDigest::PathUnknown);
        let gone = Wanted {
            places: vec!["/proc/4194305/exe".into()],
            ..nowhere.clone()
        };
        assert_eq!(hash(&gone, 1000).unwrap_err(), NoDigest::ProcessGone);
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        for special in [fifo.as_path(), dir.path(), Path::new("/dev/tty")] {
            let place = Wanted {
                places: vec![special.to_owned()],
                ..nowhere.clone()
            };
            assert_eq!(
                hash(&place, 1000).unwrap_err(),
                NoDigest::NotRegular,
                "{}",
                special.display()
            );
        }
    }
}
