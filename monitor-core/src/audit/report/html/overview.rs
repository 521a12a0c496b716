//! The upper part of the page: whose audit, how good, what changed, what is waived; and the small print at its end.

use super::super::summary::{Counts, score_text};
use super::super::{ChangeKind, Report, text};
use super::{Page, Status};
use crate::audit::outcome::Verdict;

pub(super) fn banner(page: &mut Page, report: &Report) {
    page.raw("<header class=banner>\n<div class=wrap>\n<p class=kicker>");
    page.text(&format!(
        "Compliance audit · {} {}",
        report.tool.name, report.tool.version
    ));
    page.raw("</p>\n");
    page.element("h1", report.target.display_name());
    page.raw("<p class=lead>");
    page.text(&format!(
        "{} {}",
        report.benchmark.title, report.benchmark.version
    ));
    page.raw(" · ");
    page.text(&report.profile.title);
    page.raw("</p>\n<dl class=facts>\n");
    let host = &report.target.host;
    let release = match (host.kernel.is_empty(), host.arch.is_empty()) {
        (false, false) => format!("{} ({})", host.kernel, host.arch),
        (false, true) => host.kernel.clone(),
        (true, _) => host.arch.clone(),
    };
    let seconds = report.ended.saturating_sub(report.started).max(0);
    let took = if seconds == 0 {
        "under 1 s".to_owned()
    } else {
        format!("{seconds} s")
    };
    let image = if report.target.image.is_empty() {
        String::new()
    } else {
        format!("image {} (not the running system)", report.target.image)
    };
    for (name, value) in [
        ("System", report.target.os()),
        ("Kernel", release),
        ("Addresses", report.target.addresses.join(", ")),
        ("Machine id", host.machine_id.clone()),
        ("Audited", image),
        (
            "Date",
            format!("{}, took {took}", text::time_for_people(report.started)),
        ),
        (
            "Profile",
            format!(
                "{} of {} {}",
                report.profile.id, report.benchmark.id, report.benchmark.version
            ),
        ),
    ] {
        if !value.is_empty() {
            page.raw("<div>");
            page.element("dt", name);
            page.element("dd", &value);
            page.raw("</div>\n");
        }
    }
    page.raw("</dl>\n</div>\n</header>\n");
}

pub(super) fn score(page: &mut Page, report: &Report) {
    let counts = report.counts();
    page.raw("<section class=summary aria-labelledby=h-summary>\n<h2 id=h-summary>Summary</h2>\n<div class=cards>\n");
    page.raw("<div class=\"card scorecard\">\n");
    ring(page, counts);
    page.raw("<div><p class=big>");
    page.text(&score_text(counts.score()));
    page.raw("<span class=unit> %</span></p><p>");
    page.text(&format!(
        "{} of {} scored controls pass",
        counts.pass,
        counts.scored()
    ));
    if counts.waived > 0 {
        page.text(&format!(
            "; {} of the {} failures are waived",
            counts.waived, counts.fail
        ));
    }
    page.raw("</p></div>\n</div>\n<ul class=tiles aria-label=\"Controls by result\">\n");
    for status in Status::ALL {
        let count = status.count(counts);
        page.raw(&format!("<li class=\"tile t-{}", status.class()));
        page.raw(if count == 0 { " none\">" } else { "\">" });
        page.raw(&format!(
            "<span class=sign aria-hidden=true>{}</span><b>{count}</b> <span>{}</span></li>\n",
            status.sign(),
            status.label()
        ));
    }
    page.raw("</ul>\n</div>\n");
    for warning in &report.warnings {
        page.raw("<p class=\"note notice\"><b>Note:</b> ");
        page.text(warning);
        page.raw("</p>\n");
    }
    page.raw("<div class=cards>\n<div class=card>\n<h3>Coverage</h3>\n");
    coverage(page, report);
    // CIS has levels and no severities.
    let by = if report.has_severities() {
        "severity"
    } else {
        "level"
    };
    page.raw("</div>\n<div class=card>\n<h3>Failed, by ");
    page.raw(by);
    page.raw("</h3>\n");
    severities(page, report);
    page.raw("</div>\n</div>\n</section>\n");
}

