//! Taking hardening back, three-way: what somebody changed since stays and is reported.

use super::files;
use super::root::Root;
use super::run::HardenError;
use super::store::Store;
use super::tools::{run, set, write_sysctl};
use crate::chain::chain;
use hardpan_core::policy::harden::Host as _;
use hardpan_core::policy::harden::edit::{self, Edit, Reverted};
use hardpan_core::policy::harden::journal::{Line, Stage};
use serde::Serialize;
use std::fs;

/// What became of one edit that was to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// The item.
    pub item: String,
    /// File or setting.
    pub subject: String,
    /// `restored`, `gone`, `kept`, `failed`, `after-reboot`.
    pub what: &'static str,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The result of `rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RollbackReport {
    /// Whether anything was changed.
    pub changed: bool,
    /// Edit by edit, the last one first.
    pub edits: Vec<Undone>,
}

/// Takes back one transaction, or all of them, the last edit first.
pub fn rollback(root: &Root, transaction: Option<u64>) -> Result<RollbackReport, HardenError> {
    let mut store = Store::open(root)?;
    let report = rollback_in(&mut store, root, transaction);
    let waiting = store.pending().map(|pending| pending.transaction);
    if waiting.is_some_and(|waiting| transaction.is_none_or(|only| only == waiting)) {
        store.clear_pending()?;
    }
    Ok(report)
}

pub(super) fn rollback_in(store: &mut Store, root: &Root, transaction: Option<u64>) -> RollbackReport {
    let lines: Vec<Line> = store
        .journal
        .in_place
        .values()
        .rev()
        .filter(|line| transaction.is_none_or(|only| only == line.transaction))
        .cloned()
        .collect();
    let foreign = store
        .foreign()
        .filter(|_| transaction.is_none())
        .map(|subject| Undone {
            item: "journal".to_owned(),
            subject,
            what: "failed",
            detail: Some("another version of hardpan wrote it: use that one to take it back".to_owned()),
        });
    let mut report = RollbackReport {
        changed: false,
        edits: foreign.collect(),
    };
    for line in &lines {
        let subject = line.change.subject().to_owned();
        let (what, detail) = match undo_one(store, root, line) {
            Ok(result) => result,
            Err(error) => ("failed", Some(chain(&error))),
        };
        report.changed |= what == "restored";
        report.edits.push(Undone {
            item: line.item.clone(),
            subject,
            what,
            detail,
        });
    }
    if lines.iter().any(|line| line.item.starts_with("sshd:")) && root.is_real() {
        // The files are as they were; that sshd could not be told is no reason to fail.
        drop(run(
            root,
            "/usr/bin/systemctl",
            &["try-reload-or-restart", "sshd.service"],
        ));
    }
    report
}

/// Takes one edit back, three-way.
pub(super) fn undo_one(
    store: &mut Store,
    root: &Root,
    line: &Line,
) -> Result<(&'static str, Option<String>), HardenError> {
    let failed = |source| HardenError::File {
        item: line.item.clone(),
        source,
    };
    let result = match &line.change {
        Edit::Line { path, line: change } => {
            let at = root.resolve(path)?;
            let reverted = edit::revert(
                path,
                root.read(path).as_deref(),
                change,
                line.created,
                line.joined,
            )
            .map_err(|why| HardenError::Edit {
                item: line.item.clone(),
                subject: path.clone(),
                why,
            })?;
            match reverted {
                Reverted::Text(text) => {
                    files::replace(&at, &text).map_err(failed)?;
                    ("restored", None)
                }
                Reverted::Remove => {
                    files::remove(&at).map_err(failed)?;
                    ("restored", None)
                }
                Reverted::Gone => ("gone", None),
                Reverted::Kept(found) => ("kept", Some(format!("somebody changed it since: {found}"))),
            }
        }
        Edit::Link { path, before, after } => {
            let at = root.resolve_parent(path)?;
            let present = root.link(path);
            if present.as_deref() == Some(after) {
                match before {
                    Some(before) => files::relink(&at, before).map_err(failed)?,
                    None => files::remove(&at).map_err(failed)?,
                }
                ("restored", None)
            } else if at.exists() || present.is_some() {
                (
                    "kept",
                    Some(format!("now {}", present.unwrap_or_else(|| "a file".to_owned()))),
                )
            } else {
                ("gone", None)
            }
        }
        Edit::Mode { path, before, after } => match root.stat(path) {
            None => ("gone", None),
            Some(stat) if (stat.mode, stat.uid, stat.gid) == *after => {
                files::set_mode(&root.resolve(path)?, *before).map_err(failed)?;
                ("restored", None)
            }
            Some(stat) if (stat.mode, stat.uid, stat.gid) == *before => ("gone", None),
            Some(stat) => (
                "kept",
                Some(format!("now mode {:04o}, {}:{}", stat.mode, stat.uid, stat.gid)),
            ),
        },
        Edit::Runtime { name, before, after } => {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            match root.read(&path) {
                None => ("gone", None),
                Some(found) if found.trim() == after => match write_sysctl(root, name, before) {
                    Ok(()) => ("restored", None),
                    // One-way switches refuse: the configuration is taken back, the running kernel keeps the value.
                    Err(error) => ("after-reboot", Some(chain(&error))),
                },
                Some(found) if found.trim() == before => ("gone", None),
                Some(found) => ("kept", Some(format!("now {}", found.trim()))),
            }
        }
        Edit::Tool { tool, before, after } => match tool.current(root) {
            Some(found) if found == *after => {
                set(root, tool, before)?;
                ("restored", None)
            }
            Some(found) if found == *before => ("gone", None),
            Some(found) => ("kept", Some(format!("now {found}"))),
            None => ("gone", None),
        },
    };
    for directory in line.directories.iter().rev() {
        // Only an empty directory goes: what others put there stays.
        drop(fs::remove_dir(root.resolve_parent(directory)?));
    }
    store.append(&Line {
        stage: Stage::Undone,
        ..line.clone()
    })?;
    Ok(result)
}
