use std::sync::Arc;

use super::keyring::{KeyProblem, Keyring, TrustedKey};
use crate::openpgp::{Issuer, PublicKey, Revocation, SigningKey};
use crate::pins::{Glob, Pin};

/// A key of version 4; which algorithm does not matter.
fn key(seed: u8) -> TrustedKey {
    let key = PublicKey::parse(&[4, 0, 0, 0, seed, 1, 0, 8, 0x80, 0, 2, 3]).unwrap();
    let pin = Pin {
        fingerprint: key.fingerprint(),
        name: format!("key {seed}"),
        vendor: "test".to_owned(),
        releases: Vec::new(),
        scope: vec![Glob::new("*")],
        legacy: false,
        source: "test".to_owned(),
    };
    TrustedKey {
        pin: Arc::new(pin),
        key: SigningKey {
            key,
            revocation: Revocation::None,
        },
        user_id: String::new(),
    }
}

/// Eight bytes of a fingerprint can be forged: two pinned keys that share them vouch only where a signature names the
/// whole fingerprint.
#[test]
fn an_id_that_two_pinned_keys_share_names_neither() {
    let (first, second) = (key(1), key(2));
    let fingerprint = first.key.key.fingerprint();
    let id = fingerprint.key_id();
    let mut keyring = Keyring::default();
    keyring.keys.insert(id, vec![first]);
    let name = |keyring: &Keyring, issuer| match keyring.find(issuer) {
        Ok(key) => key.pin.name.clone(),
        Err(KeyProblem::Ambiguous) => "ambiguous".to_owned(),
        Err(KeyProblem::Unknown(_)) => "unknown".to_owned(),
    };
    assert_eq!(name(&keyring, Issuer::KeyId(id)), "key 1");
    assert_eq!(name(&keyring, Issuer::KeyId([0; 8])), "unknown");
    keyring.keys.get_mut(&id).unwrap().push(second);
    assert_eq!(name(&keyring, Issuer::KeyId(id)), "ambiguous");
    assert_eq!(name(&keyring, Issuer::Fingerprint(fingerprint)), "key 1");
    let stranger = key(3).key.key.fingerprint();
    assert_eq!(name(&keyring, Issuer::Fingerprint(stranger)), "unknown");
}
