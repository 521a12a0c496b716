//! The exec gate: what user space tells the kernel side to let run, and what the kernel side tells about it.

use crate::{CredIds, EXEC_PATH_LEN, EventHeader, FileInfo};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Rules that the kernel side can hold. More make the policy unusable for enforcement, which user space says.
pub const GATE_RULES_MAX: u32 = 32;

/// Bits of the map of signed file sizes: a Bloom filter with two hash functions, as `u64` words.
pub const GATE_SIZE_BITS: u64 = 1 << 20;

/// Files up to this size are hashed whether or not a signed file has their size: it costs little, and records of what
/// nobody signed then tell its digest.
pub const GATE_HASH_ALWAYS_BYTES: u64 = 16 << 20;

/// The two bits of a file size in the map of signed sizes: here, so that both sides cannot differ.
pub const fn gate_size_bits(size_bytes: u64) -> [u64; 2] {
    let mixed = size_bytes.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [mixed >> 44, mixed >> 20 & (GATE_SIZE_BITS - 1)]
}

/// Larger files are not hashed in the kernel, whatever anybody signed.
pub const GATE_HASH_SIGNED_BYTES: u64 = 1 << 30;

/// Names of modules and BPF programs that rules can hold.
pub const OBJECT_NAMES_MAX: u32 = 256;

/// Bytes of such a name, NUL padded: `MODULE_NAME_LEN` in whole words, and one more.
pub const OBJECT_NAME_LEN: usize = 64;

/// What is done, with a file or with something else. Numbers are never reused; they index tables and masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum GateKind {
    /// Its code runs: a program, or the interpreter of a script.
    Exec = 0,
    /// It is mapped executable: a library, the dynamic linker, a program's own text.
    Library = 1,
    /// It is handed to an interpreter.
    Script = 2,
    /// It is opened for writing while it is mapped somewhere and its content had been judged.
    WriteRunning = 3,
    /// A kernel module is about to be loaded.
    Module = 4,
    /// A BPF program is about to be loaded.
    Bpf = 5,
    /// Another process is taken hold of (`ptrace` and its like).
    Ptrace = 6,
    /// Something else that is opened for writing, cut or replaced: its classes are [`WriteClass`].
    Write = 7,
}

impl GateKind {
    /// Room in tables.
    pub const SLOTS: usize = 8;
    /// All, in order.
    pub const ALL: [Self; 8] = [
        Self::Exec,
        Self::Library,
        Self::Script,
        Self::WriteRunning,
        Self::Module,
        Self::Bpf,
        Self::Ptrace,
        Self::Write,
    ];

    /// True for what is judged by a file's content: its classes are [`GateClass`]. Those of the others are
    /// [`ObjectClass`], those of writes [`WriteClass`].
    pub const fn is_of_files(self) -> bool {
        (self as u32) < Self::Module as u32
    }

    /// The kind with this number, if there is one.
    pub const fn from_u32(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Exec),
            1 => Some(Self::Library),
            2 => Some(Self::Script),
            3 => Some(Self::WriteRunning),
            4 => Some(Self::Module),
            5 => Some(Self::Bpf),
            6 => Some(Self::Ptrace),
            7 => Some(Self::Write),
            _ => None,
        }
    }
}

/// What the kernel side knows of something that is no file. Numbers are never reused; they index tables and masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum ObjectClass {
    /// A module with a signature that the kernel has not refused.
    Signed = 1,
    /// A module without one, or with one by a key the kernel does not know.
    Unsigned = 2,
    /// A module or BPF program that a program loads which nobody vouches for.
    UntrustedLoader = 3,
    /// A BPF program that a trusted program loads.
    TrustedLoader = 4,
    /// A process of the same user.
    SameUser = 5,
    /// A process of another user.
    OtherUser = 6,
    /// A process that runs a trusted program and belongs to no login.
    TrustedDaemon = 7,
}

impl ObjectClass {
    /// All, in order.
    pub const ALL: [Self; 7] = [
        Self::Signed,
        Self::Unsigned,
        Self::UntrustedLoader,
        Self::TrustedLoader,
        Self::SameUser,
        Self::OtherUser,
        Self::TrustedDaemon,
    ];

    /// The class with this number, if there is one.
    pub fn from_u32(raw: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u32 == raw)
    }
}

