//! Keeps trust up to date: reads database and manifests, watches them, reads them again.
//!
//! A reading looks at every package, and computes only signatures that the last one did not find good: this program
//! remembers these in memory and hands them to the child that reads ([`hardpan_rpm::Proven`]). So that transactions one
//! after the other do not cause one reading each, a reading waits until nothing has changed between two looks, though
//! not for ever.

use super::child::{Reading, TrustError, read};
use super::index::LoadedTrust;
use super::watch::Stamp;
use crate::config::Trust;
use crate::enrich::clock::unix_us;
use hardpan_core::record::{Finding, FindingCode};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// Time after which a reading that failed is tried again even if nothing changed.
const RETRY: Duration = Duration::from_secs(60);
/// Looks after which it is read although it still changes.
const MAX_LOOKS: u32 = 6;

/// News about trust.
#[derive(Debug)]
pub struct TrustUpdate {
    /// What is trusted from now on; `None` leaves things as they are.
    pub trust: Option<Arc<LoadedTrust>>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Reads and watches until the receiver is gone. `reload` asks for a reading at once.
///
/// `config` changes with the policy: whose signatures count is its business too.
pub async fn keep(
    mut config: watch::Receiver<Trust>,
    updates: mpsc::Sender<TrustUpdate>,
    reload: Arc<Notify>,
) {
    let mut current: Option<Arc<LoadedTrust>> = None;
    loop {
        let config_now = config.borrow_and_update().clone();
        let stamp = Stamp::of(&config_now);
        let result = read(&config_now, current.as_deref()).await;
        let failed = result.is_err();
        let update = match result {
            Ok(Reading { trust, mut findings }) => {
                if !trust.state.loaded {
                    findings.push(empty(&trust));
                }
                let trust = Arc::new(trust);
                current = Some(Arc::clone(&trust));
                TrustUpdate {
                    trust: Some(trust),
                    findings,
                }
            }
            Err(error) => TrustUpdate {
                trust: None,
                findings: vec![unreadable(&config_now, &error, current.is_some())],
            },
        };
        if updates.send(update).await.is_err() {
            return;
        }
        tokio::select! {
            () = reload.notified() => {}
            // Without a sender nothing changes any more.
            Ok(()) = config.changed() => {}
            () = changed(config_now.poll, &stamp, || Stamp::of(&config_now)) => {}
            () = expired(current.as_deref()) => {}
            () = tokio::time::sleep(RETRY), if failed => {}
            () = updates.closed() => return,
        }
    }
}

/// Returns once things differ from `stamp` and have been quiet for one look, or differed for [`MAX_LOOKS`].
async fn changed(poll: Duration, stamp: &Stamp, look: impl Fn() -> Stamp) {
    let mut last = stamp.clone();
    let mut n_looks = 0;
    loop {
        tokio::time::sleep(poll).await;
        let now = look();
        if now == *stamp {
            n_looks = 0;
        } else {
            n_looks += 1;
            if now == last || n_looks >= MAX_LOOKS {
                return;
            }
        }
        last = now;
    }
}

/// Returns when the first of the manifests that count has expired. Waits by the clock of day, which may be set: so it
/// looks every minute.
async fn expired(trust: Option<&LoadedTrust>) {
    let Some(expiry) = trust.and_then(|trust| trust.local.next_expiry()) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(RETRY).await;
        if unix_us().is_ok_and(|now| now / 1_000_000 >= expiry) {
            return;
        }
    }
}

fn empty(trust: &LoadedTrust) -> Finding {
    Finding {
        path: Some(trust.state.database.as_str().into()),
        count: Some(trust.state.packages_total),
        ..Finding::new(
            FindingCode::TrustEmpty,
            format!(
                "none of the {} packages in {} has a good signature by a pinned key: nothing is trusted",
                trust.state.packages_total, trust.state.database
            ),
        )
        .hint("pin the keys of your vendor in /etc/hardpan/keys.d, or check trust.root and trust.keyring")
    }
}

fn unreadable(config: &Trust, error: &TrustError, keeps_old: bool) -> Finding {
    let mut message = format!(
        "the package database below {} cannot be read: {error}",
        config.root.display()
    );
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    let hint = if keeps_old {
        "verdicts go by the last good reading; tried again every minute"
    } else {
        "every verdict is \"unverified\" until it can be read; is this an RPM system? see trust.root and trust.dbpath"
    };
    Finding {
        path: Some(config.root.display().to_string().as_str().into()),
        ..Finding::new(FindingCode::RpmdbUnreadable, message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::cell::Cell;
    use std::fs;

    /// Counts the looks until a reading is due, where the database changes with each of the first `changes` looks.
    async fn looks(changes: u32) -> u32 {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("var/lib/rpm/rpmdb.sqlite");
        fs::create_dir_all(database.parent().unwrap()).unwrap();
        fs::write(&database, "").unwrap();
        let config = Trust {
            root: dir.path().to_owned(),
            state_dir: dir.path().join("state"),
            pins: Vec::new(),
            keyring: Vec::new(),
            ..Config::default().trust
        };
        let stamp = Stamp::of(&config);
        let n_looks = Cell::new(0);
        let look = || {
            n_looks.set(n_looks.get() + 1);
            if n_looks.get() <= changes {
                fs::write(&database, "x".repeat(n_looks.get() as usize)).unwrap();
            }
            Stamp::of(&config)
        };
        changed(Duration::from_millis(1), &stamp, look).await;
        n_looks.get()
    }

    #[tokio::test]
    async fn a_transaction_is_waited_for_and_an_endless_one_is_not() {
        assert_eq!(looks(1).await, 2);
        assert_eq!(looks(3).await, 4);
        assert_eq!(looks(u32::MAX).await, MAX_LOOKS);
    }
}
