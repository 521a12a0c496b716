//! The policy's rules, compared as the kernel side compares them: the first that fits decides.

use hardpan_abi::{FileInfo, GateRule, gate_test, trusted_mark};

const SETID: u32 = 0o6000;

/// What rules ask of the task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubjectFacts {
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Audit login uid; `u32::MAX`: none.
    pub loginuid: u32,
    /// Effective capabilities, as a mask.
    pub capabilities: u64,
    /// Id of its cgroup; 0: not known.
    pub cgroup: u64,
    /// In a container.
    pub container: bool,
}

/// The index of the first rule that fits.
pub(super) fn first_rule(
    rules: &[GateRule],
    (kind, class, marks): (u32, u32, u32),
    file: &FileInfo,
    subject: &SubjectFacts,
) -> Option<u32> {
    let at = rules
        .iter()
        .position(|rule| fits(rule, (kind, class, marks), file, subject))?;
    u32::try_from(at).ok()
}

fn fits(
    rule: &GateRule,
    (kind, class, marks): (u32, u32, u32),
    file: &FileInfo,
    subject: &SubjectFacts,
) -> bool {
    if !has_bit(rule.kinds, kind) || !has_bit(rule.classes, class) {
        return false;
    }
    let [uid, gid, loginuid, owner] = rule.ids;
    let within = |value: u32, [low, high]: [u32; 2]| low <= value && value <= high;
    let tests = [
        (gate_test::UID, within(subject.euid, uid)),
        (gate_test::GID, within(subject.egid, gid)),
        (gate_test::LOGINUID, within(subject.loginuid, loginuid)),
        (gate_test::OWNER, within(file.uid, owner)),
        (gate_test::INODE, is_within(file.ino, rule.inode)),
        (gate_test::DEVICE, file.dev == rule.device),
        (gate_test::FILESYSTEM, file.fs_magic == rule.filesystem),
        (gate_test::SETID, file.mode & SETID != 0),
        (gate_test::CONTAINER, subject.container),
        (
            gate_test::CAPABILITIES,
            subject.capabilities & rule.capabilities != 0,
        ),
        (gate_test::CGROUP, subject.cgroup == rule.cgroup),
        (gate_test::MARK, marks_word(marks) & marks_word(rule.marks) != 0),
        // Nobody here can tell what the task runs, and it is no BPF program: number 0, as in the kernel.
        (gate_test::SUBJECT, has_bit(rule.subjects, 0)),
        (gate_test::PROGRAM_TYPE, rule.program_types & 1 != 0),
    ];
    tests
        .into_iter()
        .filter(|(test, _)| rule.tests & test != 0)
        .all(|(test, holds)| holds != (rule.negated & test != 0))
}

/// The marks in 16 bits: those of rules.
const fn marks_word(marks: u32) -> u32 {
    marks >> trusted_mark::RULES_FROM & 0xffff
}

fn has_bit(mask: u32, bit: u32) -> bool {
    mask.checked_shr(bit).is_some_and(|rest| rest & 1 != 0)
}

/// Inode numbers from 2^63 on are within no range, as in the kernel.
const fn is_within(value: u64, [low, high]: [u64; 2]) -> bool {
    (value.wrapping_sub(low) | high.wrapping_sub(value)) >> 63 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How the kernel side compares (`gate/rules.rs` there): without branches, a bit for each condition that fails.
    fn kernel_miss(
        rule: &GateRule,
        (kind, class, marks): (u32, u32, u32),
        file: &FileInfo,
        s: &SubjectFacts,
    ) -> u64 {
        let nonzero = |value: u64| u64::from(value != 0);
        let outside =
            |value: u64, low: u64, high: u64| (value.wrapping_sub(low) | high.wrapping_sub(value)) >> 63;
        let mut flags = 0;
        if file.mode & 0o6000 != 0 {
            flags |= gate_test::SETID;
        }
        if s.container {
            flags |= gate_test::CONTAINER;
        }
        let marks = marks >> trusted_mark::RULES_FROM & 0xffff;
        let mut fails = 0u64;
        for (id, value) in [s.euid, s.egid, s.loginuid, file.uid].into_iter().enumerate() {
            let [low, high] = rule.ids[id];
            fails |= outside(u64::from(value), u64::from(low), u64::from(high)) << id;
        }
        let [low, high] = rule.inode;
        fails |= outside(file.ino, low, high) << 4;
        fails |= nonzero(u64::from(file.dev ^ rule.device)) << 5;
        fails |= nonzero(file.fs_magic ^ rule.filesystem) << 6;
        fails |= u64::from(!flags & gate_test::SETID);
        fails |= u64::from(!flags & gate_test::CONTAINER);
        fails |= (1 ^ nonzero(s.capabilities & rule.capabilities)) << 9;
        fails |= nonzero(s.cgroup ^ rule.cgroup) << 10;
        fails |= (1 ^ nonzero(u64::from(marks) & u64::from(rule.marks >> trusted_mark::RULES_FROM))) << 11;
        fails |= (!u64::from(rule.subjects) & 1) << 12;
        fails |= (!rule.program_types & 1) << 13;
        let wrong = (fails ^ u64::from(rule.negated)) & u64::from(rule.tests);
        wrong | (!u64::from(rule.kinds) >> kind & 1) | (!u64::from(rule.classes) >> class & 1)
    }

    fn small() -> impl Strategy<Value = u32> {
        prop_oneof![0..4u32, Just(u32::MAX), Just(u32::MAX - 1)]
    }

    fn wide() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..4u64,
            Just(u64::MAX),
            Just(i64::MAX.cast_unsigned()),
            Just(1 << 63)
        ]
    }

    prop_compose! {
        fn any_rule()(
            tests in 0u32..1 << 14,
            negated in 0u32..1 << 14,
            ids in prop::array::uniform4((small(), small())),
            inode in (wide(), wide()),
            masks in prop::array::uniform4(any::<u32>()),
            numbers in (0..3u32, 0..3u64, 0..3u64, 0..8u64, 0..4u64),
        ) -> GateRule {
            GateRule {
                kinds: masks[0],
                classes: masks[1],
                tests,
                negated,
                ids: ids.map(|(low, high)| [low, high]),
                inode: [inode.0, inode.1],
                marks: masks[2],
                subjects: masks[3],
                device: numbers.0,
                filesystem: numbers.1,
                cgroup: numbers.2,
                capabilities: numbers.3,
                program_types: numbers.4,
                ..GateRule::default()
            }
        }
    }

    proptest! {
        #[test]
        fn rules_fit_as_in_the_kernel(
            rule in any_rule(),
            what in (0..8u32, 0..16u32, any::<u32>()),
            ids in prop::array::uniform4(small()),
            ino in wide(),
            file in (0..3u32, 0..3u64, prop_oneof![Just(0o755u32), Just(0o4755), Just(0o2755)]),
            task in (0..8u64, 0..3u64, any::<bool>()),
        ) {
            let info = FileInfo { ino, dev: file.0, fs_magic: file.1, mode: file.2, uid: ids[3], ..FileInfo::EMPTY };
            let subject = SubjectFacts {
                euid: ids[0], egid: ids[1], loginuid: ids[2], capabilities: task.0, cgroup: task.1, container: task.2,
            };
            prop_assert_eq!(fits(&rule, what, &info, &subject), kernel_miss(&rule, what, &info, &subject) == 0);
        }
    }
}
