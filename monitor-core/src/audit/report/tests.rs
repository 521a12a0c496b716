//! Reports as texts, against schemas, against hostile input, and of full size.

mod from_run;
mod golden;
mod sample;
mod schemas;

use super::*;
use sample::{full_size, hostile, sample};

fn render(report: &Report, format: Format) -> String {
    report.render(format, TableStyle::default()).unwrap()
}

#[test]
fn format_names_are_read_back() {
    for format in Format::ALL {
        assert_eq!(Format::named(format.name()), Some(format));
    }
    assert_eq!(Format::named("pdf"), None);
}

#[test]
fn scores_count_waived_failures_and_errors() {
    let report = sample();
    let counts = report.counts();
    assert_eq!(
        (counts.pass, counts.fail, counts.waived, counts.error),
        (2, 3, 1, 1)
    );
    assert_eq!(counts.scored(), 6);
    assert_eq!(summary::score_text(counts.score()), "33.3");
    // Chapters 1 (2 of 4) and 5 (0 of 2) have scored controls, chapter 6 has none.
    assert_eq!(report.default_score(), Some(25.0));
    assert_eq!(summary::score_text(Some(99.99)), "99.9");
    assert_eq!(summary::score_text(None), "–");
}

#[test]
fn coverage_says_what_was_not_looked_at() {
    assert_eq!(
        sample().coverage().line(),
        "7 of 10 controls checked; 1 could not be decided; 1 to be answered by a person; 1 not implemented"
    );
}

#[test]
fn an_expired_waiver_counts_as_none() {
    let mut report = sample();
    let waived = report
        .rules
        .iter_mut()
        .find(|rule| rule.accepted().is_some())
        .unwrap();
    assert_eq!(waived.result_text(), "fail (waived)");
    waived.waiver.as_mut().unwrap().expired = true;
    assert_eq!(waived.result_text(), "fail");
    assert_eq!(waived.result(), Verdict::Fail);
    assert_eq!(report.counts().waived, 0);
    assert_eq!(report.counts().fail, 3);
}

#[test]
fn json_is_read_back_as_it_was() {
    for report in [sample(), hostile(), full_size(50)] {
        assert_eq!(Report::from_json(&render(&report, Format::Json)).unwrap(), report);
    }
    let schema = render(&sample(), Format::Json).replace("hardpan-report/1", "hardpan-report/9");
    assert_eq!(
        Report::from_json(&schema).unwrap_err().to_string(),
        "reading an earlier result: its schema is \"hardpan-report/9\", this program reads \"hardpan-report/1\""
    );
    assert!(matches!(Report::from_json("[1]"), Err(ReportError::Read(_))));
}

#[test]
fn every_json_line_is_an_object() {
    let report = hostile();
    let text = render(&report, Format::JsonLines);
    assert_eq!(text.lines().count(), 1 + report.rules.len());
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["type"] == "report" || value["type"] == "rule");
    }
}

#[test]
fn a_diff_names_each_change() {
    let mut now = sample();
    let earlier = now.clone();
    now.diff = None;
    let word = |now: &Report, control: &str| {
        let diff = Diff::between(&earlier, now);
        let change = diff.changes.iter().find(|change| change.control == control);
        change.map(|change| change.kind)
    };
    assert_eq!(Diff::between(&earlier, &now).line(), "10 unchanged");
    let set = |report: &mut Report, control: &str, verdict: Verdict| {
        report
            .rules
            .iter_mut()
            .find(|rule| rule.control == control)
            .unwrap()
            .outcome
            .result = verdict;
    };
    set(&mut now, "1.1.1.1", Verdict::Fail);
    set(&mut now, "1.5.1", Verdict::Pass);
    set(&mut now, "1.1.2.1", Verdict::NotApplicable);
    now.rules.remove(9);
    now.rules.push(RuleResult::new("9.9", "new", Outcome::start()));
    for (control, kind) in [
        ("1.1.1.1", ChangeKind::Regressed),
        ("1.5.1", ChangeKind::Fixed),
        ("1.1.2.1", ChangeKind::Changed),
        ("9.9", ChangeKind::Added),
        ("6.3.4", ChangeKind::Removed),
    ] {
        assert_eq!(word(&now, control), Some(kind), "{control}");
    }
    assert_eq!(
        Diff::between(&earlier, &now).changes[0].kind,
        ChangeKind::Regressed
    );
}

#[test]
fn a_renumbered_benchmark_is_no_drift() {
    let earlier = sample();
    let mut now = earlier.clone();
    now.benchmark.version = "3.0.0".into();
    for rule in &mut now.rules {
        if !rule.checks.is_empty() {
            rule.control = format!("9.{}", rule.control);
        }
    }
    assert_eq!(Diff::between(&earlier, &now).line(), "10 unchanged");
}

