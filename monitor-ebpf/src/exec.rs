//! Executions.
//!
//! `bprm_check_security` runs for a script and again for its interpreter, before the exec succeeded; what it learns is
//! kept per thread. The one record per successful exec is written at the tracepoint `sched_process_exec`, the first
//! point where the exec can no longer fail and the argument area is final.

use crate::{
    content::{self, Content, DigestCache},
    file::{path_into, read_inode},
    gate,
    maps::{EVENTS, FINDINGS, Number, count},
    mem::{Mem, Typed},
    off::{self, on},
    package, script, tally, task,
    verifier::{at_most, forgotten},
};
use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel_str_bytes, generated::bpf_probe_read_user},
    macros::map,
    maps::HashMap,
};
use hardpan_abi::{
    Counter, DigestState, EXEC_ARGV_LARGE, EXEC_ARGV_SMALL, EXEC_PATH_LEN, EventKind, ExecEvent, ExecStash,
    FileInfo, GateHook, exec_flag, trusted_mark,
};

/// What the hook learned, by thread. Preallocated and not LRU: an attacker can't evict entries. An entry goes with the
/// exec's success, is overwritten by the thread's next exec, and is dropped when the thread exits.
#[map]
pub static EXEC_STASH: HashMap<u64, ExecStash> = HashMap::with_max_entries(4096, 0);

/// Template for new stash entries, in read-only data (it is larger than what is left of the stack).
static EMPTY_STASH: ExecStash = ExecStash {
    bprm: 0,
    file: FileInfo::EMPTY,
    script: FileInfo::EMPTY,
    digest: [0; 32],
    script_digest: [0; 32],
    flags: 0,
    digest_errno: 0,
    digest_state: 0,
    script_digest_state: 0,
    path_bytes: 0,
    calls: 0,
    path: [0; EXEC_PATH_LEN],
    script_path: [0; EXEC_PATH_LEN],
    script_path_bytes: 0,
    grammar: 0,
};

/// How many entries there are.
#[unsafe(no_mangle)]
static STASHED: Number = Number::new();

/// `bprm_check_security(struct linux_binprm *bprm)`: the same argument on every kernel since 4.18.
///
/// `SLEEPABLE` programs may hash. Default on doubt: see [`crate::gate`]; the record says what was not seen. What cannot
/// be kept for the record is judged all the same.
#[inline(always)]
pub fn check<C: DigestCache, const SLEEPABLE: bool>(bprm: *const u8) -> Checked {
    let mut content = Content::none();
    let mut info = FileInfo::EMPTY;
    // SAFETY: bprm, its file and that file's inode are typed pointers; they live during the hook.
    let (file, entry) = unsafe {
        let file = Typed::pointer(bprm, &off::OFF_BPRM_FILE);
        let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
        read_inode::<Typed>(&mut info, inode);
        let entry = content::look::<C, SLEEPABLE>(file, inode, &info, &mut content);
        content.forget(&info);
        (file, entry)
    };
    let state = keep(bprm, file, &info, &content);
    // SAFETY: as above.
    let answer = unsafe {
        let asked = gate::Asked {
            kind: gate::exec_kind(bprm),
            hook: GateHook::ExecCheck as u32,
            flags: gate::doubt::<SLEEPABLE>(&content),
            subject: 0,
            class: 0,
        };
        let answer = gate::ask_for_marks::<true>(file, &info, &content, entry, asked);
        // One way for the verifier from here on, whatever it came to.
        let refuse = forgotten(answer as u32, info.dev) & 1;
        let marks = forgotten((answer >> 32) as u32, info.dev);
        if marks & (trusted_mark::PACKAGE_MANAGER | trusted_mark::GRAMMAR) != 0 {
            noted(marks);
        }
        refuse as i32
    };
    Checked { state, answer }
}

/// The execution that is being checked is of a program that is watched for what it opens.
#[inline(always)]
fn noted(marks: u32) {
    let thread = bpf_get_current_pid_tgid();
    let grammar = marks >> trusted_mark::GRAMMAR_SHIFT & 15;
    let flags = if marks & trusted_mark::PACKAGE_MANAGER != 0 {
        exec_flag::PACKAGE_MANAGER
    } else {
        0
    };
    // SAFETY (both): the entry is this thread's own.
    if let Some(kept) = tally::kept(thread) {
        unsafe {
            (*kept).grammar = grammar;
            (*kept).flags |= flags;
        }
    } else if let Some(stash) = EXEC_STASH.get_ptr_mut(&thread) {
        unsafe {
            (*stash).grammar = grammar;
            (*stash).flags |= flags;
        }
    }
}

