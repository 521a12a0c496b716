//! OSCAL assessment results 1.2.2, as JSON.
//!
//! One observation per control, one finding per control with an answer that is satisfied or not, one risk per waiver
//! in force. Ids are UUIDs made from the run's own facts (version 5), so the same run gives the same document.

use super::{Report, ReportError, RuleResult, text};
use crate::audit::outcome::{Evidence, Verdict};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const VERSION: &str = "1.2.2";
/// Namespace of our property names.
const NS: &str = "urn:hardpan:oscal";

/// Makes the document's ids.
struct Ids {
    run: Uuid,
}

impl Ids {
    fn of(report: &Report) -> Self {
        let root = Uuid::new_v5(&Uuid::NAMESPACE_URL, NS.as_bytes());
        let run = format!(
            "{}\0{}\0{}\0{}\0{}\0{}\0{}",
            report.target.host.machine_id,
            report.target.display_name(),
            report.target.image,
            report.benchmark.id,
            report.benchmark.version,
            report.profile.id,
            report.ended
        );
        Self {
            run: Uuid::new_v5(&root, run.as_bytes()),
        }
    }

    fn make(&self, kind: &str, name: &str) -> String {
        Uuid::new_v5(&self.run, format!("{kind}\0{name}").as_bytes()).to_string()
    }
}

pub(super) fn write(report: &Report) -> Result<String, ReportError> {
    let ids = Ids::of(report);
    let plan = ids.make("plan", "");
    let document = json!({
        "assessment-results": {
            "uuid": ids.make("document", ""),
            "metadata": {
                "title": string(&format!("{} {} audit of {}", report.benchmark.title, report.benchmark.version, report.target.display_name())),
                "last-modified": text::time(report.ended),
                "version": "1",
                "oscal-version": VERSION,
            },
            "import-ap": { "href": format!("#{plan}") },
            "results": [result(report, &ids)],
            "back-matter": {
                "resources": [{
                    "uuid": plan,
                    "title": "No assessment plan",
                    "description": "The audit was made without an OSCAL assessment plan.",
                }],
            },
        },
    });
    let mut text = serde_json::to_string_pretty(&document).map_err(|source| ReportError::Json {
        format: "oscal",
        source,
    })?;
    text.push('\n');
    Ok(text)
}

fn result(report: &Report, ids: &Ids) -> Value {
    let tool = ids.make("tool", "");
    let target = ids.make("target", "");
    let keys = text::distinct_ids(report.rules.iter().map(|rule| rule.control.as_str()));
    let prefix = format!("c-{}", text::id(&report.benchmark.id));
    let mut selected = Vec::new();
    let mut left_out = Vec::new();
    let mut observations = Vec::new();
    let mut findings = Vec::new();
    let mut risks = Vec::new();
    for (rule, key) in report.rules.iter().zip(&keys) {
        let control = format!("{prefix}_{key}");
        let parts = Parts {
            rule,
            observation: ids.make("observation", key),
            risk: ids.make("risk", key),
            control: &control,
        };
        let list = if rule.result() == Verdict::NotSelected {
            &mut left_out
        } else {
            &mut selected
        };
        list.push(json!({ "control-id": control }));
        observations.push(parts.observation(&tool, &target, &text::time(report.ended)));
        if let Some(state) = state(rule.result()) {
            findings.push(parts.finding(&ids.make("finding", key), state));
        }
        if rule.accepted().is_some() {
            risks.push(parts.risk());
        }
    }
    let selection = if selected.is_empty() {
        // OSCAL has no way to say "none": all, but for those left out.
        let mut none = json!({ "description": "No control was selected.", "include-all": {} });
        if let Value::Object(none) = &mut none {
            put(none, "exclude-controls", left_out);
        }
        none
    } else {
        json!({ "include-controls": selected })
    };
    let mut result = json!({
        "uuid": ids.make("result", ""),
        "title": string(&report.profile.title),
        "description": string(&report.coverage().line()),
        "start": text::time(report.started),
        "end": text::time(report.ended),
        "props": props(&[
            ("benchmark", &report.benchmark.id),
            ("benchmark-version", &report.benchmark.version),
            ("profile", &report.profile.id),
        ]),
        "local-definitions": {
            "components": [component(report, &tool)],
            "inventory-items": [inventory(report, &target)],
        },
        "reviewed-controls": { "control-selections": [selection] },
    });
    if let Value::Object(result) = &mut result {
        // OSCAL's arrays must not be empty.
        if !report.warnings.is_empty() {
            let remarks = report
                .warnings
                .iter()
                .map(|warning| string(warning))
                .collect::<Vec<_>>()
                .join("\n");
            result.insert("remarks".to_owned(), Value::String(remarks));
        }
        put(result, "observations", observations);
        put(result, "risks", risks);
        put(result, "findings", findings);
    }
    result
}

fn put(object: &mut Map<String, Value>, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        object.insert(name.to_owned(), Value::Array(values));
    }
}

fn component(report: &Report, uuid: &str) -> Value {
    json!({
        "uuid": uuid,
        "type": "software",
        "title": string(&report.tool.name),
        "description": "The program that made the observations.",
        "props": props(&[("version", &report.tool.version)]),
        "status": { "state": "operational" },
    })
}

