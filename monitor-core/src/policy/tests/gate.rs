//! What the kernel side gets of a policy, and that it decides as the rules do.

use super::{load, local, selector};
use crate::platform::Tier;
use crate::policy::effective::Effective;
use crate::policy::gate::{GateTable, class_word, gate_action};
use crate::policy::rule::{Fact, Facts, Kind, Side, decide};
use hardpan_abi::{
    GATE_RULES_MAX, GateAction, GateClass, GateKind, GateRule, OBJECT_NAME_LEN, ObjectClass, WriteClass,
    gate_test,
};

fn effective(text: &str) -> Effective {
    let file = local("50-test.toml", Some(&format!("schema = 1\n{text}")));
    let (resolved, problems) = load(&selector(9, "rocky", "x86-64-v3", "server", "strict"), &[file]);
    let errors: Vec<_> = problems.iter().filter(|problem| problem.is_error()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    Effective::new(&resolved).unwrap()
}

fn table(text: &str) -> GateTable {
    GateTable::new(&effective(text), Tier::A, &|path| (path == "/web").then_some(77))
}

/// The compiled form of one rule, put in front of all others.
fn compiled(rule: &str) -> (Vec<GateRule>, GateTable) {
    let table = table(&format!("[[rules.prepend]]\nname = \"it\"\n{rule}\n"));
    let own = table.sources.iter().filter(|source| **source == 0).count();
    (table.rules[..own].to_vec(), table)
}

/// As the program in the kernel compares.
fn fits(rule: &GateRule, kind: GateKind, class: GateClass, uid: u32, setid: bool) -> bool {
    let [low, high] = rule.ids[0];
    let mut fails = 0;
    if !(low..=high).contains(&uid) {
        fails |= gate_test::UID;
    }
    if !setid {
        fails |= gate_test::SETID;
    }
    rule.kinds >> (kind as u32) & 1 != 0
        && rule.classes >> (class as u32) & 1 != 0
        && (fails ^ rule.negated) & rule.tests == 0
}

#[test]
fn defaults_of_the_strict_level() {
    let table = table("");
    assert!(table.problems.is_empty(), "{:?}", table.problems);
    let action = |kind, class| table.action(kind, class);
    assert_eq!(action(GateKind::Exec, GateClass::Trusted), GateAction::Allow);
    assert_eq!(action(GateKind::Exec, GateClass::Retired), GateAction::Allow);
    assert_eq!(action(GateKind::Exec, GateClass::Untrusted), GateAction::Deny);
    assert_eq!(action(GateKind::Exec, GateClass::Fileless), GateAction::Deny);
    assert_eq!(action(GateKind::Library, GateClass::Untrusted), GateAction::Deny);
    assert_eq!(action(GateKind::Script, GateClass::Untrusted), GateAction::Alert);
    assert_eq!(
        action(GateKind::WriteRunning, GateClass::Trusted),
        GateAction::Deny
    );
}

#[test]
fn the_kernel_decides_as_the_rules_do() {
    let effective = effective(
        "[[rules.prepend]]\nname = \"build-users\"\non = [\"exec\", \"library\"]\naction = \"allow\"\n\
         subject.uid = [\"1000-1999\", 2500]\nobject.class = [\"untrusted\"]\n\
         [[rules.prepend]]\nname = \"no-setid-for-guests\"\non = [\"exec\"]\naction = \"kill\"\n\
         subject.uid = [\"60000-60999\"]\nobject.setid = true\n",
    );
    let table = GateTable::new(&effective, Tier::A, &|_| None);
    assert!(table.problems.is_empty(), "{:?}", table.problems);
    let kinds = [(GateKind::Exec, Kind::Exec), (GateKind::Library, Kind::Library)];
    for (own, kind) in kinds {
        for class in GateClass::ALL {
            let Some(word) = class_word(class) else { continue };
            for uid in [0, 999, 1000, 1999, 2000, 2500, 60_500] {
                for setid in [false, true] {
                    let facts = Facts::new(kind)
                        .with(Side::Object, "class", Fact::Text(word.to_owned()))
                        .with(Side::Object, "setid", Fact::Flag(setid))
                        .with(Side::Subject, "uid", Fact::Id(u64::from(uid)));
                    let wanted = decide(&effective.rules, &effective.defaults, &facts, Tier::A).action;
                    let rule = table.rules.iter().find(|rule| fits(rule, own, class, uid, setid));
                    let found = rule
                        .and_then(|rule| GateAction::from_u8(u8::try_from(rule.action).unwrap()))
                        .unwrap_or_else(|| table.action(own, class));
                    assert_eq!(
                        found,
                        gate_action(wanted),
                        "{own:?} {word} uid {uid} setid {setid}"
                    );
                }
            }
        }
    }
}

#[test]
fn conditions_become_what_the_kernel_compares() {
    let (rules, table) = compiled(
        "on = [\"exec\"]\naction = \"deny\"\nsubject.uid = { not = [0, \"1000-1999\"] }\nobject.device = [\"8:1\", \"253:0\"]",
    );
    assert!(table.problems.is_empty(), "{:?}", table.problems);
    let ranges: Vec<_> = rules.iter().map(|rule| (rule.ids[0], rule.device)).collect();
    assert_eq!(ranges.len(), 4, "two ranges are left, two devices: {ranges:?}");
    assert!(ranges.contains(&([1, 999], 8 << 20 | 1)) && ranges.contains(&([2000, u32::MAX], 253 << 20)));
    let (rules, table) = compiled("on = [\"exec\"]\naction = \"deny\"\nsubject.cgroup = [\"/web\"]");
    assert_eq!(
        (rules[0].cgroup, rules[0].tests),
        (77, gate_test::CGROUP),
        "{:?}",
        table.problems
    );
    let digest = "ab".repeat(32);
    let (rules, table) = compiled(&format!(
        "on = [\"exec\"]\naction = \"allow\"\nobject.digest = [\"{digest}\"]"
    ));
    assert_eq!(table.marks, [([0xab; 32], rules[0].marks)]);
    assert_eq!(rules[0].tests, gate_test::MARK);
}

#[test]
fn what_the_kernel_cannot_do_is_a_problem_or_harmless() {
    let (rules, table) = compiled("on = [\"exec\"]\naction = \"deny\"\nsubject.cgroup = [\"/nowhere\"]");
    assert!(rules.is_empty() && table.problems[0].contains("there is no cgroup /nowhere"));
    // It only alerts, about what no default denies.
    let (rules, table) = compiled(
        "on = [\"exec\"]\naction = \"alert\"\nobject.path = [\"/usr/bin/nc\"]\nobject.class = [\"trusted\"]",
    );
    assert!(
        rules.is_empty() && table.problems.is_empty(),
        "{:?}",
        table.problems
    );
    let many: Vec<String> = (0..=GATE_RULES_MAX)
        .map(|n| {
            format!(
                "[[rules.append]]\nname = \"r{n}\"\non = [\"exec\"]\naction = \"deny\"\nsubject.uid = [{}]\n",
                n + 10
            )
        })
        .collect();
    let table = self::table(&many.concat());
    assert_eq!(table.rules.len(), GATE_RULES_MAX as usize);
    assert!(
        table.problems[0].contains("which holds 32"),
        "{:?}",
        table.problems
    );
}

/// What is no file: its classes, names and types become what the kernel compares.
#[test]
fn rules_on_modules_and_programs_are_compiled() {
    let (rules, table) = compiled(
        "on = [\"module\"]\naction = \"deny\"\nobject.name = [\"nls-utf8\", \"dccp\"]\nobject.class = [\"signed\"]",
    );
    assert!(table.problems.is_empty(), "{:?}", table.problems);
    assert_eq!(rules[0].kinds, 1 << GateKind::Module as u32);
    assert_eq!(rules[0].classes, 1 << ObjectClass::Signed as u32);
    assert_eq!(rules[0].tests, gate_test::MARK);
    let named = |name: &str| {
        let mut key = [0; OBJECT_NAME_LEN];
        key[..name.len()].copy_from_slice(name.as_bytes());
        table
            .names
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, marks)| *marks)
    };
    // As the kernel spells it. The strict level's own rule names dccp, too.
    assert_eq!(named("nls_utf8"), Some(rules[0].marks));
    assert_eq!(
        named("dccp").map(|marks| marks & rules[0].marks),
        Some(rules[0].marks)
    );
    assert_eq!(named("nls-utf8"), None);
    let (rules, table) = compiled(
        "on = [\"bpf\"]\naction = \"deny\"\nobject.program_type = [\"xdp\", \"lsm\"]\n\
         subject.class = { not = [\"trusted\"] }",
    );
    assert!(table.problems.is_empty(), "{:?}", table.problems);
    assert_eq!(rules[0].program_types, 1 << 6 | 1 << 29);
    assert_eq!(
        (rules[0].subjects, rules[0].negated),
        (
            1 << GateClass::Trusted as u32 | 1 << GateClass::Unknown as u32,
            gate_test::SUBJECT
        )
    );
    assert_eq!(table.asks_subject, 1 << GateKind::Bpf as u32);
    let (rules, _) = compiled("on = [\"ptrace\"]\naction = \"deny\"\nobject.uid = [0]");
    assert_eq!((rules[0].ids[3], rules[0].tests), ([0, 0], gate_test::OWNER));
}

