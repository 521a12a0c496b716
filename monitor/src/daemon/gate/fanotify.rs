//! Tier C: a process refuses, through fanotify, by what would else be in the kernel's maps.

use super::Gate;
use crate::chain::chain;
use crate::daemon::policy::InForce;
use crate::gate::fallback::Job;
use crate::trust::Request;
use hardpan_abi::{GateConfig, GateMode};
use hardpan_core::gate::{MAX_TABLE_BYTES, MAX_TRUST_BYTES, Table};
use hardpan_core::platform::Tier;
use hardpan_core::policy::effective::Doubt;
use hardpan_core::record::{Finding, FindingCode};

impl Gate {
    /// Whether executions are refused by a process alone, where files are gated at all.
    pub(super) fn is_alone(&self) -> bool {
        self.tier == Tier::C
    }

    /// The settings of who takes digests (tier B) or answers (tier C).
    pub(super) fn job(&self, policy: &InForce) -> Option<Job> {
        let maps = match self.tier {
            Tier::B => Some(self.maps?),
            Tier::C => None,
            _ => return None,
        };
        Some(Job {
            maps,
            timeout_ms: policy.gate.fallback_timeout_ms,
        })
    }

    /// Hands settings, rules and digests over. The process that refuses takes them when it gets to it.
    pub(super) fn hand_over(&self, config: &GateConfig, policy: &InForce, findings: &mut Vec<Finding>) {
        if !self.fallback.is_running() {
            return;
        }
        let held = &self.held;
        let digests = held.by_digest.iter();
        let mut sizes = held.sizes.clone();
        sizes.sort_unstable();
        // Who answers verifies packages by itself: it waits for nobody.
        let request = self.believed.as_ref().map(|trust| Request::new(trust, None));
        let trust = request.map(|request| serde_json::to_vec(&request).unwrap_or_default());
        let trust = trust.unwrap_or_default();
        let bytes = Table::bytes(
            config,
            &policy.table.rules,
            digests,
            (&sizes, &held.packaged),
            &self.known,
            &trust,
        );
        let fits = u64::try_from(bytes.len()).is_ok_and(|bytes| bytes <= MAX_TABLE_BYTES);
        let told = if fits && trust.len() <= MAX_TRUST_BYTES {
            self.fallback.judge_by(&bytes)
        } else {
            Err(std::io::ErrorKind::FileTooLarge.into())
        };
        if let Err(error) = told {
            findings.push(Finding::new(
                FindingCode::EnforceUnavailable,
                format!(
                    "what is trusted could not be handed over to the process that refuses, which goes by what it has: {}",
                    chain(&error)
                ),
            ));
        }
    }

    /// Where files were gated and are not any more: the mode, and why.
    pub(super) fn is_asked_no_longer(&mut self) -> Option<(GateMode, String)> {
        if !self.is_alone() || self.mode != GateMode::Enforce {
            return None;
        }
        self.mode = GateMode::Observe;
        Some((self.mode, "the policy has fanotify asked no longer".to_owned()))
    }

    /// What this tier's gate does not do, behind why it enforces.
    pub(super) fn limits(&self) -> &'static str {
        match (self.is_alone(), self.sees_memory) {
            (false, _) => "",
            (true, true) => {
                "; tier C, through fanotify: programs, scripts and interpreters; libraries, files given to interpreters and `ld.so ./program` are not seen"
            }
            (true, false) => {
                "; tier C, through fanotify: programs, scripts and interpreters; libraries, files given to interpreters, `ld.so ./program` and programs in anonymous memory (memfd) are not seen"
            }
        }
    }
}

/// Nothing of this gate outlives the daemon.
pub(super) fn pin(mode: GateMode, policy: &InForce, findings: &mut Vec<Finding>) {
    if mode == GateMode::Enforce && policy.gate.daemon_lost == Doubt::Closed {
        findings.push(
            Finding::new(
                FindingCode::PinFailed,
                "the policy says gate.daemon_lost = \"closed\"; at tier C a process refuses, and if hardpand ends, the gate is open",
            )
            .hint("`hardpan doctor` shows what keeps this host from a higher tier"),
        );
    }
}
