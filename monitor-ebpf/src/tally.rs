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
    Counter, DigestState, ExecStash, FileId, FileInfo, TALLIES_MAX, Tally, TallyKey, TallySlot,
};

/// Until when executions may be counted, nanoseconds since boot; 0: not at all.
#[map]
pub static TALLY_UNTIL: Array<u64> = Array::with_max_entries(1, 0);

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
        Some(until) if *until != 0 && unsafe { bpf_ktime_get_boot_ns() } < *until => slot_of(content),
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

/// The execution succeeded: counts it if it has a tally. `false`: it gets a record.
///
/// # Safety
/// `stash` is the thread's own, of this execution.
#[inline(always)]
pub unsafe fn counted(stash: &ExecStash) -> bool {
    if stash.tally == 0 || stash.calls != 1 {
        return false;
    }
    let Some(tally) = TALLIES.get_ptr_mut(stash.tally - 1) else {
        return false;
    };
    // SAFETY: a live value; the count is only ever added to, and the time may be of either of two that come together.
    unsafe {
        if (*tally).turn != stash.tally_turn {
            return false;
        }
        core::ptr::write_volatile(&raw mut (*tally).last_ns, bpf_ktime_get_boot_ns());
        add(&raw mut (*tally).count, 1);
    }
    count(Counter::ExecTallied);
    true
}
