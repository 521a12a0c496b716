//! Applies hardening plans and takes them back. `hardpan_core::policy::harden` decides; this module reads and writes.
//!
//! All paths are resolved within a root, so the same code hardens the running host and a mounted image.

mod files;
mod root;
mod run;

pub use files::FileError;
pub use root::{Root, RootError};
pub use run::{
    Applied, ApplyOptions, Confirmation, Drift, HardenError, ItemResult, Outcome, RollbackReport, Undone,
    apply, confirm, drift, expire_unconfirmed, pending, rollback,
};

#[cfg(test)]
pub(crate) mod tests;
