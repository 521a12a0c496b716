//! What the gate tells of modules, BPF programs and other processes.

use super::decode::{DecodeError, head, part};
use super::{Head, RawText};
use hardpan_abi::{
    CredIds, GATE_NO_RULE, GateAction, GateClass, GateHook, GateKind, ObjectClass, ObjectEvent as Wire,
    gate_flag,
};

/// The gate refused something that is no file, or alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEvent {
    /// When, where, who.
    pub head: Head,
    /// Credentials of the task.
    pub creds: CredIds,
    /// What was to be done.
    pub kind: GateKind,
    /// What the kernel side knew of it.
    pub class: ObjectClass,
    /// What the policy says.
    pub action: GateAction,
    /// Where the gate was asked.
    pub hook: GateHook,
    /// Index of the kernel side's rule that decided.
    pub rule: Option<u32>,
    /// It was refused.
    pub refused: bool,
    /// It would have been refused, were it not for the grace after boot.
    pub grace: bool,
    /// Its name could not be had: the answer is the one for doubt.
    pub doubt: bool,
    /// Class of the running program; `Unknown`: nobody can tell, or no rule asked.
    pub subject: GateClass,
    /// BPF: number of the program's type.
    pub program_type: u32,
    /// Ptrace: the other process.
    pub target: u32,
    /// Ptrace: its effective user id.
    pub target_uid: u32,
    /// Name of the module or BPF program; command name of the other process.
    pub name: RawText,
}

impl ObjectEvent {
    pub(super) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (wire, _) = part::<Wire>(record)?;
        let flag = |bit: u32| wire.flags & bit != 0;
        let unknown = |field: &'static str, number: u32| DecodeError::UnknownNumber {
            field,
            number: u64::from(number),
        };
        let action = u8::try_from(wire.action).ok().and_then(GateAction::from_u8);
        let kind = GateKind::from_u32(wire.kind).filter(|kind| !kind.is_of_files());
        Ok(Self {
            head: head(&wire.header),
            creds: wire.creds,
            kind: kind.ok_or_else(|| unknown("kind", wire.kind))?,
            class: ObjectClass::from_u32(wire.class).ok_or_else(|| unknown("class", wire.class))?,
            action: action.ok_or_else(|| unknown("action", wire.action))?,
            hook: GateHook::from_u32(wire.hook).ok_or_else(|| unknown("hook", wire.hook))?,
            rule: Some(wire.rule).filter(|rule| *rule != GATE_NO_RULE),
            refused: flag(gate_flag::REFUSED),
            grace: flag(gate_flag::GRACE),
            doubt: flag(gate_flag::DOUBT),
            subject: GateClass::from_u32(wire.subject).ok_or_else(|| unknown("subject", wire.subject))?,
            program_type: wire.program_type,
            target: wire.target,
            target_uid: wire.target_uid,
            name: RawText::from_padded(&wire.name),
        })
    }
}
