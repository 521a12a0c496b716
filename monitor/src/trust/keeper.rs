//! Keeps the trust database up to date: reads it, watches it, reads it again.

use super::child::{Reading, TrustError, read};
use super::index::LoadedTrust;
use super::watch::DatabaseStamp;
use crate::config::Trust;
use hardpan_core::record::{Finding, FindingCode};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Time after which a reading that failed is tried again even if nothing changed.
const RETRY: Duration = Duration::from_secs(60);

/// News about trust.
#[derive(Debug)]
pub struct TrustUpdate {
    /// What is trusted from now on; `None` leaves things as they are.
    pub trust: Option<Arc<LoadedTrust>>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Reads and watches until the receiver is gone. `reload` asks for a reading at once.
pub async fn keep(config: Trust, updates: mpsc::Sender<TrustUpdate>, reload: Arc<Notify>) {
    let look = || DatabaseStamp::of(&config.root, config.dbpath.as_deref());
    let mut current: Option<Arc<LoadedTrust>> = None;
    loop {
        let stamp = look();
        let result = read(&config, current.as_ref().map(|trust| &trust.index)).await;
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
                findings: vec![unreadable(&config, &error, current.is_some())],
            },
        };
        if updates.send(update).await.is_err() {
            return;
        }
        tokio::select! {
            () = reload.notified() => {}
            () = changed(&config, &stamp, look) => {}
            () = tokio::time::sleep(RETRY), if failed => {}
            () = updates.closed() => return,
        }
    }
}

/// Returns once the database differs from `stamp` and has been quiet for one look.
async fn changed(config: &Trust, stamp: &DatabaseStamp, look: impl Fn() -> DatabaseStamp) {
    let mut last = stamp.clone();
    loop {
        tokio::time::sleep(config.poll).await;
        let now = look();
        if now != *stamp && now == last {
            return;
        }
        last = now;
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
