//! What is wrong with a task that is not as its shadow has it, and what is done about it.
//!
//! `commit_creds` is lawful only with a witness: an LSM hook or call that ran just before left a one-shot note, bound to
//! the new `struct cred` where the hook passes it, and its rule (see [`crate::rule`]) holds. The same judgement is made
//! wherever credentials turn up that the shadow does not know, so a commit that a program was not run for does no harm.

use crate::{
    maps::{FINDINGS, count},
    mem::{Mem, Typed},
    off::{self, on},
    rule,
    shadow::TASK_POLICY,
    shadow_read as read, task,
};
use aya_ebpf::helpers::generated::bpf_send_signal;
use hardpan_abi::{
    Counter, CredIds, EventKind, TaskFindingEvent, TaskFindingKind, TaskHook, TaskResponse, TaskShadow,
    TaskView, TaskWitness, task_state,
};

pub const SIGKILL: u32 = 9;

/// Content of credentials that differs, or-ed.
#[inline(always)]
fn cred_differs(known: &TaskView, now: &TaskView) -> u64 {
    // SAFETY: a view has more words than its credentials.
    unsafe { read::words_differ(known, now, 0, TaskView::CRED_WORDS) }
}

/// What is wrong at one of the task's own hooks: kind and (from bit 16) witness, or 0. The gravest of what differs; the
/// record names every field.
#[inline(always)]
pub fn judge(shadow: &TaskShadow, now: &TaskView, root_excused: u64, top: bool) -> u32 {
    let known = &shadow.known;
    let mut what = 0;
    if cred_differs(known, now) != 0 {
        what = if now.cred == known.cred {
            TaskFindingKind::CredEdited as u32
        } else {
            other_content(shadow, now, TaskFindingKind::CredSwapped)
        };
    } else if now.cred != known.cred {
        // The same content elsewhere: keyrings and LSMs do that.
        count(Counter::TaskAdopted);
    }
    what = rest(shadow, now, root_excused, what);
    // Kernels that have it set it to their own for a while, deep in calls of their own; not where the task's call begins.
    if what == 0 && top && now.address_limit == u64::MAX && known.address_limit != u64::MAX {
        what = TaskFindingKind::AddressLimit as u32;
    }
    what
}

/// What is wrong with credentials about to be committed.
#[inline(always)]
pub fn commits(shadow: &TaskShadow) -> u32 {
    if cred_differs(&shadow.known, &shadow.now) == 0 {
        return 0;
    }
    other_content(shadow, &shadow.now, TaskFindingKind::CredNoWitness)
}

/// What is wrong with a task that a sweep looks at, which may be anywhere in a system call.
#[inline(always)]
pub fn idle(shadow: &TaskShadow, now: &TaskView, root_excused: u64) -> u32 {
    let known = &shadow.known;
    let mut what = 0;
    if cred_differs(known, now) != 0 {
        what = if now.cred == known.cred {
            TaskFindingKind::CredEdited as u32
        } else {
            TaskFindingKind::CredSwapped as u32
        };
    }
    rest(shadow, now, root_excused, what)
}

#[inline(always)]
fn rest(shadow: &TaskShadow, now: &TaskView, root_excused: u64, mut what: u32) -> u32 {
    let known = &shadow.known;
    if what == 0 && shadow.state & task_state::NS_CALL == 0 && read::ns_moved(known, now) != 0 {
        what = TaskFindingKind::NsRepointed as u32;
    }
    if what == 0 && read::seccomp_weaker(known, now) != 0 {
        what = TaskFindingKind::SeccompWeakened as u32;
    }
    let root = (known.root[0] ^ now.root[0]) | (known.root[1] ^ now.root[1]);
    if what == 0 && root_excused == 0 && root != 0 {
        what = TaskFindingKind::RootMoved as u32;
    }
    what
}

