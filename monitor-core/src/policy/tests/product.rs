//! The shipped sets: every combination of release, vendor, hardware, role and level is a sound policy.

use super::*;
use crate::platform::Tier;
use crate::policy::rule::{self, Action};
use crate::policy::schema::{self, Segment};
use crate::policy::value::{KeyPath, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[test]
fn the_compiled_table_is_the_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut found = Vec::new();
    for directory in [
        "base", "el8", "el9", "el10", "vendor", "hardware", "role", "level",
    ] {
        for entry in std::fs::read_dir(root.join(directory)).expect("policies") {
            let path: PathBuf = entry.expect("entry").path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let file = path.file_name().and_then(|name| name.to_str()).expect("name");
                found.push(format!("{directory}/{file}"));
            }
        }
    }
    found.sort();
    let mut compiled: Vec<String> = shipped::SHIPPED
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    compiled.sort();
    assert_eq!(found, compiled, "policies/ and SHIPPED differ");
}

/// Every selector of the product. EL 9 wants v2 and EL 10 v3 (AlmaLinux 10 also v2), but the sets must hold anywhere.
fn every_selector() -> Vec<Selector> {
    let mut all = Vec::new();
    for el in shipped::RELEASES {
        for vendor in shipped::names("vendor") {
            for hardware in shipped::names("hardware") {
                for role in shipped::names("role") {
                    for level in shipped::names("level") {
                        all.push(selector(el, vendor, hardware, role, level));
                    }
                }
            }
        }
    }
    all
}

#[test]
fn every_combination_is_a_sound_policy() {
    let selectors = every_selector();
    assert_eq!(selectors.len(), 3 * 6 * 5 * 7 * 4);
    let sources = shipped::shipped();
    // Each file is parsed once; the layer a file belongs to is its directory.
    let mut parsed = BTreeMap::new();
    for source in &sources {
        let layer = match source.name.split('/').next() {
            Some("base") => Layer::Base,
            Some("vendor") => Layer::Vendor,
            Some("hardware") => Layer::Hardware,
            Some("role") => Layer::Role,
            Some("level") => Layer::Level,
            _ => Layer::El,
        };
        let (document, problems) =
            document::parse(layer, &source.file, source.text.as_deref().expect("text"));
        assert!(problems.is_empty(), "{}", lines(&problems));
        parsed.insert(source.name.clone(), document);
    }
    for selector in &selectors {
        let documents: Vec<document::Document> = source::select(selector, &sources, &[])
            .into_iter()
            .map(|(_, source)| parsed.get(&source.name).expect("parsed").clone())
            .collect();
        let (resolved, problems) = resolve::resolve(&documents);
        assert!(problems.is_empty(), "{selector:?}\n{}", lines(&problems));
        for tier in [Tier::A, Tier::B, Tier::C] {
            let problems = rule::lint(&resolved.rules, &[tier], tier == Tier::C);
            assert!(
                problems.is_empty(),
                "{selector:?} tier {tier}\n{}",
                lines(&problems)
            );
        }
        properties(selector, &resolved);
    }
}

