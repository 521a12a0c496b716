//! Reading what the shadow holds, and comparing it without branches.

use crate::{
    mem::{Mem, Probed},
    off::{self, has, on},
    rule::nonzero,
    task::read_creds,
    verifier::{at, at_most, joined, opaque},
};
use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};
use hardpan_abi::{ABSENT, GROUPS_SEEN, MIX, NS_COUNT, TaskRest, TaskShadow, TaskView, mixed};

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

/// Everything that differs between the credentials at `cred` and the known ones, or-ed together.
///
/// # Safety
/// `cred` is a `struct cred` (typed for [`crate::mem::Typed`]).
#[inline(always)]
pub unsafe fn cred_diff<M: Mem>(slot: Slot, known: &TaskView, cred: *const u8) -> u64 {
    let ids = &known.ids;
    let mut differs = 0u64;
    // SAFETY (all): fields of `cred`.
    unsafe {
        differs = joined(differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_UID) ^ at(&ids.uid)));
        differs = joined(differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_GID) ^ at(&ids.gid)));
        differs = joined(differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_SUID) ^ at(&ids.suid)));
        differs = joined(differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_SGID) ^ at(&ids.sgid)));
        differs = joined(differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_EUID) ^ at(&ids.euid)));
        differs = joined(differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_EGID) ^ at(&ids.egid)));
        differs = joined(differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_FSUID) ^ at(&ids.fsuid)));
        differs = joined(differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_FSGID) ^ at(&ids.fsgid)));
        differs = joined(
            differs | u64::from(M::read::<u32>(cred, &off::OFF_CRED_SECUREBITS) ^ at(&ids.securebits)),
        );
        differs = joined(
            differs | (M::read::<u64>(cred, &off::OFF_CRED_CAP_INHERITABLE) ^ at(&ids.cap_inheritable)),
        );
        differs =
            joined(differs | (M::read::<u64>(cred, &off::OFF_CRED_CAP_PERMITTED) ^ at(&ids.cap_permitted)));
        differs =
            joined(differs | (M::read::<u64>(cred, &off::OFF_CRED_CAP_EFFECTIVE) ^ at(&ids.cap_effective)));
        differs = joined(differs | (M::read::<u64>(cred, &off::OFF_CRED_CAP_BSET) ^ at(&ids.cap_bset)));
        differs = joined(differs | (M::read::<u64>(cred, &off::OFF_CRED_CAP_AMBIENT) ^ at(&ids.cap_ambient)));
        differs = joined(differs | (number::<M>(slot, cred, &off::OFF_CRED_USER_NS) ^ at(&known.user_ns)));
        differs = joined(differs | (number::<M>(slot, cred, &off::OFF_CRED_GROUP_INFO) ^ at(&known.groups)));
    }
    differs
}

/// What differs between the task's namespaces and the known ones, or-ed. A task without (exiting) differs in nothing.
///
/// # Safety
/// `task` is a `task_struct` (typed for [`crate::mem::Typed`]).
#[inline(always)]
pub unsafe fn ns_diff<M: Mem>(slot: Slot, known: &TaskView, task: *const u8) -> u64 {
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
                    acc = joined(acc | (number::<M>(slot, nsproxy, &off::$member) ^ at(&known.ns[$at])));
                }
            };
        }
        namespaces!(one);
        // An exec moves a task into the time namespace that was meant for its children.
        let time = number::<M>(slot, nsproxy, &off::OFF_NSPROXY_TIME_NS);
        acc | (nonzero(time ^ at(&known.ns[TIME])) & nonzero(time ^ at(&known.ns[TIME_FOR_CHILDREN])))
    }
}

/// What differs between the task's root directory and the known one, or-ed.
///
/// # Safety
/// As [`ns_diff`].
#[inline(always)]
pub unsafe fn root_diff<M: Mem>(slot: Slot, known: &TaskView, task: *const u8) -> u64 {
    if !(on(&off::HAS_ROOT_HOOKS) && has(&off::OFF_TASK_FS) && has(&off::OFF_FS_ROOT_MNT)) {
        return 0;
    }
    // SAFETY: as above; a task without `fs` is exiting.
    unsafe {
        let fs = M::pointer(task, &off::OFF_TASK_FS);
        if fs.is_null() {
            return 0;
        }
        (number::<M>(slot, fs, &off::OFF_FS_ROOT_MNT) ^ at(&known.root[0]))
            | (number::<M>(slot, fs, &off::OFF_FS_ROOT_DENTRY) ^ at(&known.root[1]))
    }
}

