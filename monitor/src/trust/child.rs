//! The child process that reads the package database, and how the daemon talks to it.
//!
//! The database is hostile input, and whoever closes one of its files drops the locks that the process holds on it:
//! so a process of its own reads it and ends. It gets its job on standard input and answers on standard output.

use super::findings::finding;
use super::index::LoadedTrust;
use super::keys;
use super::local::local_trust;
use super::manifest::LocalTrust;
use super::store::{self, Previous, ReadingOrigin, STORE_NAME};
use crate::child::{Ended, Trouble, ask, end_with_parent};
use crate::config::{Config, Trust};
use crate::enrich;
use hardpan_core::record::{Finding, FindingCode, TrustState};
use hardpan_rpm::scan::{self, ScanOutcome};
use hardpan_rpm::signature::NotProven;
use hardpan_rpm::{DigestIndex, Proven, index::DecodeError};
use serde::{Deserialize, Serialize};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tracing::warn;

/// Hidden flag of `hardpand` that makes it the child.
pub const CHILD_FLAG: &str = "--trust-child";
/// Longest answer that is taken, in bytes: about ten times what a full server's packages need.
const MAX_ANSWER_BYTES: u64 = 1 << 30;

/// What to read and whom to believe.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    root: PathBuf,
    dbpath: Option<PathBuf>,
    pins: Vec<PathBuf>,
    vendor_pins: bool,
    keyring: Vec<PathBuf>,
    database_keys: bool,
    key_sets: Option<Vec<String>>,
    legacy_signatures: bool,
    /// The file that keeps readings.
    store: PathBuf,
    boot_id: String,
    /// Database of the previous index, if one follows.
    previous_database: String,
}

impl Request {
    /// The job that a configuration stands for.
    pub(crate) fn new(config: &Trust, previous: Option<&LoadedTrust>) -> Self {
        Self {
            root: config.root.clone(),
            dbpath: config.dbpath.clone(),
            pins: config.pins.clone(),
            vendor_pins: config.vendor_pins,
            keyring: config.keyring.clone(),
            database_keys: config.database_keys,
            key_sets: config.key_sets.clone(),
            legacy_signatures: config.legacy_signatures,
            store: config.state_dir.join(STORE_NAME),
            boot_id: enrich::host(Path::new("/")).boot_id,
            previous_database: previous
                .map(|previous| previous.state.database.clone())
                .unwrap_or_default(),
        }
    }

    /// As the configuration that it was made from.
    pub(crate) fn config(&self) -> Trust {
        Trust {
            root: self.root.clone(),
            dbpath: self.dbpath.clone(),
            pins: self.pins.clone(),
            vendor_pins: self.vendor_pins,
            keyring: self.keyring.clone(),
            database_keys: self.database_keys,
            key_sets: self.key_sets.clone(),
            legacy_signatures: self.legacy_signatures,
            ..Config::default().trust
        }
    }
}

/// What the child found.
#[derive(Debug)]
pub struct Reading {
    /// The verified digests.
    pub trust: LoadedTrust,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Why there is no trust.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The child could not be started.
    #[error("cannot start the process that reads the package database")]
    Spawn(#[source] io::Error),
    /// The job could not be handed over or the answer not be taken.
    #[error("talking to the process that reads the package database")]
    Pipe(#[source] io::Error),
    /// It took too long and was ended.
    #[error("reading the package database took longer than {} s", limit.as_secs())]
    Timeout {
        /// `trust.timeout_s`.
        limit: Duration,
    },
    /// It found nothing that it could read.
    #[error("{complaint}")]
    Refused {
        /// What it said.
        complaint: String,
    },
    /// It died without an answer.
    #[error("the process that reads the package database ended with {status}: {complaint}")]
    Died {
        /// Exit code or signal.
        status: String,
        /// What it said.
        complaint: String,
    },
    /// Its answer makes no sense.
    #[error("the answer of the process that reads the package database")]
    Answer(#[source] scan::OutcomeError),
    /// What its answer says of signatures makes no sense.
    #[error("the answer of the process that reads the package database")]
    Proven(#[source] NotProven),
}

impl From<Trouble> for TrustError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Spawn(error) => Self::Spawn(error),
            Trouble::Pipe(error) => Self::Pipe(error),
        }
    }
}

/// Reads the database in a child, and the manifests. `previous` is the last reading: what has gone from it since may
/// still be running, and signatures that it found good need not be computed again.
pub async fn read(config: &Trust, previous: Option<&LoadedTrust>) -> Result<Reading, TrustError> {
    // This very program, even if its file has been replaced meanwhile.
    read_with(Path::new("/proc/self/exe"), config, previous).await
}

/// The same with a certain `hardpand` as the child.
pub async fn read_with(
    program: &Path,
    config: &Trust,
    previous: Option<&LoadedTrust>,
) -> Result<Reading, TrustError> {
    let request = Request::new(config, previous);
    let limit = config.timeout;
    let answer = run(program, &request, previous);
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => {
            let (outcome, proven) = answer?;
            let config = config.clone();
            let looked = tokio::task::spawn_blocking(move || reading(&config, outcome, proven));
            looked
                .await
                .map_err(|error| TrustError::Pipe(io::Error::other(error)))
        }
        Err(_elapsed) => Err(TrustError::Timeout { limit }),
    }
}

