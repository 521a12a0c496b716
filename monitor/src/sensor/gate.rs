//! The exec gate's maps, and the programs that are its own.

use super::packaged::Packaged;
use super::plan::{Kind, Spec, spec};
use super::trusted::Trusted;
use super::{Lockers, Sensor, SubjectIds, Subjects, Writes};
use aya::{
    Ebpf,
    maps::{Array, HashMap, InodeStorage, Map, MapData, MapError},
};
use hardpan_abi::{
    Counter, FileKey, GATE_SIZE_BITS, GateClass, GateConfig, GateKind, GateMode, GateRule, Grammar,
    OBJECT_NAME_LEN, TrustedEntry, gate_size_bits,
};
use hardpan_core::platform::{HookFamily, HookState};
use hardpan_core::policy::interpreter::FAMILIES;
use zerocopy::IntoBytes as _;

/// Libraries, the dynamic linker: hashes.
pub(super) const MMAP_SLEEPABLE: Spec = spec(
    HookFamily::Gate,
    "gate_mmap_sleepable",
    "mmap_file",
    Kind::LsmSleepable,
    "libraries that nobody signed are neither seen nor refused",
);

/// Libraries, by verdicts filled in by user space.
pub(super) const MMAP: Spec = spec(
    HookFamily::Gate,
    "gate_mmap",
    "mmap_file",
    Kind::Lsm,
    "libraries that nobody signed are neither seen nor refused",
);

/// Files made executable afterwards.
pub(super) const MPROTECT: Spec = spec(
    HookFamily::Gate,
    "gate_mprotect",
    "file_mprotect",
    Kind::Lsm,
    "files that mprotect makes executable are neither seen nor refused",
);

/// Writers withdraw verdicts.
pub(super) const FILE_OPEN: Spec = spec(
    HookFamily::Gate,
    "gate_file_open",
    "file_open",
    Kind::Lsm,
    "a verdict on a file that is written to is noticed only by its change time",
);

/// Capabilities that files give.
pub(super) const EXEC_CAPS: Spec = spec(
    HookFamily::Gate,
    "gate_exec_caps",
    "bprm_creds_from_file",
    Kind::Lsm,
    "capabilities that files give and no package does are neither seen nor refused",
);

/// Files given to interpreters: hashes.
pub(super) const SCRIPT_SLEEPABLE: Spec = spec(
    HookFamily::Gate,
    "gate_script_sleepable",
    "file_post_open",
    Kind::LsmSleepable,
    "files given to interpreters are judged by digests that user space takes in advance",
);

/// Files given to interpreters, by verdicts filled in by user space.
pub(super) const SCRIPT: Spec = spec(
    HookFamily::Gate,
    "gate_script",
    "file_open",
    Kind::Lsm,
    "files given to interpreters that nobody signed are neither seen nor refused",
);

/// Packages that are opened, where LSM programs may not ask for a path.
pub(super) const PACKAGE_OPEN: Spec = spec(
    HookFamily::Gate,
    "package_open",
    "security_file_open",
    Kind::Fentry,
    "packages that package managers open are not told: what they install is trusted once the package database lists it",
);

/// Which package managers install into this system.
pub(super) const PACKAGE_LOCK: Spec = spec(
    HookFamily::Gate,
    "package_lock",
    "file_lock",
    Kind::Lsm,
    "what package managers of root open is trusted for a while whether they install it here or not",
);

/// Files cut or replaced by path.
pub(super) const PATHS: [Spec; 3] = [
    spec(
        HookFamily::Gate,
        "gate_setattr",
        "inode_setattr",
        Kind::Lsm,
        "files that are cut by path are noticed only by their change time; rules cannot refuse it",
    ),
    spec(
        HookFamily::Gate,
        "gate_rename",
        "inode_rename",
        Kind::Lsm,
        "protected files that another takes the place of are neither told nor refused",
    ),
    spec(
        HookFamily::Gate,
        "gate_unlink",
        "inode_unlink",
        Kind::Lsm,
        "protected files that are removed are neither told nor refused",
    ),
];

/// The same with the argument that kernels from 6.9 on have in front.
pub(super) const SETATTR_IDMAP: Spec = spec(
    HookFamily::Gate,
    "gate_setattr_idmap",
    "inode_setattr",
    Kind::Lsm,
    "files that are cut by path are noticed only by their change time; rules cannot refuse it",
);

