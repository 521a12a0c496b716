//! `apply`.
//!
//! Each edit is written to the journal before and after it is made, so that a crash at any moment leaves something
//! `rollback` can take back. Items are planned one by one right before they are made: two items may edit one line.

use super::files::{self, FileError};
use super::rollback::undo_one;
use super::root::{Root, RootError};
use super::store::Store;
use super::tools::{run, set, text_of, write_sysctl};
use crate::chain::chain;
use hardpan_core::policy::Resolved;
use hardpan_core::policy::harden::edit::{self, Edit, Tool};
use hardpan_core::policy::harden::journal::{JOURNAL_VERSION, Line, Stage};
use hardpan_core::policy::harden::plan::{self, Entry, State};
use hardpan_core::policy::harden::{Host as _, Item};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
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
    take_back_halves(&mut store, root)?;
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
                    // What could not be taken back is in force: it waits for confirmation like any other change.
                    let is_left = store
                        .journal
                        .in_place
                        .values()
                        .any(|line| line.transaction == transaction && line.item == item.id);
                    applied.changed |= is_left;
                    applied.confirmation_needed |= guarded && is_left && item.needs_confirmation;
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

/// Takes back changes of mode, owner and crypto policy that a crash interrupted: they are made in several steps, and
/// what lies between can look as if nothing was left to do. Every other edit is made in one.
fn take_back_halves(store: &mut Store, root: &Root) -> Result<(), HardenError> {
    let halves: Vec<Line> = store
        .journal
        .in_place
        .values()
        .rev()
        .filter(|line| line.stage == Stage::Intended)
        .filter(|line| {
            matches!(
                line.change,
                Edit::Mode { .. }
                    | Edit::Tool {
                        tool: Tool::CryptoPolicy,
                        ..
                    }
            )
        })
        .cloned()
        .collect();
    for line in &halves {
        undo_one(store, root, line)?;
    }
    Ok(())
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
            capability: None,
            text: None,
        };
        let key = (transaction, *number);
        *number += 1;
        match make_one(store, root, line) {
            Ok(line) => made.push(line),
            Err(error) => {
                // Also the one that failed, if it was begun: a tool that reports a failure may have set the value.
                // Not firewalld's zone: a call that was not answered in time may still be worked on.
                let begun = store.journal.in_place.get(&key).filter(|line| {
                    !matches!(
                        line.change,
                        Edit::Tool {
                            tool: Tool::FirewallZone,
                            ..
                        }
                    )
                });
                let begun = begun.cloned();
                for line in begun.iter().chain(made.iter().rev()) {
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
            line.capability = files::capability(&at)
                .map_err(|source| {
                    failed(FileError::Mode {
                        path: at.clone(),
                        source,
                    })
                })?
                .map(hex::encode);
            store.append(&line)?;
            files::set_mode(&at, after, None).map_err(failed)?;
        }
        Edit::Runtime { name, after, .. } => {
            store.append(&line)?;
            write_sysctl(root, &name, &after)?;
        }
        Edit::Tool { tool, after, .. } => {
            line.text = text_of(root, &tool);
            store.append(&line)?;
            set(root, &tool, &after)?;
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
