//! Proves hooks by real events: a hook counts as working only after one came through it.
//!
//! A helper thread changes its own credentials in ways that grant nothing (file-system ids, inheritable set), starts
//! this very executable with `--version`, and offers the kernel a module that is none. Module loads and frees are not
//! tested: no module is loaded for a test.

use super::{Sensor, gate, task};
use crate::sys::task as calls;
use hardpan_abi::{
    COUNTER_SLOTS, CredEvent, CredWitness, EventHeader, EventKind, ExecEvent, GateMode, exec_flag,
};
use hardpan_core::platform::{HookFamily, HookReport, HookState};
use std::{
    io,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use zerocopy::FromBytes;

/// `CAP_NET_BIND_SERVICE`: any capability that root has will do.
const FLIPPED_CAPABILITY: u32 = 10;
const NOBODY: u32 = 65534;

#[derive(Debug, Default)]
struct Seen {
    exec: bool,
    exec_by_lsm: bool,
    cred: bool,
    setuid: bool,
    capset: bool,
    cred_exec: bool,
    load_data: bool,
    read_file: bool,
    /// The counters before and after.
    gate: Option<(Vec<u64>, Vec<u64>)>,
}

/// What the helper thread did.
#[derive(Debug)]
struct Acts {
    tgid: u32,
    tid: u32,
    /// Thread that offered a file.
    file_tid: u32,
    child: Result<u32, String>,
    capset: Result<(), String>,
    module: String,
}

pub(super) fn run(sensor: &mut Sensor, limit: Duration) {
    sensor.gate_allows_all(GateMode::Observe);
    let before = sensor.counters().unwrap_or([0; COUNTER_SLOTS as usize]);
    let acts = match thread::Builder::new().name("hp-selftest".to_owned()).spawn(act) {
        Ok(handle) => handle
            .join()
            .map_err(|_| "the self-test thread panicked".to_owned()),
        Err(error) => Err(format!("starting a thread: {error}")),
    };
    let acts = match acts {
        Ok(acts) => acts,
        Err(why) => {
            mark_all(sensor, &format!("self-test: {why}"));
            return;
        }
    };
    // The sweep is run by user space: its first run also makes the shadows of tasks that are there already.
    if let Err(error) = sensor.sweep() {
        tracing::debug!(%error, "the first sweep failed");
    }
    let mut seen = Seen::default();
    let deadline = Instant::now() + limit;
    loop {
        let mut records = Vec::new();
        if !sensor.is_full() {
            sensor.drain_rings(&mut |ring, record| records.push((ring, record.to_vec())));
        }
        for (ring, record) in records {
            look(&record, &acts, &mut seen);
            sensor.keep(ring, record);
        }
        seen.load_data |= module_note(sensor, acts.tgid, acts.tid);
        seen.read_file |= module_note(sensor, acts.tgid, acts.file_tid);
        if all_seen(sensor, &seen) || Instant::now() >= deadline {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    sensor.gate_allows_all(GateMode::Off);
    let after = sensor.counters().unwrap_or(before);
    seen.gate = Some((before.to_vec(), after.to_vec()));
    judge(sensor, &acts, &seen, limit);
}

/// Runs in a thread of its own, whose credentials go with it.
fn act() -> Acts {
    let module = calls::init_module_garbage().to_string();
    // In a thread of its own: the kernel side keeps one note per thread.
    let file_tid = thread::spawn(|| {
        let _refused = calls::finit_module_garbage();
        nix::unistd::gettid().as_raw().cast_unsigned()
    })
    .join()
    .unwrap_or_default();
    calls::touch_task_hooks();
    if let Err(error) = calls::make_file_executable() {
        tracing::debug!(%error, "mprotect could not be tested");
    }
    let capset = calls::flip_inheritable(FLIPPED_CAPABILITY).map_err(|error| error.to_string());
    calls::set_fsuid(NOBODY);
    calls::set_fsuid(nix::unistd::Uid::effective().as_raw());
    // The child inherits the file-system gid; its exec sets it back to the effective gid: a credential change by exec.
    calls::set_fsgid(NOBODY);
    let child = exec_self();
    calls::set_fsgid(nix::unistd::Gid::effective().as_raw());
    Acts {
        tgid: std::process::id(),
        tid: nix::unistd::gettid().as_raw().cast_unsigned(),
        file_tid,
        child: child.map_err(|error| error.to_string()),
        capset,
        module,
    }
}

fn exec_self() -> io::Result<u32> {
    let mut child = Command::new("/proc/self/exe")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let id = child.id();
    child.wait()?;
    Ok(id)
}

fn look(record: &[u8], acted: &Acts, seen: &mut Seen) {
    let Ok((header, _)) = EventHeader::read_from_prefix(record) else {
        return;
    };
    match EventKind::from_u16(header.kind) {
        Some(EventKind::Exec) if Ok(header.task.tgid) == acted.child => {
            seen.exec = true;
            if let Ok((event, _)) = ExecEvent::read_from_prefix(record) {
                seen.exec_by_lsm |= event.flags & exec_flag::SEEN_BY_LSM != 0;
            }
        }
        Some(EventKind::Cred) if header.task.tgid == acted.tgid || Ok(header.task.tgid) == acted.child => {
            seen.cred = true;
            if let Ok((event, _)) = CredEvent::read_from_prefix(record) {
                match CredWitness::from_u32(event.witness) {
                    Some(CredWitness::SetUid) => seen.setuid = true,
                    Some(CredWitness::CapSet) => seen.capset = true,
                    Some(CredWitness::Exec) => seen.cred_exec = true,
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// The hook left a note for the helper thread; it is removed, no `module_load` follows.
fn module_note(sensor: &mut Sensor, process: u32, thread: u32) -> bool {
    let key = u64::from(process) << 32 | u64::from(thread);
    let Some(notes) = &mut sensor.module_notes else {
        return false;
    };
    let found = notes.get(&key, 0).is_ok();
    if found {
        let _already_gone = notes.remove(&key);
    }
    found
}

fn was_seen(hook: &HookReport, maps: &task::Maps, seen: &Seen) -> Option<bool> {
    if hook.family == HookFamily::Task {
        return maps.ran(&hook.hook, &hook.variant);
    }
    if hook.family == HookFamily::Gate {
        let (before, after) = seen.gate.as_ref()?;
        return gate::asked(&hook.hook, before, after);
    }
    Some(match hook.hook.as_str() {
        "sched_process_exec" => seen.exec,
        "bprm_check_security" => seen.exec_by_lsm,
        "commit_creds" => seen.cred,
        "task_fix_setuid" => seen.setuid,
        "capset" => seen.capset,
        "bprm_committing_creds" => seen.cred_exec,
        "kernel_load_data" => seen.load_data,
        "kernel_read_file" => seen.read_file,
        // Tested by no event of its own: see the module's head.
        _ => return None,
    })
}

fn all_seen(sensor: &Sensor, seen: &Seen) -> bool {
    sensor
        .hooks
        .iter()
        .filter(|hook| hook.state == HookState::Attached)
        .all(|hook| was_seen(hook, &sensor.task_maps, seen) != Some(false))
}

fn judge(sensor: &mut Sensor, acts: &Acts, seen: &Seen, limit: Duration) {
    for hook in &mut sensor.hooks {
        if hook.state != HookState::Attached {
            continue;
        }
        match was_seen(hook, &sensor.task_maps, seen) {
            Some(true) => hook.state = HookState::SelfTested,
            Some(false) => {
                let about = match hook.hook.as_str() {
                    "capset" => acts
                        .capset
                        .as_ref()
                        .err()
                        .map(|error| format!(" (capset: {error})")),
                    "kernel_load_data" | "kernel_read_file" => {
                        Some(format!(" (init_module: {})", acts.module))
                    }
                    _ => acts
                        .child
                        .as_ref()
                        .err()
                        .map(|error| format!(" (starting {}: {error})", "/proc/self/exe")),
                };
                hook.state = HookState::Failed {
                    what: format!(
                        "self-test: no event within {} s{}",
                        limit.as_secs(),
                        about.unwrap_or_default()
                    ),
                    errno: None,
                };
            }
            None => {}
        }
    }
}

fn mark_all(sensor: &mut Sensor, why: &str) {
    for hook in &mut sensor.hooks {
        if hook.state == HookState::Attached {
            hook.state = HookState::Failed {
                what: why.to_owned(),
                errno: None,
            };
        }
    }
}
