//! Execution records.

use crate::{CredIds, EventHeader, FileId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Longest path the kernel side reports, terminating NUL included. Longer ones are cut and flagged.
pub const EXEC_PATH_LEN: usize = 256;
/// Argument bytes in a small record (most execs).
pub const EXEC_ARGV_SMALL: usize = 256;
/// Argument bytes in a large record; what exceeds it is cut, `argv_total_bytes` tells the real length.
pub const EXEC_ARGV_LARGE: usize = 4096;

/// Bits of [`ExecEvent::flags`].
pub mod exec_flag {
    /// The kernel was handed a script (or binfmt_misc file): `script` is filled.
    pub const SCRIPT: u32 = 1 << 0;
    /// The executable's inode has no link in any directory (memfd, `O_TMPFILE`, deleted).
    pub const NO_LINK: u32 = 1 << 1;
    /// The LSM hook saw this exec, so `digest` and `path` come from the very file object the kernel ran.
    pub const SEEN_BY_LSM: u32 = 1 << 2;
    /// `path` was cut.
    pub const PATH_CUT: u32 = 1 << 3;
    /// `argv` was cut.
    pub const ARGV_CUT: u32 = 1 << 4;
    /// `path` came from `bpf_d_path`: absolute, as seen from the task's root. Otherwise it is what the caller passed.
    pub const PATH_FROM_KERNEL: u32 = 1 << 5;
    /// The digest was taken from the inode cache (content unchanged since it was hashed).
    pub const DIGEST_CACHED: u32 = 1 << 6;
    /// The arguments could not be read.
    pub const ARGV_UNREADABLE: u32 = 1 << 7;
    /// The kernel ran an interpreter for the file it was handed (`bprm->interp` is not `bprm->filename`). Set by every
    /// tier; [`SCRIPT`] says in addition that the LSM hook saw the script's inode.
    pub const INTERPRETED: u32 = 1 << 8;
    /// `script_path` is absolute, by `bpf_d_path`; otherwise it is what the caller passed.
    pub const SCRIPT_PATH_FROM_KERNEL: u32 = 1 << 9;
    /// The program, or the script, is a package manager's.
    pub const PACKAGE_MANAGER: u32 = 1 << 10;
}

/// What became of the kernel's attempt to hash the file. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DigestState {
    /// The kernel did not try (helper missing, file class not hashed in the kernel).
    NotTried = 0,
    /// `digest` holds SHA-256 of the file's content.
    Sha256 = 1,
    /// The helper answered with another algorithm (a loaded IMA policy can cause that); `digest` is empty.
    OtherAlgorithm = 2,
    /// The helper failed; `digest_errno` has the reason.
    Failed = 3,
    /// The file had writers while it was hashed: the digest proves nothing and is left out.
    Writers = 4,
}

impl DigestState {
    /// The state with this number, if there is one.
    pub const fn from_u8(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::NotTried),
            1 => Some(Self::Sha256),
            2 => Some(Self::OtherAlgorithm),
            3 => Some(Self::Failed),
            4 => Some(Self::Writers),
            _ => None,
        }
    }
}

impl FileInfo {
    /// Which file it is.
    pub const fn id(&self) -> FileId {
        FileId {
            ino: self.ino,
            dev: self.dev,
            generation: self.generation,
        }
    }
}

/// Identity of a file as its inode tells it. 64 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FileInfo {
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Magic number of the file system (`statfs.f_type`).
    pub fs_magic: u64,
    /// Change time, seconds since 1970.
    pub ctime_s: i64,
    /// Change time, nanoseconds part.
    pub ctime_ns: u32,
    /// Device in the kernel's own encoding: major << 20 | minor.
    pub dev: u32,
    /// Type and permission bits (`st_mode`).
    pub mode: u32,
    /// Number of links.
    pub nlink: u32,
    /// Owner, in the initial user namespace.
    pub uid: u32,
    /// Group, in the initial user namespace.
    pub gid: u32,
    /// Generation of the inode number; 0 if unknown.
    pub generation: u32,
    /// Always 0.
    pub reserved: u32,
}