/// Credentials of another content: within the rule of the way that announced them?
#[inline(never)]
fn other_content(shadow: &TaskShadow, now: &TaskView, unannounced: TaskFindingKind) -> u32 {
    let known = &shadow.known;
    let groups = now.groups ^ known.groups;
    let mut witness = TaskWitness::None as u32;
    let mut beyond;
    if now.user_ns != known.user_ns {
        witness = TaskWitness::UserNs as u32;
        let below = read::user_ns_below(now.user_ns, known.user_ns);
        beyond = rule::user_ns(&known.ids, &now.ids, groups, below);
    } else {
        if shadow.note_cred == now.cred || shadow.note_cred == 0 {
            witness = shadow.note_witness;
        }
        beyond = rule::excess(
            witness,
            &known.ids,
            &now.ids,
            groups,
            u64::from(known.no_new_privs),
        );
        // A note without credentials may be left from a call that committed none (libcap asks prctl for ambient capabilities),
        // and where the kernel has no hook for setgroups or setgid nothing overwrites it.
        if beyond != 0 && shadow.note_cred == 0 && rule::none(&known.ids, &now.ids, groups) == 0 {
            beyond = 0;
        }
    }
    let beyond = beyond | context(witness, known.selinux_sid, now.selinux_sid);
    if beyond == 0 {
        return 0;
    }
    let kind = if witness == TaskWitness::None as u32 {
        unannounced
    } else {
        TaskFindingKind::CredRule
    };
    kind as u32 | witness << 16
}

/// 1 if a security context changes by a way that does not change it. Where the kernel has no hook for the call that does,
/// nothing can tell.
#[inline(always)]
fn context(witness: u32, known: u64, now: u64) -> u64 {
    let lawful = witness == TaskWitness::Exec as u32
        || witness == TaskWitness::SetContext as u32
        || !on(&off::HAS_CONTEXT_HOOK);
    rule::nonzero(known ^ now) & u64::from(!lawful)
}

/// A number that two readings share if they show the same.
#[inline(always)]
pub fn mark(now: &TaskView) -> u64 {
    let words: *const u64 = (&raw const *now).cast();
    let mut mark = 0u64;
    let mut at = 0;
    while at < TaskView::WORDS {
        // SAFETY: a view has so many words.
        mark = mark.rotate_left(5) ^ unsafe { core::ptr::read_volatile(words.add(at)) };
        at += 1;
    }
    mark | 1
}

/// The policy's response to a kind of finding.
#[inline(always)]
pub fn policy(what: u32) -> u32 {
    match TASK_POLICY.get(what & 0xff) {
        Some(response) => *response,
        None => TaskResponse::Record as u32,
    }
}

/// Does to the current task what a response says. 1: deny.
#[inline(always)]
pub fn carry_out(response: u32) -> i32 {
    if response == TaskResponse::Kill as u32 {
        // SAFETY: helper without pointers.
        unsafe { bpf_send_signal(SIGKILL) };
    }
    1
}

/// What the policy says about getting hold of another process. 1 to deny; whoever tried is not condemned for it.
#[inline(always)]
pub fn answer_access(kind: u32) -> i32 {
    let response = policy(kind);
    if response == TaskResponse::Record as u32 {
        0
    } else {
        carry_out(response)
    }
}

/// Writes the finding about `shadow.now` (unless a sweep has) and carries out the policy's response. 1 to deny. `what` is
/// the kind, the hook (from bit 8) and the witness (from bit 16): a function of a program takes at most five arguments.
///
/// # Safety
/// `task` is the current task (typed for [`Typed`]), `shadow` its own.
#[inline(never)]
pub unsafe fn respond<M: Mem>(shadow: &mut TaskShadow, task: *const u8, what: u32) -> i32 {
    let response = policy(what);
    // SAFETY: the caller's promises are handed on.
    let leader = unsafe {
        if shadow.state & task_state::RECORDED == 0 {
            emit::<M, false>(shadow, &shadow.now, task, what, response);
        }
        M::read::<u32>(task, &off::OFF_TASK_TGID)
    };
    if response == TaskResponse::Record as u32 {
        return 0;
    }
    // Process 1 is never signalled, nor denied more than this: the machine would stop.
    if leader == 1 {
        return 1;
    }
    shadow.condemned = response;
    carry_out(response)
}

