//! Start, event loop, stop.

use super::audit;
use super::error::DaemonError;
use super::gate::Gate;
use super::hardening;
use super::health::Health;
use super::life::Daemon;
use super::notify::Notify;
use super::packages::Packages;
use super::pipeline::Pipeline;
use super::policy::Keeper;
use super::recorder::Recorder;
use super::source::EventSource;
use super::sweep;
use super::writes;
use crate::config::{Config, Mode, Output};
use crate::enrich::clock::{Clock, boottime_ns};
use crate::enrich::pool::{DigestCache, HashPool};
use crate::enrich::{Proc, Users, host};
use crate::export::{LogFile, Sequence, Sink, Stdout};
use crate::probe::probe;
use crate::sensor::{Objects, PIN_ROOT, Sensor, SensorOptions, next_generation};
use crate::trust::keep;
use hardpan_abi::TaskResponse;
use hardpan_core::platform::{Probes, TierDecision, lower, tier};
use hardpan_core::record::{Finding, FindingCode};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// Runs the daemon until a signal ends it.
pub fn run(config: &Config) -> Result<(), DaemonError> {
    let cmdline = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    if let Some(why) = switched_off(&cmdline, Path::new("/proc/vmcore").exists()) {
        tracing::info!("hardpand does nothing: {why}");
        Notify::ready(why);
        return Ok(());
    }
    if !nix::unistd::Uid::effective().is_root() {
        return Err(DaemonError::NotRoot);
    }
    let objects = Objects::find()?;
    let system = |what| move |source| DaemonError::System { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    let result = runtime.block_on(start(config, &objects));
    // A reader of the database that hangs must not keep the daemon from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn start(config: &Config, objects: &Objects) -> Result<(), DaemonError> {
    let system = |what| move |source| DaemonError::System { what, source };
    let mut signals = Signals::new().map_err(system("catching signals"))?;
    let notify = Notify::new();
    let clock = Clock::now().map_err(system("reading the clock"))?;
    let now_ns = boottime_ns().map_err(system("reading the clock"))?;
    let host = host(Path::new("/"));
    let (sinks, mut findings) = sinks(&config.output)?;
    let (sequence, saved) = Sequence::open(&config.run_dir, &host.boot_id, now_ns / 1000);
    if let Err(error) = saved {
        warn!(dir = %config.run_dir.display(), %error, "record numbers cannot be kept over a restart, ignoring");
    }
    let recorder = Recorder::new(host, sequence, sinks);
    let mut probes = tokio::task::spawn_blocking(probe)
        .await
        .map_err(|error| system("probing the kernel")(io::Error::other(error)))?;
    lower(&mut probes, config.sensor.best_tier);
    let decision = tier(&probes);
    let mut policy = Keeper::new(Path::new("/"), config, decision.tier);
    let policy_news = tokio::task::block_in_place(|| policy.load(SystemTime::now()));
    let enforces = enforces(config, &policy)?;
    let cache = DigestCache::new(config.hash.cache_entries);
    let hash = &config.hash;
    let (pool, hashed) = HashPool::start(
        policy.hash_threads(hash.threads),
        hash.queue_files,
        hash.max_size_bytes,
        &cache,
    )
    .map_err(system("starting threads"))?;
    let pipeline = Pipeline::new(
        config,
        clock,
        Users::below(Path::new("/")),
        Proc::below(Path::new("/")),
        cache,
        pool,
        recorder,
    );
    Notify::status("reading the package database");
    let reload = Arc::new(tokio::sync::Notify::new());
    let (updates, trust) = mpsc::channel(1);
    let (trust_config, trust_wanted) = watch::channel(policy.trust(&config.trust));
    tokio::spawn(keep(trust_wanted, updates, Arc::clone(&reload)));
    let (looks, hardening) = mpsc::channel(1);
    tokio::spawn(hardening::watch("/".into(), config.drift_interval, looks));
    let (audited, audits) = mpsc::channel(1);
    // This very program, even if its file has been replaced meanwhile.
    let program = Path::new("/proc/self/exe").to_owned();
    tokio::spawn(sweep::keep(
        program.clone(),
        policy.files_interval(),
        policy.trust(&config.trust),
        audited.clone(),
    ));
    tokio::spawn(audit::keep(
        program,
        policy.audit(&config.audit),
        config.trust.root.clone(),
        audited.clone(),
    ));
    let (gate, gate_work) = Gate::new(&config.trust.state_dir, enforces, decision.tier);
    let mut daemon = Daemon {
        gate: gate.only_if(config.sensor.gate),
        gate_work,
        packages: Packages::new(),
        config,
        decision: &decision,
        pipeline,
        hashed,
        trust,
        trust_config,
        audits,
        reload,
        policy,
        hardening,
        health: Health::new(now_ns),
        notify,
    };
    daemon.note_host(&probes.kernel_release);
    daemon.take_policy(policy_news);
    // Verdicts need the database; events before it is there would all be unverified.
    tokio::select! {
        update = daemon.trust.recv() => daemon.take_trust(update),
        () = signals.stop() => return daemon.stop_early("stopped before it had begun"),
    }
    let room = daemon.room_for_digests();
    daemon.gate.set_capacity(room);
    let mut sensor = match start_sensor(config, objects, &probes, daemon.policy.kernel_side(), room) {
        Ok(sensor) => sensor,
        Err(error) => return daemon.stop_early(&error.to_string()).and(Err(error)),
    };
    daemon.gate.set_subjects(&mut sensor);
    daemon.pipeline.set_lockers(daemon.gate.lockers());
    watch_writes(&mut sensor, &daemon, audited)?;
    daemon.respond(&mut sensor)?;
    findings.extend(gaps(config, &decision, &sensor));
    daemon.announce(&sensor, &findings);
    let reason = daemon.watch(&mut sensor, &mut signals).await?;
    daemon.stop(&mut sensor, reason).await
}

/// Keeps the kernel's lists of what is watched for writes.
fn watch_writes(
    sensor: &mut Sensor,
    daemon: &Daemon<'_>,
    news: mpsc::Sender<Vec<Finding>>,
) -> Result<(), DaemonError> {
    let Some(writes) = sensor.take_writes() else {
        return Ok(());
    };
    let watched = Arc::clone(&daemon.pipeline.watched);
    writes::start(writes, watched, news).map_err(|source| DaemonError::System {
        what: "starting threads",
        source,
    })
}

/// Why there is nothing to do in this boot: an operator said so at the boot loader, or the kernel is one that only saves a
/// crash dump.
fn switched_off(cmdline: &str, is_crash_kernel: bool) -> Option<&'static str> {
    if cmdline.split_whitespace().any(|word| word == "hardpan=off") {
        return Some("the kernel command line says hardpan=off");
    }
    is_crash_kernel.then_some("this kernel was started to save a crash dump")
}

