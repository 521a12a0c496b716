//! Programs of tiers A and B: LSM, fentry, BTF tracepoints. User space loads the variants that its probes chose.
#![no_std]
#![no_main]

use aya_ebpf::{
    EbpfContext,
    bindings::inode,
    btf_maps::InodeStorage,
    helpers::generated::bpf_probe_read_kernel,
    macros::{btf_map, btf_tracepoint, fentry, fexit, lsm},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, LsmContext},
};
use hardpan_abi::{CredWitness, EventKind, GateHook, InodeDigest, TaskHook, TaskWitness};
use hardpan_ebpf::{
    access,
    content::DigestCache,
    cred, exec, gate,
    mem::{Mem, Typed},
    module, off, package, script, shadow,
    verifier::forgotten,
};

/// Digests by inode; an entry dies with its inode.
#[btf_map]
static INODE_DIGESTS: InodeStorage<InodeDigest> = InodeStorage::new();

/// With the feature `log`: what the exec check came to.
macro_rules! diagnose {
    ($ctx:expr, $state:expr) => {
        #[cfg(feature = "log")]
        match $state {
            Some(state) => aya_log_ebpf::debug!($ctx, "bprm_check_security: digest state {}", state),
            None => aya_log_ebpf::warn!($ctx, "bprm_check_security: no room to keep what was seen"),
        }
        #[cfg(not(feature = "log"))]
        let _ = $state;
    };
}

struct Cache;

impl DigestCache for Cache {
    #[inline(always)]
    unsafe fn entry(at: *const u8, create: bool) -> *mut InodeDigest {
        let at: *mut inode = at.cast_mut().cast();
        if create {
            // SAFETY: a typed inode, by the caller's promise.
            unsafe { INODE_DIGESTS.get_or_insert_ptr_mut(at, None) }
        } else {
            // SAFETY: as above.
            unsafe { INODE_DIGESTS.get_ptr_mut(at) }
        }
    }
}

// match-proto: int bprm_check_security(struct linux_binprm *bprm)
// Default on doubt: what the policy's gate.on_doubt says; open while the gate is off.
#[lsm(hook = "bprm_check_security", sleepable)]
fn exec_check_sleepable(ctx: LsmContext) -> i32 {
    let checked = exec::check::<Cache, true>(ctx.arg(0));
    diagnose!(&ctx, checked.state);
    shadow::answer(checked.answer)
}

// match-proto: int bprm_check_security(struct linux_binprm *bprm)
// Default on doubt: what the policy's gate.on_doubt says; open while the gate is off.
#[lsm(hook = "bprm_check_security")]
fn exec_check(ctx: LsmContext) -> i32 {
    let checked = exec::check::<Cache, false>(ctx.arg(0));
    diagnose!(&ctx, checked.state);
    shadow::answer(checked.answer)
}

// match-proto: int bprm_check_security(struct linux_binprm *bprm)
// Default on doubt: as above. The guard and the gate in one, for the verifiers that take it; so are the next four.
#[lsm(hook = "bprm_check_security", sleepable)]
fn exec_both_sleepable(ctx: LsmContext) -> i32 {
    if shadow::check_apart(TaskHook::ExecCheck) != 0 {
        return shadow::answer(1);
    }
    shadow::answer(exec_apart::<true>(ctx.as_ptr()))
}

// match-proto: int bprm_check_security(struct linux_binprm *bprm)
#[lsm(hook = "bprm_check_security")]
fn exec_both(ctx: LsmContext) -> i32 {
    if shadow::check_apart(TaskHook::ExecCheck) != 0 {
        return shadow::answer(1);
    }
    shadow::answer(exec_apart::<false>(ctx.as_ptr()))
}

/// A function of its own: its stack is not taken while the guard looks.
#[inline(never)]
fn exec_apart<const SLEEPABLE: bool>(ctx: *mut core::ffi::c_void) -> i32 {
    let ctx = LsmContext::new(ctx);
    let checked = exec::check::<Cache, SLEEPABLE>(ctx.arg(0));
    diagnose!(&ctx, checked.state);
    checked.answer
}

// match-proto: sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[btf_tracepoint(function = "sched_process_exec")]
fn exec_done(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's own arguments.
    unsafe { exec::done::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2)) };
    0
}

// match-proto: sched_process_exit(struct task_struct *p[, bool group_dead])
#[btf_tracepoint(function = "sched_process_exit")]
fn exec_exit(ctx: BtfTracePointContext) -> i32 {
    exec::exit(&ctx);
    0
}

