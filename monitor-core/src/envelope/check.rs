//! Whether an envelope counts on this host, now.

use super::claims::{Algorithm, Claims, KeyId, Kind};
use super::json::{Envelope, time_text};
use super::keys::{PublicKey, TrustedKeys};
use super::target::glob_matches;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far the clock of the signing machine may be ahead, in seconds.
pub const CLOCK_SKEW_S: i64 = 300;

/// The cryptography that checks need.
pub trait Crypto {
    /// SHA-256.
    fn sha256(&self, bytes: &[u8]) -> [u8; 32];
    /// Whether a signature over a message is good. `public` is a raw public key; see [`Algorithm`].
    fn verify(&self, algorithm: Algorithm, public: &[u8], message: &[u8], signature: &[u8]) -> bool;
}

/// The host, as targets name it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Host names: as set, and without domain.
    pub names: Vec<String>,
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
}

impl Host {
    /// Whether one of the globs matches a name or the machine-id.
    pub fn is_target(&self, targets: &[String]) -> bool {
        let names = || self.names.iter().chain(&self.machine_id);
        targets
            .iter()
            .any(|target| names().any(|name| glob_matches(target, name)))
    }
}

/// What an envelope is held against.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What is wanted.
    pub kind: Kind,
    /// Trusted public keys.
    pub keys: &'a TrustedKeys,
    /// The host.
    pub host: &'a Host,
    /// The time, seconds since 1970.
    pub now: i64,
    /// Serials accepted before.
    pub ledger: &'a Ledger,
}

/// An envelope that passed every check. Only [`open`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    claims: Claims,
    digest: [u8; 32],
    key_name: String,
}

impl Opened {
    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Its content.
    pub fn payload(&self) -> &[u8] {
        &self.claims.payload
    }

    /// SHA-256 of the signed bytes: what it is, whatever its signature or spelling.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Name of the key that signed it.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }
}

/// Why an envelope does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It holds something else.
    #[error("\"{name}\" is a {found}, not a {wanted}")]
    Kind {
        /// Name of the envelope.
        name: String,
        /// What it is.
        found: Kind,
        /// What is wanted.
        wanted: Kind,
    },
    /// No such key is trusted.
    #[error("\"{name}\" is signed by key {key}, which is not trusted here")]
    UnknownKey {
        /// Name of the envelope.
        name: String,
        /// The key.
        key: KeyId,
    },
    /// The key may not sign this.
    #[error("\"{name}\" is signed by \"{key_name}\" ({key}), which may not sign a {kind}")]
    KeyUse {
        /// Name of the envelope.
        name: String,
        /// Name of the key.
        key_name: String,
        /// The key.
        key: KeyId,
        /// What it signed.
        kind: Kind,
    },
    /// The envelope names another algorithm than the key has.
    #[error("\"{name}\" names {claimed}, but its key \"{key_name}\" is for {algorithm}")]
    Algorithm {
        /// Name of the envelope.
        name: String,
        /// Name of the key.
        key_name: String,
        /// What the envelope says.
        claimed: Algorithm,
        /// What the key is for.
        algorithm: Algorithm,
    },
    /// The signature does not fit.
    #[error(
        "the signature of \"{name}\" by \"{key_name}\" is bad: it was changed, or not signed by that key"
    )]
    Signature {
        /// Name of the envelope.
        name: String,
        /// Name of the key.
        key_name: String,
    },
    /// Not for this host.
    #[error("\"{name}\" is not for this host; it is for {}", targets.join(", "))]
    Target {
        /// Name of the envelope.
        name: String,
        /// Hosts it is for.
        targets: Vec<String>,
    },
    /// Issued in the future.
    #[error("\"{name}\" is not valid before {}", time_text(*issued))]
    NotYetValid {
        /// Name of the envelope.
        name: String,
        /// When it was signed, seconds since 1970.
        issued: i64,
    },
    /// Out of date.
    #[error("\"{name}\" expired at {}", time_text(*expires))]
    Expired {
        /// Name of the envelope.
        name: String,
        /// Since when, seconds since 1970.
        expires: i64,
    },
    /// An older issue than the last one accepted.
    #[error("\"{name}\" has serial {serial}, but {accepted} was accepted before")]
    Replayed {
        /// Name of the envelope.
        name: String,
        /// Its serial.
        serial: u64,
        /// The last serial accepted.
        accepted: u64,
    },
    /// The serial was used for something else.
    #[error("\"{name}\" has serial {serial}, which was accepted before with other content")]
    SerialReused {
        /// Name of the envelope.
        name: String,
        /// Its serial.
        serial: u64,
    },
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Kind { .. } => "use `hardpan trust add` for manifests and `hardpan policy` for policies",
            Self::UnknownKey { .. } => {
                "if you trust the signer, put its public key (*.hpkey) into /etc/hardpan/keys.d"
            }
            Self::KeyUse { .. } => "have it signed by another key, or extend `uses` in the key's file",
            Self::Algorithm { .. } | Self::Signature { .. } => "get the file again from where it was signed",
            Self::Target { .. } => "sign it for this host's name or machine-id",
            Self::NotYetValid { .. } => "compare the clocks of this host and of the signing machine",
            Self::Expired { .. } => "sign it anew with a higher serial and a later date",
            Self::Replayed { .. } | Self::SerialReused { .. } => "sign it anew with a higher serial",
        }
    }
}

