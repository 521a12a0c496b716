//! What a finding about a task says: the fields that differ, and the words for it.

use crate::event::TaskFinding;
use hardpan_abi::{CredIds, NS_NAMES, TaskFindingKind, TaskWitness};

/// One field that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name, stable.
    pub field: &'static str,
    /// What the shadow has.
    pub before: String,
    /// What was found.
    pub after: String,
}

/// The words for a kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskFindingText {
    /// Stable word, the record's action.
    pub code: &'static str,
    /// What happened, to follow the task's name.
    pub what: &'static str,
    /// 1 informational to 5 critical.
    pub severity: u8,
}

/// The words for a kind of finding.
pub const fn task_text(kind: TaskFindingKind) -> TaskFindingText {
    let (code, what, severity) = match kind {
        TaskFindingKind::CredNoWitness => (
            "cred-no-witness",
            "committed credentials that no lawful call announced",
            5,
        ),
        TaskFindingKind::CredRule => (
            "cred-rule",
            "committed credentials beyond what the announcing call allows",
            5,
        ),
        TaskFindingKind::CredEdited => ("cred-edited", "has credentials that were overwritten in place", 5),
        TaskFindingKind::CredSwapped => (
            "cred-swapped",
            "has credentials that were exchanged without a commit",
            5,
        ),
        TaskFindingKind::NsRepointed => (
            "ns-repointed",
            "is in namespaces that it never entered by a lawful call",
            5,
        ),
        TaskFindingKind::SeccompWeakened => (
            "seccomp-weakened",
            "lost its system-call filter or no_new_privs",
            5,
        ),
        TaskFindingKind::RootMoved => (
            "root-moved",
            "has a root directory that it never entered by a lawful call",
            5,
        ),
        TaskFindingKind::Accessed => ("process-accessed", "was accessed by a process not above it", 4),
        TaskFindingKind::AddressLimit => (
            "address-limit",
            "reads and writes the kernel's memory by ordinary system calls",
            5,
        ),
    };
    TaskFindingText { code, what, severity }
}

/// Every field that differs, in a fixed order.
pub fn differences(finding: &TaskFinding) -> Vec<Difference> {
    let (old, new) = (&finding.old, &finding.new);
    let mut found = Vec::new();
    let mut ids = |field, get: fn(&CredIds) -> u32| {
        push(
            &mut found,
            field,
            u64::from(get(old)),
            u64::from(get(new)),
            |id| id.to_string(),
        );
    };
    ids("uid", |c| c.uid);
    ids("euid", |c| c.euid);
    ids("suid", |c| c.suid);
    ids("fsuid", |c| c.fsuid);
    ids("gid", |c| c.gid);
    ids("egid", |c| c.egid);
    ids("sgid", |c| c.sgid);
    ids("fsgid", |c| c.fsgid);
    ids("securebits", |c| c.securebits);
    ids("user_ns", |c| c.user_ns);
    let mut sets = |field, get: fn(&CredIds) -> u64| {
        push(&mut found, field, get(old), get(new), |set| format!("{set:016x}"));
    };
    sets("cap_inheritable", |c| c.cap_inheritable);
    sets("cap_permitted", |c| c.cap_permitted);
    sets("cap_effective", |c| c.cap_effective);
    sets("cap_bounding", |c| c.cap_bset);
    sets("cap_ambient", |c| c.cap_ambient);
    let (old, new) = (&finding.old_rest, &finding.new_rest);
    for ((field, before), after) in NS_NAMES.into_iter().zip(old.ns).zip(new.ns) {
        push(&mut found, field, u64::from(before), u64::from(after), |ns| {
            ns.to_string()
        });
    }
    let mut rest = |field, before: u32, after: u32| {
        push(&mut found, field, u64::from(before), u64::from(after), |value| {
            value.to_string()
        });
    };
    rest("seccomp_mode", old.seccomp_mode, new.seccomp_mode);
    rest("seccomp_flag", old.seccomp_flag, new.seccomp_flag);
    rest("seccomp_filter", old.seccomp_filter, new.seccomp_filter);
    rest("no_new_privs", old.no_new_privs, new.no_new_privs);
    rest("selinux_sid", old.selinux_sid, new.selinux_sid);
    rest(
        "address_limit_kernel",
        old.address_limit_kernel,
        new.address_limit_kernel,
    );
    if new.groups_differ != 0 {
        found.push(Difference {
            field: "groups",
            before: "known".to_owned(),
            after: "other".to_owned(),
        });
    }
    if new.root_differs != 0 {
        found.push(Difference {
            field: "root",
            before: "known".to_owned(),
            after: "other".to_owned(),
        });
    }
    found
}

fn push(
    found: &mut Vec<Difference>,
    field: &'static str,
    before: u64,
    after: u64,
    show: impl Fn(u64) -> String,
) {
    if before != after {
        found.push(Difference {
            field,
            before: show(before),
            after: show(after),
        });
    }
}

/// The way that announced a change, as records name it.
pub(crate) const fn witness_word(witness: TaskWitness) -> &'static str {
    match witness {
        TaskWitness::None => "none",
        TaskWitness::SetUid => "setuid",
        TaskWitness::CapSet => "capset",
        TaskWitness::Exec => "exec",
        TaskWitness::SetGid => "setgid",
        TaskWitness::SetGroups => "setgroups",
        TaskWitness::Prctl => "prctl",
        TaskWitness::UserNs => "user-namespace",
        TaskWitness::Fork => "fork",
        TaskWitness::SetContext => "setcontext",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, decode, sample};
    use zerocopy::IntoBytes;

    fn fields(change: impl FnOnce(&mut hardpan_abi::TaskFindingEvent)) -> Vec<String> {
        let mut wire = sample::task_wire();
        change(&mut wire);
        let Ok(Event::Task(finding)) = decode(wire.as_bytes()) else {
            panic!("no finding")
        };
        differences(&finding)
            .into_iter()
            .map(|one| format!("{}: {} > {}", one.field, one.before, one.after))
            .collect()
    }

    #[test]
    fn every_field_that_differs_is_named_with_both_values() {
        assert_eq!(
            fields(|w| {
                w.new = w.old;
                w.new.cap_effective = 0x200;
            }),
            [
                "cap_effective: 0000000000000000 > 0000000000000200",
                "mnt: 3 > 33",
                "seccomp_mode: 2 > 0",
                "groups: known > other"
            ]
        );
        assert_eq!(
            fields(|w| {
                w.new = w.old;
                w.new.euid = 7;
                w.new_rest = w.old_rest;
            }),
            ["euid: 1000 > 7"]
        );
        assert_eq!(
            fields(|w| {
                w.new = w.old;
                w.new_rest = w.old_rest;
                (w.old_rest.selinux_sid, w.new_rest.selinux_sid) = (1, 2);
                w.new_rest.address_limit_kernel = 1;
            }),
            ["selinux_sid: 1 > 2", "address_limit_kernel: 0 > 1"]
        );
        assert!(
            fields(|w| {
                w.new = w.old;
                w.new_rest = w.old_rest;
            })
            .is_empty()
        );
    }

    #[test]
    fn codes_are_words_and_differ() {
        let codes: Vec<_> = TaskFindingKind::ALL.map(|kind| task_text(kind).code).to_vec();
        for (at, code) in codes.iter().enumerate() {
            assert!(code.chars().all(|c| c == '-' || c.is_ascii_lowercase()));
            assert!(!codes[at + 1..].contains(code));
        }
    }
}
