//! A file of pinned keys.
#![no_main]

use hardpan_rpm::Pins;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(pins) = Pins::from_toml(text, "fuzz") {
        for pin in pins.iter() {
            pin.covers("kernel-core");
        }
    }
});
