//! Is this file what a vendor signed? From a digest, a path and the index of verified packages to a [`Verdict`].
//!
//! A digest is trusted only because it came out of a header whose signature was verified: the index behind
//! [`TrustIndex`] holds nothing else. Whatever could not be looked at is [`Verdict::Unverified`], never fine.

mod judge;

pub use judge::{Subject, judge};

use crate::event::{KernelDigest, RawText};
use std::fmt;

/// An installed package, as its verified header names it; or a manifest, whose serial is its version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version and release, with the epoch in front where there is one: `1:2.34-100.el9`.
    pub version: String,
    /// Architecture; empty for a manifest.
    pub arch: String,
}

impl Package {
    /// Takes `name-version-release.arch` apart; the version may begin with an epoch. `None` if it is no such text.
    pub fn from_nevra(text: &str) -> Option<Self> {
        let (rest, arch) = text.rsplit_once('.')?;
        let (rest, release) = rest.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        let parts = [name, version, release, arch];
        parts.iter().all(|part| !part.is_empty()).then(|| Self {
            name: name.to_owned(),
            version: format!("{version}-{release}"),
            arch: arch.to_owned(),
        })
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.version)?;
        // Manifests have none.
        if self.arch.is_empty() {
            return Ok(());
        }
        write!(f, ".{}", self.arch)
    }
}

/// Why a digest is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TrustOrigin {
    /// The signed region of a package's header lists it.
    #[default]
    Verified,
    /// The signed digest is no SHA-256; the file was compared, and its SHA-256 taken.
    Derived,
    /// The verified header of a package that is being installed lists it.
    Provisional,
    /// A package that was replaced since the last boot.
    Retired,
    /// A manifest that an operator's key signed.
    Local,
    /// A manifest that was made on the host: nobody vouches for it.
    LocalUnsigned,
}

impl TrustOrigin {
    /// A word for records and tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Derived => "derived",
            Self::Provisional => "provisional",
            Self::Retired => "retired",
            Self::Local => "local",
            Self::LocalUnsigned => "local-unsigned",
        }
    }

    /// A manifest says so, no package.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Local | Self::LocalUnsigned)
    }
}

/// The key that signed a package or a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signer {
    /// Fingerprint of the pinned certificate, upper-case hex; of a manifest's key, its id. Empty if nobody signed.
    pub fingerprint: String,
    /// Whose key it is, as the pin says.
    pub name: String,
}

/// A file whose digest a verified package header lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedFile {
    /// The package.
    pub package: Package,
    /// Who signed it.
    pub signer: Signer,
    /// Where the package puts the file.
    pub path: RawText,
    /// Why it is trusted.
    pub origin: TrustOrigin,
}

/// What a verified package says about the file at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedFile {
    /// The file and its package.
    pub file: TrustedFile,
    /// SHA-256 it should have; `None` if the header lists no SHA-256 (another algorithm, not a regular file).
    pub expected: Option<[u8; 32]>,
    /// A configuration file: it may differ.
    pub config: bool,
}

/// Digests and paths of verified packages.
pub trait TrustIndex {
    /// The file with this digest; where several have it, the one at `path` if there is one.
    fn by_digest(&self, sha256: &[u8; 32], path: Option<&[u8]>) -> Option<TrustedFile>;

    /// What packages say about this path. Usually none or one.
    fn by_path(&self, path: &[u8]) -> Vec<OwnedFile>;
}

/// Why there is no digest to judge by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoDigest {
    /// The process ended, or runs something else, before its file could be opened.
    ProcessGone,
    /// The file that could be opened is not the one the kernel ran, or has changed since.
    FileChanged,
    /// The file is larger than `hash.max_size_bytes`.
    TooLarge {
        /// Its size in bytes.
        size_bytes: u64,
    },
    /// Not a regular file.
    NotRegular,
    /// The path of a script could not be found out.
    PathUnknown,
    /// Somebody had the file open for writing while the kernel hashed it.
    Writers,
    /// Opening or reading it failed.
    Unreadable {
        /// Positive error number.
        errno: i32,
    },
    /// The kernel has a digest by another algorithm than SHA-256: an IMA policy asked for it.
    OtherAlgorithm,
    /// The kernel did not hash it, and nobody else had.
    NotHashed,
    /// Too many files were waiting to be hashed.
    Busy,
}

