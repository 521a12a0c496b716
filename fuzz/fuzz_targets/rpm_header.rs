//! A header as a database stores it: parsed, every entry read, checked as a signed header.
#![no_main]

use hardpan_rpm::Nevra;
use hardpan_rpm::header::Header;
use hardpan_rpm::signature::{Keyring, check_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    Header::peek_name(data);
    let Ok(header) = Header::parse_db(data) else { return };
    for view in [header.region(), header.dribbles()] {
        for tag in view.tags() {
            let strings = view.strings(tag).map_or(0, Iterator::count);
            let ints = view.ints(tag).map_or(0, Iterator::count);
            assert!(strings + ints <= data.len());
            assert!(view.bin(tag).ok().flatten().map_or(0, <[u8]>::len) <= data.len());
        }
        Nevra::read(view).map(|nevra| nevra.to_string()).ok();
    }
    if let Some(signed) = header.signed_bytes() {
        assert!(signed.len() <= data.len() + 16);
    }
    for tag in header.repeated_tags() {
        assert!(header.region().has(tag) && header.dribbles().has(tag));
    }
    // No key is pinned: nothing may come out verified.
    assert!(check_header(&Keyring::default(), header).header.is_err());
});
