//! The distribution's package manager: apt or dnf.

use crate::error::{Done, TaskError};
use crate::place::program;
use crate::{sh, ui};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// apt's lists older than this are fetched anew before installing.
const LISTS_FRESH: Duration = Duration::from_secs(24 * 3600);

/// A package manager that this host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Debian and its kin.
    Apt,
    /// Fedora, EL and their kin; the program's name.
    Dnf(&'static str),
}

/// How commands become root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Already,
    Sudo,
    No,
}

impl Manager {
    /// The one this host has.
    pub(crate) fn find() -> Done<Self> {
        if program("apt-get").is_some() {
            return Ok(Self::Apt);
        }
        ["dnf", "dnf5", "microdnf"].into_iter().find(|name| program(name).is_some()).map(Self::Dnf).ok_or_else(|| {
            TaskError::cannot(
                "this host has neither apt nor dnf",
                "install QEMU, rpm (with rpmbuild and rpmsign), gnupg, a static busybox, kmod and xz by hand",
            )
        })
    }

    /// Installs packages, as root.
    pub(super) fn install(self, names: &[String]) -> Done {
        let root = root();
        if root == Root::No {
            return Err(TaskError::cannot(
                "installing packages needs root, and sudo does not work without a password here",
                format!("run as root, then again:\n  {}", self.as_root(names)),
            ));
        }
        if self == Self::Apt && !names.iter().all(|name| apt_knows(name)) {
            update_lists(root);
        }
        ui::step("installing packages");
        sh::run(&mut privileged(root, &self.words(names)))
    }

    /// The command line for an administrator to paste.
    pub(super) fn as_root(self, names: &[String]) -> String {
        self.words(names).join(" ")
    }

    fn words(self, names: &[String]) -> Vec<&str> {
        let start: &[&str] = match self {
            Self::Apt => &["apt-get", "-q", "-y", "--no-install-recommends", "install"],
            Self::Dnf("microdnf") => &["microdnf", "-y", "install"],
            Self::Dnf(name) => &[name, "-y", "--setopt=install_weak_deps=False", "install"],
        };
        start
            .iter()
            .copied()
            .chain(names.iter().map(String::as_str))
            .collect()
    }
}

/// Whether apt's lists name an installable package.
pub(super) fn apt_knows(name: &str) -> bool {
    sh::output(Command::new("apt-cache").args(["show", "--no-all-versions", name]))
        .is_ok_and(|text| !text.is_empty())
}

/// Whether dnf can install a package.
pub(super) fn dnf_knows(dnf: &str, name: &str) -> bool {
    sh::succeeds(Command::new(dnf).args(["-q", "info", name]))
}

fn privileged(root: Root, words: &[&str]) -> Command {
    let mut command = Command::new("env");
    if root == Root::Sudo {
        command = Command::new("sudo");
        command.args(["-n", "env"]);
    }
    command.arg("DEBIAN_FRONTEND=noninteractive").args(words);
    command
}

fn root() -> Root {
    // The owner of /proc/self is the effective user.
    if fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0) {
        return Root::Already;
    }
    if sh::succeeds(Command::new("sudo").args(["-n", "true"])) {
        Root::Sudo
    } else {
        Root::No
    }
}

/// Fetches apt's lists when they are old or do not know these packages: what can be installed is decided by them.
pub(super) fn refresh_lists(names: &[&str]) {
    // apt keeps the servers' times on the lists themselves; these change when it fetched.
    let newest = ["/var/lib/apt/lists", "/var/lib/apt/lists/partial"]
        .iter()
        .filter_map(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok())
        .max();
    let is_old = newest.is_none_or(|time| {
        SystemTime::now()
            .duration_since(time)
            .is_ok_and(|age| age > LISTS_FRESH)
    });
    let root = root();
    if root != Root::No && (is_old || !names.iter().all(|name| apt_knows(name))) {
        update_lists(root);
    }
}

/// Once per run. A failure is told and not fatal: what is needed may be known already.
fn update_lists(root: Root) {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    ui::step("fetching apt's package lists");
    if let Err(error) = sh::run(&mut privileged(root, &["apt-get", "-q", "update"])) {
        ui::say(&format!("warning: {error}, ignoring"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_administrator_is_told_to_run() {
        let names = ["rpm".to_owned(), "kmod".to_owned()];
        assert_eq!(
            Manager::Apt.as_root(&names),
            "apt-get -q -y --no-install-recommends install rpm kmod"
        );
        assert_eq!(
            Manager::Dnf("dnf").as_root(&names),
            "dnf -y --setopt=install_weak_deps=False install rpm kmod"
        );
        assert_eq!(
            Manager::Dnf("microdnf").as_root(&names),
            "microdnf -y install rpm kmod"
        );
    }
}
