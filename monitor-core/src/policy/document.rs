//! One policy file, parsed: what it sets, what it requires, which rules it brings.
//!
//! The parser is total: any text gives a document and a list of problems.

use super::origin::{Layer, Origin, Problem};
use super::reader::{MAX_NAME_BYTES, Node, Reader, Table};
use super::requirement::Requirement;
use super::rule::{self, Rule};
use super::schema::{self, KeySpec, Kind};
use super::suggest::nearest;
use super::value::{KeyPath, Value};
use toml::de::DeValue;

/// Most settings in one file.
const MAX_SETTINGS: usize = 20_000;

/// How a list changes what earlier layers said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It takes its place (scalars always).
    Set,
    /// Its items are added at the end.
    Append,
    /// Its items are added in front.
    Prepend,
    /// Its items are taken out.
    Remove,
}

/// One setting of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The key.
    pub key: KeyPath,
    /// The value, of the key's kind.
    pub value: Value,
    /// How it combines.
    pub change: Change,
    /// Later layers must not weaken it.
    pub is_final: bool,
    /// It gives way to another layer's requirement instead of contradicting it.
    pub is_soft: bool,
    /// Where it is written.
    pub origin: Origin,
}

/// What a file does to the list of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleChange {
    /// How they combine with earlier layers' rules.
    pub change: Change,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// A parsed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The layer it belongs to.
    pub layer: Layer,
    /// The file, as it was named when it was read.
    pub file: String,
    /// Its own one-line description.
    pub description: Option<String>,
    /// Its settings, sorted by key.
    pub assignments: Vec<Assignment>,
    /// Its requirements.
    pub requirements: Vec<Requirement>,
    /// Its rules.
    pub rules: Vec<RuleChange>,
}

/// Parses a policy file. With an error among the problems the document is incomplete and must not be used.
pub fn parse(layer: Layer, file: &str, text: &str) -> (Document, Vec<Problem>) {
    let mut reader = Reader::new(layer, file, text);
    let mut document = Document {
        layer,
        file: file.to_owned(),
        description: None,
        assignments: Vec::new(),
        requirements: Vec::new(),
        rules: Vec::new(),
    };
    if let Some(table) = reader.table(text) {
        read(&mut reader, &table, &mut document);
    }
    // TOML tables come sorted by key; people read from top to bottom.
    reader
        .problems
        .sort_by_key(|problem| (problem.origin.line, problem.origin.column));
    (document, reader.problems)
}

fn read<'t>(reader: &mut Reader<'t>, table: &Table<'t>, document: &mut Document) {
    match table.get("schema") {
        None => {
            let problem = Problem::error(
                reader.top(),
                "the file does not say which policy language it is written in",
            )
            .with_hint(format!(
                "put `schema = {}` into its first line",
                schema::SCHEMA_VERSION
            ));
            reader.report(problem);
        }
        Some(node) => {
            let found = reader.any(node);
            if found.as_ref().and_then(Value::as_integer) != Some(schema::SCHEMA_VERSION) {
                let found = found.map_or_else(String::new, |value| value.to_string());
                let problem =
                    Problem::error(reader.at(node), format!("schema {found} is not known")).with_hint(
                        format!("this program understands schema {}", schema::SCHEMA_VERSION),
                    );
                reader.report(problem);
            }
        }
    }
    for (key, node) in table {
        match key.get_ref().as_ref() {
            "schema" => {}
            "description" => {
                let text = reader.value(node, Kind::Text);
                document.description = text.and_then(|value| value.as_text().map(str::to_owned));
            }
            "require" => require(reader, &[], node, document),
            "rules" => rules(reader, node, document),
            _ => {
                let mut path = Vec::new();
                setting(reader, &mut path, key.get_ref(), &reader.at(key), node, document);
            }
        }
    }
}

