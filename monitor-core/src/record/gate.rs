//! Records of the exec gate.

use super::attack::{self, Technique};
use super::ecs::{Event, File, Hash};
use super::exec::{FileFacts, explain, own_file, technique};
use super::own::{Own, OwnGate, OwnPolicy};
use super::parts::{code_signature, file_fields, package_fields, threat};
use super::text::shown;
use super::{Draft, Scene};
use crate::event::GateEvent;
use crate::policy::gate::{class_word, write_class_word};
use crate::policy::rule::Rule;
use crate::verdict::Verdict;
use hardpan_abi::{GateAction, GateHook, GateKind, WriteClass};

/// What was found out about what the gate was asked about.
#[derive(Debug)]
pub struct GateFacts<'a> {
    /// The file.
    pub file: FileFacts,
    /// What Hardpan says of it.
    pub verdict: Verdict,
    /// The rule that decided in the kernel.
    pub rule: Option<&'a Rule>,
}

/// A record of what the gate refused or alerts about.
pub fn gate(event: &GateEvent, facts: &GateFacts<'_>, scene: &Scene<'_>) -> Draft {
    // Of what is protected, and of devices, nobody asks who vouches for them.
    let judged = !matches!(
        event.written,
        Some(WriteClass::Protected | WriteClass::Replaced | WriteClass::BlockDevice)
    );
    let mut own = Own {
        verdict: judged.then(|| facts.verdict.word()),
        ..Own::default()
    };
    let mut process = scene.process(&mut own, &event.head.task, &event.creds);
    process.executable = scene
        .executable
        .map(|path| shown(&mut own, "process.executable", path));
    let file = own_file(&mut own, "file.path", &facts.file, &facts.verdict);
    let name = file
        .path
        .clone()
        .unwrap_or_else(|| format!("inode {} of device {}", event.file.ino, device(event.file.dev)));
    let mut why = Vec::new();
    let mut reasons: Vec<String> = judged
        .then(|| explain(&facts.verdict, &file))
        .into_iter()
        .collect();
    for (is, word, text) in notes(event) {
        if is {
            why.push(word);
            reasons.push(text.to_owned());
        }
    }
    let (noun, mut verb) = words(event.kind);
    if let Some(class) = event.written {
        let (done, because) = written(class, event.hook);
        verb = done;
        reasons.push(because.to_owned());
    }
    let message = format!(
        "{name} {} be {verb} by {} (pid {}){}{}",
        if event.refused { "may not" } else { "was let to" },
        process.name.as_deref().unwrap_or("?"),
        event.head.task.process.tgid,
        if reasons.is_empty() { "" } else { ": " },
        reasons.join("; "),
    );
    own.gate = Some(OwnGate {
        kind: noun,
        hook: event.hook.name(),
        class: event
            .written
            .map_or_else(|| class_word(event.class).unwrap_or("unknown"), write_class_word),
        refused: event.refused,
        why,
        object: None,
    });
    own.policy = OwnPolicy {
        action: Some(action(event.action)),
        rule: facts.rule.map(|rule| rule.name.clone()),
        origin: facts.rule.map(|rule| rule.origin.to_string()),
        ..OwnPolicy::default()
    };
    let mut draft = Draft::new(
        scene.at_us,
        1,
        fields(event.kind, event.refused, "process"),
        message,
    );
    draft.file = Some(File {
        path: file.path.clone(),
        name: facts
            .file
            .path
            .as_ref()
            .map(|(path, _)| path.file_name().text().into_owned()),
        hash: file.sha256.clone().map(|sha256| Hash { sha256 }),
        code_signature: judged.then(|| code_signature(&facts.verdict)),
        ..file_fields(&event.file)
    });
    draft.package = facts
        .verdict
        .owner()
        .map(|file| package_fields(&file.package, file.origin));
    draft.threat = technique_of(event, judged, &facts.verdict).map(threat);
    draft.user = Some(scene.acting_user(&event.creds));
    draft.container = scene.container();
    draft.process = Some(process);
    own.file = Some(file);
    draft.own = own;
    draft
}

