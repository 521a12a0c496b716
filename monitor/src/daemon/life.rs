//! The daemon's life: announce, watch, stop.

mod gate;

use super::error::DaemonError;
use super::execs::Waiting;
use super::gate::{Gate, Worked};
use super::hardening::Look;
use super::health::Health;
use super::notify::Notify;
use super::packages::Packages;
use super::pipeline::Pipeline;
use super::policy::{Keeper, News};
use super::run::Signals;
use super::source::EventSource;
use crate::config::{self, Config};
use crate::enrich::clock::{Clock, boottime_ns};
use crate::enrich::pool::Done;
use crate::trust::TrustUpdate;
use hardpan_core::platform::TierDecision;
use hardpan_core::record::{Finding, Service, ServiceEvent};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

/// Longest time given to what is on its way when the daemon stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Everything that lives as long as the daemon, but for the sensor.
pub(super) struct Daemon<'a> {
    pub(super) config: &'a Config,
    pub(super) decision: &'a TierDecision,
    pub(super) pipeline: Pipeline,
    pub(super) hashed: mpsc::Receiver<Done<Waiting>>,
    pub(super) trust: mpsc::Receiver<TrustUpdate>,
    /// What the keeper of trust goes by.
    pub(super) trust_config: watch::Sender<config::Trust>,
    pub(super) audits: mpsc::Receiver<Vec<Finding>>,
    pub(super) reload: Arc<tokio::sync::Notify>,
    pub(super) policy: Keeper,
    pub(super) hardening: mpsc::Receiver<Look>,
    pub(super) gate: Gate,
    pub(super) gate_work: mpsc::Receiver<Worked>,
    pub(super) packages: Packages,
    pub(super) health: Health,
    pub(super) notify: Notify,
}

