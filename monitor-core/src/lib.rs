//! Hardpan's logic: bytes and facts in, values out.
//!
//! This crate never does IO, reads no clock, starts no thread and contains no unsafe code. Whatever comes from the
//! kernel, from files or from packages is hostile: decoding is total, nothing panics, every size is bounded.
#![forbid(unsafe_code)]

pub mod aggregate;
pub mod audit;
pub mod btf;
pub mod detect;
pub mod envelope;
pub mod event;
pub mod gate;
pub mod platform;
pub mod policy;
pub mod process;
pub mod record;
pub mod syntax;
pub mod trust;
pub mod verdict;
