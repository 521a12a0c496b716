//! Whole audits of fake Enterprise Linux roots, compliant and broken.

use super::*;
use hardpan_core::audit::{ControlResult, Verdict};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// A small EL 9 root. `broken` is the same system with every looked-at setting the wrong way round.
fn fake_root(broken: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let pick = |good: &'static str, bad: &'static str| if broken { bad } else { good };
    let files: [(&str, &str); 22] = [
        (
            "etc/os-release",
            "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.6\"\nPRETTY_NAME=\"Rocky Linux 9.6\"\n",
        ),
        ("etc/hostname", "fake\n"),
        (
            "etc/passwd",
            pick(
                "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\n",
                "root:x:0:0:root:/root:/bin/bash\nann:x:0:1000::/home/ann:/bin/bash\nbob::1001:77::/nowhere:/bin/bash\n",
            ),
        ),
        (
            "etc/group",
            pick(
                "root:x:0:\nann:x:1000:\nsugroup:x:90:\n",
                "root:x:0:\nann:x:1000:\nwheel:x:0:\nsugroup:x:90:ann\n",
            ),
        ),
        (
            "etc/shadow",
            pick(
                "root:$6$a$b:19000:1:365:7:45::\nann:$6$a$b:19000:1:365:7:30::\n",
                "root::19000::::::\nann:$1$a:99999:0:99999::::\n",
            ),
        ),
        (
            "etc/login.defs",
            pick(
                "PASS_MAX_DAYS 365\nPASS_MIN_DAYS 1\nPASS_WARN_AGE 7\nENCRYPT_METHOD SHA512\nUMASK 027\n",
                "PASS_MAX_DAYS 99999\nPASS_MIN_DAYS 0\nENCRYPT_METHOD MD5\nUMASK 022\n",
            ),
        ),
        (
            "etc/fstab",
            pick(
                "/dev/sda1 / xfs defaults 0 0\n/dev/sda2 /home xfs defaults,nodev,nosuid 0 0\ntmpfs /dev/shm tmpfs defaults,nodev,nosuid,noexec 0 0\n",
                "/dev/sda1 / xfs defaults 0 0\n/dev/sda2 /home xfs defaults 0 0\n",
            ),
        ),
        ("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n"),
        (
            "etc/ssh/sshd_config.d/01.conf",
            pick(
                "PermitRootLogin no\nMaxAuthTries 4\nLoginGraceTime 60\nMaxStartups 10:30:60\nBanner /etc/issue.net\nUsePAM yes\n",
                "PermitRootLogin yes\nMaxAuthTries 10\nPermitEmptyPasswords yes\nIgnoreRhosts no\n",
            ),
        ),
        (
            "etc/sysctl.d/60-x.conf",
            pick(
                "kernel.randomize_va_space = 2\nkernel.yama.ptrace_scope = 1\nnet.ipv4.tcp_syncookies=1\n",
                "kernel.randomize_va_space = 0\nnet.ipv4.tcp_syncookies=0\n",
            ),
        ),
        (
            "etc/modprobe.d/x.conf",
            pick(
                "install usb-storage /bin/false\nblacklist usb-storage\n",
                "blacklist usb-storage\n",
            ),
        ),
        (
            "usr/lib/modules/5.14.0-1.el9/modules.dep",
            "kernel/drivers/usb/storage/usb-storage.ko.xz:\nkernel/fs/squashfs/squashfs.ko.xz:\n",
        ),
        ("usr/lib/modules/5.14.0-1.el9/modules.builtin", "kernel/x.ko\n"),
        (
            "etc/sudoers",
            pick(
                "Defaults use_pty\nDefaults logfile=\"/var/log/sudo.log\"\nroot ALL=(ALL) ALL\n",
                "ann ALL=(ALL) NOPASSWD: ALL\n%w ALL=(ALL) ALL\n",
            ),
        ),
        (
            "etc/pam.d/system-auth",
            pick(
                "auth required pam_faillock.so preauth\nauth sufficient pam_unix.so\nauth required pam_faillock.so authfail\npassword requisite pam_pwquality.so\npassword requisite pam_pwhistory.so use_authtok remember=24\npassword sufficient pam_unix.so sha512 use_authtok\n",
                "auth sufficient pam_unix.so nullok\n",
            ),
        ),
        (
            "etc/pam.d/password-auth",
            pick(
                "auth required pam_faillock.so preauth\nauth sufficient pam_unix.so\nauth required pam_faillock.so authfail\npassword requisite pam_pwquality.so\npassword requisite pam_pwhistory.so use_authtok remember=24\npassword sufficient pam_unix.so sha512 use_authtok\n",
                "auth sufficient pam_unix.so nullok\n",
            ),
        ),
        (
            "etc/security/pwquality.conf",
            pick("minlen = 14\ndifok = 2\n", "minlen = 6\n"),
        ),
        (
            "etc/selinux/config",
            pick("SELINUX=enforcing\nSELINUXTYPE=targeted\n", "SELINUX=disabled\n"),
        ),
        ("etc/issue", pick("Authorized users only.\n", "\\S\nKernel \\r\n")),
        (
            "etc/audit/rules.d/a.rules",
            pick(
                "-w /etc/sudoers -p wa -k s\n-w /etc/sudoers.d -p wa -k s\n-e 2\n",
                "-w /etc/sudoers -p r -k s\n",
            ),
        ),
        ("etc/crypto-policies/config", pick("DEFAULT\n", "LEGACY\n")),
        ("home/ann/.bashrc", "# nothing\n"),
    ];
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    symlink("usr/lib", dir.path().join("lib")).unwrap();
    for path in ["etc/passwd", "etc/group", "etc/ssh/sshd_config"] {
        let mode = if broken { 0o666 } else { 0o600 };
        fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    dir
}

fn audit(root: &Path, profile: Profile) -> Report {
    let content = Content::shipped(Some(profile.family())).unwrap();
    let options = Options {
        root: root.to_owned(),
        ..Options::new(profile)
    };
    run(&content, &options, &mut |_| {}).unwrap()
}

fn of<'a>(report: &'a Report, id: &str) -> &'a ControlResult {
    report
        .results
        .iter()
        .find(|result| result.id == id)
        .unwrap_or_else(|| panic!("no control {id}"))
}

