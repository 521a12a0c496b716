//! What the kernel side is told to watch for writes: protected files and block devices in use.

use super::GateError;
use aya::maps::{HashMap, MapData, MapError};
use hardpan_abi::{BLOCK_DEVICES_MAX, FileKey, PROTECTED_MAX};
use std::collections::BTreeSet;
use zerocopy::IntoBytes as _;

type Key = [u8; size_of::<FileKey>()];

/// The kernel's maps of them.
#[derive(Debug)]
pub struct Writes {
    protected: HashMap<MapData, Key, u32>,
    devices: HashMap<MapData, u32, u32>,
}

/// What did not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Protected files beyond [`PROTECTED_MAX`].
    pub files: usize,
    /// Block devices beyond [`BLOCK_DEVICES_MAX`].
    pub devices: usize,
}

impl Writes {
    pub(super) const fn new(
        protected: HashMap<MapData, Key, u32>,
        devices: HashMap<MapData, u32, u32>,
    ) -> Self {
        Self { protected, devices }
    }

    /// What the kernel side protects. The kernel side adds files by itself when one takes a protected file's name.
    pub fn protected(&self) -> Result<BTreeSet<FileKey>, GateError> {
        let keys = self
            .protected
            .keys()
            .map(|key| key.map(|bytes| zerocopy::transmute!(bytes)));
        keys.collect::<Result<_, _>>().map_err(fail("protected files"))
    }

    /// Makes the maps hold these; what is new comes first. Of protected files only those go that were there `before` the
    /// files were looked for: what the kernel side has added since is newer than the look.
    pub fn set(
        &mut self,
        before: &BTreeSet<FileKey>,
        files: &BTreeSet<FileKey>,
        devices: &BTreeSet<u32>,
    ) -> Result<Overflow, GateError> {
        let wanted: BTreeSet<Key> = files.iter().take(PROTECTED_MAX as usize).map(bytes).collect();
        let before = before.iter().map(bytes).collect();
        update(&mut self.protected, &before, &wanted).map_err(fail("protected files"))?;
        let numbers: BTreeSet<u32> = devices.iter().take(BLOCK_DEVICES_MAX as usize).copied().collect();
        let there = self.devices.keys().collect::<Result<_, _>>();
        let there = there.map_err(fail("block devices"))?;
        update(&mut self.devices, &there, &numbers).map_err(fail("block devices"))?;
        Ok(Overflow {
            files: files.len() - wanted.len(),
            devices: devices.len() - numbers.len(),
        })
    }
}

const fn fail(what: &'static str) -> impl Fn(MapError) -> GateError {
    move |source| GateError::Write {
        what,
        source: Box::new(source),
    }
}

fn bytes(key: &FileKey) -> Key {
    let mut bytes: Key = [0; size_of::<FileKey>()];
    bytes.copy_from_slice(key.as_bytes());
    bytes
}

fn update<K: aya::Pod + Ord>(
    map: &mut HashMap<MapData, K, u32>,
    there: &BTreeSet<K>,
    wanted: &BTreeSet<K>,
) -> Result<(), MapError> {
    let mut old = there.difference(wanted);
    for key in wanted.difference(there) {
        // A full map takes a new one only if an old one goes first.
        if let Err(error) = map.insert(key, 1, 0) {
            let Some(gone) = old.next() else { return Err(error) };
            remove(map, gone)?;
            map.insert(key, 1, 0)?;
        }
    }
    old.try_for_each(|gone| remove(map, gone))
}

fn remove<K: aya::Pod>(map: &mut HashMap<MapData, K, u32>, key: &K) -> Result<(), MapError> {
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
