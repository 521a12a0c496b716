//! The compiler for eBPF programs: three ways, chosen by looking.
//!
//! rustc needs a `core` for the BPF target and bpf-linker an LLVM at least as new as rustc's. A released compiler is
//! taken before a nightly: the programs must please the verifiers of old kernels, and a nightly changes under them.

use super::packages::{Manager, apt_knows, dnf_knows};
use crate::error::{Done, TaskError};
use crate::place::{Places, program};
use crate::{sh, ui};
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's rustc and its `core` for BPF.
pub(super) const PREBUILT_PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf"];
/// The same compiler with the source of `core`, as in `rust` and `rust-src` of EL's AppStream.
const SOURCE_PACKAGES: &[&str] = &["rustc-web", "rust-web-src"];
const DISTRO_RUSTC: &str = "/usr/bin/rustc";
/// The target that eBPF programs are compiled for.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// Overrides the choice: `prebuilt`, `distro` or `nightly`.
const CHOICE: &str = "HARDPAN_BPF_TOOLCHAIN";

/// A way to a BPF compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Debian's rustc with its prebuilt `core` for BPF.
    Prebuilt,
    /// A distribution's rustc with rust-src and `RUSTC_BOOTSTRAP=1`, which builds `core` itself.
    Distro,
    /// rustup's nightly with rust-src, which builds `core` itself.
    Nightly,
}

/// A way that is ready for use.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    /// Which way.
    pub(crate) way: Way,
    /// First line of `rustc -V`.
    version: String,
    /// Path of bpf-linker.
    pub(crate) linker: PathBuf,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Prebuilt => "the distribution's rustc and its prebuilt core for BPF",
            Way::Distro => "the distribution's rustc and rust-src (RUSTC_BOOTSTRAP=1, -Z build-std)",
            Way::Nightly => "rustup's nightly and rust-src (-Z build-std)",
        };
        write!(f, "{way}: {}", self.version)
    }
}

/// What must be installed for a way.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) packages: Vec<String>,
    pub(super) commands: Vec<Vec<String>>,
}

const WAYS: [Way; 3] = [Way::Prebuilt, Way::Distro, Way::Nightly];

impl Way {
    /// The name of its build folder and in `HARDPAN_BPF_TOOLCHAIN`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Prebuilt => "prebuilt",
            Self::Distro => "distro",
            Self::Nightly => "nightly",
        }
    }

    fn rustc(self) -> Command {
        let mut command;
        if self == Self::Nightly {
            command = Command::new("rustup");
            command.args(["run", "nightly", "rustc"]);
        } else {
            command = Command::new(DISTRO_RUSTC);
        }
        command.env_remove("RUSTUP_TOOLCHAIN");
        command
    }

    /// rustc with a `core` for BPF, be it prebuilt or as source.
    fn has_core(self) -> bool {
        let Ok(sysroot) = sh::output(self.rustc().args(["--print", "sysroot"])) else {
            return false;
        };
        let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
        match self {
            Self::Prebuilt => fs::read_dir(rustlib.join(TARGET).join("lib")).is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore"))
                })
            }),
            Self::Distro | Self::Nightly => rustlib.join("src/rust/library/core/Cargo.toml").is_file(),
        }
    }

    fn llvm_major(self) -> Option<u32> {
        llvm_major(&sh::output(self.rustc().arg("-vV")).ok()?)
    }
}

/// The first way that has everything.
pub(super) fn ready(places: &Places) -> Option<Toolchain> {
    allowed().into_iter().find_map(|way| {
        if !way.has_core() {
            return None;
        }
        let linker = linker_for(places, way.llvm_major()?)?;
        let version = sh::output(way.rustc().arg("-V")).ok()?.trim().to_owned();
        Some(Toolchain { way, version, linker })
    })
}

fn allowed() -> Vec<Way> {
    let choice = env::var(CHOICE).unwrap_or_default();
    WAYS.into_iter()
        .filter(|way| choice.is_empty() || way.name() == choice)
        .collect()
}

