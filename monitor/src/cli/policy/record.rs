//! What a record itself tells of the way to a verdict: hook, digest, package, signer; and what would make it another.

use hardpan_core::policy::quote;
use hardpan_core::policy::rule::Kind;
use serde_json::Value as Json;

/// Labels and texts, in the order in which the gate works. `part`: the member of `Hardpan` that the event is about,
/// `file` or `script`.
pub(super) fn way(record: &Json, part: &str) -> Vec<(&'static str, String)> {
    let gate = record.pointer("/Hardpan/gate");
    let mut way = vec![
        ("asked at", asked_at(record, gate)),
        ("answer", answer(record, gate)),
    ];
    let file = record.pointer("/Hardpan").and_then(|own| own.get(part));
    if let Some(file) = file.filter(|file| file.is_object()) {
        way.push(("digest", digest(file)));
        // Of what is protected, and of devices, nobody asks who vouches for them.
        if gate.is_none() || text(record, "/Hardpan/verdict").is_some() {
            way.push(("package", package(file)));
            way.push(("signer", signer(file)));
        }
    }
    let why: Vec<&str> = words(record);
    if !why.is_empty() {
        way.push(("found", why.join(", ")));
    }
    way
}

/// Words for what the gate found on its way.
fn words(record: &Json) -> Vec<&str> {
    let why = record.pointer("/Hardpan/gate/why").and_then(Json::as_array);
    why.into_iter().flatten().filter_map(Json::as_str).collect()
}

fn text<'j>(json: &'j Json, pointer: &str) -> Option<&'j str> {
    json.pointer(pointer).and_then(Json::as_str)
}

fn asked_at(record: &Json, gate: Option<&Json>) -> String {
    let hook = match gate.and_then(|gate| text(gate, "/hook")) {
        Some(hook) => hook,
        None if text(record, "/event/action").is_some_and(|action| action.starts_with("exec")) => {
            "bprm_check_security, where the gate judges executions; the record is of the execution itself"
        }
        None => return "nowhere: the record is of what happened".to_owned(),
    };
    let program = text(record, "/process/executable").or_else(|| text(record, "/process/name"));
    let pid = record.pointer("/process/pid").and_then(Json::as_u64);
    let user = text(record, "/process/user/id").or_else(|| text(record, "/user/id"));
    let (Some(program), Some(pid), Some(_)) = (program, pid, gate) else {
        return hook.to_owned();
    };
    let user = user.map(|user| format!(", uid {user}")).unwrap_or_default();
    format!("{hook}, by {} (pid {pid}{user})", quote(program))
}

fn answer(record: &Json, gate: Option<&Json>) -> String {
    let refused = gate.and_then(|gate| gate.get("refused")).and_then(Json::as_bool);
    let what = match refused {
        Some(true) => "refused",
        Some(false) => "let go on, and told of",
        None => "it went on",
    };
    let Some(action) = text(record, "/Hardpan/policy/action") else {
        return what.to_owned();
    };
    let by = match (
        text(record, "/Hardpan/policy/rule"),
        text(record, "/Hardpan/policy/origin"),
    ) {
        (Some(rule), Some(origin)) => format!("rule {} ({origin})", quote(rule)),
        (Some(rule), None) => format!("rule {}", quote(rule)),
        (None, Some(origin)) => format!("a default ({origin})"),
        (None, None) => "a default".to_owned(),
    };
    format!("{what}; the policy of that time said {action}, by {by}")
}

fn digest(file: &Json) -> String {
    let Some(sha256) = text(file, "/sha256") else {
        let why = text(file, "/kernel_digest").or_else(|| text(file, "/why"));
        return match why {
            Some(why) => format!("none: {why}"),
            None => "none".to_owned(),
        };
    };
    let how = match text(file, "/digest_source") {
        Some("kernel") => ", hashed by the kernel for this",
        Some("kernel-cache") => ", from the kernel's cache: hashed before, and not changed since",
        Some("user-space") => ", hashed by hardpand",
        _ => "",
    };
    format!("{sha256}{how}")
}

fn package(file: &Json) -> String {
    let Some(package) = text(file, "/package") else {
        return match text(file, "/changed_config_of") {
            Some(package) => format!("none; {package} has a configuration file of this name"),
            None => "none: no signed package or manifest lists this digest".to_owned(),
        };
    };
    let state = match text(file, "/trust") {
        Some("provisional") => ", which was about to be installed",
        Some("retired") => ", replaced or removed since the last boot",
        Some("local" | "local-unsigned") => ", a manifest",
        _ => "",
    };
    if let Some(expected) = text(file, "/expected_sha256") {
        return format!("{package}{state}, which lists {expected} for this path: another content");
    }
    match text(file, "/package_path") {
        Some(path) if !path.is_empty() => format!("{package}{state}, which lists it as {}", quote(path)),
        _ => format!("{package}{state}"),
    }
}

