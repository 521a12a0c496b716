//! `cargo xtask test upgrade`: one host's state lives through an upgrade from an EL 8-like root to EL 9-like to EL 10-like,
//! each on a kernel of its own.
//!
//! The root is the same all the time, as in an upgrade in place; between two boots its release, its package database and
//! what the guest handed out (the archive at `plan::KEPT_PATH`) are put where the next release has them.

use super::boot::Boot;
use super::report::Report;
use super::{Guest, results_dir};
use crate::check::Tally;
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::setup::{self, Extent, berkeley};
use crate::{sh, ui};
use hardpan_tests::plan::Plan;
use hardpan_tests::scenario;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One stop on the way.
struct Leg {
    /// Folder of its scenario in `tests/upgrade`.
    scenario: &'static str,
    kernel: &'static str,
    /// `VERSION_ID`.
    version: &'static str,
    database: Database,
}

/// Where a release keeps its packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Database {
    /// BerkeleyDB in `/var/lib/rpm`.
    Berkeley,
    /// SQLite in `/var/lib/rpm`.
    Sqlite,
    /// SQLite in `/usr/lib/sysimage/rpm`, with a link from the old place.
    Sysimage,
}

/// The way. Kernels are those of the matrix that are closest.
const LEGS: [Leg; 3] = [
    Leg {
        scenario: "1-el8",
        kernel: "5.10",
        version: "8.10",
        database: Database::Berkeley,
    },
    Leg {
        scenario: "2-el9",
        kernel: "6.1",
        version: "9.6",
        database: Database::Sqlite,
    },
    Leg {
        scenario: "3-el10",
        kernel: "6.12",
        version: "10.0",
        database: Database::Sysimage,
    },
];

const OLD_DBPATH: &str = "var/lib/rpm";
const NEW_DBPATH: &str = "usr/lib/sysimage/rpm";

/// `cargo xtask test upgrade`.
pub(crate) fn run() -> Done {
    test(&Places::find()?)?.finish()
}

/// Boots leg after leg and judges each.
pub(crate) fn test(places: &Places) -> Done<Tally> {
    setup::ensure(places, Extent::All, false)?;
    let berkeley = berkeley::root(places);
    if !berkeley.join("usr/bin/rpm").is_file() {
        ui::say("skipped: there is no rpm that writes BerkeleyDB (`cargo xtask setup` downloads it)");
        return Ok(Tally {
            skipped: 1,
            ..Tally::default()
        });
    }
    let dir = places.root.join("tests/upgrade");
    let scenarios = scenario::load_all(&dir)?;
    let names = LEGS.map(|leg| leg.kernel.to_owned());
    let kernels = super::select(places, &names)?;
    let mut guest = Guest::prepare(places, &kernels)?;
    guest.scenarios = dir;
    let aside = guest.work.path().join("sqlite");
    let mut report = Report::new(&scenarios);
    let mut kept: Option<PathBuf> = None;
    for leg in &LEGS {
        let here = scenarios.iter().find(|scenario| scenario.name == leg.scenario);
        let kernel = kernels.iter().find(|kernel| kernel.name == leg.kernel);
        let (Some(here), Some(kernel)) = (here, kernel) else {
            return Err(TaskError::cannot(
                format!(
                    "there is no scenario {} or no kernel {}",
                    leg.scenario, leg.kernel
                ),
                "the table of legs names both",
            ));
        };
        become_release(&guest, leg, &berkeley, &aside)?;
        if let Some(kept) = &kept {
            sh::quiet(
                Command::new("tar")
                    .arg("-xzpf")
                    .arg(kept)
                    .arg("-C")
                    .arg(&guest.root),
            )?;
        }
        let plan = Plan {
            groups: scenario::groups(&[here]),
            live: false,
        };
        let initramfs = guest.archive(&kernel.name, &plan)?;
        ui::step(&format!("booting EL {} on {}", leg.version, kernel.name));
        let results = results_dir(places, "upgrade").join(leg.scenario);
        let boot = Boot::run(kernel, &plan, &initramfs, "", &results)?;
        report.add(kernel, std::slice::from_ref(here), &[here], &boot);
        fs::remove_file(&initramfs).map_err(TaskError::file("removing", &initramfs))?;
        let handed_out = results.join("kept.tar.gz");
        kept = handed_out.is_file().then_some(handed_out);
        let is_last = LEGS.last().is_some_and(|last| last.scenario == leg.scenario);
        if kept.is_none() && !is_last {
            return Err(TaskError::cannot(
                format!(
                    "EL {} handed out no state: there is nothing to go on with",
                    leg.version
                ),
                format!("its console and logs are in {}", results.display()),
            ));
        }
    }
    report.table();
    Ok(report.tally())
}

