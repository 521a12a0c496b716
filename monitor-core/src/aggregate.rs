//! Repeated trusted executions become one line per minute.
//!
//! A busy server runs the same few programs thousands of times a minute; records of each would be tens of gigabytes a
//! day. Nothing is dropped: what goes in comes out again as the `count` of some [`Aggregate`].

use std::collections::HashMap;
use std::hash::Hash;

/// How many events one key saw in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate<K, S> {
    /// What the events have in common.
    pub key: K,
    /// What is worth telling about them, taken from the first.
    pub sample: S,
    /// Number of events, at least 1.
    pub count: u64,
    /// Time of the first, nanoseconds since boot.
    pub first_ns: u64,
    /// Time of the last, nanoseconds since boot.
    pub last_ns: u64,
}

/// Collects events by key, in bounded memory.
#[derive(Debug)]
pub struct Aggregator<K, S> {
    window_ns: u64,
    capacity: usize,
    entries: HashMap<K, Entry<S>>,
    window_start_ns: Option<u64>,
    early_flushes: u64,
}

#[derive(Debug)]
struct Entry<S> {
    sample: S,
    count: u64,
    first_ns: u64,
    last_ns: u64,
}

impl<K: Eq + Hash, S> Aggregator<K, S> {
    /// An aggregator whose windows last `window_ns` nanoseconds and that holds at most `capacity` keys (at least one).
    pub fn new(window_ns: u64, capacity: usize) -> Self {
        Self {
            window_ns,
            capacity: capacity.max(1),
            entries: HashMap::new(),
            window_start_ns: None,
            early_flushes: 0,
        }
    }

    /// Adds an event that happened at `at_ns`. When its key is new and there is no room, everything collected so far
    /// is handed back early; the event itself is in the new window.
    pub fn add(&mut self, key: K, at_ns: u64, sample: impl FnOnce() -> S) -> Vec<Aggregate<K, S>> {
        self.add_many(key, 1, [at_ns, at_ns], sample)
    }

    /// Adds `count` events of a key, the first and the last of which happened at these times. As [`add`](Self::add).
    pub fn add_many(
        &mut self,
        key: K,
        count: u64,
        [first_ns, last_ns]: [u64; 2],
        sample: impl FnOnce() -> S,
    ) -> Vec<Aggregate<K, S>> {
        let mut flushed = Vec::new();
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.early_flushes = self.early_flushes.saturating_add(1);
            flushed = self.flush();
        }
        self.window_start_ns.get_or_insert(first_ns);
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            sample: sample(),
            count: 0,
            first_ns,
            last_ns,
        });
        entry.count = entry.count.saturating_add(count);
        // Events of different CPUs may come out of order.
        entry.first_ns = entry.first_ns.min(first_ns);
        entry.last_ns = entry.last_ns.max(last_ns);
        flushed
    }

    /// Windows last this long from now on, the one that is open too.
    pub const fn set_window(&mut self, window_ns: u64) {
        self.window_ns = window_ns;
    }

    /// What has been collected, if the window is over at `now_ns`; nothing otherwise.
    pub fn flush_due(&mut self, now_ns: u64) -> Vec<Aggregate<K, S>> {
        match self.window_start_ns {
            Some(start) if now_ns.saturating_sub(start) >= self.window_ns => self.flush(),
            _ => Vec::new(),
        }
    }

    /// What has been collected, in order of first appearance.
    pub fn flush(&mut self) -> Vec<Aggregate<K, S>> {
        self.window_start_ns = None;
        let mut all: Vec<_> = self
            .entries
            .drain()
            .map(|(key, entry)| Aggregate {
                key,
                sample: entry.sample,
                count: entry.count,
                first_ns: entry.first_ns,
                last_ns: entry.last_ns,
            })
            .collect();
        all.sort_by_key(|aggregate| (aggregate.first_ns, aggregate.last_ns));
        all
    }

    /// Events collected and not handed back yet.
    pub fn pending(&self) -> u64 {
        self.entries.values().map(|entry| entry.count).sum()
    }

    /// How often a window ended early because there was no room for another key.
    pub const fn early_flushes(&self) -> u64 {
        self.early_flushes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window() {
        let mut aggregator = Aggregator::new(60, 10);
        for (key, at) in [("ls", 100), ("cat", 105), ("ls", 103), ("ls", 130)] {
            assert!(aggregator.add(key, at, || at).is_empty());
        }
        assert_eq!(aggregator.pending(), 4);
        assert!(aggregator.flush_due(159).is_empty());
        let flushed = aggregator.flush_due(160);
        let ls = Aggregate {
            key: "ls",
            sample: 100,
            count: 3,
            first_ns: 100,
            last_ns: 130,
        };
        let cat = Aggregate {
            key: "cat",
            sample: 105,
            count: 1,
            first_ns: 105,
            last_ns: 105,
        };
        assert_eq!(flushed, [ls, cat]);
        assert!(aggregator.flush_due(1000).is_empty());
    }

    #[test]
    fn many_at_once_are_as_many_one_by_one() {
        let mut aggregator = Aggregator::new(60, 10);
        assert!(aggregator.add_many("ls", 3, [100, 130], || ()).is_empty());
        assert!(aggregator.add("ls", 90, || ()).is_empty());
        let [one] = aggregator.flush().try_into().unwrap();
        assert_eq!((one.count, one.first_ns, one.last_ns), (4, 90, 130));
    }

    #[test]
    fn no_room_flushes_early_and_is_counted() {
        let mut aggregator = Aggregator::new(60, 2);
        assert!(aggregator.add(1, 10, || ()).is_empty());
        assert!(aggregator.add(2, 11, || ()).is_empty());
        assert!(aggregator.add(2, 12, || ()).is_empty());
        assert_eq!(aggregator.add(3, 13, || ()).len(), 2);
        assert_eq!((aggregator.early_flushes(), aggregator.pending()), (1, 1));
    }

    proptest! {
        #[test]
        fn nothing_is_dropped(
            capacity in 0..5usize,
            events in prop::collection::vec((0..8u8, 0..1000u64, any::<bool>()), 0..200),
        ) {
            let mut aggregator = Aggregator::new(50, capacity);
            let total = events.len() as u64;
            let mut out = 0;
            for (key, at, tick) in events {
                out += aggregator.add(key, at, || ()).iter().map(|a| a.count).sum::<u64>();
                prop_assert!(aggregator.entries.len() <= capacity.max(1));
                if tick { out += aggregator.flush_due(at).iter().map(|a| a.count).sum::<u64>(); }
            }
            out += aggregator.flush().iter().map(|a| a.count).sum::<u64>();
            prop_assert_eq!(out, total);
        }
    }
}
