//! Package managers that took the lock of this system's package database, as the kernel side notes them.

use aya::maps::{HashMap, MapData, MapError};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Half of what has room.
const KEPT: usize = 128;

type Map = HashMap<MapData, u32, u64>;

/// Their numbers.
#[derive(Clone)]
pub struct Lockers(Arc<Mutex<Map>>);

impl fmt::Debug for Lockers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lockers").finish_non_exhaustive()
    }
}

impl Lockers {
    pub(super) fn new(map: Map) -> Self {
        Self(Arc::new(Mutex::new(map)))
    }

    /// Whether the package manager with this number ([`hardpan_abi::PackageEvent::manager`]) has asked for the lock.
    fn has(&self, number: u32) -> bool {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&number, 0).is_ok()
    }

    /// Whether what this package manager opened counts: it has asked for the lock, or need not (0, or nobody notices who does).
    pub fn counts(lockers: Option<&Self>, number: u32) -> bool {
        number == 0 || lockers.is_none_or(|lockers| lockers.has(number))
    }

    /// Takes out all but the youngest [`KEPT`] and those that `is_needed`.
    pub fn forget_old(&self, is_needed: impl Fn(u32) -> bool) -> Result<(), MapError> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<(u32, u64)> = map.iter().filter_map(Result::ok).collect();
        all.sort_unstable_by_key(|(_, since_ns)| std::cmp::Reverse(*since_ns));
        for (number, _) in all.into_iter().skip(KEPT) {
            if is_needed(number) {
                continue;
            }
            match map.remove(&number) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
