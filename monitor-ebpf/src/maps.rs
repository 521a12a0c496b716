//! Maps that every object has, and the counters.

use aya_ebpf::{
    macros::map,
    maps::{Array, RingBuf},
};
use core::cell::UnsafeCell;
use hardpan_abi::{COUNTER_SLOTS, Counter, RING_EVENTS_BYTES, RING_FINDINGS_BYTES};

/// Ordinary events.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(RING_EVENTS_BYTES, 0);

/// Events too rare and too important to compete with ordinary execs: modules, fileless execs, findings, denials.
#[map]
pub static FINDINGS: RingBuf = RingBuf::with_byte_size(RING_FINDINGS_BYTES, 0);

/// One `u64` per [`Counter`].
#[map]
pub static COUNTERS: Array<u64> = Array::with_max_entries(COUNTER_SLOTS, 0);

/// How many of something there are: a number that is there, not looked up, so that whoever comes by often need not look into a map in
/// which mostly there is nothing.
#[repr(transparent)]
pub struct Number(UnsafeCell<u64>);

// SAFETY: one word, read whole and added to atomically.
unsafe impl Sync for Number {}

impl Number {
    /// None.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    /// There are some. What the calling thread has added itself it always sees.
    #[inline(always)]
    pub fn any(&self) -> bool {
        // SAFETY: a word that is there.
        unsafe { core::ptr::read_volatile(self.0.get()) != 0 }
    }

    /// One more.
    #[inline(always)]
    pub fn up(&self) {
        // SAFETY: as above.
        unsafe { add(self.0.get(), 1) };
    }

    /// One less.
    #[inline(always)]
    pub fn down(&self) {
        // SAFETY: as above.
        unsafe { add(self.0.get(), u64::MAX) };
    }
}

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the map returned a valid, aligned slot.
        unsafe { add(slot, 1) };
    }
}

/// Adds atomically. Written out because the BPF target has no `fetch_add` in core; this form (no fetch) exists since before
/// 5.10.
///
/// # Safety
/// `slot` is a live, aligned word.
#[inline(always)]
pub unsafe fn add(slot: *mut u64, what: u64) {
    // SAFETY: the caller's promise; all users add atomically.
    #[cfg(target_arch = "bpf")]
    unsafe {
        core::arch::asm!("lock *(u64 *)({slot} + 0) += {what}", slot = in(reg) slot, what = in(reg) what);
    }
    #[cfg(not(target_arch = "bpf"))]
    let _unused = (slot, what);
}

/// The same for half a word.
///
/// # Safety
/// `slot` is live and aligned.
#[inline(always)]
pub unsafe fn add_u32(slot: *mut u32, what: u32) {
    // SAFETY: the caller's promise; all users add atomically.
    #[cfg(target_arch = "bpf")]
    unsafe {
        core::arch::asm!("lock *(u32 *)({slot} + 0) += {what}", slot = in(reg) slot, what = in(reg) what);
    }
    #[cfg(not(target_arch = "bpf"))]
    let _unused = (slot, what);
}
