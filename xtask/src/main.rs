//! Development tasks: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod cli;
mod ebpf;
mod error;
mod fuzz;
mod guided;
mod place;
mod setup;
mod sh;
mod signal;
mod tidy;
mod truth;
mod ui;
mod vm;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
