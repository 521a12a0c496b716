//! Hashing and signature verification behind one door, so that a build for FIPS can put another library here.
//!
//! ring does SHA-2 and RSA; what ring lacks (other curves, ML-DSA, old hashes) comes from rPGP.

/// SHA-256 of one buffer.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}
