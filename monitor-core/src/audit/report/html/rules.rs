//! The lower part of the page: filters, and every control with its evidence.

use super::super::{ChapterSummary, Means, Report, RuleResult, Severity};
use super::{Page, Status};
use crate::audit::outcome::{Evidence, Verdict};
use std::collections::BTreeSet;

pub(super) fn section(page: &mut Page, report: &Report, ids: &[String]) {
    page.raw("<section id=results aria-labelledby=h-results>\n<h2 id=h-results>Results</h2>\n");
    filters(page, report);
    for (index, chapter) in report.chapters().iter().enumerate() {
        one_chapter(page, index, chapter, ids);
    }
    page.raw("<p id=nothing hidden>No control matches the filters.</p>\n</section>\n");
}

/// Hidden until the script shows it: without script, filters that do nothing would be a lie.
fn filters(page: &mut Page, report: &Report) {
    let counts = report.counts();
    page.raw("<form id=filters class=filters role=search aria-label=\"Filter the results\" hidden>\n");
    page.raw("<fieldset class=chips><legend class=vh>Result</legend>\n");
    for status in Status::ALL {
        let count = status.count(counts);
        if count > 0 {
            let class = status.class();
            page.raw(&format!(
                "<label class=\"chip t-{class}\"><input type=checkbox name=status value={class} checked>\
                 <span><span class=sign aria-hidden=true>{}</span> {} <b>{count}</b></span></label>\n",
                status.sign(),
                status.label()
            ));
        }
    }
    page.raw("</fieldset>\n<div class=row>\n<label class=search><span class=vh>Search in all text</span>");
    page.raw("<input id=q type=search placeholder=\"Search id, title, path, evidence …\" autocomplete=off></label>\n");
    let levels: BTreeSet<&str> = report
        .rules
        .iter()
        .map(|rule| rule.level.as_str())
        .filter(|level| !level.is_empty())
        .collect();
    select(page, "level", "All levels", levels.into_iter());
    let severities: BTreeSet<Severity> = report.rules.iter().map(|rule| rule.severity).collect();
    select(
        page,
        "severity",
        "All severities",
        severities.into_iter().map(Severity::word),
    );
    page.raw(
        "<button type=button id=expand>Expand</button>\n<button type=button id=collapse>Collapse</button>\n",
    );
    page.raw("<button type=reset>Reset</button>\n");
    page.raw("<output id=shown for=q aria-live=polite></output>\n</div>\n</form>\n");
}

fn select<'a>(page: &mut Page, name: &str, all: &str, values: impl ExactSizeIterator<Item = &'a str>) {
    if values.len() < 2 {
        return;
    }
    page.raw(&format!(
        "<label><span class=vh>{name}</span><select id={name}><option value=\"\">{all}</option>"
    ));
    for value in values {
        page.raw("<option>");
        page.text(value);
        page.raw("</option>");
    }
    page.raw("</select></label>\n");
}

fn one_chapter(page: &mut Page, index: usize, chapter: &ChapterSummary<'_>, ids: &[String]) {
    page.raw(&format!(
        "<section class=chapter id=ch-{index} aria-labelledby=h-ch-{index}>\n<h3 id=h-ch-{index}>"
    ));
    page.text(&chapter.chapter.name());
    page.raw(" <span class=tally>");
    page.text(&tally(chapter));
    page.raw("</span></h3>\n");
    for (place, rule) in &chapter.rules {
        one_rule(page, rule, ids.get(*place).map_or("", String::as_str));
    }
    page.raw("</section>\n");
}

fn tally(chapter: &ChapterSummary<'_>) -> String {
    Status::ALL
        .into_iter()
        .map(|status| (status.count(chapter.counts), status))
        .filter(|(count, _)| *count > 0)
        .map(|(count, status)| match status {
            Status::Waived => format!("{count} waived"),
            status => format!("{count} {}", status.label().to_lowercase()),
        })
        .collect::<Vec<_>>()
        .join(" · ")
}

fn one_rule(page: &mut Page, rule: &RuleResult, id: &str) {
    let status = Status::of(rule);
    let print = if shown_on_paper(rule, status) { " show" } else { "" };
    page.raw(&format!(
        "<details class=\"rule r-{}{print}\" id=\"c-",
        status.class()
    ));
    page.text(id);
    page.raw(&format!(
        "\" data-s={} data-v={}",
        status.class(),
        rule.severity.word()
    ));
    if !rule.level.is_empty() {
        page.raw(" data-l=\"");
        page.text(&rule.level);
        page.raw("\"");
    }
    page.raw(">\n<summary>");
    page.status(status, &rule.result_text());
    page.raw("<h4><span class=id>");
    page.text(&rule.control);
    page.raw("</span> ");
    page.text(&rule.title);
    page.raw("</h4><span class=badges>");
    if rule.severity != Severity::Unknown {
        page.element(
            &format!("span class=\"badge v-{}\"", rule.severity.word()),
            rule.severity.word(),
        );
    }
    if !rule.level.is_empty() {
        page.element("span class=badge", &rule.level);
    }
    page.raw("</span></summary>\n<div class=body>\n");
    why(page, rule);
    evidence(page, rule);
    remedy(page, rule);
    references(page, rule);
    page.raw("</div>\n</details>\n");
}

