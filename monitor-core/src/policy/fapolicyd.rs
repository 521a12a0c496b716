//! fapolicyd's rules into Hardpan's, and an honest list of what could not be taken over.
//!
//! fapolicyd decides opens by path, type and its trust database, in user space. Hardpan's gate decides what runs, in
//! the kernel, by digest class. So `trust=` and ids carry over; paths and types only where nothing waits for them.

use super::value::quote;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Most lines of a rules file that are read.
const MAX_LINES: usize = 10_000;

/// A translation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// The policy, in TOML.
    pub policy: String,
    /// How many rules were taken over as they are.
    pub whole: usize,
    /// How many were taken over in part, with a note.
    pub partial: usize,
    /// How many were not.
    pub left_out: usize,
    /// What could not be said, by line.
    pub notes: Vec<Note>,
}

/// Something that could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Line of the rules file.
    pub line: usize,
    /// What, why, and what to do instead.
    pub text: String,
}

/// One rule taken apart.
struct Parsed<'l> {
    decision: &'l str,
    perm: &'l str,
    subject: Vec<(&'l str, &'l str)>,
    object: Vec<(&'l str, &'l str)>,
}

/// What a rule becomes.
struct Draft {
    on: Vec<&'static str>,
    action: &'static str,
    record: bool,
    conditions: Vec<String>,
    user_space: bool,
    notes: Vec<String>,
    drop: Option<String>,
}

/// Translates `rules.d` text (as `fagenrules` joins it).
pub fn import(text: &str) -> Import {
    let mut import = Import::default();
    import.policy.push_str(
        "schema = 1\ndescription = \"Imported from fapolicyd\"\n\n# fapolicyd allows what no rule denies; Hardpan's defaults by class stay in force behind these rules.\n",
    );
    let mut sets: BTreeMap<&str, &str> = BTreeMap::new();
    let mut drafts = Vec::new();
    for (n, line) in text.lines().take(MAX_LINES).enumerate() {
        let line_number = n + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // No path or name that a policy could hold has any; a tab between words is fine.
        if line.chars().any(|c| c.is_control() && c != '\t') {
            import.left_out += 1;
            import.notes.push(Note {
                line: line_number,
                text: format!("control characters in {}", quote(line)),
            });
            continue;
        }
        if let Some((name, values)) = line.strip_prefix('%').and_then(|set| set.split_once('=')) {
            sets.insert(name.trim(), values.trim());
            continue;
        }
        let Some(rule) = parse(line) else {
            import.left_out += 1;
            import.notes.push(Note {
                line: line_number,
                text: format!("no fapolicyd rule: {}", quote(line)),
            });
            continue;
        };
        drafts.push((line_number, line, translate(&rule, &sets)));
    }
    keep_out_of_denies_way(&mut drafts);
    leave_out_decided(&mut drafts);
    for (line_number, line, draft) in &drafts {
        emit(&mut import, *line_number, line, draft);
    }
    if text.lines().nth(MAX_LINES).is_some() {
        import.notes.push(Note {
            line: MAX_LINES,
            text: format!("only the first {MAX_LINES} lines were read"),
        });
    }
    import
}

/// A rule that waits for user space cannot stand in front of a deny that the kernel gives at once.
fn keep_out_of_denies_way(drafts: &mut [(usize, &str, Draft)]) {
    let mut deny_behind: BTreeMap<&str, usize> = BTreeMap::new();
    for (line, _, draft) in drafts
        .iter_mut()
        .rev()
        .filter(|(_, _, draft)| draft.drop.is_none())
    {
        let behind = draft.on.iter().find_map(|kind| deny_behind.get(kind));
        if let (true, Some(behind)) = (draft.user_space, behind) {
            draft.drop = Some(format!(
                "it needs a path or name, which only user space knows, and line {behind} behind it denies in the kernel; \
                 without it that line decides"
            ));
        } else if draft.action == "deny" {
            for kind in &draft.on {
                deny_behind.insert(kind, *line);
            }
        }
    }
}

