//! JSON, one document or one object per line.

use super::summary::{Counts, Coverage};
use super::{Report, ReportError, RuleResult, text};
use serde::{Deserialize, Serialize};

/// Name and version of the layout. Fields may be added; a changed meaning gets a new number.
pub const SCHEMA: &str = "hardpan-report/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    start_time: String,
    end_time: String,
    summary: Summary,
    #[serde(flatten)]
    report: &'a Report,
}

#[derive(Serialize)]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    /// Percent; absent when no control counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    coverage: Coverage,
    chapters: Vec<ChapterLine>,
}

#[derive(Serialize)]
struct ChapterLine {
    id: String,
    title: String,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

fn summary(report: &Report) -> Summary {
    let counts = report.counts();
    Summary {
        counts,
        score: counts.score(),
        coverage: report.coverage(),
        chapters: report
            .chapters()
            .iter()
            .map(|chapter| ChapterLine {
                id: chapter.chapter.id.clone(),
                title: chapter.chapter.title.clone(),
                counts: chapter.counts,
                score: chapter.counts.score(),
            })
            .collect(),
    }
}

pub(super) fn document(report: &Report) -> Result<String, ReportError> {
    let document = Document {
        schema: SCHEMA,
        start_time: text::time(report.started),
        end_time: text::time(report.ended),
        summary: summary(report),
        report,
    };
    let mut text = serde_json::to_string_pretty(&document).map_err(|source| ReportError::Json {
        format: "json",
        source,
    })?;
    text.push('\n');
    Ok(escaped(&text))
}

/// Writes what could steer a terminal or turn text around (DEL, C1 controls, bidirectional formatting) as `\u` escapes.
/// Such characters occur in strings only, so nothing changes for a reader of JSON.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(c),
            c if text::is_plain(c) => out.push(c),
            c => {
                // All of these lie in the first plane: four digits do.
                text::add(&mut out, format_args!("\\u{:04x}", u32::from(c)));
            }
        }
    }
    out
}

#[derive(Serialize)]
struct HeadLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'static str,
    start_time: String,
    end_time: String,
    tool: &'a super::Tool,
    target: &'a super::Target,
    benchmark: &'a super::Benchmark,
    profile: &'a super::Profile,
    summary: Summary,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<&'a super::Diff>,
}

#[derive(Serialize)]
struct RuleLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    time: &'a str,
    host: &'a str,
    benchmark: &'a str,
    #[serde(flatten)]
    rule: &'a RuleResult,
}

pub(super) fn lines(report: &Report) -> Result<String, ReportError> {
    let failed = |source| ReportError::Json {
        format: "jsonl",
        source,
    };
    let time = text::time(report.ended);
    let head = HeadLine {
        kind: "report",
        schema: SCHEMA,
        start_time: text::time(report.started),
        end_time: time.clone(),
        tool: &report.tool,
        target: &report.target,
        benchmark: &report.benchmark,
        profile: &report.profile,
        summary: summary(report),
        warnings: &report.warnings,
        diff: report.diff.as_ref(),
    };
    let mut out = serde_json::to_string(&head).map_err(failed)?;
    out.push('\n');
    let benchmark = format!("{} {}", report.benchmark.id, report.benchmark.version);
    for rule in &report.rules {
        let line = RuleLine {
            kind: "rule",
            time: &time,
            host: report.target.display_name(),
            benchmark: &benchmark,
            rule,
        };
        out.push_str(&serde_json::to_string(&line).map_err(failed)?);
        out.push('\n');
    }
    Ok(escaped(&out))
}

pub(super) fn read(text: &str) -> Result<Report, ReportError> {
    #[derive(Deserialize)]
    struct Schema {
        schema: String,
    }
    let schema: Schema = serde_json::from_str(text).map_err(ReportError::Read)?;
    if schema.schema != SCHEMA {
        return Err(ReportError::Schema {
            found: text::cut(&schema.schema, 40).into_owned(),
        });
    }
    serde_json::from_str(text).map_err(ReportError::Read)
}
