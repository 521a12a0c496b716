//! Scriptlets: rpm writes each to a file of its own, `rpm-tmp.XXXXXX`, and starts an interpreter with it.
//!
//! Nobody signed that file as such; what is in it stands in the header of a package that is being installed or removed. It counts in this
//! one place: as the program of an interpreter that the package manager itself has started, while that one installs into this system.

use super::lock;
use crate::{
    mem::{Mem, Probed},
    off::{self, has, on},
    package,
};
use aya_ebpf::helpers::bpf_get_current_task;
use hardpan_abi::{FileInfo, GateClass};

/// How their names begin (rpm's `rpmMkTempFile`).
const NAME: u64 = u64::from_le_bytes(*b"rpm-tmp.");
/// Others than the owner may write to it.
const OTHERS_WRITE: u32 = 0o022;

/// [`GateClass::Provisional`], if the file is a scriptlet; else 0.
///
/// # Safety
/// `file` is a typed `struct file`, and `info` describes it.
// A function of its own: its stack is free again when the file is judged.
#[inline(never)]
pub unsafe fn scriptlet(file: *const u8, info: &FileInfo) -> u32 {
    if !package::any() || info.uid != 0 || info.nlink != 1 || info.mode & OTHERS_WRITE != 0 {
        return 0;
    }
    if !(on(&off::HAS_PROBE_READ) && has(&off::OFF_FILE_DENTRY) && has(&off::OFF_DENTRY_NAME)) {
        return 0;
    }
    // SAFETY (all): probed reads check every address; null reads as null.
    let (parent, name) = unsafe {
        let task = bpf_get_current_task() as *const u8;
        let parent = Probed::pointer(task, &off::OFF_TASK_REAL_PARENT);
        let entry = Probed::pointer(file, &off::OFF_FILE_DENTRY);
        let name = Probed::pointer(entry, &off::OFF_DENTRY_NAME);
        (
            Probed::read::<u32>(parent, &off::OFF_TASK_TGID),
            Probed::read::<u64>(name, &off::FIRST),
        )
    };
    if name != NAME {
        return 0;
    }
    let number = package::number_of(parent);
    if number != 0 && lock::has_asked(number) {
        GateClass::Provisional as u32
    } else {
        0
    }
}
