//! Package managers: which processes they are, and which packages they open.
//!
//! What they open is no reason to trust anything: user space verifies the package's header against the pinned keys, and
//! only the digests in it become trusted, before the files are there.

use crate::{
    content::DigestCache,
    file::{FMODE_WRITE, path_into, read_inode},
    gate,
    maps::{EVENTS, Number, count},
    mem::{Mem, Typed},
    off::{self, on},
    task,
    verifier::opaque,
};
use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_uid_gid, bpf_ktime_get_boot_ns},
    },
    macros::map,
    maps::HashMap,
};
use hardpan_abi::{Counter, EXEC_PATH_LEN, EventKind, PackageEvent, exec_flag};

/// Numbers of running package managers, by process.
#[map]
pub static MANAGERS: HashMap<u32, u32> = HashMap::with_max_entries(256, 0);

/// How many there are: opens are many, and mostly nobody installs anything.
#[unsafe(no_mangle)]
static MANAGING: Number = Number::new();

/// The execution succeeded: the process is a package manager now ([`exec_flag`]), or no longer.
#[inline(always)]
pub fn executed(process: u32, flags: u32) {
    // SAFETY: helper without arguments.
    let is_root = unsafe { bpf_get_current_uid_gid() } as u32 == 0;
    if flags & exec_flag::PACKAGE_MANAGER != 0 && is_root {
        // SAFETY: helper without arguments. Not 0, and another one for the same process when it executes the next.
        let number = (unsafe { bpf_ktime_get_boot_ns() } >> 10) as u32 | 1;
        if MANAGERS.insert(&process, &number, BPF_NOEXIST).is_ok() {
            MANAGING.up();
        } else {
            // What it was before took no lock for what it is now. (No room: it is none.)
            let _ = MANAGERS.insert(&process, &number, BPF_EXIST);
        }
    } else {
        forget(process);
    }
}

/// A thread ended: with the leader goes the process.
#[inline(always)]
pub fn exited(key: u64) {
    if (key >> 32) as u32 == key as u32 {
        forget(key as u32);
    }
}

const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

#[inline(always)]
fn forget(process: u32) {
    if any() && MANAGERS.remove(&process).is_ok() {
        MANAGING.down();
    }
}

/// The current process is a package manager that root runs.
#[inline(always)]
pub fn is_manager() -> bool {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: entries of a preallocated map stay readable; only whether there is one is looked at.
    any() && unsafe { MANAGERS.get(&process) }.is_some()
}

/// The current process's number as a package manager that root runs; 0 if it is none.
#[inline(always)]
pub fn number() -> u32 {
    number_of((bpf_get_current_pid_tgid() >> 32) as u32)
}

/// The same of another process.
#[inline(always)]
pub fn number_of(process: u32) -> u32 {
    match MANAGERS.get_ptr(&process) {
        // SAFETY: entries of a preallocated map stay readable.
        Some(number) => unsafe { core::ptr::read_volatile(number) },
        None => 0,
    }
}

/// Some package manager runs.
#[inline(always)]
pub fn any() -> bool {
    MANAGING.any()
}

/// A file was opened for reading: is it a package, and who opened it a package manager? Told once per process and
/// content.
///
/// # Safety
/// `file` and its `inode` are typed pointers.
#[inline(always)]
pub unsafe fn opened<C: DigestCache>(file: *const u8, inode: *const u8) {
    if !on(&off::HAS_D_PATH) {
        return;
    }
    let Some(process) = manager() else { return };
    if on(&off::HAS_INODE_STORAGE) {
        // SAFETY: typed inode; a live entry.
        unsafe {
            let known = C::entry(inode, true);
            if !known.is_null() {
                if (*known).opened_by == process {
                    return;
                }
                (*known).opened_by = process;
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { tell(file, inode) };
}

/// The same from a tracing program, which may not use inode storage: told at each open.
///
/// # Safety
/// `file` is a typed pointer.
#[inline(always)]
pub unsafe fn opened_traced(file: *const u8) {
    if manager().is_none() {
        return;
    }
    // SAFETY: typed.
    unsafe {
        if Typed::read::<u32>(file, &off::OFF_FILE_MODE) & FMODE_WRITE == 0 {
            tell(file, Typed::pointer(file, &off::OFF_FILE_INODE));
        }
    }
}

/// The current process, if it is a package manager that runs while the gate judges.
#[inline(always)]
fn manager() -> Option<u32> {
    if !any() {
        return None;
    }
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    let found = MANAGERS.get_ptr(&process).is_some() && gate::config().is_some();
    found.then_some(process)
}

/// Tells that a package manager opened this file, if it is named like a package.
#[inline(always)]
unsafe fn tell(file: *const u8, inode: *const u8) {
    // Not among the findings: a transaction opens hundreds.
    let Some(mut entry) = EVENTS.reserve::<PackageEvent>(0) else {
        // Whether it was a package nobody knows.
        count(Counter::PackageGenerated);
        count(Counter::PackageLost);
        return;
    };
    // SAFETY: the reservation is a `PackageEvent`; nothing below sleeps; `file` by the caller's promise.
    let is_package = unsafe {
        let record = &mut *entry.as_mut_ptr();
        let bytes = path_into(file, &raw mut record.path);
        if bytes > 4 {
            // LLVM would drop the mask, which it knows to be needless; the verifier does not know.
            let end = opaque(bytes - 4) as usize & (EXEC_PATH_LEN - 1);
            let name = (&raw const record.path).cast::<u8>();
            let is_rpm = end <= EXEC_PATH_LEN - 5
                && core::ptr::read_volatile(name.add(end)) == b'.'
                && core::ptr::read_volatile(name.add(end + 1)) == b'r'
                && core::ptr::read_volatile(name.add(end + 2)) == b'p'
                && core::ptr::read_volatile(name.add(end + 3)) == b'm';
            record.path_bytes = bytes;
            record.manager = number();
            is_rpm
        } else {
            false
        }
    };
    if !is_package {
        entry.discard(0);
        return;
    }
    count(Counter::PackageGenerated);
    // SAFETY: as above.
    unsafe {
        let record = &mut *entry.as_mut_ptr();
        read_inode::<Typed>(&mut record.file, inode);
        task::current_creds(&mut record.creds);
        task::fill_header(
            &raw mut record.header,
            EventKind::Package,
            size_of::<PackageEvent>() as u32,
        );
    }
    entry.submit(0);
}
