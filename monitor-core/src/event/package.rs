//! Packages that package managers open.

use super::decode::{DecodeError, head, part};
use super::exec::text;
use super::{Head, RawText};
use hardpan_abi::{CredIds, FileInfo, PackageEvent};

/// A package manager, run by root, opened a file named `*.rpm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageOpened {
    /// When, where, who.
    pub head: Head,
    /// Credentials of the task.
    pub creds: CredIds,
    /// The file.
    pub file: FileInfo,
    /// Its path as seen from the task's root.
    pub path: RawText,
    /// The package manager's number in the kernel's map of those that take the lock of the package database.
    pub manager: u32,
}

impl PackageOpened {
    pub(super) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (wire, _) = part::<PackageEvent>(record)?;
        let used = u16::try_from(wire.path_bytes).unwrap_or(u16::MAX);
        Ok(Self {
            head: head(&wire.header),
            creds: wire.creds,
            file: wire.file,
            path: RawText::from_padded(text("path", &wire.path, used)?),
            manager: wire.manager,
        })
    }
}
