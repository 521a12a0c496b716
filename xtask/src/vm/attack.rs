//! The attack module, built against the headers of each kernel under test, and the program that uses it.

use super::apt;
use super::kernels::{Debian, Kernel};
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::{sh, ui};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the sources lie in the work tree.
const SOURCES: &str = "tests/kmod";
/// The module without its suffix.
pub(super) const MODULE: &str = "hp_attack";

/// Builds the module for a Debian kernel and returns its file.
pub(super) fn build(
    places: &Places,
    debian: &Debian,
    kernel: &Kernel,
    session: &mut Option<apt::Session>,
) -> Done<PathBuf> {
    let release = kernel.release().unwrap_or_default();
    let headers = headers(places, debian, &release, session)?;
    let folder = headers.join("usr/src").join(format!("linux-headers-{release}"));
    build_in(places, &folder, &release)
}

/// Builds the module with a kernel's build folder.
pub(super) fn build_in(places: &Places, folder: &Path, release: &str) -> Done<PathBuf> {
    let dir = places.target().join("vm/kmod").join(release);
    place::make_dir(&dir)?;
    for name in ["Makefile", "cc", "hp_attack.c"] {
        refresh(&places.root.join(SOURCES).join(name), &dir.join(name))?;
    }
    let cc = dir.join("cc");
    fs::set_permissions(&cc, fs::Permissions::from_mode(0o755))
        .map_err(TaskError::file("setting the mode of", &cc))?;
    sh::quiet(
        Command::new("make")
            .arg("-C")
            .arg(folder)
            .arg(format!("M={}", dir.display()))
            .arg(format!("CC={}", cc.display()))
            // Type information would need pahole, and nobody reads this module's.
            .args(["CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]),
    )?;
    Ok(dir.join(format!("{MODULE}.ko")))
}

/// The program that is attacked and does what looks alike, and the one that brings files to run in other ways than by
/// executing them, with their sources.
pub(super) const PROGRAMS: [(&str, &[&str]); 2] = [
    ("hp-task", &["hp_task.c", "hp_sandbox.c", "hp_uring.c"]),
    ("hp-file", &["hp_file.c", "hp_fuse.c"]),
];

/// Builds one of the programs.
pub(super) fn program(places: &Places, dir: &Path, name: &str, sources: &[&str]) -> Done<PathBuf> {
    let out = dir.join(name);
    let sources = sources
        .iter()
        .map(|source| places.root.join(SOURCES).join(source));
    sh::quiet(
        Command::new("cc")
            .args(["-O1", "-static", "-pthread", "-o"])
            .arg(&out)
            .args(sources),
    )?;
    Ok(out)
}

/// A kernel's build folder, downloaded where needed, beside the kernel itself. The release is the kernel's own, so what
/// pins the one pins the other.
pub(super) fn headers(
    places: &Places,
    debian: &Debian,
    release: &str,
    session: &mut Option<apt::Session>,
) -> Done<PathBuf> {
    let kept = places
        .cache
        .join("kernels")
        .join(debian.name)
        .join(format!("headers-{release}"));
    if kept.is_dir() {
        return Ok(kept);
    }
    ui::step(&format!("downloading the headers of kernel {}", debian.name));
    let session = match session {
        Some(session) => session,
        None => session.insert(apt::Session::open(places)?),
    };
    let names = session.with_needs(debian, &format!("linux-headers-{release}"), |name| {
        name.starts_with("linux-headers-") || name.starts_with("linux-kbuild-")
    })?;
    let scratch = tempfile::tempdir_in(&places.cache)
        .map_err(TaskError::file("creating a folder in", &places.cache))?;
    let tree = scratch.path().join("tree");
    for package in session.download(&names, scratch.path())? {
        sh::quiet(Command::new("dpkg").arg("-x").arg(&package).arg(&tree))?;
    }
    loaders(session, &tree, &kept, scratch.path())?;
    // It names its neighbour by the full path that it has when installed.
    let makefile = tree
        .join("usr/src")
        .join(format!("linux-headers-{release}/Makefile"));
    let text = String::from_utf8_lossy(&place::read(&makefile)?)
        .replace("/usr/src/", &format!("{}/usr/src/", kept.display()));
    place::write(&makefile, text)?;
    // Last and in one go: an interrupted download leaves nothing that looks finished.
    fs::rename(&tree, &kept).map_err(TaskError::file("moving headers to", &kept))?;
    Ok(kept)
}

/// A newer distribution's build tools may want a newer C library than the host's: they get their own.
fn loaders(session: &apt::Session, tree: &Path, kept: &Path, scratch: &Path) -> Done {
    const TOOLS: [&str; 2] = [
        "scripts/mod/modpost.real-lsb-64",
        "tools/objtool/objtool.real-x86",
    ];
    const LIBRARIES: [&str; 4] = ["libc6", "libelf1t64", "zlib1g", "libzstd1"];
    let lib = tree.join("usr/lib");
    let entries = fs::read_dir(&lib).map_err(TaskError::file("reading", &lib))?;
    let mut fetched = false;
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with("linux-kbuild-") {
            continue;
        }
        for tool in TOOLS.map(|tool| entry.path().join(tool)) {
            // Without arguments they do nothing, or say how they are used.
            let ran = Command::new(&tool).output();
            if !ran.is_ok_and(|ran| String::from_utf8_lossy(&ran.stderr).contains("GLIBC_")) {
                continue;
            }
            if !fetched {
                let dir = scratch.join("libraries");
                place::make_dir(&dir)?;
                for package in session.download(&LIBRARIES.map(str::to_owned), &dir)? {
                    sh::quiet(
                        Command::new("dpkg")
                            .arg("-x")
                            .arg(&package)
                            .arg(tree.join("host")),
                    )?;
                }
                fetched = true;
            }
            let own = tool.with_extension("own");
            fs::rename(&tool, &own).map_err(TaskError::file("moving", &tool))?;
            let libraries = kept.join("host/usr/lib/x86_64-linux-gnu");
            let installed = kept.join(own.strip_prefix(tree).unwrap_or(&own));
            let text = format!(
                "#!/bin/sh\nexec {0}/ld-linux-x86-64.so.2 --library-path {0} {1} \"$@\"\n",
                libraries.display(),
                installed.display()
            );
            place::write(&tool, text)?;
            fs::set_permissions(&tool, fs::Permissions::from_mode(0o755))
                .map_err(TaskError::file("setting the mode of", &tool))?;
        }
    }
    Ok(())
}

/// Copies a file if its content differs: make goes by times.
fn refresh(from: &Path, to: &Path) -> Done {
    let new = place::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    place::write(to, new)
}