/// What is written to, as far as no digest is needed to tell. Numbers are never reused; they index tables and masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum WriteClass {
    /// A file whose content a package lists, and that was judged when it ran; it does not run now.
    Packaged = 1,
    /// A file that the policy protects.
    Protected = 2,
    /// The name of a file that the policy protects: another file takes its place, or it goes.
    Replaced = 3,
    /// A block device that is in use.
    BlockDevice = 4,
}

impl WriteClass {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Packaged, Self::Protected, Self::Replaced, Self::BlockDevice];

    /// The class with this number, if there is one.
    pub fn from_u32(raw: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u32 == raw)
    }
}

/// Files that the policy can protect: room in the kernel's map of them.
pub const PROTECTED_MAX: u32 = 8192;

/// Block devices in use: room in the kernel's map of them.
pub const BLOCK_DEVICES_MAX: u32 = 1024;

/// Key of a protected file.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FileKey {
    /// Inode number.
    pub ino: u64,
    /// Device of the file system, the kernel's encoding: major << 20 | minor.
    pub dev: u32,
    /// Always 0.
    pub reserved: u32,
}

impl FileKey {
    /// No file.
    pub const NONE: Self = Self {
        ino: 0,
        dev: 0,
        reserved: 0,
    };
}

/// What the kernel side knows of a file. Numbers are never reused; they index tables and masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum GateClass {
    /// Nothing is known yet.
    Unknown = 0,
    /// Its digest came out of a verified package header.
    Trusted = 1,
    /// A manifest lists it.
    Local = 2,
    /// Of an rpm transaction that runs, or ran a moment ago.
    Provisional = 3,
    /// Of a package that was replaced since boot.
    Retired = 4,
    /// A packaged configuration file that was changed.
    ConfigModified = 5,
    /// Nobody vouches for it, and it runs in a container.
    Container = 6,
    /// Nobody vouches for it.
    Untrusted = 7,
    /// It has no name in any directory, and nobody vouches for it.
    Fileless = 8,
    /// A packaged path with another digest.
    Mismatch = 9,
}

impl GateClass {
    /// Room in tables.
    pub const SLOTS: usize = 16;
    /// All, in order.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::Trusted,
        Self::Local,
        Self::Provisional,
        Self::Retired,
        Self::ConfigModified,
        Self::Container,
        Self::Untrusted,
        Self::Fileless,
        Self::Mismatch,
    ];

    /// The class with this number, if there is one.
    pub fn from_u32(raw: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u32 == raw)
    }
}

/// What the gate does. Ordered: stronger is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum GateAction {
    /// Lets it happen.
    Allow = 0,
    /// Lets it happen and tells.
    Alert = 1,
    /// Refuses with `EPERM` and tells.
    Deny = 2,
    /// Refuses, kills the process and tells.
    Kill = 3,
}

impl GateAction {
    /// The action with this number, if there is one.
    pub const fn from_u8(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::Allow),
            1 => Some(Self::Alert),
            2 => Some(Self::Deny),
            3 => Some(Self::Kill),
            _ => None,
        }
    }
}

/// What the gate is there for. Zero, the map's content before user space wrote it, is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum GateMode {
    /// Nothing is judged.
    Off = 0,
    /// Judged and told, never refused.
    Observe = 1,
    /// Refused where the policy says so.
    Enforce = 2,
}

/// Bits of [`TrustedEntry::marks`].
pub mod trusted_mark {
    /// Some packaged file with this content is set-user-id.
    pub const SETUID: u32 = 1 << 0;
    /// Some packaged file with this content is set-group-id.
    pub const SETGID: u32 = 1 << 1;
    /// Some packaged file with this content carries capabilities.
    pub const CAPABILITIES: u32 = 1 << 2;
    /// Content of a package that installs packages: what such a program opens is looked at.
    pub const PACKAGE_MANAGER: u32 = 1 << 3;
    /// Where the number of an interpreter's [`Grammar`](super::Grammar) begins: 4 bits, 0 for what is no interpreter.
    pub const GRAMMAR_SHIFT: u32 = 4;
    /// The bits of that number.
    pub const GRAMMAR: u32 = 0xf << GRAMMAR_SHIFT;
    /// The first of the marks that rules on digests use; the rest up to bit 31 is theirs.
    pub const RULES_FROM: u32 = 8;
}

