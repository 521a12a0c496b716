//! The task family: shadows of all tasks, and what watches them.

use super::Sensor;
use super::plan::{Kind, Spec, spec};
use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{Iter, ProgramError},
};
use hardpan_abi::{TaskFindingKind, TaskHook, TaskResponse};
use hardpan_core::platform::HookFamily;
use std::io::{self, Read};

/// System calls by architecture: the functions behind the table, whose names the kernel makes up.
#[cfg(target_arch = "aarch64")]
mod calls {
    pub(super) const SETNS: &str = "__arm64_sys_setns";
    pub(super) const UNSHARE: &str = "__arm64_sys_unshare";
    pub(super) const SECCOMP: &str = "__arm64_sys_seccomp";
    pub(super) const PRCTL: &str = "__arm64_sys_prctl";
}
#[cfg(not(target_arch = "aarch64"))]
mod calls {
    pub(super) const SETNS: &str = "__x64_sys_setns";
    pub(super) const UNSHARE: &str = "__x64_sys_unshare";
    pub(super) const SECCOMP: &str = "__x64_sys_seccomp";
    pub(super) const PRCTL: &str = "__x64_sys_prctl";
}

const fn task(program: &'static str, hook: &'static str, kind: Kind, consequence: &'static str) -> Spec {
    spec(HookFamily::Task, program, hook, kind, consequence)
}

const LATER: &str = "tampering with credentials is noticed at another hook or by the next sweep";
const MOVES: &str = "tasks that change namespaces by this call raise findings";

const CONTEXTS: &str = "changes of security contexts need no witness";
const OVERRIDES: &str = "credentials put over a task's own are looked at only where no override is lawful";
const ROOTS: &str = "a root directory exchanged by an attacker is not noticed";

/// Updaters first, so that no validator sees a shadow that nobody keeps up.
pub(super) const SPECS: &[Spec] = &[
    task(
        "shadow_exit",
        "sched_process_exit",
        Kind::TpBtf,
        "shadows of dead tasks stay until their memory is used again",
    ),
    task(
        "shadow_setuid",
        "task_fix_setuid",
        Kind::Lsm,
        "set*id calls raise findings",
    ),
    task(
        "shadow_setgid",
        "task_fix_setgid",
        Kind::Lsm,
        "changes of group ids need no witness",
    ),
    task(
        "shadow_setgroups",
        "task_fix_setgroups",
        Kind::Lsm,
        "changes of supplementary groups need no witness",
    ),
    task("shadow_capset", "capset", Kind::Lsm, "capset raises findings"),
    task(
        "shadow_exec_commit",
        "bprm_committing_creds",
        Kind::Lsm,
        "execs that change credentials raise findings",
    ),
    task(
        "shadow_prctl",
        "security_task_prctl",
        Kind::Fentry,
        "changes of securebits need no witness",
    ),
    task(
        "shadow_setprocattr",
        "security_setprocattr",
        Kind::Fentry,
        CONTEXTS,
    ),
    task(
        "shadow_setselfattr",
        "security_setselfattr",
        Kind::Fentry,
        CONTEXTS,
    ),
    task("shadow_setns", calls::SETNS, Kind::Fentry, MOVES),
    task("shadow_setns_done", calls::SETNS, Kind::Fexit, MOVES),
    task("shadow_unshare", calls::UNSHARE, Kind::Fentry, MOVES),
    task("shadow_unshare_done", calls::UNSHARE, Kind::Fexit, MOVES),
    task("shadow_setns_32", "__ia32_sys_setns", Kind::Fentry, MOVES),
    task("shadow_setns_32_done", "__ia32_sys_setns", Kind::Fexit, MOVES),
    task("shadow_unshare_32", "__ia32_sys_unshare", Kind::Fentry, MOVES),
    task("shadow_unshare_32_done", "__ia32_sys_unshare", Kind::Fexit, MOVES),
    task("shadow_override", "override_creds", Kind::Fentry, OVERRIDES),
    task("shadow_revert", "revert_creds", Kind::Fexit, OVERRIDES),
    task("shadow_chroot", "set_fs_root", Kind::Fentry, ROOTS),
    task("shadow_chroot_done", "set_fs_root", Kind::Fexit, ROOTS),
    task("shadow_pivot", "chroot_fs_refs", Kind::Fentry, ROOTS),
    task("shadow_pivot_done", "chroot_fs_refs", Kind::Fexit, ROOTS),
    FIRST_JUDGE,
    task(
        "shadow_fork",
        "sched_process_fork",
        Kind::TpBtf,
        "new tasks are watched from their first hook on",
    ),
    task(
        "shadow_exec",
        "sched_process_exec",
        Kind::TpBtf,
        "programs started by the kernel are watched from their first hook on",
    ),
    task(
        "shadow_seccomp_done",
        calls::SECCOMP,
        Kind::Fexit,
        "seccomp filters are known from the task's next hook on",
    ),
    task(
        "shadow_prctl_done",
        calls::PRCTL,
        Kind::Fexit,
        "seccomp filters and no_new_privs are known from the task's next hook on",
    ),
    GUARD_FILE_OPEN,
    task("guard_capable", "capable", Kind::Lsm, LATER),
    GUARD_EXEC,
    task("guard_kill", "task_kill", Kind::Lsm, LATER),
    GUARD_PTRACE,
    task(
        "guard_mem_write",
        "mem_write",
        Kind::Fentry,
        "writes to the memory of other processes through /proc are not seen",
    ),
    GUARD_READ_FILE,
    GUARD_BPF,
    task("guard_socket", "socket_create", Kind::Lsm, LATER),
    task(
        "shadow_sweep",
        "task",
        Kind::Iter,
        "tasks that do nothing are not looked at",
    ),
];

