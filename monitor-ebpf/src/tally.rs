//! Executions that are only counted: see [`hardpan_abi::Tally`].
//!
//! Nothing here decides what may run, and nothing is counted here but what user space has asked for a moment ago: when nobody
//! renews [`TALLY_UNTIL`], each execution has its record again. Default on doubt: a record.

use crate::{
    content::{Content, copy4},
    maps::{add, count},
    mem::{Mem, Typed},
    off::{self, has, on},
    task,
};
use aya_ebpf::{
    helpers::{bpf_ktime_get_boot_ns, generated::bpf_get_current_task_btf},
    macros::map,
    maps::{Array, HashMap},
};
use hardpan_abi::{
    COUNTED_EXECS, CountedExec, Counter, DigestState, FileId, FileInfo, TALLIES_MAX, Tally, TallyKey,
    TallyLease, TallySlot, exec_flag,
};

/// Until when executions may be counted.
#[map]
pub static TALLY_UNTIL: Array<TallyLease> = Array::with_max_entries(1, 0);

/// Executions that will be counted if they succeed. Not a hash table: to put something in and to take it out again would be dearer than all
/// the rest. What finds its place taken gets a record. A place is given back with the exec's success, by the thread's next exec, or when the thread
/// ends.
#[map]
pub static EXEC_COUNTED: Array<CountedExec> = Array::with_max_entries(COUNTED_EXECS, 0);

/// What is only counted. Only user space adds to it and takes from it.
#[map]
pub static TALLY_KEYS: HashMap<TallyKey, TallySlot> = HashMap::with_max_entries(TALLIES_MAX, 0);

/// How often.
#[map]
pub static TALLIES: Array<Tally> = Array::with_max_entries(TALLIES_MAX, 0);

const SET_ID: u32 = 0o6000;

/// The tally of an execution that is being checked: number plus one, and the turn from bit 32. 0: it gets a record.
#[inline(always)]
pub fn find(info: &FileInfo, content: &Content) -> u64 {
    let known = content.state == DigestState::Sha256 as u32;
    if !known || info.nlink == 0 || info.mode & SET_ID != 0 {
        return 0;
    }
    match TALLY_UNTIL.get(0) {
        // SAFETY: helper without arguments.
        Some(lease) if lease.until_ns != 0 && unsafe { bpf_ktime_get_boot_ns() } < lease.until_ns => {
            slot_of(content)
        }
        _ => 0,
    }
}

#[inline(never)]
fn slot_of(content: &Content) -> u64 {
    // Kernels without (5.10) tell of each execution.
    if !on(&off::HAS_TASK_BTF) || !has(&off::OFF_MM_EXE_FILE) {
        return 0;
    }
    let mut key = TallyKey {
        digest: [0; 4],
        parent: FileId::UNKNOWN,
        euid: 0,
        reserved: 0,
    };
    // SAFETY (all): the helper returns the current task as a typed pointer, never null; a task always has credentials.
    unsafe {
        copy4(content.digest.as_ptr(), &mut key.digest);
        let current: *const u8 = bpf_get_current_task_btf().cast();
        let parent = Typed::pointer(current, &off::OFF_TASK_REAL_PARENT);
        if !task::exe_of_typed(&mut key.parent, parent) {
            return 0;
        }
        key.euid = Typed::read(Typed::pointer(current, &off::OFF_TASK_CRED), &off::OFF_CRED_EUID);
    }
    // SAFETY: entries are replaced as a whole by user space, and never while a key keeps its tally.
    match unsafe { TALLY_KEYS.get(&key) } {
        Some(found) => u64::from(found.slot + 1) | u64::from(found.turn) << 32,
        None => 0,
    }
}

#[inline(always)]
fn place(thread: u64) -> Option<*mut CountedExec> {
    EXEC_COUNTED.get_ptr_mut(thread as u32 & (COUNTED_EXECS - 1))
}

/// Keeps the tally of an execution that is being checked. `false`: its place is taken.
#[inline(always)]
pub fn keep(thread: u64, bprm: u64, tally: u32, turn: u32) -> bool {
    let Some(place) = place(thread) else { return false };
    // SAFETY (all): a live value. Of two who come together each sees the other or only one does, and who sees another one leaves: additions are
    // atomic, and a thread sees its own. What only the owner writes nobody else reads.
    unsafe {
        if core::ptr::read_volatile(&raw const (*place).thread) != thread {
            let users = &raw mut (*place).users;
            add(users, 1);
            if core::ptr::read_volatile(users) != 1 {
                add(users, u64::MAX);
                return false;
            }
            core::ptr::write_volatile(&raw mut (*place).thread, thread);
        }
        (*place).bprm = bprm;
        (*place).slot = tally - 1;
        (*place).turn = turn;
        (*place).flags = exec_flag::SEEN_BY_LSM;
        (*place).grammar = 0;
        (*place).cred = 0;
    }
    true
}

/// What is kept of this thread's execution.
#[inline(always)]
pub fn kept(thread: u64) -> Option<*mut CountedExec> {
    let place = place(thread)?;
    // SAFETY: a live value.
    let is_own = unsafe { core::ptr::read_volatile(&raw const (*place).thread) } == thread;
    is_own.then_some(place)
}

/// It has succeeded, gets a record after all, or failed.
#[inline(always)]
pub fn forget(thread: u64) {
    if let Some(place) = kept(thread) {
        // SAFETY: as above. The name goes before the place does.
        unsafe {
            core::ptr::write_volatile(&raw mut (*place).thread, 0);
            add(&raw mut (*place).users, u64::MAX);
        }
    }
}

/// The execution succeeded: counts it. `false`: the tally is another's by now.
#[inline(always)]
pub fn counted(slot: u32, turn: u32) -> bool {
    let Some(tally) = TALLIES.get_ptr_mut(slot) else {
        return false;
    };
    // SAFETY: a live value; the count is only ever added to, and the time may be of either of two that come together.
    unsafe {
        if (*tally).turn != turn {
            return false;
        }
        core::ptr::write_volatile(&raw mut (*tally).last_ns, bpf_ktime_get_boot_ns());
        add(&raw mut (*tally).count, 1);
    }
    count(Counter::ExecTallied);
    true
}

/// A process ended: if it was the one that reads the tallies, each execution has its record again.
#[inline(always)]
pub fn ended(key: u64) {
    let process = (key >> 32) as u32;
    if process != key as u32 {
        return;
    }
    if let Some(lease) = TALLY_UNTIL.get_ptr_mut(0) {
        // SAFETY: a live value; user space, which writes it as a whole, is just ending.
        unsafe {
            if (*lease).reader == process {
                core::ptr::write_volatile(&raw mut (*lease).until_ns, 0);
            }
        }
    }
}
