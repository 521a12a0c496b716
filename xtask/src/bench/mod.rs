//! Benchmarks side by side with what users run today, in the same run on the same data.
//!
//! Figures of different machines, or of different hours of one, cannot be compared; ratios within a run can.

mod audit;
mod bulk;
mod exec;
mod measure;
mod pipeline;
mod rpmdb;
mod verify;

use crate::error::{Done, TaskError};
use crate::place::Places;
use crate::setup::{self, Extent};
use crate::sh;
use crate::ui;
use clap::ValueEnum;
use measure::Cost;
use serde::Serialize;
use std::path::PathBuf;
use std::process::Command;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// `hardpan verify` beside `rpm -Va`
    Verify,
    /// Reading and verifying an rpmdb, beside rpm
    Rpmdb,
    /// Cost of an exec in guest instructions, beside fapolicyd and LKRG
    Exec,
    /// Executions a second from ring to record without a loss
    Pipeline,
    /// `hardpan audit` beside OpenSCAP
    Audit,
}

/// One row of a result.
#[derive(Debug, Serialize)]
struct Row {
    /// What ran.
    what: String,
    /// What it cost.
    #[serde(flatten)]
    cost: Cost,
    /// Wall time as a multiple of Hardpan's.
    wall_ratio: f64,
    /// CPU time as a multiple of Hardpan's.
    cpu_ratio: f64,
}

/// A benchmark's result.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Name of the benchmark.
    bench: String,
    /// On what data.
    data: String,
    /// Runs of each; the best counts.
    runs: u32,
    /// Hardpan first.
    rows: Vec<Row>,
    /// What could not be compared, and why.
    left_out: Vec<String>,
}

impl Outcome {
    fn new(bench: Bench, data: String, runs: u32) -> Self {
        Self {
            bench: bench.name(),
            data,
            runs,
            rows: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Adds a row; the first one is what the others are compared with.
    fn add(&mut self, what: &str, cost: Cost) {
        let first = self.rows.first().map_or(cost, |row| row.cost);
        let ratio = |ours: f64, theirs: f64| if ours > 0.0 { theirs / ours } else { 0.0 };
        self.rows.push(Row {
            what: what.to_owned(),
            cost,
            wall_ratio: ratio(first.wall_s, cost.wall_s),
            cpu_ratio: ratio(first.cpu_s, cost.cpu_s),
        });
    }

    fn print(&self, json: bool) -> Done {
        if json {
            return print_json(self);
        }
        ui::data(&format!("{}: {} (best of {})", self.bench, self.data, self.runs));
        ui::data(&format!(
            "{:<44} {:>8} {:>8} {:>9} {:>7} {:>7}",
            "", "wall s", "CPU s", "peak MiB", "wall", "CPU"
        ));
        for row in &self.rows {
            ui::data(&format!(
                "{:<44} {:>8.3} {:>8.2} {:>9.1} {:>6.2}x {:>6.2}x",
                row.what, row.cost.wall_s, row.cost.cpu_s, row.cost.peak_mib, row.wall_ratio, row.cpu_ratio
            ));
        }
        for left_out in &self.left_out {
            ui::data(&format!("left out: {left_out}"));
        }
        Ok(())
    }
}

/// What was measured, for programs.
fn print_json(outcome: &impl Serialize) -> Done {
    let text = serde_json::to_string_pretty(outcome)
        .map_err(|error| TaskError::cannot(format!("writing JSON: {error}"), "this is a bug"))?;
    ui::data(&text);
    Ok(())
}

/// Runs a benchmark.
pub(crate) fn run(name: Bench, cases: &[String], json: bool) -> Done {
    let places = Places::find()?;
    match name {
        Bench::Rpmdb => rpmdb::run(&places)?.print(json),
        Bench::Verify => verify::run(&places)?.print(json),
        Bench::Audit => audit::run(&places)?.print(json),
        Bench::Exec => exec::run(&places, cases, json),
        Bench::Pipeline => pipeline::run(&places, json),
    }
}

/// An example program, as released.
fn example(places: &Places, package: &str, name: &str) -> Done<PathBuf> {
    sh::run(
        Command::new("cargo")
            .args(["build", "--release", "--package", package, "--example", name])
            .current_dir(&places.root),
    )?;
    Ok(places.target().join("release/examples").join(name))
}

/// The released `hardpan`.
fn hardpan(places: &Places) -> Done<PathBuf> {
    setup::ensure(places, Extent::All, false)?;
    ui::step("hardpan, as released");
    sh::run(
        Command::new("cargo")
            .args(["build", "--release", "--package", "hardpan", "--bins"])
            .current_dir(&places.root),
    )?;
    Ok(places.target().join("release/hardpan"))
}
