//! A resolved policy as text and JSON: every value with the file and line it came from.

use super::origin::Origin;
use super::requirement::Requirement;
use super::resolve::{Part, Resolved, Setting};
use super::rule::{Rule, Side};
use super::schema::{self, KeySpec, Kind, Order, Segment};
use super::value::quote;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Column at which provenance starts, where the value leaves room.
const PROVENANCE_COLUMN: usize = 64;

/// The policy as text: `key = value   # file:line (layer)`, then requirements, then rules in order.
pub fn text(resolved: &Resolved) -> String {
    let mut out = String::new();
    for (key, setting) in &resolved.settings {
        line(
            &mut out,
            &format!("{key} = {}", setting.value),
            &provenance(setting),
        );
    }
    if !resolved.requirements.is_empty() {
        out.push_str("\n# requirements\n");
    }
    for requirements in resolved.requirements.values() {
        for requirement in requirements {
            let reason = requirement
                .reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(": {reason}"));
            let from = place(&requirement.origin);
            line(
                &mut out,
                &format!("require {} {requirement}", requirement.key),
                &format!("{from}{reason}"),
            );
        }
    }
    if !resolved.rules.is_empty() {
        out.push_str("\n# rules, the first that fits decides\n");
    }
    for rule in &resolved.rules {
        line(&mut out, &rule_line(rule), &place(&rule.origin));
    }
    out
}

fn line(out: &mut String, left: &str, comment: &str) {
    let _infallible = writeln!(out, "{left:<PROVENANCE_COLUMN$}  # {comment}");
}

fn place(origin: &Origin) -> String {
    format!("{origin} ({})", origin.layer.name())
}

fn provenance(setting: &Setting) -> String {
    let mut text = place(&setting.origin);
    if let Some(by) = &setting.final_by {
        let _infallible = write!(text, ", final by {by}");
    }
    if let Some(by) = &setting.gave_way_to {
        let _infallible = write!(text, ", gave way to {by}");
    }
    text
}

/// A rule in one line.
pub fn rule_line(rule: &Rule) -> String {
    let kinds: Vec<&str> = rule.on.iter().map(|kind| kind.name()).collect();
    let mut text = format!("{}: {} {}", rule.name, rule.action.name(), kinds.join(","));
    for test in &rule.tests {
        let _infallible = write!(text, " {test}");
    }
    if let Some(tier) = rule.needs_tier {
        let _infallible = write!(text, " (below tier {tier}: {})", rule.below.name());
    }
    text
}

/// The JSON form of a resolved policy.
#[derive(Debug, Serialize)]
pub struct Document<'p> {
    /// Version of this document's shape.
    pub version: u32,
    /// The files that took part, weakest first.
    pub parts: &'p [Part],
    /// Every setting by key.
    pub settings: BTreeMap<String, &'p Setting>,
    /// Every requirement by key.
    pub requirements: BTreeMap<String, &'p [Requirement]>,
    /// The rules, in order.
    pub rules: Vec<RuleDocument<'p>>,
}

/// The JSON form of a rule.
#[derive(Debug, Serialize)]
pub struct RuleDocument<'p> {
    /// Its name.
    pub name: &'p str,
    /// The kinds of events it decides.
    pub on: Vec<&'static str>,
    /// Conditions on the subject, as text.
    pub subject: Vec<String>,
    /// Conditions on the object, as text.
    pub object: Vec<String>,
    /// What it does.
    pub action: &'static str,
    /// The lowest tier at which it does that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_tier: Option<&'static str>,
    /// What it does below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<&'static str>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'p str>,
    /// Where it is written.
    pub origin: &'p Origin,
}

/// The policy for JSON.
pub fn document(resolved: &Resolved) -> Document<'_> {
    let rule = |rule: &'_ Rule| -> (Vec<String>, Vec<String>) {
        let side = |side: Side| {
            rule.tests
                .iter()
                .filter(|test| test.attribute.side == side)
                .map(ToString::to_string)
                .collect()
        };
        (side(Side::Subject), side(Side::Object))
    };
    Document {
        version: 1,
        parts: &resolved.parts,
        settings: resolved
            .settings
            .iter()
            .map(|(key, setting)| (key.to_string(), setting))
            .collect(),
        requirements: resolved
            .requirements
            .iter()
            .map(|(key, requirements)| (key.to_string(), requirements.as_slice()))
            .collect(),
        rules: resolved
            .rules
            .iter()
            .map(|entry| {
                let (subject, object) = rule(entry);
                RuleDocument {
                    name: &entry.name,
                    on: entry.on.iter().map(|kind| kind.name()).collect(),
                    subject,
                    object,
                    action: entry.action.name(),
                    needs_tier: entry.needs_tier.map(crate::platform::Tier::name),
                    below: entry.needs_tier.map(|_| entry.below.name()),
                    reason: entry.reason.as_deref(),
                    origin: &entry.origin,
                }
            })
            .collect(),
    }
}

