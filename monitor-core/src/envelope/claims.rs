//! What an envelope says, and the bytes that are signed.

use std::fmt;
use std::str::FromStr;

/// First of the signed bytes: keeps these signatures apart from any others that a key may make.
pub const DOMAIN: &[u8] = b"hardpan signed envelope, version 1\0";
/// Longest name of an envelope, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// What is in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A manifest of digests that may run.
    Manifest,
    /// A policy.
    Policy,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Manifest, Self::Policy];

    /// The word in files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Policy => "policy",
        }
    }

    /// The kind of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032). The public key is 32 bytes, the signature 64.
    Ed25519,
    /// ECDSA over P-256 with SHA-256. The public key is the uncompressed point (65 bytes), the signature DER.
    EcdsaP256Sha256,
    /// ECDSA over P-384 with SHA-384. The public key is the uncompressed point (97 bytes), the signature DER.
    EcdsaP384Sha384,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 3] = [Self::Ed25519, Self::EcdsaP256Sha256, Self::EcdsaP384Sha384];

    /// The word in files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
        }
    }

    /// The algorithm of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }

    /// Length of a raw public key, in bytes.
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::EcdsaP256Sha256 => 65,
            Self::EcdsaP384Sha384 => 97,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// SHA-256 of a raw public key; 64 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 32]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

/// Everything that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// What is in the payload.
    pub kind: Kind,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// By which key.
    pub key: KeyId,
    /// Counts up with each issue of the same name.
    pub serial: u64,
    /// When it was signed, seconds since 1970.
    pub issued: i64,
    /// From when on it is void, seconds since 1970.
    pub expires: i64,
    /// Globs over host names and machine-id; one must match.
    pub targets: Vec<String>,
    /// Name; serials are counted per kind and name.
    pub name: String,
    /// The content.
    pub payload: Vec<u8>,
}

impl Claims {
    /// The bytes that are signed: [`DOMAIN`], then each field as its length (eight bytes, big-endian) and its bytes:
    /// type, version, algorithm, key, serial, issued, expires, number of targets, each target, name, payload.
    /// Words and texts are UTF-8; the key is its 32 bytes; numbers are eight bytes, big-endian (times in seconds
    /// since 1970, two's complement).
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(DOMAIN.len() + self.payload.len() + 512);
        out.extend_from_slice(DOMAIN);
        let mut field = |bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        field(self.kind.word().as_bytes());
        field(&1_u64.to_be_bytes());
        field(self.algorithm.word().as_bytes());
        field(&self.key.0);
        field(&self.serial.to_be_bytes());
        field(&self.issued.to_be_bytes());
        field(&self.expires.to_be_bytes());
        field(&(self.targets.len() as u64).to_be_bytes());
        for target in &self.targets {
            field(target.as_bytes());
        }
        field(self.name.as_bytes());
        field(&self.payload);
        out
    }
}

/// Checks a name: it becomes a file name. The error says what is allowed.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fine = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(allowed);
    fine.then_some(())
        .ok_or("a name has 1 to 100 of the characters A-Z a-z 0-9 . _ - and starts with a letter or a digit")
}
