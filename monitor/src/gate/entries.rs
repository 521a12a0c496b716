//! From trust to what the kernel's map of digests holds.

use crate::crypto;
use crate::harden::Root;
use crate::trust::LoadedTrust;
use hardpan_abi::{GateClass, TrustedEntry, path_number, trusted_mark};
use hardpan_core::policy::gate::GateTable;
use hardpan_core::policy::harden::Host as _;
use hardpan_rpm::{Owner, Provenance, usr_merge_alias};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Largest changed configuration file that is looked at.
const CONFIG_MAX_BYTES: usize = 16 << 20;

/// Scripts that are looked at in advance, at most.
const MOST_SCRIPTS: usize = 50_000;
/// What sources of programs end with.
const SOURCES: [&str; 9] = [".bash", ".js", ".lua", ".php", ".pl", ".py", ".rb", ".sh", ".tcl"];

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// The content of the kernel's map: an entry by digest, and the sizes of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// By SHA-256.
    pub by_digest: BTreeMap<[u8; 32], TrustedEntry>,
    /// Sizes of the files, in bytes.
    pub sizes: Vec<u64>,
    /// Numbers of the paths that packages list, ascending: another content there is a changed file.
    pub packaged: Vec<u64>,
}

impl Entries {
    /// What the kernel would say of content with this digest.
    pub fn class(&self, sha256: &[u8; 32]) -> GateClass {
        self.by_digest
            .get(sha256)
            .and_then(|entry| GateClass::from_u32(entry.class))
            .unwrap_or(GateClass::Unknown)
    }

    /// Whether a package lists a content for this path that may execute.
    pub fn is_packaged(&self, path: &[u8]) -> bool {
        self.packaged.binary_search(&path_number(path)).is_ok()
    }

    fn add(&mut self, sha256: [u8; 32], class: GateClass, marks: u32) {
        let entry = self.by_digest.entry(sha256).or_insert(TrustedEntry {
            class: class as u32,
            marks: 0,
            capabilities: 0,
        });
        // The lower number is the better class; what only carries a mark has none.
        let unknown = GateClass::Unknown as u32;
        if entry.class == unknown || (class != GateClass::Unknown && (class as u32) < entry.class) {
            entry.class = class as u32;
        }
        entry.marks |= marks;
    }
}

/// The class of content that a package lists.
pub const fn class_of_owner(provenance: Provenance) -> GateClass {
    match provenance {
        Provenance::Retired => GateClass::Retired,
        Provenance::Local => GateClass::Local,
        Provenance::Provisional => GateClass::Provisional,
        _ => GateClass::Trusted,
    }
}

/// Which digests may execute: those of files with an execute bit, ELF files and scripts of verified packages, all that
/// manifests list, changed configuration files as they are now, and what rules name. Kernel modules are not executed.
///
/// Reads the configuration files that packages own and that may execute: few and small.
pub fn entries(
    trust: Option<&LoadedTrust>,
    accepts_local_unsigned: bool,
    table: &GateTable,
    package_managers: &[String],
    interpreters: &[Vec<String>],
    root: &Root,
) -> Entries {
    let mut entries = Entries::default();
    let Some(trust) = trust else {
        mark_named(&mut entries, table);
        return entries;
    };
    let managers = managers(trust, package_managers);
    let grammars = grammars(trust, interpreters);
    for found in trust.index.digests() {
        if !found.class.may_execute() || (found.class.kernel_module && !found.class.exec_bit) {
            continue;
        }
        let mut marks = 0;
        if found.special_mode & SETUID != 0 {
            marks |= trusted_mark::SETUID;
        }
        if found.special_mode & SETGID != 0 {
            marks |= trusted_mark::SETGID;
        }
        if managers.contains(&found.sha256) {
            marks |= trusted_mark::PACKAGE_MANAGER;
        }
        marks |= grammars.get(&found.sha256).copied().unwrap_or_default();
        if found.capabilities != 0 {
            marks |= trusted_mark::CAPABILITIES;
        }
        entries.add(found.sha256, class_of_owner(found.provenance), marks);
        if let Some(entry) = entries.by_digest.get_mut(&found.sha256) {
            entry.capabilities |= found.capabilities;
        }
        entries.sizes.push(found.size);
    }
    // What is run only by being given to an interpreter need not say so of itself.
    for owner in trust.index.files().filter(is_source) {
        if let Some(sha256) = owner.sha256().filter(|_| !owner.class().may_execute()) {
            entries.add(sha256, class_of_owner(owner.provenance()), 0);
        }
    }
    for local in trust.local.digests() {
        if local.manifest.source.is_signed() || accepts_local_unsigned {
            entries.add(local.sha256, GateClass::Local, 0);
            entries.sizes.push(local.size);
        }
    }
    for owner in trust.index.files() {
        if !owner.is_config() || !owner.class().may_execute() || owner.is_ghost() {
            continue;
        }
        let path = owner.path();
        let Ok(path) = std::str::from_utf8(&path) else {
            continue;
        };
        let Some(content) = root
            .read(path)
            .filter(|content| content.len() <= CONFIG_MAX_BYTES)
        else {
            continue;
        };
        let sha256 = crypto::sha256(content.as_bytes());
        if entries.class(&sha256) == GateClass::Unknown {
            entries.add(sha256, GateClass::ConfigModified, 0);
            entries.sizes.push(content.len() as u64);
        }
    }
    mark_named(&mut entries, table);
    entries.packaged = packaged(trust);
    entries.sizes.sort_unstable();
    entries.sizes.dedup();
    entries
}

