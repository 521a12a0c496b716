//! `hardpan policy mode`: break-glass, and back.

use super::{FINE, Failure, out};
use crate::enrich::clock::unix_us;
use crate::gate::{ModeFile, Wanted};
use crate::sensor::{PIN_ROOT, pins};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Shows what an operator asked for, or asks for something else. hardpand looks every second.
pub(super) fn mode(wanted: Option<Wanted>, reason: Option<&str>, state_dir: &Path) -> Result<u8, Failure> {
    let Some(wanted) = wanted else {
        return show(state_dir);
    };
    if !nix::unistd::Uid::effective().is_root() {
        return Err(Failure::new(
            "the mode of the gate is root's to change",
            Some("run it with sudo"),
        ));
    }
    let reason = reason
        .map(str::trim)
        .filter(|reason| !reason.is_empty())
        .ok_or_else(|| Failure::usage("say why: --reason TEXT (it goes into the record)"))?;
    let at_s = unix_us().map_err(|error| Failure::new(error, None))? / 1_000_000;
    let file = ModeFile {
        mode: wanted,
        reason: reason.to_owned(),
        uid: asker(),
        at_s,
    };
    file.save(state_dir)?;
    if wanted == Wanted::Observe {
        // Where no hardpand runs any more, only what it pinned is left to refuse.
        for pinned in pins::previous(Path::new(PIN_ROOT)) {
            pinned.open();
        }
    }
    Ok(out(match wanted {
        Wanted::Observe => "the gate refuses nothing from now on; hardpand writes a record of it\n",
        Wanted::Configured => {
            "the gate does what configuration and policy say, once everything that runs is trusted\n"
        }
    }))
}

fn show(state_dir: &Path) -> Result<u8, Failure> {
    let mut text = String::new();
    let _infallible = match ModeFile::load(state_dir)? {
        Some(ModeFile {
            mode: Wanted::Observe,
            reason,
            uid,
            ..
        }) => writeln!(
            text,
            "observe: uid {uid} asked for it: {reason}\nback: hardpan policy mode configured --reason TEXT"
        ),
        _ => writeln!(
            text,
            "configured: what hardpand's configuration (mode) and the policy (gate.mode) say\n\
             break-glass: hardpan policy mode observe --reason TEXT"
        ),
    };
    match out(&text) {
        FINE => Ok(FINE),
        failed => Ok(failed),
    }
}

/// Who logged in, whatever user this runs as now; else the real user.
fn asker() -> u32 {
    let login = fs::read_to_string("/proc/self/loginuid")
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .filter(|uid| *uid != u32::MAX);
    login.unwrap_or_else(|| nix::unistd::Uid::current().as_raw())
}
