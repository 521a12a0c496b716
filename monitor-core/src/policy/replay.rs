//! Recorded events against policies: what a candidate would have decided, and what it would take to trust what ran.
//!
//! Input are Hardpan's own records, one JSON object per line. Lines that are something else are counted, not guessed at.

use super::resolve::Resolved;
use super::rule::{Action, Fact, Facts, Kind, Side, Why, decide};
use super::value::quote;
use crate::platform::Tier;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Longest line that is looked at, in bytes: records are shorter.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Most distinct changes kept; further ones are only counted.
const MAX_CHANGES: usize = 1_000;
/// Most distinct files a manifest proposal holds.
const MAX_LEARNED: usize = 100_000;

/// An event taken from a record: what rules see of it, and how many it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// What rules see.
    pub facts: Facts,
    /// Executions an aggregate stands for; else 1.
    pub count: u64,
    /// The record's id.
    pub id: String,
    /// SHA-256 of the file, if it was recorded.
    pub sha256: Option<String>,
    /// Path of the file.
    pub path: String,
}

/// The events in one line: an exec of a script gives two. Empty for records of other things.
pub fn events_of(line: &str) -> Option<Vec<Replayed>> {
    if line.len() > MAX_LINE_BYTES {
        return None;
    }
    let record: Json = serde_json::from_str(line).ok()?;
    let action = text(&record, &["event", "action"])?;
    let own = record.get("Hardpan").unwrap_or(&Json::Null);
    let mut events = Vec::new();
    match action {
        "exec" | "exec-aggregate" => {
            let count = own
                .pointer("/aggregate/count")
                .and_then(Json::as_u64)
                .unwrap_or(1);
            for (part, kind) in [("file", Kind::Exec), ("script", Kind::Script)] {
                if let Some(file) = own.get(part).filter(|file| file.is_object()) {
                    events.push(file_event(&record, file, kind, count));
                }
            }
        }
        _ if text(&record, &["event", "dataset"]) == Some("hardpan.gate") => {
            let kind = text(own, &["gate", "kind"]).and_then(Kind::from_name);
            if let (Some(kind), Some(file)) = (kind, own.get("file").filter(|file| file.is_object())) {
                let mut event = file_event(&record, file, kind, 1);
                // The kernel's own word.
                let class = text(own, &["gate", "class"]).map(|class| Fact::Text(class.to_owned()));
                event.facts.set(Side::Object, "class", class);
                events.push(event);
            } else if let (Some(kind), Some(object)) = (kind, own.pointer("/gate/object")) {
                events.push(object_event(&record, own, object, kind));
            }
        }
        "kernel-module-loaded" => {
            let class = match text(own, &["module", "signature"]) {
                Some("good") => "signed",
                _ => "unsigned",
            };
            let name = text(own, &["module", "name"]).unwrap_or_default();
            let mut facts = subject(&record, Kind::Module);
            facts.set(Side::Object, "class", Some(Fact::Text(class.to_owned())));
            facts.set(Side::Object, "name", Some(Fact::Text(name.to_owned())));
            events.push(Replayed {
                facts,
                count: 1,
                id: id(&record),
                sha256: None,
                path: name.to_owned(),
            });
        }
        _ => {}
    }
    Some(events)
}

/// A module, a BPF program or another process.
fn object_event(record: &Json, own: &Json, object: &Json, kind: Kind) -> Replayed {
    let mut facts = subject(record, kind);
    let fact = |text: Option<&str>| text.map(|text| Fact::Text(text.to_owned()));
    facts.set(Side::Object, "class", fact(text(own, &["gate", "class"])));
    facts.set(Side::Subject, "class", fact(text(object, &["subject_class"])));
    let name = text(object, &["name"]).unwrap_or_default();
    match kind {
        Kind::Ptrace => {
            let uid = text(object, &["uid"])
                .and_then(|uid| uid.parse().ok())
                .map(Fact::Id);
            facts.set(Side::Object, "uid", uid);
        }
        _ => facts.set(Side::Object, "name", Some(Fact::Text(name.to_owned()))),
    }
    if kind == Kind::Bpf {
        facts.set(
            Side::Object,
            "program_type",
            fact(text(object, &["program_type"])),
        );
    }
    Replayed {
        facts,
        count: 1,
        id: id(record),
        sha256: None,
        path: name.to_owned(),
    }
}

