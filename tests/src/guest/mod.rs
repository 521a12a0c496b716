//! What runs inside the virtual machine: the init that carries out a plan and reports with frames.

mod daemon;
mod machine;
mod part;
mod port;

use crate::frame::{DaemonState, Head};
use crate::plan::{Group, KEPT_PATH, PLAN_PATH, Plan, Role};
use daemon::Daemon;
use port::Port;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

/// Where the guest keeps what it collects.
const RUN_DIR: &str = "/run/hardpan-vm";
/// How long `hardpan doctor` may take. It loads probes under emulation.
const DOCTOR_LIMIT: Duration = Duration::from_secs(120);

/// The guest could not do its own work.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// A file, device or program.
    #[error("{what}")]
    Io {
        /// What was attempted, on what.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The plan cannot be read.
    #[error("parsing {PLAN_PATH}")]
    Plan(#[source] serde_json::Error),
    /// A system call on a mount, terminal or process.
    #[error("{what}")]
    System {
        /// What was attempted, on what.
        what: String,
        /// Why it failed.
        #[source]
        source: nix::Error,
    },
}

impl GuestError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }

    fn system(what: impl Into<String>) -> impl FnOnce(nix::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source }
    }
}

/// The life of the machine: mounts, the plan, power off. Never returns to a caller that could go on.
pub fn init() {
    let mounted = machine::mount_all();
    let Ok(mut port) = Port::open() else {
        // Nobody can be told: the host sees a machine that ends without a word, and its console.
        machine::power_off();
        return;
    };
    let done = mounted.and_then(|()| carry_out(&mut port));
    if let Err(error) = done {
        let cause = std::error::Error::source(&error)
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        port.send_or_ignore(
            &Head::Trouble {
                what: format!("{error}{cause}"),
            },
            b"",
        );
    }
    port.send_or_ignore(&Head::End, b"");
    machine::power_off();
}

fn carry_out(port: &mut Port) -> Result<(), GuestError> {
    let raw = fs::read(PLAN_PATH).map_err(GuestError::io(format!("reading {PLAN_PATH}")))?;
    let plan: Plan = serde_json::from_slice(&raw).map_err(GuestError::Plan)?;
    fs::create_dir_all(RUN_DIR).map_err(GuestError::io(format!("creating {RUN_DIR}")))?;
    port.send(&machine::hello(), b"")?;
    machine::give_capabilities()?;
    let tier = doctor(port)?;
    for mut group in plan.groups {
        let had_parts = !group.parts.is_empty();
        group.parts.retain(|part| part.runs_at(tier.as_deref()));
        // What such a part says is not meant for this kernel: neither is its daemon.
        if !had_parts || !group.parts.is_empty() {
            run_group(port, &group, plan.live)?;
        }
    }
    match fs::read(KEPT_PATH) {
        Ok(kept) => port.send(&Head::Kept, &kept),
        // Most boots have no successor.
        Err(_none) => Ok(()),
    }
}

/// The tier it names.
fn doctor(port: &mut Port) -> Result<Option<String>, GuestError> {
    let (out, err) = (
        Path::new(RUN_DIR).join("doctor.out"),
        Path::new(RUN_DIR).join("doctor.err"),
    );
    let code = part::run_limited(
        Command::new("/usr/bin/hardpan").args(["doctor", "--json"]),
        &out,
        &err,
        DOCTOR_LIMIT,
    )?;
    let stderr = String::from_utf8_lossy(&fs::read(err).unwrap_or_default()).into_owned();
    let said = fs::read(out).unwrap_or_default();
    port.send(&Head::Doctor { code, stderr }, &said)?;
    let said: Option<serde_json::Value> = serde_json::from_slice(&said).ok();
    Ok(said.and_then(|said| Some(said.pointer("/tier/tier")?.as_str()?.to_owned())))
}

/// A stretch of the daemon's output and the part during which it was written.
struct Stretch {
    part: Option<(String, Role)>,
    from: u64,
    to: u64,
}

fn run_group(port: &mut Port, group: &Group, live: bool) -> Result<(), GuestError> {
    let shell = |port: &mut Port, what: &str, text: &Option<String>| match text {
        None => Ok(()),
        Some(text) => part::aside(port, &format!("{what} of group {}", group.name), text),
    };
    shell(port, "prepare", &group.prepare)?;
    let mut daemon = Daemon::start(group, live)?;
    let mut stretches = Vec::new();
    let state = daemon.wait_ready(port)?;
    let ready = state == DaemonState::Ready;
    let mut from = 0;
    if ready || group.may_refuse {
        for part in &group.parts {
            let start = daemon.written();
            stretches.push(Stretch {
                part: None,
                from,
                to: start,
            });
            part::run(port, part, &mut daemon, ready)?;
            from = daemon.written();
            stretches.push(Stretch {
                part: Some((part.scenario.clone(), part.role)),
                from: start,
                to: from,
            });
        }
    }
    daemon.stop(port)?;
    stretches.push(Stretch {
        part: None,
        from,
        to: daemon.written(),
    });
    shell(port, "restore", &group.restore)?;
    // Only now: compressing runs a program, which would show up in the records of the next part.
    for stretch in stretches.into_iter().filter(|stretch| stretch.to > stretch.from) {
        let packed = gzip(daemon.records(), stretch.from, stretch.to)?;
        let plain_bytes = stretch.to - stretch.from;
        port.send(
            &Head::Records {
                group: group.name.clone(),
                part: stretch.part,
                plain_bytes,
            },
            &packed,
        )?;
    }
    Ok(())
}

fn gzip(file: &Path, from: u64, to: u64) -> Result<Vec<u8>, GuestError> {
    use std::io::{Read, Seek, SeekFrom, Write};
    let piece = PathBuf::from(RUN_DIR).join("piece");
    let copy = || -> io::Result<()> {
        let mut source = fs::File::open(file)?;
        source.seek(SeekFrom::Start(from))?;
        let mut target = fs::File::create(&piece)?;
        io::copy(&mut source.take(to - from), &mut target)?;
        target.flush()
    };
    copy().map_err(GuestError::io(format!("copying from {}", file.display())))?;
    let out = Command::new("/usr/bin/gzip")
        .arg("-c")
        .stdin(fs::File::open(&piece).map_err(GuestError::io("opening a piece of the records"))?)
        .output()
        .map_err(GuestError::io("running gzip"))?;
    Ok(out.stdout)
}
