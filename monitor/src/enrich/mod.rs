//! Finding out what an event does not say itself: names, paths, parents, containers, digests.
//!
//! Everything here is bounded, and nothing here waits: what may wait (disks) happens in [`pool`].

pub mod bounded;
pub mod clock;
pub mod hash;
mod host;
pub mod identity;
pub mod pool;
mod proc;
mod users;

pub use host::host;
pub use proc::Proc;
pub use users::Users;
