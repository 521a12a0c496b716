//! Apply and rollback on fake roots.

mod crypto;
pub(crate) mod fake;

use super::*;
use fake::{Fake, KINDS, Kind};
use hardpan_core::policy::harden::item::items;
use hardpan_core::policy::harden::plan::{self, State};
use hardpan_core::policy::harden::{Host as _, Item, ansible};
use hardpan_core::policy::{Resolved, Selector, load, shipped};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

fn policy(kind: &Kind, level: &str) -> (Resolved, Vec<Item>) {
    let selector = Selector {
        el: kind.el,
        vendor: kind.vendor.to_owned(),
        hardware: "x86-64-v3".to_owned(),
        role: "server".to_owned(),
        level: level.to_owned(),
    };
    let (resolved, problems) = load(&selector, &shipped::shipped(), &[]);
    assert!(problems.is_empty());
    let items = items(&resolved);
    (resolved, items)
}

fn outcome<'a>(applied: &'a Applied, item: &str) -> &'a Outcome {
    &applied
        .results
        .iter()
        .find(|result| result.item == item)
        .unwrap_or_else(|| panic!("{item}"))
        .outcome
}

#[test]
fn apply_twice_changes_once_and_rollback_gives_the_same_bytes() {
    for kind in KINDS {
        let fake = Fake::new(kind);
        let before = fake.snapshot();
        let root = Root::new(fake.path()).expect("root");
        let (resolved, items) = policy(kind, "locked");
        let options = ApplyOptions {
            irreversible: true,
            confirm_within: None,
        };
        let applied = apply(&root, &resolved, &items, &options).expect("applied");
        let failed: Vec<_> = applied
            .results
            .iter()
            .filter(|result| matches!(result.outcome, Outcome::Failed { .. }))
            .collect();
        assert!(
            applied.changed && failed.is_empty(),
            "EL {} {}: {failed:#?}",
            kind.el,
            kind.vendor
        );
        assert_ne!(fake.snapshot(), before);
        assert_eq!(drift(&root).expect("drift"), []);
        let again = apply(&root, &resolved, &items, &options).expect("again");
        let changed: Vec<_> = again
            .results
            .iter()
            .filter(|result| result.outcome == Outcome::Changed)
            .collect();
        assert!(
            !again.changed && again.transaction.is_none(),
            "EL {} {}: {changed:#?}",
            kind.el,
            kind.vendor
        );
        let report = rollback(&root, None).expect("rolled back");
        assert!(
            report.edits.iter().all(|edit| edit.what == "restored"),
            "{:#?}",
            report.edits
        );
        assert_eq!(fake.snapshot(), before, "EL {} {}", kind.el, kind.vendor);
        assert_eq!(rollback(&root, None).expect("nothing left").edits, []);
    }
}