/// What precedes it only notes what is lawful; it, and what follows, judges by that.
const FIRST_JUDGE: Spec = task(
    "shadow_commit",
    "commit_creds",
    Kind::Fentry,
    "credentials committed by an attacker are noticed at the next hook",
);

/// Whether a program only notes what is lawful: it has to be at its hook for as long as any that judges by that.
pub(super) fn only_notes(program: &str) -> bool {
    SPECS
        .iter()
        .take_while(|spec| spec.program != FIRST_JUDGE.program)
        .any(|spec| spec.program == program)
}

/// Opens. On kernels whose verifier takes it, one program does this one's work and that of the gate's.
pub(super) const GUARD_FILE_OPEN: Spec = task("guard_file_open", "file_open", Kind::Lsm, LATER);

/// Executions; like the next three together with another's program where the verifier takes both in one.
pub(super) const GUARD_EXEC: Spec = task("guard_exec", "bprm_check_security", Kind::Lsm, LATER);
/// `ptrace` and its like.
pub(super) const GUARD_PTRACE: Spec = task("guard_ptrace", "ptrace_access_check", Kind::Lsm, LATER);
/// Loading of modules.
pub(super) const GUARD_READ_FILE: Spec = task("guard_read_file", "kernel_read_file", Kind::Lsm, LATER);
/// The call `bpf`.
pub(super) const GUARD_BPF: Spec = task("guard_bpf", "bpf", Kind::Lsm, LATER);

/// The slot of the run counts that belongs to a hook; `None`: no self-test reaches it.
fn slot(hook: &str, variant: &str) -> Option<TaskHook> {
    let entry = variant == Kind::Fentry.name();
    Some(match hook {
        "sched_process_fork" => TaskHook::Fork,
        "sched_process_exec" => TaskHook::Exec,
        "sched_process_exit" => TaskHook::Exit,
        "commit_creds" => TaskHook::Commit,
        "task_fix_setuid" => TaskHook::SetUid,
        "task_fix_setgid" => TaskHook::SetGid,
        "task_fix_setgroups" => TaskHook::SetGroups,
        "capset" => TaskHook::CapSet,
        "bprm_committing_creds" => TaskHook::ExecCommit,
        "security_task_prctl" => TaskHook::Prctl,
        calls::SETNS if entry => TaskHook::SetNsEnter,
        calls::SETNS => TaskHook::SetNsLeave,
        calls::UNSHARE if entry => TaskHook::UnshareEnter,
        calls::UNSHARE => TaskHook::UnshareLeave,
        calls::SECCOMP => TaskHook::SeccompLeave,
        calls::PRCTL => TaskHook::PrctlLeave,
        "override_creds" => TaskHook::Override,
        "revert_creds" => TaskHook::Revert,
        "set_fs_root" if entry => TaskHook::RootEnter,
        "set_fs_root" => TaskHook::RootLeave,
        "file_open" => TaskHook::FileOpen,
        "capable" => TaskHook::Capable,
        "bprm_check_security" => TaskHook::ExecCheck,
        "task_kill" => TaskHook::Kill,
        "ptrace_access_check" => TaskHook::Ptrace,
        "kernel_read_file" => TaskHook::ReadFile,
        "bpf" => TaskHook::Bpf,
        "socket_create" => TaskHook::SocketCreate,
        "task" => TaskHook::Sweep,
        // 32-bit calls: this program is not a 32-bit one. pivot_root: it would move. A write to another
        // process's memory: there is none to hand. Security contexts: what is tried shows up in audit logs.
        _ => return None,
    })
}

