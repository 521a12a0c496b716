//! What the packages do not account for: executables and libraries in system directories that no package owns, and
//! set-user-id, set-group-id and capabilities on files that no package gives them.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Stat, lgetxattr};
use serde::Serialize;

use super::caps::FileCaps;
use crate::index::{DigestIndex, Owner, Provenance};
use crate::root::{Dir, Root};

/// Where programs, libraries and kernel modules are looked for by name. `/opt` and home directories are not.
pub const SYSTEM_DIRECTORIES: [&str; 15] = [
    "/bin",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/local/libexec",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/share",
];

/// Directories that may be file systems of their own and still hold programs.
const OTHER_FILE_SYSTEMS: [&str; 8] = ["/usr", "/opt", "/var", "/home", "/srv", "/boot", "/root", "/tmp"];
/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 100;
/// Most items that are reported.
pub const MAX_ITEMS: usize = 100_000;
const TYPE_MASK: u32 = 0o170_000;
/// Ends of kernel modules' names.
const MODULES: [&[u8]; 4] = [b".ko", b".ko.gz", b".ko.xz", b".ko.zst"];

/// What to look for, and where.
#[derive(Clone, Debug)]
pub struct InventoryOptions {
    /// Programs, libraries and kernel modules in [`SYSTEM_DIRECTORIES`] that no package owns.
    pub unowned: bool,
    /// Set-user-id, set-group-id and capabilities that no package gives, anywhere.
    pub rights: bool,
    /// Absolute paths inside the root: only these files, and files below these directories; empty means all.
    pub paths: Vec<PathBuf>,
}

impl Default for InventoryOptions {
    /// Everything everywhere.
    fn default() -> Self {
        Self {
            unowned: true,
            rights: true,
            paths: Vec::new(),
        }
    }
}

/// Something that no package accounts for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct InventoryItem {
    /// Path inside the root.
    #[serde(serialize_with = "super::lossy")]
    pub path: Vec<u8>,
    /// Permissions, octal; empty if they could not be looked at.
    pub mode: String,
    /// What it is.
    #[serde(flatten)]
    pub what: Unaccounted,
}

/// What no package accounts for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unaccounted {
    /// A program, library or kernel module in a system directory that no package owns.
    Unowned {
        /// "elf", "script", "library" or "module" (by its name), or "exec-bit" where only the permission says so.
        class: &'static str,
    },
    /// Set-user-id or set-group-id that the package does not give, or on a file without package.
    SpecialMode {
        /// Permissions that the package gives, octal; none without package.
        expected: Option<String>,
        /// NEVRA of the package.
        package: Option<String>,
    },
    /// Capabilities that the package does not give, or on a file without package.
    Capabilities {
        /// The capabilities.
        capabilities: String,
        /// The capabilities that the package gives; none without package.
        expected: Option<String>,
        /// NEVRA of the package.
        package: Option<String>,
    },
    /// It could not be looked at: what is in it is not accounted for.
    Unreadable {
        /// Why.
        error: String,
    },
}

/// What an inventory found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inventory {
    /// Items, sorted.
    pub items: Vec<InventoryItem>,
    /// Regular files looked at.
    pub files: u64,
    /// Set-user-id and set-group-id files that are as their packages want them.
    pub special_expected: u64,
    /// Files with capabilities as their packages want them.
    pub capabilities_expected: u64,
    /// Items beyond [`MAX_ITEMS`].
    pub dropped: u64,
}

/// Walks the file systems of a system (its root, and those mounted at the usual places; never `/proc` and the like)
/// and compares with the index of its verified packages. What a replaced package owned is not accounted for.
pub fn inventory(root: &Path, index: &DigestIndex, options: &InventoryOptions) -> io::Result<Inventory> {
    let root = Root::open(root)?;
    let mut devices = vec![root.lstat(Path::new("/"))?.st_dev];
    for path in OTHER_FILE_SYSTEMS {
        devices.extend(root.lstat(Path::new(path)).map(|stat| stat.st_dev));
    }
    let mut walk = Walk {
        index,
        options,
        devices,
        found: Inventory::default(),
    };
    let dir = root.open_dir(Path::new("/"))?;
    walk.directory(&dir, &PathBuf::from("/"), 0);
    walk.found.items.sort();
    Ok(walk.found)
}

struct Walk<'a> {
    index: &'a DigestIndex,
    options: &'a InventoryOptions,
    devices: Vec<u64>,
    found: Inventory,
}

