//! Collectors for compliance audits, and the audit itself: read what checks wish for, ask them again, report.

pub mod child;
mod collect;
mod content;
mod files;
mod host;
mod names;
mod packages;
mod reach;
mod tools;
mod units;
mod walk;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use hardpan_core::audit::{Profile, Report, Run, Selection, Waivers, counts, coverage, score};

pub use collect::Collector;
pub use content::{Content, ContentLoadError};
pub(crate) use packages::packages as installed_packages;

/// What an audit is about.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tree to look at; `/` is the running system.
    pub root: PathBuf,
    /// The rpm database inside the root, where it is not in its usual place.
    pub dbpath: Option<PathBuf>,
    /// The profile.
    pub profile: Profile,
    /// The benchmark's version; the newest without one.
    pub version: Option<String>,
    /// The EL release, where os-release does not tell.
    pub el: Option<u32>,
    /// What the operator selects.
    pub selection: Selection,
    /// Known failures.
    pub waivers: Waivers,
}

impl Options {
    /// An audit of the running system by a profile.
    pub fn new(profile: Profile) -> Self {
        Self {
            root: PathBuf::from("/"),
            dbpath: None,
            profile,
            version: None,
            el: None,
            selection: Selection::default(),
            waivers: Waivers::default(),
        }
    }
}

impl Options {
    /// The shipped checks and benchmarks that this audit needs. A tailoring file may ask for any check.
    pub fn content(&self) -> Result<Content, ContentLoadError> {
        let family = self.profile.family();
        if self.selection.tailoring.is_some() {
            return Content::shipped(Some(family));
        }
        let el = self.el.or_else(|| {
            let root = hardpan_rpm::root::Root::open(&self.root).ok()?;
            host::host(&root, is_live(&self.root)).el_major()
        });
        Content::shipped_for(family, el)
    }
}

/// How far an audit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Checks answered, and checks in all.
    Checks {
        /// Answered.
        done: usize,
        /// All.
        total: usize,
    },
    /// Entries the file-system walk has looked at.
    Walk {
        /// Entries so far.
        seen: u64,
    },
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The root cannot be opened.
    #[error("cannot open the root {}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No benchmark for this host.
    #[error(
        "no benchmark of profile {profile}{} for {host}; `hardpan audit --list` shows what there is, --el sets the release",
        version.as_ref().map(|version| format!("@{version}")).unwrap_or_default()
    )]
    NoBenchmark {
        /// Profile name.
        profile: &'static str,
        /// Wanted version.
        version: Option<String>,
        /// The host as os-release calls it.
        host: String,
    },
    /// The operator's selection leaves no control.
    #[error("no control of {profile} is left to look at; see --only, --skip and --profile")]
    NothingSelected {
        /// Profile name.
        profile: &'static str,
    },
}

impl AuditError {
    /// Whether what was asked for makes no sense, whatever the host.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NothingSelected { .. })
    }
}

/// More rounds of wishes than any include chain needs.
const ROUNDS_MAX: usize = 64;

/// Runs an audit.
pub fn run(
    content: &Content,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, AuditError> {
    let started = jiff::Timestamp::now();
    let mut collector =
        Collector::open(&options.root, options.dbpath.as_deref()).map_err(|source| AuditError::Root {
            path: options.root.clone(),
            source,
        })?;
    let mut facts = collector.begin(started);
    let el = options.el.or_else(|| facts.host.el_major());
    let benchmark = options
        .profile
        .benchmark(&content.benchmarks, el, options.version.as_deref())
        .ok_or_else(|| AuditError::NoBenchmark {
            profile: options.profile.name(),
            version: options.version.clone(),
            host: if facts.host.os_name.is_empty() {
                "an unknown system".into()
            } else {
                facts.host.os_name.clone()
            },
        })?;
    let mut controls = benchmark.select(options.profile);
    let (checks, more, tailoring_warnings) = match &options.selection.tailoring {
        Some(tailoring) => {
            let (more, mut warnings) =
                tailoring.beyond(&content.checks, &controls, options.profile, benchmark.el);
            let (checks, of_values) = content.checks.tailored(tailoring);
            warnings.extend(of_values);
            (Cow::Owned(checks), more, warnings)
        }
        None => (Cow::Borrowed(&content.checks), Vec::new(), Vec::new()),
    };
    controls.extend(&more);
    let mut run = Run::of(&checks, controls.clone(), &options.selection);
    if run.is_empty() {
        return Err(AuditError::NothingSelected {
            profile: options.profile.name(),
        });
    }
    let clock = std::time::Instant::now();
    for _ in 0..ROUNDS_MAX {
        let wants = run.step_timed(&facts, &|| {
            u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX)
        });
        let (done, total) = run.progress();
        progress(Progress::Checks { done, total });
        if wants.is_empty() {
            break;
        }
        collector.fetch(&mut facts, wants, progress);
    }
    run.abandon("its inputs lead from one to the next without end");
    let finished = jiff::Timestamp::now();
    let today = finished.strftime("%Y-%m-%d").to_string();
    let results = run.results(&options.waivers, &benchmark.id, &today);
    let (title, version) = benchmark.title_for(&facts.host.os_id);
    let report = Report {
        schema: "hardpan-audit/1".into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        profile: options.profile.name().into(),
        profile_title: options.profile.title().into(),
        benchmark: benchmark.id.clone(),
        benchmark_title: title.into(),
        benchmark_version: version.into(),
        root: options.root.display().to_string(),
        live: facts.live,
        started: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        finished: finished.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        coverage: coverage(&content.checks, &controls),
        counts: counts(&results),
        score: score(&results),
        warnings: warnings(options, el, tailoring_warnings),
        results,
        addresses: if facts.live { host::addresses() } else { Vec::new() },
        host: facts.host,
    };
    Ok(report)
}

fn warnings(options: &Options, el: Option<u32>, mut warnings: Vec<String>) -> Vec<String> {
    if options.selection.no_sweeps {
        warnings.push("checks that walk all file systems were left out (--no-sweeps)".into());
    }
    if el.is_none() {
        warnings.push("the host does not say that it is an Enterprise Linux".into());
    }
    warnings
}

/// Whether a root is the running system's.
fn is_live(root: &Path) -> bool {
    root == Path::new("/")
}

#[cfg(test)]
mod tests;
