//! Kernel modules.

use super::decode::{DecodeError, head, part};
use super::{Head, RawText};
use hardpan_abi::{CredIds, FileInfo, ModuleEvent, ModuleOrigin};

/// What happened to the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleAction {
    /// It entered the kernel; its init function has not run yet.
    Load,
    /// It is about to be freed.
    Free,
}

/// What the kernel says of a module's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureState {
    /// Signed by a key the kernel trusts.
    Good,
    /// Unsigned, or signed by an unknown key.
    NotGood,
    /// The kernel does not tell (`CONFIG_MODULE_SIG=n`).
    Unknown,
}

/// A module was loaded or is about to be freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleChange {
    /// When, where, who.
    pub head: Head,
    /// Load or free.
    pub action: ModuleAction,
    /// Credentials of the task.
    pub creds: CredIds,
    /// Name.
    pub name: RawText,
    /// Which way the image came in.
    pub origin: ModuleOrigin,
    /// The file the kernel read, if it read one.
    pub file: Option<FileInfo>,
    /// Signature.
    pub signature: SignatureState,
    /// `module->taints`: bit = `TAINT_*` number.
    pub taints: u64,
}

impl ModuleChange {
    pub(super) fn decode(record: &[u8], action: ModuleAction) -> Result<Self, DecodeError> {
        let (wire, _) = part::<ModuleEvent>(record)?;
        let origin = ModuleOrigin::from_u32(wire.origin).ok_or_else(|| DecodeError::UnknownNumber {
            field: "origin",
            number: u64::from(wire.origin),
        })?;
        let signature = match wire.sig_ok {
            0 => SignatureState::NotGood,
            1 => SignatureState::Good,
            u32::MAX => SignatureState::Unknown,
            other => {
                return Err(DecodeError::UnknownNumber {
                    field: "sig_ok",
                    number: u64::from(other),
                });
            }
        };
        Ok(Self {
            head: head(&wire.header),
            action,
            creds: wire.creds,
            name: RawText::from_padded(&wire.name),
            origin,
            file: (origin == ModuleOrigin::File).then_some(wire.file),
            signature,
            taints: wire.taints,
        })
    }
}
