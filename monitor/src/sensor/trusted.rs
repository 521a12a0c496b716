//! The kernel's table of trusted digests.
//!
//! It is not kept a second time here: what changes is read, changed and written, bucket by bucket, each once. A place that is freed is
//! written as empty, and taken by another digest only in a later call: programs that look meanwhile never see a digest
//! with the value of another.

use super::gate::TrustChange;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
};
use hardpan_abi::{DIGEST_SLOTS, DigestBucket, DigestWords, TrustedEntry, digest_buckets, digest_value};
use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry};
use zerocopy::{FromBytes as _, IntoBytes as _};

type Digest = [u8; 32];
type Bucket = [u8; size_of::<DigestBucket>()];
/// Bytes of an entry in the map beside the table.
type Apart = [u8; size_of::<TrustedEntry>()];

/// The table, and the map beside it.
pub(super) struct Trusted {
    table: Array<MapData, Bucket>,
    buckets: u32,
    apart: HashMap<MapData, Digest, Apart>,
    /// What `apart` holds.
    held_apart: HashSet<Digest>,
}

impl Trusted {
    /// `None`: the object has no gate.
    pub(super) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        let table = Array::try_from(ebpf.take_map("TRUSTED")?).ok()?;
        Some(Self {
            buckets: Array::<MapData, Bucket>::len(&table),
            table,
            apart: HashMap::try_from(ebpf.take_map("TRUSTED_APART")?).ok()?,
            held_apart: HashSet::new(),
        })
    }

    /// Adds first, then removes.
    pub(super) fn change(&mut self, change: &TrustChange) -> Result<(), MapError> {
        let mut added = Touched::new(self.buckets);
        let mut no_longer_there = Vec::new();
        let mut full = Ok(());
        for (digest, entry) in &change.add {
            let is_in_table = entry.capabilities == 0 && added.put(*digest, entry, |at| self.read(at))?;
            if is_in_table {
                if self.held_apart.contains(digest) {
                    no_longer_there.push(*digest);
                }
                continue;
            }
            let mut bytes: Apart = [0; size_of::<TrustedEntry>()];
            bytes.copy_from_slice(entry.as_bytes());
            full = self.apart.insert(digest, bytes, 0);
            if full.is_err() {
                break;
            }
            self.held_apart.insert(*digest);
        }
        self.write(&added)?;
        full?;
        let mut removed = Touched::new(self.buckets);
        // What gives capabilities now, and stood in the table before, is no longer to be found there.
        let moved = change.add.iter().filter(|(_, entry)| entry.capabilities != 0);
        for digest in moved.map(|(digest, _)| digest).chain(&change.remove) {
            removed.clear(*digest, |at| self.read(at))?;
        }
        for digest in change.remove.iter().chain(&no_longer_there) {
            if !self.held_apart.remove(digest) {
                continue;
            }
            match self.apart.remove(digest) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        self.write(&removed)
    }

    fn read(&self, at: u32) -> Result<DigestBucket, MapError> {
        let bytes = self.table.get(&at, 0)?;
        Ok(DigestBucket::read_from_bytes(&bytes).unwrap_or_default())
    }

    fn write(&mut self, touched: &Touched) -> Result<(), MapError> {
        for (at, (bucket, _)) in touched.buckets.iter().filter(|(_, (_, is_changed))| *is_changed) {
            let mut bytes: Bucket = [0; size_of::<DigestBucket>()];
            bytes.copy_from_slice(bucket.as_bytes());
            self.table.set(*at, bytes, 0)?;
        }
        Ok(())
    }
}

/// Buckets that were looked at, and whether they are to be written.
struct Touched {
    count: u32,
    buckets: BTreeMap<u32, (DigestBucket, bool)>,
}

impl Touched {
    const fn new(count: u32) -> Self {
        Self {
            count,
            buckets: BTreeMap::new(),
        }
    }

    /// Where the digest stands, if it does; else the emptier of its buckets with a place that is free there, if one is.
    fn find<E>(
        &mut self,
        words: &DigestWords,
        read: impl Fn(u32) -> Result<DigestBucket, E>,
    ) -> Result<(Option<Place>, Option<Place>), E> {
        let (mut stands, mut free, mut most) = (None, None, 0);
        for at in digest_buckets(words, self.count) {
            let (bucket, _) = match self.buckets.entry(at) {
                Entry::Occupied(seen) => seen.into_mut(),
                Entry::Vacant(unseen) => unseen.insert((read(at)?, false)),
            };
            let places = || bucket.digests.iter().zip(&bucket.values).enumerate();
            if let Some((slot, _)) = places().find(|(_, (stood, value))| **value != 0 && *stood == words) {
                stands = Some(Place { at, slot });
            }
            let empty = places().filter(|(_, (_, value))| **value == 0);
            let slots: Vec<usize> = empty.map(|(slot, _)| slot).collect();
            if slots.len() > most {
                most = slots.len();
                free = slots.first().map(|slot| Place { at, slot: *slot });
            }
        }
        Ok((stands, free))
    }

