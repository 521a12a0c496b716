//! Exact counters, in one array map of `u64`, only ever added to with atomic adds: but for the two that user space sets.

/// Slots in the counter map; larger than needed so that a new counter does not change the map.
pub const COUNTER_SLOTS: u32 = 64;

/// A slot of the counter map. Numbers are never reused.
///
/// For each kind: generated = received by the reader (in a record or a [`Tally`](crate::Tally)) + lost. The ring itself loses nothing that was submitted and is
/// read in order, so a lasting difference means that somebody interferes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Counter {
    /// Successful execs seen.
    ExecGenerated = 0,
    /// Exec records that found no room in the ring.
    ExecLost = 1,
    /// Credential changes seen.
    CredGenerated = 2,
    /// Credential records that found no room in the ring.
    CredLost = 3,
    /// Module loads and frees seen.
    ModuleGenerated = 4,
    /// Module records that found no room in the ring.
    ModuleLost = 5,
    /// `bprm_check_security` calls whose result could not be kept (stash full): the record lacks the kernel's digest.
    ExecStashFull = 6,
    /// Files hashed in the kernel.
    ExecHashed = 7,
    /// Digests answered from the inode cache.
    ExecHashCached = 8,
    /// Credential witnesses that could not be kept (map full).
    WitnessFull = 9,
    /// Executions that were only counted, in a [`Tally`](crate::Tally): they have no record in the ring.
    ExecTallied = 10,
    /// Findings about tasks.
    TaskGenerated = 16,
    /// Findings about tasks that found no room in the ring.
    TaskLost = 17,
    /// Tasks that could not be shadowed (map full).
    TaskUntracked = 18,
    /// Shadows made anew because another task had used the address.
    TaskReused = 19,
    /// Credentials of the same content under another address, taken over without a finding.
    TaskAdopted = 20,
    /// Records of the gate.
    GateGenerated = 24,
    /// Records of the gate that found no room in the ring.
    GateLost = 25,
    /// What the gate refused.
    GateRefused = 26,
    /// Executions judged by the gate, scripts and interpreters each.
    GateAskedExec = 27,
    /// Verdicts withdrawn because the file was opened for writing.
    GateWithdrawn = 28,
    /// Executable mappings of files judged by the gate.
    GateAskedMap = 29,
    /// Files made executable by `mprotect` judged by the gate.
    GateAskedProtect = 30,
    /// Packages opened by package managers.
    PackageGenerated = 32,
    /// Records of opened packages that found no room in the ring.
    PackageLost = 33,
    /// Interpreters that found no room in the list of those that run: what they are given is not judged.
    InterpreterFull = 34,
    /// Set by user space while the programs are pinned: events that are written, or of which the stop record has told. The next
    /// hardpand knows by it how many the one before took out of the ring and did not write.
    UserTold = 40,
    /// Set by user space with it: those that it took over from an earlier generation.
    UserInherited = 41,
}

impl Counter {
    /// All counters, in slot order.
    pub const ALL: [Self; 28] = [
        Self::ExecGenerated,
        Self::ExecLost,
        Self::CredGenerated,
        Self::CredLost,
        Self::ModuleGenerated,
        Self::ModuleLost,
        Self::ExecStashFull,
        Self::ExecHashed,
        Self::ExecHashCached,
        Self::WitnessFull,
        Self::ExecTallied,
        Self::TaskGenerated,
        Self::TaskLost,
        Self::TaskUntracked,
        Self::TaskReused,
        Self::TaskAdopted,
        Self::GateGenerated,
        Self::GateLost,
        Self::GateRefused,
        Self::GateAskedExec,
        Self::GateWithdrawn,
        Self::GateAskedMap,
        Self::GateAskedProtect,
        Self::PackageGenerated,
        Self::PackageLost,
        Self::InterpreterFull,
        Self::UserTold,
        Self::UserInherited,
    ];

    /// The counter's name in records and in `hardpan status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExecGenerated => "exec_generated",
            Self::ExecLost => "exec_lost",
            Self::CredGenerated => "cred_generated",
            Self::CredLost => "cred_lost",
            Self::ModuleGenerated => "module_generated",
            Self::ModuleLost => "module_lost",
            Self::ExecStashFull => "exec_stash_full",
            Self::ExecHashed => "exec_hashed",
            Self::ExecHashCached => "exec_hash_cached",
            Self::WitnessFull => "witness_full",
            Self::ExecTallied => "exec_tallied",
            Self::TaskGenerated => "task_generated",
            Self::TaskLost => "task_lost",
            Self::TaskUntracked => "task_untracked",
            Self::TaskReused => "task_reused",
            Self::TaskAdopted => "task_adopted",
            Self::GateGenerated => "gate_generated",
            Self::GateLost => "gate_lost",
            Self::GateRefused => "gate_refused",
            Self::GateAskedExec => "gate_asked_exec",
            Self::GateWithdrawn => "gate_withdrawn",
            Self::GateAskedMap => "gate_asked_map",
            Self::GateAskedProtect => "gate_asked_protect",
            Self::PackageGenerated => "package_generated",
            Self::PackageLost => "package_lost",
            Self::InterpreterFull => "interpreter_full",
            Self::UserTold => "user_told",
            Self::UserInherited => "user_inherited",
        }
    }
}
