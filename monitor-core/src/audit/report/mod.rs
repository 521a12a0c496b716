//! Reports: the results of one audit run in, text in the wanted format out.
//!
//! Nothing here reads a clock or a file: times and host facts come with the [`Report`]. Text that was read on the
//! audited host (evidence, reasons) is hostile everywhere, see [`text`].

mod arf;
mod csv;
mod diff;
mod from_run;
mod html;
mod json;
mod junit;
mod oscal;
mod summary;
mod table;
#[cfg(test)]
mod tests;
pub mod text;
mod xccdf;
mod xml;

pub use diff::{Change, ChangeKind, Diff};
pub use json::SCHEMA as JSON_SCHEMA;
pub use summary::{ChapterSummary, Counts, Coverage};
pub use table::TableStyle;

use super::facts::Host;
use super::outcome::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// Everything a report shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The program that looked.
    pub tool: Tool,
    /// The system that was looked at.
    pub target: Target,
    /// The benchmark the controls come from.
    pub benchmark: Benchmark,
    /// The selection of controls.
    pub profile: Profile,
    /// Start of the run, seconds since 1970 (UTC).
    pub started: i64,
    /// End of the run, seconds since 1970 (UTC).
    pub ended: i64,
    /// What the reader should know about the run itself (ignored tailoring values, parts left out).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// One entry per control of the profile, in the benchmark's order.
    pub rules: Vec<RuleResult>,
    /// Differences from an earlier run, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Diff>,
}

/// The program that made the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Name, `hardpan`.
    pub name: String,
    /// Version.
    pub version: String,
}

/// The audited system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Names, release, kernel.
    #[serde(flatten)]
    pub host: Host,
    /// IP addresses, without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The directory that was audited as an image (`--root`); empty for the running system.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
}

impl Target {
    /// What the target is called: its host name, else the image's path.
    pub fn display_name(&self) -> &str {
        [&self.host.name, &self.image, &self.host.machine_id]
            .into_iter()
            .find(|name| !name.trim().is_empty())
            .map_or("unnamed host", String::as_str)
    }

    /// The operating system in words.
    pub fn os(&self) -> String {
        if self.host.os_name.is_empty() {
            format!("{} {}", self.host.os_id, self.host.os_version)
                .trim()
                .to_owned()
        } else {
            self.host.os_name.clone()
        }
    }
}

/// The benchmark: whose controls, in which numbering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Benchmark {
    /// Short id, such as `cis-rhel9`.
    pub id: String,
    /// Version of the numbering, such as `2.0.0` or `V2R9`.
    pub version: String,
    /// Title in our words.
    pub title: String,
}

/// The profile: which controls of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Id as on the command line, such as `cis-l1-server`.
    pub id: String,
    /// Title in our words.
    pub title: String,
}

/// The part of the benchmark a control stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chapter {
    /// Number or short name, such as `1`; empty when the benchmark has no chapters.
    pub id: String,
    /// Title in our words; may be empty.
    #[serde(default)]
    pub title: String,
}

impl Chapter {
    /// Number and title on one line.
    pub fn name(&self) -> String {
        match (self.id.trim().is_empty(), self.title.trim().is_empty()) {
            (true, true) => "Controls".to_owned(),
            (true, false) => self.title.clone(),
            (false, true) => format!("Chapter {}", self.id),
            (false, false) => format!("{} {}", self.id, self.title),
        }
    }
}

/// How bad a failure is, in XCCDF's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// CAT I.
    High,
    /// CAT II.
    Medium,
    /// CAT III.
    Low,
    /// A hint.
    Info,
    /// The benchmark does not say.
    #[default]
    Unknown,
}

impl Severity {
    /// All, worst first.
    pub const ALL: [Self; 5] = [Self::High, Self::Medium, Self::Low, Self::Info, Self::Unknown];

    /// The word as XCCDF writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
            Self::Unknown => "unknown",
        }
    }
}

/// How a control is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// By checks of this program.
    #[default]
    Automated,
    /// By a person: the report asks the question and shows helpful evidence.
    Manual,
    /// Not yet: the control is listed so that nobody takes it for covered.
    NotImplemented,
}

/// Whose number a reference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceKind {
    /// A CIS benchmark's control.
    Cis,
    /// A STIG's control.
    Stig,
    /// Common Configuration Enumeration.
    Cce,
    /// A rule of SCAP Security Guide.
    Ssg,
}

impl ReferenceKind {
    /// The name as written in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cis => "CIS",
            Self::Stig => "STIG",
            Self::Cce => "CCE",
            Self::Ssg => "SSG",
        }
    }
}

/// The same control in somebody else's numbering.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// Whose.
    pub kind: ReferenceKind,
    /// The id there, such as `CCE-86763-0`.
    pub id: String,
}

/// An operator's statement that a failure is known and accepted for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Why the control is not met.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Last day it holds, `YYYY-MM-DD`; empty for no end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expires: String,
    /// True when that day had passed at the time of the run: the waiver is shown and counts as none.
    pub expired: bool,
}

