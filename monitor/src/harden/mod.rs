//! Applies hardening plans and takes them back. `hardpan_core::policy::harden` decides; this module reads and writes.
//!
//! All paths are resolved within a root, so the same code hardens the running host and a mounted image.

mod confirmation;
mod drift;
mod files;
mod rollback;
mod root;
mod run;
mod store;
mod tools;

pub use confirmation::{awaits_confirmation, confirm, expire_unconfirmed, pending, was_applied};
pub use drift::{Drift, drift};
pub use files::FileError;
pub use rollback::{RollbackReport, Undone, rollback};
pub use root::{Root, RootError};
pub use run::{Applied, ApplyOptions, HardenError, ItemResult, Outcome, apply};
pub use store::Confirmation;

#[cfg(test)]
pub(crate) mod tests;