impl NoDigest {
    /// Why the kernel has none; `otherwise` where that is not for the kernel to say.
    pub const fn of_kernel(kernel: &KernelDigest, otherwise: Self) -> Self {
        match kernel {
            KernelDigest::Writers => Self::Writers,
            KernelDigest::Failed { errno } => Self::Unreadable { errno: *errno },
            KernelDigest::OtherAlgorithm => Self::OtherAlgorithm,
            KernelDigest::NotTried | KernelDigest::Sha256(_) => otherwise,
        }
    }

    /// A word for records.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::ProcessGone => "process-gone",
            Self::FileChanged => "file-changed",
            Self::TooLarge { .. } => "too-large",
            Self::NotRegular => "not-regular",
            Self::PathUnknown => "path-unknown",
            Self::Writers => "writers",
            Self::Unreadable { .. } => "unreadable",
            Self::OtherAlgorithm => "other-algorithm",
            Self::NotHashed => "not-hashed",
            Self::Busy => "busy",
        }
    }
}

/// Why nothing can be said about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unverified {
    /// There is no usable trust database: nothing at all can be said.
    NoTrustDatabase,
    /// The content could not be hashed.
    NoDigest(NoDigest),
    /// The package at this path lists no SHA-256 for it.
    OtherAlgorithm {
        /// The package.
        package: Package,
    },
}

impl Unverified {
    /// A word for records.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoTrustDatabase => "no-trust-database",
            Self::NoDigest(why) => why.word(),
            Self::OtherAlgorithm { .. } => "other-algorithm",
        }
    }
}

/// What Hardpan says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its digest is in a verified package header.
    Trusted(TrustedFile),
    /// Could not look.
    Unverified(Unverified),
    /// Its digest is in no verified package header.
    Untrusted {
        /// A package that owns the path as a configuration file, which may differ.
        changed_config_of: Option<Package>,
    },
    /// It has no name in any directory: memfd, `O_TMPFILE` or deleted.
    Fileless {
        /// Its digest is nevertheless one of a package (a copy of a packaged file, or one that an update replaced).
        trusted: Option<TrustedFile>,
    },
    /// A verified package owns this path and lists another digest.
    DigestMismatch {
        /// The file that should be there.
        owner: TrustedFile,
        /// Its digest.
        expected: [u8; 32],
    },
}

impl Verdict {
    /// A word for records and tables.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Trusted(_) => "trusted",
            Self::Unverified(_) => "unverified",
            Self::Untrusted { .. } => "untrusted",
            Self::Fileless { .. } => "fileless",
            Self::DigestMismatch { .. } => "digest-mismatch",
        }
    }

    /// It is vendor-signed content under its own name.
    pub const fn is_trusted(&self) -> bool {
        matches!(self, Self::Trusted(_))
    }

    /// The package the file belongs to or should belong to.
    pub const fn owner(&self) -> Option<&TrustedFile> {
        match self {
            Self::Trusted(file) | Self::DigestMismatch { owner: file, .. } => Some(file),
            Self::Fileless { trusted } => trusted.as_ref(),
            Self::Unverified(_) | Self::Untrusted { .. } => None,
        }
    }

    /// How bad it is; greater is worse.
    const fn rank(&self) -> u8 {
        match self {
            Self::Trusted(_) => 0,
            Self::Unverified(_) => 1,
            Self::Untrusted { .. } => 2,
            Self::Fileless { .. } => 3,
            Self::DigestMismatch { .. } => 4,
        }
    }
}

/// Verdict on an exec: on the file whose code runs and, for a script, on the script too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecVerdict {
    /// The executable, or the interpreter of a script.
    pub file: Verdict,
    /// The script.
    pub script: Option<Verdict>,
}

impl ExecVerdict {
    /// The worse of the two.
    pub fn overall(&self) -> &Verdict {
        match &self.script {
            Some(script) if script.rank() > self.file.rank() => script,
            _ => &self.file,
        }
    }

    /// Everything that runs is trusted.
    pub fn is_trusted(&self) -> bool {
        self.overall().is_trusted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages() {
        for text in ["coreutils-8.32-39.el9.x86_64", "a-b-c-1:2.0~rc1-3.el8_10.noarch"] {
            assert_eq!(
                Package::from_nevra(text).map(|p| p.to_string()).as_deref(),
                Some(text)
            );
        }
        assert_eq!(
            Package::from_nevra("a-b-1-2.noarch").map(|p| p.name).as_deref(),
            Some("a-b")
        );
        for text in ["", "coreutils", "a-1.noarch", "-1-2.noarch", "a-1-2"] {
            assert_eq!(Package::from_nevra(text), None, "{text}");
        }
    }
}
