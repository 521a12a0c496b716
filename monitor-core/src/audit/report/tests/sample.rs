//! Reports to render: a small one, a hostile one, one of any size.

use super::super::*;
use crate::audit::outcome::{Evidence, Outcome, Verdict};

fn piece(source: &str, expected: &str, found: &str, ok: Option<bool>) -> Evidence {
    Evidence {
        source: source.into(),
        expected: expected.into(),
        found: found.into(),
        ok,
    }
}

fn outcome(result: Verdict, reason: &str, evidence: Vec<Evidence>) -> Outcome {
    Outcome {
        evidence,
        ..Outcome::of(result, reason)
    }
}

fn chapter(id: &str, title: &str) -> Chapter {
    Chapter {
        id: id.into(),
        title: title.into(),
    }
}

fn reference(kind: ReferenceKind, id: &str) -> Reference {
    Reference { kind, id: id.into() }
}

fn empty() -> Report {
    Report {
        tool: Tool {
            name: "hardpan".into(),
            version: "0.1.0".into(),
        },
        target: Target {
            host: Host {
                name: "web01.example.com".into(),
                machine_id: "4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d".into(),
                os_id: "rocky".into(),
                os_like: "rhel centos fedora".into(),
                os_version: "9.6".into(),
                os_name: "Rocky Linux 9.6 (Blue Onyx)".into(),
                arch: "x86_64".into(),
                kernel: "5.14.0-570.12.1.el9_6.x86_64".into(),
            },
            addresses: vec!["192.0.2.10".into(), "2001:db8::10".into()],
            image: String::new(),
        },
        benchmark: Benchmark {
            id: "cis-rhel9".into(),
            version: "2.0.0".into(),
            title: "CIS Enterprise Linux 9".into(),
        },
        profile: Profile {
            id: "cis-l1-server".into(),
            title: "Level 1, server".into(),
        },
        started: 1_795_324_200,
        ended: 1_795_324_203,
        warnings: Vec::new(),
        rules: Vec::new(),
        diff: None,
    }
}