fn coverage(page: &mut Page, report: &Report) {
    let coverage = report.coverage();
    bar(
        page,
        &[
            ("pass", coverage.checked),
            ("error", coverage.undecided),
            ("open", coverage.manual + coverage.not_checked),
            ("na", coverage.not_implemented),
        ],
    );
    page.element("p", &format!("{}.", coverage.line()));
}

fn severities(page: &mut Page, report: &Report) {
    let severities = report.failures_by_weight();
    if severities.is_empty() {
        page.raw("<p>No control failed.</p>\n");
        return;
    }
    let most = severities
        .iter()
        .map(|(_, open, waived)| open + waived)
        .max()
        .unwrap_or(0);
    page.raw("<table class=compact><thead><tr><th scope=col>Of</th><th scope=col class=wide>");
    page.raw("<span class=vh>Share</span></th><th scope=col class=num>Open</th>");
    page.raw("<th scope=col class=num>Waived</th></tr></thead><tbody>\n");
    for (severity, open, waived) in severities {
        page.raw("<tr>");
        page.element("th scope=row", &severity);
        page.raw("<td class=wide>");
        bar(
            page,
            &[
                ("fail", open),
                ("waived", waived),
                ("rest", most.saturating_sub(open + waived)),
            ],
        );
        page.raw("</td>");
        page.count(open);
        page.count(waived);
        page.raw("</tr>\n");
    }
    page.raw("</tbody></table>\n");
}

/// A ring filled by results: passed, failed, waived, error. Decoration; the numbers stand beside it.
fn ring(page: &mut Page, counts: Counts) {
    let total = counts.scored();
    page.raw("<svg class=ring viewBox=\"0 0 42 42\" aria-hidden=true focusable=false>");
    page.raw("<circle class=track cx=21 cy=21 r=15.915 />");
    let mut before = 0.0;
    for status in [Status::Pass, Status::Error, Status::Waived, Status::Fail] {
        let Some(share) = super::super::summary::percent(status.count(counts), total) else {
            break;
        };
        if share > 0.0 {
            // The radius makes the circumference 100; an offset of 25 starts at the top.
            page.raw(&format!(
                "<circle class=\"arc f-{}\" cx=21 cy=21 r=15.915 stroke-dasharray=\"{share:.3} {:.3}\" \
                 stroke-dashoffset=\"{:.3}\"/>",
                status.class(),
                100.0 - share,
                25.0 - before
            ));
        }
        before += share;
    }
    page.raw("</svg>\n");
}

/// A bar of coloured parts. Decoration; the numbers stand beside it.
fn bar(page: &mut Page, parts: &[(&str, usize)]) {
    let total: usize = parts.iter().map(|(_, count)| count).sum();
    page.raw(
        "<svg class=bar viewBox=\"0 0 100 8\" preserveAspectRatio=none aria-hidden=true focusable=false>",
    );
    page.raw("<rect class=track width=100 height=8 />");
    let mut x = 0.0;
    for (class, count) in parts {
        let Some(share) = super::super::summary::percent(*count, total) else {
            break;
        };
        if share > 0.0 && *class != "rest" {
            page.raw(&format!(
                "<rect class=f-{class} x=\"{x:.3}\" width=\"{share:.3}\" height=8 />"
            ));
        }
        x += share;
    }
    page.raw("</svg>");
}