#[test]
fn files_that_no_item_touches_are_never_written() {
    let kind = &KINDS[4];
    let fake = Fake::new(kind);
    let before = fake.snapshot();
    let root = Root::new(fake.path()).expect("root");
    let (resolved, items) = policy(kind, "strict");
    apply(
        &root,
        &resolved,
        &items,
        &ApplyOptions {
            irreversible: true,
            confirm_within: None,
        },
    )
    .expect("applied");
    let after = fake.snapshot();
    let mut touched: Vec<&str> = after
        .iter()
        .filter(|(path, content)| before.get(*path) != Some(content))
        .map(|(path, _)| path.as_str())
        .collect();
    touched.sort_unstable();
    expect_test::expect![[r"
        boot/loader/entries/id-0-rescue.conf
        boot/loader/entries/id-5.14.0-570.el9_6.x86_64.conf
        etc/default/grub
        etc/fstab
        etc/kernel/cmdline
        etc/modprobe.d/hardpan.conf
        etc/ssh/sshd_config.d/00-hardpan.conf
        etc/sysctl.d/99-zz-hardpan.conf
        etc/systemd
        etc/systemd/system
        etc/systemd/system/avahi-daemon.service
        etc/systemd/system/cups.service
        usr/bin/chage
        usr/bin/gpasswd
        usr/bin/newgrp"]]
    .assert_eq(&touched.join("\n"));
    assert!(before.keys().all(|path| after.contains_key(path)));
}

#[test]
fn what_was_written_is_what_el_reads() {
    for kind in [&KINDS[0], &KINDS[4], &KINDS[8]] {
        let fake = Fake::new(kind);
        let root = Root::new(fake.path()).expect("root");
        let (resolved, items) = policy(kind, "strict");
        let applied = apply(
            &root,
            &resolved,
            &items,
            &ApplyOptions {
                irreversible: true,
                confirm_within: None,
            },
        )
        .expect("applied");
        let boot = if kind.el == 8 {
            "boot/grub2/grubenv".to_owned()
        } else {
            format!("boot/loader/entries/id-{}.conf", "0-rescue")
        };
        let text = fake.read(&boot);
        for word in ["init_on_alloc=1", "slab_nomerge", "vsyscall=none", "pti=on"] {
            assert!(text.contains(word), "EL {}: {word} in {text}", kind.el);
        }
        assert!(!text.contains(" nopti"), "EL {}: {text}", kind.el);
        // What EL 8's kernel does not know is not put there.
        assert_eq!(text.contains("lockdown=integrity"), kind.el != 8);
        if kind.el == 8 {
            assert_eq!(text.len(), 1024);
            assert!(
                !fake
                    .read("boot/loader/entries/id-0-rescue.conf")
                    .contains("init_on_alloc")
            );
            let absent = outcome(&applied, "sysctl:kernel.io_uring_disabled");
            assert!(
                matches!(absent, Outcome::NotApplicable { why } if why.contains("policies/el8/10-release.toml:"))
            );
            // No Include on EL 8: the lines come first in the main file, where the first value counts.
            assert!(
                fake.read("etc/ssh/sshd_config")
                    .lines()
                    .next()
                    .is_some_and(|line| line.contains("X11Forwarding no"))
            );
        } else {
            assert!(fake.read("etc/kernel/cmdline").contains("vsyscall=none"));
            assert!(
                fake.read("etc/ssh/sshd_config.d/00-hardpan.conf")
                    .contains("X11Forwarding no\n")
            );
        }
        let fstab = fake.read("etc/fstab");
        assert!(fstab.contains("size=1G,nodev,nosuid,noexec  0 0"), "{fstab}");
        // kptr_restrict was 0 in a file that sorts earlier: ours wins, theirs stays.
        assert!(
            fake.read("etc/sysctl.d/99-zz-hardpan.conf")
                .contains("kernel.kptr_restrict = 2\n")
        );
        assert!(
            fake.read("etc/sysctl.d/10-site.conf")
                .ends_with("vm.swappiness=10")
        );
        assert!(
            fake.read("etc/modprobe.d/hardpan.conf")
                .contains("install sctp /bin/false\nblacklist sctp\n")
        );
        assert_eq!(fs_mode(&fake, "usr/bin/gpasswd"), 0o4710);
        assert_eq!(fs_mode(&fake, "usr/bin/chage"), 0o700);
        assert_eq!(fs_mode(&fake, "usr/bin/ls"), 0o755);
        // An item whose module this release does not build is not denied.
        let built = matches!(outcome(&applied, "module:cramfs"), Outcome::NotApplicable { .. });
        assert_eq!(built, kind.el != 8);
    }
}

fn fs_mode(fake: &Fake, path: &str) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(fake.at(path)).expect("metadata").mode() & 0o7777
}

#[test]
fn later_edits_of_others_survive_rollback_and_are_reported() {
    let kind = &KINDS[4];
    let fake = Fake::new(kind);
    let root = Root::new(fake.path()).expect("root");
    let (resolved, items) = policy(kind, "strict");
    apply(
        &root,
        &resolved,
        &items,
        &ApplyOptions {
            irreversible: true,
            confirm_within: None,
        },
    )
    .expect("applied");
    // An administrator adds, changes and removes.
    fake.append("etc/sysctl.d/99-zz-hardpan.conf", "vm.overcommit_memory = 2\n");
    let sysctl = fake
        .read("etc/sysctl.d/99-zz-hardpan.conf")
        .replace("kernel.dmesg_restrict = 1", "kernel.dmesg_restrict = 0");
    fake.write("etc/sysctl.d/99-zz-hardpan.conf", &sysctl);
    let entry = "boot/loader/entries/id-0-rescue.conf";
    fake.write(entry, &fake.read(entry).replace(" ro ", " ro console=ttyS0 "));
    std::fs::set_permissions(fake.at("usr/bin/chage"), std::fs::Permissions::from_mode(0o750)).expect("mode");
    std::fs::remove_file(fake.at("etc/systemd/system/cups.service")).expect("unmasked");
    let drifted: Vec<String> = drift(&root)
        .expect("drift")
        .into_iter()
        .map(|drift| drift.item)
        .collect();
    assert_eq!(
        drifted,
        [
            "service:cups.service",
            "suid:/usr/bin/chage",
            "sysctl:kernel.dmesg_restrict"
        ]
    );
    let report = rollback(&root, None).expect("rolled back");
    let kept: Vec<(&str, &str)> = report
        .edits
        .iter()
        .filter(|edit| edit.what != "restored")
        .map(|edit| (edit.item.as_str(), edit.what))
        .collect();
    assert_eq!(
        kept,
        [
            ("sysctl:kernel.dmesg_restrict", "kept"),
            ("suid:/usr/bin/chage", "kept"),
            ("service:cups.service", "gone")
        ]
    );
    let left: String = fake
        .read("etc/sysctl.d/99-zz-hardpan.conf")
        .lines()
        .skip(1)
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(left, "kernel.dmesg_restrict = 0\nvm.overcommit_memory = 2");
    let options = fake.read(entry);
    assert!(
        options.contains("options root=/dev/mapper/r ro console=ttyS0 crashkernel=1G nopti\n"),
        "{options}"
    );
    assert_eq!(fs_mode(&fake, "usr/bin/chage"), 0o750);
    assert_eq!(fs_mode(&fake, "usr/bin/gpasswd"), 0o4755);
}

#[test]
fn a_live_host_is_changed_at_run_time_but_never_one_way_unasked() {
    let kind = &KINDS[4];
    let fake = Fake::new(kind);
    let before = fake.snapshot();
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = policy(kind, "strict");
    let items: Vec<Item> = items
        .into_iter()
        .filter(|item| item.id.starts_with("sysctl:"))
        .collect();
    let applied = apply(&root, &resolved, &items, &ApplyOptions::default()).expect("applied");
    assert_eq!(fake.read("proc/sys/kernel/kptr_restrict"), "2\n");
    // 2 is what the level asks for and what runs: only the configuration was missing.
    assert_eq!(fake.read("proc/sys/kernel/yama/ptrace_scope"), "2\n");
    let one_way = outcome(&applied, "sysctl:kernel.kexec_load_disabled");
    assert!(
        matches!(one_way, Outcome::Skipped { why } if why.contains("--irreversible")),
        "{one_way:?}"
    );
    assert_eq!(fake.read("proc/sys/kernel/kexec_load_disabled"), "0\n");
    let missing = outcome(&applied, "sysctl:kernel.io_uring_disabled");
    assert_eq!(
        *missing,
        Outcome::NotApplicable {
            why: "this kernel has no such sysctl".to_owned()
        }
    );
    rollback(&root, None).expect("rolled back");
    assert_eq!(fake.snapshot(), before);
}

#[test]
fn what_could_lock_people_out_waits_for_confirmation() {
    let kind = &KINDS[4];
    let fake = Fake::new(kind);
    let before = fake.snapshot();
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = policy(kind, "strict");
    let items: Vec<Item> = items
        .into_iter()
        .filter(|item| item.id.starts_with("sshd:"))
        .collect();
    let refused = apply(&root, &resolved, &items, &ApplyOptions::default()).expect("refused");
    assert!(!refused.changed);
    let options = ApplyOptions {
        irreversible: false,
        confirm_within: Some(Duration::from_secs(600)),
    };
    let applied = apply(&root, &resolved, &items, &options).expect("applied");
    assert!(applied.confirmation_needed);
    let waiting = pending(&root).expect("read").expect("waiting");
    assert_eq!(Some(waiting.transaction), applied.transaction);
    // Nothing else is applied on top of what may still go.
    assert!(matches!(
        apply(&root, &resolved, &items, &options),
        Err(HardenError::Pending { .. })
    ));
    let now = SystemTime::now();
    assert_eq!(expire_unconfirmed(&root, now).expect("too early"), None);
    let later = now + Duration::from_secs(3600);
    assert!(
        expire_unconfirmed(&root, later)
            .expect("expired")
            .is_some_and(|report| report.changed)
    );
    assert_eq!(fake.snapshot(), before);
    assert_eq!(pending(&root).expect("read"), None);
    // Confirmed in time, it stays.
    let applied = apply(&root, &resolved, &items, &options).expect("applied");
    assert_eq!(confirm(&root).expect("confirmed"), applied.transaction);
    assert_eq!(expire_unconfirmed(&root, later).expect("nothing"), None);
    assert!(
        fake.read("etc/ssh/sshd_config.d/00-hardpan.conf")
            .contains("MaxAuthTries 4")
    );
}

#[test]
fn a_crash_between_journal_and_edit_is_taken_back() {
    let kind = &KINDS[1];
    let fake = Fake::new(kind);
    let before = fake.snapshot();
    let root = Root::new(fake.path()).expect("root");
    let (resolved, items) = policy(kind, "balanced");
    apply(&root, &resolved, &items, &ApplyOptions::default()).expect("applied");
    // As if the power had failed after the last `intended` line: its `done` line is torn.
    let journal = "var/lib/hardpan/harden/journal.jsonl";
    let text = fake.read(journal);
    fake.write(journal, text.get(..text.len() - 40).expect("long enough"));
    rollback(&root, None).expect("rolled back");
    assert_eq!(fake.snapshot(), before);
}

#[test]
fn image_mode_gets_drop_ins_for_its_kernel_arguments() {
    let kind = &KINDS[7];
    let fake = Fake::new(kind);
    std::fs::create_dir_all(fake.at("usr/lib/bootc")).expect("bootc");
    let before = fake.snapshot();
    let root = Root::new(fake.path()).expect("root");
    let (resolved, items) = policy(kind, "balanced");
    apply(&root, &resolved, &items, &ApplyOptions::default()).expect("applied");
    assert!(
        fake.read("usr/lib/bootc/kargs.d/50-hardpan-init_on_alloc.toml")
            .ends_with("kargs = [\"init_on_alloc=1\"]\n")
    );
    assert!(
        !fake
            .read("boot/loader/entries/id-0-rescue.conf")
            .contains("init_on_alloc")
    );
    rollback(&root, None).expect("rolled back");
    assert_eq!(fake.snapshot(), before);
}

#[test]
fn a_plan_tells_reasons_and_makes_a_playbook() {
    let kind = &KINDS[5];
    let fake = Fake::new(kind);
    let root = Root::new(fake.path()).expect("root");
    assert!(!root.is_live());
    let (resolved, items) = policy(kind, "strict");
    let plan = plan::plan(&root, &resolved, &items);
    for entry in &plan.entries {
        assert!(!entry.item.reason.is_empty(), "{}", entry.item.id);
        assert_eq!(
            matches!(entry.state, State::Differs { .. }),
            !entry.edits.is_empty(),
            "{}",
            entry.item.id
        );
    }
    let ptrace = plan
        .entries
        .iter()
        .find(|entry| entry.item.id == "sysctl:kernel.yama.ptrace_scope")
        .expect("planned");
    assert_eq!(ptrace.item.controls, ["cis-rhel9-2.0.0:1.5.2", "RHEL-09-213080"]);
    let playbook = ansible::playbook(&plan, "test");
    assert_eq!(
        playbook.matches("    - name: ").count(),
        playbook.matches("ansible.").count(),
        "{playbook}"
    );
    // A playbook is YAML with one document: Python's parser is asked where it is at hand.
    let python = std::process::Command::new("python3")
        .args([
            "-c",
            "import sys, yaml; t = yaml.safe_load(sys.stdin)[0]['tasks']; assert len(t) > 20, t",
        ])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    if let Ok(mut child) = python {
        use std::io::Write as _;
        child
            .stdin
            .take()
            .expect("stdin")
            .write_all(playbook.as_bytes())
            .expect("written");
        let output = child.wait_with_output().expect("python");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() || error.contains("No module named"),
            "{error}\n{playbook}"
        );
    }
    assert_eq!(
        fake.snapshot(),
        Fake::new(kind).snapshot(),
        "planning changes nothing"
    );
}