/// Makes the root one of this release.
fn become_release(guest: &Guest, leg: &Leg, berkeley: &Path, aside: &Path) -> Done {
    let root = &guest.root;
    let major = leg.version.split('.').next().unwrap_or_default();
    place::write(
        &root.join("etc/os-release"),
        format!(
            "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"{0}\"\n\
             PLATFORM_ID=\"platform:el{major}\"\nPRETTY_NAME=\"Rocky Linux {0}\"\n",
            leg.version
        ),
    )?;
    let (old, new) = (root.join(OLD_DBPATH), root.join(NEW_DBPATH));
    let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(TaskError::file("moving", from));
    match leg.database {
        Database::Berkeley => {
            rename(&old, aside)?;
            berkeley_database(guest, berkeley, &old)
        }
        Database::Sqlite => {
            // As `rpmdb --rebuilddb` does in an upgrade: the old database is gone afterwards.
            fs::remove_dir_all(&old).map_err(TaskError::file("removing", &old))?;
            rename(aside, &old)
        }
        Database::Sysimage => {
            place::make_dir(&root.join("usr/lib/sysimage"))?;
            rename(&old, &new)?;
            symlink("../../usr/lib/sysimage/rpm", &old).map_err(TaskError::file("linking", &old))
        }
    }
}

/// The root's packages in a database by bullseye's rpm, which still writes BerkeleyDB.
fn berkeley_database(guest: &Guest, berkeley: &Path, to: &Path) -> Done {
    let scratch = tempfile::tempdir_in(berkeley.join("tmp"))
        .map_err(TaskError::file("creating a folder in", berkeley))?;
    let name = scratch.path().file_name().unwrap_or_default();
    let seen = Path::new("/tmp").join(name);
    let database = seen.join("db").display().to_string();
    let mut packages = Vec::new();
    for (n, package) in guest.packages.iter().enumerate() {
        let copy = format!("{n}.rpm");
        place::copy(package, &scratch.path().join(&copy))?;
        packages.push(seen.join(copy));
    }
    let keys = guest.root.join("etc/pki/rpm-gpg");
    let mut imported = Vec::new();
    for entry in fs::read_dir(&keys).map_err(TaskError::file("reading", &keys))? {
        let path = entry.map_err(TaskError::file("reading", &keys))?.path();
        let name = path.file_name().unwrap_or_default();
        place::copy(&path, &scratch.path().join(name))?;
        imported.push(seen.join(name));
    }
    let rpm = |program: &str| -> Done<Command> {
        let mut command = berkeley::chroot(berkeley).ok_or_else(|| {
            TaskError::cannot(
                "chroot(2) is not allowed here",
                "run as root, or allow user namespaces",
            )
        })?;
        command.args([program, "--dbpath", &database]);
        Ok(command)
    };
    sh::quiet(rpm("/usr/bin/rpm")?.arg("--initdb"))?;
    sh::quiet(rpm("/usr/bin/rpmkeys")?.arg("--import").args(&imported))?;
    sh::quiet(
        rpm("/usr/bin/rpm")?
            .args([
                "--define",
                "_pkgverify_level none",
                "-i",
                "--justdb",
                "--nodeps",
                "--noscripts",
                "--notriggers",
                "--nosignature",
                "--ignorearch",
                "--ignoreos",
                "--excludeartifacts",
            ])
            .args(&packages),
    )?;
    let made = scratch.path().join("db");
    place::make_dir(to)?;
    // The rest are indexes and locks that rpm makes anew.
    place::copy(&made.join("Packages"), &to.join("Packages"))
}
