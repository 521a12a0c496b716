//! Reading what the shadow holds, and comparing it without branches.

use crate::{
    mem::Mem,
    off::{self, has},
    rule::nonzero,
    task::read_creds,
};
use aya_ebpf::Global;
use hardpan_abi::{ABSENT, NS_COUNT, TaskRest, TaskShadow, task_state};

/// Calls `$each!(index, member offset, inode-number offset)` for every namespace, in the order of `NS_NAMES`.
macro_rules! namespaces {
    ($each:ident) => {
        $each!(0, OFF_NSPROXY_UTS_NS, OFF_UTS_NS_INUM);
        $each!(1, OFF_NSPROXY_IPC_NS, OFF_IPC_NS_INUM);
        $each!(2, OFF_NSPROXY_MNT_NS, OFF_MNT_NS_INUM);
        $each!(3, OFF_NSPROXY_PID_NS, OFF_PID_NS_INUM);
        $each!(4, OFF_NSPROXY_NET_NS, OFF_NET_NS_INUM);
        $each!(5, OFF_NSPROXY_CGROUP_NS, OFF_CGROUP_NS_INUM);
        $each!(6, OFF_NSPROXY_TIME_NS, OFF_TIME_NS_INUM);
        $each!(7, OFF_NSPROXY_TIME_NS_CHILDREN, OFF_TIME_NS_INUM);
    };
}

const TIME: usize = 6;
const TIME_FOR_CHILDREN: usize = 7;
/// Filters looked through for the one known before: more than a task installs between two looks.
const FILTERS: u32 = 32;
/// `PFA_NO_NEW_PRIVS` is bit 0 of `atomic_flags`.
const NO_NEW_PRIVS: u64 = 1;
/// `SECCOMP_MODE_DEAD`: a task that seccomp is killing.
const MODE_DEAD: u32 = 3;

/// A place in a map, through which an address becomes a number: the verifier knows a loaded pointer as one and refuses
/// to compute with it, but what comes back out of a map is a number.
#[derive(Debug, Clone, Copy)]
pub struct Slot(pub *mut u64);

impl Slot {
    /// The address as a number.
    #[inline(always)]
    pub fn number(self, address: *const u8) -> u64 {
        // SAFETY: the slot lies in a map value that outlives the program's run; volatile, or LLVM would leave it out.
        unsafe {
            core::ptr::write_volatile(self.0, address as u64);
            core::ptr::read_volatile(self.0)
        }
    }
}

/// The field's address as a number; 0 if the kernel does not have the field.
#[inline(always)]
unsafe fn number<M: Mem>(slot: Slot, base: *const u8, field: &Global<u32>) -> u64 {
    if has(field) {
        // SAFETY: by the caller's promise the field belongs to `base`.
        slot.number(unsafe { M::pointer(base, field) })
    } else {
        0
    }
}

/// The field's address, to be stored.
#[inline(always)]
unsafe fn pointer_or_0<M: Mem>(base: *const u8, field: &Global<u32>) -> u64 {
    if has(field) {
        // SAFETY: by the caller's promise the field belongs to `base`.
        unsafe { M::pointer(base, field) as u64 }
    } else {
        0
    }
}

