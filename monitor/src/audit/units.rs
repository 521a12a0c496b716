//! State of systemd units: links on disk, and the manager where one runs.

use std::collections::BTreeMap;
use std::path::Path;

use hardpan_core::audit::UnitState;
use hardpan_rpm::root::Root;

use super::{files, tools};

/// Unit directories, the stronger first.
const DIRS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// Which unit is wanted or required by which.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_unit: BTreeMap<String, Vec<String>>,
}

/// Reads every `.wants` and `.requires` directory once.
pub(super) fn links(root: &Root) -> Result<Links, String> {
    let mut links = Links::default();
    for dir in DIRS {
        for name in files::dir(root, dir)?.unwrap_or_default() {
            let Some(by) = name
                .strip_suffix(".wants")
                .or_else(|| name.strip_suffix(".requires"))
            else {
                continue;
            };
            for unit in files::dir(root, &format!("{dir}/{name}"))?.unwrap_or_default() {
                let wanted_by = links.by_unit.entry(unit).or_default();
                if !wanted_by.iter().any(|known| known == by) {
                    wanted_by.push(by.to_owned());
                }
            }
        }
    }
    Ok(links)
}

/// State of some units.
pub(super) fn states(
    root: &Root,
    live: bool,
    links: &Links,
    names: &[String],
) -> BTreeMap<String, Result<UnitState, String>> {
    let active = if live { active(names) } else { Ok(BTreeMap::new()) };
    names
        .iter()
        .map(|name| {
            let state = on_disk(root, links, name).and_then(|mut state| {
                state.active = active.clone()?.remove(name);
                Ok(state)
            });
            (name.clone(), state)
        })
        .collect()
}

fn on_disk(root: &Root, links: &Links, name: &str) -> Result<UnitState, String> {
    let mut state = UnitState {
        enabled_by: links.by_unit.get(name).cloned().unwrap_or_default(),
        ..UnitState::default()
    };
    for dir in DIRS {
        let path = format!("{dir}/{name}");
        match files::link(root, &path)? {
            Some(target) if target == "/dev/null" => {
                state.masked = true;
                state.file = Some(path);
                break;
            }
            Some(_) => {
                state.file = Some(path);
                break;
            }
            None if files::stat(root, &path)?.is_some() => {
                state.file = Some(path);
                break;
            }
            None => {}
        }
    }
    Ok(state)
}

/// `ActiveState` of units, from the manager; empty where no systemd runs.
fn active(names: &[String]) -> Result<BTreeMap<String, String>, String> {
    if names.is_empty() || !Path::new("/run/systemd/system").is_dir() {
        return Ok(BTreeMap::new());
    }
    let mut args = vec!["show", "--property=Id,Names,ActiveState", "--"];
    args.extend(names.iter().map(String::as_str));
    let Some(answer) = tools::run("systemctl", &args)? else {
        return Ok(BTreeMap::new());
    };
    if answer.status != Some(0) {
        return Err(format!("systemctl show: {}", answer.complaint));
    }
    let mut states = BTreeMap::new();
    for block in answer.stdout.split("\n\n") {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        let Some(active) = field("ActiveState") else {
            continue;
        };
        for name in field("Names").unwrap_or_default().split(' ').chain(field("Id")) {
            states.insert(name.to_owned(), active.to_owned());
        }
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        std::fs::create_dir_all(base.join("usr/lib/systemd/system")).unwrap();
        std::fs::create_dir_all(base.join("etc/systemd/system/multi-user.target.wants")).unwrap();
        std::fs::write(base.join("usr/lib/systemd/system/a.service"), "").unwrap();
        std::fs::write(base.join("usr/lib/systemd/system/b.service"), "").unwrap();
        symlink(
            "/usr/lib/systemd/system/a.service",
            base.join("etc/systemd/system/multi-user.target.wants/a.service"),
        )
        .unwrap();
        symlink("/dev/null", base.join("etc/systemd/system/b.service")).unwrap();
        let root = Root::open(base).unwrap();
        let links = links(&root).unwrap();
        let names = ["a.service", "b.service", "c.service"].map(str::to_owned);
        let states = states(&root, false, &links, &names);
        let state = |name: &str| states[name].clone().unwrap();
        assert_eq!(state("a.service").enabled_by, ["multi-user.target"]);
        assert!(!state("a.service").masked && state("b.service").masked);
        assert_eq!(state("c.service"), UnitState::default());
    }
}