/// What must hold whatever the combination.
fn properties(selector: &Selector, resolved: &Resolved) {
    let text = |path: &[&str]| {
        resolved
            .setting(path)
            .and_then(|setting| setting.value.as_text())
            .unwrap_or("unset")
    };
    // Every key that is not an entry's has a value: typed readers need no defaults of their own.
    for spec in schema::KEYS {
        for path in concrete(spec.path) {
            assert!(
                resolved.settings.contains_key(&path),
                "{selector:?}: {path} is unset"
            );
        }
    }
    for (key, setting) in &resolved.settings {
        let spec = schema::find(key.segments()).unwrap_or_else(|| panic!("{key} is not in the schema"));
        assert!(setting.origin.line > 0);
        assert!(
            resolved.accepts(key, &setting.value),
            "{selector:?}: {key} = {}",
            setting.value
        );
        let _ = spec;
    }
    // A level that enforces never lets a tampered file of a package run.
    if text(&["gate", "mode"]) == "enforce" {
        assert!(
            Action::from_name(text(&["default", "exec", "mismatch"])) >= Some(Action::Deny),
            "{selector:?}"
        );
    }
    // EL 8 has neither the lockdown LSM nor IBT.
    if selector.el == 8 {
        assert_eq!(text(&["kernel", "lockdown_source"]), "secure-boot");
        assert_eq!(text(&["cpu", "ibt", "expect"]), "not-on-this-hardware");
    }
    // Old processors have no SMAP and no fast hash: never a failure.
    if ["x86-64-v1", "x86-64-v2", "aarch64"].contains(&selector.hardware.as_str()) {
        assert_eq!(text(&["cpu", "smap", "expect"]), "not-on-this-hardware");
    }
    // Containers run where they are what the host is for.
    if selector.role == "container-host" {
        assert_ne!(text(&["default", "exec", "container"]), "deny", "{selector:?}");
        let overlay = resolved
            .setting(&["module", "overlay", "deny"])
            .map(|setting| setting.value.clone());
        assert_eq!(overlay, Some(Value::Bool(false)), "{selector:?}");
    }
    // One-way switches are marked, so that `harden apply` asks.
    for name in ["kernel.kexec_load_disabled", "kernel.unprivileged_bpf_disabled"] {
        if resolved.setting(&["sysctl", name, "value"]).is_some() {
            let marked = resolved
                .setting(&["sysctl", name, "one_way"])
                .map(|setting| setting.value.clone());
            assert_eq!(marked, Some(Value::Bool(true)), "{selector:?}: {name}");
        }
    }
    // Names of key sets are those of the pins that come with Hardpan.
    for set in resolved
        .setting(&["trust", "key_sets"])
        .map(|setting| setting.value.to_texts())
        .unwrap_or_default()
    {
        assert!(
            key_sets().contains(&set),
            "{selector:?}: no pinned keys named {set} in policies/vendor/keys"
        );
    }
    // Whatever is done says why.
    for section in [
        "sysctl", "module", "boot", "service", "suid", "mount", "sshd", "pam", "firewall",
    ] {
        for name in resolved.entries(section) {
            let acts = schema::entry(section)
                .is_some_and(|entry| resolved.setting(&[section, name, entry.main]).is_some());
            let managed = resolved.setting(&[section, name, "managed"]).is_none();
            if acts && managed {
                assert!(
                    resolved.setting(&[section, name, "reason"]).is_some(),
                    "{selector:?}: {section}.{name}"
                );
            }
        }
    }
}

/// `vendor` of the files of pinned keys.
fn key_sets() -> std::collections::BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/vendor/keys");
    std::fs::read_dir(folder)
        .expect("keys")
        .map(|file| {
            let path = file.expect("file").path();
            let text = std::fs::read_to_string(&path).expect("text");
            let table: toml::Table = text.parse().expect("TOML");
            table["vendor"].as_str().expect("vendor").to_owned()
        })
        .collect()
}

/// The paths a key without reader-given names stands for.
fn concrete(path: &[Segment]) -> Vec<KeyPath> {
    let mut paths: Vec<Vec<&str>> = vec![Vec::new()];
    for segment in path {
        let names: &[&str] = match segment {
            Segment::Fixed(name) => &[*name],
            Segment::OneOf(names) => names,
            Segment::Name => return Vec::new(),
        };
        paths = paths
            .iter()
            .flat_map(|path| names.iter().map(|name| [path.as_slice(), &[*name]].concat()))
            .collect();
    }
    // Hardening that no set asks for everywhere.
    let optional =
        |path: &&Vec<&str>| ["crypto", "firewall"].contains(&path.first().copied().unwrap_or_default());
    paths
        .iter()
        .filter(|path| !optional(path))
        .map(|path| KeyPath::new(path))
        .collect()
}
