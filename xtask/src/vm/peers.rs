//! A Debian tree with what guards hosts today (fapolicyd, auditd), to be measured and to be run beside Hardpan.

use super::{apt, tree};
use crate::error::Done;
use crate::place::{self, Places};
use std::path::PathBuf;

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
/// Nobody reads these there, or makes conversions between character sets.
const USELESS: &str = "usr/share/doc usr/share/man usr/share/locale usr/share/lintian usr/share/bug \
    usr/share/bash-completion usr/lib/x86_64-linux-gnu/gconv";

/// The tree, downloaded where needed: a folder to be archived as it is.
pub(crate) fn tree(places: &Places) -> Done<PathBuf> {
    tree::kept(
        places,
        &format!("peers-{VERSION}"),
        "fapolicyd and auditd",
        |scratch, tree| {
            let mut session = apt::Session::open(places)?;
            session.update(SUITES)?;
            let root = tree.join(IN_GUEST);
            place::make_dir(&root)?;
            let names: Vec<String> = PACKAGES.split_whitespace().map(str::to_owned).collect();
            tree::unpack(&session.download(&names, scratch)?, &root, USELESS)
        },
    )
}
