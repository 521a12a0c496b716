//! Programs for kernels where LSM programs do not run: BTF tracepoints and fentry, and raw tracepoints where those are
//! refused too.
//!
//! An object of its own because it must not hold an inode storage map: the kernel refuses to make one (EOPNOTSUPP) when
//! `bpf` is not among the active LSMs, and an object loads with all its maps or not at all.
#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, raw_tracepoint},
    programs::{BtfTracePointContext, FEntryContext, RawTracePointContext},
};
use hardpan_abi::EventKind;
use hardpan_ebpf::{
    cred, exec,
    mem::{Probed, Typed},
    module,
};

// match-proto: sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[btf_tracepoint(function = "sched_process_exec")]
fn exec_done(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's own arguments.
    unsafe { exec::done::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2)) };
    0
}

// match-proto: int commit_creds(struct cred *new)
#[fentry(function = "commit_creds")]
fn cred_commit(ctx: FEntryContext) -> i32 {
    // SAFETY: the function's own argument.
    unsafe { cred::commit(ctx.arg(0)) };
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

// match-proto: sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn exec_done_raw(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the tracepoint's own arguments; probed reads check every address.
    unsafe { exec::done::<Probed>(ctx.arg(0), ctx.arg(1), ctx.arg(2)) };
    0
}

// match-proto: module_load(struct module *mod)
#[raw_tracepoint(tracepoint = "module_load")]
fn module_load_raw(ctx: RawTracePointContext) -> i32 {
    // SAFETY: as above.
    unsafe { module::event::<Probed>(ctx.arg(0), EventKind::ModuleLoad) };
    0
}

// match-proto: module_free(struct module *mod)
#[raw_tracepoint(tracepoint = "module_free")]
fn module_free_raw(ctx: RawTracePointContext) -> i32 {
    // SAFETY: as above.
    unsafe { module::event::<Probed>(ctx.arg(0), EventKind::ModuleFree) };
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
