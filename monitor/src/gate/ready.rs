//! May the gate enforce? Only if everything that runs, and everything that must be able to run, would be let run.

use super::Entries;
use crate::crypto::sha256_of;
use hardpan_abi::{GateAction, GateClass, GateKind};
use hardpan_core::policy::gate::{GateTable, class_word};
use nix::sys::stat::{SFlag, fstat};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Obstacles that are told, at most.
const TOLD: usize = 20;
/// Largest file that is hashed for this.
const MAX_BYTES: u64 = hardpan_abi::GATE_HASH_SIGNED_BYTES;

/// Something that would be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The file, as the process sees it.
    pub path: String,
    /// A process that runs or maps it; `None`: the policy says that it must be able to run.
    pub pid: Option<u32>,
    /// Why it would be refused.
    pub why: String,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(pid) = self.pid {
            write!(f, " (pid {pid})")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// A file that is mapped executable somewhere.
#[derive(Debug)]
pub(super) struct Mapped {
    pid: u32,
    /// The link in `/proc` that opens the very inode, even if it was deleted.
    pub(super) link: PathBuf,
    path: String,
    kind: GateKind,
}

/// Looks at every executable mapping of every process below `proc`, and at the paths that must be able to run. What
/// would be refused, the first ones, and how many in all. Blocks: it hashes each file once.
pub fn obstacles(
    proc: &Path,
    required: &[String],
    entries: &Entries,
    table: &GateTable,
) -> (Vec<Obstacle>, usize) {
    let mut found = Vec::new();
    for mapped in mappings(proc).into_values() {
        let why = match File::open(&mapped.link) {
            Ok(file) => judge(&file, &mapped.path, mapped.kind, entries, table),
            // The process has ended meanwhile.
            Err(_) if !proc.join(mapped.pid.to_string()).exists() => None,
            Err(error) => Some(format!("it cannot be opened: {error}")),
        };
        if let Some(why) = why {
            found.push(Obstacle {
                path: mapped.path,
                pid: Some(mapped.pid),
                why,
            });
        }
    }
    for path in required {
        // What is not installed need not run.
        let Ok(file) = File::open(path) else { continue };
        if let Some(why) = judge(&file, path, GateKind::Exec, entries, table) {
            found.push(Obstacle {
                path: path.clone(),
                pid: None,
                why,
            });
        }
    }
    let n_found = found.len();
    found.truncate(TOLD);
    (found, n_found)
}

/// `None`: it would be let run.
fn judge(file: &File, path: &str, kind: GateKind, entries: &Entries, table: &GateTable) -> Option<String> {
    let stat = match fstat(file) {
        Ok(stat) => stat,
        Err(errno) => return Some(format!("it cannot be looked at: {errno}")),
    };
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return None;
    }
    let digest = match sha256_of(file.take(MAX_BYTES)) {
        Ok((digest, _)) => digest,
        Err(error) => return Some(format!("it cannot be read: {error}")),
    };
    let entry = entries.by_digest.get(&digest);
    let mut class = entries.class(&digest);
    let marks = entry.map_or(0, |entry| entry.marks);
    if class == GateClass::Unknown {
        class = if stat.st_nlink == 0 {
            GateClass::Fileless
        } else if entries.is_packaged(path.as_bytes()) {
            GateClass::Mismatch
        } else {
            GateClass::Untrusted
        };
    }
    (table.action_of_content(kind, class, marks) >= GateAction::Deny).then(|| {
        format!(
            "{}: no signed package or manifest lists its digest {}",
            class_word(class).unwrap_or("unknown"),
            hex::encode(digest)
        )
    })
}

