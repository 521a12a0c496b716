//! Integrity of tasks: the shadow that the kernel side keeps of each, and what it finds.

use crate::{CredIds, EventHeader, TaskInfo};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Tasks that can be shadowed at once. The map is preallocated and not LRU: an attacker can't evict entries. What does
/// not fit is counted ([`Counter::TaskUntracked`](crate::Counter::TaskUntracked)).
pub const TASKS_MAX: u32 = 32_768;

/// Ids of a group list that its mark covers. A list edited beyond them is not noticed.
pub const GROUPS_SEEN: usize = 16;

/// Slots of the map of what opens were last found in order with.
pub const OPENS_SEEN: usize = 8192;

/// Namespaces of a task that are watched: the members of `struct nsproxy`, in the order of [`NS_NAMES`].
pub const NS_COUNT: usize = 8;

/// Names of the watched namespaces, as in `/proc/PID/ns`.
pub const NS_NAMES: [&str; NS_COUNT] = [
    "uts",
    "ipc",
    "mnt",
    "pid_for_children",
    "net",
    "cgroup",
    "time",
    "time_for_children",
];

/// What is wrong with a task. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum TaskFindingKind {
    /// Changed credentials were committed and no lawful way had announced them.
    CredNoWitness = 1,
    /// Credentials changed by an announced way, beyond what that way allows.
    CredRule = 2,
    /// The credentials in force were overwritten in place.
    CredEdited = 3,
    /// The task's credential pointer was exchanged without a commit.
    CredSwapped = 4,
    /// A namespace was exchanged outside `setns`, `unshare` and `clone`.
    NsRepointed = 5,
    /// A seccomp filter or `no_new_privs`, once set, is gone.
    SeccompWeakened = 6,
    /// The task's root directory was exchanged outside `chroot`, `pivot_root` and `setns`.
    RootMoved = 7,
    /// Another process, not one of its ancestors, got hold of its memory.
    Accessed = 8,
    /// The task's address limit is the kernel's: its system calls read and write kernel memory (EL 8; later kernels have
    /// no such limit).
    AddressLimit = 9,
}

impl TaskFindingKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::CredNoWitness,
        Self::CredRule,
        Self::CredEdited,
        Self::CredSwapped,
        Self::NsRepointed,
        Self::SeccompWeakened,
        Self::RootMoved,
        Self::Accessed,
        Self::AddressLimit,
    ];

    /// The kind with this number, if there is one.
    pub const fn from_u32(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::CredNoWitness),
            2 => Some(Self::CredRule),
            3 => Some(Self::CredEdited),
            4 => Some(Self::CredSwapped),
            5 => Some(Self::NsRepointed),
            6 => Some(Self::SeccompWeakened),
            7 => Some(Self::RootMoved),
            8 => Some(Self::Accessed),
            9 => Some(Self::AddressLimit),
            _ => None,
        }
    }
}

/// Lawful ways to change credentials. Each has its rule. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum TaskWitness {
    /// None.
    None = 0,
    /// LSM `task_fix_setuid`.
    SetUid = 1,
    /// LSM `capset`.
    CapSet = 2,
    /// LSM `bprm_committing_creds`.
    Exec = 3,
    /// LSM `task_fix_setgid`.
    SetGid = 4,
    /// LSM `task_fix_setgroups`.
    SetGroups = 5,
    /// `prctl` with an option that changes capability sets or securebits.
    Prctl = 6,
    /// A new or entered user namespace below the old one.
    UserNs = 7,
    /// Born by fork: credentials are the parent's.
    Fork = 8,
    /// `security_setprocattr` or `security_setselfattr`: the task gives itself another security context.
    SetContext = 9,
}

impl TaskWitness {
    /// The witness with this number, if there is one.
    pub const fn from_u32(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::None),
            1 => Some(Self::SetUid),
            2 => Some(Self::CapSet),
            3 => Some(Self::Exec),
            4 => Some(Self::SetGid),
            5 => Some(Self::SetGroups),
            6 => Some(Self::Prctl),
            7 => Some(Self::UserNs),
            8 => Some(Self::Fork),
            9 => Some(Self::SetContext),
            _ => None,
        }
    }
}

