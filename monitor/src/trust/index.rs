//! The index of verified packages, in the terms of verdicts.

use super::manifest::{LocalTrust, ManifestDigest, ManifestSource};
use crate::sensor::Lockers;
use hardpan_core::event::RawText;
use hardpan_core::record::TrustState;
use hardpan_core::verdict::{OwnedFile, Package, Signer, TrustIndex, TrustOrigin, TrustedFile};
use hardpan_rpm::{DigestIndex, Owner, Proven, Provenance};
use std::collections::HashMap;

/// A loaded trust database.
#[derive(Debug)]
pub struct LoadedTrust {
    /// Digests and paths of verified packages.
    pub index: DigestIndex,
    /// Digests of manifests.
    pub local: LocalTrust,
    /// The signatures behind the index, if they were verified since this program started: the next reading need not
    /// compute them again.
    pub proven: Proven,
    /// Counts, for records and `status`.
    pub state: TrustState,
}

/// Trust as the policy in force wants it.
#[derive(Debug, Clone, Copy)]
pub struct SeenTrust<'a> {
    /// The trust.
    pub trust: &'a LoadedTrust,
    /// Manifests that nobody signed count.
    pub accepts_local_unsigned: bool,
    /// Files of packages that are being installed.
    pub expected: &'a ExpectedFiles,
    /// By which package managers: who has not taken the lock of the package database only looks at them.
    pub lockers: Option<&'a Lockers>,
}

/// A file of a package that a package manager opened.
#[derive(Debug, Clone)]
pub struct ExpectedFile {
    /// What it is.
    pub file: TrustedFile,
    /// The package manager's number; 0: it need not be known.
    pub manager: u32,
}

impl ExpectedFile {
    /// Its package is being installed, or need not be.
    pub fn counts(&self, lockers: Option<&Lockers>) -> bool {
        Lockers::counts(lockers, self.manager)
    }
}

/// Files of packages that are being installed, by SHA-256.
pub type ExpectedFiles = HashMap<[u8; 32], ExpectedFile>;

impl TrustIndex for SeenTrust<'_> {
    fn by_digest(&self, sha256: &[u8; 32], path: Option<&[u8]>) -> Option<TrustedFile> {
        let index = &self.trust.index;
        let at_path = path.and_then(|path| index.owners(sha256).find(|owner| owner.path() == path));
        if let Some(owner) = at_path.or_else(|| index.lookup(sha256)) {
            return Some(trusted(&owner));
        }
        if let Some(expected) = self.expected.get(sha256)
            && expected.counts(self.lockers)
        {
            return Some(expected.file.clone());
        }
        let digest = self.trust.local.lookup(sha256)?;
        // What nobody signed never excuses a changed file of a package.
        let counts = digest.manifest.source.is_signed()
            || (self.accepts_local_unsigned && path.is_none_or(|path| self.by_path(path).is_empty()));
        counts.then(|| listed(digest))
    }

    fn by_path(&self, path: &[u8]) -> Vec<OwnedFile> {
        self.trust
            .index
            .expected(path)
            .iter()
            // What was replaced owns nothing any more; of a ghost, a link or a directory no content is known.
            .filter(|owner| {
                owner.provenance() != Provenance::Retired && !owner.is_ghost() && is_regular(owner)
            })
            .map(|owner| OwnedFile {
                file: trusted(owner),
                expected: owner.sha256(),
                config: owner.is_config(),
            })
            .collect()
    }
}

/// Content that a manifest lists.
fn listed(digest: &ManifestDigest) -> TrustedFile {
    let manifest = &digest.manifest;
    let (version, signer, origin) = match &manifest.source {
        ManifestSource::Signed {
            key_name,
            key,
            serial,
            ..
        } => {
            let signer = Signer {
                fingerprint: key.clone(),
                name: key_name.clone(),
            };
            (serial.to_string(), signer, TrustOrigin::Local)
        }
        ManifestSource::LocalUnsigned { made } => {
            let nobody = Signer {
                fingerprint: String::new(),
                name: String::new(),
            };
            (made.to_string(), nobody, TrustOrigin::LocalUnsigned)
        }
    };
    TrustedFile {
        package: Package {
            name: manifest.name.clone(),
            version,
            arch: String::new(),
        },
        signer,
        path: RawText::new(digest.path.as_bytes()),
        origin,
    }
}

fn is_regular(owner: &Owner<'_>) -> bool {
    owner.mode() & 0o170_000 == 0o100_000
}

fn trusted(owner: &Owner<'_>) -> TrustedFile {
    let package = owner.package();
    let nevra = package.nevra();
    let signer = package.signer();
    // For each execution: formatting costs ten times as much.
    let mut version = nevra.version;
    version.push('-');
    version.push_str(&nevra.release);
    if let Some(epoch) = nevra.epoch {
        version = format!("{epoch}:{version}");
    }
    TrustedFile {
        package: Package {
            name: nevra.name,
            version,
            arch: nevra.arch.unwrap_or_else(|| "noarch".to_owned()),
        },
        signer: Signer {
            fingerprint: signer.pinned_key.to_owned(),
            name: signer.pin_name.to_owned(),
        },
        path: RawText::new(owner.path()),
        origin: match owner.provenance() {
            Provenance::Retired => TrustOrigin::Retired,
            Provenance::Derived => TrustOrigin::Derived,
            _ => TrustOrigin::Verified,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::manifest::LocalManifest;
    use hardpan_core::record::TrustState;
    use std::sync::Arc;

    /// One manifest of each sort, and no packages.
    fn trust() -> LoadedTrust {
        let digest = |seed: u8, name: &str, source| {
            let manifest = LocalManifest {
                name: name.into(),
                source,
                files: 1,
            };
            ManifestDigest {
                sha256: [seed; 32],
                size: 1,
                path: "/opt/tool".into(),
                manifest: Arc::new(manifest),
            }
        };
        let signed = ManifestSource::Signed {
            key_name: "Release team".into(),
            key: "ab".repeat(32),
            serial: 7,
            expires: i64::MAX,
        };
        LoadedTrust {
            index: hardpan_rpm::IndexBuilder::new().finish().unwrap(),
            local: LocalTrust::of_digests(vec![
                digest(1, "tools", signed),
                digest(2, "own", ManifestSource::LocalUnsigned { made: 9 }),
            ]),
            proven: Proven::default(),
            state: TrustState {
                database: String::new(),
                loaded: true,
                packages_total: 0,
                packages_verified: 0,
                digests: 0,
            },
        }
    }

    #[test]
    fn what_nobody_signed_counts_only_where_the_policy_accepts_it() {
        let trust = trust();
        let found = |accepts_local_unsigned, digest| {
            let seen = SeenTrust {
                trust: &trust,
                accepts_local_unsigned,
                expected: &ExpectedFiles::new(),
                lockers: None,
            };
            let file = seen.by_digest(&[digest; 32], Some(b"/opt/tool"));
            file.map(|file| (file.package.to_string(), file.signer.name, file.origin))
        };
        let signed = Some((
            "tools-7".to_owned(),
            "Release team".to_owned(),
            TrustOrigin::Local,
        ));
        let unsigned = Some(("own-9".to_owned(), String::new(), TrustOrigin::LocalUnsigned));
        assert_eq!(found(true, 1), signed);
        assert_eq!(found(false, 1), signed);
        assert_eq!(found(true, 2), unsigned);
        assert_eq!(found(false, 2), None);
        assert_eq!(found(true, 3), None);
    }
}