/// Who wrote to a block device in use is done.
pub(super) const BLOCK_CLOSED: Spec = spec(
    HookFamily::Gate,
    "gate_block_closed",
    "blkdev_release",
    Kind::Fentry,
    "verdicts are withdrawn when a mounted block device is opened for writing, not again when it is closed",
);

/// The function's name until 6.6.
pub(super) const BLOCK_CLOSED_BEFORE: Spec = Spec {
    hook: "blkdev_close",
    ..BLOCK_CLOSED
};

/// What is no file: modules, BPF programs, other processes.
pub(super) const OBJECTS: [Spec; 5] = [
    spec(
        HookFamily::Gate,
        "gate_module_data",
        "kernel_post_load_data",
        Kind::Lsm,
        "rules cannot refuse modules that are loaded from memory (init_module)",
    ),
    spec(
        HookFamily::Gate,
        "gate_module_file",
        "kernel_post_read_file",
        Kind::Lsm,
        "rules cannot refuse modules that are loaded from files (finit_module)",
    ),
    spec(
        HookFamily::Gate,
        "gate_module_key",
        "locked_down",
        Kind::Lsm,
        "modules signed by a key the kernel does not know count as signed when they are loaded",
    ),
    BPF,
    PTRACE,
];

/// What programs load BPF programs, and which.
pub(super) const BPF: Spec = spec(
    HookFamily::Gate,
    "gate_bpf",
    "bpf",
    Kind::Lsm,
    "rules on BPF programs neither refuse nor tell",
);

/// Who takes hold of whom.
pub(super) const PTRACE: Spec = spec(
    HookFamily::Gate,
    "gate_ptrace",
    "ptrace_access_check",
    Kind::Lsm,
    "rules on ptrace cannot refuse",
);

/// Words of the map of signed sizes.
const SIZE_WORDS: usize = (GATE_SIZE_BITS / 64) as usize;
type Config = [u8; size_of::<GateConfig>()];
type Rule = [u8; size_of::<GateRule>()];
type Name = [u8; OBJECT_NAME_LEN];

/// The policy's rules as the kernel side compares them.
#[derive(Debug, Clone, Copy, Default)]
pub struct GateRules<'a> {
    /// In order.
    pub rules: &'a [GateRule],
    /// Names of modules and BPF programs, NUL padded, with the marks by which rules know them.
    pub names: &'a [(Name, u32)],
}

/// The maps; those of an object without the gate are missing.
#[derive(Default)]
pub(super) struct Maps {
    trusted: Option<Trusted>,
    config: Option<Array<MapData, Config>>,
    rules: Option<Array<MapData, Rule>>,
    sizes: Option<Array<MapData, u64>>,
    packaged: Option<Packaged>,
    lockers: Option<Lockers>,
    names: Option<HashMap<MapData, Name, u32>>,
    /// What `names` holds.
    written_names: Vec<Name>,
    /// Of the settings; 0: none were.
    written_epoch: u32,
    subjects: Option<Subjects>,
    writes: Option<Writes>,
    /// Numbers of the maps behind it.
    subject_ids: Option<SubjectIds>,
    /// What `sizes` holds: it has 16 384 words, and a package changes a few.
    written_sizes: Vec<u64>,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Self {
        set_grammars(ebpf);
        let protected = ebpf
            .take_map("PROTECTED")
            .and_then(|map| HashMap::try_from(map).ok());
        let devices = ebpf
            .take_map("BLOCK_DEVICES")
            .and_then(|map| HashMap::try_from(map).ok());
        let inodes = ebpf.take_map("INODE_DIGESTS");
        let raw_writes = ebpf.take_map("RAW_WRITES");
        let id = |map: &Option<Map>| match map {
            Some(Map::InodeStorage(data) | Map::Array(data)) => data.info().ok().map(|info| info.id()),
            _ => None,
        };
        let subject_ids = id(&inodes)
            .zip(id(&raw_writes))
            .map(|(inodes, raw_writes)| SubjectIds { inodes, raw_writes });
        Self {
            subject_ids,
            trusted: Trusted::take(ebpf),
            config: ebpf.take_map("GATE").and_then(|map| Array::try_from(map).ok()),
            rules: ebpf
                .take_map("GATE_RULES")
                .and_then(|map| Array::try_from(map).ok()),
            names: ebpf
                .take_map("OBJECT_NAMES")
                .and_then(|map| HashMap::try_from(map).ok()),
            written_names: Vec::new(),
            written_epoch: 0,
            subjects: inodes
                .and_then(|map| InodeStorage::try_from(map).ok())
                .zip(raw_writes.and_then(|map| Array::try_from(map).ok()))
                .map(|(inodes, raw_writes)| Subjects::new(inodes, raw_writes)),
            writes: protected
                .zip(devices)
                .map(|(files, devices)| Writes::new(files, devices)),
            written_sizes: vec![0; SIZE_WORDS],
            packaged: Packaged::take(ebpf),
            lockers: ebpf
                .take_map("LOCKERS")
                .and_then(|map| HashMap::try_from(map).ok())
                .map(Lockers::new),
            sizes: ebpf
                .take_map("SIGNED_SIZES")
                .and_then(|map| Array::try_from(map).ok()),
        }
    }
}