/// What to install, when no way is ready. A way whose compiler is there already needs only the linker; one whose
/// LLVM the distribution does not have (a nightly is often ahead) leads nowhere.
pub(super) fn plan(places: &Places, manager: Option<&Manager>) -> Done<Plan> {
    let ways = allowed();
    let with_core = ways.iter().filter(|way| way.has_core()).find_map(|way| {
        let packages = llvm_packages(manager, way.llvm_major());
        let can_install = packages
            .iter()
            .all(|name| manager != Some(&Manager::Apt) || apt_knows(name));
        can_install.then_some(Plan {
            packages,
            commands: Vec::new(),
        })
    });
    with_core.or_else(|| ways.iter().find_map(|way| plan_of(*way, manager))).ok_or_else(|| {
        TaskError::cannot(
            "no way to a compiler for eBPF programs: neither the distribution nor rustup brings one that fits an LLVM \
             of the distribution",
            format!(
                "install a rustc with a core for {TARGET} (or rust-src), the development files of an LLVM that is not \
                 older than that rustc's (`rustc -vV`), and bpf-linker built with it into {}",
                places.tools().display()
            ),
        )
    })
}

fn plan_of(way: Way, manager: Option<&Manager>) -> Option<Plan> {
    match (way, manager) {
        (Way::Prebuilt, Some(Manager::Apt)) if PREBUILT_PACKAGES.iter().all(|name| apt_knows(name)) => {
            Some(apt_plan(manager, PREBUILT_PACKAGES)?)
        }
        (Way::Distro, Some(Manager::Apt)) if SOURCE_PACKAGES.iter().all(|name| apt_knows(name)) => {
            Some(apt_plan(manager, SOURCE_PACKAGES)?)
        }
        (Way::Distro, Some(Manager::Dnf(dnf))) if dnf_knows(dnf, "rust-src") => {
            let mut packages: Vec<_> = ["rust", "rust-src", "cargo"].map(str::to_owned).into();
            packages.extend(llvm_packages(manager, None));
            Some(Plan {
                packages,
                commands: Vec::new(),
            })
        }
        (Way::Nightly, _) if program("rustup").is_some() && !way.has_core() => {
            let fetch =
                "rustup toolchain install nightly --profile minimal --component rust-src --no-self-update";
            // The nightly's LLVM is known only once it is there; `ensure` then comes back for the rest.
            let major = Way::Nightly.llvm_major();
            Some(Plan {
                packages: llvm_packages(manager, major),
                commands: vec![fetch.split(' ').map(str::to_owned).collect()],
            })
        }
        _ => None,
    }
}

/// Debian's compiler with one kind of `core`, and the LLVM that it was built with.
fn apt_plan(manager: Option<&Manager>, names: &[&str]) -> Option<Plan> {
    let tree = ["depends", "--recurse", "--important", "rustc-web"];
    let tree = sh::output(Command::new("apt-cache").args(tree)).ok()?;
    let mut packages: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    packages.extend(llvm_packages(manager, depends_on_llvm(&tree)));
    Some(Plan {
        packages,
        commands: Vec::new(),
    })
}

fn llvm_packages(manager: Option<&Manager>, major: Option<u32>) -> Vec<String> {
    match (manager, major) {
        (Some(Manager::Apt), Some(major)) if llvm_prefix(major).is_none() => {
            vec![format!("llvm-{major}-dev")]
        }
        (Some(Manager::Dnf(_)), _) if program("llvm-config").is_none() => {
            ["llvm-devel", "zlib-devel", "libzstd-devel", "gcc-c++"]
                .map(str::to_owned)
                .into()
        }
        _ => Vec::new(),
    }
}

