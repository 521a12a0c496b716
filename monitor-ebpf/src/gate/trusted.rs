//! Digests that somebody vouches for, as user space wrote them.

use crate::{off, rule::nonzero};
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use hardpan_abi::{DIGEST_SLOTS, DigestBucket, DigestWords, TrustedEntry, digest_buckets, digest_value};

/// Most of them (see [`DigestBucket`]). User space sets the size when loading.
#[map]
pub static TRUSTED: Array<DigestBucket> = Array::with_max_entries(1, 0);

/// Those that found no room there or give capabilities. Preallocated: sleepable programs of older kernels take no other.
#[map]
pub static TRUSTED_APART: HashMap<[u8; 32], TrustedEntry> = HashMap::with_max_entries(1, 0);

/// Class and marks of a digest, as [`digest_value`] packs them; 0 if nobody vouches for it.
///
/// Nothing locks the table. A place that is to hold another digest was written as empty before, and the value stands behind the
/// digests: who looks while it is written sees the old state, the new one, or nothing where nothing was before.
// What the digest is makes no branch: one way for the verifier.
#[inline(always)]
pub fn value_of(digest: &DigestWords) -> u64 {
    let [first, second] = digest_buckets(digest, off::TRUSTED_BUCKETS.load());
    let value = value_in(first, digest) | value_in(second, digest);
    if value != 0 {
        return value;
    }
    match apart(digest) {
        Some(found) => digest_value(found.class, found.marks),
        None => 0,
    }
}

/// Capabilities that some packaged file with this content gives, as a mask.
#[inline(always)]
pub fn capabilities_of(digest: &DigestWords) -> u64 {
    apart(digest).map_or(0, |found| found.capabilities)
}

#[inline(always)]
fn apart(digest: &DigestWords) -> Option<&'static TrustedEntry> {
    // SAFETY: 32 bytes on the stack; entries of a preallocated map stay readable, a changed one is whole again at the next look.
    unsafe {
        let key: &[u8; 32] = &*(&raw const *digest).cast();
        TRUSTED_APART.get(key).map(|found| &*(&raw const *found))
    }
}

#[inline(always)]
fn value_in(bucket: u32, digest: &DigestWords) -> u64 {
    let Some(bucket) = TRUSTED.get_ptr(bucket) else {
        return 0;
    };
    let mut value = 0;
    let mut slot = 0;
    while slot < DIGEST_SLOTS {
        // SAFETY (all): words of the bucket; volatile, for they change meanwhile.
        let differs = unsafe {
            let stands: *const u64 = (&raw const (*bucket).digests[slot]).cast();
            (core::ptr::read_volatile(stands) ^ digest[0])
                | (core::ptr::read_volatile(stands.add(1)) ^ digest[1])
                | (core::ptr::read_volatile(stands.add(2)) ^ digest[2])
                | (core::ptr::read_volatile(stands.add(3)) ^ digest[3])
        };
        // SAFETY: as above.
        let stood = unsafe { core::ptr::read_volatile(&raw const (*bucket).values[slot]) };
        value |= stood & nonzero(differs).wrapping_sub(1);
        slot += 1;
    }
    value
}