pub(super) fn chapters(page: &mut Page, report: &Report) {
    page.raw(
        "<section aria-labelledby=h-chapters>\n<h2 id=h-chapters>Score by chapter</h2>\n<div class=scroll>",
    );
    page.raw("<table class=chapters>\n<thead><tr><th scope=col>Chapter</th><th scope=col class=wide>");
    page.raw("<span class=vh>Share of results</span></th>");
    for name in [
        "Passed",
        "Failed",
        "Waived",
        "Error",
        "Not checked",
        "Other",
        "Score",
    ] {
        page.element("th scope=col class=num", name);
    }
    page.raw("</tr></thead>\n<tbody>\n");
    for (index, chapter) in report.chapters().iter().enumerate() {
        page.raw(&format!("<tr><th scope=row><a href=\"#ch-{index}\">"));
        page.text(&chapter.chapter.name());
        page.raw("</a></th>");
        chapter_cells(page, chapter.counts);
        page.raw("</tr>\n");
    }
    page.raw("</tbody>\n<tfoot><tr><th scope=row>All chapters</th>");
    chapter_cells(page, report.counts());
    page.raw("</tr></tfoot>\n</table></div>\n</section>\n");
}

fn chapter_cells(page: &mut Page, counts: Counts) {
    page.raw("<td class=wide>");
    let parts: Vec<(&str, usize)> = [Status::Pass, Status::Error, Status::Waived, Status::Fail]
        .into_iter()
        .map(|status| (status.class(), status.count(counts)))
        .collect();
    bar(page, &parts);
    page.raw("</td>");
    page.count(counts.pass);
    page.count(Status::Fail.count(counts));
    page.count(counts.waived);
    page.count(Status::Error.count(counts));
    page.count(counts.notchecked);
    page.count(counts.notapplicable + counts.notselected + counts.informational);
    page.raw("<td class=\"num score\">");
    page.text(&score_text(counts.score()));
    page.raw(if counts.score().is_some() {
        " %</td>"
    } else {
        "</td>"
    });
}

/// The link to a control of this report, or its bare number.
fn control(page: &mut Page, report: &Report, ids: &[String], wanted: &str, place: Option<usize>) {
    let place = place.or_else(|| report.rules.iter().position(|rule| rule.control == wanted));
    match place.and_then(|place| ids.get(place)) {
        Some(id) => {
            page.raw("<a href=\"#c-");
            page.text(id);
            page.raw("\">");
            page.text(wanted);
            page.raw("</a>");
        }
        None => page.text(wanted),
    }
}

pub(super) fn changes(page: &mut Page, report: &Report, ids: &[String]) {
    let Some(diff) = &report.diff else { return };
    page.raw("<section aria-labelledby=h-changes>\n<h2 id=h-changes>Changes since the baseline</h2>\n<p>");
    page.text(&format!(
        "Baseline: {} of {}, {}. Now {}.",
        diff.benchmark,
        diff.host,
        text::time_for_people(diff.ended),
        diff.line()
    ));
    page.raw("</p>\n");
    if !diff.changes.is_empty() {
        let places: std::collections::HashMap<&str, usize> = report
            .rules
            .iter()
            .enumerate()
            .map(|(place, rule)| (rule.control.as_str(), place))
            .collect();
        page.raw("<div class=scroll><table>\n<thead><tr><th scope=col>Change</th><th scope=col>Control</th>");
        page.raw(
            "<th scope=col>Title</th><th scope=col>Before</th><th scope=col>Now</th></tr></thead>\n<tbody>\n",
        );
        for change in &diff.changes {
            page.raw(&format!(
                "<tr><td><span class=\"change k-{}\">",
                change.kind.word()
            ));
            page.raw(match change.kind {
                ChangeKind::Regressed => "▼ ",
                ChangeKind::Fixed => "▲ ",
                ChangeKind::Changed => "↔ ",
                ChangeKind::Added => "+ ",
                ChangeKind::Removed => "− ",
            });
            page.raw(change.kind.word());
            page.raw("</span></td><th scope=row class=id>");
            match places.get(change.control.as_str()) {
                Some(place) if change.kind != ChangeKind::Removed => {
                    control(page, report, ids, &change.control, Some(*place));
                }
                _ => page.text(&change.control),
            }
            page.raw("</th>");
            page.element("td", &change.title);
            for verdict in [change.before, change.after] {
                page.raw("<td>");
                verdict_word(page, verdict);
                page.raw("</td>");
            }
            page.raw("</tr>\n");
        }
        page.raw("</tbody></table></div>\n");
    }
    page.raw("</section>\n");
}

