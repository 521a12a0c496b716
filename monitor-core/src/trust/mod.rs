//! What can be said about trusted software besides its signature: who built it, whether it belongs to this release,
//! and manifests of software outside RPM.

mod build_system;
mod foreign;
mod manifest;

pub use build_system::{BuildSystem, build_system};
pub use foreign::{Foreign, HostRelease, Origin, dist_tag_release, foreign};
pub use manifest::{LocalUnsigned, MAX_MANIFEST_FILES, Manifest, ManifestError, ManifestFile};
