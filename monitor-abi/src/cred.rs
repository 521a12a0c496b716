//! Credential records.

use crate::EventHeader;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The ids and capability sets of a `struct cred`. 80 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CredIds {
    /// Real user id, in the initial user namespace (as all ids here).
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Saved user id.
    pub suid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// File-system user id.
    pub fsuid: u32,
    /// File-system group id.
    pub fsgid: u32,
    /// Inheritable capabilities, bit = `CAP_*` number.
    pub cap_inheritable: u64,
    /// Permitted capabilities.
    pub cap_permitted: u64,
    /// Effective capabilities.
    pub cap_effective: u64,
    /// Bounding set.
    pub cap_bset: u64,
    /// Ambient capabilities.
    pub cap_ambient: u64,
    /// `SECBIT_*` flags.
    pub securebits: u32,
    /// Inode number of the user namespace; 0 if unknown.
    pub user_ns: u32,
}

impl CredIds {
    /// All zero: a place to read into.
    pub const EMPTY: Self = Self {
        uid: 0,
        gid: 0,
        suid: 0,
        sgid: 0,
        euid: 0,
        egid: 0,
        fsuid: 0,
        fsgid: 0,
        cap_inheritable: 0,
        cap_permitted: 0,
        cap_effective: 0,
        cap_bset: 0,
        cap_ambient: 0,
        securebits: 0,
        user_ns: 0,
    };

    /// Field by field comparison without a branch: the derived one becomes a `memcmp` call, which BPF has not, and a
    /// branch per field is 2^15 paths for an old verifier.
    #[expect(
        clippy::inline_always,
        reason = "calls between BPF functions cost stack and confuse old verifiers"
    )]
    #[inline(always)]
    pub const fn same_as(&self, other: &Self) -> bool {
        let narrow = (self.uid ^ other.uid)
            | (self.gid ^ other.gid)
            | (self.suid ^ other.suid)
            | (self.sgid ^ other.sgid)
            | (self.euid ^ other.euid)
            | (self.egid ^ other.egid)
            | (self.fsuid ^ other.fsuid)
            | (self.fsgid ^ other.fsgid)
            | (self.securebits ^ other.securebits)
            | (self.user_ns ^ other.user_ns);
        let wide = (self.cap_inheritable ^ other.cap_inheritable)
            | (self.cap_permitted ^ other.cap_permitted)
            | (self.cap_effective ^ other.cap_effective)
            | (self.cap_bset ^ other.cap_bset)
            | (self.cap_ambient ^ other.cap_ambient);
        narrow as u64 | wide == 0
    }
}

/// Which lawful way announced the change. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum CredWitness {
    /// No hook announced it. By itself no proof of anything: keyrings and LSMs commit credentials too.
    None = 0,
    /// LSM `task_fix_setuid`.
    SetUid = 1,
    /// LSM `capset`.
    CapSet = 2,
    /// An exec in progress (`bprm_check_security` ran for this thread).
    Exec = 3,
}

impl CredWitness {
    /// The witness with this number, if there is one.
    pub const fn from_u32(raw: u32) -> Option<Self> {
        match raw {
            0 => Some(Self::None),
            1 => Some(Self::SetUid),
            2 => Some(Self::CapSet),
            3 => Some(Self::Exec),
            _ => None,
        }
    }
}

/// Credentials were committed and differ from the task's former ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CredEvent {
    /// The common head.
    pub header: EventHeader,
    /// Before.
    pub old: CredIds,
    /// After.
    pub new: CredIds,
    /// A [`CredWitness`] number.
    pub witness: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A hook's note that the credentials at this address are about to be committed. One-shot. Kernel side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WitnessNote {
    /// Address of the new `struct cred`.
    pub cred: u64,
    /// A [`CredWitness`] number.
    pub witness: u32,
    /// Always 0.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<CredIds>() == 80);
    assert!(size_of::<CredEvent>() == 144 + 160 + 8);
};