/// The strict level refuses protocols by name, and other users' processes stay theirs.
#[test]
fn levels_decide_what_is_no_file() {
    let table = table("");
    let action = |kind: GateKind, class: ObjectClass| {
        GateAction::from_u8(table.actions[kind as usize][class as usize]).unwrap()
    };
    assert_eq!(action(GateKind::Module, ObjectClass::Signed), GateAction::Allow);
    assert_eq!(
        action(GateKind::Bpf, ObjectClass::UntrustedLoader),
        GateAction::Deny
    );
    assert_eq!(
        action(GateKind::Ptrace, ObjectClass::TrustedDaemon),
        GateAction::Deny
    );
    // Words of other kinds have no place in a kind's row.
    assert_eq!(
        action(GateKind::Module, ObjectClass::OtherUser),
        GateAction::Allow
    );
    assert!(
        table
            .rules
            .iter()
            .any(|rule| rule.kinds == 1 << GateKind::Module as u32)
    );
}

/// Without digests from the kernel files are left alone, and what needs none is not.
#[test]
fn tier_b_decides_what_needs_no_digest() {
    let effective = effective("[gate]\nfallback = \"none\"\n");
    let table = GateTable::new(&effective, Tier::B, &|_| None);
    for kind in GateKind::ALL {
        let row = table.actions[kind as usize];
        assert_eq!(
            row.iter().all(|action| *action == 0),
            // Writes into what runs are told by the digest that was taken of it.
            kind.is_of_files(),
            "{kind:?}"
        );
    }
    let needs_none = |kinds: u32| {
        let kinds = GateKind::ALL
            .into_iter()
            .filter(|kind| kinds >> *kind as u32 & 1 != 0);
        kinds.into_iter().all(|kind| !kind.is_of_files())
    };
    assert!(table.rules.iter().all(|rule| needs_none(rule.kinds)));
}

