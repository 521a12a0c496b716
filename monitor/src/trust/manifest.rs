//! Manifests of digests for software outside RPM, as files of this host (usually in `/var/lib/hardpan/manifests`):
//! `NAME.hpm` is a signed envelope, `NAME.json` was made here and nobody signed it.

use super::atomic;
use crate::crypto::{HostCrypto, LedgerFile, LedgerFileError};
use hardpan_core::envelope::{
    Envelope, EnvelopeError, Host, Kind, Known, MAX_ENVELOPE_BYTES, Opened, Refusal, TrustedKeys, check_name,
    open,
};
use hardpan_core::record::{Finding, FindingCode};
use hardpan_core::trust::{LocalUnsigned, Manifest, ManifestError};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Directory of manifests inside the state directory.
pub const MANIFEST_DIR: &str = "manifests";
/// Extension of signed manifests.
pub const SIGNED_EXTENSION: &str = "hpm";
/// Extension of manifests that were made on the host.
pub const UNSIGNED_EXTENSION: &str = "json";
/// Entries of the directory that are looked at, at most.
const MAX_ENTRIES: usize = 1000;

/// What is wrong with a manifest.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManifestFileError {
    /// Cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than root could have written it.
    #[error("{} is refused: {why}", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// Who could have.
        why: &'static str,
    },
    /// No envelope.
    #[error("{} is no signed manifest", path.display())]
    Envelope {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: EnvelopeError,
    },
    /// Does not count here.
    #[error("{} is refused", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Refusal,
    },
    /// The digests cannot be read.
    #[error("{}: its content is no manifest", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// Stored under another name than its own.
    #[error("{} holds the manifest \"{name}\", which belongs in {name}.{extension}", path.display())]
    WrongName {
        /// The file.
        path: PathBuf,
        /// Name of the manifest.
        name: String,
        /// Extension it should have.
        extension: &'static str,
    },
    /// The name is taken by a manifest of the other sort.
    #[error("there is already a manifest \"{name}\" in {}", path.display())]
    Taken {
        /// The other file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// There is no such manifest.
    #[error("there is no manifest \"{name}\" in {}", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
        /// The name.
        name: String,
    },
    /// Cannot be written or removed.
    #[error("cannot change {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The accepted serials cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerFileError),
}

impl ManifestFileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unsafe { path, .. } => {
                Some(format!("chown root:root {0} && chmod go-w {0}", path.display()))
            }
            Self::Refused { source, .. } => Some(source.hint().to_owned()),
            Self::Taken { name, .. } => Some(format!("remove it first: hardpan trust remove {name}")),
            Self::Missing { .. } => Some("`hardpan trust list --manifests` shows them".to_owned()),
            Self::Ledger(error) => error.hint(),
            _ => None,
        }
    }

    /// As a finding for records.
    pub fn finding(&self, path: &Path) -> Finding {
        let mut message = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Finding {
            path: Some(path.display().to_string().as_str().into()),
            hint: self.hint(),
            ..Finding::new(FindingCode::PackageUnverified, message)
        }
    }
}

/// A manifest of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalManifest {
    /// Its name.
    pub name: String,
    /// Who vouches for it.
    pub source: ManifestSource,
    /// How many files it lists.
    pub files: usize,
}

/// Who vouches for a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestSource {
    /// A trusted key.
    Signed {
        /// Name of the key.
        key_name: String,
        /// Id of the key: SHA-256 of the raw public key, hexadecimal.
        key: String,
        /// Serial.
        serial: u64,
        /// From when on it is void, seconds since 1970.
        expires: i64,
    },
    /// Nobody: it was made on the host. Strict policy does not count it.
    LocalUnsigned {
        /// When, seconds since 1970.
        made: i64,
    },
}

impl ManifestSource {
    /// Whether a trusted key signed it.
    pub fn is_signed(&self) -> bool {
        matches!(self, Self::Signed { .. })
    }

    /// A word for JSON.
    pub fn word(&self) -> &'static str {
        if self.is_signed() {
            "signed"
        } else {
            "local-unsigned"
        }
    }
}

/// A digest of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestDigest {
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// Size of the content in bytes.
    pub size: u64,
    /// Where it was when the manifest was made.
    pub path: Box<str>,
    /// Which manifest lists it.
    pub manifest: Arc<LocalManifest>,
}

