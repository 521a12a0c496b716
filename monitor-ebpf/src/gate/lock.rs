//! Which package managers take the lock of this system's package database: only what these install is provisional.
//!
//! rpm opens packages before it takes the lock, to read their headers, and unpacks them afterwards. User space verifies the headers and
//! enters the digests with the package manager's number; that they count is decided here, in the moment in which the lock is asked for.

use super::{config, sees_host};
use crate::{
    mem::{Mem, Probed, Typed},
    off::{self, has, on},
    package,
    rule::nonzero,
    verifier::forgotten,
};
use aya_ebpf::{
    helpers::{bpf_get_current_task, generated::bpf_ktime_get_boot_ns},
    macros::map,
    maps::HashMap,
};
use hardpan_abi::{GateClass, GateConfig};

/// `F_WRLCK` (include/uapi/asm-generic/fcntl.h).
const F_WRLCK: u32 = 1;
/// `.rpm.lock` and its end, as the kernel has it in memory.
const LOCK: (u64, u16) = (u64::from_le_bytes(*b".rpm.loc"), b'k' as u16);

/// Package managers that have asked for the lock, and when (`bpf_ktime_get_boot_ns`), by number. Neither LRU, for nothing may be
/// forgotten while it counts, nor emptied here: user space takes out what it no longer needs. Full: what is new is not provisional.
#[map]
pub static LOCKERS: HashMap<u32, u64> = HashMap::with_max_entries(256, 0);

/// Class and marks of a digest as they count now: nothing, if it is of a package whose manager has not asked for the lock.
// Looked up whatever the class is, and folded without a branch: each would be another way for the verifier to the end of the program. What is
// known of a file is seldom looked up.
#[inline(always)]
pub fn counts(value: u64) -> u64 {
    let number = value as u32;
    let asked = u64::from(forgotten(u32::from(LOCKERS.get_ptr(&number).is_some()), number)) & 1;
    let is_other = nonzero(value >> 32 ^ GateClass::Provisional as u64);
    let is_bound = (is_other ^ 1) & nonzero(u64::from(number));
    let waits = is_bound & (asked ^ 1);
    value & waits.wrapping_sub(1)
}

/// The package manager with this number has asked for the lock.
#[inline(always)]
pub fn has_asked(number: u32) -> bool {
    LOCKERS.get_ptr(&number).is_some()
}

/// `security_file_lock(struct file *file, unsigned int cmd)`: of `fcntl`, `flock` and leases; `cmd` is the kind of lock. Asked for
/// is as good as held: who does not get it waits for it, or ends.
///
/// # Safety
/// `file` is a typed pointer.
#[inline(always)]
pub unsafe fn asked_for(file: *const u8, kind: u32) {
    if kind != F_WRLCK || !package::any() {
        return;
    }
    let number = package::number();
    let Some(config) = config() else { return };
    if number == 0 || !on(&off::HAS_PROBE_READ) || !sees_host(config) || !is_lawful(config) {
        return;
    }
    // SAFETY: the caller's promise.
    if unsafe { is_lock(config, file) } {
        // SAFETY: helper without arguments.
        let now = unsafe { bpf_ktime_get_boot_ns() };
        let _ = LOCKERS.insert(&number, &now, 0);
    }
}

/// The current task is in the initial user namespace, and nobody traces it.
#[inline(always)]
fn is_lawful(config: &GateConfig) -> bool {
    if !(has(&off::OFF_TASK_PTRACE) && has(&off::OFF_CRED_USER_NS) && has(&off::OFF_USER_NS_INUM)) {
        return false;
    }
    // SAFETY (all): probed reads check every address; null reads as null.
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        let cred = Probed::pointer(task, &off::OFF_TASK_REAL_CRED);
        let user_ns = Probed::pointer(cred, &off::OFF_CRED_USER_NS);
        Probed::read::<u32>(user_ns, &off::OFF_USER_NS_INUM) == config.init_user_ns
            && Probed::read::<u32>(task, &off::OFF_TASK_PTRACE) == 0
    }
}

/// The file is the lock of this system's package database. With a second name it could be that of another one.
#[inline(always)]
unsafe fn is_lock(config: &GateConfig, file: *const u8) -> bool {
    if !(has(&off::OFF_FILE_DENTRY)
        && has(&off::OFF_DENTRY_INODE)
        && has(&off::OFF_DENTRY_PARENT)
        && has(&off::OFF_DENTRY_NAME))
    {
        return false;
    }
    // SAFETY (all): `file` by the caller's promise; the rest is probed.
    unsafe {
        let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
        if Typed::read::<u32>(inode, &off::OFF_INODE_NLINK) != 1 {
            return false;
        }
        let entry = Probed::pointer(file, &off::OFF_FILE_DENTRY);
        let name = Probed::pointer(entry, &off::OFF_DENTRY_NAME);
        if Probed::read::<u64>(name, &off::FIRST) != LOCK.0
            || Probed::read::<u16>(name.wrapping_add(8), &off::FIRST) != LOCK.1
        {
            return false;
        }
        let folder = Probed::pointer(
            Probed::pointer(entry, &off::OFF_DENTRY_PARENT),
            &off::OFF_DENTRY_INODE,
        );
        let ino: u64 = Probed::read(folder, &off::OFF_INODE_INO);
        let dev: u32 = Probed::read(Probed::pointer(folder, &off::OFF_INODE_SB), &off::OFF_SB_DEV);
        let [first, second] = &config.databases;
        ino != 0 && ((ino == first.ino && dev == first.dev) || (ino == second.ino && dev == second.dev))
    }
}
