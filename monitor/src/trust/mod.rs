//! What may be trusted: the digests of verified packages, read by a short-lived child process.

mod child;
mod findings;
mod index;
mod keeper;
mod keys;
mod watch;

pub use child::{CHILD_FLAG, ChildError, Reading, TrustError, child, read, read_with};
pub use index::LoadedTrust;
pub use keeper::{TrustUpdate, keep};
pub use watch::DatabaseStamp;
