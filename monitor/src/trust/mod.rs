//! What may be trusted: the digests of verified packages, read by a short-lived child process.

mod findings;
mod index;
mod keys;
mod watch;

pub use index::LoadedTrust;
pub use watch::DatabaseStamp;
