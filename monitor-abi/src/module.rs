//! Kernel module records.

use crate::{CredIds, EventHeader, FileInfo, OBJECT_NAME_LEN};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `MODULE_NAME_LEN` of the kernel: 64 minus the size of a long, terminating NUL included.
pub const MODULE_NAME_LEN: usize = 56;

/// Which way the module's image came in. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ModuleOrigin {
    /// Neither LSM hook announced it (hooks not attached).
    Unknown = 0,
    /// `finit_module`: the kernel read a file; `file` is filled.
    File = 1,
    /// `init_module`: an image from user memory (kmod unpacked a `.ko.xz`, or anything else).
    Memory = 2,
}

impl ModuleOrigin {
    /// The origin with this number, if there is one.
    pub const fn from_u32(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::Unknown),
            1 => Some(Self::File),
            2 => Some(Self::Memory),
            _ => None,
        }
    }
}

/// What the LSM hooks learned of the module image this thread is loading. Kernel side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ModuleNote {
    /// The file read, for [`ModuleOrigin::File`].
    pub file: FileInfo,
    /// A [`ModuleOrigin`] number.
    pub origin: u32,
    /// 1: it carries a signature, which the kernel is about to check.
    pub signature: u32,
    /// Its name, NUL padded, where the image told it.
    pub name: [u8; OBJECT_NAME_LEN],
}

/// A module was loaded or is about to be freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ModuleEvent {
    /// The common head.
    pub header: EventHeader,
    /// Credentials of the loading task.
    pub creds: CredIds,
    /// The file the kernel read, for [`ModuleOrigin::File`], else zero.
    pub file: FileInfo,
    /// `module->taints`: bit = `TAINT_*` number.
    pub taints: u64,
    /// A [`ModuleOrigin`] number.
    pub origin: u32,
    /// 1 signature checked and good, 0 not, `u32::MAX` the kernel does not tell (`CONFIG_MODULE_SIG=n`).
    pub sig_ok: u32,
    /// Name, NUL padded.
    pub name: [u8; MODULE_NAME_LEN],
}

const _: () = {
    assert!(size_of::<ModuleEvent>() == 144 + 80 + 64 + 8 + 8 + 56);
};
