//! The shadow of each task, and what differs from it.
//!
//! Each task's shadow is written by the task itself (its parent at fork), so hooks need no lock. A sweep only compares,
//! fills what is missing, and reports what it saw twice in a row.
//!
//! `commit_creds` is lawful only with a witness: an LSM hook or call that ran just before left a one-shot note, bound to
//! the new `struct cred` where the hook passes it, and its rule (see [`crate::rule`]) holds. The same judgement is made
//! wherever credentials turn up that the shadow does not know, so a commit that a program was not run for does no harm.

use crate::{
    maps::{FINDINGS, count},
    mem::{Mem, Probed, Typed},
    off::{self, on},
    rule,
    shadow_read::{self as read, Slot},
    task::{self, read_creds},
};
use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task,
        generated::{bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_send_signal},
    },
    macros::map,
    maps::{Array, HashMap},
};
use hardpan_abi::{
    Counter, CredIds, EventKind, NS_COUNT, TASKS_MAX, TaskFindingEvent, TaskFindingKind, TaskHook,
    TaskResponse, TaskShadow, TaskWitness, task_state,
};

/// Shadows by address of the `task_struct`.
#[map]
pub static TASKS: HashMap<u64, TaskShadow> = HashMap::with_max_entries(TASKS_MAX, 0);

/// How often each program ran, by [`TaskHook`]; for self-tests.
#[map]
pub static TASK_RUNS: Array<u64> = Array::with_max_entries(TaskHook::SLOTS, 0);

/// A [`TaskResponse`] number by [`TaskFindingKind`] number. User space writes it; zero, its content at start, records.
#[map]
pub static TASK_POLICY: Array<u32> = Array::with_max_entries(16, 0);

/// `PF_EXITING`, `PF_KTHREAD` (include/linux/sched.h; the same since 4.18).
const NOT_WATCHED: u32 = 0x4 | 0x0020_0000;
const SIGKILL: u32 = 9;
/// How long a shadow that a sweep made of a running task may be wrong by the sweep's own race.
const SEED_NS: u64 = 2_000_000_000;

static EMPTY: TaskShadow = TaskShadow {
    ids: CredIds::EMPTY,
    cred: 0,
    user_ns: 0,
    groups: 0,
    ns: [0; NS_COUNT],
    ns_inum: [0; NS_COUNT],
    seccomp_filter: 0,
    seccomp_mode: 0,
    no_new_privs: 0,
    note_cred: 0,
    note_witness: 0,
    pid: 0,
    state: 0,
    recorded: 0,
    sweep_mark: 0,
    seeded_ns: 0,
    scratch: [0; 2],
};

#[inline(always)]
fn ran(hook: TaskHook) {
    if let Some(slot) = TASK_RUNS.get_ptr_mut(hook as u32) {
        // SAFETY: a live slot; a run lost to a race on another CPU does no harm, zero or not is all that is asked.
        unsafe { *slot = (*slot).wrapping_add(1) };
    }
}

#[inline(always)]
fn find(task: *const u8) -> Option<&'static mut TaskShadow> {
    let shadow = TASKS.get_ptr_mut(&(task as u64))?;
    // SAFETY: the entry lives until its task exits; only that task's own hooks write to it (see the module's head).
    Some(unsafe { &mut *shadow })
}

/// Makes the shadow of a task as it is now.
#[inline(always)]
unsafe fn create<M: Mem>(task: *const u8, flags: u32, seeded_ns: u64) {
    let key = task as u64;
    match TASKS.insert(&key, &EMPTY, u64::from(flags)) {
        Ok(()) => {}
        // Somebody else was quicker (EEXIST).
        Err(error) if error == -17 => return,
        Err(_) => {
            count(Counter::TaskUntracked);
            return;
        }
    }
    if let Some(shadow) = find(task) {
        // SAFETY: the caller's promise is handed on.
        unsafe { fill::<M>(shadow, task) };
        shadow.seeded_ns = seeded_ns;
        shadow.state |= task_state::FILLED;
    }
}