/// CIS controls for EL 9 that the compliant root passes and the broken one fails.
const TURNED: [&str; 24] = [
    "1.1.1.8",
    "1.1.2.2.4",
    "1.1.2.3.2",
    "1.3.1.4",
    "1.3.1.5",
    "1.5.1",
    "1.5.2",
    "1.6.1",
    "1.7.2",
    "3.3.10",
    "5.1.1",
    "5.2.2",
    "5.2.3",
    "5.2.4",
    "5.3.2.2",
    "5.3.3.2.2",
    "5.3.3.4.1",
    "5.4.1.1",
    "5.4.2.1",
    "6.3.3.1",
    "6.3.3.20",
    "7.1.1",
    "7.2.2",
    "7.2.3",
];

#[test]
fn compliant_and_broken_roots_differ_where_they_should() {
    let (good, bad) = (fake_root(false), fake_root(true));
    let (good, bad) = (
        audit(good.path(), Profile::CisServer(2)),
        audit(bad.path(), Profile::CisServer(2)),
    );
    assert_eq!(good.benchmark_title, "CIS Rocky Linux 9 Benchmark");
    for id in TURNED {
        let (good, bad) = (of(&good, id), of(&bad, id));
        assert_eq!(good.result, Verdict::Pass, "{id}: {good:#?}");
        assert_eq!(bad.result, Verdict::Fail, "{id}: {bad:#?}");
    }
    assert!(
        of(&good, "1.5.1").configured_only,
        "an image passes as configured only"
    );
    assert_eq!(of(&good, "2.1.22").result, Verdict::NotChecked);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let root = fake_root(false);
    let report = audit(root.path(), Profile::CisServer(1));
    let aide = of(&report, "6.1.1");
    assert_eq!(
        aide.checks[0].outcome.result,
        Verdict::Error,
        "there is no rpm database: {aide:#?}"
    );
    assert_eq!(report.exit_code(), 3);
}

#[test]
fn every_profile_answers_every_control_of_an_empty_root() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    for (name, profile, _) in Profile::ALL {
        for el in [8, 9, 10] {
            let content = Content::shipped(Some(profile.family())).unwrap();
            let options = Options {
                root: root.path().to_owned(),
                el: Some(el),
                ..Options::new(profile)
            };
            let report = run(&content, &options, &mut |_| {}).unwrap();
            assert_eq!(report.coverage.controls, report.results.len(), "{name} {el}");
            for result in &report.results {
                assert!(
                    !result.reason.contains("defect"),
                    "{name} {}: {}",
                    result.id,
                    result.reason
                );
            }
        }
    }
}

#[test]
fn a_host_that_is_no_enterprise_linux_needs_a_release() {
    let root = tempfile::tempdir().unwrap();
    let content = Content::shipped(Some("cis")).unwrap();
    let options = Options {
        root: root.path().to_owned(),
        ..Options::new(Profile::CisServer(1))
    };
    let error = run(&content, &options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("--el sets the release"), "{error}");
}

#[test]
fn an_empty_selection_is_wrong_usage() {
    let root = fake_root(false);
    let content = Content::shipped(Some("cis")).unwrap();
    for (only, skip) in [(vec!["99".to_owned()], vec![]), (vec![], vec!["*".to_owned()])] {
        let options = Options {
            root: root.path().to_owned(),
            selection: Selection {
                only,
                skip,
                ..Selection::default()
            },
            ..Options::new(Profile::CisServer(1))
        };
        let error = run(&content, &options, &mut |_| {}).unwrap_err();
        assert!(error.is_usage(), "{error}");
    }
}

#[test]
fn times_and_addresses_are_filled_in() {
    let root = fake_root(false);
    let report = audit(root.path(), Profile::CisServer(1));
    assert!(report.addresses.is_empty(), "an image has none");
    assert!(of(&report, "1.5.1").duration_us.is_some());
    let shown =
        hardpan_core::audit::report::Report::of(&report, &Content::shipped(Some("cis")).unwrap().checks);
    assert!(shown.rules.iter().any(|rule| rule.duration_us.is_some()));
}
