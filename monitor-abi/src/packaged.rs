//! Paths that packages list: how both sides turn one into a number, and where in the kernel's table that stands.
//!
//! The table is a plain array of buckets, so that it takes little memory and sleepable programs may look: a path's number
//! stands in one of two buckets. 64 bits: that the path of a file which nobody packages has the number of one of 200 000
//! packaged paths happens once in 10^14 times. Nobody gains anything by such a path: more is refused, not less.

use crate::digest::scaled;
use crate::exec::mixed;

/// Numbers in a bucket.
pub const PACKAGED_SLOTS: usize = 8;

/// A bucket. Zero: nothing stands there.
pub type PackagedBucket = [u64; PACKAGED_SLOTS];

/// Global with the number of buckets; 0: there is no table.
pub const GLOBAL_PACKAGED_BUCKETS: &str = "PACKAGED_BUCKETS";

/// The number of a path before its first word.
pub const PATH_NUMBER: u64 = 0xcbf2_9ce4_8422_2325;

/// The number with eight more bytes of the path, the first one lowest; the last word has zeroes where the path has ended.
pub const fn path_number_with(number: u64, word: u64) -> u64 {
    let number = mixed(number, word);
    number ^ number >> 32
}

/// The number after the last word, never zero.
pub const fn path_number_done(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 29) | 1
}

/// The number of a path.
pub fn path_number(path: &[u8]) -> u64 {
    let words = path.chunks(8).map(|chunk| {
        let bytes = chunk.iter().rev();
        bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
    });
    path_number_done(words.fold(PATH_NUMBER, path_number_with))
}

/// The buckets in which a number may stand; they can be the same.
pub const fn packaged_buckets(number: u64, buckets: u32) -> [u32; 2] {
    // Each from another half.
    [scaled(number, buckets), scaled(number << 32, buckets)]
}
