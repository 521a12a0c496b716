//! A rule, and how it is read from TOML.

use super::kind::{ATTRIBUTES, Action, Attribute, Kind, Side};
use super::test::{Accept, Test};
use crate::platform::Tier;
use crate::policy::origin::{Origin, Problem};
use crate::policy::reader::{MAX_NAME_BYTES, Node, Reader, Table};
use crate::policy::schema;
use crate::policy::suggest::nearest;
use crate::policy::value::Value;
use toml::de::DeValue;

/// Most rules in one policy.
pub const MAX_RULES: usize = 4_096;

/// The keys of a rule.
const KEYS: &[&str] = &[
    "name",
    "on",
    "action",
    "subject",
    "object",
    "needs_tier",
    "below",
    "record",
    "reason",
];

/// A rule: on these kinds of events, if all conditions hold, do this. The first rule that fits decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: String,
    /// The kinds of events it decides.
    pub on: Vec<Kind>,
    /// What must hold, all of it.
    pub tests: Vec<Test>,
    /// What to do.
    pub action: Action,
    /// Record the event even if the action is `allow`.
    pub record: bool,
    /// The lowest tier at which `action` is meant. Below it `below` applies.
    pub needs_tier: Option<Tier>,
    /// The action below `needs_tier`.
    pub below: Action,
    /// Why, for people.
    pub reason: Option<String>,
    /// Where it was written.
    pub origin: Origin,
}

impl Rule {
    /// The action at this tier.
    pub fn action_at(&self, tier: Tier) -> Action {
        match self.needs_tier {
            Some(needed) if tier < needed => self.below,
            _ => self.action,
        }
    }

    /// The action on an event of this kind that has not happened yet. Where fanotify asks, tier C can do what `needs_tier` =
    /// "B" is about: refuse.
    pub fn action_before(&self, kind: Kind, tier: Tier, by_fanotify: bool) -> Action {
        if tier == Tier::C && kind.deniable(tier, by_fanotify) {
            self.action_at(Tier::B)
        } else {
            self.action_at(tier)
        }
    }

    /// The condition on an attribute, if there is one.
    pub(super) fn test_of(&self, attribute: &Attribute) -> Option<&Test> {
        self.tests.iter().find(|test| test.attribute == attribute)
    }
}

/// Reads one `[[rules]]` table. `None` after saying what is wrong with it.
pub(crate) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Rule> {
    let origin = reader.at(node);
    let DeValue::Table(table) = node.get_ref() else {
        reader.error(origin, "a rule is a table: [[rules]]");
        return None;
    };
    for (key, _) in table {
        if !KEYS.contains(&key.get_ref().as_ref()) {
            unknown(reader, reader.at(key), "a rule has no key", key.get_ref(), KEYS);
        }
    }
    let before = reader.problems.len();
    let name = name(reader, table, &origin);
    let on = kinds(reader, table, &origin);
    let action =
        required(reader, table, &origin, "action").and_then(|node| word(reader, node, Action::from_name));
    let needs_tier = table
        .get("needs_tier")
        .and_then(|node| word(reader, node, Tier::from_name));
    let below = table
        .get("below")
        .and_then(|node| word(reader, node, Action::from_name));
    let record = table
        .get("record")
        .and_then(|node| reader.value(node, schema::Kind::Bool));
    let reason = table
        .get("reason")
        .and_then(|node| reader.value(node, schema::Kind::Text));
    if needs_tier.is_some() != below.is_some() {
        reader.error(
            origin.clone(),
            "needs_tier and below belong together: what is the action below that tier?",
        );
    }
    let mut tests = Vec::new();
    for side in [Side::Subject, Side::Object] {
        if let Some(node) = table.get(side.name()) {
            tests.extend(conditions(reader, node, side, on.as_deref().unwrap_or_default()));
        }
    }
    if reader.problems.len() > before {
        return None;
    }
    Some(Rule {
        name: name?,
        on: on?,
        tests,
        action: action?,
        record: record.and_then(|value| value.as_bool()).unwrap_or(false),
        needs_tier,
        below: below.unwrap_or(Action::Alert),
        reason: reason.and_then(|value| value.as_text().map(str::to_owned)),
        origin,
    })
}