/// Value of the map of trusted digests, keyed by SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TrustedEntry {
    /// A [`GateClass`] number.
    pub class: u32,
    /// [`trusted_mark`] bits. Of [`GateClass::Provisional`] instead the number of a package manager ([`PackageEvent::manager`]): the
    /// digest counts once that one takes the lock of this system's package database. 0: it counts at once.
    pub marks: u32,
    /// Capabilities that some packaged file with this content gives, as a mask.
    pub capabilities: u64,
}

/// Room for grammars; number 0 is none.
pub const GRAMMARS_MAX: u32 = 16;

/// How an interpreter tells its program among its arguments, as far as files are concerned. Letters are those of options
/// that begin with one hyphen: bit `c & 63` of word `c >> 6`. Option words are their first 8 bytes, NUL padded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Grammar {
    /// Letters behind which no argument is a program: code comes with the option.
    pub ends: [u64; 2],
    /// Letters behind which the rest of the argument is a value.
    pub stops: [u64; 2],
    /// Letters whose value is the next argument, if they stand last or do not stop.
    pub takes: [u64; 2],
    /// Words whose value is the next argument.
    pub words: [u64; 4],
    /// 1: options may begin with `+`, and a lone hyphen ends them.
    pub shell: u64,
}

/// What a running interpreter was given: names under which it may open its program. Kernel side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GivenNames {
    /// Numbers of the last components of the names, of their last 32 bytes; 0 stands for none. Two names that have one
    /// number: a file more is judged.
    pub names: [u64; 4],
    /// Not 0: they could not be told among so many options. Each file counts.
    pub any: u64,
}

/// The gate's settings, one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GateConfig {
    /// A [`GateMode`] number.
    pub mode: u32,
    /// Non-zero: what cannot be judged (writers, a failed hash) is refused in enforce.
    pub closed_on_doubt: u32,
    /// Counts changes of trusted digests: verdicts of another epoch are looked up again.
    pub epoch: u32,
    /// Rules in use.
    pub rules: u32,
    /// Kinds for which some rule asks for the class of the running program, as a mask.
    pub asks_subject: u32,
    /// Non-zero: digests of what runs are known, so that a program without one is a program that nobody vouches for.
    pub knows_subjects: u32,
    /// Classes that some rule of a kind may fit, as a mask by kind: others need not be compared with the rules.
    pub ruled: [u32; GateKind::SLOTS],
    /// [`GateAction`] numbers by kind and class, for what no rule fits.
    pub actions: [[u8; GateClass::SLOTS]; GateKind::SLOTS],
    /// Inode number of the initial PID namespace.
    pub init_pid_ns: u32,
    /// Inode number of the initial user namespace.
    pub init_user_ns: u32,
    /// Until this moment (`bpf_ktime_get_boot_ns`) denials are only told.
    pub grace_until_ns: u64,
    /// Inode number of the host's root directory.
    pub root_ino: u64,
    /// Device of its file system, the kernel's encoding: major << 20 | minor.
    pub root_dev: u32,
    /// Always 0.
    pub reserved: u32,
    /// Folders in which this system's package database, and with it rpm's lock, may be. No folder: all 0.
    pub databases: [FileKey; 2],
}

/// Bits of [`GateRule::tests`] and [`GateRule::negated`].
pub mod gate_test {
    /// Effective user id within the range.
    pub const UID: u32 = 1 << 0;
    /// Effective group id within the range.
    pub const GID: u32 = 1 << 1;
    /// Audit login uid within the range.
    pub const LOGINUID: u32 = 1 << 2;
    /// Owner of the file, or of the process that is taken hold of, within the range.
    pub const OWNER: u32 = 1 << 3;
    /// Inode number within the range.
    pub const INODE: u32 = 1 << 4;
    /// Device of the file system.
    pub const DEVICE: u32 = 1 << 5;
    /// Magic number of the file system.
    pub const FILESYSTEM: u32 = 1 << 6;
    /// Set-user-id, set-group-id.
    pub const SETID: u32 = 1 << 7;
    /// In a container.
    pub const CONTAINER: u32 = 1 << 8;
    /// Some of these effective capabilities.
    pub const CAPABILITIES: u32 = 1 << 9;
    /// In this cgroup.
    pub const CGROUP: u32 = 1 << 10;
    /// A mark of the digest's entry, or of the object's name.
    pub const MARK: u32 = 1 << 11;
    /// Class of the running program.
    pub const SUBJECT: u32 = 1 << 12;
    /// Type of the BPF program.
    pub const PROGRAM_TYPE: u32 = 1 << 13;
}

