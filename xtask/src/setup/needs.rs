//! What the tasks need from the distribution, beside the compiler for eBPF programs. (tidy: table)

use super::packages::Manager;
use crate::place::program;
use crate::sh;
use std::path::Path;
use std::process::Command;

/// What it is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Building static programs.
    Programs,
    /// Building and running virtual machines.
    Vm,
    /// Checking the source.
    Lint,
    /// What users run today, to compare with.
    Bench,
    /// A firmware for machines, and what a test kills programs with.
    Firmware,
}

/// How to see whether it is there.
#[derive(Debug, Clone, Copy)]
enum Probe {
    /// One of these programs exists.
    Program(&'static [&'static str]),
    /// A program runs.
    Runs(&'static [&'static str]),
    /// A static C library to link with.
    StaticLibc,
    /// A statically linked busybox.
    StaticBusybox,
    /// This file exists.
    File(&'static str),
}

/// One need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    pub(super) purpose: Purpose,
    probe: Probe,
    apt: &'static [&'static str],
    dnf: &'static [&'static str],
    /// The component that rustup installs instead, where there is rustup.
    pub(super) rustup_component: Option<&'static str>,
}

const fn vm(probe: Probe, apt: &'static [&'static str], dnf: &'static [&'static str]) -> Need {
    Need {
        purpose: Purpose::Vm,
        probe,
        apt,
        dnf,
        rustup_component: None,
    }
}

/// Programs under which QEMU goes. EL has it outside `PATH`.
pub(crate) const QEMU: [&str; 2] = ["qemu-system-x86_64", "/usr/libexec/qemu-kvm"];

/// All needs. EL packages: busybox is in EPEL, glibc-static in CRB; `dnf` says so where they are not enabled.
pub(super) const NEEDS: &[Need] = &[
    vm(Probe::Program(&QEMU), &["qemu-system-x86"], &["qemu-kvm"]),
    Need {
        purpose: Purpose::Bench,
        probe: Probe::Program(&["aide"]),
        apt: &["aide"],
        dnf: &["aide"],
        rustup_component: None,
    },
    vm(Probe::Program(&["rpmbuild"]), &["rpm"], &["rpm-build"]),
    vm(Probe::Program(&["rpmsign"]), &["rpm"], &["rpm-sign"]),
    vm(Probe::Program(&["gpg"]), &["gnupg"], &["gnupg2"]),
    vm(Probe::StaticBusybox, &["busybox-static"], &["busybox"]),
    vm(Probe::Program(&["kmod"]), &["kmod"], &["kmod"]),
    vm(Probe::Program(&["make"]), &["make"], &["make"]),
    vm(Probe::Program(&["xz"]), &["xz-utils"], &["xz"]),
    vm(Probe::Program(&["gzip"]), &["gzip"], &["gzip"]),
    Need {
        purpose: Purpose::Programs,
        ..vm(Probe::StaticLibc, &["libc6-dev"], &["glibc-static"])
    },
    // Only Debian packages a firmware whose keys for Secure Boot come with their private half.
    Need {
        purpose: Purpose::Firmware,
        ..vm(
            Probe::File("/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"),
            &["ovmf"],
            &[],
        )
    },
    Need {
        purpose: Purpose::Firmware,
        ..vm(Probe::Program(&["swtpm"]), &["swtpm"], &["swtpm"])
    },
    Need {
        purpose: Purpose::Firmware,
        ..vm(Probe::Program(&["sbsign"]), &["sbsigntool"], &["sbsigntools"])
    },
    Need {
        purpose: Purpose::Firmware,
        ..vm(Probe::Program(&["openssl"]), &["openssl"], &["openssl"])
    },
    Need {
        purpose: Purpose::Firmware,
        ..vm(Probe::Program(&["strace"]), &["strace"], &["strace"])
    },
    Need {
        purpose: Purpose::Lint,
        probe: Probe::Runs(&["cargo", "fmt", "--version"]),
        apt: &["rustfmt"],
        dnf: &["rustfmt"],
        rustup_component: Some("rustfmt"),
    },
    Need {
        purpose: Purpose::Lint,
        probe: Probe::Runs(&["cargo", "clippy", "--version"]),
        apt: &["rust-clippy"],
        dnf: &["clippy"],
        rustup_component: Some("clippy"),
    },
];

impl Need {
    /// Whether it is there.
    pub(super) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(names) => names.iter().any(|name| program(name).is_some()),
            Probe::Runs([name, args @ ..]) => sh::succeeds(Command::new(name).args(args)),
            Probe::Runs([]) => false,
            Probe::StaticLibc => has_static_libc(),
            Probe::File(path) => Path::new(path).is_file(),
            Probe::StaticBusybox => program("busybox").is_some_and(|path| is_static(&path)),
        }
    }

    /// The packages that bring it.
    pub(super) const fn packages(&self, manager: Option<&Manager>) -> &'static [&'static str] {
        match manager {
            Some(Manager::Dnf(_)) => self.dnf,
            _ => self.apt,
        }
    }
}

/// The C compiler knows where its static library is; it repeats the bare name when it has none.
fn has_static_libc() -> bool {
    sh::output(Command::new("cc").arg("-print-file-name=libc.a"))
        .is_ok_and(|path| Path::new(path.trim()).is_absolute())
}

/// A static program names no interpreter; `ldd` fails on it or says so.
fn is_static(path: &Path) -> bool {
    match Command::new("ldd").arg(path).output() {
        Ok(out) => {
            !out.status.success() || String::from_utf8_lossy(&out.stdout).contains("statically linked")
        }
        Err(_) => false,
    }
}