/// What differs between the task's seccomp state and the known one, or-ed, be it stronger or weaker.
///
/// # Safety
/// As [`ns_diff`].
#[inline(always)]
pub unsafe fn seccomp_diff<M: Mem>(slot: Slot, known: &TaskView, task: *const u8) -> u64 {
    // SAFETY: fields of `task`.
    unsafe {
        let narrow = (mode::<M>(task) ^ at(&known.seccomp_mode))
            | (flag::<M>(task) ^ at(&known.seccomp_flag))
            | (no_new_privs::<M>(task) ^ at(&known.no_new_privs));
        u64::from(narrow)
            | (number::<M>(slot, task, &off::OFF_TASK_SECCOMP_FILTER) ^ at(&known.seccomp_filter))
    }
}

#[inline(always)]
unsafe fn mode<M: Mem>(task: *const u8) -> u32 {
    if has(&off::OFF_TASK_SECCOMP_MODE) {
        // SAFETY: a field of `task`, by the caller's promise.
        unsafe { M::read(task, &off::OFF_TASK_SECCOMP_MODE) }
    } else {
        0
    }
}

#[inline(always)]
unsafe fn flag<M: Mem>(task: *const u8) -> u32 {
    if has(&off::OFF_TASK_SYSCALL_WORK) && has(&off::SYSCALL_WORK_BIT_SECCOMP) {
        // SAFETY: as above.
        let work: u64 = unsafe { M::read(task, &off::OFF_TASK_SYSCALL_WORK) };
        (work >> off::SYSCALL_WORK_BIT_SECCOMP.load()) as u32 & 1
    } else {
        0
    }
}

#[inline(always)]
unsafe fn no_new_privs<M: Mem>(task: *const u8) -> u32 {
    if has(&off::OFF_TASK_ATOMIC_FLAGS) {
        // SAFETY: as above.
        let flags: u64 = unsafe { M::read(task, &off::OFF_TASK_ATOMIC_FLAGS) };
        (flags & NO_NEW_PRIVS) as u32
    } else {
        0
    }
}

/// Reads the credentials' part of a view. A function of its own: three callers share it.
///
/// # Safety
/// As [`cred_diff`]; `view` lies in a map.
#[inline(never)]
pub unsafe fn view_cred<M: Mem>(view: &mut TaskView, cred: *const u8) {
    // SAFETY: by the caller's promise.
    unsafe {
        read_creds::<M>(&mut view.ids, cred);
        view.user_ns = pointer_or_0::<M>(cred, &off::OFF_CRED_USER_NS);
        view.groups = pointer_or_0::<M>(cred, &off::OFF_CRED_GROUP_INFO);
        view.groups_mark = groups_mark::<M>(cred);
        view.selinux_sid = selinux_sid::<M>(cred);
    }
    view.cred = cred as u64;
}

/// A mark of the group list's content, of which the first ids count.
#[inline(always)]
unsafe fn groups_mark<M: Mem>(cred: *const u8) -> u64 {
    const WORDS: usize = GROUPS_SEEN / 2;
    if !(has(&off::OFF_CRED_GROUP_INFO) && has(&off::OFF_GROUPS_COUNT) && has(&off::OFF_GROUPS_IDS))
        || !on(&off::HAS_PROBE_READ)
    {
        return 0;
    }
    // SAFETY: a field of `cred`, a field of the list.
    let (list, count) = unsafe {
        let list = M::pointer(cred, &off::OFF_CRED_GROUP_INFO);
        (list, M::read::<u32>(list, &off::OFF_GROUPS_COUNT))
    };
    if count == 0 {
        return 1;
    }
    let mut ids = core::mem::MaybeUninit::<[u64; WORDS]>::uninit();
    let words: *mut u64 = ids.as_mut_ptr().cast();
    let mut at = 0;
    while at < WORDS {
        // SAFETY: so many words. Volatile keeps LLVM from calling memset.
        unsafe { core::ptr::write_volatile(words.add(at), 0) };
        at += 1;
    }
    // SAFETY: the helper checks the address and writes no more than there is room.
    unsafe {
        let bytes = at_most::<{ WORDS * 8 }>(u64::from(count) * 4);
        let from = list.wrapping_add(off::OFF_GROUPS_IDS.load() as usize);
        bpf_probe_read_kernel(words.cast(), bytes as u32, from.cast());
    }
    let mut mark = mixed(MIX, u64::from(count));
    let mut at = 0;
    while at < WORDS {
        // SAFETY: as above; all of it was written.
        mark = mixed(mark, unsafe { core::ptr::read_volatile(words.add(at)) });
        at += 1;
    }
    mark
}