/// One control of each result.
#[expect(clippy::too_many_lines, reason = "a table of results")]
pub(super) fn sample() -> Report {
    let mut report = empty();
    report.rules = vec![
        RuleResult {
            chapter: chapter("1", "Initial setup"),
            checks: vec!["hp-kmod-cramfs".into()],
            references: vec![
                reference(ReferenceKind::Cce, "CCE-83853-2"),
                reference(ReferenceKind::Ssg, "kernel_module_cramfs_disabled"),
            ],
            level: "L1".into(),
            severity: Severity::Low,
            duration_us: Some(412),
            ..RuleResult::new(
                "1.1.1.1",
                "The kernel module cramfs cannot be loaded",
                outcome(
                    Verdict::Pass,
                    "the kernel has no module cramfs",
                    vec![piece("/lib/modules/5.14.0", "absent", "absent", Some(true))],
                ),
            )
        },
        RuleResult {
            chapter: chapter("1", "Initial setup"),
            checks: vec!["hp-mount-tmp".into()],
            level: "L1".into(),
            severity: Severity::Medium,
            waiver: Some(Waiver {
                reason: "build host, moves to its own disk with ticket 4711".into(),
                owner: "ops@example.com".into(),
                expires: "2027-03-31".into(),
                expired: false,
            }),
            remedy: "systemctl unmask tmp.mount\nsystemctl enable --now tmp.mount".into(),
            side_effect: "programs that put large files into /tmp".into(),
            ..RuleResult::new(
                "1.1.2.1",
                "/tmp is a file system of its own",
                outcome(
                    Verdict::Fail,
                    "/proc/self/mountinfo: expected a mount at /tmp, found none",
                    vec![piece(
                        "/proc/self/mountinfo",
                        "a mount at /tmp",
                        "none",
                        Some(false),
                    )],
                ),
            )
        },
        RuleResult {
            chapter: chapter("1", "Initial setup"),
            level: "L1".into(),
            means: Means::Manual,
            ..RuleResult::new(
                "1.2.1.1",
                "Package signing keys are the vendor's",
                outcome(
                    Verdict::NotChecked,
                    "Do you know each of these keys?",
                    vec![piece("rpmdb", "", "gpg-pubkey-350d275d (Rocky Enterprise)", None)],
                ),
            )
        },
        RuleResult {
            chapter: chapter("1", "Initial setup"),
            checks: vec!["hp-sysctl-aslr".into(), "hp-sysctl-aslr-disk".into()],
            references: vec![
                reference(ReferenceKind::Cce, "CCE-83971-2"),
                reference(ReferenceKind::Stig, "RHEL-09-213070"),
            ],
            level: "L1".into(),
            severity: Severity::High,
            remedy: "hardpan harden plan (sysctl kernel.randomize_va_space)".into(),
            duration_us: Some(95),
            ..RuleResult::new(
                "1.5.1",
                "Address space layout randomization is full",
                outcome(
                    Verdict::Fail,
                    "kernel.randomize_va_space: expected 2, found 1",
                    vec![
                        piece("/proc/sys/kernel/randomize_va_space", "2", "1", Some(false)),
                        piece("/etc/sysctl.d/60-hardening.conf:4", "2", "2", Some(true)),
                    ],
                ),
            )
        },
        RuleResult {
            chapter: chapter("1", "Initial setup"),
            level: "L1".into(),
            checks: vec!["hp-selinux-installed".into()],
            ..RuleResult::new(
                "1.3.1.1",
                "SELinux tools are installed",
                outcome(Verdict::Pass, "package libselinux is installed", vec![]).configured(),
            )
        },
        RuleResult {
            chapter: chapter("5", "Access control"),
            checks: vec!["hp-sshd-root".into()],
            level: "L1".into(),
            severity: Severity::High,
            waiver: Some(Waiver {
                reason: "until the bastion is there".into(),
                owner: "ops@example.com".into(),
                expires: "2026-06-30".into(),
                expired: true,
            }),
            remedy: "echo 'PermitRootLogin no' > /etc/ssh/sshd_config.d/00-root.conf; systemctl reload sshd"
                .into(),
            ..RuleResult::new(
                "5.1.20",
                "root cannot log in by SSH",
                outcome(
                    Verdict::Fail,
                    "sshd -T: expected permitrootlogin no, found yes",
                    vec![piece(
                        "sshd -T",
                        "permitrootlogin no",
                        "permitrootlogin yes",
                        Some(false),
                    )],
                ),
            )
        },
        RuleResult {
            chapter: chapter("5", "Access control"),
            checks: vec!["hp-sudo-log".into()],
            level: "L1".into(),
            severity: Severity::Medium,
            ..RuleResult::new(
                "5.2.3",
                "sudo writes a log file",
                outcome(Verdict::Error, "/etc/sudoers: Permission denied", vec![]),
            )
        },
        RuleResult {
            chapter: chapter("6", "Logging and auditing"),
            checks: vec!["hp-rsyslog".into()],
            level: "L1".into(),
            ..RuleResult::new(
                "6.2.3.1",
                "rsyslog is installed",
                outcome(Verdict::NotApplicable, "the logger in use is journald", vec![]),
            )
        },
        RuleResult {
            chapter: chapter("6", "Logging and auditing"),
            level: "L2".into(),
            checks: vec!["hp-audit-space".into()],
            ..RuleResult::new(
                "6.3.2.1",
                "Room for audit logs",
                outcome(
                    Verdict::Informational,
                    "for information",
                    vec![piece("/etc/audit/auditd.conf:12", "", "max_log_file = 8", None)],
                ),
            )
        },
        RuleResult {
            chapter: chapter("6", "Logging and auditing"),
            level: "L2".into(),
            means: Means::NotImplemented,
            ..RuleResult::new(
                "6.3.4",
                "Audit tools keep their digests",
                outcome(Verdict::NotChecked, "no check for this control yet", vec![]),
            )
        },
    ];
    report
}

