//! From a finished audit to what a report shows.

use super::{
    Benchmark, Chapter, Means, Profile, Reference, ReferenceKind, Report, RuleResult, Severity, Target, Tool,
    Waiver,
};
use crate::audit::check::Checks;
use crate::audit::kind::Kind;
use crate::audit::outcome::{Evidence, Outcome, Verdict};
use crate::audit::run;
use jiff::Timestamp;

/// Chapters of the CIS benchmarks for EL 8, 9 and 10, in our words (the numbers are the same in all three).
const CIS_CHAPTERS: [(&str, &str); 7] = [
    ("1", "Initial setup"),
    ("2", "Services"),
    ("3", "Network"),
    ("4", "Host firewall"),
    ("5", "Access control"),
    ("6", "Logging and auditing"),
    ("7", "System maintenance"),
];

/// Chapters of the profiles of our own.
const OWN_CHAPTERS: [(&str, &str); 6] = [
    ("sysctl", "Kernel settings"),
    ("boot", "Kernel command line"),
    ("state", "State of the running kernel"),
    ("facts", "For information"),
    ("fips", "FIPS"),
    ("migration", "Migration"),
];

/// Categories of STIGs: the part of a report they form, and XCCDF's word.
const CATEGORIES: [(&str, &str, Severity); 3] = [
    ("CAT I", "high severity", Severity::High),
    ("CAT II", "medium severity", Severity::Medium),
    ("CAT III", "low severity", Severity::Low),
];

impl Report {
    /// What to show of a finished audit. `checks` are those it ran: they say which controls a person answers, and where
    /// parameters come from.
    pub fn of(audit: &run::Report, checks: &Checks) -> Self {
        let seconds = |time: &str| time.parse::<Timestamp>().map_or(0, Timestamp::as_second);
        let mut rules: Vec<RuleResult> = audit
            .results
            .iter()
            .map(|result| rule(audit, result, checks))
            .collect();
        // A STIG has no chapters: its controls are put together by category, the worst first.
        rules.sort_by_key(|rule| {
            CATEGORIES
                .iter()
                .position(|(category, _, _)| *category == rule.chapter.id)
                .unwrap_or(CATEGORIES.len())
        });
        Self {
            tool: Tool {
                name: "hardpan".to_owned(),
                version: audit.tool_version.clone(),
            },
            target: Target {
                host: audit.host.clone(),
                addresses: audit.addresses.clone(),
                image: if audit.live {
                    String::new()
                } else {
                    audit.root.clone()
                },
            },
            benchmark: Benchmark {
                id: audit.benchmark.clone(),
                version: audit.benchmark_version.clone(),
                title: audit.benchmark_title.clone(),
            },
            profile: Profile {
                id: audit.profile.clone(),
                title: audit.profile_title.clone(),
            },
            started: seconds(&audit.started),
            ended: seconds(&audit.finished),
            warnings: audit.warnings.clone(),
            rules,
            diff: None,
        }
    }
}

fn rule(audit: &run::Report, result: &run::ControlResult, checks: &Checks) -> RuleResult {
    let level = if audit.profile.contains("workstation") {
        result.workstation
    } else {
        result.server
    };
    let mut references: Vec<Reference> = result
        .cce
        .iter()
        .map(|id| (ReferenceKind::Cce, id))
        .chain(
            result
                .checks
                .iter()
                .flat_map(|check| check.ssg.iter())
                .map(|id| (ReferenceKind::Ssg, id)),
        )
        .map(|(kind, id)| Reference { kind, id: id.clone() })
        .collect();
    references.sort();
    references.dedup();
    RuleResult {
        control: result.id.clone(),
        chapter: chapter(result),
        title: result.title.clone(),
        checks: result.checks.iter().map(|check| check.id.clone()).collect(),
        references,
        level: if level == 0 {
            result.severity.clone()
        } else {
            format!("L{level}")
        },
        severity: CATEGORIES
            .iter()
            .find(|(category, _, _)| *category == result.severity)
            .map_or(Severity::Unknown, |(_, _, severity)| *severity),
        means: means(result, checks),
        outcome: Outcome {
            result: result.result,
            reason: result.reason.clone(),
            configured_only: result.configured_only,
            evidence: evidence(result),
            omitted: result.checks.iter().map(|check| check.outcome.omitted).sum(),
        },
        waiver: result.waiver.as_ref().map(|applied| Waiver {
            reason: applied.reason.clone(),
            owner: applied.owner.clone(),
            expires: applied.expires.clone(),
            expired: applied.expired,
        }),
        remedy: result.remedies().join("\n"),
        side_effect: joined(
            result
                .checks
                .iter()
                .filter(|check| check.outcome.result == Verdict::Fail)
                .map(|check| check.side_effect.as_str()),
        ),
        provenance: joined(
            result
                .checks
                .iter()
                .filter_map(|check| checks.get(&check.id))
                .map(|check| check.provenance.as_str()),
        ),
        duration_us: result.duration_us,
    }
}

/// All evidence; at its end how many pieces were counted and not kept.
fn evidence(result: &run::ControlResult) -> Vec<Evidence> {
    let omitted: usize = result.checks.iter().map(|check| check.outcome.omitted).sum();
    let more = (omitted > 0).then(|| Evidence {
        source: "…".to_owned(),
        expected: String::new(),
        found: format!("{omitted} more, not kept"),
        ok: None,
    });
    let kept = result.evidence().map(|(_, evidence)| evidence.clone());
    kept.chain(more).collect()
}

fn chapter(result: &run::ControlResult) -> Chapter {
    let (id, title) = if result.chapter.is_empty() {
        let title = CATEGORIES
            .iter()
            .find(|(category, _, _)| *category == result.severity);
        (
            result.severity.as_str(),
            title.map_or("Without category", |(_, title, _)| *title),
        )
    } else {
        let known = CIS_CHAPTERS.iter().find(|(id, _)| *id == result.chapter);
        match OWN_CHAPTERS.iter().find(|(id, _)| *id == result.chapter) {
            Some((_, title)) => ("", *title),
            None => (result.chapter.as_str(), known.map_or("", |(_, title)| *title)),
        }
    };
    Chapter {
        id: id.to_owned(),
        title: title.to_owned(),
    }
}

fn means(result: &run::ControlResult, checks: &Checks) -> Means {
    let kinds = || {
        result
            .checks
            .iter()
            .filter_map(|check| checks.get(&check.id))
            .map(|check| &check.kind)
    };
    if kinds().any(Kind::manual) {
        Means::Manual
    } else if result.checks.is_empty() || kinds().any(|kind| !kind.implemented()) {
        if result.automated {
            Means::NotImplemented
        } else {
            Means::Manual
        }
    } else {
        Means::Automated
    }
}

/// The texts that are not empty, each once.
fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for text in texts {
        if !text.is_empty() && !parts.contains(&text) {
            parts.push(text);
        }
    }
    parts.join("; ")
}