impl FileInfo {
    /// All zero.
    pub const EMPTY: Self = Self {
        ino: 0,
        size_bytes: 0,
        fs_magic: 0,
        ctime_s: 0,
        ctime_ns: 0,
        dev: 0,
        mode: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        generation: 0,
        reserved: 0,
    };
}

/// A successful exec: this head, then `argv_bytes` bytes of arguments, each ended by a NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExecEvent {
    /// The common head.
    pub header: EventHeader,
    /// Credentials after the exec.
    pub creds: CredIds,
    /// The file whose code runs (for a script: the interpreter).
    pub file: FileInfo,
    /// The script, when [`exec_flag::SCRIPT`] is set, else zero.
    pub script: FileInfo,
    /// SHA-256 of `file`, when `digest_state` says so.
    pub digest: [u8; 32],
    /// SHA-256 of `script`, when `script_digest_state` says so.
    pub script_digest: [u8; 32],
    /// [`exec_flag`] bits.
    pub flags: u32,
    /// Negative errno of the failed hash, or 0.
    pub digest_errno: i32,
    /// [`DigestState`] of `digest`.
    pub digest_state: u8,
    /// [`DigestState`] of `script_digest`.
    pub script_digest_state: u8,
    /// Bytes of `path` used, without NUL.
    pub path_bytes: u16,
    /// Argument bytes that follow this struct.
    pub argv_bytes: u32,
    /// Length of the whole argument area in the task, in bytes.
    pub argv_total_bytes: u32,
    /// Bytes of `script_path` used, without NUL.
    pub script_path_bytes: u16,
    /// Always 0.
    pub reserved: u16,
    /// Path of `file` ([`exec_flag::PATH_FROM_KERNEL`]) or the file name the caller passed.
    pub path: [u8; EXEC_PATH_LEN],
    /// Path of the script when [`exec_flag::SCRIPT`] or [`exec_flag::INTERPRETED`] is set.
    pub script_path: [u8; EXEC_PATH_LEN],
}

/// What `bprm_check_security` learned, kept for the record written once the exec succeeded. Keyed by thread id; kernel side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExecStash {
    /// Address of the `linux_binprm`: tells a stale entry of a failed exec from this one.
    pub bprm: u64,
    /// The file of the last call.
    pub file: FileInfo,
    /// The file of the first call, if there was more than one.
    pub script: FileInfo,
    /// Digest of `file`.
    pub digest: [u8; 32],
    /// Digest of `script`.
    pub script_digest: [u8; 32],
    /// [`exec_flag`] bits collected so far.
    pub flags: u32,
    /// Negative errno of the failed hash, or 0.
    pub digest_errno: i32,
    /// [`DigestState`] of `digest`.
    pub digest_state: u8,
    /// [`DigestState`] of `script_digest`.
    pub script_digest_state: u8,
    /// Bytes of `path` used, without NUL.
    pub path_bytes: u16,
    /// Calls of the hook for this `linux_binprm`.
    pub calls: u32,
    /// Path of `file` by `bpf_d_path`.
    pub path: [u8; EXEC_PATH_LEN],
    /// Path of `script` by `bpf_d_path`.
    pub script_path: [u8; EXEC_PATH_LEN],
    /// Bytes of `script_path` used, without NUL.
    pub script_path_bytes: u32,
    /// Number of the program's grammar, if it is an interpreter.
    pub grammar: u32,
}

/// True for file systems whose content another host or an unprivileged process can change between two reads: a digest
/// taken in the kernel would prove nothing. FUSE, NFS, CIFS, SMB2, 9p, AFS, Ceph (include/uapi/linux/magic.h).
#[inline]
pub const fn content_can_change_at_will(fs_magic: u64) -> bool {
    matches!(
        fs_magic,
        0x6573_5546 | 0x6969 | 0xff53_4d42 | 0xfe53_4d42 | 0x0102_1997 | 0x5346_414f | 0x00c3_6400
    )
}

