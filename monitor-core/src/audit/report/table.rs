//! The report for a terminal: head, findings with reason and remedy, summary last (where the eye is).

use super::summary::{Counts, score_text};
use super::{Report, RuleResult, text};
use crate::audit::outcome::Verdict;

/// How the table is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStyle {
    /// Columns of the terminal; below 40 counts as 40.
    pub width: usize,
    /// Whether to colour with SGR sequences.
    pub colour: bool,
    /// Every control, not only those that failed, broke or wait for a person.
    pub all: bool,
}

impl Default for TableStyle {
    /// For a pipe: 100 columns, no colour, findings only.
    fn default() -> Self {
        Self {
            width: 100,
            colour: false,
            all: false,
        }
    }
}

/// Narrowest layout.
const WIDTH_MIN: usize = 40;
/// Widest control column: STIG ids have 14 characters, our own up to this many are shown in full.
const ID_MAX: usize = 20;
/// Width of the result column: `pass (configured)`.
const RESULT_WIDTH: usize = 17;

/// Pieces of evidence shown of a fact or a question, without --verbose.
const EVIDENCE_SHOWN: usize = 8;

const BOLD: &str = "1";
const DIM: &str = "2";

pub(super) fn write(report: &Report, style: TableStyle) -> String {
    let mut table = Table {
        out: String::new(),
        width: style.width.max(WIDTH_MIN),
        colour: style.colour,
    };
    head(&mut table, report);
    findings(&mut table, report, style.all);
    changes(&mut table, report);
    summary(&mut table, report);
    table.out
}

struct Table {
    out: String,
    width: usize,
    colour: bool,
}

