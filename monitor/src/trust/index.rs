//! The index of verified packages, in the terms of verdicts.

use hardpan_core::event::RawText;
use hardpan_core::record::TrustState;
use hardpan_core::verdict::{OwnedFile, Package, Signer, TrustIndex, TrustedFile};
use hardpan_rpm::{DigestIndex, Owner, Provenance};

/// A loaded trust database.
#[derive(Debug)]
pub struct LoadedTrust {
    /// Digests and paths of verified packages.
    pub index: DigestIndex,
    /// Counts, for records and `status`.
    pub state: TrustState,
}

impl TrustIndex for LoadedTrust {
    fn by_digest(&self, sha256: &[u8; 32], path: Option<&[u8]>) -> Option<TrustedFile> {
        let at_path = path.and_then(|path| self.index.owners(sha256).find(|owner| owner.path() == path));
        at_path
            .or_else(|| self.index.lookup(sha256))
            .map(|owner| trusted(&owner))
    }

    fn by_path(&self, path: &[u8]) -> Vec<OwnedFile> {
        self.index
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

fn is_regular(owner: &Owner<'_>) -> bool {
    owner.mode() & 0o170_000 == 0o100_000
}

fn trusted(owner: &Owner<'_>) -> TrustedFile {
    let package = owner.package();
    let nevra = package.nevra();
    let epoch = nevra.epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let signer = package.signer();
    TrustedFile {
        package: Package {
            name: nevra.name,
            version: format!("{epoch}{}-{}", nevra.version, nevra.release),
            arch: nevra.arch.unwrap_or_else(|| "noarch".to_owned()),
        },
        signer: Signer {
            fingerprint: signer.pinned_key.to_owned(),
            name: signer.pin_name.to_owned(),
        },
        path: RawText::new(owner.path()),
    }
}