fn file_event(record: &Json, file: &Json, kind: Kind, count: u64) -> Replayed {
    let mut facts = subject(record, kind);
    let in_container = record.pointer("/container/id").is_some();
    let class = match text(file, &["verdict"]) {
        Some("trusted") => Some("trusted"),
        Some("digest-mismatch") => Some("mismatch"),
        Some("fileless") => Some("fileless"),
        Some("untrusted") if file.get("changed_config_of").is_some() => Some("config-modified"),
        Some("untrusted" | "unverified") if in_container => Some("container"),
        // What could not be looked at gets the gate's answer to the unknown.
        Some("untrusted" | "unverified") => Some("untrusted"),
        _ => None,
    };
    let own = |field: &str| text(file, &[field]).map(|text| Fact::Text(text.to_owned()));
    let of_file = |field: &str| {
        if kind == Kind::Exec {
            text(record, &["file", field])
        } else {
            None
        }
    };
    let id_of = |field: &str| of_file(field).and_then(|text| text.parse().ok()).map(Fact::Id);
    facts.set(
        Side::Object,
        "class",
        class.map(|class| Fact::Text(class.to_owned())),
    );
    facts.set(Side::Object, "path", own("path"));
    facts.set(Side::Object, "digest", own("sha256"));
    facts.set(Side::Object, "inode", id_of("inode"));
    facts.set(Side::Object, "owner", id_of("uid"));
    facts.set(
        Side::Object,
        "device",
        of_file("device").map(|device| Fact::Text(device.to_owned())),
    );
    let setid = of_file("mode")
        .and_then(|mode| u32::from_str_radix(mode, 8).ok())
        .map(|mode| mode & 0o6000 != 0);
    facts.set(Side::Object, "setid", setid.map(Fact::Flag));
    let package = text(file, &["package"]).map(|package| Fact::Text(name_of(package).to_owned()));
    facts.set(Side::Object, "package", package);
    let signer = text(file, &["signer", "fingerprint"]).map(|print| Fact::Text(print.to_owned()));
    facts.set(Side::Object, "signer", signer);
    let filesystem = text(file, &["fs_magic"]).and_then(filesystem_of);
    facts.set(
        Side::Object,
        "filesystem",
        filesystem.map(|name| Fact::Text(name.to_owned())),
    );
    Replayed {
        facts,
        count,
        id: id(record),
        sha256: text(file, &["sha256"]).map(str::to_owned),
        path: text(file, &["path"]).unwrap_or("(unknown)").to_owned(),
    }
}

/// What a record tells of the task.
fn subject(record: &Json, kind: Kind) -> Facts {
    let mut facts = Facts::new(kind);
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).map(Fact::Id);
    let effective = text(record, &["process", "user", "id"]).or_else(|| text(record, &["user", "id"]));
    facts.set(Side::Subject, "uid", number(effective));
    // Nobody logged in is a value of its own, which policies write as 4294967295.
    let login =
        number(text(record, &["Hardpan", "login", "uid"])).unwrap_or_else(|| Fact::Id(u64::from(u32::MAX)));
    facts.set(Side::Subject, "loginuid", Some(login));
    facts.set(
        Side::Subject,
        "container",
        Some(Fact::Flag(record.pointer("/container/id").is_some())),
    );
    let parent = text(record, &["process", "parent", "executable"]);
    facts.set(
        Side::Subject,
        "parent",
        parent.map(|path| Fact::Text(path.to_owned())),
    );
    let comm = text(record, &["process", "thread", "name"]);
    facts.set(
        Side::Subject,
        "comm",
        comm.map(|comm| Fact::Text(comm.to_owned())),
    );
    facts
}

fn text<'j>(json: &'j Json, path: &[&str]) -> Option<&'j str> {
    path.iter().try_fold(json, |json, key| json.get(key))?.as_str()
}

fn id(record: &Json) -> String {
    text(record, &["event", "id"]).unwrap_or("(no id)").to_owned()
}

/// `bash` of `bash-5.1.8-9.el9.x86_64`.
fn name_of(package: &str) -> &str {
    let version = package
        .rsplit_once('-')
        .and_then(|(rest, _release)| rest.rsplit_once('-'));
    version.map_or(package, |(name, _version)| name)
}

/// Type of a file system from its magic number in hex.
fn filesystem_of(magic: &str) -> Option<&'static str> {
    super::rule::observed::filesystem_of(u64::from_str_radix(magic.strip_prefix("0x")?, 16).ok()?)
}

