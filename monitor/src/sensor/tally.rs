//! The kernel's tallies of executions that are only counted.

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use hardpan_abi::{Tally, TallyKey, TallyLease, TallySlot};
use std::io;

type Key = [u8; size_of::<TallyKey>()];
type Lease = [u8; size_of::<TallyLease>()];
type Slot = [u8; size_of::<TallySlot>()];
type Value = [u8; size_of::<Tally>()];

/// Where executions are counted.
pub trait Tallies {
    /// Executions that have a tally may be counted until then, nanoseconds since boot, or until this process ends; 0: no longer.
    fn renew(&mut self, until_ns: u64) -> io::Result<()>;
    /// Gives a key a tally.
    fn give(&mut self, key: &TallyKey, slot: TallySlot) -> io::Result<()>;
    /// Takes it away. Executions that have begun are still counted in it.
    fn take_away(&mut self, key: &TallyKey) -> io::Result<()>;
    /// Says whose turn it is. Only for one that has had no key for long.
    fn set_turn(&mut self, slot: TallySlot) -> io::Result<()>;
    /// What has been counted.
    fn read(&self, slot: u32) -> io::Result<Tally>;
}

/// The maps.
pub(super) struct Maps {
    until: Array<MapData, Lease>,
    keys: HashMap<MapData, Key, Slot>,
    tallies: Array<MapData, Value>,
}

impl Maps {
    /// Takes them out of an object that has them.
    pub(super) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        Some(Self {
            until: Array::try_from(ebpf.take_map("TALLY_UNTIL")?).ok()?,
            keys: HashMap::try_from(ebpf.take_map("TALLY_KEYS")?).ok()?,
            tallies: Array::try_from(ebpf.take_map("TALLIES")?).ok()?,
        })
    }
}

impl Tallies for Maps {
    fn renew(&mut self, until_ns: u64) -> io::Result<()> {
        let lease: Lease = zerocopy::transmute!(TallyLease {
            until_ns,
            // Of another PID namespace, it is at worst somebody else's end that takes the permission, until it is renewed.
            reader: std::process::id(),
            reserved: 0,
        });
        self.until.set(0, lease, 0).map_err(io::Error::other)
    }

    fn give(&mut self, key: &TallyKey, slot: TallySlot) -> io::Result<()> {
        let key: Key = zerocopy::transmute!(*key);
        let slot: Slot = zerocopy::transmute!(slot);
        self.keys.insert(key, slot, 0).map_err(io::Error::other)
    }

    fn take_away(&mut self, key: &TallyKey) -> io::Result<()> {
        let key: Key = zerocopy::transmute!(*key);
        self.keys.remove(&key).map_err(io::Error::other)
    }

    fn set_turn(&mut self, slot: TallySlot) -> io::Result<()> {
        let tally = Tally {
            turn: slot.turn,
            ..self.read(slot.slot)?
        };
        let value: Value = zerocopy::transmute!(tally);
        self.tallies.set(slot.slot, value, 0).map_err(io::Error::other)
    }

    fn read(&self, slot: u32) -> io::Result<Tally> {
        let bytes = self.tallies.get(&slot, 0).map_err(io::Error::other)?;
        Ok(zerocopy::transmute!(bytes))
    }
}
