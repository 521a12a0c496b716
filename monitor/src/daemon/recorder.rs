//! Drafts become numbered lines and go to all sinks.

use crate::export::{Entry, Fates, Line, Sequence, Sink};
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
    /// What has been reported of each sink.
    reported: Vec<Reported>,
    fates: Arc<Fates>,
    /// Of the policy in force; 0 while there is none.
    epoch: u64,
}

/// What records have told of a sink.
#[derive(Debug, Clone, Copy, Default)]
struct Reported {
    /// It fails.
    fails: bool,
    /// Records that it lost.
    lost: u64,
}

impl Recorder {
    /// A recorder for these sinks.
    pub(super) fn new(host: Host, sequence: Sequence, sinks: Vec<Sink>) -> Self {
        let reported = vec![Reported::default(); sinks.len()];
        Self {
            host,
            sequence,
            sinks,
            reported,
            fates: Arc::default(),
            epoch: 0,
        }
    }

    /// Records a draft.
    pub(super) fn emit(&mut self, draft: &Draft) {
        self.emit_as(draft, Entry::Recorded);
    }

    /// Records a draft, whose events are that in the books.
    pub(super) fn emit_as(&mut self, draft: &Draft, entry: Entry) {
        let line = Arc::new(Line::new(
            draft.line(&self.host, self.sequence.take(), self.epoch),
            draft.events(),
            entry,
            self.sinks.len(),
            &self.fates,
        ));
        for sink in &self.sinks {
            sink.send(&line);
        }
    }

    /// Events of records that no sink took, since the last call: recorded and aggregated ones.
    pub(super) fn take_unwritten(&self) -> (u64, u64) {
        self.fates.take_unwritten()
    }

    /// Events of records that are written.
    pub(super) fn written(&self) -> u64 {
        self.fates.written()
    }

    /// Stamps this policy epoch from now on.
    pub(super) const fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
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

    /// Sinks that began to fail, or work again, or were too slow since the last call: told on stderr, and in a record
    /// for the sinks that still work.
    pub(super) fn check_sinks(&mut self, at_us: i64) {
        let mut findings = Vec::new();
        for (sink, reported) in self.sinks.iter().zip(&mut self.reported) {
            // Read before the counts: what was lost before the sink worked again is then among them.
            let failure = sink.stats().failure();
            let counts = sink.stats().counts();
            let lost = counts.lost_records.saturating_sub(reported.lost);
            match failure {
                Some(why) if !reported.fails => {
                    reported.fails = true;
                    error!(sink = sink.name(), %why, "cannot write records; keeping and counting them");
                    findings.push(
                        Finding::new(
                            FindingCode::SinkFailed,
                            format!("output {} cannot be written: {why}", sink.name()),
                        )
                        .hint("records wait in memory; what finds no room is counted as lost"),
                    );
                }
                None if reported.fails => {
                    *reported = Reported {
                        fails: false,
                        lost: counts.lost_records,
                    };
                    info!(sink = sink.name(), lost, "records are written again");
                    findings.push(Finding {
                        count: Some(lost),
                        ..Finding::new(
                            FindingCode::SinkRecovered,
                            format!("output {} works again; {lost} records were lost", sink.name()),
                        )
                    });
                }
                // Once it has caught up: in the middle of it another record would be one more that finds no room.
                None if lost > 0 && counts.queued_records == 0 => {
                    reported.lost = counts.lost_records;
                    findings.push(
                        Finding {
                            count: Some(lost),
                            ..Finding::new(
                                FindingCode::EventsLost,
                                format!("output {} was too slow; {lost} records were lost", sink.name()),
                            )
                        }
                        .hint("a longer queue (output.queue_records) or a faster disk"),
                    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Output;
    use hardpan_core::record::Finding;
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A disk that is full until it is not.
    #[derive(Clone, Default)]
    struct Disk {
        is_full: Arc<AtomicBool>,
        content: Arc<Mutex<Vec<u8>>>,
    }

    impl Output for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_full.load(Ordering::Acquire) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.content.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn follow(&mut self, _force: bool) -> io::Result<bool> {
            Ok(false)
        }
    }

    #[test]
    fn all_that_a_full_disk_cost_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        disk.is_full.store(true, Ordering::Release);
        let sink = Sink::start("disk", disk.clone(), 4).unwrap();
        let (sequence, saved) = Sequence::open(dir.path(), "boot", 1);
        saved.unwrap();
        let host = crate::enrich::host(dir.path());
        let mut recorder = Recorder::new(host, sequence, vec![sink]);
        let draft = Finding::new(FindingCode::EventsLost, "something").draft(0);
        // Most are lost before anybody has noticed that the disk is full.
        for _ in 0..100 {
            recorder.emit(&draft);
        }
        while recorder.sinks[0].stats().failure().is_none() {
            std::thread::yield_now();
        }
        recorder.check_sinks(0);
        for _ in 0..20 {
            recorder.emit(&draft);
        }
        disk.is_full.store(false, Ordering::Release);
        while !recorder.is_drained() {
            std::thread::yield_now();
        }
        for _ in 0..3 {
            recorder.check_sinks(0);
        }
        recorder.close().unwrap();
        while !recorder.is_finished() {
            std::thread::yield_now();
        }
        let text = String::from_utf8(disk.content.lock().unwrap().clone()).unwrap();
        let lost = recorder.lost_records();
        assert!(lost > 100, "{lost}");
        let told = format!("output disk works again; {lost} records were lost");
        assert_eq!(text.matches(&told).count(), 1, "{text}");
        assert_eq!(text.matches("works again").count(), 1, "{text}");
        // 120 of these, that the disk is full, that it is not.
        assert_eq!(text.lines().count() as u64 + lost, 122);
    }
}