/// What decided, in words.
fn why(why: &Why<'_>) -> String {
    match why {
        Why::Rule(_, rule) => format!("rule {} ({})", rule.name, rule.origin),
        Why::Default(origin) => format!("default ({origin})"),
        Why::Nothing => "no rule or default".to_owned(),
    }
}

/// One kind of event that the candidate decides otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionChange {
    /// Kind of event.
    pub kind: &'static str,
    /// Path or module name.
    pub path: String,
    /// The object's class.
    pub class: String,
    /// Now.
    pub before: Action,
    /// What decides now.
    pub before_why: String,
    /// With the candidate.
    pub after: Action,
    /// What would decide.
    pub after_why: String,
    /// How many recorded events.
    pub count: u64,
    /// The first such record.
    pub first_id: String,
}

/// The outcome of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Simulation {
    /// Events replayed, aggregates counted in full.
    pub events: u64,
    /// Lines that were no record of an event rules decide.
    pub other_lines: u64,
    /// Lines that were no record at all.
    pub bad_lines: u64,
    /// `gate.mode` of both policies: in `observe` nothing is refused whatever the decision.
    pub modes: (String, String),
    /// Decisions with the candidate, by action.
    pub decisions: BTreeMap<&'static str, u64>,
    /// What the candidate decides otherwise, most frequent first.
    pub changes: Vec<DecisionChange>,
    /// Distinct changes beyond those kept.
    pub changes_not_kept: u64,
    /// How often each rule of the candidate would decide, in its order.
    pub hits: Vec<(String, u64)>,
}

/// Replays records, line by line, against the policy in use and a candidate.
#[derive(Debug)]
pub struct Simulator<'p> {
    before: (&'p Resolved, super::rule::Defaults),
    after: (&'p Resolved, super::rule::Defaults),
    tier: Tier,
    changes: BTreeMap<(Kind, String, String, Action, Action), DecisionChange>,
    hits: Vec<u64>,
    result: Simulation,
}

impl<'p> Simulator<'p> {
    /// A replay at this tier.
    pub fn new(before: &'p Resolved, after: &'p Resolved, tier: Tier) -> Self {
        let mode = |policy: &Resolved| {
            policy
                .setting(&["gate", "mode"])
                .map_or_else(String::new, |setting| setting.value.to_plain())
        };
        Self {
            before: (before, before.defaults()),
            after: (after, after.defaults()),
            tier,
            changes: BTreeMap::new(),
            hits: vec![0; after.rules.len()],
            result: Simulation {
                modes: (mode(before), mode(after)),
                ..Simulation::default()
            },
        }
    }

    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let Some(events) = events_of(line) else {
            self.result.bad_lines += 1;
            return;
        };
        if events.is_empty() {
            self.result.other_lines += 1;
        }
        for event in events {
            self.event(&event);
        }
    }

    fn event(&mut self, event: &Replayed) {
        let before = decide(&self.before.0.rules, &self.before.1, &event.facts, self.tier);
        let after = decide(&self.after.0.rules, &self.after.1, &event.facts, self.tier);
        self.result.events += event.count;
        *self.result.decisions.entry(after.action.name()).or_default() += event.count;
        if let Why::Rule(n, _) = after.why
            && let Some(hits) = self.hits.get_mut(n)
        {
            *hits += event.count;
        }
        if before.action == after.action {
            return;
        }
        let class = event.facts.class().unwrap_or("unknown").to_owned();
        let key = (
            event.facts.kind,
            event.path.clone(),
            class.clone(),
            before.action,
            after.action,
        );
        if let Some(change) = self.changes.get_mut(&key) {
            change.count += event.count;
        } else if self.changes.len() >= MAX_CHANGES {
            self.result.changes_not_kept += 1;
        } else {
            let change = DecisionChange {
                kind: event.facts.kind.name(),
                path: event.path.clone(),
                class,
                before: before.action,
                before_why: why(&before.why),
                after: after.action,
                after_why: why(&after.why),
                count: event.count,
                first_id: event.id.clone(),
            };
            self.changes.insert(key, change);
        }
    }

    /// What came of it.
    pub fn finish(mut self) -> Simulation {
        self.result.changes = self.changes.into_values().collect();
        self.result
            .changes
            .sort_by_key(|change| std::cmp::Reverse((change.after, change.count)));
        let names = self.after.0.rules.iter().map(|rule| rule.name.clone());
        self.result.hits = names.zip(self.hits).collect();
        self.result
    }
}