// match-proto: int commit_creds(struct cred *new)
#[fentry(function = "commit_creds")]
fn cred_commit(ctx: FEntryContext) -> i32 {
    // SAFETY: the function's own argument.
    unsafe { cred::commit(ctx.arg(0)) };
    0
}

// match-proto: int task_fix_setuid(struct cred *new, const struct cred *old, int flags)
#[lsm(hook = "task_fix_setuid")]
fn cred_setuid(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own argument.
    unsafe { cred::witness(ctx.arg(0), CredWitness::SetUid) };
    0
}

// match-proto: int capset(struct cred *new, const struct cred *old, const kernel_cap_t *effective, …)
#[lsm(hook = "capset")]
fn cred_capset(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own argument.
    unsafe { cred::witness(ctx.arg(0), CredWitness::CapSet) };
    0
}

// match-proto: void bprm_committing_creds(struct linux_binprm *bprm)
#[lsm(hook = "bprm_committing_creds")]
fn cred_exec(ctx: LsmContext) -> i32 {
    let bprm: *const u8 = ctx.arg(0);
    // SAFETY: typed; the hook runs right before `commit_creds(bprm->cred)`.
    unsafe { cred::witness_exec(Typed::pointer(bprm, &off::OFF_BPRM_CRED)) };
    0
}

// match-proto: int kernel_read_file(struct file *file, enum kernel_read_file_id id[, bool contents])
#[lsm(hook = "kernel_read_file")]
fn module_read_file(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own argument.
    unsafe { module::read_file(ctx.arg(0), ctx.arg(1)) };
    0
}

// match-proto: int kernel_load_data(enum kernel_load_data_id id[, bool contents])
#[lsm(hook = "kernel_load_data")]
fn module_load_data(ctx: LsmContext) -> i32 {
    module::load_data(ctx.arg(0));
    0
}

// match-proto: module_load(struct module *mod)
#[btf_tracepoint(function = "module_load")]
fn module_load(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's own argument.
    unsafe { module::event::<Typed>(ctx.arg(0), EventKind::ModuleLoad) };
    0
}

// match-proto: module_free(struct module *mod)
#[btf_tracepoint(function = "module_free")]
fn module_free(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's own argument.
    unsafe { module::event::<Typed>(ctx.arg(0), EventKind::ModuleFree) };
    0
}

// match-proto: sched_process_fork(struct task_struct *parent, struct task_struct *child)
#[btf_tracepoint(function = "sched_process_fork")]
fn shadow_fork(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's own argument.
    unsafe { shadow::fork(ctx.arg(1)) };
    0
}

// match-proto: sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[btf_tracepoint(function = "sched_process_exec")]
fn shadow_exec(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's own argument.
    unsafe { shadow::exec(ctx.arg(0)) };
    0
}

// match-proto: sched_process_exit(struct task_struct *p[, bool group_dead])
#[btf_tracepoint(function = "sched_process_exit")]
fn shadow_exit(ctx: BtfTracePointContext) -> i32 {
    shadow::exit(ctx.arg(0));
    0
}

// match-proto: int commit_creds(struct cred *new)
#[fentry(function = "commit_creds")]
fn shadow_commit(ctx: FEntryContext) -> i32 {
    // SAFETY: the function's own argument.
    unsafe { shadow::commit(ctx.arg(0)) };
    0
}

// match-proto: int task_fix_setuid(struct cred *new, const struct cred *old, int flags)
#[lsm(hook = "task_fix_setuid")]
fn shadow_setuid(ctx: LsmContext) -> i32 {
    shadow::note(TaskHook::SetUid, ctx.arg(0), TaskWitness::SetUid);
    0
}

// match-proto: int task_fix_setgid(struct cred *new, const struct cred *old, int flags)
#[lsm(hook = "task_fix_setgid")]
fn shadow_setgid(ctx: LsmContext) -> i32 {
    shadow::note(TaskHook::SetGid, ctx.arg(0), TaskWitness::SetGid);
    0
}

// match-proto: int task_fix_setgroups(struct cred *new, const struct cred *old)
#[lsm(hook = "task_fix_setgroups")]
fn shadow_setgroups(ctx: LsmContext) -> i32 {
    shadow::note(TaskHook::SetGroups, ctx.arg(0), TaskWitness::SetGroups);
    0
}

// match-proto: int capset(struct cred *new, const struct cred *old, const kernel_cap_t *effective, …)
#[lsm(hook = "capset")]
fn shadow_capset(ctx: LsmContext) -> i32 {
    shadow::note(TaskHook::CapSet, ctx.arg(0), TaskWitness::CapSet);
    0
}

