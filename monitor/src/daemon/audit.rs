//! Regular audits: when the next is due, what changed since the last, and where the result is kept.
//!
//! The audit itself runs in a child process; here is nothing but waiting for it.

use crate::audit::child::{Job, JobError, run_job};
use crate::config::{Audit, ConfigError, read_safely};
use crate::harden::Root;
use crate::trust::atomic;
use hardpan_core::audit::Verdict;
use hardpan_core::audit::report::{Change, ChangeKind, Diff, Format, Report, TableStyle};
use hardpan_core::platform::Release;
use hardpan_core::policy::harden::Host as _;
use hardpan_core::record::{Finding, FindingCode};
use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest sleep: the wall clock may jump, and a suspended machine's timers stand still.
const LOOK: Duration = Duration::from_secs(60);
/// Time after which an audit that failed is tried again, if the interval is not shorter.
const RETRY: Duration = Duration::from_secs(3600);
/// Where the result of the last run is kept, in `audit.dir`, by profile.
const EXTENSION: &str = "json";
/// Longest reason a record repeats, in characters.
const REASON_MAX: usize = 300;

/// Audits when it is time, until the receiver is gone. Without a profile it only waits for that.
pub(super) async fn keep(
    program: PathBuf,
    config: Audit,
    root: PathBuf,
    updates: mpsc::Sender<Vec<Finding>>,
) {
    let Some(profile) = config.profile.clone() else {
        return updates.closed().await;
    };
    let job = Job {
        root,
        profile,
        waivers: config.waivers.clone(),
        tailoring: config.tailoring.clone(),
        sweeps: config.sweeps,
    };
    let file = file(&config.dir, &job.profile);
    // A restart is no reason for an audit if there is a recent result.
    let last = last_run(&file, &job.root);
    let mut next = last.map_or_else(now_s, |ended| ended.saturating_add(seconds(config.interval)));
    loop {
        let due = next.saturating_add(seconds(config.jitter.mul_f64(fraction())));
        tokio::select! {
            () = until(due) => {}
            () = updates.closed() => return,
        }
        let result = tokio::select! {
            result = run_job(&program, &job, config.timeout) => result,
            () = updates.closed() => return,
        };
        // By this clock and not by the kept result, which may not have been kept.
        let pause = if result.is_err() {
            config.interval.min(RETRY)
        } else {
            config.interval
        };
        next = now_s().saturating_add(seconds(pause));
        let findings = match result {
            Ok(report) => {
                // Reading and writing reports takes a disk: not on a thread that carries events.
                let file = file.clone();
                tokio::task::spawn_blocking(move || drift(&file, &report))
                    .await
                    .unwrap_or_default()
            }
            Err(error) => vec![failure(&job, &error)],
        };
        if updates.send(findings).await.is_err() {
            return;
        }
    }
}

fn file(dir: &Path, profile: &str) -> PathBuf {
    // A profile is one of a few words, and a version an operator wrote.
    let name: String = profile
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-.@".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    dir.join(format!("{name}.{EXTENSION}"))
}

/// When the last run ended, if its result is there; one of another release or from the future counts as none.
fn last_run(file: &Path, root: &Path) -> Option<i64> {
    let report = read(file).ok()??;
    let is_same_release = release_now(root).is_none_or(|now| now == release(&report));
    (report.ended <= now_s() && is_same_release).then_some(report.ended)
}

/// Vendor and major release that a result is of.
fn release(report: &Report) -> (String, Option<u32>) {
    let host = &report.target.host;
    of(&format!(
        "ID=\"{}\"\nVERSION_ID=\"{}\"\n",
        host.os_id, host.os_version
    ))
}

/// The same of the root as it is.
fn release_now(root: &Path) -> Option<(String, Option<u32>)> {
    let root = Root::new(root).ok()?;
    let text = root.read("/etc/os-release");
    text.or_else(|| root.read("/usr/lib/os-release"))
        .map(|text| of(&text))
}

fn of(os_release: &str) -> (String, Option<u32>) {
    let release = Release::parse(os_release);
    (release.vendor.name().to_owned(), release.major)
}

