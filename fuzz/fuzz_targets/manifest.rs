//! Manifests: the payload of an envelope, one made on the host, and the ledger of accepted serials.
#![no_main]

use hardpan_core::envelope::Ledger;
use hardpan_core::trust::{LocalUnsigned, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::parse(data) {
        assert!(manifest.files().is_sorted());
        assert!(Manifest::parse(&manifest.to_bytes()).is_ok_and(|again| again == manifest));
    }
    if let Ok(local) = LocalUnsigned::parse(data) {
        assert!(LocalUnsigned::parse(local.to_json().as_bytes()).is_ok_and(|again| again == local));
    }
    if let Ok(ledger) = Ledger::parse(data) {
        assert!(Ledger::parse(ledger.to_json().as_bytes()).is_ok_and(|again| again == ledger));
    }
});
