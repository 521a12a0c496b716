//! Where events come from: the sensor, and in tests a list of recorded ones.

use super::policy::Responses;
use crate::sensor::{
    GateError, GateRules, MapBytes, PinError, Previous, Sensor, Subjects, SweepError, TakenOver, Tallies,
    TrustChange,
};
use hardpan_abi::GateConfig;
use hardpan_core::platform::HookReport;
use std::future::Future;
use std::io;

/// A source of raw records.
pub trait EventSource {
    /// Waits for records, at most about a second, and hands a batch to `take`. Returns how many. May be dropped while
    /// it waits without losing any.
    fn next(&mut self, take: impl FnMut(&[u8])) -> impl Future<Output = io::Result<usize>>;

    /// Takes what is there without waiting.
    fn drain(&mut self, take: impl FnMut(&[u8])) -> usize;

    /// Ends the events; what has happened can still be taken and counted.
    fn detach(&mut self);

    /// The kernel side's counters, indexed by `hardpan_abi::Counter`.
    fn counters(&self) -> io::Result<Vec<u64>>;

    /// State of every hook.
    fn hooks(&self) -> Vec<HookReport>;

    /// What its maps take, where it has any.
    fn map_bytes(&self) -> Option<MapBytes> {
        None
    }

    /// What the kernel side does about a tampered task from now on. Nothing where tasks are not watched.
    fn respond(&mut self, _responses: &Responses) -> Result<(), SweepError> {
        Ok(())
    }

    /// Changes the digests that the exec gate trusts.
    fn change_trusted(&mut self, _change: &TrustChange) -> Result<(), GateError> {
        Err(GateError::NotLoaded)
    }

    /// Puts the exec gate's settings in force, and its rules if there are new ones.
    fn set_gate(&mut self, _config: &GateConfig, _rules: Option<GateRules<'_>>) -> Result<(), GateError> {
        Err(GateError::NotLoaded)
    }

    /// Where executions are counted that need no record of their own. `None`: nowhere.
    fn tallies(&mut self) -> Option<&mut dyn Tallies> {
        None
    }

    /// The kernel's memory of inodes; once.
    fn take_subjects(&mut self) -> Option<Subjects> {
        None
    }

    /// The programs stay at their hooks when this process ends, however it ends; or no longer.
    fn set_pinned(&mut self, _pinned: bool) -> Result<(), PinError> {
        Ok(())
    }

    /// Whether they do.
    fn is_pinned(&self) -> bool {
        false
    }

    /// Leaves word for the next generation: how many events are told of, and how many of them an earlier one left.
    fn note(&mut self, _told: u64, _inherited: u64) {}

    /// What earlier generations left at the hooks.
    fn previous(&self) -> Vec<Previous> {
        Vec::new()
    }

    /// Takes over what an earlier generation left: its programs end, the records in its rings are handed to `take`.
    fn take_over(&mut self, _previous: Previous, _take: &mut dyn FnMut(&[u8])) -> TakenOver {
        TakenOver::default()
    }

    /// Lets go of what earlier generations left in memory. Called every second.
    fn forget_gone(&mut self) {}

    /// Compares all tasks with their shadows; findings come as records. Nothing where there is no such program.
    fn sweep(&mut self) {}
}

impl EventSource for Sensor {
    async fn next(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        Self::next(self, |_ring, record| take(record)).await
    }

    fn drain(&mut self, mut take: impl FnMut(&[u8])) -> usize {
        Self::drain(self, &mut |_ring, record: &[u8]| take(record))
    }

    fn detach(&mut self) {
        Self::detach(self);
    }

    fn counters(&self) -> io::Result<Vec<u64>> {
        Self::counters(self).map(|counters| counters.to_vec())
    }

    fn hooks(&self) -> Vec<HookReport> {
        Self::hooks(self)
    }

    fn map_bytes(&self) -> Option<MapBytes> {
        Some(Self::map_bytes(self))
    }

    fn respond(&mut self, responses: &Responses) -> Result<(), SweepError> {
        responses
            .iter()
            .try_for_each(|(kind, response)| self.set_task_response(*kind, *response))
    }

    fn change_trusted(&mut self, change: &TrustChange) -> Result<(), GateError> {
        Self::change_trusted(self, change)
    }

    fn set_gate(&mut self, config: &GateConfig, rules: Option<GateRules<'_>>) -> Result<(), GateError> {
        Self::set_gate(self, config, rules)
    }

    fn tallies(&mut self) -> Option<&mut dyn Tallies> {
        Self::tallies(self)
    }

    fn take_subjects(&mut self) -> Option<Subjects> {
        Self::take_subjects(self)
    }

    fn set_pinned(&mut self, pinned: bool) -> Result<(), PinError> {
        Self::set_pinned(self, pinned)
    }

    fn is_pinned(&self) -> bool {
        Self::is_pinned(self)
    }

    fn note(&mut self, told: u64, inherited: u64) {
        // The next generation then says that more was lost than was.
        if let Err(error) = Self::note(self, told, inherited) {
            tracing::debug!(%error, "ignoring that the number of told events could not be noted");
        }
    }

    fn previous(&self) -> Vec<Previous> {
        Self::previous(self)
    }

    fn take_over(&mut self, previous: Previous, take: &mut dyn FnMut(&[u8])) -> TakenOver {
        Self::take_over(self, previous, take)
    }

    fn forget_gone(&mut self) {
        Self::forget_gone(self);
    }

    fn sweep(&mut self) {
        // A kernel that refuses the program was reported at start; a sweep that fails now is made up for by the next.
        if let Err(error) = Self::sweep(self) {
            tracing::debug!(%error, "ignoring a failed sweep over all tasks");
        }
    }
}
