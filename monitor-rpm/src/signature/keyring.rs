//! The keys that count: pinned, with material at hand, not revoked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::finding::Finding;
use crate::openpgp::{self, ArmorError, Certificate, CertificateParts, Issuer, Revocation, SigningKey};
use crate::pins::{Fingerprint, Pin, Pins};

/// Largest file of keys that is read, in bytes.
pub const MAX_KEY_BYTES: usize = 4 << 20;

/// Bytes that may hold OpenPGP keys, and where they come from.
#[derive(Clone, Debug)]
pub struct KeyMaterial {
    /// Origin for messages, usually a path.
    pub source: String,
    /// ASCII armour (any number of keys and blocks) or binary packets.
    pub bytes: Vec<u8>,
}

/// A key that may vouch.
#[derive(Debug)]
pub(super) struct TrustedKey {
    pub(super) pin: Arc<Pin>,
    pub(super) key: SigningKey,
    pub(super) user_id: String,
}

/// What is known of a key that does not count; for messages.
#[derive(Clone, Debug)]
pub(super) struct KnownKey {
    pub(super) fingerprint: Fingerprint,
    pub(super) user_id: String,
    pub(super) reason: &'static str,
}

/// Pinned keys with their material, by key id.
#[derive(Debug, Default)]
pub struct Keyring {
    pub(super) keys: HashMap<[u8; 8], Vec<TrustedKey>>,
    known: HashMap<[u8; 8], KnownKey>,
    n_usable: usize,
}

/// A public key or an X.509 certificate as OpenSSL writes it.
fn is_other_pem(bytes: &[u8]) -> bool {
    let begins = |start: &[u8]| bytes.trim_ascii_start().starts_with(start);
    begins(b"-----BEGIN PUBLIC KEY-----") || begins(b"-----BEGIN CERTIFICATE-----")
}

/// A certificate's copies from all sources.
struct Collected {
    parts: CertificateParts,
    source: String,
}

impl Keyring {
    /// Takes the keys that are pinned out of all material; the findings are about material that cannot be read and
    /// pinned keys that are revoked.
    pub fn build(pins: &Pins, material: &[KeyMaterial]) -> (Self, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut keyring = Self::default();
        let mut pinned: BTreeMap<Fingerprint, Collected> = BTreeMap::new();
        for material in material {
            let unreadable = |reason: String| Finding::UnreadableKey {
                source: material.source.clone(),
                reason,
            };
            if material.bytes.len() > MAX_KEY_BYTES {
                findings.push(unreadable(format!("larger than {MAX_KEY_BYTES} bytes")));
                continue;
            }
            let packets = match openpgp::dearmor(&material.bytes) {
                Ok(packets) => packets,
                // Keys of file signatures and certificates lie in the same directory. They sign no packages.
                Err(ArmorError::NoBlock) if is_other_pem(&material.bytes) => continue,
                Err(error) => {
                    findings.push(unreadable(error.to_string()));
                    continue;
                }
            };
            let (certificates, problems) = openpgp::certificates(&packets);
            findings.extend(problems.into_iter().map(unreadable));
            for parts in certificates {
                let fingerprint = parts.primary.fingerprint();
                if pins.find(&fingerprint).is_none() {
                    keyring.remember(&parts, "which is not pinned");
                    continue;
                }
                match pinned.get_mut(&fingerprint) {
                    Some(collected) => collected.parts.merge(parts),
                    None => {
                        pinned.insert(
                            fingerprint,
                            Collected {
                                parts,
                                source: material.source.clone(),
                            },
                        );
                    }
                }
            }
        }
        for (fingerprint, collected) in pinned {
            if let Some(pin) = pins.find(&fingerprint) {
                keyring.add(pin, &collected, &mut findings);
            }
        }
        (keyring, findings)
    }

    fn add(&mut self, pin: &Arc<Pin>, collected: &Collected, findings: &mut Vec<Finding>) {
        let certificate = Certificate::evaluate(&collected.parts);
        let mut unusable = |reason: &str| {
            findings.push(Finding::UnusableKey {
                fingerprint: certificate.fingerprint.to_string(),
                source: collected.source.clone(),
                reason: reason.to_owned(),
            });
        };
        match certificate.revocation {
            Revocation::Always => unusable("it is revoked"),
            _ if certificate.keys.is_empty() => unusable("no part of it may sign"),
            _ => self.n_usable += 1,
        }
        // Subkeys that are not bound are named in messages, and never used.
        self.remember(&collected.parts, "which no pinned key bound for signing");
        for key in certificate.keys {
            let id = key.key.fingerprint().key_id();
            self.keys.entry(id).or_default().push(TrustedKey {
                pin: Arc::clone(pin),
                key,
                user_id: certificate.user_id.clone(),
            });
        }
    }

    fn remember(&mut self, parts: &CertificateParts, reason: &'static str) {
        let user_id: String = parts.claimed_user_id().chars().take(200).collect();
        for fingerprint in parts.claimed_fingerprints() {
            let known = KnownKey {
                fingerprint,
                user_id: user_id.clone(),
                reason,
            };
            self.known.entry(fingerprint.key_id()).or_insert(known);
        }
    }

    /// How many pinned keys have usable material.
    pub fn n_usable(&self) -> usize {
        self.n_usable
    }

    /// Whether a key or subkey is known to be revoked for good.
    pub(crate) fn is_revoked(&self, fingerprint: &Fingerprint) -> bool {
        let keys = self.keys.get(&fingerprint.key_id());
        keys.into_iter().flatten().any(|trusted| {
            trusted.key.key.fingerprint() == *fingerprint && trusted.key.revocation == Revocation::Always
        })
    }

    /// The key that a signature names: by fingerprint where it gives one. By id alone only if exactly one pinned key
    /// has it: ids are short enough to be forged.
    pub(super) fn find(&self, issuer: Issuer) -> Result<&TrustedKey, KeyProblem<'_>> {
        let id = issuer.key_id();
        let candidates = self.keys.get(&id).map(Vec::as_slice).unwrap_or_default();
        match issuer {
            Issuer::Fingerprint(fingerprint) => candidates
                .iter()
                .find(|candidate| candidate.key.key.fingerprint() == fingerprint),
            Issuer::KeyId(_) => match candidates {
                [only] => Some(only),
                [] => None,
                _ => return Err(KeyProblem::Ambiguous),
            },
        }
        .ok_or_else(|| KeyProblem::Unknown(self.known.get(&id)))
    }
}

/// Why there is no key for a signature.
#[derive(Debug)]
pub(super) enum KeyProblem<'a> {
    /// Several pinned keys share the id.
    Ambiguous,
    /// None is pinned; what the material says of it, if there is any.
    Unknown(Option<&'a KnownKey>),
}
