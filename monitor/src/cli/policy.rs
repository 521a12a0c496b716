//! `hardpan policy`: looking at policies, checking, comparing, trying them out on what was recorded, signing.

mod events;
mod host;
mod mode;
mod record;
mod sign;

use super::{complain, print};
use crate::gate::Wanted;
use crate::harden::Root;
use crate::policy::load_with;
use clap::{Args, Subcommand};
use events::{explain, learn, simulate};
use hardpan_core::envelope::{MAX_ENVELOPE_BYTES, time_text};
use hardpan_core::platform::Tier;
use hardpan_core::policy::effective::without_effect;
use hardpan_core::policy::harden::{Host as _, Want, item};
use hardpan_core::policy::{Problem, Resolved, Severity, rule, show};
pub use host::HostArgs;
use host::{CandidateArgs, candidate_source};
use sign::{import, sign_file, verify};
use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Exit codes, as everywhere.
const FINE: u8 = 0;
const FINDINGS: u8 = 1;
const USAGE: u8 = 2;
const FAILED: u8 = 3;

/// Shows, checks, compares, tries out, learns and signs policies.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan policy show --resolved\n  hardpan policy check 20-site.toml\n  \
    hardpan policy diff --to-level strict\n  hardpan policy simulate --to-level strict /var/log/hardpan/events.json\n  \
    hardpan policy import fapolicyd /etc/fapolicyd/rules.d"
)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// The host's policy: its files, or every value with the file and line it came from.
    Show {
        #[command(flatten)]
        host: HostArgs,
        /// Every value, requirement and rule with its origin.
        #[arg(long)]
        resolved: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Every key a policy may hold.
        #[arg(long, conflicts_with_all = ["resolved", "json"])]
        schema: bool,
    },
    /// Checks the host's policy, or a file as if it were installed (fits Ansible's `validate: hardpan policy check %s`).
    Check {
        #[command(flatten)]
        host: HostArgs,
        /// The file.
        file: Option<PathBuf>,
        /// The name it will have below /etc/hardpan/policies, if it replaces one.
        #[arg(long = "as", value_name = "NAME", requires = "file")]
        name: Option<String>,
        /// Check the rules for this tier only [A, B, C].
        #[arg(long, value_parser = parse_tier)]
        tier: Option<Tier>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What another file, role or level would change.
    Diff {
        #[command(flatten)]
        host: HostArgs,
        #[command(flatten)]
        candidate: CandidateArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Replays recorded events against another file, role or level and tells which decisions would change.
    Simulate {
        #[command(flatten)]
        host: HostArgs,
        #[command(flatten)]
        candidate: CandidateArgs,
        /// Records (events.json); `-` is standard input.
        #[arg(required = true, value_name = "EVENTS")]
        events: Vec<PathBuf>,
        /// Decide as at this tier.
        #[arg(long, value_parser = parse_tier, default_value = "A")]
        tier: Tier,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Proposes a manifest of digests and a policy for what ran and nobody vouched for.
    Learn {
        /// Records (events.json); `-` is standard input.
        #[arg(required = true, value_name = "EVENTS")]
        events: Vec<PathBuf>,
        /// Print the policy instead of the manifest.
        #[arg(long)]
        policy: bool,
    },
    /// Tells which rule decides a recorded event, and why the ones before it do not.
    Explain {
        #[command(flatten)]
        host: HostArgs,
        /// `event.id` of the record.
        id: String,
        /// Records to look in; `-` is standard input.
        #[arg(long, value_name = "FILE", default_value = "/var/log/hardpan/events.json")]
        events: PathBuf,
        /// Decide as at this tier.
        #[arg(long, value_parser = parse_tier, default_value = "A")]
        tier: Tier,
    },
    /// Signs a policy file. Keep the private key away from the hosts.
    Sign {
        /// The policy.
        file: PathBuf,
        /// Private key: unencrypted PKCS#8 of Ed25519, P-256 or P-384 (openssl genpkey).
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Counts up with each issue; hosts refuse a lower one.
        #[arg(long)]
        serial: u64,
        /// When it becomes void: 2027-01-31T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        expires: String,
        /// Host names or machine-ids it is for, with `*`; may be given several times.
        #[arg(long, value_name = "GLOB", default_value = "*")]
        target: Vec<String>,
        /// Its name; else the file's, without `.toml`.
        #[arg(long)]
        name: Option<String>,
        /// Where to write the envelope.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Checks a signed policy against this host's keys, name, clock and serials.
    Verify {
        /// The envelope (`*.hpm`).
        file: PathBuf,
        /// Treat this directory as the host's root.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Print the policy in it.
        #[arg(long)]
        print: bool,
    },
    /// Takes enforcement by the exec gate back (observe), or gives it to configuration and policy again (configured);
    /// without an argument it shows what was asked for. Needs root and leaves a record.
    Mode {
        /// `observe` or `configured`.
        #[arg(value_parser = parse_mode)]
        mode: Option<Wanted>,
        /// Why; it goes into the record.
        #[arg(long, value_name = "TEXT", requires = "mode")]
        reason: Option<String>,
        /// Directory of hardpand's state.
        #[arg(long, value_name = "DIR", default_value = "/var/lib/hardpan")]
        state_dir: PathBuf,
    },
    /// Translates another program's rules.
    Import {
        /// Which program's.
        #[arg(value_parser = ["fapolicyd"])]
        from: String,
        /// Its rules: a file, or rules.d.
        path: PathBuf,
    },
}

fn parse_mode(word: &str) -> Result<Wanted, String> {
    match word {
        "observe" => Ok(Wanted::Observe),
        "configured" | "enforce" => Ok(Wanted::Configured),
        _ => Err("must be observe or configured".to_owned()),
    }
}

pub(super) fn parse_tier(name: &str) -> Result<Tier, String> {
    Tier::from_name(name)
        .filter(|tier| *tier != Tier::None)
        .ok_or_else(|| "must be A, B or C".to_owned())
}

/// Runs the command; returns its exit code.
pub fn run(args: &PolicyArgs) -> u8 {
    let outcome = match &args.command {
        PolicyCommand::Show {
            host,
            resolved,
            json,
            schema,
        } => show_policy(host, *resolved, *json, *schema),
        PolicyCommand::Check {
            host,
            file,
            name,
            tier,
            json,
        } => check(host, file.as_deref(), name.as_deref(), *tier, *json),
        PolicyCommand::Diff {
            host,
            candidate,
            json,
        } => diff(host, candidate, *json),
        PolicyCommand::Simulate {
            host,
            candidate,
            events,
            tier,
            json,
        } => simulate(host, candidate, events, *tier, *json),
        PolicyCommand::Learn { events, policy } => learn(events, *policy),
        PolicyCommand::Explain {
            host,
            id,
            events,
            tier,
        } => explain(host, id, events, *tier).map(|(text, _)| out(&text)),
        PolicyCommand::Sign {
            file,
            key,
            serial,
            expires,
            target,
            name,
            output,
        } => sign_file(file, key, *serial, expires, target, name.as_deref(), output),
        PolicyCommand::Verify { file, root, print } => verify(file, root, *print),
        PolicyCommand::Mode {
            mode: wanted,
            reason,
            state_dir,
        } => mode::mode(*wanted, reason.as_deref(), state_dir),
        PolicyCommand::Import { from: _, path } => import(path),
    };
    outcome.unwrap_or_else(|failure| {
        complain("hardpan", failure.error.as_ref(), failure.hint.as_deref());
        failure.code
    })
}

/// `hardpan explain EVENT-ID`.
pub(super) fn explain_event(host: &HostArgs, id: &str, events: &Path, tier: Tier) -> u8 {
    let said = explain(host, id, events, tier);
    said.map_or_else(
        |failure| failure.tell(),
        |(text, is_told)| out_then(&text, if is_told { FINDINGS } else { FINE }),
    )
}

/// Why a command could not be done.
pub(super) struct Failure {
    error: Box<dyn Error>,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    pub(super) fn new(error: impl Into<Box<dyn Error>>, hint: Option<&str>) -> Self {
        Self {
            error: error.into(),
            hint: hint.map(str::to_owned),
            code: FAILED,
        }
    }

    fn usage(message: impl Into<String>) -> Self {
        Self {
            error: message.into().into(),
            hint: None,
            code: USAGE,
        }
    }

    /// Tells it and gives the exit code.
    pub(super) fn tell(&self) -> u8 {
        complain("hardpan", self.error.as_ref(), self.hint.as_deref());
        self.code
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error, None)
    }
}

/// At most an envelope's size, and one byte that shows there is more.
fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_ENVELOPE_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display()), None))?;
    Ok(bytes)
}

