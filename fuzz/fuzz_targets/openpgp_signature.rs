//! A signature packet: alone, and as the only one of a signature's bytes.
#![no_main]

use hardpan_rpm::openpgp::{Signature, signature_packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    Signature::parse(data).ok();
    if let Ok(signature) = signature_packet(data) {
        assert!(matches!(signature.version, 3 | 4 | 6));
    }
});
