//! Reads what checks wish for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hardpan_core::audit::{Facts, Read, SweepQuery, Want};
use hardpan_rpm::root::Root;

use super::reach::Reach;
use super::{Progress, files, host, is_live, packages, tools, units, walk};

/// Reads inputs from one system, running or not.
#[derive(Debug)]
pub struct Collector {
    root: Root,
    path: PathBuf,
    dbpath: Option<PathBuf>,
    live: bool,
    reach: Reach,
    links: Option<Result<units::Links, String>>,
}

impl Collector {
    /// Opens a root; `/` is the running system.
    pub fn open(path: &Path, dbpath: Option<&Path>) -> std::io::Result<Self> {
        Ok(Self {
            root: Root::open(path)?,
            path: path.to_owned(),
            dbpath: dbpath.map(Path::to_owned),
            live: is_live(path),
            reach: Reach::new(path),
            links: None,
        })
    }

    /// Facts about the host, before any wish.
    pub fn begin(&self, now: jiff::Timestamp) -> Facts {
        Facts {
            host: host::host(&self.root, self.live),
            live: self.live,
            today: Some(now.as_second().div_euclid(86_400)),
            ..Facts::default()
        }
    }

    /// Reads everything in `wants` into `facts`. Each wish gets an answer, if only why there is none.
    pub fn fetch(&mut self, facts: &mut Facts, wants: BTreeSet<Want>, progress: &mut dyn FnMut(Progress)) {
        let mut unit_names = Vec::new();
        let mut queries: Vec<SweepQuery> = Vec::new();
        for want in wants {
            match want {
                Want::Stat(path) => {
                    let stat = self.reached(&path, |root| files::stat(root, &path));
                    facts.stats.insert(path, stat);
                }
                Want::Text(path) => {
                    let text = self.reached(&path, |root| files::text(root, &path));
                    facts.texts.insert(path, text);
                }
                Want::Dir(path) => {
                    let names = self.reached(&path, |root| files::dir(root, &path));
                    facts.dirs.insert(path, names);
                }
                Want::Link(path) => {
                    let target = self.reached(&path, |root| files::link(root, &path));
                    facts.links.insert(path, target);
                }
                Want::Tree(path, depth) => {
                    let tree = match self.reach.refuses(&path) {
                        Some(why) => Err(why),
                        None => files::tree(&self.root, &path, depth, &mut |path| {
                            self.reach.refuses(path).is_some()
                        }),
                    };
                    facts.trees.insert((path, depth), tree);
                }
                Want::Packages => {
                    facts.packages = Some(packages::packages(&self.root, self.dbpath.as_deref()));
                }
                Want::Unit(name) => unit_names.push(name),
                Want::Output(tool) => drop(facts.outputs.insert(tool, tools::ask(tool))),
                Want::Sweep(query) => queries.push(query),
            }
        }
        if !unit_names.is_empty() {
            facts.units.extend(self.units(&unit_names));
        }
        if !queries.is_empty() {
            facts
                .sweeps
                .extend(walk::sweep(&self.root, &self.path, self.live, queries, progress));
        }
    }

    /// Looks at a path, unless that could wait for somebody without end.
    fn reached<T>(&mut self, path: &str, look: impl FnOnce(&Root) -> Read<T>) -> Read<T> {
        match self.reach.refuses(path) {
            Some(why) => Err(why),
            None => look(&self.root),
        }
    }

    fn units(&mut self, names: &[String]) -> Vec<(String, Result<hardpan_core::audit::UnitState, String>)> {
        let root = &self.root;
        match self.links.get_or_insert_with(|| units::links(root)) {
            Ok(links) => units::states(&self.root, self.live, links, names)
                .into_iter()
                .collect(),
            Err(why) => names
                .iter()
                .map(|name| (name.clone(), Err(why.clone())))
                .collect(),
        }
    }
}
