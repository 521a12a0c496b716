//! The crypto policy, by its tool's stand-in and file by file.

use super::*;
use hardpan_core::policy::Source;

/// The crypto policy's item of level locked, and the policy it is of.
fn crypto_item(kind: &Kind) -> (Resolved, Vec<Item>) {
    let (resolved, mut items) = policy(kind, "locked");
    items.retain(|item| item.id == "crypto-policy");
    assert_eq!(items.len(), 1);
    (resolved, items)
}

#[test]
fn the_crypto_policys_own_file_keeps_its_comments() {
    live_crypto(&|_| (), &|fake, applied| {
        assert!(applied.changed && !applied.failed, "{applied:?}");
        assert_eq!(fake.read("etc/crypto-policies/config"), "# This file\nFUTURE\n");
        let time = |path: &str| {
            let meta = std::fs::metadata(fake.at(path)).expect("metadata");
            meta.modified().expect("time")
        };
        assert!(
            time("etc/crypto-policies/state/current") >= time("etc/crypto-policies/config"),
            "`update-crypto-policies --is-applied` would say no"
        );
        let root = Root::with_liveness(fake.path(), true).expect("root");
        assert_eq!(drift(&root).expect("read"), []);
    });
}

/// Applies level locked's crypto policy to a live host whose configuration is this, and takes it back.
fn live_crypto(prepare: &dyn Fn(&Fake), check: &dyn Fn(&Fake, &Applied)) {
    let kind = &KINDS[4];
    let fake = Fake::new(kind);
    tools(&fake);
    prepare(&fake);
    let before = fake.snapshot();
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = crypto_item(kind);
    let options = ApplyOptions {
        irreversible: false,
        confirm_within: Some(Duration::from_secs(60)),
    };
    let applied = apply(&root, &resolved, &items, &options).expect("applied");
    check(&fake, &applied);
    assert_eq!(
        applied.confirmation_needed,
        pending(&root).expect("read").is_some()
    );
    rollback(&root, None).expect("rolled back");
    assert_eq!(fake.snapshot(), before);
}

#[test]
fn whatever_form_the_crypto_policys_file_has_comes_back() {
    for (text, value, expected) in [
        (
            "# a\n default # ours\n# b\nNO-SHA1 #x\n",
            "DEFAULT:NO-SHA1",
            "# a\n FUTURE # ours\n# b\n",
        ),
        ("DEFAULT", "DEFAULT", "FUTURE"),
        ("default:no-sha1\n", "DEFAULT:NO-SHA1", "FUTURE\n"),
    ] {
        let config = "etc/crypto-policies/config";
        let prepare = |fake: &Fake| {
            let in_force = std::process::Command::new(fake.at("usr/bin/update-crypto-policies"))
                .args(["--set", value])
                .current_dir(fake.path())
                .status();
            assert!(in_force.expect("started").success());
            fake.write(config, text);
        };
        live_crypto(&prepare, &|fake, applied| {
            assert!(applied.changed && !applied.failed, "{applied:?}");
            assert_eq!(fake.read(config), expected);
        });
    }
    // What somebody writes meanwhile stays, whatever form the file had.
    let fake = Fake::new(&KINDS[4]);
    tools(&fake);
    let config = "etc/crypto-policies/config";
    fake.write(config, "DEFAULT\nNO-SHA1\n");
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = crypto_item(&KINDS[4]);
    let options = ApplyOptions {
        irreversible: false,
        confirm_within: Some(Duration::from_secs(60)),
    };
    apply(&root, &resolved, &items, &options).expect("applied");
    fake.append(config, "# ask the security team\n");
    rollback(&root, None).expect("rolled back");
    assert_eq!(fake.read(config), "DEFAULT:NO-SHA1\n# ask the security team\n");
}