/// Checks an envelope: kind, key, use of the key, algorithm, signature, then target, times and serial. Nothing of an
/// envelope is believed before its signature, except for messages.
pub fn open(envelope: Envelope, known: &Known<'_>, crypto: &dyn Crypto) -> Result<Opened, Refusal> {
    let Envelope { claims, signature } = envelope;
    let name = || claims.name.clone();
    if claims.kind != known.kind {
        return Err(Refusal::Kind {
            name: name(),
            found: claims.kind,
            wanted: known.kind,
        });
    }
    let Some(trusted) = known.keys.get(&claims.key) else {
        return Err(Refusal::UnknownKey {
            name: name(),
            key: claims.key,
        });
    };
    let key = &trusted.key;
    check_key(&claims, key)?;
    let signed = claims.signed_bytes();
    if !crypto.verify(key.algorithm, &key.public, &signed, &signature) {
        return Err(Refusal::Signature {
            name: name(),
            key_name: key.name.clone(),
        });
    }
    check_host_and_time(&claims, known.host, known.now)?;
    let digest = crypto.sha256(&signed);
    known.ledger.check(&claims, &digest)?;
    Ok(Opened {
        key_name: key.name.clone(),
        claims,
        digest,
    })
}

fn check_key(claims: &Claims, key: &PublicKey) -> Result<(), Refusal> {
    if !key.uses.contains(&claims.kind) {
        return Err(Refusal::KeyUse {
            name: claims.name.clone(),
            key_name: key.name.clone(),
            key: claims.key,
            kind: claims.kind,
        });
    }
    if key.algorithm != claims.algorithm {
        return Err(Refusal::Algorithm {
            name: claims.name.clone(),
            key_name: key.name.clone(),
            claimed: claims.algorithm,
            algorithm: key.algorithm,
        });
    }
    Ok(())
}

fn check_host_and_time(claims: &Claims, host: &Host, now: i64) -> Result<(), Refusal> {
    let name = || claims.name.clone();
    if !host.is_target(&claims.targets) {
        return Err(Refusal::Target {
            name: name(),
            targets: claims.targets.clone(),
        });
    }
    if claims.issued > now.saturating_add(CLOCK_SKEW_S) {
        return Err(Refusal::NotYetValid {
            name: name(),
            issued: claims.issued,
        });
    }
    if claims.expires <= now {
        return Err(Refusal::Expired {
            name: name(),
            expires: claims.expires,
        });
    }
    Ok(())
}

/// The last issue that was accepted under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its serial.
    pub serial: u64,
    /// [`Opened::digest`].
    pub digest: [u8; 32],
}

/// The last accepted serials, by kind and name. Outlives the removal of an envelope, so that an old one cannot come
/// back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    accepted: BTreeMap<(Kind, String), Accepted>,
}

/// Why a ledger cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Not the JSON that is expected.
    #[error("cannot read the accepted serials")]
    Json(#[source] serde_json::Error),
    /// An entry that cannot be understood.
    #[error("accepted serials: entry {number}: \"{member}\" is wrong")]
    Entry {
        /// Number of the entry, from 1.
        number: usize,
        /// The member.
        member: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    serial: u64,
    digest: String,
}

impl Ledger {
    /// Reads what [`Ledger::to_json`] wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, LedgerError> {
        let entries: Vec<RawEntry> = serde_json::from_slice(bytes).map_err(LedgerError::Json)?;
        let mut ledger = Self::default();
        for (at, entry) in entries.into_iter().enumerate() {
            let wrong = |member| LedgerError::Entry {
                number: at + 1,
                member,
            };
            let kind = Kind::from_word(&entry.kind).ok_or_else(|| wrong("type"))?;
            let digest: KeyId = entry.digest.parse().map_err(|_no_hex| wrong("digest"))?;
            let accepted = Accepted {
                serial: entry.serial,
                digest: digest.0,
            };
            if ledger.accepted.insert((kind, entry.name), accepted).is_some() {
                return Err(wrong("name"));
            }
        }
        Ok(ledger)
    }

    /// The ledger as a file.
    pub fn to_json(&self) -> String {
        let entries: Vec<RawEntry> = self
            .accepted
            .iter()
            .map(|((kind, name), accepted)| RawEntry {
                kind: kind.word().to_owned(),
                name: name.clone(),
                serial: accepted.serial,
                digest: hex::encode(accepted.digest),
            })
            .collect();
        // Strings and numbers can always be written.
        serde_json::to_string_pretty(&entries)
            .map(|json| json + "\n")
            .unwrap_or_default()
    }

    /// The last issue accepted under a name.
    pub fn last(&self, kind: Kind, name: &str) -> Option<Accepted> {
        self.accepted.get(&(kind, name.to_owned())).copied()
    }

    /// Refuses a lower serial, and an equal one unless everything signed is the same.
    pub fn check(&self, claims: &Claims, digest: &[u8; 32]) -> Result<(), Refusal> {
        let name = || claims.name.clone();
        match self.last(claims.kind, &claims.name) {
            Some(last) if claims.serial < last.serial => Err(Refusal::Replayed {
                name: name(),
                serial: claims.serial,
                accepted: last.serial,
            }),
            Some(last) if claims.serial == last.serial && *digest != last.digest => {
                Err(Refusal::SerialReused {
                    name: name(),
                    serial: claims.serial,
                })
            }
            _ => Ok(()),
        }
    }

    /// Notes an accepted envelope. Call it only once the envelope is in effect.
    pub fn accept(&mut self, opened: &Opened) {
        let claims = opened.claims();
        self.accepted.insert(
            (claims.kind, claims.name.clone()),
            Accepted {
                serial: claims.serial,
                digest: opened.digest(),
            },
        );
    }
}