/// Why the gate could not be told something.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// This kernel runs none of its programs.
    #[error("the exec gate's programs are not loaded on this kernel")]
    NotLoaded,
    /// A map could not be written.
    #[error("writing the exec gate's {what}")]
    Write {
        /// Which map.
        what: &'static str,
        /// The reason.
        #[source]
        source: Box<MapError>,
    },
}

/// A change of the trusted digests. Additions come first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TrustChange {
    /// New digests, and those whose entry changed.
    pub add: Vec<([u8; 32], TrustedEntry)>,
    /// Digests that are no longer trusted.
    pub remove: Vec<[u8; 32]>,
    /// Sizes of signed files.
    pub sizes: Sizes,
    /// Numbers of all the paths that packages list; `None`: as before.
    pub packaged: Option<Vec<u64>>,
}

/// Sizes of files, in bytes: those beyond [`hardpan_abi::GATE_HASH_ALWAYS_BYTES`] are hashed only if a signed file has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sizes {
    /// Of every signed file: others are forgotten.
    All(Vec<u64>),
    /// Of files that are new.
    More(Vec<u64>),
}

impl Default for Sizes {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

/// How interpreters read their arguments. An object without the gate has no such map.
fn set_grammars(ebpf: &mut Ebpf) {
    let Some(map) = ebpf.take_map("GRAMMARS") else {
        return;
    };
    let Ok(mut map) = Array::<MapData, [u8; size_of::<Grammar>()]>::try_from(map) else {
        return;
    };
    for (slot, family) in (1u32..).zip(&FAMILIES) {
        let mut bytes = [0; size_of::<Grammar>()];
        bytes.copy_from_slice(family.grammar().as_bytes());
        if let Err(error) = map.set(slot, bytes, 0) {
            tracing::warn!(%error, family = family.name, "the kernel does not know how it reads its arguments");
        }
    }
}

/// Sets the bits that stand for a size.
fn mark(words: &mut [u64], size: u64) {
    for bit in gate_size_bits(size) {
        let word = usize::try_from(bit / 64)
            .ok()
            .and_then(|word| words.get_mut(word));
        if let Some(word) = word {
            *word |= 1 << (bit % 64);
        }
    }
}

const fn write(what: &'static str) -> impl Fn(MapError) -> GateError {
    move |source| GateError::Write {
        what,
        source: Box::new(source),
    }
}

impl Sensor {
    /// Puts rules, if there are new ones, and settings in force: the rules first, so that settings never name rules that
    /// are not there.
    pub fn set_gate(&mut self, config: &GateConfig, rules: Option<GateRules<'_>>) -> Result<(), GateError> {
        let maps = &mut self.gate_maps;
        if let Some(new) = rules {
            let names = maps.names.as_mut().ok_or(GateError::NotLoaded)?;
            for (name, marks) in new.names {
                names.insert(name, marks, 0).map_err(write("names"))?;
            }
            let map = maps.rules.as_mut().ok_or(GateError::NotLoaded)?;
            for (slot, rule) in (0u32..).zip(new.rules) {
                let mut bytes: Rule = [0; size_of::<GateRule>()];
                bytes.copy_from_slice(rule.as_bytes());
                map.set(slot, bytes, 0).map_err(write("rules"))?;
            }
            let is_gone = |name: &&Name| new.names.iter().all(|(kept, _)| kept != *name);
            for name in maps.written_names.iter().filter(is_gone) {
                match names.remove(name) {
                    Ok(()) | Err(MapError::KeyNotFound) => {}
                    Err(error) => return Err(write("names")(error)),
                }
            }
            maps.written_names = new.names.iter().map(|(name, _)| *name).collect();
        }
        let map = maps.config.as_mut().ok_or(GateError::NotLoaded)?;
        // The settings first, the epoch behind them: no verdict by old settings counts in the new epoch.
        let before = GateConfig {
            epoch: maps.written_epoch,
            ..*config
        };
        for config in [&before, config].into_iter().filter(|config| config.epoch != 0) {
            let mut bytes: Config = [0; size_of::<GateConfig>()];
            bytes.copy_from_slice(config.as_bytes());
            map.set(0, bytes, 0).map_err(write("settings"))?;
        }
        maps.written_epoch = config.epoch;
        Ok(())
    }

