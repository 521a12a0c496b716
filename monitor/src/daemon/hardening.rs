//! Watches over what `hardpan harden apply` did: takes back what nobody confirmed in time, tells what changed since.

use crate::chain::chain;
use crate::harden::{self, Root};
use hardpan_core::record::{Finding, FindingCode};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Between two looks whether a confirmation is overdue.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// Looks as long as somebody listens, at everything that was hardened each `interval`. A look at all that drifted is sent whole, so that what was told before is not
/// told again.
pub(super) async fn watch(root: PathBuf, interval: Duration, findings: mpsc::Sender<Look>) {
    let mut due = Instant::now();
    loop {
        let at_drift = Instant::now() >= due;
        if at_drift {
            due = Instant::now() + interval;
        }
        let root = root.clone();
        let look = tokio::task::spawn_blocking(move || look(&root, at_drift, SystemTime::now())).await;
        let Ok(look) = look else { return };
        let is_news = look.drift.is_some() || !look.events.is_empty();
        if is_news && findings.send(look).await.is_err() {
            return;
        }
        tokio::time::sleep(CONFIRMATION.min(interval)).await;
    }
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// What happened now.
    pub events: Vec<Finding>,
    /// All that differs, if this look was at that.
    pub drift: Option<Vec<Finding>>,
}

fn look(root: &std::path::Path, at_drift: bool, now: SystemTime) -> Look {
    let mut look = Look::default();
    let root = match Root::new(root) {
        Ok(root) => root,
        Err(error) => {
            look.drift = at_drift.then(|| vec![failed(&error)]);
            return look;
        }
    };
    // Where nobody hardened anything there is nothing to open, and nothing to create.
    if !harden::was_applied(&root) {
        return look;
    }
    if harden::awaits_confirmation(&root) {
        match harden::expire_unconfirmed(&root, now) {
            Ok(None) => {}
            Ok(Some(report)) => look.events.push(rolled_back(&report)),
            Err(error) => look.events.push(failed(&error)),
        }
    }
    if at_drift || !look.events.is_empty() {
        look.drift = Some(match harden::drift(&root) {
            Ok(drifts) => drifts.iter().map(drifted).collect(),
            Err(error) => vec![failed(&error)],
        });
    }
    look
}

fn failed(error: &dyn std::error::Error) -> Finding {
    Finding::new(FindingCode::HardeningFailed, chain(error))
        .hint("`hardpan harden drift` looks at the same; what was applied is in /var/lib/hardpan/harden")
}

fn rolled_back(report: &harden::RollbackReport) -> Finding {
    let failed = report.edits.iter().filter(|edit| edit.what == "failed").count();
    let items: Vec<&str> = report.edits.iter().map(|edit| edit.item.as_str()).collect();
    let rest = if failed > 0 {
        format!("; {failed} could not be taken back, which is tried again within the hour")
    } else {
        String::new()
    };
    Finding::new(
        FindingCode::HardeningRolledBack,
        format!(
            "nobody confirmed the hardening in time, it was taken back: {}{rest}",
            items.join(", ")
        ),
    )
    .hint("`hardpan harden plan` shows how things stand now")
}

fn drifted(drift: &harden::Drift) -> Finding {
    Finding::new(
        FindingCode::HardeningDrift,
        format!(
            "{}: {} is no longer as hardened: wanted {:?}, found {:?}",
            drift.item, drift.subject, drift.wanted, drift.found
        ),
    )
    .hint("`hardpan harden apply` sets it again, `hardpan harden rollback` gives it up")
}