#[test]
fn hostile_text_breaks_no_format() {
    let report = hostile();
    for format in Format::ALL {
        let text = report
            .render(
                format,
                TableStyle {
                    all: true,
                    ..TableStyle::default()
                },
            )
            .unwrap();
        let allowed = |c: char| c == '\n' || (c == '\r' && format == Format::Csv);
        for c in text.chars() {
            assert!(!c.is_control() || allowed(c), "{}: {c:?}", format.name());
        }
        assert!(!text.contains(['\u{202e}', '\u{2066}']), "{}", format.name());
    }
}

#[test]
fn hostile_text_stays_text_in_html() {
    let text = render(&hostile(), Format::Html);
    assert_eq!(text.matches("<script").count(), 1);
    assert_eq!(text.matches("</script").count(), 1);
    assert_eq!(text.matches("<img").count(), 0);
    assert_eq!(text.matches("<!--").count(), 0);
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(text.contains("&quot; onmouseover=&quot;alert(1)"));
    // With quoted values taken out, no tag has an attribute that acts or loads.
    let quoted = regex_lite::Regex::new("\"[^\"]*\"").unwrap();
    let (_, body) = text.split_once("<body>").unwrap();
    for tag in body.split_once("<script>").unwrap().0.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let bare = quoted.replace_all(tag, "").to_lowercase();
        for attribute in [" on", " src", " style", " action", "'"] {
            assert!(!bare.contains(attribute), "{tag}");
        }
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let text = render(&full_size(100), Format::Html);
    for foreign in [
        "src=",
        "@import",
        "url(",
        "http:",
        "https:",
        "href=\"//",
        "<link",
        "<base",
    ] {
        assert!(!text.contains(foreign), "{foreign}");
    }
}

#[test]
fn ids_in_html_are_distinct_and_links_lead_somewhere() {
    for report in [sample(), hostile(), full_size(400)] {
        let text = render(&report, Format::Html);
        let values = |name: &str| -> Vec<String> {
            text.split(&format!(" {name}="))
                .skip(1)
                .map(|rest| match rest.strip_prefix('"') {
                    Some(quoted) => quoted.split('"').next().unwrap().to_owned(),
                    None => rest.split([' ', '>']).next().unwrap().to_owned(),
                })
                .collect()
        };
        let ids = values("id");
        let distinct: std::collections::HashSet<&String> = ids.iter().collect();
        assert_eq!(ids.len(), distinct.len());
        for link in values("href") {
            let wanted = link.strip_prefix('#').unwrap().to_owned();
            assert!(distinct.contains(&wanted), "{link}");
        }
    }
}

#[test]
fn spreadsheets_take_no_cell_for_a_formula() {
    let report = hostile();
    let text = render(&report, Format::Csv);
    let rows = rows(&text);
    assert_eq!(rows.len(), 1 + report.rules.len());
    for row in &rows {
        assert_eq!(row.len(), 16, "{row:?}");
        for cell in row {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
        }
    }
    assert_eq!(rows[1 + 8 * 4][0], "'=cmd|' /C calc'!A0");
}

/// A strict reader of RFC 4180.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut in_quotes) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, in_quotes) {
            ('"', true) if chars.peek() == Some(&'"') => cell.extend(chars.next()),
            ('"', _) => in_quotes = !in_quotes,
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (c, _) => cell.push(c),
        }
    }
    assert!(!in_quotes && cell.is_empty() && row.is_empty());
    rows
}

#[test]
fn the_table_keeps_to_its_width_and_colours_only_when_asked() {
    let report = full_size(400);
    for width in [40, 80, 132] {
        let style = TableStyle {
            width,
            colour: false,
            all: true,
        };
        let text = report.render(Format::Table, style).unwrap();
        assert!(!text.contains('\u{1b}'));
        for line in text.lines() {
            let limit = if width == 40 { 60 } else { width };
            assert!(line.chars().count() <= limit, "{width}: {line}");
        }
    }
    let style = TableStyle {
        colour: true,
        ..TableStyle::default()
    };
    let coloured = sample().render(Format::Table, style).unwrap();
    assert!(coloured.contains("\u{1b}[31mfail\u{1b}[0m"));
    let plain = regex_lite::Regex::new("\u{1b}\\[[0-9]+m")
        .unwrap()
        .replace_all(&coloured, "")
        .into_owned();
    assert_eq!(plain, render(&sample(), Format::Table));
}

#[test]
fn size_grows_with_the_rules_and_not_faster() {
    for format in Format::ALL {
        let (small, large) = (
            render(&full_size(100), format).len(),
            render(&full_size(1600), format).len(),
        );
        assert!(
            large < small * 17,
            "{}: {small} bytes for 100 rules, {large} for 1600",
            format.name()
        );
    }
    let page = render(&full_size(400), Format::Html);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    // Thousands of rules with one and the same id: cubic work would not end, quadratic work would be felt.
    let mut many = full_size(8_000);
    for rule in &mut many.rules {
        rule.control = "1".into();
    }
    many.diff = Some(Diff::between(&many, &many));
    for format in Format::ALL {
        assert!(render(&many, format).len() > 1000, "{}", format.name());
    }
}
