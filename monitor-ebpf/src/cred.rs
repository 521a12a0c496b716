//! Credential changes.
//!
//! `commit_creds` is where every lawful change becomes real. LSM hooks that run just before leave a one-shot note of
//! the new `struct cred`'s address, so that a record can say which way announced the change.

use crate::{
    maps::{EVENTS, count},
    mem::Typed,
    tally,
    task::{self, read_creds},
};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::HashMap};
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
    // SAFETY: by the caller's promise.
    if unsafe { changes(cred) }.is_none() {
        return;
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

/// Leaves a note that an execution is about to commit `cred`. Of one that is only counted it stands beside what is kept of it anyway: most
/// change nothing, and to find that out twice would be dearer than all the rest.
///
/// # Safety
/// `cred` is a typed pointer to a `struct cred`.
#[inline(always)]
pub unsafe fn witness_exec(cred: *const u8) {
    match tally::kept(bpf_get_current_pid_tgid()) {
        // SAFETY: the entry is this thread's own.
        Some(kept) => unsafe { (*kept).cred = cred as u64 },
        // SAFETY: by the caller's promise.
        None => unsafe { witness(cred, CredWitness::Exec) },
    }
}

/// What is in force and what will be, if they differ.
///
/// # Safety
/// `new` is a typed pointer to a `struct cred`.
#[inline(always)]
unsafe fn changes(new: *const u8) -> Option<(CredIds, CredIds)> {
    let mut before = CredIds::EMPTY;
    let mut after = CredIds::EMPTY;
    task::current_creds(&mut before);
    // SAFETY: by the caller's promise.
    unsafe { read_creds::<Typed>(&mut after, new) };
    (!before.same_as(&after)).then_some((before, after))
}

/// `int commit_creds(struct cred *new)`: writes a record if ids, capabilities, securebits or the user namespace differ
/// from those in force.
///
/// # Safety
/// `new` is the function's first argument (typed).
#[inline(always)]
pub unsafe fn commit(new: *const u8) {
    // SAFETY: by the caller's promise.
    let Some((before, after)) = (unsafe { changes(new) }) else {
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
    if let Some(kept) = tally::kept(key) {
        // SAFETY: as above.
        if unsafe { (*kept).cred } == new as u64 {
            by = CredWitness::Exec as u32;
        }
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