fn verdict_word(page: &mut Page, verdict: Option<Verdict>) {
    match verdict {
        None => page.raw("–"),
        Some(verdict) => page.status(Status::of_verdict(verdict), verdict.word()),
    }
}

pub(super) fn waivers(page: &mut Page, report: &Report, ids: &[String]) {
    if report.rules.iter().all(|rule| rule.waiver.is_none()) {
        return;
    }
    page.raw("<section aria-labelledby=h-waivers>\n<h2 id=h-waivers>Waivers</h2>\n");
    page.raw(
        "<p>A waived control stays a failure and lowers the score; an expired waiver counts as none.</p>\n",
    );
    page.raw("<div class=scroll><table>\n<thead><tr><th scope=col>Control</th><th scope=col>Title</th>");
    page.raw("<th scope=col>Reason</th><th scope=col>Owner</th><th scope=col>Last day</th>");
    page.raw("<th scope=col>State</th></tr></thead>\n<tbody>\n");
    for (place, rule) in report.rules.iter().enumerate() {
        let Some(waiver) = &rule.waiver else { continue };
        page.raw("<tr><th scope=row class=id>");
        control(page, report, ids, &rule.control, Some(place));
        page.raw("</th>");
        page.element("td", &rule.title);
        page.element("td", &waiver.reason);
        page.element("td", &waiver.owner);
        page.element(
            "td class=nowrap",
            if waiver.expires.is_empty() {
                "–"
            } else {
                &waiver.expires
            },
        );
        page.raw("<td class=nowrap>");
        if waiver.expired {
            page.status(Status::Fail, "expired");
        } else if rule.accepted().is_some() {
            page.status(Status::Waived, "in force");
        } else {
            page.status(Status::NotApplicable, "not needed");
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n</section>\n");
}

pub(super) fn method(page: &mut Page, report: &Report) {
    page.raw(
        "<section class=method aria-labelledby=h-method>\n<h2 id=h-method>How to read this report</h2>\n",
    );
    page.raw("<p><b>Score</b>: passed ÷ (passed + failed + error + unknown), every control weighing the same (XCCDF’s flat, unweighted model), cut after one decimal. Controls that do not apply, were not checked, were left out or only inform count neither way. Waived controls count as failed.</p>\n<dl>\n");
    for (status, word, meaning) in [
        (
            Status::Pass,
            "pass",
            "The host is as the control wants it. “pass (configured)”: only the configuration on disk could be looked at, not the running system.",
        ),
        (
            Status::Fail,
            "fail",
            "The host differs from what the control wants; the evidence says where.",
        ),
        (
            Status::Waived,
            "fail (waived)",
            "It differs, and an owner has accepted that until a stated day.",
        ),
        (
            Status::Error,
            "error, unknown",
            "Something the check needs could not be read or understood. Counts against the score: what cannot be seen is not taken for good.",
        ),
        (
            Status::Manual,
            "notchecked",
            "A person must answer, no check exists yet, or the check needs the running system.",
        ),
        (
            Status::NotApplicable,
            "notapplicable, notselected",
            "The control does not concern this host, or the operator left it out.",
        ),
        (
            Status::Info,
            "informational",
            "A fact for the reader, neither good nor bad.",
        ),
    ] {
        page.raw("<div><dt>");
        page.status(status, word);
        page.raw("</dt>");
        page.element("dd", meaning);
        page.raw("</div>\n");
    }
    page.raw("</dl>\n<p class=small>");
    page.text(&format!(
        "Made by {} {} on {}. Control numbers and levels are those of {} {}; all wording is {}’s own. This is not a \
         certificate of the benchmark’s publisher.",
        report.tool.name,
        report.tool.version,
        text::time_for_people(report.ended),
        report.benchmark.id,
        report.benchmark.version,
        report.tool.name
    ));
    page.raw("</p>\n</section>\n");
}
