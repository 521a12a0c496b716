//! Hashing and signature verification behind one door, so that a build for FIPS can put another library here.
//!
//! ring does SHA-2 and RSA; what ring lacks (old hashes, DSA, EdDSA, ECDSA as OpenPGP has it, ML-DSA) comes from
//! rPGP.

use ::digest::DynDigest;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PacketHeader, PublicKey as RpgpKey};
use pgp::types::{Mpi, SignatureBytes, Tag, VerifyingKey};
use ring::digest;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};

use crate::digest::{Digest, DigestAlgorithm};
use crate::openpgp::{PublicKey, Reader};

/// Why a signature does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CryptoError {
    /// It does not fit key and data.
    #[error("{0}")]
    Bad(&'static str),
    /// The algorithm, its parameters or the encoding are not supported.
    #[error("not supported: {0}")]
    Unsupported(String),
}

const MISMATCH: CryptoError = CryptoError::Bad("signature does not match the content");

/// SHA-256 of one buffer.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// SHA-1, which names version 4 keys; never to be trusted for data.
pub(crate) fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut out = [0; 20];
    out.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    out
}

/// Whether an OpenPGP algorithm number is RSA that may sign.
pub(crate) const fn is_rsa(algorithm: u8) -> bool {
    matches!(algorithm, 1 | 3)
}

/// Whether an OpenPGP algorithm number is DSA.
pub(crate) const fn is_dsa(algorithm: u8) -> bool {
    algorithm == 17
}

/// Verifies `value` (as stored in the signature packet) over `message` by `key`.
pub(crate) fn verify(
    key: &PublicKey,
    hash_algorithm: u8,
    message: &[u8],
    value: &[u8],
) -> Result<(), CryptoError> {
    let ring_rsa: Option<&'static RsaParameters> = match hash_algorithm {
        8 => Some(&RSA_PKCS1_2048_8192_SHA256),
        9 => Some(&RSA_PKCS1_2048_8192_SHA384),
        10 => Some(&RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    };
    match ring_rsa {
        Some(parameters) if is_rsa(key.algorithm()) && key.rsa_bits() >= Some(2048) => {
            verify_rsa(key, parameters, message, value)
        }
        _ => verify_rpgp(key, hash_algorithm, message, value),
    }
}

fn verify_rsa(
    key: &PublicKey,
    parameters: &'static RsaParameters,
    message: &[u8],
    value: &[u8],
) -> Result<(), CryptoError> {
    let malformed = || CryptoError::Bad("malformed RSA key or signature");
    let mut material = Reader::new(key.material());
    let n = material.mpi().ok_or_else(malformed)?;
    let e = material.mpi().ok_or_else(malformed)?;
    let mut reader = Reader::new(value);
    let short = reader.mpi().ok_or_else(malformed)?;
    if !reader.rest().is_empty() || short.len() > n.len() {
        return Err(malformed());
    }
    // OpenPGP drops leading zeros, ring wants the modulus's length.
    let mut signature = vec![0; n.len() - short.len()];
    signature.extend_from_slice(short);
    RsaPublicKeyComponents { n, e }
        .verify(parameters, message, &signature)
        .map_err(|_unspecified| MISMATCH)
}

/// The general path. rPGP's SHA-1 notices collision attacks.
fn verify_rpgp(key: &PublicKey, hash_algorithm: u8, message: &[u8], value: &[u8]) -> Result<(), CryptoError> {
    let unsupported = |error: &dyn std::fmt::Display| CryptoError::Unsupported(error.to_string());
    let len = u32::try_from(key.body().len()).map_err(|error| unsupported(&error))?;
    let header = PacketHeader::new_fixed(Tag::PublicKey, len);
    let rpgp = RpgpKey::try_from_reader(header, key.body()).map_err(|error| unsupported(&error))?;
    let hash_algorithm = HashAlgorithm::from(hash_algorithm);
    let digest = hash_algorithm
        .digest(message)
        .map_err(|error| unsupported(&error))?;
    let value = signature_bytes(key.algorithm(), value).ok_or(CryptoError::Bad("malformed signature"))?;
    rpgp.verify(hash_algorithm, &digest, &value)
        .map_err(|_error| MISMATCH)
}

/// One number (RSA), two (DSA, ECDSA, legacy EdDSA), or the algorithm's own bytes.
fn signature_bytes(algorithm: u8, value: &[u8]) -> Option<SignatureBytes> {
    let n_numbers = match algorithm {
        1 | 3 => 1,
        17 | 19 | 22 => 2,
        _ => return Some(SignatureBytes::Native(value.to_vec().into())),
    };
    let mut reader = value;
    let mut numbers = Vec::with_capacity(n_numbers);
    for _ in 0..n_numbers {
        numbers.push(Mpi::try_from_reader(&mut reader).ok()?);
    }
    reader.is_empty().then_some(SignatureBytes::Mpis(numbers))
}

/// A digest under way.
pub(crate) enum Hasher {
    /// SHA-2 and SHA-1.
    Ring(Box<digest::Context>),
    /// Everything else.
    Rpgp(Box<dyn DynDigest + Send>),
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ring(_) => "Hasher::Ring",
            Self::Rpgp(_) => "Hasher::Rpgp",
        })
    }
}

impl Hasher {
    /// Starts a digest.
    pub(crate) fn new(algorithm: DigestAlgorithm) -> Result<Self, CryptoError> {
        use DigestAlgorithm as D;
        let ring = |algorithm| Ok(Self::Ring(Box::new(digest::Context::new(algorithm))));
        let other = match algorithm {
            D::Sha256 => return ring(&digest::SHA256),
            D::Sha384 => return ring(&digest::SHA384),
            D::Sha512 => return ring(&digest::SHA512),
            D::Sha1 => return ring(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            D::Md5 => HashAlgorithm::Md5,
            D::Sha224 => HashAlgorithm::Sha224,
            D::Sha3_256 => HashAlgorithm::Sha3_256,
            D::Sha3_512 => HashAlgorithm::Sha3_512,
        };
        other
            .new_hasher()
            .map(Self::Rpgp)
            .map_err(|error| CryptoError::Unsupported(error.to_string()))
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Ring(context) => context.update(bytes),
            Self::Rpgp(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes added.
    pub(crate) fn finish(self, algorithm: DigestAlgorithm) -> Option<Digest> {
        match self {
            Self::Ring(context) => Digest::from_bytes(algorithm, context.finish().as_ref()),
            Self::Rpgp(hasher) => Digest::from_bytes(algorithm, &hasher.finalize()),
        }
    }
}
