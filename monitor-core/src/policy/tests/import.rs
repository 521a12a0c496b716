//! fapolicyd's rules, recorded events.

use super::*;
use crate::platform::Tier;
use crate::policy::replay::{Learner, Simulator, events_of};
use crate::policy::rule::{self, Kind};
use crate::policy::{fapolicyd, show};
use expect_test::expect;

/// A rules file in fapolicyd's syntax with every construct that its manual names, written for this test.
const RULES: &str = "\
# shells and languages
%languages=text/x-python,text/x-perl,text/x-shellscript,application/x-bytecode.python
%trusted_uids=0,975

allow perm=any uid=%trusted_uids : dir=/var/tmp/build/
allow perm=any uid=0 trust=1 : all
deny_audit perm=any pattern=ld_so : all
deny_audit perm=any all : ftype=application/x-bad-elf
allow perm=open all : ftype=application/x-sharedlib trust=1
deny_audit perm=open all : ftype=application/x-sharedlib
allow perm=execute all : trust=1
allow perm=open all : ftype=%languages trust=1
deny_syslog perm=any auid=1000,1001 : ftype=%languages
deny perm=execute all : dir=/home/,/tmp/
allow perm=execute exe=/usr/bin/make : path=/opt/tool
deny perm=execute all : filehash=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
deny perm=execute uid=games : all
deny perm=open all : device=/dev/cdrom
nonsense
deny_audit perm=execute all : all
";

#[test]
fn fapolicyd_rules_carry_over_or_are_named() {
    let import = fapolicyd::import(RULES);
    let notes: String = import
        .notes
        .iter()
        .map(|note| note.line.to_string() + ": " + &note.text + "\n")
        .collect();
    expect![[r#"
        19: no fapolicyd rule: "nonsense"
        5: an allow by path, name or the trust of who runs it would have to be waited for in front of every deny; put the program's digest into a manifest (hardpan trust add), or its package is trusted already
        6: an allow by path, name or the trust of who runs it would have to be waited for in front of every deny; put the program's digest into a manifest (hardpan trust add), or its package is trusted already
        7: pattern=ld_so is not needed: Hardpan gates every library by digest, however it is loaded
        8: it is about opening data files; Hardpan decides executables, libraries and scripts only
        14: it needs a path or name, which only user space knows, and line 16 behind it denies in the kernel; without it that line decides
        15: an allow by path, name or the trust of who runs it would have to be waited for in front of every deny; put the program's digest into a manifest (hardpan trust add), or its package is trusted already
        17: uid=games names a user or group; Hardpan takes numbers
        18: device= names a device file; Hardpan takes major:minor
    "#]].assert_eq(&notes);
    assert_eq!((import.whole, import.partial, import.left_out), (7, 0, 9));
    let (resolved, problems) = merge(&[(Layer::Local, "import.toml", &import.policy)]);
    assert_eq!(lines(&problems), "", "{}", import.policy);
    let rules: String = resolved
        .rules
        .iter()
        .map(|rule| show::rule_line(rule) + "\n")
        .collect();
    expect![[r"
        fapolicyd-9: allow library object.class in [trusted, local, provisional, retired]
        fapolicyd-10: deny library (below tier B: alert)
        fapolicyd-11: allow exec object.class in [trusted, local, provisional, retired]
        fapolicyd-12: allow script object.class in [trusted, local, provisional, retired]
        fapolicyd-13: deny script subject.loginuid in [1000, 1001] (below tier B: alert)
        fapolicyd-16: deny exec object.digest in [9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08] (below tier B: alert)
        fapolicyd-20: deny exec (below tier B: alert)
    "]].assert_eq(&rules);
    // What comes out passes `policy check`.
    let problems = rule::lint(&resolved.rules, &[Tier::A, Tier::B, Tier::C], false);
    expect![""].assert_eq(&lines(&problems));
}

/// The shape of the rules that EL installs with fapolicyd (known-libs): types tell rules apart that Hardpan cannot.
#[test]
fn what_types_kept_apart_is_decided_once() {
    let import = fapolicyd::import(
        "%languages=text/x-python,text/x-perl\n\
         allow perm=open all : ftype=application/x-sharedlib trust=1\n\
         deny_audit perm=open all : ftype=application/x-sharedlib\n\
         allow perm=execute all : trust=1\n\
         allow perm=execute all : ftype=application/x-executable trust=1\n\
         allow perm=open all : ftype=%languages trust=1\n\
         deny_audit perm=any all : ftype=%languages\n\
         allow perm=any all : ftype=text/x-shellscript\n\
         deny_audit perm=execute all : all\n\
         allow perm=open all : all\n",
    );
    let notes: String = import
        .notes
        .iter()
        .map(|note| note.line.to_string() + ": " + &note.text + "\n")
        .collect();
    expect![[r"
        5: decided already by line 4 before it
        7: it is about scripts of some languages; Hardpan does not tell them apart: shell scripts are denied too
        8: decided otherwise by line 7 before it: Hardpan does not tell these types of files apart
        10: decided otherwise by line 3 and line 7 before it: Hardpan does not tell these types of files apart
    "]]
    .assert_eq(&notes);
    let (resolved, problems) = merge(&[(Layer::Local, "import.toml", &import.policy)]);
    assert_eq!(lines(&problems), "", "{}", import.policy);
    let problems = rule::lint(&resolved.rules, &[Tier::A, Tier::B, Tier::C], false);
    assert_eq!(lines(&problems), "");
    assert_eq!((import.whole, import.partial, import.left_out), (5, 1, 3));
}

/// Found by fuzzing: no policy holds such text, so the import may not make one that does.
#[test]
fn fapolicyd_rules_with_control_characters_are_left_out() {
    let import =
        fapolicyd::import("deny_audit perm=execute all : dir=/tmp\u{4}/\ndeny\tperm=execute uid=9 : all\n");
    assert_eq!((import.whole, import.left_out), (1, 1));
    assert_eq!(
        import.notes[0].text,
        r#"control characters in "deny_audit perm=execute all : dir=/tmp\u0004/""#
    );
    let (_, problems) = merge(&[(Layer::Local, "import.toml", &import.policy)]);
    assert_eq!(lines(&problems), "", "{}", import.policy);
}

fn record(action: &str, verdict: &str, path: &str, uid: &str, more: &str) -> String {
    format!(
        "{{\"@timestamp\":\"2026-11-22T05:10:11.123456Z\",\"event\":{{\"id\":\"b-1\",\"action\":\"{action}\"}},\
         \"process\":{{\"user\":{{\"id\":\"{uid}\"}}}},\"file\":{{\"mode\":\"0755\",\"inode\":\"7\"}},\
         \"Hardpan\":{{\"file\":{{\"verdict\":\"{verdict}\",\"path\":\"{path}\",\"fs_magic\":\"0x58465342\",\
         \"sha256\":\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"}}{more}}}}}"
    )
}