fn inventory(report: &Report, uuid: &str) -> Value {
    let host = &report.target.host;
    let os = report.target.os();
    let mut names = vec![
        ("hostname", host.name.as_str()),
        ("machine-id", &host.machine_id),
        ("os", &os),
        ("os-version", &host.os_version),
        ("kernel", &host.kernel),
        ("architecture", &host.arch),
        ("image", &report.target.image),
    ];
    names.extend(
        report
            .target
            .addresses
            .iter()
            .map(|address| ("ip-address", address.as_str())),
    );
    let mut item = json!({
        "uuid": uuid,
        "description": string(report.target.display_name()),
    });
    if let (Value::Object(item), Value::Array(values)) = (&mut item, props(&names)) {
        put(item, "props", values);
    }
    item
}

/// `satisfied`, `not-satisfied`, or nothing to say.
fn state(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Pass => Some("satisfied"),
        Verdict::Fail | Verdict::Error | Verdict::Unknown => Some("not-satisfied"),
        Verdict::NotApplicable | Verdict::NotChecked | Verdict::NotSelected | Verdict::Informational => None,
    }
}

/// What belongs to one control.
struct Parts<'a> {
    rule: &'a RuleResult,
    observation: String,
    risk: String,
    control: &'a str,
}

impl Parts<'_> {
    fn title(&self) -> String {
        string(&format!("{} {}", self.rule.control, self.rule.title))
    }

    fn observation(&self, tool: &str, target: &str, collected: &str) -> Value {
        let rule = self.rule;
        let method = if rule.checks.is_empty() { "UNKNOWN" } else { "TEST" };
        let checks = rule.checks.iter().map(|check| ("check", check.as_str()));
        let references = rule.references.iter().map(|reference| {
            let name = match reference.kind {
                super::ReferenceKind::Cis => "cis",
                super::ReferenceKind::Stig => "stig",
                super::ReferenceKind::Cce => "cce",
                super::ReferenceKind::Ssg => "ssg",
            };
            (name, reference.id.as_str())
        });
        let names: Vec<(&str, &str)> = [
            ("result", rule.result().word()),
            ("severity", rule.severity.word()),
        ]
        .into_iter()
        .chain([("level", rule.level.as_str())])
        .chain(checks)
        .chain(references)
        .collect();
        let mut observation = json!({
            "uuid": self.observation,
            "title": self.title(),
            "description": self.reason(),
            "props": props(&names),
            "methods": [method],
            "types": ["control-objective"],
            "origins": [{ "actors": [{ "type": "tool", "actor-uuid": tool }] }],
            "subjects": [{ "subject-uuid": target, "type": "inventory-item" }],
            "collected": collected,
        });
        if let Value::Object(observation) = &mut observation {
            let evidence = rule.outcome.evidence.iter().map(evidence).collect();
            put(observation, "relevant-evidence", evidence);
        }
        observation
    }

    fn reason(&self) -> String {
        let mut reason = format!("{}: {}", self.rule.result_text(), self.rule.outcome.reason);
        if let Some(waiver) = &self.rule.waiver {
            text::add(&mut reason, format_args!(" ({})", waiver.line()));
        }
        string(reason.trim_end_matches([':', ' ']))
    }

    fn finding(&self, uuid: &str, state: &str) -> Value {
        let reason = match self.rule.result() {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            _ => "other",
        };
        let mut finding = json!({
            "uuid": uuid,
            "title": self.title(),
            "description": self.reason(),
            "target": {
                "type": "objective-id",
                "target-id": self.control,
                "status": { "state": state, "reason": reason },
            },
            "related-observations": [{ "observation-uuid": self.observation }],
        });
        if let Value::Object(finding) = &mut finding {
            if self.rule.accepted().is_some() {
                put(finding, "related-risks", vec![json!({ "risk-uuid": self.risk })]);
            }
            if !self.rule.remedy.is_empty() && state == "not-satisfied" {
                finding.insert(
                    "remarks".to_owned(),
                    Value::String(text::block(&self.rule.remedy).into_owned()),
                );
            }
        }
        finding
    }

    /// The accepted risk behind a waiver.
    fn risk(&self) -> Value {
        let mut risk = json!({
            "uuid": self.risk,
            "title": self.title(),
            "description": string(&self.rule.outcome.reason),
            "statement": string(&self.rule.waiver.as_ref().map(super::Waiver::line).unwrap_or_default()),
            "status": "deviation-approved",
            "related-observations": [{ "observation-uuid": self.observation }],
        });
        let expires = self.rule.waiver.as_ref().map_or("", |waiver| &waiver.expires);
        if let (Value::Object(risk), Ok(day)) = (&mut risk, expires.parse::<jiff::civil::Date>()) {
            risk.insert("deadline".to_owned(), Value::String(format!("{day}T23:59:59Z")));
        }
        risk
    }
}

fn evidence(evidence: &Evidence) -> Value {
    let mut value = json!({ "description": string(&super::junit::evidence_line(evidence)) });
    if let Value::Object(value) = &mut value {
        let names = [
            ("source", evidence.source.as_str()),
            ("expected", &evidence.expected),
            ("found", &evidence.found),
            (
                "as-wanted",
                evidence.ok.map_or("", |ok| if ok { "yes" } else { "no" }),
            ),
        ];
        if let Value::Array(values) = props(&names) {
            put(value, "props", values);
        }
    }
    value
}

/// Properties; those without value are left out.
fn props(names: &[(&str, &str)]) -> Value {
    names
        .iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .map(|(name, value)| json!({ "name": name, "ns": NS, "value": string(value) }))
        .collect()
}

/// OSCAL's string: one line, no space at the ends, not empty.
fn string(text: &str) -> String {
    let line = text::line(text);
    let line = line.trim();
    if line.is_empty() {
        "–".to_owned()
    } else {
        line.to_owned()
    }
}