impl Waiver {
    /// One line: owner, last day, reason.
    pub fn line(&self) -> String {
        let until = match (self.expires.is_empty(), self.expired) {
            (true, _) => String::from("without end"),
            (false, false) => format!("until {}", self.expires),
            (false, true) => format!("expired {}", self.expires),
        };
        format!("waived by {}, {until}: {}", self.owner, self.reason)
    }
}

/// The answer for one control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleResult {
    /// The control's id in the benchmark, such as `1.1.1.1` or `RHEL-09-211010`; our own id where there is none.
    pub control: String,
    /// Where it stands.
    #[serde(default)]
    pub chapter: Chapter,
    /// What it asks, in our words.
    pub title: String,
    /// Ids of the checks that answered it (`hp-…`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// The same control elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// Level or category as the benchmark says it: `L1`, `L2`, `CAT II`; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub level: String,
    /// How bad a failure is.
    #[serde(default)]
    pub severity: Severity,
    /// How it is answered.
    #[serde(default)]
    pub means: Means,
    /// Result, reason, evidence.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// A waiver for this control, in force or expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Waiver>,
    /// How to put it right; may have several lines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// What the remedy may break.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub side_effect: String,
    /// Where the check's parameters come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provenance: String,
    /// Time the checks took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
}

impl RuleResult {
    /// An answer with the least there must be; set the other fields as they are known.
    pub fn new(control: impl Into<String>, title: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            control: control.into(),
            chapter: Chapter::default(),
            title: title.into(),
            checks: Vec::new(),
            references: Vec::new(),
            level: String::new(),
            severity: Severity::default(),
            means: Means::default(),
            outcome,
            waiver: None,
            remedy: String::new(),
            side_effect: String::new(),
            provenance: String::new(),
            duration_us: None,
        }
    }

    /// The result word.
    pub fn result(&self) -> Verdict {
        self.outcome.result
    }

    /// The waiver in force for a result that is not good; an expired one does not count.
    pub fn accepted(&self) -> Option<&Waiver> {
        let is_bad = matches!(
            self.outcome.result,
            Verdict::Fail | Verdict::Error | Verdict::Unknown
        );
        self.waiver.as_ref().filter(|waiver| is_bad && !waiver.expired)
    }

    /// The result as a reader says it: `fail (waived)`, `pass (configured)` where only the disk could be looked at.
    pub fn result_text(&self) -> String {
        let word = self.outcome.result.word();
        if self.accepted().is_some() {
            format!("{word} (waived)")
        } else if self.outcome.configured_only && self.outcome.result == Verdict::Pass {
            format!("{word} (configured)")
        } else {
            word.to_owned()
        }
    }
}

/// A report's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// For a terminal.
    Table,
    /// One JSON document; a later run reads it as baseline.
    Json,
    /// One JSON object per line: a header, then one per control.
    JsonLines,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// JUnit XML, for build servers.
    Junit,
    /// XCCDF 1.2: a benchmark with the test result inside.
    Xccdf,
    /// Asset Reporting Format 1.1.
    Arf,
    /// OSCAL assessment results 1.2.2 (JSON).
    Oscal,
    /// One self-contained page.
    Html,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 9] = [
        Self::Table,
        Self::Json,
        Self::JsonLines,
        Self::Csv,
        Self::Junit,
        Self::Xccdf,
        Self::Arf,
        Self::Oscal,
        Self::Html,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Junit => "junit",
            Self::Xccdf => "xccdf",
            Self::Arf => "arf",
            Self::Oscal => "oscal",
            Self::Html => "html",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The JSON writer refused.
    #[error("writing the report as {format}")]
    Json {
        /// Name of the format.
        format: &'static str,
        /// What it said.
        source: serde_json::Error,
    },
    /// The XML writer refused.
    #[error("writing the report as XML")]
    Xml(#[from] std::io::Error),
    /// An earlier result is not the JSON a report is.
    #[error("reading an earlier result: it is not a report in JSON as `--format json` writes it")]
    Read(#[source] serde_json::Error),
    /// An earlier result has another layout.
    #[error(
        "reading an earlier result: its schema is {found:?}, this program reads {:?}",
        json::SCHEMA
    )]
    Schema {
        /// The name found, cut.
        found: String,
    },
}

impl Report {
    /// The report as text. `style` is for the table only.
    pub fn render(&self, format: Format, style: TableStyle) -> Result<String, ReportError> {
        match format {
            Format::Table => Ok(table::write(self, style)),
            Format::Json => json::document(self),
            Format::JsonLines => json::lines(self),
            Format::Csv => Ok(csv::write(self)),
            Format::Junit => junit::write(self),
            Format::Xccdf => xccdf::write(self),
            Format::Arf => arf::write(self),
            Format::Oscal => oscal::write(self),
            Format::Html => Ok(html::write(self)),
        }
    }

    /// Reads what [`Format::Json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        json::read(text)
    }

    /// Compares with an earlier report and keeps the differences.
    #[must_use]
    pub fn compared_with(mut self, earlier: &Self) -> Self {
        self.diff = Some(Diff::between(earlier, &self));
        self
    }
}
