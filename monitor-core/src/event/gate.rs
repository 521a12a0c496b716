//! What the exec gate tells.

use super::decode::{DecodeError, head, part};
use super::exec::{digest, text};
use super::{Head, KernelDigest, RawText};
use hardpan_abi::{
    CredIds, FileInfo, GATE_NO_RULE, GateAction, GateClass, GateEvent as Wire, GateHook, GateKind,
    WriteClass, gate_flag,
};

/// The gate refused something, or alerts about a mapping or a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateEvent {
    /// When, where, who.
    pub head: Head,
    /// Credentials of the task.
    pub creds: CredIds,
    /// What was to be done with the file.
    pub kind: GateKind,
    /// What the kernel side knew of it; nothing of what is [`written`](Self::written) to.
    pub class: GateClass,
    /// What is written to, where that is what counts ([`GateKind::Write`]).
    pub written: Option<WriteClass>,
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
    /// Set-user-id or set-group-id where no packaged file with this content is.
    pub setid_not_signed: bool,
    /// Capabilities that no packaged file with this content gives.
    pub caps_not_signed: bool,
    /// The file was given to an interpreter as an argument.
    pub argument: bool,
    /// The content could not be had: the answer is the one for doubt.
    pub doubt: bool,
    /// A private copy of the file that was written to.
    pub private_copy: bool,
    /// The digest was remembered.
    pub digest_cached: bool,
    /// The file.
    pub file: FileInfo,
    /// What the kernel says of its content.
    pub digest: KernelDigest,
    /// Its path as seen from the task's root, where the kernel told it.
    pub path: Option<RawText>,
}

impl GateEvent {
    pub(super) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (wire, _) = part::<Wire>(record)?;
        let flag = |bit: u32| wire.flags & bit != 0;
        let unknown = |field: &'static str, number: u32| DecodeError::UnknownNumber {
            field,
            number: u64::from(number),
        };
        let action = u8::try_from(wire.action).ok().and_then(GateAction::from_u8);
        let used = u16::try_from(wire.path_bytes).unwrap_or(u16::MAX);
        let path = text("path", &wire.path, used)?;
        let state =
            u8::try_from(wire.digest_state).map_err(|_large| unknown("digest_state", wire.digest_state))?;
        let kind = GateKind::from_u32(wire.kind).ok_or_else(|| unknown("kind", wire.kind))?;
        let unknown_class = || unknown("class", wire.class);
        let (class, written) = if kind == GateKind::Write {
            let written = WriteClass::from_u32(wire.class).ok_or_else(unknown_class)?;
            (GateClass::Unknown, Some(written))
        } else {
            let class = GateClass::from_u32(wire.class).ok_or_else(unknown_class)?;
            (class, None)
        };
        Ok(Self {
            head: head(&wire.header),
            creds: wire.creds,
            kind,
            class,
            written,
            action: action.ok_or_else(|| unknown("action", wire.action))?,
            hook: GateHook::from_u32(wire.hook).ok_or_else(|| unknown("hook", wire.hook))?,
            rule: Some(wire.rule).filter(|rule| *rule != GATE_NO_RULE),
            refused: flag(gate_flag::REFUSED),
            grace: flag(gate_flag::GRACE),
            setid_not_signed: flag(gate_flag::SETID_NOT_SIGNED),
            caps_not_signed: flag(gate_flag::CAPS_NOT_SIGNED),
            argument: flag(gate_flag::ARGUMENT),
            doubt: flag(gate_flag::DOUBT),
            private_copy: flag(gate_flag::PRIVATE_COPY),
            digest_cached: flag(gate_flag::DIGEST_CACHED),
            file: wire.file,
            digest: digest(state, &wire.digest, wire.digest_errno)?,
            path: flag(gate_flag::PATH_FROM_KERNEL).then(|| RawText::from_padded(path)),
        })
    }
}
