//! What a task was when it last opened a file: one number, by which most opens are known to be in order.

use crate::{
    mem::{Mem, Typed},
    off,
    verifier::distance,
};
use hardpan_abi::{MIX, OPENS_SEEN, mixed};

/// What a task is when it opens a file, as one number, as far as it counts there: which task it is, whom it acts as, its
/// effective capabilities, by which filter seccomp looks at its calls. The rest counts in calls that have hooks of their
/// own, where all is compared. 0 if other credentials are in force than the task's own. Addresses are taken relative to
/// `table`, the one place that every program knows.
///
/// # Safety
/// `task` is the current task (typed), on a kernel with all that is read here ([`off::HAS_OPEN_MARK`]).
#[inline(always)]
pub unsafe fn mark(task: *const u8, table: *const u8) -> u64 {
    // SAFETY (all): fields of `task` and of its credentials.
    unsafe {
        let real = Typed::pointer(task, &off::OFF_TASK_REAL_CRED);
        if real != Typed::pointer(task, &off::OFF_TASK_CRED) {
            return 0;
        }
        let ids = u64::from(Typed::read::<u32>(real, &off::OFF_CRED_FSUID))
            | u64::from(Typed::read::<u32>(real, &off::OFF_CRED_FSGID)) << 32;
        let mut mark = mixed(distance(task, table), distance(real, table));
        mark = mixed(mark, ids);
        mark = mixed(mark, Typed::read::<u64>(real, &off::OFF_CRED_CAP_EFFECTIVE));
        // The word of thread flags that says whether seccomp looks at calls; a tracer changes it, too, which costs one full
        // comparison.
        mark = mixed(mark, Typed::read::<u64>(task, &off::OFF_TASK_SYSCALL_WORK));
        let filter = Typed::pointer(task, &off::OFF_TASK_SECCOMP_FILTER);
        mixed(mark, distance(filter, table)) | 1
    }
}

/// Where the table holds the number of the task at this distance.
#[inline(always)]
const fn slot_of(which: u64) -> usize {
    const { assert!(OPENS_SEEN.is_power_of_two()) };
    (which.wrapping_mul(MIX) >> (64 - OPENS_SEEN.trailing_zeros())) as usize & (OPENS_SEEN - 1)
}

/// Where the table holds the number of this task.
#[inline(always)]
pub fn slot(task: *const u8, table: *const u8) -> usize {
    slot_of(distance(task, table))
}