#[test]
fn a_crypto_policy_that_was_set_with_complaints_is_taken_back_at_once() {
    // The real tool does that where one back end cannot be written; its warnings come before what it failed of.
    let program = "usr/bin/update-crypto-policies";
    let complain = |when: &'static str| {
        move |fake: &Fake| {
            fake.append(
                program,
                &format!(
                    "{when} || exit 0\nfor n in $(seq 40); do echo a warning of some length >&2; done\n\
                     echo cannot write nss >&2; exit 1\n"
                ),
            );
        }
    };
    live_crypto(&complain("test $2 = FUTURE"), &|fake, applied| {
        assert!(
            !applied.changed && applied.failed && !applied.confirmation_needed,
            "{applied:?}"
        );
        assert!(
            matches!(&applied.results[0].outcome, Outcome::Failed { why } if why.ends_with("cannot write nss")),
            "{applied:?}"
        );
        assert_eq!(fake.read("etc/crypto-policies/config"), "# This file\nDEFAULT\n");
        let root = Root::with_liveness(fake.path(), true).expect("root");
        assert_eq!(drift(&root).expect("read"), []);
    });
    // It complains of the way back as well, and goes it.
    live_crypto(&complain("true"), &|fake, applied| {
        assert!(!applied.changed && applied.failed, "{applied:?}");
        assert_eq!(fake.read("etc/crypto-policies/config"), "# This file\nDEFAULT\n");
    });
    // It was killed on the way back, before its end: that is no way back.
    let early = "case $2 in DEFAULT) test -e $root/mended || { touch -d '2001-01-01' $etc/state/current; kill -9 $$; } ;; esac; test $2 = FUTURE";
    not_back(&|fake| complain(early)(fake));
    // There is no way back: what is in force waits for confirmation like any other change.
    let stuck = |fake: &Fake| {
        complain(
            "case $2 in FUTURE) ;; *) test -e $root/mended || echo FUTURE > $etc/config ;; esac; test ! -e $root/mended",
        )(fake);
    };
    not_back(&stuck);
}

/// The tool sets the policy, complains, and fails on the way back until it is mended.
fn not_back(prepare: &dyn Fn(&Fake)) {
    let fake = Fake::new(&KINDS[4]);
    tools(&fake);
    prepare(&fake);
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = crypto_item(&KINDS[4]);
    let options = ApplyOptions {
        irreversible: false,
        confirm_within: Some(Duration::ZERO),
    };
    let applied = apply(&root, &resolved, &items, &options).expect("applied");
    assert!(
        applied.changed && applied.failed && applied.confirmation_needed,
        "{applied:?}"
    );
    // Nobody confirms, and it cannot be taken back: it is tried again, not at once.
    let first = SystemTime::now();
    let report = expire_unconfirmed(&root, first).expect("tried").expect("due");
    assert!(
        report.edits.iter().any(|edit| edit.what == "failed"),
        "{report:?}"
    );
    fake.write("mended", "");
    assert_eq!(expire_unconfirmed(&root, first).expect("too early"), None);
    let later = first + Duration::from_secs(60);
    let report = expire_unconfirmed(&root, later).expect("rolled back");
    assert_eq!(pending(&root).expect("read"), None, "nothing waits any more");
    assert!(report.is_some_and(|report| report.changed));
    assert_eq!(fake.read("etc/crypto-policies/config"), "# This file\nDEFAULT\n");
}

#[test]
fn a_crypto_policy_killed_half_way_is_taken_back_or_made_whole() {
    let ends = "for end in openssl gnutls; do ln -sfn /usr/share/crypto-policies/$2/$end.txt \"$etc/back-ends/$end.config\"; done";
    for finish in ["rollback", "apply"] {
        let fake = Fake::new(&KINDS[4]);
        tools(&fake);
        let program = "usr/bin/update-crypto-policies";
        let whole = fake.read(program);
        let before = fake.snapshot();
        // The back ends come first, then it is killed. For now it cannot go back either.
        let half = format!(
            "#!/bin/sh\netc=\"${{0%/{program}}}/etc/crypto-policies\"\ntest $2 = FUTURE || exit 7\n{ends}\nkill -9 $$\n"
        );
        fake.write(program, &half);
        let root = Root::with_liveness(fake.path(), true).expect("root");
        let (resolved, items) = crypto_item(&KINDS[4]);
        let options = ApplyOptions {
            irreversible: false,
            confirm_within: Some(Duration::from_secs(60)),
        };
        let applied = apply(&root, &resolved, &items, &options).expect("applied");
        assert!(applied.failed && applied.confirmation_needed, "{applied:?}");
        let end =
            || std::fs::read_link(fake.at("etc/crypto-policies/back-ends/openssl.config")).expect("link");
        assert!(end().ends_with("FUTURE/openssl.txt"));
        assert_eq!(fake.read("etc/crypto-policies/config"), "# This file\nDEFAULT\n");
        fake.write(program, &whole);
        // What a process that was killed had not yet moved into its place.
        fake.write("etc/crypto-policies/.config.hardpan-1~", "FUTURE");
        if finish == "rollback" {
            rollback(&root, None).expect("rolled back");
            assert_eq!(fake.snapshot(), before);
        } else {
            confirm(&root).expect("confirmed");
            let applied = apply(&root, &resolved, &items, &options).expect("applied");
            assert!(applied.changed && !applied.failed, "{applied:?}");
            assert!(end().ends_with("FUTURE/openssl.txt"));
            rollback(&root, None).expect("rolled back");
            assert_eq!(fake.snapshot(), before);
        }
    }
}