/// Everything that differs between the credentials at `cred` and the shadow, or-ed together.
///
/// # Safety
/// `cred` is a `struct cred` (typed for [`crate::mem::Typed`]).
#[inline(always)]
pub unsafe fn cred_diff<M: Mem>(slot: Slot, shadow: &TaskShadow, cred: *const u8) -> u64 {
    let ids = &shadow.ids;
    let mut narrow = 0u32;
    let mut wide = 0u64;
    // SAFETY (all): fields of `cred`.
    unsafe {
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_UID) ^ ids.uid;
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_GID) ^ ids.gid;
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_SUID) ^ ids.suid;
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_SGID) ^ ids.sgid;
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_EUID) ^ ids.euid;
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_EGID) ^ ids.egid;
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_FSUID) ^ ids.fsuid;
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_FSGID) ^ ids.fsgid;
        narrow |= M::read::<u32>(cred, &off::OFF_CRED_SECUREBITS) ^ ids.securebits;
        wide |= M::read::<u64>(cred, &off::OFF_CRED_CAP_INHERITABLE) ^ ids.cap_inheritable;
        wide |= M::read::<u64>(cred, &off::OFF_CRED_CAP_PERMITTED) ^ ids.cap_permitted;
        wide |= M::read::<u64>(cred, &off::OFF_CRED_CAP_EFFECTIVE) ^ ids.cap_effective;
        wide |= M::read::<u64>(cred, &off::OFF_CRED_CAP_BSET) ^ ids.cap_bset;
        wide |= M::read::<u64>(cred, &off::OFF_CRED_CAP_AMBIENT) ^ ids.cap_ambient;
        wide |= number::<M>(slot, cred, &off::OFF_CRED_USER_NS) ^ shadow.user_ns;
        wide |= number::<M>(slot, cred, &off::OFF_CRED_GROUP_INFO) ^ shadow.groups;
    }
    u64::from(narrow) | wide
}

/// The address of the credentials' group list.
///
/// # Safety
/// As [`cred_diff`].
#[inline(always)]
pub unsafe fn groups<M: Mem>(slot: Slot, cred: *const u8) -> u64 {
    // SAFETY: by the caller's promise.
    unsafe { number::<M>(slot, cred, &off::OFF_CRED_GROUP_INFO) }
}

/// The address of the credentials' user namespace.
///
/// # Safety
/// As [`cred_diff`].
#[inline(always)]
pub unsafe fn user_ns<M: Mem>(slot: Slot, cred: *const u8) -> u64 {
    // SAFETY: by the caller's promise.
    unsafe { number::<M>(slot, cred, &off::OFF_CRED_USER_NS) }
}

/// 1 if the credentials' user namespace lies below the one at address `old`.
///
/// # Safety
/// As [`cred_diff`].
#[inline(always)]
pub unsafe fn user_ns_below<M: Mem>(cred: *const u8, old: u64) -> u64 {
    if !(has(&off::OFF_CRED_USER_NS) && has(&off::OFF_USER_NS_PARENT)) {
        return 1;
    }
    // SAFETY: by the caller's promise; a null parent (of the first namespace) reads as null.
    let mut at = unsafe { M::pointer(cred, &off::OFF_CRED_USER_NS) };
    let mut level = 0;
    // User namespaces nest at most 32 deep.
    while level < 33 {
        // SAFETY: as above.
        at = unsafe { M::pointer(at, &off::OFF_USER_NS_PARENT) };
        if at as u64 == old {
            return 1;
        }
        level += 1;
    }
    0
}

/// Takes over the credentials at `cred`.
///
/// # Safety
/// As [`cred_diff`].
#[inline(always)]
pub unsafe fn take_cred<M: Mem>(shadow: &mut TaskShadow, cred: *const u8) {
    // SAFETY: by the caller's promise.
    unsafe {
        read_creds::<M>(&mut shadow.ids, cred);
        shadow.user_ns = pointer_or_0::<M>(cred, &off::OFF_CRED_USER_NS);
        shadow.groups = pointer_or_0::<M>(cred, &off::OFF_CRED_GROUP_INFO);
    }
    shadow.cred = cred as u64;
}

/// What differs between the task's namespaces and the shadow's, or-ed. A task without (exiting) differs in nothing.
///
/// # Safety
/// `task` is a `task_struct` (typed for [`crate::mem::Typed`]).
#[inline(always)]
pub unsafe fn ns_diff<M: Mem>(slot: Slot, shadow: &TaskShadow, task: *const u8) -> u64 {
    if !has(&off::OFF_TASK_NSPROXY) {
        return 0;
    }
    // SAFETY: fields of `task` and of what it points to; null pointers read as zero.
    unsafe {
        let nsproxy = M::pointer(task, &off::OFF_TASK_NSPROXY);
        if nsproxy.is_null() {
            return 0;
        }
        let mut acc = 0u64;
        macro_rules! one {
            ($at:tt, $member:ident, $inum:ident) => {
                if $at != TIME {
                    acc |= number::<M>(slot, nsproxy, &off::$member) ^ shadow.ns[$at];
                }
            };
        }
        namespaces!(one);
        // An exec moves a task into the time namespace that was meant for its children.
        let time = number::<M>(slot, nsproxy, &off::OFF_NSPROXY_TIME_NS);
        acc | (nonzero(time ^ shadow.ns[TIME]) & nonzero(time ^ shadow.ns[TIME_FOR_CHILDREN]))
    }
}