/// A rule that an earlier one leaves nothing to, now that file types are gone: it would never decide.
fn leave_out_decided(drafts: &mut [(usize, &str, Draft)]) {
    for n in 0..drafts.len() {
        let Some((earlier, [(_, _, draft), ..])) = drafts.split_at_mut_checked(n) else {
            return;
        };
        if draft.drop.is_some() {
            continue;
        }
        let decides = |kind: &&str| {
            let fits = |(_, _, other): &&(usize, &str, Draft)| {
                other.drop.is_none()
                    && other.on.contains(kind)
                    && other
                        .conditions
                        .iter()
                        .all(|condition| draft.conditions.contains(condition))
            };
            earlier.iter().find(fits)
        };
        let deciding: Vec<_> = draft.on.iter().map(decides).collect();
        if deciding.iter().any(Option::is_none) {
            continue;
        }
        let mut lines: Vec<usize> = deciding.iter().flatten().map(|(line, _, _)| *line).collect();
        lines.dedup();
        let agree = deciding
            .iter()
            .flatten()
            .all(|(_, _, other)| other.action == draft.action);
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let lines = lines.join(" and line ");
        draft.drop = Some(if agree {
            format!("decided already by line {lines} before it")
        } else {
            format!(
                "decided otherwise by line {lines} before it: Hardpan does not tell these types of files apart"
            )
        });
    }
}

/// `decision perm=… subject : object`; the colon stands between blanks. Older rules have none and no perm.
fn parse(line: &str) -> Option<Parsed<'_>> {
    let (left, right) = line.split_once(" : ")?;
    let mut words = left.split_whitespace();
    let decision = words.next()?;
    let known = [
        "allow",
        "deny",
        "allow_audit",
        "deny_audit",
        "allow_syslog",
        "deny_syslog",
        "allow_log",
        "deny_log",
    ];
    if !known.contains(&decision) {
        return None;
    }
    let mut perm = "open";
    let mut subject = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some(("perm", value)) => perm = value,
            Some(pair) => subject.push(pair),
            None => subject.push((word, "")),
        }
    }
    let object = right
        .split_whitespace()
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .collect();
    Some(Parsed {
        decision,
        perm,
        subject,
        object,
    })
}

fn translate<'l>(rule: &Parsed<'l>, sets: &BTreeMap<&str, &'l str>) -> Draft {
    let denies = rule.decision.starts_with("deny");
    let mut draft = Draft {
        on: kinds(rule, sets),
        action: if denies { "deny" } else { "allow" },
        record: rule.decision.contains('_'),
        conditions: Vec::new(),
        user_space: false,
        notes: Vec::new(),
        drop: None,
    };
    if draft.on.is_empty() {
        draft.drop = Some(
            "it is about opening data files; Hardpan decides executables, libraries and scripts only"
                .to_owned(),
        );
        return draft;
    }
    let types = types(rule, sets);
    if denies
        && draft.on.contains(&"script")
        && !types.is_empty()
        && !types.iter().any(|kind| of_shells(kind))
    {
        draft.notes.push(
            "it is about scripts of some languages; Hardpan does not tell them apart: shell scripts are denied too"
                .to_owned(),
        );
    }
    for (name, value) in &rule.subject {
        subject(&mut draft, name, value, sets);
    }
    for (name, value) in &rule.object {
        object(&mut draft, name, value, sets);
    }
    if draft.user_space && draft.drop.is_none() {
        if denies {
            draft.action = "alert";
            draft.notes.push(
                "was a deny; it needs an attribute the kernel cannot decide in time, so it became an alert: \
                 deny by class, digest, uid or file system instead"
                    .to_owned(),
            );
        } else {
            draft.drop = Some(
                "an allow by path, name or the trust of who runs it would have to be waited for in front of every deny; \
                 put the program's digest into a manifest (hardpan trust add), or its package is trusted already"
                    .to_owned(),
            );
        }
    }
    draft
}