#[inline(always)]
unsafe fn fill<M: Mem>(shadow: &mut TaskShadow, task: *const u8) {
    let slot = own_slot(shadow);
    // SAFETY: `task` is a task_struct; a task always has credentials.
    unsafe {
        read::take_cred::<M>(shadow, M::pointer(task, &off::OFF_TASK_REAL_CRED));
        read::take_ns::<M>(shadow, task);
        let now = read::read_seccomp::<M>(slot, task);
        read::take_seccomp(shadow, &now);
        shadow.pid = M::read(task, &off::OFF_TASK_PID);
    }
    shadow.note_witness = 0;
    shadow.recorded = 0;
    shadow.sweep_mark = 0;
}

#[inline(always)]
fn sweep_slot(shadow: &mut TaskShadow) -> Slot {
    // SAFETY: the second of two.
    Slot(unsafe { (&raw mut shadow.scratch).cast::<u64>().add(1) })
}

#[inline(always)]
fn own_slot(shadow: &mut TaskShadow) -> Slot {
    Slot((&raw mut shadow.scratch).cast())
}

/// Calls `$body` with the current task and the way to read it.
macro_rules! with_current {
    (|$task:ident, $mem:ident| $body:expr) => {
        if on(&off::HAS_TASK_BTF) {
            type $mem = Typed;
            // SAFETY: the helper returns the current task as a typed pointer, never null.
            let $task: *const u8 = unsafe { bpf_get_current_task_btf() }.cast();
            // SAFETY: typed.
            #[allow(unused_unsafe, reason = "the body may be safe")]
            unsafe {
                $body
            }
        } else {
            type $mem = Probed;
            // SAFETY: helper without arguments.
            let $task = unsafe { bpf_get_current_task() } as *const u8;
            // SAFETY: probed reads check every address.
            #[allow(unused_unsafe, reason = "the body may be safe")]
            unsafe {
                $body
            }
        }
    };
}

/// Is this a task with a user's memory, and not on its way out?
#[inline(always)]
unsafe fn watched<M: Mem>(task: *const u8) -> bool {
    // SAFETY: `task` is a task_struct.
    let flags: u32 = unsafe { M::read(task, &off::OFF_TASK_FLAGS) };
    // SAFETY: as above.
    let mm = unsafe { M::pointer(task, &off::OFF_TASK_MM) };
    flags & NOT_WATCHED == 0 && mm as u64 != 0
}

/// `-EPERM` to deny, else 0, as one of two constants: kernels from 6.12 on must see the range of what an LSM program
/// returns, and LLVM would compute it.
#[inline(always)]
pub fn answer(deny: i32) -> i32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut answer = 0u64;
        // SAFETY: registers only.
        unsafe {
            core::arch::asm!("if {deny} == 0 goto +1", "{answer} = -1", deny = in(reg) deny as u64, answer = inout(reg) answer);
        }
        answer as i32
    }
    #[cfg(not(target_arch = "bpf"))]
    -deny
}

/// Compares the current task with its shadow. 1 if the policy is to deny.
#[inline(always)]
pub fn check(hook: TaskHook) -> i32 {
    ran(hook);
    with_current!(|task, M| check_task::<M>(task, hook as u32))
}

