//! The kernel struct fields that the programs read: one table for both sides. (tidy: table)
//!
//! rustc emits no CO-RE relocations. User space looks each field up by name in the running kernel's BTF and writes the
//! byte offset into the `.rodata` global of the same name before the program is loaded. The verifier then sees
//! constants. A field that the kernel does not have stays [`ABSENT`] and switches the code that reads it off.

/// Offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// How much hangs on a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldNeed {
    /// Without it no record would be true: the programs are not loaded.
    Required,
    /// Without it the named thing is missing from records; `doctor` says so.
    Optional(&'static str),
    /// Only some kernels have what it is part of; where it is not there nothing is missing.
    IfThere,
}

/// One kernel struct field and the names it has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name of the `.rodata` global in the eBPF object.
    pub global: &'static str,
    /// Struct name in BTF.
    pub owner: &'static str,
    /// Member paths to try in order; a dot steps into an embedded struct or union.
    pub members: &'static [&'static str],
    /// What its absence means.
    pub need: FieldNeed,
}

/// Calls `$callback! { GLOBAL, "struct", ["member", …], need; … }` with the whole table.
///
/// `hardpan-ebpf` makes the globals of it, this crate [`FIELDS`].
#[macro_export]
macro_rules! kernel_fields {
    ($callback:path) => {
        $callback! {
            // The task: who did it.
            OFF_TASK_PID, "task_struct", ["pid"], Required;
            OFF_TASK_TGID, "task_struct", ["tgid"], Required;
            OFF_TASK_COMM, "task_struct", ["comm"], Required;
            OFF_TASK_REAL_PARENT, "task_struct", ["real_parent"], Required;
            OFF_TASK_GROUP_LEADER, "task_struct", ["group_leader"], Required;
            OFF_TASK_CRED, "task_struct", ["cred"], Required;
            OFF_TASK_REAL_CRED, "task_struct", ["real_cred"], Required;
            OFF_TASK_MM, "task_struct", ["mm"], Required;
            // 4.18 calls it real_start_time; both count suspend.
            OFF_TASK_START_BOOTTIME, "task_struct", ["start_boottime", "real_start_time"], Optional("start time of processes");
            OFF_TASK_PTRACE, "task_struct", ["ptrace"], Optional("programs of packages that are being installed");
            OFF_TASK_NSPROXY, "task_struct", ["nsproxy"], Optional("namespaces of processes");
            // The path walk that is going on, with the name as it was asked for.
            OFF_TASK_NAMEIDATA, "task_struct", ["nameidata"], Optional("files given to interpreters");
            OFF_NAMEIDATA_NAME, "nameidata", ["name"], Optional("files given to interpreters");
            OFF_FILENAME_NAME, "filename", ["name"], Optional("files given to interpreters");
            OFF_TASK_LOGINUID, "task_struct", ["loginuid"], Optional("audit login uid");
            OFF_TASK_SESSIONID, "task_struct", ["sessionid"], Optional("audit session id");
            OFF_NSPROXY_MNT_NS, "nsproxy", ["mnt_ns"], Optional("mount namespace of processes");
            OFF_NSPROXY_PID_NS, "nsproxy", ["pid_ns_for_children"], Optional("PID namespace of processes");
            OFF_MNT_NS_INUM, "mnt_namespace", ["ns.inum"], Optional("mount namespace of processes");
            OFF_PID_NS_INUM, "pid_namespace", ["ns.inum"], Optional("PID namespace of processes");
            // Credentials. From 6.12 `usage` is 64 bits wide and everything moves.
            OFF_CRED_UID, "cred", ["uid"], Required;
            OFF_CRED_GID, "cred", ["gid"], Required;
            OFF_CRED_SUID, "cred", ["suid"], Required;
            OFF_CRED_SGID, "cred", ["sgid"], Required;
            OFF_CRED_EUID, "cred", ["euid"], Required;
            OFF_CRED_EGID, "cred", ["egid"], Required;
            OFF_CRED_FSUID, "cred", ["fsuid"], Required;
            OFF_CRED_FSGID, "cred", ["fsgid"], Required;
            OFF_CRED_SECUREBITS, "cred", ["securebits"], Required;
            OFF_CRED_CAP_INHERITABLE, "cred", ["cap_inheritable"], Required;
            OFF_CRED_CAP_PERMITTED, "cred", ["cap_permitted"], Required;
            OFF_CRED_CAP_EFFECTIVE, "cred", ["cap_effective"], Required;
            OFF_CRED_CAP_BSET, "cred", ["cap_bset"], Required;
            OFF_CRED_CAP_AMBIENT, "cred", ["cap_ambient"], Required;
            OFF_CRED_USER_NS, "cred", ["user_ns"], Optional("user namespace of credentials");
            OFF_USER_NS_INUM, "user_namespace", ["ns.inum"], Optional("user namespace of credentials");
            OFF_CRED_GROUP_INFO, "cred", ["group_info"], Optional("integrity of supplementary groups");
            OFF_GROUPS_COUNT, "group_info", ["ngroups"], Optional("group lists edited in place");
            OFF_GROUPS_IDS, "group_info", ["gid"], Optional("group lists edited in place");
            OFF_CRED_SECURITY, "cred", ["security"], IfThere;
            // 6.18 gave credentials a struct of their own.
            OFF_SELINUX_SID, "task_security_struct", ["sid"], IfThere;
            OFF_SELINUX_CRED_SID, "cred_security_struct", ["sid"], IfThere;
            OFF_BLOB_CRED, "lsm_blob_sizes", ["lbs_cred"], IfThere;
            OFF_USER_NS_PARENT, "user_namespace", ["parent"], Optional("rule for new user namespaces");
            // Integrity of tasks.
            OFF_TASK_FLAGS, "task_struct", ["flags"], Required;
            OFF_TASK_ATOMIC_FLAGS, "task_struct", ["atomic_flags"], Optional("integrity of no_new_privs");
            OFF_TASK_SECCOMP_MODE, "task_struct", ["seccomp.mode"], Optional("integrity of seccomp");
            OFF_TASK_SECCOMP_FILTER, "task_struct", ["seccomp.filter"], Optional("integrity of seccomp filters");
            OFF_SECCOMP_FILTER_PREV, "seccomp_filter", ["prev"], Optional("integrity of seccomp filters");
            // x86 until 5.9 (EL 8), arm64 until 5.10. Other kernels have no such limit.
            OFF_TASK_ADDRESS_LIMIT, "task_struct", ["thread.addr_limit.seg", "thread_info.addr_limit"], IfThere;
            // Until 5.10 (and in EL 8) a bit of thread_info.flags, whose number BTF does not tell.
            OFF_TASK_SYSCALL_WORK, "task_struct", ["thread_info.syscall_work"], Optional("integrity of the thread flag that turns seccomp on");
            OFF_NSPROXY_UTS_NS, "nsproxy", ["uts_ns"], Optional("integrity of UTS namespaces");
            OFF_NSPROXY_IPC_NS, "nsproxy", ["ipc_ns"], Optional("integrity of IPC namespaces");
            OFF_NSPROXY_NET_NS, "nsproxy", ["net_ns"], Optional("integrity of network namespaces");
            OFF_NSPROXY_CGROUP_NS, "nsproxy", ["cgroup_ns"], Optional("integrity of cgroup namespaces");
            OFF_NSPROXY_TIME_NS, "nsproxy", ["time_ns"], Optional("integrity of time namespaces");
            OFF_NSPROXY_TIME_NS_CHILDREN, "nsproxy", ["time_ns_for_children"], Optional("integrity of time namespaces");
            OFF_FILE_PRIVATE, "file", ["private_data"], Optional("writes to the memory of other processes");
            OFF_MM_OWNER, "mm_struct", ["owner"], Optional("writes to the memory of other processes");
            OFF_MM_EXE_FILE, "mm_struct", ["exe_file"], Optional("class of the running program in rules");
            OFF_TASK_FS, "task_struct", ["fs"], Optional("integrity of root directories");
            OFF_FS_ROOT_MNT, "fs_struct", ["root.mnt"], Optional("integrity of root directories");
            OFF_FS_ROOT_DENTRY, "fs_struct", ["root.dentry"], Optional("integrity of root directories");
            OFF_UTS_NS_INUM, "uts_namespace", ["ns.inum"], Optional("number of UTS namespaces in findings");
            OFF_IPC_NS_INUM, "ipc_namespace", ["ns.inum"], Optional("number of IPC namespaces in findings");
            OFF_NET_NS_INUM, "net", ["ns.inum"], Optional("number of network namespaces in findings");
            OFF_CGROUP_NS_INUM, "cgroup_namespace", ["ns.inum"], Optional("number of cgroup namespaces in findings");
            OFF_TIME_NS_INUM, "time_namespace", ["ns.inum"], Optional("number of time namespaces in findings");
            // Execution.
            OFF_BPRM_FILE, "linux_binprm", ["file"], Required;
            OFF_BPRM_CRED, "linux_binprm", ["cred"], Required;
            OFF_BPRM_FILENAME, "linux_binprm", ["filename"], Required;
            OFF_BPRM_INTERP, "linux_binprm", ["interp"], Required;
            OFF_BPRM_BUF, "linux_binprm", ["buf"], Optional("scripts told from programs before they run");
            OFF_MM_ARG_START, "mm_struct", ["arg_start"], Required;
            OFF_MM_ARG_END, "mm_struct", ["arg_end"], Required;
            // Files.
            OFF_FILE_INODE, "file", ["f_inode"], Required;
            OFF_FILE_PATH, "file", ["f_path"], Required;
            OFF_FILE_DENTRY, "file", ["f_path.dentry"], Optional("digests of files on overlayfs are remembered");
            OFF_FILE_MODE, "file", ["f_mode"], Required;
            OFF_DENTRY_INODE, "dentry", ["d_inode"], Optional("files cut or replaced by path");
            OFF_DENTRY_PARENT, "dentry", ["d_parent"], Optional("programs of packages that are being installed");
            OFF_DENTRY_NAME, "dentry", ["d_name.name"], Optional("programs of packages that are being installed");
            OFF_IATTR_VALID, "iattr", ["ia_valid"], Optional("files cut by path");
            OFF_VMA_FILE, "vm_area_struct", ["vm_file"], Optional("files made executable by mprotect");
            OFF_VMA_ANON, "vm_area_struct", ["anon_vma"], Optional("changed private copies of files made executable by mprotect");
            OFF_INODE_MAPPING, "inode", ["i_mapping"], Optional("writes into files that are running");
            OFF_MAPPING_MAPPED, "address_space", ["i_mmap.rb_root.rb_node"], Optional("writes into files that are running");
            OFF_INODE_MODE, "inode", ["i_mode"], Required;
            OFF_INODE_RDEV, "inode", ["i_rdev"], Optional("writes to block devices in use");
            OFF_INODE_UID, "inode", ["i_uid"], Required;
            OFF_INODE_GID, "inode", ["i_gid"], Required;
            OFF_INODE_SB, "inode", ["i_sb"], Required;
            OFF_INODE_INO, "inode", ["i_ino"], Required;
            OFF_INODE_NLINK, "inode", ["i_nlink"], Required;
            OFF_INODE_SIZE, "inode", ["i_size"], Required;
            // timespec64 until 6.10; then two members, seconds and nanoseconds apart.
            OFF_INODE_CTIME_S, "inode", ["i_ctime_sec", "__i_ctime.tv_sec", "i_ctime.tv_sec"], Required;
            OFF_INODE_CTIME_NS, "inode", ["i_ctime_nsec", "__i_ctime.tv_nsec", "i_ctime.tv_nsec"], Required;
            OFF_INODE_GENERATION, "inode", ["i_generation"], Optional("inode generation of files");
            OFF_INODE_WRITECOUNT, "inode", ["i_writecount"], Required;
            OFF_SHMEM_SEALS, "shmem_inode_info", ["seals"], Optional("programs run from sealed anonymous memory");
            OFF_SHMEM_INODE, "shmem_inode_info", ["vfs_inode"], Optional("programs run from sealed anonymous memory");
            OFF_SB_DEV, "super_block", ["s_dev"], Required;
            OFF_SB_MAGIC, "super_block", ["s_magic"], Required;
            OFF_SB_FLAGS, "super_block", ["s_flags"], Optional("files on tmpfs that lost their name told from anonymous memory");
            // Modules.
            OFF_MODULE_NAME, "module", ["name"], Required;
            OFF_MODULE_TAINTS, "module", ["taints"], Required;
            OFF_MODULE_SIG_OK, "module", ["sig_ok"], Optional("signature state of modules");
        }
    };
}

