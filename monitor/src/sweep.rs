//! A verification of all packages' files as a child process: one thread, low priority, a time limit, and nothing of it
//! in the daemon's own memory but what differs.
//!
//! The child gets its job as JSON on standard input and answers with JSON on standard output.

use crate::child::{Trouble, ask, end_with_parent, give_way, job};
use crate::config::Trust;
use crate::trust::{Request, store};
use hardpan_rpm::verify::{FileReport, Progress, VerifyError, VerifyOptions, VerifyOutcome, verify};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Hidden flag of `hardpand` that makes it the child.
pub const CHILD_FLAG: &str = "--files-child";
/// Most differing files that are answered one by one.
pub const MAX_DIFFERENCES: usize = 1000;
/// Time until what differs is looked at once more: a package may just be replaced.
const SECOND_LOOK: Duration = Duration::from_secs(20);
/// Longest answer that is taken, in bytes: paths have 4 KiB at most.
const MAX_ANSWER_BYTES: u64 = 32 << 20;

/// A file that is not as its package wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Path as the package names it.
    pub path: Vec<u8>,
    /// NEVRA of the package.
    pub package: String,
    /// Whether the package's header is verified: if not, nobody signed what the file was compared with.
    pub signed: bool,
    /// The line of `rpm -V`.
    pub line: String,
}

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Packages looked at.
    pub packages: u64,
    /// Of these, with a good signature by a pinned key.
    pub verified: u64,
    /// Files of these packages.
    pub files: u64,
    /// Bytes hashed.
    pub bytes_hashed: u64,
    /// What differs, [`MAX_DIFFERENCES`] at most.
    pub differences: Vec<Difference>,
    /// Files that differ, those beyond included.
    pub differing: u64,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The child could not be started.
    #[error("cannot start the process that verifies files")]
    Spawn(#[source] io::Error),
    /// The job could not be handed over or the answer not be taken.
    #[error("talking to the process that verifies files")]
    Pipe(#[source] io::Error),
    /// It took too long and was ended.
    #[error("verifying all files took longer than {} s", limit.as_secs())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// It gave up, or died.
    #[error("the process that verifies files ended with {status}: {complaint}")]
    Ended {
        /// Exit code or signal.
        status: String,
        /// What it said.
        complaint: String,
    },
    /// Its answer makes no sense.
    #[error("the answer of the process that verifies files")]
    Answer(#[source] serde_json::Error),
}

impl From<Trouble> for SweepError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Spawn(error) => Self::Spawn(error),
            Trouble::Pipe(error) => Self::Pipe(error),
        }
    }
}

/// Verifies in a child of a certain program, which must take [`CHILD_FLAG`].
pub async fn sweep(program: &Path, config: &Trust, limit: Duration) -> Result<SweepReport, SweepError> {
    match tokio::time::timeout(limit, talk(program, config)).await {
        Ok(report) => report,
        // The child is killed when it is dropped.
        Err(_elapsed) => Err(SweepError::Timeout { limit }),
    }
}

async fn talk(program: &Path, config: &Trust) -> Result<SweepReport, SweepError> {
    let job =
        serde_json::to_vec(&Request::new(config, None)).map_err(|error| SweepError::Pipe(error.into()))?;
    let ended = ask(program, CHILD_FLAG, job, MAX_ANSWER_BYTES).await?;
    if !ended.status.success() {
        return Err(SweepError::Ended {
            status: ended.status.to_string(),
            complaint: ended.complaint,
        });
    }
    serde_json::from_slice(&ended.answer).map_err(SweepError::Answer)
}

/// Why the child gives up.
#[derive(Debug, Error)]
pub enum ChildError {
    /// Its input is no job.
    #[error("standard input is no job of hardpand: this process is not meant to be started by hand")]
    Job(#[source] io::Error),
    /// Nothing could be verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The answer could not be made.
    #[error("encoding the answer")]
    Encode(#[source] serde_json::Error),
    /// The answer could not be handed over.
    #[error("handing over the answer")]
    Answer(#[source] io::Error),
}

/// The child's whole work: job from standard input, report to standard output.
pub fn child() -> Result<(), ChildError> {
    end_with_parent();
    give_way();
    let text = job().map_err(ChildError::Job)?;
    let request: Request = serde_json::from_str(&text).map_err(|error| ChildError::Job(error.into()))?;
    let report = look_twice(&request.config(), SECOND_LOOK)?;
    let json = serde_json::to_vec(&report).map_err(ChildError::Encode)?;
    io::stdout().lock().write_all(&json).map_err(ChildError::Answer)
}

/// Verifies all files, and those that differ once more after a while: only what differs both times counts.
fn look_twice(config: &Trust, pause: Duration) -> Result<SweepReport, VerifyError> {
    let first = look(config, Vec::new())?;
    let summary = &first.summary;
    let mut report = SweepReport {
        packages: summary.packages,
        verified: summary.verified,
        files: summary.files,
        bytes_hashed: summary.bytes_hashed,
        ..SweepReport::default()
    };
    let suspects: Vec<&FileReport> = first.files.iter().filter(|file| file.is_finding()).collect();
    if suspects.is_empty() {
        return Ok(report);
    }
    std::thread::sleep(pause);
    let paths = suspects
        .iter()
        .take(MAX_DIFFERENCES)
        .map(|file| PathBuf::from(OsStr::from_bytes(&file.path)))
        .collect();
    let again = match look(config, paths) {
        Ok(again) => again.files,
        // Their packages were removed meanwhile.
        Err(VerifyError::NoMatch(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let beyond = suspects.len().saturating_sub(MAX_DIFFERENCES) as u64 + summary.reports_dropped;
    report.differences = again
        .iter()
        .filter(|file| file.is_finding())
        .filter(|file| suspects.iter().any(|other| other.path == file.path))
        .take(MAX_DIFFERENCES)
        .map(difference)
        .collect();
    report.differing = report.differences.len() as u64 + beyond;
    Ok(report)
}

fn look(config: &Trust, paths: Vec<PathBuf>) -> Result<VerifyOutcome, VerifyError> {
    // What is wrong with keys and pins is told by the daemon itself.
    let (scan, _told_by_the_daemon) = store::scan_options(config);
    let mut options = VerifyOptions::new(scan);
    options.scan.threads = 1;
    options.drop_cache = true;
    options.paths = paths;
    verify(&options, &Progress::default())
}

fn difference(file: &FileReport) -> Difference {
    Difference {
        path: file.path.clone(),
        package: file.package.clone(),
        signed: file.verified,
        line: file.rpm_line(),
    }
}
