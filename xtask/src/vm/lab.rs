//! A Debian tree with the real tools of the field (authselect, firewalld, sshd, systemd, GRUB's), for scenarios that
//! change to it with chroot(2). Debian has them at the versions of EL 10; EL's own packages cannot be had everywhere.

use super::{apt, tree};
use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

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
const USELESS: &str = "usr/share/locale usr/share/doc usr/share/man usr/share/info usr/share/grub \
    usr/share/zoneinfo usr/share/lintian usr/share/perl5 usr/share/bash-completion usr/share/zsh \
    usr/share/common-licenses usr/share/i18n";
/// busybox fills in for what the packages take for granted.
const APPLETS: &str = "awk cat chmod chown cp cut env find grep head id ln ls mkdir mv readlink rm sed sh sleep sort stat \
    tail test touch tr wc";

/// The tree, downloaded where needed: a folder to be archived as it is.
pub(super) fn tree(places: &Places) -> Done<PathBuf> {
    tree::kept(
        places,
        &format!("lab-{VERSION}"),
        "the tools that hardening is tried with",
        |_scratch, tree| {
            let mut session = apt::Session::open(places)?;
            let packages = session.with_all_needs(SUITES, &PACKAGES)?;
            let root = tree.join(IN_GUEST);
            place::make_dir(&root)?;
            tree::unpack(&packages, &root, USELESS)?;
            commands(&root)
        },
    )
}

/// Applets of busybox, as far as the tree has no commands of those names.
pub(super) fn commands(root: &Path) -> Done {
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