// One function of its own in each program: inlined it would be there twice, four times with its callers.
#[inline(never)]
unsafe fn check_task<M: Mem>(task: *const u8, hook: u32) -> i32 {
    // SAFETY (all): `task` is the current task.
    unsafe {
        if !watched::<M>(task) {
            return 0;
        }
        let Some(shadow) = find(task) else {
            create::<M>(task, BPF_NOEXIST, 0);
            return 0;
        };
        if shadow.state & task_state::FILLED == 0 {
            return 0;
        }
        let slot = own_slot(shadow);
        let cred = M::pointer(task, &off::OFF_TASK_REAL_CRED);
        let pid: u32 = M::read(task, &off::OFF_TASK_PID);
        let changed = read::cred_diff::<M>(slot, shadow, cred) | (slot.number(cred) ^ shadow.cred);
        let mut names = 0;
        if shadow.state & task_state::NS_CALL == 0 {
            names = read::ns_diff::<M>(slot, shadow, task);
        }
        let now = read::read_seccomp::<M>(slot, task);
        let seccomp = read::seccomp_changed(shadow, &now);
        // The kernel overrides `cred` for a while in many places (overlayfs, nfsd, io_uring, coredump, faccessat), but
        // no override is in force when a program is checked, a process made by a call, or `bpf` called.
        let mut overridden = 0;
        if hook == TaskHook::ExecCheck as u32 || hook == TaskHook::Fork as u32 || hook == TaskHook::Bpf as u32
        {
            let subjective = M::pointer(task, &off::OFF_TASK_CRED);
            if slot.number(subjective) != slot.number(cred) {
                overridden = read::cred_diff::<M>(slot, shadow, subjective);
            }
        }
        if changed | names | seccomp | overridden | u64::from(pid ^ shadow.pid) == 0 {
            return 0;
        }
        if pid != shadow.pid {
            // Another task's shadow, or a thread that is taking its leader's place in an exec.
            count(Counter::TaskReused);
            fill::<M>(shadow, task);
            return 0;
        }
        if shadow.seeded_ns != 0 {
            let age = bpf_ktime_get_ns().wrapping_sub(shadow.seeded_ns);
            shadow.seeded_ns = 0;
            if age < SEED_NS {
                fill::<M>(shadow, task);
                return 0;
            }
        }
        // One report tells all that differs; its kind is the gravest.
        let mut what = 0;
        let mut shown = cred;
        if changed != 0 {
            what = classify::<M>(shadow, cred, false);
        } else if overridden != 0 {
            what = TaskFindingKind::CredSwapped as u32;
            shown = M::pointer(task, &off::OFF_TASK_CRED);
        }
        if what == 0 && names != 0 {
            what = TaskFindingKind::NsRepointed as u32;
        }
        if what == 0 && seccomp != 0 && read::seccomp_weaker::<M>(shadow, &now, task) != 0 {
            what = TaskFindingKind::SeccompWeakened as u32;
        }
        let mut answer = 0;
        if what != 0 {
            answer = report::<M>(shadow, task, shown, what | hook << 8);
        }
        if changed != 0 {
            shadow.note_witness = 0;
            read::take_cred::<M>(shadow, cred);
        }
        if names != 0 {
            read::take_ns::<M>(shadow, task);
        }
        if seccomp != 0 {
            read::take_seccomp(shadow, &now);
        }
        shadow.recorded = 0;
        answer
    }
}

/// What is wrong with credentials that are not as the shadow has them: kind and (from bit 16) witness, or 0.
#[inline(always)]
unsafe fn classify<M: Mem>(shadow: &mut TaskShadow, cred: *const u8, commits: bool) -> u32 {
    // SAFETY (all): `cred` are the current task's credentials in force, or those it commits.
    unsafe {
        let slot = own_slot(shadow);
        let address = slot.number(cred);
        if read::cred_diff::<M>(slot, shadow, cred) == 0 {
            // The same content elsewhere: keyrings and LSMs do that.
            if !commits {
                count(Counter::TaskAdopted);
            }
            return 0;
        }
        if address == shadow.cred {
            return TaskFindingKind::CredEdited as u32;
        }
        let mut new = CredIds::EMPTY;
        read_creds::<M>(&mut new, cred);
        let groups = read::groups::<M>(slot, cred) ^ shadow.groups;
        let mut witness = TaskWitness::None as u32;
        let beyond;
        if read::user_ns::<M>(slot, cred) != shadow.user_ns {
            witness = TaskWitness::UserNs as u32;
            let below = read::user_ns_below::<M>(cred, shadow.user_ns);
            beyond = rule::user_ns(&shadow.ids, &new, groups, below);
        } else {
            if shadow.note_cred == address || shadow.note_cred == 0 {
                witness = shadow.note_witness;
            }
            beyond = rule::excess(witness, &shadow.ids, &new, groups, u64::from(shadow.no_new_privs));
        }
        if beyond == 0 {
            return 0;
        }
        let kind = if witness != TaskWitness::None as u32 {
            TaskFindingKind::CredRule
        } else if commits {
            TaskFindingKind::CredNoWitness
        } else {
            TaskFindingKind::CredSwapped
        };
        kind as u32 | witness << 16
    }
}

