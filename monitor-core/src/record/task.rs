//! Records of findings about tasks.

use super::attack;
use super::cred::creds;
use super::ecs::Event;
use super::own::{Own, OwnActor, OwnCredentials, OwnDifference, OwnTask};
use super::parts::threat;
use super::text::shown;
use super::{Draft, Scene};
use crate::detect::{differences, task_text, witness_word};
use crate::event::TaskFinding;
use crate::process::capability_names;
use hardpan_abi::{TaskFindingKind, TaskResponse};

/// A record of a task that is not as its shadow has it. The scene is the task's own.
pub fn task_finding(event: &TaskFinding, scene: &Scene<'_>) -> Draft {
    let mut own = Own::default();
    let mut process = scene.process(&mut own, &event.task, &event.new);
    process.executable = scene
        .executable
        .map(|path| shown(&mut own, "process.executable", path));
    let text = task_text(event.kind);
    let found = differences(event);
    let response = match event.response {
        TaskResponse::Record => "record",
        TaskResponse::Deny => "deny",
        TaskResponse::Kill => "kill",
    };
    let list: Vec<String> = found
        .iter()
        .map(|one| format!("{} {} to {}", one.field, one.before, one.after))
        .collect();
    let actor = &event.head.task;
    let by = (event.kind == TaskFindingKind::Accessed).then(|| OwnActor {
        pid: actor.process.tgid,
        name: shown(&mut own, "Hardpan.task.by.name", &actor.comm),
    });
    let message = format!(
        "{} (pid {}) {}: {}",
        process.name.as_deref().unwrap_or("?"),
        event.task.process.tgid,
        text.what,
        if let Some(by) = &by {
            format!("{} (pid {}), by {}", by.name, by.pid, event.hook)
        } else if list.is_empty() {
            "the content is the same".to_owned()
        } else {
            list.join(", ")
        },
    );
    let had = event.old.cap_permitted | event.old.cap_effective;
    let has = event.new.cap_permitted | event.new.cap_effective;
    own.credentials = Some(OwnCredentials {
        before: creds(&event.old),
        after: creds(&event.new),
        witness: witness_word(event.witness),
        gained: capability_names(has & !had),
        lost: capability_names(had & !has),
    });
    own.task = Some(OwnTask {
        noticed_at: event.hook,
        response,
        fields: found.iter().map(|one| one.field.to_owned()).collect(),
        differences: found
            .into_iter()
            .map(|one| OwnDifference {
                field: one.field,
                before: one.before,
                after: one.after,
            })
            .collect(),
        by,
    });
    let fields = Event {
        kind: "alert",
        category: vec!["process", "intrusion_detection"],
        types: vec!["change", "info"],
        action: text.code,
        outcome: Some("unknown"),
        severity: text.severity,
        dataset: "hardpan.task",
        provider: "bpf",
        ..Event::default()
    };
    let mut draft = Draft::new(scene.at_us, 1, fields, message);
    draft.threat = Some(threat(match event.kind {
        TaskFindingKind::CredNoWitness
        | TaskFindingKind::CredRule
        | TaskFindingKind::CredEdited
        | TaskFindingKind::CredSwapped => &attack::PRIVILEGE_EXPLOIT,
        TaskFindingKind::NsRepointed | TaskFindingKind::RootMoved => &attack::ESCAPE_TO_HOST,
        TaskFindingKind::SeccompWeakened => &attack::TOOLS_IMPAIRED,
        TaskFindingKind::Accessed if event.hook == "mem_write" => &attack::PROC_MEMORY,
        TaskFindingKind::Accessed => &attack::PTRACE,
    }));
    draft.user = Some(scene.acting_user(&event.old));
    draft.container = scene.container();
    draft.process = Some(process);
    draft.own = own;
    draft
}
