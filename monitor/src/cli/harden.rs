//! `hardpan harden`: settings of the host as the policy wants them, and back.

use super::policy::{Failure, HostArgs};
use super::print;
use crate::harden::{
    Applied, ApplyOptions, Drift, Outcome, RollbackReport, Root, apply, confirm, drift, expire_unconfirmed,
    rollback,
};
use clap::{Args, Subcommand, ValueEnum};
use hardpan_core::envelope::glob_matches;
use hardpan_core::policy::harden::item::items;
use hardpan_core::policy::harden::plan::{Plan, State, plan};
use hardpan_core::policy::harden::{Edit, Item, ansible};
use hardpan_core::policy::{quote, show};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const FINE: u8 = 0;
const FINDINGS: u8 = 1;
const FAILED: u8 = 3;

/// Plans, applies and takes back hardening: sysctl, modprobe, kernel command line, services, set-id programs, mount
/// options, sshd, PAM (through authselect), firewalld's default zone, crypto policy.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan harden plan --level strict\n  hardpan harden apply --level strict --only 'sysctl:*'\n  \
    hardpan harden apply --confirm-within 300 && hardpan harden confirm\n  hardpan harden rollback\n  \
    hardpan harden apply --root /mnt/image --el 9 --vendor rocky"
)]
pub struct HardenArgs {
    #[command(subcommand)]
    command: HardenCommand,
}

#[derive(Debug, Clone, Args)]
struct Selection {
    /// Items by id, with `*`: 'sysctl:*', 'module:usb-storage'; may be given several times.
    #[arg(long, value_name = "GLOB")]
    only: Vec<String>,
    /// Items to leave out.
    #[arg(long, value_name = "GLOB")]
    skip: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Ansible,
}

