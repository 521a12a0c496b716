//! `hardpan explain`: the way to a verdict, and what would make it another.

mod source;

use self::source::{Source, advice, expected, source, unknown};
use super::complain;
use super::policy::{HostArgs, parse_tier};
use super::trust::Failure as TrustFailure;
use super::trust::sight::SightArgs;
use crate::crypto::sha256_of;
use crate::gate::{ModeFile, Wanted};
use clap::Args;
use hardpan_abi::{GateClass, GateKind};
use hardpan_core::event::escape;
use hardpan_core::platform::Tier;
use hardpan_core::policy::effective::{Effective, Mode};
use hardpan_core::policy::gate::{GateTable, class_word, gates_files};
use hardpan_core::policy::rule::{Action, Fact, Facts, Glob, Kind, Side, Why, decide_before};
use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Tells how a file or a recorded event is judged: hook, digest, package, signer, rule, and what would allow it.
///
/// An argument with "/" is a path: it is hashed now and judged as the gate would. Anything else is an event's id.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hardpan explain /opt/agent/bin/agent\n  \
        hardpan explain 4b1f0c9e-77a1-4d0e-9c55-2f1b1c1f8f0a-812\n\n\
        Exit codes: 0 it would be (or was) allowed, 1 refused or alerted about, 3 it could not look.")]
pub struct ExplainArgs {
    /// A path, or `event.id` of a record.
    #[arg(value_name = "EVENT-ID|PATH")]
    what: String,
    /// Records to look in.
    #[arg(long, value_name = "FILE", default_value = "/var/log/hardpan/events.json")]
    events: PathBuf,
    /// Decide as at this tier.
    #[arg(long, value_parser = parse_tier, default_value = "A")]
    tier: Tier,
    #[command(flatten)]
    host: HostArgs,
    /// Directory of hardpand's state.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/hardpan")]
    state_dir: PathBuf,
}

/// Runs the command; returns its exit code.
pub fn run(args: &ExplainArgs) -> u8 {
    if !args.what.contains('/') {
        return super::policy::explain_event(&args.host, &args.what, &args.events, args.tier);
    }
    match path(args) {
        Ok((text, refused)) => match super::print(&text).code() {
            0 => u8::from(refused),
            failed => failed,
        },
        Err(Problem::Policy(failure)) => failure.tell(),
        Err(Problem::Trust(failure)) => {
            complain("hardpan", &*failure.error, failure.hint.as_deref());
            failure.exit.code()
        }
        Err(Problem::File(path, error)) => {
            complain(
                "hardpan",
                &std::io::Error::other(format!("reading {path}: {error}")),
                None,
            );
            3
        }
    }
}

enum Problem {
    Policy(super::policy::Failure),
    Trust(TrustFailure),
    File(String, std::io::Error),
}

/// The file that is asked about.
struct Looked {
    /// Its path inside the root, without links.
    real: PathBuf,
    meta: std::fs::Metadata,
    sha256: [u8; 32],
}

fn look(args: &ExplainArgs) -> Result<Looked, Problem> {
    let path = std::path::absolute(&args.what).unwrap_or_else(|_| PathBuf::from(&args.what));
    let unreadable = |error| Problem::File(path.display().to_string(), error);
    let root = args.host.root();
    let inside = hardpan_rpm::root::Root::open(root).map_err(unreadable)?;
    let fd = inside
        .resolve(&path, hardpan_rpm::root::Last::Follow)
        .map_err(unreadable)?;
    // Opened by its path alone: a FIFO or a device is not touched.
    let handle = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let meta = std::fs::metadata(&handle).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")));
    }
    let outside = std::fs::canonicalize(root).map_err(unreadable)?;
    let real = std::fs::read_link(&handle).map_err(unreadable)?;
    let real = Path::new("/").join(real.strip_prefix(&outside).unwrap_or(&real));
    let file = File::open(&handle).map_err(unreadable)?;
    let (sha256, _) = sha256_of(&file).map_err(unreadable)?;
    Ok(Looked { real, meta, sha256 })
}

/// Who is asked about executions at this tier.
const fn asked_at(tier: Tier, gates_files: bool) -> &'static str {
    match tier {
        Tier::A => "bprm_check_security, mmap_file: the kernel hashes, looks the digest up and answers",
        Tier::B if !gates_files => {
            "nowhere: at tier B files are judged only with gate.fallback = \"fanotify\""
        }
        Tier::B => {
            "bprm_check_security, mmap_file: the kernel answers by digests that user space takes: of programs when they are executed, of libraries in advance; what it has none of is doubt (gate.on_doubt)"
        }
        Tier::C if gates_files => {
            "fanotify: a process hashes programs, scripts and their interpreters when they are executed, and answers; libraries, files given to interpreters and what the dynamic linker is told to run are not seen"
        }
        _ => {
            "nowhere: at tier C executions are only seen afterwards, unless gate.fallback = \"fanotify\" has them asked about"
        }
    }
}

