//! Executions that are only counted, here or in the kernel.

use super::Pipeline;
use crate::daemon::execs::{self, Surroundings};
use crate::daemon::policy::InForce;
use crate::daemon::source::EventSource;
use crate::export::Entry;
use hardpan_abi::TallyKey;
use hardpan_core::aggregate::Aggregate;
use hardpan_core::event::{Exec, RawText};
use hardpan_core::record::{ExecFacts, ExecSummary, exec_aggregate};
use hardpan_core::verdict::{ExecVerdict, Verdict};
use std::sync::Arc;

/// Set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;

/// What a tally's executions are added to.
#[derive(Debug, Clone)]
pub(super) struct Tallied {
    key: ExecKey,
    sample: ExecSummary,
    /// Place of the rule that decided about the first, in the policy that was in force then.
    rule: Option<usize>,
    policy: Option<Arc<InForce>>,
}

/// What executions must share to be counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ExecKey {
    file: [u8; 32],
    script: Option<[u8; 32]>,
    parent: RawText,
    uid: u32,
}

impl Pipeline {
    /// Counts a trusted exec together with its like. `false` if it is not one after all.
    pub(super) fn aggregate(
        &mut self,
        event: &Exec,
        around: &Surroundings,
        facts: &ExecFacts,
        verdict: &ExecVerdict,
        rule: Option<usize>,
    ) -> bool {
        let (Verdict::Trusted(file), Ok(digest)) = (&verdict.file, &facts.file.digest) else {
            return false;
        };
        let script = match (&facts.script, &verdict.script) {
            (Some(facts), Some(Verdict::Trusted(owner))) => {
                let Ok(digest) = &facts.digest else { return false };
                Some((
                    facts.path.as_ref().map(|(path, _)| path.clone()),
                    digest.sha256,
                    owner.clone(),
                ))
            }
            (None, None) => None,
            _ => return false,
        };
        let task = &event.head.task;
        let parent = around
            .parent_executable
            .clone()
            .unwrap_or_else(|| task.parent_comm.clone());
        let key = ExecKey {
            file: digest.sha256,
            script: script.as_ref().map(|(_, sha256, _)| *sha256),
            parent: parent.clone(),
            uid: event.creds.euid,
        };
        let users = &self.users;
        let summary = || ExecSummary {
            executable: facts.file.path.as_ref().map(|(path, _)| path.clone()),
            sha256: digest.sha256,
            file: file.clone(),
            script: script.clone(),
            parent: parent.clone(),
            uid: event.creds.euid,
            user_name: users.name(event.creds.euid),
        };
        // If one of its like is sure to be added, too, the kernel need only count it.
        if self.policy.as_ref().is_none_or(|policy| policy.may_tally)
            && let Some(tally) = tally_key(event)
        {
            self.tallies.want(tally, || Tallied {
                key: key.clone(),
                sample: summary(),
                rule,
                policy: self.policy.clone(),
            });
        }
        let flushed = self.aggregator.add(key, event.head.boottime_ns, summary);
        self.record_aggregates(&flushed);
        true
    }

    pub(super) fn record_aggregates(&mut self, flushed: &[Aggregate<ExecKey, ExecSummary>]) {
        for aggregate in flushed {
            let [first_us, last_us] =
                [aggregate.first_ns, aggregate.last_ns].map(|ns| self.clock.unix_us(ns));
            let draft = exec_aggregate(aggregate, last_us, first_us, last_us);
            self.ledger.aggregated = self.ledger.aggregated.saturating_add(draft.events());
            self.recorder.emit_as(&draft, Entry::Aggregated);
        }
    }

    /// Puts out what has been aggregated.
    pub(in crate::daemon) fn flush(&mut self) {
        let rest = self.aggregator.flush();
        self.record_aggregates(&rest);
    }

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
            let Tallied {
                key,
                sample,
                rule,
                policy,
            } = counted.what;
            if let Some(policy) = &policy {
                policy.tallied(rule, counted.count);
            }
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
fn tally_key(event: &Exec) -> Option<TallyKey> {
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
