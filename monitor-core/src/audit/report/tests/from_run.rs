//! What a report shows of a finished audit: every benchmark there is, answered from the facts of an empty image.

use super::super::*;
use crate::audit;
use crate::audit::{Checks, Facts, Run, Selection, Verdict, Waivers};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../policies/audit")
        .join(name)
}

fn texts(name: &str) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// An audit of nothing: every input is missing, so checks end with an error, a question or "not implemented".
fn audits() -> (Checks, Vec<audit::Report>) {
    let files = texts("checks");
    let checks = Checks::parse(files.iter().map(|(name, text)| (name.as_str(), text.as_str()))).unwrap();
    let benchmarks: Vec<audit::Benchmark> = texts("benchmarks")
        .iter()
        .map(|(name, text)| audit::Benchmark::parse(name, text, &checks).unwrap())
        .collect();
    let waivers = Waivers::parse(
        "[[waiver]]\ncontrol = \"*.1\"\nreason = \"known\"\nowner = \"ops\"\nexpires = \"2027-01-31\"\n",
    )
    .unwrap();
    let selection = Selection::default();
    let mut reports = Vec::new();
    for benchmark in &benchmarks {
        for (name, profile, title) in audit::Profile::ALL {
            if profile.family() != benchmark.family {
                continue;
            }
            let mut run = Run::new(&checks, benchmark, profile, &selection);
            run.step(&Facts::default());
            run.abandon("nothing was read");
            let results = run.results(&waivers, &benchmark.id, "2026-11-22");
            reports.push(audit::Report {
                schema: "x".into(),
                tool_version: "0.1.0".into(),
                profile: name.into(),
                profile_title: title.into(),
                benchmark: benchmark.id.clone(),
                benchmark_title: benchmark.title.clone(),
                benchmark_version: benchmark.version.clone(),
                host: Host::default(),
                addresses: vec!["192.0.2.7".into(), "2001:db8::7".into()],
                root: "/mnt/image".into(),
                live: false,
                started: "2026-11-22T05:10:00Z".into(),
                finished: "2026-11-22T05:10:03Z".into(),
                coverage: audit::coverage(&checks, &benchmark.select(profile)),
                counts: audit::counts(&results),
                score: audit::score(&results),
                warnings: vec!["checks that walk all file systems were left out".into()],
                results,
            });
        }
    }
    (checks, reports)
}

/// Reports of the benchmarks there are, two of them: numbered chapters and categories.
pub(super) fn two() -> [Report; 2] {
    let (checks, audits) = audits();
    ["cis-rhel9", "stig-rhel9"].map(|id| {
        let audit = audits.iter().rfind(|audit| audit.benchmark == id).unwrap();
        Report::of(audit, &checks)
    })
}

#[test]
fn nothing_of_an_audit_is_lost() {
    let (checks, audits) = audits();
    assert!(audits.len() >= 18, "{}", audits.len());
    for audit in &audits {
        let name = format!("{} {}", audit.benchmark, audit.profile);
        let report = Report::of(audit, &checks);
        assert_eq!(report.rules.len(), audit.results.len(), "{name}");
        assert_eq!((report.started, report.ended), (1_795_324_200, 1_795_324_203));
        assert_eq!(report.target.image, "/mnt/image");
        for result in &audit.results {
            let rule = report
                .rules
                .iter()
                .find(|rule| rule.control == result.id)
                .unwrap();
            assert_eq!(rule.result(), result.result, "{name} {}", result.id);
            assert_eq!(
                rule.waiver.is_some(),
                result.waiver.is_some(),
                "{name} {}",
                result.id
            );
            assert_eq!(
                rule.outcome.evidence.len(),
                result.evidence().count(),
                "{name} {}",
                result.id
            );
        }
        for chapter in report.chapters() {
            assert!(
                !chapter.chapter.title.is_empty(),
                "{name}: chapter {}",
                chapter.chapter.id
            );
        }
        let counts = report.counts();
        for verdict in Verdict::ALL {
            let counted = audit.counts.get(verdict.word()).copied().unwrap_or(0);
            assert_eq!(counts.get(verdict), counted, "{name} {}", verdict.word());
        }
        for format in Format::ALL {
            let text = report.render(format, TableStyle::default()).unwrap();
            if format != Format::Table && format != Format::Junit && format != Format::Csv {
                assert!(text.contains("0.1.0"), "{name} {}", format.name());
            }
        }
    }
}

#[test]
fn a_stig_is_shown_by_category() {
    let (checks, audits) = audits();
    let audit = audits
        .iter()
        .find(|audit| audit.benchmark == "stig-rhel9")
        .unwrap();
    let report = Report::of(audit, &checks);
    let names: Vec<String> = report
        .chapters()
        .iter()
        .map(|chapter| chapter.chapter.name())
        .collect();
    assert_eq!(
        names[..3],
        [
            "CAT I high severity",
            "CAT II medium severity",
            "CAT III low severity"
        ]
    );
    assert!(names[3..].iter().all(|name| name == "Without category"));
}

#[test]
fn levels_are_those_of_the_profile() {
    let (checks, audits) = audits();
    let levels = |profile: &str| -> std::collections::BTreeSet<String> {
        let audit = audits
            .iter()
            .find(|audit| audit.benchmark == "cis-rhel9" && audit.profile == profile)
            .unwrap();
        Report::of(audit, &checks)
            .rules
            .into_iter()
            .map(|rule| rule.level)
            .collect()
    };
    assert_eq!(Vec::from_iter(levels("cis-l1-workstation")), ["L1"]);
    assert_eq!(Vec::from_iter(levels("cis-l2-server")), ["L1", "L2"]);
}