#[inline(always)]
fn policy(kind: u32) -> u32 {
    match TASK_POLICY.get(kind) {
        Some(response) => *response,
        None => TaskResponse::Record as u32,
    }
}

/// Writes the finding (unless a sweep has) and carries out the policy's response. 1 to deny. `what` is the kind, the
/// hook (from bit 8) and the witness (from bit 16): a function of a program takes at most five arguments.
#[inline(never)]
unsafe fn report<M: Mem>(shadow: &mut TaskShadow, task: *const u8, cred: *const u8, what: u32) -> i32 {
    let kind = what & 0xff;
    let hook = what >> 8 & 0xff;
    let sweeps = hook == TaskHook::Sweep as u32;
    let response = policy(kind);
    if sweeps || shadow.recorded == 0 {
        // SAFETY: the caller's promises are handed on.
        unsafe { emit::<M>(shadow, task, cred, what, response) };
    }
    if response == TaskResponse::Record as u32 || sweeps {
        return 0;
    }
    if response == TaskResponse::Kill as u32 {
        // The first process is never signalled: the machine would stop.
        let process = (bpf_get_current_pid_tgid() >> 32) as u32;
        if process != 1 {
            // SAFETY: helper without pointers.
            unsafe { bpf_send_signal(SIGKILL) };
        }
    }
    1
}

#[inline(always)]
unsafe fn emit<M: Mem>(shadow: &mut TaskShadow, task: *const u8, cred: *const u8, what: u32, response: u32) {
    count(Counter::TaskGenerated);
    let Some(mut entry) = FINDINGS.reserve::<TaskFindingEvent>(0) else {
        count(Counter::TaskLost);
        return;
    };
    let hook = what >> 8 & 0xff;
    let slot = if hook == TaskHook::Sweep as u32 {
        sweep_slot(shadow)
    } else {
        own_slot(shadow)
    };
    // SAFETY: the reservation is a `TaskFindingEvent`; nothing below sleeps; pointers by the caller's promise.
    unsafe {
        let record = &mut *entry.as_mut_ptr();
        copy_ids(&shadow.ids, &mut record.old);
        read_creds::<M>(&mut record.new, cred);
        read::rest_of_shadow(&mut record.old_rest, shadow);
        let now = read::read_seccomp::<M>(slot, task);
        read::rest_of_task::<M>(&mut record.new_rest, &now, task);
        record.new_rest.groups_differ = rule::nonzero(read::groups::<M>(slot, cred) ^ shadow.groups) as u32;
        record.kind = what & 0xff;
        record.hook = hook;
        record.witness = what >> 16;
        record.response = response;
        record.task.cgroup_id = 0;
        task::fill_task::<M>(&mut record.task, task);
        task::fill_header(
            &raw mut record.header,
            EventKind::TaskFinding,
            size_of::<TaskFindingEvent>() as u32,
        );
    }
    entry.submit(0);
}

#[inline(always)]
fn copy_ids(from: &CredIds, to: &mut CredIds) {
    let (from, to): (*const u64, *mut u64) = ((&raw const *from).cast(), (&raw mut *to).cast());
    let mut i = 0;
    while i < size_of::<CredIds>() / 8 {
        // SAFETY: both are a `CredIds`. Volatile keeps LLVM from calling memcpy.
        unsafe { core::ptr::write_volatile(to.add(i), core::ptr::read_volatile(from.add(i))) };
        i += 1;
    }
}

