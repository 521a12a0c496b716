//! Reads rpm databases and package files, verifies their OpenPGP signatures against pinned keys, and indexes the
//! file digests that are signed.
//!
//! # Layout
//!
//! | module | what | IO |
//! |---|---|---|
//! | [`header`] | total parser of header blobs; signed region and unsigned dribbles apart | no |
//! | [`files`], [`digest`] | the file list of a header | no |
//! | [`pins`] | pinned key fingerprints, read from TOML | no |
//! | [`openpgp`] | armour, packets, signatures, certificates | no |
//! | [`signature`] | verification; the only maker of [`VerifiedHeader`] | no |
//! | [`index`] | [`DigestIndex`]: digest to package and path, path to digest; encodes itself | no |
//! | [`finding`] | what is wrong, as data | no |
//! | [`package`] | package files | reads from any reader |
//! | [`verify`] | installed files against the signed headers, as `rpm -Va` | yes |
//! | [`scan`] | one look at a whole database: what a child process calls | yes |
//!
//! # Invariants
//!
//! * A digest gets into a [`DigestIndex`] only out of a [`VerifiedHeader`], and a [`VerifiedHeader`] only comes from
//!   signature verification by a pinned key, and only shows the immutable region of the header.
//! * Parsers do no IO, contain no unsafe, do not panic, and use memory in proportion to their input.
//! * No rpm lock is ever taken and no file of the database's directory is ever changed.

#![forbid(unsafe_code)]

mod build_system;
mod crypto;
pub mod db;
pub mod digest;
pub mod files;
pub mod finding;
pub mod header;
pub mod index;
pub mod openpgp;
pub mod package;
pub mod pins;
pub mod root;
pub mod scan;
pub mod signature;
#[cfg(test)]
mod testing;
pub mod verify;

pub use build_system::build_system;
pub use db::{DbError, RpmDb};
pub use finding::Finding;
pub use index::{DigestIndex, IndexBuilder, Owner, Provenance, usr_merge_alias};
pub use pins::{Fingerprint, Pin, Pins};
pub use scan::{ScanError, ScanOptions, ScanOutcome, ScanSummary, rescan, scan};
pub use signature::{KeyMaterial, Nevra, Proven, VerifiedHeader};