/// A rule as the kernel side compares it: the first that fits decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GateRule {
    /// Mask of [`GateKind`] numbers.
    pub kinds: u32,
    /// Mask of [`GateClass`] numbers of the file, or of [`ObjectClass`] numbers.
    pub classes: u32,
    /// A [`GateAction`] number.
    pub action: u32,
    /// [`gate_test`] bits: what is looked at.
    pub tests: u32,
    /// [`gate_test`] bits: what must not hold.
    pub negated: u32,
    /// Device, the kernel's encoding: major << 20 | minor.
    pub device: u32,
    /// Inclusive ranges: uid, gid, loginuid, owner.
    pub ids: [[u32; 2]; 4],
    /// Inclusive range.
    pub inode: [u64; 2],
    /// Magic number.
    pub filesystem: u64,
    /// Mask of capabilities.
    pub capabilities: u64,
    /// Cgroup id.
    pub cgroup: u64,
    /// [`trusted_mark`] bits.
    pub marks: u32,
    /// Mask of [`GateClass`] numbers of the running program.
    pub subjects: u32,
    /// Mask of `enum bpf_prog_type` numbers.
    pub program_types: u64,
}

/// [`GateEvent::hook`]: where the gate was asked. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum GateHook {
    /// `bprm_check_security`
    ExecCheck = 1,
    /// `mmap_file`
    MmapFile = 2,
    /// `file_mprotect`
    FileMprotect = 3,
    /// `file_open`
    FileOpen = 4,
    /// `bprm_creds_from_file`
    ExecCreds = 5,
    /// `file_post_open`
    FilePostOpen = 6,
    /// `kernel_post_load_data`
    PostLoadData = 7,
    /// `kernel_post_read_file`
    PostReadFile = 8,
    /// `locked_down`
    LockedDown = 9,
    /// `bpf`
    Bpf = 10,
    /// `ptrace_access_check`
    Ptrace = 11,
    /// `inode_setattr`
    InodeSetattr = 12,
    /// `inode_rename`
    InodeRename = 13,
    /// `inode_unlink`
    InodeUnlink = 14,
    /// No hook: fanotify (`FAN_OPEN_EXEC_PERM`), and the answer of a process.
    OpenExecPerm = 15,
}

impl GateHook {
    /// The hook with this number, if there is one.
    pub const fn from_u32(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::ExecCheck),
            2 => Some(Self::MmapFile),
            3 => Some(Self::FileMprotect),
            4 => Some(Self::FileOpen),
            5 => Some(Self::ExecCreds),
            6 => Some(Self::FilePostOpen),
            7 => Some(Self::PostLoadData),
            8 => Some(Self::PostReadFile),
            9 => Some(Self::LockedDown),
            10 => Some(Self::Bpf),
            11 => Some(Self::Ptrace),
            12 => Some(Self::InodeSetattr),
            13 => Some(Self::InodeRename),
            14 => Some(Self::InodeUnlink),
            15 => Some(Self::OpenExecPerm),
            _ => None,
        }
    }

    /// The hook as the kernel names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExecCheck => "bprm_check_security",
            Self::MmapFile => "mmap_file",
            Self::FileMprotect => "file_mprotect",
            Self::FileOpen => "file_open",
            Self::ExecCreds => "bprm_creds_from_file",
            Self::FilePostOpen => "file_post_open",
            Self::PostLoadData => "kernel_post_load_data",
            Self::PostReadFile => "kernel_post_read_file",
            Self::LockedDown => "locked_down",
            Self::Bpf => "bpf",
            Self::Ptrace => "ptrace_access_check",
            Self::InodeSetattr => "inode_setattr",
            Self::InodeRename => "inode_rename",
            Self::InodeUnlink => "inode_unlink",
            Self::OpenExecPerm => "fanotify",
        }
    }
}

/// [`GateEvent::rule`] where no rule decided.
pub const GATE_NO_RULE: u32 = u32::MAX;

