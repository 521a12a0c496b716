//! Hardpan user space: everything that touches the running system.

pub mod config;
pub mod enrich;
pub mod export;
pub mod harden;
pub mod probe;
pub mod sensor;
pub mod sys;
