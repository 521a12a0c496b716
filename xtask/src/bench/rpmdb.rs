//! Reading a real EL 8 database of 518 packages and verifying every signature, beside rpm.

use super::measure::best;
use super::{Bench, Outcome, hardpan};
use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use crate::sh;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RUNS: u32 = 5;
/// Debian package that has the CentOS 8 database among its test data.
const DEBIAN: &str = "golang-github-knqyf263-go-rpmdb-dev";
const INSIDE: &str =
    "usr/share/gocode/src/github.com/knqyf263/go-rpmdb/pkg/testdata/centos8-modularitylabel/Packages";

pub(super) fn run(places: &Places) -> Done<Outcome> {
    let hardpan = hardpan(places)?;
    let dir = places.cache.join("bench-rpmdb");
    let root = dir.join("root");
    let database = root.join("var/lib/rpm/Packages");
    if !database.exists() {
        place::make_dir(&root.join("var/lib/rpm"))?;
        fs::copy(find(places, &dir)?, &database).map_err(TaskError::file("copying", &database))?;
    }
    let state = dir.join("state");
    place::make_dir(&state)?;
    let mut outcome = Outcome::new(
        Bench::Rpmdb,
        "CentOS 8, BerkeleyDB, 518 headers, 63 825 files".to_owned(),
        RUNS,
    );
    outcome.add(
        "hardpan trust list (read, verify, index)",
        best(RUNS, || {
            let mut command = Command::new(&hardpan);
            command
                .args(["trust", "list", "--root"])
                .arg(&root)
                .arg("--keys-dir")
                .arg(dir.join("none"));
            command
        })?,
    );
    // `--state-dir` keeps the reading: every later look-up starts from it.
    let whence = || {
        let mut command = Command::new(&hardpan);
        command
            .args(["trust", "whence", "/usr/bin/bash", "--root"])
            .arg(&root)
            .arg("--state-dir")
            .arg(&state);
        command
    };
    best(1, whence)?;
    outcome.add("hardpan trust whence (persisted index)", best(RUNS, whence)?);
    if program("rpm").is_none() {
        outcome.left_out.push("rpm: not installed".to_owned());
        return Ok(outcome);
    }
    let rpm = |arguments: &[&str]| {
        let mut command = Command::new("rpm");
        command
            .arg("--dbpath")
            .arg(root.join("var/lib/rpm"))
            .args(["--define", "_db_backend bdb_ro"])
            .args(arguments);
        command
    };
    outcome.add(
        "rpm -qa --dump (with its own checks of headers)",
        best(RUNS, || rpm(&["-qa", "--dump"]))?,
    );
    outcome.add(
        "rpm -qa --dump --nodigest --nosignature",
        best(RUNS, || rpm(&["-qa", "--dump", "--nodigest", "--nosignature"]))?,
    );
    Ok(outcome)
}

fn find(places: &Places, dir: &Path) -> Done<PathBuf> {
    let shared = places
        .root
        .join("../shared/data/rpmdb/centos8-modularity.Packages");
    if shared.exists() {
        return Ok(shared);
    }
    if program("apt-get").is_none() {
        return Err(TaskError::cannot(
            "the CentOS 8 database comes from a Debian package, and this host has no apt",
            format!(
                "put an EL 8 Packages file at {}",
                dir.join("root/var/lib/rpm/Packages").display()
            ),
        ));
    }
    place::make_dir(dir)?;
    sh::quiet(
        Command::new("apt-get")
            .args(["download", DEBIAN])
            .current_dir(dir),
    )?;
    let deb = fs::read_dir(dir)
        .map_err(TaskError::file("reading", dir))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| TaskError::cannot("apt-get download left no package", "run it by hand to see why"))?;
    sh::quiet(Command::new("dpkg").arg("-x").arg(&deb).arg(dir.join("deb")))?;
    Ok(dir.join("deb").join(INSIDE))
}
