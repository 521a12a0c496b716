//! The shipped checks and benchmarks: well formed, complete, and covering what they promise.
#![expect(clippy::unwrap_used, reason = "a test: what cannot be read fails it")]

use hardpan_core::audit::{Benchmark, Check, Checks, Control, Kind, Profile, coverage};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/audit")
}

fn texts(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(policies().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn content() -> (Checks, Vec<Benchmark>) {
    let files = texts("checks");
    let checks = Checks::parse(files.iter().map(|(name, text)| (name.as_str(), text.as_str()))).unwrap();
    let benchmarks = texts("benchmarks")
        .iter()
        .map(|(name, text)| Benchmark::parse(name, text, &checks).unwrap())
        .collect();
    (checks, benchmarks)
}

fn benchmark<'a>(all: &'a [Benchmark], id: &str) -> &'a Benchmark {
    all.iter().find(|benchmark| benchmark.id == id).unwrap()
}

/// Benchmark, controls, those it calls automated, those of them that checks answer without a person.
const CIS: [(&str, usize, usize, usize); 3] = [
    ("cis-rhel8", 322, 299, 299),
    ("cis-rhel9", 298, 278, 276),
    ("cis-rhel10", 328, 309, 309),
];

/// What SCAP Security Guide covers of the automated controls.
const SSG: [usize; 3] = [296, 254, 301];

#[test]
fn cis_automated_controls_are_answered() {
    let (checks, benchmarks) = content();
    for ((id, controls, automated, answered), ssg) in CIS.into_iter().zip(SSG) {
        let benchmark = benchmark(&benchmarks, id);
        assert_eq!(benchmark.controls.len(), controls, "{id}");
        let called: Vec<&Control> = benchmark
            .controls
            .iter()
            .filter(|control| control.automated)
            .collect();
        assert_eq!(called.len(), automated, "{id}");
        let coverage = coverage(&checks, &called);
        assert_eq!(coverage.implemented, answered, "{id}");
        assert!(coverage.implemented >= ssg, "{id}");
    }
}

#[test]
fn cis_manual_controls_are_questions_with_evidence() {
    let (checks, benchmarks) = content();
    for (id, controls, automated, _) in CIS {
        let benchmark = benchmark(&benchmarks, id);
        let manual: Vec<&Control> = benchmark
            .controls
            .iter()
            .filter(|control| !control.automated)
            .collect();
        assert_eq!(manual.len(), controls - automated, "{id}");
        assert_eq!(coverage(&checks, &manual).manual, manual.len(), "{id}");
    }
}

#[test]
fn levels_have_the_published_sizes() {
    let (_, benchmarks) = content();
    for (id, sizes) in [
        ("cis-rhel8", [257, 322, 252, 317]),
        ("cis-rhel9", [235, 298, 227, 293]),
        ("cis-rhel10", [248, 328, 242, 323]),
    ] {
        let benchmark = benchmark(&benchmarks, id);
        let size = |profile| benchmark.select(profile).len();
        let found = [
            size(Profile::CisServer(1)),
            size(Profile::CisServer(2)),
            size(Profile::CisWorkstation(1)),
            size(Profile::CisWorkstation(2)),
        ];
        assert_eq!(found, sizes, "{id}");
    }
}

#[test]
fn stig_lists_every_control() {
    let (checks, benchmarks) = content();
    for (id, controls, answered, manual) in [
        ("stig-rhel8", 370, 362, 8),
        ("stig-rhel9", 447, 439, 8),
        ("stig-rhel10", 434, 426, 8),
    ] {
        let benchmark = benchmark(&benchmarks, id);
        let all: Vec<&Control> = benchmark.controls.iter().collect();
        let found = coverage(&checks, &all);
        assert_eq!(
            (found.controls, found.implemented, found.manual),
            (controls, answered, manual),
            "{id}"
        );
        let categories: BTreeSet<&str> = all.iter().map(|control| control.severity.as_str()).collect();
        assert_eq!(
            categories.into_iter().collect::<Vec<_>>(),
            ["CAT I", "CAT II", "CAT III"],
            "{id}"
        );
    }
}

#[test]
fn control_ids_are_unique_and_checks_are_used() {
    let (checks, benchmarks) = content();
    let mut used = BTreeSet::new();
    for benchmark in &benchmarks {
        let ids: BTreeSet<&str> = benchmark
            .controls
            .iter()
            .map(|control| control.id.as_str())
            .collect();
        assert_eq!(ids.len(), benchmark.controls.len(), "{}", benchmark.id);
        used.extend(
            benchmark
                .controls
                .iter()
                .flat_map(|control| control.checks.iter().map(String::as_str)),
        );
    }
    let unused: Vec<&str> = checks
        .iter()
        .map(|check| check.id.as_str())
        .filter(|id| !used.contains(id))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn values_of_public_benchmarks_name_their_source() {
    let (checks, benchmarks) = content();
    let without: BTreeSet<&str> = benchmarks
        .iter()
        .filter(|benchmark| ["cis", "stig"].contains(&benchmark.family.as_str()))
        .flat_map(|benchmark| &benchmark.controls)
        .flat_map(|control| &control.checks)
        .filter(|id| checks.get(id).is_some_and(|check| check.provenance.is_empty()))
        .map(String::as_str)
        .collect();
    assert!(without.is_empty(), "no provenance: {without:?}");
}

#[test]
fn every_profile_has_a_benchmark_for_each_release() {
    let (_, benchmarks) = content();
    for (name, profile, _) in Profile::ALL {
        for el in [8, 9, 10] {
            let found = profile.benchmark(&benchmarks, Some(el), None);
            assert!(
                found.is_some_and(|benchmark| !benchmark.select(profile).is_empty()),
                "{name} on EL {el}"
            );
        }
    }
}

#[test]
fn checks_that_can_fail_say_how_to_put_it_right() {
    let (checks, _) = content();
    // Facts never fail; questions have no remedy of their own.
    let facts = [
        "hp-fips-kernel-build",
        "hp-fips-modules",
        "hp-fips-other-crypto",
        "hp-hard-kconfig",
    ];
    let question = |check: &Check| matches!(check.kind, Kind::Manual(_)) || check.kind.manual();
    let without: Vec<&str> = checks
        .iter()
        .filter(|check| check.kind.implemented() && !question(check) && check.remedy().is_empty())
        .map(|check| check.id.as_str())
        .filter(|id| !facts.contains(id))
        .collect();
    assert!(without.is_empty(), "no remedy: {without:?}");
}
