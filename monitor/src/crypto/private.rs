//! Private keys. They belong off the hosts: only the commands that sign read them.

use super::HostCrypto;
use super::backend::SigningKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardpan_core::envelope::{Algorithm, Claims, Envelope, EnvelopeError, Kind, PublicKey};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Largest file of a private key, in bytes.
const MAX_KEY_BYTES: u64 = 1 << 16;

/// Why a private key cannot be used, or nothing could be signed with it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyLoadError {
    /// The file cannot be read.
    #[error("cannot read the private key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a key that can be used.
    #[error("{} is no usable private key: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// What is to be signed is not allowed.
    #[error("cannot sign \"{name}\"")]
    Claims {
        /// Name of the envelope.
        name: String,
        /// What is wrong.
        #[source]
        source: EnvelopeError,
    },
    /// The system gave no random numbers.
    #[error("cannot sign: the system gave no random numbers")]
    Random,
}

impl KeyLoadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unusable { .. } => Some(
                "make one with `openssl genpkey -algorithm ed25519 -out key.pem` (or -algorithm EC -pkeyopt \
                 ec_paramgen_curve:P-256, P-384); convert others with `openssl pkcs8 -topk8 -nocrypt -in OLD -out key.pem`",
            ),
            _ => None,
        }
    }
}

/// Reads a private key: PKCS#8, PEM or DER, not encrypted.
pub fn load_signing_key(path: &Path) -> Result<SigningKey, KeyLoadError> {
    let failed = |source| KeyLoadError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    // Opening a FIFO must not wait for a writer.
    let file = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    file.take(MAX_KEY_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let unusable = |why| KeyLoadError::Unusable {
        path: path.to_owned(),
        why,
    };
    let der = match std::str::from_utf8(&bytes) {
        Ok(text) if text.contains("-----BEGIN ") => pem(text).map_err(unusable)?,
        _ => bytes,
    };
    SigningKey::from_pkcs8(&der)
        .ok_or_else(|| unusable("it is not an Ed25519, P-256 or P-384 key in PKCS#8 form"))
}

/// The DER inside PEM.
fn pem(text: &str) -> Result<Vec<u8>, &'static str> {
    for (label, why) in [
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "it is encrypted"),
        ("-----BEGIN EC PRIVATE KEY-----", "it is not in PKCS#8 form"),
        ("-----BEGIN RSA PRIVATE KEY-----", "RSA is not supported"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "it is a key of OpenSSH, not in PKCS#8 form",
        ),
        ("-----BEGIN PUBLIC KEY-----", "it is a public key"),
    ] {
        if text.contains(label) {
            return Err(why);
        }
    }
    let (_, rest) = text
        .split_once("-----BEGIN PRIVATE KEY-----")
        .ok_or("there is no \"BEGIN PRIVATE KEY\" in it")?;
    let (body, _) = rest
        .split_once("-----END PRIVATE KEY-----")
        .ok_or("it is cut short")?;
    let digits: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(digits).map_err(|_no_base64| "it is not base64")
}

/// What is to be signed; algorithm and key follow from the private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What is in the payload.
    pub kind: Kind,
    /// Serial number.
    pub serial: u64,
    /// When it is signed, seconds since 1970.
    pub issued: i64,
    /// From when on it is void, seconds since 1970.
    pub expires: i64,
    /// Globs over host names and machine-id.
    pub targets: Vec<String>,
    /// Name.
    pub name: String,
    /// Content.
    pub payload: Vec<u8>,
}

impl SigningKey {
    /// The public half, as the hosts need it.
    pub fn public_key(&self, name: impl Into<String>, uses: &[Kind]) -> PublicKey {
        PublicKey {
            name: name.into(),
            algorithm: self.algorithm(),
            public: self.public(),
            uses: uses.to_vec(),
        }
    }
}

/// Signs.
pub fn sign(key: &SigningKey, draft: Draft) -> Result<Envelope, KeyLoadError> {
    let algorithm: Algorithm = key.algorithm();
    let claims = Claims {
        kind: draft.kind,
        algorithm,
        key: key.public_key("", &[]).id(&HostCrypto),
        serial: draft.serial,
        issued: draft.issued,
        expires: draft.expires,
        targets: draft.targets,
        name: draft.name,
        payload: draft.payload,
    };
    claims.check().map_err(|source| KeyLoadError::Claims {
        name: claims.name.clone(),
        source,
    })?;
    let signature = key.sign(&claims.signed_bytes()).ok_or(KeyLoadError::Random)?;
    Ok(Envelope { claims, signature })
}
