//! Kernels to boot: downloaded from Debian, the host's own, or one brought from outside.

use super::qemu::Firmware;
use super::{apt, attack, limited};
use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use crate::{sh, ui};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// Short name for the command line and tables.
    pub(crate) name: String,
    /// The bzImage.
    pub(crate) image: PathBuf,
    /// Its modules (`…/lib/modules/RELEASE`), where it has any.
    pub(crate) modules: Option<PathBuf>,
    /// The tier that it is known to allow.
    pub(crate) tier: Option<&'static str>,
    /// More kernel command line.
    pub(crate) append: &'static str,
    /// The attack module built for it.
    pub(crate) attack: Option<PathBuf>,
    /// One processor whose clock counts instructions: a guest's nanosecond is one of them.
    pub(crate) counts: bool,
    /// The firmware that starts it; without one QEMU does.
    pub(crate) firmware: Option<Firmware>,
}

impl Kernel {
    /// `uname -r`, as far as the modules' folder tells it.
    pub(crate) fn release(&self) -> Option<String> {
        Some(self.modules.as_ref()?.file_name()?.to_string_lossy().into_owned())
    }
}

/// A kernel of Debian's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Debian {
    pub(crate) name: &'static str,
    /// The tier that it is known to allow: less than that is a regression.
    tier: &'static str,
    /// Suites that usually have it.
    pub(super) suites: &'static [&'static str],
    /// Suites to look in as well when those do not: it moved.
    pub(super) more_suites: &'static [&'static str],
    /// Name of the package with the image: what comes before and after the version.
    image: (&'static str, &'static str),
    /// The same for the modules, where they are in a package of their own.
    modules: Option<(&'static str, &'static str)>,
}

const CLOUD: &str = "-cloud-amd64";

/// The matrix, with the EL release whose kernel is close. (5.10 lies below EL 8.10, `newest` is what comes.)
pub(crate) const MATRIX: [Debian; 4] = [
    Debian {
        name: "5.10",
        tier: "B",
        suites: &["bullseye-security"],
        more_suites: &["bullseye"],
        image: ("linux-image-5.10.", CLOUD),
        modules: None,
    },
    // EL 9
    Debian {
        name: "6.1",
        tier: "A",
        suites: &["bookworm-security"],
        more_suites: &["bookworm"],
        image: ("linux-image-6.1.", CLOUD),
        modules: None,
    },
    // EL 10
    Debian {
        name: "6.12",
        tier: "A",
        // Both, whatever was asked for beside it: the newest of them. 6.12.95 of the backports fell in four of seven boots to
        // what QEMU 7.2 makes of the flags behind a `cmpxchg16b`; 6.12.117 never did.
        suites: &["bookworm-security", "bookworm-backports"],
        more_suites: &["bookworm", "trixie-security", "trixie"],
        image: ("linux-image-6.12.", CLOUD),
        modules: None,
    },
    Debian {
        name: "newest",
        tier: "A",
        suites: &["forky"],
        more_suites: &["sid"],
        image: ("linux-binary-", CLOUD),
        modules: Some(("linux-modules-", CLOUD)),
    },
];

/// A kernel of the matrix with another command line. Run only when asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// Name in the matrix.
    base: &'static str,
    append: &'static str,
    tier: &'static str,
}

/// Kernels whose administrators switched something off.
pub(crate) const VARIANTS: [Variant; 1] = [Variant {
    name: "6.12-nolsm",
    base: "6.12",
    append: "lsm=lockdown,yama",
    tier: "C",
}];

/// What the cache remembers of a downloaded kernel.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    packages: Vec<String>,
    release: String,
}

/// The kernels asked for, downloaded where needed. Without names: the whole matrix.
pub(crate) fn select(places: &Places, names: &[String]) -> Done<Vec<Kernel>> {
    if program("apt-get").is_none() || program("dpkg").is_none() {
        return Ok(vec![host()?]);
    }
    for name in names {
        if name != "host" && !names_known().any(|known| known == name) {
            let known: Vec<_> = names_known().collect();
            return Err(TaskError::cannot(
                format!("no kernel is named {name}"),
                format!(
                    "there are {} and host; `--kernel-image FILE` takes any other",
                    known.join(", ")
                ),
            ));
        }
    }
    let mut kernels = Vec::new();
    let mut session = None;
    for debian in MATRIX
        .iter()
        .filter(|kernel| names.is_empty() || names.iter().any(|name| name == kernel.name))
    {
        let mut kernel = debian.fetch(places, &mut session)?;
        kernel.attack = Some(attack::build(places, debian, &kernel, &mut session)?);
        kernels.push(kernel);
    }
    for variant in VARIANTS
        .iter()
        .filter(|variant| names.iter().any(|name| name == variant.name))
    {
        for base in MATRIX.iter().filter(|kernel| kernel.name == variant.base) {
            let mut kernel = base.fetch(places, &mut session)?;
            kernel.attack = Some(attack::build(places, base, &kernel, &mut session)?);
            let (name, append, tier) = (variant.name.into(), variant.append, Some(variant.tier));
            kernels.push(Kernel {
                name,
                tier,
                append,
                ..kernel
            });
        }
    }
    if names.iter().any(|name| name == limited::NAME) {
        kernels.push(limited::select(places, &mut session)?);
    }
    if names.iter().any(|name| name == "host") {
        kernels.push(host()?);
    }
    Ok(kernels)
}

