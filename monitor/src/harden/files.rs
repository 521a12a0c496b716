//! Replaces files as a whole: mode, owner, SELinux label and other attributes stay, a crash leaves old or new.

use rustix::fs::XattrFlags;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file operation that failed.
#[derive(Debug, Error)]
pub enum FileError {
    /// Writing the new content beside the file.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Carrying over mode, owner or extended attributes.
    #[error("cannot carry over the attributes of {path}")]
    Attributes {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Making directories.
    #[error("cannot make the directory {path}")]
    MakeDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Removing a file.
    #[error("cannot remove {path}")]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Making a symbolic link.
    #[error("cannot link {path}")]
    Link {
        /// The link.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Changing mode or owner.
    #[error("cannot change mode or owner of {path}")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Largest set of extended attributes carried over; the kernel allows 64 KiB per value and per list.
const MAX_XATTR_BYTES: usize = 65_536;

/// Attributes that hold a digest or signature of the content.
const OF_THE_CONTENT: [&str; 2] = ["security.ima", "security.evm"];

/// Puts `content` in the place of `path` (already resolved), keeping its attributes; a new file gets mode 0644.
pub(super) fn replace(path: &Path, content: &str) -> Result<(), FileError> {
    let temporary = beside(path);
    let write = |source| FileError::Write {
        path: path.to_owned(),
        source,
    };
    let outcome = write_new(&temporary, content)
        .map_err(write)
        .and_then(|file| carry_over(path, &temporary, &file))
        .and_then(|()| fs::rename(&temporary, path).map_err(write))
        .and_then(|()| sync_directory(path).map_err(write));
    if outcome.is_err() {
        // The temporary file is ours; that it cannot be removed changes nothing about the error to report.
        drop(fs::remove_file(&temporary));
    }
    outcome
}

fn write_new(path: &Path, content: &str) -> io::Result<File> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(content.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Mode, owner and extended attributes of `from`, if it exists, onto the file `to`.
fn carry_over(from: &Path, to: &Path, file: &File) -> Result<(), FileError> {
    let failed = |source: io::Error| FileError::Attributes {
        path: from.to_owned(),
        source,
    };
    let metadata = match fs::metadata(from) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return file.sync_all().map_err(failed),
        Err(error) => return Err(failed(error)),
    };
    let new = file.metadata().map_err(failed)?;
    if (metadata.uid(), metadata.gid()) != (new.uid(), new.gid()) {
        chown(to, Some(metadata.uid()), Some(metadata.gid())).map_err(failed)?;
    }
    file.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))
        .map_err(failed)?;
    for (name, value) in attributes(from).map_err(failed)? {
        // They vouch for the content that was, and keep a file with other content from being opened under appraisal.
        // The kernel makes its own for the new content where the policy of IMA and EVM asks for that.
        if OF_THE_CONTENT.contains(&name.as_str()) {
            continue;
        }
        rustix::fs::fsetxattr(file, name.as_str(), &value, XattrFlags::empty())
            .map_err(|error| failed(error.into()))?;
    }
    file.sync_all().map_err(failed)
}

/// Mode, owner and extended attributes of a file, to be put back after somebody else wrote it anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    mode: u32,
    owner: (u32, u32),
    extended: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// Those of a file, links followed.
    pub(super) fn of(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Attributes {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::metadata(path).map_err(failed)?;
        let mut extended = attributes(path).map_err(failed)?;
        extended.retain(|(name, _)| !OF_THE_CONTENT.contains(&name.as_str()));
        Ok(Self {
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            extended,
        })
    }

    /// Gives a file these, where it has others.
    pub(super) fn put_back(&self, path: &Path) -> Result<(), FileError> {
        let now = Self::of(path)?;
        let failed = |source| FileError::Attributes {
            path: path.to_owned(),
            source,
        };
        if now.owner != self.owner {
            chown(path, Some(self.owner.0), Some(self.owner.1)).map_err(failed)?;
        }
        if now.mode != self.mode || now.owner != self.owner {
            fs::set_permissions(path, Permissions::from_mode(self.mode)).map_err(failed)?;
        }
        for (name, value) in self.extended.iter().filter(|pair| !now.extended.contains(pair)) {
            rustix::fs::lsetxattr(path, name.as_str(), value, XattrFlags::empty())
                .map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }
}

/// SELinux's label.
const LABEL: &str = "security.selinux";

/// The extended attributes of a file. None where the file system has no such thing.
fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0_u8; MAX_XATTR_BYTES];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names
        .get(..length)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        let mut value = vec![0_u8; MAX_XATTR_BYTES];
        let length = rustix::fs::lgetxattr(path, name, &mut value)?;
        value.truncate(length);
        found.push((name.to_owned(), value));
    }
    // A file system in memory leaves listing labels to the security module, which may not be there to do it.
    let mut label = vec![0_u8; MAX_XATTR_BYTES];
    if !found.iter().any(|(name, _)| name == LABEL)
        && let Ok(length) = rustix::fs::lgetxattr(path, LABEL, &mut label)
    {
        label.truncate(length);
        found.push((LABEL.to_owned(), label));
    }
    Ok(found)
}

