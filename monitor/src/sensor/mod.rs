//! Loads the eBPF programs, proves that they run, and hands their records on.

mod gate;
mod load;
mod lockers;
mod memory;
mod object;
mod packaged;
pub mod pins;
mod plan;
mod selftest;
mod subjects;
mod takeover;
mod tally;
mod task;
mod trusted;
mod writes;

pub use gate::{GateError, GateRules, Sizes, TrustChange};
pub use lockers::Lockers;
pub use memory::MapBytes;
pub use object::{ObjectError, Objects};
pub use pins::{PIN_ROOT, PinError, Previous, TakenOver, next_generation};
pub(crate) use subjects::ReadUntil;
pub use subjects::{Remembered, SubjectIds, Subjects};
pub use tally::Tallies;
pub use task::SweepError;
pub use writes::{Overflow, Writes};

use crate::{probe, sys};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, RingBuf},
};
use hardpan_abi::{COUNTER_SLOTS, Counter, ModuleNote, buckets_for};
use hardpan_core::platform::{HookReport, Outcome, Probes};
use std::{collections::VecDeque, io, path::Path, time::Duration};
use tokio::io::unix::AsyncFd;

/// For tasks that were on their way into a program when it was detached: see [`pins`].
const LAST_CALLS: Duration = Duration::from_millis(500);
/// Records taken from one ring before the other gets a turn, and before the caller does.
const BATCH: usize = 256;
/// Records taken out of the own rings while an earlier generation is taken over, at most: more than they hold.
const DRAIN_MAX: usize = 1 << 17;
/// Bytes of records kept from the self-test for the first [`Sensor::next`].
const PENDING_MAX: usize = 1 << 20;

/// Which ring a record came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Ordinary events.
    Events,
    /// Modules, fileless execs, findings, denials.
    Findings,
}

/// What to load with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SensorOptions {
    /// Written into every record's head.
    pub generation: u32,
    /// Largest file hashed in the kernel, in bytes.
    pub hash_max_bytes: u64,
    /// The policy lists the sleepable program for `bprm_check_security`. EL 8's does not: a kernel that skips a
    /// sleepable program while another task sleeps in it would miss executions.
    pub sleepable_exec: bool,
    /// Whether tasks are compared with their shadows. Off until the benign twins have been silent on every kernel.
    pub watch_tasks: bool,
    /// Room for trusted digests in the kernel.
    pub trusted_max: u32,
}

impl SensorOptions {
    /// Buckets of the kernel's table of trusted digests, and of that of packaged paths, which are about as many.
    pub(crate) const fn buckets(&self) -> u32 {
        buckets_for(self.trusted_max)
    }
}

impl Default for SensorOptions {
    fn default() -> Self {
        Self {
            generation: 1,
            hash_max_bytes: 256 << 20,
            sleepable_exec: true,
            watch_tasks: false,
            trusted_max: 1024,
        }
    }
}

