//! Executables, libraries and kernel modules in system directories that no verified package owns.

use super::InsidePaths;
use crate::crypto::sha256_of;
use crate::trust::manifest::LocalTrust;
use hardpan_core::event::escape;
use hardpan_rpm::root::{Dir, Root};
use hardpan_rpm::{DigestIndex, Provenance};
use serde::Serialize;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Where programs and libraries are; `/bin`, `/sbin`, `/lib`, `/lib64` are links into `/usr` on every EL. (tidy: table)
const DIRS: [&str; 10] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/libexec",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/libexec",
    "/usr/local/lib",
    "/usr/local/lib64",
];
/// Deepest directory that is looked into.
const MAX_DEPTH: usize = 64;
/// Most files that are listed.
const MAX_FILES: usize = 100_000;

const TYPE_BITS: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// A file that no verified package owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Stranger {
    /// Path inside the root.
    pub(super) path: String,
    /// Permissions, octal.
    pub(super) mode: String,
    /// Runs with the rights of its owner or group.
    pub(super) set_id: bool,
    /// A manifest lists its content.
    pub(super) manifest: Option<String>,
}

impl Stranger {
    pub(super) fn note(&self) -> String {
        let manifest = self.manifest.as_ref().map(|name| format!("in manifest {name}"));
        let set_id = self
            .set_id
            .then(|| format!("set-user-id or set-group-id, mode {}", self.mode));
        let notes: Vec<String> = [set_id, manifest].into_iter().flatten().collect();
        if notes.is_empty() {
            String::new()
        } else {
            format!(" ({})", notes.join(", "))
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Files, by path.
    pub(super) files: Vec<Stranger>,
    /// Directories and files that could not be looked at, and why.
    pub(super) unreadable: Vec<(String, String)>,
}

/// Looks through the system directories below a root; `only` narrows to these paths and what is below them.
pub(super) fn find(
    root: &Path,
    index: &DigestIndex,
    local: &LocalTrust,
    only: &InsidePaths,
) -> io::Result<Strangers> {
    let root = Root::open(root)?;
    let mut walk = Walk {
        root,
        index,
        local,
        only,
        found: Strangers::default(),
    };
    for dir in DIRS {
        walk.dir(dir.as_bytes(), 0);
    }
    walk.found.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.found)
}

struct Walk<'a> {
    root: Root,
    index: &'a DigestIndex,
    local: &'a LocalTrust,
    only: &'a InsidePaths,
    found: Strangers,
}

impl Walk<'_> {
    fn unreadable(&mut self, path: &[u8], error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.found
                .unreadable
                .push((escape(path).into_owned(), error.to_string()));
        }
    }

    fn dir(&mut self, path: &[u8], depth: usize) {
        let as_path = Path::new(std::ffi::OsStr::from_bytes(path));
        let relevant = self.only.is_empty()
            || self
                .only
                .iter()
                .any(|only| as_path.starts_with(only) || only.starts_with(as_path));
        if !relevant || depth > MAX_DEPTH {
            return;
        }
        let listed = self
            .root
            .open_dir(as_path)
            .and_then(|dir| dir.names().map(|names| (dir, names)));
        let (dir, names) = match listed {
            Ok(listed) => listed,
            Err(error) => return self.unreadable(path, &error),
        };
        for name in names {
            let inside = [path, b"/", &name].concat();
            let mode = match dir.lstat(&name) {
                Ok(stat) => stat.st_mode,
                Err(error) => {
                    self.unreadable(&inside, &error);
                    continue;
                }
            };
            match mode & TYPE_BITS {
                DIRECTORY => self.dir(&inside, depth + 1),
                REGULAR if may_run(&name, mode) => self.file(&dir, &name, &inside, mode),
                _ => {}
            }
        }
    }

    fn file(&mut self, dir: &Dir, name: &[u8], inside: &[u8], mode: u32) {
        let wanted = self.only.is_empty()
            || self
                .only
                .iter()
                .any(|only| Path::new(std::ffi::OsStr::from_bytes(inside)).starts_with(only));
        let owned = || {
            self.index
                .expected(inside)
                .iter()
                .any(|owner| owner.provenance() != Provenance::Retired)
        };
        if !wanted || self.found.files.len() >= MAX_FILES || owned() {
            return;
        }
        let manifest = if self.local.digests().is_empty() {
            None
        } else {
            match dir.open_file(name).and_then(sha256_of) {
                Ok((sha256, _)) => self.local.lookup(&sha256).map(|digest| digest.manifest.clone()),
                Err(error) => return self.unreadable(inside, &error),
            }
        };
        // What a trusted key vouches for is no stranger.
        if manifest
            .as_ref()
            .is_some_and(|manifest| manifest.source.is_signed())
        {
            return;
        }
        self.found.files.push(Stranger {
            path: escape(inside).into_owned(),
            mode: format!("{:04o}", mode & 0o7777),
            set_id: mode & 0o6000 != 0,
            manifest: manifest.map(|manifest| manifest.name.clone()),
        });
    }
}

/// Executable by its mode, or loaded by its name: a shared library or a kernel module.
fn may_run(name: &[u8], mode: u32) -> bool {
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    let module = [b".ko".as_slice(), b".ko.xz", b".ko.gz", b".ko.zst"]
        .iter()
        .any(|end| name.ends_with(end));
    mode & 0o111 != 0 || name.ends_with(b".so") || has(b".so.") || module
}