/// Writes are decided at tier B too: rules by class, user and device of the file system, or of the block device.
#[test]
fn writes_need_no_digest() {
    for tier in [Tier::A, Tier::B] {
        let effective = effective(
            "[[rules.prepend]]\nname = \"it\"\non = [\"file-write\"]\naction = \"allow\"\n\
             subject.uid = [1001]\nobject.device = [\"8:2\"]\nobject.class = [\"block-device\"]\n",
        );
        let table = GateTable::new(&effective, tier, &|_| None);
        assert!(table.problems.is_empty(), "{:?}", table.problems);
        let rule = table.rules[0];
        assert_eq!(
            rule.kinds,
            1 << GateKind::Write as u32,
            "running has other classes"
        );
        assert_eq!(rule.classes, 1 << WriteClass::BlockDevice as u32);
        assert_eq!(
            (rule.tests, rule.device),
            (gate_test::UID | gate_test::DEVICE, 8 << 20 | 2)
        );
        let action = |class: WriteClass| table.actions[GateKind::Write as usize][class as usize];
        assert_eq!(action(WriteClass::Packaged), GateAction::Allow as u8);
        assert_eq!(action(WriteClass::Protected), GateAction::Deny as u8);
        assert_eq!(action(WriteClass::BlockDevice), GateAction::Deny as u8);
        assert_eq!(action(WriteClass::Replaced), GateAction::Alert as u8);
    }
}

/// Where fanotify answers for what is missing, the same table is in force, and none of it before the digests are there.
#[test]
fn tier_b_decides_about_files_where_user_space_tells_of_them() {
    let effective = effective("[gate]\nfallback = \"fanotify\"\n[default.exec]\nuntrusted = \"deny\"\n");
    let table = GateTable::new(&effective, Tier::B, &|_| None);
    assert_eq!(
        table.action(GateKind::Exec, GateClass::Untrusted),
        GateAction::Deny
    );
    assert_eq!(
        table.actions,
        GateTable::new(&effective, Tier::A, &|_| None).actions
    );
    let before = table.without_files();
    for kind in GateKind::ALL {
        let (row, all) = (before.actions[kind as usize], table.actions[kind as usize]);
        assert_eq!(row == all, !kind.is_of_files(), "{kind:?}");
    }
}

