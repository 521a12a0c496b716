//! What each lawful way of changing credentials may change, and what not.
//!
//! Written without branches: an old verifier walks every combination of branches. Each rule answers with 0 for "within
//! the rule", anything else for "beyond".

use crate::off::{self, on};
use hardpan_abi::{CredIds, TaskWitness};

const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
/// `SECURE_KEEP_CAPS`: exec clears it.
const KEEP_CAPS: u32 = 1 << 4;

/// 1 if `value` is not 0, without a branch.
#[inline(always)]
pub fn nonzero(value: u64) -> u64 {
    negative(value | value.wrapping_neg())
}

/// The sign bit, without a branch.
#[inline(always)]
pub fn negative(folded: u64) -> u64 {
    // LLVM knows this idiom and would make a comparison, that is: a branch, of it. The statement is not empty: without
    // an instruction of its own it would get a second line-info entry for one instruction, which kernels refuse.
    #[cfg(target_arch = "bpf")]
    let folded = {
        let mut opaque = folded;
        // SAFETY: touches nothing but its register.
        unsafe { core::arch::asm!("{v} = {v}", v = inout(reg) opaque) };
        opaque
    };
    folded >> 63
}

#[inline(always)]
const fn differ(a: u32, b: u32) -> u64 {
    (a ^ b) as u64
}

/// 1 if `id` is none of the three.
#[inline(always)]
fn outside(id: u32, of: [u32; 3]) -> u64 {
    nonzero(differ(id, of[0])) & nonzero(differ(id, of[1])) & nonzero(differ(id, of[2]))
}

#[inline(always)]
fn lacks(ids: &CredIds, capability: u32) -> u64 {
    !(ids.cap_effective >> capability) & 1
}

#[inline(always)]
const fn uids(old: &CredIds, new: &CredIds) -> u64 {
    differ(old.uid, new.uid)
        | differ(old.euid, new.euid)
        | differ(old.suid, new.suid)
        | differ(old.fsuid, new.fsuid)
}

#[inline(always)]
const fn gids(old: &CredIds, new: &CredIds) -> u64 {
    differ(old.gid, new.gid)
        | differ(old.egid, new.egid)
        | differ(old.sgid, new.sgid)
        | differ(old.fsgid, new.fsgid)
}

/// Everything about capabilities except permitted, effective and ambient, which set*id calls move.
#[inline(always)]
const fn fixed_caps(old: &CredIds, new: &CredIds) -> u64 {
    (old.cap_inheritable ^ new.cap_inheritable)
        | (old.cap_bset ^ new.cap_bset)
        | differ(old.securebits, new.securebits)
}

#[inline(always)]
const fn all_caps(old: &CredIds, new: &CredIds) -> u64 {
    fixed_caps(old, new)
        | (old.cap_permitted ^ new.cap_permitted)
        | (old.cap_effective ^ new.cap_effective)
        | (old.cap_ambient ^ new.cap_ambient)
}

/// Capabilities beyond the old ones.
#[inline(always)]
const fn gained(old: &CredIds, new: &CredIds) -> u64 {
    (new.cap_permitted & !old.cap_permitted)
        | (new.cap_effective & !old.cap_permitted)
        | (new.cap_ambient & !old.cap_ambient)
}

/// User ids move within real, effective and saved, unless the task has `CAP_SETUID`; capabilities only shrink.
/// (`cap_task_fix_setuid` may raise the effective set up to the permitted one.)
#[inline(never)]
pub fn setuid(old: &CredIds, new: &CredIds, groups: u64) -> u64 {
    let from = [old.uid, old.euid, old.suid];
    let moved = outside(new.uid, from)
        | outside(new.euid, from)
        | outside(new.suid, from)
        | (outside(new.fsuid, from) & nonzero(differ(new.fsuid, old.fsuid)));
    (moved & lacks(old, CAP_SETUID)) | gids(old, new) | fixed_caps(old, new) | gained(old, new) | groups
}

