//! An rpm that still writes BerkeleyDB, as EL 8's does: Debian bullseye's, in a directory of its own to `chroot` into. The
//! tests of transactions beside readings want it.

use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use crate::vm::apt::Session;
use crate::{sh, ui};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory's variable for the tests.
pub(crate) const VARIABLE: &str = "HARDPAN_BDB_ROOT";
const SUITES: &[&str] = &["bullseye"];
/// rpm and the libraries that it needs; its scripts' interpreters are left out. (tidy: table)
const PACKAGES: &[&str] = &[
    "libacl1",
    "libarchive13",
    "libattr1",
    "libaudit1",
    "libbz2-1.0",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libdb5.3",
    "libdbus-1-3",
    "libdw1",
    "libelf1",
    "libgcrypt20",
    "libgmp10",
    "libgomp1",
    "libgpg-error0",
    "liblua5.2-0",
    "liblz4-1",
    "liblzma5",
    "libmagic1",
    "libnspr4",
    "libnss3",
    "libpcre2-8-0",
    "libpopt0",
    "librpm9",
    "librpmbuild9",
    "librpmio9",
    "librpmsign9",
    "libselinux1",
    "libsqlite3-0",
    "libssl1.1",
    "libsystemd0",
    "libzstd1",
    "rpm",
    "rpm-common",
    "zlib1g",
];

/// Where it lies.
pub(crate) fn root(places: &Places) -> PathBuf {
    places.cache.join("rpm-bdb/root")
}

/// Whether it is missing and could be had: its packages are Debian's, for x86-64.
pub(super) fn is_missing(places: &Places) -> bool {
    let possible = cfg!(target_arch = "x86_64") && program("apt-get").is_some() && program("dpkg").is_some();
    possible && !runs(&root(places)) && may_chroot()
}

/// Downloads and unpacks it. What an interrupted run left is unpacked over.
pub(super) fn install(places: &Places) -> Done {
    let root = root(places);
    ui::step("downloading an rpm that writes BerkeleyDB");
    let mut session = Session::open(places)?;
    session.update(SUITES)?;
    let scratch = tempfile::tempdir_in(&places.cache)
        .map_err(TaskError::file("creating a folder in", &places.cache))?;
    let names: Vec<String> = PACKAGES.iter().map(|&name| name.to_owned()).collect();
    for folder in ["tmp", "proc", "dev"] {
        place::make_dir(&root.join(folder))?;
    }
    // A file is enough for what rpm throws away.
    place::write(&root.join("dev/null"), "")?;
    for package in session.download(&names, scratch.path())? {
        sh::quiet(Command::new("dpkg").arg("-x").arg(&package).arg(&root))?;
    }
    if runs(&root) {
        return Ok(());
    }
    Err(TaskError::cannot(
        format!("the rpm in {} does not run", root.display()),
        format!("see why: chroot {} /usr/bin/rpm --version", root.display()),
    ))
}

fn runs(root: &Path) -> bool {
    root.join("usr/bin/rpm").is_file()
        && chroot(root).is_some_and(|mut command| sh::succeeds(command.args(["/usr/bin/rpm", "--version"])))
}

fn may_chroot() -> bool {
    chroot(Path::new("/")).is_some_and(|mut command| sh::succeeds(command.arg("true")))
}

/// `chroot`, in a user namespace of its own where this is not root.
pub(crate) fn chroot(root: &Path) -> Option<Command> {
    let mut command;
    if sh::output(Command::new("id").arg("-u")).ok()?.trim() == "0" {
        command = Command::new("chroot");
    } else {
        command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]);
    }
    command.arg(root);
    Some(command)
}
