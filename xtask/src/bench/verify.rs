//! Verifying the files of 1 500 signed packages, beside rpm and AIDE, and beside the bare limit.

use super::bulk::{self, Sizes, bulk};
use super::measure::{Cost, best, once, told};
use super::{Bench, Outcome, example, hardpan};
use crate::error::Done;
use crate::place::{self, Places, program};
use std::process::Command;

const RUNS: u32 = 3;
/// Runs of what takes a second or two.
const TURNS: u32 = 10;

pub(super) fn run(places: &Places) -> Done<Outcome> {
    let hardpan = hardpan(places)?;
    let bulk = bulk(places, Sizes::Real)?;
    let data = format!(
        "{} signed packages, {} files, {} MB, warm cache",
        bulk::PACKAGES,
        bulk::PACKAGES * bulk::FILES,
        bulk.bytes / 1_000_000
    );
    let mut outcome = Outcome::new(Bench::Verify, data, RUNS);
    let verify = || {
        let mut command = Command::new(&hardpan);
        command
            .args(["verify", "--root"])
            .arg(&bulk.root)
            .arg("--keyring")
            .arg(&bulk.keyring);
        command.arg("--keys-dir").arg(&bulk.pins);
        command
    };
    // The first look warms the cache for everybody.
    best(1, verify)?;
    // It can also do nothing but hash: no verification can be faster than that. In turns, since these two are compared
    // most closely and other work on the machine comes and goes.
    let bare = example(places, "hardpan-rpm", "verify")?;
    let mut costs = None;
    for _ in 0..TURNS {
        let mut hashing = Command::new(&bare);
        hashing.arg(&bulk.root).arg("0").arg("--bare");
        let now = (once(&mut verify(), &[0, 1])?, told(&mut hashing)?);
        costs = Some(costs.map_or(now, |best: (Cost, Cost)| (best.0.or(now.0), best.1.or(now.1))));
    }
    if let Some((ours, limit)) = costs {
        outcome.add("hardpan verify", ours);
        outcome.add("bare limit: the same bytes hashed (ring, all cores)", limit);
    }
    if program("rpm").is_some() {
        outcome.add(
            "rpm -Va --nodeps",
            best(RUNS, || {
                let mut command = Command::new("rpm");
                command.arg("--root").arg(&bulk.root).args([
                    "--dbpath",
                    "/var/lib/rpm",
                    "--define",
                    "_db_backend sqlite",
                ]);
                command.args(["-Va", "--nodeps"]);
                command
            })?,
        );
    } else {
        outcome.left_out.push("rpm -Va: rpm is not installed".to_owned());
    }
    aide(places, &bulk, &mut outcome)?;
    Ok(outcome)
}

fn aide(places: &Places, bulk: &bulk::Bulk, outcome: &mut Outcome) -> Done {
    if program("aide").is_none() {
        outcome
            .left_out
            .push("aide --check: not installed (`cargo xtask setup` does)".to_owned());
        return Ok(());
    }
    let dir = places.cache.join("bench-aide");
    place::make_dir(&dir)?;
    let config = dir.join("aide.conf");
    let root = bulk.root.display();
    place::write(
        &config,
        format!(
            "database_in=file:{0}/aide.db\ndatabase_out=file:{0}/aide.db\ngzip_dbout=no\n\
             {root}/usr p+u+g+s+ftype+sha256\n!{root}/var\n",
            dir.display()
        ),
    )?;
    let aide = |what: &str| {
        let mut command = Command::new("aide");
        command.arg("--config").arg(&config).arg(what);
        command
    };
    if !dir.join("aide.db").exists() {
        best(1, || aide("--init"))?;
    }
    outcome.add("aide --check (sha256)", best(RUNS, || aide("--check"))?);
    Ok(())
}
