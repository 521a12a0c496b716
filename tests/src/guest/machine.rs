//! The machine itself: file systems, what it is, switching it off.

use super::GuestError;
use crate::frame::Head;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use std::fs;

/// What to mount: source and type, target, options, whether the guest can do without it.
const MOUNTS: [(&str, &str, &str, bool); 10] = [
    ("proc", "/proc", "", false),
    ("sysfs", "/sys", "", false),
    ("devtmpfs", "/dev", "", false),
    ("devpts", "/dev/pts", "", true),
    ("tmpfs", "/run", "mode=0755", false),
    ("tmpfs", "/tmp", "mode=1777", false),
    ("securityfs", "/sys/kernel/security", "", true),
    ("tracefs", "/sys/kernel/tracing", "", true),
    ("bpf", "/sys/fs/bpf", "mode=0700", true),
    ("cgroup2", "/sys/fs/cgroup", "", true),
];

pub(super) fn mount_all() -> Result<(), GuestError> {
    for (kind, target, options, optional) in MOUNTS {
        // Fails for directories of sysfs that this kernel does not have; the mount below then says so.
        let made = fs::create_dir_all(target);
        let data = (!options.is_empty()).then_some(options);
        let mounted = mount(Some(kind), target, Some(kind), MsFlags::empty(), data);
        if !optional {
            made.map_err(GuestError::io(format!("creating {target}")))?;
            mounted.map_err(GuestError::system(format!("mounting {kind} on {target}")))?;
        }
    }
    // Messages of the kernel below this level would only slow the emulated serial port down. Ignored if refused.
    drop(fs::write("/proc/sys/kernel/printk", "5 4 1 7"));
    nix::unistd::sethostname("hardpan-vm").map_err(GuestError::system("setting the host name"))
}

/// Gives the package hp-caps its program's capability: the archive that the guest's files come in keeps none.
pub(super) fn give_capabilities() -> Result<(), GuestError> {
    const PROGRAM: &str = "/usr/bin/hp-caps";
    const CAP_NET_RAW: &str = "13";
    if !std::path::Path::new(PROGRAM).exists() {
        return Ok(());
    }
    let given = std::process::Command::new(PROGRAM)
        .args([PROGRAM, CAP_NET_RAW])
        .status()
        .map_err(GuestError::io(format!("starting {PROGRAM}")))?;
    if given.success() {
        Ok(())
    } else {
        Err(GuestError::io(format!("giving {PROGRAM} its capability"))(
            std::io::Error::other(given.to_string()),
        ))
    }
}

/// The guest's first words.
pub(super) fn hello() -> Head {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Head::Hello {
        lsm: read("/sys/kernel/security/lsm"),
        release: read("/proc/sys/kernel/osrelease"),
    }
}

pub(super) fn power_off() {
    nix::unistd::sync();
    // When even this fails, init returns, the kernel panics, and `panic=-1` ends the machine.
    let _refused = reboot(RebootMode::RB_POWER_OFF);
}
