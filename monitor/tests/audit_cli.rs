//! `hardpan audit` as a process: exit codes, formats, waivers, baseline, tailoring, explanations.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const HARDPAN: &str = env!("CARGO_BIN_EXE_hardpan");

/// A small EL 9 root: one setting is as CIS wants it, one is not.
fn root() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "etc/os-release",
        "ID=rocky\nID_LIKE=\"rhel\"\nVERSION_ID=9.6\n",
    );
    write(
        dir.path(),
        "etc/sysctl.d/60-x.conf",
        "kernel.yama.ptrace_scope = 1\nkernel.randomize_va_space = 1\n",
    );
    dir
}

fn write(root: &Path, path: &str, text: &str) -> PathBuf {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn audit(root: &Path, arguments: &[&str]) -> Output {
    Command::new(HARDPAN)
        .args(["audit", "--profile", "cis-l1-server", "--root"])
        .arg(root)
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn exit_codes() {
    let dir = root();
    let pass = audit(dir.path(), &["--only", "1.5.2"]);
    assert!(ends(&pass, 0).contains("CIS Rocky Linux 9 Benchmark"));
    ends(&audit(dir.path(), &["--only", "1.5.1"]), 1);
    // No rpm database: whether there is an FTP client cannot be said, and that beats the failure.
    ends(&audit(dir.path(), &["--only", "1.5.1,2.2.1"]), 3);
    for wrong in [
        &["--only", "99"][..],
        &["--format", "pdf"],
        &["--explain", "no-such-thing"],
        &["--waivers", "/proc/self/cmdline"],
    ] {
        let output = audit(dir.path(), wrong);
        assert!(!output.stderr.is_empty(), "{wrong:?}");
        ends(&output, 2);
    }
    for cannot in [&["--waivers", "/nonexistent"][..], &["--content", "/nonexistent"]] {
        ends(&audit(dir.path(), cannot), 3);
    }
    ends(&audit(Path::new("/nonexistent"), &[]), 3);
}

#[test]
fn a_waiver_counts_until_its_day() {
    let dir = root();
    let waiver = |expires: &str| {
        let text = format!(
            "[[waiver]]\ncontrol = \"1.5.1\"\nreason = \"old\"\nowner = \"ops\"\nexpires = \"{expires}\"\n"
        );
        let file = write(dir.path(), "waivers.toml", &text);
        let arguments = [
            "--only",
            "1.5.1",
            "--format",
            "json",
            "--waivers",
            file.to_str().unwrap(),
        ];
        let output = audit(dir.path(), &arguments);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rule = report["rules"]
            .as_array()
            .unwrap()
            .iter()
            .find(|rule| rule["control"] == "1.5.1")
            .unwrap();
        assert_eq!(rule["result"], "fail", "a waived control stays what it is");
        assert_eq!(rule["waiver"]["owner"], "ops");
        output.status.code()
    };
    assert_eq!(waiver("2999-12-31"), Some(0));
    assert_eq!(waiver("2020-12-31"), Some(1));
}

#[test]
fn a_later_run_says_what_changed() {
    let dir = root();
    let earlier = dir.path().join("earlier.json");
    let to_json = format!("json={}", earlier.display());
    ends(&audit(dir.path(), &["--only", "1.5.1,1.5.2", "-o", &to_json]), 1);
    write(
        dir.path(),
        "etc/sysctl.d/60-x.conf",
        "kernel.yama.ptrace_scope = 0\nkernel.randomize_va_space = 2\n",
    );
    let page = dir.path().join("now.html");
    let to_html = format!("html={}", page.display());
    let now = audit(
        dir.path(),
        &[
            "--only",
            "1.5.1,1.5.2",
            "--baseline",
            earlier.to_str().unwrap(),
            "-o",
            &to_html,
        ],
    );
    let text = ends(&now, 1);
    assert!(text.contains("1 regressed, 1 fixed"), "{text}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("Changes since the baseline"));
    assert!(
        !page.contains("src=") && !page.contains("<link"),
        "nothing is loaded from elsewhere"
    );
}

#[test]
fn every_format_is_written() {
    let dir = root();
    for (format, begins) in [
        ("table", "hardpan "),
        ("json", "{"),
        ("jsonl", "{\"type\":\"report\""),
        ("csv", "id,level,title,result"),
        ("junit", "<?xml"),
        ("xccdf", "<?xml"),
        ("arf", "<?xml"),
        ("oscal", "{"),
        ("html", "<!doctype html>"),
    ] {
        let text = ends(&audit(dir.path(), &["--only", "1.5.2", "--format", format]), 0);
        let start: String = text.chars().take(begins.len()).collect();
        assert_eq!(start.to_lowercase(), begins, "{format}");
    }
}

#[test]
fn a_tailoring_file_takes_rules_out() {
    let dir = root();
    let file = write(
        dir.path(),
        "tailoring.xml",
        "<?xml version=\"1.0\"?>\n<cdf-11-tailoring:Tailoring xmlns:cdf-11-tailoring=\"http://open-scap.org/page/Xccdf-1.1-tailoring\" xmlns:xccdf=\"http://checklists.nist.gov/xccdf/1.2\" id=\"xccdf_x_tailoring_t\"><xccdf:Profile id=\"xccdf_x_profile_p\"><xccdf:title>t</xccdf:title><xccdf:select idref=\"xccdf_org.ssgproject.content_rule_sysctl_kernel_randomize_va_space\" selected=\"false\"/></xccdf:Profile></cdf-11-tailoring:Tailoring>\n",
    );
    let arguments = ["--only", "1.5.1", "--tailoring", file.to_str().unwrap()];
    ends(&audit(dir.path(), &arguments), 0);
}

#[test]
fn a_tailoring_file_changes_what_is_expected() {
    let dir = root();
    let audit_with = |content: &str, code| {
        let text = content.replace("SSG_", "xccdf_org.ssgproject.content_");
        let text = format!(
            "<Tailoring><Profile id=\"p\" extends=\"xccdf_org.ssgproject.content_profile_cis_server_l1\">{text}</Profile></Tailoring>"
        );
        let file = write(dir.path(), "tailoring.xml", &text);
        ends(
            &audit(
                dir.path(),
                &["--only", "1.5.1", "--tailoring", file.to_str().unwrap()],
            ),
            code,
        )
    };
    let value = "SSG_value_sysctl_kernel_randomize_va_space_value";
    // The host has 1, the benchmark wants 2.
    ends(&audit(dir.path(), &["--only", "1.5.1"]), 1);
    audit_with(&format!("<set-value idref=\"{value}\">2</set-value>"), 1);
    audit_with(&format!("<set-value idref=\"{value}\">1</set-value>"), 0);
    let text = audit_with(
        &format!("<refine-value idref=\"{value}\" selector=\"enabled\"/>"),
        0,
    );
    assert!(!text.contains("tailoring file"), "{text}");
    // A name that SSG does not list: said, and the benchmark's value stays.
    let text = audit_with(
        &format!("<refine-value idref=\"{value}\" selector=\"perhaps\"/>"),
        1,
    );
    assert!(text.contains("chooses \"perhaps\""), "{text}");
}

#[test]
fn a_tailoring_file_adds_rules() {
    let dir = root();
    let id = "xccdf_org.ssgproject.content_rule_sysctl_kernel_core_pattern";
    let file = write(
        dir.path(),
        "tailoring.xml",
        &format!(
            "<Tailoring><Profile id=\"p\"><select idref=\"{id}\" selected=\"true\"/></Profile></Tailoring>"
        ),
    );
    let arguments = [
        "--only",
        "sysctl_kernel_core_pattern",
        "--tailoring",
        file.to_str().unwrap(),
    ];
    let text = ends(&audit(dir.path(), &arguments), 1);
    assert!(text.contains("kernel.core_pattern"), "{text}");
}

#[test]
fn checks_are_explained_and_listed() {
    let dir = root();
    let text = ends(&audit(dir.path(), &["--explain", "1.5.1", "--el", "9"]), 0);
    assert!(
        text.contains("hp-sysctl-kernel-randomize-va-space") && text.contains("remedy"),
        "{text}"
    );
    let text = ends(&audit(dir.path(), &["--list"]), 0);
    assert!(
        text.contains("stig-rhel10") && text.contains("AlmaLinux"),
        "{text}"
    );
}
