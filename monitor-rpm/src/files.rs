//! The file list of a package, read from one part of a header.

use crate::digest::{Digest, DigestAlgorithm};
use crate::header::{Ints, Strings, TagError, View, tag};

/// Longest path of a directory, as the kernel's PATH_MAX.
const MAX_PATH_BYTES: usize = 4096;

/// Flags of a file (rpm: rpmfileAttrs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileFlags(
    /// rpm's bits.
    pub u32,
);

impl FileFlags {
    /// `%config`.
    pub const fn is_config(self) -> bool {
        self.0 & 1 != 0
    }
    /// `%doc`.
    pub const fn is_doc(self) -> bool {
        self.0 & 2 != 0
    }
    /// `%config(missingok)`: may be absent.
    pub const fn is_missing_ok(self) -> bool {
        self.0 & 8 != 0
    }
    /// `%config(noreplace)`.
    pub const fn is_noreplace(self) -> bool {
        self.0 & 16 != 0
    }
    /// `%ghost`: owned, but not in the payload.
    pub const fn is_ghost(self) -> bool {
        self.0 & 64 != 0
    }
    /// `%license`.
    pub const fn is_license(self) -> bool {
        self.0 & 128 != 0
    }
    /// `%readme`.
    pub const fn is_readme(self) -> bool {
        self.0 & 256 != 0
    }
    /// `%artifact`.
    pub const fn is_artifact(self) -> bool {
        self.0 & 4096 != 0
    }
}

/// One file of a package.
#[derive(Clone, Copy, Debug)]
pub struct FileEntry<'a> {
    /// Directory, with a slash at its end.
    pub dir: &'a [u8],
    /// Name in the directory; empty for the directory `/` itself.
    pub name: &'a [u8],
    /// Digest of the content; `None` for anything but regular files, and for `%ghost`.
    pub digest: Option<Digest>,
    /// Size in bytes.
    pub size: u64,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u64,
    /// Name of the owner.
    pub user: &'a [u8],
    /// Name of the group.
    pub group: &'a [u8],
    /// `%config`, `%doc`, …
    pub flags: FileFlags,
    /// Which properties a verification compares (rpm: rpmVerifyAttrs); all bits set if the package does not say.
    pub verify_flags: u32,
    /// Target of a symbolic link, else empty.
    pub link_to: &'a [u8],
    /// Device number of a device file, in rpm's 16-bit form.
    pub rdev: u64,
    /// Capabilities in the textual form of cap_to_text(3), if any.
    pub caps: Option<&'a [u8]>,
    /// ELF class: 0 none, 1 is 32 bits, 2 is 64 bits; other bits for MIPS and such.
    pub color: u32,
    /// Kind of file as libmagic named it at build time; empty if the package does not say.
    pub class: &'a [u8],
    /// Inode number at build time: files of one package with the same number are hard links to each other.
    pub inode: u64,
}

impl FileEntry<'_> {
    /// Full path.
    pub fn path(&self) -> Vec<u8> {
        [self.dir, self.name].concat()
    }

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

/// Why a header's file list is refused. A header whose tables do not fit each other could make two readers see two
/// different lists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// A digest is not hexadecimal of the algorithm's length.
    #[error("file {index}: digest is not a {algorithm} digest")]
    BadDigest {
        /// Position in the list.
        index: usize,
        /// Algorithm that the header states.
        algorithm: DigestAlgorithm,
    },
    /// A file name has a slash, NUL, or is `.` or `..`; or a directory is not absolute or has such a part.
    #[error("file {index}: path {path:?} is not a clean path")]
    BadPath {
        /// Position in the list.
        index: usize,
        /// The path, lossily as text.
        path: String,
    },
    /// An index points outside its table.
    #[error("file {index}: {} is {found}, but the table has {available}", tag::TagName(*tag))]
    BadIndex {
        /// Position in the list.
        index: usize,
        /// The indexing tag.
        tag: u32,
        /// The index.
        found: u64,
        /// Entries of the table.
        available: usize,
    },
    /// A table has not one element for each file.
    #[error("{} has {found} elements for {expected} files", tag::TagName(*tag))]
    Count {
        /// The table.
        tag: u32,
        /// Files in the list.
        expected: usize,
        /// Elements in the table.
        found: usize,
    },
    /// FILEDIGESTALGO names no algorithm that is known.
    #[error("FILEDIGESTALGO is {0}, which is no known algorithm")]
    UnknownAlgorithm(u64),
    /// A package of rpm 3 with full names in one tag.
    #[error("OLDFILENAMES: packages of rpm 3 are not supported")]
    OldFileNames,
    /// A tag has the wrong type.
    #[error("wrong type of tag")]
    Type(#[source] TagError),
}

/// A checked file list: all tables fit each other.
#[derive(Clone, Debug)]
pub(crate) struct FileTable {
    n_files: usize,
    algorithm: DigestAlgorithm,
}

