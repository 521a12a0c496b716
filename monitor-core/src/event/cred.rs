//! Credential changes.

use super::Head;
use super::decode::{DecodeError, head, part};
use hardpan_abi::{CredEvent, CredIds, CredWitness};

/// Credentials were committed and differ from the task's former ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredChange {
    /// When, where, who.
    pub head: Head,
    /// Before.
    pub old: CredIds,
    /// After.
    pub new: CredIds,
    /// Which lawful way announced the change.
    pub witness: CredWitness,
}

impl CredChange {
    pub(super) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (wire, _) = part::<CredEvent>(record)?;
        let witness = CredWitness::from_u32(wire.witness).ok_or_else(|| DecodeError::UnknownNumber {
            field: "witness",
            number: u64::from(wire.witness),
        })?;
        Ok(Self {
            head: head(&wire.header),
            old: wire.old,
            new: wire.new,
            witness,
        })
    }
}
