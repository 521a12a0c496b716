//! Transactions that take themselves back unless somebody confirms that he can still get in.

use super::rollback::{RollbackReport, rollback_in};
use super::root::Root;
use super::run::HardenError;
use super::store::{Confirmation, Store, seconds};
use std::time::SystemTime;

/// Whether anything was ever applied here. Opens nothing.
pub fn was_applied(root: &Root) -> bool {
    Store::exists(root, "journal.jsonl")
}

/// Whether a transaction waits for confirmation. Opens nothing.
pub fn awaits_confirmation(root: &Root) -> bool {
    Store::exists(root, "pending.json")
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

/// Shortest and longest time until what could not be taken back is tried again, seconds; in between as long as it was
/// tried already.
const AGAIN_S: (u64, u64) = (60, 3600);

/// Rolls back a transaction whose time is up. `hardpand` and every `hardpan harden` call do this first. What cannot be
/// taken back (firewalld does not answer) still waits for confirmation, and is tried again.
pub fn expire_unconfirmed(root: &Root, now: SystemTime) -> Result<Option<RollbackReport>, HardenError> {
    let mut store = Store::open(root)?;
    let Some(waiting) = store.pending() else {
        return Ok(None);
    };
    if seconds(now) < waiting.deadline_s {
        return Ok(None);
    }
    let report = rollback_in(&mut store, root, Some(waiting.transaction));
    if report.edits.iter().any(|edit| edit.what == "failed") {
        let tried_s = waiting.tried_s.unwrap_or_else(|| seconds(now));
        let (least, most) = AGAIN_S;
        let again = seconds(now).saturating_sub(tried_s).clamp(least, most);
        store.write_pending(&Confirmation {
            deadline_s: seconds(now).saturating_add(again),
            tried_s: Some(tried_s),
            ..waiting
        })?;
    } else {
        store.clear_pending()?;
    }
    Ok(Some(report))
}
