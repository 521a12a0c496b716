//! Rules: first match, who can decide, what can never decide, how it is explained.

use super::*;
use crate::platform::Tier;
use crate::policy::rule::{self, Action, Fact, Facts, HitCounters, Kind, Side, StepOutcome, Why};
use expect_test::{Expect, expect};

fn rules(text: &str) -> Resolved {
    let text = format!("schema = 1\n{text}");
    let (resolved, problems) = merge(&[(Layer::Local, "r.toml", &text)]);
    assert_eq!(lines(&problems), "");
    resolved
}

fn check_lint(text: &str, tiers: &[Tier], expected: &Expect) {
    expected.assert_eq(&lines(&rule::lint(&rules(text).rules, tiers, false)));
}

const ALL: [Tier; 3] = [Tier::A, Tier::B, Tier::C];

fn exec(class: &str, uid: u64, path: &str) -> Facts {
    Facts::new(Kind::Exec)
        .with(Side::Object, "class", Fact::Text(class.to_owned()))
        .with(Side::Subject, "uid", Fact::Id(uid))
        .with(Side::Object, "path", Fact::Text(path.to_owned()))
}

const THREE: &str = r#"
[default.exec]
trusted = "allow"
untrusted = "deny"
[[rules]]
name = "admins-tools"
on = ["exec"]
action = "allow"
subject.uid = [0, "1000-1010"]
object.path = ["/opt/tools/**"]
object.class = ["untrusted"]
[[rules]]
name = "no-fileless-service"
on = ["exec", "library"]
action = "kill"
object.class = ["fileless"]
subject.uid = { not = [0] }
"#;

#[test]
fn the_first_rule_that_fits_decides_and_is_counted() {
    let resolved = rules(THREE);
    let defaults = resolved.defaults();
    let hits = HitCounters::new(resolved.rules.len());
    let check = |facts: Facts, action: Action, why: &str| {
        let decision = rule::decide(&resolved.rules, &defaults, &facts, Tier::A);
        hits.count(&decision);
        let found = match decision.why {
            Why::Rule(_, rule) => rule.name.clone(),
            Why::Default(origin) => origin.to_string(),
            Why::Nothing => "nothing".to_owned(),
        };
        assert_eq!((decision.action, found.as_str()), (action, why), "{facts:?}");
    };
    check(
        exec("untrusted", 1000, "/opt/tools/a/b"),
        Action::Allow,
        "admins-tools",
    );
    check(
        exec("untrusted", 1011, "/opt/tools/a/b"),
        Action::Deny,
        "r.toml:5",
    );
    check(
        exec("fileless", 1000, "/memfd:x"),
        Action::Kill,
        "no-fileless-service",
    );
    check(exec("fileless", 0, "/memfd:x"), Action::Alert, "nothing");
    check(exec("trusted", 0, "/usr/bin/id"), Action::Allow, "r.toml:4");
    assert_eq!(hits.rules(), [1, 1]);
    assert_eq!(hits.defaults(), 3);
    // Not knowing the uid fits neither `uid` nor `not uid`.
    let unknown = Facts::new(Kind::Exec).with(Side::Object, "class", Fact::Text("fileless".to_owned()));
    let decision = rule::decide(&resolved.rules, &defaults, &unknown, Tier::A);
    assert_eq!(decision.why, Why::Nothing);
}

#[test]
fn below_its_tier_a_deny_is_what_the_policy_says_there() {
    let resolved = rules(
        "[default.exec]\nuntrusted = \"deny\"\n[[rules]]\nname = \"x\"\non = \"exec\"\naction = \"deny\"\nneeds_tier = \"B\"\nbelow = \"kill\"\nobject.class = \"mismatch\"\n",
    );
    let defaults = resolved.defaults();
    let check = |class: &str, tier: Tier, action: Action, weakened: bool| {
        let decision = rule::decide(&resolved.rules, &defaults, &exec(class, 0, "/x"), tier);
        assert_eq!(
            (decision.action, decision.weakened),
            (action, weakened),
            "{class} {tier}"
        );
    };
    check("mismatch", Tier::B, Action::Deny, false);
    check("mismatch", Tier::C, Action::Kill, false);
    check("untrusted", Tier::A, Action::Deny, false);
    check("untrusted", Tier::C, Action::Alert, true);
}