/// Takes over the task's namespaces.
///
/// # Safety
/// As [`ns_diff`].
#[inline(always)]
pub unsafe fn take_ns<M: Mem>(shadow: &mut TaskShadow, task: *const u8) {
    if !has(&off::OFF_TASK_NSPROXY) {
        return;
    }
    // SAFETY: as above.
    unsafe {
        let nsproxy = M::pointer(task, &off::OFF_TASK_NSPROXY);
        if nsproxy.is_null() {
            return;
        }
        macro_rules! one {
            ($at:tt, $member:ident, $inum:ident) => {
                shadow.ns[$at] = pointer_or_0::<M>(nsproxy, &off::$member);
            };
        }
        namespaces!(one);
    }
    // SAFETY: as above.
    unsafe { read_inums::<M>(&mut shadow.ns_inum, task) };
}

#[inline(always)]
unsafe fn read_inums<M: Mem>(out: &mut [u32; NS_COUNT], task: *const u8) {
    // SAFETY: see `ns_diff`.
    unsafe {
        let nsproxy = M::pointer(task, &off::OFF_TASK_NSPROXY);
        if nsproxy.is_null() {
            return;
        }
        macro_rules! one {
            ($at:tt, $member:ident, $inum:ident) => {
                out[$at] = if has(&off::$member) && has(&off::$inum) {
                    M::read::<u32>(M::pointer(nsproxy, &off::$member), &off::$inum)
                } else {
                    0
                };
            };
        }
        namespaces!(one);
    }
}

/// A task's seccomp state.
#[derive(Debug, Clone, Copy)]
pub struct Seccomp {
    mode: u32,
    /// 0 or 1; `u32::MAX` if unknown.
    flag: u32,
    no_new_privs: u32,
    filter: u64,
}

/// Reads it.
///
/// # Safety
/// As [`ns_diff`].
#[inline(always)]
pub unsafe fn read_seccomp<M: Mem>(slot: Slot, task: *const u8) -> Seccomp {
    // SAFETY: fields of `task`.
    unsafe {
        Seccomp {
            mode: if has(&off::OFF_TASK_SECCOMP_MODE) {
                M::read(task, &off::OFF_TASK_SECCOMP_MODE)
            } else {
                0
            },
            flag: if has(&off::OFF_TASK_SYSCALL_WORK) && has(&off::SYSCALL_WORK_BIT_SECCOMP) {
                let work: u64 = M::read(task, &off::OFF_TASK_SYSCALL_WORK);
                (work >> off::SYSCALL_WORK_BIT_SECCOMP.load()) as u32 & 1
            } else {
                ABSENT
            },
            no_new_privs: if has(&off::OFF_TASK_ATOMIC_FLAGS) {
                let flags: u64 = M::read(task, &off::OFF_TASK_ATOMIC_FLAGS);
                (flags & NO_NEW_PRIVS) as u32
            } else {
                0
            },
            filter: number::<M>(slot, task, &off::OFF_TASK_SECCOMP_FILTER),
        }
    }
}

/// True if anything is not as the shadow has it, be it stronger or weaker.
#[inline(always)]
pub fn seccomp_changed(shadow: &TaskShadow, now: &Seccomp) -> u64 {
    let flag = ((shadow.state & task_state::SECCOMP_FLAG) >> 2) ^ (now.flag & 1);
    let flag = if has(&off::OFF_TASK_SYSCALL_WORK) && has(&off::SYSCALL_WORK_BIT_SECCOMP) {
        flag
    } else {
        0
    };
    u64::from((shadow.seccomp_mode ^ now.mode) | (shadow.no_new_privs ^ now.no_new_privs) | flag)
        | (shadow.seccomp_filter ^ now.filter)
}

