//! What records look like: golden texts, the schema, and what hostile input can do to a line. (tidy: table)

use super::*;
use crate::aggregate::Aggregate;
use crate::event::{self, Event as KernelEvent, Exec, RawText, ScriptFile, sample};
use crate::platform::{HookFamily, HookReport, HookState, Outcome, Probes};
use crate::process::Container;
use crate::verdict::{ExecVerdict, NoDigest, Package, Signer, TrustOrigin, TrustedFile, Unverified, Verdict};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const AT_US: i64 = 1_795_324_211_123_456;

fn host() -> Host {
    Host {
        id: "4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d".into(),
        name: "web01".into(),
        boot_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11".into(),
    }
}

fn user_name(uid: u32) -> Option<String> {
    match uid {
        0 => Some("root".into()),
        1000 => Some("alice".into()),
        _ => None,
    }
}

fn scene() -> Scene<'static> {
    Scene {
        at_us: AT_US,
        boot_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11",
        user_name: &user_name,
        executable: None,
        parent_executable: None,
        working_directory: None,
        container: None,
    }
}

fn coreutils(path: &str) -> TrustedFile {
    TrustedFile {
        package: Package {
            name: "coreutils".into(),
            version: "8.32-39.el9".into(),
            arch: "x86_64".into(),
        },
        signer: Signer {
            fingerprint: "21CB256AE16FC54C6E652949702D426D350D275D".into(),
            name: "Rocky Linux 9".into(),
        },
        path: path.into(),
        origin: TrustOrigin::Verified,
    }
}

fn an_exec() -> Exec {
    match event::decode(&sample::exec_bytes()) {
        Ok(KernelEvent::Exec(exec)) => *exec,
        other => panic!("{other:?}"),
    }
}

fn facts(path: &str) -> ExecFacts {
    ExecFacts {
        file: FileFacts {
            path: Some((path.into(), PathSource::Kernel)),
            digest: Ok(FileDigest {
                sha256: [0xab; 32],
                source: DigestSource::Kernel,
            }),
            kernel: event::KernelDigest::Sha256([0xab; 32]),
            info: Some(sample::file()),
        },
        script: None,
    }
}

fn verdict(file: Verdict) -> ExecVerdict {
    ExecVerdict { file, script: None }
}

/// The line as JSON, checked for what holds for every line.
fn parsed(draft: &Draft) -> Value {
    let line = draft.line(&host(), 184_467, 0);
    assert!(
        line.starts_with("{\"@timestamp\":\"2026-11-22T05:10:11.123456Z\","),
        "{line}"
    );
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line");
    assert!(line.len() <= 65_535, "{} bytes", line.len());
    let value: Value = serde_json::from_str(&line).unwrap();
    check_schema(&value);
    value
}

/// Validates against the saved subset of the schema, where it is at hand.
fn check_schema(record: &Value) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/schema/ecs/");
    let Ok(schema) = std::fs::read_to_string(format!("{dir}ecs-9.4.0-subset.schema.json")) else {
        println!("skipped: no shared data");
        return;
    };
    thread_local! {
        static VALIDATOR: std::cell::OnceCell<jsonschema::Validator> = const { std::cell::OnceCell::new() };
    }
    VALIDATOR.with(|cell| {
        let validator =
            cell.get_or_init(|| jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap());
        let errors: Vec<String> = validator
            .iter_errors(record)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}\n{record:#}");
    });
    let table: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&std::fs::read_to_string(format!("{dir}category-types-9.4.0.json")).unwrap())
            .unwrap();
    let words = |key: &str| -> Vec<String> {
        record["event"][key]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap().to_owned())
            .collect()
    };
    let (categories, types) = (words("category"), words("type"));
    assert!(!categories.is_empty() && !types.is_empty());
    for kind in types {
        assert!(
            categories.iter().any(|c| table[c].contains(&kind)),
            "{kind} is no type of {categories:?}"
        );
    }
}

#[track_caller]
fn check(draft: &Draft, expected: &Expect) {
    let mut flat = String::new();
    flatten("", &parsed(draft), &mut flat);
    expected.assert_eq(&flat);
}

/// One line per value, with its dotted key; what is the same in every record is left out.
fn flatten(key: &str, value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                if !["@timestamp", "agent", "ecs", "host"].contains(&key.as_str()) {
                    flatten(&key, member, out);
                }
            }
        }
        _ => writeln!(out, "{key}: {value}").unwrap(),
    }
}

/// Content that a manifest lists: no package of rpm's, and no signature where nobody signed.
#[test]
fn a_manifests_content() {
    let file = |origin, signer: &str| TrustedFile {
        package: Package {
            name: "inhouse-tools".into(),
            version: "7".into(),
            arch: String::new(),
        },
        signer: Signer {
            fingerprint: String::new(),
            name: signer.into(),
        },
        path: "/opt/tools/tool".into(),
        origin,
    };
    for (origin, signer, expected) in [
        (
            TrustOrigin::Local,
            "Release team",
            (
                "trusted by manifest inhouse-tools-7, signed by Release team",
                "local",
                true,
            ),
        ),
        (
            TrustOrigin::LocalUnsigned,
            "",
            (
                "trusted by manifest inhouse-tools-7, which nobody signed",
                "local-unsigned",
                false,
            ),
        ),
    ] {
        let judged = verdict(Verdict::Trusted(file(origin, signer)));
        let scene = scene();
        let value = parsed(&exec(&an_exec(), &facts("/opt/tools/tool"), &judged, &scene));
        let message = value["message"].as_str().unwrap();
        assert!(message.contains(expected.0), "{message}");
        assert_eq!(value["Hardpan"]["file"]["trust"], expected.1);
        assert_eq!(value["package"]["type"], "manifest");
        assert_eq!(value["package"].get("architecture"), None);
        assert_eq!(value["process"]["code_signature"]["exists"], expected.2);
    }
}

