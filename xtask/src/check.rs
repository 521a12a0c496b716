//! `cargo xtask test`: everything CI runs, cheap things first.

use crate::cli::VmArgs;
use crate::error::{Done, TaskError};
use crate::place::Places;
use crate::setup::{self, Extent, berkeley};
use crate::{ebpf, sh, tidy, ui, vm};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// What came of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    fn step(&mut self, done: Done) -> Done {
        match done {
            Ok(()) => self.passed += 1,
            // The next steps still have something to tell; only what cannot be done at all ends the run.
            Err(error @ (TaskError::Found { .. } | TaskError::Command { .. })) => {
                ui::report(&error);
                self.failed += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Prints the last line of a test run and makes the task's result of it.
    pub(crate) fn finish(self) -> Done {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        ui::data(&format!("{passed} passed, {failed} failed, {skipped} skipped"));
        if failed == 0 {
            Ok(())
        } else {
            Err(TaskError::Found {
                what: format!("{failed} failed"),
            })
        }
    }
}

/// `cargo xtask test`.
pub(crate) fn everything() -> Done {
    let places = Places::find()?;
    setup::ensure(&places, Extent::All, false)?;
    let mut tally = Tally::default();
    tally.step(tidy::run())?;
    ui::step("formatting");
    tally.step(sh::run(cargo(&places).args(["fmt", "--all", "--check"])))?;
    ui::step("clippy");
    tally.step(sh::run(cargo(&places).args([
        "clippy",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])))?;
    tally.add(run_unit(&places)?);
    tally.step(ebpf::build(&places, true).map(drop))?;
    tally.add(vm::test(&places, &VmArgs::default())?);
    tally.add(vm::test_upgrade(&places)?);
    tally.add(vm::test_firmware(&places, None)?);
    tally.finish()
}

/// `cargo xtask test unit`.
pub(crate) fn unit() -> Done {
    run_unit(&Places::find()?)?.finish()
}

/// Unit tests of the default members, counted.
fn run_unit(places: &Places) -> Done<Tally> {
    ui::step("unit tests");
    let mut command = cargo(places);
    command.args(["test", "--no-fail-fast"]).stdout(Stdio::piped());
    if std::env::var_os(berkeley::VARIABLE).is_none() {
        command.env(berkeley::VARIABLE, berkeley::root(places));
    }
    ui::say(&format!("  $ {}", sh::shown(&command)));
    let start = |source| TaskError::Start {
        command: "cargo test".into(),
        source,
    };
    let mut child = command.spawn().map_err(start)?;
    let mut tally = Tally::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            ui::say(&line);
            tally.add(result_line(&line).unwrap_or_default());
        }
    }
    let status = child.wait().map_err(start)?;
    if !status.success() && tally.failed == 0 {
        // It did not even compile, or a test program died.
        tally.failed = 1;
    }
    Ok(tally)
}

fn cargo(places: &Places) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(&places.root);
    command
}

/// The counts in a `test result:` line.
fn result_line(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        rest.split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<usize>().ok())
    };
    Some(Tally {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_result_lines() {
        let line =
            "test result: ok. 9 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(
            result_line(line),
            Some(Tally {
                passed: 9,
                failed: 0,
                skipped: 2
            })
        );
        let line = "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s";
        assert_eq!(
            result_line(line),
            Some(Tally {
                passed: 1,
                failed: 3,
                skipped: 0
            })
        );
        assert_eq!(result_line("test frame::tests::x ... ok"), None);
    }
}
