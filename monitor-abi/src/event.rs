//! The head that every record starts with.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of every struct in this crate. The reader refuses records of another version: programs and daemon
/// come from one build, so a difference means a stale pinned program.
pub const ABI_VERSION: u16 = 3;

/// Length of `task_struct.comm`, terminating NUL included.
pub const TASK_COMM_LEN: usize = 16;

/// Size of the ring for ordinary events, in bytes: a power of two and a multiple of 64 KiB (aarch64 EL 8 pages).
pub const RING_EVENTS_BYTES: u32 = 2 << 20;

/// Size of the second ring, for denials and findings, which an attacker cannot flood with ordinary execs.
pub const RING_FINDINGS_BYTES: u32 = 256 << 10;

/// What a record is about. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum EventKind {
    /// A successful `execve`/`execveat`: [`ExecEvent`](crate::ExecEvent).
    Exec = 1,
    /// Committed credentials that differ from the old ones: [`CredEvent`](crate::CredEvent).
    Cred = 2,
    /// A kernel module entered the kernel, before its init function ran: [`ModuleEvent`](crate::ModuleEvent).
    ModuleLoad = 3,
    /// A kernel module is about to be freed: [`ModuleEvent`](crate::ModuleEvent).
    ModuleFree = 4,
    /// Something is wrong with a task's credentials, namespaces or seccomp state:
    /// [`TaskFindingEvent`](crate::TaskFindingEvent).
    TaskFinding = 10,
    /// The exec gate refused something or alerts: [`GateEvent`](crate::GateEvent).
    Gate = 11,
    /// A package manager opened a package: [`PackageEvent`](crate::PackageEvent).
    Package = 12,
    /// The gate refused something that is no file, or alerts: [`ObjectEvent`](crate::ObjectEvent).
    Object = 13,
}

impl EventKind {
    /// The kind with this number, if there is one.
    pub const fn from_u16(raw: u16) -> Option<Self> {
        match raw {
            1 => Some(Self::Exec),
            2 => Some(Self::Cred),
            3 => Some(Self::ModuleLoad),
            4 => Some(Self::ModuleFree),
            10 => Some(Self::TaskFinding),
            11 => Some(Self::Gate),
            12 => Some(Self::Package),
            13 => Some(Self::Object),
            _ => None,
        }
    }
}

/// Which file it is: inode, device and generation of the inode's number. All zero: nobody can tell, or there is none (a thread of
/// the kernel). 16 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FileId {
    /// Inode number.
    pub ino: u64,
    /// Device in the kernel's own encoding: major << 20 | minor.
    pub dev: u32,
    /// Generation of the inode number; 0 if unknown.
    pub generation: u32,
}

impl FileId {
    /// Nobody can tell.
    pub const UNKNOWN: Self = Self {
        ino: 0,
        dev: 0,
        generation: 0,
    };

    /// Somebody can.
    pub const fn is_known(&self) -> bool {
        self.ino != 0
    }
}

/// The task that caused an event, as the kernel saw it at that moment. 120 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskInfo {
    /// Start of the thread-group leader, nanoseconds since boot including suspend (`start_boottime`); 0 if unknown.
    pub start_boottime_ns: u64,
    /// Id of the task's cgroup v2 (its inode number in cgroupfs); 0 if unknown.
    pub cgroup_id: u64,
    /// Thread id in the initial PID namespace.
    pub pid: u32,
    /// Process id (thread group) in the initial PID namespace.
    pub tgid: u32,
    /// Process id of the real parent.
    pub parent_tgid: u32,
    /// Audit login uid; `u32::MAX` if unset or unknown.
    pub loginuid: u32,
    /// Audit session id; `u32::MAX` if unset or unknown.
    pub sessionid: u32,
    /// Number of the PID namespace's inode; 0 if unknown.
    pub pid_ns: u32,
    /// Number of the mount namespace's inode; 0 if unknown.
    pub mnt_ns: u32,
    /// Keeps the layout free of implicit padding; always 0.
    pub reserved: u32,
    /// Command name, NUL padded.
    pub comm: [u8; TASK_COMM_LEN],
    /// Command name of the real parent, NUL padded.
    pub parent_comm: [u8; TASK_COMM_LEN],
    /// Start of the real parent, nanoseconds since boot; 0 if unknown. With `parent_tgid` it names a process for good.
    pub parent_start_boottime_ns: u64,
    /// What the task runs (`mm->exe_file`), after an execution the new program.
    pub exe: FileId,
    /// What the real parent runs.
    pub parent_exe: FileId,
}

/// Head of every record. 144 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventHeader {
    /// An [`EventKind`] number.
    pub kind: u16,
    /// [`ABI_VERSION`] of the program that wrote the record.
    pub abi_version: u16,
    /// Length of the whole record in bytes, this head included.
    pub size_bytes: u32,
    /// `bpf_ktime_get_boot_ns` (nanoseconds since boot, suspend included); `bpf_ktime_get_ns` where that is missing.
    pub boottime_ns: u64,
    /// CPU the event happened on.
    pub cpu: u32,
    /// Generation of the attached programs: rises with each upgrade, so that records seen twice can be dropped.
    pub generation: u32,
    /// Who did it.
    pub task: TaskInfo,
}

const _: () = {
    assert!(size_of::<TaskInfo>() == 120);
    assert!(size_of::<EventHeader>() == 144);
    assert!(core::mem::offset_of!(TaskInfo, comm) == 48);
    assert!(core::mem::offset_of!(EventHeader, task) == 24);
    assert!(RING_EVENTS_BYTES.is_power_of_two() && RING_EVENTS_BYTES.is_multiple_of(65536));
    assert!(RING_FINDINGS_BYTES.is_power_of_two() && RING_FINDINGS_BYTES.is_multiple_of(65536));
};
