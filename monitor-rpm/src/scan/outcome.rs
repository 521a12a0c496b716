//! What a scan gives back, and how it gets through a pipe.

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::index::{DecodeError, DigestIndex};

const MAGIC: &[u8; 8] = b"HPSCAN01";

/// Counts of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSummary {
    /// Database file that was read.
    pub database: String,
    /// Back end: "sqlite" or "bdb".
    pub backend: String,
    /// Identity of the database files when they were copied; see [`crate::db::RpmDb::stamp`].
    pub stamp: String,
    /// Whether rpm was in the middle of a transaction.
    pub transaction_running: bool,
    /// Databases that were found and not read.
    pub ignored_databases: Vec<String>,
    /// Headers in the database, keys and unreadable ones included.
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
    /// What is wrong, alarms first, else in a stable order; empty if nothing is.
    pub findings: Vec<Finding>,
    /// Counts.
    pub summary: ScanSummary,
}

/// Why bytes are not an outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// The index part is not one.
    #[error("scan outcome: index")]
    Index(#[source] DecodeError),
    /// The report part is not one.
    #[error("scan outcome: report")]
    Report(#[source] serde_json::Error),
    /// Not an outcome, or cut short: the child died.
    #[error("scan outcome: not one, or cut short after {found} bytes")]
    Truncated {
        /// Bytes that came.
        found: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct Report {
    findings: Vec<Finding>,
    summary: ScanSummary,
}

impl ScanOutcome {
    /// Encodes it: magic, length of the report, report (JSON), index.
    pub fn to_bytes(&self) -> Result<Vec<u8>, OutcomeError> {
        let report = Report {
            findings: self.findings.clone(),
            summary: self.summary.clone(),
        };
        let json = serde_json::to_vec(&report).map_err(OutcomeError::Report)?;
        let index = self.index.as_bytes();
        let mut out = Vec::with_capacity(MAGIC.len() + 8 + json.len() + index.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(json.len() as u64).to_le_bytes());
        out.extend_from_slice(&json);
        out.extend_from_slice(index);
        Ok(out)
    }

    /// Decodes it. Total: a broken child is an error here.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OutcomeError> {
        let truncated = OutcomeError::Truncated { found: bytes.len() };
        let parts = (|| {
            let (len, rest) = bytes.strip_prefix(MAGIC)?.split_at_checked(8)?;
            rest.split_at_checked(usize::try_from(u64::from_le_bytes(len.try_into().ok()?)).ok()?)
        })();
        let Some((json, index)) = parts else {
            return Err(truncated);
        };
        let Report { findings, summary } = serde_json::from_slice(json).map_err(OutcomeError::Report)?;
        let index = DigestIndex::decode(index.to_vec()).map_err(OutcomeError::Index)?;
        Ok(Self {
            index,
            findings,
            summary,
        })
    }
}
