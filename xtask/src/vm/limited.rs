//! A kernel that is built here, only when it is asked for: Debian's 5.10 with an address limit in its threads, as EL 8's
//! kernels have it. No registry has a kernel with one.

use super::apt;
use super::attack;
use super::kernels::{Debian, Kernel, MATRIX};
use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use crate::{sh, ui};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// Its name.
pub(crate) const NAME: &str = "5.10-limit";
/// The kernel of the matrix whose configuration it has.
const BASE: &str = "5.10";
const SOURCE: &str = "linux-source-5.10";
const PATCH: &str = "tests/kmod/address-limit.patch";
/// What the build needs beside a compiler.
const TOOLS: [&str; 5] = ["bc", "flex", "bison", "pahole", "make"];

/// The kernel with its attack module, built where needed (about half an hour).
pub(super) fn select(places: &Places, session: &mut Option<apt::Session>) -> Done<Kernel> {
    let debian = MATRIX
        .iter()
        .find(|kernel| kernel.name == BASE)
        .ok_or_else(|| TaskError::cannot("the matrix has no kernel 5.10", "it is named in kernels.rs"))?;
    let dir = places.cache.join("kernels").join(NAME);
    let patch = place::read(&places.root.join(PATCH))?;
    if fs::read(dir.join("patch")).ok().as_deref() != Some(&patch) {
        build(places, debian, &dir, &patch, session)?;
    }
    let source = dir.join("source");
    let release = release(&source)?;
    let mut kernel = Kernel {
        name: NAME.into(),
        image: source.join("arch/x86/boot/bzImage"),
        modules: Some(dir.join("modules").join(&release)),
        tier: Some("B"),
        append: "",
        attack: None,
        counts: false,
        firmware: None,
    };
    kernel.attack = Some(attack::build_in(places, &source, &release)?);
    Ok(kernel)
}

fn release(source: &Path) -> Done<String> {
    let text = place::read(&source.join("include/config/kernel.release"))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

fn build(
    places: &Places,
    debian: &Debian,
    dir: &Path,
    patch: &[u8],
    session: &mut Option<apt::Session>,
) -> Done {
    for tool in TOOLS {
        if program(tool).is_none() {
            return Err(TaskError::cannot(
                format!("{tool}, which a kernel is built with, is not there"),
                "apt-get install bc bison dwarves flex libelf-dev make",
            ));
        }
    }
    let base = debian.fetch(places, session)?;
    let base_release = base.release().unwrap_or_default();
    let headers = attack::headers(places, debian, &base_release, session)?;
    ui::step(&format!("building kernel {NAME}: this takes half an hour"));
    drop(fs::remove_dir_all(dir));
    place::make_dir(dir)?;
    let session = match session {
        Some(session) => session,
        None => session.insert(apt::Session::open(places)?),
    };
    let scratch = tempfile::tempdir_in(&places.cache)
        .map_err(TaskError::file("creating a folder in", &places.cache))?;
    for package in session.latest(debian.suites, SOURCE, scratch.path())? {
        sh::quiet(Command::new("dpkg").arg("-x").arg(&package).arg(scratch.path()))?;
    }
    let source = dir.join("source");
    place::make_dir(&source)?;
    sh::quiet(
        Command::new("tar")
            .args(["--strip-components=1", "-xf"])
            .arg(scratch.path().join(format!("usr/src/{SOURCE}.tar.xz")))
            .arg("-C")
            .arg(&source),
    )?;
    sh::quiet(
        Command::new("patch")
            .args(["-p1", "-i"])
            .arg(places.root.join(PATCH))
            .arg("-d")
            .arg(&source),
    )?;
    let config = headers.join(format!("usr/src/linux-headers-{base_release}/.config"));
    let config = String::from_utf8_lossy(&place::read(&config)?).into_owned();
    place::write(&source.join(".config"), without_modules(&config))?;
    make(&source, &["olddefconfig"])?;
    make(&source, &["bzImage", "modules"])?;
    // Its modules are all built in.
    place::make_dir(&dir.join("modules").join(release(&source)?).join("kernel"))?;
    // Last: an interrupted build leaves nothing that looks finished.
    place::write(&dir.join("patch"), patch)
}

fn make(source: &Path, targets: &[&str]) -> Done {
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    sh::quiet(
        Command::new("make")
            .arg("-C")
            .arg(source)
            .arg(format!("-j{jobs}"))
            .args(targets),
    )
}

/// A configuration without what would be modules; who signs is left to be made up.
fn without_modules(config: &str) -> String {
    let mut text = String::from("CONFIG_LOCALVERSION=\"-limit\"\n");
    for line in config.lines() {
        let option = line.split('=').next().unwrap_or_default();
        if ["CONFIG_MODULE_SIG_KEY", "CONFIG_LOCALVERSION"].contains(&option) {
            continue;
        }
        if line.ends_with("=m") || option == "CONFIG_MODVERSIONS" {
            text.extend(["# ", option, " is not set\n"]);
        } else {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_left_out() {
        let config = "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_LOCALVERSION=\"\"\nCONFIG_MODVERSIONS=y\n\
                      CONFIG_MODULE_SIG_KEY=\"x\"\n";
        assert_eq!(
            without_modules(config),
            "CONFIG_LOCALVERSION=\"-limit\"\nCONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_C is not set\n\
             # CONFIG_MODVERSIONS is not set\n"
        );
    }
}
