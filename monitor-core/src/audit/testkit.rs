//! Facts built from literals, for the tests of this module.

use super::facts::{Facts, FileKind, Stat};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An image that holds exactly these files, owned by root, mode 0644; every other path is absent.
pub(crate) fn tree(files: &[(&str, &str)]) -> Facts {
    let mut facts = Facts::default();
    let mut dirs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files {
        facts.texts.insert((*path).into(), Ok(Some(Arc::from(*text))));
        facts.stats.insert(
            (*path).into(),
            Ok(Some(Stat {
                kind: FileKind::File,
                mode: 0o644,
                uid: 0,
                gid: 0,
                size: text.len() as u64,
            })),
        );
        let mut child = *path;
        while let Some(at) = child.rfind('/') {
            let parent = if at == 0 { "/" } else { &child[..at] };
            dirs.entry(parent.to_owned())
                .or_default()
                .insert(child[at + 1..].to_owned());
            child = if at == 0 { "" } else { parent };
        }
    }
    for (path, names) in dirs {
        facts
            .dirs
            .insert(path.clone(), Ok(Some(names.into_iter().collect())));
        let stat = Stat {
            kind: FileKind::Dir,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size: 0,
        };
        facts.stats.entry(path).or_insert(Ok(Some(stat)));
    }
    facts
}

/// Asks a check until it has an answer; whatever it still wishes for is absent.
pub(crate) fn outcome_of(toml: &str, facts: &Facts) -> super::Outcome {
    let text = format!("id = \"hp-test\"\ntitle = \"test\"\n{toml}");
    let check: super::Check = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{toml}"));
    check.validate().unwrap();
    let mut facts = facts.clone();
    for _ in 0..20 {
        match super::evaluate(&check, &facts) {
            Ok(outcome) => return outcome,
            Err(wants) => wants.into_iter().for_each(|want| absent(&mut facts, want)),
        }
    }
    panic!("the check never stops asking:\n{toml}");
}

fn absent(facts: &mut Facts, want: super::Want) {
    use super::Want;
    match want {
        Want::Stat(path) => drop(facts.stats.insert(path, Ok(None))),
        Want::Text(path) => drop(facts.texts.insert(path, Ok(None))),
        Want::Dir(path) => drop(facts.dirs.insert(path, Ok(None))),
        Want::Tree(path, depth) => drop(facts.trees.insert((path, depth), Ok(None))),
        Want::Link(path) => drop(facts.links.insert(path, Ok(None))),
        Want::Packages => facts.packages = Some(Ok(Vec::new())),
        Want::Unit(name) => drop(facts.units.insert(name, Ok(super::UnitState::default()))),
        Want::Output(tool) => drop(facts.outputs.insert(tool, Ok(None))),
        Want::Sweep(query) => drop(facts.sweeps.insert(query, Ok(super::SweepResult::default()))),
    }
}
