//! `hardpan audit`.

use super::exit::{Exit, complain};
use crate::audit::child::parse_profile;
use crate::audit::{Content, Options, Progress, run as run_audit};
use clap::Args;
use hardpan_core::audit::report::{Format, Report, ReportError, TableStyle};
use hardpan_core::audit::{Check, Profile, Selection, Tailoring, Waivers};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// Checks the host, or an image, against CIS, STIG, FIPS and hardening profiles.
///
/// Exits 0 if nothing fails, 1 if a control fails, 3 if a control could not be looked at. Waived controls count as 0.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan audit --profile cis-l1-server\n  hardpan audit --profile stig --root /mnt/image -o html=stig.html -o arf=stig.xml\n  hardpan audit --profile cis-l2-server --baseline last.json -o json=now.json\n  hardpan audit --explain hp-sysctl-kernel-dmesg-restrict"
)]
pub struct AuditArgs {
    /// Profile, with the benchmark's version after an @ (`--list` shows all).
    #[arg(long, value_name = "NAME[@VERSION]", default_value = "cis-l1-server", value_parser = parse_profile)]
    profile: (Profile, Option<String>),
    /// Format on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parse_format)]
    format: Format,
    /// Write a format to a file (repeatable).
    #[arg(short, long, value_name = "FORMAT=FILE", value_parser = parse_output)]
    output: Vec<(Format, PathBuf)>,
    /// Look at an image or a mounted disk; the running system's half of a check is then not checked.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Directory of the rpm database inside the root.
    #[arg(long, value_name = "DIR")]
    dbpath: Option<PathBuf>,
    /// The EL release of the root, where its os-release does not tell.
    #[arg(long, value_name = "8|9|10", value_parser = clap::value_parser!(u32).range(8..=10))]
    el: Option<u32>,
    /// Only these controls, chapters or checks (repeatable; * is a wildcard).
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// Not these controls, chapters or checks (repeatable; * is a wildcard).
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    skip: Vec<String>,
    /// Leave out checks that walk all file systems.
    #[arg(long)]
    no_sweeps: bool,
    /// File of waivers (TOML: control, reason, owner, expires).
    #[arg(long, value_name = "FILE")]
    waivers: Option<PathBuf>,
    /// Tailoring file written for SCAP Security Guide (XCCDF 1.2).
    #[arg(long, value_name = "FILE")]
    tailoring: Option<PathBuf>,
    /// Profile of the tailoring file; its first without one.
    #[arg(long, value_name = "ID", requires = "tailoring")]
    tailoring_profile: Option<String>,
    /// Compare with an earlier result (a JSON report).
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Explain a check or a control of the profile, and stop.
    #[arg(long, value_name = "ID")]
    explain: Option<String>,
    /// List profiles and benchmarks, and stop.
    #[arg(long)]
    list: bool,
    /// Also show what passes, and all evidence.
    #[arg(short, long)]
    verbose: bool,
    /// Checks and benchmarks from a directory instead of the shipped ones.
    #[arg(long, value_name = "DIR")]
    content: Option<PathBuf>,
}

fn parse_format(text: &str) -> Result<Format, String> {
    let known = || Format::ALL.map(Format::name).join(", ");
    Format::named(text).ok_or_else(|| format!("must be one of {}", known()))
}

fn parse_output(text: &str) -> Result<(Format, PathBuf), String> {
    let (format, path) = text
        .split_once('=')
        .ok_or_else(|| "must be FORMAT=FILE".to_owned())?;
    if path.is_empty() {
        return Err("the file name is empty".to_owned());
    }
    Ok((parse_format(format)?, PathBuf::from(path)))
}

