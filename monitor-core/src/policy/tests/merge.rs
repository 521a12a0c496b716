//! Layers: who wins, who may not, and what people are told.

use super::*;
use crate::policy::effective::without_effect;
use crate::policy::value::Value;
use expect_test::{Expect, expect};

fn check_problems(files: &[(Layer, &str, &str)], expected: &Expect) {
    expected.assert_eq(&lines(&merge(files).1));
}

fn value_of(resolved: &Resolved, path: &[&str]) -> String {
    resolved.setting(path).map_or_else(
        || "unset".to_owned(),
        |setting| format!("{} from {}", setting.value, setting.origin),
    )
}

#[test]
fn scalars_last_wins_tables_by_key_lists_replace() {
    let (resolved, problems) = merge(&[
        (
            Layer::Base,
            "base.toml",
            "schema = 1\n[gate]\nmode = \"observe\"\non_doubt = \"open\"\n[trust]\nkey_sets = [\"a\", \"b\"]\n[gate.hooks]\nexec = [\"x\"]\n",
        ),
        (
            Layer::Local,
            "local.toml",
            "schema = 1\n[gate]\nmode = \"enforce\"\n[trust]\nkey_sets = { append = [\"c\", \"a\"] }\n[gate.hooks]\nexec = [\"y\"]\n",
        ),
    ]);
    assert_eq!(lines(&problems), "");
    assert_eq!(
        value_of(&resolved, &["gate", "mode"]),
        "\"enforce\" from local.toml:3"
    );
    assert_eq!(
        value_of(&resolved, &["gate", "on_doubt"]),
        "\"open\" from base.toml:4"
    );
    assert_eq!(
        value_of(&resolved, &["trust", "key_sets"]),
        "[\"a\", \"b\", \"c\"] from local.toml:5"
    );
    assert_eq!(
        value_of(&resolved, &["gate", "hooks", "exec"]),
        "[\"y\"] from local.toml:7"
    );
    let overridden = &resolved.setting(&["gate", "mode"]).expect("set").overridden;
    assert_eq!(overridden.len(), 1);
    assert_eq!(overridden[0].origin.to_string(), "base.toml:3");
}

#[test]
fn lists_lose_items_and_gain_in_front() {
    let (resolved, problems) = merge(&[
        (
            Layer::Base,
            "b.toml",
            "schema = 1\ntrust.key_sets = [\"a\", \"b\", \"c\"]\n",
        ),
        (
            Layer::Role,
            "r.toml",
            "schema = 1\ntrust.key_sets = { remove = [\"b\"] }\n",
        ),
        (
            Layer::Local,
            "l.toml",
            "schema = 1\ntrust.key_sets.prepend = [\"z\", \"c\"]\n",
        ),
    ]);
    assert_eq!(lines(&problems), "");
    assert_eq!(
        value_of(&resolved, &["trust", "key_sets"]),
        "[\"z\", \"c\", \"a\"] from l.toml:2"
    );
}

