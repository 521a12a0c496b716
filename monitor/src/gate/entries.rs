//! From trust to what the kernel's map of digests holds.

use crate::crypto;
use crate::harden::Root;
use crate::trust::LoadedTrust;
use hardpan_abi::{GateClass, TrustedEntry, trusted_mark};
use hardpan_core::policy::gate::GateTable;
use hardpan_core::policy::harden::Host as _;
use hardpan_rpm::Provenance;
use std::collections::{BTreeMap, BTreeSet};

/// Largest changed configuration file that is looked at.
const CONFIG_MAX_BYTES: usize = 16 << 20;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// The content of the kernel's map: an entry by digest, and the sizes of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// By SHA-256.
    pub by_digest: BTreeMap<[u8; 32], TrustedEntry>,
    /// Sizes of the files, in bytes.
    pub sizes: Vec<u64>,
}

impl Entries {
    /// What the kernel would say of content with this digest.
    pub fn class(&self, sha256: &[u8; 32]) -> GateClass {
        self.by_digest
            .get(sha256)
            .and_then(|entry| GateClass::from_u32(entry.class))
            .unwrap_or(GateClass::Unknown)
    }

    fn add(&mut self, sha256: [u8; 32], class: GateClass, marks: u32) {
        let entry = self.by_digest.entry(sha256).or_insert(TrustedEntry {
            class: class as u32,
            marks: 0,
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
    root: &Root,
) -> Entries {
    let mut entries = Entries::default();
    let Some(trust) = trust else {
        mark_named(&mut entries, table);
        return entries;
    };
    let managers = managers(trust, package_managers);
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
        if found.has_capabilities {
            marks |= trusted_mark::CAPABILITIES;
        }
        entries.add(found.sha256, class_of_owner(found.provenance), marks);
        entries.sizes.push(found.size);
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
    entries.sizes.sort_unstable();
    entries.sizes.dedup();
    entries
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
