//! `cargo xtask run`: Hardpan at work, on this host or in a virtual machine.

use crate::cli::RunArgs;
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::setup::{self, Extent};
use crate::signal;
use crate::vm::qemu::{self, Ending};
use crate::vm::{Guest, Programs, select};
use crate::{sh, ui};
use hardpan_tests::frame::{DaemonState, Head, SayKind};
use hardpan_tests::plan::{Group, Part, Plan, Role};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The kernel of the guided run.
const KERNEL: &str = "6.12";
/// Longest silence of the guest.
const PATIENCE: Duration = Duration::from_secs(300);

/// `cargo xtask run`.
pub(crate) fn run(args: &RunArgs) -> Done {
    let places = Places::find()?;
    if args.vm {
        return in_vm(&places, args.yes);
    }
    setup::ensure(&places, Extent::Programs, args.yes)?;
    // The very programs that the machine would get: static, so they run here as well, and are built once.
    let programs = Programs::build(&places)?;
    let tier = tier(&programs)?;
    ui::say(&format!("this host's kernel allows tier {tier}"));
    if args.native || matches!(tier.as_str(), "A" | "B") {
        return natively(&places, &programs);
    }
    ui::say(
        "that is not enough to show everything here, so a virtual machine does (`--native` insists on the host)",
    );
    in_vm(&places, args.yes)
}