/// The same for group ids; nothing else moves.
#[inline(never)]
pub fn setgid(old: &CredIds, new: &CredIds, groups: u64) -> u64 {
    (gids_moved(old, new) & lacks(old, CAP_SETGID)) | uids(old, new) | all_caps(old, new) | groups
}

/// 1 if group ids moved to one that was neither real, effective nor saved.
#[inline(always)]
fn gids_moved(old: &CredIds, new: &CredIds) -> u64 {
    let from = [old.gid, old.egid, old.sgid];
    outside(new.gid, from)
        | outside(new.egid, from)
        | outside(new.sgid, from)
        | (outside(new.fsgid, from) & nonzero(differ(new.fsgid, old.fsgid)))
}

/// Supplementary groups: only with `CAP_SETGID`, and nothing else moves.
#[inline(never)]
pub fn setgroups(old: &CredIds, new: &CredIds, groups: u64) -> u64 {
    (nonzero(groups) & lacks(old, CAP_SETGID)) | uids(old, new) | gids(old, new) | all_caps(old, new)
}

/// `cap_capset`: permitted only shrinks, effective stays within it, inheritable within what was inheritable, permitted
/// or bounding, ambient only shrinks.
#[inline(never)]
pub fn capset(old: &CredIds, new: &CredIds, groups: u64) -> u64 {
    uids(old, new)
        | gids(old, new)
        | groups
        | (old.cap_bset ^ new.cap_bset)
        | differ(old.securebits, new.securebits)
        | (new.cap_permitted & !old.cap_permitted)
        | (new.cap_effective & !new.cap_permitted)
        | (new.cap_inheritable & !(old.cap_inheritable | old.cap_permitted | old.cap_bset))
        | (new.cap_ambient & !old.cap_ambient)
}

/// `cap_task_prctl`: the bounding set only shrinks, ambient stays within permitted and inheritable, securebits change,
/// nothing else does.
#[inline(never)]
pub fn prctl(old: &CredIds, new: &CredIds, groups: u64) -> u64 {
    uids(old, new)
        | gids(old, new)
        | groups
        | (old.cap_inheritable ^ new.cap_inheritable)
        | (old.cap_permitted ^ new.cap_permitted)
        | (old.cap_effective ^ new.cap_effective)
        | (new.cap_bset & !old.cap_bset)
        | (new.cap_ambient & !(old.cap_permitted & old.cap_inheritable))
}

/// Exec: real ids, inheritable and bounding set stay; saved and file-system ids become the effective ones; permitted
/// comes from the bounding, inheritable and ambient sets. With `no_new_privs` the effective ids come from the old ones.
#[inline(never)]
pub fn exec(old: &CredIds, new: &CredIds, groups: u64, no_new_privs: u64) -> u64 {
    let new_ids = (nonzero(differ(new.euid, old.euid)) & nonzero(differ(new.euid, old.uid)))
        | (nonzero(differ(new.egid, old.egid)) & nonzero(differ(new.egid, old.gid)));
    differ(old.uid, new.uid)
        | differ(old.gid, new.gid)
        | differ(new.suid, new.euid)
        | differ(new.fsuid, new.euid)
        | differ(new.sgid, new.egid)
        | differ(new.fsgid, new.egid)
        | groups
        | (old.cap_inheritable ^ new.cap_inheritable)
        | (old.cap_bset ^ new.cap_bset)
        | differ(old.securebits & !KEEP_CAPS, new.securebits & !KEEP_CAPS)
        | (new.cap_permitted & !(old.cap_bset | old.cap_inheritable | old.cap_ambient))
        | (new.cap_effective & !new.cap_permitted)
        | (new.cap_ambient & !old.cap_ambient)
        | (new_ids & no_new_privs)
}

/// A user namespace below the old one: ids stay, capabilities start anew and count only below it.
#[inline(never)]
pub fn user_ns(old: &CredIds, new: &CredIds, groups: u64, below: u64) -> u64 {
    (1 ^ below) | uids(old, new) | gids(old, new) | groups
}