/// Digests of all manifests of this host, for lookups.
#[derive(Debug, Clone, Default)]
pub struct LocalTrust {
    digests: Vec<ManifestDigest>,
    manifests: Vec<Arc<LocalManifest>>,
}

impl LocalTrust {
    /// The manifest entry for content with this SHA-256; one of a signed manifest, if there is one.
    pub fn lookup(&self, sha256: &[u8; 32]) -> Option<&ManifestDigest> {
        let first = self.digests.partition_point(|digest| digest.sha256 < *sha256);
        self.digests.get(first).filter(|digest| digest.sha256 == *sha256)
    }

    /// All digests, ascending.
    pub fn digests(&self) -> &[ManifestDigest] {
        &self.digests
    }

    /// All manifests, by file name.
    pub fn manifests(&self) -> &[Arc<LocalManifest>] {
        &self.manifests
    }

    /// When the first signed manifest expires, seconds since 1970: load again then.
    pub fn next_expiry(&self) -> Option<i64> {
        let expiry = |manifest: &Arc<LocalManifest>| match manifest.source {
            ManifestSource::Signed { expires, .. } => Some(expires),
            ManifestSource::LocalUnsigned { .. } => None,
        };
        self.manifests.iter().filter_map(expiry).min()
    }

    fn add(&mut self, manifest: LocalManifest, content: &Manifest) {
        let manifest = Arc::new(manifest);
        self.digests
            .extend(content.files().iter().map(|file| ManifestDigest {
                sha256: file.sha256,
                size: file.size,
                path: file.path.as_str().into(),
                manifest: Arc::clone(&manifest),
            }));
        self.manifests.push(manifest);
    }
}

/// Loads every manifest of a directory; one that does not count is a finding. `known` says what it is held against.
/// A missing directory is an empty one.
pub fn load_all(dir: &Path, known: &Known<'_>) -> (LocalTrust, Vec<Finding>) {
    let mut trust = LocalTrust::default();
    let mut findings = Vec::new();
    let paths = match manifest_files(dir) {
        Ok(paths) => paths,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                let error = ManifestFileError::Read {
                    path: dir.to_owned(),
                    source: error,
                };
                findings.push(error.finding(dir));
            }
            return (trust, findings);
        }
    };
    for path in paths {
        match load_one(&path, known) {
            Ok((manifest, content)) => trust.add(manifest, &content),
            Err(error) => findings.push(error.finding(&path)),
        }
    }
    // Signed ones first: a lookup takes the first.
    trust.digests.sort_by(|a, b| {
        (a.sha256, !a.manifest.source.is_signed()).cmp(&(b.sha256, !b.manifest.source.is_signed()))
    });
    (trust, findings)
}

fn manifest_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)?.take(MAX_ENTRIES) {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        // Half-written files begin with a dot.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if matches!(extension, Some(SIGNED_EXTENSION | UNSIGNED_EXTENSION)) && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn load_one(path: &Path, known: &Known<'_>) -> Result<(LocalManifest, Manifest), ManifestFileError> {
    let bytes = read_own(path)?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let (manifest, content) = if extension == Some(SIGNED_EXTENSION) {
        let (opened, content) = open_signed(&bytes, path, known)?;
        (signed(&opened, &content), content)
    } else {
        let local = LocalUnsigned::parse(&bytes).map_err(|source| ManifestFileError::Manifest {
            path: path.to_owned(),
            source,
        })?;
        let manifest = LocalManifest {
            name: local.name,
            source: ManifestSource::LocalUnsigned { made: local.made },
            files: local.manifest.files().len(),
        };
        (manifest, local.manifest)
    };
    let extension = if manifest.source.is_signed() {
        SIGNED_EXTENSION
    } else {
        UNSIGNED_EXTENSION
    };
    // Else two files could hold issues of one manifest, and `trust remove` would miss one.
    if path.file_name() != Some(std::ffi::OsStr::new(&format!("{}.{extension}", manifest.name))) {
        return Err(ManifestFileError::WrongName {
            path: path.to_owned(),
            name: manifest.name,
            extension,
        });
    }
    Ok((manifest, content))
}

fn signed(opened: &Opened, content: &Manifest) -> LocalManifest {
    let claims = opened.claims();
    LocalManifest {
        name: claims.name.clone(),
        source: ManifestSource::Signed {
            key_name: opened.key_name().to_owned(),
            key: claims.key.to_string(),
            serial: claims.serial,
            expires: claims.expires,
        },
        files: content.files().len(),
    }
}