/// Why the sensor could not start at all. A single hook that fails is no error: see [`Sensor::hooks`].
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// The kernel's BTF is missing or lacks a field we need.
    #[error("the offsets of kernel fields are unknown: {0}")]
    Types(Outcome),
    /// The object that this kernel needs is not there.
    #[error("no eBPF object to load")]
    Object(#[source] ObjectError),
    /// aya could not load the object (maps, relocations).
    #[error("loading the eBPF object ({what})")]
    Load {
        /// Which object.
        what: &'static str,
        /// aya's reason.
        #[source]
        source: Box<aya::EbpfError>,
    },
    /// A map the object should have is missing or of another type.
    #[error("the eBPF object's map {name}")]
    Map {
        /// Map name.
        name: &'static str,
        /// aya's reason.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// The object has no map of this name: it belongs to another build.
    #[error("the eBPF object has no map {0}: it belongs to another build")]
    NoMap(&'static str),
    /// The ring could not be registered with the runtime.
    #[error("watching the ring buffer")]
    Poll(#[source] io::Error),
    /// Not one program could be attached.
    #[error("no program could be attached; first reason: {0}")]
    NothingAttached(String),
}

/// Loaded, attached programs. Dropping it detaches them.
pub struct Sensor {
    /// Holds the programs; `None` once detached.
    ebpf: Option<Ebpf>,
    /// What holds them at their hooks, and can be pinned.
    held: pins::Held,
    /// Programs of earlier generations, which nothing calls any more in a while.
    gone: pins::Gone,
    generation: u32,
    /// What it tells itself, as long as there is an earlier generation that could have told the same.
    own: Option<takeover::Own>,
    events: AsyncFd<RingBuf<MapData>>,
    findings: AsyncFd<RingBuf<MapData>>,
    counters: Array<MapData, u64>,
    /// What was noted last.
    noted: (u64, u64),
    /// Kernel-side notes of module loads; only for the self-test.
    module_notes: Option<HashMap<MapData, u64, [u8; size_of::<ModuleNote>()]>>,
    task_maps: task::Maps,
    gate_maps: gate::Maps,
    tallies: Option<tally::Maps>,
    hooks: Vec<HookReport>,
    map_bytes: MapBytes,
    pending: VecDeque<(Ring, Vec<u8>)>,
    pending_bytes: usize,
}

impl std::fmt::Debug for Sensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sensor")
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

impl Sensor {
    /// Loads what the probes allow. Needs a tokio runtime with IO enabled.
    pub fn start(objects: &Objects, probes: &Probes, options: &SensorOptions) -> Result<Self, SensorError> {
        probe::raise_memlock();
        let types = probe::kernel_types().map_err(SensorError::Types)?;
        let plan = plan::plan(probes, options);
        let mut loaded = load::load(objects, &plan, probes, &types, options)?;
        let map_bytes = MapBytes::of(&loaded.ebpf);
        let own = takeover::Own::new(&loaded.attached);
        let mut held = pins::Held::default();
        held.links = loaded.links;
        held.note_maps(&mut loaded.ebpf);
        held.note_programs(&loaded.ebpf);
        if let Err(error) = held.keep_programs(Path::new(PIN_ROOT), options.generation) {
            tracing::warn!(%error, "nobody holds the programs if hardpand is killed");
        }
        let gone = pins::Gone::find(Path::new(PIN_ROOT), options.generation);
        let ring = |ebpf: &mut Ebpf, name: &'static str| {
            let map = ebpf.take_map(name).ok_or(SensorError::NoMap(name))?;
            let ring = RingBuf::try_from(map).map_err(|source| SensorError::Map {
                name,
                source: Box::new(source),
            })?;
            sys::watch::ring(ring).map_err(SensorError::Poll)
        };
        sys::watch::diagnostics(&mut loaded.ebpf);
        let events = ring(&mut loaded.ebpf, "EVENTS")?;
        let findings = ring(&mut loaded.ebpf, "FINDINGS")?;
        let counters = loaded
            .ebpf
            .take_map("COUNTERS")
            .ok_or(SensorError::NoMap("COUNTERS"))?;
        let counters = Array::try_from(counters).map_err(|source| SensorError::Map {
            name: "COUNTERS",
            source: Box::new(source),
        })?;
        let module_notes = loaded
            .ebpf
            .take_map("MODULE_NOTES")
            .and_then(|map| HashMap::try_from(map).ok());
        let task_maps = task::Maps::take(&mut loaded.ebpf);
        let gate_maps = gate::Maps::take(&mut loaded.ebpf);
        let tallies = tally::Maps::take(&mut loaded.ebpf);
        let mut sensor = Self {
            ebpf: Some(loaded.ebpf),
            held,
            gone,
            generation: options.generation,
            own: None,
            task_maps,
            gate_maps,
            tallies,
            events,
            findings,
            counters,
            noted: (0, 0),
            module_notes,
            hooks: loaded.hooks,
            map_bytes,
            pending: VecDeque::new(),
            pending_bytes: 0,
        };
        sensor.own = (!sensor.previous().is_empty()).then_some(own);
        Ok(sensor)
    }

    /// What its maps took when they were made; they do not grow.
    pub const fn map_bytes(&self) -> MapBytes {
        self.map_bytes
    }

    /// Detaches all programs. Rings and counters can still be read: from here on they only run dry, so the books can
    /// be closed exactly.
    pub fn detach(&mut self) {
        if let Some(ebpf) = self.ebpf.take() {
            self.held.release_links();
            drop(ebpf);
            std::thread::sleep(LAST_CALLS);
            self.held.release_programs();
        }
    }

    /// Pins the programs at their hooks, so that they stay when this process ends, however it ends; or no longer.
    pub fn set_pinned(&mut self, pinned: bool) -> Result<(), PinError> {
        if pinned {
            return self.held.pin(Path::new(PIN_ROOT), self.generation);
        }
        self.held.unpin();
        Ok(())
    }

    /// What earlier generations left at the hooks, oldest first.
    pub fn previous(&self) -> Vec<Previous> {
        let mut found = pins::previous(Path::new(PIN_ROOT));
        found.retain(|one| one.generation != self.generation);
        found
    }

    /// Takes an earlier generation's programs from their hooks, and hands over the records that nobody took and this
    /// generation does not have itself.
    pub fn take_over(&mut self, previous: Previous, take: &mut dyn FnMut(&[u8])) -> TakenOver {
        let mut left = previous.take_over();
        self.drain_all();
        if let Some(own) = &self.own {
            own.sort_out(&mut left.records);
        }
        for record in &left.records {
            take(record);
        }
        self.gone.add(left.dir);
        if self.previous().is_empty() {
            self.own = None;
        }
        TakenOver {
            records: left.records.len() as u64,
            lost: left.lost,
        }
    }

    /// Takes all that is in the rings, for later: it is seen by then.
    fn drain_all(&mut self) {
        let mut records = Vec::new();
        while records.len() < DRAIN_MAX
            && self.drain_rings(&mut |ring, record: &[u8]| records.push((ring, record.to_vec()))) > 0
        {
        }
        for (ring, record) in records {
            self.keep(ring, record);
        }
    }

    /// Lets go of programs of earlier generations that no task can be on its way into any more.
    pub fn forget_gone(&mut self) {
        self.gone.forget();
    }

    /// Leaves word beside the pinned programs: how many events are told of, and how many of those an earlier generation
    /// left.
    pub fn note(&mut self, told: u64, inherited: u64) -> io::Result<()> {
        if self.noted == (told, inherited) || !self.is_pinned() {
            return Ok(());
        }
        for (counter, value) in [(Counter::UserInherited, inherited), (Counter::UserTold, told)] {
            self.counters
                .set(counter as u32, value, 0)
                .map_err(io::Error::other)?;
        }
        self.noted = (told, inherited);
        Ok(())
    }

    /// Where executions can be counted that need no record. `None` while there is an earlier generation, too: what both tell of
    /// is found by their records.
    pub fn tallies(&mut self) -> Option<&mut dyn Tallies> {
        let maps = self.tallies.as_mut().filter(|_| self.own.is_none())?;
        Some(maps)
    }

    /// Whether they are pinned.
    pub fn is_pinned(&self) -> bool {
        self.held.is_pinned()
    }

    /// Every hook, how it was attached, how far it got.
    pub fn hooks(&self) -> Vec<HookReport> {
        self.hooks.clone()
    }

    /// The kernel side's counters, indexed by [`hardpan_abi::Counter`].
    pub fn counters(&self) -> io::Result<[u64; COUNTER_SLOTS as usize]> {
        let mut values = [0; COUNTER_SLOTS as usize];
        for (slot, value) in (0..COUNTER_SLOTS).zip(&mut values) {
            *value = self.counters.get(&slot, 0).map_err(io::Error::other)?;
        }
        Ok(values)
    }

    /// Causes real events and waits for them; [`Sensor::hooks`] then tells which hooks were seen to work. Blocks for
    /// some milliseconds, at most for `limit`. Records that arrive meanwhile are kept for [`Sensor::next`].
    pub fn self_test(&mut self, limit: Duration) {
        selftest::run(self, limit);
    }

    /// Waits for records and hands a batch to `take`, findings first. Returns how many; 0 after a second without any.
    pub async fn next(&mut self, mut take: impl FnMut(Ring, &[u8])) -> io::Result<usize> {
        let count = self.drain(&mut take);
        if count > 0 {
            return Ok(count);
        }
        {
            let (events, findings) = (&self.events, &self.findings);
            let ready = async {
                tokio::select! {
                    ready = events.readable() => ready.map(|mut guard| guard.clear_ready()),
                    ready = findings.readable() => ready.map(|mut guard| guard.clear_ready()),
                }
            };
            // Looking again after a second costs nothing and makes a missed wake-up harmless.
            match tokio::time::timeout(Duration::from_secs(1), ready).await {
                Ok(result) => result?,
                Err(_elapsed) => {}
            }
        }
        Ok(self.drain(&mut take))
    }

    /// Takes what is there without waiting: what was kept, then what is in the rings.
    pub fn drain(&mut self, take: &mut impl FnMut(Ring, &[u8])) -> usize {
        let mut count = 0;
        while let Some((ring, record)) = self.pending.pop_front() {
            take(ring, &record);
            count += 1;
        }
        self.pending_bytes = 0;
        count + self.drain_rings(take)
    }

    fn drain_rings(&mut self, take: &mut impl FnMut(Ring, &[u8])) -> usize {
        let mut count = 0;
        for (ring, source) in [
            (Ring::Findings, &mut self.findings),
            (Ring::Events, &mut self.events),
        ] {
            let source = source.get_mut();
            for _ in 0..BATCH {
                let Some(record) = source.next() else { break };
                if let Some(own) = &mut self.own {
                    own.note(&record);
                }
                take(ring, &record);
                count += 1;
            }
        }
        count
    }

    fn keep(&mut self, ring: Ring, record: Vec<u8>) {
        self.pending_bytes += record.len();
        self.pending.push_back((ring, record));
    }

    /// True if nothing more may be kept: what stays in the ring is not lost.
    fn is_full(&self) -> bool {
        self.pending_bytes > PENDING_MAX
    }
}