/// The kept result; `None` if there is none yet.
fn read(file: &Path) -> Result<Option<Report>, String> {
    let text = match read_safely(file) {
        Ok(text) => text,
        Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Reports are larger than what `read_safely` takes; it has asked for owner and mode by then.
        Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::FileTooLarge => {
            std::fs::read_to_string(file).map_err(|error| error.to_string())?
        }
        Err(error) => return Err(error.to_string()),
    };
    Report::from_json(&text)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// Records of a finished run; its result takes the place of the last one's.
fn drift(file: &Path, report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    let earlier = match read(file) {
        Ok(earlier) => earlier,
        Err(why) => {
            findings.push(
                Finding {
                    path: Some(file.display().to_string().as_str().into()),
                    ..Finding::new(
                        FindingCode::AuditFailed,
                        format!("the last audit's result cannot be used: {why}"),
                    )
                }
                .hint("it is replaced; what changed meanwhile is not known"),
            );
            None
        }
    };
    let since = match earlier {
        None => "first run".to_owned(),
        // Nobody made the host worse: it is another one, held against another benchmark.
        Some(earlier) if release(&earlier) != release(report) => {
            format!(
                "the last run was of {}: baseline renewed",
                earlier.target.host.os_name
            )
        }
        Some(earlier) => {
            let diff = Diff::between(&earlier, report);
            findings.extend(diff.changes.iter().filter_map(|change| changed(report, change)));
            format!("since the last run: {}", diff.line())
        }
    };
    findings.push(summary(report, &since));
    let kept = report
        .render(Format::Json, TableStyle::default())
        .map_err(|error| error.to_string())
        // For root only: evidence holds lines of the host's configuration.
        .and_then(|text| atomic::write(file, text.as_bytes(), 0o600).map_err(|error| error.to_string()));
    if let Err(why) = kept {
        findings.push(
            Finding {
                path: Some(file.display().to_string().as_str().into()),
                ..Finding::new(
                    FindingCode::AuditFailed,
                    format!("the audit's result cannot be kept: {why}"),
                )
            }
            .hint("without it the next run cannot tell what changed; see audit.dir"),
        );
    }
    findings
}

/// The record of one control with another result than before. Controls that came or went are counted only: the
/// benchmark changed, not the host.
fn changed(report: &Report, change: &Change) -> Option<Finding> {
    let code = match change.kind {
        ChangeKind::Regressed => FindingCode::AuditRegressed,
        ChangeKind::Fixed => FindingCode::AuditFixed,
        ChangeKind::Changed => FindingCode::AuditChanged,
        ChangeKind::Added | ChangeKind::Removed => return None,
    };
    let rule = report.rules.iter().find(|rule| rule.control == change.control);
    let word = |verdict: Option<Verdict>| verdict.map_or("none", Verdict::word);
    let mut message = format!(
        "{} {}: {} was {}, is {}",
        report.benchmark.id,
        change.control,
        change.title,
        word(change.before),
        word(change.after)
    );
    if let Some(rule) = rule.filter(|rule| !rule.outcome.reason.is_empty()) {
        message.push_str(": ");
        message.extend(rule.outcome.reason.chars().take(REASON_MAX));
    }
    if rule.is_some_and(|rule| rule.accepted().is_some()) {
        message.push_str(" (waived)");
    }
    let remedy = rule.map(|rule| rule.remedy.as_str()).unwrap_or_default();
    let finding = Finding::new(code, message);
    Some(if code == FindingCode::AuditRegressed && !remedy.is_empty() {
        finding.hint(remedy)
    } else {
        finding
    })
}

/// The record of the run as a whole.
fn summary(report: &Report, since: &str) -> Finding {
    let counts = report.counts();
    let score = counts
        .score()
        .map_or_else(|| "no score".to_owned(), |score| format!("score {score:.1} %"));
    Finding {
        count: Some(counts.fail as u64),
        ..Finding::new(
            FindingCode::AuditDone,
            format!(
                "audit {} ({} {}): {} pass, {} fail, {} error, {score}; {since}",
                report.profile.id,
                report.benchmark.id,
                report.benchmark.version,
                counts.pass,
                counts.fail,
                counts.error,
            ),
        )
    }
}

fn failure(job: &Job, error: &JobError) -> Finding {
    let mut message = format!("audit {} failed: {error}", job.profile);
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    Finding::new(FindingCode::AuditFailed, message)
        .hint("tried again in an hour at most; `hardpan audit` shows more")
}

/// Returns once the wall clock is there.
async fn until(due: i64) {
    loop {
        let left = due.saturating_sub(now_s());
        if left <= 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(left.unsigned_abs()).min(LOOK)).await;
    }
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A number from 0 to 1, another for each call: the keys of a hash map are random.
fn fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