/// Through fanotify alone executions and scripts are decided, and nothing else; without it nothing is.
#[test]
fn tier_c_decides_what_fanotify_asks_about() {
    let text = |fallback| {
        format!(
            "[gate]\nfallback = \"{fallback}\"\n[default.exec]\nuntrusted = \"deny\"\n[default.library]\nuntrusted = \"deny\"\n\
             [[rules.prepend]]\nname = \"it\"\non = [\"exec\", \"library\", \"module\"]\naction = \"deny\"\nsubject.uid = [1001]\n"
        )
    };
    let with = GateTable::new(&effective(&text("fanotify")), Tier::C, &|_| None);
    assert!(with.problems.is_empty(), "{:?}", with.problems);
    assert_eq!(
        with.action(GateKind::Exec, GateClass::Untrusted),
        GateAction::Deny
    );
    assert_eq!(
        with.action(GateKind::Library, GateClass::Untrusted),
        GateAction::Allow
    );
    let kinds = with.rules.iter().fold(0, |all, rule| all | rule.kinds);
    assert_eq!(
        kinds & !(1 << GateKind::Exec as u32 | 1 << GateKind::Script as u32),
        0
    );
    assert!(with.rules.iter().any(|rule| rule.tests == gate_test::UID));
    // What is meant for tier B and above because tier C could not refuse: here it can. The base policy's rule on set-id files.
    let setid = with.rules.iter().find(|rule| rule.tests & gate_test::SETID != 0);
    assert_eq!(setid.map(|rule| rule.action), Some(GateAction::Deny as u32));
    let without = GateTable::new(&effective(&text("none")), Tier::C, &|_| None);
    assert_eq!(
        without.action(GateKind::Exec, GateClass::Untrusted),
        GateAction::Allow
    );
}

/// Programs that hash cannot look at what runs: such a denial fails the check, and is a problem if it gets through.
#[test]
fn the_class_of_the_subject_has_its_place() {
    for (on, tier, errors) in [
        ("exec", Tier::A, 1),
        ("library", Tier::A, 1),
        ("bpf", Tier::A, 0),
        ("module", Tier::A, 0),
        ("file-write", Tier::A, 0),
        ("bpf", Tier::B, 1),
    ] {
        let text = format!(
            "[[rules.prepend]]\nname = \"it\"\non = [\"{on}\"]\naction = \"deny\"\nsubject.class = [\"untrusted\"]\n"
        );
        let effective = effective(&text);
        let found = crate::policy::rule::lint(&effective.rules, &[tier], false);
        let of_it: Vec<_> = found
            .iter()
            .filter(|one| one.to_string().contains("denies by subject.class"))
            .collect();
        assert_eq!(of_it.len(), errors, "{on} {tier}: {found:?}");
    }
}

/// The rules are compared for each execution and mapping, by the thousand: not where all of them, and the default, allow.
#[test]
fn where_everything_is_allowed_no_rule_is_looked_at() {
    let is_ruled = |rule: &str, class: GateClass| {
        let (_, table) = compiled(&format!("on = [\"exec\"]\n{rule}"));
        table.ruled[GateKind::Exec as usize] >> (class as u32) & 1 != 0
    };
    let allow = "action = \"allow\"\nsubject.uid = [5]";
    assert!(!is_ruled(allow, GateClass::Trusted));
    assert!(
        is_ruled(allow, GateClass::Untrusted),
        "it is an exception from a denial"
    );
    for action in ["alert", "deny", "kill"] {
        let rule = format!("action = \"{action}\"\nsubject.uid = [5]");
        assert!(is_ruled(&rule, GateClass::Trusted), "{action}");
    }
    let (_, table) = compiled(
        "on = [\"exec\"]\naction = \"allow\"\nsubject.uid = [5]\n\
         [[rules.append]]\nname = \"other\"\non = [\"exec\"]\naction = \"deny\"\nobject.class = [\"trusted\"]\nsubject.uid = [5, 6]",
    );
    let ruled = table.ruled[GateKind::Exec as usize];
    assert_ne!(
        ruled >> (GateClass::Trusted as u32) & 1,
        0,
        "it is an exception from a rule"
    );
}
