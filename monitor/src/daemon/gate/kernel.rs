//! What goes into the kernel: trust, settings and rules, and the pins by which they outlive the daemon.

use super::Gate;
use crate::chain::chain;
use crate::daemon::packages::{OpenedBy, Provisional};
use crate::daemon::policy::InForce;
use crate::daemon::source::EventSource;
use crate::gate::locks::folder_keys;
use crate::gate::package::Verified;
use crate::gate::{ACCEPT_LOSS, Entries, Held, additions, change, root_key};
use crate::sensor::{GateRules, Lockers, Sizes, TrustChange};
use hardpan_abi::{FileKey, GateConfig, GateMode};
use hardpan_core::event::PackageOpened;
use hardpan_core::platform::Tier;
use hardpan_core::policy::effective::Doubt;
use hardpan_core::record::{Finding, FindingCode};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

impl Gate {
    /// The number by which a package manager's packages are known; 0 where it does not matter whether it takes the lock.
    pub(in crate::daemon) fn number_of(&self, event: &PackageOpened, policy: Option<&Arc<InForce>>) -> u32 {
        let any = policy.is_some_and(|policy| policy.gate.provisional_any);
        if any || self.lockers.is_none() {
            0
        } else {
            event.manager
        }
    }

    /// Who takes the lock of the package database, where a program notices it.
    pub(in crate::daemon) fn lockers(&self) -> Option<Lockers> {
        self.lockers.clone()
    }

    /// Trusts the files of a package that is about to be installed. False if the kernel could not be told.
    pub(in crate::daemon) fn expect(
        &mut self,
        verified: &Verified,
        by: OpenedBy,
        source: &mut impl EventSource,
    ) -> bool {
        if self.is_alone() {
            // Who answers has verified it, too, and trusts it for as long as the package manager runs.
            return true;
        }
        let lockers = self.lockers.clone();
        let counts = |manager| Lockers::counts(lockers.as_ref(), manager);
        if !self.provisional.add(verified, by, counts) || self.mode == GateMode::Off {
            return true;
        }
        let entry = Provisional::entry(by.manager);
        let is_new = |digest| match self.held.by_digest.get(digest) {
            None => true,
            // Of a package manager that has not taken the lock.
            Some(held) => held.class == entry.class && held.marks != entry.marks && !counts(held.marks),
        };
        let new: Vec<_> = verified
            .digests
            .iter()
            .filter(|(digest, _)| is_new(digest))
            .collect();
        if new.is_empty() {
            return true;
        }
        if self.held.by_digest.len() + new.len() > self.capacity as usize {
            return false;
        }
        let change = TrustChange {
            add: new.iter().map(|(digest, _)| (*digest, entry)).collect(),
            remove: Vec::new(),
            sizes: Sizes::More(new.iter().map(|(_, size)| *size).collect()),
            packaged: None,
        };
        if let Err(error) = source.change_trusted(&change) {
            tracing::warn!(%error, "the kernel does not trust {}", verified.package);
            return false;
        }
        self.held.by_digest.extend(change.add);
        self.epoch = self.epoch.wrapping_add(1).max(1);
        if let Some(config) = &mut self.config {
            config.epoch = self.epoch;
            if let Err(error) = source.set_gate(config, None) {
                tracing::warn!(%error, "the gate's settings could not be written");
                return false;
            }
        }
        true
    }

    /// True if the kernel does not hold all of it.
    pub(super) fn write_trust(
        &mut self,
        entries: Entries,
        policy: &InForce,
        source: &mut impl EventSource,
        findings: &mut Vec<Finding>,
    ) -> bool {
        if self.missing.is_some() {
            return false;
        }
        if entries.by_digest.len() > self.capacity as usize {
            findings.push(
                Finding {
                    count: Some(entries.by_digest.len() as u64),
                    ..Finding::new(
                        FindingCode::TrustOverflow,
                        format!(
                            "{} trusted digests do not fit into the kernel's map of {}: the ones before stay, the gate observes",
                            entries.by_digest.len(),
                            self.capacity
                        ),
                    )
                }
                .hint("restart hardpand: it makes room for what is there; gate.max_digests is the limit"),
            );
            return true;
        }
        let confirmed = self.loss_confirmed();
        let change = match change(&self.held, &entries, policy.gate.refresh_loss_percent, confirmed) {
            Ok(change) => change,
            Err(Held { before, lost }) => {
                findings.push(
                    Finding {
                        count: Some(lost as u64),
                        ..Finding::new(
                            FindingCode::TrustLossHeld,
                            format!(
                                "{lost} of {before} trusted digests would go: held, the kernel keeps them"
                            ),
                        )
                    }
                    .hint("`hardpan trust refresh --accept-loss` if keys, manifests or packages were removed on purpose"),
                );
                return self.add_only(&entries, source, findings);
            }
        };
        if !self.is_alone()
            && let Err(error) = source.change_trusted(&change)
        {
            findings.push(unwritten(&error));
            return true;
        }
        if !change.add.is_empty() || !change.remove.is_empty() {
            self.epoch = self.epoch.wrapping_add(1).max(1);
        }
        self.held = entries;
        false
    }

