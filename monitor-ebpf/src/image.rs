//! A module's image as the kernel is about to load it: the name it will have, and whether it carries a signature.
//!
//! The name is where the kernel takes it from: `struct module` in the first allocated section `.gnu.linkonce.this_module`.
//! Everything in the image is the loader's word and checked against its size.

use crate::{
    off::{self, has, on},
    rule::{negative, nonzero},
    verifier::opaque,
};
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use core::mem::MaybeUninit;
use hardpan_abi::{MODULE_NAME_LEN, OBJECT_NAME_LEN};

/// `\x7fELF`, 64 bits, little endian.
const MAGIC: u64 = 0x0102_464c_457f;
const MAGIC_MASK: u64 = 0xffff_ffff_ffff;
/// Size of a section header.
const HEADER: u64 = 64;
/// Sections looked through: modules have some fifty. Of modules with more the name is not known, which is doubt.
const SECTIONS: u32 = 256;
/// `SHF_ALLOC`.
const ALLOCATED: u64 = 2;
/// Images are smaller; keeps sums from overflowing.
const MAX_BYTES: u64 = 1 << 40;
/// `.gnu.linkonce.this_module`, with its NUL, as words.
const SECTION: [u64; 4] = [
    u64::from_le_bytes(*b".gnu.lin"),
    u64::from_le_bytes(*b"konce.th"),
    u64::from_le_bytes(*b"is_modul"),
    b'e' as u64,
];
/// `~Module signature appended~\n` (include/linux/module_signature.h), as words.
const MARKER: [u64; 4] = [
    u64::from_le_bytes(*b"~Module "),
    u64::from_le_bytes(*b"signatur"),
    u64::from_le_bytes(*b"e append"),
    u64::from_le_bytes(*b"ed~\n\0\0\0\0"),
];
const MARKER_BYTES: u32 = 28;

/// Reads so many words, of which the last may be cut; on a fault they are zero.
#[inline(always)]
fn words<const N: usize>(at: u64, bytes: u32) -> [u64; N] {
    let mut words = MaybeUninit::<[u64; N]>::uninit();
    let out: *mut u64 = words.as_mut_ptr().cast();
    // SAFETY: the helper checks the address, and fills what it is asked for, which is all but a part of the last word:
    // that one is written before. (Zeroing all of it would be a call to memset, a loop over bytes here.)
    unsafe {
        core::ptr::write_volatile(out.add(N - 1), 0);
        bpf_probe_read_kernel(out.cast(), bytes, at as *const _);
        words.assume_init()
    }
}

/// 1 if `a < b`, both below 2^63; without a branch.
#[inline(always)]
fn less(a: u64, b: u64) -> u64 {
    negative(a.wrapping_sub(b))
}

/// 1 if the image ends with the marker of a signature.
#[inline(never)]
pub fn has_signature(image: u64, size: u64) -> u32 {
    if !on(&off::HAS_PROBE_READ) || size < u64::from(MARKER_BYTES) || size > MAX_BYTES {
        return 0;
    }
    let end: [u64; 4] = words(image + size - u64::from(MARKER_BYTES), MARKER_BYTES);
    let differs = (end[0] ^ MARKER[0]) | (end[1] ^ MARKER[1]) | (end[2] ^ MARKER[2]) | (end[3] ^ MARKER[3]);
    u32::from(differs == 0)
}

/// Writes the name, NUL padded; 0 if the image does not tell it.
#[inline(never)]
pub fn name_into(image: u64, size: u64, out: *mut [u8; OBJECT_NAME_LEN]) -> u32 {
    let out: *mut u64 = out.cast();
    let mut at = 0;
    while at < OBJECT_NAME_LEN / 8 {
        // SAFETY: so many words.
        unsafe { core::ptr::write_volatile(out.add(at), 0) };
        at += 1;
    }
    if !on(&off::HAS_PROBE_READ) || !has(&off::OFF_MODULE_NAME) || size < 64 || size > MAX_BYTES {
        return 0;
    }
    let start: [u64; 8] = words(image, 64);
    let (table, counts) = (start[5], start[7]);
    let (entry, sections, names) = (counts >> 16 & 0xffff, counts >> 32 & 0xffff, counts >> 48);
    let fits = table < size && table + sections * HEADER <= size && names < sections;
    if start[0] & MAGIC_MASK != MAGIC || entry != HEADER || !fits {
        return 0;
    }
    let strings: [u64; 4] = words(image + table + names * HEADER, 32);
    if strings[3] >= size {
        return 0;
    }
    let module = this_module(
        image + table,
        sections as u32,
        image + strings[3],
        size - strings[3],
    );
    let name = module + u64::from(off::OFF_MODULE_NAME.load());
    if module == 0 || name + MODULE_NAME_LEN as u64 > size {
        return 0;
    }
    // SAFETY: the helper checks the address; the name is shorter than what it is written to.
    let written =
        unsafe { bpf_probe_read_kernel_str(out.cast(), MODULE_NAME_LEN as u32, (image + name) as *const _) };
    u32::from(written > 1)
}

/// Offset of the section in the image, or 0. Without a branch in the loop: the verifier would walk every way out of it to
/// the end of the program.
#[inline(never)]
fn this_module(table: u64, sections: u32, names: u64, names_bytes: u64) -> u64 {
    let (mut offset, mut done) = (0, 0);
    let mut at = 1;
    while at < SECTIONS {
        let section: [u64; 4] = words(table + u64::from(at) * HEADER, 32);
        let name = section[0] & 0xffff_ffff;
        let found: [u64; 4] = words(names + name, 26);
        let differs = (found[0] ^ SECTION[0])
            | (found[1] ^ SECTION[1])
            | (found[2] ^ SECTION[2])
            | (found[3] ^ SECTION[3]);
        let beyond = less(names_bytes, name + 26) | less(u64::from(sections), u64::from(at) + 1);
        let fits = 1 ^ nonzero(differs | beyond | (section[1] & ALLOCATED ^ ALLOCATED));
        // The first counts.
        let take = fits & !done;
        // Kernels whose images are larger than this do not exist.
        offset |= take.wrapping_neg() & section[3] & 0xff_ffff_ffff;
        done |= fits;
        at = opaque(at + 1);
    }
    offset
}