/// The security id in SELinux's part of the credentials, which begins where SELinux's table of sizes says.
#[inline(always)]
unsafe fn selinux_sid<M: Mem>(cred: *const u8) -> u64 {
    let sid = if has(&off::OFF_SELINUX_CRED_SID) {
        &off::OFF_SELINUX_CRED_SID
    } else {
        &off::OFF_SELINUX_SID
    };
    let table = off::SELINUX_BLOBS.load();
    if table == 0
        || !(has(sid) && has(&off::OFF_CRED_SECURITY) && has(&off::OFF_BLOB_CRED))
        || !on(&off::HAS_PROBE_READ)
    {
        return 0;
    }
    // SAFETY (all): probed; what can't be read is zero.
    unsafe {
        let blob = M::pointer(cred, &off::OFF_CRED_SECURITY) as u64;
        let begins: u32 = Probed::read(table as *const u8, &off::OFF_BLOB_CRED);
        let own = blob.wrapping_add(u64::from(begins)) as *const u8;
        u64::from(Probed::read::<u32>(own, sid))
    }
}

/// Address limit of a task; 0 if the kernel has none.
#[inline(always)]
pub unsafe fn address_limit<M: Mem>(task: *const u8) -> u64 {
    if has(&off::OFF_TASK_ADDRESS_LIMIT) {
        // SAFETY: a field of `task`, by the caller's promise.
        unsafe { M::read(task, &off::OFF_TASK_ADDRESS_LIMIT) }
    } else {
        0
    }
}

/// Reads all the rest of a view. What can't be read (a task on its way out) is taken from `or`.
///
/// # Safety
/// As [`ns_diff`]; `view` lies in a map.
#[inline(never)]
pub unsafe fn view_rest<M: Mem>(view: &mut TaskView, or: &TaskView, task: *const u8) {
    // SAFETY: fields of `task` and of what it points to.
    unsafe {
        view_ns::<M>(view, or, task);
        view_root::<M>(view, or, task);
        view.seccomp_mode = mode::<M>(task);
        view.seccomp_flag = flag::<M>(task);
        view.no_new_privs = no_new_privs::<M>(task);
        view.seccomp_filter = pointer_or_0::<M>(task, &off::OFF_TASK_SECCOMP_FILTER);
        view.address_limit = address_limit::<M>(task);
        view.pid = M::read(task, &off::OFF_TASK_PID);
    }
}

/// Reads the namespaces.
///
/// # Safety
/// As [`view_rest`].
#[inline(always)]
pub unsafe fn view_ns<M: Mem>(view: &mut TaskView, or: &TaskView, task: *const u8) {
    if !has(&off::OFF_TASK_NSPROXY) {
        return;
    }
    // SAFETY: as above.
    unsafe {
        let nsproxy = M::pointer(task, &off::OFF_TASK_NSPROXY);
        if nsproxy.is_null() {
            copy_words((&raw const or.ns).cast(), (&raw mut view.ns).cast(), NS_COUNT);
            return;
        }
        macro_rules! one {
            ($at:tt, $member:ident, $inum:ident) => {
                view.ns[$at] = pointer_or_0::<M>(nsproxy, &off::$member);
            };
        }
        namespaces!(one);
    }
}

/// Reads the root directory.
///
/// # Safety
/// As [`view_rest`].
#[inline(always)]
pub unsafe fn view_root<M: Mem>(view: &mut TaskView, or: &TaskView, task: *const u8) {
    if !(has(&off::OFF_TASK_FS) && has(&off::OFF_FS_ROOT_MNT)) {
        return;
    }
    // SAFETY: as above.
    unsafe {
        let fs = M::pointer(task, &off::OFF_TASK_FS);
        if fs.is_null() {
            copy_words((&raw const or.root).cast(), (&raw mut view.root).cast(), 2);
            return;
        }
        view.root[0] = pointer_or_0::<M>(fs, &off::OFF_FS_ROOT_MNT);
        view.root[1] = pointer_or_0::<M>(fs, &off::OFF_FS_ROOT_DENTRY);
    }
}

/// Copies words. Volatile keeps LLVM from calling memcpy.
///
/// # Safety
/// Both places are that long.
#[inline(always)]
pub unsafe fn copy_words(from: *const u64, to: *mut u64, words: usize) {
    let mut at = 0;
    while at < words {
        // SAFETY: by the caller's promise.
        unsafe { core::ptr::write_volatile(to.add(at), core::ptr::read_volatile(from.add(at))) };
        at += 1;
    }
}

