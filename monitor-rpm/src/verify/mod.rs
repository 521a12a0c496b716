//! Verification of installed files against the signed headers: what `rpm -Va` does, with the chain of signatures
//! checked, and only the signed part of the headers believed.
//!
//! Differences to rpm, all of them on purpose: what a header says counts only from inside its signed region. File
//! states are unsigned, so they excuse an absent file and never a differing one; that another package replaced a
//! file is found by comparing with that package. A changed `%config` file is no mismatch. Dependencies are not
//! checked, and `%verifyscript`s are not run.

mod caps;
mod compare;
mod engine;
mod inventory;
mod job;
mod look;
mod users;

use std::path::PathBuf;

pub use caps::FileCaps;
pub use compare::{Difference, Properties};
pub use engine::verify;
pub use inventory::{
    Inventory, InventoryItem, InventoryOptions, MAX_ITEMS, SYSTEM_DIRECTORIES, Unaccounted, inventory,
};
pub use look::Progress;
use serde::{Serialize, Serializer};

use crate::db::DbError;
use crate::finding::Finding;
use crate::pins::Glob;
use crate::scan::{ScanError, ScanOptions};

/// Most differing files that are reported one by one.
pub const MAX_REPORTS: usize = 100_000;

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Root, database, pins, keys, threads, scratch directory. What concerns the index is not used.
    pub scan: ScanOptions,
    /// Patterns over package names or NEVRAs; empty means all packages.
    pub packages: Vec<Glob>,
    /// Absolute paths inside the root: only these files, and files below these directories; empty means all.
    pub paths: Vec<PathBuf>,
    /// Whether contents are hashed (rpm: without `--nofiledigest`).
    pub digests: bool,
    /// Whether file pages are dropped from the cache after reading. Keeps a sweep from pushing out what services use,
    /// at the price of pages that were cached before.
    pub drop_cache: bool,
}

impl VerifyOptions {
    /// Everything, contents included.
    pub fn new(scan: ScanOptions) -> Self {
        Self {
            scan,
            packages: Vec::new(),
            paths: Vec::new(),
            digests: true,
            drop_cache: false,
        }
    }
}

/// What a difference means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// It differs from what was signed.
    Changed,
    /// A `%config` file whose content was changed and nothing else: an administrator's right.
    ConfigModified,
    /// It is not there and should be.
    Missing,
    /// Another verified package owns the same path, and the file is that package's.
    Replaced {
        /// NEVRA of that package.
        by: String,
    },
    /// It could not be looked at, or not read.
    Unreadable {
        /// Why.
        error: String,
    },
}

/// A file that is not as its package wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// NEVRA of the package.
    pub package: String,
    /// Whether the package's header is verified: if not, nobody signed what the file was compared with.
    pub verified: bool,
    /// Path as the package names it.
    #[serde(serialize_with = "lossy")]
    pub path: Vec<u8>,
    /// What it means.
    pub verdict: Verdict,
    /// What differs, in rpm's terms.
    #[serde(serialize_with = "as_text")]
    pub properties: Properties,
    /// rpm's letter for the kind of file ('c' for `%config`, …), or a space.
    pub letter: char,
    /// What differs, in full.
    pub differences: Vec<Difference>,
}

fn lossy<S: Serializer>(path: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(path))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn as_text<S: Serializer>(properties: &Properties, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(properties)
}

impl FileReport {
    /// The line that `rpm -V` would print.
    pub fn rpm_line(&self) -> String {
        let path = String::from_utf8_lossy(&self.path);
        match &self.verdict {
            Verdict::Missing => format!("missing   {} {path}", self.letter),
            Verdict::Unreadable { error } if self.properties.is_empty() => {
                format!("missing   {} {path} ({error})", self.letter)
            }
            Verdict::Replaced { .. } => format!("{}  {} {path} (replaced)", self.properties, self.letter),
            _ => format!("{}  {} {path}", self.properties, self.letter),
        }
    }

    /// Takes the time of modification out.
    fn forget_time(&mut self) {
        self.properties.remove(Properties::MTIME);
        self.differences
            .retain(|difference| difference.property != "mtime");
    }

    /// Leaves only what rpm compares of a file in whose place one of a preferred colour was installed.
    fn forget_content(&mut self) {
        let content = Properties::DIGEST.0 | Properties::SIZE.0 | Properties::MTIME.0 | Properties::DEVICE.0;
        self.properties.remove(Properties(content));
        self.differences
            .retain(|difference| !matches!(difference.property, "digest" | "size" | "mtime" | "device"));
    }

    /// Whether it counts as a finding: neither an administrator's change nor another package's file does.
    pub fn is_finding(&self) -> bool {
        !matches!(self.verdict, Verdict::ConfigModified | Verdict::Replaced { .. })
    }
}

/// Signature status of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageReport {
    /// NEVRA.
    pub package: String,
    /// Name of the pin that vouches for it.
    pub signer: Option<String>,
    /// Fingerprint of the key or subkey that made the signature.
    pub key: Option<String>,
    /// Why nothing vouches for it.
    pub refused: Option<String>,
}

/// Counts of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifySummary {
    /// Packages looked at.
    pub packages: u64,
    /// Of these, with a good signature by a pinned key.
    pub verified: u64,
    /// Files of these packages.
    pub files: u64,
    /// Files as they should be.
    pub fine: u64,
    /// Files that differ (`Changed`).
    pub changed: u64,
    /// Changed `%config` files.
    pub config_modified: u64,
    /// Files that should be there.
    pub missing: u64,
    /// Absent files that may be: `%ghost`, missing-ok, left out at installation.
    pub absent_excused: u64,
    /// Files of another verified package.
    pub replaced: u64,
    /// Files that could not be looked at or read.
    pub unreadable: u64,
    /// Regular files that are there and whose content no digest covers: `%ghost`, and what packages exclude from
    /// comparison (caches, databases, generated archives).
    pub generated: u64,
    /// Bytes hashed.
    pub bytes_hashed: u64,
    /// Hard links that were not hashed a second time.
    pub links_skipped: u64,
    /// Differing files beyond [`MAX_REPORTS`].
    pub reports_dropped: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyOutcome {
    /// Files that are not as they should be, by package and path.
    pub files: Vec<FileReport>,
    /// Packages, by NEVRA.
    pub packages: Vec<PackageReport>,
    /// What is wrong with signatures, keys and the database.
    pub findings: Vec<Finding>,
    /// Counts.
    pub summary: VerifySummary,
}

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The database cannot be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// No package has the name, or owns the path, that was asked for.
    #[error("no installed package matches {0}")]
    NoMatch(String),
    /// Root or keys cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
}