/// Where the kernel side looked. Also the index into the map of run counts, by which a self-test tells whether a
/// program runs. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum TaskHook {
    /// Tracepoint `sched_process_fork`.
    Fork = 0,
    /// Tracepoint `sched_process_exec`.
    Exec = 1,
    /// Tracepoint `sched_process_exit`.
    Exit = 2,
    /// `commit_creds`.
    Commit = 3,
    /// LSM `task_fix_setuid`.
    SetUid = 4,
    /// LSM `task_fix_setgid`.
    SetGid = 5,
    /// LSM `task_fix_setgroups`.
    SetGroups = 6,
    /// LSM `capset`.
    CapSet = 7,
    /// LSM `bprm_committing_creds`.
    ExecCommit = 8,
    /// `security_task_prctl`.
    Prctl = 9,
    /// Entry of `setns`.
    SetNsEnter = 10,
    /// Return of `setns`.
    SetNsLeave = 11,
    /// Return of `seccomp`.
    SeccompLeave = 12,
    /// LSM `file_open`.
    FileOpen = 13,
    /// LSM `capable`.
    Capable = 14,
    /// LSM `bprm_check_security`.
    ExecCheck = 15,
    /// LSM `task_kill`.
    Kill = 16,
    /// LSM `ptrace_access_check`.
    Ptrace = 17,
    /// LSM `kernel_read_file`.
    ReadFile = 18,
    /// LSM `bpf`.
    Bpf = 19,
    /// LSM `socket_create`.
    SocketCreate = 20,
    /// The sweep over all tasks.
    Sweep = 21,
    /// Entry of `unshare`.
    UnshareEnter = 22,
    /// Return of `unshare`.
    UnshareLeave = 23,
    /// Return of `prctl`.
    PrctlLeave = 24,
    /// Entry of a 32-bit `setns` or `unshare`.
    CompatNsEnter = 25,
    /// Return of a 32-bit `setns` or `unshare`.
    CompatNsLeave = 26,
    /// Entry of `override_creds`.
    Override = 27,
    /// Entry of `revert_creds`.
    Revert = 28,
    /// Entry of `set_fs_root` or `chroot_fs_refs`.
    RootEnter = 29,
    /// Return of one of them.
    RootLeave = 30,
    /// Entry of `mem_write`: a write to `/proc/PID/mem`.
    MemWrite = 31,
    /// `security_setprocattr`.
    SetProcAttr = 32,
    /// `security_setselfattr` (since 6.8).
    SetSelfAttr = 33,
}

impl TaskHook {
    /// Slots of the map of run counts.
    pub const SLOTS: u32 = 40;

    /// The hook with this number and the name it has in records.
    pub const fn name(raw: u32) -> Option<&'static str> {
        Some(match raw {
            0 => "sched_process_fork",
            1 => "sched_process_exec",
            2 => "sched_process_exit",
            3 => "commit_creds",
            4 => "task_fix_setuid",
            5 => "task_fix_setgid",
            6 => "task_fix_setgroups",
            7 => "capset",
            8 => "bprm_committing_creds",
            9 => "security_task_prctl",
            10 | 11 => "setns",
            12 => "seccomp",
            13 => "file_open",
            14 => "capable",
            15 => "bprm_check_security",
            16 => "task_kill",
            17 => "ptrace_access_check",
            18 => "kernel_read_file",
            19 => "bpf",
            20 => "socket_create",
            21 => "sweep",
            22 | 23 => "unshare",
            24 => "prctl",
            25 | 26 => "namespace-call-32",
            27 => "override_creds",
            28 => "revert_creds",
            29 | 30 => "set_fs_root",
            31 => "mem_write",
            32 => "security_setprocattr",
            33 => "security_setselfattr",
            _ => return None,
        })
    }
}

/// What to do about a finding, in the map `TASK_POLICY`. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum TaskResponse {
    /// Record it.
    Record = 0,
    /// And deny the operation that noticed it and every later one that a hook is asked about.
    Deny = 1,
    /// And send SIGKILL to the task's thread group (never to process 1).
    Kill = 2,
}

impl TaskResponse {
    /// The response with this number, if there is one.
    pub const fn from_u32(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Record),
            1 => Some(Self::Deny),
            2 => Some(Self::Kill),
            _ => None,
        }
    }
}

/// What else of a task is watched, with what it was. 64 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskRest {
    /// Inode numbers of the namespaces, in the order of [`NS_NAMES`]; 0 if unknown.
    pub ns: [u32; NS_COUNT],
    /// `SECCOMP_MODE_*`: 0 off, 1 strict, 2 filter, 3 dead.
    pub seccomp_mode: u32,
    /// 1 if the task's system calls are looked at by seccomp (thread flag); `u32::MAX` if unknown.
    pub seccomp_flag: u32,
    /// 1 if `no_new_privs` is set.
    pub no_new_privs: u32,
    /// 1 if there is a filter.
    pub seccomp_filter: u32,
    /// 1 if the supplementary groups differ from those of the other side of the record.
    pub groups_differ: u32,
    /// 1 if the root directory differs from that of the other side of the record.
    pub root_differs: u32,
    /// SELinux security id; 0 if unknown.
    pub selinux_sid: u32,
    /// 1 if the address limit is the kernel's.
    pub address_limit_kernel: u32,
}

/// A finding about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskFindingEvent {
    /// The common head: the task that was running, which is the task concerned unless a sweep found it.
    pub header: EventHeader,
    /// The task concerned.
    pub task: TaskInfo,
    /// Credentials the shadow knows.
    pub old: CredIds,
    /// Credentials found.
    pub new: CredIds,
    /// The rest the shadow knows.
    pub old_rest: TaskRest,
    /// The rest found.
    pub new_rest: TaskRest,
    /// A [`TaskFindingKind`] number.
    pub kind: u32,
    /// A [`TaskHook`] number.
    pub hook: u32,
    /// A [`TaskWitness`] number.
    pub witness: u32,
    /// A [`TaskResponse`] number: what was done.
    pub response: u32,
}