    /// The kernel's memory of inodes, to be filled with what runs already; once.
    pub const fn take_subjects(&mut self) -> Option<Subjects> {
        self.gate_maps.subjects.take()
    }

    /// Who took the lock of this system's package database; `None` where no program notices it.
    pub fn lockers(&self) -> Option<Lockers> {
        let is_noticed = self.hooks().iter().any(|report| {
            report.hook == PACKAGE_LOCK.hook
                && matches!(report.state, HookState::Attached | HookState::SelfTested)
        });
        self.gate_maps.lockers.clone().filter(|_| is_noticed)
    }

    /// The kernel's lists of what is watched for writes; once.
    pub const fn take_writes(&mut self) -> Option<Writes> {
        self.gate_maps.writes.take()
    }

    /// Numbers of the maps of the kernel's memory of inodes, by which other processes open it.
    pub const fn subject_ids(&self) -> Option<SubjectIds> {
        self.gate_maps.subject_ids
    }

    /// Changes the trusted digests. What is added is there before anything is removed.
    pub fn change_trusted(&mut self, change: &TrustChange) -> Result<(), GateError> {
        let maps = &mut self.gate_maps;
        let sizes = maps.sizes.as_mut().ok_or(GateError::NotLoaded)?;
        let (mut bloom, new) = match &change.sizes {
            Sizes::All(all) => (vec![0; SIZE_WORDS], all),
            Sizes::More(more) => (maps.written_sizes.clone(), more),
        };
        for size in new {
            mark(&mut bloom, *size);
        }
        for ((slot, word), written) in (0u32..).zip(bloom).zip(&mut maps.written_sizes) {
            if *written != word {
                sizes.set(slot, word, 0).map_err(write("sizes"))?;
                *written = word;
            }
        }
        let trusted = maps.trusted.as_mut().ok_or(GateError::NotLoaded)?;
        trusted.change(change).map_err(write("trusted digests"))?;
        // Behind the digests: a new package's file at a path that is new in the table is trusted by then.
        if let (Some(numbers), Some(packaged)) = (&change.packaged, &mut maps.packaged) {
            packaged.hold(numbers).map_err(write("packaged paths"))?;
        }
        Ok(())
    }

    /// For the self-test: everything is asked about, nothing is refused or told.
    pub(super) fn gate_allows_all(&mut self, mode: GateMode) {
        let config = GateConfig {
            mode: mode as u32,
            closed_on_doubt: 0,
            epoch: 1,
            rules: 0,
            asks_subject: 0,
            knows_subjects: 0,
            ruled: [0; GateKind::SLOTS],
            actions: [[0; GateClass::SLOTS]; GateKind::SLOTS],
            init_pid_ns: 0,
            init_user_ns: 0,
            grace_until_ns: 0,
            root_ino: 0,
            root_dev: 0,
            reserved: 0,
            databases: [FileKey::NONE; 2],
        };
        if let Err(error) = self.set_gate(&config, None) {
            tracing::debug!(%error, "the gate cannot be tested");
        }
    }
}

/// Whether a program of the gate was asked since the counters were `before`; `None`: no self-test reaches it.
pub(super) fn asked(hook: &str, before: &[u64], after: &[u64]) -> Option<bool> {
    let counter = match hook {
        "mmap_file" => Counter::GateAskedMap,
        "file_mprotect" => Counter::GateAskedProtect,
        _ => return None,
    };
    let value = |counters: &[u64]| counters.get(counter as usize).copied().unwrap_or_default();
    Some(value(after) > value(before))
}
