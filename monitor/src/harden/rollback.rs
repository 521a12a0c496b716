//! Taking hardening back, three-way: what somebody changed since stays and is reported.

use super::files;
use super::root::Root;
use super::run::HardenError;
use super::store::Store;
use super::tools::{restore, run, write_sysctl};
use crate::chain::chain;
use hardpan_core::policy::harden::Host as _;
use hardpan_core::policy::harden::edit::{self, Edit, Reverted, Tool};
use hardpan_core::policy::harden::journal::{Line, Stage};
use serde::Serialize;

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

/// Mode, owner and group.
type Mode = (u32, u32, u32);

/// Whether mode and owner are what `apply` made of them, or, where it or a rollback was interrupted, something on the
/// way: the owner is changed first, which clears the set-id bits and capabilities.
fn is_ours(line: &Line, found: Mode, before: Mode, after: Mode) -> bool {
    const SET_ID: u32 = 0o6000;
    if found == after {
        return true;
    }
    let owners = [(before.1, before.2), (after.1, after.2)];
    let modes = [before.0, after.0];
    line.stage == Stage::Intended
        && (found != before || line.capability.is_some())
        && owners.contains(&(found.1, found.2))
        && modes
            .iter()
            .any(|mode| found.0 & !SET_ID == mode & !SET_ID && found.0 & !mode == 0)
}

/// What became of an edit, and more about it.
type What = (&'static str, Option<String>);

fn undo_link(
    root: &Root,
    line: &Line,
    path: &str,
    before: Option<&str>,
    after: &str,
) -> Result<What, HardenError> {
    let failed = |source| HardenError::File {
        item: line.item.clone(),
        source,
    };
    let at = root.resolve_parent(path)?;
    let present = root.link(path);
    if present.as_deref() == Some(after) {
        match before {
            Some(before) => files::relink(&at, before).map_err(failed)?,
            None => files::remove(&at).map_err(failed)?,
        }
        return Ok(("restored", None));
    }
    let is_there = present.is_some() || at.exists();
    if !is_there || (present.is_some() && present.as_deref() == before) {
        return Ok(("gone", None));
    }
    let now = present.unwrap_or_else(|| "a file".to_owned());
    Ok(("kept", Some(format!("now {now}"))))
}

fn undo_mode(
    store: &mut Store,
    root: &Root,
    line: &Line,
    path: &str,
    (before, after): (Mode, Mode),
) -> Result<What, HardenError> {
    let Some(stat) = root.stat(path) else {
        return Ok(("gone", None));
    };
    let found = (stat.mode, stat.uid, stat.gid);
    if is_ours(line, found, before, after) {
        // From here on the file may be between the two.
        store.append(&Line {
            stage: Stage::Intended,
            ..line.clone()
        })?;
        let digits = line.capability.as_deref();
        let capability = digits.and_then(|digits| hex::decode(digits).ok());
        files::set_mode(&root.resolve(path)?, before, capability.as_deref()).map_err(|source| {
            HardenError::File {
                item: line.item.clone(),
                source,
            }
        })?;
        return Ok(("restored", None));
    }
    if found == before {
        return Ok(("gone", None));
    }
    let (mode, uid, gid) = found;
    Ok(("kept", Some(format!("now mode {mode:04o}, {uid}:{gid}"))))
}

fn undo_tool(
    store: &mut Store,
    root: &Root,
    line: &Line,
    tool: &Tool,
    before: &str,
    after: &str,
) -> Result<What, HardenError> {
    let Some(found) = tool.current(root) else {
        return Ok(("gone", None));
    };
    // Where it was interrupted, its back ends may be new already: the value comes last.
    let is_half = line.stage == Stage::Intended && matches!(tool, Tool::CryptoPolicy);
    if found == after || (found == before && is_half) {
        if matches!(tool, Tool::CryptoPolicy) {
            // From here on the back ends and the configuration's text may be between the two.
            store.append(&Line {
                stage: Stage::Intended,
                ..line.clone()
            })?;
        }
        let said = restore(root, tool, before, after, line.text.as_deref())?;
        return Ok(("restored", said));
    }
    if found == before {
        return Ok(("gone", None));
    }
    Ok(("kept", Some(format!("now {found}"))))
}

/// Takes one edit back, three-way.
pub(super) fn undo_one(store: &mut Store, root: &Root, line: &Line) -> Result<What, HardenError> {
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
        Edit::Link { path, before, after } => undo_link(root, line, path, before.as_deref(), after)?,
        Edit::Mode { path, before, after } => undo_mode(store, root, line, path, (*before, *after))?,
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
        Edit::Tool { tool, before, after } => undo_tool(store, root, line, tool, before, after)?,
    };
    for directory in line.directories.iter().rev() {
        files::remove_directory(&root.resolve_parent(directory)?);
    }
    store.append(&Line {
        stage: Stage::Undone,
        ..line.clone()
    })?;
    Ok(result)
}