/// Reads what stands under `name` below `path`. Depth is bounded by the longest path of the schema.
fn setting<'t>(
    reader: &mut Reader<'t>,
    path: &mut Vec<String>,
    name: &str,
    place: &Origin,
    node: &Node<'t>,
    document: &mut Document,
) {
    if !is_name(name) {
        reader.error(
            place.clone(),
            format!("a name has 1 to {MAX_NAME_BYTES} printable characters"),
        );
        return;
    }
    path.push(name.to_owned());
    if let Some(spec) = schema::find(path) {
        leaf(reader, spec, path, place, node, (false, false), document);
    } else if !schema::is_prefix(path) {
        unknown(reader, path, place);
    } else if let Some(entry) = entry_of(path) {
        self::entry(reader, path, entry, place, node, document);
    } else if let DeValue::Table(table) = node.get_ref() {
        for (key, node) in table {
            setting(reader, path, key.get_ref(), &reader.at(key), node, document);
        }
    } else {
        reader.error(place.clone(), format!("{} is a section, not a value", show(path)));
    }
    path.pop();
}

/// The main field, if the path is that of a named entry.
fn entry_of(path: &[String]) -> Option<&'static str> {
    match path {
        [section, _] => schema::entry(section).map(|entry| entry.main),
        _ => None,
    }
}

/// `[sysctl."kernel.kptr_restrict"]`, with `final` and `soft` for its main field; or just the main field's value.
fn entry<'t>(
    reader: &mut Reader<'t>,
    path: &mut Vec<String>,
    main: &'static str,
    place: &Origin,
    node: &Node<'t>,
    document: &mut Document,
) {
    path.push(main.to_owned());
    let spec = schema::find(path);
    let DeValue::Table(table) = node.get_ref() else {
        if let Some(spec) = spec {
            leaf(reader, spec, path, place, node, (false, false), document);
        }
        path.pop();
        return;
    };
    let is_final = flag(reader, table, "final");
    let is_soft = flag(reader, table, "soft");
    if let Some(spec) = spec {
        for (change, word) in LIST_CHANGES {
            if let Some(items) = table.get(word) {
                list_change(reader, spec, path, change, items, (is_final, is_soft), document);
            }
        }
        if let Some(node) = table.get(main) {
            let place = reader.at(node);
            leaf(reader, spec, path, &place, node, (is_final, is_soft), document);
        } else if (is_final || is_soft) && !LIST_CHANGES.iter().any(|(_, word)| table.contains_key(*word)) {
            reader.error(
                place.clone(),
                format!("final and soft are about {main}, which is not set here"),
            );
        }
    }
    path.pop();
    for (key, node) in table {
        let name = key.get_ref().as_ref();
        let handled =
            name == main || ["final", "soft"].contains(&name) || LIST_CHANGES.iter().any(|(_, w)| *w == name);
        if !handled {
            setting(reader, path, name, &reader.at(key), node, document);
        }
    }
}

const LIST_CHANGES: [(Change, &str); 3] = [
    (Change::Append, "append"),
    (Change::Prepend, "prepend"),
    (Change::Remove, "remove"),
];

/// A value, or `{ value = …, final = true }`, or `{ append = […] }`.
fn leaf<'t>(
    reader: &mut Reader<'t>,
    spec: &'static KeySpec,
    path: &[String],
    place: &Origin,
    node: &Node<'t>,
    (is_final, is_soft): (bool, bool),
    document: &mut Document,
) {
    let DeValue::Table(table) = node.get_ref() else {
        let Some(value) = reader.value(node, spec.kind) else {
            return;
        };
        push(
            reader,
            document,
            path,
            value,
            Change::Set,
            (is_final, is_soft),
            place.clone(),
        );
        return;
    };
    let flags = (
        is_final || flag(reader, table, "final"),
        is_soft || flag(reader, table, "soft"),
    );
    for (key, _) in table {
        let name = key.get_ref().as_ref();
        if !["value", "final", "soft", "append", "prepend", "remove"].contains(&name) {
            let problem = Problem::error(reader.at(key), format!("{} has no field {name:?}", show(path)))
                .with_hint("a setting is a value, or a table of value, final, soft, append, prepend, remove");
            reader.report(problem);
        }
    }
    if let Some(node) = table.get("value") {
        let place = reader.at(node);
        if let Some(value) = reader.value(node, spec.kind) {
            push(reader, document, path, value, Change::Set, flags, place);
        }
    }
    let mut changed = table.contains_key("value");
    for (change, word) in LIST_CHANGES {
        if let Some(items) = table.get(word) {
            list_change(reader, spec, path, change, items, flags, document);
            changed = true;
        }
    }
    if !changed {
        reader.error(place.clone(), format!("{} is given no value", show(path)));
    }
}

