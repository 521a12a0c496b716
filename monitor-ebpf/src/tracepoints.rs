//! Programs of tier C: raw tracepoints, for kernels that refuse LSM and BTF tracing programs.
#![no_std]
#![no_main]

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use hardpan_abi::EventKind;
use hardpan_ebpf::{exec, mem::Probed, module};

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
