//! Verification of a header's signatures.

use base64::Engine;

use super::keyring::{KeyProblem, Keyring, TrustedKey};
use super::proven::Recall;
use super::verified::{Nevra, Signer, VerifiedHeader};
use crate::crypto::{self, CryptoError};
use crate::digest::DigestAlgorithm;
use crate::files::FilesError;
use crate::header::{Header, TagError, View, tag};
use crate::openpgp::{Signature, SignatureError, signature_packet, sigtype};

/// Most signatures of one header that are looked at.
const MAX_SIGNATURES: usize = 16;

/// What is wrong with one signature of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureProblem {
    /// By a pinned key, and does not fit the header.
    Bad {
        /// Tag that holds it.
        tag: u32,
        /// Fingerprint of the key.
        key: String,
        /// What does not fit.
        reason: String,
    },
    /// Good, but the pin does not cover the package.
    OutOfScope {
        /// Fingerprint of the pinned key.
        fingerprint: String,
        /// Name of the pin.
        pin: String,
    },
    /// Cannot be read, or not supported.
    Unreadable {
        /// Tag that holds it.
        tag: u32,
        /// What is wrong.
        reason: String,
    },
    /// By a key that does not count.
    Untrusted {
        /// Id of the key.
        key_id: String,
        /// Its fingerprint, if its material is at hand.
        fingerprint: Option<String>,
        /// Its user id, unproven, if its material is at hand.
        user_id: Option<String>,
        /// Why it does not count.
        reason: &'static str,
    },
    /// Refused for its algorithms.
    Weak {
        /// Tag that holds it.
        tag: u32,
        /// Fingerprint of the key.
        key: String,
        /// What is weak.
        reason: String,
    },
}

