//! `hardpan verify`.

mod strangers;

use super::exit::Exit;
use super::trust::sight::{SightArgs, chain};
use super::trust::table::{count, push};
use super::trust::{Answer, Failure, finish, say};
use clap::Args;
use hardpan_core::event::escape;
use hardpan_core::record::Finding;
use hardpan_rpm::pins::Glob;
use hardpan_rpm::verify::{
    FileReport, InventoryOptions, Progress, Verdict, VerifyError, VerifyOptions, VerifyOutcome,
    VerifySummary, verify,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;
use strangers::Stranger;

/// Compares installed files with what their packages' vendors signed: `rpm -Va` with the signature chain checked.
///
/// Every header is verified against pinned keys first, and only its signed part is believed. Output is as of
/// `rpm -V`: S size, M mode, 5 digest, D device, L link, U user, G group, T time, P capabilities; a letter marks
/// %config (c), %doc (d), %ghost (g) files.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan verify\n  hardpan verify openssh-server sudo\n  hardpan verify /usr/sbin /etc/pam.d\n  \
        hardpan verify --root /mnt --json | jq -r 'select(.kind == \"file\") | .path'\n  hardpan verify --unowned --suid\n\n\
        Exit codes: 0 fine (changed %config files are), 1 differences or findings, 2 wrong usage, 3 it could not look."
)]
pub struct VerifyArgs {
    /// Packages (names or NEVRAs; * and ? are wildcards), or paths (with a "/"): only these files, and files below
    /// these directories. All packages if not given.
    #[arg(value_name = "PATH|PACKAGE")]
    targets: Vec<OsString>,
    /// Print a JSON object per line.
    #[arg(long)]
    json: bool,
    /// Do not read contents: compare sizes, modes, owners and times only.
    #[arg(long, visible_alias = "nodigest")]
    nofiledigest: bool,
    /// Drop what was read from the page cache, so that a sweep does not push out what services use.
    #[arg(long)]
    drop_cache: bool,
    /// List executables, libraries and kernel modules in system directories that no verified package owns, too.
    #[arg(long)]
    unowned: bool,
    /// List files with set-user-id, set-group-id or capabilities that no verified package gives them, too.
    #[arg(long)]
    suid: bool,
    /// List changed %config files and files that another package replaced, too.
    #[arg(long, short)]
    all: bool,
    /// Threads; as many as there are processors if not given.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    #[command(flatten)]
    sight: SightArgs,
}

/// Runs the command.
pub fn run(args: &VerifyArgs) -> Exit {
    finish(answer(args))
}

fn answer(args: &VerifyArgs) -> Result<Answer, Failure> {
    let config = args.sight.config()?;
    let (scan, mut wrong) = args.sight.scan_options(&config)?;
    let mut options = VerifyOptions::new(scan);
    options.scan.threads = args.threads;
    options.digests = !args.nofiledigest;
    options.drop_cache = args.drop_cache;
    let (paths, packages): (Vec<_>, Vec<_>) = args
        .targets
        .iter()
        .partition(|target| target.as_bytes().contains(&b'/'));
    for path in paths {
        options
            .paths
            .push(std::path::absolute(path).map_err(|error| Failure::failed(error, None))?);
    }
    for name in packages {
        options.packages.push(Glob::new(name.to_string_lossy()));
    }
    let outcome = with_progress(&options).map_err(could_not_look)?;
    let strangers = if args.unowned || args.suid {
        let sight = args.sight.look(false)?;
        wrong.extend(sight.findings);
        let inventory = InventoryOptions {
            unowned: args.unowned,
            rights: args.suid,
            paths: options.paths.clone(),
        };
        strangers::find(
            &config.root,
            &sight.current.outcome.index,
            &sight.local,
            &inventory,
        )
        .map_err(|error| Failure::failed(error, None))?
    } else {
        Vec::new()
    };
    let exit = exit_code(&outcome, &wrong, &strangers);
    let text = if args.json {
        as_json(&outcome, &wrong, &strangers)
    } else {
        say(&summary(&outcome.summary));
        as_table(&outcome, &wrong, &strangers, args.all)
    };
    Ok(Answer { text, exit })
}

fn could_not_look(error: VerifyError) -> Failure {
    let hint = match &error {
        VerifyError::NoMatch(_) => {
            "an argument with a \"/\" is a path, any other a package; `rpm -qa` lists packages"
        }
        _ => "is this an RPM system? see --root and --dbpath; reading the running system's files needs root",
    };
    Failure::failed(error, Some(hint.to_owned()))
}