/// `int commit_creds(struct cred *new)`: first what is in force, then what is to come.
///
/// # Safety
/// `new` is the function's argument (typed).
#[inline(always)]
pub unsafe fn commit(new: *const u8) {
    ran(TaskHook::Commit);
    with_current!(|task, M| commit_task::<M>(task, new));
}

#[inline(always)]
unsafe fn commit_task<M: Mem>(task: *const u8, new: *const u8) {
    // SAFETY: the caller's promises.
    unsafe {
        check_task::<M>(task, TaskHook::Commit as u32);
        if watched::<M>(task) {
            commit_new::<M>(task, new);
        }
    }
}

// A function of its own: the stack of `check_task` is free again by then.
#[inline(never)]
unsafe fn commit_new<M: Mem>(task: *const u8, new: *const u8) {
    let Some(shadow) = find(task) else { return };
    // SAFETY: the caller's promises.
    unsafe {
        if shadow.state & task_state::FILLED == 0 {
            // A sweep is at it; it may have read what is gone in a moment.
            fill::<M>(shadow, task);
            read::take_cred::<M>(shadow, new);
            shadow.state |= task_state::FILLED;
            return;
        }
        let what = classify::<M>(shadow, new, true);
        if what != 0 {
            report::<M>(shadow, task, new, what | (TaskHook::Commit as u32) << 8);
        }
        read::take_cred::<M>(shadow, new);
    }
    shadow.note_witness = 0;
}

/// Leaves the one-shot note that `cred` (null: whatever comes next) is about to be committed.
#[inline(always)]
pub fn note(hook: TaskHook, cred: *const u8, witness: TaskWitness) {
    ran(hook);
    let task = current();
    if let Some(shadow) = find(task) {
        shadow.note_cred = cred as u64;
        shadow.note_witness = witness as u32;
    }
}

#[inline(always)]
fn current() -> *const u8 {
    // SAFETY: helper without arguments; only the address is used.
    unsafe { bpf_get_current_task() as *const u8 }
}

/// `security_task_prctl(int option, …)`: notes the options that commit credentials.
#[inline(always)]
pub fn prctl(option: u32) {
    // PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_CAP_AMBIENT (include/uapi/linux/prctl.h).
    if matches!(option, 8 | 24 | 28 | 47) {
        note(TaskHook::Prctl, core::ptr::null(), TaskWitness::Prctl);
    } else {
        ran(TaskHook::Prctl);
    }
}

/// `setns` or `unshare` begins: namespaces may move until it returns.
#[inline(always)]
pub fn namespace_call(hook: TaskHook) {
    // What was there before must be in order, or the call would launder it.
    let _observed = check(hook);
    if let Some(shadow) = find(current()) {
        shadow.state |= task_state::NS_CALL;
    }
}

/// … and returned.
#[inline(always)]
pub fn namespace_return(hook: TaskHook) {
    ran(hook);
    with_current!(|task, M| {
        if let Some(shadow) = find(task) {
            read::take_ns::<M>(shadow, task);
            shadow.state &= !task_state::NS_CALL;
        }
    });
}

/// A 32-bit `setns` or `unshare` begins.
#[inline(always)]
pub fn namespace_call_unchecked(hook: TaskHook) {
    ran(hook);
    if let Some(shadow) = find(current()) {
        shadow.state |= task_state::NS_CALL;
    }
}

/// `seccomp` or `prctl` returned: takes over what they added. What is gone is left for the hooks to find.
#[inline(always)]
pub fn seccomp_return(hook: TaskHook) {
    ran(hook);
    with_current!(|task, M| {
        if let Some(shadow) = find(task) {
            let now = read::read_seccomp::<M>(own_slot(shadow), task);
            if read::seccomp_changed(shadow, &now) != 0 && read::seccomp_weaker::<M>(shadow, &now, task) == 0
            {
                read::take_seccomp(shadow, &now);
            }
        }
    });
}

