//! Hardpan user space: everything that touches the running system.

pub mod audit;
mod chain;
mod child;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod daemon;
pub mod doctor;
pub mod enrich;
pub mod export;
pub mod gate;
pub mod harden;
pub mod policy;
pub mod probe;
pub mod sensor;
pub mod sweep;
pub mod sys;
pub mod trust;
