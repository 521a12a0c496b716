//! One self-contained HTML page: readable without script, printable, light and dark.
//!
//! Everything that did not come from this program is escaped in one place ([`Page::text`]). The page forbids itself
//! any other script by its content security policy, which names the one script's hash, and loads nothing.

mod overview;
mod rules;

use super::summary::Counts;
use super::{Report, RuleResult, text};
use crate::audit::outcome::Verdict;

const CSS: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// SHA-256 of [`SCRIPT`], base64; a test recomputes it.
const SCRIPT_SHA256: &str = "OkD23ZOECExxeE6YE/Lmq+NT262r4EfNyvOiF5EUFhI=";

pub(super) fn write(report: &Report) -> String {
    let mut page = Page {
        out: String::with_capacity(64 * 1024 + report.rules.len() * 2048),
    };
    let ids = text::distinct_ids(report.rules.iter().map(|rule| rule.control.as_str()));
    head(&mut page, report);
    page.raw("<body>\n<a class=skip href=\"#results\">Skip to the results</a>\n");
    overview::banner(&mut page, report);
    page.raw("<main>\n");
    overview::score(&mut page, report);
    overview::chapters(&mut page, report);
    overview::changes(&mut page, report, &ids);
    overview::waivers(&mut page, report, &ids);
    rules::section(&mut page, report, &ids);
    overview::method(&mut page, report);
    page.raw("</main>\n");
    page.raw("<script>");
    page.raw(SCRIPT);
    page.raw("</script>\n</body>\n</html>\n");
    page.out
}

fn head(page: &mut Page, report: &Report) {
    page.raw("<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; ");
    page.raw("form-action 'none'; style-src 'unsafe-inline'; script-src 'sha256-");
    page.raw(SCRIPT_SHA256);
    page.raw("'\">\n<meta name=viewport content=\"width=device-width, initial-scale=1\">\n");
    page.raw(
        "<meta name=color-scheme content=\"light dark\">\n<meta name=referrer content=no-referrer>\n<title>",
    );
    page.text(&format!(
        "Audit of {}: {} {}, {}",
        report.target.display_name(),
        report.benchmark.title,
        report.benchmark.version,
        text::day(report.ended)
    ));
    page.raw("</title>\n<style>\n");
    page.raw(CSS);
    page.raw("</style>\n</head>\n");
}

/// The page under construction.
struct Page {
    out: String,
}

impl Page {
    /// Markup of our own.
    fn raw(&mut self, markup: &str) {
        self.out.push_str(markup);
    }

    /// One line of text, escaped for content and for quoted attributes.
    fn text(&mut self, content: &str) {
        self.escape(&text::line(content));
    }

    /// Text with line ends kept.
    fn block(&mut self, content: &str) {
        self.escape(&text::block(content));
    }

    fn escape(&mut self, content: &str) {
        for c in content.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                c => self.out.push(c),
            }
        }
    }

    /// An element with text in it. `open` is the tag with attributes of our own.
    fn element(&mut self, open: &str, content: &str) {
        let name = open.split(' ').next().unwrap_or(open);
        self.raw(&format!("<{open}>"));
        self.text(content);
        self.raw(&format!("</{name}>"));
    }

    /// The result as a coloured word with a sign.
    fn status(&mut self, status: Status, words: &str) {
        self.raw(&format!(
            "<span class=\"status s-{}\"><span aria-hidden=true>{}</span> ",
            status.class(),
            status.sign()
        ));
        self.text(words);
        self.raw("</span>");
    }

    fn count(&mut self, count: usize) {
        if count == 0 {
            self.raw("<td class=\"num zero\">0</td>");
        } else {
            self.raw(&format!("<td class=num>{count}</td>"));
        }
    }
}

/// How results are grouped for colours and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Fail,
    Waived,
    Error,
    Manual,
    Pass,
    NotApplicable,
    Info,
}

impl Status {
    const ALL: [Self; 7] = [
        Self::Fail,
        Self::Waived,
        Self::Error,
        Self::Pass,
        Self::Manual,
        Self::NotApplicable,
        Self::Info,
    ];

    fn of(rule: &RuleResult) -> Self {
        match rule.result() {
            Verdict::Fail if rule.accepted().is_some() => Self::Waived,
            verdict => Self::of_verdict(verdict),
        }
    }

    fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
            Verdict::Error | Verdict::Unknown => Self::Error,
            Verdict::NotChecked => Self::Manual,
            Verdict::NotApplicable | Verdict::NotSelected => Self::NotApplicable,
            Verdict::Informational => Self::Info,
        }
    }

    fn count(self, counts: Counts) -> usize {
        match self {
            Self::Fail => counts.fail.saturating_sub(counts.waived),
            Self::Waived => counts.waived,
            Self::Error => counts.error + counts.unknown,
            Self::Manual => counts.notchecked,
            Self::Pass => counts.pass,
            Self::NotApplicable => counts.notapplicable + counts.notselected,
            Self::Info => counts.informational,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Waived => "waived",
            Self::Error => "error",
            Self::Manual => "open",
            Self::Pass => "pass",
            Self::NotApplicable => "na",
            Self::Info => "info",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Fail => "✕",
            Self::Waived => "◐",
            Self::Error => "!",
            Self::Manual => "?",
            Self::Pass => "✓",
            Self::NotApplicable => "–",
            Self::Info => "i",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Fail => "Failed",
            Self::Waived => "Failed, waived",
            Self::Error => "Error",
            Self::Manual => "Not checked",
            Self::Pass => "Passed",
            Self::NotApplicable => "Not applicable or left out",
            Self::Info => "Information",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use sha2::Digest as _;

    #[test]
    fn the_policy_names_the_script() {
        let hash = sha2::Sha256::digest(SCRIPT.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        assert_eq!(
            SCRIPT_SHA256, hash,
            "page.js changed: write its new hash into SCRIPT_SHA256"
        );
    }
}
