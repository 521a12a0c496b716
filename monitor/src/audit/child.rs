//! An audit as a child process: low priority, a time limit, and nothing of it in the daemon's own memory but the report.
//!
//! The child gets its job as JSON on standard input and answers with a JSON report on standard output.

use super::{AuditError, ContentLoadError, Options, run};
use crate::child::{self, Trouble, ask, end_with_parent, give_way};
use crate::config::{ConfigError, read_safely};
use hardpan_core::audit::report::{Format, Report, ReportError, TableStyle};
use hardpan_core::audit::{Profile, Selection, Tailoring, Waivers};
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Hidden flag of `hardpand` that makes it the child.
pub const CHILD_FLAG: &str = "--audit-child";
/// Longest report that is taken, in bytes: some twenty times that of the largest benchmark.
const MAX_REPORT_BYTES: u64 = 64 << 20;

/// What to audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The tree to look at; `/` is the running system.
    pub root: PathBuf,
    /// Profile, with the benchmark's version after an @.
    pub profile: String,
    /// File of waivers.
    pub waivers: Option<PathBuf>,
    /// Tailoring file written for SCAP Security Guide.
    pub tailoring: Option<PathBuf>,
    /// Also walk all local file systems.
    pub sweeps: bool,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum JobError {
    /// The child could not be started.
    #[error("cannot start the process that audits")]
    Spawn(#[source] io::Error),
    /// The job could not be handed over or the answer not be taken.
    #[error("talking to the process that audits")]
    Pipe(#[source] io::Error),
    /// It took too long and was ended.
    #[error("the audit took longer than {} s", limit.as_secs())]
    Timeout {
        /// `audit.timeout_s`.
        limit: Duration,
    },
    /// It gave up, or died.
    #[error("the process that audits ended with {status}: {complaint}")]
    Ended {
        /// Exit code or signal.
        status: String,
        /// What it said.
        complaint: String,
    },
    /// Its answer makes no sense.
    #[error("the answer of the process that audits")]
    Answer(#[source] ReportError),
}

impl From<Trouble> for JobError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Spawn(error) => Self::Spawn(error),
            Trouble::Pipe(error) => Self::Pipe(error),
        }
    }
}

/// Reads a profile as `--profile` and the configuration take it.
pub fn parse_profile(text: &str) -> Result<(Profile, Option<String>), String> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version.to_owned())),
        None => (text, None),
    };
    let known = || Profile::ALL.map(|(name, _, _)| name).join(", ");
    Profile::named(name)
        .map(|profile| (profile, version))
        .ok_or_else(|| format!("must be one of {}", known()))
}

/// Audits in a child of a certain program, which must take [`CHILD_FLAG`].
pub async fn run_job(program: &Path, job: &Job, limit: Duration) -> Result<Report, JobError> {
    match tokio::time::timeout(limit, talk(program, job)).await {
        Ok(report) => report,
        // The child is killed when it is dropped.
        Err(_elapsed) => Err(JobError::Timeout { limit }),
    }
}

async fn talk(program: &Path, job: &Job) -> Result<Report, JobError> {
    let job = serde_json::to_vec(job).map_err(|error| JobError::Pipe(error.into()))?;
    let ended = ask(program, CHILD_FLAG, job, MAX_REPORT_BYTES).await?;
    if !ended.status.success() {
        return Err(JobError::Ended {
            status: ended.status.to_string(),
            complaint: ended.complaint,
        });
    }
    Report::from_json(&String::from_utf8_lossy(&ended.answer)).map_err(JobError::Answer)
}

/// Why the child gives up.
#[derive(Debug, Error)]
pub enum ChildError {
    /// Its input is no job.
    #[error("standard input is no job of hardpand: this process is not meant to be started by hand")]
    Job(#[source] io::Error),
    /// The profile is unknown.
    #[error("audit.profile {0}")]
    Profile(String),
    /// The waivers or the tailoring file cannot be read, or others may change it.
    #[error(transparent)]
    Input(#[from] ConfigError),
    /// The waivers or the tailoring file makes no sense.
    #[error("cannot use {}: {why}", path.display())]
    Nonsense {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The shipped checks cannot be used.
    #[error(transparent)]
    Content(#[from] ContentLoadError),
    /// There is no audit.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The report cannot be written.
    #[error("writing the report")]
    Report(#[from] ReportError),
    /// The answer could not be handed over.
    #[error("handing over the answer")]
    Answer(#[source] io::Error),
}

/// The child's whole work: job from standard input, report to standard output.
pub fn child() -> Result<(), ChildError> {
    end_with_parent();
    give_way();
    let text = child::job().map_err(ChildError::Job)?;
    let job: Job = serde_json::from_str(&text).map_err(|error| ChildError::Job(error.into()))?;
    let report = report(&job)?;
    io::stdout()
        .lock()
        .write_all(report.as_bytes())
        .map_err(ChildError::Answer)
}

fn report(job: &Job) -> Result<String, ChildError> {
    let (profile, version) = parse_profile(&job.profile).map_err(ChildError::Profile)?;
    let nonsense = |path: &Path, error: &dyn std::error::Error| ChildError::Nonsense {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut options = Options::new(profile);
    options.version = version;
    options.root.clone_from(&job.root);
    let tailoring = match &job.tailoring {
        Some(path) => {
            let text = read_safely(path)?;
            Some(Tailoring::parse(&text, None).map_err(|error| nonsense(path, &error))?)
        }
        None => None,
    };
    options.selection = Selection {
        tailoring,
        no_sweeps: !job.sweeps,
        ..Selection::default()
    };
    if let Some(path) = &job.waivers {
        options.waivers = Waivers::parse(&read_safely(path)?).map_err(|error| nonsense(path, &error))?;
    }
    let content = options.content()?;
    let audit = run(&content, &options, &mut |_| {})?;
    Ok(Report::of(&audit, &content.checks).render(Format::Json, TableStyle::default())?)
}