/// Makes the missing directories above `path`; answers which, outermost first.
pub(super) fn make_parents(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .skip(1)
        .take_while(|above| !above.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    for directory in &missing {
        fs::create_dir(directory)
            .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o755)))
            .and_then(|()| sync_directory(directory))
            .map_err(|source| FileError::MakeDirectory {
                path: directory.clone(),
                source,
            })?;
    }
    Ok(missing)
}

/// Removes a file or link.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    fs::remove_file(path)
        .and_then(|()| sync_directory(path))
        .map_err(|source| FileError::Remove {
            path: path.to_owned(),
            source,
        })
}

/// Removes a directory that is empty; what others put there stays, and with it the directory.
pub(super) fn remove_directory(path: &Path) {
    drop(fs::remove_dir(path).and_then(|()| sync_directory(path)));
}

/// Points a link at `target`, in the place of a link that was there.
pub(super) fn relink(path: &Path, target: &str) -> Result<(), FileError> {
    let temporary = beside(path);
    let outcome = symlink(target, &temporary)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_directory(path));
    if outcome.is_err() {
        // Ours, as in `replace`.
        drop(fs::remove_file(&temporary));
    }
    outcome.map_err(|source| FileError::Link {
        path: path.to_owned(),
        source,
    })
}

/// Sets mode and owner, for good. A change of owner clears file capabilities: they are put back, those given here if
/// the file has none.
pub(super) fn set_mode(
    path: &Path,
    (mode, uid, gid): (u32, u32, u32),
    capability: Option<&[u8]>,
) -> Result<(), FileError> {
    let failed = |source| FileError::Mode {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    let kept = self::capability(path).map_err(failed)?;
    if (metadata.uid(), metadata.gid()) != (uid, gid) {
        chown(path, Some(uid), Some(gid)).map_err(failed)?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    if let Some(value) = kept.as_deref().or(capability) {
        rustix::fs::lsetxattr(path, CAPABILITY, value, XattrFlags::empty())
            .map_err(|error| failed(error.into()))?;
    }
    // The journal says next that it is done: by then it must be on the disk.
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}

/// Attribute with a file's capabilities.
const CAPABILITY: &str = "security.capability";

/// A file's capabilities, as the kernel keeps them.
pub(super) fn capability(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut value = [0_u8; 64];
    match rustix::fs::lgetxattr(path, CAPABILITY, &mut value) {
        Ok(length) => Ok(value.get(..length).map(<[u8]>::to_vec)),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes what a process that was killed left beside `path`: new content that was not yet moved into its place.
/// Nobody else writes there while the journal is locked.
pub(super) fn tidy(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let start = format!(".{}.hardpan-", name.to_string_lossy());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(&start)?.strip_suffix('~'));
        if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            // It stays if it cannot be removed; what matters is done all the same.
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// A name in the same directory that nobody else uses and that no `*.conf` pattern fits.
fn beside(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    path.with_file_name(format!(".{name}.hardpan-{}~", std::process::id()))
}

/// Makes a rename or removal last.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_keeps_mode_and_attributes() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("x.conf");
        fs::write(&path, "old\n").expect("file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("mode");
        let labelled = rustix::fs::lsetxattr(&path, "user.label", b"kept", XattrFlags::empty()).is_ok();
        replace(&path, "new\n").expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("file"), "new\n");
        assert_eq!(fs::metadata(&path).expect("metadata").mode() & 0o7777, 0o600);
        if labelled {
            let found = attributes(&path).expect("attributes");
            assert!(
                found.contains(&("user.label".to_owned(), b"kept".to_vec())),
                "{found:?}"
            );
        }
        let names: Vec<_> = fs::read_dir(directory.path()).expect("directory").collect();
        assert_eq!(names.len(), 1, "no temporary file stays");
    }

    /// On a file system in memory, which may not list the label; only root may set one.
    #[test]
    fn a_label_that_is_not_listed_is_found() {
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let path = directory.path().join("x.conf");
        fs::write(&path, "old\n").expect("file");
        let label = b"system_u:object_r:etc_t:s0\0";
        if rustix::fs::lsetxattr(&path, LABEL, label, XattrFlags::empty()).is_err() {
            return;
        }
        replace(&path, "new\n").expect("replaced");
        let found = attributes(&path).expect("attributes");
        assert!(found.contains(&(LABEL.to_owned(), label.to_vec())), "{found:?}");
    }
}