impl Walk<'_> {
    fn add(&mut self, path: &Path, stat: Option<&Stat>, what: Unaccounted) {
        if self.found.items.len() >= MAX_ITEMS {
            self.found.dropped += 1;
            return;
        }
        self.found.items.push(InventoryItem {
            path: path.as_os_str().as_bytes().to_vec(),
            mode: stat.map(|stat| octal(stat.st_mode)).unwrap_or_default(),
            what,
        });
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        // What vanished meanwhile is no gap.
        if error.kind() != io::ErrorKind::NotFound {
            let error = error.to_string();
            self.add(path, None, Unaccounted::Unreadable { error });
        }
    }

    /// Whether a file was asked for.
    fn wants(&self, path: &Path) -> bool {
        let paths = &self.options.paths;
        paths.is_empty() || paths.iter().any(|wanted| path.starts_with(wanted))
    }

    /// Whether something below a directory may have been asked for.
    fn leads_on(&self, path: &Path) -> bool {
        let asked = self.wants(path) || self.options.paths.iter().any(|wanted| wanted.starts_with(path));
        let in_system = || {
            let mut system = SYSTEM_DIRECTORIES.iter().map(Path::new);
            system.any(|system| path.starts_with(system) || system.starts_with(path))
        };
        asked && (self.options.rights || in_system())
    }

    fn directory(&mut self, dir: &Dir, path: &Path, depth: usize) {
        let names = match dir.names() {
            Ok(names) => names,
            Err(error) => return self.unreadable(path, &error),
        };
        for name in names {
            let inner = path.join(OsStr::from_bytes(&name));
            let stat = match dir.lstat(&name) {
                Ok(stat) => stat,
                Err(error) => {
                    self.unreadable(&inner, &error);
                    continue;
                }
            };
            match stat.st_mode & TYPE_MASK {
                0o100_000 if self.wants(&inner) => self.file(dir, &name, &inner, &stat),
                0o040_000 if self.devices.contains(&stat.st_dev) && self.leads_on(&inner) => {
                    if depth >= MAX_DEPTH {
                        self.unreadable(&inner, &io::Error::other("nested too deep"));
                        continue;
                    }
                    match dir.open_dir(&name) {
                        Ok(inner_dir) => self.directory(&inner_dir, &inner, depth + 1),
                        Err(error) => self.unreadable(&inner, &error),
                    }
                }
                _ => {}
            }
        }
    }

    fn file(&mut self, dir: &Dir, name: &[u8], path: &Path, stat: &Stat) {
        self.found.files += 1;
        let mut owners = self.index.expected(path.as_os_str().as_bytes());
        owners.retain(|owner| owner.provenance() != Provenance::Retired);
        let executable = stat.st_mode & 0o111 != 0;
        if self.options.rights {
            self.special_mode(path, stat, &owners);
            if executable && let Some(caps) = capabilities(dir, name) {
                self.capabilities(path, stat, caps, &owners);
            }
        }
        let in_system = || SYSTEM_DIRECTORIES.iter().any(|system| path.starts_with(system));
        if self.options.unowned
            && owners.is_empty()
            && in_system()
            && let Some(class) = class(dir, name, executable)
        {
            self.add(path, Some(stat), Unaccounted::Unowned { class });
        }
    }

    fn special_mode(&mut self, path: &Path, stat: &Stat, owners: &[Owner<'_>]) {
        let special = stat.st_mode & 0o6000;
        if special == 0 {
            return;
        }
        if owners.iter().any(|owner| owner.mode() & 0o6000 == special) {
            self.found.special_expected += 1;
            return;
        }
        let owner = owners.first();
        let what = Unaccounted::SpecialMode {
            expected: owner.map(|owner| octal(owner.mode())),
            package: owner.map(package),
        };
        self.add(path, Some(stat), what);
    }

    fn capabilities(&mut self, path: &Path, stat: &Stat, found: FileCaps, owners: &[Owner<'_>]) {
        let given = |owner: &Owner<'_>| {
            owner
                .capabilities()
                .and_then(|text| FileCaps::from_text(text.as_bytes()))
                .unwrap_or_default()
        };
        if owners.iter().any(|owner| given(owner) == found) {
            self.found.capabilities_expected += 1;
            return;
        }
        let owner = owners.first();
        let what = Unaccounted::Capabilities {
            capabilities: found.to_string(),
            expected: owner.map(|owner| given(owner).to_string()),
            package: owner.map(package),
        };
        self.add(path, Some(stat), what);
    }
}

fn octal(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

fn package(owner: &Owner<'_>) -> String {
    owner.package().nevra().to_string()
}

/// Capabilities of a file, if it has any, without opening it.
fn capabilities(dir: &Dir, name: &[u8]) -> Option<FileCaps> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut bytes = [0; 64];
    let len = lgetxattr(path, "security.capability", &mut bytes).ok()?;
    bytes
        .get(..len)
        .and_then(FileCaps::from_xattr)
        .filter(|caps| !caps.is_empty())
}

/// What makes a file run: its first bytes, its name or its permissions.
fn class(dir: &Dir, name: &[u8], executable: bool) -> Option<&'static str> {
    let mut first = [0; 4];
    let readable = dir
        .open_file(name)
        .is_ok_and(|mut file| file.read_exact(&mut first).is_ok());
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    match first {
        _ if MODULES.iter().any(|end| name.ends_with(end)) => Some("module"),
        [0x7f, b'E', b'L', b'F'] if readable => Some("elf"),
        [b'#', b'!', ..] if readable && executable => Some("script"),
        // Whatever is in it now: the loader takes what is called so.
        _ if name.ends_with(b".so") || has(b".so.") => Some("library"),
        _ if executable => Some("exec-bit"),
        _ => None,
    }
}