fn names_known() -> impl Iterator<Item = &'static str> {
    MATRIX
        .iter()
        .map(|kernel| kernel.name)
        .chain(VARIANTS.iter().map(|variant| variant.name))
        .chain([limited::NAME])
}

/// A kernel brought from outside. It brings no modules.
pub(crate) fn outside(image: &Path) -> Done<Kernel> {
    let image = fs::canonicalize(image).map_err(TaskError::file("finding the kernel image", image))?;
    let name = image
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Kernel {
        name,
        image,
        modules: None,
        tier: None,
        append: "",
        attack: None,
        counts: false,
        firmware: None,
    })
}

/// The host's own newest kernel.
fn host() -> Done<Kernel> {
    let hint = "give one with --kernel-image FILE";
    let entries = fs::read_dir("/boot").map_err(TaskError::file("reading", "/boot"))?;
    let mut images: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("vmlinuz-") && !name.contains("rescue"))
        .collect();
    images.sort_by_key(|name| version_key(name));
    let name = images
        .pop()
        .ok_or_else(|| TaskError::cannot("there is no /boot/vmlinuz-* to boot", hint))?;
    let release = name.trim_start_matches("vmlinuz-").to_owned();
    let modules = Path::new("/lib/modules").join(&release);
    let image = Path::new("/boot").join(&name);
    fs::File::open(&image).map_err(TaskError::file("opening", &image))?;
    Ok(Kernel {
        name: "host".into(),
        image,
        modules: modules.is_dir().then_some(modules),
        tier: None,
        append: "",
        attack: None,
        counts: false,
        firmware: None,
    })
}

impl Debian {
    pub(super) fn fetch(&self, places: &Places, session: &mut Option<apt::Session>) -> Done<Kernel> {
        let dir = places.cache.join("kernels").join(self.name);
        if let Some(kernel) = self.cached(&dir) {
            return Ok(kernel);
        }
        ui::step(&format!("downloading kernel {}", self.name));
        let session = match session {
            Some(session) => session,
            None => session.insert(apt::Session::open(places)?),
        };
        let names = session.newest(
            self,
            &[Some(self.image), self.modules]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        )?;
        let scratch = tempfile::tempdir_in(&places.cache)
            .map_err(TaskError::file("creating a folder in", &places.cache))?;
        let tree = scratch.path().join("tree");
        for package in session.download(&names, scratch.path())? {
            ui::say(&format!(
                "  unpacking {}",
                package.file_name().unwrap_or_default().to_string_lossy()
            ));
            sh::quiet(Command::new("dpkg").arg("-x").arg(&package).arg(&tree))?;
        }
        let modules = modules_folder(&tree)?;
        let release = modules
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let image = [
            tree.join("boot").join(format!("vmlinuz-{release}")),
            modules.join("vmlinuz"),
        ]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| TaskError::Cannot {
            what: format!("no vmlinuz in {}", names.join(" and ")),
            hint: None,
        })?;
        let done = scratch.path().join("done");
        place::copy(&image, &done.join("vmlinuz"))?;
        let kept = done.join("modules").join(&release);
        place::make_dir(&done.join("modules"))?;
        fs::rename(&modules, &kept).map_err(TaskError::file("moving", &modules))?;
        let record = serde_json::to_vec(&Record {
            packages: names,
            release,
        })
        .unwrap_or_default();
        place::write(&done.join("kernel.json"), record)?;
        // Last and in one go: an interrupted download leaves nothing that looks finished.
        drop(fs::remove_dir_all(&dir));
        if let Some(parent) = dir.parent() {
            place::make_dir(parent)?;
        }
        fs::rename(&done, &dir).map_err(TaskError::file("moving a kernel to", &dir))?;
        self.cached(&dir).ok_or_else(|| TaskError::Cannot {
            what: format!("{} is incomplete", dir.display()),
            hint: None,
        })
    }

    fn cached(&self, dir: &Path) -> Option<Kernel> {
        let record: Record = serde_json::from_slice(&fs::read(dir.join("kernel.json")).ok()?).ok()?;
        let kernel = Kernel {
            name: self.name.into(),
            image: dir.join("vmlinuz"),
            modules: Some(dir.join("modules").join(&record.release)),
            tier: Some(self.tier),
            append: "",
            attack: None,
            counts: false,
            firmware: None,
        };
        kernel.image.is_file().then_some(kernel)
    }
}

fn modules_folder(tree: &Path) -> Done<PathBuf> {
    for base in ["lib/modules", "usr/lib/modules"] {
        let mut entries = fs::read_dir(tree.join(base)).into_iter().flatten();
        if let Some(Ok(entry)) = entries.next() {
            return Ok(entry.path());
        }
    }
    Err(TaskError::Cannot {
        what: format!("no kernel modules in {}", tree.display()),
        hint: None,
    })
}

/// Sorts versions as people read them: runs of digits as numbers.
pub(super) fn version_key(text: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let words = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(words);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        key.push((number.parse().unwrap_or(0), word.to_owned()));
        rest = tail;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_sort_later() {
        let mut names = [
            "6.12.9",
            "6.12.43+deb12",
            "6.12.90+deb12.1",
            "6.1.0-9",
            "6.12.90+deb12",
            "6.1.0-55",
        ];
        names.sort_by_key(|name| version_key(name));
        assert_eq!(
            names,
            [
                "6.1.0-9",
                "6.1.0-55",
                "6.12.9",
                "6.12.43+deb12",
                "6.12.90+deb12",
                "6.12.90+deb12.1"
            ]
        );
    }
}
