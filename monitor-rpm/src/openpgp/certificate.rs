//! Certificates: a primary key with its user ids and subkeys, and what its own signatures say about them.
//!
//! Meant for keys whose fingerprint is pinned. So the primary key needs no signature to be believed, SHA-1 in its
//! own signatures is accepted, and no expiry is judged: release keys outlive theirs. A subkey counts only if the
//! primary key bound it for signing and it signed back. Revocations always count.

use super::{Issuer, Packets, PublicKey, Signature, sigtype, tag};
use crate::pins::Fingerprint;

/// Most packets in one file of keys.
const MAX_PACKETS: usize = 20_000;
/// Most signatures that are verified for one certificate.
const MAX_CHECKS: usize = 500;
/// Key flag: may sign data.
const FLAG_SIGN: u8 = 2;

/// A certificate as read, nothing verified.
#[derive(Clone, Debug)]
pub struct CertificateParts {
    /// The primary key.
    pub primary: PublicKey,
    /// Signatures on the primary key itself.
    direct: Vec<Signature>,
    /// User ids and the signatures on them.
    users: Vec<(Vec<u8>, Vec<Signature>)>,
    /// Subkeys and the signatures on them.
    subkeys: Vec<(PublicKey, Vec<Signature>)>,
}

impl CertificateParts {
    /// The first user id, as it stands there, unproven.
    pub fn claimed_user_id(&self) -> String {
        self.users
            .first()
            .map(|(id, _)| String::from_utf8_lossy(id).into_owned())
            .unwrap_or_default()
    }

    /// Fingerprints of primary key and subkeys, unproven.
    pub fn claimed_fingerprints(&self) -> Vec<Fingerprint> {
        std::iter::once(self.primary.fingerprint())
            .chain(self.subkeys.iter().map(|(key, _)| key.fingerprint()))
            .collect()
    }

    /// Adds what another copy of the same certificate has: a revocation found in one place counts everywhere.
    pub fn merge(&mut self, other: Self) {
        self.direct.extend(other.direct);
        for (id, signatures) in other.users {
            match self.users.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => known.extend(signatures),
                None => self.users.push((id, signatures)),
            }
        }
        for (key, signatures) in other.subkeys {
            match self.subkeys.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => known.extend(signatures),
                None => self.subkeys.push((key, signatures)),
            }
        }
    }
}

/// Where the packets after a key belong.
enum Place {
    Primary,
    User,
    Subkey,
    /// A part that is not looked at, such as a photo.
    Ignored,
}

