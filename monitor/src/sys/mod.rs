//! The only room of this crate with unsafe code: thin, safe wrappers of system calls that no library offers.

pub mod bpf;
pub mod held_page;
pub mod lease;
pub mod task;
pub mod watch;
