//! What signature verification found good before, so that the next look need not compute it again.
//!
//! A fact is pure mathematics: this signature, by this key, over these bytes, is good. Nothing can make it untrue
//! later, and nothing but [`super::check_header_again`] makes or reads one. Whether the key is pinned, revoked or too
//! weak, and whether its pin covers the package, is asked anew at every look. So a fact is never a way around a
//! verification; a [`super::VerifiedHeader`] is made where it always is.
//!
//! Facts live in memory. They may cross a pipe between processes of one program (whose other end decides as well
//! which keys are pinned), and must never be read from a file.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::crypto;
use crate::pins::Pins;

use super::keyring::KeyMaterial;

const MAGIC: &[u8; 8] = b"HPPROVEN";
const FACT_BYTES: usize = 32;
/// Magic, context, two counts.
const HEAD_BYTES: usize = 8 + 32 + 16;

/// A good signature: SHA-256 of key, signature and signed bytes.
pub(super) type Fact = [u8; FACT_BYTES];

/// The good signatures of one look at a database, as facts. See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// Digest of pins and key material: facts of other ones are not used.
    context: [u8; 32],
    facts: BTreeSet<Fact>,
    computed: u64,
    recalled: u64,
}

/// Why bytes are no facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are not the signatures that an earlier look found good")]
pub struct NotProven;

impl Proven {
    /// How many good signatures it knows.
    pub fn n_facts(&self) -> usize {
        self.facts.len()
    }

    /// Signatures that the look computed.
    pub fn n_computed(&self) -> u64 {
        self.computed
    }

    /// Signatures that the look before had found good.
    pub fn n_recalled(&self) -> u64 {
        self.recalled
    }

    /// For a pipe to another process of the same program. Never write them to a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.facts.len() * FACT_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.context);
        out.extend_from_slice(&self.computed.to_le_bytes());
        out.extend_from_slice(&self.recalled.to_le_bytes());
        for fact in &self.facts {
            out.extend_from_slice(fact);
        }
        out
    }

    /// Out of a pipe from another process of the same program: whoever calls this vouches for the other end.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotProven> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(NotProven)?;
        let (context, rest) = rest.split_first_chunk::<32>().ok_or(NotProven)?;
        let (computed, rest) = rest.split_first_chunk::<8>().ok_or(NotProven)?;
        let (recalled, rest) = rest.split_first_chunk::<8>().ok_or(NotProven)?;
        let (facts, []) = rest.as_chunks::<FACT_BYTES>() else {
            return Err(NotProven);
        };
        if !facts.is_sorted_by(|a, b| a < b) {
            return Err(NotProven);
        }
        Ok(Self {
            context: *context,
            facts: facts.iter().copied().collect(),
            computed: u64::from_le_bytes(*computed),
            recalled: u64::from_le_bytes(*recalled),
        })
    }
}

/// The facts of the look before, and those of this one.
#[derive(Debug)]
pub struct Recall<'a> {
    known: Option<&'a Proven>,
    now: Mutex<Proven>,
}

impl<'a> Recall<'a> {
    /// Facts that were found with other pins or other key material are left aside.
    pub fn new(known: &'a Proven, pins: &Pins, material: &[KeyMaterial]) -> Self {
        let context = trust_digest(pins, material);
        Self {
            known: Some(known).filter(|known| known.context == context),
            now: Mutex::new(Proven {
                context,
                ..Proven::default()
            }),
        }
    }

    /// The facts of this look, and no older ones.
    pub fn finish(self) -> Proven {
        self.now.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `fact` holds: it is known, or `compute` finds out.
    pub(super) fn prove<E>(&self, fact: Fact, compute: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let is_known = self.known.is_some_and(|known| known.facts.contains(&fact));
        if !is_known {
            compute()?;
        }
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.facts.insert(fact);
        if is_known {
            now.recalled += 1;
        } else {
            now.computed += 1;
        }
        Ok(())
    }
}

/// Digest of all that decides whose signatures count.
pub(crate) fn trust_digest(pins: &Pins, material: &[KeyMaterial]) -> [u8; 32] {
    let mut bytes = Vec::new();
    let mut add = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    };
    for pin in pins.iter() {
        add(pin.fingerprint.as_bytes());
        add(&[u8::from(pin.legacy)]);
        for glob in &pin.scope {
            add(glob.to_string().as_bytes());
        }
        add(b"");
    }
    for key in material {
        add(&crypto::sha256(&key.bytes));
    }
    crypto::sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(facts: &[u8]) -> Proven {
        Proven {
            context: trust_digest(&Pins::default(), &[]),
            facts: facts.iter().map(|seed| [*seed; 32]).collect(),
            computed: 2,
            recalled: 1,
        }
    }

    #[test]
    fn they_survive_the_pipe_and_garbage_is_refused() {
        for facts in [&[][..], &[1], &[1, 2, 200]] {
            let proven = proven(facts);
            assert_eq!(Proven::from_bytes(&proven.to_bytes()), Ok(proven));
        }
        let good = proven(&[1, 2]).to_bytes();
        for cut in 0..good.len() {
            // What is cut between two facts is shorter, and no less true.
            let whole = cut >= HEAD_BYTES && (cut - HEAD_BYTES).is_multiple_of(FACT_BYTES);
            assert_eq!(Proven::from_bytes(&good[..cut]).is_ok(), whole, "{cut}");
        }
        let mut twice = good.clone();
        twice.extend_from_within(HEAD_BYTES..);
        assert_eq!(Proven::from_bytes(&twice), Err(NotProven));
    }

    #[test]
    fn only_what_is_known_is_not_computed() {
        let known = proven(&[1]);
        let check = |recall: &Recall<'_>, seed: u8, result: Result<(), ()>| {
            let mut asked = false;
            let answer = recall.prove([seed; 32], || {
                asked = true;
                result
            });
            (asked, answer)
        };
        let recall = Recall::new(&known, &Pins::default(), &[]);
        assert_eq!(check(&recall, 1, Err(())), (false, Ok(())));
        assert_eq!(check(&recall, 2, Ok(())), (true, Ok(())));
        assert_eq!(check(&recall, 3, Err(())), (true, Err(())));
        let now = recall.finish();
        assert_eq!((now.n_facts(), now.n_computed(), now.n_recalled()), (2, 1, 1));
        // Other key material: nothing is known.
        let material = [KeyMaterial {
            source: String::new(),
            bytes: vec![1],
        }];
        let recall = Recall::new(&known, &Pins::default(), &material);
        assert_eq!(check(&recall, 1, Err(())), (true, Err(())));
    }
}
