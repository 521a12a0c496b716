//! Benchmarks side by side with what users run today.

use crate::error::{Done, TaskError};
use clap::ValueEnum;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// `hardpan verify` beside `rpm -Va`
    Verify,
    /// Reading and verifying an rpmdb, beside rpm
    Rpmdb,
    /// Cost of an exec in guest instructions, beside fapolicyd and LKRG
    Exec,
    /// Events per second from ring to record
    Pipeline,
    /// `hardpan audit` beside OpenSCAP
    Audit,
}

/// Runs a benchmark.
pub(crate) fn run(name: Bench, _json: bool) -> Done {
    Err(TaskError::cannot(
        format!("the benchmark `{}` is not built yet", name.name()),
        "docs/SPECIFICATION.md lists the promised numbers and what measures each",
    ))
}