/// Why the command could not do it.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot use {}: {why}", path.display())]
    Input { path: PathBuf, why: String },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Content(#[from] crate::audit::ContentLoadError),
    #[error("cannot write the report")]
    Report(#[from] ReportError),
    #[error(transparent)]
    Audit(#[from] crate::audit::AuditError),
    #[error("no check and no control {0} in this profile; `hardpan audit --list` shows profiles")]
    Unknown(String),
}

impl CommandError {
    fn exit(&self) -> Exit {
        match self {
            Self::Input { .. } | Self::Unknown(_) => Exit::Usage,
            Self::Audit(error) if error.is_usage() => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// Runs the command.
pub fn run(args: &AuditArgs) -> Exit {
    attempt(args).unwrap_or_else(|error| {
        complain("hardpan audit", &error, None);
        error.exit()
    })
}

fn attempt(args: &AuditArgs) -> Result<Exit, CommandError> {
    let whole = |family| match &args.content {
        Some(dir) => Content::from_dir(dir),
        None => Content::shipped(family),
    };
    if args.list {
        return Ok(print(&list(&whole(None)?)));
    }
    let options = options(args)?;
    if let Some(id) = &args.explain {
        return explain(&whole(Some(args.profile.0.family()))?, &options, id).map(|text| print(&text));
    }
    let content = match &args.content {
        Some(_) => whole(None)?,
        None => options.content()?,
    };
    let bar = progress_bar();
    let report = run_audit(&content, &options, &mut |progress| show(bar.as_ref(), progress))?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let exit = match report.exit_code() {
        0 => Exit::Fine,
        1 => Exit::Findings,
        _ => Exit::Failed,
    };
    let mut report = Report::of(&report, &content.checks);
    if let Some(path) = &args.baseline {
        let earlier = Report::from_json(&read(path)?).map_err(|error| input(path, &error))?;
        report = report.compared_with(&earlier);
    }
    for (format, path) in &args.output {
        let text = report.render(
            *format,
            TableStyle {
                all: true,
                ..TableStyle::default()
            },
        )?;
        std::fs::write(path, text).map_err(|source| CommandError::Write {
            path: path.clone(),
            source,
        })?;
    }
    let colour =
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let printed = print(&report.render(
        args.format,
        TableStyle {
            width: width(),
            colour,
            all: args.verbose,
        },
    )?);
    if printed != Exit::Fine {
        return Ok(printed);
    }
    Ok(exit)
}

fn options(args: &AuditArgs) -> Result<Options, CommandError> {
    let mut options = Options::new(args.profile.0);
    options.version.clone_from(&args.profile.1);
    options.root.clone_from(&args.root);
    options.dbpath.clone_from(&args.dbpath);
    options.el = args.el;
    let tailoring = match &args.tailoring {
        Some(path) => {
            let tailoring = Tailoring::parse(&read(path)?, args.tailoring_profile.as_deref());
            Some(tailoring.map_err(|error| CommandError::Input {
                path: path.clone(),
                why: error.to_string(),
            })?)
        }
        None => None,
    };
    options.selection = Selection {
        only: args.only.clone(),
        skip: args.skip.clone(),
        tailoring,
        no_sweeps: args.no_sweeps,
    };
    if let Some(path) = &args.waivers {
        options.waivers = Waivers::parse(&read(path)?).map_err(|error| CommandError::Input {
            path: path.clone(),
            why: error.to_string(),
        })?;
    }
    Ok(options)
}

/// An input file that makes no sense.
fn input(path: &Path, error: &dyn std::error::Error) -> CommandError {
    let source = error
        .source()
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    CommandError::Input {
        path: path.to_owned(),
        why: format!("{error}{source}"),
    }
}

fn read(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path).map_err(|source| CommandError::Read {
        path: path.to_owned(),
        source,
    })
}

fn print(text: &str) -> Exit {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Exit::Fine,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Fine,
        Err(_) => Exit::Failed,
    }
}

/// Columns of the terminal as the shell exports them; 100 otherwise.
fn width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .unwrap_or(100)
}

fn progress_bar() -> Option<indicatif::ProgressBar> {
    io::stderr()
        .is_terminal()
        .then(indicatif::ProgressBar::new_spinner)
}

fn show(bar: Option<&indicatif::ProgressBar>, progress: Progress) {
    let Some(bar) = bar else { return };
    match progress {
        Progress::Checks { done, total } => bar.set_message(format!("{done} of {total} checks")),
        Progress::Walk { seen } => bar.set_message(format!("{seen} files looked at")),
    }
    bar.tick();
}

fn list(content: &Content) -> String {
    let mut text = String::from("Profiles:\n");
    for (name, _, title) in Profile::ALL {
        let _infallible = writeln!(text, "  {name:<20} {title}");
    }
    text.push_str("\nBenchmarks:\n");
    for benchmark in &content.benchmarks {
        let _infallible = writeln!(
            text,
            "  {:<14} {:<7} {:>4} controls  {}",
            benchmark.id,
            benchmark.version,
            benchmark.controls.len(),
            benchmark.title
        );
        for alias in &benchmark.also {
            let _infallible = writeln!(
                text,
                "  {:<14} {:<7} {:>4}           {}",
                "", alias.version, "", alias.title
            );
        }
    }
    text
}

fn explain(content: &Content, options: &Options, id: &str) -> Result<String, CommandError> {
    if let Some(check) = content.checks.get(id) {
        let mut text = explain_check(check);
        for benchmark in &content.benchmarks {
            for control in benchmark
                .controls
                .iter()
                .filter(|control| control.checks.iter().any(|known| known == id))
            {
                let _infallible = writeln!(
                    text,
                    "asked by:   {} {} {}",
                    benchmark.id, benchmark.version, control.id
                );
            }
        }
        return Ok(text);
    }
    let mut text = String::new();
    for benchmark in &content.benchmarks {
        let wanted =
            |version: &String| benchmark.version.trim_start_matches('v') == version.trim_start_matches('v');
        if options
            .el
            .is_some_and(|el| benchmark.el != 0 && benchmark.el != el)
            || !options.version.as_ref().is_none_or(wanted)
        {
            continue;
        }
        for control in benchmark.controls.iter().filter(|control| control.id == id) {
            let _infallible = writeln!(
                text,
                "{} {} {}: {}\n",
                benchmark.id, benchmark.version, control.id, control.title
            );
            for check in control
                .checks
                .iter()
                .filter_map(|check| content.checks.get(check))
            {
                text.push_str(&explain_check(check));
                text.push('\n');
            }
        }
    }
    if text.is_empty() {
        Err(CommandError::Unknown(id.to_owned()))
    } else {
        Ok(text)
    }
}

fn explain_check(check: &Check) -> String {
    let mut text = format!("{}\n  {}\n", check.id, check.title);
    if let Ok(kind) = toml::to_string(&check.kind) {
        for line in kind.lines().filter(|line| !line.is_empty()) {
            let _infallible = writeln!(text, "    {line}");
        }
    }
    for (name, value) in [
        ("applies if", check.when.join(", ")),
        ("SSG rules", check.ssg.join(", ")),
        ("values", check.provenance.clone()),
        ("remedy", check.remedy()),
        ("may break", check.side_effect.clone()),
    ] {
        if !value.is_empty() {
            let _infallible = writeln!(text, "{name:<11} {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: AuditArgs,
    }

    fn parse(args: &[&str]) -> Result<AuditArgs, clap::Error> {
        Line::try_parse_from([&["audit"], args].concat()).map(|line| line.args)
    }

    #[test]
    fn arguments() {
        let args = parse(&[
            "--profile",
            "cis-l2-server@2.0.0",
            "-o",
            "html=a.html",
            "-o",
            "json=b",
            "--only",
            "1.1,5",
        ])
        .unwrap();
        assert_eq!(args.profile, (Profile::CisServer(2), Some("2.0.0".into())));
        assert_eq!(args.output.len(), 2);
        assert_eq!(args.only, ["1.1", "5"]);
        for wrong in [
            &["--profile", "cis"][..],
            &["-o", "html"],
            &["-o", "x=y"],
            &["--format", "pdf"],
            &["--el", "7"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn checks_and_controls_are_explained() {
        let content = Content::shipped(Some("cis")).unwrap();
        let options = Options {
            el: Some(9),
            ..Options::new(Profile::CisServer(1))
        };
        let check = explain(&content, &options, "hp-sysctl-kernel-dmesg-restrict").unwrap();
        assert!(
            check.contains("kernel.dmesg_restrict") && check.contains("hardpan harden plan"),
            "{check}"
        );
        let control = explain(&content, &options, "5.1.20").unwrap();
        assert!(
            control.contains("PermitRootLogin") && control.contains("cis-rhel9"),
            "{control}"
        );
        assert!(explain(&content, &options, "nothing").is_err());
    }
}
