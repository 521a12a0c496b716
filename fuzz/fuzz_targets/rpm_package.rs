//! A package file.
#![no_main]

use hardpan_rpm::package::check_package;
use hardpan_rpm::signature::Keyring;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(report) = check_package(&Keyring::default(), data) {
        assert!(report.checked.header.is_err());
    }
});