impl Daemon<'_> {
    fn now(&self) -> (Clock, u64) {
        // Both clocks were read at the start; they do not go away.
        (
            Clock::now().unwrap_or_else(|_| self.health.clock()),
            boottime_ns().unwrap_or_default(),
        )
    }

    fn at_us(&self) -> i64 {
        let (clock, now_ns) = self.now();
        clock.unix_us(now_ns)
    }

    pub(super) fn take_trust(&mut self, update: Option<TrustUpdate>) {
        let at_us = self.at_us();
        let Some(update) = update else { return };
        for finding in self.health.packages.news(&update.findings) {
            warn!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
        if let Some(trust) = update.trust {
            let state = trust.state.clone();
            info!(
                database = state.database,
                packages = state.packages_total,
                verified = state.packages_verified,
                digests = state.digests,
                "trust loaded"
            );
            let service = Service {
                trust: Some(&state),
                ..self.service(ServiceEvent::TrustLoaded)
            };
            self.pipeline.recorder.emit(&service.draft(at_us));
            // A database in which nothing could be verified is none: nobody has looked at any file.
            self.pipeline
                .set_trust(Some(trust).filter(|trust| trust.state.loaded));
            self.health.trust = Some(state);
        }
    }

    /// Reads the policy files; what is wrong with them changes nothing.
    fn load_policy(&mut self) {
        let news = tokio::task::block_in_place(|| self.policy.load(SystemTime::now()));
        self.take_policy(news);
    }

    /// Takes what was read into use and tells of it.
    pub(super) fn take_policy(&mut self, news: News) {
        let News { loaded, findings } = news;
        let at_us = self.at_us();
        if let Some(state) = loaded {
            let epoch = self.policy.epoch();
            info!(layers = state.layers, mode = state.mode, epoch, "policy loaded");
            self.pipeline.set_policy(self.policy.in_force(), epoch);
            let wanted = self.policy.trust(&self.config.trust);
            self.trust_config.send_if_modified(|trust| {
                let changed = *trust != wanted;
                *trust = wanted;
                changed
            });
            let service = Service {
                policy: Some(&state),
                ..self.service(ServiceEvent::PolicyLoaded)
            };
            self.pipeline.recorder.emit(&service.draft(at_us));
        }
        for finding in self.health.policy.news(&findings) {
            warn!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
    }

    /// Tells the kernel side what to do about tampered tasks.
    pub(super) fn respond(&self, source: &mut impl EventSource) -> Result<(), DaemonError> {
        if !self.config.sensor.watch_tasks || self.config.mode == config::Mode::Observe {
            return Ok(());
        }
        let responses = self.policy.responses(self.config.sensor.task_response);
        source.respond(&responses).map_err(DaemonError::TaskResponse)
    }

    /// After an upgrade of the release or a move to another vendor: one record says that everything is learned anew.
    pub(super) fn note_host(&mut self, kernel: &str) {
        let at_us = self.at_us();
        let draft = match self.policy.note_host(kernel) {
            Ok(None) => return,
            Ok(Some(message)) => {
                info!("{message}");
                let service = Service {
                    reason: Some(message),
                    ..self.service(ServiceEvent::HostChanged)
                };
                service.draft(at_us)
            }
            Err(finding) => {
                warn!(code = finding.code.word(), "{}", finding.message);
                finding.draft(at_us)
            }
        };
        self.pipeline.recorder.emit(&draft);
    }

    fn take_hardening(&mut self, look: Look) {
        let at_us = self.at_us();
        let drift = look.drift.unwrap_or_default();
        let news = self.health.hardening.news(&drift);
        for finding in look.events.iter().chain(news) {
            warn!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
    }

    fn take_findings(&mut self, findings: &[Finding]) {
        let at_us = self.at_us();
        for finding in findings {
            info!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
    }

    fn service(&self, event: ServiceEvent) -> Service<'static> {
        Service {
            uptime_s: Some(self.health.uptime_s()),
            ..Service::new(event, self.config.mode.word())
        }
    }

    pub(super) fn announce(&mut self, source: &impl EventSource, findings: &[Finding]) {
        let at_us = self.at_us();
        let hooks = source.hooks();
        let trust = self.health.trust.clone();
        let start = Service {
            tier: Some(self.decision),
            hooks: &hooks,
            trust: trust.as_ref(),
            ..self.service(ServiceEvent::Start)
        };
        self.pipeline.recorder.emit(&start.draft(at_us));
        for finding in findings {
            warn!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
        info!(tier = %self.decision.tier, mode = self.config.mode.word(), "watching");
        Notify::ready(&format!("watching, tier {}", self.decision.tier));
    }

    /// The event loop. Returns why it ended.
    pub(super) async fn watch(
        &mut self,
        source: &mut impl EventSource,
        signals: &mut Signals,
    ) -> Result<&'static str, DaemonError> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let sensor = &self.config.sensor;
        let every = self.policy.sweep(sensor.sweep);
        let sweeps = sensor.watch_tasks && !every.is_zero();
        let mut sweep = tokio::time::interval(every.max(Duration::from_millis(1)));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.renew_gate();
        loop {
            tokio::select! {
                biased;
                _ = signals.terminate.recv() => return Ok("SIGTERM"),
                _ = signals.interrupt.recv() => return Ok("SIGINT"),
                _ = signals.hangup.recv() => {
                    info!("opening files again, reading policies and the package database again");
                    self.pipeline.recorder.reopen();
                    // What was decided under the policy that goes; while the next one is read, each execution is told of.
                    self.pipeline.end_tallies(source);
                    self.pipeline.take_tallies(source, self.now().1);
                    self.load_policy();
                    self.respond(source)?;
                    self.reload.notify_one();
                    self.renew_gate();
                }
                _ = tick.tick() => self.tick(source),
                _ = sweep.tick(), if sweeps => source.sweep(),
                done = self.hashed.recv() => {
                    if let Some(done) = done {
                        self.pipeline.done(&done);
                    }
                }
                update = self.trust.recv() => {
                    self.take_trust(update);
                    self.renew_gate();
                }
                Some(worked) = self.gate_work.recv() => self.take_gate(worked, source),
                Some(strays) = self.gate.strays.found.recv() => self.take_strays(&strays),
                heard = self.gate.fallback.next() => self.take_heard(&heard),
                Some(look) = self.hardening.recv() => self.take_hardening(look),
                Some(findings) = self.audits.recv() => self.take_findings(&findings),
                read = source.next(|record| self.pipeline.take(record)) => {
                    read.map_err(DaemonError::Read)?;
                }
                Some(looked) = self.packages.looks.recv() => self.take_package(looked, source),
            }
            self.look_at_packages();
            self.pipeline
                .tell_tallies(source, || boottime_ns().unwrap_or_default());
            self.pipeline.note(source);
        }
    }

    fn tick(&mut self, source: &mut impl EventSource) {
        source.forget_gone();
        self.take_answered();
        let (clock, now_ns) = self.now();
        self.health.set_clock(clock);
        self.pipeline.take_tallies(source, now_ns);
        self.pipeline.tick(clock, now_ns);
        if let Ok(counters) = source.counters() {
            self.pipeline.ledger.set_kernel(&counters);
        }
        let at_us = clock.unix_us(now_ns);
        for finding in self.health.check(&self.pipeline.ledger) {
            warn!(code = finding.code.word(), "{}", finding.message);
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
        if self.health.heartbeat_due(now_ns, self.config.record.heartbeat) {
            let policy = self.policy.state();
            let heartbeat = Service {
                ledger: Some(self.pipeline.ledger),
                policy: policy.as_ref(),
                counters: self.counters(source),
                ..self.service(ServiceEvent::Heartbeat)
            };
            self.pipeline.recorder.emit(&heartbeat.draft(at_us));
        }
        self.gate.learn(std::mem::take(&mut self.pipeline.in_doubt));
        if self.gate.operator_spoke() || self.gate.is_due(self.policy.in_force().as_ref()) {
            self.renew_gate();
        }
        self.notify.watchdog();
    }

    fn counters(&self, source: &impl EventSource) -> BTreeMap<String, u64> {
        let mut counters = self.pipeline.counters();
        if let Some(bytes) = source.map_bytes() {
            counters.insert("kernel_maps_bytes".to_owned(), bytes.all);
            counters.insert("kernel_maps_gate_bytes".to_owned(), bytes.gate);
        }
        if let Ok(values) = source.counters() {
            for counter in hardpan_abi::Counter::ALL {
                let value = values.get(counter as usize).copied().unwrap_or_default();
                counters.insert(counter.name().to_owned(), value);
            }
        }
        counters
    }

    /// Ends in good order: takes what the kernel still has, hashes what waits, writes everything out, and says in the
    /// last record where every event went.
    pub(super) async fn stop(
        mut self,
        source: &mut impl EventSource,
        reason: &'static str,
    ) -> Result<(), DaemonError> {
        info!(reason, "stopping");
        Notify::stopping();
        let stays = source.is_pinned();
        self.pipeline.end_tallies(source);
        source.detach();
        self.gate.fallback.stop();
        self.take_answered();
        // A program that ran on another CPU at that moment may still be writing its last record.
        for _ in 0..50 {
            let counters = source.counters().map_err(DaemonError::Read)?;
            self.pipeline.ledger.set_kernel(&counters);
            while source.drain(|record| self.pipeline.take(record)) > 0 {}
            self.pipeline.take_tallies(source, self.now().1);
            // What stays at the hooks goes on telling: the next generation takes it over.
            if stays || self.pipeline.ledger.unaccounted() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The last words of who answered for executions.
        self.take_answered();
        self.pipeline.close_pool();
        let hashed = &mut self.hashed;
        let pipeline = &mut self.pipeline;
        let finish = async {
            while let Some(done) = hashed.recv().await {
                pipeline.done(&done);
            }
        };
        if tokio::time::timeout(DRAIN, finish).await.is_err() {
            warn!("files were still being hashed, ignoring");
        }
        self.pipeline.flush();
        let ledger = &mut self.pipeline.ledger;
        ledger.lost_in_daemon = ledger.lost_in_daemon.saturating_add(ledger.pending());
        wait(DRAIN, || self.pipeline.recorder.is_drained()).await;
        self.pipeline.count_unwritten();
        let at_us = self.at_us();
        if !stays && let Some(finding) = Health::unaccounted(&self.pipeline.ledger) {
            self.pipeline.recorder.emit(&finding.draft(at_us));
        }
        let stop = Service {
            reason: Some(if stays {
                format!("{reason}; the gate goes on by itself (gate.daemon_lost = \"closed\")")
            } else {
                reason.to_owned()
            }),
            ledger: Some(self.pipeline.ledger),
            counters: self.counters(source),
            ..self.service(ServiceEvent::Stop)
        };
        self.pipeline.recorder.emit(&stop.draft(at_us));
        self.close().await;
        self.pipeline.note_all(source);
        Ok(())
    }

    pub(super) fn stop_early(&mut self, reason: &str) -> Result<(), DaemonError> {
        Notify::stopping();
        let at_us = self.at_us();
        let stop = Service {
            reason: Some(reason.to_owned()),
            ..self.service(ServiceEvent::Stop)
        };
        self.pipeline.recorder.emit(&stop.draft(at_us));
        let closed = self.pipeline.recorder.close();
        // Only a few records are on their way; a sink that cannot take them is not waited for.
        for _ in 0..100 {
            if self.pipeline.recorder.is_finished() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        closed.or(Ok(()))
    }

    async fn close(&mut self) {
        if let Err(error) = self.pipeline.recorder.close() {
            warn!(%error, "the number of the last record could not be noted, ignoring");
        }
        wait(DRAIN, || self.pipeline.recorder.is_finished()).await;
        let lost = self.pipeline.recorder.lost_records();
        if lost > 0 {
            warn!(lost, "records were lost on their way out");
        }
    }
}

/// Waits until something is so, at most for `limit`.
async fn wait(limit: Duration, is_so: impl Fn() -> bool) {
    let look = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _in_time = tokio::time::timeout(limit, look).await;
}
