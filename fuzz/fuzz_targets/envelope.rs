//! A signed envelope. What is read comes back the same from what is written, and signs the same bytes.
#![no_main]

use hardpan_core::envelope::{Envelope, PublicKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(envelope) = Envelope::parse(data) {
        let again = Envelope::parse(envelope.to_json().as_bytes());
        assert!(again.is_ok_and(|again| again == envelope));
        // The signed bytes hold the payload and every target whole.
        let targets: usize = envelope.claims.targets.iter().map(String::len).sum();
        assert!(envelope.claims.signed_bytes().len() > envelope.claims.payload.len() + targets);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = PublicKey::from_toml(text) {
        assert!(PublicKey::from_toml(&key.to_toml()).is_ok_and(|again| again == key));
    }
});
