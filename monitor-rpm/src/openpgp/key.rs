//! Public key packets.

use super::{Reader, Signature};
use crate::crypto::{self, CryptoError};
use crate::pins::Fingerprint;

/// A public key or subkey, version 4 or 6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    body: Vec<u8>,
    fingerprint: Fingerprint,
    algorithm: u8,
    created: u32,
}

impl PublicKey {
    /// Reads the body of a public key or public subkey packet.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "key ends too early";
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(SHORT)?;
        let created = reader.u32().ok_or(SHORT)?;
        let algorithm = reader.u8().ok_or(SHORT)?;
        if version == 6 && reader.u32().ok_or(SHORT)? as usize != reader.rest().len() {
            return Err("key material of another length than stated");
        }
        let framed = frame(version, body).ok_or("key is too long")?;
        let fingerprint = match version {
            4 => Fingerprint::V4(crypto::sha1(&framed)),
            6 => Fingerprint::V6(crypto::sha256(&framed)),
            2 | 3 => return Err("version 3 keys are not supported"),
            _ => return Err("unknown key version"),
        };
        Ok(Self {
            body: body.to_vec(),
            fingerprint,
            algorithm,
            created,
        })
    }

    /// Fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// OpenPGP number of the algorithm.
    pub fn algorithm(&self) -> u8 {
        self.algorithm
    }

    /// Creation time, seconds since 1970.
    pub fn created(&self) -> u32 {
        self.created
    }

    /// The packet's body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The material behind version, time and algorithm.
    pub(crate) fn material(&self) -> &[u8] {
        let skip = if matches!(self.fingerprint, Fingerprint::V6(_)) {
            10
        } else {
            6
        };
        self.body.get(skip..).unwrap_or_default()
    }

    /// Size of an RSA modulus in bits.
    pub fn rsa_bits(&self) -> Option<usize> {
        if !crypto::is_rsa(self.algorithm) {
            return None;
        }
        let modulus = Reader::new(self.material()).mpi()?;
        Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
    }

    /// The key as it is hashed into signatures on keys.
    pub(crate) fn framed(&self) -> Vec<u8> {
        let version = if matches!(self.fingerprint, Fingerprint::V6(_)) {
            6
        } else {
            4
        };
        frame(version, &self.body).unwrap_or_default()
    }

    /// SHA-256 of all that [`PublicKey::verify`] looks at, where `data_sha256` stands for the data: equal for two calls
    /// only if their answers are.
    pub(crate) fn question(&self, signature: &Signature, data_sha256: &[u8; 32]) -> [u8; 32] {
        let mut bytes = b"hardpan signature, version 1\0".to_vec();
        let numbers = [
            signature.version,
            signature.key_algorithm,
            signature.hash_algorithm,
        ];
        for part in [&self.framed()[..], &numbers]
            .into_iter()
            .chain(signature.hashed_parts())
            .chain([&signature.value[..], data_sha256])
        {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        crypto::sha256(&bytes)
    }

    /// Verifies a signature over `data` by this key. Nothing but the mathematics: whether the key may sign, and
    /// whether the hash is good enough, is for the caller.
    pub(crate) fn verify(&self, signature: &Signature, data: &[&[u8]]) -> Result<(), CryptoError> {
        let key_is_v6 = matches!(self.fingerprint, Fingerprint::V6(_));
        if key_is_v6 != (signature.version == 6) {
            return Err(CryptoError::Bad("signature and key are of different versions"));
        }
        if signature.key_algorithm != self.algorithm {
            return Err(CryptoError::Bad("signature and key are of different algorithms"));
        }
        crypto::verify(
            self,
            signature.hash_algorithm,
            &signature.message(data),
            &signature.value,
        )
    }
}

/// The key with the prefix under which it is hashed.
fn frame(version: u8, body: &[u8]) -> Option<Vec<u8>> {
    let mut framed = Vec::with_capacity(body.len() + 5);
    if version == 6 {
        framed.push(0x9b);
        framed.extend_from_slice(&u32::try_from(body.len()).ok()?.to_be_bytes());
    } else {
        framed.push(0x99);
        framed.extend_from_slice(&u16::try_from(body.len()).ok()?.to_be_bytes());
    }
    framed.extend_from_slice(body);
    Some(framed)
}
