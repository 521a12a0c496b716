//! What is wrong with a list of rules: deny rules nobody can decide in time, rules that can never decide, conflicts.

use super::decide::Defaults;
use super::facts::Fact;
use super::kind::{Action, Decider, Kind, Side};
use super::model::Rule;
use super::test::Outcome;
use crate::platform::Tier;
use crate::policy::origin::Problem;

/// Checks the rules for these tiers, of a policy that has fanotify asked about executions at tier C, or not. Findings come
/// in the rules' order.
pub fn lint(rules: &[Rule], tiers: &[Tier], by_fanotify: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, rule) in rules.iter().enumerate() {
        let earlier = rules.get(..n).unwrap_or_default();
        if let Some(twin) = earlier.iter().find(|other| other.name == rule.name) {
            let message = format!("the rule's name {:?} is taken by {}", rule.name, twin.origin);
            problems.push(Problem::error(rule.origin.clone(), message));
        }
        problems.extend(unreachable(earlier, rule));
        problems.extend(unobserved(rule));
        for tier in tiers {
            if let Some(problem) = undecidable(earlier, rule, *tier, by_fanotify) {
                problems.push(problem);
                // The same sentence for the next tier helps nobody.
                break;
            }
        }
    }
    problems
}

/// Whether a rule is about objects of this class.
fn is_about(rule: &Rule, class: &str) -> bool {
    let fact = Fact::Text(class.to_owned());
    rule.tests
        .iter()
        .filter(|test| test.attribute.side == Side::Object && test.attribute.name == "class")
        .all(|test| test.outcome(Some(&fact)) == Outcome::Holds)
}

/// Rules that user space decides, about events of which the kernel says nothing because the policy allows them. Executions,
/// scripts and modules are told of in any case.
pub(in crate::policy) fn unheard(rules: &[Rule], defaults: &Defaults) -> Vec<Problem> {
    const SILENT: [Kind; 4] = [Kind::Library, Kind::Bpf, Kind::Ptrace, Kind::FileWrite];
    let mut problems = Vec::new();
    for rule in rules.iter().filter(|rule| rule.action > Action::Allow) {
        for kind in SILENT.into_iter().filter(|kind| rule.on.contains(kind)) {
            let Some(test) = rule
                .tests
                .iter()
                .find(|test| test.attribute.decider(Tier::A, kind) == Decider::UserSpace)
            else {
                continue;
            };
            let is_silent = |class: &&&str| {
                let action = defaults.action(kind, class).map(|(action, _)| action);
                is_about(rule, class) && action == Some(Action::Allow)
            };
            let silent: Vec<&str> = kind.classes().iter().filter(is_silent).copied().collect();
            if silent.is_empty() {
                continue;
            }
            let message = format!(
                "rule {:?} needs user space for {}.{}, which hears nothing of {} that the kernel allows: class {}",
                rule.name,
                test.attribute.side.name(),
                test.attribute.name,
                kind.name(),
                silent.join(", ")
            );
            let hint = format!(
                "use conditions that the kernel decides, or set default.{}.{} = \"alert\" and allow the rest by rules",
                kind.name(),
                silent.first().unwrap_or(&"CLASS")
            );
            problems.push(Problem::warning(rule.origin.clone(), message).with_hint(hint));
        }
    }
    problems
}

/// A rule about events of which no sensor tells yet.
fn unobserved(rule: &Rule) -> Option<Problem> {
    let is_seen = rule
        .on
        .iter()
        .any(|kind| kind.observed_classes().iter().any(|word| is_about(rule, word)));
    (!is_seen).then(|| {
        let kinds: Vec<&str> = rule.on.iter().map(|kind| kind.name()).collect();
        let message = format!(
            "rule {:?} has no effect: Hardpan does not watch the kernel's integrity yet, so there are no events of kind {}",
            rule.name,
            kinds.join(", ")
        );
        Problem::warning(rule.origin.clone(), message)
    })
}