/// All certificates in binary packets, and what is wrong with the rest. One that cannot be read does not hide
/// the others.
pub fn certificates(packets: &[u8]) -> (Vec<CertificateParts>, Vec<String>) {
    let mut found: Vec<CertificateParts> = Vec::new();
    let mut problems = Vec::new();
    let mut place = Place::Ignored;
    // Whether a primary key came that could be read.
    let mut has_primary = false;
    for (n_packets, packet) in Packets::new(packets).enumerate() {
        if n_packets >= MAX_PACKETS {
            problems.push(format!("more than {MAX_PACKETS} packets"));
            break;
        }
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => {
                problems.push(error.to_string());
                break;
            }
        };
        match packet.tag {
            tag::PUBLIC_KEY => {
                has_primary = false;
                place = Place::Ignored;
                match PublicKey::parse(packet.body) {
                    Ok(primary) => {
                        found.push(CertificateParts {
                            primary,
                            direct: Vec::new(),
                            users: Vec::new(),
                            subkeys: Vec::new(),
                        });
                        has_primary = true;
                        place = Place::Primary;
                    }
                    Err(problem) => problems.push(problem.to_owned()),
                }
            }
            tag::SECRET_KEY | tag::SECRET_SUBKEY => {
                has_primary = false;
                place = Place::Ignored;
                problems.push("a secret key, which does not belong here".to_owned());
            }
            _ => {
                let Some(certificate) = found.last_mut().filter(|_| has_primary) else {
                    continue;
                };
                match packet.tag {
                    tag::USER_ID => {
                        certificate.users.push((packet.body.to_vec(), Vec::new()));
                        place = Place::User;
                    }
                    tag::PUBLIC_SUBKEY => match PublicKey::parse(packet.body) {
                        Ok(key) => {
                            certificate.subkeys.push((key, Vec::new()));
                            place = Place::Subkey;
                        }
                        Err(_unusable) => place = Place::Ignored,
                    },
                    tag::USER_ATTRIBUTE => place = Place::Ignored,
                    tag::SIGNATURE => {
                        // A signature that cannot be read proves nothing; third parties add all sorts.
                        if let Ok(signature) = Signature::parse(packet.body) {
                            certificate.add(&place, signature);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    if found.is_empty() && problems.is_empty() {
        problems.push("no public key".to_owned());
    }
    (found, problems)
}

impl CertificateParts {
    fn add(&mut self, place: &Place, signature: Signature) {
        match place {
            Place::Primary => self.direct.push(signature),
            Place::User => {
                if let Some((_, signatures)) = self.users.last_mut() {
                    signatures.push(signature);
                }
            }
            Place::Subkey => {
                if let Some((_, signatures)) = self.subkeys.last_mut() {
                    signatures.push(signature);
                }
            }
            Place::Ignored => {}
        }
    }
}

/// Whether and since when a key is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It is not.
    None,
    /// Superseded or retired at this time (seconds since 1970): what it signed before stays good.
    Since(u32),
    /// Compromised, or no reason given: nothing it ever signed is good.
    Always,
}

impl Revocation {
    /// Whether a signature made at this time is void.
    pub fn voids(self, created: Option<u32>) -> bool {
        match self {
            Self::None => false,
            Self::Since(since) => created.is_none_or(|created| created >= since),
            Self::Always => true,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::Since(a), Self::Since(b)) => Self::Since(a.min(b)),
            (Self::None, revocation) | (revocation, Self::None) => revocation,
        }
    }
}

/// A key that may sign packages.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The key.
    pub key: PublicKey,
    /// Its revocation, the primary key's included.
    pub revocation: Revocation,
}

/// A certificate whose own signatures were verified.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Fingerprint of the primary key.
    pub fingerprint: Fingerprint,
    /// The first user id that the primary key signed; empty if there is none.
    pub user_id: String,
    /// The keys that may sign: the primary key, unless its own signatures say otherwise, and bound subkeys.
    pub keys: Vec<SigningKey>,
    /// Revocation of the primary key.
    pub revocation: Revocation,
}

/// The evaluation of one certificate.
struct Evaluation<'a> {
    primary: &'a PublicKey,
    checks_left: usize,
}

impl Evaluation<'_> {
    /// Whether the primary key made this signature over these bytes.
    fn by_primary(&mut self, signature: &Signature, data: &[&[u8]]) -> bool {
        let primary = self.primary.fingerprint();
        let named = match signature.issuer {
            Some(Issuer::Fingerprint(fingerprint)) => fingerprint == primary,
            Some(Issuer::KeyId(id)) => id == primary.key_id(),
            None => false,
        };
        named && self.verifies(self.primary, signature, data)
    }

    fn verifies(&mut self, key: &PublicKey, signature: &Signature, data: &[&[u8]]) -> bool {
        // MD5 never; SHA-1 is what many release keys have in their own signatures.
        if signature.hash_algorithm == 1 || !signature.has_proper_salt() {
            return false;
        }
        let Some(left) = self.checks_left.checked_sub(1) else {
            return false;
        };
        self.checks_left = left;
        key.verify(signature, data).is_ok()
    }
}

fn revocation(signature: &Signature) -> Revocation {
    match (signature.revocation_reason, signature.created) {
        (Some(1 | 3), Some(created)) => Revocation::Since(created),
        _ => Revocation::Always,
    }
}

