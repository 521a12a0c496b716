//! Tests of the policy as a whole.

mod gate;
mod golden;
mod import;
mod merge;
mod product;
mod rules;

use super::{Layer, Problem, Resolved, Selector, Source, document, resolve, shipped, source};

/// Parses and merges these files: layer, name, text.
fn merge(files: &[(Layer, &str, &str)]) -> (Resolved, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut documents = Vec::new();
    for (layer, name, text) in files {
        let (document, more) = document::parse(*layer, name, text);
        problems.extend(more);
        documents.push(document);
    }
    let (resolved, more) = resolve::resolve(&documents);
    problems.extend(more);
    (resolved, problems)
}

/// Problems, one per line, as people see them.
fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| problem.to_string() + "\n")
        .collect()
}

fn selector(el: u32, vendor: &str, hardware: &str, role: &str, level: &str) -> Selector {
    let own = str::to_owned;
    Selector {
        el,
        vendor: own(vendor),
        hardware: own(hardware),
        role: own(role),
        level: own(level),
    }
}

fn local(name: &str, text: Option<&str>) -> Source {
    Source {
        file: format!("/etc/hardpan/policies/{name}"),
        name: name.to_owned(),
        text: text.map(str::to_owned),
    }
}

fn load(selector: &Selector, local: &[Source]) -> (Resolved, Vec<Problem>) {
    source::load(selector, &shipped::shipped(), local)
}
