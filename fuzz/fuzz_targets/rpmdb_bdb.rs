//! A BerkeleyDB file: all records together are never longer than the file, and the walk ends.
#![no_main]

use hardpan_rpm::db::bdb::Records;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(records) = Records::open(data) else { return };
    let mut n_records = 0;
    for record in records {
        n_records += 1;
        assert!(n_records <= data.len() + 2);
        if let Ok((number, bytes)) = record {
            assert!(number != 0 && bytes.len() <= data.len());
        }
    }
});
