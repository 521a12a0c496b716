//! Shared parts of Hardpan's eBPF programs. `main.rs` and `tracepoints.rs` are the two objects.
//!
//! Rules of this crate:
//! - no kernel struct offset stands here as a number: all come from `hardpan_abi::kernel_fields!` (see [`off`]);
//! - LSM, fentry and BTF tracepoint programs read kernel structs by typed loads ([`mem::Typed`]), which lockdown does
//!   not refuse; only raw tracepoints use `bpf_probe_read_kernel` ([`mem::Probed`]);
//! - a reservation in a ring buffer is never held across a helper that may sleep;
//! - counters are only added to, atomically, so that generated = received + lost holds exactly.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod access;
pub mod below;
pub mod content;
pub mod cred;
pub mod exec;
pub mod file;
pub mod gate;
pub mod image;
pub mod judge;
pub mod maps;
pub mod mem;
pub mod module;
pub mod off;
pub mod opening;
pub mod package;
pub mod rule;
pub mod script;
pub mod shadow;
pub mod shadow_read;
pub mod tally;
pub mod task;
pub mod verifier;