#[test]
fn a_line_in_full() {
    let finding = Finding::new(FindingCode::SinkFailed, "cannot write \"/var/log/x\"").hint("make room");
    let expected = expect![[r#"
        {"@timestamp":"2026-11-22T05:10:11.123456Z","message":"cannot write \"/var/log/x\"","event":{"id":"6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-7","sequence":7,"module":"hardpan","kind":"event","category":["host"],"type":["info"],"action":"sink-failed","outcome":"unknown","reason":"make room","severity":4,"dataset":"hardpan.finding","provider":"hardpand"},"host":{"id":"4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d","name":"web01","boot":{"id":"6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11"}},"Hardpan":{"finding":{"code":"sink-failed","hint":"make room"},"policy":{"epoch":3}},"ecs":{"version":"9.4.0"},"agent":{"type":"hardpan","version":"0.1.0"}}
    "#]];
    expected.assert_eq(&finding.draft(AT_US).line(&host(), 7, 3));
}

#[track_caller]
fn check_exec(event: &Exec, facts: &ExecFacts, verdict: &ExecVerdict, expected: &Expect) {
    check(&exec(event, facts, verdict, &scene()), expected);
}

#[test]
fn a_trusted_exec() {
    check_exec(
        &an_exec(),
        &facts("/usr/bin/ls"),
        &verdict(Verdict::Trusted(coreutils("/usr/bin/ls"))),
        &expect![[r#"
            Hardpan.file.digest_source: "kernel"
            Hardpan.file.fs_magic: "0x58465342"
            Hardpan.file.package: "coreutils-8.32-39.el9.x86_64"
            Hardpan.file.package_path: "/usr/bin/ls"
            Hardpan.file.path: "/usr/bin/ls"
            Hardpan.file.path_source: "kernel"
            Hardpan.file.sha256: "abababababababababababababababababababababababababababababababab"
            Hardpan.file.signer.fingerprint: "21CB256AE16FC54C6E652949702D426D350D275D"
            Hardpan.file.signer.name: "Rocky Linux 9"
            Hardpan.file.verdict: "trusted"
            Hardpan.login.session: "3"
            Hardpan.login.uid: "1000"
            Hardpan.namespaces.mnt: 4026531841
            Hardpan.namespaces.pid: 4026531836
            Hardpan.policy.epoch: 0
            Hardpan.verdict: "trusted"
            event.action: "exec"
            event.category: ["process"]
            event.dataset: "hardpan.exec"
            event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
            event.kind: "event"
            event.module: "hardpan"
            event.outcome: "success"
            event.provider: "bpf"
            event.sequence: 184467
            event.severity: 1
            event.type: ["start"]
            file.code_signature.exists: true
            file.code_signature.status: "trusted"
            file.code_signature.subject_name: "Rocky Linux 9"
            file.code_signature.trusted: true
            file.code_signature.valid: true
            file.device: "253:0"
            file.gid: "0"
            file.hash.sha256: "abababababababababababababababababababababababababababababababab"
            file.inode: "1312771"
            file.mode: "0755"
            file.name: "ls"
            file.path: "/usr/bin/ls"
            file.size: 142312
            file.uid: "0"
            message: "exec of /usr/bin/ls: trusted by coreutils-8.32-39.el9.x86_64, signed by Rocky Linux 9"
            package.architecture: "x86_64"
            package.name: "coreutils"
            package.type: "rpm"
            package.version: "8.32-39.el9"
            process.args: ["ls","-la"]
            process.args_count: 2
            process.code_signature.exists: true
            process.code_signature.status: "trusted"
            process.code_signature.subject_name: "Rocky Linux 9"
            process.code_signature.trusted: true
            process.code_signature.valid: true
            process.command_line: "ls -la"
            process.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4242:1234567000000"
            process.executable: "/usr/bin/ls"
            process.hash.sha256: "abababababababababababababababababababababababababababababababab"
            process.name: "ls"
            process.parent.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4200:1200000000000"
            process.parent.name: "bash"
            process.parent.pid: 4200
            process.pid: 4242
            process.real_user.id: "1000"
            process.real_user.name: "alice"
            process.thread.id: 4242
            process.thread.name: "ls"
            process.user.id: "1000"
            process.user.name: "alice"
            related.hash: ["abababababababababababababababababababababababababababababababab"]
            related.user: ["alice"]
            user.id: "1000"
            user.name: "alice"
        "#]],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a golden text")]
fn a_digest_mismatch_in_a_container_with_everything_known() {
    let container = Container {
        id: "4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d".into(),
        runtime: Some("podman"),
    };
    let (parent, cwd) = (RawText::from("/usr/bin/bash"), RawText::from("/root"));
    let scene = Scene {
        container: Some(&container),
        parent_executable: Some(&parent),
        working_directory: Some(&cwd),
        ..scene()
    };
    let judged = verdict(Verdict::DigestMismatch {
        owner: coreutils("/usr/bin/ls"),
        expected: [0xcd; 32],
    });
    check(
        &exec(&an_exec(), &facts("/usr/bin/ls"), &judged, &scene),
        &expect![[r#"
            Hardpan.file.digest_source: "kernel"
            Hardpan.file.expected_sha256: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
            Hardpan.file.fs_magic: "0x58465342"
            Hardpan.file.package: "coreutils-8.32-39.el9.x86_64"
            Hardpan.file.package_path: "/usr/bin/ls"
            Hardpan.file.path: "/usr/bin/ls"
            Hardpan.file.path_source: "kernel"
            Hardpan.file.sha256: "abababababababababababababababababababababababababababababababab"
            Hardpan.file.signer.fingerprint: "21CB256AE16FC54C6E652949702D426D350D275D"
            Hardpan.file.signer.name: "Rocky Linux 9"
            Hardpan.file.verdict: "digest-mismatch"
            Hardpan.login.session: "3"
            Hardpan.login.uid: "1000"
            Hardpan.namespaces.mnt: 4026531841
            Hardpan.namespaces.pid: 4026531836
            Hardpan.policy.epoch: 0
            Hardpan.verdict: "digest-mismatch"
            container.id: "4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d"
            container.runtime: "podman"
            event.action: "exec"
            event.category: ["process","intrusion_detection"]
            event.dataset: "hardpan.exec"
            event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
            event.kind: "alert"
            event.module: "hardpan"
            event.outcome: "success"
            event.provider: "bpf"
            event.sequence: 184467
            event.severity: 5
            event.type: ["start","info"]
            file.code_signature.exists: true
            file.code_signature.status: "digest-mismatch"
            file.code_signature.subject_name: "Rocky Linux 9"
            file.code_signature.trusted: false
            file.code_signature.valid: false
            file.device: "253:0"
            file.gid: "0"
            file.hash.sha256: "abababababababababababababababababababababababababababababababab"
            file.inode: "1312771"
            file.mode: "0755"
            file.name: "ls"
            file.path: "/usr/bin/ls"
            file.size: 142312
            file.uid: "0"
            message: "exec of /usr/bin/ls: digest mismatch: not the content that coreutils-8.32-39.el9.x86_64 was signed with"
            package.architecture: "x86_64"
            package.name: "coreutils"
            package.type: "rpm"
            package.version: "8.32-39.el9"
            process.args: ["ls","-la"]
            process.args_count: 2
            process.code_signature.exists: true
            process.code_signature.status: "digest-mismatch"
            process.code_signature.subject_name: "Rocky Linux 9"
            process.code_signature.trusted: false
            process.code_signature.valid: false
            process.command_line: "ls -la"
            process.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4242:1234567000000"
            process.executable: "/usr/bin/ls"
            process.hash.sha256: "abababababababababababababababababababababababababababababababab"
            process.name: "ls"
            process.parent.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4200:1200000000000"
            process.parent.executable: "/usr/bin/bash"
            process.parent.name: "bash"
            process.parent.pid: 4200
            process.pid: 4242
            process.real_user.id: "1000"
            process.real_user.name: "alice"
            process.thread.id: 4242
            process.thread.name: "ls"
            process.user.id: "1000"
            process.user.name: "alice"
            process.working_directory: "/root"
            related.hash: ["abababababababababababababababababababababababababababababababab"]
            related.user: ["alice"]
            threat.framework: "MITRE ATT&CK"
            threat.tactic.id: ["TA0003"]
            threat.technique.id: ["T1554"]
            threat.technique.name: ["Compromise Host Software Binary"]
            user.id: "1000"
            user.name: "alice"
        "#]],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a golden text")]
fn an_untrusted_script() {
    let mut event = an_exec();
    event.script = Some(ScriptFile {
        file: sample::file(),
        digest: event::KernelDigest::NotTried,
    });
    let mut facts = facts("/usr/bin/bash");
    facts.script = Some(FileFacts {
        path: Some(("/tmp/x.sh".into(), PathSource::Proc)),
        digest: Ok(FileDigest {
            sha256: [0xee; 32],
            source: DigestSource::UserSpace,
        }),
        kernel: event::KernelDigest::NotTried,
        info: Some(sample::file()),
    });
    let judged = ExecVerdict {
        file: Verdict::Trusted(coreutils("/usr/bin/bash")),
        script: Some(Verdict::Untrusted {
            changed_config_of: None,
        }),
    };
    check_exec(
        &event,
        &facts,
        &judged,
        &expect![[r#"
        Hardpan.file.digest_source: "kernel"
        Hardpan.file.fs_magic: "0x58465342"
        Hardpan.file.package: "coreutils-8.32-39.el9.x86_64"
        Hardpan.file.package_path: "/usr/bin/bash"
        Hardpan.file.path: "/usr/bin/bash"
        Hardpan.file.path_source: "kernel"
        Hardpan.file.sha256: "abababababababababababababababababababababababababababababababab"
        Hardpan.file.signer.fingerprint: "21CB256AE16FC54C6E652949702D426D350D275D"
        Hardpan.file.signer.name: "Rocky Linux 9"
        Hardpan.file.verdict: "trusted"
        Hardpan.login.session: "3"
        Hardpan.login.uid: "1000"
        Hardpan.namespaces.mnt: 4026531841
        Hardpan.namespaces.pid: 4026531836
        Hardpan.policy.epoch: 0
        Hardpan.script.digest_source: "user-space"
        Hardpan.script.fs_magic: "0x58465342"
        Hardpan.script.kernel_digest: "not-tried"
        Hardpan.script.path: "/tmp/x.sh"
        Hardpan.script.path_source: "proc"
        Hardpan.script.sha256: "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
        Hardpan.script.verdict: "untrusted"
        Hardpan.verdict: "untrusted"
        event.action: "exec"
        event.category: ["process","intrusion_detection"]
        event.dataset: "hardpan.exec"
        event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
        event.kind: "alert"
        event.module: "hardpan"
        event.outcome: "success"
        event.provider: "bpf"
        event.sequence: 184467
        event.severity: 3
        event.type: ["start","info"]
        file.code_signature.exists: false
        file.code_signature.status: "untrusted"
        file.code_signature.trusted: false
        file.device: "253:0"
        file.gid: "0"
        file.hash.sha256: "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
        file.inode: "1312771"
        file.mode: "0755"
        file.name: "x.sh"
        file.path: "/tmp/x.sh"
        file.size: 142312
        file.uid: "0"
        message: "exec of /tmp/x.sh: untrusted: no signed package lists its digest"
        process.args: ["ls","-la"]
        process.args_count: 2
        process.code_signature.exists: true
        process.code_signature.status: "trusted"
        process.code_signature.subject_name: "Rocky Linux 9"
        process.code_signature.trusted: true
        process.code_signature.valid: true
        process.command_line: "ls -la"
        process.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4242:1234567000000"
        process.executable: "/usr/bin/bash"
        process.hash.sha256: "abababababababababababababababababababababababababababababababab"
        process.name: "bash"
        process.parent.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4200:1200000000000"
        process.parent.name: "bash"
        process.parent.pid: 4200
        process.pid: 4242
        process.real_user.id: "1000"
        process.real_user.name: "alice"
        process.thread.id: 4242
        process.thread.name: "ls"
        process.user.id: "1000"
        process.user.name: "alice"
        related.hash: ["abababababababababababababababababababababababababababababababab","eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"]
        related.user: ["alice"]
        threat.framework: "MITRE ATT&CK"
        threat.tactic.id: ["TA0002"]
        threat.technique.id: ["T1204"]
        threat.technique.name: ["User Execution"]
        threat.technique.subtechnique.id: ["T1204.002"]
        threat.technique.subtechnique.name: ["Malicious File"]
        user.id: "1000"
        user.name: "alice"
    "#]],
    );
}

#[test]
fn an_unverified_exec_claims_nothing() {
    let mut facts = facts("/usr/bin/ls");
    facts.file.digest = Err(NoDigest::ProcessGone);
    let judged = verdict(Verdict::Unverified(Unverified::NoDigest(NoDigest::ProcessGone)));
    let record = parsed(&exec(&an_exec(), &facts, &judged, &scene()));
    assert_eq!(
        record["process"]["code_signature"],
        serde_json::json!({ "status": "unverified" })
    );
    assert_eq!(record["process"].get("hash"), None);
    assert_eq!(record["event"]["kind"], "event");
    assert_eq!(record["Hardpan"]["file"]["why"], "process-gone");
}

#[test]
fn fileless_with_known_content() {
    let judged = verdict(Verdict::Fileless {
        trusted: Some(coreutils("/usr/bin/ls")),
    });
    let record = parsed(&exec(&an_exec(), &facts("/memfd:x (deleted)"), &judged, &scene()));
    assert_eq!(record["threat"]["technique"]["id"][0], "T1620");
    assert_eq!(record["process"]["code_signature"]["trusted"], false);
    assert_eq!(
        record["message"],
        "exec of /memfd:x (deleted): fileless: it has no name in any directory; its content is that of \
         coreutils-8.32-39.el9.x86_64"
    );
}

#[test]
fn an_aggregate() {
    let summary = ExecSummary {
        executable: Some("/usr/bin/ls".into()),
        sha256: [0xab; 32],
        file: coreutils("/usr/bin/ls"),
        script: None,
        parent: "/usr/bin/bash".into(),
        uid: 1000,
        user_name: Some("alice".into()),
    };
    let aggregate = Aggregate {
        key: (),
        sample: summary,
        count: 1234,
        first_ns: 0,
        last_ns: 1,
    };
    let draft = exec_aggregate(&aggregate, AT_US, AT_US - 60_000_000, AT_US - 1);
    assert_eq!(draft.events(), 1234);
    check(
        &draft,
        &expect![[r#"
        Hardpan.aggregate.count: 1234
        Hardpan.file.package: "coreutils-8.32-39.el9.x86_64"
        Hardpan.file.package_path: "/usr/bin/ls"
        Hardpan.file.path: "/usr/bin/ls"
        Hardpan.file.sha256: "abababababababababababababababababababababababababababababababab"
        Hardpan.file.signer.fingerprint: "21CB256AE16FC54C6E652949702D426D350D275D"
        Hardpan.file.signer.name: "Rocky Linux 9"
        Hardpan.file.verdict: "trusted"
        Hardpan.policy.epoch: 0
        Hardpan.verdict: "trusted"
        event.action: "exec-aggregate"
        event.category: ["process"]
        event.dataset: "hardpan.exec"
        event.end: "2026-11-22T05:10:11.123455Z"
        event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
        event.kind: "event"
        event.module: "hardpan"
        event.outcome: "success"
        event.provider: "bpf"
        event.sequence: 184467
        event.severity: 1
        event.start: "2026-11-22T05:09:11.123456Z"
        event.type: ["start","info"]
        message: "1234 executions of /usr/bin/ls: trusted by coreutils-8.32-39.el9.x86_64"
        package.architecture: "x86_64"
        package.name: "coreutils"
        package.type: "rpm"
        package.version: "8.32-39.el9"
        process.code_signature.exists: true
        process.code_signature.status: "trusted"
        process.code_signature.subject_name: "Rocky Linux 9"
        process.code_signature.trusted: true
        process.code_signature.valid: true
        process.executable: "/usr/bin/ls"
        process.hash.sha256: "abababababababababababababababababababababababababababababababab"
        process.name: "ls"
        process.parent.executable: "/usr/bin/bash"
        process.parent.name: "bash"
        process.user.id: "1000"
        process.user.name: "alice"
    "#]],
    );
}

#[test]
fn a_credential_change() {
    let Ok(KernelEvent::Cred(event)) = event::decode(&sample::cred_bytes()) else {
        panic!("no cred")
    };
    check(
        &cred_change(&event, &scene()),
        &expect![[r#"
            Hardpan.credentials.after.cap_ambient: "0000000000000000"
            Hardpan.credentials.after.cap_bounding: "000001ffffffffff"
            Hardpan.credentials.after.cap_effective: "000001ffffffffff"
            Hardpan.credentials.after.cap_inheritable: "0000000000000000"
            Hardpan.credentials.after.cap_permitted: "000001ffffffffff"
            Hardpan.credentials.after.egid: "0"
            Hardpan.credentials.after.euid: "0"
            Hardpan.credentials.after.fsgid: "0"
            Hardpan.credentials.after.fsuid: "0"
            Hardpan.credentials.after.gid: "0"
            Hardpan.credentials.after.securebits: 0
            Hardpan.credentials.after.sgid: "0"
            Hardpan.credentials.after.suid: "0"
            Hardpan.credentials.after.uid: "0"
            Hardpan.credentials.after.user_ns: 4026531837
            Hardpan.credentials.before.cap_ambient: "0000000000000000"
            Hardpan.credentials.before.cap_bounding: "000001ffffffffff"
            Hardpan.credentials.before.cap_effective: "0000000000000000"
            Hardpan.credentials.before.cap_inheritable: "0000000000000000"
            Hardpan.credentials.before.cap_permitted: "0000000000000000"
            Hardpan.credentials.before.egid: "1000"
            Hardpan.credentials.before.euid: "1000"
            Hardpan.credentials.before.fsgid: "1000"
            Hardpan.credentials.before.fsuid: "1000"
            Hardpan.credentials.before.gid: "1000"
            Hardpan.credentials.before.securebits: 0
            Hardpan.credentials.before.sgid: "1000"
            Hardpan.credentials.before.suid: "1000"
            Hardpan.credentials.before.uid: "1000"
            Hardpan.credentials.before.user_ns: 4026531837
            Hardpan.credentials.gained: ["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_DAC_READ_SEARCH","CAP_FOWNER","CAP_FSETID","CAP_KILL","CAP_SETGID","CAP_SETUID","CAP_SETPCAP","CAP_LINUX_IMMUTABLE","CAP_NET_BIND_SERVICE","CAP_NET_BROADCAST","CAP_NET_ADMIN","CAP_NET_RAW","CAP_IPC_LOCK","CAP_IPC_OWNER","CAP_SYS_MODULE","CAP_SYS_RAWIO","CAP_SYS_CHROOT","CAP_SYS_PTRACE","CAP_SYS_PACCT","CAP_SYS_ADMIN","CAP_SYS_BOOT","CAP_SYS_NICE","CAP_SYS_RESOURCE","CAP_SYS_TIME","CAP_SYS_TTY_CONFIG","CAP_MKNOD","CAP_LEASE","CAP_AUDIT_WRITE","CAP_AUDIT_CONTROL","CAP_SETFCAP","CAP_MAC_OVERRIDE","CAP_MAC_ADMIN","CAP_SYSLOG","CAP_WAKE_ALARM","CAP_BLOCK_SUSPEND","CAP_AUDIT_READ","CAP_PERFMON","CAP_BPF","CAP_CHECKPOINT_RESTORE"]
            Hardpan.credentials.lost: []
            Hardpan.credentials.witness: "setuid"
            Hardpan.login.session: "3"
            Hardpan.login.uid: "1000"
            Hardpan.namespaces.mnt: 4026531841
            Hardpan.namespaces.pid: 4026531836
            Hardpan.policy.epoch: 0
            event.action: "credentials-changed"
            event.category: ["process"]
            event.dataset: "hardpan.cred"
            event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
            event.kind: "event"
            event.module: "hardpan"
            event.outcome: "success"
            event.provider: "bpf"
            event.sequence: 184467
            event.severity: 2
            event.type: ["change"]
            message: "su (pid 4242): uid 1000 to 0, euid 1000 to 0, suid 1000 to 0 and 7 more, by a set*id call"
            process.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4242:1234567000000"
            process.name: "su"
            process.parent.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4200:1200000000000"
            process.parent.name: "bash"
            process.parent.pid: 4200
            process.pid: 4242
            process.real_user.id: "0"
            process.real_user.name: "root"
            process.thread.id: 4242
            process.thread.name: "su"
            process.user.id: "0"
            process.user.name: "root"
            related.user: ["alice","root"]
            user.changes.id: "0"
            user.changes.name: "root"
            user.id: "1000"
            user.name: "alice"
        "#]],
    );
}

#[test]
fn module_loads() {
    let Ok(KernelEvent::Module(mut event)) = event::decode(&sample::module_bytes()) else {
        panic!("no module")
    };
    check(
        &module_change(&event, Some(&[1, 2, 0xff]), &scene()),
        &expect![[r#"
            Hardpan.login.session: "3"
            Hardpan.login.uid: "1000"
            Hardpan.module.build_id: "0102ff"
            Hardpan.module.name: "nf_tables"
            Hardpan.module.origin: "memory"
            Hardpan.module.signature: "good"
            Hardpan.module.taints: "0x0"
            Hardpan.namespaces.mnt: 4026531841
            Hardpan.namespaces.pid: 4026531836
            Hardpan.policy.epoch: 0
            event.action: "kernel-module-loaded"
            event.category: ["driver"]
            event.dataset: "hardpan.module"
            event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
            event.kind: "event"
            event.module: "hardpan"
            event.outcome: "success"
            event.provider: "bpf"
            event.sequence: 184467
            event.severity: 2
            event.type: ["start"]
            file.code_signature.exists: true
            file.code_signature.status: "good"
            file.code_signature.valid: true
            file.name: "nf_tables"
            message: "kernel module nf_tables loaded, signature good"
            process.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4242:1234567000000"
            process.name: "modprobe"
            process.parent.entity_id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11:4200:1200000000000"
            process.parent.name: "bash"
            process.parent.pid: 4200
            process.pid: 4242
            process.real_user.id: "0"
            process.real_user.name: "root"
            process.thread.id: 4242
            process.thread.name: "modprobe"
            process.user.id: "0"
            process.user.name: "root"
            user.id: "0"
            user.name: "root"
        "#]],
    );
    event.signature = event::SignatureState::NotGood;
    let record = parsed(&module_change(&event, None, &scene()));
    assert_eq!(record["event"]["kind"], "alert");
    assert_eq!(
        record["threat"]["technique"]["subtechnique"]["id"][0],
        "T1547.006"
    );
    event.action = event::ModuleAction::Free;
    let record = parsed(&module_change(&event, None, &scene()));
    assert_eq!(record["event"]["type"], serde_json::json!(["end"]));
    assert_eq!(record["message"], "kernel module nf_tables unloaded");
}

#[test]
fn modules_programs_and_processes_that_the_gate_refused() {
    use crate::policy::rule::{Fact, Side};
    use hardpan_abi::{GateHook, GateKind, ObjectClass};
    use zerocopy::IntoBytes as _;
    #[track_caller]
    fn check(event: &event::ObjectEvent, action: &str, message: &str, fact: (&'static str, Fact)) {
        let record = parsed(&object(event, None, &scene()));
        assert_eq!(record["event"]["action"], action);
        assert_eq!(record["message"], message);
        // The record replays as what it was.
        let replayed = crate::policy::replay::events_of(&record.to_string()).unwrap();
        let [one] = replayed.as_slice() else {
            panic!("{replayed:?}")
        };
        let (name, value) = fact;
        let found = one.facts.fact(Side::Object, name).unwrap();
        assert_eq!(found, &value, "{name}");
    }
    let Ok(KernelEvent::Object(module)) = event::decode(sample::object_wire().as_bytes()) else {
        panic!("no event about a module")
    };
    check(
        &module,
        "kernel-module-refused",
        "the kernel module dccp may not be loaded by modprobe (pid 4242): signed",
        ("name", Fact::Text("dccp".to_owned())),
    );
    let bpf = event::ObjectEvent {
        kind: GateKind::Bpf,
        class: ObjectClass::UntrustedLoader,
        hook: GateHook::Bpf,
        program_type: 6,
        refused: false,
        ..(*module).clone()
    };
    check(
        &bpf,
        "bpf-load-alert",
        "the BPF program dccp of type xdp was let to be loaded by modprobe (pid 4242): untrusted-loader",
        ("program_type", Fact::Text("xdp".to_owned())),
    );
    let ptrace = event::ObjectEvent {
        kind: GateKind::Ptrace,
        class: ObjectClass::OtherUser,
        hook: GateHook::Ptrace,
        target: 77,
        target_uid: 48,
        ..*module
    };
    check(
        &ptrace,
        "ptrace-refused",
        "process 77 (dccp) of uid 48 may not be taken hold of by modprobe (pid 4242): other-user",
        ("uid", Fact::Id(48)),
    );
}

#[test]
fn what_the_gate_refused() {
    use hardpan_abi::{GateHook, GateKind, WriteClass};
    use zerocopy::IntoBytes as _;
    let Ok(KernelEvent::Gate(mut event)) = event::decode(sample::gate_wire().as_bytes()) else {
        panic!("no event of the gate")
    };
    let untrusted = |event: &event::GateEvent| {
        let facts = GateFacts {
            file: FileFacts {
                path: event.path.clone().map(|path| (path, PathSource::Kernel)),
                ..facts("/tmp/evil!").file
            },
            verdict: Verdict::Untrusted {
                changed_config_of: None,
            },
            rule: None,
        };
        gate(event, &facts, &scene())
    };
    let record = parsed(&untrusted(&event));
    assert_eq!(
        record["message"],
        "/tmp/evil! may not be run by bash (pid 4242): untrusted: no signed package lists its digest"
    );
    assert_eq!(record["event"]["action"], "exec-refused");
    assert_eq!(record["event"]["type"], serde_json::json!(["denied"]));
    assert_eq!(record["Hardpan"]["gate"]["class"], "untrusted");
    assert_eq!(record["Hardpan"]["policy"]["action"], "deny");
    // What was refused can be learned from, and tried on another policy.
    let replayed = crate::policy::replay::events_of(&record.to_string()).unwrap();
    let [one] = replayed.as_slice() else {
        panic!("{replayed:?}")
    };
    assert_eq!(
        (one.facts.kind, one.facts.class(), one.path.as_str()),
        (crate::policy::rule::Kind::Exec, Some("untrusted"), "/tmp/evil!")
    );
    let mut learner = crate::policy::replay::Learner::default();
    learner.line(&record.to_string());
    assert!(learner.manifest().contains(one.sha256.as_deref().unwrap()));
    event.kind = GateKind::Library;
    event.refused = false;
    event.doubt = true;
    let record = parsed(&untrusted(&event));
    assert_eq!(record["event"]["action"], "library-alert");
    assert_eq!(record["Hardpan"]["gate"]["why"], serde_json::json!(["doubt"]));
    assert_eq!(
        record["threat"]["technique"]["subtechnique"]["id"][0],
        "T1574.006"
    );
    // What is protected is not judged by its content.
    (event.kind, event.doubt) = (GateKind::Write, false);
    for (class, hook, message) in [
        (
            WriteClass::Protected,
            GateHook::FileOpen,
            "opened for writing by bash (pid 4242): the policy protects it",
        ),
        (
            WriteClass::Protected,
            GateHook::InodeSetattr,
            "cut by bash (pid 4242): the policy protects it",
        ),
        (
            WriteClass::Replaced,
            GateHook::InodeUnlink,
            "removed by bash (pid 4242): the policy protects it",
        ),
        (
            WriteClass::BlockDevice,
            GateHook::FileOpen,
            "opened for writing by bash (pid 4242): a file system on it is mounted",
        ),
    ] {
        (event.written, event.hook) = (Some(class), hook);
        let record = parsed(&untrusted(&event));
        assert_eq!(record["message"], format!("/tmp/evil! was let to be {message}"));
        assert_eq!(record["event"]["action"], "file-write-alert");
        assert!(record["Hardpan"]["verdict"].is_null());
        assert_eq!(record["threat"]["technique"]["id"][0], "T1565");
    }
    event.written = Some(WriteClass::Packaged);
    let record = parsed(&untrusted(&event));
    assert_eq!(record["threat"]["technique"]["id"][0], "T1554");
    assert_eq!(record["Hardpan"]["gate"]["class"], "packaged");
}

#[test]
fn packages_that_are_opened() {
    use zerocopy::IntoBytes as _;
    let Ok(KernelEvent::Package(event)) = event::decode(sample::package_wire().as_bytes()) else {
        panic!("no package")
    };
    let package = coreutils("/usr/bin/ls").package;
    let record = parsed(&package_opened(&event, Ok((&package, "a vendor", 3)), &scene()));
    assert_eq!(record["package"]["name"], "coreutils");
    assert_eq!(record["event"]["outcome"], "success");
    let record = parsed(&package_opened(&event, Err("not signed"), &scene()));
    assert_eq!(record["event"]["outcome"], "failure");
    assert!(record["message"].as_str().unwrap().ends_with(": not signed"));
}

#[test]
fn findings() {
    let finding = Finding {
        packages: vec!["coreutils-8.32-39.el9.x86_64".into()],
        path: Some("/var/lib/rpm/rpmdb.sqlite".into()),
        ..Finding::new(
            FindingCode::RpmdbTampered,
            "coreutils: FILEDIGESTS outside the signed region",
        )
    };
    check(
        &finding.draft(AT_US),
        &expect![[r#"
        Hardpan.finding.code: "rpmdb-tampered"
        Hardpan.finding.packages: ["coreutils-8.32-39.el9.x86_64"]
        Hardpan.policy.epoch: 0
        event.action: "rpmdb-tampered"
        event.category: ["intrusion_detection"]
        event.dataset: "hardpan.finding"
        event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
        event.kind: "alert"
        event.module: "hardpan"
        event.outcome: "unknown"
        event.provider: "hardpand"
        event.sequence: 184467
        event.severity: 5
        event.type: ["info"]
        file.path: "/var/lib/rpm/rpmdb.sqlite"
        message: "coreutils: FILEDIGESTS outside the signed region"
        package.architecture: "x86_64"
        package.name: "coreutils"
        package.type: "rpm"
        package.version: "8.32-39.el9"
        threat.framework: "MITRE ATT&CK"
        threat.tactic.id: ["TA0040"]
        threat.technique.id: ["T1565"]
        threat.technique.name: ["Data Manipulation"]
        threat.technique.subtechnique.id: ["T1565.001"]
        threat.technique.subtechnique.name: ["Stored Data Manipulation"]
    "#]],
    );
    for code in FindingCode::ALL {
        let record = parsed(&Finding::new(*code, "x").hint("y").draft(AT_US));
        assert_eq!(record["event"]["action"], code.word());
        assert!((1..=5).contains(&code.severity()));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a golden text")]
fn start_stop_and_heartbeat() {
    let mut probes = Probes::untried("6.12.0", "x86_64", "a test");
    probes.lsm = Outcome::Refused {
        errno: 1,
        what: "bpf(BPF_PROG_LOAD)".into(),
    };
    let tier = crate::platform::tier(&probes);
    let hooks = [HookReport {
        family: HookFamily::Exec,
        hook: "sched_process_exec".into(),
        variant: "raw_tp".into(),
        state: HookState::SelfTested,
        consequence: "executions are not seen".into(),
    }];
    let trust = TrustState {
        database: "/var/lib/rpm/rpmdb.sqlite".into(),
        loaded: true,
        packages_total: 500,
        packages_verified: 498,
        digests: 40_000,
    };
    let start = Service {
        tier: Some(&tier),
        hooks: &hooks,
        trust: Some(&trust),
        ..Service::new(ServiceEvent::Start, "observe")
    };
    check(
        &start.draft(AT_US),
        &expect![[r#"
        Hardpan.policy.epoch: 0
        Hardpan.service.hooks: [{"family":"exec","hook":"sched_process_exec","state":"self-tested","variant":"raw_tp"}]
        Hardpan.service.mode: "observe"
        Hardpan.service.tier: "none"
        Hardpan.service.tier_why: ["kernel BTF (/sys/kernel/btf/vmlinux) not tried (a test): the offsets of kernel fields are unknown, so no program can be loaded","BPF ring buffer map not tried (a test): events cannot reach user space without loss accounting"]
        Hardpan.service.trust.database: "/var/lib/rpm/rpmdb.sqlite"
        Hardpan.service.trust.digests: 40000
        Hardpan.service.trust.packages_total: 500
        Hardpan.service.trust.packages_verified: 498
        Hardpan.service.trust.state: "loaded"
        Hardpan.service.version: "0.1.0"
        event.action: "hardpand-started"
        event.category: ["host"]
        event.dataset: "hardpan.service"
        event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
        event.kind: "event"
        event.module: "hardpan"
        event.outcome: "success"
        event.provider: "hardpand"
        event.sequence: 184467
        event.severity: 1
        event.type: ["start"]
        message: "hardpand started: mode observe, tier none"
    "#]],
    );
    let ledger = Ledger {
        generated: 10,
        received: 9,
        recorded: 3,
        aggregated: 5,
        undecodable: 1,
        lost_in_ring: 1,
        ..Ledger::default()
    };
    assert!(ledger.balances());
    let stop = Service {
        ledger: Some(ledger),
        uptime_s: Some(60),
        counters: BTreeMap::from([("sink_file_written".to_owned(), 3)]),
        ..Service::new(ServiceEvent::Stop, "observe")
    };
    check(
        &stop.draft(AT_US),
        &expect![[r#"
            Hardpan.counters.sink_file_written: 3
            Hardpan.ledger.aggregated: 5
            Hardpan.ledger.complete: true
            Hardpan.ledger.generated: 10
            Hardpan.ledger.lost: 2
            Hardpan.ledger.pending: 0
            Hardpan.ledger.received: 9
            Hardpan.ledger.recorded: 3
            Hardpan.ledger.unaccounted: 0
            Hardpan.policy.epoch: 0
            Hardpan.service.mode: "observe"
            Hardpan.service.uptime_s: 60
            Hardpan.service.version: "0.1.0"
            event.action: "hardpand-stopped"
            event.category: ["host"]
            event.dataset: "hardpan.service"
            event.id: "6f2b8f1e-0d2a-4c1b-9f60-3a6f5e4d2c11-184467"
            event.kind: "event"
            event.module: "hardpan"
            event.outcome: "success"
            event.provider: "hardpand"
            event.sequence: 184467
            event.severity: 1
            event.type: ["end"]
            message: "hardpand stopped: 10 events = 3 recorded + 5 aggregated + 2 lost"
        "#]],
    );
    parsed(&Service::new(ServiceEvent::Heartbeat, "observe").draft(AT_US));
    parsed(
        &Service {
            trust: Some(&trust),
            ..Service::new(ServiceEvent::TrustLoaded, "observe")
        }
        .draft(AT_US),
    );
}

#[test]
fn a_usual_record_is_short() {
    let mut event = an_exec();
    event.argv.args = (0..100)
        .map(|n| RawText::from(format!("--option-{n}=value").as_str()))
        .collect();
    let judged = verdict(Verdict::DigestMismatch {
        owner: coreutils("/usr/bin/ls"),
        expected: [0xcd; 32],
    });
    let line = exec(&event, &facts("/usr/bin/ls"), &judged, &scene()).line(&host(), u64::MAX, u64::MAX);
    assert!(line.len() < 8000, "{} bytes", line.len());
}

#[test]
fn times() {
    assert_eq!(rfc3339(AT_US), "2026-11-22T05:10:11.123456Z");
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
    assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00.000000Z");
    assert_eq!(rfc3339(1_795_324_211_000_000), "2026-11-22T05:10:11.000000Z");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever names a process gives to itself, its files and arguments: one valid line, of bounded length.
    #[test]
    fn hostile_text(
        path in prop::collection::vec(any::<u8>(), 0..256),
        comm in prop::collection::vec(any::<u8>(), 0..16),
        args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..8),
    ) {
        let mut event = an_exec();
        event.path = RawText::new(path.clone());
        event.head.task.comm = RawText::new(comm.clone());
        event.head.task.parent_comm = RawText::new(comm);
        event.argv.args = args.into_iter().map(RawText::new).collect();
        let mut facts = facts("/");
        facts.file.path = Some((RawText::new(path.clone()), PathSource::Kernel));
        let text = RawText::new(path);
        let scene = Scene { parent_executable: Some(&text), working_directory: Some(&text), ..scene() };
        let record = parsed(&exec(&event, &facts, &verdict(Verdict::Untrusted { changed_config_of: None }), &scene));
        prop_assert_eq!(&record["process"]["pid"], 4242);
    }
}

/// Rules see the same in the live event and in its record read back: what `policy simulate` and `policy explain` say is
/// what the daemon decided.
#[test]
fn rules_decide_events_and_their_records_alike() {
    use crate::policy::replay::events_of;
    use crate::policy::rule::observed::{Around, exec_events};
    use crate::policy::rule::{ATTRIBUTES, Asked, Side};
    let mut event = an_exec();
    let mut with_script = facts("/usr/bin/bash");
    let script = FileFacts {
        path: Some(("/tmp/x.sh".into(), PathSource::Proc)),
        ..facts("/tmp/x.sh").file
    };
    with_script.script = Some(script);
    let package = coreutils("/usr/bin/ls").package;
    let verdicts = [
        Verdict::Trusted(coreutils("/usr/bin/ls")),
        Verdict::Unverified(Unverified::NoTrustDatabase),
        Verdict::Untrusted {
            changed_config_of: None,
        },
        Verdict::Untrusted {
            changed_config_of: Some(package),
        },
        Verdict::Fileless { trusted: None },
        Verdict::DigestMismatch {
            owner: coreutils("/usr/bin/ls"),
            expected: [1; 32],
        },
    ];
    let container = Container {
        id: "4c9a".into(),
        runtime: Some("podman"),
    };
    let parent: RawText = "/usr/sbin/sshd".into();
    let mut cases = Vec::new();
    for verdict in &verdicts {
        for (in_container, login) in [(false, None), (true, Some(1000))] {
            for facts in [facts("/usr/bin/ls"), with_script.clone()] {
                cases.push((verdict, in_container, login, facts));
            }
        }
    }
    for (verdict, in_container, login, facts) in cases {
        event.head.task.loginuid = login;
        let judged = ExecVerdict {
            file: verdict.clone(),
            script: facts.script.is_some().then(|| verdict.clone()),
        };
        let around = Around {
            container: Some(in_container),
            parent_executable: Some(&parent),
            cgroup: None,
            asked: None,
        };
        let (file, script) = exec_events(&event, &facts, &judged, around);
        // What no rule looks at is left out, the class by which the defaults decide is not.
        let class_only = Asked::by(&[]);
        let asked = Some(&class_only);
        let (short, _) = exec_events(&event, &facts, &judged, Around { asked, ..around });
        assert_eq!(short.class(), file.class());
        assert_eq!(short.fact(Side::Subject, "uid"), None);
        let scene = Scene {
            parent_executable: Some(&parent),
            container: in_container.then_some(&container),
            ..scene()
        };
        let line = exec(&event, &facts, &judged, &scene).line(&host(), 1, 1);
        let replayed = events_of(&line).unwrap();
        assert_eq!(replayed.len(), 1 + usize::from(script.is_some()));
        for (live, replayed) in std::iter::once(&file).chain(&script).zip(&replayed) {
            assert_eq!(live.kind, replayed.facts.kind);
            for attribute in ATTRIBUTES {
                let [seen, read] =
                    [live, &replayed.facts].map(|facts| facts.fact(attribute.side, attribute.name));
                // A record need not hold everything; what it holds is the same.
                if read.is_some() {
                    assert_eq!(seen, read, "{:?}.{} of {line}", attribute.side, attribute.name);
                }
            }
            assert!(live.fact(Side::Object, "class").is_some());
            assert_eq!(live.class(), replayed.facts.class(), "{line}");
        }
    }
}

#[test]
fn rules_have_the_last_word_on_what_is_an_alert() {
    use crate::policy::rule::{Action, Decision, Why};
    use crate::policy::{Selector, shipped, source};
    let own = str::to_owned;
    let selector = Selector {
        el: 9,
        vendor: own("rhel"),
        hardware: own("x86-64-v3"),
        role: own("server"),
        level: own("balanced"),
    };
    let (resolved, _) = source::load(&selector, &shipped::shipped(), &[]);
    let rule = resolved.rules.first().unwrap();
    let decision = |action| Decision {
        action,
        why: Why::Rule(0, rule),
        weakened: false,
        record: true,
    };
    let untrusted = verdict(Verdict::Untrusted {
        changed_config_of: None,
    });
    let mut draft = exec(&an_exec(), &facts("/opt/agent"), &untrusted, &scene());
    assert_eq!(parsed(&draft)["event"]["kind"], "alert");
    draft.decided(&decision(Action::Allow));
    let record = parsed(&draft);
    assert_eq!(record["event"]["kind"], "event");
    assert!(record.get("threat").is_none());
    assert_eq!(record["Hardpan"]["policy"]["rule"], "setid-untrusted");
    let trusted = verdict(Verdict::Trusted(coreutils("/usr/bin/ls")));
    let mut draft = exec(&an_exec(), &facts("/usr/bin/ls"), &trusted, &scene());
    assert_eq!(parsed(&draft)["event"]["kind"], "event");
    draft.decided(&decision(Action::Deny));
    let record = parsed(&draft);
    assert_eq!(
        (&record["event"]["kind"], &record["event"]["severity"]),
        (&"alert".into(), &3.into())
    );
    assert_eq!(record["Hardpan"]["policy"]["action"], "deny");
}