async fn run(
    program: &Path,
    request: &Request,
    previous: Option<&LoadedTrust>,
) -> Result<(ScanOutcome, Proven), TrustError> {
    let job = encode(request, previous).map_err(TrustError::Pipe)?;
    let Ended {
        status,
        answer,
        complaint,
    } = ask(program, CHILD_FLAG, job, MAX_ANSWER_BYTES).await?;
    match status.code() {
        Some(0) => {
            if !complaint.is_empty() {
                warn!(complaint, "the package database was read");
            }
            understand(&answer)
        }
        Some(3) => Err(TrustError::Refused { complaint }),
        _ => Err(TrustError::Died {
            status: status.to_string(),
            complaint,
        }),
    }
}

/// The answer: length of the facts, facts, outcome.
fn understand(answer: &[u8]) -> Result<(ScanOutcome, Proven), TrustError> {
    let (proven, outcome) = split_u64(answer).unwrap_or((&[], answer));
    let outcome = ScanOutcome::from_bytes(outcome).map_err(TrustError::Answer)?;
    let proven = Proven::from_bytes(proven).map_err(TrustError::Proven)?;
    Ok((outcome, proven))
}

fn reading(config: &Trust, outcome: ScanOutcome, proven: Proven) -> Reading {
    let summary = outcome.summary;
    // Pins and keys are read here once more, for what is wrong with them: the child tells only of packages.
    let (_, mut findings) = keys::pins(config.vendor_pins, config.key_sets.as_deref(), &config.pins);
    findings.extend(keys::material(&config.keyring).1);
    let local = manifests(config, &mut findings);
    findings.extend(
        outcome
            .findings
            .iter()
            .map(|found| finding(found, &summary.database)),
    );
    Reading {
        trust: LoadedTrust {
            state: TrustState {
                database: summary.database,
                loaded: summary.verified > 0,
                packages_total: summary.packages,
                packages_verified: summary.verified,
                digests: outcome.index.n_digests() as u64,
            },
            index: outcome.index,
            local,
            proven,
        },
        findings,
    }
}

/// The manifests that count now; none if that cannot be told.
fn manifests(config: &Trust, findings: &mut Vec<Finding>) -> LocalTrust {
    let refused = |error: &dyn std::error::Error, hint: Option<String>| Finding {
        path: Some(config.state_dir.display().to_string().as_str().into()),
        hint,
        ..Finding::new(
            FindingCode::ManifestRefused,
            format!("no manifest counts: {}", crate::chain::chain(error)),
        )
    };
    let now = match enrich::clock::unix_us() {
        Ok(now) => now / 1_000_000,
        Err(error) => {
            findings.push(refused(&error, None));
            return LocalTrust::default();
        }
    };
    match local_trust(&config.state_dir, &config.pins, now) {
        Ok((local, wrong)) => {
            findings.extend(wrong);
            local
        }
        Err(error) => {
            let hint = error.hint();
            findings.push(refused(&error, hint));
            LocalTrust::default()
        }
    }
}

