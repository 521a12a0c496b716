//! A Debian tree with the real tools of the field (authselect, firewalld, sshd, systemd, GRUB's), for scenarios that
//! change to it with chroot(2). Debian has them at the versions of EL 10; EL's own packages cannot be had everywhere.

use super::apt;
use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use crate::{sh, ui};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The suite that the tree comes from.
const SUITES: &[&str] = &["trixie"];
/// What scenarios use; what these need comes along.
const PACKAGES: [&str; 16] = [
    "attr",
    "authselect",
    "dbus",
    "e2fsprogs",
    "firewalld",
    "grub-common",
    "kmod",
    "libc-bin",
    "libcap2-bin",
    "libnss-sss",
    "libpam-pwquality",
    "openssh-server",
    "procps",
    "systemd",
    "uidmap",
    "util-linux",
];
/// Raised when the list changes: the cache is filled anew.
const VERSION: u32 = 2;
/// Where it lies in the guest.
const IN_GUEST: &str = "hardpan-vm/lab";
/// Nobody reads these there.
const USELESS: &str =
    "locale doc man info grub zoneinfo lintian perl5 bash-completion zsh common-licenses i18n";
/// busybox fills in for what the packages take for granted.
const APPLETS: &str = "awk cat chmod chown cp cut env find grep head id ln ls mkdir mv readlink rm sed sh sleep sort stat \
    tail test touch tr wc";

/// The tree, downloaded where needed: a folder to be archived as it is.
pub(super) fn tree(places: &Places) -> Done<PathBuf> {
    let kept = places.cache.join(format!("lab-{VERSION}"));
    if kept.is_dir() {
        return Ok(kept);
    }
    ui::step("downloading the tools that hardening is tried with");
    let mut session = apt::Session::open(places)?;
    let packages = session.with_all_needs(SUITES, &PACKAGES)?;
    let scratch = tempfile::tempdir_in(&places.cache)
        .map_err(TaskError::file("creating a folder in", &places.cache))?;
    let tree = scratch.path().join("tree");
    let root = tree.join(IN_GUEST);
    place::make_dir(&root)?;
    for package in packages {
        sh::quiet(Command::new("dpkg").arg("-x").arg(&package).arg(&root))?;
    }
    for name in USELESS.split_whitespace() {
        let path = root.join("usr/share").join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).map_err(TaskError::file("removing", &path))?;
        }
    }
    commands(&root)?;
    // Last and in one go: an interrupted download leaves nothing that looks finished.
    fs::rename(&tree, &kept).map_err(TaskError::file("moving tools to", &kept))?;
    Ok(kept)
}

fn commands(root: &Path) -> Done {
    let busybox = program("busybox")
        .ok_or_else(|| TaskError::cannot("there is no busybox", "run `cargo xtask setup`"))?;
    place::copy(&busybox, &root.join("usr/bin/busybox"))?;
    for applet in APPLETS.split_whitespace() {
        let link = root.join("usr/bin").join(applet);
        if fs::symlink_metadata(&link).is_err() {
            symlink("busybox", &link).map_err(TaskError::file("linking", &link))?;
        }
    }
    Ok(())
}