// match-proto: void bprm_committing_creds(struct linux_binprm *bprm)
#[lsm(hook = "bprm_committing_creds")]
fn shadow_exec_commit(ctx: LsmContext) -> i32 {
    let bprm: *const u8 = ctx.arg(0);
    // SAFETY: typed; the hook runs right before `commit_creds(bprm->cred)`.
    let cred = unsafe { Typed::pointer(bprm, &off::OFF_BPRM_CRED) };
    shadow::note_exec(cred);
    0
}

// match-proto: int security_task_prctl(int option, unsigned long arg2, …)
#[fentry(function = "security_task_prctl")]
fn shadow_prctl(ctx: FEntryContext) -> i32 {
    shadow::prctl(ctx.arg(0));
    0
}

/// Entry and return of a system call; the function's name depends on the architecture and is chosen when loading.
macro_rules! around {
    ($enter:ident, $leave:ident, $in:ident, $out:ident, $call:ident) => {
        #[fentry]
        fn $enter(_ctx: FEntryContext) -> i32 {
            shadow::$call(TaskHook::$in);
            0
        }

        #[fexit]
        fn $leave(_ctx: FExitContext) -> i32 {
            shadow::namespace_return(TaskHook::$out);
            0
        }
    };
}

around!(
    shadow_setns,
    shadow_setns_done,
    SetNsEnter,
    SetNsLeave,
    namespace_call
);
around!(
    shadow_unshare,
    shadow_unshare_done,
    UnshareEnter,
    UnshareLeave,
    namespace_call
);
around!(
    shadow_setns_32,
    shadow_setns_32_done,
    CompatNsEnter,
    CompatNsLeave,
    namespace_call_unchecked
);
around!(
    shadow_unshare_32,
    shadow_unshare_32_done,
    CompatNsEnter,
    CompatNsLeave,
    namespace_call_unchecked
);

// match-proto: const struct cred *override_creds(const struct cred *new)
#[fentry(function = "override_creds")]
fn shadow_override(_ctx: FEntryContext) -> i32 {
    shadow::overriding(TaskHook::Override, 1);
    0
}

// match-proto: void revert_creds(const struct cred *old)
// At its return: while it runs, the override may still be in force.
#[fexit(function = "revert_creds")]
fn shadow_revert(_ctx: FExitContext) -> i32 {
    shadow::overriding(TaskHook::Revert, u32::MAX);
    0
}

/// Entry and return of a function that moves root directories.
macro_rules! root_moves {
    ($enter:ident, $leave:ident, $function:literal, $done:expr) => {
        #[fentry(function = $function)]
        fn $enter(_ctx: FEntryContext) -> i32 {
            shadow::root_move(TaskHook::RootEnter, 0);
            0
        }

        #[fexit(function = $function)]
        fn $leave(_ctx: FExitContext) -> i32 {
            $done;
            0
        }
    };
}

root_moves!(
    shadow_chroot,
    shadow_chroot_done,
    "set_fs_root",
    shadow::root_moved(TaskHook::RootLeave)
);
root_moves!(
    shadow_pivot,
    shadow_pivot_done,
    "chroot_fs_refs",
    shadow::root_move(TaskHook::RootLeave, 1)
);

#[fexit]
fn shadow_seccomp_done(_ctx: FExitContext) -> i32 {
    shadow::seccomp_return(TaskHook::SeccompLeave);
    0
}

#[fexit]
fn shadow_prctl_done(_ctx: FExitContext) -> i32 {
    shadow::seccomp_return(TaskHook::PrctlLeave);
    0
}

/// LSM hooks where the current task is compared with its shadow.
/// Default on doubt: open. They deny only where the policy says so and a finding was made.
macro_rules! guard {
    ($($program:ident, $hook:literal, $at:ident;)+) => {
        $(
            #[lsm(hook = $hook)]
            fn $program(_ctx: LsmContext) -> i32 {
                shadow::answer(shadow::check(TaskHook::$at))
            }
        )+
    };
}

// No argument is looked at, so no prototype matters.
guard! {
    guard_capable, "capable", Capable;
    guard_exec, "bprm_check_security", ExecCheck;
    guard_kill, "task_kill", Kill;
    guard_read_file, "kernel_read_file", ReadFile;
    guard_bpf, "bpf", Bpf;
    guard_socket, "socket_create", SocketCreate;
}

