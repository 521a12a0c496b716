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
use crate::index::{DigestIndex, Owner};
use crate::root::{Dir, Root};

/// Where everything that can run belongs to packages. `/usr/local` and `/opt` are the administrator's.
pub const SYSTEM_DIRECTORIES: [&str; 10] = [
    "/bin",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
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

/// Something that no package accounts for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum InventoryItem {
    /// An executable or library in a system directory that no package owns.
    Unowned {
        /// Path.
        path: String,
        /// "elf", "script", or "exec-bit" where only the permission says so.
        class: &'static str,
    },
    /// Set-user-id or set-group-id that the package does not give, or on a file without package.
    SpecialMode {
        /// Path.
        path: String,
        /// Permissions, octal.
        mode: String,
        /// Permissions that the package gives, octal; none without package.
        expected: Option<String>,
        /// NEVRA of the package.
        package: Option<String>,
    },
    /// Capabilities that the package does not give, or on a file without package.
    Capabilities {
        /// Path.
        path: String,
        /// The capabilities.
        capabilities: String,
        /// The capabilities that the package gives; none without package.
        expected: Option<String>,
        /// NEVRA of the package.
        package: Option<String>,
    },
    /// A directory that could not be read: what is in it is not accounted for.
    Unreadable {
        /// Path.
        path: String,
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
/// and compares with the index of its verified packages.
pub fn inventory(root: &Path, index: &DigestIndex) -> io::Result<Inventory> {
    let root = Root::open(root)?;
    let mut devices = vec![root.lstat(Path::new("/"))?.st_dev];
    for path in OTHER_FILE_SYSTEMS {
        devices.extend(root.lstat(Path::new(path)).map(|stat| stat.st_dev));
    }
    let mut walk = Walk {
        index,
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
    devices: Vec<u64>,
    found: Inventory,
}

impl Walk<'_> {
    fn add(&mut self, item: InventoryItem) {
        if self.found.items.len() < MAX_ITEMS {
            self.found.items.push(item);
        } else {
            self.found.dropped += 1;
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        // What vanished meanwhile is no gap.
        if error.kind() != io::ErrorKind::NotFound {
            self.add(InventoryItem::Unreadable {
                path: path.display().to_string(),
                error: error.to_string(),
            });
        }
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
                0o100_000 => self.file(dir, &name, &inner, &stat),
                0o040_000 if self.devices.contains(&stat.st_dev) => {
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
        let owners = self.index.expected(path.as_os_str().as_bytes());
        let shown = || path.display().to_string();
        let special = stat.st_mode & 0o6000;
        if special != 0 {
            if owners.iter().any(|owner| owner.mode() & 0o6000 == special) {
                self.found.special_expected += 1;
            } else {
                let owner = owners.first();
                self.add(InventoryItem::SpecialMode {
                    path: shown(),
                    mode: format!("{:04o}", stat.st_mode & 0o7777),
                    expected: owner.map(|owner| format!("{:04o}", owner.mode() & 0o7777)),
                    package: owner.map(package),
                });
            }
        }
        let executable = stat.st_mode & 0o111 != 0;
        if executable && let Some(caps) = capabilities(dir, name) {
            self.capabilities(path, caps, &owners);
        }
        let in_system = SYSTEM_DIRECTORIES.iter().any(|system| path.starts_with(system));
        if owners.is_empty()
            && in_system
            && let Some(class) = class(dir, name, executable)
        {
            self.add(InventoryItem::Unowned { path: shown(), class });
        }
    }

    fn capabilities(&mut self, path: &Path, found: FileCaps, owners: &[Owner<'_>]) {
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
        self.add(InventoryItem::Capabilities {
            path: path.display().to_string(),
            capabilities: found.to_string(),
            expected: owner.map(|owner| given(owner).to_string()),
            package: owner.map(package),
        });
    }
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

/// What makes a file run, by its first bytes or its permissions.
fn class(dir: &Dir, name: &[u8], executable: bool) -> Option<&'static str> {
    let mut first = [0; 4];
    let readable = dir
        .open_file(name)
        .is_ok_and(|mut file| file.read_exact(&mut first).is_ok());
    match first {
        [0x7f, b'E', b'L', b'F'] if readable => Some("elf"),
        [b'#', b'!', ..] if readable && executable => Some("script"),
        _ if executable => Some("exec-bit"),
        _ => None,
    }
}