fn required<'a, 't>(
    reader: &mut Reader<'t>,
    table: &'a Table<'t>,
    origin: &Origin,
    key: &str,
) -> Option<&'a Node<'t>> {
    let node = table.get(key);
    if node.is_none() {
        reader.error(origin.clone(), format!("the rule has no {key}"));
    }
    node
}

fn name<'t>(reader: &mut Reader<'t>, table: &Table<'t>, origin: &Origin) -> Option<String> {
    let node = required(reader, table, origin, "name")?;
    let value = reader.value(node, schema::Kind::Text)?;
    let name = value.as_text().unwrap_or_default();
    let good = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !good {
        let origin = reader.at(node);
        reader.error(
            origin,
            "a rule's name is made of letters, digits, '-', '_' and '.'",
        );
        return None;
    }
    Some(name.to_owned())
}

fn kinds<'t>(reader: &mut Reader<'t>, table: &Table<'t>, origin: &Origin) -> Option<Vec<Kind>> {
    let node = required(reader, table, origin, "on")?;
    let place = reader.at(node);
    let values = match reader.any(node)? {
        Value::List(list) => list,
        single => vec![single],
    };
    let mut kinds = Vec::new();
    for value in &values {
        let name = value.to_plain();
        if let Some(kind) = Kind::from_name(&name) {
            kinds.push(kind);
        } else {
            let names = Kind::ALL.map(Kind::name);
            unknown(reader, place.clone(), "there is no kind of event", &name, &names);
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        reader.error(place, "the rule is on no kind of event");
        return None;
    }
    Some(kinds)
}

fn word<'t, T>(reader: &mut Reader<'t>, node: &Node<'t>, from_name: impl Fn(&str) -> Option<T>) -> Option<T> {
    let value = reader.value(node, schema::Kind::Text)?;
    let found = from_name(value.as_text().unwrap_or_default());
    if found.is_none() {
        let origin = reader.at(node);
        reader.report(
            Problem::error(origin, format!("{value} is not known here"))
                .with_hint("actions are allow, alert, deny, kill; tiers are A, B, C"),
        );
    }
    found
}

/// `uid = 0`, `uid = [0, "1000-2000"]`, `uid = { not = [0] }`.
fn conditions<'t>(reader: &mut Reader<'t>, node: &Node<'t>, side: Side, kinds: &[Kind]) -> Vec<Test> {
    let origin = reader.at(node);
    let DeValue::Table(table) = node.get_ref() else {
        reader.error(origin, format!("{} is a table of conditions", side.name()));
        return Vec::new();
    };
    let mut tests = Vec::new();
    for (key, node) in table {
        let name = key.get_ref().as_ref();
        let origin = reader.at(key);
        let Some(attribute) = Attribute::find(side, name) else {
            let names: Vec<&str> = ATTRIBUTES
                .iter()
                .filter(|attribute| attribute.side == side)
                .map(|attribute| attribute.name)
                .collect();
            unknown(
                reader,
                origin,
                &format!("a {} has no attribute", side.name()),
                name,
                &names,
            );
            continue;
        };
        if let Some(kind) = kinds.iter().find(|kind| !attribute.applies_to(**kind)) {
            reader.error(
                origin,
                format!("{} events have no {}.{name}", kind.name(), side.name()),
            );
            continue;
        }
        let (negated, node) = match node.get_ref() {
            DeValue::Table(inner) => match inner.get("not") {
                Some(values) if inner.len() == 1 => (true, values),
                _ => {
                    reader.error(
                        origin,
                        format!("{name} takes a value, a list, or {{ not = [...] }}"),
                    );
                    continue;
                }
            },
            _ => (false, node),
        };
        let values = match reader.any(node) {
            Some(Value::List(list)) => list,
            Some(single) => vec![single],
            None => continue,
        };
        if values.is_empty() {
            reader.error(origin, format!("an empty list for {name} can never hold"));
            continue;
        }
        match Accept::read(attribute, kinds, &values) {
            Ok(accept) => tests.push(Test {
                attribute,
                negated,
                accept,
            }),
            Err(message) => reader.error(origin, message),
        }
    }
    tests
}

fn unknown(reader: &mut Reader<'_>, origin: Origin, what: &str, name: &str, known: &[&str]) {
    let mut problem = Problem::error(origin, format!("{what} {name:?}; there are {}", known.join(", ")));
    if let Some(near) = nearest(name, known.iter().copied()) {
        problem = problem.with_hint(format!("did you mean {near:?}?"));
    }
    reader.report(problem);
}
