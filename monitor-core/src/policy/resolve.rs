//! Layers become one policy; every value keeps the file and line it came from.

use super::document::{Assignment, Change, Document};
use super::origin::{Layer, Origin, Problem};
use super::requirement::Requirement;
use super::rule::{Action, Defaults, Kind, Rule};
use super::schema;
use super::strength;
use super::value::{KeyPath, Value};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Most files that make up one policy.
pub const MAX_FILES: usize = 256;

/// One value an earlier layer gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Earlier {
    /// The value.
    pub value: Value,
    /// Where it is written.
    pub origin: Origin,
}

/// A resolved setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The value that counts.
    pub value: Value,
    /// Where it is written.
    pub origin: Origin,
    /// Who forbade to weaken it.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub final_by: Option<Origin>,
    /// The requirement a stricter, soft value gave way to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gave_way_to: Option<Origin>,
    /// What earlier layers said, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Earlier>,
    #[serde(skip)]
    is_soft: bool,
}

/// A file that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its layer.
    pub layer: Layer,
    /// Its name.
    pub file: String,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A policy with all layers merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The files, weakest first.
    pub parts: Vec<Part>,
    /// Every setting, by key.
    pub settings: BTreeMap<KeyPath, Setting>,
    /// Requirements, by key.
    pub requirements: BTreeMap<KeyPath, Vec<Requirement>>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl Resolved {
    /// A setting by its path's segments.
    pub fn setting(&self, path: &[&str]) -> Option<&Setting> {
        self.settings.get(&KeyPath::new(path))
    }

    /// The names of a section's entries, sorted: `entries("sysctl")`.
    pub fn entries(&self, section: &str) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .settings
            .keys()
            .filter(|key| key.segment(0) == Some(section) && key.depth() == 3)
            .filter_map(|key| key.segment(1))
            .collect();
        names.dedup();
        names
    }

    /// What happens to events that no rule names.
    pub fn defaults(&self) -> Defaults {
        let mut defaults = Defaults::default();
        for (key, setting) in &self.settings {
            let [section, kind, class] = key.segments() else {
                continue;
            };
            let action = setting.value.as_text().and_then(Action::from_name);
            if let (true, Some(kind), Some(action)) = (section == "default", Kind::from_name(kind), action) {
                defaults.set(kind, class, action, setting.origin.clone());
            }
        }
        defaults
    }

    /// Whether a key's requirements accept a value. Keys without requirements accept any.
    pub fn accepts(&self, key: &KeyPath, value: &Value) -> bool {
        let requirements = self.requirements.get(key).map(Vec::as_slice).unwrap_or_default();
        schema::find(key.segments()).is_none_or(|spec| {
            requirements
                .iter()
                .all(|requirement| requirement.accepts(spec, value))
        })
    }
}

/// Merges documents, given weakest first (see [`select`](super::source::select)).
///
/// With an error among the problems the result must not be used.
pub fn resolve(documents: &[Document]) -> (Resolved, Vec<Problem>) {
    let mut resolved = Resolved::default();
    let mut problems = Vec::new();
    if let Some(surplus) = documents.get(MAX_FILES) {
        let origin = Origin {
            layer: surplus.layer,
            file: surplus.file.as_str().into(),
            line: 1,
            column: 1,
        };
        problems.push(Problem::error(
            origin,
            format!("more than {MAX_FILES} policy files"),
        ));
        return (resolved, problems);
    }
    for document in documents {
        resolved.parts.push(Part {
            layer: document.layer,
            file: document.file.clone(),
            description: document.description.clone(),
        });
        for assignment in &document.assignments {
            assign(&mut resolved, assignment, &mut problems);
        }
        for requirement in &document.requirements {
            resolved
                .requirements
                .entry(requirement.key.clone())
                .or_default()
                .push(requirement.clone());
        }
        for change in &document.rules {
            let rules = change.rules.iter().cloned();
            match change.change {
                Change::Set | Change::Remove => resolved.rules = rules.collect(),
                Change::Append => resolved.rules.extend(rules),
                Change::Prepend => {
                    resolved.rules.splice(0..0, rules);
                }
            }
        }
    }
    if let Some(surplus) = resolved.rules.get(super::rule::MAX_RULES) {
        let message = format!("more than {} rules", super::rule::MAX_RULES);
        problems.push(Problem::error(surplus.origin.clone(), message));
    }
    require(&mut resolved, &mut problems);
    (resolved, problems)
}

fn assign(resolved: &mut Resolved, assignment: &Assignment, problems: &mut Vec<Problem>) {
    let Assignment {
        key,
        origin,
        is_final,
        is_soft,
        ..
    } = assignment;
    let Some(setting) = resolved.settings.get_mut(key) else {
        let value = combine(None, assignment);
        let setting = Setting {
            value,
            origin: origin.clone(),
            final_by: is_final.then(|| origin.clone()),
            gave_way_to: None,
            overridden: Vec::new(),
            is_soft: *is_soft,
        };
        resolved.settings.insert(key.clone(), setting);
        return;
    };
    let value = combine(Some(&setting.value), assignment);
    if let (Some(by), Some(spec)) = (&setting.final_by, schema::find(key.segments())) {
        let strength = strength::compare(spec, key, &value, &setting.value);
        if !matches!(strength, Some(Ordering::Equal | Ordering::Greater)) {
            let relation = if strength.is_some() { "weakens" } else { "changes" };
            let message = format!(
                "{key} = {value} {relation} {}, which {by} makes final",
                setting.value
            );
            problems.push(Problem::error(origin.clone(), message).with_hint(format!(
                "take the line out, or a stronger value; or drop `final` at {by} if that file is yours"
            )));
            return;
        }
    }
    let old = Earlier {
        value: std::mem::replace(&mut setting.value, value),
        origin: std::mem::replace(&mut setting.origin, origin.clone()),
    };
    setting.overridden.push(old);
    setting.is_soft = *is_soft;
    if *is_final && setting.final_by.is_none() {
        setting.final_by = Some(origin.clone());
    }
}

