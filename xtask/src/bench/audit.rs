//! A full CIS Level 2 audit of a made-up EL 9 root, beside OpenSCAP and beside one `find` over the same tree.

use super::bulk::{self, Sizes, bulk};
use super::measure::{best, best_of_rows, best_with};
use super::{Bench, Outcome, hardpan};
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::truth::{self, Oscap, Plan, Variant};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RUNS: u32 = 5;
/// Runs in a row that one measurement is the mean of.
const ROW: u32 = 5;
/// OpenSCAP takes its time.
const RUNS_OSCAP: u32 = 1;
const EL: u8 = 9;
/// The walk to compare with: `find` must look at every file's mode, as the sweeps must.
const FIND_PLAINEST: [&str; 6] = ["-xdev", "-type", "f", "-perm", "-0002", "-print"];
/// The questions of the benchmark that concern every file, in one pass.
const FIND_ALL: [&str; 24] = [
    "-xdev", "(", "(", "-type", "f", "-perm", "-0002", ")", "-o", "(", "-type", "d", "-perm", "-0002", "!",
    "-perm", "-1000", ")", "-o", "-nouser", "-o", "-nogroup", ")", "-print",
];

pub(super) fn run(places: &Places) -> Done<Outcome> {
    let hardpan = hardpan(places)?;
    let root = root(places)?;
    let data = format!(
        "EL {EL} root, {} packages and the usual ones, {} files, warm cache",
        bulk::PACKAGES,
        bulk::PACKAGES * bulk::FILES,
    );
    let mut outcome = Outcome::new(Bench::Audit, data, RUNS);
    let audit = |arguments: &[&str]| {
        let mut command = Command::new(&hardpan);
        command
            .args(["audit", "--profile", "cis-l2-server", "--root"])
            .arg(&root)
            .args(arguments);
        command
    };
    // The first look warms the cache for everybody.
    best(1, || audit(&[]))?;
    let rows = |command: &dyn Fn() -> Command| best_of_rows(RUNS, ROW, &[0, 1], command);
    let find = |expression: &[&str]| {
        let mut command = Command::new("find");
        command.arg(&root).args(expression);
        command
    };
    outcome.add(
        "hardpan audit, CIS L2 server, without sweeps",
        rows(&|| audit(&["--no-sweeps"]))?,
    );
    // One after the other, so that the same noise meets both.
    let plainest = rows(&|| find(&FIND_PLAINEST))?;
    let whole = rows(&|| audit(&[]))?;
    let plainest = plainest.or(rows(&|| find(&FIND_PLAINEST))?);
    outcome.add("hardpan audit, CIS L2 server", whole);
    outcome.add("one find, the plainest (-type f -perm -0002)", plainest);
    outcome.add(
        "one find with the sweeps' four questions",
        rows(&|| find(&FIND_ALL))?,
    );
    let out = places.cache.join("bench-audit-reports");
    place::make_dir(&out)?;
    let file = |name: &str| out.join(name).display().to_string();
    outcome.add(
        "hardpan audit, CIS L2 server, ARF and HTML",
        best(RUNS, || {
            audit(&[
                "-o",
                &format!("arf={}", file("hardpan.arf.xml")),
                "-o",
                &format!("html={}", file("hardpan.html")),
            ])
        })?,
    );
    let oscap = match Oscap::find(EL, &out.join("home")) {
        Ok(oscap) => oscap,
        Err(error) => {
            outcome.left_out.push(format!("OpenSCAP: {error}"));
            return Ok(outcome);
        }
    };
    // 2: a rule failed.
    let scan = |arguments: &[&str]| {
        let mut command = oscap.command(&root, "cis");
        command.args(arguments).arg(oscap.content());
        command
    };
    outcome.add(
        "oscap xccdf eval, CIS L2 server",
        best_with(RUNS_OSCAP, &[0, 2], || scan(&[]))?,
    );
    outcome.add(
        "oscap xccdf eval, CIS L2 server, ARF and HTML",
        best_with(1, &[0, 2], || {
            scan(&[
                "--results-arf",
                &file("oscap.arf.xml"),
                "--report",
                &file("oscap.html"),
            ])
        })?,
    );
    Ok(outcome)
}

/// The root: many files of many packages, and the settings of a compliant host. Made anew when its description changed.
fn root(places: &Places) -> Done<PathBuf> {
    let root = bulk(places, Sizes::Tiny)?.root;
    let source = places.root.join("tests/audit/root.toml");
    let description = place::read(&source)?;
    let made_from = root.with_file_name("made-from");
    if fs::read(&made_from).is_ok_and(|earlier| earlier == description) {
        return Ok(root);
    }
    let work = tempfile::tempdir().map_err(TaskError::file("creating a folder in", Path::new("/tmp")))?;
    let plan = Plan {
        el: EL,
        variant: Variant::Good,
    };
    truth::make(places, &root, work.path(), plan)?;
    place::write(&made_from, description)?;
    Ok(root)
}
