//! What the kernel side gets of a policy, and that it decides as the rules do.

use super::{load, local, selector};
use crate::platform::Tier;
use crate::policy::effective::Effective;
use crate::policy::gate::{GateTable, class_word, gate_action};
use crate::policy::rule::{Fact, Facts, Kind, Side, decide};
use hardpan_abi::{GATE_RULES_MAX, GateAction, GateClass, GateKind, GateRule, gate_test};

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
