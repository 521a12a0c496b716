//! JUnit XML: one test suite per chapter, one test case per control.
//!
//! fail → `failure` (a waived one too, with type `fail-waived`), error and unknown → `error`, everything that was not
//! decided → `skipped`.

use super::xml::Xml;
use super::{Report, ReportError, RuleResult, summary::Counts, text};
use crate::audit::outcome::{Evidence, Verdict};

pub(super) fn write(report: &Report) -> Result<String, ReportError> {
    let mut xml = Xml::new()?;
    let suite_base = format!(
        "{}.{}",
        text::id(&report.benchmark.id),
        text::id(&report.profile.id)
    );
    let totals = Totals::of(report.counts(), duration(report.rules.iter()));
    xml.element("testsuites", &totals.attributes(&suite_base), |xml| {
        for chapter in report.chapters() {
            let name = if chapter.chapter.id.is_empty() {
                suite_base.clone()
            } else {
                format!("{suite_base}.{}", text::id(&chapter.chapter.id))
            };
            let totals = Totals::of(
                chapter.counts,
                duration(chapter.rules.iter().map(|(_, rule)| *rule)),
            );
            let mut attributes = totals.attributes(&name);
            let timestamp = text::time(report.started).trim_end_matches('Z').to_owned();
            attributes.push(("timestamp", &timestamp));
            attributes.push(("hostname", report.target.display_name()));
            xml.element("testsuite", &attributes, |xml| {
                for (_, rule) in &chapter.rules {
                    case(xml, &suite_base, rule)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    })?;
    Ok(xml.finish())
}

struct Totals {
    tests: String,
    failures: String,
    errors: String,
    skipped: String,
    time: String,
}

impl Totals {
    fn of(counts: Counts, duration_us: u64) -> Self {
        let errors = counts.error + counts.unknown;
        Self {
            tests: counts.total.to_string(),
            failures: counts.fail.to_string(),
            errors: errors.to_string(),
            skipped: (counts.total - counts.pass - counts.fail - errors).to_string(),
            time: seconds(duration_us),
        }
    }

    fn attributes<'a>(&'a self, name: &'a str) -> Vec<(&'static str, &'a str)> {
        vec![
            ("name", name),
            ("tests", &self.tests),
            ("failures", &self.failures),
            ("errors", &self.errors),
            ("skipped", &self.skipped),
            ("time", &self.time),
        ]
    }
}

fn duration<'a>(rules: impl Iterator<Item = &'a RuleResult>) -> u64 {
    rules
        .filter_map(|rule| rule.duration_us)
        .fold(0, u64::saturating_add)
}

fn seconds(duration_us: u64) -> String {
    format!("{}.{:06}", duration_us / 1_000_000, duration_us % 1_000_000)
}

fn case(xml: &mut Xml, suite: &str, rule: &RuleResult) -> Result<(), ReportError> {
    let class = format!("{suite}.{}", text::id(&rule.control));
    let name = format!("{} {}", rule.control, rule.title);
    let time = seconds(rule.duration_us.unwrap_or(0));
    let attributes = [("classname", class.as_str()), ("name", &name), ("time", &time)];
    let message = message(rule);
    let details = details(rule);
    let (element, kind) = match rule.result() {
        Verdict::Pass => return xml.empty("testcase", &attributes),
        Verdict::Fail if rule.accepted().is_some() => ("failure", "fail-waived"),
        Verdict::Fail => ("failure", "fail"),
        Verdict::Error | Verdict::Unknown => ("error", rule.result().word()),
        Verdict::NotApplicable | Verdict::NotChecked | Verdict::NotSelected | Verdict::Informational => {
            return xml.element("testcase", &attributes, |xml| {
                xml.empty("skipped", &[("message", &message)])
            });
        }
    };
    xml.element("testcase", &attributes, |xml| {
        xml.text(element, &[("message", &message), ("type", kind)], &details)
    })
}

fn message(rule: &RuleResult) -> String {
    let mut message = match rule.result() {
        Verdict::Fail | Verdict::Error | Verdict::Unknown => String::new(),
        verdict => format!("{}: ", verdict.word()),
    };
    message.push_str(&rule.outcome.reason);
    if let Some(waiver) = &rule.waiver {
        text::add(&mut message, format_args!(" [{}]", waiver.line()));
    }
    message
}

fn details(rule: &RuleResult) -> String {
    let mut lines: Vec<String> = rule.outcome.evidence.iter().map(evidence_line).collect();
    if !rule.remedy.is_empty() {
        lines.push(format!("remedy: {}", rule.remedy));
    }
    lines.join("\n")
}

/// One piece of evidence on one line, for formats without a table.
pub(super) fn evidence_line(evidence: &Evidence) -> String {
    let source = text::line(&evidence.source);
    let found = text::line(&evidence.found);
    if evidence.expected.is_empty() {
        return format!("{source}: {found}");
    }
    let mark = match evidence.ok {
        Some(true) => " (as wanted)",
        Some(false) => " (differs)",
        None => "",
    };
    format!(
        "{source}: expected {}, found {found}{mark}",
        text::line(&evidence.expected)
    )
}