/// The tier that doctor names for this host.
fn tier(programs: &Programs) -> Done<String> {
    let mut doctor = as_root(programs, "hardpan");
    let out = doctor
        .args(["doctor", "--json"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let out = out.map_err(|source| TaskError::Start {
        command: sh::shown(&doctor),
        source,
    })?;
    let said: Value = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    Ok(said
        .pointer("/tier/tier")
        .and_then(Value::as_str)
        .unwrap_or("none")
        .to_owned())
}

/// A program as root, which loading eBPF programs needs; it gets the object by name.
fn as_root(programs: &Programs, name: &str) -> Command {
    let mut command = Command::new("env");
    if !fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0) {
        command = Command::new("sudo");
        command.arg("env");
    }
    command
        .arg(format!("HARDPAN_BPF_OBJECT={}", programs.object().display()))
        .arg(programs.path(name));
    command
}

fn natively(places: &Places, programs: &Programs) -> Done {
    let dir = places.target().join("run");
    let config = dir.join("hardpan.toml");
    let state = dir.join("state");
    place::make_dir(&state)?;
    let state = toml::Value::String(state.display().to_string());
    let text =
        format!("run_dir = {state}\n\n[record]\nexec = \"all\"\n\n[output]\nstdout = true\nfile = \"\"\n");
    place::write(&config, text)?;
    ui::step("hardpand in observe mode: records follow; Ctrl-C stops it");
    // Ctrl-C is for hardpand, which gets it too: this process waits for its last records.
    signal::watch()?;
    let mut daemon = as_root(programs, "hardpand");
    daemon
        .args(["--foreground", "--mode", "observe", "--config"])
        .arg(&config);
    sh::run(&mut daemon)
}

fn in_vm(places: &Places, yes: bool) -> Done {
    setup::ensure(places, Extent::Vm, yes)?;
    let kernels = match select(places, &[KERNEL.to_owned()]) {
        Ok(kernels) => kernels,
        Err(error) => {
            ui::report(&error);
            ui::say("trying this host's own kernel instead");
            select(places, &["host".to_owned()])?
        }
    };
    let Some(kernel) = kernels.first() else {
        return Err(TaskError::Cannot {
            what: "there is no kernel to boot".into(),
            hint: None,
        });
    };
    let guest = Guest::prepare(places, &kernels)?;
    let initramfs = guest.archive("run", &tour(places)?)?;
    let results = places.target().join("vm/results/run");
    ui::step(&format!(
        "a virtual machine with {} (Ctrl-C ends it)",
        kernel.release().unwrap_or_default()
    ));
    let mut shown = Shown::default();
    let console = results.join("console.log");
    let ending = qemu::run(kernel, &initramfs, "", &console, PATIENCE, |head, payload| {
        shown.frame(&head, &payload);
    })?;
    place::write(&results.join("records.json"), &shown.records)?;
    ui::say(&format!(
        "every record in full: {}",
        results.join("records.json").display()
    ));
    match ending.how {
        Ending::Orderly if shown.trouble.is_none() => Ok(()),
        Ending::Interrupted => {
            ui::say("ended");
            Ok(())
        }
        Ending::Orderly => Err(TaskError::Cannot {
            what: shown.trouble.unwrap_or_default(),
            hint: None,
        }),
        other => Err(TaskError::cannot(
            format!("the machine did not end as it should: {other:?}"),
            format!("its console is in {}", console.display()),
        )),
    }
}

fn tour(places: &Places) -> Done<Plan> {
    let script = place::read(&places.root.join("tests/guided/tour.sh"))?;
    let part = Part {
        scenario: String::new(),
        role: Role::Attack,
        run: String::from_utf8_lossy(&script).into_owned(),
        limit_s: 240,
        tiers: Vec::new(),
    };
    let group = Group {
        name: "tour".into(),
        config: "[record]\nexec = \"untrusted\"\n".into(),
        scenario: None,
        prepare: None,
        restore: None,
        may_refuse: false,
        parts: vec![part],
    };
    Ok(Plan {
        groups: vec![group],
        live: true,
    })
}

/// What the tour has shown.
#[derive(Debug, Default)]
struct Shown {
    records: String,
    trouble: Option<String>,
}

impl Shown {
    fn frame(&mut self, head: &Head, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        match head {
            Head::Hello { release, lsm } => ui::data(&format!("Linux {release}, LSMs {lsm}")),
            Head::Say {
                kind: SayKind::Caption,
            } => ui::data(&format!("\n--- {text}")),
            Head::Say {
                kind: SayKind::Output,
            } => ui::data(&format!("    {text}")),
            Head::Say {
                kind: SayKind::Record,
            } => {
                self.records.push_str(&text);
                self.records.push('\n');
                if let Some(line) = short(&text) {
                    ui::data(&line);
                }
            }
            Head::Daemon {
                state: DaemonState::Ready,
                took_ms,
                ..
            } => {
                ui::data(&format!("hardpand is ready after {took_ms} ms of emulated time"));
            }
            Head::Daemon {
                state: DaemonState::Stopped(Some(0)),
                ..
            } => ui::data("hardpand stopped"),
            Head::Daemon { state, .. } => self.fail(&format!("hardpand: {state:?}\n{text}")),
            Head::Trouble { what } => self.fail(what),
            Head::Doctor { .. } | Head::Part { .. } | Head::Records { .. } | Head::Kept | Head::End => {}
        }
    }

    fn fail(&mut self, what: &str) {
        ui::say(what);
        self.trouble.get_or_insert_with(|| what.to_owned());
    }
}

/// A record in one line: kind, action and message. The guest's own marker is left out.
fn short(line: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| {
        record
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if text("/process/executable") == hardpan_tests::plan::MARKER_PATH {
        return None;
    }
    let kind = if text("/event/kind") == "alert" {
        "ALERT "
    } else {
        "record"
    };
    Some(format!(
        "  {kind} {}: {}",
        text("/event/action"),
        text("/message")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_one_line() {
        let line = r#"{"event":{"kind":"alert","action":"exec"},"message":"exec of /tmp/x: untrusted","process":{"executable":"/tmp/x"}}"#;
        assert_eq!(
            short(line).as_deref(),
            Some("  ALERT  exec: exec of /tmp/x: untrusted")
        );
        let marker =
            r#"{"event":{"kind":"alert","action":"exec"},"process":{"executable":"/hardpan-vm/marker"}}"#;
        assert_eq!(short(marker), None);
    }
}