/// What the kernel remembers of a file it hashed, in inode storage. Valid while size and ctime stay and nobody writes.
/// Kernel side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InodeDigest {
    /// Size when hashed.
    pub size_bytes: u64,
    /// Change time when hashed, seconds.
    pub ctime_s: i64,
    /// Change time when hashed, nanoseconds part.
    pub ctime_ns: u32,
    /// 1 if `digest` is filled.
    pub filled: u32,
    /// SHA-256.
    pub digest: [u8; 32],
    /// Counts openings for writing: a digest taken while it rose is not kept.
    pub writes: u32,
    /// The gate's epoch when `class` was looked up; 0: never.
    pub epoch: u32,
    /// A [`GateClass`](crate::GateClass) number, valid in `epoch`.
    pub class: u32,
    /// [`trusted_mark`](crate::trusted_mark) bits, valid in `epoch`.
    pub marks: u32,
    /// The gate's epoch when an alert about this file was written; 0: never. One alert per file and epoch.
    pub alerted: u32,
    /// The package manager that opened it last, since it was last written to; 0: none.
    pub opened_by: u32,
    /// How often a block device in use had been opened for writing when the digest was taken.
    pub raw_writes: u32,
    /// Always 0.
    pub reserved: u32,
    /// By [`passed`]: the gate let it through without looking at a rule, by what is in this word (see [`passed::word`]); 0: it did not.
    pub passed: [u64; 2],
    /// Makes one of digest, size, change time and number of openings for writing ([`InodeDigest::check`]): they are written one after
    /// another, and whoever was held up on the way writes the rest late, of a content that is gone. What does not fit together is not known.
    pub check: u64,
    /// The same of the digest, and of `class`, `marks` and `epoch` ([`InodeDigest::judged`]).
    pub judged: u64,
}

impl InodeDigest {
    /// What stands behind a digest, and when: one number for [`check`](Self::check).
    #[inline]
    pub const fn base(digest: &[u64; 4], size_bytes: u64, changed_s: i64, and_ns: u32) -> u64 {
        let mark = mixed_digest(digest);
        let mark = mixed(mark, size_bytes);
        let mark = mixed(mark, changed_s.cast_unsigned());
        mixed(mark, and_ns as u64)
    }

    /// That, as long as the file was opened for writing so often, and block devices in use were.
    #[inline]
    pub const fn check(base: u64, writes: u32, raw_writes: u32) -> u64 {
        mixed(base, passed::word(0, writes, raw_writes)) | 1
    }

    /// Class and marks (as `digest_value` packs them) of a digest in an epoch.
    #[inline]
    pub const fn judged(digest: &[u64; 4], value: u64, epoch: u32) -> u64 {
        mixed(mixed(mixed_digest(digest), value), epoch as u64) | 1
    }
}

/// Odd, so that no two states of 64 bits become one by a multiplication.
pub const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// One number of two: another one if either changes. No secret: who can write to the kernel can write to its tables, too.
#[inline]
pub const fn mixed(mark: u64, with: u64) -> u64 {
    (mark ^ with).wrapping_mul(MIX)
}

#[inline]
const fn mixed_digest(digest: &[u64; 4]) -> u64 {
    let [a, b, c, d] = *digest;
    mixed(mixed(mixed(a, b), c), d)
}

/// What the gate remembers of files that it lets through.
pub mod passed {
    /// As a program.
    pub const EXEC: usize = 0;
    /// As a library.
    pub const LIBRARY: usize = 1;

    /// The gate's epoch, and how often the file (`writes`) and block devices (`raw_writes`) had been opened for writing when its content was
    /// looked at. One word: who writes it late, of a content that is gone, writes one that no longer counts.
    #[inline]
    pub const fn word(epoch: u32, writes: u32, raw_writes: u32) -> u64 {
        (epoch as u64) << 32 | (writes.wrapping_mul(0x9e37_79b1) ^ raw_writes) as u64
    }
}

const _: () = {
    assert!(size_of::<FileInfo>() == 64);
    assert!(size_of::<ExecEvent>() == 952);
    assert!(core::mem::offset_of!(ExecEvent, path) == 440);
    assert!(size_of::<ExecStash>() == 736);
    assert!(size_of::<InodeDigest>() == 120);
};