    /// Takes what is new into the kernel, and nothing away: a loss that is held must not keep what was installed meanwhile
    /// from running. True if the kernel does not hold all of it.
    fn add_only(
        &mut self,
        entries: &Entries,
        source: &mut impl EventSource,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let change = additions(&self.held, entries);
        if change.add.is_empty() {
            return false;
        }
        if self.held.by_digest.len() + change.add.len() > self.capacity as usize {
            tracing::warn!(
                digests = change.add.len(),
                "no room beside those that are held, ignoring"
            );
            return false;
        }
        if !self.is_alone()
            && let Err(error) = source.change_trusted(&change)
        {
            findings.push(unwritten(&error));
            return true;
        }
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.held.by_digest.extend(change.add);
        self.held.sizes.extend(&entries.sizes);
        self.held.sizes.sort_unstable();
        self.held.sizes.dedup();
        false
    }

    /// An operator's word that a loss is meant; good once.
    fn loss_confirmed(&self) -> bool {
        let path = self.state_dir.join(ACCEPT_LOSS);
        let is_there = path.exists();
        if is_there && let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot be removed, ignoring");
        }
        is_there
    }

    pub(super) fn write_settings(
        &mut self,
        mode: GateMode,
        policy: &InForce,
        source: &mut impl EventSource,
        findings: &mut Vec<Finding>,
    ) {
        if self.missing.is_some() {
            return;
        }
        // Another policy, other verdicts: what was alerted about is told again under the new one.
        self.epoch = self.epoch.wrapping_add(1).max(1);
        let without;
        let table = if self.tier == Tier::B && (mode != GateMode::Enforce || !self.gates_files(policy)) {
            // What files are is not known here.
            without = policy.table.without_files();
            &without
        } else {
            &policy.table
        };
        let root = root_key();
        let config = GateConfig {
            mode: mode as u32,
            closed_on_doubt: u32::from(table.closed_on_doubt),
            epoch: self.epoch,
            rules: u32::try_from(table.rules.len()).unwrap_or(0),
            asks_subject: table.asks_subject,
            knows_subjects: u32::from(self.knows_subjects),
            ruled: table.ruled,
            actions: table.actions,
            init_pid_ns: namespace("pid"),
            init_user_ns: namespace("user"),
            grace_until_ns: u64::from(policy.gate.boot_grace_s) * 1_000_000_000,
            root_ino: root.ino,
            root_dev: root.dev,
            reserved: 0,
            databases: self.believed.as_ref().map_or([FileKey::NONE; 2], folder_keys),
        };
        self.config = Some(config);
        if self.is_alone() {
            self.hand_over(&config, policy, findings);
            return;
        }
        let rules = GateRules {
            rules: &table.rules,
            names: &table.names,
        };
        if let Err(error) = source.set_gate(&config, Some(rules)) {
            findings.push(unwritten(&error));
            if matches!(error, crate::sensor::GateError::NotLoaded) {
                self.missing = Some("the kernel runs none of the gate's programs".to_owned());
            }
        }
    }
}

/// The gate outlives the daemon where the policy wants it shut then.
pub(super) fn pin(
    mode: GateMode,
    policy: &InForce,
    source: &mut impl EventSource,
    findings: &mut Vec<Finding>,
) {
    let wanted = mode == GateMode::Enforce && policy.gate.daemon_lost == Doubt::Closed;
    if wanted == source.is_pinned() {
        return;
    }
    if let Err(error) = source.set_pinned(wanted) {
        findings.push(
            Finding::new(
                FindingCode::PinFailed,
                format!(
                    "the policy says gate.daemon_lost = \"closed\"; if hardpand ends, the gate is open: {}",
                    chain(&error)
                ),
            )
            .hint(error.hint()),
        );
    }
}

fn unwritten(error: &crate::sensor::GateError) -> Finding {
    Finding::new(
        FindingCode::EnforceUnavailable,
        format!("the gate observes: {}", chain(error)),
    )
    .hint("`hardpan doctor` shows which programs this kernel takes")
}

/// Inode number of one of this process's own namespaces: the daemon runs in the initial ones, or nothing works.
fn namespace(name: &str) -> u32 {
    let path = format!("/proc/self/ns/{name}");
    fs::metadata(path)
        .ok()
        .and_then(|meta| u32::try_from(meta.ino()).ok())
        .unwrap_or_default()
}