impl FileTable {
    /// Checks the tables of a header part.
    pub(crate) fn check(view: View<'_>) -> Result<Self, FilesError> {
        let typed = FilesError::Type;
        if view.has(tag::OLDFILENAMES) {
            return Err(FilesError::OldFileNames);
        }
        let n_files = view.count(tag::BASENAMES);
        let algorithm = match view.int(tag::FILEDIGESTALGO).map_err(typed)? {
            None => DigestAlgorithm::Md5,
            Some(number) => {
                DigestAlgorithm::from_number(number).ok_or(FilesError::UnknownAlgorithm(number))?
            }
        };
        let table = Self { n_files, algorithm };
        table.check_counts(view)?;
        Self::check_types(view).map_err(typed)?;
        Self::check_indexes(view)?;
        table.check_values(view)?;
        Ok(table)
    }

    fn check_counts(&self, view: View<'_>) -> Result<(), FilesError> {
        let expected = self.n_files;
        let check = |tag: u32, needed: bool| match view.count(tag) {
            0 if !needed => Ok(()),
            found if found == expected => Ok(()),
            found => Err(FilesError::Count { tag, expected, found }),
        };
        let present = expected > 0;
        for tag in [
            tag::DIRINDEXES,
            tag::FILEMODES,
            tag::FILEUSERNAME,
            tag::FILEGROUPNAME,
            tag::FILEMTIMES,
        ] {
            check(tag, present)?;
        }
        check(tag::FILESIZES, present && !view.has(tag::LONGFILESIZES))?;
        for tag in [
            tag::LONGFILESIZES,
            tag::FILEDIGESTS,
            tag::FILELINKTOS,
            tag::FILEFLAGS,
            tag::FILEVERIFYFLAGS,
            tag::FILERDEVS,
            tag::FILEINODES,
            tag::FILECAPS,
            tag::FILECOLORS,
            tag::FILECLASS,
        ] {
            check(tag, false)?;
        }
        Ok(())
    }

    fn check_types(view: View<'_>) -> Result<(), TagError> {
        for tag in [
            tag::BASENAMES,
            tag::DIRNAMES,
            tag::FILEDIGESTS,
            tag::FILELINKTOS,
            tag::FILEUSERNAME,
            tag::FILEGROUPNAME,
            tag::FILECAPS,
            tag::CLASSDICT,
        ] {
            view.strings(tag)?;
        }
        for tag in [
            tag::DIRINDEXES,
            tag::FILESIZES,
            tag::LONGFILESIZES,
            tag::FILEMODES,
            tag::FILEMTIMES,
            tag::FILEFLAGS,
            tag::FILEVERIFYFLAGS,
            tag::FILERDEVS,
            tag::FILEINODES,
            tag::FILECOLORS,
            tag::FILECLASS,
        ] {
            view.ints(tag)?;
        }
        Ok(())
    }

    fn check_indexes(view: View<'_>) -> Result<(), FilesError> {
        for (tag, available) in [
            (tag::DIRINDEXES, view.count(tag::DIRNAMES)),
            (tag::FILECLASS, view.count(tag::CLASSDICT)),
        ] {
            for (index, found) in view.ints(tag).map_err(FilesError::Type)?.enumerate() {
                if usize::try_from(found).map_or(true, |found| found >= available) {
                    return Err(FilesError::BadIndex {
                        index,
                        tag,
                        found,
                        available,
                    });
                }
            }
        }
        Ok(())
    }

    fn check_values(&self, view: View<'_>) -> Result<(), FilesError> {
        for (index, digits) in view
            .strings(tag::FILEDIGESTS)
            .map_err(FilesError::Type)?
            .enumerate()
        {
            if !digits.is_empty() && Digest::from_hex(self.algorithm, digits).is_none() {
                return Err(FilesError::BadDigest {
                    index,
                    algorithm: self.algorithm,
                });
            }
        }
        let bad_path = |index: usize, path: &[u8]| FilesError::BadPath {
            index,
            path: String::from_utf8_lossy(path.get(..path.len().min(200)).unwrap_or_default()).into_owned(),
        };
        for (index, dir) in view.strings(tag::DIRNAMES).map_err(FilesError::Type)?.enumerate() {
            if !is_clean_dir(dir) || dir.len() > MAX_PATH_BYTES {
                return Err(bad_path(index, dir));
            }
        }
        for (index, name) in view
            .strings(tag::BASENAMES)
            .map_err(FilesError::Type)?
            .enumerate()
        {
            if name.contains(&b'/') || name == b"." || name == b".." || name.len() > 255 {
                return Err(bad_path(index, name));
            }
        }
        Ok(())
    }

    /// How many files.
    pub(crate) fn len(&self) -> usize {
        self.n_files
    }

