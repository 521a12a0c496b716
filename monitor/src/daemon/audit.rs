//! Regular audits: when the next is due, what changed since the last, and where the result is kept.
//!
//! The audit itself runs in a child process; here is nothing but waiting for it.

use crate::audit::child::{Job, JobError, run_job};
use crate::config::{Audit, ConfigError, read_safely};
use crate::trust::atomic;
use hardpan_core::audit::Verdict;
use hardpan_core::audit::report::{Change, ChangeKind, Diff, Format, Report, TableStyle};
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
    let mut next = last_run(&file).map_or_else(now_s, |ended| ended.saturating_add(seconds(config.interval)));
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
            Ok(report) => drift(&file, &report),
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

/// When the last run ended, if its result is there; a time in the future counts as none.
fn last_run(file: &Path) -> Option<i64> {
    let report = read(file).ok()??;
    (report.ended <= now_s()).then_some(report.ended)
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
    let diff = earlier.map(|earlier| Diff::between(&earlier, report));
    if let Some(diff) = &diff {
        findings.extend(diff.changes.iter().filter_map(|change| changed(report, change)));
    }
    findings.push(summary(report, diff.as_ref()));
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
fn summary(report: &Report, diff: Option<&Diff>) -> Finding {
    let counts = report.counts();
    let score = counts
        .score()
        .map_or_else(|| "no score".to_owned(), |score| format!("score {score:.1} %"));
    let since = diff.map_or_else(
        || "first run".to_owned(),
        |diff| format!("since the last run: {}", diff.line()),
    );
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
