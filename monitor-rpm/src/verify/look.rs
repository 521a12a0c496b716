//! Looking at files: the IO of a verification.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Advice, Stat, fadvise, fgetxattr};

use super::caps::FileCaps;
use super::compare::{Content, ContentDigest, Facts, Properties, wanted};
use super::job::Job;
use super::users::Accounts;
use crate::crypto::Hasher;
use crate::digest::{Digest, DigestAlgorithm};
use crate::root::{Dir, Last, Root};

const TYPE_MASK: u32 = 0o170_000;
const CHUNK_BYTES: usize = 128 * 1024;
/// Open directories that one thread keeps.
const MAX_OPEN_DIRS: usize = 64;
/// `security.capability` is 24 bytes at most.
const MAX_CAPS_BYTES: usize = 64;

/// Counters that a progress display can watch while a verification runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files found in the packages so far.
    pub files_known: AtomicU64,
    /// Files looked at.
    pub files_done: AtomicU64,
    /// Bytes hashed.
    pub bytes_hashed: AtomicU64,
    /// Hard links that needed no hashing, since another name of the same file had been hashed.
    pub links_skipped: AtomicU64,
}

/// Device and inode of a file with several names, and the algorithm it was hashed with.
type LinkKey = (u64, u64, DigestAlgorithm);

/// What all threads share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) root: &'a Root,
    pub(super) accounts: &'a Accounts,
    pub(super) progress: &'a Progress,
    /// Digests of files with more than one name.
    pub(super) links: Mutex<HashMap<LinkKey, (Digest, u64)>>,
    pub(super) compare_digests: bool,
    pub(super) drop_cache: bool,
}

/// What a look at one file showed.
#[derive(Debug)]
pub(super) enum Look {
    /// It is not there.
    Missing,
    /// It, or a directory on the way, cannot be looked at.
    Failed(io::Error),
    /// It is there: what it is, what was read, and what is to be compared.
    There {
        facts: Facts,
        content: Content,
        wanted: Properties,
    },
}

/// One thread's view.
#[derive(Debug)]
pub(super) struct Looker<'a> {
    shared: &'a Shared<'a>,
    dirs: HashMap<Vec<u8>, io::Result<Dir>>,
    buffer: Vec<u8>,
}

fn facts(stat: &Stat) -> Facts {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Facts {
        mode: stat.st_mode,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime: u64::try_from(stat.st_mtime).unwrap_or_default(),
        user: stat.st_uid,
        group: stat.st_gid,
        // The low 16 bits of the kernel's encoding, which is what rpm keeps.
        rdev: u64::from((major << 8 | minor & 0xff) & 0xffff),
    }
}

/// An error that can be handed out again and again.
fn same_error(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl<'a> Looker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Self {
        Self {
            shared,
            dirs: HashMap::new(),
            buffer: vec![0; CHUNK_BYTES],
        }
    }

    /// Looks at a file, and reads of it what is to be compared.
    pub(super) fn look(&mut self, job: &Job) -> Look {
        if !self.dirs.contains_key(job.dir()) {
            if self.dirs.len() >= MAX_OPEN_DIRS {
                self.dirs.clear();
            }
            let dir = self.shared.root.open_dir(Path::new(OsStr::from_bytes(job.dir())));
            self.dirs.insert(job.dir().to_vec(), dir);
        }
        let result = match self.dirs.get(job.dir()) {
            Some(Ok(dir)) => look_in(self.shared, &mut self.buffer, dir, job),
            Some(Err(error)) => Err(same_error(error)),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        self.shared.progress.files_done.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(look) => look,
            Err(error) if is_absent(&error) => Look::Missing,
            Err(error) => Look::Failed(error),
        }
    }
}

