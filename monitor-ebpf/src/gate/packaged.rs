//! Is a file's path one that a package lists?

use super::config;
use crate::{
    file::path_into,
    maps::{EVENTS, FINDINGS},
    mem::{Mem, Probed},
    off::{self, has, on},
    verifier::opaque,
};
use aya_ebpf::{helpers::bpf_get_current_task, macros::map, maps::Array};
use hardpan_abi::{
    EXEC_PATH_LEN, GateConfig, PATH_NUMBER, PackagedBucket, packaged_buckets, path_number_done,
    path_number_with,
};

/// Numbers of the paths that packages list. User space sets the size when loading, and fills it.
#[map]
pub static PACKAGED: Array<PackagedBucket> = Array::with_max_entries(1, 0);

type Path = [u8; EXEC_PATH_LEN];

/// 1 if a package lists the path of this file and the task sees the host's tree. Asked of files that nobody vouches for, so
/// seldom.
///
/// # Safety
/// `file` is a typed `struct file`, not null; the hook lets `bpf_d_path` be called.
// A function of its own: its stack is free again when the file is judged.
#[inline(never)]
pub unsafe fn is_packaged(file: *const u8) -> u32 {
    let buckets = off::PACKAGED_BUCKETS.load();
    let Some(config) = config() else { return 0 };
    if buckets == 0 || !on(&off::HAS_D_PATH) || !sees_host(config) {
        return 0;
    }
    // Room for the path: the stack has none.
    let Some(mut scratch) = EVENTS.reserve::<Path>(0).or_else(|| FINDINGS.reserve::<Path>(0)) else {
        return 0;
    };
    // SAFETY: the reservation is as long as a path; `file` by the caller's promise.
    let number = unsafe {
        let path: *mut Path = scratch.as_mut_ptr();
        let bytes = path_into(file, path);
        number_of(path.cast(), bytes)
    };
    scratch.discard(0);
    if number == 0 {
        return 0;
    }
    let [first, second] = packaged_buckets(number, buckets);
    stands_in(first, number) | stands_in(second, number)
}

/// # Safety
/// `path` is valid for `EXEC_PATH_LEN` bytes.
#[inline(always)]
unsafe fn number_of(path: *const u8, bytes: u32) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let mut number = PATH_NUMBER;
    let mut at = 0;
    while at < EXEC_PATH_LEN as u32 {
        if at >= bytes {
            break;
        }
        // SAFETY: within the buffer, whose length is a multiple of 8; aligned.
        let mut word = unsafe { core::ptr::read_volatile(path.add(at as usize).cast::<u64>()) };
        let left = bytes - at;
        if left < 8 {
            // What lies behind the path is left over from elsewhere.
            let shift = 64 - 8 * left;
            word = word << shift >> shift;
        }
        number = path_number_with(number, word);
        at = opaque(at + 8);
    }
    path_number_done(number)
}

#[inline(always)]
fn stands_in(bucket: u32, number: u64) -> u32 {
    let Some(bucket) = PACKAGED.get(bucket) else {
        return 0;
    };
    u32::from(bucket.iter().any(|stands| *stands == number))
}

/// The task's root directory is the host's: paths mean what packages mean by them. A service with mounts of its own has the
/// same root; what `chroot` or a container runtime gave another has not.
#[inline(always)]
pub fn sees_host(config: &GateConfig) -> bool {
    if !(on(&off::HAS_PROBE_READ)
        && has(&off::OFF_TASK_FS)
        && has(&off::OFF_FS_ROOT_DENTRY)
        && has(&off::OFF_DENTRY_INODE))
    {
        return false;
    }
    // SAFETY (all): probed reads check every address; null reads as null.
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        let fs = Probed::pointer(task, &off::OFF_TASK_FS);
        let dentry = Probed::pointer(fs, &off::OFF_FS_ROOT_DENTRY);
        let inode = Probed::pointer(dentry, &off::OFF_DENTRY_INODE);
        let sb = Probed::pointer(inode, &off::OFF_INODE_SB);
        Probed::read::<u64>(inode, &off::OFF_INODE_INO) == config.root_ino
            && Probed::read::<u32>(sb, &off::OFF_SB_DEV) == config.root_dev
    }
}