/// Whether the configuration enforces; an error if nothing would be: the response to tampered tasks, and the exec gate
/// where the policy says so, are all there is.
fn enforces(config: &Config, policy: &Keeper) -> Result<bool, DaemonError> {
    let enforces = config.mode == Mode::Enforce;
    let records = config.sensor.task_response == Some(TaskResponse::Record);
    if enforces && records && !policy.gate_enforces() {
        return Err(DaemonError::NoEnforcement);
    }
    Ok(enforces)
}

fn start_sensor(
    config: &Config,
    objects: &Objects,
    probes: &Probes,
    (sleepable_exec, policy_max_bytes): (bool, Option<u64>),
    trusted_max: u32,
) -> Result<Sensor, DaemonError> {
    let configured = config.sensor.hash_max_bytes;
    let options = SensorOptions {
        // The smaller one: the configuration knows the host, the policy its processor.
        hash_max_bytes: policy_max_bytes.map_or(configured, |policy| policy.min(configured)),
        sleepable_exec,
        watch_tasks: config.sensor.watch_tasks,
        trusted_max,
        generation: next_generation(Path::new(PIN_ROOT)),
    };
    let mut sensor = Sensor::start(objects, probes, &options)?;
    tokio::task::block_in_place(|| sensor.self_test(config.sensor.self_test));
    Ok(sensor)
}

