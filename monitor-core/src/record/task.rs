//! Records of findings about tasks.

use super::attack;
use super::cred::creds;
use super::ecs::Event;
use super::own::{Own, OwnActor, OwnCredentials, OwnDifference, OwnFreeze, OwnTask};
use super::parts::threat;
use super::text::shown;
use super::{Draft, Scene};
use crate::detect::{differences, task_text, witness_word};
use crate::event::TaskFinding;
use crate::process::capability_names;
use hardpan_abi::{TaskFindingKind, TaskResponse};

/// What became of the cgroup of a tampered task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Its path from the root of the hierarchy; `None` if it is not known.
    pub cgroup: Option<String>,
    /// What became of it.
    pub outcome: FreezeOutcome,
}

/// How freezing a cgroup went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FreezeOutcome {
    /// It stands still.
    Frozen,
    /// It did already.
    AlreadyFrozen,
    /// It was left alone, since the host needs it.
    Refused(&'static str),
    /// It could not be frozen.
    Failed(String),
}

impl Draft {
    /// Notes what became of the task's cgroup. Records of other things stay as they are.
    pub fn froze(&mut self, freeze: &Freeze) {
        let Some(task) = &mut self.own.task else { return };
        let cgroup = freeze.cgroup.as_deref().unwrap_or("?");
        let (outcome, reason, text) = match &freeze.outcome {
            FreezeOutcome::Frozen => ("frozen", None, format!("cgroup {cgroup} frozen")),
            FreezeOutcome::AlreadyFrozen => ("already-frozen", None, format!("cgroup {cgroup} is frozen")),
            FreezeOutcome::Refused(why) => (
                "refused",
                Some((*why).to_owned()),
                format!("cgroup {cgroup} not frozen: {why}"),
            ),
            FreezeOutcome::Failed(why) => (
                "failed",
                Some(why.clone()),
                format!("cgroup {cgroup} could not be frozen: {why}"),
            ),
        };
        self.message.push_str("; ");
        self.message.push_str(&text);
        task.freeze = Some(OwnFreeze {
            cgroup: freeze.cgroup.clone(),
            outcome,
            reason,
        });
    }
}

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
        freeze: None,
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
        | TaskFindingKind::CredSwapped
        | TaskFindingKind::AddressLimit => &attack::PRIVILEGE_EXPLOIT,
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
