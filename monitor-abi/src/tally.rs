//! Executions that are only counted.
//!
//! A server runs the same few programs over and over. Once user space has judged an execution as trusted, and would only add
//! it to an aggregate, it says so: further ones that share a [`TallyKey`] with it are counted in the kernel and wake nobody.

use crate::{DigestWords, FileId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Tallies at most. What finds none gets a record each time.
pub const TALLIES_MAX: u32 = 1024;

/// What executions share that are counted together: what an aggregate is made by. 56 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TallyKey {
    /// SHA-256 of what runs, as the kernel took it. A changed file is another key.
    pub digest: DigestWords,
    /// What the real parent runs.
    pub parent: FileId,
    /// Effective user id.
    pub euid: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Which tally a key has. 8 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TallySlot {
    /// Its number, below [`TALLIES_MAX`].
    pub slot: u32,
    /// Which of the keys that have had it.
    pub turn: u32,
}

/// How often. Only ever added to by the kernel; user space sets `turn`, long after the last key has lost it. 24 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tally {
    /// Executions counted so far, of all turns.
    pub count: u64,
    /// When the last one was, nanoseconds since boot.
    pub last_ns: u64,
    /// Whose turn it is. An execution that began in another turn gets a record.
    pub turn: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Until when executions may be counted, and for whom. 16 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TallyLease {
    /// Nanoseconds since boot; 0: not at all.
    pub until_ns: u64,
    /// Process id of who reads the tallies: when it ends, so does the permission. In the initial PID namespace; 0: not known.
    pub reader: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Executions of trusted programs that can be under way at the same time without getting a record each, a power of two.
pub const COUNTED_EXECS: u32 = 4096;

/// What `bprm_check_security` keeps of an execution that is only counted, until it has succeeded. By the lowest bits of the thread's id; kernel
/// side only. 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CountedExec {
    /// Whose it is and who wants it: it belongs to whoever came when nobody else was there.
    pub users: u64,
    /// Whose it is: process and thread id; 0: nobody's.
    pub thread: u64,
    /// Address of the `linux_binprm`: tells a stale entry of a failed exec from this one.
    pub bprm: u64,
    /// Number of its [`Tally`].
    pub slot: u32,
    /// The tally's turn.
    pub turn: u32,
    /// [`exec_flag`](crate::exec_flag) bits.
    pub flags: u32,
    /// Number of the program's grammar, if it is an interpreter.
    pub grammar: u32,
    /// Address of the credentials that it is about to commit; 0: it has not come that far.
    pub cred: u64,
}

const _: () = {
    assert!(size_of::<TallyLease>() == 16);
    assert!(size_of::<CountedExec>() == 48);
    assert!(COUNTED_EXECS.is_power_of_two());
    assert!(size_of::<TallyKey>() == 56);
    assert!(size_of::<TallySlot>() == 8);
    assert!(size_of::<Tally>() == 24);
};