/// A rule that earlier ones leave nothing to.
fn unreachable(earlier: &[Rule], rule: &Rule) -> Option<Problem> {
    let covers = |other: &Rule, kind: Kind| other.on.contains(&kind) && covers(other, rule);
    let by: Vec<&Rule> = rule
        .on
        .iter()
        .filter_map(|kind| earlier.iter().find(|other| covers(other, *kind)))
        .collect();
    if by.len() < rule.on.len() {
        return None;
    }
    let other = by.first()?;
    let same = other.tests.len() == rule.tests.len() && self::covers(rule, other);
    let message = if same && other.action != rule.action {
        format!(
            "rule {:?} ({}) contradicts {:?} ({}) of {} on the same conditions; the first one decides",
            rule.name,
            rule.action.name(),
            other.name,
            other.action.name(),
            other.origin
        )
    } else {
        format!(
            "rule {:?} can never decide: {:?} of {} comes first and covers it",
            rule.name, other.name, other.origin
        )
    };
    Some(Problem::error(rule.origin.clone(), message).with_hint("remove it, or move it in front"))
}

/// Whether every event that fits `inner` fits `outer` too (kinds aside).
fn covers(outer: &Rule, inner: &Rule) -> bool {
    outer.tests.iter().all(|wide| {
        inner
            .test_of(wide.attribute)
            .is_some_and(|narrow| narrow.is_within(wide))
    })
}

/// A deny that the kernel cannot decide at this tier, or not in time.
fn undecidable(earlier: &[Rule], rule: &Rule, tier: Tier, by_fanotify: bool) -> Option<Problem> {
    if rule.action_at(tier) != Action::Deny {
        return None;
    }
    let fail =
        |message: String, hint: &str| Some(Problem::error(rule.origin.clone(), message).with_hint(hint));
    if let Some(kind) = rule.on.iter().find(|kind| !kind.deniable(tier, by_fanotify)) {
        let hint = match kind {
            Kind::Kernel => "kernel findings are noticed after the fact: use alert or kill",
            Kind::Exec | Kind::Script => {
                "gate.fallback = \"fanotify\" can; else say what holds there: needs_tier = \"B\" and below = \"alert\""
            }
            _ => "say what holds there: needs_tier = \"B\" and below = \"alert\"",
        };
        return fail(
            format!(
                "rule {:?} denies {}, which tier {tier} cannot refuse",
                rule.name,
                kind.name()
            ),
            hint,
        );
    }
    if let Some(test) = rule.tests.iter().find(|test| {
        rule.on
            .iter()
            .any(|kind| test.attribute.decider(tier, *kind) == Decider::UserSpace)
    }) {
        let message = format!(
            "rule {:?} denies by {}.{}, which the kernel cannot decide at tier {tier}",
            rule.name,
            test.attribute.side.name(),
            test.attribute.name
        );
        let hint = if rule.on.contains(&Kind::Credential) {
            "what is done about credentials is laid down by class before it happens: deny by class, or use alert or kill"
        } else {
            "deny by class, digest, inode, device, uid, cgroup or capabilities, or use alert or kill"
        };
        return fail(message, hint);
    }
    let in_front = earlier.iter().find(|other| {
        other.on.iter().filter(|kind| rule.on.contains(kind)).any(|kind| {
            other
                .tests
                .iter()
                .any(|test| test.attribute.decider(tier, *kind) == Decider::UserSpace)
                && !are_disjoint(other, rule, tier, *kind)
        })
    })?;
    let message = format!(
        "rule {:?} denies, but {:?} of {} comes first and needs user space at tier {tier}: the kernel could not wait for it",
        rule.name, in_front.name, in_front.origin
    );
    fail(
        message,
        "move the deny in front, or make both exclude each other by class, uid, cgroup or capabilities",
    )
}

/// Whether conditions the kernel can decide keep two rules apart.
fn are_disjoint(left: &Rule, right: &Rule, tier: Tier, kind: Kind) -> bool {
    left.tests
        .iter()
        .filter(|test| test.attribute.decider(tier, kind) == Decider::Kernel)
        .any(|test| {
            right
                .test_of(test.attribute)
                .is_some_and(|other| test.is_disjoint(other))
        })
}
