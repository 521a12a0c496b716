//! The books: what was generated must be recorded, aggregated or counted as lost.

use super::own::OwnLedger;
use hardpan_abi::Counter;

/// Where every event went, since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events the kernel programs generated, all families.
    pub generated: u64,
    /// Events that found no room in a ring.
    pub lost_in_ring: u64,
    /// Records read from the rings, undecodable ones included.
    pub received: u64,
    /// Those of them that an earlier generation of programs generated and nobody had taken: not in `generated`.
    pub inherited: u64,
    /// Events of an earlier generation that nobody will tell of: lost while its gate went on alone, or when it was killed.
    pub lost_before: u64,
    /// Records of the process that answers for executions at tier C, lost ones included: not in `generated`.
    pub answered: u64,
    /// Those of them that found no room on their way to the daemon.
    pub answered_lost: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Events that became a line of their own.
    pub recorded: u64,
    /// Events that are counted in an aggregate line.
    pub aggregated: u64,
    /// Events dropped because a queue of the daemon was full.
    pub lost_in_daemon: u64,
    /// Events whose record no output took: the disk was full, or too slow for too long.
    pub lost_in_output: u64,
    /// Times that a task found no room among the shadows. No event; a gap in what is watched.
    pub untracked: u64,
}

impl Ledger {
    /// Takes the kernel's side from the counter map, in the order of [`Counter`].
    pub fn set_kernel(&mut self, counters: &[u64]) {
        let sum = |which: &[Counter]| {
            which
                .iter()
                .filter_map(|c| counters.get(*c as usize))
                .fold(0u64, |sum, n| sum.saturating_add(*n))
        };
        self.generated = sum(&[
            Counter::ExecGenerated,
            Counter::CredGenerated,
            Counter::ModuleGenerated,
            Counter::TaskGenerated,
            Counter::GateGenerated,
            Counter::PackageGenerated,
        ]);
        self.lost_in_ring = sum(&[
            Counter::ExecLost,
            Counter::CredLost,
            Counter::ModuleLost,
            Counter::TaskLost,
            Counter::GateLost,
            Counter::PackageLost,
        ]);
        self.untracked = sum(&[Counter::TaskUntracked]);
    }

    /// All counted losses.
    pub fn lost(&self) -> u64 {
        self.lost_in_ring
            .saturating_add(self.undecodable)
            .saturating_add(self.lost_in_daemon)
            .saturating_add(self.lost_in_output)
            .saturating_add(self.lost_before)
            .saturating_add(self.answered_lost)
    }

    /// Takes what was recorded or aggregated, but found no room in any output, for lost.
    pub fn unwritten(&mut self, recorded: u64, aggregated: u64) {
        self.recorded = self.recorded.saturating_sub(recorded);
        self.aggregated = self.aggregated.saturating_sub(aggregated);
        self.lost_in_output = self
            .lost_in_output
            .saturating_add(recorded)
            .saturating_add(aggregated);
    }

    /// Everything there was to tell of: what the programs generated, and what earlier ones left or lost.
    pub const fn all(&self) -> u64 {
        self.generated
            .saturating_add(self.inherited)
            .saturating_add(self.lost_before)
            .saturating_add(self.answered)
    }

    /// Received and still on its way through the daemon.
    pub fn pending(&self) -> u64 {
        let done = [
            self.undecodable,
            self.recorded,
            self.aggregated,
            self.lost_in_daemon,
            self.lost_in_output,
        ];
        done.iter().fold(self.received, |left, n| left.saturating_sub(*n))
    }

    /// Generated, and neither lost in the ring nor received. Positive while records wait in the ring; a lasting difference means that somebody interferes with it.
    pub fn unaccounted(&self) -> i64 {
        let seen = i128::from(self.lost_in_ring) + i128::from(self.received) + i128::from(self.answered_lost);
        let told = i128::from(self.generated) + i128::from(self.inherited) + i128::from(self.answered);
        let difference = told - seen;
        i64::try_from(difference).unwrap_or(if difference > 0 { i64::MAX } else { i64::MIN })
    }

    /// Everything has its place: nothing pending, nothing unaccounted for.
    pub fn balances(&self) -> bool {
        self.pending() == 0 && self.unaccounted() == 0
    }

    pub(super) fn fields(&self, complete: bool) -> OwnLedger {
        OwnLedger {
            generated: self.all(),
            received: self.received,
            recorded: self.recorded,
            aggregated: self.aggregated,
            lost: self.lost(),
            pending: self.pending(),
            unaccounted: self.unaccounted(),
            complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books() {
        let mut counters = [0u64; 64];
        counters[Counter::ExecGenerated as usize] = 100;
        counters[Counter::CredGenerated as usize] = 10;
        counters[Counter::ExecLost as usize] = 5;
        counters[Counter::ExecHashed as usize] = 1000;
        counters[Counter::TaskUntracked as usize] = 7;
        let mut ledger = Ledger::default();
        ledger.set_kernel(&counters);
        assert_eq!(
            (ledger.generated, ledger.lost_in_ring, ledger.unaccounted()),
            (110, 5, 105)
        );
        assert_eq!(ledger.untracked, 7);
        ledger.received = 108;
        ledger.inherited = 3;
        assert_eq!(
            ledger.unaccounted(),
            0,
            "what an earlier generation left is on both sides"
        );
        (ledger.received, ledger.inherited) = (105, 0);
        ledger.recorded = 40;
        ledger.aggregated = 50;
        ledger.undecodable = 2;
        assert_eq!(
            (ledger.unaccounted(), ledger.pending(), ledger.lost()),
            (0, 13, 7)
        );
        assert!(!ledger.balances());
        ledger.lost_in_daemon = 13;
        assert!(ledger.balances());
        ledger.unwritten(4, 20);
        assert!(ledger.balances(), "what no output took was lost, not recorded");
        assert_eq!((ledger.recorded, ledger.aggregated, ledger.lost()), (36, 30, 44));
        ledger.lost_before = 5;
        assert!(ledger.balances());
        assert_eq!(ledger.all(), ledger.recorded + ledger.aggregated + ledger.lost());
        // Two refusals by a process, one of which found no room.
        (ledger.answered, ledger.answered_lost) = (2, 1);
        ledger.received += 1;
        ledger.recorded += 1;
        assert!(ledger.balances());
        assert_eq!(ledger.all(), ledger.recorded + ledger.aggregated + ledger.lost());
    }

    #[test]
    fn short_and_absurd_counters() {
        let mut ledger = Ledger::default();
        ledger.set_kernel(&[1]);
        assert_eq!(ledger.generated, 1);
        ledger.set_kernel(&[u64::MAX; 64]);
        ledger.received = u64::MAX;
        assert!(ledger.unaccounted() < 0);
    }
}