/// The types of files that a rule is about; none: of any.
fn types<'l>(rule: &Parsed<'l>, sets: &BTreeMap<&str, &'l str>) -> Vec<&'l str> {
    let types = rule.object.iter().filter(|(name, _)| *name == "ftype");
    types.flat_map(|(_, value)| members(value, sets)).collect()
}

/// A shell's scripts are among them.
fn of_shells(kind: &str) -> bool {
    ["text/x-shellscript", "any"].contains(&kind)
}

/// Which of Hardpan's events a rule's permission and object type mean.
fn kinds<'l>(rule: &Parsed<'l>, sets: &BTreeMap<&str, &'l str>) -> Vec<&'static str> {
    let types = types(rule, sets);
    let executable = types.is_empty()
        || types
            .iter()
            .any(|kind| *kind == "application/x-executable" || *kind == "any");
    let library = types.is_empty()
        || types
            .iter()
            .any(|kind| *kind == "application/x-sharedlib" || *kind == "any");
    let script = types.is_empty()
        || types.iter().any(|kind| {
            kind.starts_with("text/x-") || *kind == "application/x-bytecode.python" || *kind == "any"
        });
    let mut kinds = Vec::new();
    // perm=open without a type is about data as well; what of it Hardpan gates are libraries and scripts.
    if ["execute", "any"].contains(&rule.perm) && executable {
        kinds.push("exec");
    }
    if ["open", "any"].contains(&rule.perm) && library {
        kinds.push("library");
    }
    if ["open", "any"].contains(&rule.perm) && script {
        kinds.push("script");
    }
    kinds
}

fn members<'l>(value: &'l str, sets: &BTreeMap<&str, &'l str>) -> Vec<&'l str> {
    let value = value
        .strip_prefix('%')
        .and_then(|name| sets.get(name).copied())
        .unwrap_or(value);
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect()
}

fn subject(draft: &mut Draft, name: &str, value: &str, sets: &BTreeMap<&str, &str>) {
    let members = members(value, sets);
    match name {
        "all" => {}
        "uid" | "gid" | "auid" => {
            let attribute = if name == "auid" { "loginuid" } else { name };
            match ids(&members) {
                Some(list) => draft.conditions.push(format!("subject.{attribute} = [{list}]")),
                None => {
                    draft.drop = Some(format!(
                        "{name}={value} names a user or group; Hardpan takes numbers"
                    ));
                }
            }
        }
        "trust" => {
            // Programs that hash cannot look at what runs.
            draft.user_space = true;
            draft.conditions.push(trust("subject", value));
        }
        "exe" => paths(draft, "subject.exe", &members, ""),
        "dir" | "exe_dir" => paths(draft, "subject.exe", &members, "**"),
        "comm" => {
            draft.user_space = true;
            draft
                .conditions
                .push(format!("subject.comm = [{}]", texts(&members)));
        }
        "pattern" => {
            draft.drop = Some(match value {
                "ld_so" | "ld_preload" => format!(
                    "pattern={value} is not needed: Hardpan gates every library by digest, however it is loaded"
                ),
                _ => format!("pattern={value} has no counterpart"),
            });
        }
        _ => draft.drop = Some(format!("the subject's {name}= has no counterpart")),
    }
}