impl Certificate {
    /// Verifies a certificate's own signatures.
    pub fn evaluate(parts: &CertificateParts) -> Self {
        let mut evaluation = Evaluation {
            primary: &parts.primary,
            checks_left: MAX_CHECKS,
        };
        let primary_framed = parts.primary.framed();
        // Newest statement about what the primary key may do.
        let mut flags: Option<(u32, u8)> = None;
        let mut note_flags = |signature: &Signature| {
            if let (Some(created), Some(value)) = (signature.created, signature.key_flags)
                && flags.is_none_or(|(newest, _)| newest <= created)
            {
                flags = Some((created, value));
            }
        };
        let mut revoked = Revocation::None;
        // Revocations first, so that a flood of other signatures cannot use up the checks.
        for signature in parts
            .direct
            .iter()
            .filter(|signature| signature.kind == sigtype::KEY_REVOCATION)
        {
            if evaluation.by_primary(signature, &[&primary_framed]) {
                revoked = revoked.and(revocation(signature));
            }
        }
        for signature in parts
            .direct
            .iter()
            .filter(|signature| signature.kind == sigtype::DIRECT_KEY)
        {
            if evaluation.by_primary(signature, &[&primary_framed]) {
                note_flags(signature);
            }
        }
        let mut keys = Vec::new();
        for (key, signatures) in &parts.subkeys {
            if let Some(subkey) = evaluate_subkey(&mut evaluation, &primary_framed, key, signatures) {
                keys.push(SigningKey {
                    revocation: subkey.revocation.and(revoked),
                    ..subkey
                });
            }
        }
        let mut user_id = String::new();
        for (id, signatures) in &parts.users {
            let mut prefix = vec![0xb4];
            prefix.extend_from_slice(&u32::try_from(id.len()).unwrap_or(u32::MAX).to_be_bytes());
            for signature in signatures {
                let certifies = (sigtype::GENERIC_CERTIFICATION..=sigtype::POSITIVE_CERTIFICATION)
                    .contains(&signature.kind);
                let prefix: &[u8] = if signature.version == 3 { &[] } else { &prefix };
                if certifies && evaluation.by_primary(signature, &[&primary_framed, prefix, id]) {
                    note_flags(signature);
                    if user_id.is_empty() {
                        user_id = String::from_utf8_lossy(id).into_owned();
                    }
                }
            }
        }
        if flags.is_none_or(|(_, flags)| flags & FLAG_SIGN != 0) {
            keys.insert(
                0,
                SigningKey {
                    key: parts.primary.clone(),
                    revocation: revoked,
                },
            );
        }
        Self {
            fingerprint: parts.primary.fingerprint(),
            user_id,
            keys,
            revocation: revoked,
        }
    }
}

/// A subkey, if its newest valid binding lets it sign and it signed back.
fn evaluate_subkey(
    evaluation: &mut Evaluation<'_>,
    primary_framed: &[u8],
    key: &PublicKey,
    signatures: &[Signature],
) -> Option<SigningKey> {
    let framed = key.framed();
    let data: [&[u8]; 2] = [primary_framed, &framed];
    let mut revoked = Revocation::None;
    for signature in signatures
        .iter()
        .filter(|signature| signature.kind == sigtype::SUBKEY_REVOCATION)
    {
        if evaluation.by_primary(signature, &data) {
            revoked = revoked.and(revocation(signature));
        }
    }
    let mut newest: Option<&Signature> = None;
    for signature in signatures
        .iter()
        .filter(|signature| signature.kind == sigtype::SUBKEY_BINDING)
    {
        let newer = newest.is_none_or(|newest| newest.created <= signature.created);
        if newer && evaluation.by_primary(signature, &data) {
            newest = Some(signature);
        }
    }
    let binding = newest.filter(|binding| binding.key_flags.is_some_and(|flags| flags & FLAG_SIGN != 0))?;
    let back = binding.back_signature.as_ref()?;
    let signed_back = back.kind == sigtype::PRIMARY_KEY_BINDING && evaluation.verifies(key, back, &data);
    signed_back.then(|| SigningKey {
        key: key.clone(),
        revocation: revoked,
    })
}