fn open_signed(
    bytes: &[u8],
    path: &Path,
    known: &Known<'_>,
) -> Result<(Opened, Manifest), ManifestFileError> {
    let envelope = Envelope::parse(bytes).map_err(|source| ManifestFileError::Envelope {
        path: path.to_owned(),
        source,
    })?;
    let opened = open(envelope, known, &HostCrypto).map_err(|source| ManifestFileError::Refused {
        path: path.to_owned(),
        source,
    })?;
    let content = Manifest::parse(opened.payload()).map_err(|source| ManifestFileError::Manifest {
        path: path.to_owned(),
        source,
    })?;
    Ok((opened, content))
}

/// Reads a file that only root (or this user) may write.
fn read_own(path: &Path) -> Result<Vec<u8>, ManifestFileError> {
    let (bytes, meta) = read_any(path)?;
    let refused = |why| ManifestFileError::Unsafe {
        path: path.to_owned(),
        why,
    };
    if meta.uid() != 0 && meta.uid() != nix::unistd::Uid::effective().as_raw() {
        return Err(refused("it does not belong to root"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refused("its group or everybody may change it"));
    }
    Ok(bytes)
}

fn read_any(path: &Path) -> Result<(Vec<u8>, fs::Metadata), ManifestFileError> {
    let failed = |source| ManifestFileError::Read {
        path: path.to_owned(),
        source,
    };
    // Opening a FIFO must not wait for a writer.
    let file = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(ManifestFileError::Unsafe {
            path: path.to_owned(),
            why: "it is not a regular file",
        });
    }
    let mut bytes = Vec::new();
    // One more byte, so that a file that is too large is seen to be.
    file.take(MAX_ENVELOPE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok((bytes, meta))
}

/// Checks a signed manifest and puts it into effect: copies it to `dir`, then notes its serial in the ledger. `now` is
/// in seconds since 1970.
pub fn add_signed(
    file: &Path,
    dir: &Path,
    ledger: &mut LedgerFile,
    keys: &TrustedKeys,
    host: &Host,
    now: i64,
) -> Result<LocalManifest, ManifestFileError> {
    let (bytes, _) = read_any(file)?;
    let known = Known {
        kind: Kind::Manifest,
        keys,
        host,
        now,
        ledger: ledger.ledger(),
    };
    let (opened, content) = open_signed(&bytes, file, &known)?;
    let manifest = signed(&opened, &content);
    let target = free_path(dir, &manifest.name, SIGNED_EXTENSION, UNSIGNED_EXTENSION)?;
    // First the file: if the serial were noted and the file not written, the old issue could not be loaded any more.
    atomic::write(&target, &bytes, 0o640)
        .map_err(|source| ManifestFileError::Write { path: target, source })?;
    ledger.accept(&opened)?;
    Ok(manifest)
}

/// Stores a manifest that was made on this host.
pub fn add_unsigned(local: &LocalUnsigned, dir: &Path) -> Result<LocalManifest, ManifestFileError> {
    let target = free_path(dir, &local.name, UNSIGNED_EXTENSION, SIGNED_EXTENSION)?;
    atomic::write(&target, local.to_json().as_bytes(), 0o640)
        .map_err(|source| ManifestFileError::Write { path: target, source })?;
    Ok(LocalManifest {
        name: local.name.clone(),
        source: ManifestSource::LocalUnsigned { made: local.made },
        files: local.manifest.files().len(),
    })
}

/// Where a manifest goes, unless one of the other sort has its name.
fn free_path(dir: &Path, name: &str, extension: &str, other: &str) -> Result<PathBuf, ManifestFileError> {
    let taken = dir.join(format!("{name}.{other}"));
    if taken.exists() {
        return Err(ManifestFileError::Taken {
            path: taken,
            name: name.to_owned(),
        });
    }
    Ok(dir.join(format!("{name}.{extension}")))
}

/// Removes a manifest. Its serial stays noted.
pub fn remove(dir: &Path, name: &str) -> Result<PathBuf, ManifestFileError> {
    let missing = || ManifestFileError::Missing {
        dir: dir.to_owned(),
        name: name.to_owned(),
    };
    check_name(name).map_err(|_no_file_can_have_it| missing())?;
    for extension in [SIGNED_EXTENSION, UNSIGNED_EXTENSION] {
        let path = dir.join(format!("{name}.{extension}"));
        match fs::remove_file(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ManifestFileError::Write { path, source }),
        }
    }
    Err(missing())
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