/// Verifies; on a terminal with a progress bar.
fn with_progress(options: &VerifyOptions) -> Result<VerifyOutcome, VerifyError> {
    let progress = Progress::default();
    if !io::stderr().is_terminal() {
        return verify(options, &progress);
    }
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr()).with_message("0 B");
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} files, {msg} hashed, {elapsed}") {
        bar.set_style(style);
    }
    let (done, waiting) = sync_channel::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let waiting = waiting;
            // Ends when the other half is dropped.
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(Duration::from_millis(100)) {
                let n_files = progress.files_known.load(Ordering::Relaxed);
                if n_files == 0 {
                    // A bar of nothing would be drawn as a full one.
                    continue;
                }
                bar.set_length(n_files);
                let bytes = progress.bytes_hashed.load(Ordering::Relaxed);
                bar.set_message(indicatif::HumanBytes(bytes).to_string());
                bar.set_position(progress.files_done.load(Ordering::Relaxed));
            }
            bar.finish_and_clear();
        });
        let outcome = verify(options, &progress);
        drop(done);
        outcome
    })
}

fn exit_code(outcome: &VerifyOutcome, wrong: &[Finding], strangers: &[Stranger]) -> Exit {
    let unreadable = outcome
        .files
        .iter()
        .any(|file| matches!(file.verdict, Verdict::Unreadable { .. }));
    let damaged = outcome
        .findings
        .iter()
        .any(|finding| finding.kind() == "damaged-database");
    if unreadable || damaged || strangers.iter().any(Stranger::is_unreadable) {
        return Exit::Failed;
    }
    let fine = outcome.findings.is_empty()
        && wrong.is_empty()
        && outcome.summary.reports_dropped == 0
        && strangers.is_empty()
        && !outcome.files.iter().any(FileReport::is_finding);
    if fine { Exit::Fine } else { Exit::Findings }
}

fn summary(summary: &VerifySummary) -> String {
    let mut text = format!(
        "{} of {} verified; {}: {} fine",
        summary.verified,
        count(summary.packages, "package"),
        count(summary.files, "file"),
        summary.fine
    );
    for (n, what) in [
        (summary.changed, "changed"),
        (summary.missing, "missing"),
        (summary.unreadable, "unreadable"),
        (summary.config_modified, "configuration changed"),
        (summary.replaced, "replaced by another package"),
        (summary.absent_excused, "absent as they may be"),
        (summary.generated, "generated, without a signed digest"),
        (summary.reports_dropped, "more differing ones not listed"),
    ] {
        if n > 0 {
            push(&mut text, format_args!(", {n} {what}"));
        }
    }
    text
}

/// A finding of this program about keys, pins or manifests, with its path.
fn own_finding(finding: &Finding) -> String {
    match &finding.path {
        Some(path) => format!("{}: {}", path.text(), finding.message),
        None => finding.message.clone(),
    }
}

/// Lines as of `rpm -V`, then what no package owns, then findings.
fn as_table(outcome: &VerifyOutcome, wrong: &[Finding], strangers: &[Stranger], all: bool) -> String {
    let mut text = String::new();
    let mut line = |content: &str| push(&mut text, format_args!("{}\n", escape(content.as_bytes())));
    for file in outcome.files.iter().filter(|file| all || file.is_finding()) {
        let mut content = file.rpm_line();
        if !file.verified {
            content.push_str(" (nobody signed what it was compared with)");
        }
        line(&content);
    }
    for stranger in strangers {
        line(&stranger.line());
    }
    for finding in &outcome.findings {
        line(&format!("{}: {finding}", finding.kind()));
    }
    for finding in wrong {
        line(&format!("{}: {}", finding.code.word(), own_finding(finding)));
    }
    text
}

/// One object per line: files, what no package owns, packages that nothing vouches for, findings, the summary.
fn as_json(outcome: &VerifyOutcome, wrong: &[Finding], strangers: &[Stranger]) -> String {
    let mut text = String::new();
    let mut line = |kind: &str, value: Value| {
        let mut object = json!({ "kind": kind });
        match (object.as_object_mut(), value) {
            (Some(object), Value::Object(members)) => object.extend(members),
            (Some(object), value) => {
                object.insert("value".to_owned(), value);
            }
            (None, _) => {}
        }
        push(&mut text, format_args!("{object}\n"));
    };
    for file in &outcome.files {
        line("file", value(file));
    }
    for stranger in strangers {
        // Its kind is its own: "unowned", "special-mode", "capabilities", "unreadable".
        line("stranger", value(stranger));
    }
    for package in outcome
        .packages
        .iter()
        .filter(|package| package.refused.is_some())
    {
        line("package", value(package));
    }
    for finding in &outcome.findings {
        line(
            "finding",
            json!({ "code": finding.kind(), "message": finding.to_string(), "finding": value(finding) }),
        );
    }
    for finding in wrong {
        line(
            "finding",
            json!({ "code": finding.code.word(), "message": own_finding(finding), "hint": finding.hint }),
        );
    }
    line("summary", value(&outcome.summary));
    text
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_else(|error| Value::String(chain(&error)))
}

#[cfg(test)]
mod tests;
