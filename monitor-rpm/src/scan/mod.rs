//! One look at a whole rpm database: what a short-lived child process does for the daemon.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::index::DigestIndex;
use crate::pins::Pins;

/// Bytes that may hold OpenPGP keys, and where they come from.
#[derive(Clone, Debug)]
pub struct KeyMaterial {
    /// Origin for messages, usually a path.
    pub source: String,
    /// ASCII armour (any number of keys and blocks) or binary packets.
    pub bytes: Vec<u8>,
}

/// What to scan, and what to believe.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Root directory of the system, `/` for the running one.
    pub root: PathBuf,
    /// Directory of the database, inside the root; `None` tries the usual ones.
    pub dbpath: Option<PathBuf>,
    /// Keys that may vouch.
    pub pins: Pins,
    /// Key material besides the gpg-pubkey headers of the database.
    pub keys: Vec<KeyMaterial>,
    /// Whether gpg-pubkey headers of the database count as key material too (only pinned keys do, in any case).
    pub use_database_keys: bool,
    /// Worker threads; 0 means as many as the process may use.
    pub threads: usize,
    /// Where to put the private copy of the database; `None` is the system's directory for temporary files.
    pub scratch: Option<PathBuf>,
    /// Whether files with signed digests of other algorithms than SHA-256 are read below `root`, compared, and
    /// admitted with their SHA-256 as [`crate::index::Provenance::Derived`].
    pub derive_foreign_digests: bool,
    /// Index of the last scan: its digests that are gone stay in the new one as
    /// [`crate::index::Provenance::Retired`].
    pub retire: Option<DigestIndex>,
}

/// Counts of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSummary {
    /// Database file that was read.
    pub database: String,
    /// Back end: "sqlite" or "bdb".
    pub backend: String,
    /// Identity of the database files when they were copied; equal stamps mean an unchanged database.
    pub stamp: String,
    /// Headers in the database, keys included.
    pub headers: u64,
    /// gpg-pubkey headers.
    pub key_headers: u64,
    /// Packages (headers without the keys).
    pub packages: u64,
    /// Packages with a good signature by a pinned key that covers them.
    pub verified: u64,
    /// Files of verified packages, of any kind.
    pub files: u64,
    /// Different digests in the index, retired ones included.
    pub digests: u64,
    /// Pinned keys whose material was found and is usable.
    pub usable_keys: u64,
}

/// What a scan gives back. [`ScanOutcome::to_bytes`] and [`ScanOutcome::from_bytes`] carry it through a pipe.
#[derive(Clone, Debug)]
pub struct ScanOutcome {
    /// The digests that may be trusted.
    pub index: DigestIndex,
    /// What is wrong, in a stable order; empty if nothing is.
    pub findings: Vec<Finding>,
    /// Counts.
    pub summary: ScanSummary,
}