/// No witness: only a loss of capabilities, which nobody gains by. Where the kernel lacks a witness's hook its rule
/// stands alone.
#[inline(never)]
pub fn none(old: &CredIds, new: &CredIds, groups: u64) -> u64 {
    let group_ids = if on(&off::HAS_SETGID_HOOK) {
        gids(old, new)
    } else {
        gids_moved(old, new) & lacks(old, CAP_SETGID)
    };
    let securebits = if on(&off::HAS_PRCTL_HOOK) {
        differ(old.securebits, new.securebits)
    } else {
        0
    };
    uids(old, new)
        | group_ids
        | securebits
        | (nonzero(groups) & lacks(old, CAP_SETGID))
        | gained(old, new)
        | (new.cap_inheritable & !old.cap_inheritable)
        | (new.cap_bset & !old.cap_bset)
}

/// What a change is beyond the rule of its witness.
#[inline(always)]
pub fn excess(witness: u32, old: &CredIds, new: &CredIds, groups: u64, no_new_privs: u64) -> u64 {
    match TaskWitness::from_u32(witness) {
        Some(TaskWitness::SetUid) => setuid(old, new, groups),
        Some(TaskWitness::SetGid) => setgid(old, new, groups),
        Some(TaskWitness::SetGroups) => setgroups(old, new, groups),
        Some(TaskWitness::CapSet) => capset(old, new, groups),
        Some(TaskWitness::Prctl) => prctl(old, new, groups),
        Some(TaskWitness::Exec) => exec(old, new, groups, no_new_privs),
        _ => none(old, new, groups),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = (1 << 41) - 1;

    fn user(uid: u32) -> CredIds {
        CredIds {
            uid,
            gid: uid,
            suid: uid,
            sgid: uid,
            euid: uid,
            egid: uid,
            fsuid: uid,
            fsgid: uid,
            cap_bset: ALL,
            ..CredIds::EMPTY
        }
    }

    fn root() -> CredIds {
        CredIds {
            cap_permitted: ALL,
            cap_effective: ALL,
            ..user(0)
        }
    }

    #[track_caller]
    fn check(witness: TaskWitness, old: CredIds, change: impl FnOnce(&mut CredIds), within: bool) {
        let mut new = old;
        change(&mut new);
        let got = excess(witness as u32, &old, &new, 0, 0);
        assert_eq!(got == 0, within, "{witness:?}: {got:#x}");
    }

    #[test]
    fn setuid_moves_within_its_ids() {
        let set_user_id = CredIds {
            euid: 0,
            suid: 0,
            fsuid: 0,
            ..user(1000)
        };
        check(TaskWitness::SetUid, set_user_id, |n| n.uid = 0, true);
        check(
            TaskWitness::SetUid,
            set_user_id,
            |n| (n.euid, n.fsuid) = (1000, 1000),
            true,
        );
        check(TaskWitness::SetUid, user(1000), |n| n.euid = 0, false);
        check(TaskWitness::SetUid, user(1000), |n| n.fsuid = 0, false);
        check(TaskWitness::SetUid, user(1000), |n| n.cap_effective = 1, false);
        check(TaskWitness::SetUid, user(1000), |n| n.gid = 0, false);
        check(
            TaskWitness::SetUid,
            root(),
            |n| {
                *n = CredIds {
                    gid: 0,
                    egid: 0,
                    sgid: 0,
                    fsgid: 0,
                    ..user(77)
                }
            },
            true,
        );
        let effective = CredIds {
            cap_permitted: ALL,
            cap_effective: 0,
            ..user(0)
        };
        check(TaskWitness::SetUid, effective, |n| n.cap_effective = ALL, true);
    }

    #[test]
    fn setgid_moves_within_its_ids() {
        check(TaskWitness::SetGid, user(1000), |n| n.egid = 0, false);
        check(TaskWitness::SetGid, user(1000), |n| n.uid = 0, false);
        check(TaskWitness::SetGid, root(), |n| (n.gid, n.egid) = (5, 5), true);
        check(
            TaskWitness::SetGid,
            CredIds {
                egid: 5,
                ..user(1000)
            },
            |n| n.fsgid = 5,
            true,
        );
    }

    #[test]
    fn capset_and_prctl_raise_nothing() {
        check(
            TaskWitness::CapSet,
            root(),
            |n| (n.cap_permitted, n.cap_effective) = (1, 1),
            true,
        );
        check(TaskWitness::CapSet, root(), |n| n.cap_inheritable = 1 << 10, true);
        check(TaskWitness::CapSet, user(1000), |n| n.cap_permitted = 1, false);
        check(TaskWitness::CapSet, root(), |n| n.euid = 7, false);
        check(TaskWitness::Prctl, root(), |n| n.cap_bset = 0, true);
        check(TaskWitness::Prctl, root(), |n| n.securebits = 0x2f, true);
        check(
            TaskWitness::Prctl,
            CredIds {
                cap_bset: 0,
                ..root()
            },
            |n| n.cap_bset = 1,
            false,
        );
        check(TaskWitness::Prctl, user(1000), |n| n.cap_ambient = 1, false);
        check(
            TaskWitness::Prctl,
            CredIds {
                cap_inheritable: 2,
                ..root()
            },
            |n| n.cap_ambient = 2,
            true,
        );
        check(TaskWitness::Prctl, user(1000), |n| n.cap_effective = 1, false);
    }

    #[test]
    fn exec_follows_the_file() {
        check(
            TaskWitness::Exec,
            user(1000),
            |n| {
                (n.euid, n.suid, n.fsuid) = (0, 0, 0);
                (n.cap_permitted, n.cap_effective) = (ALL, ALL);
            },
            true,
        );
        check(TaskWitness::Exec, user(1000), |n| n.uid = 0, false);
        check(
            TaskWitness::Exec,
            user(1000),
            |n| (n.euid, n.suid, n.fsuid) = (0, 0, 1000),
            false,
        );
        check(
            TaskWitness::Exec,
            CredIds {
                cap_bset: 0,
                ..user(1000)
            },
            |n| n.cap_permitted = 1,
            false,
        );
        let mut new = user(1000);
        (new.euid, new.suid, new.fsuid) = (0, 0, 0);
        assert_eq!(excess(TaskWitness::Exec as u32, &user(1000), &new, 0, 0), 0);
        assert_ne!(excess(TaskWitness::Exec as u32, &user(1000), &new, 0, 1), 0);
    }

    #[test]
    fn without_a_witness_only_losses() {
        check(TaskWitness::None, root(), |n| n.cap_bset = 0, true);
        check(TaskWitness::None, root(), |n| n.uid = 1000, false);
        check(TaskWitness::None, user(1000), |n| *n = root(), false);
        check(TaskWitness::None, user(1000), |n| n.cap_effective = 1, false);
        // This kernel (the test's globals) has no hook for setgid: its rule stands alone.
        check(TaskWitness::None, user(1000), |n| n.gid = 0, false);
        check(TaskWitness::None, root(), |n| n.gid = 5, true);
    }

    #[test]
    fn groups_and_namespaces() {
        assert_eq!(excess(TaskWitness::SetGroups as u32, &root(), &root(), 1, 0), 0);
        assert_ne!(excess(TaskWitness::SetGroups as u32, &user(1), &user(1), 1, 0), 0);
        assert_ne!(excess(TaskWitness::SetUid as u32, &root(), &root(), 1, 0), 0);
        let inside = CredIds {
            cap_permitted: ALL,
            cap_effective: ALL,
            user_ns: 9,
            ..user(1000)
        };
        assert_eq!(user_ns(&user(1000), &inside, 0, 1), 0);
        assert_ne!(user_ns(&user(1000), &inside, 0, 0), 0);
        assert_ne!(user_ns(&user(1000), &CredIds { uid: 0, ..inside }, 0, 1), 0);
    }
}
