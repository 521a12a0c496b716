//! Regular verification of all packages' files: when the next is due, and what is news.
//!
//! The verification itself runs in a child process; here is nothing but waiting for it.

use crate::chain::chain;
use crate::config::{ConfigError, Trust, read_safely};
use crate::sweep::{Difference, SweepError, SweepReport, sweep};
use crate::trust::atomic;
use hardpan_core::event::RawText;
use hardpan_core::record::{Finding, FindingCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::warn;

/// Between two looks at the clock and at the interval, which a new policy may change.
const LOOK: Duration = Duration::from_secs(2);
/// A sweep that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(12 * 3600);
/// Time after which a sweep that failed is tried again, if the interval is not shorter.
const RETRY_S: i64 = 3600;
/// Where the time of the last sweep, and what it told, are kept in the state directory.
const STATE: &str = "files-sweep.json";
/// Most files that one sweep makes records of; the last record counts the rest.
const MAX_RECORDS: usize = 200;

/// What is remembered over a restart.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// End of the last sweep, in seconds since 1970; of the first start before there was one.
    ended: i64,
    /// What was told: lines of `rpm -V` with their package.
    told: BTreeSet<String>,
}

/// Sweeps when it is time, until the receiver is gone. `interval_s` is the policy's, 0 while there is none.
pub(super) async fn keep(
    program: PathBuf,
    interval_s: Arc<AtomicU32>,
    config: Trust,
    updates: mpsc::Sender<Vec<Finding>>,
) {
    let file = config.state_dir.join(STATE);
    let mut state = read(&file);
    // After the first start a host is as its administrator has just made it: the first sweep can wait.
    if state.ended == 0 || state.ended > now_s() {
        state.ended = now_s();
        save(&file, &state);
    }
    let mut not_before = 0;
    loop {
        let interval = i64::from(interval_s.load(Ordering::Relaxed));
        let due = state.ended.saturating_add(interval).max(not_before);
        if interval == 0 || now_s() < due {
            tokio::select! {
                () = updates.closed() => return,
                () = tokio::time::sleep(LOOK) => continue,
            }
        }
        let findings = match sweep(&program, &config, LIMIT).await {
            Ok(report) => {
                let findings = news(&mut state, &report);
                state.ended = now_s();
                save(&file, &state);
                findings
            }
            Err(error) => {
                not_before = now_s().saturating_add(interval.min(RETRY_S));
                vec![failure(&error)]
            }
        };
        if updates.send(findings).await.is_err() {
            return;
        }
    }
}

/// Records of what was not so in the last sweep, and one of the sweep as a whole.
fn news(state: &mut State, report: &SweepReport) -> Vec<Finding> {
    let key = |difference: &Difference| format!("{} {}", difference.package, difference.line);
    let now: BTreeSet<String> = report.differences.iter().map(key).collect();
    let new: Vec<&Difference> = report
        .differences
        .iter()
        .filter(|difference| !state.told.contains(&key(difference)))
        .collect();
    let mut findings: Vec<Finding> = new
        .iter()
        .take(MAX_RECORDS)
        .map(|difference| changed(difference))
        .collect();
    findings.push(Finding {
        count: Some(report.differing),
        ..Finding::new(
            FindingCode::FilesVerified,
            format!(
                "files of {} packages verified ({} signed), {} files, {} MiB: {} differ, {} of them news",
                report.packages,
                report.verified,
                report.files,
                report.bytes_hashed >> 20,
                report.differing,
                new.len()
            ),
        )
    });
    state.told = now;
    findings
}

fn changed(difference: &Difference) -> Finding {
    let by = if difference.signed {
        "differs from what its vendor signed"
    } else {
        "differs from its package, which nobody signed"
    };
    Finding {
        path: Some(RawText::new(difference.path.clone())),
        packages: vec![difference.package.clone()],
        ..Finding::new(
            FindingCode::FileChanged,
            format!(
                "{} of {} {by}: {}",
                String::from_utf8_lossy(&difference.path),
                difference.package,
                difference.line
            ),
        )
    }
    .hint("`hardpan verify PACKAGE` shows what differs; `dnf reinstall PACKAGE` puts it back")
}

fn failure(error: &SweepError) -> Finding {
    Finding::new(FindingCode::SweepFailed, chain(error))
        .hint("tried again in an hour at most; `hardpan verify` shows more")
}

fn read(file: &Path) -> State {
    let text = match read_safely(file) {
        Ok(text) => text,
        Err(ConfigError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return State::default();
        }
        Err(error) => return unusable(file, &error),
    };
    serde_json::from_str(&text).unwrap_or_else(|error| unusable(file, &error))
}

/// Damaged, of another version, or open to others: begun anew.
fn unusable(file: &Path, error: &dyn std::error::Error) -> State {
    warn!(file = %file.display(), error = chain(error), "what the last sweep found cannot be used: the next one tells of all that differs");
    State::default()
}

/// A state that cannot be kept makes what is known already news once more after a restart.
fn save(file: &Path, state: &State) {
    let kept = serde_json::to_vec(state)
        .map_err(std::io::Error::from)
        .and_then(|bytes| atomic::write(file, &bytes, 0o600));
    if let Err(error) = kept {
        warn!(file = %file.display(), %error, "the time of the last sweep cannot be kept, ignoring");
    }
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(path: &str, line: &str) -> Difference {
        Difference {
            path: path.as_bytes().to_vec(),
            package: "sudo-1.9.5-1.x86_64".to_owned(),
            signed: true,
            line: line.to_owned(),
        }
    }

    fn codes(state: &mut State, differences: &[Difference]) -> Vec<&'static str> {
        let report = SweepReport {
            differing: differences.len() as u64,
            differences: differences.to_vec(),
            ..SweepReport::default()
        };
        news(state, &report)
            .iter()
            .map(|finding| finding.code.word())
            .collect()
    }

    #[test]
    fn a_difference_is_told_once_and_again_when_it_came_back_or_changed() {
        let mut state = State::default();
        let sudo = difference("/usr/bin/sudo", "..5......    /usr/bin/sudo");
        let worse = difference("/usr/bin/sudo", "SM5......    /usr/bin/sudo");
        assert_eq!(codes(&mut state, &[]), ["files-verified"]);
        assert_eq!(
            codes(&mut state, std::slice::from_ref(&sudo)),
            ["file-changed", "files-verified"]
        );
        assert_eq!(codes(&mut state, std::slice::from_ref(&sudo)), ["files-verified"]);
        assert_eq!(codes(&mut state, &[worse]), ["file-changed", "files-verified"]);
        assert_eq!(codes(&mut state, &[]), ["files-verified"]);
        assert_eq!(codes(&mut state, &[sudo]), ["file-changed", "files-verified"]);
    }

    #[test]
    fn a_flood_of_differences_is_bounded() {
        let many: Vec<Difference> = (0..1000)
            .map(|n| difference(&format!("/usr/bin/{n}"), &format!("..5......    /usr/bin/{n}")))
            .collect();
        assert_eq!(codes(&mut State::default(), &many).len(), MAX_RECORDS + 1);
    }

    #[test]
    fn the_state_survives_a_restart_and_nonsense_does_not_harm() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("hardpan").join(STATE);
        assert_eq!(read(&file), State::default());
        let state = State {
            ended: 12,
            told: BTreeSet::from(["x".to_owned()]),
        };
        save(&file, &state);
        assert_eq!(read(&file), state);
        std::fs::write(&file, "{").expect("written");
        assert_eq!(read(&file), State::default());
    }
}
