//! Which files make up the policy of a host: selection by platform, replacement and masking by local files.

use super::document::{self, Document};
use super::origin::{Layer, Origin, Problem};
use super::resolve::{Resolved, resolve};
use serde::Serialize;

/// A policy file that was read, or the mark that one is masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, as it should appear in messages.
    pub file: String,
    /// Path below its policy directory: `role/server.toml`; local files have no directory.
    pub name: String,
    /// Its text. `None`: a link to /dev/null, which masks the file of that name.
    pub text: Option<String>,
}

/// What a host is, as far as the choice of layers goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selector {
    /// Enterprise Linux release: 8, 9 or 10.
    pub el: u32,
    /// Name of the vendor's file: `rhel`, `rocky`, …
    pub vendor: String,
    /// Name of the hardware level's file: `x86-64-v2`, `aarch64`, …
    pub hardware: String,
    /// Name of the role's file.
    pub role: String,
    /// Name of the level's file.
    pub level: String,
}

impl Selector {
    /// `x86-64-v2.toml` counts on every release, `x86-64-v2-el9.toml` on EL 9 only, after it.
    fn fits(&self, wanted: &str, stem: &str) -> bool {
        let on_release = stem
            .strip_prefix(wanted)
            .and_then(|rest| rest.strip_prefix("-el"));
        stem == wanted || on_release.is_some_and(|release| release == self.el.to_string())
    }

    /// The layer directories in order, with the file names that count in each; `None`: all of them.
    fn directories(&self) -> [(Layer, String, Option<&str>); 6] {
        [
            (Layer::Base, "base".to_owned(), None),
            (Layer::El, format!("el{}", self.el), None),
            (Layer::Vendor, "vendor".to_owned(), Some(&self.vendor)),
            (Layer::Hardware, "hardware".to_owned(), Some(&self.hardware)),
            (Layer::Role, "role".to_owned(), Some(&self.role)),
            (Layer::Level, "level".to_owned(), Some(&self.level)),
        ]
    }
}

/// Chooses, replaces and orders: base < EL < vendor < hardware < role < level < local, lexical within each.
///
/// `vendor` are the shipped files, `local` those of `/etc/hardpan/policies`. A local file with a shipped file's name
/// takes its place in its layer; a masked one removes it. Other local files are the last layer.
pub fn select<'s>(
    selector: &Selector,
    vendor: &'s [Source],
    local: &'s [Source],
) -> Vec<(Layer, &'s Source)> {
    let effective = |source: &'s Source| {
        local
            .iter()
            .find(|other| other.name == source.name)
            .unwrap_or(source)
    };
    let mut chosen: Vec<(Layer, &'s Source)> = Vec::new();
    let mut part = |layer: Layer, mut sources: Vec<&'s Source>| {
        // Without the suffix, `aarch64-el8` comes after `aarch64`.
        let stem = |source: &Source| source.name.trim_end_matches(".toml").to_owned();
        sources.sort_by_key(|source| stem(source));
        chosen.extend(sources.into_iter().map(|source| (layer, source)));
    };
    for (layer, directory, only) in selector.directories() {
        let counts = |source: &&Source| {
            source
                .name
                .strip_prefix(&directory)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|file| {
                    let stem = file.strip_suffix(".toml");
                    stem.is_some_and(|stem| {
                        !stem.contains('/') && only.is_none_or(|only| selector.fits(only, stem))
                    })
                })
        };
        let mut sources: Vec<&Source> = vendor.iter().filter(counts).map(effective).collect();
        let added = local
            .iter()
            .filter(counts)
            .filter(|own| !vendor.iter().any(|source| source.name == own.name));
        sources.extend(added);
        part(layer, sources);
    }
    let top: Vec<&Source> = local
        .iter()
        .filter(|source| !source.name.contains('/') && is_toml(&source.name))
        .collect();
    part(Layer::Local, top);
    chosen.retain(|(_, source)| source.text.is_some());
    chosen
}

/// Selects, parses and merges. With an error among the problems the policy must not be used.
pub fn load(selector: &Selector, vendor: &[Source], local: &[Source]) -> (Resolved, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut documents: Vec<Document> = Vec::new();
    let chosen = select(selector, vendor, local);
    let wanted = [
        (Layer::Vendor, &selector.vendor),
        (Layer::Hardware, &selector.hardware),
        (Layer::Role, &selector.role),
        (Layer::Level, &selector.level),
    ];
    for (layer, name) in wanted {
        if !chosen.iter().any(|(other, _)| *other == layer) && !is_masked(layer, name, local) {
            let file = format!("{}/{name}.toml", layer.name());
            let known: Vec<&str> = vendor
                .iter()
                .filter_map(|source| {
                    source
                        .name
                        .strip_prefix(layer.name())?
                        .strip_prefix('/')?
                        .strip_suffix(".toml")
                })
                .filter(|stem| !stem.contains('/') && !stem.contains("-el"))
                .collect();
            let origin = Origin {
                layer,
                file: file.as_str().into(),
                line: 1,
                column: 1,
            };
            let mut problem = Problem::error(origin, format!("there is no {} {name:?}", layer.name()));
            problem = match super::suggest::nearest(name, known.iter().copied()) {
                Some(near) => problem.with_hint(format!("did you mean {near:?}?")),
                None => problem.with_hint(format!("there are {}", known.join(", "))),
            };
            problems.push(problem);
        }
    }
    for (layer, source) in chosen {
        let text = source.text.as_deref().unwrap_or_default();
        let (document, more) = document::parse(layer, &source.file, text);
        problems.extend(more);
        documents.push(document);
    }
    // Merging broken files would only bury the real mistake under its consequences.
    if problems.iter().any(Problem::is_error) {
        return (Resolved::default(), problems);
    }
    let (resolved, more) = resolve(&documents);
    problems.extend(more);
    (resolved, problems)
}

fn is_toml(name: &str) -> bool {
    name.strip_suffix(".toml").is_some_and(|stem| !stem.is_empty())
}

fn is_masked(layer: Layer, name: &str, local: &[Source]) -> bool {
    let file = format!("{}/{name}.toml", layer.name());
    local
        .iter()
        .any(|source| source.name == file && source.text.is_none())
}