/// The reference of all keys, one per line.
pub fn reference() -> String {
    let mut out = String::new();
    for KeySpec {
        path,
        kind,
        order,
        doc,
    } in schema::KEYS
    {
        let path: Vec<String> = path
            .iter()
            .map(|segment| match segment {
                Segment::Fixed(name) => (*name).to_owned(),
                Segment::OneOf(names) => format!("({})", names.join("|")),
                Segment::Name => "NAME".to_owned(),
            })
            .collect();
        let kind = match kind {
            Kind::Bool => "true|false".to_owned(),
            Kind::Integer { min, max } => format!("{min}..{max}"),
            Kind::Word(words) => words.join("|"),
            Kind::Text => "text".to_owned(),
            Kind::Scalar => "number|text".to_owned(),
            Kind::Texts => "[text]".to_owned(),
        };
        let stronger = match order {
            Order::None => "",
            Order::Up => " (more is stronger)",
            Order::Down => " (less is stronger)",
            Order::Listed => " (later is stronger)",
            Order::Grow => " (a superset is stronger)",
            Order::ByName => " (strength by name)",
        };
        let _infallible = writeln!(out, "{} = {kind}{stronger}\n    {doc}", path.join("."));
    }
    out
}

/// One difference between two policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key, or `rule NAME`.
    pub what: String,
    /// Before: value (or the rule in one line) and origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<(String, Origin)>,
    /// After.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<(String, Origin)>,
}

/// What changes from one policy to another: settings, then requirements, then rules. Places alone are no difference.
pub fn diff(before: &Resolved, after: &Resolved) -> Vec<Difference> {
    let settings = |resolved: &Resolved| -> BTreeMap<(u8, String), (String, Origin)> {
        let settings = resolved.settings.iter().map(|(key, setting)| {
            (
                (0, key.to_string()),
                (setting.value.to_string(), setting.origin.clone()),
            )
        });
        let requirements = resolved.requirements.values().flatten().map(|requirement| {
            let what = format!("require {} {requirement}", requirement.key);
            ((1, what), ("holds".to_owned(), requirement.origin.clone()))
        });
        let rules = resolved.rules.iter().enumerate().map(|(n, rule)| {
            let place = format!("rule {}", rule.name);
            (
                (2, place),
                (format!("#{} {}", n + 1, rule_line(rule)), rule.origin.clone()),
            )
        });
        settings.chain(requirements).chain(rules).collect()
    };
    let (before, after) = (settings(before), settings(after));
    let mut keys: Vec<&(u8, String)> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter(|key| before.get(key).map(|(value, _)| value) != after.get(key).map(|(value, _)| value))
        .map(|key| Difference {
            what: key.1.clone(),
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        })
        .collect()
}

/// Differences as text, `-` before and `+` after.
pub fn diff_text(differences: &[Difference]) -> String {
    let mut out = String::new();
    for Difference { what, before, after } in differences {
        for (sign, side) in [("-", before), ("+", after)] {
            if let Some((value, origin)) = side {
                let left = if what.starts_with("rule ") {
                    format!("{sign} {value}")
                } else if what.starts_with("require ") {
                    format!("{sign} {what}")
                } else {
                    format!("{sign} {what} = {value}")
                };
                line(&mut out, &left, &place(origin));
            }
        }
    }
    out
}

/// A title for people: `EL 9, rocky, x86-64-v3, role server, level balanced`.
pub fn title(selector: &super::Selector) -> String {
    let super::Selector {
        el,
        vendor,
        hardware,
        role,
        level,
    } = selector;
    format!("EL {el}, {vendor}, {hardware}, role {role}, level {level}")
}

/// A comment line with the title, safe whatever the names are.
pub fn heading(selector: &super::Selector) -> String {
    format!("# {}\n", quote(&title(selector)).trim_matches('"'))
}