/// The family's maps; those of an object without them are missing.
#[derive(Default)]
pub(super) struct Maps {
    runs: Option<Array<MapData, u64>>,
    policy: Option<Array<MapData, u32>>,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Self {
        Self {
            runs: ebpf
                .take_map("TASK_RUNS")
                .and_then(|map| Array::try_from(map).ok()),
            policy: ebpf
                .take_map("TASK_POLICY")
                .and_then(|map| Array::try_from(map).ok()),
        }
    }

    /// Whether the program at this hook has run; `None` if nothing can tell.
    pub(super) fn ran(&self, hook: &str, variant: &str) -> Option<bool> {
        let slot = slot(hook, variant)?;
        let runs = self.runs.as_ref()?;
        runs.get(&(slot as u32), 0).ok().map(|count| count > 0)
    }
}

/// Why a sweep or a change of policy failed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The program is not loaded on this kernel.
    #[error("the sweep's program is not loaded")]
    NotLoaded,
    /// The kernel refused to make the iterator.
    #[error("making the iterator over all tasks")]
    Make(#[source] Box<ProgramError>),
    /// Reading it (which runs it) failed.
    #[error("running the iterator over all tasks")]
    Read(#[source] io::Error),
    /// The policy map could not be written.
    #[error("writing the policy for findings about tasks")]
    Policy(#[source] Box<aya::maps::MapError>),
}

impl Sensor {
    /// Compares every task with its shadow, and makes missing shadows. What differs in two sweeps in a row becomes a
    /// finding in the ring. Blocks while the kernel walks the tasks.
    pub fn sweep(&mut self) -> Result<(), SweepError> {
        let program = self
            .ebpf
            .as_mut()
            .and_then(|ebpf| ebpf.program_mut("shadow_sweep"))
            .ok_or(SweepError::NotLoaded)?;
        let program: &mut Iter = program
            .try_into()
            .map_err(|error| SweepError::Make(Box::new(error)))?;
        let make = |error| SweepError::Make(Box::new(error));
        let id = program.attach().map_err(make)?;
        let link = program.take_link(id).map_err(make)?;
        let mut file = link
            .into_file()
            .map_err(|error| SweepError::Read(io::Error::other(error)))?;
        let mut nothing = [0u8; 4096];
        while file.read(&mut nothing).map_err(SweepError::Read)? > 0 {}
        Ok(())
    }

    /// What the kernel side does about findings of this kind. Without a call it records.
    pub fn set_task_response(
        &mut self,
        kind: TaskFindingKind,
        response: TaskResponse,
    ) -> Result<(), SweepError> {
        let policy = self.task_maps.policy.as_mut().ok_or(SweepError::NotLoaded)?;
        policy
            .set(kind as u32, response as u32, 0)
            .map_err(|error| SweepError::Policy(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_a_self_test_but_a_few() {
        for spec in SPECS {
            let untested = slot(spec.hook, spec.kind.name()).is_none();
            let known = spec.hook.starts_with("__ia32_")
                || spec.hook.starts_with("security_set")
                || matches!(spec.hook, "chroot_fs_refs" | "mem_write");
            assert_eq!(untested, known, "{}", spec.hook);
        }
    }
}