/// `sched_process_fork(parent, child)`: the parent must be in order, or the child would inherit the disorder as its
/// lawful state; then the child gets its shadow.
///
/// # Safety
/// `child` is the tracepoint's argument (typed).
#[inline(always)]
pub unsafe fn fork(child: *const u8) {
    let _observed = check(TaskHook::Fork);
    // SAFETY: by the caller's promise; the child does not run yet.
    unsafe {
        if watched::<Typed>(child) {
            create::<Typed>(child, BPF_ANY, 0);
        }
    }
}

/// `sched_process_exec(task, …)`: also makes the shadow of a kernel thread that became a program.
///
/// # Safety
/// `task` is the tracepoint's argument (typed), which is the current task.
#[inline(always)]
pub unsafe fn exec(task: *const u8) {
    ran(TaskHook::Exec);
    if let Some(shadow) = find(task) {
        // A thread that was not the leader has the leader's id now.
        // SAFETY: by the caller's promise.
        shadow.pid = unsafe { Typed::read(task, &off::OFF_TASK_PID) };
    }
    // SAFETY: as above.
    unsafe {
        check_task::<Typed>(task, TaskHook::Exec as u32);
        if let Some(shadow) = find(task) {
            if shadow.state & task_state::NS_CALL == 0 {
                read::take_ns::<Typed>(shadow, task);
            }
        }
    }
}

/// `sched_process_exit(task)`: the shadow goes.
#[inline(always)]
pub fn exit(task: *const u8) {
    ran(TaskHook::Exit);
    let _gone = TASKS.remove(&(task as u64));
}

/// One task of a sweep.
///
/// # Safety
/// `task` is the iterator's (typed, not null).
#[inline(always)]
pub unsafe fn sweep(task: *const u8) {
    ran(TaskHook::Sweep);
    // SAFETY (all): by the caller's promise.
    unsafe {
        if !watched::<Typed>(task) {
            return;
        }
        let Some(shadow) = find(task) else {
            create::<Typed>(task, BPF_NOEXIST, bpf_ktime_get_ns());
            return;
        };
        let pid: u32 = Typed::read(task, &off::OFF_TASK_PID);
        if shadow.state & task_state::FILLED == 0
            || shadow.note_witness != 0
            || pid != shadow.pid
            || shadow.seeded_ns != 0
        {
            // A seeded shadow has had its moment once the next sweep comes.
            if shadow.seeded_ns != 0 && bpf_ktime_get_ns().wrapping_sub(shadow.seeded_ns) > SEED_NS {
                shadow.seeded_ns = 0;
            }
            return;
        }
        let slot = sweep_slot(shadow);
        let cred = Typed::pointer(task, &off::OFF_TASK_REAL_CRED);
        let address = slot.number(cred);
        let content = read::cred_diff::<Typed>(slot, shadow, cred);
        let mut names = 0;
        if shadow.state & task_state::NS_CALL == 0 {
            names = read::ns_diff::<Typed>(slot, shadow, task);
        }
        let now = read::read_seccomp::<Typed>(slot, task);
        let mut weaker = 0;
        if read::seccomp_changed(shadow, &now) != 0 {
            weaker = read::seccomp_weaker::<Typed>(shadow, &now, task);
        }
        if content | names | weaker == 0 {
            shadow.sweep_mark = 0;
            shadow.recorded = 0;
            return;
        }
        let mark = (content ^ names.rotate_left(20) ^ weaker.rotate_left(40) ^ address.rotate_left(8)) | 1;
        if shadow.sweep_mark != mark {
            shadow.sweep_mark = mark;
            return;
        }
        if shadow.recorded != 0 {
            return;
        }
        let kind = if content != 0 {
            if address == shadow.cred {
                TaskFindingKind::CredEdited
            } else {
                TaskFindingKind::CredSwapped
            }
        } else if names != 0 {
            TaskFindingKind::NsRepointed
        } else {
            TaskFindingKind::SeccompWeakened
        };
        report::<Typed>(shadow, task, cred, kind as u32 | (TaskHook::Sweep as u32) << 8);
        shadow.recorded = 1;
    }
}