/// Stand-ins for authselect and firewall-cmd, which this machine need not have: they change the file that the real
/// ones change, one line of it.
fn tools(fake: &Fake) {
    let scripts = [
        (
            "usr/bin/authselect",
            "conf=\"${0%/usr/bin/authselect}/etc/authselect/authselect.conf\"\n\
             case $1 in\n\
             enable-feature) echo \"$2\" >> \"$conf\" ;;\n\
             disable-feature) rest=$(grep -vx -- \"$2\" \"$conf\"); echo \"$rest\" > \"$conf\" ;;\n\
             esac\n",
        ),
        // Writes what the real one writes: configuration and state anew, without comments, and the back ends. Like that
        // one it would look for policies in its working directory.
        (
            "usr/bin/update-crypto-policies",
            "root=\"${0%/usr/bin/update-crypto-policies}\"; test \"$PWD\" -ef \"$root\" || exit 9\n\
             etc=\"$root/etc/crypto-policies\"\n\
             echo \"$2\" > \"$etc/config.new\"; mv \"$etc/config.new\" \"$etc/config\"\n\
             echo \"$2\" > \"$etc/state/current\"\n\
             for end in openssl gnutls; do ln -sfn /usr/share/crypto-policies/$2/$end.txt \"$etc/back-ends/$end.config\"; done\n",
        ),
        (
            "usr/bin/firewall-cmd",
            "echo FirewallD is not running >&2; exit 252\n",
        ),
    ];
    for (path, script) in scripts {
        fake.write(path, &format!("#!/bin/sh\n{script}"));
        std::fs::set_permissions(fake.at(path), std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
}

/// A kiosk's policy of level strict, and its items whose names begin so.
fn kiosk(kind: &Kind, names: &[&str]) -> (Resolved, Vec<Item>) {
    let selector = Selector {
        el: kind.el,
        vendor: kind.vendor.to_owned(),
        hardware: "x86-64-v3".to_owned(),
        role: "kiosk".to_owned(),
        level: "strict".to_owned(),
    };
    let (resolved, _) = load(&selector, &shipped::shipped(), &[]);
    let mut items = items(&resolved);
    items.retain(|item| names.iter().any(|name| item.id.starts_with(name)));
    (resolved, items)
}

#[test]
fn pam_and_firewall_go_through_their_own_tools_and_need_confirmation() {
    let kind = &KINDS[4];
    let fake = Fake::new(kind);
    tools(&fake);
    let before = fake.snapshot();
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = kiosk(kind, &["pam:", "firewall:"]);
    let refused = apply(&root, &resolved, &items, &ApplyOptions::default()).expect("refused");
    assert!(!refused.changed);
    for result in &refused.results {
        assert!(
            matches!(&result.outcome, Outcome::Skipped { why } if why.contains("--confirm-within")),
            "{result:?}"
        );
    }
    let options = ApplyOptions {
        irreversible: false,
        confirm_within: Some(Duration::from_secs(60)),
    };
    let applied = apply(&root, &resolved, &items, &options).expect("applied");
    assert!(applied.confirmation_needed && !applied.failed, "{applied:?}");
    assert_eq!(
        fake.read("etc/authselect/authselect.conf"),
        "sssd\nwith-mkhomedir\nwith-faillock\nwith-pwhistory\nwithout-nullok\n"
    );
    assert!(
        fake.read("etc/firewalld/firewalld.conf")
            .contains("DefaultZone=drop\n")
    );
    assert_eq!(drift(&root).expect("read"), []);
    // Somebody opens the firewall again and adds a feature: both stay theirs.
    fake.write("etc/firewalld/firewalld.conf", "DefaultZone=trusted\n");
    fake.append("etc/authselect/authselect.conf", "with-sudo\n");
    assert_eq!(drift(&root).expect("read").len(), 1);
    let later = SystemTime::now() + Duration::from_secs(3600);
    let report = expire_unconfirmed(&root, later)
        .expect("expired")
        .expect("rolled back");
    let kept: Vec<&str> = report
        .edits
        .iter()
        .filter(|edit| edit.what == "kept")
        .map(|edit| edit.item.as_str())
        .collect();
    assert_eq!(kept, ["firewall:default-zone"]);
    assert_eq!(
        fake.read("etc/authselect/authselect.conf"),
        "sssd\nwith-mkhomedir\nwith-sudo\n"
    );
    fake.write("etc/authselect/authselect.conf", "sssd\nwith-mkhomedir\n");
    fake.write(
        "etc/firewalld/firewalld.conf",
        "# firewalld config file\nDefaultZone=public\nLogDenied=off\n",
    );
    assert_eq!(fake.snapshot(), before);
}

#[test]
fn a_tool_that_lies_about_success_is_not_believed() {
    let kind = &KINDS[4];
    let fake = Fake::new(kind);
    tools(&fake);
    fake.write("usr/bin/authselect", "#!/bin/sh\nexit 0\n");
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = policy(kind, "strict");
    let items: Vec<Item> = items
        .into_iter()
        .filter(|item| item.id == "pam:with-faillock")
        .collect();
    let options = ApplyOptions {
        irreversible: false,
        confirm_within: Some(Duration::from_secs(60)),
    };
    let applied = apply(&root, &resolved, &items, &options).expect("applied");
    assert!(
        matches!(outcome(&applied, "pam:with-faillock"), Outcome::Failed { why } if why.contains("authselect")),
        "{applied:?}"
    );
}

#[test]
fn a_zone_that_firewalld_may_still_be_setting_waits_for_confirmation() {
    let kind = &KINDS[4];
    let fake = Fake::new(kind);
    tools(&fake);
    let before = fake.snapshot();
    let firewall = "usr/bin/firewall-cmd";
    let not_running = fake.read(firewall);
    fake.write(firewall, "#!/bin/sh\necho Did not receive a reply >&2; exit 1\n");
    let root = Root::with_liveness(fake.path(), true).expect("root");
    let (resolved, items) = kiosk(kind, &["firewall:"]);
    let options = ApplyOptions {
        irreversible: false,
        confirm_within: Some(Duration::ZERO),
    };
    let applied = apply(&root, &resolved, &items, &options).expect("applied");
    assert!(applied.failed && applied.confirmation_needed, "{applied:?}");
    // It answers nobody, and gets there in the end.
    let conf = "etc/firewalld/firewalld.conf";
    fake.write(conf, &fake.read(conf).replace("=public", "=drop"));
    fake.write(firewall, &not_running);
    let report = expire_unconfirmed(&root, SystemTime::now()).expect("rolled back");
    assert!(report.is_some_and(|report| report.changed));
    assert_eq!(fake.snapshot(), before);
}