    /// The algorithm of the digests.
    pub(crate) fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// Iterates over the files of the view that was checked.
    pub(crate) fn files<'a>(&self, view: View<'a>) -> Files<'a> {
        let strings = |tag| view.strings(tag).ok().filter(|_| view.has(tag));
        let ints = |tag| view.ints(tag).ok().filter(|_| view.has(tag));
        Files {
            algorithm: self.algorithm,
            dirs: view
                .strings(tag::DIRNAMES)
                .map(Iterator::collect)
                .unwrap_or_default(),
            classes: view
                .strings(tag::CLASSDICT)
                .map(Iterator::collect)
                .unwrap_or_default(),
            names: strings(tag::BASENAMES),
            dir_indexes: ints(tag::DIRINDEXES),
            digests: strings(tag::FILEDIGESTS),
            sizes: ints(if view.has(tag::LONGFILESIZES) {
                tag::LONGFILESIZES
            } else {
                tag::FILESIZES
            }),
            modes: ints(tag::FILEMODES),
            mtimes: ints(tag::FILEMTIMES),
            users: strings(tag::FILEUSERNAME),
            groups: strings(tag::FILEGROUPNAME),
            flags: ints(tag::FILEFLAGS),
            verify_flags: ints(tag::FILEVERIFYFLAGS),
            links: strings(tag::FILELINKTOS),
            rdevs: ints(tag::FILERDEVS),
            caps: strings(tag::FILECAPS),
            colors: ints(tag::FILECOLORS),
            class_indexes: ints(tag::FILECLASS),
            inodes: ints(tag::FILEINODES),
        }
    }
}

/// A directory of a binary package is absolute and ends in a slash; that of a source package is empty.
fn is_clean_dir(dir: &[u8]) -> bool {
    let Some(inner) = dir.strip_prefix(b"/") else {
        return dir.is_empty();
    };
    let Some(inner) = inner.strip_suffix(b"/") else {
        return inner.is_empty();
    };
    inner
        .split(|&byte| byte == b'/')
        .all(|part| !part.is_empty() && part != b"." && part != b"..")
}

/// Iterator over the files of a package.
#[derive(Clone, Debug)]
pub struct Files<'a> {
    algorithm: DigestAlgorithm,
    dirs: Vec<&'a [u8]>,
    classes: Vec<&'a [u8]>,
    names: Option<Strings<'a>>,
    dir_indexes: Option<Ints<'a>>,
    digests: Option<Strings<'a>>,
    sizes: Option<Ints<'a>>,
    modes: Option<Ints<'a>>,
    mtimes: Option<Ints<'a>>,
    users: Option<Strings<'a>>,
    groups: Option<Strings<'a>>,
    flags: Option<Ints<'a>>,
    verify_flags: Option<Ints<'a>>,
    links: Option<Strings<'a>>,
    rdevs: Option<Ints<'a>>,
    caps: Option<Strings<'a>>,
    colors: Option<Ints<'a>>,
    class_indexes: Option<Ints<'a>>,
    inodes: Option<Ints<'a>>,
}

fn next_int(ints: &mut Option<Ints<'_>>) -> Option<u64> {
    ints.as_mut()?.next()
}

fn next_u32(ints: &mut Option<Ints<'_>>) -> Option<u32> {
    next_int(ints).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
}

fn next_string<'a>(strings: &mut Option<Strings<'a>>) -> Option<&'a [u8]> {
    strings.as_mut()?.next()
}

impl<'a> Iterator for Files<'a> {
    type Item = FileEntry<'a>;

    fn next(&mut self) -> Option<FileEntry<'a>> {
        let name = next_string(&mut self.names)?;
        let dir_index = next_int(&mut self.dir_indexes)?;
        let class_index = next_int(&mut self.class_indexes);
        let table_entry = |table: &[&'a [u8]], index: Option<u64>| {
            index
                .and_then(|index| table.get(usize::try_from(index).ok()?).copied())
                .unwrap_or_default()
        };
        let digits = next_string(&mut self.digests).unwrap_or_default();
        Some(FileEntry {
            dir: table_entry(&self.dirs, Some(dir_index)),
            name,
            digest: Digest::from_hex(self.algorithm, digits),
            size: next_int(&mut self.sizes).unwrap_or_default(),
            mode: next_u32(&mut self.modes).unwrap_or_default(),
            mtime: next_int(&mut self.mtimes).unwrap_or_default(),
            user: next_string(&mut self.users).unwrap_or_default(),
            group: next_string(&mut self.groups).unwrap_or_default(),
            flags: FileFlags(next_u32(&mut self.flags).unwrap_or_default()),
            verify_flags: next_u32(&mut self.verify_flags).unwrap_or(u32::MAX),
            link_to: next_string(&mut self.links).unwrap_or_default(),
            rdev: next_int(&mut self.rdevs).unwrap_or_default(),
            caps: next_string(&mut self.caps).filter(|text| !text.is_empty()),
            color: next_u32(&mut self.colors).unwrap_or_default(),
            class: table_entry(&self.classes, class_index),
            inode: next_int(&mut self.inodes).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_directories() {
        let check = |dir: &str, expected: bool| assert_eq!(is_clean_dir(dir.as_bytes()), expected, "{dir:?}");
        check("/", true);
        check("", true);
        check("/usr/bin/", true);
        check("/usr/bin", false);
        check("usr/", false);
        check("/usr/../etc/", false);
        check("/./", false);
        check("//", false);
        check("/usr//bin/", false);
    }
}
