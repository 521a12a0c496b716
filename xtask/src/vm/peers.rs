//! A Debian tree with what guards hosts today (fapolicyd, auditd), to be measured and to be run beside Hardpan.

use super::apt;
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::{sh, ui};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The suite that the tree comes from: EL 9's fapolicyd is of the same series.
const SUITES: &[&str] = &["bookworm"];
/// Both, and the libraries that they need; nothing of what configures packages.
const PACKAGES: &str = "auditd fapolicyd libaudit1 libauparse0 libblkid1 libc6 libcap-ng0 libcom-err2 libgssapi-krb5-2 \
    libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 liblmdb0 liblzma5 libbz2-1.0 libmagic1 libmagic-mgc libnsl2 \
    libseccomp2 libssl3 libtirpc3 libudev1 libwrap0 zlib1g";
/// Raised when the list changes: the cache is filled anew.
const VERSION: u32 = 1;
/// Where it lies in the guest.
const IN_GUEST: &str = "hardpan-vm/peers";
const USELESS: &str = "doc man locale lintian bug bash-completion";

/// The tree, downloaded where needed: a folder to be archived as it is.
pub(crate) fn tree(places: &Places) -> Done<PathBuf> {
    let kept = places.cache.join(format!("peers-{VERSION}"));
    if kept.is_dir() {
        return Ok(kept);
    }
    ui::step("downloading fapolicyd and auditd");
    let mut session = apt::Session::open(places)?;
    session.update(SUITES)?;
    let scratch = tempfile::tempdir_in(&places.cache)
        .map_err(TaskError::file("creating a folder in", &places.cache))?;
    let names: Vec<String> = PACKAGES.split_whitespace().map(str::to_owned).collect();
    let tree = scratch.path().join("tree");
    let root = tree.join(IN_GUEST);
    place::make_dir(&root)?;
    for package in session.download(&names, scratch.path())? {
        sh::quiet(Command::new("dpkg").arg("-x").arg(&package).arg(&root))?;
    }
    for name in USELESS.split_whitespace() {
        let path = root.join("usr/share").join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).map_err(TaskError::file("removing", &path))?;
        }
    }
    // Conversions between character sets, which nobody makes there.
    let conversions = root.join("usr/lib/x86_64-linux-gnu/gconv");
    if conversions.is_dir() {
        fs::remove_dir_all(&conversions).map_err(TaskError::file("removing", &conversions))?;
    }
    // Last and in one go: an interrupted download leaves nothing that looks finished.
    fs::rename(&tree, &kept).map_err(TaskError::file("moving tools to", &kept))?;
    Ok(kept)
}
