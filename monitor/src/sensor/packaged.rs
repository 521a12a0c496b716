//! The kernel's table of packaged paths.

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError},
};
use hardpan_abi::{PACKAGED_SLOTS, PackagedBucket, packaged_buckets};

/// The table, and what it holds.
pub(super) struct Packaged {
    map: Array<MapData, PackagedBucket>,
    written: Vec<PackagedBucket>,
}

impl Packaged {
    /// `None`: the object has no such map.
    pub(super) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        let map = Array::try_from(ebpf.take_map("PACKAGED")?).ok()?;
        let buckets = usize::try_from(Array::<MapData, PackagedBucket>::len(&map)).ok()?;
        Some(Self {
            map,
            written: vec![[0; PACKAGED_SLOTS]; buckets],
        })
    }

    /// From now on it holds these numbers. What finds no room is left out and told: to the kernel such a file is one that no
    /// package lists.
    pub(super) fn hold(&mut self, numbers: &[u64]) -> Result<(), MapError> {
        let (table, left_out) = table(numbers, self.written.len());
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "packaged paths found no room in the kernel: restart hardpand"
            );
        }
        for ((slot, bucket), written) in (0u32..).zip(table).zip(&mut self.written) {
            if *written != bucket {
                self.map.set(slot, bucket, 0)?;
                *written = bucket;
            }
        }
        Ok(())
    }
}

/// So many buckets with these numbers in it, and how many found no room.
fn table(numbers: &[u64], buckets: usize) -> (Vec<PackagedBucket>, usize) {
    let mut table = vec![[0; PACKAGED_SLOTS]; buckets];
    let free = |bucket: &PackagedBucket| bucket.iter().filter(|stands| **stands == 0).count();
    let mut left_out = 0;
    for number in numbers {
        let both = packaged_buckets(*number, u32::try_from(buckets).unwrap_or(1));
        let emptier = both
            .into_iter()
            .filter_map(|at| usize::try_from(at).ok())
            .max_by_key(|at| table.get(*at).map_or(0, free));
        let place = emptier
            .and_then(|at| table.get_mut(at))
            .and_then(|bucket| bucket.iter_mut().find(|stands| **stands == 0));
        match place {
            Some(place) => *place = *number,
            None => left_out += 1,
        }
    }
    (table, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_abi::path_number;

    fn number(path: &str) -> u64 {
        path_number(path.as_bytes())
    }

    fn stands(table: &[PackagedBucket], number: u64) -> bool {
        packaged_buckets(number, u32::try_from(table.len()).unwrap())
            .iter()
            .any(|at| table[*at as usize].contains(&number))
    }

    #[test]
    fn all_paths_are_found_again_and_no_other() {
        let paths = |dir: &str| {
            (0..20_000)
                .map(|n| number(&format!("/usr/{dir}/{n}")))
                .collect::<Vec<_>>()
        };
        let held = paths("bin");
        // Three fifths full: more than it ever is by its size.
        let (full, left_out) = table(&held, 4096);
        assert_eq!(left_out, 0);
        assert!(held.iter().all(|number| stands(&full, *number)));
        assert!(paths("sbin").iter().all(|number| !stands(&full, *number)));
    }

    #[test]
    fn a_crowded_table_holds_all_but_what_it_counts() {
        // Eleven twelfths full.
        let numbers: Vec<u64> = (0..30_000).map(|n| number(&format!("/usr/bin/{n}"))).collect();
        let (crowded, left_out) = table(&numbers, 4096);
        let found = numbers.iter().filter(|number| stands(&crowded, **number)).count();
        assert_eq!(found + left_out, numbers.len());
        assert!(left_out * 50 < numbers.len(), "{left_out}");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let numbers: Vec<u64> = (0..20).map(|n| number(&format!("/{n}"))).collect();
        let (_, left_out) = table(&numbers, 1);
        assert_eq!(left_out, 12);
        assert_eq!(table(&numbers, 0).1, 20);
    }
}