/// What a look at an execution came to.
pub struct Checked {
    /// The digest's state, for diagnostics; `None` if there was no room to keep anything.
    pub state: Option<u8>,
    /// 1 to refuse.
    pub answer: i32,
}

/// Keeps what was seen for the record.
#[inline(always)]
fn keep(bprm: *const u8, file: *const u8, info: &FileInfo, content: &Content) -> Option<u8> {
    let key = bpf_get_current_pid_tgid();
    // An interpreter's turn comes with another `interp`. Comparing the address of bprm alone would take the next exec of
    // a thread for the interpreter of one that failed: the allocator likes to hand out the same memory again.
    // SAFETY: bprm is a typed pointer; only the two addresses are compared.
    let first = unsafe {
        Typed::pointer(bprm, &off::OFF_BPRM_INTERP) == Typed::pointer(bprm, &off::OFF_BPRM_FILENAME)
    };
    let tally = if first { tally::find(info, content) } else { 0 };
    // One way for the verifier from here on, whatever it came to.
    let turn = forgotten((tally >> 32) as u32, info.ino as u32);
    let tally = forgotten(tally as u32, info.ino as u32);
    if tally == 0 {
        tally::forget(key);
    } else if tally::keep(key, bprm as u64, tally, turn) {
        // What is only counted needs no more than that.
        return Some(content.state as u8);
    }
    let Some(stash) = stash_for(key, bprm as u64, first) else {
        count(Counter::ExecStashFull);
        return None;
    };
    // SAFETY: the map value is ours: its key is this thread, and a thread runs one exec at a time.
    let stash = unsafe { &mut *stash };
    if stash.calls == 1 {
        stash.flags |= exec_flag::SCRIPT;
        stash.script = stash.file;
        copy32(&stash.digest, &mut stash.script_digest);
        stash.script_digest_state = stash.digest_state;
        if stash.flags & exec_flag::PATH_FROM_KERNEL != 0 {
            stash.flags |= exec_flag::SCRIPT_PATH_FROM_KERNEL;
            stash.script_path_bytes = u32::from(stash.path_bytes);
            // SAFETY: both are EXEC_PATH_LEN bytes, 8-aligned inside the map value.
            unsafe {
                copy_words::<{ EXEC_PATH_LEN / 8 }>(
                    (&raw const stash.path).cast(),
                    (&raw mut stash.script_path).cast(),
                )
            };
        }
    }
    stash.calls = stash.calls.wrapping_add(1);
    stash.file = *info;
    stash.digest_state = content.state as u8;
    stash.digest_errno = content.errno;
    stash.grammar = 0;
    // SAFETY: both are 32 bytes and 8-aligned inside their structs.
    unsafe { copy_words::<4>(content.digest.as_ptr(), (&raw mut stash.digest).cast()) };
    stash.flags &= !exec_flag::DIGEST_CACHED;
    if content.cached != 0 {
        stash.flags |= exec_flag::DIGEST_CACHED;
    }
    if on(&off::HAS_D_PATH) {
        // SAFETY: a typed file.
        let bytes = unsafe { path_into(file, &raw mut stash.path) };
        stash.path_bytes = bytes as u16;
        if bytes > 0 {
            stash.flags |= exec_flag::PATH_FROM_KERNEL;
        } else {
            stash.flags &= !exec_flag::PATH_FROM_KERNEL;
        }
    }
    Some(stash.digest_state)
}

#[inline(always)]
fn stash_for(key: u64, bprm: u64, first: bool) -> Option<*mut ExecStash> {
    if let Some(stash) = EXEC_STASH.get_ptr_mut(&key) {
        // SAFETY: see `check`.
        let entry = unsafe { &mut *stash };
        if first || entry.bprm != bprm {
            // Left over from an exec that failed.
            entry.bprm = bprm;
            entry.calls = 0;
            entry.flags = 0;
            entry.path_bytes = 0;
            entry.script_path_bytes = 0;
            entry.script_digest_state = DigestState::NotTried as u8;
        }
        entry.flags |= exec_flag::SEEN_BY_LSM;
        return Some(stash);
    }
    EXEC_STASH.insert(&key, &EMPTY_STASH, 0).ok()?;
    STASHED.up();
    let stash = EXEC_STASH.get_ptr_mut(&key)?;
    // SAFETY: see `check`.
    let entry = unsafe { &mut *stash };
    entry.bprm = bprm;
    entry.flags = exec_flag::SEEN_BY_LSM;
    Some(stash)
}

