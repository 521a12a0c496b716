//! What may be trusted: the digests of verified packages, read by a short-lived child process.

pub mod atomic;
mod child;
mod findings;
mod index;
mod keeper;
mod keys;
mod local;
pub mod manifest;
pub mod store;
mod watch;

pub(crate) use child::Request;
pub use child::{CHILD_FLAG, ChildError, Reading, TrustError, child, read, read_with};
pub use index::{ExpectedFile, ExpectedFiles, LoadedTrust, SeenTrust};
pub use keeper::{TrustUpdate, keep};
pub use local::local_trust;
pub use watch::Stamp;

/// The vendors' pins that are part of this program.
pub fn vendor_pins() -> (hardpan_rpm::Pins, Vec<hardpan_core::record::Finding>) {
    keys::pins(true, None, &[])
}
