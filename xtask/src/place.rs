//! Where things lie: the work tree, the cache, build directories.

use crate::error::{Done, TaskError};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders of this run.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Root of the work tree.
    pub(crate) root: PathBuf,
    /// What is kept between runs and shared between work trees: tools, kernels.
    pub(crate) cache: PathBuf,
}

impl Places {
    /// Finds both; the cache is `$HARDPAN_CACHE` or `~/.cache/hardpan`.
    pub(crate) fn find() -> Done<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = root.parent().unwrap_or(root).to_owned();
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = set("HARDPAN_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("hardpan")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/hardpan")))
            .ok_or_else(|| {
                TaskError::cannot("no place for a cache: HOME is not set", "set HARDPAN_CACHE=DIR")
            })?;
        Ok(Self { root, cache })
    }

    /// Root of tools installed by `setup`, as `cargo install --root` has it.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// Build output of this work tree.
    pub(crate) fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), |dir| self.root.join(dir))
    }
}

/// Creates a folder with its parents.
pub(crate) fn make_dir(path: &Path) -> Done {
    fs::create_dir_all(path).map_err(TaskError::file("creating", path))
}

/// Writes a file, its folder included.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Done {
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    fs::write(path, content).map_err(TaskError::file("writing", path))
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Done<Vec<u8>> {
    fs::read(path).map_err(TaskError::file("reading", path))
}

/// Copies a file, its target folder included.
pub(crate) fn copy(from: &Path, to: &Path) -> Done {
    if let Some(dir) = to.parent() {
        make_dir(dir)?;
    }
    fs::copy(from, to)
        .map(drop)
        .map_err(TaskError::file("copying", from))
}

/// The first existing program of that name on `PATH`, or where administrators' programs lie.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/libexec"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}