/// The job: length of the request, request as JSON; length of the facts, facts; previous index.
fn encode(request: &Request, previous: Option<&LoadedTrust>) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(request)?;
    let mut job = Vec::new();
    put_u64(&mut job, &json);
    let nothing = Proven::default();
    let (proven, index) = previous.map_or((&nothing, &[][..]), |previous| {
        (&previous.proven, previous.index.as_bytes())
    });
    put_u64(&mut job, &proven.to_bytes());
    job.extend_from_slice(index);
    Ok(job)
}

/// A length and so many bytes.
fn put_u64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The bytes behind a length, and the rest.
fn split_u64(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)
}

/// Why the child gives up.
#[derive(Debug, Error)]
pub enum ChildError {
    /// Its input is no job.
    #[error("standard input is no job of hardpand: this process is not meant to be started by hand")]
    Job(#[source] io::Error),
    /// What the last reading knew of signatures is broken.
    #[error("what the last reading knew of signatures")]
    Proven(#[source] NotProven),
    /// The previous index is broken.
    #[error("the index of the last reading")]
    Previous(#[source] DecodeError),
    /// Nothing could be read.
    #[error(transparent)]
    Scan(#[from] scan::ScanError),
    /// The answer could not be handed over.
    #[error("handing over the answer")]
    Answer(#[source] io::Error),
}

/// The child's whole work: job from standard input, answer to standard output; the stored reading if it is current.
/// That a new one cannot be stored is told on standard error, and no failure.
pub fn child() -> Result<(), ChildError> {
    end_with_parent();
    let mut job = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut job)
        .map_err(ChildError::Job)?;
    let (request, proven, previous) = split(&job).map_err(ChildError::Job)?;
    let mut proven = Proven::from_bytes(proven).map_err(ChildError::Proven)?;
    let (options, _told_by_the_daemon) = store::scan_options(&request.config());
    let previous = if previous.is_empty() {
        None
    } else {
        Some(Previous {
            index: DigestIndex::decode(previous.to_vec()).map_err(ChildError::Previous)?,
            database: request.previous_database,
        })
    };
    let current = store::current(
        options,
        Some(&request.store),
        &request.boot_id,
        false,
        previous,
        Some(&mut proven),
    )?;
    if let ReadingOrigin::Scanned {
        store_problem,
        not_kept,
    } = &current.origin
    {
        let complaints = [
            ("the kept reading is not used", store_problem),
            ("it is not kept", not_kept),
        ];
        for (what, problem) in complaints {
            if let Some(problem) = problem {
                // A daemon that went away needs no complaint.
                let _broken_pipe = writeln!(io::stderr(), "{what}: {}", crate::chain::chain(problem));
            }
        }
    }
    let outcome = current.outcome;
    let mut answer = Vec::new();
    put_u64(&mut answer, &proven.to_bytes());
    answer.extend(
        outcome
            .to_bytes()
            .map_err(|error| ChildError::Answer(io::Error::other(error)))?,
    );
    io::stdout().lock().write_all(&answer).map_err(ChildError::Answer)
}

fn split(job: &[u8]) -> io::Result<(Request, &[u8], &[u8])> {
    let parts = || {
        let (json, rest) = split_u64(job)?;
        let (proven, previous) = split_u64(rest)?;
        Some((json, proven, previous))
    };
    let (json, proven, previous) = parts().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    Ok((serde_json::from_slice(json)?, proven, previous))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_survive_the_pipe_and_garbage_is_refused() {
        let config = Trust {
            root: "/mnt".into(),
            ..Config::default().trust
        };
        let request = Request::new(&config, None);
        let job = encode(&request, None).unwrap();
        let (back, proven, previous) = split(&job).unwrap();
        assert_eq!((back.config(), previous.len()), (config, 0));
        assert_eq!(Proven::from_bytes(proven), Ok(Proven::default()));
        assert!(split(b"").is_err());
        assert!(split(b"\xff\xff\xff\xff\xff\xff\xff\xff{}").is_err());
        assert!(split(b"\x02\0\0\0\0\0\0\0{}").is_err());
        for cut in 0..job.len() {
            let whole = split(&job[..cut]).is_ok_and(|(_, proven, _)| Proven::from_bytes(proven).is_ok());
            assert!(!whole, "{cut}");
        }
    }
}