/// On paper, details that a reader must see are open: everything but what is fine, does not apply or has no check.
fn shown_on_paper(rule: &RuleResult, status: Status) -> bool {
    match status {
        Status::Fail | Status::Waived | Status::Error | Status::Info => true,
        Status::Manual => rule.means != Means::NotImplemented,
        Status::Pass | Status::NotApplicable => false,
    }
}

fn why(page: &mut Page, rule: &RuleResult) {
    let label = match (rule.result(), rule.means) {
        (Verdict::NotChecked, Means::Manual) => "To be answered by a person:",
        (Verdict::NotChecked, Means::NotImplemented) => "No check yet:",
        _ => "",
    };
    if !rule.outcome.reason.is_empty() || !label.is_empty() {
        page.raw("<p class=why>");
        if !label.is_empty() {
            page.element("b", label);
            page.raw(" ");
        }
        page.text(&rule.outcome.reason);
        page.raw("</p>\n");
    }
    if rule.outcome.configured_only {
        page.raw("<p class=note>Only the configuration on disk was looked at, not the running system.</p>\n");
    }
    if let Some(waiver) = &rule.waiver {
        page.raw(if waiver.expired {
            "<p class=\"note expired\">"
        } else {
            "<p class=\"note waiver\">"
        });
        page.text(&waiver.line());
        page.raw(if waiver.expired {
            " (counts as none)</p>\n"
        } else {
            "</p>\n"
        });
    }
}

fn evidence(page: &mut Page, rule: &RuleResult) {
    let evidence = &rule.outcome.evidence;
    if evidence.is_empty() {
        return;
    }
    let compares = evidence.iter().any(|piece| !piece.expected.is_empty());
    page.raw("<div class=scroll><table class=evidence>\n<caption class=vh>Evidence for control ");
    page.text(&rule.control);
    page.raw("</caption>\n<thead><tr><th scope=col>Where</th>");
    if compares {
        page.raw("<th scope=col>Expected</th>");
    }
    page.raw("<th scope=col>Found</th></tr></thead>\n<tbody>\n");
    for piece in evidence {
        evidence_row(page, piece, compares);
    }
    page.raw("</tbody></table></div>\n");
}

fn evidence_row(page: &mut Page, piece: &Evidence, compares: bool) {
    page.raw(match piece.ok {
        Some(true) => "<tr class=ok>",
        Some(false) => "<tr class=bad>",
        None => "<tr>",
    });
    page.raw("<th scope=row><code>");
    page.text(&piece.source);
    page.raw("</code></th>");
    if compares {
        page.element("td", &piece.expected);
    }
    page.raw("<td>");
    match piece.ok {
        Some(true) => page.raw("<span class=mark aria-hidden=true>✓</span><span class=vh>as wanted: </span>"),
        Some(false) => page.raw("<span class=mark aria-hidden=true>✕</span><span class=vh>differs: </span>"),
        None => {}
    }
    page.element("code", &piece.found);
    page.raw("</td></tr>\n");
}

fn remedy(page: &mut Page, rule: &RuleResult) {
    let wanted = matches!(rule.result(), Verdict::Fail | Verdict::Error | Verdict::Unknown);
    if rule.remedy.is_empty() || !wanted {
        return;
    }
    page.raw("<h5>Remedy</h5>\n<pre><code>");
    page.block(&rule.remedy);
    page.raw("</code></pre>\n");
    if !rule.side_effect.is_empty() {
        page.raw("<p class=small><b>May break:</b> ");
        page.text(&rule.side_effect);
        page.raw("</p>\n");
    }
}

fn references(page: &mut Page, rule: &RuleResult) {
    let mut facts: Vec<(&str, String)> = Vec::new();
    if !rule.checks.is_empty() {
        facts.push(("Checks", rule.checks.join(", ")));
    }
    for reference in &rule.references {
        let name = reference.kind.name();
        match facts.iter_mut().find(|(kind, _)| *kind == name) {
            Some((_, ids)) => {
                ids.push_str(", ");
                ids.push_str(&reference.id);
            }
            None => facts.push((name, reference.id.clone())),
        }
    }
    if !rule.provenance.is_empty() {
        facts.push(("Parameters from", rule.provenance.clone()));
    }
    if let Some(duration_us) = rule.duration_us {
        facts.push((
            "Took",
            format!("{}.{:03} ms", duration_us / 1000, duration_us % 1000),
        ));
    }
    if facts.is_empty() {
        return;
    }
    page.raw("<dl class=refs>");
    for (name, value) in facts {
        page.raw("<div>");
        page.element("dt", name);
        page.element("dd", &value);
        page.raw("</div>");
    }
    page.raw("</dl>\n");
}
