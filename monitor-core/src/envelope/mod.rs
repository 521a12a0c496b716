//! Signed envelopes: how manifests of digests and policies travel from the machine that signs to the hosts.
//!
//! An envelope is a JSON object. Which bytes are signed is defined by [`Claims::signed_bytes`], so that white space and
//! the order of members do not matter; everything but the signature is signed.
//!
//! ```json
//! {
//!   "type": "manifest",                      // or "policy"
//!   "version": 1,
//!   "algorithm": "ed25519",                  // or "ecdsa-p256-sha256", "ecdsa-p384-sha384"
//!   "key": "…64 hexadecimal digits…",        // SHA-256 of the raw public key
//!   "serial": 7,                             // a lower one than the last accepted is refused
//!   "issued": "2026-01-31T08:00:00Z",
//!   "expires": "2027-01-31T08:00:00Z",
//!   "target": ["web*.example.org"],          // globs over host names and machine-id
//!   "name": "inhouse-tools",
//!   "payload": "…base64…",
//!   "signature": "…base64…"
//! }
//! ```
//!
//! Reading is total and bounded. Hashing and signature verification come from outside ([`Crypto`]); what passed all
//! checks is an [`Opened`], which only [`open`] can make.

mod check;
mod claims;
mod json;
mod keys;
mod target;

pub use check::{Accepted, CLOCK_SKEW_S, Crypto, Host, Known, Ledger, LedgerError, Opened, Refusal, open};
pub use claims::{Algorithm, Claims, DOMAIN, KeyId, Kind, check_name};
pub use json::{Envelope, EnvelopeError, MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES, parse_time, time_text};
pub use keys::{KeyFileError, PublicKey, TrustedKey, TrustedKeys};
pub use target::{MAX_TARGET_BYTES, MAX_TARGETS, glob_matches};

#[cfg(test)]
mod tests;
