//! Executions.

use super::decode::{DecodeError, head, part};
use super::{Head, RawText};
use hardpan_abi::{CredIds, DigestState, ExecEvent, FileInfo, exec_flag};

/// A program was executed, successfully.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// When, where, who.
    pub head: Head,
    /// Credentials after the exec.
    pub creds: CredIds,
    /// The file whose code runs; for a script its interpreter.
    pub file: FileInfo,
    /// What the kernel says of the content of `file`.
    pub digest: KernelDigest,
    /// The digest came from the kernel's inode cache.
    pub digest_cached: bool,
    /// The script, if the kernel was handed one.
    pub script: Option<ScriptFile>,
    /// Path of `file`, or the name the caller passed.
    pub path: RawText,
    /// `path` is of the file the kernel opened, absolute, as seen from the task's root.
    pub path_from_kernel: bool,
    /// `path` was longer than a record holds.
    pub path_cut: bool,
    /// Path of the file that an interpreter was run for, absolute if `script_path_from_kernel`, else as the caller
    /// passed it. Known on every tier, also where `script` is not.
    pub script_path: Option<RawText>,
    /// `script_path` is of the file the kernel opened.
    pub script_path_from_kernel: bool,
    /// `file` has no name in any directory: memfd, `O_TMPFILE` or deleted.
    pub no_link: bool,
    /// The LSM hook saw this exec: `file` and the digest belong to the very file object that the kernel ran.
    pub seen_by_lsm: bool,
    /// The arguments.
    pub argv: Argv,
}

/// A script, or another file that an interpreter was started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptFile {
    /// The script itself.
    pub file: FileInfo,
    /// What the kernel says of its content.
    pub digest: KernelDigest,
}

/// What the kernel says of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelDigest {
    /// It did not look.
    NotTried,
    /// SHA-256 of the content.
    Sha256([u8; 32]),
    /// It answered with another algorithm.
    OtherAlgorithm,
    /// It tried and failed.
    Failed {
        /// Positive error number.
        errno: i32,
    },
    /// The file had writers meanwhile: a digest would prove nothing.
    Writers,
}

impl KernelDigest {
    /// The digest, if there is one.
    pub const fn sha256(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Sha256(digest) => Some(digest),
            _ => None,
        }
    }

    /// A word for records: `sha256`, `not-tried`, `other-algorithm`, `failed`, `writers`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NotTried => "not-tried",
            Self::Sha256(_) => "sha256",
            Self::OtherAlgorithm => "other-algorithm",
            Self::Failed { .. } => "failed",
            Self::Writers => "writers",
        }
    }
}

/// Arguments of an exec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Argv {
    /// The arguments; the last one may be incomplete if `cut`.
    pub args: Vec<RawText>,
    /// Length of all arguments in the task, with one NUL each, in bytes.
    pub total_bytes: u32,
    /// The record holds only the beginning.
    pub cut: bool,
    /// The kernel side could not read them.
    pub unreadable: bool,
}

impl Exec {
    pub(super) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let (wire, rest) = part::<ExecEvent>(record)?;
        let flag = |bit: u32| wire.flags & bit != 0;
        let path = text("path", &wire.path, wire.path_bytes)?;
        let script_path = text("script_path", &wire.script_path, wire.script_path_bytes)?;
        let claimed = usize::try_from(wire.argv_bytes).unwrap_or(usize::MAX);
        let available = rest.len();
        let argv = rest.get(..claimed).ok_or(DecodeError::Length {
            field: "argv",
            claimed,
            available,
        })?;
        let script = if flag(exec_flag::SCRIPT) {
            let digest = digest(wire.script_digest_state, &wire.script_digest, wire.digest_errno)?;
            Some(ScriptFile {
                file: wire.script,
                digest,
            })
        } else {
            None
        };
        Ok(Self {
            head: head(&wire.header),
            creds: wire.creds,
            file: wire.file,
            digest: digest(wire.digest_state, &wire.digest, wire.digest_errno)?,
            digest_cached: flag(exec_flag::DIGEST_CACHED),
            script,
            path: RawText::from_padded(path),
            path_from_kernel: flag(exec_flag::PATH_FROM_KERNEL),
            path_cut: flag(exec_flag::PATH_CUT),
            script_path: ((flag(exec_flag::SCRIPT) || flag(exec_flag::INTERPRETED))
                && !script_path.is_empty())
            .then(|| RawText::from_padded(script_path)),
            script_path_from_kernel: flag(exec_flag::SCRIPT_PATH_FROM_KERNEL),
            no_link: flag(exec_flag::NO_LINK),
            seen_by_lsm: flag(exec_flag::SEEN_BY_LSM),
            argv: Argv {
                args: split_args(argv),
                total_bytes: wire.argv_total_bytes.max(wire.argv_bytes),
                cut: flag(exec_flag::ARGV_CUT) || wire.argv_total_bytes > wire.argv_bytes,
                unreadable: flag(exec_flag::ARGV_UNREADABLE),
            },
        })
    }
}

pub(super) fn text<'a>(field: &'static str, bytes: &'a [u8], used: u16) -> Result<&'a [u8], DecodeError> {
    bytes.get(..usize::from(used)).ok_or_else(|| DecodeError::Length {
        field,
        claimed: usize::from(used),
        available: bytes.len(),
    })
}

pub(super) fn digest(state: u8, bytes: &[u8; 32], errno: i32) -> Result<KernelDigest, DecodeError> {
    let state = DigestState::from_u8(state).ok_or_else(|| DecodeError::UnknownNumber {
        field: "digest_state",
        number: u64::from(state),
    })?;
    Ok(match state {
        DigestState::NotTried => KernelDigest::NotTried,
        // A digest of zeros cannot be told from one that was never written; no file has it.
        DigestState::Sha256 if bytes.iter().all(|b| *b == 0) => KernelDigest::NotTried,
        DigestState::Sha256 => KernelDigest::Sha256(*bytes),
        DigestState::OtherAlgorithm => KernelDigest::OtherAlgorithm,
        DigestState::Failed => KernelDigest::Failed {
            errno: errno.saturating_abs(),
        },
        DigestState::Writers => KernelDigest::Writers,
    })
}

/// Splits an argument area: each argument ends with a NUL, the last one of a cut area may lack it.
fn split_args(area: &[u8]) -> Vec<RawText> {
    let area = area.strip_suffix(b"\0").unwrap_or(area);
    if area.is_empty() {
        return Vec::new();
    }
    area.split(|b| *b == 0).map(RawText::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(area: &[u8], expected: &[&str]) {
        let args: Vec<RawText> = expected.iter().map(|s| RawText::from(*s)).collect();
        assert_eq!(split_args(area), args);
    }

    #[test]
    fn arguments() {
        check(b"", &[]);
        check(b"ls\0-l\0", &["ls", "-l"]);
        check(b"sh\0-c\0\0x\0", &["sh", "-c", "", "x"]);
        check(b"ls\0--co", &["ls", "--co"]);
    }
}
