//! Verdicts in advance: what is mapped anywhere, what must be able to run, and the libraries of trusted packages.

use crate::gate::entries::scripts;
use crate::gate::ready::mappings;
use crate::sensor::{SubjectIds, Subjects};
use crate::trust::LoadedTrust;
use aya::maps::MapError;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Libraries that are looked at, at most.
const MOST_LIBRARIES: usize = 50_000;
/// Longest time for one file.
const FOR_ONE: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filled {
    /// Files whose digest the kernel has.
    pub known: usize,
    /// Files that it has none of: they could not be read, change, or are of a kind that is not judged by content.
    pub unknown: usize,
}

/// Puts digests into the kernel's memory. Takes as long as reading the files takes; what is there already costs little.
pub fn fill(
    maps: SubjectIds,
    proc: &Path,
    must_run: &[String],
    trust: Option<&LoadedTrust>,
) -> Result<Filled, MapError> {
    let mapped = mappings(proc).into_values().map(|mapped| mapped.link);
    // Large programs among them are not hashed while somebody waits: the operator's way out is one.
    let required = must_run.iter().map(PathBuf::from);
    let libraries = trust.map(libraries).unwrap_or_default();
    let scripts = trust.into_iter().flat_map(scripts);
    fill_files(maps, mapped.chain(required).chain(libraries).chain(scripts))
}

/// The same for these files.
pub fn fill_files(maps: SubjectIds, paths: impl IntoIterator<Item = PathBuf>) -> Result<Filled, MapError> {
    let mut subjects = Subjects::open(maps)?;
    let mut filled = Filled::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        let Some(file) = open(&path) else { continue };
        let is_new = file
            .metadata()
            .is_ok_and(|meta| meta.is_file() && seen.insert((meta.dev(), meta.ino())));
        if !is_new {
            continue;
        }
        if subjects.vouch(&file, Instant::now() + FOR_ONE)? {
            filled.known += 1;
        } else {
            filled.unknown += 1;
        }
    }
    Ok(filled)
}

fn open(path: &Path) -> Option<File> {
    // What a package lists may be a FIFO by now.
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path).ok()
}

/// Files of packages that may be mapped.
fn libraries(trust: &LoadedTrust) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for owner in trust.index.files() {
        let (class, path) = (owner.class(), owner.path());
        if owner.is_ghost() || class.kernel_module || !class.may_execute() || !is_library(&path) {
            continue;
        }
        paths.push(PathBuf::from(OsStr::from_bytes(&path)));
        if paths.len() >= MOST_LIBRARIES {
            break;
        }
    }
    paths
}

/// Below a library directory, and named as a library. Programs are hashed when they are executed.
fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_named = name.windows(3).any(|part| part == b".so");
    let below = |dir: &[u8]| path.windows(dir.len()).any(|part| part == dir);
    is_named && (below(b"/lib64/") || below(b"/lib/") || below(b"/libexec/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_for_a_library() {
        for (path, expected) in [
            ("/usr/lib64/libc.so.6", true),
            (
                "/usr/lib64/python3.9/lib-dynload/_ssl.cpython-39-x86_64-linux-gnu.so",
                true,
            ),
            ("/usr/lib/x86_64-linux-gnu/libz.so.1", true),
            ("/opt/app/lib/plugin.so", true),
            ("/usr/bin/bash", false),
            ("/usr/share/doc/x.so", false),
            ("", false),
        ] {
            assert_eq!(is_library(path.as_bytes()), expected, "{path}");
        }
    }
}