fn object(draft: &mut Draft, name: &str, value: &str, sets: &BTreeMap<&str, &str>) {
    let members = members(value, sets);
    match name {
        // ftype has chosen the kinds of events.
        "all" | "ftype" => {}
        "trust" => draft.conditions.push(trust("object", value)),
        "path" => paths(draft, "object.path", &members, ""),
        "dir" => paths(draft, "object.path", &members, "**"),
        "filehash" | "sha256hash" => {
            let good = members
                .iter()
                .all(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
            if good && !members.is_empty() {
                draft
                    .conditions
                    .push(format!("object.digest = [{}]", texts(&members)));
            } else {
                draft.drop = Some(format!("{name}={value} is no SHA-256 digest"));
            }
        }
        "device" => draft.drop = Some("device= names a device file; Hardpan takes major:minor".to_owned()),
        _ => draft.drop = Some(format!("the object's {name}= has no counterpart")),
    }
}

/// fapolicyd's trust is "in the database"; Hardpan's classes tell more.
fn trust(side: &str, value: &str) -> String {
    if value == "1" {
        format!("{side}.class = [\"trusted\", \"local\", \"provisional\", \"retired\"]")
    } else {
        format!("{side}.class = {{ not = [\"trusted\", \"local\", \"provisional\", \"retired\"] }}")
    }
}

fn paths(draft: &mut Draft, attribute: &str, members: &[&str], suffix: &str) {
    let mut globs = Vec::new();
    for member in members {
        match *member {
            "execdirs" => globs.extend(
                [
                    "/usr/**",
                    "/bin/**",
                    "/sbin/**",
                    "/lib/**",
                    "/lib64/**",
                    "/usr/libexec/**",
                ]
                .map(str::to_owned),
            ),
            "systemdirs" => globs.extend(
                [
                    "/etc/**",
                    "/usr/**",
                    "/bin/**",
                    "/sbin/**",
                    "/lib/**",
                    "/lib64/**",
                    "/usr/libexec/**",
                ]
                .map(str::to_owned),
            ),
            "untrusted" => {
                draft
                    .conditions
                    .push(trust(attribute.split('.').next().unwrap_or("object"), "0"));
            }
            path if path.starts_with('/') => globs.push(format!("{path}{suffix}")),
            other => {
                draft.drop = Some(format!("{other:?} is no absolute path"));
                return;
            }
        }
    }
    if !globs.is_empty() {
        draft.user_space = true;
        let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
        draft
            .conditions
            .push(format!("{attribute} = [{}]", texts(&globs)));
    }
}

fn ids(members: &[&str]) -> Option<String> {
    let numbers: Option<Vec<u32>> = members.iter().map(|member| member.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| !numbers.is_empty())?;
    Some(numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
}

fn texts(items: &[&str]) -> String {
    items
        .iter()
        .map(|item| quote(item))
        .collect::<Vec<_>>()
        .join(", ")
}

fn emit(import: &mut Import, line: usize, source: &str, draft: &Draft) {
    if let Some(why) = &draft.drop {
        import.left_out += 1;
        import.notes.push(Note {
            line,
            text: why.clone(),
        });
        let _infallible = write!(import.policy, "\n# line {line} left out: {}\n", quote(source));
        return;
    }
    if draft.notes.is_empty() {
        import.whole += 1;
    } else {
        import.partial += 1;
        import.notes.extend(draft.notes.iter().map(|text| Note {
            line,
            text: text.clone(),
        }));
    }
    let on: Vec<String> = draft.on.iter().map(|kind| quote(kind)).collect();
    let out = &mut import.policy;
    let _infallible = write!(
        out,
        "\n# line {line}: {}\n[[rules.append]]\nname = \"fapolicyd-{line}\"\non = [{}]\naction = \"{}\"\n",
        quote(source),
        on.join(", "),
        draft.action
    );
    if draft.action == "deny" {
        out.push_str("needs_tier = \"B\"\nbelow = \"alert\"\n");
    }
    if draft.record {
        out.push_str("record = true\n");
    }
    // Two trust conditions can come from trust= and dir=untrusted: the same key must not be written twice.
    let mut written = Vec::new();
    for condition in &draft.conditions {
        let key = condition.split(" = ").next().unwrap_or_default();
        if !written.contains(&key) {
            written.push(key);
            let _infallible = writeln!(out, "{condition}");
        }
    }
}