/// Opens the outputs. One that cannot be opened is a finding for the others; without any there is nothing to do.
fn sinks(output: &Output) -> Result<(Vec<Sink>, Vec<Finding>), DaemonError> {
    let mut sinks = Vec::new();
    let mut failed = Vec::new();
    let mut add = |name: &str, sink: io::Result<Sink>| match sink {
        Ok(sink) => sinks.push(sink),
        Err(error) => failed.push((name.to_owned(), error)),
    };
    if output.stdout {
        add("stdout", Sink::start("stdout", Stdout, output.queue_records));
    }
    if let Some(path) = &output.file {
        let sink = LogFile::open(path).and_then(|file| Sink::start("file", file, output.queue_records));
        add(&path.display().to_string(), sink);
    }
    if sinks.is_empty() {
        return Err(match failed.pop() {
            Some((output, source)) => DaemonError::Output { output, source },
            None => DaemonError::NoOutput,
        });
    }
    let findings = failed
        .into_iter()
        .map(|(name, error)| {
            warn!(output = name, %error, "cannot write records there, ignoring");
            Finding::new(
                FindingCode::SinkFailed,
                format!("cannot write records to {name}: {error}"),
            )
            .hint("restart hardpand once it can be written")
        })
        .collect();
    Ok((sinks, findings))
}

/// What is not seen on this host, as findings.
fn gaps(config: &Config, decision: &TierDecision, sensor: &impl EventSource) -> Vec<Finding> {
    let mut findings = Vec::new();
    if decision.tier < config.sensor.least_tier {
        let why: Vec<String> = decision.why.iter().map(ToString::to_string).collect();
        findings.push(
            Finding::new(
                FindingCode::TierBelow,
                format!(
                    "tier {} is below {}: {}",
                    decision.tier,
                    config.sensor.least_tier,
                    why.join("; ")
                ),
            )
            .hint("`hardpan doctor` says what would help"),
        );
    }
    for hook in sensor.hooks().iter().filter(|hook| hook.is_gap()) {
        findings.push(
            Finding::new(
                FindingCode::SensorMissing,
                format!(
                    "hook {} ({}, {}) {}: {}",
                    hook.hook,
                    hook.family.name(),
                    hook.variant,
                    hook.state,
                    hook.consequence
                ),
            )
            .hint("`hardpan doctor` says what would help"),
        );
    }
    findings
}

/// The signals that mean something to the daemon.
pub(super) struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_core::platform::Tier;

    #[test]
    fn an_operator_can_switch_it_off_at_boot() {
        assert_eq!(
            switched_off("root=/dev/sda1 quiet hardpan=on xhardpan=off", false),
            None
        );
        assert!(switched_off("root=/dev/sda1 hardpan=off quiet", false).is_some());
        assert!(
            switched_off("root=/dev/sda1", true)
                .unwrap()
                .contains("crash dump")
        );
    }

    #[test]
    fn to_enforce_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let outcome = |mode, response| {
            let mut config = Config {
                mode,
                ..Config::default()
            };
            config.sensor.task_response = Some(response);
            // No policy is loaded: the gate is not asked to do anything.
            let policy = Keeper::new(dir.path(), &config, Tier::A);
            enforces(&config, &policy)
        };
        let refused = outcome(Mode::Enforce, TaskResponse::Record).unwrap_err();
        assert!(matches!(refused, DaemonError::NoEnforcement), "{refused}");
        assert!(refused.hint().unwrap().contains("--mode observe"));
        assert!(outcome(Mode::Enforce, TaskResponse::Deny).unwrap());
        assert!(!outcome(Mode::Observe, TaskResponse::Record).unwrap());
    }
}
