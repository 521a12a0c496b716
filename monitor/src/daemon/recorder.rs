//! Drafts become numbered lines and go to all sinks.

use crate::export::{Line, Sequence, Sink};
use hardpan_core::record::{Draft, Finding, FindingCode, Host};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::{error, info};

/// Numbers records and hands them to the sinks.
#[derive(Debug)]
pub(super) struct Recorder {
    host: Host,
    sequence: Sequence,
    sinks: Vec<Sink>,
    /// Failing sinks that have been reported, with what they had lost by then.
    reported: Vec<Option<u64>>,
}

impl Recorder {
    /// A recorder for these sinks.
    pub(super) fn new(host: Host, sequence: Sequence, sinks: Vec<Sink>) -> Self {
        let reported = sinks.iter().map(|_| None).collect();
        Self {
            host,
            sequence,
            sinks,
            reported,
        }
    }

    /// Records a draft.
    pub(super) fn emit(&mut self, draft: &Draft) {
        let line = Arc::new(Line {
            text: draft.line(&self.host, self.sequence.take()),
            events: draft.events(),
        });
        for sink in &self.sinks {
            sink.send(&line);
        }
    }

    /// The boot id, part of the ids of processes.
    pub(super) fn boot_id(&self) -> &str {
        &self.host.boot_id
    }

    /// Has files opened again.
    pub(super) fn reopen(&self) {
        for sink in &self.sinks {
            sink.reopen();
        }
    }

    /// Sinks that began to fail, or work again, since the last call: told on stderr, and in a record for the sinks
    /// that still work.
    pub(super) fn check_sinks(&mut self, at_us: i64) {
        let mut findings = Vec::new();
        for (sink, reported) in self.sinks.iter().zip(&mut self.reported) {
            let lost = sink.stats().counts().lost_records;
            match (sink.stats().failure(), *reported) {
                (Some(why), None) => {
                    *reported = Some(lost);
                    error!(sink = sink.name(), %why, "cannot write records; keeping and counting them");
                    findings.push(
                        Finding::new(
                            FindingCode::SinkFailed,
                            format!("output {} cannot be written: {why}", sink.name()),
                        )
                        .hint("records wait in memory; what finds no room is counted as lost"),
                    );
                }
                (None, Some(before)) => {
                    *reported = None;
                    let lost = lost.saturating_sub(before);
                    info!(sink = sink.name(), lost, "records are written again");
                    findings.push(Finding {
                        count: Some(lost),
                        ..Finding::new(
                            FindingCode::SinkRecovered,
                            format!("output {} works again; {lost} records were lost", sink.name()),
                        )
                    });
                }
                _ => {}
            }
        }
        for finding in findings {
            self.emit(&finding.draft(at_us));
        }
    }

    /// Counters of the sinks, by name.
    pub(super) fn counters(&self, counters: &mut BTreeMap<String, u64>) {
        for sink in &self.sinks {
            let counts = sink.stats().counts();
            for (what, value) in [
                ("written_records", counts.written_records),
                ("written_events", counts.written_events),
                ("lost_records", counts.lost_records),
                ("lost_events", counts.lost_events),
            ] {
                counters.insert(format!("output_{}_{what}", sink.name()), value);
            }
        }
    }

    /// Records lost at any sink.
    pub(super) fn lost_records(&self) -> u64 {
        self.sinks
            .iter()
            .map(|sink| sink.stats().counts().lost_records)
            .sum()
    }

    /// Everything accepted so far is written or given up.
    pub(super) fn is_drained(&self) -> bool {
        self.sinks
            .iter()
            .all(|sink| sink.stats().counts().queued_records == 0)
    }

    /// Ends the sinks' input and notes the next number.
    pub(super) fn close(&mut self) -> std::io::Result<()> {
        for sink in &mut self.sinks {
            sink.close();
        }
        self.sequence.close()
    }

    /// The sinks' threads have ended.
    pub(super) fn is_finished(&self) -> bool {
        self.sinks.iter().all(Sink::is_finished)
    }
}
