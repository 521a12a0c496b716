//! Credential changes.
//!
//! `commit_creds` is where every lawful change becomes real. LSM hooks that run just before leave a one-shot note of
//! the new `struct cred`'s address, so that a record can say which way announced the change.

use crate::{
    maps::{EVENTS, count},
    mem::{Mem, Typed},
    off::{self, has, on},
    task::{self, read_creds},
};
use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task_btf, bpf_probe_read_kernel},
    },
    macros::map,
    maps::HashMap,
};
use hardpan_abi::{Counter, CredEvent, CredIds, CredWitness, EventKind, WitnessNote};

/// Notes by thread; removed by the commit that follows, or overwritten.
#[map]
pub static WITNESS: HashMap<u64, WitnessNote> = HashMap::with_max_entries(4096, 0);

/// Leaves a note that `cred` is about to be committed by this thread, if it changes anything: most executions do not.
///
/// # Safety
/// `cred` is a typed pointer to a `struct cred`.
#[inline(always)]
pub unsafe fn witness(cred: *const u8, witness: CredWitness) {
    // SAFETY (both): by the caller's promise.
    unsafe {
        if (witness as u32 == CredWitness::Exec as u32 && is_alike(cred)) || differences(cred).is_none() {
            return;
        }
    }
    let note = WitnessNote {
        cred: cred as u64,
        witness: witness as u32,
        reserved: 0,
    };
    if WITNESS.insert(&bpf_get_current_pid_tgid(), &note, 0).is_err() {
        count(Counter::WitnessFull);
    }
}

/// What is in force and what will be, if they differ.
///
/// # Safety
/// `new` is a typed pointer to a `struct cred`.
#[inline(always)]
unsafe fn differences(new: *const u8) -> Option<(CredIds, CredIds)> {
    let mut before = CredIds::EMPTY;
    let mut after = CredIds::EMPTY;
    task::current_creds(&mut before);
    // SAFETY: by the caller's promise.
    unsafe { read_creds::<Typed>(&mut after, new) };
    (!before.same_as(&after)).then_some((before, after))
}

/// Words from the first id to the last capability.
const WORDS: usize = 10;

/// Nothing differs that [`CredIds`] names, and it was cheap to tell: ids, securebits and capabilities lie behind each other in the
/// `struct cred` of every kernel so far. Executions commit credentials, and change none.
///
/// # Safety
/// `new` is a typed pointer to a `struct cred`.
#[inline(always)]
unsafe fn is_alike(new: *const u8) -> bool {
    let first = off::OFF_CRED_UID.load();
    let capabilities = off::OFF_CRED_CAP_INHERITABLE.load();
    let end = off::OFF_CRED_CAP_AMBIENT.load().wrapping_add(8);
    if !on(&off::HAS_PROBE_READ)
        || !on(&off::HAS_TASK_BTF)
        || off::OFF_CRED_FSGID.load() != first.wrapping_add(28)
        || off::OFF_CRED_SECUREBITS.load() != first.wrapping_add(32)
        || end != capabilities.wrapping_add(40)
        || end.wrapping_sub(first) as usize > WORDS * 8
    {
        return false;
    }
    let mut differs = 0;
    // SAFETY (all): the helper returns the current task as a typed pointer, never null; a task always has credentials; `new` by the
    // caller's promise. The helper checks addresses, and both buffers are as long as the kernel's fields, or longer.
    unsafe {
        let task: *const u8 = bpf_get_current_task_btf().cast();
        let now = Typed::pointer(task, &off::OFF_TASK_CRED);
        if has(&off::OFF_CRED_USER_NS)
            && Typed::pointer(now, &off::OFF_CRED_USER_NS) != Typed::pointer(new, &off::OFF_CRED_USER_NS)
        {
            return false;
        }
        let (mut before, mut after) = ([0u64; WORDS], [0u64; WORDS]);
        let bytes = end - first;
        bpf_probe_read_kernel((&raw mut before).cast(), bytes, now.add(first as usize).cast());
        bpf_probe_read_kernel((&raw mut after).cast(), bytes, new.add(first as usize).cast());
        let mut word = 0;
        while word < WORDS {
            differs |= before[word] ^ after[word];
            word += 1;
        }
    }
    differs == 0
}

/// `int commit_creds(struct cred *new)`: writes a record if ids, capabilities, securebits or the user namespace differ
/// from those in force.
///
/// # Safety
/// `new` is the function's first argument (typed).
#[inline(always)]
pub unsafe fn commit(new: *const u8) {
    // SAFETY (both): by the caller's promise.
    if unsafe { is_alike(new) } {
        return;
    }
    let Some((before, after)) = (unsafe { differences(new) }) else {
        return;
    };
    let key = bpf_get_current_pid_tgid();
    let mut by = CredWitness::None as u32;
    if let Some(note) = WITNESS.get_ptr(&key) {
        // SAFETY: the entry belongs to this thread.
        let note = unsafe { &*note };
        if note.cred == new as u64 {
            by = note.witness;
        }
        let _gone = WITNESS.remove(&key);
    }
    count(Counter::CredGenerated);
    let Some(mut entry) = EVENTS.reserve::<CredEvent>(0) else {
        count(Counter::CredLost);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is a `CredEvent`; nothing below sleeps.
    unsafe {
        (*record).old = before;
        (*record).new = after;
        (*record).witness = by;
        (*record).reserved = 0;
        task::fill_header(
            &raw mut (*record).header,
            EventKind::Cred,
            size_of::<CredEvent>() as u32,
        );
    }
    entry.submit(0);
}
