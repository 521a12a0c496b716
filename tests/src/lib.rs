//! Scenarios that run in virtual machines: an attack, its benign twin, and what Hardpan must have recorded of them.
//!
//! A scenario is data (`tests/scenarios/NAME/`). `xtask` packs scenarios into a [`plan::Plan`], the guest's init
//! (`vm-init`) carries the plan out and reports with [`frame`]s, and the host judges the records ([`judge`]).
//! Nothing is judged inside the guest, so that a failure can show expected and found side by side.
#![forbid(unsafe_code)]

pub mod frame;
#[cfg(feature = "guest")]
pub mod guest;
pub mod judge;
pub mod plan;
pub mod predicate;
pub mod scenario;