/// Executable mappings of all processes, one per inode.
pub(super) fn mappings(proc: &Path) -> BTreeMap<(String, u64), Mapped> {
    let mut found = BTreeMap::new();
    let Ok(processes) = fs::read_dir(proc) else {
        return found;
    };
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let dir = process.path();
        let own = fs::read_link(dir.join("exe")).ok();
        let Ok(maps) = fs::read(dir.join("maps")) else {
            continue;
        };
        for line in maps.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let Some((range, inode, device, path)) = executable(&line) else {
                continue;
            };
            let is_program = own.as_ref().is_some_and(|own| own.as_os_str() == path);
            let mapped = Mapped {
                pid,
                link: dir.join("map_files").join(range),
                path: path.to_owned(),
                kind: if is_program {
                    GateKind::Exec
                } else {
                    GateKind::Library
                },
            };
            found.entry((device.to_owned(), inode)).or_insert(mapped);
        }
    }
    found
}

/// Range, inode, device and path of an executable mapping of a file.
fn executable(line: &str) -> Option<(String, u64, &str, &str)> {
    // 7f2c-7f2d r-xp 00001000 fd:00 1234   /usr/lib64/libc.so.6
    let mut fields = line.splitn(6, ' ');
    let range = fields.next()?;
    let access = fields.next()?;
    let _offset = fields.next()?;
    let device = fields.next()?;
    let inode: u64 = fields.next()?.parse().ok()?;
    let path = fields.next()?.trim_start();
    (access.as_bytes().get(2) == Some(&b'x') && inode != 0).then(|| (canonical(range), inode, device, path))
}

/// `map_files` writes addresses without leading zeros, `maps` with at least eight digits.
fn canonical(range: &str) -> String {
    range
        .split('-')
        .map(|end| match end.trim_start_matches('0') {
            "" => "0",
            end => end,
        })
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_abi::TrustedEntry;

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, u64, &str)>) {
        let found = executable(line);
        let found = found
            .as_ref()
            .map(|(range, inode, _, path)| (range.as_str(), *inode, *path));
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_of_maps() {
        check(
            "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon",
            Some(("400000-452000", 173_521, "/usr/bin/dbus-daemon")),
        );
        check(
            "7f0000000000-7f0000001000 r-xp 00000000 00:01 9 /memfd:x y (deleted)",
            Some(("7f0000000000-7f0000001000", 9, "/memfd:x y (deleted)")),
        );
        check(
            "7ffc0000-7ffd0000 r-xp 00000000 00:00 0                  [vdso]",
            None,
        );
        check("7f00-7f01 rw-p 00000000 08:02 5 /usr/lib/x.so", None);
        check("", None);
        check("7f00-7f01 r-xp", None);
    }

    #[test]
    fn this_process_is_an_obstacle_unless_its_files_are_trusted() {
        let table = GateTable {
            actions: [[GateAction::Deny as u8; GateClass::SLOTS]; GateKind::SLOTS],
            ..GateTable::default()
        };
        let mut table_allowing = table.clone();
        for classes in &mut table_allowing.actions {
            classes[GateClass::Trusted as usize] = GateAction::Allow as u8;
        }
        let own = fs::read_link("/proc/self/exe").unwrap();
        let own = own.to_str().unwrap();
        let required = [own.to_owned(), "/nowhere/at/all".to_owned()];
        let none = tempfile::tempdir().unwrap();
        let (found, n) = obstacles(none.path(), &required, &Entries::default(), &table);
        assert_eq!((found.len(), n), (1, 1));
        assert!(found[0].to_string().contains(own), "{}", found[0]);
        let mut entries = Entries::default();
        let class = GateClass::Trusted as u32;
        let (digest, _) = sha256_of(File::open(own).unwrap()).unwrap();
        entries.by_digest.insert(
            digest,
            TrustedEntry {
                class,
                marks: 0,
                capabilities: 0,
            },
        );
        let (found, _) = obstacles(none.path(), &required, &entries, &table_allowing);
        assert!(found.is_empty(), "{found:?}");
        // The real /proc: this test's own text is mapped executable.
        let (_, n) = obstacles(Path::new("/proc"), &[], &Entries::default(), &table);
        assert!(n > 0);
    }
}