/// Room for a record and its arguments.
#[repr(C)]
struct WithArgv<const N: usize> {
    event: ExecEvent,
    argv: [u8; N],
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`.
///
/// # Safety
/// `task` and `bprm` are what the tracepoint passed (typed for [`Typed`]).
#[inline(always)]
pub unsafe fn done<M: Mem>(task: *const u8, old_pid: u32, bprm: *const u8) {
    count(Counter::ExecGenerated);
    // The thread that called execve had `old_pid`; if it was not the leader it has taken the leader's id by now.
    let key = bpf_get_current_pid_tgid() & 0xffff_ffff_0000_0000 | u64::from(old_pid);
    // SAFETY: a task that just executed has an mm.
    let (start, end): (u64, u64) = unsafe {
        let mm = M::pointer(task, &off::OFF_TASK_MM);
        (
            M::read(mm, &off::OFF_MM_ARG_START),
            M::read(mm, &off::OFF_MM_ARG_END),
        )
    };
    let total = end.wrapping_sub(start);
    let total = if end < start || total > u64::from(u32::MAX) {
        0
    } else {
        total as u32
    };
    let mut counted = false;
    let (mut flags, mut grammar, mut stash) = (0, 0, None);
    // SAFETY (both): the entry is this thread's own. Of `bprm` only addresses are compared.
    if let Some(kept) = tally::kept(key) {
        unsafe {
            (flags, grammar) = ((*kept).flags, (*kept).grammar);
            // The names differ if an interpreter was run: not what was to be counted.
            counted = (*kept).bprm == bprm as u64
                && M::pointer(bprm, &off::OFF_BPRM_INTERP) == M::pointer(bprm, &off::OFF_BPRM_FILENAME)
                && tally::counted((*kept).slot, (*kept).turn);
        }
        // What stands in the stash then is an older execution's, which failed.
    } else if let Some(entry) = EXEC_STASH.get_ptr(&key) {
        unsafe { (flags, grammar) = ((*entry).flags, (*entry).grammar) };
        stash = Some(entry);
    }
    // SAFETY: the caller's promise is handed on.
    let written = unsafe {
        if counted {
            true
        } else if total as usize <= EXEC_ARGV_SMALL {
            emit::<M, EXEC_ARGV_SMALL>(stash, bprm, start, total)
        } else {
            emit::<M, EXEC_ARGV_LARGE>(stash, bprm, start, total)
        }
    };
    if !written {
        count(Counter::ExecLost);
    }
    let process = (key >> 32) as u32;
    package::executed(process, flags);
    script::executed(process, grammar, start, end);
    forget(key);
}

/// What was kept of this thread's execution is of no use any more.
#[inline(always)]
fn forget(thread: u64) {
    tally::forget(thread);
    if STASHED.any() && EXEC_STASH.remove(&thread).is_ok() {
        STASHED.down();
    }
}

#[inline(always)]
unsafe fn emit<M: Mem, const N: usize>(
    stash: Option<*const ExecStash>,
    bprm: *const u8,
    arg_start: u64,
    arg_total: u32,
) -> bool {
    let mut info = FileInfo::EMPTY;
    let mut flags = 0;
    // SAFETY: see `done`.
    unsafe {
        let file = M::pointer(bprm, &off::OFF_BPRM_FILE);
        read_inode::<M>(&mut info, M::pointer(file, &off::OFF_FILE_INODE));
    }
    if info.nlink == 0 {
        flags |= exec_flag::NO_LINK;
    }
    let ring = if info.nlink == 0 { &FINDINGS } else { &EVENTS };
    let Some(mut entry) = ring.reserve::<WithArgv<N>>(0) else {
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is `WithArgv<N>` long; everything below stays inside it, and nothing below sleeps.
    unsafe {
        let event = &mut (*record).event;
        event.file = info;
        task::current_creds(&mut event.creds);

        let mut from_kernel = false;
        event.script_path_bytes = 0;
        match stash {
            Some(stash) if (*stash).bprm == bprm as u64 => {
                let stash = &*stash;
                flags |= stash.flags;
                event.script = stash.script;
                copy32(&stash.digest, &mut event.digest);
                copy32(&stash.script_digest, &mut event.script_digest);
                event.digest_state = stash.digest_state;
                event.script_digest_state = stash.script_digest_state;
                event.digest_errno = stash.digest_errno;
                event.path_bytes = stash.path_bytes;
                if flags & exec_flag::SCRIPT_PATH_FROM_KERNEL != 0 {
                    event.script_path_bytes = stash.script_path_bytes as u16;
                    copy_words::<{ EXEC_PATH_LEN / 8 }>(
                        (&raw const stash.script_path).cast(),
                        (&raw mut event.script_path).cast(),
                    );
                }
                from_kernel = flags & exec_flag::PATH_FROM_KERNEL != 0;
                if from_kernel {
                    copy_words::<{ EXEC_PATH_LEN / 8 }>(
                        (&raw const stash.path).cast(),
                        (&raw mut event.path).cast(),
                    );
                }
            }
            _ => {
                event.script = FileInfo::EMPTY;
                zero32(&mut event.digest);
                zero32(&mut event.script_digest);
                event.digest_state = DigestState::NotTried as u8;
                event.script_digest_state = DigestState::NotTried as u8;
                event.digest_errno = 0;
                event.path_bytes = 0;
            }
        }
        // The kernel points both at one string unless an interpreter took over.
        let name = M::pointer(bprm, &off::OFF_BPRM_FILENAME);
        let interp = M::pointer(bprm, &off::OFF_BPRM_INTERP);
        if name != interp {
            flags |= exec_flag::INTERPRETED;
        }
        if on(&off::HAS_PROBE_READ) {
            if !from_kernel {
                event.path_bytes = read_name(interp, &mut event.path);
                if event.path_bytes as usize + 1 >= EXEC_PATH_LEN {
                    flags |= exec_flag::PATH_CUT;
                }
            }
            if name != interp && flags & exec_flag::SCRIPT_PATH_FROM_KERNEL == 0 {
                event.script_path_bytes = read_name(name, &mut event.script_path);
            }
        }

        let mut argv_bytes = at_most::<N>(u64::from(arg_total)) as u32;
        if argv_bytes < arg_total {
            flags |= exec_flag::ARGV_CUT;
        }
        // A page of the argument area may have been swapped out already: then the record says "unreadable".
        if bpf_probe_read_user(
            (&raw mut (*record).argv).cast(),
            argv_bytes,
            arg_start as *const _,
        ) != 0
        {
            argv_bytes = 0;
            flags |= exec_flag::ARGV_UNREADABLE;
        }
        event.argv_bytes = argv_bytes;
        event.argv_total_bytes = arg_total;
        event.flags = flags;
        event.reserved = 0;
        task::fill_header(
            &raw mut event.header,
            EventKind::Exec,
            size_of::<ExecEvent>() as u32 + argv_bytes,
        );
    }
    entry.submit(0);
    true
}

/// `sched_process_exit(struct task_struct *p)`: drops what a failed exec left behind.
#[inline(always)]
pub fn exit<C: EbpfContext>(_ctx: &C) {
    let key = bpf_get_current_pid_tgid();
    forget(key);
    tally::ended(key);
    package::exited(key);
    script::exited(key);
}

/// Reads a kernel string; its length without NUL, 0 if it can't be read.
#[inline(always)]
unsafe fn read_name(at: *const u8, into: &mut [u8; EXEC_PATH_LEN]) -> u16 {
    // SAFETY: the helper checks the address and reports a fault.
    match unsafe { bpf_probe_read_kernel_str_bytes(at, into) } {
        Ok(read) => read.len() as u16,
        Err(_) => 0,
    }
}

#[inline(always)]
fn copy32(from: &[u8; 32], to: &mut [u8; 32]) {
    // SAFETY: both are 32 bytes and 8-aligned inside their structs.
    unsafe { copy_words::<4>((&raw const *from).cast(), (&raw mut *to).cast()) }
}

#[inline(always)]
fn zero32(to: &mut [u8; 32]) {
    let zero = [0u64; 4];
    // SAFETY: 32 bytes, 8-aligned.
    unsafe { copy_words::<4>((&raw const zero).cast(), (&raw mut *to).cast()) }
}

/// Copies `N` words without a call to `memcpy`, which would be a byte loop here.
///
/// # Safety
/// Both sides are valid for `N` words and 8-aligned.
#[inline(always)]
unsafe fn copy_words<const N: usize>(from: *const u64, to: *mut u64) {
    let mut i = 0;
    while i < N {
        // SAFETY: `i < N`. Volatile keeps LLVM from making a memcpy call of the loop.
        unsafe { core::ptr::write_volatile(to.add(i), core::ptr::read_volatile(from.add(i))) };
        i += 1;
    }
}