fn signer(file: &Json) -> String {
    let name = text(file, "/signer/name").filter(|name| !name.is_empty());
    match (name, text(file, "/signer/fingerprint")) {
        (Some(name), Some(fingerprint)) => format!("{name} ({fingerprint})"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "nobody".to_owned(),
    }
}

/// What would let it be.
pub(super) fn advice(record: &Json, part: &str, kind: Kind, class: &str) -> String {
    let rule = "a rule (`hardpan policy learn` proposes one by digest)";
    if !matches!(kind, Kind::Exec | Kind::Library | Kind::Script) {
        return "a rule that names it".to_owned();
    }
    let found = words(record);
    if found.contains(&"setid-not-signed") || found.contains(&"caps-not-signed") {
        return format!(
            "take the set-id bit or the capabilities away, install it from a package that gives them, or {rule}"
        );
    }
    if found.contains(&"private-copy") {
        return "seal the memory against writing (F_SEAL_WRITE) before it is executed".to_owned();
    }
    if found.contains(&"doubt") {
        return format!("gate.on_doubt = \"open\" in the policy, or {rule}");
    }
    let package = record
        .pointer("/Hardpan")
        .and_then(|own| own.get(part))
        .and_then(|file| text(file, "/package"));
    match (class, package) {
        ("mismatch", Some(package)) => {
            format!("put the package's own content back: `dnf reinstall {package}`")
        }
        ("container", _) => format!(
            "default.{}.container = \"allow\" in the policy, or {rule}",
            kind.name()
        ),
        _ => format!(
            "install it from a package whose key is pinned, list it in a manifest (`hardpan trust add`), or {rule}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;
    use std::fmt::Write as _;

    #[track_caller]
    fn check(record: &Json, kind: Kind, class: &str, expected: &Expect) {
        let mut said = String::new();
        for (label, text) in way(record, "file") {
            let _infallible = writeln!(said, "{label}: {text}");
        }
        said.push_str(&advice(record, "file", kind, class));
        expected.assert_eq(&said);
    }

    #[test]
    fn a_refused_library_of_nobody() {
        let record = json!({
            "event": {"action": "library-refused"},
            "process": {"pid": 7, "executable": "/usr/bin/kmod", "user": {"id": "1001"}},
            "Hardpan": {
                "verdict": "untrusted",
                "file": {"sha256": "aa", "digest_source": "kernel"},
                "gate": {"hook": "mmap_file", "refused": true},
                "policy": {"action": "deny"},
            },
        });
        check(
            &record,
            Kind::Library,
            "untrusted",
            &expect![[r#"
            asked at: mmap_file, by "/usr/bin/kmod" (pid 7, uid 1001)
            answer: refused; the policy of that time said deny, by a default
            digest: aa, hashed by the kernel for this
            package: none: no signed package or manifest lists this digest
            signer: nobody
            install it from a package whose key is pinned, list it in a manifest (`hardpan trust add`), or a rule (`hardpan policy learn` proposes one by digest)"#]],
        );
    }

    #[test]
    fn a_changed_file_of_a_package() {
        let record = json!({
            "event": {"action": "exec-refused"},
            "process": {"pid": 7, "name": "sh"},
            "user": {"id": "0"},
            "Hardpan": {
                "verdict": "digest-mismatch",
                "file": {
                    "sha256": "aa", "digest_source": "kernel-cache", "expected_sha256": "bb",
                    "package": "p-1-1.x86_64", "package_path": "/usr/bin/p",
                    "signer": {"name": "A vendor", "fingerprint": "F"},
                },
                "gate": {"hook": "bprm_check_security", "refused": true, "why": ["boot-grace"]},
                "policy": {"action": "kill", "rule": "r", "origin": "a.toml:3 (site)"},
            },
        });
        check(
            &record,
            Kind::Exec,
            "mismatch",
            &expect![[r#"
            asked at: bprm_check_security, by "sh" (pid 7, uid 0)
            answer: refused; the policy of that time said kill, by rule "r" (a.toml:3 (site))
            digest: aa, from the kernel's cache: hashed before, and not changed since
            package: p-1-1.x86_64, which lists bb for this path: another content
            signer: A vendor (F)
            found: boot-grace
            put the package's own content back: `dnf reinstall p-1-1.x86_64`"#]],
        );
    }

    #[test]
    fn an_execution_and_a_module() {
        let record = json!({
            "event": {"action": "exec"},
            "process": {"pid": 7, "executable": "/tmp/p"},
            "Hardpan": {"file": {
                "kernel_digest": "too-large", "package": "p-1-1.x86_64", "trust": "retired",
            }},
        });
        check(
            &record,
            Kind::Exec,
            "container",
            &expect![[r#"
            asked at: bprm_check_security, where the gate judges executions; the record is of the execution itself
            answer: it went on
            digest: none: too-large
            package: p-1-1.x86_64, replaced or removed since the last boot
            signer: nobody
            default.exec.container = "allow" in the policy, or a rule (`hardpan policy learn` proposes one by digest)"#]],
        );
        let record = json!({
            "event": {"action": "kernel-module-refused"},
            "Hardpan": {"gate": {"hook": "locked_down", "refused": true}},
        });
        check(
            &record,
            Kind::Module,
            "unsigned",
            &expect![[r"
            asked at: locked_down
            answer: refused
            a rule that names it"]],
        );
    }
}
