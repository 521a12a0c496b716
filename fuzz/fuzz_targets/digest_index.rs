//! A stored index, its checksum made right so that the checks behind it are reached.
#![no_main]

use hardpan_rpm::DigestIndex;
use hardpan_rpm::index::reseal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(index) = DigestIndex::decode(reseal(data.to_vec())) else { return };
    for owner in index.files() {
        let path = owner.path();
        assert!(index.expected(&path).iter().any(|found| found.path() == path));
        if let Some(sha256) = owner.sha256() {
            assert!(index.lookup(&sha256).is_some());
        }
        owner.package().nevra();
        owner.capabilities();
    }
    for digest in index.digests() {
        assert!(index.lookup(&digest.sha256).is_some());
    }
    for package in index.packages() {
        package.signer();
    }
});
