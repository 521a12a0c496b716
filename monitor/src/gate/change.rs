//! From one content of the kernel's map to the next: additions first, and no sudden loss.

use super::Entries;
use crate::sensor::{Sizes, TrustChange};
use hardpan_abi::{GateClass, TrustedEntry};

/// A change that takes too much away: it waits until somebody confirms it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Trusted digests now.
    pub before: usize,
    /// How many of them would go.
    pub lost: usize,
}

/// What has to be written so that the map holds `new` instead of `old`. `Err` if more than `loss_percent` of the digests
/// would go and nobody `confirmed` it; what is new may then still be added ([`additions`]).
pub fn change(old: &Entries, new: &Entries, loss_percent: u8, confirmed: bool) -> Result<TrustChange, Held> {
    let remove: Vec<[u8; 32]> = old
        .by_digest
        .keys()
        .filter(|digest| !new.by_digest.contains_key(*digest))
        .copied()
        .collect();
    // What was only expected is no loss.
    let lost = remove
        .iter()
        .filter_map(|digest| old.by_digest.get(digest))
        .filter(|entry| entry.class != GateClass::Provisional as u32)
        .count();
    let trusted = |entries: &Entries| {
        entries
            .by_digest
            .values()
            .filter(|entry| entry.class != GateClass::Unknown as u32)
            .count()
    };
    let before = trusted(old);
    if !confirmed && lost.saturating_mul(100) > before.saturating_mul(usize::from(loss_percent)) {
        return Err(Held { before, lost });
    }
    Ok(TrustChange {
        add: new
            .by_digest
            .iter()
            .filter(|(digest, entry)| old.by_digest.get(*digest) != Some(*entry))
            .map(|(digest, entry)| (*digest, *entry))
            .collect(),
        remove,
        sizes: Sizes::All(new.sizes.clone()),
        packaged: Some(new.packaged.clone()),
    })
}

/// What of `new` is written although its losses are held: what `old` does not have, or has only because it is expected.
pub fn additions(old: &Entries, new: &Entries) -> TrustChange {
    let is_news = |digest: &[u8; 32]| {
        let known = old.by_digest.get(digest);
        known.is_none_or(|entry| entry.class == GateClass::Provisional as u32)
    };
    let differs = |digest: &[u8; 32], entry: &TrustedEntry| old.by_digest.get(digest) != Some(entry);
    TrustChange {
        add: new
            .by_digest
            .iter()
            .filter(|(digest, entry)| is_news(digest) && differs(digest, entry))
            .map(|(digest, entry)| (*digest, *entry))
            .collect(),
        remove: Vec::new(),
        sizes: Sizes::More(new.sizes.clone()),
        packaged: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(digests: std::ops::Range<u8>, marks: u32) -> Entries {
        Entries {
            by_digest: digests
                .map(|n| {
                    let class = GateClass::Trusted as u32;
                    (
                        [n; 32],
                        TrustedEntry {
                            class,
                            marks,
                            capabilities: 0,
                        },
                    )
                })
                .collect(),
            sizes: vec![1],
            packaged: Vec::new(),
        }
    }

    #[track_caller]
    fn check(old: &Entries, new: &Entries, expected: Result<(usize, usize), Held>) {
        let found = change(old, new, 5, false).map(|change| (change.add.len(), change.remove.len()));
        assert_eq!(found, expected);
    }

    #[test]
    fn only_differences_are_written_and_losses_are_held() {
        let hundred = entries(0..100, 0);
        check(&Entries::default(), &hundred, Ok((100, 0)));
        check(&hundred, &hundred, Ok((0, 0)));
        check(&hundred, &entries(0..110, 0), Ok((10, 0)));
        check(&hundred, &entries(5..100, 0), Ok((0, 5)));
        let held = Held { before: 100, lost: 6 };
        check(&hundred, &entries(6..100, 0), Err(held));
        check(&hundred, &entries(0..100, 1), Ok((100, 0)));
        let change = change(&hundred, &entries(6..100, 0), 5, true).unwrap();
        assert_eq!(change.remove.len(), 6);
    }

    #[test]
    fn what_is_new_is_added_while_a_loss_is_held() {
        let mut old = entries(0..100, 0);
        let provisional = TrustedEntry {
            class: GateClass::Provisional as u32,
            marks: 0,
            capabilities: 0,
        };
        old.by_digest
            .extend([([98; 32], provisional), ([99; 32], provisional)]);
        // Half of it is gone, 98 is installed by now, 99 is not, 100 is new.
        let mut new = entries(50..101, 0);
        new.by_digest.insert([99; 32], provisional);
        assert!(change(&old, &new, 5, false).is_err());
        let added = additions(&old, &new);
        let mut digests: Vec<u8> = added.add.iter().map(|(digest, _)| digest[0]).collect();
        digests.sort_unstable();
        assert_eq!(digests, [98, 100]);
        assert!(added.remove.is_empty());
    }
}
