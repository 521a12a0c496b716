//! Who vouches for a file's content, what a package has for its path, and what would allow it.

use super::super::trust::sight::Sight;
use crate::gate::{class_of_owner, is_fixed};
use crate::trust::manifest::ManifestSource;
use hardpan_abi::GateClass;
use hardpan_core::policy::effective::Effective;
use hardpan_rpm::Owner;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What vouches for the content.
pub(super) struct Source {
    pub(super) class: GateClass,
    pub(super) text: String,
    pub(super) package: Option<String>,
    pub(super) signer: Option<String>,
}

/// Looks the digest up.
pub(super) fn source(sight: &Sight, sha256: &[u8; 32], effective: &Effective) -> Source {
    if let Some(owner) = sight.current.outcome.index.lookup(sha256) {
        let package = owner.package();
        let (nevra, signer) = (package.nevra(), package.signer());
        let state = match class_of_owner(owner.provenance()) {
            GateClass::Retired => ", replaced since the last boot",
            _ => "",
        };
        return Source {
            class: class_of_owner(owner.provenance()),
            text: format!(
                "{nevra}{state}, signed by {} ({})",
                signer.pin_name, signer.pinned_key
            ),
            package: Some(nevra.name),
            signer: Some(signer.pinned_key.to_owned()),
        };
    }
    if let Some(local) = sight.local.lookup(sha256) {
        let manifest = &local.manifest;
        let (counts, who) = match &manifest.source {
            ManifestSource::Signed { key_name, .. } => (true, format!("signed by {key_name}")),
            ManifestSource::LocalUnsigned { .. } => (
                effective.trust.accept_local_unsigned,
                "made on this host, signed by nobody".to_owned(),
            ),
        };
        let refused = if counts {
            ""
        } else {
            ", which the policy does not accept"
        };
        return Source {
            class: if counts {
                GateClass::Local
            } else {
                GateClass::Unknown
            },
            text: format!("manifest {}, {who}{refused}", manifest.name),
            package: None,
            signer: None,
        };
    }
    Source {
        class: GateClass::Unknown,
        text: "no signed package or manifest lists this digest".to_owned(),
        package: None,
        signer: None,
    }
}

/// The class of what nobody vouches for: as the kernel has it, a file that is where a package has another content for, or a
/// packaged configuration file with an execute bit, which is there to be changed.
pub(super) fn unknown(sight: &Sight, path: &[u8]) -> GateClass {
    let owners = sight.current.outcome.index.expected(path);
    let is_config = |owner: &Owner<'_>| owner.is_config() && !owner.is_ghost() && owner.class().may_execute();
    if owners.iter().any(is_config) {
        GateClass::ConfigModified
    } else if owners.iter().any(is_fixed) {
        GateClass::Mismatch
    } else {
        GateClass::Untrusted
    }
}

/// Which content a package has for this path, and who signed that.
pub(super) fn expected(sight: &Sight, path: &Path) -> Option<String> {
    let owners = sight.current.outcome.index.expected(path.as_os_str().as_bytes());
    let owner = owners.first()?;
    let (package, sha256) = (owner.package(), owner.sha256()?);
    let signer = package.signer();
    Some(format!(
        "{} by {}, signed by {} ({})",
        hex::encode(sha256),
        package.nevra(),
        signer.pin_name,
        signer.pinned_key
    ))
}

/// What would let it be.
pub(super) fn advice(sight: &Sight, path: &Path, class: GateClass) -> String {
    let owners = sight.current.outcome.index.expected(path.as_os_str().as_bytes());
    if let Some(owner) = owners.first().filter(|_| class == GateClass::Mismatch) {
        let nevra = owner.package().nevra();
        return format!(
            "{} owns this path and was signed with other content: `dnf reinstall {}`",
            nevra, nevra.name
        );
    }
    "install it from a package whose key is pinned, or list it in a manifest (`hardpan trust add`), \
     or allow its digest by a rule (`hardpan policy learn`)"
        .to_owned()
}
