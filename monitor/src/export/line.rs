//! A record on its way out, and whether any output took it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What the books call the events of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Recorded: a line of their own.
    Recorded,
    /// Aggregated: counted in a line together.
    Aggregated,
}

/// What became of the events of lines.
#[derive(Debug, Default)]
pub struct Fates {
    written: AtomicU64,
    unwritten_recorded: AtomicU64,
    unwritten_aggregated: AtomicU64,
}

impl Fates {
    /// Events in lines that at least one output has written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Events in lines that no output took, since the last call: that were called recorded, and aggregated.
    pub fn take_unwritten(&self) -> (u64, u64) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::AcqRel);
        (take(&self.unwritten_recorded), take(&self.unwritten_aggregated))
    }

    fn lost(&self, entry: Entry, events: u64) {
        let counter = match entry {
            Entry::Recorded => &self.unwritten_recorded,
            Entry::Aggregated => &self.unwritten_aggregated,
        };
        counter.fetch_add(events, Ordering::AcqRel);
    }
}

/// A record on its way to some outputs.
#[derive(Debug)]
pub struct Line {
    /// The text, newline included.
    pub text: String,
    /// Kernel events it stands for.
    pub events: u64,
    entry: Entry,
    /// Outputs that have neither written nor dropped it.
    outputs: AtomicUsize,
    is_written: AtomicBool,
    fates: Arc<Fates>,
}

impl Line {
    /// A line that so many outputs will be given. `fates` is told what became of it.
    pub fn new(text: String, events: u64, entry: Entry, outputs: usize, fates: &Arc<Fates>) -> Self {
        Self {
            text,
            events,
            entry,
            outputs: AtomicUsize::new(outputs),
            is_written: AtomicBool::new(false),
            fates: Arc::clone(fates),
        }
    }

    /// One output has written or dropped it.
    pub(super) fn settle(&self, is_written: bool) {
        if is_written && !self.is_written.swap(true, Ordering::AcqRel) {
            self.fates.written.fetch_add(self.events, Ordering::AcqRel);
        }
        let was_last = self.outputs.fetch_sub(1, Ordering::AcqRel) == 1;
        if was_last && !self.is_written.load(Ordering::Acquire) {
            self.fates.lost(self.entry, self.events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_is_what_no_output_took() {
        let fates = Arc::default();
        let line = |entry| Line::new("x\n".to_owned(), 3, entry, 2, &fates);
        for (entry, outcomes, lost) in [
            (Entry::Recorded, [true, true], (0, 0)),
            (Entry::Recorded, [true, false], (0, 0)),
            (Entry::Aggregated, [false, true], (0, 0)),
            (Entry::Recorded, [false, false], (3, 0)),
            (Entry::Aggregated, [false, false], (0, 3)),
        ] {
            let line = line(entry);
            for outcome in outcomes {
                line.settle(outcome);
            }
            assert_eq!(fates.take_unwritten(), lost, "{entry:?} {outcomes:?}");
        }
        assert_eq!(fates.take_unwritten(), (0, 0));
        assert_eq!(fates.written(), 9, "however many outputs wrote it");
    }
}
