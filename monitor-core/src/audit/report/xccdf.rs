//! XCCDF 1.2: a small benchmark (own ids, own titles) with the test result inside.
//!
//! A lone `TestResult` is valid by the XSD, but the schematron wants each result to name a rule of the same document,
//! and `oscap xccdf generate report` takes titles from there.

use super::junit::evidence_line;
use super::xml::Xml;
use super::{Means, ReferenceKind, Report, ReportError, RuleResult, Waiver, text};
use crate::audit::outcome::Verdict;

pub(super) const NAMESPACE: &str = "http://checklists.nist.gov/xccdf/1.2";
/// Names the checks' language: ours, answered by this program only.
const CHECK_SYSTEM: &str = "urn:hardpan:audit:check";
const CCE_SYSTEM: &str = "https://ncp.nist.gov/cce";

/// The ids of one document. The part after `xccdf_` names the issuer.
pub(super) struct Ids {
    pub(super) benchmark: String,
    pub(super) profile: String,
    pub(super) test_result: String,
    pub(super) rules: Vec<String>,
}

impl Ids {
    pub(super) fn of(report: &Report) -> Self {
        let benchmark = text::id(&report.benchmark.id);
        let profile = text::id(&report.profile.id);
        Self {
            test_result: format!("xccdf_hardpan_testresult_{benchmark}-{profile}-{}", report.ended),
            benchmark: format!("xccdf_hardpan_benchmark_{benchmark}"),
            profile: format!("xccdf_hardpan_profile_{profile}"),
            rules: text::distinct_ids(report.rules.iter().map(|rule| rule.control.as_str()))
                .into_iter()
                .map(|id| format!("xccdf_hardpan_rule_{id}"))
                .collect(),
        }
    }

    fn rule(&self, index: usize) -> &str {
        self.rules
            .get(index)
            .map_or("xccdf_hardpan_rule_-", String::as_str)
    }
}

pub(super) fn write(report: &Report) -> Result<String, ReportError> {
    let mut xml = Xml::new()?;
    let ids = Ids::of(report);
    benchmark(&mut xml, report, &ids, |xml| {
        test_result(xml, report, &ids, &format!("#{}", ids.benchmark), false)
    })?;
    Ok(xml.finish())
}

/// The CPE name of the target's release, for distributions that have one, in the older URI binding: the schematron
/// warns about it, and `oscap xccdf validate` (1.3.7) calls a document without any warning invalid.
fn platform(report: &Report) -> Option<String> {
    let host = &report.target.host;
    let product = match host.os_id.as_str() {
        "rhel" => "redhat:enterprise_linux",
        "rocky" => "rocky:rocky",
        "almalinux" => "almalinux:almalinux",
        "centos" => "centos:centos",
        "ol" => "oracle:linux",
        _ => return None,
    };
    let major = host.os_version.split('.').next()?;
    let is_number = !major.is_empty() && major.chars().all(|c| c.is_ascii_digit());
    is_number.then(|| format!("cpe:/o:{product}:{major}"))
}

fn tool_cpe(report: &Report) -> String {
    let name = text::id(&report.tool.name).to_ascii_lowercase();
    format!(
        "cpe:2.3:a:{name}:{name}:{}:*:*:*:*:*:*:*",
        text::id(&report.tool.version)
    )
}

/// The benchmark, with `inside` after its groups.
pub(super) fn benchmark(
    xml: &mut Xml,
    report: &Report,
    ids: &Ids,
    inside: impl FnOnce(&mut Xml) -> Result<(), ReportError>,
) -> Result<(), ReportError> {
    let attributes = [
        ("xmlns", NAMESPACE),
        ("id", ids.benchmark.as_str()),
        ("resolved", "1"),
        ("xml:lang", "en"),
    ];
    xml.element("Benchmark", &attributes, |xml| {
        xml.text("status", &[("date", &text::day(report.ended))], "accepted")?;
        xml.text("title", &[], &report.benchmark.title)?;
        xml.text(
            "description",
            &[],
            "Carries the results of an audit. Ids and levels are those of the benchmark; titles are the auditing \
             program's own words, not the benchmark publisher's text.",
        )?;
        if let Some(platform) = platform(report) {
            xml.empty("platform", &[("idref", &platform)])?;
        }
        xml.text("version", &[], &report.benchmark.version)?;
        xml.element("metadata", &[("xmlns:dc", "http://purl.org/dc/elements/1.1/")], |xml| {
            for name in ["dc:publisher", "dc:creator", "dc:contributor", "dc:source"] {
                xml.text(name, &[], &report.tool.name)?;
            }
            Ok(())
        })?;
        for model in ["urn:xccdf:scoring:default", "urn:xccdf:scoring:flat-unweighted"] {
            xml.empty("model", &[("system", model)])?;
        }
        xml.element("Profile", &[("id", &ids.profile)], |xml| {
            xml.text("title", &[], &report.profile.title)?;
            xml.text("description", &[], &format!("Profile {}", report.profile.id))?;
            for (index, rule) in report.rules.iter().enumerate() {
                let selected = if rule.result() == Verdict::NotSelected { "false" } else { "true" };
                xml.empty("select", &[("idref", ids.rule(index)), ("selected", selected)])?;
            }
            Ok(())
        })?;
        groups(xml, report, ids)?;
        inside(xml)
    })
}