/// Not 0 if something that was set is gone: mode, thread flag, `no_new_privs`, or the filter known before. Other
/// threads (TSYNC) only ever add, so this rule needs no witness.
///
/// # Safety
/// As [`ns_diff`].
#[inline(always)]
pub unsafe fn seccomp_weaker<M: Mem>(shadow: &TaskShadow, now: &Seccomp, task: *const u8) -> u64 {
    let mode = nonzero(u64::from(shadow.seccomp_mode))
        & nonzero(u64::from(shadow.seccomp_mode ^ now.mode))
        & nonzero(u64::from(now.mode ^ MODE_DEAD));
    let privs = u64::from(shadow.no_new_privs & !now.no_new_privs & 1);
    let flag = u64::from((shadow.state & task_state::SECCOMP_FLAG) >> 2 & !now.flag & 1);
    let mut filter = 0;
    if has(&off::OFF_TASK_SECCOMP_FILTER)
        && has(&off::OFF_SECCOMP_FILTER_PREV)
        && shadow.seccomp_filter != 0
        && shadow.seccomp_filter != now.filter
    {
        filter = 1;
        // SAFETY: fields of `task` and of the filters it holds; a null filter reads as null.
        let mut at = unsafe { M::pointer(task, &off::OFF_TASK_SECCOMP_FILTER) };
        let mut step = 0;
        while step < FILTERS {
            // SAFETY: as above.
            at = unsafe { M::pointer(at, &off::OFF_SECCOMP_FILTER_PREV) };
            if at as u64 == shadow.seccomp_filter {
                filter = 0;
                break;
            }
            step += 1;
        }
        // A longer chain proves nothing.
        if filter != 0 && at as u64 != 0 {
            filter = 0;
        }
    }
    mode | privs | flag | filter
}

/// Takes over the seccomp state.
#[inline(always)]
pub fn take_seccomp(shadow: &mut TaskShadow, now: &Seccomp) {
    shadow.seccomp_mode = now.mode;
    shadow.seccomp_filter = now.filter;
    shadow.no_new_privs = now.no_new_privs;
    let flag = if has(&off::OFF_TASK_SYSCALL_WORK) && has(&off::SYSCALL_WORK_BIT_SECCOMP) {
        now.flag & 1
    } else {
        0
    };
    shadow.state = (shadow.state & !task_state::SECCOMP_FLAG) | (flag << 2);
}

/// What a finding says about the rest, as the shadow has it.
#[inline(always)]
pub fn rest_of_shadow(out: &mut TaskRest, shadow: &TaskShadow) {
    let mut i = 0;
    while i < NS_COUNT {
        // SAFETY: `i < NS_COUNT`, the length of both. Volatile keeps LLVM from calling memcpy.
        unsafe {
            core::ptr::write_volatile(
                (&raw mut out.ns).cast::<u32>().add(i),
                core::ptr::read_volatile((&raw const shadow.ns_inum).cast::<u32>().add(i)),
            );
        }
        i += 1;
    }
    out.seccomp_mode = shadow.seccomp_mode;
    out.seccomp_flag = if has(&off::OFF_TASK_SYSCALL_WORK) {
        (shadow.state & task_state::SECCOMP_FLAG) >> 2
    } else {
        ABSENT
    };
    out.no_new_privs = shadow.no_new_privs;
    out.seccomp_filter = nonzero(shadow.seccomp_filter) as u32;
    out.groups_differ = 0;
    out.reserved = 0;
}

/// The same as it is now.
///
/// # Safety
/// As [`ns_diff`].
#[inline(always)]
pub unsafe fn rest_of_task<M: Mem>(out: &mut TaskRest, now: &Seccomp, task: *const u8) {
    // SAFETY: by the caller's promise.
    unsafe { read_inums::<M>(&mut out.ns, task) };
    out.seccomp_mode = now.mode;
    out.seccomp_flag = now.flag;
    out.no_new_privs = now.no_new_privs;
    out.seccomp_filter = nonzero(now.filter) as u32;
    out.reserved = 0;
}
