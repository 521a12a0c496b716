//! Signature verification of package headers: the only way to a [`VerifiedHeader`].
//!
//! A signature counts if its key's fingerprint is pinned, its material is at hand, the key (or the subkey that the
//! pinned key bound for signing) is not revoked, the algorithms are not broken, and the pin's scope covers the
//! package. One such signature is enough; what is wrong with the others is reported all the same.

mod check;
mod keyring;
mod proven;
mod verified;

pub use check::{Checked, Refusal, SignatureProblem, check_header, check_header_again, check_package_header};
pub use keyring::{KeyMaterial, Keyring, MAX_KEY_BYTES};
pub(crate) use proven::trust_digest;
pub use proven::{NotProven, Proven, Recall};
pub use verified::{FileState, Nevra, Signer, UnsignedFacts, VerifiedHeader};

#[cfg(test)]
mod tests;
