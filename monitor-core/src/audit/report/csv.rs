//! Comma-separated values: one header row, one row per control, lines ended by CR LF (RFC 4180).

use super::{Report, RuleResult, text};
use crate::audit::outcome::Evidence;

const COLUMNS: &str = "id,level,title,result,expected,actual,evidence,time,host,waiver,chapter,severity,checks,\
                       references,reason,remediation\r\n";

/// Pieces of evidence put into one cell.
const PIECES_MAX: usize = 5;

pub(super) fn write(report: &Report) -> String {
    let mut out = String::from(COLUMNS);
    let time = text::time(report.ended);
    for rule in &report.rules {
        let deciding = deciding(rule);
        let references: Vec<String> = rule
            .references
            .iter()
            .map(|reference| format!("{} {}", reference.kind.name(), reference.id))
            .collect();
        let waiver = rule.waiver.as_ref().map(super::Waiver::line).unwrap_or_default();
        for (index, value) in [
            rule.control.as_str(),
            &rule.level,
            &rule.title,
            &rule.result_text(),
            &joined(&deciding, |evidence| &evidence.expected),
            &joined(&deciding, |evidence| &evidence.found),
            &joined(&deciding, |evidence| &evidence.source),
            &time,
            report.target.display_name(),
            &waiver,
            &rule.chapter.name(),
            rule.severity.word(),
            &rule.checks.join(" "),
            &references.join("; "),
            &rule.outcome.reason,
            &rule.remedy,
        ]
        .into_iter()
        .enumerate()
        {
            if index > 0 {
                out.push(',');
            }
            cell(&mut out, value);
        }
        out.push_str("\r\n");
    }
    out
}

/// The evidence that decided: what was not as wanted; if there is none, everything.
fn deciding(rule: &RuleResult) -> Vec<&Evidence> {
    let evidence = &rule.outcome.evidence;
    let bad: Vec<&Evidence> = evidence.iter().filter(|piece| piece.ok == Some(false)).collect();
    if bad.is_empty() {
        evidence.iter().collect()
    } else {
        bad
    }
}

fn joined(evidence: &[&Evidence], part: impl Fn(&Evidence) -> &str) -> String {
    let mut parts: Vec<String> = evidence
        .iter()
        .take(PIECES_MAX)
        .map(|piece| text::line(part(piece)).into_owned())
        .collect();
    if parts.iter().all(String::is_empty) {
        return String::new();
    }
    if evidence.len() > PIECES_MAX {
        parts.push(format!("… {} more", evidence.len() - PIECES_MAX));
    }
    parts.join(" | ")
}

/// One cell. A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and the text may come
/// from the audited host: such a cell gets an apostrophe in front.
fn cell(out: &mut String, value: &str) {
    let value = text::line(value);
    let is_formula = value.starts_with(['=', '+', '-', '@']);
    if !is_formula && !value.contains([',', '"', ';']) {
        out.push_str(&value);
        return;
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&value.replace('"', "\"\""));
    out.push('"');
}