/// Why a header is not verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The signature is good, the file list inside is not.
    #[error("contradictory file list")]
    Files(#[source] FilesError),
    /// There are signatures, and none is good, pinned and in scope.
    #[error("no good signature by a pinned key")]
    NoGoodSignature,
    /// No region: there is nothing that a signature could cover.
    #[error("no signed region")]
    NoRegion,
    /// The signature is good, a tag inside has an impossible type.
    #[error("contradictory tags")]
    Tags(#[source] TagError),
    /// No signature at all.
    #[error("not signed")]
    Unsigned,
}

/// The answer about one header.
#[derive(Debug)]
pub struct Checked {
    /// The proof, or why there is none.
    pub header: Result<VerifiedHeader, Refusal>,
    /// What is wrong with signatures, also beside a good one.
    pub problems: Vec<SignatureProblem>,
    /// The header itself where there is no proof (and its file list was not the reason). Nothing in it may be
    /// trusted.
    pub unverified: Option<Header>,
}

/// A signature where it was found.
struct Candidate {
    tag: u32,
    signature: Result<Signature, String>,
}

/// Verifies a header out of a database: the signatures lie outside its region.
pub fn check_header(keyring: &Keyring, header: Header) -> Checked {
    let candidates = candidates(header.dribbles());
    check(keyring, header, candidates, None)
}

/// The same where an earlier look may have found its signatures good. All that can change since is asked anew; see
/// [`Recall`].
pub fn check_header_again(keyring: &Keyring, header: Header, recall: &Recall<'_>) -> Checked {
    let candidates = candidates(header.dribbles());
    check(keyring, header, candidates, Some(recall))
}

/// Verifies the main header of a package file against the signatures of its signature header.
pub fn check_package_header(keyring: &Keyring, signatures: &Header, header: Header) -> Checked {
    let mut found = candidates(signatures.region());
    found.extend(candidates(signatures.dribbles()));
    found.truncate(MAX_SIGNATURES);
    check(keyring, header, found, None)
}

/// The signatures over the header alone: RSAHEADER, DSAHEADER, OPENPGP.
fn candidates(view: View<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for tag in [tag::RSAHEADER, tag::DSAHEADER] {
        for bytes in view.bins(tag) {
            found.push(Candidate {
                tag,
                signature: signature_packet(bytes).map_err(|error| chain(&error)),
            });
        }
    }
    match view.strings(tag::OPENPGP) {
        Ok(strings) => found.extend(strings.take(MAX_SIGNATURES).map(|text| {
            Candidate {
                tag: tag::OPENPGP,
                signature: base64::engine::general_purpose::STANDARD
                    .decode(text.trim_ascii())
                    .map_err(|error| error.to_string())
                    .and_then(|bytes| signature_packet(&bytes).map_err(|error| chain(&error))),
            }
        })),
        Err(error) => found.push(Candidate {
            tag: tag::OPENPGP,
            signature: Err(error.to_string()),
        }),
    }
    found.truncate(MAX_SIGNATURES);
    found
}

fn chain(error: &SignatureError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn check(
    keyring: &Keyring,
    header: Header,
    candidates: Vec<Candidate>,
    recall: Option<&Recall<'_>>,
) -> Checked {
    let refused = |refusal: Refusal, problems: Vec<SignatureProblem>, header: Header| Checked {
        header: Err(refusal),
        problems,
        unverified: Some(header),
    };
    let Some(signed) = header.signed_bytes() else {
        return refused(Refusal::NoRegion, Vec::new(), header);
    };
    if candidates.is_empty() {
        return refused(Refusal::Unsigned, Vec::new(), header);
    }
    let nevra = match Nevra::read(header.region()) {
        Ok(nevra) => nevra,
        Err(error) => return refused(Refusal::Tags(error), Vec::new(), header),
    };
    let signed = Signed {
        name: &nevra.name,
        bytes: &signed,
        recall: recall.map(|recall| (recall, crypto::sha256(&signed))),
    };
    let mut problems = Vec::new();
    let mut good = Vec::new();
    for candidate in candidates {
        match check_signature(keyring, signed, candidate) {
            Ok(by) => good.push(by),
            Err(problem) => problems.push(problem),
        }
    }
    let mut good = good.into_iter();
    let Some(first) = good.next() else {
        return refused(Refusal::NoGoodSignature, problems, header);
    };
    let region_sha256 = signed.recall.map(|(_, sha256)| sha256);
    let verified = VerifiedHeader::new(header, nevra, region_sha256, first, good.collect());
    Checked {
        header: verified.map_err(Refusal::Files),
        problems,
        unverified: None,
    }
}

/// What signatures are about.
#[derive(Clone, Copy)]
struct Signed<'a> {
    /// Name of the package.
    name: &'a str,
    bytes: &'a [u8],
    /// What was found good before, and the digest of the bytes.
    recall: Option<(&'a Recall<'a>, [u8; 32])>,
}

fn check_signature(
    keyring: &Keyring,
    signed: Signed<'_>,
    candidate: Candidate,
) -> Result<Signer, SignatureProblem> {
    let tag = candidate.tag;
    let unreadable = |reason: String| SignatureProblem::Unreadable { tag, reason };
    let signature = candidate.signature.map_err(unreadable)?;
    if signature.kind != sigtype::BINARY {
        return Err(unreadable(format!(
            "type {:#04x} is not a signature over data",
            signature.kind
        )));
    }
    let issuer = signature
        .issuer
        .ok_or_else(|| unreadable(SignatureError::NoIssuer.to_string()))?;
    let trusted = keyring
        .find(issuer)
        .map_err(|problem| untrusted(&problem, issuer.key_id()))?;
    let key = trusted.key.key.fingerprint().to_string();
    if trusted.key.revocation.voids(signature.created) {
        return Err(SignatureProblem::Untrusted {
            key_id: hex::encode(issuer.key_id()),
            fingerprint: Some(key),
            user_id: Some(trusted.user_id.clone()),
            reason: "which is revoked",
        });
    }
    let hash = DigestAlgorithm::from_number(u64::from(signature.hash_algorithm))
        .ok_or_else(|| unreadable(format!("hash algorithm {} is unknown", signature.hash_algorithm)))?;
    if let Some(reason) = weakness(trusted, hash).filter(|_| !trusted.pin.legacy) {
        return Err(SignatureProblem::Weak { tag, key, reason });
    }
    if !signature.has_proper_salt() {
        return Err(SignatureProblem::Bad {
            tag,
            key,
            reason: "salt of the wrong length".to_owned(),
        });
    }
    let key_packet = &trusted.key.key;
    let compute = || key_packet.verify(&signature, &[signed.bytes]);
    let is_good = match signed.recall {
        Some((recall, sha256)) => recall.prove(key_packet.question(&signature, &sha256), compute),
        None => compute(),
    };
    match is_good {
        Ok(()) => {}
        Err(error @ CryptoError::Unsupported(_)) => return Err(unreadable(error.to_string())),
        Err(error) => {
            return Err(SignatureProblem::Bad {
                tag,
                key,
                reason: error.to_string(),
            });
        }
    }
    if !trusted.pin.covers(signed.name) {
        return Err(SignatureProblem::OutOfScope {
            fingerprint: trusted.pin.fingerprint.to_string(),
            pin: trusted.pin.name.clone(),
        });
    }
    Ok(Signer {
        pin: trusted.pin.clone(),
        key: trusted.key.key.fingerprint(),
        user_id: trusted.user_id.clone(),
        hash,
        version: signature.version,
        created: u64::from(signature.created.unwrap_or_default()),
        tag,
    })
}

fn untrusted(problem: &KeyProblem<'_>, key_id: [u8; 8]) -> SignatureProblem {
    let (known, reason) = match problem {
        KeyProblem::Ambiguous => (None, "an id that several pinned keys share"),
        KeyProblem::Unknown(Some(known)) => (Some(known), known.reason),
        KeyProblem::Unknown(None) => (None, "of which no key material is at hand"),
    };
    SignatureProblem::Untrusted {
        key_id: hex::encode(key_id),
        fingerprint: known.map(|known| known.fingerprint.to_string()),
        user_id: known.map(|known| known.user_id.clone()),
        reason,
    }
}

/// What policy refuses unless the pin says `legacy`.
fn weakness(trusted: &TrustedKey, hash: DigestAlgorithm) -> Option<String> {
    let key = &trusted.key.key;
    if hash.is_weak() {
        return Some(format!("{hash} is broken"));
    }
    if crypto::is_dsa(key.algorithm()) {
        return Some("DSA keys are refused".to_owned());
    }
    match key.rsa_bits() {
        Some(bits) if bits < 2048 => Some(format!("RSA key of only {bits} bits")),
        _ => None,
    }
}