/// Bits of [`GateEvent::flags`].
pub mod gate_flag {
    /// The policy's action was carried out: the operation was refused.
    pub const REFUSED: u32 = 1 << 0;
    /// `path` came from `bpf_d_path`.
    pub const PATH_FROM_KERNEL: u32 = 1 << 1;
    /// The digest was taken from the inode cache.
    pub const DIGEST_CACHED: u32 = 1 << 2;
    /// The file is set-user-id or set-group-id where no packaged file with this content is.
    pub const SETID_NOT_SIGNED: u32 = 1 << 3;
    /// Not judged by its content: it could not be had. The answer is the one for doubt.
    pub const DOUBT: u32 = 1 << 4;
    /// Within the grace after boot: not refused.
    pub const GRACE: u32 = 1 << 5;
    /// Capabilities would be gained that no packaged file with this content gives.
    pub const CAPS_NOT_SIGNED: u32 = 1 << 6;
    /// A private copy of the file that was written to is made executable (text relocations do this).
    pub const PRIVATE_COPY: u32 = 1 << 7;
    /// The file was given to an interpreter as an argument.
    pub const ARGUMENT: u32 = 1 << 8;
}

/// The gate refused something, or would have: a denial of any kind, or an alert about a mapping or a write. Alerts
/// about executions are in their own records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GateEvent {
    /// The common head.
    pub header: EventHeader,
    /// Credentials of the task.
    pub creds: CredIds,
    /// The file.
    pub file: FileInfo,
    /// SHA-256 of `file`, when `digest_state` says so.
    pub digest: [u8; 32],
    /// A [`GateKind`] number.
    pub kind: u32,
    /// A [`GateClass`] number; of a [`GateKind::Write`] a [`WriteClass`] number.
    pub class: u32,
    /// A [`GateAction`] number.
    pub action: u32,
    /// A [`GateHook`] number.
    pub hook: u32,
    /// Index of the rule that decided, or [`GATE_NO_RULE`].
    pub rule: u32,
    /// [`gate_flag`] bits.
    pub flags: u32,
    /// A [`DigestState`](crate::DigestState) number.
    pub digest_state: u32,
    /// Negative errno of the failed hash, or 0.
    pub digest_errno: i32,
    /// Bytes of `path` used, without NUL.
    pub path_bytes: u32,
    /// Always 0.
    pub reserved: u32,
    /// Path of `file`.
    pub path: [u8; EXEC_PATH_LEN],
}

/// The gate refused or alerts about something that is no file: a module, a BPF program, another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ObjectEvent {
    /// The common head.
    pub header: EventHeader,
    /// Credentials of the task.
    pub creds: CredIds,
    /// A [`GateKind`] number.
    pub kind: u32,
    /// An [`ObjectClass`] number.
    pub class: u32,
    /// A [`GateAction`] number.
    pub action: u32,
    /// A [`GateHook`] number.
    pub hook: u32,
    /// Index of the rule that decided, or [`GATE_NO_RULE`].
    pub rule: u32,
    /// [`gate_flag`] bits.
    pub flags: u32,
    /// [`GateClass`] number of the running program.
    pub subject: u32,
    /// BPF: `enum bpf_prog_type`.
    pub program_type: u32,
    /// Ptrace: id of the other process.
    pub target: u32,
    /// Ptrace: its effective user id.
    pub target_uid: u32,
    /// Name of the module or BPF program, NUL padded; ptrace: command name of the other process.
    pub name: [u8; OBJECT_NAME_LEN],
}

/// A package manager, run by root of the initial user namespace, opened a file named `*.rpm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PackageEvent {
    /// The common head.
    pub header: EventHeader,
    /// Credentials of the task.
    pub creds: CredIds,
    /// The file.
    pub file: FileInfo,
    /// Bytes of `path` used, without NUL.
    pub path_bytes: u32,
    /// The package manager's number, under which the kernel side notes that it takes the lock of this system's package database.
    pub manager: u32,
    /// Path of `file` as seen from the task's root.
    pub path: [u8; EXEC_PATH_LEN],
}

const _: () = {
    assert!(GATE_SIZE_BITS == 1 << 20);
    assert!(size_of::<GateConfig>() == 248);
    assert!(size_of::<GateRule>() == 112);
    assert!(size_of::<TrustedEntry>() == 16);
    assert!(size_of::<FileKey>() == 16);
    assert!(core::mem::offset_of!(GateEvent, path) % 8 == 0);
    assert!(GateClass::ALL.len() <= GateClass::SLOTS && GateClass::SLOTS <= 32);
};
