//! Executions that the kernel only counts.

use super::{ExecKey, Pipeline};
use crate::daemon::execs;
use crate::daemon::source::EventSource;
use hardpan_abi::TallyKey;
use hardpan_core::event::Exec;
use hardpan_core::record::ExecSummary;

/// Set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;

/// What a tally's executions are added to.
#[derive(Debug, Clone)]
pub(super) struct Tallied {
    key: ExecKey,
    sample: ExecSummary,
}

impl Tallied {
    pub(super) fn new(key: &ExecKey, sample: ExecSummary) -> Self {
        Self {
            key: key.clone(),
            sample,
        }
    }
}

impl Pipeline {
    /// Tells the kernel what it need only count.
    pub(in crate::daemon) fn tell_tallies(
        &mut self,
        source: &mut impl EventSource,
        now_ns: impl FnOnce() -> u64,
    ) {
        if self.tallies.is_due()
            && let Some(maps) = source.tallies()
        {
            self.tallies.tell(maps, now_ns());
        }
    }

    /// Takes what the kernel has counted.
    pub(in crate::daemon) fn take_tallies(&mut self, source: &mut impl EventSource, now_ns: u64) {
        let Some(maps) = source.tallies() else { return };
        for counted in self.tallies.take(maps, now_ns) {
            self.ledger.received = self.ledger.received.saturating_add(counted.count);
            if let Some(policy) = &self.policy {
                policy.tallied(counted.count);
            }
            let Tallied { key, sample } = counted.what;
            let flushed = self
                .aggregator
                .add_many(key, counted.count, counted.span_ns, || sample);
            self.record_aggregates(&flushed);
        }
    }

    /// From now on each execution gets its record; what was counted can still be taken.
    pub(in crate::daemon) fn end_tallies(&mut self, source: &mut impl EventSource) {
        if let Some(maps) = source.tallies() {
            self.tallies.end(maps);
        }
    }
}

/// What executions share with this one that the kernel can tell by itself; `None` where the kernel does not look for it.
pub(super) fn tally_key(event: &Exec) -> Option<TallyKey> {
    let sha256 = event.digest.sha256().filter(|_| event.seen_by_lsm)?;
    if execs::has_script(event) || event.no_link || event.file.mode & SET_ID != 0 {
        return None;
    }
    Some(TallyKey {
        digest: zerocopy::transmute!(*sha256),
        parent: event.head.task.parent_exe?,
        euid: event.creds.euid,
        reserved: 0,
    })
}