fn list_change<'t>(
    reader: &mut Reader<'t>,
    spec: &KeySpec,
    path: &[String],
    change: Change,
    items: &Node<'t>,
    flags: (bool, bool),
    document: &mut Document,
) {
    let place = reader.at(items);
    if spec.kind != Kind::Texts {
        reader.error(place, format!("{} is not a list", show(path)));
        return;
    }
    if let Some(value) = reader.value(items, Kind::Texts) {
        push(reader, document, path, value, change, flags, place);
    }
}

fn flag<'t>(reader: &mut Reader<'t>, table: &Table<'t>, name: &str) -> bool {
    let value = table.get(name).and_then(|node| reader.value(node, Kind::Bool));
    value.and_then(|value| value.as_bool()).unwrap_or(false)
}

fn push(
    reader: &mut Reader<'_>,
    document: &mut Document,
    path: &[String],
    value: Value,
    change: Change,
    (is_final, is_soft): (bool, bool),
    origin: Origin,
) {
    if document.assignments.len() >= MAX_SETTINGS {
        reader.error(origin, format!("more than {MAX_SETTINGS} settings in one file"));
        return;
    }
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    document.assignments.push(Assignment {
        key: KeyPath::new(&segments),
        value,
        change,
        is_final,
        is_soft,
        origin,
    });
}

/// `[require.…]`: the same paths, with predicates at their ends.
fn require<'t>(reader: &mut Reader<'t>, path: &[String], node: &Node<'t>, document: &mut Document) {
    let place = reader.at(node);
    let DeValue::Table(table) = node.get_ref() else {
        reader.error(
            place,
            "a requirement is a table of one_of, min, max, contains, excludes, reason",
        );
        return;
    };
    if let Some(spec) = schema::find(path) {
        predicate(reader, spec, path, &place, table, document);
        return;
    }
    if let Some(main) = entry_of(path).filter(|main| !table.contains_key(*main)) {
        let mut path = path.to_vec();
        path.push(main.to_owned());
        if let Some(spec) = schema::find(&path) {
            predicate(reader, spec, &path, &place, table, document);
        }
        return;
    }
    for (key, node) in table {
        let name = key.get_ref().as_ref();
        let mut path = path.to_vec();
        path.push(name.to_owned());
        let place = reader.at(key);
        if !is_name(name) || (schema::find(&path).is_none() && !schema::is_prefix(&path)) {
            unknown(reader, &path, &place);
        } else {
            require(reader, &path, node, document);
        }
    }
}

