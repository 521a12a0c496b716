//! `hardpan`.

use super::audit::{self, AuditArgs};
use super::doctor::{self, DoctorArgs};
use super::exit::Exit;
use super::explain::{self, ExplainArgs};
use super::harden::{self, HardenArgs};
use super::policy::{self, PolicyArgs};
use super::trust::{self, TrustArgs};
use super::verify::{self, VerifyArgs};
use clap::{Parser, Subcommand};

/// Hardening and RPM integrity for Enterprise Linux.
#[derive(Debug, Parser)]
#[command(
    name = "hardpan",
    version,
    after_help = "Examples:\n  hardpan doctor\n  hardpan doctor --json\n  hardpan trust whence /usr/bin/ls\n\n\
        Exit codes: 0 fine, 1 findings, 2 wrong usage, 3 it could not do it or could not look."
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Audit(Box<AuditArgs>),
    Doctor(DoctorArgs),
    Explain(Box<ExplainArgs>),
    Harden(Box<HardenArgs>),
    Policy(Box<PolicyArgs>),
    Trust(Box<TrustArgs>),
    Verify(Box<VerifyArgs>),
}

/// Parses the command line and runs the command.
pub fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return super::usage(&error),
    };
    match args.command {
        Command::Audit(args) => audit::run(&args),
        Command::Doctor(args) => exit(doctor::run(&args)),
        Command::Explain(args) => exit(explain::run(&args)),
        Command::Harden(args) => exit(harden::run(&args)),
        Command::Policy(args) => exit(policy::run(&args)),
        Command::Trust(args) => trust::run(&args),
        Command::Verify(args) => verify::run(&args),
    }
}

/// A command's exit code.
const fn exit(code: u8) -> Exit {
    match code {
        0 => Exit::Fine,
        1 => Exit::Findings,
        2 => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["hardpan", "doctor", "--json"]).is_ok());
        assert!(Args::try_parse_from(["hardpan"]).is_err());
    }
}
