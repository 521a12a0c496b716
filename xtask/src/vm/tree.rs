//! Trees out of Debian's packages, unpacked and not configured, kept in the cache.

use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::{sh, ui};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tree of this name. Where there is none yet, `fill` is given a folder for what is only needed meanwhile, and the tree's,
/// which is not there.
pub(super) fn kept(
    places: &Places,
    name: &str,
    what: &str,
    fill: impl FnOnce(&Path, &Path) -> Done,
) -> Done<PathBuf> {
    let kept = places.cache.join(name);
    if kept.is_dir() {
        return Ok(kept);
    }
    ui::step(&format!("downloading {what}"));
    place::make_dir(&places.cache)?;
    let scratch = tempfile::tempdir_in(&places.cache)
        .map_err(TaskError::file("creating a folder in", &places.cache))?;
    let tree = scratch.path().join("tree");
    fill(scratch.path(), &tree)?;
    // Last and in one go: an interrupted download leaves nothing that looks finished.
    fs::rename(&tree, &kept).map_err(TaskError::file("moving a tree to", &kept))?;
    Ok(kept)
}

/// Unpacks packages below `root`, and removes what nobody needs there: folders, as words.
pub(super) fn unpack(packages: &[PathBuf], root: &Path, useless: &str) -> Done {
    for package in packages {
        sh::quiet(Command::new("dpkg").arg("-x").arg(package).arg(root))?;
    }
    for name in useless.split_whitespace() {
        let path = root.join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).map_err(TaskError::file("removing", &path))?;
        }
    }
    Ok(())
}
