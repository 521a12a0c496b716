//! Where a digest stands in the kernel's table of trusted digests, and as what.
//!
//! The table is a plain array of buckets: 40 bytes a digest, where a preallocated hash map takes 96 and a bucket, and sleepable
//! programs of every kernel may look. A digest stands in one of two buckets that its own first words name; nobody moves
//! it from one to the other, so that nobody who looks meanwhile misses it. What finds no room there, and what gives capabilities,
//! stands in a small hash map beside.

use crate::PACKAGED_SLOTS;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Digests in a bucket.
pub const DIGEST_SLOTS: usize = 8;

/// A SHA-256 as words of the host's byte order.
pub type DigestWords = [u64; 4];

/// Global with the number of buckets of the table of trusted digests.
pub const GLOBAL_TRUSTED_BUCKETS: &str = "TRUSTED_BUCKETS";

/// A bucket. A value of zero: nothing stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DigestBucket {
    /// The digests.
    pub digests: [DigestWords; DIGEST_SLOTS],
    /// What each is: see [`digest_value`].
    pub values: [u64; DIGEST_SLOTS],
}

/// A class ([`GateClass`](crate::GateClass) number) and marks ([`trusted_mark`](crate::trusted_mark) bits) as one word.
pub const fn digest_value(class: u32, marks: u32) -> u64 {
    (class as u64) << 32 | marks as u64
}

/// The two buckets in which a digest may stand; they can be the same.
pub const fn digest_buckets(digest: &DigestWords, buckets: u32) -> [u32; 2] {
    [scaled(digest[0], buckets), scaled(digest[1], buckets)]
}

/// The upper half of a word, scaled to numbers below `buckets`.
pub(crate) const fn scaled(word: u64, buckets: u32) -> u32 {
    (((word >> 32) * buckets as u64) >> 32) as u32
}

/// Buckets of eight for so many digests or paths: one place of each stays free, for not all pairs of buckets fill up alike.
pub const fn buckets_for(held: u32) -> u32 {
    const { assert!(DIGEST_SLOTS == 8 && PACKAGED_SLOTS == 8) };
    held / 7 + 1
}

/// Room in the map beside the table, for so many digests: four times as much as a full table leaves out.
pub const fn digests_apart_for(digests: u32) -> u32 {
    digests / 64 + 256
}