/// Bits of [`TaskShadow::state`].
pub mod task_state {
    /// The shadow is filled.
    pub const FILLED: u32 = 1 << 0;
    /// The task is inside `setns` or `unshare`.
    pub const NS_CALL: u32 = 1 << 1;
    /// A sweep recorded the present difference; the task's own hooks need not again.
    pub const RECORDED: u32 = 1 << 2;
    /// The present override without a lawful reason was recorded.
    pub const OVERRIDE_RECORDED: u32 = 1 << 3;
}

/// A task's state, as far as it is watched. Kernel side only: addresses never leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskView {
    /// Content of the credentials in force (`real_cred`).
    pub ids: CredIds,
    /// Address of their user namespace.
    pub user_ns: u64,
    /// Address of their group list.
    pub groups: u64,
    /// A mark of the group list's content: its length and first [`GROUPS_SEEN`] ids; 0 if unknown.
    pub groups_mark: u64,
    /// SELinux security id; 0 if unknown.
    pub selinux_sid: u64,
    /// Address of the `struct cred`.
    pub cred: u64,
    /// Addresses of the namespaces, in the order of [`NS_NAMES`].
    pub ns: [u64; NS_COUNT],
    /// Addresses of the root directory's mount and entry.
    pub root: [u64; 2],
    /// Address of the newest seccomp filter.
    pub seccomp_filter: u64,
    /// Highest address that system calls take from the task; 0 if the kernel has no such limit.
    pub address_limit: u64,
    /// `SECCOMP_MODE_*`.
    pub seccomp_mode: u32,
    /// 1 if the thread flag says that seccomp looks at system calls; 0 also where that is unknown.
    pub seccomp_flag: u32,
    /// 1 if `no_new_privs` is set.
    pub no_new_privs: u32,
    /// Thread id, to notice an address that was used again.
    pub pid: u32,
}

impl TaskView {
    /// Its size in words of eight bytes.
    pub const WORDS: usize = size_of::<Self>() / 8;
    /// How many words at its beginning are the content of the credentials.
    pub const CRED_WORDS: usize = 14;

    /// All zero: a place to read into.
    pub const EMPTY: Self = Self {
        ids: CredIds::EMPTY,
        user_ns: 0,
        groups: 0,
        groups_mark: 0,
        selinux_sid: 0,
        cred: 0,
        ns: [0; NS_COUNT],
        root: [0; 2],
        seccomp_filter: 0,
        address_limit: 0,
        seccomp_mode: 0,
        seccomp_flag: 0,
        no_new_privs: 0,
        pid: 0,
    };
}

/// What the kernel side remembers of a task, by the address of its `task_struct` (which an exec by a thread does not
/// change).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskShadow {
    /// The state that is lawful.
    pub known: TaskView,
    /// The state found by the task's own hooks when something differs: the verifier computes with what comes out of a
    /// map, not with pointers.
    pub now: TaskView,
    /// Inode numbers of the namespaces.
    pub ns_inum: [u32; NS_COUNT],
    /// The one-shot note: address of the announced `struct cred`, 0 if the hook does not know it.
    pub note_cred: u64,
    /// When it was left (`bpf_ktime_get_ns`).
    pub note_ns: u64,
    /// The note's [`TaskWitness`] number.
    pub note_witness: u32,
    /// [`task_state`] bits.
    pub state: u32,
    /// How many `override_creds` are in force.
    pub overrides: u32,
    /// A [`TaskResponse`] number: what every hook answers from now on.
    pub condemned: u32,
    /// Mark of the difference the last sweep saw; 0 if none. Two equal marks in a row make a finding.
    pub sweep_mark: u64,
    /// When a sweep made this shadow of a task that may have been running (`bpf_ktime_get_ns`); 0 if the task or its
    /// parent did. For a moment after that a difference is the sweep's own race.
    pub seeded_ns: u64,
    /// Count of root changes (of any task) when `known.root` was last looked at.
    pub root_epoch: u64,
}

impl TaskShadow {
    /// All zero: what a new entry begins as.
    pub const EMPTY: Self = Self {
        known: TaskView::EMPTY,
        now: TaskView::EMPTY,
        ns_inum: [0; NS_COUNT],
        note_cred: 0,
        note_ns: 0,
        note_witness: 0,
        state: 0,
        overrides: 0,
        condemned: 0,
        sweep_mark: 0,
        seeded_ns: 0,
        root_epoch: 0,
    };
}

const _: () = {
    assert!(size_of::<TaskRest>() == 64);
    assert!(size_of::<TaskFindingEvent>() == 144 + 120 + 160 + 128 + 16);
    assert!(size_of::<TaskView>() == 80 + 40 + 64 + 16 + 16 + 16);
    assert!(core::mem::offset_of!(TaskView, cred) == 8 * TaskView::CRED_WORDS);
    assert!(size_of::<TaskShadow>() == 2 * 232 + 32 + 16 + 16 + 24);
};
