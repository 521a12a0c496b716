//! The shadow of each task, and what differs from it.
//!
//! Each task's shadow is written by the task itself (its parent at fork), so hooks need no lock. A sweep only compares,
//! fills what is missing, and reports what it saw twice in a row.
//!
//! Every hook takes the short way: all that is watched is compared, without branches. Only where something differs the
//! task's state is read as a whole and judged (see [`crate::judge`]).
//!
//! Opens are too many for that: of each task one number is remembered of what its last open was found in order with (see
//! [`opening::mark`]). Whatever changes a shadow, or condemns a task, makes it forgotten.

use crate::{
    judge::{self, carry_out},
    maps::{self, count},
    mem::{Mem, Probed, Typed},
    off::{self, has, on},
    opening, rule,
    shadow_read::{self as read, Slot},
    verifier::forgotten,
};
use aya_ebpf::{
    bindings::{BPF_ANY, BPF_LOCAL_STORAGE_GET_F_CREATE, BPF_NOEXIST},
    helpers::{
        bpf_get_current_task,
        generated::{bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_task_storage_get},
    },
    macros::map,
    maps::{Array, HashMap},
};
use core::cell::UnsafeCell;
use hardpan_abi::{Counter, OPENS_SEEN, TASKS_MAX, TaskHook, TaskShadow, TaskView, TaskWitness, task_state};

/// Shadows by address of the `task_struct`; or task storage, which user space puts in its place where the kernel has it
/// ([`off::HAS_TASK_STORAGE`]): the verifier looks at what is called with this map, not at what the object says of it.
#[map]
pub static TASKS: HashMap<u64, TaskShadow> = HashMap::with_max_entries(TASKS_MAX, 0);

/// What tasks were last found in order with when they opened a file ([`opening::mark`]), by [`opening::slot`].
#[repr(transparent)]
struct Opens(UnsafeCell<[u64; OPENS_SEEN]>);

// SAFETY: single words, read and written whole.
unsafe impl Sync for Opens {}

/// Not a map that is looked up: an address that is there.
#[unsafe(no_mangle)]
static OPENS: Opens = Opens(UnsafeCell::new([0; OPENS_SEEN]));

/// The place of the table in memory.
#[inline(always)]
fn opens() -> *const u8 {
    OPENS.0.get().cast()
}

/// A task's place in it.
#[inline(always)]
fn place_of(task: *const u8) -> *mut u64 {
    let slot = opening::slot(task, opens());
    // SAFETY: within the table.
    unsafe { OPENS.0.get().cast::<u64>().add(slot) }
}

/// How often each program ran, by [`TaskHook`], up to [`RUNS_COUNTED`]; for self-tests.
#[map]
pub static TASK_RUNS: Array<u64> = Array::with_max_entries(TaskHook::SLOTS, 0);

/// A [`TaskResponse`](hardpan_abi::TaskResponse) number by [`TaskFindingKind`](hardpan_abi::TaskFindingKind) number.
/// User space writes it; zero, its content at start, records.
#[map]
pub static TASK_POLICY: Array<u32> = Array::with_max_entries(16, 0);

/// Moves of root directories, of any task: begun and ended.
#[map]
pub static ROOT_MOVES: Array<u64> = Array::with_max_entries(2, 0);

/// What the present sweep reads. There is one sweep at a time.
#[map]
pub static SWEEP_VIEW: Array<TaskView> = Array::with_max_entries(1, 0);

/// `PF_EXITING`, `PF_KTHREAD` (include/linux/sched.h; the same since 4.18).
const NOT_WATCHED: u32 = 0x4 | 0x0020_0000;
/// How long a shadow that a sweep made of a running task may be wrong by the sweep's own race.
const SEED_NS: u64 = 2_000_000_000;

/// How long an announced change is waited for. A call that fails leaves its note behind, and must not keep the task from
/// being looked at.
const NOTE_NS: u64 = 100_000_000;

static EMPTY: TaskShadow = TaskShadow::EMPTY;

#[inline(always)]
fn ran(hook: TaskHook) {
    if let Some(slot) = TASK_RUNS.get_ptr_mut(hook as u32) {
        // SAFETY: a live slot; a run lost to a race on another CPU does no harm, zero or not is all that is asked.
        unsafe { *slot = (*slot).wrapping_add(1) };
    }
}

