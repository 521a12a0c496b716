//! Public keys that may sign envelopes: files named `*.hpkey`.
//!
//! ```toml
//! name = "Release team 2026"
//! algorithm = "ed25519"
//! public = "…base64 of the raw public key…"
//! uses = ["manifest", "policy"]
//! ```

use super::check::Crypto;
use super::claims::{Algorithm, KeyId, Kind};
use crate::syntax::complaint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Longest name of a key, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// A public key and what it may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Name for people.
    pub name: String,
    /// Algorithm.
    pub algorithm: Algorithm,
    /// Raw public key; see [`Algorithm`].
    pub public: Vec<u8>,
    /// What it may sign.
    pub uses: Vec<Kind>,
}

/// Why a file of a public key is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Not the TOML that is expected.
    #[error("cannot read the public key: {0}")]
    Toml(String),
    /// A key with a value that is not allowed.
    #[error("\"{key}\" {must}")]
    Value {
        /// The key in the file.
        key: &'static str,
        /// What it must be.
        must: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    algorithm: String,
    public: String,
    uses: Vec<String>,
}

impl PublicKey {
    /// Reads a file.
    pub fn from_toml(text: &str) -> Result<Self, KeyFileError> {
        let raw: Raw = toml::from_str(text).map_err(|error| KeyFileError::Toml(complaint(text, &error)))?;
        let value = |key, must: String| KeyFileError::Value { key, must };
        if raw.name.trim().is_empty()
            || raw.name.len() > MAX_NAME_BYTES
            || raw.name.chars().any(char::is_control)
        {
            let must = format!("must have 1 to {MAX_NAME_BYTES} bytes without control characters");
            return Err(value("name", must));
        }
        let algorithm = Algorithm::from_word(&raw.algorithm).ok_or_else(|| {
            value(
                "algorithm",
                format!(
                    "must be one of {}",
                    Algorithm::ALL.map(Algorithm::word).join(", ")
                ),
            )
        })?;
        let public = STANDARD
            .decode(raw.public.trim())
            .map_err(|error| value("public", format!("must be base64: {error}")))?;
        let uncompressed = algorithm == Algorithm::Ed25519 || public.first() == Some(&4);
        if public.len() != algorithm.public_key_bytes() || !uncompressed {
            let n = algorithm.public_key_bytes();
            return Err(value(
                "public",
                format!("must be the {n} bytes of a raw {algorithm} public key"),
            ));
        }
        let uses: Option<Vec<Kind>> = raw.uses.iter().map(|word| Kind::from_word(word)).collect();
        let uses = uses.filter(|uses| !uses.is_empty()).ok_or_else(|| {
            value(
                "uses",
                format!(
                    "must list at least one of {}",
                    Kind::ALL.map(Kind::word).join(", ")
                ),
            )
        })?;
        Ok(Self {
            name: raw.name,
            algorithm,
            public,
            uses,
        })
    }

    /// The key as a file.
    pub fn to_toml(&self) -> String {
        let uses: Vec<String> = self.uses.iter().map(|kind| format!("\"{kind}\"")).collect();
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _written = write!(
            text,
            "name = {}\nalgorithm = \"{}\"\npublic = \"{}\"\nuses = [{}]\n",
            toml::Value::String(self.name.clone()),
            self.algorithm,
            STANDARD.encode(&self.public),
            uses.join(", ")
        );
        text
    }

    /// Its id.
    pub fn id(&self, crypto: &dyn Crypto) -> KeyId {
        KeyId(crypto.sha256(&self.public))
    }
}

/// A public key and the file it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// The file, for messages.
    pub source: String,
}

/// The public keys that this host trusts.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys {
    by_id: BTreeMap<KeyId, TrustedKey>,
}

impl TrustedKeys {
    /// Adds a key. If the same key is there already, it keeps its first name, and may be used for what both files
    /// allow.
    pub fn add(&mut self, key: PublicKey, source: impl Into<String>, crypto: &dyn Crypto) {
        let id = key.id(crypto);
        if let Some(known) = self.by_id.get_mut(&id) {
            let known = &mut known.key.uses;
            known.retain(|kind| key.uses.contains(kind));
        } else {
            self.by_id.insert(
                id,
                TrustedKey {
                    key,
                    source: source.into(),
                },
            );
        }
    }

    /// The key with this id.
    pub fn get(&self, id: &KeyId) -> Option<&TrustedKey> {
        self.by_id.get(id)
    }

    /// All keys, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyId, &TrustedKey)> {
        self.by_id.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
