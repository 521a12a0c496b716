//! How the daemon itself is doing: losses, uptime, heartbeat.

use crate::enrich::clock::{Clock, boottime_ns};
use hardpan_core::record::{Finding, FindingCode, Ledger, TrustState};
use std::collections::HashSet;
use std::time::Duration;

/// Seconds between two findings about the same kind of loss.
const QUIET_S: u64 = 10;

/// What was found at the last reading of something that is read again and again.
#[derive(Debug, Default)]
pub(super) struct Told(HashSet<(FindingCode, String)>);

impl Told {
    /// Those of a reading's findings that the reading before did not have: every update of a package reads the
    /// database again, and the same hundred unsigned packages are no news.
    pub(super) fn news<'a>(&mut self, findings: &'a [Finding]) -> Vec<&'a Finding> {
        let key = |finding: &Finding| (finding.code, finding.message.clone());
        let news = findings
            .iter()
            .filter(|finding| !self.0.contains(&key(finding)))
            .collect();
        self.0 = findings.iter().map(key).collect();
        news
    }
}

/// State between two looks.
#[derive(Debug)]
pub(super) struct Health {
    started_ns: u64,
    last_heartbeat_ns: u64,
    clock: Option<Clock>,
    told: Ledger,
    /// Of the package database.
    pub packages: Told,
    /// Of hardening.
    pub hardening: Told,
    /// Of the policy's files.
    pub policy: Told,
    /// Of the exec gate.
    pub gate: Told,
    quiet: u64,
    /// What is trusted at the moment.
    pub trust: Option<TrustState>,
}

impl Health {
    /// Begins now, in nanoseconds since boot.
    pub(super) fn new(now_ns: u64) -> Self {
        Self {
            started_ns: now_ns,
            last_heartbeat_ns: now_ns,
            clock: None,
            told: Ledger::default(),
            packages: Told::default(),
            hardening: Told::default(),
            policy: Told::default(),
            gate: Told::default(),
            quiet: 0,
            trust: None,
        }
    }

    /// The clock of the last tick.
    pub(super) fn clock(&self) -> Clock {
        self.clock.unwrap_or_default()
    }

    /// Notes the clock.
    pub(super) const fn set_clock(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// Seconds since the start.
    pub(super) fn uptime_s(&self) -> u64 {
        boottime_ns()
            .unwrap_or(self.started_ns)
            .saturating_sub(self.started_ns)
            / 1_000_000_000
    }

    /// A heartbeat is due; the next one is an interval later.
    pub(super) fn heartbeat_due(&mut self, now_ns: u64, interval: Duration) -> bool {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        if interval.is_zero() || now_ns.saturating_sub(self.last_heartbeat_ns) < interval_ns {
            return false;
        }
        self.last_heartbeat_ns = now_ns;
        true
    }

    /// New losses since the last finding about them. Called every second.
    pub(super) fn check(&mut self, ledger: &Ledger) -> Vec<Finding> {
        if self.quiet > 0 {
            self.quiet -= 1;
            return Vec::new();
        }
        let mut findings = Vec::new();
        let lost_of = |ledger: &Ledger| ledger.lost_in_ring.saturating_add(ledger.answered_lost);
        let lost = lost_of(ledger).saturating_sub(lost_of(&self.told));
        if lost > 0 {
            findings.push(Finding {
                count: Some(lost),
                ..Finding::new(
                    FindingCode::EventsLost,
                    format!("{lost} events were lost: they came faster than hardpand could take them"),
                )
                .hint("a burst of short processes, or an attempt to hide one; see the counters of the next heartbeat")
            });
        }
        let undecodable = ledger.undecodable.saturating_sub(self.told.undecodable);
        if undecodable > 0 {
            findings.push(Finding {
                count: Some(undecodable),
                ..Finding::new(
                    FindingCode::RecordsUndecodable,
                    format!("{undecodable} records from the kernel could not be understood"),
                )
                .hint("programs of another version of Hardpan may be attached")
            });
        }
        let untracked = ledger.untracked.saturating_sub(self.told.untracked);
        if untracked > 0 {
            findings.push(Finding {
                count: Some(untracked),
                ..Finding::new(
                    FindingCode::TasksUntracked,
                    format!(
                        "there are more tasks than the {} that can be watched at once",
                        hardpan_abi::TASKS_MAX
                    ),
                )
                .hint("tampering with the others is not noticed; limit the number of tasks (systemd: TasksMax=)")
            });
        }
        if !findings.is_empty() {
            self.told = *ledger;
            self.quiet = QUIET_S;
        }
        findings
    }

    /// The finding of books that do not balance at the end.
    pub(super) fn unaccounted(ledger: &Ledger) -> Option<Finding> {
        let difference = ledger.unaccounted();
        (difference != 0).then(|| Finding {
            count: Some(difference.unsigned_abs()),
            ..Finding::new(
                FindingCode::EventsUnaccounted,
                format!("{difference} events were generated and neither received nor counted as lost"),
            )
            .hint("somebody else reads the ring or writes the counters")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_once() {
        let mut health = Health::new(0);
        let mut ledger = Ledger {
            lost_in_ring: 3,
            ..Ledger::default()
        };
        let codes = |findings: &[Finding]| findings.iter().map(|f| (f.code, f.count)).collect::<Vec<_>>();
        assert_eq!(
            codes(&health.check(&ledger)),
            [(FindingCode::EventsLost, Some(3))]
        );
        ledger.lost_in_ring = 10;
        ledger.undecodable = 1;
        ledger.untracked = 2;
        for _ in 0..QUIET_S {
            assert!(health.check(&ledger).is_empty());
        }
        assert_eq!(
            codes(&health.check(&ledger)),
            [
                (FindingCode::EventsLost, Some(7)),
                (FindingCode::RecordsUndecodable, Some(1)),
                (FindingCode::TasksUntracked, Some(2))
            ]
        );
        for _ in 0..=QUIET_S {
            assert!(health.check(&ledger).is_empty());
        }
    }

    #[test]
    fn only_news_are_told() {
        let mut told = Told::default();
        let [a, b] = ["a", "b"].map(|text| Finding::new(FindingCode::PackageUnsigned, text));
        assert_eq!(told.news(std::slice::from_ref(&a)).len(), 1);
        let news = [a.clone(), b];
        assert_eq!(
            told.news(&news)
                .iter()
                .map(|f| f.message.as_str())
                .collect::<Vec<_>>(),
            ["b"]
        );
        assert!(told.news(&[]).is_empty());
        assert_eq!(told.news(&[a]).len(), 1, "it went away and came back");
    }

    #[test]
    fn heartbeats() {
        let second = 1_000_000_000;
        let mut health = Health::new(0);
        let minute = Duration::from_secs(60);
        assert!(!health.heartbeat_due(59 * second, minute));
        assert!(health.heartbeat_due(60 * second, minute));
        assert!(!health.heartbeat_due(61 * second, minute));
        assert!(!health.heartbeat_due(1000 * second, Duration::ZERO));
    }

    #[test]
    fn books_at_the_end() {
        assert!(Health::unaccounted(&Ledger::default()).is_none());
        let ledger = Ledger {
            generated: 5,
            ..Ledger::default()
        };
        assert_eq!(Health::unaccounted(&ledger).map(|f| f.count), Some(Some(5)));
    }
}