/// Builds bpf-linker for the compiler that is there now.
pub(super) fn install_linker(places: &Places) -> Done {
    let majors: Vec<u32> = allowed()
        .into_iter()
        .filter(|way| way.has_core())
        .filter_map(Way::llvm_major)
        .collect();
    let Some((major, prefix)) = majors
        .iter()
        .find_map(|major| Some((*major, llvm_prefix(*major)?)))
    else {
        return Err(TaskError::cannot(
            format!(
                "bpf-linker must be built with an LLVM as new as rustc's ({majors:?}), and none is installed"
            ),
            "install the development files of that LLVM (Debian: llvm-VERSION-dev, EL: llvm-devel)",
        ));
    };
    if linker_for(places, major).is_some() {
        return Ok(());
    }
    ui::step("building bpf-linker (about two minutes)");
    let (version, feature) = linker_release(major);
    sh::run(
        Command::new("cargo")
            .args([
                "install",
                "--quiet",
                "--locked",
                "bpf-linker",
                "--version",
                version,
                "--no-default-features",
            ])
            .args(["--features", &feature, "--force", "--root"])
            .arg(places.tools())
            .env("LLVM_PREFIX", &prefix)
            // Older releases of llvm-sys read this name instead.
            .env(format!("LLVM_SYS_{major}1_PREFIX"), &prefix)
            .env_remove("CARGO_TARGET_DIR")
            .current_dir("/"),
    )
}

/// The release of bpf-linker that knows this LLVM, and its feature.
fn linker_release(major: u32) -> (&'static str, String) {
    let version = if major <= 20 { "0.9.15" } else { "0.13.0" };
    (version, format!("llvm-{major}"))
}

/// bpf-linker in the cache, if it was built with an LLVM that reads this compiler's bitcode.
fn linker_for(places: &Places, major: u32) -> Option<PathBuf> {
    let path = places.tools().join("bin/bpf-linker");
    let record = fs::read_to_string(places.tools().join(".crates2.json")).ok()?;
    let built_with = linker_llvm(&record)?;
    (built_with >= major && sh::succeeds(Command::new(&path).arg("--version"))).then_some(path)
}

/// The LLVM that cargo's record of installed programs says bpf-linker was built with.
fn linker_llvm(record: &str) -> Option<u32> {
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    let (_, install) = record
        .get("installs")?
        .as_object()?
        .iter()
        .find(|(name, _)| name.starts_with("bpf-linker "))?;
    install
        .get("features")?
        .as_array()?
        .iter()
        .find_map(|name| name.as_str()?.strip_prefix("llvm-")?.parse().ok())
}

/// Where LLVM of this major version or newer is installed, with its `llvm-config`.
fn llvm_prefix(major: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{major}"));
    if debian.join("include/llvm-c/Core.h").is_file() {
        return Some(debian);
    }
    let text = sh::output(Command::new("llvm-config").args(["--version", "--prefix"])).ok()?;
    let (version, prefix) = text.trim().split_once('\n')?;
    (version.split('.').next()?.parse() == Ok(major)).then(|| PathBuf::from(prefix))
}

/// The major version in `rustc -vV`.
fn llvm_major(verbose: &str) -> Option<u32> {
    let line = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

/// The major version of the libLLVM in a tree of Debian packages, as `apt-cache depends --recurse` prints it.
fn depends_on_llvm(tree: &str) -> Option<u32> {
    tree.lines()
        .find_map(|line| line.strip_prefix("libllvm")?.split(':').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_tools_say() {
        assert_eq!(
            llvm_major("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n"),
            Some(22)
        );
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
        let tree =
            "rustc-web\n  Depends: libstd-rust-web-1.96\n  Depends: libllvm22\nlibllvm22\n  Depends: libc6\n";
        assert_eq!(depends_on_llvm(tree), Some(22));
        assert_eq!(depends_on_llvm("rustc-web\n  Depends: libc6\n"), None);
        let record = r#"{"installs":{"other 1.0.0 (r)":{"features":["llvm-9"]},
            "bpf-linker 0.13.0 (r)":{"features":["llvm-22"],"bins":["bpf-linker"]}}}"#;
        assert_eq!(linker_llvm(record), Some(22));
        assert_eq!(linker_llvm("{}"), None);
    }

    #[test]
    fn each_llvm_has_a_linker_release() {
        assert_eq!(linker_release(20), ("0.9.15", "llvm-20".to_owned()));
        assert_eq!(linker_release(22), ("0.13.0", "llvm-22".to_owned()));
    }
}
