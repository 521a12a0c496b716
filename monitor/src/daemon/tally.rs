//! Which executions the kernel only counts, and what it has counted.
//!
//! An execution that was judged and would only be added to an aggregate is counted in the kernel from then on: further ones
//! with the same content, parent and user wake nobody. What was counted is taken every second. The permission to count runs
//! out by itself when the daemon no longer renews it: it is to be told of what happens while it stands still or is gone.

use crate::sensor::Tallies;
use hardpan_abi::{TALLIES_MAX, TallyKey, TallySlot};
use std::collections::{HashMap, VecDeque};

const SECOND_NS: u64 = 1_000_000_000;
/// How long the kernel may count without hearing from the daemon.
const PERMITTED_NS: u64 = 3 * SECOND_NS;
/// A key that was not seen for so long gives its tally back.
const IDLE_NS: u64 = 120 * SECOND_NS;
/// A tally without a key rests before the next gets it: an execution may have begun under the last one.
const REST_NS: u64 = 60 * SECOND_NS;

/// Executions that were counted since the last look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted<S> {
    /// What they have in common.
    pub what: S,
    /// How many.
    pub count: u64,
    /// When the first was (at the earliest) and the last, nanoseconds since boot.
    pub span_ns: [u64; 2],
}

/// Who has which tally.
#[derive(Debug)]
pub(super) struct Keeper<S> {
    wanted: HashMap<TallyKey, S>,
    keys: HashMap<TallyKey, u32>,
    slots: Vec<Slot<S>>,
    /// Without a key, and since when.
    resting: VecDeque<(u64, u32)>,
    looked_ns: u64,
    is_stale: bool,
    /// There was no room at the last try: not before the next look is there any.
    is_full: bool,
}

#[derive(Debug)]
struct Slot<S> {
    key: TallyKey,
    what: S,
    turn: u32,
    /// Counted, and taken.
    taken: u64,
    seen_ns: u64,
}

impl<S> Default for Keeper<S> {
    fn default() -> Self {
        Self {
            wanted: HashMap::new(),
            keys: HashMap::new(),
            slots: Vec::new(),
            resting: VecDeque::new(),
            looked_ns: 0,
            is_stale: false,
            is_full: false,
        }
    }
}

impl<S: Clone> Keeper<S> {
    /// Executions with this key need no record from now on, as soon as there is a tally for them.
    pub(super) fn want(&mut self, key: TallyKey, what: impl FnOnce() -> S) {
        if self.is_full || self.keys.contains_key(&key) || self.wanted.len() >= TALLIES_MAX as usize {
            return;
        }
        self.wanted.entry(key).or_insert_with(what);
    }

    /// What was judged may be judged otherwise now: all begins anew.
    pub(super) fn forget(&mut self) {
        self.wanted.clear();
        self.is_stale = true;
    }

    /// There is something to tell the kernel.
    pub(super) fn is_due(&self) -> bool {
        self.is_stale || !self.wanted.is_empty()
    }

    /// Tells it.
    pub(super) fn tell(&mut self, maps: &mut dyn Tallies, now_ns: u64) {
        if std::mem::take(&mut self.is_stale) {
            for (key, slot) in std::mem::take(&mut self.keys) {
                self.rest(maps, &key, slot, now_ns);
            }
        }
        let had_none = self.keys.is_empty();
        for (key, what) in std::mem::take(&mut self.wanted) {
            // Without room, or where the kernel says no, it gets records.
            let Some(slot) = self.free_slot(maps) else {
                self.is_full = true;
                break;
            };
            let turn = self.turn_of(slot);
            if maps.give(&key, TallySlot { slot, turn }).is_err() {
                self.resting.push_front((0, slot));
                continue;
            }
            self.keys.insert(key, slot);
            if let Some(entry) = usize::try_from(slot)
                .ok()
                .and_then(|slot| self.slots.get_mut(slot))
            {
                (entry.key, entry.what, entry.seen_ns) = (key, what, now_ns);
            } else {
                self.slots.push(Slot {
                    key,
                    what,
                    turn,
                    taken: 0,
                    seen_ns: now_ns,
                });
            }
        }
        if had_none {
            self.looked_ns = now_ns;
            self.renew(maps, now_ns);
        }
    }

    /// Takes what was counted since the last time, and lets the kernel go on.
    pub(super) fn take(&mut self, maps: &mut dyn Tallies, now_ns: u64) -> Vec<Counted<S>> {
        let mut all = Vec::new();
        let mut idle = Vec::new();
        for (number, slot) in (0u32..).zip(&mut self.slots) {
            // What cannot be read stays there; if it stays for good, the books at the end tell.
            let Ok(tally) = maps.read(number) else { continue };
            let count = tally.count.wrapping_sub(slot.taken);
            if count > 0 {
                // Between two looks only the time of the last one is known.
                let first_ns = if count == 1 {
                    tally.last_ns
                } else {
                    self.looked_ns.min(tally.last_ns)
                };
                slot.taken = tally.count;
                slot.seen_ns = now_ns;
                all.push(Counted {
                    what: slot.what.clone(),
                    count,
                    span_ns: [first_ns, tally.last_ns],
                });
            } else if now_ns.saturating_sub(slot.seen_ns) >= IDLE_NS
                && self.keys.get(&slot.key) == Some(&number)
            {
                idle.push((slot.key, number));
            }
        }
        for (key, slot) in idle {
            self.keys.remove(&key);
            self.rest(maps, &key, slot, now_ns);
        }
        self.looked_ns = now_ns;
        self.is_full = false;
        self.renew(maps, now_ns);
        all
    }