/// The task's place in task storage; null if there is none.
///
/// # Safety
/// `task` is typed.
#[inline(always)]
unsafe fn stored(task: *const u8, flags: u32) -> *mut TaskShadow {
    let map = (&raw const TASKS).cast_mut().cast();
    // SAFETY: by the caller's promise; without a value the helper makes one of zeroes.
    unsafe {
        bpf_task_storage_get(
            map,
            task.cast_mut().cast(),
            core::ptr::null_mut(),
            u64::from(flags),
        )
        .cast()
    }
}

/// The shadow of this task: typed where there is task storage.
#[inline(always)]
fn find(task: *const u8) -> Option<&'static mut TaskShadow> {
    let shadow = if on(&off::HAS_TASK_STORAGE) {
        // SAFETY: typed, see above.
        unsafe { stored(task, 0) }
    } else {
        TASKS.get_ptr_mut(&(task as u64))?
    };
    // SAFETY: null, or an entry that lives until its task exits; only that task's own hooks write to it (see the module's
    // head).
    unsafe { shadow.as_mut() }
}

/// The shadow of the current task.
#[inline(always)]
fn find_own() -> Option<&'static mut TaskShadow> {
    if on(&off::HAS_TASK_BTF) {
        // SAFETY: helper without arguments.
        find(unsafe { bpf_get_current_task_btf() }.cast())
    } else {
        find(current())
    }
}

/// The task's next open is looked at in full.
#[inline(always)]
fn forget_opens(task: *const u8) {
    if on(&off::HAS_OPEN_MARK) {
        // SAFETY: a place in the table.
        unsafe { core::ptr::write_volatile(place_of(task), 0) };
    }
}

#[inline(always)]
fn current() -> *const u8 {
    // SAFETY: helper without arguments; only the address is used.
    unsafe { bpf_get_current_task() as *const u8 }
}

