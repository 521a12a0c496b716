//! Findings about tasks.

use super::decode::{DecodeError, head, part};
use super::{Head, Task};
use hardpan_abi::{
    CredIds, TaskFindingEvent, TaskFindingKind, TaskHook, TaskResponse, TaskRest, TaskWitness,
};

/// The kernel side found a task other than its shadow has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFinding {
    /// When, where, who was running.
    pub head: Head,
    /// The task concerned.
    pub task: Task,
    /// What is wrong.
    pub kind: TaskFindingKind,
    /// The hook that noticed it, as records name it.
    pub hook: &'static str,
    /// The way that had announced a change.
    pub witness: TaskWitness,
    /// What was done about it.
    pub response: TaskResponse,
    /// Credentials as the shadow has them.
    pub old: CredIds,
    /// Credentials found.
    pub new: CredIds,
    /// The rest as the shadow has it.
    pub old_rest: TaskRest,
    /// The rest found.
    pub new_rest: TaskRest,
}

impl TaskFinding {
    pub(super) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (wire, _) = part::<TaskFindingEvent>(record)?;
        let unknown = |field, number: u32| DecodeError::UnknownNumber {
            field,
            number: u64::from(number),
        };
        Ok(Self {
            head: head(&wire.header),
            task: Task::from_wire(&wire.task),
            kind: TaskFindingKind::from_u32(wire.kind).ok_or_else(|| unknown("kind", wire.kind))?,
            hook: TaskHook::name(wire.hook).ok_or_else(|| unknown("hook", wire.hook))?,
            witness: TaskWitness::from_u32(wire.witness).ok_or_else(|| unknown("witness", wire.witness))?,
            response: TaskResponse::from_u32(wire.response)
                .ok_or_else(|| unknown("response", wire.response))?,
            old: wire.old,
            new: wire.new,
            old_rest: wire.old_rest,
            new_rest: wire.new_rest,
        })
    }
}