// match-proto: int file_open(struct file *file)
// Default on doubt: open.
#[lsm(hook = "file_open")]
fn guard_file_open(_ctx: LsmContext) -> i32 {
    shadow::answer(shadow::check_open())
}

// match-proto: int file_open(struct file *file)
// Default on doubt: open. The guard and the gate in one, for the verifiers that take it: opens are many.
#[lsm(hook = "file_open")]
fn open_check(ctx: LsmContext) -> i32 {
    let own = shadow::check_open();
    if own != 0 {
        return shadow::answer(own);
    }
    // SAFETY (both): the hook's own argument.
    unsafe {
        if !gate::is_worth_a_look(ctx.arg(0)) {
            return 0;
        }
        shadow::answer(opened_apart(ctx.arg(0)))
    }
}

/// A function of its own: the stack of the guard is free again by then, and that of the gate not taken before.
///
/// # Safety
/// `file` is the argument of `file_open` (typed).
#[inline(never)]
unsafe fn opened_apart(file: *const u8) -> i32 {
    // SAFETY: the caller's promise is handed on.
    unsafe { gate::opened::<Cache>(file) }
}

// match-proto: int security_file_open(struct file *file)
// Kernels that let no LSM program ask for a path (5.10).
#[fentry(function = "security_file_open")]
fn package_open(ctx: FEntryContext) -> i32 {
    // SAFETY: the function's own argument.
    unsafe { package::opened_traced(ctx.arg(0)) };
    0
}

// match-proto: int file_lock(struct file *file, unsigned int cmd)
// Never refuses.
#[lsm(hook = "file_lock")]
fn package_lock(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own arguments.
    unsafe { gate::lock::asked_for(ctx.arg(0), ctx.arg(1)) };
    0
}

// match-proto: int security_setprocattr(const char *lsm, const char *name, void *value, size_t size)
// Not the LSM hook: the kernel calls only one module's, and that is the one the attribute belongs to.
#[fentry(function = "security_setprocattr")]
fn shadow_setprocattr(_ctx: FEntryContext) -> i32 {
    shadow::note(TaskHook::SetProcAttr, core::ptr::null(), TaskWitness::SetContext);
    0
}

// match-proto: int security_setselfattr(unsigned int attr, struct lsm_ctx *ctx, u32 size, u32 flags)
#[fentry(function = "security_setselfattr")]
fn shadow_setselfattr(_ctx: FEntryContext) -> i32 {
    shadow::note(TaskHook::SetSelfAttr, core::ptr::null(), TaskWitness::SetContext);
    0
}

/// The first argument as a number (see [`gate::mmap`]).
#[inline(always)]
fn raw_argument(ctx: &LsmContext) -> u64 {
    let mut raw = 0u64;
    // SAFETY: the helper checks the address; the context holds at least one argument.
    unsafe { bpf_probe_read_kernel((&raw mut raw).cast(), 8, ctx.as_ptr().cast()) };
    raw
}

// match-proto: int mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)
// Default on doubt: what the policy's gate.on_doubt says; open while the gate is off.
#[lsm(hook = "mmap_file", sleepable)]
fn gate_mmap_sleepable(ctx: LsmContext) -> i32 {
    // Most mappings are of data: before a helper is called.
    if !gate::is_executable(ctx.arg(2)) {
        return 0;
    }
    let raw = raw_argument(&ctx);
    // SAFETY: the hook's own arguments.
    shadow::answer(unsafe { gate::mmap::<Cache, true>(ctx.arg(0), raw) })
}

// match-proto: int mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)
// Default on doubt: as above. It goes by verdicts that user space filled in.
#[lsm(hook = "mmap_file")]
fn gate_mmap(ctx: LsmContext) -> i32 {
    // Most mappings are of data: before a helper is called.
    if !gate::is_executable(ctx.arg(2)) {
        return 0;
    }
    let raw = raw_argument(&ctx);
    // SAFETY: the hook's own arguments.
    shadow::answer(unsafe { gate::mmap::<Cache, false>(ctx.arg(0), raw) })
}

// match-proto: int file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)
// Default on doubt: what the policy's gate.on_doubt says; open while the gate is off.
#[lsm(hook = "file_mprotect")]
fn gate_mprotect(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own arguments.
    shadow::answer(unsafe { gate::mprotect::<Cache>(ctx.arg(0), ctx.arg(2)) })
}

// match-proto: int file_open(struct file *file)
// Default on doubt: open.
#[lsm(hook = "file_open")]
fn gate_file_open(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own argument.
    shadow::answer(unsafe { gate::opened::<Cache>(ctx.arg(0)) })
}