#[test]
fn explain_tells_why_each_rule_did_not_fit() {
    let resolved = rules(THREE);
    let steps = |facts: &Facts| -> Vec<String> {
        rule::explain(&resolved.rules, facts)
            .into_iter()
            .map(|step| match step.outcome {
                StepOutcome::Decided => format!("{}: decided", step.rule.name),
                StepOutcome::OtherKind => format!("{}: other kind", step.rule.name),
                StepOutcome::Failed(test) => format!("{}: not {test}", step.rule.name),
                StepOutcome::Unknown(test) => format!("{}: unknown whether {test}", step.rule.name),
            })
            .collect()
    };
    assert_eq!(
        steps(&exec("fileless", 1005, "/memfd:x")),
        [
            "admins-tools: not object.class in [untrusted]",
            "no-fileless-service: decided"
        ]
    );
    assert_eq!(
        steps(&Facts::new(Kind::Library)),
        [
            "admins-tools: other kind",
            "no-fileless-service: unknown whether subject.uid not in [0]"
        ]
    );
}

#[test]
fn a_deny_needs_attributes_its_tier_can_decide() {
    check_lint(
        r#"
[[rules]]
name = "by-path"
on = ["exec"]
action = "deny"
object.path = ["/tmp/**"]
[[rules]]
name = "everywhere"
on = ["exec"]
action = "deny"
object.class = ["mismatch"]
[[rules]]
name = "kernel"
on = ["kernel"]
action = "deny"
"#,
        &ALL,
        &expect![[r#"
            r.toml:3:1: error: rule "by-path" denies by object.path, which the kernel cannot decide at tier A
              hint: deny by class, digest, inode, device, uid, cgroup or capabilities, or use alert or kill
            r.toml:8:1: error: rule "everywhere" denies, but "by-path" of r.toml:3 comes first and needs user space at tier A: the kernel could not wait for it
              hint: move the deny in front, or make both exclude each other by class, uid, cgroup or capabilities
            r.toml:13:1: warning: rule "kernel" has no effect: Hardpan does not watch the kernel's integrity yet, so there are no events of kind kernel
            r.toml:13:1: error: rule "kernel" denies kernel, which tier A cannot refuse
              hint: kernel findings are noticed after the fact: use alert or kill
        "#]],
    );
    let class = "[[rules]]\nname = \"c\"\non = \"exec\"\naction = \"deny\"\nobject.class = \"mismatch\"\n";
    check_lint(class, &[Tier::A, Tier::B], &expect![""]);
    check_lint(
        class,
        &ALL,
        &expect![[r#"
            r.toml:2:1: error: rule "c" denies exec, which tier C cannot refuse
              hint: gate.fallback = "fanotify" can; else say what holds there: needs_tier = "B" and below = "alert"
        "#]],
    );
    // Fanotify asks about executions and scripts, and about nothing else.
    let by_fanotify = |on: &str| {
        let text = class.replace("\"exec\"", &format!("\"{on}\""));
        lines(&rule::lint(&rules(&text).rules, &ALL, true))
    };
    assert_eq!(by_fanotify("exec"), "");
    assert_eq!(by_fanotify("script"), "");
    assert!(by_fanotify("library").contains("tier C cannot refuse"));
}

#[test]
fn a_user_space_rule_may_stand_in_front_if_both_exclude_each_other() {
    check_lint(
        r#"
[[rules]]
name = "opt"
on = ["exec"]
action = "alert"
object.path = ["/opt/**"]
object.class = ["trusted", "local"]
[[rules]]
name = "deny"
on = ["exec"]
action = "deny"
object.class = ["untrusted", "mismatch"]
"#,
        &[Tier::A, Tier::B],
        &expect![""],
    );
}

#[test]
fn rules_that_can_never_decide_are_found() {
    check_lint(
        r#"
[[rules]]
name = "all-of-opt"
on = ["exec", "library"]
action = "allow"
object.path = ["/opt/**"]
[[rules]]
name = "one-of-opt"
on = ["exec"]
action = "alert"
object.path = ["/opt/x/bin"]
subject.uid = [5]
[[rules]]
name = "uids"
on = ["exec"]
action = "alert"
subject.uid = ["0-99"]
[[rules]]
name = "uids-again"
on = ["exec"]
action = "kill"
subject.uid = ["0-99"]
[[rules]]
name = "uids"
on = ["script"]
action = "kill"
subject.uid = ["100-200"]
"#,
        &[Tier::A],
        &expect![[r#"
            r.toml:8:1: error: rule "one-of-opt" can never decide: "all-of-opt" of r.toml:3 comes first and covers it
              hint: remove it, or move it in front
            r.toml:19:1: error: rule "uids-again" (kill) contradicts "uids" (alert) of r.toml:14 on the same conditions; the first one decides
              hint: remove it, or move it in front
            r.toml:24:1: error: the rule's name "uids" is taken by r.toml:14
        "#]],
    );
}

#[test]
fn broken_rules_say_what_is_wrong() {
    let text = r#"schema = 1
[[rules]]
name = "bad name"
on = ["exce"]
action = "refuse"
[[rules]]
name = "attributes"
on = ["module"]
action = "alert"
object.path = ["/x"]
object.digest = ["zz"]
subject.uids = [1]
subject.uid = ["9-1"]
subject.gid = []
object.class = ["untrusted"]
[[rules]]
on = ["exec"]
action = "deny"
needs_tier = "D"
objekt.class = "x"
"#;
    let (_, problems) = merge(&[(Layer::Local, "r.toml", text)]);
    expect![[r#"
        r.toml:3:8: error: a rule's name is made of letters, digits, '-', '_' and '.'
        r.toml:4:6: error: there is no kind of event "exce"; there are exec, library, script, module, credential, kernel, bpf, ptrace, file-write
          hint: did you mean "exec"?
        r.toml:4:6: error: the rule is on no kind of event
        r.toml:5:10: error: "refuse" is not known here
          hint: actions are allow, alert, deny, kill; tiers are A, B, C
        r.toml:10:8: error: module events have no object.path
        r.toml:11:8: error: module events have no object.digest
        r.toml:12:9: error: a subject has no attribute "uids"; there are uid, gid, loginuid, cgroup, container, capabilities, class, exe, comm, package, parent
          hint: did you mean "uid"?
        r.toml:13:9: error: "9-1" is neither a number nor a range like "1000-59999"
        r.toml:14:9: error: an empty list for gid can never hold
        r.toml:15:8: error: "untrusted" is no class of module; there are signed, unsigned, untrusted-loader
        r.toml:16:1: error: the rule has no name
        r.toml:19:14: error: "D" is not known here
          hint: actions are allow, alert, deny, kill; tiers are A, B, C
        r.toml:20:1: error: a rule has no key "objekt"; there are name, on, action, subject, object, needs_tier, below, record, reason
          hint: did you mean "object"?
    "#]]
    .assert_eq(&lines(&problems));
}

/// Words for what later sensors will tell are known, and nobody should rely on them.
#[test]
fn rules_that_nothing_tells_of_are_named() {
    let on = |kind: &str, class: &str| {
        format!(
            "[[rules]]\nname = \"w\"\non = [\"{kind}\"]\naction = \"alert\"\nobject.class = [\"{class}\"]\n"
        )
    };
    for class in Kind::FileWrite.classes() {
        check_lint(&on("file-write", class), &ALL, &expect![""]);
    }
    check_lint(
        &on("kernel", "text"),
        &ALL,
        &expect![[r#"
            r.toml:2:1: warning: rule "w" has no effect: Hardpan does not watch the kernel's integrity yet, so there are no events of kind kernel
        "#]],
    );
}