fn look_in(shared: &Shared<'_>, buffer: &mut [u8], dir: &Dir, job: &Job) -> io::Result<Look> {
    let name = if job.name().is_empty() { b"." } else { job.name() };
    let mut stat = dir.lstat(name)?;
    if job.mode & TYPE_MASK == 0o040_000 && stat.st_mode & TYPE_MASK == 0o120_000 {
        stat = follow_to_directory(shared, job, stat);
    }
    let mut facts = facts(&stat);
    let mut wanted = wanted(job, &facts);
    if !shared.compare_digests {
        wanted.remove(Properties::DIGEST);
    }
    let mut content = Content::default();
    if wanted.has(Properties::LINK) {
        content.link_to = dir.read_link(name).ok();
    }
    let hashed = wanted.has(Properties::DIGEST) && job.digest.is_some();
    if hashed && facts.size != job.size {
        // Other content for sure. Reading it would only serve who put a huge sparse file there.
        content.digest = ContentDigest::OtherSize;
    }
    let read_content = hashed && facts.size == job.size;
    if read_content || wanted.has(Properties::CAPS) {
        match dir.open_file(name) {
            Ok(file) => {
                if wanted.has(Properties::CAPS) {
                    match read_caps(&file) {
                        Ok(caps) => content.caps = caps,
                        Err(_unsupported) => wanted.remove(Properties::CAPS),
                    }
                }
                if read_content && let Some(expected) = &job.digest {
                    content.digest = match digest(shared, buffer, file, &stat, expected.algorithm()) {
                        Ok((digest, len)) => {
                            facts.size = len;
                            ContentDigest::Found(digest)
                        }
                        Err(error) => ContentDigest::Failed(error.to_string()),
                    };
                }
            }
            Err(error) => {
                wanted.remove(Properties::CAPS);
                if read_content {
                    content.digest = ContentDigest::Failed(error.to_string());
                }
            }
        }
    }
    Ok(Look::There {
        facts,
        content,
        wanted,
    })
}

/// Where the package has a directory and the system a link to one, rpm accepts that if root or the directory's own
/// user made the link.
fn follow_to_directory(shared: &Shared<'_>, job: &Job, link: Stat) -> Stat {
    let path = job.path();
    let target = shared
        .root
        .resolve(Path::new(OsStr::from_bytes(&path)), Last::Follow)
        .and_then(|fd| Ok(rustix::fs::fstat(fd)?));
    match target {
        Ok(target)
            if target.st_mode & TYPE_MASK == 0o040_000
                && (link.st_uid == 0 || shared.accounts.users.agrees(job.user(), link.st_uid)) =>
        {
            target
        }
        _ => link,
    }
}

fn read_caps(file: &File) -> io::Result<FileCaps> {
    let mut bytes = [0; MAX_CAPS_BYTES];
    match fgetxattr(file, "security.capability", &mut bytes) {
        Ok(len) => {
            let caps = bytes.get(..len).and_then(FileCaps::from_xattr);
            caps.ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        Err(rustix::io::Errno::NODATA) => Ok(FileCaps::default()),
        Err(error) => Err(error.into()),
    }
}

/// Digest and length of a file; names of one file share the work.
fn digest(
    shared: &Shared<'_>,
    buffer: &mut [u8],
    file: File,
    stat: &Stat,
    algorithm: DigestAlgorithm,
) -> io::Result<(Digest, u64)> {
    let key = (stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino, algorithm));
    if let Some(key) = key {
        let links = shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = links.get(&key) {
            shared.progress.links_skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(*known);
        }
    }
    let found = hash_file(shared, buffer, file, stat, algorithm)?;
    if let Some(key) = key {
        shared
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, found);
    }
    Ok(found)
}

fn hash_file(
    shared: &Shared<'_>,
    buffer: &mut [u8],
    mut file: File,
    stat: &Stat,
    algorithm: DigestAlgorithm,
) -> io::Result<(Digest, u64)> {
    let limit = u64::try_from(stat.st_size).unwrap_or_default();
    if limit > CHUNK_BYTES as u64 {
        // Only advice: where it is refused, reading works all the same.
        fadvise(&file, 0, None, Advice::Sequential).ok();
    }
    let unsupported = |_error| io::Error::from(io::ErrorKind::Unsupported);
    let mut hasher = Hasher::new(algorithm).map_err(unsupported)?;
    let mut len = 0_u64;
    loop {
        let n = match file.read(buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(buffer.get(..n).unwrap_or_default());
        len += n as u64;
        // A file that grows while it is read differs already.
        if len > limit {
            break;
        }
    }
    shared.progress.bytes_hashed.fetch_add(len, Ordering::Relaxed);
    if shared.drop_cache {
        fadvise(&file, 0, NonZeroU64::new(len), Advice::DontNeed).ok();
    }
    let digest = hasher
        .finish(algorithm)
        .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    Ok((digest, len))
}
