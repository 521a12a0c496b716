//! Getting hold of another process: `ptrace`, `process_vm_writev`, `pidfd_getfd`, and writes to `/proc/PID/mem`.
//!
//! Debuggers do it lawfully to what they started. Recorded is who does it to a process that is not below it.

use crate::{
    judge::answer_access,
    maps::{FINDINGS, count},
    mem::{Mem, Probed},
    off::{self, has, on},
    shadow_read as read, task,
    verifier::opaque,
};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task};
use hardpan_abi::{Counter, CredIds, EventKind, TaskFindingEvent, TaskFindingKind, TaskHook, TaskRest};

/// `PTRACE_MODE_ATTACH` and `PTRACE_MODE_REALCREDS` (include/linux/ptrace.h; the same since 4.5): what the calls above
/// ask for. Reading `/proc/PID/mem` and many other files there asks with `PTRACE_MODE_FSCREDS`.
pub const ATTACH_BY_CALL: u32 = 0x02 | 0x10;
/// Ancestors looked through.
const ANCESTORS: u32 = 16;

/// `int ptrace_access_check(struct task_struct *child, unsigned int mode)`. 1 to deny.
#[inline(always)]
pub fn attach(child: *const u8, mode: u32) -> i32 {
    if mode & ATTACH_BY_CALL != ATTACH_BY_CALL {
        return 0;
    }
    accessed(child as u64, TaskHook::Ptrace as u32)
}

/// `mem_write(struct file *file, …)`: the file's private data is the memory's `struct mm_struct`.
#[inline(always)]
pub fn mem_write(file: *const u8) {
    if !(on(&off::HAS_PROBE_READ) && has(&off::OFF_FILE_PRIVATE) && has(&off::OFF_MM_OWNER)) {
        return;
    }
    // SAFETY (all): probed.
    unsafe {
        let memory = Probed::pointer(file, &off::OFF_FILE_PRIVATE);
        let own = Probed::pointer(bpf_get_current_task() as *const u8, &off::OFF_TASK_MM);
        if memory == own {
            return;
        }
        let owner = Probed::pointer(memory, &off::OFF_MM_OWNER);
        if !owner.is_null() {
            accessed(owner as u64, TaskHook::MemWrite as u32);
        }
    }
}

/// 1 if the task at this address belongs to the current process, or to one that it started.
#[inline(never)]
pub fn is_own(target: u64) -> u32 {
    let own = (bpf_get_current_pid_tgid() >> 32) as u32;
    let mut at = target as *const u8;
    let mut level = 0;
    while level < ANCESTORS {
        // SAFETY (both): probed.
        unsafe {
            if Probed::read::<u32>(at, &off::OFF_TASK_TGID) == own {
                return 1;
            }
            at = Probed::pointer(at, &off::OFF_TASK_REAL_PARENT);
        }
        level = opaque(level + 1);
    }
    0
}

/// The target's address as a number: what follows reads it probed.
#[inline(never)]
fn accessed(target: u64, hook: u32) -> i32 {
    if !on(&off::HAS_PROBE_READ) {
        return 0;
    }
    if is_own(target) != 0 {
        return 0;
    }
    let target = target as *const u8;
    emit(target, hook);
    answer_access(TaskFindingKind::Accessed as u32)
}

#[inline(always)]
fn emit(target: *const u8, hook: u32) {
    count(Counter::TaskGenerated);
    let Some(mut entry) = FINDINGS.reserve::<TaskFindingEvent>(0) else {
        count(Counter::TaskLost);
        return;
    };
    // SAFETY: the reservation is a `TaskFindingEvent`; nothing below sleeps; reads of the target are probed.
    unsafe {
        let record = &mut *entry.as_mut_ptr();
        record.task.cgroup_id = 0;
        task::fill_task::<Probed>(&mut record.task, target);
        let cred = Probed::pointer(target, &off::OFF_TASK_REAL_CRED);
        task::read_creds::<Probed>(&mut record.old, cred);
        let (from, to) = (&raw const record.old, &raw mut record.new);
        read::copy_words(from.cast(), to.cast(), size_of::<CredIds>() / 8);
        clear(&mut record.old_rest);
        clear(&mut record.new_rest);
        record.kind = TaskFindingKind::Accessed as u32;
        record.hook = hook;
        record.witness = 0;
        record.response = crate::judge::policy(TaskFindingKind::Accessed as u32);
        task::fill_header(
            &raw mut record.header,
            EventKind::TaskFinding,
            size_of::<TaskFindingEvent>() as u32,
        );
    }
    entry.submit(0);
}

#[inline(always)]
fn clear(rest: &mut TaskRest) {
    let words: *mut u64 = (&raw mut *rest).cast();
    let mut at = 0;
    while at < size_of::<TaskRest>() / 8 {
        // SAFETY: so many words. Volatile keeps LLVM from calling memset.
        unsafe { core::ptr::write_volatile(words.add(at), 0) };
        at += 1;
    }
}