/// Writes to standard error: standard output is data.
fn mention(text: &str) {
    use std::io::Write as _;
    // There is nobody left to tell when standard error is gone.
    let _closed = io::stderr().lock().write_all(text.as_bytes());
}

/// Tells problems, one after the other.
fn tell(problems: &[Problem]) {
    let text: String = problems.iter().fold(String::new(), |mut text, problem| {
        let _infallible = writeln!(text, "{problem}");
        text
    });
    mention(&text);
}

fn out(text: &str) -> u8 {
    print(text).code()
}

/// Prints, then ends with `code` unless printing failed.
fn out_then(text: &str, code: u8) -> u8 {
    match out(text) {
        FINE => code,
        failed => failed,
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn show_policy(host: &HostArgs, resolved: bool, as_json: bool, schema: bool) -> Result<u8, Failure> {
    if schema {
        return Ok(out(&show::reference()));
    }
    let subject = host.subject()?;
    let loaded = subject.load()?;
    tell(&loaded.problems);
    let code = if loaded.is_usable() { FINE } else { FINDINGS };
    let text = if as_json {
        json(&show::document(&loaded.resolved))?
    } else if resolved {
        show::heading(&subject.selector) + &show::text(&loaded.resolved)
    } else {
        let mut text = format!("{}\n", show::title(&subject.selector));
        for part in &loaded.resolved.parts {
            let about = part.description.as_deref().unwrap_or_default();
            let _infallible = writeln!(text, "  {:<9}{}  {about}", part.layer.name(), part.file);
        }
        for file in &loaded.signed {
            let claims = file.opened.claims();
            let until = time_text(claims.expires);
            let key = file.opened.key_name();
            let _infallible = writeln!(
                text,
                "  {} signed by {key}, serial {}, until {until}",
                file.name, claims.serial
            );
        }
        text
    };
    Ok(out_then(&text, code))
}

fn check(
    host: &HostArgs,
    file: Option<&Path>,
    name: Option<&str>,
    tier: Option<Tier>,
    as_json: bool,
) -> Result<u8, Failure> {
    let subject = match host.subject() {
        Ok(subject) => subject,
        // A policy is also written on machines that are no EL: it is checked for a common kind then.
        Err(_) if file.is_some() && host.names_none() => {
            let subject = host.stand_in().subject()?;
            let note = format!(
                "note: this is no Enterprise Linux; checked for {}\n",
                show::title(&subject.selector)
            );
            mention(&note);
            subject
        }
        Err(failure) => return Err(failure),
    };
    let loaded = match file {
        Some(file) => {
            let source = candidate_source(file, name)?;
            load_with(
                &subject.root,
                &subject.folders,
                &subject.selector,
                subject.now_s,
                source,
            )?
        }
        None => subject.load()?,
    };
    let mut problems = loaded.problems;
    let tiers = tier.map_or_else(|| vec![Tier::A, Tier::B, Tier::C], |tier| vec![tier]);
    let fallback = loaded.resolved.setting(&["gate", "fallback"]);
    let by_fanotify = fallback.and_then(|setting| setting.value.as_text()) == Some("fanotify");
    problems.extend(rule::lint(&loaded.resolved.rules, &tiers, by_fanotify));
    problems.extend(without_effect(&loaded.resolved));
    if subject.root.is_live() {
        problems.extend(effects(&subject.root, &loaded.resolved));
    }
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    let code = if errors == 0 { FINE } else { FINDINGS };
    if as_json {
        return Ok(out_then(&json(&problems)?, code));
    }
    tell(&problems);
    let warnings = problems.len() - errors;
    let settings = loaded.resolved.settings.len();
    let rules = loaded.resolved.rules.len();
    let summary = if errors == 0 {
        format!(
            "{}: {settings} settings, {rules} rules, {warnings} warnings\n",
            show::title(&subject.selector)
        )
    } else {
        format!("{errors} errors, {warnings} warnings\n")
    };
    Ok(out_then(&summary, code))
}

/// What hardening would do to what runs now.
fn effects(root: &Root, resolved: &Resolved) -> Vec<Problem> {
    let modules = root.read("/proc/modules").unwrap_or_default();
    let mut problems = Vec::new();
    for item in item::items(resolved) {
        let effect = match &item.want {
            Want::ServiceMasked { unit } => (root
                .stat(&format!("/sys/fs/cgroup/system.slice/{unit}"))
                .is_some()
                || root
                    .stat(&format!("/sys/fs/cgroup/systemd/system.slice/{unit}"))
                    .is_some())
            .then(|| format!("{unit} runs now and would be masked")),
            Want::ModuleDenied { name } => {
                let name = name.replace('-', "_");
                let users = modules.lines().find(|line| line.split(' ').next() == Some(&name));
                users.map(|line| {
                    let count = line.split(' ').nth(2).unwrap_or("0");
                    format!("the module {name} is loaded ({count} users) and would be denied")
                })
            }
            Want::Sysctl { name, value } if name == "user.max_user_namespaces" && value == "0" => {
                let running = root
                    .list("/sys/fs/cgroup/user.slice")
                    .iter()
                    .any(|slice| slice.starts_with("user-"));
                let containers = root.stat("/usr/bin/podman").is_some();
                (running && containers)
                    .then(|| "rootless podman of logged-in users would stop working".to_owned())
            }
            _ => None,
        };
        if let Some(message) = effect {
            problems.push(Problem::warning(item.origin.clone(), message));
        }
    }
    problems
}

fn diff(host: &HostArgs, candidate: &CandidateArgs, as_json: bool) -> Result<u8, Failure> {
    let subject = host.subject()?;
    let (before, after) = (subject.usable()?, subject.with(candidate)?);
    let differences = show::diff(&before.resolved, &after.resolved);
    let code = if differences.is_empty() { FINE } else { FINDINGS };
    let text = if as_json {
        json(&differences)?
    } else {
        show::diff_text(&differences)
    };
    Ok(out_then(&text, code))
}