/// Everything foreign in it tries something.
pub(super) fn hostile() -> Report {
    let evils = [
        "<script>alert(1)</script>",
        "</script><img src=x onerror=alert(1)>",
        "\" onmouseover=\"alert(1)",
        "' onclick='alert(1)",
        "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[31m",
        "evil\u{202e}fdp.exe\u{2066}",
        "\u{0}\u{1}\u{8}\u{b}\u{c}\u{7f}\u{9b}\u{fffe}\u{ffff}\u{2028}",
        "]]> --> <!-- <![CDATA[ &lt; &#0; &unknown;",
        "=cmd|' /C calc'!A0",
        "-w /etc/passwd,+x,@SUM(1)\r\nsecond,line",
        "",
        "   ",
        "漢字 naïve 🙂 \u{301}",
    ];
    let mut report = empty();
    for (index, evil) in evils.into_iter().enumerate() {
        for result in [
            Verdict::Fail,
            Verdict::Pass,
            Verdict::Unknown,
            Verdict::NotChecked,
        ] {
            report.rules.push(RuleResult {
                control: evil.into(),
                chapter: chapter(evil, evil),
                title: evil.into(),
                checks: vec![evil.into(); index % 3],
                references: vec![
                    reference(ReferenceKind::Cce, evil),
                    reference(ReferenceKind::Cis, evil),
                ],
                level: evil.into(),
                waiver: Some(Waiver {
                    reason: evil.into(),
                    owner: evil.into(),
                    expires: evil.into(),
                    expired: index % 2 == 0,
                }),
                remedy: evil.into(),
                side_effect: evil.into(),
                provenance: evil.into(),
                duration_us: Some(u64::MAX),
                ..RuleResult::new(
                    evil,
                    evil,
                    outcome(
                        result,
                        evil,
                        vec![piece(evil, evil, evil, Some(false)), piece(evil, "", evil, None)],
                    ),
                )
            });
        }
    }
    let evil = evils.concat();
    report.target.host.name.clone_from(&evil);
    report.target.host.machine_id.clone_from(&evil);
    report.target.host.os_name.clone_from(&evil);
    report.target.host.os_version = "9;<".into();
    report.target.host.kernel.clone_from(&evil);
    report.target.addresses = vec![evil.clone(), "::ffff:192.0.2.1".into()];
    report.target.image.clone_from(&evil);
    report.warnings = evils.map(str::to_owned).to_vec();
    report.started = i64::MAX;
    let earlier = Report {
        rules: vec![RuleResult::new(
            evil.as_str(),
            evil.as_str(),
            outcome(Verdict::Pass, &evil, vec![]),
        )],
        ..report.clone()
    };
    report.compared_with(&earlier)
}

/// `count` controls over seven chapters, with a baseline.
pub(super) fn full_size(count: usize) -> Report {
    let titles = [
        "Initial setup",
        "Services",
        "Network",
        "Host firewall",
        "Access control",
        "Logging and auditing",
        "System maintenance",
    ];
    let models = sample().rules;
    let mut report = empty();
    for index in 0..count {
        let place = index * titles.len() / count.max(1);
        let mut rule = models[index % models.len()].clone();
        rule.control = format!("{}.{}.{}", place + 1, index / 10, index % 10 + 1);
        rule.chapter = chapter(&(place + 1).to_string(), titles[place]);
        if index % 3 != 0 {
            rule.outcome.result = Verdict::Pass;
            rule.outcome.reason = "as wanted".into();
            rule.waiver = None;
            for piece in &mut rule.outcome.evidence {
                piece.found.clone_from(&piece.expected);
                piece.ok = Some(true);
            }
        }
        report.rules.push(rule);
    }
    let mut earlier = report.clone();
    earlier.ended -= 7 * 86_400;
    for rule in earlier.rules.iter_mut().step_by(37) {
        rule.outcome.result = if rule.result() == Verdict::Pass {
            Verdict::Fail
        } else {
            Verdict::Pass
        };
    }
    report.compared_with(&earlier)
}
