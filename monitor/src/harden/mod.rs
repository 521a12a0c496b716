//! Applies hardening plans and takes them back. `hardpan_core::policy::harden` decides; this module reads and writes.
//!
//! All paths are resolved within a root, so the same code hardens the running host and a mounted image.

mod drift;
mod files;
mod root;
mod run;
mod store;

pub use drift::{Drift, drift};
pub use files::FileError;
pub use root::{Root, RootError};
pub use run::{
    Applied, ApplyOptions, HardenError, ItemResult, Outcome, RollbackReport, Undone, apply, confirm,
    expire_unconfirmed, pending, rollback,
};
pub use store::Confirmation;

#[cfg(test)]
pub(crate) mod tests;