fn path(args: &ExplainArgs) -> Result<(String, bool), Problem> {
    let Looked { real, meta, sha256 } = look(args)?;
    let root = args.host.root();
    let subject = args.host.subject().map_err(Problem::Policy)?;
    let loaded = subject.usable().map_err(Problem::Policy)?;
    let effective = Effective::new(&loaded.resolved)
        .map_err(|error| Problem::Policy(super::policy::Failure::new(error, None)))?;
    let sight = SightArgs::of_root(root).look(false).map_err(Problem::Trust)?;
    let table = GateTable::new(&effective, args.tier, &|_| None);
    let source = source(&sight, &sha256, &effective);
    let setid = meta.mode() & 0o6000;
    let vouched_setid = sight
        .current
        .outcome
        .index
        .owners(&sha256)
        .fold(0, |mode, owner| mode | owner.mode() & 0o6000);
    let class = match source.class {
        GateClass::Unknown => unknown(&sight, real.as_os_str().as_bytes()),
        vouched => vouched,
    };
    // The content may be vouched for; this use of it is not.
    let class = if setid & !vouched_setid != 0 && class != GateClass::Mismatch {
        GateClass::Untrusted
    } else {
        class
    };
    let mut text = String::new();
    let mut say = |label: &str, value: &str| {
        let _infallible = writeln!(text, "{label:<10} {value}");
    };
    say("file", &escape(real.as_os_str().as_bytes()));
    say(
        "digest",
        &format!("{} ({} bytes, hashed now)", hex::encode(sha256), meta.len()),
    );
    say("vouched", &source.text);
    if class == GateClass::Mismatch
        && let Some(text) = expected(&sight, &real)
    {
        say("expected", &text);
    }
    if setid & !vouched_setid != 0 {
        say(
            "set-id",
            &format!(
                "mode {:04o}, which no package gives this content",
                meta.mode() & 0o7777
            ),
        );
    }
    say("class", class_word(class).unwrap_or("unknown"));
    say(
        "asked at",
        asked_at(args.tier, gates_files(&effective, args.tier)),
    );
    let mut worst = Action::Allow;
    for (kind, own, what) in [
        (Kind::Exec, GateKind::Exec, "program"),
        (Kind::Library, GateKind::Library, "library"),
        (Kind::Script, GateKind::Script, "script"),
    ] {
        let facts = facts(kind, class, &real, &meta, &sha256, &source);
        let at = (args.tier, effective.gate.fanotify_fallback);
        let decision = decide_before(&effective.rules, &effective.defaults, &facts, at);
        let why = match decision.why {
            Why::Rule(_, rule) => format!("rule {:?} ({})", rule.name, rule.origin),
            Why::Default(origin) => format!(
                "default.{}.{} ({origin})",
                kind.name(),
                class_word(class).unwrap_or("unknown")
            ),
            Why::Nothing => "neither a rule nor a default names it".to_owned(),
        };
        let weak = if decision.weakened {
            ", weaker than wanted at this tier"
        } else {
            ""
        };
        say(
            &format!("as {what}"),
            &format!("{}{weak}: {why}", decision.action.name()),
        );
        if own == GateKind::Exec || own == GateKind::Library {
            worst = worst.max(decision.action);
        }
    }
    if let Some(text) = written(&effective, &real) {
        say("written to", &text);
    }
    say("mode", &mode(&effective, &args.state_dir));
    if let [first, ..] = table.problems.as_slice() {
        say("problem", first);
    }
    if worst > Action::Allow {
        say("to allow", &advice(&sight, &real, class));
    }
    Ok((text, worst > Action::Allow))
}

/// What becomes of writes to a protected file.
fn written(effective: &Effective, real: &Path) -> Option<String> {
    let path = real.to_str()?;
    let mut globs = effective.gate.protect.iter().filter_map(|text| Glob::new(text));
    globs.find(|glob| glob.matches(path))?;
    let (action, origin) = effective.defaults.action(Kind::FileWrite, "protected")?;
    Some(format!(
        "{}: default.file-write.protected ({origin}), where no rule says otherwise; protect.paths names it",
        action.name()
    ))
}

fn facts(
    kind: Kind,
    class: GateClass,
    path: &Path,
    meta: &std::fs::Metadata,
    sha256: &[u8; 32],
    source: &Source,
) -> Facts {
    let text = |text: String| Some(Fact::Text(text));
    let mut facts = Facts::new(kind);
    facts.set(
        Side::Object,
        "class",
        text(class_word(class).unwrap_or("untrusted").to_owned()),
    );
    facts.set(
        Side::Object,
        "path",
        text(escape(path.as_os_str().as_bytes()).into_owned()),
    );
    facts.set(Side::Object, "digest", text(hex::encode(sha256)));
    facts.set(Side::Object, "inode", Some(Fact::Id(meta.ino())));
    facts.set(Side::Object, "owner", Some(Fact::Id(u64::from(meta.uid()))));
    facts.set(Side::Object, "setid", Some(Fact::Flag(meta.mode() & 0o6000 != 0)));
    let (major, minor) = (nix::libc::major(meta.dev()), nix::libc::minor(meta.dev()));
    facts.set(Side::Object, "device", text(format!("{major}:{minor}")));
    facts.set(Side::Object, "package", source.package.clone().map(Fact::Text));
    facts.set(Side::Object, "signer", source.signer.clone().map(Fact::Text));
    facts
}

fn mode(effective: &Effective, state_dir: &Path) -> String {
    let policy = match effective.gate.mode {
        Mode::Observe => "observe: nothing is refused",
        Mode::Enforce => "enforce (if hardpand's configuration says so too)",
    };
    match ModeFile::load(state_dir) {
        Ok(Some(file)) if file.mode == Wanted::Observe => {
            format!("observe: uid {} asked for it: {}", file.uid, file.reason)
        }
        _ => format!("the policy says {policy}"),
    }
}