macro_rules! table {
    ($($global:ident, $owner:literal, [$($member:literal),+], $need:ident $(($what:literal))?;)+) => {
        /// Every field, in table order.
        pub const FIELDS: &[Field] = &[
            $(Field {
                global: stringify!($global),
                owner: $owner,
                members: &[$($member),+],
                need: FieldNeed::$need $(($what))?,
            }),+
        ];
    };
}

kernel_fields!(table);

/// A constant of a kernel enum whose number differs between kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnumConstant {
    /// Name of the `.rodata` global in the eBPF object.
    pub global: &'static str,
    /// Enum name in BTF.
    pub owner: &'static str,
    /// Enumerator name.
    pub constant: &'static str,
    /// What its absence means.
    pub need: FieldNeed,
}

/// Enum constants the programs compare with; absent ones stay [`ABSENT`].
///
/// `READING_MODULE` was 3 in 4.18 and is 2 since 5.10 (include/linux/fs.h, include/linux/kernel_read_file.h).
pub const ENUM_CONSTANTS: &[EnumConstant] = &[
    EnumConstant {
        global: "READING_MODULE",
        owner: "kernel_read_file_id",
        constant: "READING_MODULE",
        need: FieldNeed::Optional("file behind a module load"),
    },
    EnumConstant {
        global: "LOADING_MODULE",
        owner: "kernel_load_data_id",
        constant: "LOADING_MODULE",
        need: FieldNeed::Optional("module loads from memory told from those from files"),
    },
    EnumConstant {
        global: "LOCKDOWN_MODULE_SIGNATURE",
        owner: "lockdown_reason",
        constant: "LOCKDOWN_MODULE_SIGNATURE",
        need: FieldNeed::Optional("refusal of modules signed by a key the kernel does not know"),
    },
    EnumConstant {
        global: "SYSCALL_WORK_BIT_SECCOMP",
        owner: "syscall_work_bit",
        constant: "SYSCALL_WORK_BIT_SECCOMP",
        need: FieldNeed::Optional("integrity of the thread flag that turns seccomp on"),
    },
];