// match-proto: int bprm_creds_from_file(struct linux_binprm *bprm, struct file *file)
// Default on doubt: what the policy's gate.on_doubt says; open while the gate is off.
#[lsm(hook = "bprm_creds_from_file")]
fn gate_exec_caps(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own arguments.
    shadow::answer(unsafe { gate::gained::<Cache>(ctx.arg(0), ctx.arg(1)) })
}

// match-proto: int file_open(struct file *file)
// Default on doubt: what the policy's gate.on_doubt says; open while the gate is off. Kernels without file_post_open.
#[lsm(hook = "file_open")]
fn gate_script(ctx: LsmContext) -> i32 {
    let hook = GateHook::FileOpen as u32;
    // SAFETY: the hook's own argument.
    shadow::answer(unsafe { script::opened::<Cache, false>(ctx.arg(0), hook) })
}

// match-proto: int file_post_open(struct file *file, int mask)
// Default on doubt: as above.
#[lsm(hook = "file_post_open", sleepable)]
fn gate_script_sleepable(ctx: LsmContext) -> i32 {
    let hook = GateHook::FilePostOpen as u32;
    // SAFETY: the hook's own argument.
    shadow::answer(unsafe { script::opened::<Cache, true>(ctx.arg(0), hook) })
}

// match-proto: int inode_setattr(struct dentry *dentry, struct iattr *attr)
// Default on doubt: open. Kernels before 6.9.
#[lsm(hook = "inode_setattr")]
fn gate_setattr(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own arguments.
    shadow::answer(unsafe { gate::cut::<Cache>(ctx.arg(0), ctx.arg(1)) })
}

// match-proto: int inode_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)
// Default on doubt: open.
#[lsm(hook = "inode_setattr")]
fn gate_setattr_idmap(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own arguments.
    shadow::answer(unsafe { gate::cut::<Cache>(ctx.arg(1), ctx.arg(2)) })
}

// match-proto: int inode_rename(struct inode *old_dir, struct dentry *old_dentry, struct inode *new_dir, struct dentry *new_dentry)
// Default on doubt: open.
#[lsm(hook = "inode_rename")]
fn gate_rename(ctx: LsmContext) -> i32 {
    let hook = GateHook::InodeRename as u32;
    // SAFETY: the hook's own arguments.
    shadow::answer(unsafe { gate::replaced::<Cache>(ctx.arg(3), ctx.arg(1), hook) })
}

// match-proto: int inode_unlink(struct inode *dir, struct dentry *dentry)
// Default on doubt: open.
#[lsm(hook = "inode_unlink")]
fn gate_unlink(ctx: LsmContext) -> i32 {
    let hook = GateHook::InodeUnlink as u32;
    // SAFETY: the hook's own arguments.
    shadow::answer(unsafe { gate::replaced::<Cache>(ctx.arg(1), core::ptr::null(), hook) })
}

// match-proto: int blkdev_release(struct inode *inode, struct file *filp)
#[fentry(function = "blkdev_release")]
fn gate_block_closed(ctx: FEntryContext) -> i32 {
    // SAFETY: the function's own argument.
    unsafe { gate::block_closed(ctx.arg(1)) };
    0
}

// match-proto: int kernel_post_load_data(char *buf, loff_t size, enum kernel_load_data_id id, char *description)
// Default on doubt: what the policy's gate.on_doubt says; open while the gate is off.
#[lsm(hook = "kernel_post_load_data")]
fn gate_module_data(ctx: LsmContext) -> i32 {
    if !module::is_module_data(ctx.arg(2)) {
        return 0;
    }
    let hook = GateHook::PostLoadData;
    shadow::answer(gate::object::module::<Cache>(ctx.arg(0), ctx.arg(1), hook))
}

// match-proto: int kernel_post_read_file(struct file *file, char *buf, loff_t size, enum kernel_read_file_id id)
// Default on doubt: as above.
#[lsm(hook = "kernel_post_read_file")]
fn gate_module_file(ctx: LsmContext) -> i32 {
    if !module::is_module_file(ctx.arg(3)) {
        return 0;
    }
    let hook = GateHook::PostReadFile;
    shadow::answer(gate::object::module::<Cache>(ctx.arg(1), ctx.arg(2), hook))
}

// match-proto: int locked_down(enum lockdown_reason what)
// Default on doubt: as above.
#[lsm(hook = "locked_down")]
fn gate_module_key(ctx: LsmContext) -> i32 {
    shadow::answer(gate::object::module_not_signed::<Cache>(ctx.arg(0)))
}

