//! Running one half of a scenario.

use super::daemon::{Daemon, new_lines};
use super::{GuestError, Port, RUN_DIR};
use crate::frame::{Head, SayKind};
use crate::plan::{MARKER_PATH, Part, SCENARIOS_DIR};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// `PATH` of everything the guest runs.
pub(super) const PATH: &str = "/usr/bin:/usr/sbin";
/// A command that must fail: `! command` does not end a script that runs with `-e`, whatever the command does.
const NOT: &str = "not() { if \"$@\"; then echo \"not expected to succeed: $*\"; return 1; fi; }\n";
const FACTS: &str = "/run/hardpan-vm/facts";
const POLL: Duration = Duration::from_millis(20);
/// The marker is run again after this long: its record may be among those lost to a flood.
const MARKER_AGAIN: Duration = Duration::from_secs(3);
/// How often it is run although it is refused.
const MARKER_TRIES: u32 = 3;
/// Time for records that travel through another ring than the marker's.
const GRACE: Duration = Duration::from_millis(300);
/// How long `prepare` and `restore` may take.
const ASIDE_LIMIT: Duration = Duration::from_secs(300);

pub(super) fn run(
    port: &mut Port,
    half: &Part,
    daemon: &mut Daemon,
    is_watched: bool,
) -> Result<(), GuestError> {
    let offset = daemon.written();
    let log = Path::new(RUN_DIR).join("part.log");
    fs::write(FACTS, "").map_err(GuestError::io(format!("writing {FACTS}")))?;
    let limit = Duration::from_secs(half.limit_s);
    let mut shown = 0;
    let code = shell(&half.run, &half.scenario, &log, limit, || {
        if daemon.is_live() {
            show_log(port, &log, &mut shown)?;
        }
        daemon.show(port)
    })?;
    if daemon.is_live() {
        show_log(port, &log, &mut shown)?;
    }
    let marker = is_watched && !daemon.report_death(port)? && await_marker(half, offset, daemon, limit);
    let facts = fs::read_to_string(FACTS).unwrap_or_default();
    let facts = facts.lines().filter_map(|line| line.split_once('='));
    let head = Head::Part {
        scenario: half.scenario.clone(),
        role: half.role,
        code,
        marker,
        facts: facts
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect(),
    };
    daemon.show(port)?;
    port.send(&head, &fs::read(&log).unwrap_or_default())
}

/// Shows new output to a human: lines that start with `# ` are captions.
fn show_log(port: &mut Port, log: &Path, shown: &mut u64) -> Result<(), GuestError> {
    for line in new_lines(log, shown) {
        match line.strip_prefix(b"# ") {
            Some(caption) => port.send(
                &Head::Say {
                    kind: SayKind::Caption,
                },
                caption,
            )?,
            None => port.send(
                &Head::Say {
                    kind: SayKind::Output,
                },
                &line,
            )?,
        }
    }
    Ok(())
}

/// Shell text beside the scenario proper; its failure is the guest's.
pub(super) fn aside(port: &mut Port, what: &str, text: &str) -> Result<(), GuestError> {
    let log = Path::new(RUN_DIR).join("aside.log");
    let code = shell(text, "", &log, ASIDE_LIMIT, || Ok(()))?;
    if code == Some(0) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    port.send(
        &Head::Trouble {
            what: format!("{what} failed ({code:?}): {said}"),
        },
        b"",
    )
}

fn shell(
    text: &str,
    scenario: &str,
    log: &Path,
    limit: Duration,
    meanwhile: impl FnMut() -> Result<(), GuestError>,
) -> Result<Option<i32>, GuestError> {
    let script = Path::new(RUN_DIR).join("part.sh");
    fs::write(&script, format!("{NOT}{text}"))
        .map_err(GuestError::io(format!("writing {}", script.display())))?;
    let mut command = Command::new("/usr/bin/sh");
    command
        .arg("-eu")
        .arg(&script)
        .current_dir(Path::new(SCENARIOS_DIR).join(scenario));
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("HP_FACTS", FACTS);
    for line in fs::read_to_string("/hardpan-vm/env").unwrap_or_default().lines() {
        if let Some((name, value)) = line.split_once('=') {
            command.env(name, value);
        }
    }
    limited(&mut command, log, log, limit, meanwhile)
}

/// Runs a program to its end or its limit; `None`: a signal ended it, ours or another.
pub(super) fn run_limited(
    command: &mut Command,
    out: &Path,
    err: &Path,
    limit: Duration,
) -> Result<Option<i32>, GuestError> {
    limited(command, out, err, limit, || Ok(()))
}

fn limited(
    command: &mut Command,
    out: &Path,
    err: &Path,
    limit: Duration,
    mut meanwhile: impl FnMut() -> Result<(), GuestError>,
) -> Result<Option<i32>, GuestError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stdout = File::create(out).map_err(GuestError::io(format!("creating {}", out.display())))?;
    let stderr = if out == err {
        stdout.try_clone()
    } else {
        File::create(err)
    };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr.map_err(GuestError::io(format!("creating {}", err.display())))?)
        .process_group(0)
        .spawn()
        .map_err(GuestError::io(format!("starting {name}")))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child
            .try_wait()
            .map_err(GuestError::io(format!("waiting for {name}")))?
        {
            return Ok(status.code());
        }
        if started.elapsed() > limit {
            killpg(pid_of(&child), Signal::SIGKILL).map_err(GuestError::system(format!("killing {name}")))?;
            child
                .wait()
                .map_err(GuestError::io(format!("waiting for the killed {name}")))?;
            return Ok(None);
        }
        meanwhile()?;
        sleep(POLL);
    }
}

/// Runs the marker until its record is there; whether it came within the limit.
fn await_marker(part: &Part, offset: u64, daemon: &Daemon, limit: Duration) -> bool {
    let started = Instant::now();
    let mut run_at: Option<Instant> = None;
    let mut tries = 0;
    while started.elapsed() < limit {
        let token = format!("marker-{}-{}-", part.scenario, part.role.name());
        if daemon.has_written(offset, &token) {
            sleep(GRACE);
            return true;
        }
        if run_at.is_none_or(|at| at.elapsed() > MARKER_AGAIN) {
            tries += 1;
            // A part that failed may have left a gate behind that refuses it: the part's output says more than this.
            let run = Command::new(MARKER_PATH).arg(format!("{token}{tries}")).status();
            if run.is_err() && tries > MARKER_TRIES {
                return false;
            }
            run_at = Some(Instant::now());
        }
        sleep(POLL);
    }
    false
}

/// The process id of a child. Process ids of Linux fit 22 bits.
pub(super) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