/// Globals that say which helpers the kernel lets each program use; user space sets each to 1 after a probe.
/// 0 removes the call from the program before it runs (dead code is dropped by the verifier).
pub mod switch {
    /// `bpf_get_current_task_btf` (5.11, EL 8.5): the current task as a typed pointer.
    pub const TASK_BTF: &str = "HAS_TASK_BTF";
    /// `bpf_d_path` in LSM programs on sleepable hooks (5.11, EL 8.5).
    pub const D_PATH: &str = "HAS_D_PATH";
    /// `bpf_probe_read_kernel` (refused in tracing programs under lockdown=confidentiality).
    pub const PROBE_READ: &str = "HAS_PROBE_READ";
    /// `bpf_ima_file_hash` (5.18, EL 9.2).
    pub const IMA_FILE_HASH: &str = "HAS_IMA_FILE_HASH";
    /// Inode storage usable from the exec program.
    pub const INODE_STORAGE: &str = "HAS_INODE_STORAGE";
    /// The hook `task_fix_setgid` is attached: a change of group ids needs its witness.
    pub const SETGID_HOOK: &str = "HAS_SETGID_HOOK";
    /// The function `security_task_prctl` is watched: a change of securebits needs its witness.
    pub const PRCTL_HOOK: &str = "HAS_PRCTL_HOOK";
    /// The functions `override_creds` and `revert_creds` exist and are watched: `cred` unlike `real_cred` outside them is
    /// a finding. (From 6.13 on they are inlined.)
    pub const OVERRIDE_HOOKS: &str = "HAS_OVERRIDE_HOOKS";
    /// The functions that move root directories are watched.
    pub const ROOT_HOOKS: &str = "HAS_ROOT_HOOKS";
    /// Shadows are in task storage (5.13 for the programs that use it), else in a hash.
    pub const TASK_STORAGE: &str = "HAS_TASK_STORAGE";
    /// All is there that is read to tell whether a task opens a file as what it was at its last open.
    pub const OPEN_MARK: &str = "HAS_OPEN_MARK";
    /// A hook for a task that gives itself another security context is attached: such a change needs its witness.
    pub const CONTEXT_HOOK: &str = "HAS_CONTEXT_HOOK";
}

/// Global that holds the generation written into each record's head.
pub const GLOBAL_GENERATION: &str = "GENERATION";
/// Global that holds the address of `selinux_blob_sizes` (`u64`): where SELinux keeps its part of credentials. 0: unknown.
pub const GLOBAL_SELINUX_BLOBS: &str = "SELINUX_BLOBS";
/// Global that caps the size of files hashed in the kernel, in bytes (`u64`).
pub const GLOBAL_HASH_MAX_BYTES: &str = "HASH_MAX_BYTES";
