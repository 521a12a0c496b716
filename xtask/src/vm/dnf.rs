//! The real dnf for the guest, out of Debian's packages: made into signed RPM packages that a scenario installs there, as EL
//! has them (`dnf`, `python3-dnf`, and what these need), with a repository for it.

use super::packages::{Builder, Package, Signer};
use super::root::inside;
use super::{apt, tree};
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::{sh, ui};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The suite that it comes from: of the release whose programs and libraries the guest has, the host's.
const SUITES: &[&str] = &["bookworm"];
/// The interpreter that the suite's dnf is for.
const PYTHON: &str = "python3.11";
/// dnf, what makes repositories, and the libraries of both; nothing of what configures Debian's packages.
const PACKAGES: &str = "createrepo-c dnf dnf-data libacl1 libarchive13 libassuan0 libattr1 libaudit1 libblkid1 libbrotli1 \
    libbz2-1.0 libc6 libcap-ng0 libcap2 libcom-err2 libcomps0 libcreaterepo-c0 libcrypt1 libcurl3-gnutls libcurl4 libdb5.3 \
    libdnf2 libdnf2-common libdrpm0 libdw1 libelf1 libexpat1 libffi8 libfsverity0 libgcc-s1 libgcrypt20 libglib2.0-0 libgmp10 \
    libgnutls30 libgomp1 libgpg-error0 libgpgme11 libgssapi-krb5-2 libhogweed6 libicu72 libidn2-0 libjson-c5 libk5crypto3 \
    libkeyutils1 libkrb5-3 libkrb5support0 libldap-2.5-0 liblua5.3-0 liblz4-1 liblzma5 libmagic1 libmodulemd2 libmount1 \
    libncursesw6 libnettle8 libnghttp2-14 libnsl2 libp11-kit0 libpcre2-8-0 libpopt0 libpsl5 libpython3.11 \
    libpython3.11-minimal libpython3.11-stdlib libreadline8 librepo0 librpm9 librpmbuild9 librpmio9 librpmsign9 librtmp1 \
    libsasl2-2 libselinux1 libsmartcols1 libsolv1 libsolvext1 libsqlite3-0 libssh2-1 libssl3 libstdc++6 libtasn1-6 libtinfo6 \
    libtirpc3 libunistring2 libuuid1 libxml2 libyaml-0-2 libzck1 libzstd1 python3-dnf python3-gpg python3-hawkey \
    python3-libcomps python3-libdnf python3-rpm zlib1g";
/// Raised when the list changes: the cache is filled anew.
const VERSION: u32 = 1;
/// Where the packages lie in the guest.
const IN_GUEST: &str = "hardpan-vm/dnf";
/// Nobody needs these there.
const USELESS: &str = "usr/share/doc usr/share/man usr/share/locale usr/share/lintian usr/share/bug usr/share/i18n \
    usr/share/bash-completion usr/lib/x86_64-linux-gnu/gconv usr/lib/python3.11/distutils usr/lib/python3.11/unittest";
/// Only needed where repositories are made.
const ONLY_HERE: [&str; 2] = ["createrepo", "libdrpm"];

/// The files, downloaded where needed, below `usr` and `etc` only.
pub(super) fn tree(places: &Places) -> Done<PathBuf> {
    let python = Path::new("/usr/bin/python3");
    let real = fs::canonicalize(python).map_err(TaskError::file("looking for", python))?;
    if !real.ends_with(PYTHON) {
        return Err(TaskError::cannot(
            format!(
                "Debian 12's dnf needs {PYTHON}, and {} is {}",
                python.display(),
                real.display()
            ),
            "run what requires dnf on Debian 12, or leave it out with --scenario",
        ));
    }
    tree::kept(places, &format!("dnf-{VERSION}"), "dnf", |scratch, tree| {
        let mut session = apt::Session::open(places)?;
        session.update(SUITES)?;
        let names: Vec<String> = PACKAGES.split_whitespace().map(str::to_owned).collect();
        tree::unpack(&session.download(&names, scratch)?, tree, USELESS)
    })
}

/// Signed packages of what `root` does not have yet, and a repository of the packages in `repository`: a folder to be
/// archived over the root.
pub(super) fn layer(
    tree: &Path,
    root: &Path,
    repository: &Path,
    vendor: &Signer,
    dir: &Path,
) -> Done<PathBuf> {
    ui::step("packages of dnf");
    let builder = Builder::new(&dir.join("rpm-dnf"))?;
    let mut dnf = Package::new("dnf", "Package manager");
    let mut modules = Package::new("python3-dnf", "Package manager, in Python");
    let mut needs = Package::new("dnf-needs", "What dnf needs").provides("/bin/sh");
    let mut paths = Vec::new();
    files(tree, &mut paths)?;
    for path in paths {
        let inside = inside(&format!(
            "/{}",
            path.strip_prefix(tree).unwrap_or(&path).display()
        ));
        let is_there = fs::symlink_metadata(root.join(inside.trim_start_matches('/'))).is_ok();
        if is_there || ONLY_HERE.iter().any(|name| inside.contains(name)) {
            continue;
        }
        let package = if inside == "/usr/bin/dnf" {
            &mut dnf
        } else if inside == "/usr/bin/dnf-3" || inside.starts_with("/usr/lib/python3/dist-packages/dnf/") {
            &mut modules
        } else {
            &mut needs
        };
        let meta = fs::symlink_metadata(&path).map_err(TaskError::file("looking at", &path))?;
        if meta.is_symlink() {
            let target = fs::read_link(&path).map_err(TaskError::file("reading the link", &path))?;
            package.link(&inside, &target.to_string_lossy());
        } else {
            package.program(&inside, path, meta.permissions().mode() & 0o755);
        }
    }
    let layer = dir.join("layer-dnf");
    for package in [&dnf, &modules, &needs] {
        let built = builder.build(package, Some(vendor))?;
        let name = built.file_name().unwrap_or_default();
        place::copy(&built, &layer.join(IN_GUEST).join(name))?;
    }
    let metadata = layer.join(repository.strip_prefix(root).unwrap_or(repository));
    place::make_dir(&metadata)?;
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|path| tree.join(path));
    sh::quiet(
        Command::new(tree.join("lib64/ld-linux-x86-64.so.2"))
            .arg("--library-path")
            .arg(libraries.map(|path| path.display().to_string()).join(":"))
            .arg(tree.join("usr/bin/createrepo_c"))
            .args(["--quiet", "--no-database", "--outputdir"])
            .arg(&metadata)
            .arg(repository),
    )?;
    Ok(layer)
}

/// All files and links below `dir`.
fn files(dir: &Path, found: &mut Vec<PathBuf>) -> Done {
    let reading = || TaskError::file("reading", dir);
    for entry in fs::read_dir(dir).map_err(reading())? {
        let entry = entry.map_err(reading())?;
        if entry.file_type().map_err(reading())?.is_dir() {
            files(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}
