//! `hardpand`.

use super::exit::{Exit, complain};
use crate::config::{self, Config, Mode, RecordExec, Sources, default_file};
use crate::daemon::{self, DaemonError};
use crate::gate::fallback;
use crate::trust;
use clap::{Parser, ValueEnum};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Watches executions, credentials and kernel modules, tells vendor-signed files from others, and writes JSON records.
#[derive(Debug, Parser)]
#[command(
    name = "hardpand",
    version,
    after_help = "Examples:\n  \
        hardpand --foreground                 watch, records on the terminal too\n  \
        hardpand --foreground --record-exec all --output -\n  \
        hardpand --config ./test.toml --check\n  \
        hardpand --print-config > /etc/hardpan/hardpan.toml\n\n\
        Exit codes: 0 ended by a signal, 2 wrong usage or configuration, 3 it could not run.\n\
        HARDPAN_LOG=debug shows more on standard error."
)]
struct Args {
    /// Read this file instead of /etc/hardpan/hardpan.toml and /etc/hardpan/conf.d/*.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What hardpand may do; overrides the configuration.
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeArg>,
    /// Write records to standard output as well.
    #[arg(long)]
    foreground: bool,
    /// Write records to this file, or "-" for standard output alone; overrides the configuration.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which executions get a line each; overrides the configuration.
    #[arg(long, value_name = "WHICH")]
    record_exec: Option<RecordArg>,
    /// Read the package database below this directory; overrides the configuration.
    #[arg(long, value_name = "DIR")]
    rpm_root: Option<PathBuf>,
    /// Read the configuration, say whether it is usable, and end.
    #[arg(long)]
    check: bool,
    /// Print the default configuration with an explanation of every key, and end.
    #[arg(long)]
    print_config: bool,
    /// Be the process that reads the package database.
    #[arg(long, hide = true)]
    trust_child: bool,
    /// Be the process that verifies all files.
    #[arg(long, hide = true)]
    files_child: bool,
    /// Be the process that audits.
    #[arg(long, hide = true)]
    audit_child: bool,
    /// Be the process that watches the gate's responder.
    #[arg(long, hide = true)]
    gate_watchdog: bool,
    /// Be the process that is told of executions at tier B.
    #[arg(long, hide = true)]
    gate_responder: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    Observe,
    Enforce,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RecordArg {
    Untrusted,
    All,
}

/// Parses the command line and runs the daemon.
pub fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return super::usage(&error),
    };
    if args.trust_child {
        return child(trust::child());
    }
    if args.files_child {
        return child(crate::sweep::child());
    }
    if args.audit_child {
        return child(crate::audit::child::child());
    }
    if args.gate_watchdog {
        return child(fallback::watchdog());
    }
    if args.gate_responder {
        return child(fallback::responder());
    }
    if args.print_config {
        return super::print(&default_file());
    }
    log_to_stderr();
    let outcome = configure(&args).and_then(|config| if args.check { Ok(()) } else { daemon::run(&config) });
    match outcome {
        Ok(()) => Exit::Fine,
        Err(error) => {
            complain("hardpand", &error, error.hint().as_deref());
            if error.is_usage() {
                Exit::Usage
            } else {
                Exit::Failed
            }
        }
    }
}

/// The configuration files, then the command line.
fn configure(args: &Args) -> Result<Config, DaemonError> {
    let sources = args.config.clone().map_or(Sources::Default, Sources::File);
    let mut config = config::load(&sources)?;
    match args.mode {
        Some(ModeArg::Observe) => config.mode = Mode::Observe,
        Some(ModeArg::Enforce) => config.mode = Mode::Enforce,
        None => {}
    }
    match args.record_exec {
        Some(RecordArg::All) => config.record.exec = Some(RecordExec::All),
        Some(RecordArg::Untrusted) => config.record.exec = Some(RecordExec::Untrusted),
        None => {}
    }
    match &args.output {
        Some(path) if path.as_os_str() == "-" => {
            config.output.stdout = true;
            config.output.file = None;
        }
        Some(path) => config.output.file = Some(absolute(path)?),
        None => {}
    }
    config.output.stdout |= args.foreground;
    if let Some(root) = &args.rpm_root {
        config.trust.root = absolute(root)?;
        // That system's keys are below its root. Pins decide what they are worth, wherever they lie.
        config
            .trust
            .keyring
            .push(config.trust.root.join("etc/pki/rpm-gpg"));
    }
    if config.output.file.is_none() && !config.output.stdout {
        return Err(DaemonError::NoOutput);
    }
    Ok(config)
}

fn absolute(path: &std::path::Path) -> Result<PathBuf, DaemonError> {
    std::path::absolute(path).map_err(|source| DaemonError::System {
        what: "finding the current directory",
        source,
    })
}

/// The child says what is wrong in one line; the daemon puts it into a record.
fn child(result: Result<(), impl std::error::Error>) -> Exit {
    match result {
        Ok(()) => Exit::Fine,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(": ");
                text.push_str(&cause.to_string());
                source = cause.source();
            }
            let _closed = io::stderr().lock().write_all(text.as_bytes());
            Exit::Failed
        }
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("HARDPAN_LOG").unwrap_or_else(|_unset| EnvFilter::new("info"));
    let stderr = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        );
    // journald puts its own time before each line.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        stderr.without_time().init();
    } else {
        stderr.init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn config(arguments: &[&str]) -> Config {
        let args =
            Args::try_parse_from(std::iter::once("hardpand").chain(arguments.iter().copied())).unwrap();
        configure(&args).unwrap()
    }

    #[test]
    fn the_command_line_beats_the_file() {
        Args::command().debug_assert();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "[record]\nexec = 'all'\n[output]\nfile = '/var/log/x'\n").unwrap();
        let file = file.to_str().unwrap();
        let base = config(&["--config", file]);
        assert_eq!(
            (base.record.exec, base.output.stdout),
            (Some(RecordExec::All), false)
        );
        let other = config(&[
            "--config",
            file,
            "--record-exec",
            "untrusted",
            "--output",
            "-",
            "--rpm-root",
            "/mnt",
        ]);
        assert_eq!(other.record.exec, Some(RecordExec::Untrusted));
        assert_eq!((other.output.stdout, other.output.file), (true, None));
        assert_eq!(other.trust.root, PathBuf::from("/mnt"));
        let foreground = config(&["--config", file, "--foreground"]);
        assert!(foreground.output.stdout && foreground.output.file.is_some());
    }

    #[test]
    fn nowhere_to_write_is_wrong_usage() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "[output]\nfile = ''\n").unwrap();
        let args = Args::try_parse_from(["hardpand", "--config", file.to_str().unwrap()]).unwrap();
        let error = configure(&args).unwrap_err();
        assert!(matches!(error, DaemonError::NoOutput) && error.is_usage());
    }

    #[test]
    fn the_child_flag_is_the_one_the_parent_uses() {
        let args = Args::try_parse_from(["hardpand", trust::CHILD_FLAG]).unwrap();
        assert!(args.trust_child);
        let args = Args::try_parse_from(["hardpand", fallback::WATCHDOG_FLAG]).unwrap();
        assert!(args.gate_watchdog && !args.gate_responder);
        let args = Args::try_parse_from(["hardpand", fallback::RESPONDER_FLAG]).unwrap();
        assert!(args.gate_responder && !args.gate_watchdog);
    }
}