/// How many digests there are that [`entries`] takes, at most: room for them is made before anything else.
pub fn digests(trust: &LoadedTrust) -> usize {
    let programs = trust.index.digests().filter(|found| found.class.may_execute());
    let files = trust.index.files();
    let sources = files.filter(|owner| is_source(owner) && !owner.class().may_execute());
    programs.count() + sources.count() + trust.local.digests().len()
}

/// Numbers of the paths at which packages list a content that may execute. Not of configuration files, which are there to be
/// changed.
fn packaged(trust: &LoadedTrust) -> Vec<u64> {
    let owners = trust.index.files().filter(is_fixed);
    let mut numbers: Vec<u64> = owners
        .filter(|owner| owner.sha256().is_some())
        .map(|owner| path_number(&merged(owner.path())))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The path where the kernel sees the file: on hosts of EL 8 and later these directories are links.
fn merged(path: Vec<u8>) -> Vec<u8> {
    if path.starts_with(b"/usr/") {
        return path;
    }
    usr_merge_alias(&path).unwrap_or(path)
}

/// Marks of the programs that are interpreters: the number of their family.
fn grammars(trust: &LoadedTrust, families: &[Vec<String>]) -> BTreeMap<[u8; 32], u32> {
    let mut marks = BTreeMap::new();
    for owner in trust.index.files() {
        let class = owner.class();
        if !(class.elf && class.exec_bit) {
            continue;
        }
        let (name, path) = (&owner.package().nevra().name, owner.path());
        let is_named = |entry: &String| entry == name || (entry.contains('/') && entry.as_bytes() == path);
        let family = (1u32..)
            .zip(families)
            .find(|(_, entries)| entries.iter().any(is_named));
        if let Some(((number, _), sha256)) = family.zip(owner.sha256()) {
            marks.insert(sha256, number << trusted_mark::GRAMMAR_SHIFT);
        }
    }
    marks
}

/// Another content at its path is a mismatch.
pub fn is_fixed(owner: &Owner<'_>) -> bool {
    (owner.class().may_execute() || is_source(owner)) && !owner.is_config() && !owner.is_ghost()
}

/// Named as the source of a program that interpreters are given.
fn is_source(owner: &Owner<'_>) -> bool {
    let name = owner.name();
    SOURCES.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

/// Files that interpreters may be given: those of packages that are scripts, or are named like one.
pub fn scripts(trust: &LoadedTrust) -> impl Iterator<Item = PathBuf> {
    let given = |owner: &Owner<'_>| {
        !owner.is_ghost() && !owner.class().elf && (owner.class().script || is_source(owner))
    };
    let owners = trust.index.files().filter(given).take(MOST_SCRIPTS);
    owners.map(|owner| PathBuf::from(OsStr::from_bytes(&owner.path())))
}

/// Digests of the programs of these packages.
fn managers(trust: &LoadedTrust, names: &[String]) -> BTreeSet<[u8; 32]> {
    trust
        .index
        .files()
        .filter(|owner| owner.class().exec_bit)
        .filter(|owner| names.contains(&owner.package().nevra().name))
        .filter_map(|owner| owner.sha256())
        .collect()
}

fn mark_named(entries: &mut Entries, table: &GateTable) {
    for (sha256, mark) in &table.marks {
        entries.add(*sha256, GateClass::Unknown, *mark);
    }
}