impl Table {
    fn paint(&self, sgr: &str, text: &str) -> String {
        if self.colour && !sgr.is_empty() {
            format!("\u{1b}[{sgr}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn title(&mut self, text: &str) {
        self.out.push('\n');
        for piece in wrap(text, self.width) {
            let piece = self.paint(BOLD, &piece);
            self.line(&piece);
        }
    }

    /// Words broken at the width, `first` before the first line and as much room before the others.
    fn paragraph(&mut self, first: &str, first_width: usize, body: &str) {
        let room = self.width.saturating_sub(first_width).max(10);
        for (index, piece) in wrap(body, room).into_iter().enumerate() {
            let before = if index == 0 {
                first.to_owned()
            } else {
                " ".repeat(first_width)
            };
            self.line(&format!("{before}{piece}"));
        }
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.paragraph(&format!("  {name:<11}"), 13, &text::line(value));
    }
}

fn head(table: &mut Table, report: &Report) {
    let name = text::line(report.target.display_name()).into_owned();
    let title = format!("{} {} audit of {name}", report.tool.name, report.tool.version);
    let title = table.paint(BOLD, &text::line(&title));
    table.line(&title);
    let host = &report.target.host;
    let image = match report.target.image.as_str() {
        "" => String::new(),
        image => format!("image {image}"),
    };
    let system: Vec<String> = [report.target.os(), host.kernel.clone(), host.arch.clone(), image]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    table.fact("system", &system.join(", "));
    table.fact(
        "benchmark",
        &format!(
            "{} ({} {})",
            report.benchmark.title, report.benchmark.id, report.benchmark.version
        ),
    );
    table.fact(
        "profile",
        &format!("{} ({})", report.profile.title, report.profile.id),
    );
    table.fact(
        "time",
        &format!(
            "{}, {} s",
            text::time_for_people(report.started),
            report.ended.saturating_sub(report.started)
        ),
    );
    table.fact("coverage", &report.coverage().line());
    for warning in &report.warnings {
        table.fact("note", warning);
    }
}

fn findings(table: &mut Table, report: &Report, all: bool) {
    let shown = |rule: &RuleResult| all || wants_attention(rule);
    let id_width = report
        .rules
        .iter()
        .filter(|rule| shown(rule))
        .map(|rule| width(&text::line(&rule.control)))
        .max()
        .unwrap_or(0)
        .min(ID_MAX);
    for chapter in report.chapters() {
        let rules: Vec<&RuleResult> = chapter
            .rules
            .iter()
            .map(|(_, rule)| *rule)
            .filter(|rule| shown(rule))
            .collect();
        if rules.is_empty() {
            continue;
        }
        table.title(&text::line(&chapter.chapter.name()));
        for rule in rules {
            one(table, rule, id_width, all);
        }
    }
}

fn wants_attention(rule: &RuleResult) -> bool {
    match rule.result() {
        // The questions for a person; what is not implemented is a number in the head, not a wall of lines.
        Verdict::NotChecked => rule.means == super::Means::Manual,
        Verdict::Fail | Verdict::Error | Verdict::Unknown | Verdict::Informational => true,
        Verdict::Pass | Verdict::NotApplicable | Verdict::NotSelected => false,
    }
}

fn one(table: &mut Table, rule: &RuleResult, id_width: usize, all: bool) {
    let control = text::line(&rule.control).into_owned();
    let result = rule.result_text();
    let level = text::line(&rule.level).into_owned();
    let painted = table.paint(sgr(rule), &result);
    let gap = " ".repeat(RESULT_WIDTH.saturating_sub(width(&result)));
    let level_gap = " ".repeat(7usize.saturating_sub(width(&level)));
    let id_gap = " ".repeat(id_width.saturating_sub(width(&control)));
    let first = format!("  {control}{id_gap}  {painted}{gap}  {level}{level_gap} ");
    let first_width =
        2 + id_width.max(width(&control)) + 2 + RESULT_WIDTH + 2 + level.chars().count().max(7) + 1;
    if first_width + 24 > table.width {
        table.line(&first);
        table.paragraph("      ", 6, &text::line(&rule.title));
    } else {
        table.paragraph(&first, first_width, &text::line(&rule.title));
    }
    if rule.result() == Verdict::NotSelected || rule.result() == Verdict::Pass && !all {
        return;
    }
    let why = text::line(&rule.outcome.reason).into_owned();
    if !why.is_empty() {
        table.paragraph("      ", 6, &why);
    }
    if let Some(waiver) = &rule.waiver {
        let line = text::line(&waiver.line()).into_owned();
        table.paragraph("      ", 6, &line);
    }
    if rule.result() == Verdict::Fail && !rule.remedy.is_empty() {
        let mark = table.paint(DIM, "remedy:");
        for (index, remedy) in text::block(&rule.remedy).lines().enumerate() {
            let first = if index == 0 {
                format!("      {mark} ")
            } else {
                " ".repeat(14)
            };
            table.paragraph(&first, 14, remedy);
        }
    }
    evidence(table, rule, all);
}

/// What was found: everything when asked; otherwise the first of it where it is the answer (facts, questions).
fn evidence(table: &mut Table, rule: &RuleResult, all: bool) {
    let is_answer = matches!(rule.result(), Verdict::Informational | Verdict::NotChecked);
    let most = match (all, is_answer) {
        (true, _) => usize::MAX,
        (false, true) => EVIDENCE_SHOWN,
        (false, false) => return,
    };
    let pieces = &rule.outcome.evidence;
    for piece in pieces.iter().take(most) {
        let expected = if piece.expected.is_empty() {
            String::new()
        } else {
            format!(" (expected {})", piece.expected)
        };
        let line = format!("{}: {}{expected}", piece.source, piece.found);
        table.paragraph("        ", 10, &text::line(&line));
    }
    let more = pieces.len().saturating_sub(most);
    if more > 0 {
        table.paragraph("        ", 10, &format!("and {more} more (--verbose shows them)"));
    }
}

fn sgr(rule: &RuleResult) -> &'static str {
    match rule.result() {
        Verdict::Pass => "32",
        Verdict::Fail if rule.accepted().is_some() => "33",
        Verdict::Fail => "31",
        Verdict::Error | Verdict::Unknown => "35",
        Verdict::Informational => "36",
        Verdict::NotApplicable | Verdict::NotChecked | Verdict::NotSelected => DIM,
    }
}

fn changes(table: &mut Table, report: &Report) {
    let Some(diff) = &report.diff else { return };
    table.title(&format!(
        "Since {}: {}",
        text::time_for_people(diff.ended),
        diff.line()
    ));
    for change in &diff.changes {
        let word = |verdict: Option<Verdict>| verdict.map_or("–", Verdict::word);
        let first = format!("  {:<9}  {}  ", change.kind.word(), text::line(&change.control));
        let body = format!(
            "{} → {}  {}",
            word(change.before),
            word(change.after),
            text::line(&change.title)
        );
        table.paragraph(&first, width(&first), &body);
    }
}

fn summary(table: &mut Table, report: &Report) {
    table.title("Summary");
    let columns = Columns::fitting(table.width);
    let header = columns.row(
        "chapter",
        &["pass", "fail", "waived", "error", "other", "score"].map(str::to_owned),
    );
    let header = table.paint(DIM, &header);
    table.line(&header);
    for chapter in report.chapters() {
        table.line(&columns.row(&text::line(&chapter.chapter.name()), &cells(chapter.counts)));
    }
    let total = table.paint(BOLD, &columns.row("all", &cells(report.counts())));
    table.line(&total);
    let severities = report.failures_by_weight();
    if !severities.is_empty() {
        let mut line = String::from("failed");
        for (index, (severity, open, waived)) in severities.into_iter().enumerate() {
            let comma = if index == 0 { ":" } else { "," };
            text::add(
                &mut line,
                format_args!("{comma} {} {}", open + waived, text::line(&severity)),
            );
        }
        table.paragraph("  ", 2, &line);
    }
    table.paragraph(
        "  ",
        2,
        "score = pass / (pass + fail + error), in percent; waived is the part of fail with a waiver in force",
    );
}

fn cells(counts: Counts) -> [String; 6] {
    [
        counts.pass.to_string(),
        counts.fail.to_string(),
        counts.waived.to_string(),
        (counts.error + counts.unknown).to_string(),
        (counts.notapplicable + counts.notchecked + counts.notselected + counts.informational).to_string(),
        score_text(counts.score()),
    ]
}

/// Layout of the summary: a narrow terminal shows fewer columns.
struct Columns {
    name_width: usize,
    shown: [bool; 6],
}

impl Columns {
    fn fitting(width: usize) -> Self {
        let shown = if width < 60 {
            [true, true, false, false, false, true]
        } else {
            [true; 6]
        };
        let numbers = shown.iter().filter(|shown| **shown).count() * 7;
        Self {
            name_width: width.saturating_sub(2 + numbers).clamp(10, 44),
            shown,
        }
    }

    fn row(&self, name: &str, cells: &[String; 6]) -> String {
        let name = text::cut(name, self.name_width).into_owned();
        let gap = " ".repeat(self.name_width.saturating_sub(width(&name)));
        let mut row = format!("  {name}{gap}");
        for (cell, _) in cells.iter().zip(self.shown).filter(|(_, shown)| *shown) {
            row.push_str(&" ".repeat(7usize.saturating_sub(cell.chars().count())));
            row.push_str(cell);
        }
        row
    }
}

/// Columns a text takes: East Asian wide characters take two.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match c {
        '\u{0300}'..='\u{036f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Breaks at spaces; a word longer than a line is broken anywhere.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let word_width = width(word);
        if used > 0 && used + 1 + word_width > room {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used + char_width(c) > room {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += char_width(c);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}
