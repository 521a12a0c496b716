//! Signature verification of package headers.

mod verified;

pub(crate) use verified::lossy;
pub use verified::{FileState, Nevra, Signer, UnsignedFacts, VerifiedHeader};