#[test]
fn records_become_events() {
    let check = |line: &str, expected: &[(Kind, Option<&str>, u64)]| {
        let found = events_of(line).expect("record");
        let found: Vec<_> = found
            .iter()
            .map(|event| (event.facts.kind, event.facts.class(), event.count))
            .collect();
        assert_eq!(found, expected, "{line}");
    };
    check(
        &record("exec", "trusted", "/usr/bin/id", "0", ""),
        &[(Kind::Exec, Some("trusted"), 1)],
    );
    check(
        &record(
            "exec-aggregate",
            "trusted",
            "/usr/bin/id",
            "0",
            ",\"aggregate\":{\"count\":40}",
        ),
        &[(Kind::Exec, Some("trusted"), 40)],
    );
    check(
        &record(
            "exec",
            "trusted",
            "/usr/bin/bash",
            "0",
            ",\"script\":{\"verdict\":\"untrusted\",\"path\":\"/x.sh\"}",
        ),
        &[
            (Kind::Exec, Some("trusted"), 1),
            (Kind::Script, Some("untrusted"), 1),
        ],
    );
    check("{\"event\":{\"action\":\"service-started\"}}", &[]);
    for bad in ["", "no json", "[1]", "{}", "{\"event\":3}"] {
        assert_eq!(events_of(bad), None, "{bad}");
    }
}

#[test]
fn a_candidate_is_measured_against_what_was_recorded() {
    let host = |level: &str| load(&selector(9, "rhel", "x86-64-v3", "webhost", level), &[]).0;
    let (now, candidate) = (host("balanced"), host("strict"));
    let mut simulator = Simulator::new(&now, &candidate, Tier::A);
    for line in [
        record(
            "exec-aggregate",
            "trusted",
            "/usr/bin/id",
            "0",
            ",\"aggregate\":{\"count\":40}",
        ),
        record("exec", "untrusted", "/opt/tool", "1000", ""),
        record("exec", "untrusted", "/opt/tool", "1000", ""),
        record("exec", "untrusted", "/var/www/up/x", "48", ""),
        record("exec", "digest-mismatch", "/usr/bin/ls", "0", ""),
        record("service-started", "", "", "0", ""),
        "garbage".to_owned(),
    ] {
        simulator.line(&line);
    }
    expect![[r#"
        44 events replayed: allow 40, deny 4
        mode observe -> enforce: 4 are refused
        1 lines are no records
        alert -> deny  exec "/opt/tool" [untrusted] x2, first b-1
            now default (policies/base/10-gate.toml:65)
            then default (policies/level/strict.toml:9)
        rule setid-untrusted decided nothing (0 hits)
        rule binfmt-registered decided nothing (0 hits)
        rule strict-protocol-modules decided nothing (0 hits)
    "#]]
    .assert_eq(&simulator.finish().text());
}

#[test]
fn learning_proposes_digests_not_paths() {
    let mut learner = Learner::default();
    let gate = ",\"gate\":{\"kind\":\"library\",\"class\":\"untrusted\"}";
    for line in [
        record("library-alert", "untrusted", "/opt/t\\u001bool", "1000", gate)
            .replace("-alert\"", "-alert\",\"dataset\":\"hardpan.gate\""),
        record("exec", "untrusted", "/opt/t\\u001bool", "1000", ""),
        record("exec", "untrusted", "/opt/tool", "1000", ""),
        record("exec", "digest-mismatch", "/usr/bin/ls", "0", ""),
        record("exec", "trusted", "/usr/bin/id", "0", ""),
    ] {
        learner.line(&line);
    }
    expect![[r#"
        # Proposed by `hardpan policy learn`: what ran on this host and no package vouches for.
        # Read it and take out what should not run. Then vouch for the rest, and compare the digests, for both hash the
        # files as they are: hardpan trust add --name NAME PATH… here, or hardpan trust sign on another machine.
        schema = 1

        [[file]]
        sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        path = "/opt/t\u001Bool"
        kind = "exec"
        seen = 2
    "#]]
    .assert_eq(&learner.manifest());
    let (_, problems) = merge(&[(Layer::Local, "learned.toml", &learner.policy())]);
    assert_eq!(lines(&problems), "");
}