#[derive(Debug, Subcommand)]
enum HardenCommand {
    /// Each change with its reason, its risk and the control ids it satisfies. Changes nothing.
    Plan {
        #[command(flatten)]
        host: HostArgs,
        #[command(flatten)]
        selection: Selection,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        /// Also what holds already or does not apply.
        #[arg(long)]
        all: bool,
    },
    /// Makes the changes. Idempotent; every change is journaled and can be taken back.
    Apply {
        #[command(flatten)]
        host: HostArgs,
        #[command(flatten)]
        selection: Selection,
        /// Also what cannot be undone before the next boot.
        #[arg(long)]
        irreversible: bool,
        /// Also sshd, PAM, firewall and crypto policy; taken back after this many seconds without `hardpan harden confirm`.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
        confirm_within: Option<u64>,
        /// Print JSON (with Ansible's `changed`).
        #[arg(long)]
        json: bool,
    },
    /// Keeps what waits for confirmation.
    Confirm {
        /// Treat this directory as the host's root.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
    },
    /// Takes changes back. What somebody changed since stays and is reported.
    Rollback {
        /// Treat this directory as the host's root.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Only this transaction.
        #[arg(long, value_name = "N")]
        transaction: Option<u64>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What is no longer as `apply` left it.
    Drift {
        /// Treat this directory as the host's root.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command; returns its exit code.
pub fn run(args: &HardenArgs) -> u8 {
    let outcome = match &args.command {
        HardenCommand::Plan {
            host,
            selection,
            format,
            all,
        } => plan_command(host, selection, *format, *all),
        HardenCommand::Apply {
            host,
            selection,
            irreversible,
            confirm_within,
            json,
        } => {
            let options = ApplyOptions {
                irreversible: *irreversible,
                confirm_within: confirm_within.map(Duration::from_secs),
            };
            apply_command(host, selection, &options, *json)
        }
        HardenCommand::Confirm { root } => confirm_command(root),
        HardenCommand::Rollback {
            root,
            transaction,
            json,
        } => rollback_command(root, *transaction, *json),
        HardenCommand::Drift { root, json } => drift_command(root, *json),
    };
    outcome.unwrap_or_else(|failure| failure.tell())
}

fn selected(items: Vec<Item>, selection: &Selection) -> Result<Vec<Item>, Failure> {
    let any = |globs: &[String], id: &str| globs.iter().any(|glob| glob_matches(glob, id));
    for glob in &selection.only {
        if !items.iter().any(|item| glob_matches(glob, &item.id)) {
            return Err(Failure::new(
                format!("no item fits {glob:?}"),
                Some("hardpan harden plan --all lists them"),
            ));
        }
    }
    Ok(items
        .into_iter()
        .filter(|item| selection.only.is_empty() || any(&selection.only, &item.id))
        .filter(|item| !any(&selection.skip, &item.id))
        .collect())
}

/// Before anything else: what was not confirmed in time is taken back.
fn expire(root: &Root) -> Result<String, Failure> {
    // Whoever may not write the journal has nothing to expire.
    if !nix::unistd::Uid::effective().is_root() {
        return Ok(String::new());
    }
    let Some(report) = expire_unconfirmed(root, SystemTime::now())? else {
        return Ok(String::new());
    };
    Ok(format!(
        "not confirmed in time, taken back:\n{}",
        rollback_text(&report)
    ))
}

fn plan_command(host: &HostArgs, selection: &Selection, format: Format, all: bool) -> Result<u8, Failure> {
    let subject = host.subject()?;
    let loaded = subject.usable()?;
    let items = selected(items(&loaded.resolved), selection)?;
    let plan = plan(&subject.root, &loaded.resolved, &items);
    let title = show::title(&subject.selector);
    let text = match format {
        Format::Text => plan_text(&plan, &title, all),
        Format::Json => serde_json::to_string_pretty(&plan)? + "\n",
        Format::Ansible => ansible::playbook(&plan, &title),
    };
    let code = if plan.changes() == 0 { FINE } else { FINDINGS };
    Ok(finish(&text, code))
}

fn plan_text(plan: &Plan, title: &str, all: bool) -> String {
    let mut text = format!("{title}\n");
    let mut counts = [0_usize; 4];
    for entry in &plan.entries {
        let (n, sign, what) = match &entry.state {
            State::Differs { found } => (0, '~', format!("now: {found}")),
            State::Satisfied { found } => (1, '=', format!("holds: {found}")),
            State::NotApplicable { why } => (2, '-', format!("does not apply: {why}")),
            State::Blocked { why } => (3, '!', why.clone()),
        };
        if let Some(count) = counts.get_mut(n) {
            *count += 1;
        }
        if !all && (n == 1 || n == 2) {
            continue;
        }
        let item = &entry.item;
        let _infallible = writeln!(text, "{sign} {}", item.id);
        let mut line = |label: &str, value: &str| {
            let _infallible = writeln!(text, "    {label}{}", plain(value));
        };
        line("", &what);
        for edit in &entry.edits {
            line("does: ", &edit_text(edit));
        }
        line("why: ", &item.reason);
        if let Some(breaks) = &item.breaks {
            line("may break: ", breaks);
        }
        if !item.controls.is_empty() {
            line("satisfies: ", &item.controls.join(", "));
        }
        let mut risks = Vec::new();
        if item.needs_reboot {
            risks.push("takes effect at the next boot");
        }
        if item.one_way {
            risks.push("cannot be undone before the next boot: needs --irreversible");
        }
        if item.needs_confirmation {
            risks.push("could lock people out: needs --confirm-within");
        }
        if !risks.is_empty() {
            line("risk: ", &risks.join("; "));
        }
        for note in &entry.notes {
            line("note: ", note);
        }
        line("from: ", &item.origin.to_string());
    }
    let [changes, hold, absent, blocked] = counts;
    let _infallible = writeln!(
        text,
        "{changes} to change, {hold} hold already, {absent} do not apply, {blocked} blocked"
    );
    text
}

fn edit_text(edit: &Edit) -> String {
    match edit {
        Edit::Line { path, line } if !line.added.is_empty() || !line.removed.is_empty() => {
            let added: Vec<String> = line.added.iter().map(|word| format!("+{word}")).collect();
            let removed: Vec<String> = line.removed.iter().map(|word| format!("-{word}")).collect();
            format!("{path}: {}", [removed, added].concat().join(" "))
        }
        Edit::Line { path, line } => match (&line.before, &line.after) {
            (Some(before), Some(after)) => format!("{path}: {before:?} becomes {after:?}"),
            (_, after) => format!("{path}: {:?}", after.as_deref().unwrap_or_default()),
        },
        Edit::Link { path, after, .. } => format!("{path} -> {after}"),
        Edit::Mode { path, before, after } => {
            format!(
                "{path}: mode {:04o} {}:{} becomes {:04o} {}:{}",
                before.0, before.1, before.2, after.0, after.1, after.2
            )
        }
        Edit::Runtime { name, before, after } => format!("running kernel: {name} {before} becomes {after}"),
        Edit::Tool { tool, before, after } => {
            let (program, arguments) = tool.command(after);
            format!("{program} {} (now {before})", arguments.join(" "))
        }
    }
}

/// Text of files and policies in one line of output.
fn plain(text: &str) -> String {
    if text.chars().any(char::is_control) {
        quote(text)
    } else {
        text.to_owned()
    }
}

fn apply_command(
    host: &HostArgs,
    selection: &Selection,
    options: &ApplyOptions,
    json: bool,
) -> Result<u8, Failure> {
    let subject = host.subject()?;
    let loaded = subject.usable()?;
    let items = selected(items(&loaded.resolved), selection)?;
    let expired = expire(&subject.root)?;
    let applied = apply(&subject.root, &loaded.resolved, &items, options)?;
    let text = if json {
        serde_json::to_string_pretty(&applied)? + "\n"
    } else {
        expired + &applied_text(&applied)
    };
    Ok(finish(&text, if applied.failed { FAILED } else { FINE }))
}

fn applied_text(applied: &Applied) -> String {
    let mut text = String::new();
    let mut unchanged = 0;
    for result in &applied.results {
        let (word, why) = match &result.outcome {
            Outcome::Unchanged | Outcome::NotApplicable { .. } => {
                unchanged += 1;
                continue;
            }
            Outcome::Changed => ("changed", ""),
            Outcome::Skipped { why } => ("skipped", why.as_str()),
            Outcome::Failed { why } => ("failed", why.as_str()),
        };
        let _infallible = writeln!(text, "{word:<8} {}  {}", result.item, plain(why));
        for note in &result.notes {
            let _infallible = writeln!(text, "         note: {}", plain(note));
        }
    }
    let _infallible = writeln!(text, "{unchanged} hold already or do not apply");
    if let Some(transaction) = applied.transaction {
        let _infallible = writeln!(
            text,
            "transaction {transaction}: hardpan harden rollback --transaction {transaction}"
        );
    }
    if applied.reboot_needed {
        text.push_str("some changes take effect at the next boot\n");
    }
    if applied.confirmation_needed {
        text.push_str("log in once more from elsewhere, then: hardpan harden confirm\n");
    }
    text
}

fn confirm_command(root: &std::path::Path) -> Result<u8, Failure> {
    let root = Root::new(root)?;
    let expired = expire(&root)?;
    let text = match confirm(&root)? {
        Some(transaction) => format!("transaction {transaction} stays\n"),
        None => format!("{expired}nothing waits for confirmation\n"),
    };
    Ok(finish(&text, if expired.is_empty() { FINE } else { FINDINGS }))
}

fn rollback_command(root: &std::path::Path, transaction: Option<u64>, json: bool) -> Result<u8, Failure> {
    let report = rollback(&Root::new(root)?, transaction)?;
    let text = if json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        rollback_text(&report)
    };
    let code = if report.edits.iter().any(|edit| edit.what == "failed") {
        FAILED
    } else if report
        .edits
        .iter()
        .any(|edit| edit.what == "kept" || edit.what == "after-reboot")
    {
        FINDINGS
    } else {
        FINE
    };
    Ok(finish(&text, code))
}

fn rollback_text(report: &RollbackReport) -> String {
    let mut text = String::new();
    for edit in &report.edits {
        let detail = edit.detail.as_deref().unwrap_or_default();
        let _infallible = writeln!(
            text,
            "{:<12} {}  {}  {}",
            edit.what,
            edit.item,
            edit.subject,
            plain(detail)
        );
    }
    if report.edits.is_empty() {
        text.push_str("nothing to take back\n");
    }
    text
}

fn drift_command(root: &std::path::Path, json: bool) -> Result<u8, Failure> {
    let found: Vec<Drift> = drift(&Root::new(root)?)?;
    let text = if json {
        serde_json::to_string_pretty(&found)? + "\n"
    } else {
        let mut text = String::new();
        for Drift {
            item,
            subject,
            wanted,
            found,
        } in &found
        {
            let _infallible = writeln!(
                text,
                "{item}  {subject}: wanted {}, found {}",
                plain(wanted),
                plain(found)
            );
        }
        text
    };
    Ok(finish(&text, if found.is_empty() { FINE } else { FINDINGS }))
}

fn finish(text: &str, code: u8) -> u8 {
    match print(text).code() {
        FINE => code,
        failed => failed,
    }
}