fn groups(xml: &mut Xml, report: &Report, ids: &Ids) -> Result<(), ReportError> {
    let chapters = report.chapters();
    let group_ids = text::distinct_ids(chapters.iter().map(|chapter| chapter.chapter.id.as_str()));
    for (chapter, id) in chapters.iter().zip(group_ids) {
        xml.element("Group", &[("id", &format!("xccdf_hardpan_group_{id}"))], |xml| {
            xml.text("title", &[], &chapter.chapter.name())?;
            xml.text("description", &[], &chapter.chapter.name())?;
            for (index, rule) in &chapter.rules {
                rule_definition(xml, report, rule, ids.rule(*index))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn rule_definition(xml: &mut Xml, report: &Report, rule: &RuleResult, id: &str) -> Result<(), ReportError> {
    let attributes = [
        ("id", id),
        ("severity", rule.severity.word()),
        ("weight", "1.0"),
        ("selected", "false"),
    ];
    xml.element("Rule", &attributes, |xml| {
        // oscap lists rules by title alone, so the number stands in front.
        xml.text("title", &[], &format!("{} {}", rule.control, rule.title))?;
        let mut description = rule.title.clone();
        if !rule.level.is_empty() {
            text::add(&mut description, format_args!(" (level {})", rule.level));
        }
        xml.text("description", &[], &description)?;
        if !rule.side_effect.is_empty() {
            xml.text("warning", &[("category", "functionality")], &rule.side_effect)?;
        }
        let home = format!(
            "urn:hardpan:audit:benchmark:{}:{}",
            text::id(&report.benchmark.id),
            text::id(&report.benchmark.version)
        );
        xml.text("reference", &[("href", &home)], &rule.control)?;
        for reference in rule
            .references
            .iter()
            .filter(|reference| reference.kind != ReferenceKind::Cce)
        {
            let href = format!(
                "urn:hardpan:audit:reference:{}",
                reference.kind.name().to_ascii_lowercase()
            );
            xml.text(
                "reference",
                &[("href", &href)],
                &format!("{} {}", reference.kind.name(), reference.id),
            )?;
        }
        let provenance = if rule.provenance.is_empty() {
            "See the benchmark."
        } else {
            &rule.provenance
        };
        xml.text("rationale", &[], provenance)?;
        idents(xml, rule)?;
        if !rule.remedy.is_empty() {
            xml.text("fixtext", &[], &rule.remedy)?;
        }
        checks(xml, rule)
    })
}

fn idents(xml: &mut Xml, rule: &RuleResult) -> Result<(), ReportError> {
    for reference in rule
        .references
        .iter()
        .filter(|reference| reference.kind == ReferenceKind::Cce)
    {
        xml.text("ident", &[("system", CCE_SYSTEM)], &reference.id)?;
    }
    Ok(())
}

/// The checks that answered; several must all hold.
fn checks(xml: &mut Xml, rule: &RuleResult) -> Result<(), ReportError> {
    let one = |xml: &mut Xml, id: &str| {
        xml.element("check", &[("system", CHECK_SYSTEM)], |xml| {
            xml.empty(
                "check-content-ref",
                &[("href", &format!("urn:hardpan:audit:check:{}", text::id(id)))],
            )
        })
    };
    match rule.checks.as_slice() {
        // The schematron wants each rule to have a check: a person's answer is one too.
        [] if rule.means == Means::Manual => one(xml, "manual"),
        [] => one(xml, "none"),
        [check] => one(xml, check),
        checks => xml.element("complex-check", &[("operator", "AND")], |xml| {
            checks.iter().try_for_each(|check| one(xml, check))
        }),
    }
}

/// The test result. `benchmark_href` says where the benchmark is; `is_root` that no benchmark is around it.
pub(super) fn test_result(
    xml: &mut Xml,
    report: &Report,
    ids: &Ids,
    benchmark_href: &str,
    is_root: bool,
) -> Result<(), ReportError> {
    let (start, end, tool) = (
        text::time(report.started),
        text::time(report.ended),
        tool_cpe(report),
    );
    let mut attributes = vec![
        ("id", ids.test_result.as_str()),
        ("start-time", &start),
        ("end-time", &end),
        ("version", &report.benchmark.version),
        ("test-system", &tool),
    ];
    if is_root {
        attributes.insert(0, ("xmlns", NAMESPACE));
    }
    xml.element("TestResult", &attributes, |xml| {
        xml.empty("benchmark", &[("href", benchmark_href), ("id", &ids.benchmark)])?;
        xml.text(
            "title",
            &[],
            &format!("{}: {}", report.benchmark.title, report.profile.title),
        )?;
        xml.text("remark", &[], &report.coverage().line())?;
        for warning in &report.warnings {
            xml.text("remark", &[], &text::line(warning))?;
        }
        xml.text("organization", &[], &report.tool.name)?;
        xml.text(
            "identity",
            &[("authenticated", "true"), ("privileged", "true")],
            "root",
        )?;
        xml.empty("profile", &[("idref", &ids.profile)])?;
        target(xml, report)?;
        for (index, rule) in report.rules.iter().enumerate() {
            rule_result(xml, rule, ids.rule(index), &end)?;
        }
        scores(xml, report)
    })
}

fn target(xml: &mut Xml, report: &Report) -> Result<(), ReportError> {
    let target = &report.target;
    xml.text("target", &[], &text::line(target.display_name()))?;
    for address in &target.addresses {
        xml.text("target-address", &[], &text::line(address))?;
    }
    xml.element("target-facts", &[], |xml| {
        for (name, value) in [
            ("urn:xccdf:fact:identifier", target.host.machine_id.as_str()),
            ("urn:xccdf:fact:asset:identifier:host_name", &target.host.name),
            ("urn:xccdf:fact:asset:identifier:fqdn", target.display_name()),
            ("urn:xccdf:fact:scanner:name", &report.tool.name),
            ("urn:xccdf:fact:scanner:version", &report.tool.version),
            ("urn:hardpan:fact:os", &target.os()),
            ("urn:hardpan:fact:kernel", &target.host.kernel),
            ("urn:hardpan:fact:architecture", &target.host.arch),
            ("urn:hardpan:fact:image", &target.image),
        ] {
            if !value.is_empty() {
                xml.text("fact", &[("name", name), ("type", "string")], &text::line(value))?;
            }
        }
        Ok(())
    })?;
    if let Some(platform) = platform(report) {
        xml.empty("platform", &[("idref", &platform)])?;
    }
    Ok(())
}

fn rule_result(xml: &mut Xml, rule: &RuleResult, id: &str, time: &str) -> Result<(), ReportError> {
    let attributes = [
        ("idref", id),
        ("time", time),
        ("severity", rule.severity.word()),
        ("weight", "1.0"),
    ];
    xml.element("rule-result", &attributes, |xml| {
        xml.text("result", &[], rule.result().word())?;
        idents(xml, rule)?;
        if !rule.outcome.reason.is_empty() {
            let severity = if rule.result() == Verdict::Error {
                "error"
            } else {
                "info"
            };
            let mut reason = text::line(&rule.outcome.reason).into_owned();
            if rule.outcome.configured_only {
                reason.push_str(" (configuration only)");
            }
            xml.text("message", &[("severity", severity)], &reason)?;
        }
        for evidence in &rule.outcome.evidence {
            let severity = if evidence.ok == Some(false) {
                "warning"
            } else {
                "info"
            };
            xml.text("message", &[("severity", severity)], &evidence_line(evidence))?;
        }
        if let Some(waiver) = rule.waiver.as_ref().map(Waiver::line) {
            xml.text("message", &[("severity", "warning")], &waiver)?;
        }
        checks(xml, rule)
    })
}

fn scores(xml: &mut Xml, report: &Report) -> Result<(), ReportError> {
    let counts = report.counts();
    let default = format!("{:.4}", report.default_score().unwrap_or(0.0));
    xml.text(
        "score",
        &[("system", "urn:xccdf:scoring:default"), ("maximum", "100")],
        &default,
    )?;
    // A maximum must be positive; without a scored control, 0 of 1 says "nothing was reached".
    let maximum = counts.scored().max(1).to_string();
    xml.text(
        "score",
        &[
            ("system", "urn:xccdf:scoring:flat-unweighted"),
            ("maximum", &maximum),
        ],
        &counts.pass.to_string(),
    )
}
