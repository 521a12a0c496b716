//! Hashes and signatures of user space, in one place.
//!
//! Only [`backend`](self) files name the library behind them (ring), so that a build for FIPS can put the system's
//! OpenSSL there. What is above it: [`HostCrypto`] for [`hardpan_core::envelope`], private keys, public keys of the
//! host, and the ledger of accepted serials.

mod backend;
mod ledger;
mod private;
mod public;

pub use backend::{Sha256, SigningKey, sha256};
pub use ledger::{LedgerFile, LedgerFileError};
pub use private::{Draft, KeyLoadError, load_signing_key, sign};
pub use public::{PUBLIC_KEY_EXTENSION, public_keys, this_host};

use hardpan_core::envelope::{Algorithm, Crypto};
use std::io::{self, Read};

/// Cryptography for [`hardpan_core::envelope::open`].
#[derive(Debug, Clone, Copy, Default)]
pub struct HostCrypto;

impl Crypto for HostCrypto {
    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        sha256(bytes)
    }

    fn verify(&self, algorithm: Algorithm, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
        backend::verify(algorithm, public, message, signature)
    }
}

/// SHA-256 and length of everything that a reader gives, in constant memory.
pub fn sha256_of(mut reader: impl Read) -> io::Result<([u8; 32], u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 18];
    let mut size = 0_u64;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((hash.finish(), size)),
            Ok(n) => {
                hash.update(buffer.get(..n).unwrap_or_default());
                size = size.saturating_add(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
