//! A file of keys: armour, packets, certificates and their own signatures.
#![no_main]

use hardpan_rpm::openpgp::{Certificate, certificates, dearmor};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(packets) = dearmor(data) else { return };
    let (found, _) = certificates(&packets);
    for parts in found {
        let claimed = parts.claimed_fingerprints();
        for key in Certificate::evaluate(&parts).keys {
            assert!(claimed.contains(&key.key.fingerprint()));
        }
    }
});
