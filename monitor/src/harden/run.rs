//! `apply`, `rollback`, `confirm` and drift.
//!
//! Each edit is written to the journal before and after it is made, so that a crash at any moment leaves something
//! `rollback` can take back. Items are planned one by one right before they are made: two items may edit one line.

use super::files::{self, FileError};
use super::root::{Root, RootError};
use super::store::{Confirmation, Store, seconds};
use hardpan_core::policy::Resolved;
use hardpan_core::policy::harden::edit::{self, Edit, Reverted};
use hardpan_core::policy::harden::journal::{JOURNAL_VERSION, Line, Stage};
use hardpan_core::policy::harden::plan::{self, Entry, State};
use hardpan_core::policy::harden::{Host as _, Item};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Something that kept hardening from being applied or taken back.
#[derive(Debug, Error)]
pub enum HardenError {
    /// A path in the root cannot be resolved.
    #[error("cannot find a path within the root")]
    Resolve(#[from] RootError),
    /// A file could not be changed.
    #[error("cannot change {item}")]
    File {
        /// The item.
        item: String,
        /// What failed.
        #[source]
        source: FileError,
    },
    /// The journal's directory or file.
    #[error("cannot {action} the journal {path}")]
    Journal {
        /// `open`, `read`, `append to`, `lock`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A journal line could not be made.
    #[error("cannot encode a journal line")]
    Encode(#[source] serde_json::Error),
    /// The edit does not fit what is there now.
    #[error("cannot make the edit for {item} in {subject}: {why}")]
    Edit {
        /// The item.
        item: String,
        /// File or setting.
        subject: String,
        /// Why.
        why: String,
    },
    /// A sysctl could not be written.
    #[error("cannot set {name} to {value}")]
    Runtime {
        /// Its name.
        name: String,
        /// The value.
        value: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program of the system failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program.
        program: String,
        /// What it said.
        output: String,
    },
    /// A change waits for confirmation.
    #[error("transaction {transaction} waits for `hardpan harden confirm`; confirm it or roll it back first")]
    Pending {
        /// The transaction.
        transaction: u64,
    },
}

/// What `apply` may do.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// Also items that cannot be undone before the next boot.
    pub irreversible: bool,
    /// Take items that could lock people out, and roll the transaction back after this long without confirmation.
    pub confirm_within: Option<Duration>,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds already.
    Unchanged,
    /// It was changed.
    Changed,
    /// It has no meaning here.
    NotApplicable {
        /// Why.
        why: String,
    },
    /// It was left alone.
    Skipped {
        /// Why, and what to do.
        why: String,
    },
    /// It failed; its edits so far were taken back.
    Failed {
        /// Why.
        why: String,
    },
}

/// One item's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemResult {
    /// The item.
    pub item: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What people should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The result of `apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Whether anything was changed (Ansible's word).
    pub changed: bool,
    /// Whether an item failed.
    pub failed: bool,
    /// The transaction, if anything was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<u64>,
    /// Items of which a reboot is needed.
    pub reboot_needed: bool,
    /// Whether the transaction waits for `hardpan harden confirm`.
    pub confirmation_needed: bool,
    /// Item by item.
    pub results: Vec<ItemResult>,
}

/// Applies items.
pub fn apply(
    root: &Root,
    resolved: &Resolved,
    items: &[Item],
    options: &ApplyOptions,
) -> Result<Applied, HardenError> {
    let mut store = Store::open(root)?;
    if let Some(waiting) = store.pending() {
        return Err(HardenError::Pending {
            transaction: waiting.transaction,
        });
    }
    let transaction = store.journal.last_transaction + 1;
    let mut applied = Applied {
        changed: false,
        failed: false,
        transaction: None,
        reboot_needed: false,
        confirmation_needed: false,
        results: Vec::new(),
    };
    // The promise to roll back comes before the first edit that would need it.
    let guarded = root.is_live()
        && options.confirm_within.is_some()
        && items.iter().any(|item| item.needs_confirmation);
    if let (true, Some(within)) = (guarded, options.confirm_within) {
        store.set_pending(transaction, within)?;
    }
    let mut number = 0;
    let mut touched_sshd = false;
    for item in items {
        let entry = plan::entry(root, resolved, item);
        let outcome = match skip(root, &entry, options) {
            Some(outcome) => outcome,
            None => match make(&mut store, root, transaction, &mut number, &entry) {
                Ok(()) => {
                    applied.changed = true;
                    applied.reboot_needed |= item.needs_reboot;
                    applied.confirmation_needed |= guarded && item.needs_confirmation;
                    touched_sshd |= item.id.starts_with("sshd:");
                    Outcome::Changed
                }
                Err(error) => {
                    applied.failed = true;
                    Outcome::Failed { why: chain(&error) }
                }
            },
        };
        applied.results.push(ItemResult {
            item: item.id.clone(),
            outcome,
            notes: entry.notes,
        });
    }
    if touched_sshd && root.is_real() {
        check_sshd(&mut store, root, transaction)?;
    }
    if !applied.confirmation_needed {
        store.clear_pending()?;
    }
    applied.transaction = applied.changed.then_some(transaction);
    Ok(applied)
}

/// Why an item is not made.
fn skip(root: &Root, entry: &Entry, options: &ApplyOptions) -> Option<Outcome> {
    let skipped = |why: &str| Some(Outcome::Skipped { why: why.to_owned() });
    match &entry.state {
        State::Satisfied { .. } => Some(Outcome::Unchanged),
        State::NotApplicable { why } => Some(Outcome::NotApplicable { why: why.clone() }),
        State::Blocked { why } => skipped(why),
        State::Differs { .. } if entry.item.one_way && root.is_live() && !options.irreversible => {
            skipped("cannot be undone before the next boot: needs --irreversible")
        }
        State::Differs { .. }
            if entry.item.needs_confirmation && root.is_live() && options.confirm_within.is_none() =>
        {
            skipped("could lock people out: needs --confirm-within")
        }
        State::Differs { .. } => None,
    }
}

/// Makes all edits of an item, or none.
fn make(
    store: &mut Store,
    root: &Root,
    transaction: u64,
    number: &mut u64,
    entry: &Entry,
) -> Result<(), HardenError> {
    let mut made = Vec::new();
    for edit in &entry.edits {
        let line = Line {
            version: JOURNAL_VERSION,
            transaction,
            number: *number,
            stage: Stage::Intended,
            item: entry.item.id.clone(),
            change: edit.clone(),
            created: false,
            joined: false,
            directories: Vec::new(),
        };
        *number += 1;
        match make_one(store, root, line) {
            Ok(line) => made.push(line),
            Err(error) => {
                for line in made.iter().rev() {
                    // The first error is the one to report; what could not be taken back stays in the journal.
                    drop(undo_one(store, root, line));
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Makes one edit; answers the journal line that is now in force.
fn make_one(store: &mut Store, root: &Root, mut line: Line) -> Result<Line, HardenError> {
    let item = line.item.clone();
    let failed = |source| HardenError::File {
        item: item.clone(),
        source,
    };
    match line.change.clone() {
        Edit::Line { path, line: change } => {
            let at = root.resolve(&path)?;
            let present = root.read(&path);
            if present.is_none() && at.exists() {
                let why = "the file is not text of reasonable size".to_owned();
                return Err(HardenError::Edit {
                    item: line.item,
                    subject: path,
                    why,
                });
            }
            let new = edit::apply(&path, present.as_deref(), &change).map_err(|why| HardenError::Edit {
                item: item.clone(),
                subject: path.clone(),
                why,
            })?;
            line.created = present.is_none();
            line.joined = present
                .as_ref()
                .is_some_and(|text| !text.is_empty() && !text.ends_with('\n'));
            line.directories = missing_parents(root, &at);
            store.append(&line)?;
            files::make_parents(&at).map_err(failed)?;
            files::replace(&at, &new).map_err(failed)?;
        }
        Edit::Link { path, after, .. } => {
            let at = root.resolve_parent(&path)?;
            line.directories = missing_parents(root, &at);
            store.append(&line)?;
            files::make_parents(&at).map_err(failed)?;
            files::relink(&at, &after).map_err(failed)?;
        }
        Edit::Mode { path, after, .. } => {
            let at = root.resolve(&path)?;
            store.append(&line)?;
            files::set_mode(&at, after).map_err(failed)?;
        }
        Edit::Runtime { name, after, .. } => {
            store.append(&line)?;
            write_sysctl(root, &name, &after)?;
        }
        Edit::CryptoTool { after, .. } => {
            store.append(&line)?;
            run(root, "/usr/bin/update-crypto-policies", &["--set", &after])?;
        }
    }
    line.stage = Stage::Done;
    store.append(&line)?;
    Ok(line)
}

fn missing_parents(root: &Root, path: &Path) -> Vec<String> {
    let mut missing: Vec<String> = path
        .ancestors()
        .skip(1)
        .take_while(|above| !above.exists() && above.starts_with(root.directory()))
        .filter_map(|above| {
            above
                .strip_prefix(root.directory())
                .ok()?
                .to_str()
                .map(|within| format!("/{within}"))
        })
        .collect();
    missing.reverse();
    missing
}

fn write_sysctl(root: &Root, name: &str, value: &str) -> Result<(), HardenError> {
    let path = root.resolve(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    fs::write(path, format!("{value}\n")).map_err(|source| HardenError::Runtime {
        name: name.to_owned(),
        value: value.to_owned(),
        source,
    })
}

/// Runs a program of the root. Only a running host has programs that may run.
fn run(root: &Root, program: &str, arguments: &[&str]) -> Result<(), HardenError> {
    let path = root.resolve(program)?;
    let output = Command::new(&path)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .output();
    let failed = |output: String| HardenError::Program {
        program: program.to_owned(),
        output,
    };
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(
            String::from_utf8_lossy(&output.stderr)
                .trim()
                .chars()
                .take(400)
                .collect(),
        )),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A configuration that sshd itself refuses is taken back at once; a good one is loaded.
fn check_sshd(store: &mut Store, root: &Root, transaction: u64) -> Result<(), HardenError> {
    if !Path::new("/usr/sbin/sshd").exists() {
        return Ok(());
    }
    if let Err(error) = run(root, "/usr/sbin/sshd", &["-t"]) {
        let lines: Vec<Line> = store
            .journal
            .in_place
            .values()
            .filter(|line| line.transaction == transaction && line.item.starts_with("sshd:"))
            .cloned()
            .collect();
        for line in lines.iter().rev() {
            undo_one(store, root, line)?;
        }
        return Err(error);
    }
    run(
        root,
        "/usr/bin/systemctl",
        &["try-reload-or-restart", "sshd.service"],
    )
}

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

fn rollback_in(store: &mut Store, root: &Root, transaction: Option<u64>) -> RollbackReport {
    let lines: Vec<Line> = store
        .journal
        .in_place
        .values()
        .rev()
        .filter(|line| transaction.is_none_or(|only| only == line.transaction))
        .cloned()
        .collect();
    let mut report = RollbackReport::default();
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
fn undo_one(
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
        Edit::CryptoTool { before, after } => {
            let config = root.read("/etc/crypto-policies/config").unwrap_or_default();
            if config.lines().any(|line| line.trim() == after) {
                run(root, "/usr/bin/update-crypto-policies", &["--set", before])?;
                ("restored", None)
            } else {
                ("kept", Some("another policy was chosen since".to_owned()))
            }
        }
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

/// The transaction that waits for confirmation, if there is one.
pub fn pending(root: &Root) -> Result<Option<Confirmation>, HardenError> {
    Ok(Store::open(root)?.pending())
}

/// Confirms the waiting transaction; `None` if there is none.
pub fn confirm(root: &Root) -> Result<Option<u64>, HardenError> {
    let store = Store::open(root)?;
    let waiting = store.pending();
    store.clear_pending()?;
    Ok(waiting.map(|pending| pending.transaction))
}

/// Rolls back a transaction whose time is up. `hardpand` and every `hardpan harden` call do this first.
pub fn expire_unconfirmed(root: &Root, now: SystemTime) -> Result<Option<RollbackReport>, HardenError> {
    let mut store = Store::open(root)?;
    let Some(waiting) = store.pending() else {
        return Ok(None);
    };
    if seconds(now) < waiting.deadline_s {
        return Ok(None);
    }
    let report = rollback_in(&mut store, root, Some(waiting.transaction));
    store.clear_pending()?;
    Ok(Some(report))
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