/// The same for a sweep: the response waits for the task's next hook.
///
/// # Safety
/// `task` is the iterator's (typed).
#[inline(always)]
pub unsafe fn respond_from_sweep(shadow: &mut TaskShadow, now: &TaskView, task: *const u8, what: u32) {
    let response = policy(what);
    // SAFETY: the caller's promises are handed on.
    let leader = unsafe {
        emit::<Typed, true>(shadow, now, task, what, response);
        Typed::read::<u32>(task, &off::OFF_TASK_TGID)
    };
    if response != TaskResponse::Record as u32 && leader != 1 {
        shadow.condemned = response;
    }
}

#[inline(always)]
unsafe fn emit<M: Mem, const SWEEP: bool>(
    shadow: &TaskShadow,
    now: &TaskView,
    task: *const u8,
    what: u32,
    response: u32,
) {
    count(Counter::TaskGenerated);
    let Some(mut entry) = FINDINGS.reserve::<TaskFindingEvent>(0) else {
        count(Counter::TaskLost);
        return;
    };
    // SAFETY: the reservation is a `TaskFindingEvent`; nothing below sleeps; pointers by the caller's promise.
    unsafe {
        let record = &mut *entry.as_mut_ptr();
        copy_ids(&shadow.known.ids, &mut record.old);
        copy_ids(&now.ids, &mut record.new);
        let mut at = 0;
        while at < hardpan_abi::NS_COUNT {
            // SAFETY: the length of both. Volatile keeps LLVM from calling memcpy.
            core::ptr::write_volatile(
                (&raw mut record.old_rest.ns).cast::<u32>().add(at),
                core::ptr::read_volatile((&raw const shadow.ns_inum).cast::<u32>().add(at)),
            );
            core::ptr::write_volatile((&raw mut record.new_rest.ns).cast::<u32>().add(at), 0);
            at += 1;
        }
        read::read_inums::<M>(&mut record.new_rest.ns, task);
        read::rest_of(&mut record.old_rest, &shadow.known);
        read::rest_of(&mut record.new_rest, now);
        record.new_rest.groups_differ =
            rule::nonzero((now.groups ^ shadow.known.groups) | (now.groups_mark ^ shadow.known.groups_mark))
                as u32;
        record.new_rest.root_differs =
            rule::nonzero((now.root[0] ^ shadow.known.root[0]) | (now.root[1] ^ shadow.known.root[1])) as u32;
        record.kind = what & 0xff;
        record.hook = what >> 8 & 0xff;
        record.witness = what >> 16;
        record.response = response;
        task::fill_header(
            &raw mut record.header,
            EventKind::TaskFinding,
            size_of::<TaskFindingEvent>() as u32,
        );
        if SWEEP {
            record.task.cgroup_id = 0;
            task::fill_task::<M>(&mut record.task, task);
        } else {
            let (from, to) = (&raw const record.header.task, &raw mut record.task);
            read::copy_words(from.cast(), to.cast(), size_of::<hardpan_abi::TaskInfo>() / 8);
        }
    }
    entry.submit(0);
}

#[inline(always)]
fn copy_ids(from: &CredIds, to: &mut CredIds) {
    // SAFETY: both are a `CredIds`.
    unsafe {
        read::copy_words(
            (&raw const *from).cast(),
            (&raw mut *to).cast(),
            size_of::<CredIds>() / 8,
        )
    };
}

const _: () = assert!(size_of::<hardpan_abi::TaskInfo>() % 8 == 0 && TaskHook::SLOTS <= 256);
