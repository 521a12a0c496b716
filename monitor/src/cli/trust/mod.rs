//! `hardpan trust`.

mod keys;
mod list;
mod manifests;
pub(in crate::cli) mod sight;
mod sign;
pub(in crate::cli) mod table;
mod whence;

use super::exit::{Exit, complain};
use clap::{Args, Subcommand};
use std::error::Error;
use thiserror::Error;

/// What may run here, and why: packages, their signers, keys, manifests.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        hardpan trust whence /usr/bin/ls\n  \
        hardpan trust list --foreign\n  \
        hardpan trust keys\n  \
        hardpan trust keys pin 567E347AD0044ADE55BA8A5F199E2F91FD431D51 --scope 'acme-*' --name 'ACME packages'\n  \
        hardpan trust add inhouse-tools.hpm\n\n\
        Exit codes: 0 fine, 1 mismatch, untrusted or findings, 2 wrong usage, 3 it could not look.")]
pub struct TrustArgs {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    Whence(whence::WhenceArgs),
    List(list::ListArgs),
    Keys(keys::KeysArgs),
    Refresh(list::RefreshArgs),
    Add(manifests::AddArgs),
    Remove(manifests::RemoveArgs),
    Sign(sign::SignArgs),
    Pubkey(sign::PubkeyArgs),
}

/// Runs the command.
pub fn run(args: &TrustArgs) -> Exit {
    finish(answer(args))
}

/// Prints what a command has to say, or tells why it ended early.
pub(in crate::cli) fn finish(outcome: Result<Answer, Failure>) -> Exit {
    match outcome {
        Ok(answer) => match super::print(&answer.text) {
            Exit::Fine => answer.exit,
            failed => failed,
        },
        Err(failure) => {
            complain("hardpan", &*failure.error, failure.hint.as_deref());
            failure.exit
        }
    }
}

fn answer(args: &TrustArgs) -> Result<Answer, Failure> {
    match &args.command {
        TrustCommand::Whence(args) => whence::run(args),
        TrustCommand::List(args) => list::run(args),
        TrustCommand::Keys(args) => keys::run(args),
        TrustCommand::Refresh(args) => list::refresh(args),
        TrustCommand::Add(args) => manifests::add(args),
        TrustCommand::Remove(args) => manifests::remove(args),
        TrustCommand::Sign(args) => sign::sign(args),
        TrustCommand::Pubkey(args) => sign::pubkey(args),
    }
}

/// What a command has to say on standard output, and its exit code.
#[derive(Debug)]
pub(in crate::cli) struct Answer {
    pub(in crate::cli) text: String,
    pub(in crate::cli) exit: Exit,
}

impl Answer {
    /// Done, and nothing to say.
    const fn silent() -> Self {
        Self {
            text: String::new(),
            exit: Exit::Fine,
        }
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(in crate::cli) struct Failure {
    pub(in crate::cli) error: Box<dyn Error>,
    pub(in crate::cli) hint: Option<String>,
    pub(in crate::cli) exit: Exit,
}

impl Failure {
    /// It could not do it, or could not look.
    pub(in crate::cli) fn failed(error: impl Error + 'static, hint: Option<String>) -> Self {
        Self {
            error: Box::new(error),
            hint,
            exit: Exit::Failed,
        }
    }

    /// The arguments make no sense.
    fn usage(message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            error: Box::new(Message(message.into())),
            hint,
            exit: Exit::Usage,
        }
    }

    /// What was asked for is refused.
    fn refused(error: impl Error + 'static, hint: Option<String>) -> Self {
        Self {
            exit: Exit::Findings,
            ..Self::failed(error, hint)
        }
    }
}

/// An error without a cause.
#[derive(Debug, Error)]
#[error("{0}")]
struct Message(String);

/// Says something on standard error.
pub(in crate::cli) fn say(text: &str) {
    use std::io::Write as _;
    let text = hardpan_core::event::escape(text.as_bytes());
    // There is nobody left to tell when standard error is gone.
    let _closed = writeln!(std::io::stderr().lock(), "{text}");
}

/// Seconds since 1970.
fn now() -> Result<i64, Failure> {
    crate::enrich::clock::unix_us()
        .map(|us| us / 1_000_000)
        .map_err(|error| Failure::failed(error, None))
}

#[cfg(test)]
mod tests;