    /// The kernel counts nothing from now on; what it has counted can still be taken.
    pub(super) fn end(&mut self, maps: &mut dyn Tallies) {
        self.forget();
        self.tell(maps, self.looked_ns);
        let _runs_out = maps.renew(0);
    }

    fn renew(&self, maps: &mut dyn Tallies, now_ns: u64) {
        let until_ns = if self.keys.is_empty() {
            0
        } else {
            now_ns.saturating_add(PERMITTED_NS)
        };
        // Where that fails each execution has its record again, soon.
        if let Err(error) = maps.renew(until_ns) {
            tracing::debug!(%error, "ignoring that executions cannot be counted in the kernel");
        }
    }

    fn rest(&mut self, maps: &mut dyn Tallies, key: &TallyKey, slot: u32, now_ns: u64) {
        if let Err(error) = maps.take_away(key) {
            tracing::debug!(%error, "ignoring that a tally keeps its key: its turn is over");
        }
        self.resting.push_back((now_ns, slot));
    }

    fn turn_of(&self, slot: u32) -> u32 {
        let slot = usize::try_from(slot).ok().and_then(|slot| self.slots.get(slot));
        slot.map_or(0, |slot| slot.turn)
    }

    /// A tally for the next key: one that has rested, whose last counts have been taken since, or a new one.
    fn free_slot(&mut self, maps: &mut dyn Tallies) -> Option<u32> {
        let new = u32::try_from(self.slots.len()).ok()?;
        if let Some((since_ns, slot)) = self.resting.front().copied() {
            let entry = usize::try_from(slot)
                .ok()
                .and_then(|slot| self.slots.get_mut(slot));
            match entry {
                // It has never had a key.
                None => {
                    self.resting.pop_front();
                    return Some(slot);
                }
                Some(entry) if self.looked_ns.saturating_sub(since_ns) >= REST_NS => {
                    let turn = entry.turn.wrapping_add(1);
                    if maps.set_turn(TallySlot { slot, turn }).is_ok() {
                        entry.turn = turn;
                        self.resting.pop_front();
                        return Some(slot);
                    }
                }
                Some(_) => {}
            }
        }
        (new < TALLIES_MAX).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_abi::{FileId, Tally};
    use std::io;

    /// The kernel's side of it.
    #[derive(Default)]
    struct Kernel {
        until_ns: u64,
        keys: HashMap<TallyKey, TallySlot>,
        tallies: HashMap<u32, Tally>,
    }

    impl Kernel {
        /// An execution. `false`: it got a record.
        fn execute(&mut self, key: &TallyKey, at_ns: u64) -> bool {
            self.began(key, at_ns)
                .is_some_and(|slot| self.succeeded(slot, at_ns))
        }

        fn began(&self, key: &TallyKey, at_ns: u64) -> Option<TallySlot> {
            self.keys.get(key).copied().filter(|_| at_ns < self.until_ns)
        }

        fn succeeded(&mut self, slot: TallySlot, at_ns: u64) -> bool {
            let tally = self.tallies.entry(slot.slot).or_default();
            if tally.turn != slot.turn {
                return false;
            }
            tally.count += 1;
            tally.last_ns = at_ns;
            true
        }
    }

    impl Tallies for Kernel {
        fn renew(&mut self, until_ns: u64) -> io::Result<()> {
            self.until_ns = until_ns;
            Ok(())
        }

        fn give(&mut self, key: &TallyKey, slot: TallySlot) -> io::Result<()> {
            assert!(
                self.keys.values().all(|other| other.slot != slot.slot),
                "one key each"
            );
            self.keys.insert(*key, slot);
            Ok(())
        }

        fn take_away(&mut self, key: &TallyKey) -> io::Result<()> {
            self.keys
                .remove(key)
                .map(drop)
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn set_turn(&mut self, slot: TallySlot) -> io::Result<()> {
            self.tallies.entry(slot.slot).or_default().turn = slot.turn;
            Ok(())
        }

        fn read(&self, slot: u32) -> io::Result<Tally> {
            Ok(self.tallies.get(&slot).copied().unwrap_or_default())
        }
    }

    fn key(n: u64) -> TallyKey {
        TallyKey {
            digest: [n; 4],
            parent: FileId {
                ino: 1,
                dev: 1,
                generation: 1,
            },
            euid: 0,
            reserved: 0,
        }
    }

    const S: u64 = SECOND_NS;

    fn counts(counted: &[Counted<&'static str>]) -> Vec<(&'static str, u64)> {
        let mut counts: Vec<_> = counted.iter().map(|one| (one.what, one.count)).collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn what_is_wanted_is_counted_and_taken_once() {
        let (mut kernel, mut keeper) = (Kernel::default(), Keeper::default());
        assert!(!keeper.is_due() && !kernel.execute(&key(1), S));
        keeper.want(key(1), || "ls");
        keeper.want(key(2), || "cat");
        assert!(keeper.is_due());
        keeper.tell(&mut kernel, S);
        assert!(!keeper.is_due());
        keeper.want(key(1), || panic!("it has one"));
        for at in [S + 1, S + 5, S + 9] {
            assert!(kernel.execute(&key(1), at));
        }
        assert!(kernel.execute(&key(2), S + 7));
        let counted = keeper.take(&mut kernel, 2 * S);
        assert_eq!(counts(&counted), [("cat", 1), ("ls", 3)]);
        for one in &counted {
            let first = if one.count == 1 { S + 7 } else { S };
            let last = if one.count == 1 { S + 7 } else { S + 9 };
            assert_eq!(one.span_ns, [first, last]);
        }
        assert!(keeper.take(&mut kernel, 3 * S).is_empty());
    }

    /// Stopped, hung or killed: whoever comes next finds records.
    #[test]
    fn without_the_daemon_nothing_is_only_counted() {
        let (mut kernel, mut keeper) = (Kernel::default(), Keeper::default());
        keeper.want(key(1), || "ls");
        keeper.tell(&mut kernel, S);
        assert!(kernel.execute(&key(1), 3 * S));
        assert!(!kernel.execute(&key(1), 4 * S));
        keeper.take(&mut kernel, 10 * S);
        assert!(kernel.execute(&key(1), 12 * S));
        keeper.end(&mut kernel);
        assert!(!kernel.execute(&key(1), 12 * S));
        assert_eq!(counts(&keeper.take(&mut kernel, 12 * S)), [("ls", 1)]);
        assert_eq!(kernel.until_ns, 0);
    }

    /// Trust or policy changed: what was judged before counts as it was judged, and no more of it.
    #[test]
    fn what_is_judged_anew_is_no_longer_counted() {
        let (mut kernel, mut keeper) = (Kernel::default(), Keeper::default());
        keeper.want(key(1), || "ls");
        keeper.tell(&mut kernel, S);
        let began = kernel.began(&key(1), S + 1).unwrap();
        keeper.want(key(2), || "cat");
        keeper.forget();
        keeper.tell(&mut kernel, S + 2);
        assert!(!kernel.execute(&key(1), S + 3) && !kernel.execute(&key(2), S + 3));
        assert!(kernel.succeeded(began, S + 4), "it had begun");
        assert_eq!(counts(&keeper.take(&mut kernel, 2 * S)), [("ls", 1)]);
    }

    #[test]
    fn an_idle_key_gives_its_tally_to_another() {
        let (mut kernel, mut keeper) = (Kernel::default(), Keeper::default());
        keeper.want(key(1), || "ls");
        keeper.tell(&mut kernel, S);
        let began = kernel.began(&key(1), S + 1).unwrap();
        assert!(kernel.execute(&key(1), S + 1));
        keeper.take(&mut kernel, 2 * S);
        keeper.take(&mut kernel, 2 * S + IDLE_NS);
        assert!(kernel.keys.is_empty());
        let idle = 2 * S + IDLE_NS;
        keeper.want(key(2), || "cat");
        keeper.tell(&mut kernel, idle + 1);
        assert_eq!(kernel.keys[&key(2)].slot, 1, "the other one rests");
        keeper.take(&mut kernel, idle + REST_NS);
        keeper.want(key(3), || "id");
        keeper.tell(&mut kernel, idle + REST_NS);
        assert_eq!(kernel.keys[&key(3)], TallySlot { slot: 0, turn: 1 });
        assert!(
            !kernel.succeeded(began, idle + REST_NS),
            "it hung for minutes, and gets a record"
        );
        assert!(kernel.execute(&key(3), idle + REST_NS + 1));
        assert_eq!(counts(&keeper.take(&mut kernel, idle + REST_NS + S)), [("id", 1)]);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let (mut kernel, mut keeper) = (Kernel::default(), Keeper::default());
        for n in 0..u64::from(TALLIES_MAX) + 10 {
            keeper.want(key(n), || "x");
            keeper.tell(&mut kernel, S);
        }
        assert_eq!((kernel.keys.len(), keeper.slots.len()), (1024, 1024));
        keeper.want(key(5000), || panic!("there is no room"));
        assert!(!keeper.is_due());
        keeper.take(&mut kernel, 2 * S);
        keeper.want(key(5000), || "asked for again");
        assert!(keeper.is_due());
    }
}
