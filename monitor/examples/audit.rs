//! `hardpan audit` by itself, for development.

use clap::Parser as _;
use hardpan::cli::audit::{AuditArgs, run};
use std::process::ExitCode;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: AuditArgs,
}

fn main() -> ExitCode {
    match Line::try_parse() {
        Ok(line) => run(&line.args).into(),
        Err(error) => {
            let wrong = error.use_stderr();
            // Nobody is left to tell when the stream is gone.
            let _closed = error.print();
            ExitCode::from(if wrong { 2 } else { 0 })
        }
    }
}