    /// False if there is no room for it.
    fn put<E>(
        &mut self,
        digest: Digest,
        entry: &TrustedEntry,
        read: impl Fn(u32) -> Result<DigestBucket, E>,
    ) -> Result<bool, E> {
        let words = words(digest);
        let (stands, free) = self.find(&words, read)?;
        Ok(stands
            .or(free)
            .is_some_and(|place| self.set(place, words, digest_value(entry.class, entry.marks))))
    }

    /// Nothing, if it does not stand there.
    fn clear<E>(&mut self, digest: Digest, read: impl Fn(u32) -> Result<DigestBucket, E>) -> Result<(), E> {
        if let (Some(place), _) = self.find(&words(digest), read)? {
            self.set(place, [0; 4], 0);
        }
        Ok(())
    }

    fn set(&mut self, place: Place, words: DigestWords, value: u64) -> bool {
        let Some((bucket, is_changed)) = self.buckets.get_mut(&place.at) else {
            return false;
        };
        let slots = bucket
            .digests
            .get_mut(place.slot)
            .zip(bucket.values.get_mut(place.slot));
        slots.is_some_and(|(stands, stood)| {
            *is_changed = true;
            (*stands, *stood) = (words, value);
            true
        })
    }
}

/// A place in the table.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u32,
    slot: usize,
}

const _: () = assert!(size_of::<DigestBucket>() == DIGEST_SLOTS * 40);

fn words(digest: Digest) -> DigestWords {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_abi::{GateClass, buckets_for, digests_apart_for};
    use std::convert::Infallible;

    fn digest(n: u32) -> Digest {
        let hash = ring::digest::digest(&ring::digest::SHA256, &n.to_le_bytes());
        hash.as_ref().try_into().unwrap()
    }

    fn entry(marks: u32) -> TrustedEntry {
        TrustedEntry {
            class: GateClass::Trusted as u32,
            marks,
            capabilities: 0,
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "in the place of reading from the kernel")]
    fn empty(_: u32) -> Result<DigestBucket, Infallible> {
        Ok(DigestBucket::default())
    }

    /// As the kernel looks.
    fn value_of(table: &Touched, digest: Digest) -> u64 {
        let words = words(digest);
        let mut value = 0;
        for at in digest_buckets(&words, table.count) {
            let Some((bucket, _)) = table.buckets.get(&at) else {
                continue;
            };
            for (stands, stood) in bucket.digests.iter().zip(&bucket.values) {
                if *stands == words {
                    value |= stood;
                }
            }
        }
        value
    }

    #[test]
    fn a_table_that_is_full_as_planned_leaves_no_more_out_than_there_is_room_beside() {
        for most in [1, 100, 4096, 20_000, 94_096] {
            let mut table = Touched::new(buckets_for(most));
            let mut apart = Vec::new();
            for n in 0..most {
                if !table.put(digest(n), &entry(n), empty).unwrap() {
                    apart.push(n);
                }
            }
            assert!(
                apart.len() < digests_apart_for(most) as usize / 2,
                "{most}: {} left out",
                apart.len()
            );
            for n in (0..most).filter(|n| apart.binary_search(n).is_err()) {
                assert_eq!(
                    value_of(&table, digest(n)),
                    digest_value(GateClass::Trusted as u32, n)
                );
            }
            for n in most..most + 1000 {
                assert_eq!(value_of(&table, digest(n)), 0);
            }
        }
    }

    #[test]
    fn what_is_there_keeps_its_place_and_what_goes_frees_it() {
        let mut table = Touched::new(1);
        for n in 0..8 {
            assert!(table.put(digest(n), &entry(0), empty).unwrap());
        }
        assert!(!table.put(digest(8), &entry(0), empty).unwrap());
        assert!(table.put(digest(3), &entry(7), empty).unwrap());
        assert_eq!(
            value_of(&table, digest(3)),
            digest_value(GateClass::Trusted as u32, 7)
        );
        table.clear(digest(8), empty).unwrap();
        table.clear(digest(5), empty).unwrap();
        assert_eq!(value_of(&table, digest(5)), 0);
        assert!(table.put(digest(8), &entry(1), empty).unwrap());
        assert_eq!(
            value_of(&table, digest(8)),
            digest_value(GateClass::Trusted as u32, 1)
        );
        assert_eq!(
            value_of(&table, digest(0)),
            digest_value(GateClass::Trusted as u32, 0)
        );
    }
}