impl Simulation {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let decisions: Vec<String> = self
            .decisions
            .iter()
            .map(|(action, count)| format!("{action} {count}"))
            .collect();
        let _infallible = writeln!(out, "{} events replayed: {}", self.events, decisions.join(", "));
        let refused: u64 = ["deny", "kill"]
            .iter()
            .filter_map(|action| self.decisions.get(action))
            .sum();
        let (before, after) = &self.modes;
        let acts = if after == "enforce" {
            "are refused"
        } else {
            "would be refused in enforce mode"
        };
        let _infallible = writeln!(out, "mode {before} -> {after}: {refused} {acts}");
        if self.bad_lines > 0 {
            let _infallible = writeln!(out, "{} lines are no records", self.bad_lines);
        }
        if self.changes.is_empty() {
            out.push_str("no decision would change\n");
        }
        for change in &self.changes {
            let _infallible = writeln!(
                out,
                "{} -> {}  {} {} [{}] x{}, first {}\n    now {}\n    then {}",
                change.before.name(),
                change.after.name(),
                change.kind,
                quote(&change.path),
                change.class,
                change.count,
                change.first_id,
                change.before_why,
                change.after_why
            );
        }
        if self.changes_not_kept > 0 {
            let _infallible = writeln!(out, "and {} more", self.changes_not_kept);
        }
        for (rule, hits) in self.hits.iter().filter(|(_, hits)| *hits == 0) {
            let _infallible = writeln!(out, "rule {rule} decided nothing ({hits} hits)");
        }
        out
    }
}

/// What ran without being trusted: by digest.
#[derive(Debug, Default)]
pub struct Learner {
    files: BTreeMap<String, (String, String, u64)>,
    without_digest: BTreeMap<String, u64>,
    /// Distinct files beyond the limit.
    pub not_kept: u64,
}

impl Learner {
    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        for event in events_of(line).unwrap_or_default() {
            let class = event.facts.class().unwrap_or_default().to_owned();
            // A tampered package is repaired, a fileless program explained: neither is learned.
            if !["untrusted", "config-modified"].contains(&class.as_str()) {
                continue;
            }
            let Some(sha256) = event.sha256 else {
                if self.without_digest.len() < MAX_LEARNED {
                    *self.without_digest.entry(event.path).or_default() += event.count;
                }
                continue;
            };
            let kind = event.facts.kind.name();
            if let Some((_, known, count)) = self.files.get_mut(&sha256) {
                // A program is mapped, too: that is no second run, and no library.
                if known == kind {
                    *count += event.count;
                } else if event.facts.kind == Kind::Exec {
                    (*known, *count) = (kind.to_owned(), event.count);
                }
            } else if self.files.len() >= MAX_LEARNED {
                self.not_kept += 1;
            } else {
                self.files
                    .insert(sha256, (event.path, kind.to_owned(), event.count));
            }
        }
    }

    /// How many distinct files were learned.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// True if nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// A digest manifest of what ran, to be read, cut down and signed.
    pub fn manifest(&self) -> String {
        let mut out = String::from(
            "# Proposed by `hardpan policy learn`: what ran on this host and no package vouches for.\n\
             # Read it and take out what should not run. Then vouch for the rest, and compare the digests, for both hash the\n\
             # files as they are: hardpan trust add --name NAME PATH… here, or hardpan trust sign on another machine.\n\
             schema = 1\n",
        );
        for (sha256, (path, kind, count)) in &self.files {
            let _infallible = write!(
                out,
                "\n[[file]]\nsha256 = \"{sha256}\"\npath = {}\nkind = \"{kind}\"\nseen = {count}\n",
                quote(path)
            );
        }
        out
    }

    /// A policy that goes with the manifest.
    pub fn policy(&self) -> String {
        let mut out = String::from(
            "schema = 1\ndescription = \"Proposed by `hardpan policy learn` from what ran here\"\n\n\
             # With the manifest installed these files are class \"local\", which is allowed by default;\n\
             # everything else that no package vouches for can then be refused.\n\
             [default.exec]\nuntrusted = \"deny\"\n\n[default.library]\nuntrusted = \"deny\"\n",
        );
        if !self.without_digest.is_empty() {
            out.push_str("\n# Ran without a digest in the record; look at each and hash it yourself:\n");
            for (path, count) in &self.without_digest {
                let _infallible = writeln!(out, "#   {} ({count} times)", quote(path));
            }
        }
        out
    }
}
