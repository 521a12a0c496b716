//! What an overlay's file is made of: the host can change it past the overlay.

use crate::{
    file,
    mem::{Mem, Probed, Typed},
    off::{self, has, on},
    verifier::{distance, opaque},
};
use aya_ebpf::{macros::map, maps::Array};
use hardpan_abi::{content_can_change_at_will, mixed};

/// `OVERLAYFS_SUPER_MAGIC` (include/uapi/linux/magic.h).
pub const OVERLAY: u64 = 0x794c_7630;

/// What [`real_mark`] says of a file on overlayfs instead of a mark. It cannot be told what the file is below.
pub const UNKNOWN: u64 = 0;
/// Somebody has it open for writing there.
pub const WRITTEN: u64 = 1;
/// It is on a file system whose server can change it at will.
pub const AT_WILL: u64 = 2;
/// Set in each mark.
const KNOWN: u64 = 4;

/// Files that were judged through an overlay, as numbers: what remembers the verdict is the overlay's inode, which nobody sees who
/// opens the file itself. Two files with one place: the later one has it.
#[map]
pub static BELOW: Array<u64> = Array::with_max_entries(BELOW_PLACES, 0);

const BELOW_PLACES: u32 = 4096;

/// Which file an opened file of an overlay really is, and how it is: a mark of its address, size and change time, or one of
/// the numbers above.
///
/// What overlayfs keeps of an opened file is the opened file below, from 6.13 on behind one more pointer. Its inode is the
/// one below; its name, by kernel, that of the overlay or the real one. What is below can be an overlay itself; the kernel stacks
/// no more than two.
// A function of its own: its stack is free again when the file is judged.
#[inline(never)]
pub fn real_mark(file: *const u8) -> u64 {
    if !(on(&off::HAS_PROBE_READ)
        && has(&off::OFF_FILE_PRIVATE)
        && has(&off::OFF_FILE_DENTRY)
        && has(&off::OFF_DENTRY_INODE))
    {
        return UNKNOWN;
    }
    let mut mark = 0;
    let mut above = file;
    let mut layer = 0;
    // SAFETY (all): probed; what can't be read is zero.
    unsafe {
        while layer < 2 {
            above = opened_below(above);
            let inode = Probed::pointer(above, &off::OFF_FILE_INODE);
            if inode.is_null() {
                return UNKNOWN;
            }
            if Probed::read::<i32>(inode, &off::OFF_INODE_WRITECOUNT) > 0 {
                return WRITTEN;
            }
            mark = mixed(
                mixed(mark, inode as u64),
                Probed::read(inode, &off::OFF_INODE_SIZE),
            );
            mark = mixed(mark, Probed::read(inode, &off::OFF_INODE_CTIME_S));
            let ns = Probed::read::<u32>(inode, &off::OFF_INODE_CTIME_NS) & file::CTIME_NS;
            mark = mixed(mark, u64::from(ns));
            let sb = Probed::pointer(inode, &off::OFF_INODE_SB);
            let magic: u64 = Probed::read(sb, &off::OFF_SB_MAGIC);
            if content_can_change_at_will(magic) {
                return AT_WILL;
            }
            if magic != OVERLAY {
                let number = number_of::<Probed>(inode, (inode as u64).wrapping_sub(sb as u64));
                if let Some(place) = BELOW.get_ptr_mut(place_of(number)) {
                    core::ptr::write_volatile(place, number);
                }
                return mark | KNOWN;
            }
            layer = opaque(layer + 1);
        }
    }
    UNKNOWN
}

/// Whether the file was judged through an overlay, since its inode came to memory. (Of very many not all are known.)
///
/// # Safety
/// `inode` is a typed pointer.
#[inline(always)]
pub unsafe fn judged_above(inode: *const u8) -> bool {
    // SAFETY (all): typed, by the caller's promise; a live slot.
    unsafe {
        let sb = Typed::pointer(inode, &off::OFF_INODE_SB);
        let number = number_of::<Typed>(inode, distance(inode, sb));
        match BELOW.get_ptr(place_of(number)) {
            Some(place) => core::ptr::read_volatile(place) == number,
            None => false,
        }
    }
}

/// One number for an inode in memory: where it lies (as seen from its file system), and which one it is there.
#[inline(always)]
unsafe fn number_of<M: Mem>(inode: *const u8, at: u64) -> u64 {
    let mut number = mixed(0, at);
    // SAFETY (both): as the caller reads the inode.
    unsafe {
        number = mixed(number, M::read(inode, &off::OFF_INODE_INO));
        if has(&off::OFF_INODE_GENERATION) {
            number = mixed(
                number,
                u64::from(M::read::<u32>(inode, &off::OFF_INODE_GENERATION)),
            );
        }
    }
    number | 1
}

#[inline(always)]
const fn place_of(number: u64) -> u32 {
    const { assert!(BELOW_PLACES.is_power_of_two()) };
    (number >> (64 - BELOW_PLACES.trailing_zeros())) as u32
}

/// The opened file below an overlay's; null if it is not where it is looked for.
#[inline(always)]
unsafe fn opened_below(file: *const u8) -> *const u8 {
    // SAFETY (all): probed; what can't be read is zero.
    unsafe {
        let name = Probed::pointer(file, &off::OFF_FILE_DENTRY);
        let mut below = Probed::pointer(file, &off::OFF_FILE_PRIVATE);
        let mut step = 0;
        while step < 2 {
            let inode = Probed::pointer(below, &off::OFF_FILE_INODE);
            let named = Probed::pointer(below, &off::OFF_FILE_DENTRY);
            let by_name = Probed::pointer(named, &off::OFF_DENTRY_INODE);
            if !inode.is_null() && (named == name || by_name == inode) {
                return below;
            }
            below = Probed::read::<u64>(below, &off::FIRST) as *const u8;
            step = opaque(step + 1);
        }
    }
    core::ptr::null()
}
