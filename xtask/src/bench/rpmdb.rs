//! Reading a real EL 8 database of 518 packages and verifying every signature, beside rpm.

use super::measure::{Cost, best, best_with};
use super::{Bench, Outcome, example, hardpan};
use crate::error::{Done, TaskError};
use crate::place::{self, Places, program};
use crate::sh;
use serde::Deserialize;
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
    readings(places, &dir, &database, &mut outcome)?;
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
    // A BerkeleyDB that rpm only reads has no index of names, by which rpm would find its keys.
    outcome.add(
        "rpm -qa --dump (checks digests, finds no key)",
        best(RUNS, || rpm(&["-qa", "--dump"]))?,
    );
    outcome.add(
        "rpm -qa --dump --nodigest --nosignature",
        best(RUNS, || rpm(&["-qa", "--dump", "--nodigest", "--nosignature"]))?,
    );
    rpmkeys(places, &dir, &database, &mut outcome)?;
    Ok(outcome)
}

/// What the example `scan` says of one scan.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Scan {
    computed: u64,
    recalled: u64,
    wall_s: f64,
    cpu_s: f64,
    peak_mib: f64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Scans {
    first: Scan,
    again: Scan,
}

/// The work of the daemon's child: its first reading, and one after a transaction.
fn readings(places: &Places, dir: &Path, database: &Path, outcome: &mut Outcome) -> Done {
    let program = example(places, "hardpan-rpm", "scan")?;
    let empty = dir.join("none");
    place::make_dir(&empty)?;
    let mut best: Option<[(Scan, Cost); 2]> = None;
    for _ in 0..RUNS {
        let mut command = Command::new(&program);
        command.arg(database).arg(&empty);
        let said = sh::output(command.arg(places.root.join("policies/vendor/keys")))?;
        let scans: Option<Scans> = said
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        let scans = scans
            .ok_or_else(|| TaskError::cannot("the example `scan` ends without its costs", "this is a bug"))?;
        let now = [scans.first, scans.again].map(|scan| {
            let cost = Cost {
                wall_s: scan.wall_s,
                cpu_s: scan.cpu_s,
                peak_mib: scan.peak_mib,
            };
            (scan, cost)
        });
        best = Some(match best {
            None => now,
            Some(mut best) => {
                for ((_, best), (_, now)) in best.iter_mut().zip(now) {
                    *best = best.or(now);
                }
                best
            }
        });
    }
    for (what, (scan, cost)) in ["first reading", "reading after a transaction"]
        .into_iter()
        .zip(best.into_iter().flatten())
    {
        let what = format!(
            "{what}: {} signatures computed, {} known",
            scan.computed, scan.recalled
        );
        outcome.add(&what, cost);
    }
    Ok(())
}

/// rpm's own check of the same headers. It looks at package files, so it gets some without a payload.
fn rpmkeys(places: &Places, dir: &Path, database: &Path, outcome: &mut Outcome) -> Done {
    if program("rpmkeys").is_none() {
        outcome.left_out.push("rpmkeys: not installed".to_owned());
        return Ok(());
    }
    let packages = dir.join("packages");
    if !packages.exists() {
        let program = example(places, "hardpan-rpm", "packages")?;
        let new = dir.join("packages.new");
        place::make_dir(&new)?;
        sh::quiet(Command::new(program).arg(database).arg(&new))?;
        fs::rename(&new, &packages).map_err(TaskError::file("moving packages to", &packages))?;
    }
    let files: Vec<PathBuf> = fs::read_dir(&packages)
        .map_err(TaskError::file("reading", &packages))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    let keys = dir.join("rpmkeys");
    if !keys.exists() {
        let new = tempfile::tempdir_in(dir).map_err(TaskError::file("creating a folder in", dir))?;
        let key = new.path().join("key.asc");
        let mut rpm = Command::new("rpm");
        rpm.arg("--dbpath")
            .args(database.parent())
            .args(["--define", "_db_backend bdb_ro"]);
        let all = sh::output(rpm.args(["-qa", "--qf", "%{NAME}\n%{DESCRIPTION}\n"]))?;
        let armor = all
            .split_once("\ngpg-pubkey\n")
            .or_else(|| all.split_once("gpg-pubkey\n"))
            .map(|(_, armor)| armor);
        place::write(&key, armor.unwrap_or_default())?;
        let database = new.path().join("db");
        place::make_dir(&database)?;
        let mut rpmkeys = Command::new("rpmkeys");
        sh::quiet(rpmkeys.arg("--dbpath").arg(&database).arg("--import").arg(&key))?;
        fs::rename(&database, &keys).map_err(TaskError::file("moving a database to", &keys))?;
    }
    let check = || {
        let mut command = Command::new("rpmkeys");
        command
            .arg("--dbpath")
            .arg(&keys)
            .args(["--checksig", "-v", "--nodigest"])
            .args(&files);
        command
    };
    // Its exit code is the number of packages that it is not content with: each lacks its payload.
    let code = i32::try_from(files.len() & 0xff).unwrap_or_default();
    let said = check().output().map_err(|source| TaskError::Start {
        command: "rpmkeys".into(),
        source,
    })?;
    let n_good = String::from_utf8_lossy(&said.stdout)
        .lines()
        .filter(|line| line.trim_start().starts_with("Header V") && line.ends_with(": OK"))
        .count();
    if n_good != files.len() {
        let what = format!("rpmkeys: finds only {n_good} of {} signatures good", files.len());
        outcome.left_out.push(what);
        return Ok(());
    }
    outcome.add(
        "rpmkeys --checksig --nodigest (same headers as files)",
        best_with(RUNS, &[0, code], check)?,
    );
    Ok(())
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
