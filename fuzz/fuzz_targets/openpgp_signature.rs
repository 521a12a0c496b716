//! A signature packet, verified by a real key over fixed data. None of them may be good but the one in the seeds.
#![no_main]

use hardpan_rpm::openpgp::{Signature, signature_packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    Signature::parse(data).ok();
    if let Ok(signature) = signature_packet(data) {
        assert!(matches!(signature.version, 3 | 4 | 6));
    }
});