/// The value an assignment makes of the earlier one.
fn combine(earlier: Option<&Value>, assignment: &Assignment) -> Value {
    let new = assignment.value.as_list().unwrap_or_default();
    let old = earlier.and_then(Value::as_list).unwrap_or_default();
    let without = |list: &[Value], drop: &[Value]| -> Vec<Value> {
        list.iter().filter(|item| !drop.contains(item)).cloned().collect()
    };
    match assignment.change {
        Change::Set => assignment.value.clone(),
        Change::Append => Value::List([old.to_vec(), without(new, old)].concat()),
        Change::Prepend => Value::List([new.to_vec(), without(old, new)].concat()),
        Change::Remove => Value::List(without(old, new)),
    }
}

/// Requirements against each other, then values against requirements.
fn require(resolved: &mut Resolved, problems: &mut Vec<Problem>) {
    let mut refused = Vec::new();
    for (key, requirements) in &resolved.requirements {
        let Some(spec) = schema::find(key.segments()) else {
            continue;
        };
        if let Some(problem) = contradiction(key, spec, requirements) {
            problems.push(problem);
            continue;
        }
        let Some(setting) = resolved.settings.get(key) else {
            continue;
        };
        let Some(refusing) = requirements
            .iter()
            .find(|requirement| !requirement.accepts(spec, &setting.value))
        else {
            continue;
        };
        if !setting.is_soft {
            let reason = refusing
                .reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(" ({reason})"));
            let message = format!(
                "{key} = {} does not satisfy {}: {refusing}{reason}",
                setting.value, refusing.origin
            );
            problems.push(Problem::error(setting.origin.clone(), message).with_hint(
                "change the value, or drop the requirement if that file is yours; `soft = true` lets a value give way",
            ));
            continue;
        }
        refused.push((key.clone(), refusing.origin.clone(), setting.origin.file.clone()));
    }
    for (key, by, file) in refused {
        give_way(resolved, &key, &by, &file);
    }
}

/// Takes a soft value back to the last earlier one that satisfies everything, and with it what the same file said of
/// that entry: the reason for a value that does not hold would only mislead.
fn give_way(resolved: &mut Resolved, key: &KeyPath, by: &Origin, file: &str) {
    let requirements = resolved.requirements.get(key).cloned().unwrap_or_default();
    let spec = schema::find(key.segments());
    let satisfies = |value: &Value| {
        spec.is_none_or(|spec| {
            requirements
                .iter()
                .all(|requirement| requirement.accepts(spec, value))
        })
    };
    let entry =
        (key.depth() == 3 && schema::entry(key.segment(0).unwrap_or_default()).is_some()).then(|| {
            (
                key.segment(0).unwrap_or_default().to_owned(),
                key.segment(1).unwrap_or_default().to_owned(),
            )
        });
    let siblings: Vec<KeyPath> = resolved
        .settings
        .keys()
        .filter(|other| {
            let of_entry = entry.as_ref().is_some_and(|(section, name)| {
                other.segment(0) == Some(section) && other.segment(1) == Some(name) && other.depth() == 3
            });
            *other == key || of_entry
        })
        .cloned()
        .collect();
    for sibling in siblings {
        let is_value = sibling == *key;
        let Some(setting) = resolved.settings.get_mut(&sibling) else {
            continue;
        };
        if !is_value && &*setting.origin.file != file {
            continue;
        }
        let good = setting.overridden.iter().rposition(|earlier| {
            if is_value {
                satisfies(&earlier.value)
            } else {
                &*earlier.origin.file != file
            }
        });
        let earlier = good.and_then(|good| setting.overridden.drain(good..).next());
        if let Some(earlier) = earlier {
            setting.value = earlier.value;
            setting.origin = earlier.origin;
            setting.gave_way_to = is_value.then(|| by.clone());
        } else {
            // Nobody else set it: it is not set at all.
            resolved.settings.remove(&sibling);
        }
    }
}

fn contradiction(key: &KeyPath, spec: &schema::KeySpec, requirements: &[Requirement]) -> Option<Problem> {
    for (n, right) in requirements.iter().enumerate() {
        let left = requirements
            .get(..n)
            .unwrap_or_default()
            .iter()
            .find(|left| !left.is_compatible(spec, right));
        if let Some(left) = left {
            let reason = |requirement: &Requirement| {
                requirement
                    .reason
                    .as_ref()
                    .map_or_else(String::new, |reason| format!(" ({reason})"))
            };
            let message = format!(
                "no value of {key} can satisfy both {}: {left}{} and {}: {right}{}",
                left.origin,
                reason(left),
                right.origin,
                reason(right)
            );
            let hint = "a host cannot be both: choose another role or level, or waive one in a local file of that name";
            return Some(Problem::error(right.origin.clone(), message).with_hint(hint));
        }
    }
    None
}
