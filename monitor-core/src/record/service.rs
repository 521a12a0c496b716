//! Records of the daemon itself: start, stop, heartbeat, trust loaded.

use super::ecs::Event;
use super::own::{Own, OwnHook, OwnPolicy, OwnService, OwnTrust};
use super::{Draft, Ledger};
use crate::platform::{HookReport, TierDecision};
use std::collections::BTreeMap;

/// What the daemon has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceEvent {
    /// It watches from now on.
    Start,
    /// It stopped; the ledger is complete.
    Stop,
    /// It is alive.
    Heartbeat,
    /// The trust database was read.
    TrustLoaded,
    /// A policy was taken into use.
    PolicyLoaded,
    /// The exec gate's mode is another one now.
    GateMode,
    /// Release, kernel or package database are no longer those of the last start: learned anew.
    HostChanged,
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyState {
    /// EL release, vendor, hardware, role, level: `el9/rocky/x86-64-v3/server/balanced`.
    pub layers: String,
    /// `gate.mode`.
    pub mode: &'static str,
    /// Settings, requirements and rules that differ from the policy before; `None` for the first one.
    pub differences: Option<u64>,
    /// How often each rule decided; events that none did under `default`.
    pub hits: BTreeMap<String, u64>,
}

/// State of the trust database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustState {
    /// Path of the package database.
    pub database: String,
    /// It could be read and something in it was verified.
    pub loaded: bool,
    /// Packages in the database.
    pub packages_total: u64,
    /// Packages whose signature was verified against a pinned key.
    pub packages_verified: u64,
    /// Digests of their files.
    pub digests: u64,
}

/// State of the daemon, for its own records.
#[derive(Debug, Clone)]
pub struct Service<'a> {
    /// What happened.
    pub event: ServiceEvent,
    /// `observe` or `enforce`.
    pub mode: &'static str,
    /// Why it stopped, or what else there is to say.
    pub reason: Option<String>,
    /// The tier, once chosen.
    pub tier: Option<&'a TierDecision>,
    /// The hooks.
    pub hooks: &'a [HookReport],
    /// The trust database.
    pub trust: Option<&'a TrustState>,
    /// The policy.
    pub policy: Option<&'a PolicyState>,
    /// Seconds since the daemon started.
    pub uptime_s: Option<u64>,
    /// Where every event went.
    pub ledger: Option<Ledger>,
    /// Counters by name: losses by cause, sinks, caches.
    pub counters: BTreeMap<String, u64>,
}

impl Service<'_> {
    /// A record that says only what happened.
    pub fn new(event: ServiceEvent, mode: &'static str) -> Self {
        Self {
            event,
            mode,
            reason: None,
            tier: None,
            hooks: &[],
            trust: None,
            policy: None,
            uptime_s: None,
            ledger: None,
            counters: BTreeMap::new(),
        }
    }

    /// The record, at a time in microseconds since 1970.
    pub fn draft(self, at_us: i64) -> Draft {
        let (kind, types, action) = match self.event {
            ServiceEvent::Start => ("event", vec!["start"], "hardpand-started"),
            ServiceEvent::Stop => ("event", vec!["end"], "hardpand-stopped"),
            ServiceEvent::Heartbeat => ("metric", vec!["info"], "heartbeat"),
            ServiceEvent::TrustLoaded => ("event", vec!["info"], "trust-loaded"),
            ServiceEvent::PolicyLoaded => ("event", vec!["change"], "policy-loaded"),
            ServiceEvent::GateMode => ("event", vec!["change"], "gate-mode"),
            ServiceEvent::HostChanged => ("event", vec!["change"], "host-changed"),
        };
        let fields = Event {
            kind,
            category: vec![
                if matches!(self.event, ServiceEvent::PolicyLoaded | ServiceEvent::GateMode) {
                    "configuration"
                } else {
                    "host"
                },
            ],
            types,
            action,
            outcome: Some("success"),
            reason: self.reason.clone(),
            severity: 1,
            dataset: "hardpan.service",
            provider: "hardpand",
            ..Event::default()
        };
        let mut draft = Draft::new(at_us, 0, fields, self.message());
        let full = matches!(self.event, ServiceEvent::Start);
        draft.own = Own {
            service: Some(OwnService {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                mode: self.mode,
                tier: self.tier.map(|decision| decision.tier.name()),
                tier_why: match self.tier {
                    Some(decision) if full => decision.why.iter().map(ToString::to_string).collect(),
                    _ => Vec::new(),
                },
                hooks: self.hooks.iter().map(hook).collect(),
                trust: self.trust.map(trust),
                uptime_s: self.uptime_s,
            }),
            ledger: self
                .ledger
                .map(|ledger| ledger.fields(self.event == ServiceEvent::Stop)),
            counters: self.counters,
            policy: self.policy.map(policy).unwrap_or_default(),
            ..Own::default()
        };
        draft
    }

    fn message(&self) -> String {
        let tier = self.tier.map_or("none", |decision| decision.tier.name());
        match self.event {
            ServiceEvent::Start => format!("hardpand started: mode {}, tier {tier}", self.mode),
            ServiceEvent::Stop => {
                let books = self.ledger.map(|l| {
                    let (recorded, aggregated, lost) = (l.recorded, l.aggregated, l.lost());
                    format!(
                        ": {} events = {recorded} recorded + {aggregated} aggregated + {lost} lost",
                        l.all()
                    )
                });
                format!("hardpand stopped{}", books.unwrap_or_default())
            }
            ServiceEvent::Heartbeat => "hardpand is alive".to_owned(),
            ServiceEvent::TrustLoaded => match self.trust {
                Some(trust) => format!(
                    "trust loaded: {} of {} packages verified, {} digests",
                    trust.packages_verified, trust.packages_total, trust.digests
                ),
                None => "trust loaded".to_owned(),
            },
            ServiceEvent::PolicyLoaded => match self.policy {
                Some(policy) => format!("policy loaded: {}, mode {}", policy.layers, policy.mode),
                None => "policy loaded".to_owned(),
            },
            ServiceEvent::HostChanged | ServiceEvent::GateMode => self.reason.clone().unwrap_or_default(),
        }
    }
}

fn hook(report: &HookReport) -> OwnHook {
    let nonempty = |text: String| Some(text).filter(|text| !text.is_empty());
    OwnHook {
        family: report.family.name(),
        hook: report.hook.clone(),
        variant: report.variant.clone(),
        state: report.state.word(),
        why: nonempty(report.state.detail()),
        consequence: report.is_gap().then(|| report.consequence.clone()),
    }
}

fn policy(state: &PolicyState) -> OwnPolicy {
    OwnPolicy {
        layers: Some(state.layers.clone()),
        mode: Some(state.mode),
        differences: state.differences,
        hits: state.hits.clone(),
        ..OwnPolicy::default()
    }
}

fn trust(state: &TrustState) -> OwnTrust {
    OwnTrust {
        state: if state.loaded { "loaded" } else { "none" },
        database: state.database.clone(),
        packages_total: state.packages_total,
        packages_verified: state.packages_verified,
        digests: state.digests,
    }
}