fn predicate<'t>(
    reader: &mut Reader<'t>,
    spec: &'static KeySpec,
    path: &[String],
    place: &Origin,
    table: &Table<'t>,
    document: &mut Document,
) {
    const FIELDS: [&str; 6] = ["one_of", "min", "max", "contains", "excludes", "reason"];
    for (key, _) in table {
        let name = key.get_ref().as_ref();
        if !FIELDS.contains(&name) {
            let mut problem = Problem::error(reader.at(key), format!("a requirement has no field {name:?}"));
            if let Some(near) = nearest(name, FIELDS) {
                problem = problem.with_hint(format!("did you mean {near:?}?"));
            }
            reader.report(problem);
        }
    }
    let before = reader.problems.len();
    let list = |reader: &mut Reader<'t>, name: &str| -> Option<Vec<Value>> {
        let node = table.get(name)?;
        let value = reader.any(node)?;
        let origin = reader.at(node);
        match value {
            Value::List(list) if !list.is_empty() => Some(list),
            _ => {
                reader.error(origin, format!("{name} takes a list that is not empty"));
                None
            }
        }
    };
    let one_of = list(reader, "one_of");
    let contains = list(reader, "contains").unwrap_or_default();
    let excludes = list(reader, "excludes").unwrap_or_default();
    let min = table.get("min").and_then(|node| reader.value(node, spec.kind));
    let max = table.get("max").and_then(|node| reader.value(node, spec.kind));
    let reason = table
        .get("reason")
        .and_then(|node| reader.value(node, Kind::Text));
    if reader.problems.len() > before {
        return;
    }
    let empty =
        one_of.is_none() && min.is_none() && max.is_none() && contains.is_empty() && excludes.is_empty();
    if empty {
        reader.error(
            place.clone(),
            format!("the requirement on {} requires nothing", show(path)),
        );
        return;
    }
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    document.requirements.push(Requirement {
        key: KeyPath::new(&segments),
        one_of,
        min,
        max,
        contains,
        excludes,
        reason: reason.and_then(|value| value.as_text().map(str::to_owned)),
        origin: place.clone(),
    });
}

/// `[[rules]]`, `[[rules.append]]`, `[[rules.prepend]]`.
fn rules<'t>(reader: &mut Reader<'t>, node: &Node<'t>, document: &mut Document) {
    let place = reader.at(node);
    let parts: Vec<(Change, &Node<'t>)> = match node.get_ref() {
        DeValue::Array(_) => vec![(Change::Set, node)],
        DeValue::Table(table) => {
            let mut parts = Vec::new();
            for (key, node) in table {
                match key.get_ref().as_ref() {
                    "append" => parts.push((Change::Append, node)),
                    "prepend" => parts.push((Change::Prepend, node)),
                    name => {
                        let problem = Problem::error(reader.at(key), format!("rules has no field {name:?}"))
                            .with_hint("[[rules]] replaces earlier rules; [[rules.append]] and [[rules.prepend]] add");
                        reader.report(problem);
                    }
                }
            }
            parts
        }
        _ => {
            reader.error(place, "rules are tables: [[rules]]");
            return;
        }
    };
    for (change, node) in parts {
        let DeValue::Array(items) = node.get_ref() else {
            let origin = reader.at(node);
            reader.error(origin, "rules are written with two brackets: [[rules.append]]");
            continue;
        };
        if items.len() > rule::MAX_RULES {
            let origin = reader.at(node);
            reader.error(
                origin,
                format!("{} rules; a policy may have {}", items.len(), rule::MAX_RULES),
            );
            continue;
        }
        let rules = items.iter().filter_map(|item| rule::read(reader, item)).collect();
        document.rules.push(RuleChange { change, rules });
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}

fn show(path: &[String]) -> KeyPath {
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    KeyPath::new(&segments)
}

fn unknown(reader: &mut Reader<'_>, path: &[String], place: &Origin) {
    let (name, above) = match path.split_last() {
        Some((name, above)) => (name.as_str(), above),
        None => ("", path),
    };
    let mut known = schema::names_after(above);
    if above.is_empty() {
        known.extend(["description", "require", "rules", "schema"]);
    }
    let mut problem = Problem::error(place.clone(), format!("unknown key {}", show(path)));
    if let Some(near) = nearest(name, known.iter().copied()) {
        problem = problem.with_hint(format!("did you mean {near:?}?"));
    } else if !known.is_empty() {
        problem = problem.with_hint(format!("known here: {}", known.join(", ")));
    }
    reader.report(problem);
}
