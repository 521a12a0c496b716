//! Fuzzing: every target of `fuzz/`, one after the other, with seeds that are made first.

use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::{sh, ui};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where cargo-fuzz puts its programs, below `fuzz/`.
const PROGRAMS: &str = "target/x86_64-unknown-linux-gnu/release";
/// SQLite's amalgamation is linked in once per kind of build, which the sanitizer takes for a mistake.
const ASAN: &str = "detect_odr_violation=0:detect_leaks=0";

/// Fuzzes the named targets, or all of them, for so many seconds each.
pub(crate) fn run(names: &[String], seconds: u32) -> Done {
    let places = Places::find()?;
    let dir = places.root.join("fuzz");
    let all = targets(&dir)?;
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        return Err(TaskError::cannot(
            format!("there is no fuzz target `{unknown}`"),
            format!("the targets are {}", all.join(", ")),
        ));
    }
    if !sh::succeeds(Command::new("cargo").args(["+nightly", "fuzz", "--version"])) {
        return Err(TaskError::cannot(
            "fuzzing needs a nightly compiler and cargo-fuzz",
            "rustup toolchain install nightly && cargo install cargo-fuzz --locked",
        ));
    }
    ui::step("building the fuzz targets");
    sh::run(
        Command::new("cargo")
            .args(["+nightly", "fuzz", "build"])
            .current_dir(&dir),
    )?;
    sh::quiet(
        Command::new(dir.join(PROGRAMS).join("seeds"))
            .env("ASAN_OPTIONS", ASAN)
            .current_dir(&dir),
    )?;
    let chosen = if names.is_empty() { &all[..] } else { names };
    for name in chosen {
        ui::step(&format!("{name}: {seconds} s"));
        let runs = fuzz(&dir, name, seconds)?;
        ui::data(&format!("{name}: {runs} runs, nothing found"));
    }
    Ok(())
}

/// The targets, by name.
fn targets(dir: &Path) -> Done<Vec<String>> {
    let folder = dir.join("fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(TaskError::file("reading", &folder))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            Some(path.file_stem()?.to_str()?.to_owned()).filter(|_| is_source)
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Runs one target; gives the number of runs.
fn fuzz(dir: &Path, name: &str, seconds: u32) -> Done<u64> {
    let folder = |kind: &str| format!("{kind}/{name}");
    for kind in ["corpus", "artifacts", "seeds"] {
        place::make_dir(&dir.join(folder(kind)))?;
    }
    let mut command = Command::new(dir.join(PROGRAMS).join(name));
    command
        .args([folder("corpus"), folder("seeds")])
        .arg(format!("-artifact_prefix={}/", folder("artifacts")))
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=25", "-rss_limit_mb=3000", "-print_final_stats=1"])
        .env("ASAN_OPTIONS", ASAN)
        .current_dir(dir);
    let log = sh::said(&mut command)?;
    runs(&log).ok_or_else(|| {
        TaskError::cannot(
            format!("{name} does not say how often it ran"),
            "run it by hand to see why",
        )
    })
}

fn runs(log: &str) -> Option<u64> {
    let line = log
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_runs() {
        let log = "#2\tDONE\nstat::number_of_executed_units: 2446454\nstat::average_exec_per_sec: 4070\n";
        assert_eq!(runs(log), Some(2_446_454));
        assert_eq!(runs("Done"), None);
    }

    /// Each target is a program of the fuzz package, and has seeds.
    #[test]
    fn every_target_is_built_and_has_seeds() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        let seeds = fs::read_to_string(dir.join("src/seeds.rs")).unwrap();
        let names = targets(&dir).unwrap();
        assert!(names.len() >= 9, "{names:?}");
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            assert!(seeds.contains(&format!("put(\"{name}\"")), "{name}");
        }
    }
}
