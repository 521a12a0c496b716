//! A Debian tree with what makes somebody somebody else (sudo, login, su, sshd, ping with its capability, crun, bubblewrap),
//! and what serves files to others (NFS): for scenarios in which nobody is attacked, and real programs are.

use super::{apt, lab, tree};
use crate::error::Done;
use crate::place::{self, Places};
use std::path::PathBuf;

/// The suite that the tree comes from: that of EL 10's versions.
const SUITES: &[&str] = &["trixie"];
/// The programs, and the libraries that they need; nothing of what configures packages.
const PACKAGES: &str = "bsdutils bubblewrap crun dash iputils-ping keyutils libcap2-bin libpam-cap libpam-modules libpam-modules-bin login \
    login.defs mount netbase nfs-common nfs-kernel-server openssh-client openssh-server openssh-sftp-server passwd rpcbind \
    sudo uidmap util-linux \
    libacl1 libapparmor1 libattr1 libaudit1 libblkid1 libbsd0 libbz2-1.0 libc6 libcap-ng0 libcap2 libcbor0.10 libcom-err2 \
    libcrypt1 libdb5.3t64 libdevmapper1.02.1 libedit2 libevent-core-2.1-7t64 libfido2-1 libgcc-s1 libgssapi-krb5-2 libidn2-0 \
    libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 liblastlog2-2 libldap2 liblzma5 libmd0 libmount1 libncursesw6 \
    libnfsidmap1 libnl-3-200 libnl-genl-3-200 libpam0g libpcre2-8-0 libreadline8t64 libsasl2-2 libseccomp2 libselinux1 \
    libsemanage2 libsepol2 libsmartcols1 libsqlite3-0 libssl3t64 libsubid5 libsystemd0 libtinfo6 libtirpc-common libtirpc3t64 \
    libudev1 libunistring5 libuuid1 libwrap0 libwtmpdb0 libxml2 libyajl2 libzstd1 zlib1g";
/// Raised when the list changes: the cache is filled anew.
const VERSION: u32 = 1;
/// Where it lies in the guest.
const IN_GUEST: &str = "hardpan-vm/sessions";
/// Nobody reads these there, or makes conversions between character sets.
const USELESS: &str = "usr/share/doc usr/share/man usr/share/locale usr/share/lintian usr/share/bug usr/share/zsh \
    usr/share/info usr/share/bash-completion usr/share/openssh usr/lib/systemd usr/lib/x86_64-linux-gnu/gconv";

/// The tree, downloaded where needed: a folder to be archived as it is.
pub(super) fn tree(places: &Places) -> Done<PathBuf> {
    tree::kept(
        places,
        &format!("sessions-{VERSION}"),
        "sudo, login, sshd, crun and their like",
        |scratch, tree| {
            let mut session = apt::Session::open(places)?;
            session.update(SUITES)?;
            let root = tree.join(IN_GUEST);
            place::make_dir(&root)?;
            let names: Vec<String> = PACKAGES.split_whitespace().map(str::to_owned).collect();
            tree::unpack(&session.download(&names, scratch)?, &root, USELESS)?;
            lab::commands(&root)
        },
    )
}