/// Everything that differs between two views in `words` words from the one at `from` on, or-ed.
///
/// # Safety
/// Views have so many words.
#[inline(always)]
pub unsafe fn words_differ(a: &TaskView, b: &TaskView, from: usize, words: usize) -> u64 {
    let (a, b): (*const u64, *const u64) = ((&raw const *a).cast(), (&raw const *b).cast());
    let mut acc = 0;
    let mut at = from;
    while at < from + words {
        // SAFETY: by the caller's promise.
        acc |= unsafe { core::ptr::read_volatile(a.add(at)) ^ core::ptr::read_volatile(b.add(at)) };
        at += 1;
    }
    acc
}

/// 1 if the namespaces differ, but for the move that an exec makes in time.
#[inline(always)]
pub fn ns_moved(known: &TaskView, now: &TaskView) -> u64 {
    let mut acc = 0;
    let mut at = 0;
    while at < NS_COUNT {
        if at != TIME {
            acc |= known.ns[at] ^ now.ns[at];
        }
        at += 1;
    }
    let time = now.ns[TIME];
    nonzero(acc) | (nonzero(time ^ known.ns[TIME]) & nonzero(time ^ known.ns[TIME_FOR_CHILDREN]))
}

/// 1 if the user namespace at address `new` lies below the one at `old`, or nothing can tell.
#[inline(never)]
pub fn user_ns_below(new: u64, old: u64) -> u64 {
    if !(on(&off::HAS_PROBE_READ) && has(&off::OFF_USER_NS_PARENT)) {
        return 1;
    }
    let mut at = new;
    let mut level = 0;
    // User namespaces nest at most 32 deep.
    while level < 33 {
        // SAFETY: probed; a null parent (of the first namespace) reads as null.
        at = unsafe { Probed::read(at as *const u8, &off::OFF_USER_NS_PARENT) };
        if at == old {
            return 1;
        }
        level = opaque(level + 1);
    }
    0
}

/// 1 if the filter at `old` is among those that the one at `new` comes after, or nothing can tell.
#[inline(never)]
fn filter_kept(new: u64, old: u64) -> u64 {
    if !(on(&off::HAS_PROBE_READ) && has(&off::OFF_SECCOMP_FILTER_PREV)) {
        return 1;
    }
    let mut at = new;
    let mut step = 0;
    while step < FILTERS {
        if at == old {
            return 1;
        }
        // SAFETY: probed; null reads as null.
        at = unsafe { Probed::read(at as *const u8, &off::OFF_SECCOMP_FILTER_PREV) };
        step = opaque(step + 1);
    }
    // A longer chain proves nothing.
    nonzero(at)
}

/// Not 0 if something that was set is gone: mode, thread flag, `no_new_privs`, or the filter known before. Other
/// threads (TSYNC) only ever add, so this rule needs no witness.
#[inline(always)]
pub fn seccomp_weaker(known: &TaskView, now: &TaskView) -> u64 {
    let mode = nonzero(u64::from(known.seccomp_mode))
        & nonzero(u64::from(known.seccomp_mode ^ now.seccomp_mode))
        & nonzero(u64::from(now.seccomp_mode ^ MODE_DEAD));
    let privs = u64::from(known.no_new_privs & !now.no_new_privs & 1);
    let flag = u64::from(known.seccomp_flag & !now.seccomp_flag & 1);
    let filter = if known.seccomp_filter == 0 || known.seccomp_filter == now.seccomp_filter {
        0
    } else {
        1 ^ filter_kept(now.seccomp_filter, known.seccomp_filter)
    };
    mode | privs | flag | filter
}

/// Reads the inode numbers of the task's namespaces.
///
/// # Safety
/// As [`ns_diff`].
#[inline(never)]
pub unsafe fn read_inums<M: Mem>(out: &mut [u32; NS_COUNT], task: *const u8) {
    // SAFETY: see `ns_diff`.
    unsafe {
        if !has(&off::OFF_TASK_NSPROXY) {
            return;
        }
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

/// What a finding says about the rest of a view.
#[inline(always)]
pub fn rest_of(out: &mut TaskRest, view: &TaskView) {
    out.seccomp_mode = view.seccomp_mode;
    out.seccomp_flag = if has(&off::OFF_TASK_SYSCALL_WORK) {
        view.seccomp_flag
    } else {
        ABSENT
    };
    out.no_new_privs = view.no_new_privs;
    out.seccomp_filter = nonzero(view.seccomp_filter) as u32;
    out.groups_differ = 0;
    out.root_differs = 0;
    out.selinux_sid = view.selinux_sid as u32;
    out.address_limit_kernel = u32::from(view.address_limit == u64::MAX);
}

/// Takes over what a task has become.
#[inline(always)]
pub fn adopt(shadow: &mut TaskShadow) {
    // SAFETY: both are views.
    unsafe {
        copy_words(
            (&raw const shadow.now).cast(),
            (&raw mut shadow.known).cast(),
            TaskView::WORDS,
        );
    }
}
