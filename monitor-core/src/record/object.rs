//! Records of modules, BPF programs and other processes that the gate was asked about.

use super::attack;
use super::gate::{action, fields, words};
use super::own::{Own, OwnGate, OwnObject, OwnPolicy};
use super::parts::threat;
use super::text::shown;
use super::{Draft, Scene};
use crate::event::ObjectEvent;
use crate::policy::gate::{bpf_program_type_name, class_word, object_class_word};
use crate::policy::rule::Rule;
use hardpan_abi::GateKind;

/// A record of what the gate refused or alerts about. `rule` is the one that decided in the kernel.
pub fn object(event: &ObjectEvent, rule: Option<&Rule>, scene: &Scene<'_>) -> Draft {
    let mut own = Own::default();
    let mut process = scene.process(&mut own, &event.head.task, &event.creds);
    process.executable = scene
        .executable
        .map(|path| shown(&mut own, "process.executable", path));
    let name = shown(&mut own, "gate.object.name", &event.name);
    let program_type = (event.kind == GateKind::Bpf).then(|| {
        bpf_program_type_name(event.program_type)
            .map_or_else(|| event.program_type.to_string(), str::to_owned)
    });
    let what = match (event.kind, &program_type) {
        (GateKind::Bpf, Some(kind)) if name.is_empty() => format!("a BPF program of type {kind}"),
        (GateKind::Bpf, Some(kind)) => format!("the BPF program {name} of type {kind}"),
        (GateKind::Ptrace, _) => format!("process {} ({name}) of uid {}", event.target, event.target_uid),
        _ if name.is_empty() => "a kernel module whose name could not be read".to_owned(),
        _ => format!("the kernel module {name}"),
    };
    let (noun, verb) = words(event.kind);
    let class = object_class_word(event.class);
    let by = process.name.as_deref().unwrap_or("?");
    let pid = event.head.task.process.tgid;
    let may = if event.refused { "may not" } else { "was let to" };
    let mut message = format!("{what} {may} be {verb} by {by} (pid {pid}): {class}");
    if let Some(rule) = rule {
        message.push_str(", rule ");
        message.push_str(&rule.name);
    }
    let mut why = Vec::new();
    if event.doubt {
        why.push("doubt");
    }
    if event.grace {
        why.push("boot-grace");
        message.push_str("; not refused so soon after boot");
    }
    let is_other = event.kind == GateKind::Ptrace;
    own.gate = Some(OwnGate {
        kind: noun,
        hook: event.hook.name(),
        class,
        refused: event.refused,
        why,
        object: Some(OwnObject {
            name,
            program_type,
            pid: is_other.then_some(event.target),
            uid: is_other.then(|| event.target_uid.to_string()),
            subject_class: class_word(event.subject),
        }),
    });
    own.policy = OwnPolicy {
        action: Some(action(event.action)),
        rule: rule.map(|rule| rule.name.clone()),
        origin: rule.map(|rule| rule.origin.to_string()),
        ..OwnPolicy::default()
    };
    let category = match event.kind {
        GateKind::Module => "driver",
        _ => "process",
    };
    let fields = fields(event.kind, event.refused, category);
    let mut draft = Draft::new(scene.at_us, 1, fields, message);
    draft.threat = match event.kind {
        GateKind::Module => Some(&attack::KERNEL_MODULE),
        GateKind::Ptrace => Some(&attack::PTRACE),
        _ => None,
    }
    .map(threat);
    draft.user = Some(scene.acting_user(&event.creds));
    draft.container = scene.container();
    draft.process = Some(process);
    draft.own = own;
    draft
}