#[inline(always)]
fn own_slot(shadow: &mut TaskShadow) -> Slot {
    Slot(&raw mut shadow.now.cred)
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

/// Moves of root directories that have ended, and whether one is going on.
#[inline(always)]
fn root_moves() -> (u64, bool) {
    // In this order: a move that ends in between then counts as going on.
    let ended = ROOT_MOVES.get(1).copied().unwrap_or(0);
    let begun = ROOT_MOVES.get(0).copied().unwrap_or(0);
    (ended, begun != ended)
}

/// Makes the shadow of a task as it is now.
// A function of its own: inlined, it would be in every hook.
#[inline(never)]
unsafe fn create<M: Mem>(task: *const u8, flags: u32, seeded_ns: u64, condemned: u32) {
    if on(&off::HAS_TASK_STORAGE) {
        // SAFETY (both): typed, for that is what there is task storage for.
        unsafe {
            if flags == BPF_NOEXIST && !stored(task, 0).is_null() {
                return;
            }
            if stored(task, BPF_LOCAL_STORAGE_GET_F_CREATE).is_null() {
                count(Counter::TaskUntracked);
                return;
            }
        }
    } else {
        match TASKS.insert(&(task as u64), &EMPTY, u64::from(flags)) {
            Ok(()) => {}
            // Somebody else was quicker (EEXIST).
            Err(error) if error == -17 => return,
            Err(_) => {
                count(Counter::TaskUntracked);
                return;
            }
        }
    }
    if let Some(shadow) = find(task) {
        shadow.root_epoch = root_moves().0;
        // SAFETY: the caller's promise is handed on.
        unsafe { fill::<M>(shadow, task) };
        shadow.seeded_ns = seeded_ns;
        shadow.condemned = condemned;
        // An override in force was not seen to begin.
        // SAFETY: as above.
        let subjective = unsafe { M::pointer(task, &off::OFF_TASK_CRED) };
        if own_slot(shadow).number(subjective) != shadow.known.cred {
            shadow.overrides = 1;
        }
        shadow.state |= task_state::FILLED;
    }
}

#[inline(never)]
unsafe fn fill<M: Mem>(shadow: &mut TaskShadow, task: *const u8) {
    forget_opens(task);
    // SAFETY: `task` is a task_struct; a task always has credentials.
    unsafe {
        read::view_cred::<M>(&mut shadow.known, M::pointer(task, &off::OFF_TASK_REAL_CRED));
        let or = &raw const shadow.known;
        read::view_rest::<M>(&mut shadow.known, &*or, task);
        read::read_inums::<M>(&mut shadow.ns_inum, task);
    }
    shadow.note_witness = 0;
    shadow.state &= !task_state::RECORDED;
    shadow.sweep_mark = 0;
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
    if on(&off::HAS_TASK_BTF) {
        // SAFETY: the helper returns the current task as a typed pointer, never null.
        unsafe { check_task::<Typed>(bpf_get_current_task_btf().cast(), hook) & 1 }
    } else {
        check_probed(hook as u32, is_top(hook) as u32)
    }
}

/// The same in a function of its own: its stack is free again for what else the program does. To the verifier the answer
/// is any number: it would walk what follows for each that it knows.
#[inline(never)]
pub fn check_apart(hook: TaskHook) -> i32 {
    // SAFETY: helper without arguments.
    let unknown = unsafe { bpf_ktime_get_ns() } as u32;
    forgotten(check(hook) as u32, unknown) as i32
}

/// The same when a file is opened: by the number that is remembered of this task, else in full.
#[inline(always)]
pub fn check_open() -> i32 {
    if !on(&off::HAS_OPEN_MARK) {
        return open_whole();
    }
    // SAFETY (all): the current task, typed and never null; a place in the table.
    unsafe {
        let task: *const u8 = bpf_get_current_task_btf().cast();
        let mark = opening::mark(task, opens());
        if core::ptr::read_volatile(place_of(task)) == mark {
            // An empty place has the mark of who acts with other credentials than his own.
            if mark != 0 {
                return 0;
            }
        }
        open_unknown(mark)
    }
}

/// Without a mark.
// A function of its own: its stack is not that of the short way.
#[inline(never)]
fn open_whole() -> i32 {
    check(TaskHook::FileOpen)
}

/// The long way of an open. The mark was read before the state that is compared now: what changes in between is either
/// found here, or not what is remembered.
#[inline(never)]
fn open_unknown(mark: u64) -> i32 {
    ran(TaskHook::FileOpen);
    // SAFETY (both): the current task, typed and never null; a place in the table.
    unsafe {
        let task: *const u8 = bpf_get_current_task_btf().cast();
        let answer = check_task::<Typed>(task, TaskHook::FileOpen);
        if answer == IN_ORDER {
            core::ptr::write_volatile(place_of(task), mark);
            return 0;
        }
        answer & 1
    }
}

/// Answer of a check that compared everything and found no difference: not to be denied.
const IN_ORDER: i32 = 2;

/// The same with probed reads, which need stack: all is read into the shadow's own place, then compared there.
#[inline(never)]
fn check_probed(hook: u32, top: u32) -> i32 {
    let task = current();
    // SAFETY (all): probed reads check every address.
    unsafe {
        if !watched::<Probed>(task) {
            return 0;
        }
        let Some(shadow) = find(task) else {
            create::<Probed>(task, BPF_NOEXIST, 0, 0);
            return 0;
        };
        if shadow.state & task_state::FILLED == 0 {
            return 0;
        }
        let real = Probed::pointer(task, &off::OFF_TASK_REAL_CRED);
        let overridden = Probed::pointer(task, &off::OFF_TASK_CRED) as u64 ^ real as u64;
        let known = &raw const shadow.known;
        read::view_cred::<Probed>(&mut shadow.now, real);
        read::view_rest::<Probed>(&mut shadow.now, &*known, task);
        let differs = overridden
            | u64::from(shadow.condemned | shadow.overrides)
            | read::words_differ(&shadow.known, &shadow.now, 0, TaskView::WORDS);
        if differs == 0 {
            return 0;
        }
        differs_at::<Probed>(task, shadow, hook | top << 8)
    }
}

/// No override of credentials can be in force there: what runs was called for by the task itself.
#[inline(always)]
const fn is_top(hook: TaskHook) -> bool {
    matches!(
        hook,
        TaskHook::ExecCheck
            | TaskHook::Fork
            | TaskHook::Bpf
            | TaskHook::Kill
            | TaskHook::SetNsEnter
            | TaskHook::UnshareEnter
    )
}

#[inline(always)]
unsafe fn check_task<M: Mem>(task: *const u8, hook: TaskHook) -> i32 {
    // SAFETY (all): `task` is the current task.
    unsafe {
        if !watched::<M>(task) {
            return 0;
        }
        let Some(shadow) = find(task) else {
            create::<M>(task, BPF_NOEXIST, 0, 0);
            return 0;
        };
        if shadow.state & task_state::FILLED == 0 {
            return 0;
        }
        let slot = own_slot(shadow);
        let real = M::pointer(task, &off::OFF_TASK_REAL_CRED);
        let address = slot.number(real);
        let overridden = slot.number(M::pointer(task, &off::OFF_TASK_CRED)) ^ address;
        let known = &shadow.known;
        let pid: u32 = M::read(task, &off::OFF_TASK_PID);
        let mut differs = (address ^ known.cred)
            | overridden
            | u64::from((pid ^ known.pid) | shadow.condemned | shadow.overrides)
            | read::seccomp_diff::<M>(slot, known, task);
        differs |= read::cred_diff::<M>(slot, known, real) | read::root_diff::<M>(slot, known, task);
        if shadow.state & task_state::NS_CALL == 0 {
            differs |= read::ns_diff::<M>(slot, known, task);
        }
        if is_top(hook) && has(&off::OFF_TASK_ADDRESS_LIMIT) {
            differs |= rule::nonzero(read::address_limit::<M>(task) ^ known.address_limit);
        }
        if differs == 0 {
            return IN_ORDER;
        }
        differs_at::<M>(task, shadow, hook as u32 | (is_top(hook) as u32) << 8)
    }
}

/// The long way. `at`: the hook, and from bit 8 whether no override can be in force.
#[inline(never)]
unsafe fn differs_at<M: Mem>(task: *const u8, shadow: &mut TaskShadow, at: u32) -> i32 {
    let hook = at & 0xff;
    // SAFETY (all): `task` is the current task, `shadow` its own.
    unsafe {
        forget_opens(task);
        if shadow.condemned != 0 {
            return carry_out(shadow.condemned);
        }
        let (epoch, moving) = root_moves();
        let real = M::pointer(task, &off::OFF_TASK_REAL_CRED);
        read::view_cred::<M>(&mut shadow.now, real);
        let known = &raw const shadow.known;
        read::view_rest::<M>(&mut shadow.now, &*known, task);
        if shadow.now.pid != shadow.known.pid {
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
        let excuse = root_excuse(shadow, epoch, moving);
        let what = judge::judge(shadow, &shadow.now, excuse, at >> 8 != 0);
        let mut answer = 0;
        if what != 0 {
            answer = judge::respond::<M>(shadow, task, what | hook << 8);
        }
        shadow.note_witness = 0;
        shadow.root_epoch = epoch;
        if shadow.state & task_state::NS_CALL == 0 {
            read::read_inums::<M>(&mut shadow.ns_inum, task);
        } else {
            let (known, now) = (&raw const shadow.known.ns, &raw mut shadow.now.ns);
            read::copy_words(known.cast(), now.cast(), hardpan_abi::NS_COUNT);
        }
        let adopted = shadow.now.cred;
        forget_opens(task);
        // Deep in a call the limit may be the kernel's for a while, or lifted by somebody: the next hook at which a call begins
        // tells which, if it is not taken for the task's own until then.
        if at >> 8 == 0 && shadow.now.address_limit == u64::MAX {
            shadow.now.address_limit = shadow.known.address_limit;
        }
        read::adopt(shadow);
        shadow.state &= !task_state::RECORDED;
        answer | overrides::<M>(task, shadow, adopted, at)
    }
}

/// `cred` unlike `real_cred`: lawful between `override_creds` and `revert_creds`, which overlayfs, nfsd, io_uring, core
/// dumps and faccessat call. Where those functions can't be watched, only hooks that no override reaches tell.
#[inline(always)]
unsafe fn overrides<M: Mem>(task: *const u8, shadow: &mut TaskShadow, real: u64, at: u32) -> i32 {
    // SAFETY (all): `task` is the current task.
    unsafe {
        let cred = M::pointer(task, &off::OFF_TASK_CRED);
        read::view_cred::<M>(&mut shadow.now, cred);
        if shadow.now.cred == real {
            // Whatever was in force is over, seen or not.
            shadow.overrides = 0;
            shadow.state &= !task_state::OVERRIDE_RECORDED;
            return 0;
        }
        let top = at >> 8 != 0;
        let lawful = if on(&off::HAS_OVERRIDE_HOOKS) {
            shadow.overrides != 0 && !top
        } else {
            !top
        };
        if lawful || shadow.state & task_state::OVERRIDE_RECORDED != 0 {
            return 0;
        }
        shadow.state |= task_state::OVERRIDE_RECORDED;
        judge::respond::<M>(
            shadow,
            task,
            hardpan_abi::TaskFindingKind::CredSwapped as u32 | (at & 0xff) << 8,
        )
    }
}

#[inline(always)]
fn root_excuse(shadow: &TaskShadow, epoch: u64, moving: bool) -> u64 {
    let calling = shadow.state & task_state::NS_CALL != 0;
    (moving || calling || epoch != shadow.root_epoch || !on(&off::HAS_ROOT_HOOKS)) as u64
}

/// `int commit_creds(struct cred *new)`: first what is in force, then what is to come.
///
/// # Safety
/// `new` is the function's argument (typed).
#[inline(always)]
pub unsafe fn commit(new: *const u8) {
    let _observed = check(TaskHook::Commit);
    with_current!(|task, M| {
        if watched::<M>(task) {
            commit_new::<M>(task, new);
        }
    });
}

// A function of its own: the stack of the check is free again by then.
#[inline(never)]
unsafe fn commit_new<M: Mem>(task: *const u8, new: *const u8) {
    let Some(shadow) = find(task) else { return };
    forget_opens(task);
    // SAFETY: the caller's promises.
    unsafe {
        if shadow.state & task_state::FILLED == 0 {
            // A sweep is at it; it may have read what is gone in a moment.
            fill::<M>(shadow, task);
            read::view_cred::<M>(&mut shadow.known, new);
            shadow.state |= task_state::FILLED;
            return;
        }
        let (known, now) = (&raw const shadow.known, &raw mut shadow.now);
        read::copy_words(known.cast(), now.cast(), TaskView::WORDS);
        read::view_cred::<M>(&mut shadow.now, new);
        let what = judge::commits(shadow);
        if what != 0 {
            judge::respond::<M>(shadow, task, what | (TaskHook::Commit as u32) << 8);
        }
        read::adopt(shadow);
    }
    shadow.note_witness = 0;
}

/// Leaves the one-shot note that `cred` (null: whatever comes next) is about to be committed.
#[inline(always)]
pub fn note(hook: TaskHook, cred: *const u8, witness: TaskWitness) {
    ran(hook);
    if let Some(shadow) = find_own() {
        shadow.note_cred = cred as u64;
        shadow.note_witness = witness as u32;
        // SAFETY: helper without arguments.
        shadow.note_ns = unsafe { bpf_ktime_get_ns() };
    }
}

/// An exec is about to commit `cred`. A program that the kernel starts has no shadow yet: it was a kernel thread until now.
#[inline(always)]
pub fn note_exec(cred: *const u8) {
    with_current!(|task, M| {
        if find(task).is_none() && watched::<M>(task) {
            create::<M>(task, BPF_NOEXIST, 0, 0);
        }
    });
    note(TaskHook::ExecCommit, cred, TaskWitness::Exec);
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

/// `override_creds` begins (`by` 1) or `revert_creds` (`by` -1).
#[inline(always)]
pub fn overriding(hook: TaskHook, by: u32) {
    ran(hook);
    if let Some(shadow) = find_own() {
        let now = shadow.overrides.wrapping_add(by);
        // A revert whose override was not seen.
        shadow.overrides = if now == u32::MAX { 0 } else { now };
    }
}

/// A call that moves root directories begins (`slot` 0) or ended (1).
#[inline(always)]
pub fn root_move(hook: TaskHook, slot: u32) {
    ran(hook);
    if let Some(moves) = ROOT_MOVES.get_ptr_mut(slot) {
        // SAFETY: a live slot.
        unsafe { maps::add(moves, 1) };
    }
}

/// `set_fs_root` returned: what it made of the caller's own root is known at once.
#[inline(always)]
pub fn root_moved(hook: TaskHook) {
    let ended = root_moves().0;
    with_current!(|task, M| {
        if let Some(shadow) = find(task) {
            let or = &raw const shadow.known;
            read::view_root::<M>(&mut shadow.known, &*or, task);
            // Another's move that ends meanwhile makes it more.
            shadow.root_epoch = ended.wrapping_add(1);
        }
    });
    root_move(hook, 1);
}

/// `setns` or `unshare` begins: namespaces may move until it returns.
#[inline(always)]
pub fn namespace_call(hook: TaskHook) {
    // What was there before must be in order, or the call would launder it.
    let _observed = check(hook);
    if let Some(shadow) = find_own() {
        shadow.state |= task_state::NS_CALL;
    }
}

/// … and returned.
#[inline(always)]
pub fn namespace_return(hook: TaskHook) {
    ran(hook);
    with_current!(|task, M| {
        if let Some(shadow) = find(task) {
            let or = &raw const shadow.known;
            read::view_ns::<M>(&mut shadow.known, &*or, task);
            // A new mount namespace comes with a root of its own.
            read::view_root::<M>(&mut shadow.known, &*or, task);
            read::read_inums::<M>(&mut shadow.ns_inum, task);
            shadow.state &= !task_state::NS_CALL;
        }
    });
}

/// A 32-bit `setns` or `unshare` begins.
#[inline(always)]
pub fn namespace_call_unchecked(hook: TaskHook) {
    ran(hook);
    if let Some(shadow) = find_own() {
        shadow.state |= task_state::NS_CALL;
    }
}

/// `seccomp` or `prctl` returned: what they added is known from here on, not only from the next hook.
#[inline(always)]
pub fn seccomp_return(hook: TaskHook) {
    let _observed = check(hook);
}

/// `sched_process_fork(parent, child)`: the parent must be in order, or the child would inherit the disorder as its
/// lawful state; then the child gets its shadow.
///
/// # Safety
/// `child` is the tracepoint's argument (typed).
#[inline(always)]
pub unsafe fn fork(child: *const u8) {
    let _observed = check(TaskHook::Fork);
    let condemned = find_own().map_or(0, |parent| parent.condemned);
    // SAFETY: by the caller's promise; the child does not run yet.
    unsafe {
        if watched::<Typed>(child) {
            create::<Typed>(child, BPF_ANY, 0, condemned);
        }
    }
}

/// `sched_process_exec(task, …)`: also makes the shadow of a kernel thread that became a program.
///
/// # Safety
/// `task` is the tracepoint's argument (typed), which is the current task.
#[inline(always)]
pub unsafe fn exec(task: *const u8) {
    if let Some(shadow) = find(task) {
        // A thread that was not the leader has the leader's id now.
        // SAFETY: by the caller's promise.
        shadow.known.pid = unsafe { Typed::read(task, &off::OFF_TASK_PID) };
    }
    let _observed = check(TaskHook::Exec);
    if let Some(shadow) = find(task)
        && shadow.state & task_state::NS_CALL == 0
    {
        // SAFETY: as above.
        unsafe {
            let or = &raw const shadow.known;
            read::view_ns::<Typed>(&mut shadow.known, &*or, task);
        }
    }
}

/// `sched_process_exit(task)`: the shadow goes.
#[inline(always)]
pub fn exit(task: *const u8) {
    ran(TaskHook::Exit);
    if on(&off::HAS_TASK_STORAGE) {
        // It goes with the task.
        return;
    }
    let _gone = TASKS.remove(&(task as u64));
}

/// One task of a sweep.
///
/// # Safety
/// `task` is the iterator's (typed, not null).
#[inline(always)]
pub unsafe fn sweep(task: *const u8) {
    ran(TaskHook::Sweep);
    // SAFETY (all): by the caller's promise; the view is this sweep's own.
    unsafe {
        if !watched::<Typed>(task) {
            return;
        }
        let Some(shadow) = find(task) else {
            create::<Typed>(task, BPF_NOEXIST, bpf_ktime_get_ns(), 0);
            return;
        };
        let now_ns = bpf_ktime_get_ns();
        let announced = shadow.note_witness != 0 && now_ns.wrapping_sub(shadow.note_ns) < NOTE_NS;
        if announced || shadow.state & task_state::FILLED == 0 || shadow.seeded_ns != 0 {
            // A seeded shadow has had its moment once the next sweep comes.
            if shadow.seeded_ns != 0 && now_ns.wrapping_sub(shadow.seeded_ns) > SEED_NS {
                shadow.seeded_ns = 0;
            }
            return;
        }
        let Some(now) = SWEEP_VIEW.get_ptr_mut(0) else {
            return;
        };
        let now = &mut *now;
        let (epoch, moving) = root_moves();
        read::view_cred::<Typed>(now, Typed::pointer(task, &off::OFF_TASK_REAL_CRED));
        read::view_rest::<Typed>(now, &shadow.known, task);
        if now.pid != shadow.known.pid {
            return;
        }
        let what = judge::idle(shadow, now, root_excuse(shadow, epoch, moving));
        if what == 0 {
            shadow.sweep_mark = 0;
            shadow.state &= !task_state::RECORDED;
            if !moving && now.root[0] == shadow.known.root[0] && now.root[1] == shadow.known.root[1] {
                shadow.root_epoch = epoch;
            }
            return;
        }
        let mark = judge::mark(now);
        if shadow.sweep_mark != mark {
            shadow.sweep_mark = mark;
            return;
        }
        if shadow.state & task_state::RECORDED == 0 {
            judge::respond_from_sweep(shadow, now, task, what | (TaskHook::Sweep as u32) << 8);
            forget_opens(task);
            shadow.state |= task_state::RECORDED;
        }
    }
}