/// What was found on the way to the verdict: whether it holds, its word in records, and as a text.
const fn notes(event: &GateEvent) -> [(bool, &'static str, &'static str); 6] {
    [
        (
            event.setid_not_signed,
            "setid-not-signed",
            "set-id, which no package makes this content",
        ),
        (
            event.caps_not_signed,
            "caps-not-signed",
            "it gives capabilities, which no package gives this content",
        ),
        (event.argument, "argument", "given to an interpreter"),
        (
            event.private_copy,
            "private-copy",
            "a copy in memory that was written to",
        ),
        (event.doubt, "doubt", "its content could not be had in the kernel"),
        (event.grace, "boot-grace", "not refused so soon after boot"),
    ]
}

/// The technique that it looks like.
fn technique_of(event: &GateEvent, judged: bool, verdict: &Verdict) -> Option<&'static Technique> {
    match (event.kind, event.setid_not_signed || event.caps_not_signed) {
        (_, true) => Some(&attack::SETID),
        (GateKind::Library, _) => Some(&attack::HIJACKED_LIBRARY),
        (GateKind::WriteRunning, _) => Some(&attack::BINARY_REPLACED),
        (GateKind::Write, _) if judged => Some(&attack::BINARY_REPLACED),
        (GateKind::Write, _) => Some(&attack::DATA_MANIPULATED),
        _ => technique(verdict),
    }
}

/// The kind as records name it, and what was to be done with the file.
pub(super) const fn words(kind: GateKind) -> (&'static str, &'static str) {
    match kind {
        GateKind::Exec => ("exec", "run"),
        GateKind::Library => ("library", "mapped executable"),
        GateKind::Script => ("script", "run"),
        GateKind::WriteRunning => ("file-write", "opened for writing while it is in use"),
        GateKind::Write => ("file-write", "written to"),
        // Told by `object`.
        GateKind::Module => ("module", "loaded"),
        GateKind::Bpf => ("bpf", "loaded"),
        GateKind::Ptrace => ("ptrace", "taken hold of"),
    }
}

/// What was to be done with what is written to, and why that matters.
const fn written(class: WriteClass, hook: GateHook) -> (&'static str, &'static str) {
    let verb = match hook {
        GateHook::InodeSetattr => "cut",
        GateHook::InodeUnlink => "removed",
        GateHook::InodeRename => "replaced by another file",
        _ => "opened for writing",
    };
    let because = match class {
        WriteClass::Packaged => "it was judged as a package's",
        WriteClass::Protected | WriteClass::Replaced => "the policy protects it",
        WriteClass::BlockDevice => "a file system on it is mounted",
    };
    (verb, because)
}

/// What happened, as ECS says it. `category` beside intrusion detection.
pub(super) fn fields(kind: GateKind, refused: bool, category: &'static str) -> Event {
    Event {
        kind: "alert",
        category: vec![category, "intrusion_detection"],
        types: vec![if refused { "denied" } else { "info" }],
        action: action_word(kind, refused),
        outcome: Some(if refused { "failure" } else { "success" }),
        reason: Some(if refused { "refused" } else { "allowed" }.to_owned()),
        severity: if refused { 4 } else { 3 },
        dataset: "hardpan.gate",
        provider: "bpf",
        ..Event::default()
    }
}

/// `event.action`.
const fn action_word(kind: GateKind, refused: bool) -> &'static str {
    match (kind, refused) {
        (GateKind::Exec, true) => "exec-refused",
        (GateKind::Exec, false) => "exec-alert",
        (GateKind::Library, true) => "library-refused",
        (GateKind::Library, false) => "library-alert",
        (GateKind::Script, true) => "script-refused",
        (GateKind::Script, false) => "script-alert",
        (GateKind::WriteRunning | GateKind::Write, true) => "file-write-refused",
        (GateKind::WriteRunning | GateKind::Write, false) => "file-write-alert",
        (GateKind::Module, true) => "kernel-module-refused",
        (GateKind::Module, false) => "kernel-module-alert",
        (GateKind::Bpf, true) => "bpf-load-refused",
        (GateKind::Bpf, false) => "bpf-load-alert",
        (GateKind::Ptrace, true) => "ptrace-refused",
        (GateKind::Ptrace, false) => "ptrace-alert",
    }
}

pub(super) const fn action(action: GateAction) -> &'static str {
    match action {
        GateAction::Allow => "allow",
        GateAction::Alert => "alert",
        GateAction::Deny => "deny",
        GateAction::Kill => "kill",
    }
}

fn device(dev: u32) -> String {
    format!("{}:{}", dev >> 20, dev & 0xf_ffff)
}