#[test]
fn a_rollback_killed_before_the_comments_are_back_can_be_finished() {
    let fake = Fake::new(&KINDS[4]);
    tools(&fake);
    let before = fake.snapshot();
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = crypto_item(&KINDS[4]);
    let options = ApplyOptions {
        irreversible: false,
        confirm_within: Some(Duration::from_secs(60)),
    };
    apply(&root, &resolved, &items, &options).expect("applied");
    // It did its part but for the end, and nobody was left to put the comments back.
    let program = "usr/bin/update-crypto-policies";
    let whole = fake.read(program);
    fake.append(program, "touch -d 2001-01-01 $etc/state/current; kill -9 $$\n");
    let report = rollback(&root, None).expect("read");
    assert_eq!(report.edits[0].what, "failed", "{report:?}");
    fake.write("etc/crypto-policies/config", "DEFAULT\n");
    fake.write(program, &whole);
    rollback(&root, None).expect("rolled back");
    assert_eq!(fake.snapshot(), before);
}

#[test]
fn a_crypto_policy_without_a_file_is_blocked_and_a_sites_own_is_known() {
    let kind = &KINDS[4];
    let selector = Selector {
        el: kind.el,
        vendor: kind.vendor.to_owned(),
        hardware: "x86-64-v3".to_owned(),
        role: "server".to_owned(),
        level: "balanced".to_owned(),
    };
    let check = |policy: &str, files: &[&str], expected: &str| {
        let fake = Fake::new(kind);
        for file in files {
            fake.write(&format!("etc/crypto-policies/policies/{file}"), "mac = AEAD\n");
        }
        let root = Root::with_liveness(fake.path(), true).expect("root");
        let site = format!("schema = 1\n[crypto]\npolicy = \"{policy}\"\n");
        let site = Source {
            file: "/etc/hardpan/policies/50.toml".to_owned(),
            name: "50.toml".to_owned(),
            text: Some(site),
        };
        let (resolved, _) = load(&selector, &shipped::shipped(), &[site]);
        let item = items(&resolved)
            .into_iter()
            .find(|item| item.id == "crypto-policy")
            .expect("item");
        let state = format!("{:?}", plan::entry(&root, &resolved, &item).state);
        assert!(state.contains(expected), "{policy}: {state}");
    };
    check("SITE", &[], "no crypto policy SITE");
    check("SITE", &["SITE.pol"], "Differs");
    check("DEFAULT:NO-SUCH", &[], "no crypto sub-policy NO-SUCH");
    check("default:ours", &["modules/OURS.pmod"], "Differs");
    check("default", &[], "Satisfied");
}

#[test]
fn an_images_crypto_policy_is_set_only_as_far_as_its_tool_is_not_needed() {
    let kind = &KINDS[4];
    let (resolved, items) = crypto_item(kind);
    let check = |change: &dyn Fn(&Fake), expected: &str| {
        let fake = Fake::new(kind);
        change(&fake);
        let before = fake.snapshot();
        let root = Root::with_liveness(fake.path(), false).expect("root");
        let applied = apply(&root, &resolved, &items, &ApplyOptions::default()).expect("applied");
        let outcome = format!("{:?}", applied.results[0].outcome);
        assert!(outcome.contains(expected), "{outcome}");
        if applied.changed {
            let nss = fake.read("etc/crypto-policies/back-ends/nss.config");
            assert_eq!(
                nss,
                "library=\nname=Policy\nconfig=\"FUTURE nss\"\nname=p11-kit-proxy\nlibrary=p11-kit-proxy.so\n"
            );
            rollback(&root, None).expect("rolled back");
        }
        assert_eq!(fake.snapshot(), before);
    };
    check(&|_| {}, "Changed");
    let config = "etc/crypto-policies/config";
    check(&|fake| fake.write(config, "default\n"), "Changed");
    check(&|fake| fake.write(config, "DEFAULT\nSHA1\n"), "sub-policies");
    check(
        &|fake| fake.write(config, "DEFAULT # ours\n"),
        "has no line DEFAULT alone",
    );
    check(
        &|fake| fake.append("etc/crypto-policies/back-ends/nss.config", "more\n"),
        "is not /usr/share/crypto-policies/DEFAULT/nss.txt with what",
    );
}
