//! Building the eBPF objects.

use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::setup::{self, Extent, Toolchain, Way};
use crate::{sh, ui};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The main object: programs for kernels with BPF LSM. The name of its binary.
const MAIN: &str = "hardpan-ebpf";

/// `cargo xtask ebpf`.
pub(crate) fn run(release: bool) -> Done {
    let places = Places::find()?;
    setup::ensure(&places, Extent::Bpf, false)?;
    let object = build(&places, release)?;
    ui::data(&object.display().to_string());
    Ok(())
}

/// Builds the objects and returns the path of the main one; the others lie beside it. The path stays the same
/// whichever compiler made them, so that what depends on it is rebuilt only when the content changed.
pub(crate) fn build(places: &Places, release: bool) -> Done<PathBuf> {
    let toolchain = setup::toolchain(places)?;
    ui::step(&format!("eBPF objects, with {toolchain}"));
    let base = places.target().join("ebpf");
    let target = base.join(toolchain.way.name());
    let mut command = cargo(&toolchain);
    command
        .args([
            "build",
            "--release",
            "--package",
            MAIN,
            "--bins",
            "--target",
            setup::TARGET,
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&places.root);
    if !release && has_log_feature(places)? {
        command.args(["--features", "log"]);
    }
    sh::run(&mut command)?;
    let built = target.join(setup::TARGET).join("release");
    let out = base.join("objects");
    for name in binaries(&built)? {
        refresh(&built.join(&name), &out.join(&name))?;
    }
    let object = out.join(MAIN);
    if object.is_file() {
        return Ok(object);
    }
    Err(TaskError::Cannot {
        what: format!("the build made no {MAIN} in {}", built.display()),
        hint: None,
    })
}

fn cargo(toolchain: &Toolchain) -> Command {
    let mut command;
    match toolchain.way {
        Way::Nightly => {
            command = Command::new("rustup");
            command.args(["run", "nightly", "cargo", "-Zbuild-std=core"]);
        }
        Way::Distro => {
            command = Command::new("cargo");
            command.arg("-Zbuild-std=core");
        }
        Way::Prebuilt => command = Command::new("cargo"),
    }
    let linker = format!("-Clinker={}", toolchain.linker.display());
    let flags = [
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Else LLVM calls `memset`, a loop of five instructions for each byte, for whatever begins as zeroes: a third of what a check of an
        // execution took.
        "-Clink-arg=--disable-expand-memcpy-in-order",
        &linker,
    ];
    // What this process got from its own cargo and rustup must not reach another compiler.
    for name in [
        "RUSTC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(name);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    if toolchain.way != Way::Nightly {
        command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    }
    command
}

/// Whether the programs have diagnostics that can be switched on.
fn has_log_feature(places: &Places) -> Done<bool> {
    let manifest = places.root.join("monitor-ebpf/Cargo.toml");
    let text = String::from_utf8_lossy(&place::read(&manifest)?).into_owned();
    let manifest: toml::Table = text.parse().map_err(|error| TaskError::Cannot {
        what: format!("parsing {}: {error}", manifest.display()),
        hint: None,
    })?;
    Ok(manifest
        .get("features")
        .and_then(|features| features.get("log"))
        .is_some())
}

fn binaries(dir: &Path) -> Done<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(TaskError::file("reading", dir))? {
        let entry = entry.map_err(TaskError::file("reading", dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(MAIN) && !name.contains('.') {
            names.push(name);
        }
    }
    Ok(names)
}

/// Copies a file when the content differs, so that its time changes only then.
fn refresh(from: &Path, to: &Path) -> Done {
    let new = place::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    place::write(to, new)
}