// match-proto: int bpf(int cmd, union bpf_attr *attr, unsigned int size[, bool kernel])
#[lsm(hook = "bpf")]
fn bpf_both(ctx: LsmContext) -> i32 {
    if shadow::check_apart(TaskHook::Bpf) != 0 {
        return shadow::answer(1);
    }
    shadow::answer(bpf_apart(ctx.arg(0), ctx.arg(1)))
}

/// As [`exec_apart`].
#[inline(never)]
fn bpf_apart(command: u32, attributes: *const u8) -> i32 {
    gate::object::bpf::<Cache>(command, attributes)
}

// match-proto: int ptrace_access_check(struct task_struct *child, unsigned int mode)
#[lsm(hook = "ptrace_access_check")]
fn ptrace_both(ctx: LsmContext) -> i32 {
    if shadow::check_apart(TaskHook::Ptrace) != 0 {
        return shadow::answer(1);
    }
    if attach_apart(ctx.arg(0), ctx.arg(1)) != 0 {
        return shadow::answer(1);
    }
    // SAFETY: the hook's own argument.
    shadow::answer(unsafe { ptrace_apart(ctx.arg(0), ctx.arg(1)) })
}

/// As [`exec_apart`].
#[inline(never)]
fn attach_apart(child: *const u8, mode: u32) -> i32 {
    forgotten(access::attach(child, mode) as u32, mode) as i32
}

/// As [`exec_apart`].
///
/// # Safety
/// `child` is the argument of `ptrace_access_check` (typed).
#[inline(never)]
unsafe fn ptrace_apart(child: *const u8, mode: u32) -> i32 {
    // SAFETY: the caller's promise is handed on.
    unsafe { gate::object::ptrace::<Cache>(child, mode) }
}

// match-proto: int kernel_read_file(struct file *file, enum kernel_read_file_id id[, bool contents])
#[lsm(hook = "kernel_read_file")]
fn read_file_both(ctx: LsmContext) -> i32 {
    if shadow::check_apart(TaskHook::ReadFile) != 0 {
        return shadow::answer(1);
    }
    // SAFETY: the hook's own argument.
    unsafe { read_file_apart(ctx.arg(0), ctx.arg(1)) };
    0
}

/// As [`exec_apart`].
///
/// # Safety
/// `file` is the first argument of `kernel_read_file` (typed).
#[inline(never)]
unsafe fn read_file_apart(file: *const u8, id: u32) {
    // SAFETY: the caller's promise is handed on.
    unsafe { module::read_file(file, id) };
}

// match-proto: int bpf(int cmd, union bpf_attr *attr, unsigned int size[, bool kernel])
// Default on doubt: as above.
#[lsm(hook = "bpf")]
fn gate_bpf(ctx: LsmContext) -> i32 {
    shadow::answer(gate::object::bpf::<Cache>(ctx.arg(0), ctx.arg(1)))
}

// match-proto: int ptrace_access_check(struct task_struct *child, unsigned int mode)
// Default on doubt: as above.
#[lsm(hook = "ptrace_access_check")]
fn gate_ptrace(ctx: LsmContext) -> i32 {
    // SAFETY: the hook's own argument.
    shadow::answer(unsafe { gate::object::ptrace::<Cache>(ctx.arg(0), ctx.arg(1)) })
}

// match-proto: int ptrace_access_check(struct task_struct *child, unsigned int mode)
// Default on doubt: open, as the other guards.
#[lsm(hook = "ptrace_access_check")]
fn guard_ptrace(ctx: LsmContext) -> i32 {
    let own = shadow::check(TaskHook::Ptrace);
    let other = access::attach(ctx.arg(0), ctx.arg(1));
    shadow::answer(own | other)
}

// match-proto: ssize_t mem_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
#[fentry(function = "mem_write")]
fn guard_mem_write(ctx: FEntryContext) -> i32 {
    access::mem_write(ctx.arg(0));
    0
}

// struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }
/// The sweep. aya-ebpf has no macro for iterators.
///
/// # Safety
/// Called by the kernel with its own context.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
unsafe extern "C" fn shadow_sweep(ctx: *const *const u8) -> i32 {
    // SAFETY: the second member of the context; null after the last task.
    let task = unsafe { core::ptr::read_volatile(ctx.add(1)) };
    if !task.is_null() {
        // SAFETY: typed, not null.
        unsafe { shadow::sweep(task) };
    }
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