#[test]
fn unknown_keys_come_with_a_suggestion() {
    check_problems(
        &[(
            Layer::Local,
            "l.toml",
            "schema = 1\n[gate]\nmoed = \"enforce\"\n[syctl]\n\"kernel.x\" = 1\n[sysctl.\"kernel.kptr_restrict\"]\nvalue = 2\nreson = \"x\"\n[default.exec]\nuntrustd = \"deny\"\n[record]\nexec = \"al\"\n",
        )],
        &expect![[r#"
            l.toml:3:1: error: unknown key gate.moed
              hint: did you mean "mode"?
            l.toml:4:2: error: unknown key syctl
              hint: did you mean "sysctl"?
            l.toml:8:1: error: unknown key sysctl."kernel.kptr_restrict".reson
              hint: did you mean "reason"?
            l.toml:10:1: error: unknown key default.exec.untrustd
              hint: did you mean "untrusted"?
            l.toml:12:8: error: "al" is not one of untrusted, all
              hint: did you mean "all"?
        "#]],
    );
}

#[test]
fn wrong_types_and_bounds_are_named() {
    check_problems(
        &[(
            Layer::Local,
            "l.toml",
            "schema = 1\ngate.mode = 1\ngate.boot_grace_s = -5\nsweep = 3\ntrust.key_sets = [1]\nrecord.argv_bytes = 1.5\nresponse.freeze_cgroup = \"yes\"\ngate.on_doubt = { append = [\"open\"] }\ncrypto.policy = \"a\\u0007b\"\n",
        )],
        &expect![[r#"
            l.toml:2:13: error: expected one of observe, enforce, found 1
            l.toml:3:21: error: -5 is out of range: 0 to 3600
            l.toml:4:1: error: sweep is a section, not a value
            l.toml:5:18: error: expected a list of texts, found [1]
            l.toml:6:21: error: a float has no meaning here
            l.toml:7:26: error: expected true or false, found "yes"
            l.toml:8:28: error: gate.on_doubt is not a list
            l.toml:9:17: error: the text contains control characters
        "#]],
    );
}

#[test]
fn local_settings_without_effect_are_named() {
    let selector = selector(9, "rocky", "x86-64-v3", "server", "balanced");
    let text = "schema = 1\n[sweep]\nkernel_interval_s = 10\nfiles_interval_s = 3600\n";
    let (resolved, problems) = load(&selector, &[local("20-site.toml", Some(text))]);
    assert!(problems.is_empty(), "{problems:?}");
    expect![[r"
        /etc/hardpan/policies/20-site.toml:3:1: warning: sweep.kernel_interval_s is reserved and has no effect yet
    "]]
    .assert_eq(&lines(&without_effect(&resolved)));
    let (shipped, _) = load(&selector, &[]);
    assert_eq!(without_effect(&shipped), []);
}

/// What the kernel allows it does not tell of: a rule for user space would wait for ever.
#[test]
fn rules_that_nothing_is_told_to_are_named() {
    let check = |rule: &str, expected: &Expect| {
        let selector = selector(9, "rocky", "x86-64-v3", "server", "balanced");
        let text = format!("schema = 1\n[[rules.prepend]]\nname = \"r\"\n{rule}\n");
        let (resolved, problems) = load(&selector, &[local("20-site.toml", Some(&text))]);
        assert!(problems.is_empty(), "{problems:?}");
        expected.assert_eq(&lines(&without_effect(&resolved)));
    };
    check(
        "on = [\"file-write\"]\naction = \"alert\"\nsubject.exe = [\"/usr/bin/vi\"]",
        &expect![[r#"
            /etc/hardpan/policies/20-site.toml:2:1: warning: rule "r" needs user space for subject.exe, which hears nothing of file-write that the kernel allows: class packaged
              hint: use conditions that the kernel decides, or set default.file-write.packaged = "alert" and allow the rest by rules
        "#]],
    );
    let silent = &expect![[""]];
    check(
        "on = [\"file-write\"]\naction = \"alert\"\nsubject.exe = [\"/usr/bin/vi\"]\nobject.class = [\"protected\"]",
        silent,
    );
    check(
        "on = [\"exec\"]\naction = \"alert\"\nsubject.exe = [\"/usr/bin/vi\"]",
        silent,
    );
    check(
        "on = [\"file-write\"]\naction = \"alert\"\nsubject.uid = [0]",
        silent,
    );
}

#[test]
fn the_language_must_be_named() {
    check_problems(
        &[
            (Layer::Local, "a.toml", "gate.mode = \"enforce\"\n"),
            (Layer::Local, "b.toml", "schema = 2\n"),
            (Layer::Local, "c.toml", "schema = 1\n[gate\n"),
        ],
        &expect![[r"
            a.toml:1:1: error: the file does not say which policy language it is written in
              hint: put `schema = 1` into its first line
            b.toml:1:10: error: schema 2 is not known
              hint: this program understands schema 1
            c.toml:2:6: error: not TOML: unclosed table, expected `]`
        "]],
    );
}

#[test]
fn final_forbids_weakening_and_allows_strengthening() {
    let level = "schema = 1\n[gate]\nmode = { value = \"enforce\", final = true }\n[sysctl.\"kernel.kptr_restrict\"]\nvalue = 1\nfinal = true\n[sysctl.\"kernel.core_pattern\"]\nvalue = \"|/bin/false\"\nfinal = true\n";
    let (resolved, problems) = merge(&[
        (Layer::Level, "level/strict.toml", level),
        (
            Layer::Local,
            "l.toml",
            "schema = 1\n[sysctl]\n\"kernel.kptr_restrict\" = 2\n",
        ),
    ]);
    assert_eq!(lines(&problems), "");
    assert_eq!(
        value_of(&resolved, &["sysctl", "kernel.kptr_restrict", "value"]),
        "2 from l.toml:3"
    );
    check_problems(
        &[
            (Layer::Level, "level/strict.toml", level),
            (
                Layer::Local,
                "l.toml",
                "schema = 1\ngate.mode = \"observe\"\n[sysctl]\n\"kernel.kptr_restrict\" = 0\n\"kernel.core_pattern\" = \"core\"\n",
            ),
        ],
        &expect![[r#"
            l.toml:2:6: error: gate.mode = "observe" weakens "enforce", which level/strict.toml:3 makes final
              hint: take the line out, or a stronger value; or drop `final` at level/strict.toml:3 if that file is yours
            l.toml:5:1: error: sysctl."kernel.core_pattern".value = "core" changes "|/bin/false", which level/strict.toml:8 makes final
              hint: take the line out, or a stronger value; or drop `final` at level/strict.toml:8 if that file is yours
            l.toml:4:1: error: sysctl."kernel.kptr_restrict".value = 0 weakens 1, which level/strict.toml:5 makes final
              hint: take the line out, or a stronger value; or drop `final` at level/strict.toml:5 if that file is yours
        "#]],
    );
}

#[test]
fn requirements_name_both_sides() {
    check_problems(
        &[
            (
                Layer::Role,
                "role/container-host.toml",
                "schema = 1\n[require.sysctl.\"net.ipv4.ip_forward\"]\none_of = [1]\nreason = \"containers' traffic is routed\"\n[require.gate.mode]\nmin = \"enforce\"\n",
            ),
            (
                Layer::Local,
                "cis.toml",
                "schema = 1\n[require.sysctl.\"net.ipv4.ip_forward\"]\none_of = [0]\nreason = \"CIS 3.3.1\"\n[gate]\nmode = \"observe\"\n",
            ),
        ],
        &expect![[r#"
            cis.toml:6:1: error: gate.mode = "observe" does not satisfy role/container-host.toml:5: at least "enforce"
              hint: change the value, or drop the requirement if that file is yours; `soft = true` lets a value give way
            cis.toml:2:1: error: no value of sysctl."net.ipv4.ip_forward".value can satisfy both role/container-host.toml:2: one of [1] (containers' traffic is routed) and cis.toml:2: one of [0] (CIS 3.3.1)
              hint: a host cannot be both: choose another role or level, or waive one in a local file of that name
        "#]],
    );
}

fn check_pair(left: &str, right: &str, compatible: bool) {
    let file = |predicate: &str| format!("schema = 1\n[require.{predicate}\n");
    let (left, right) = (file(left), file(right));
    let (_, problems) = merge(&[
        (Layer::Role, "left.toml", &left),
        (Layer::Local, "right.toml", &right),
    ]);
    assert_eq!(
        problems.is_empty(),
        compatible,
        "{left}{right}{}",
        lines(&problems)
    );
}

#[test]
fn unsatisfiable_pairs_are_found() {
    let cases = [
        ("sysctl.\"a\"]\nmin = 2", "sysctl.\"a\"]\nmax = 1", false),
        ("sysctl.\"a\"]\nmin = 2", "sysctl.\"a\"]\nmax = 2", true),
        ("sysctl.\"a\"]\none_of = [1, 2]", "sysctl.\"a\"]\nmin = 2", true),
        ("sysctl.\"a\"]\none_of = [1, 2]", "sysctl.\"a\"]\nmin = 3", false),
        (
            "sysctl.\"a\"]\none_of = [1]",
            "sysctl.\"a\"]\none_of = [\"1\"]",
            true,
        ),
        (
            "gate.mode]\nmin = \"enforce\"",
            "gate.mode]\none_of = [\"observe\"]",
            false,
        ),
        (
            "mount.\"/tmp\"]\ncontains = [\"noexec\"]",
            "mount.\"/tmp\"]\nexcludes = [\"noexec\"]",
            false,
        ),
        (
            "mount.\"/tmp\"]\ncontains = [\"noexec\"]",
            "mount.\"/tmp\"]\ncontains = [\"nodev\"]",
            true,
        ),
        (
            "module.overlay]\none_of = [true]",
            "module.overlay]\none_of = [false]",
            false,
        ),
    ];
    for (left, right, compatible) in cases {
        check_pair(left, right, compatible);
    }
}

#[test]
fn soft_values_give_way_to_requirements() {
    let role = "schema = 1\n[require.sysctl.\"user.max_user_namespaces\"]\nmin = 1000\n[sysctl]\n\"user.max_user_namespaces\" = 15000\n[require.module.overlay]\none_of = [false]\n";
    let level = "schema = 1\n[sysctl]\n\"user.max_user_namespaces\" = { value = 0, soft = true }\n[module]\noverlay = { deny = true, soft = true }\n";
    let (resolved, problems) = merge(&[
        (Layer::Role, "role.toml", role),
        (Layer::Level, "level.toml", level),
    ]);
    assert_eq!(lines(&problems), "");
    let setting = resolved
        .setting(&["sysctl", "user.max_user_namespaces", "value"])
        .expect("set");
    assert_eq!(setting.value, Value::Integer(15000));
    assert_eq!(
        setting.gave_way_to.as_ref().map(ToString::to_string),
        Some("role.toml:2".to_owned())
    );
    assert_eq!(value_of(&resolved, &["module", "overlay", "deny"]), "unset");
}

#[test]
fn local_files_replace_mask_and_come_last_in_lexical_order() {
    let server = selector(9, "rocky", "x86-64-v3", "server", "balanced");
    let mode = |locals: &[Source]| {
        let (resolved, problems) = load(&server, locals);
        assert_eq!(lines(&problems), "");
        value_of(&resolved, &["gate", "mode"])
    };
    assert_eq!(mode(&[]), "\"observe\" from policies/level/balanced.toml:5");
    let enforce = local("20-site.toml", Some("schema = 1\ngate.mode = \"enforce\"\n"));
    let observe = local("10-site.toml", Some("schema = 1\ngate.mode = \"observe\"\n"));
    assert_eq!(
        mode(&[enforce, observe]),
        "\"enforce\" from /etc/hardpan/policies/20-site.toml:2"
    );
    let replaced = local(
        "level/balanced.toml",
        Some("schema = 1\ngate.mode = \"enforce\"\n"),
    );
    assert_eq!(
        mode(&[replaced]),
        "\"enforce\" from /etc/hardpan/policies/level/balanced.toml:2"
    );
    assert_eq!(
        mode(&[local("level/balanced.toml", None)]),
        "\"observe\" from policies/base/10-gate.toml:5"
    );
}

#[test]
fn a_set_that_does_not_exist_is_named_with_the_nearest() {
    let (_, problems) = load(&selector(9, "rocky", "x86-64-v3", "webhots", "paranoid"), &[]);
    expect![[r#"
        role/webhots.toml:1:1: error: there is no role "webhots"
          hint: did you mean "webhost"?
        level/paranoid.toml:1:1: error: there is no level "paranoid"
          hint: there are balanced, baseline, locked, strict
    "#]]
    .assert_eq(&lines(&problems));
}

#[test]
fn hostile_files_are_bounded() {
    let deep = format!("schema = 1\na = {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    let long = format!("schema = 1\n# {}\n", "x".repeat(2 << 20));
    let many = format!(
        "schema = 1\n{}",
        (0..5000)
            .map(|n| "k".to_owned() + &n.to_string() + " = 1\n")
            .collect::<String>()
    );
    let wide = format!("schema = 1\ntrust.key_sets = [{}]\n", "\"a\",".repeat(2000));
    let name = format!("schema = 1\nsysctl.\"{}\" = 1\n", "n".repeat(1000));
    for text in [
        &deep,
        &long,
        &many,
        &wide,
        &name,
        "\u{0}",
        "schema = 99999999999999999999",
    ] {
        let (_, problems) = document::parse(Layer::Local, "x.toml", text);
        assert!(problems.iter().any(Problem::is_error));
        assert!(problems.len() <= 100);
    }
}
