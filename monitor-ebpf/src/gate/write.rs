//! Writes: into what runs, into what the policy protects, past a file system into its block device.
//!
//! Default on doubt: open. What cannot be looked at is not told.

use super::{Asked, ask, config, subject_for};
use crate::{
    below,
    content::{self, Content, DigestCache, withdraw_all},
    file::{FMODE_WRITE, MODE_REGULAR, MODE_TYPE, read_inode},
    maps::{add_u32, count},
    mem::{Mem, Typed},
    off::{self, has, on},
    package,
};
use aya_ebpf::{macros::map, maps::HashMap};
use hardpan_abi::{
    BLOCK_DEVICES_MAX, Counter, DigestState, FileInfo, FileKey, GateHook, GateKind, InodeDigest,
    PROTECTED_MAX, WriteClass,
};

/// `ATTR_SIZE` (include/linux/fs.h).
const ATTR_SIZE: u32 = 1 << 3;
/// `S_IFBLK`.
const MODE_BLOCK: u32 = 0o060_000;

/// Files that the policy protects. User space keeps it; what takes a protected file's name is added here at once.
#[map]
pub static PROTECTED: HashMap<FileKey, u32> = HashMap::with_max_entries(PROTECTED_MAX, 0);

/// Block devices that are in use, by number. User space keeps it.
#[map]
pub static BLOCK_DEVICES: HashMap<u32, u32> = HashMap::with_max_entries(BLOCK_DEVICES_MAX, 0);

/// Whether [`opened`] has anything to do: mostly files are read, and nobody installs packages.
///
/// # Safety
/// `file` is the hook's argument (typed).
#[inline(always)]
pub unsafe fn is_worth_a_look(file: *const u8) -> bool {
    // SAFETY: typed.
    let mode: u32 = unsafe { Typed::read(file, &off::OFF_FILE_MODE) };
    mode & FMODE_WRITE != 0 || package::any()
}

/// `file_open(struct file *file)`: an opening for writing withdraws the verdict; of what runs, is protected or is in use
/// it is worth telling. 1 to refuse.
///
/// # Safety
/// `file` is the hook's argument (typed).
#[inline(always)]
pub unsafe fn opened<C: DigestCache>(file: *const u8) -> i32 {
    // SAFETY (all): typed pointers; the entry is live.
    unsafe {
        let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
        if Typed::read::<u32>(file, &off::OFF_FILE_MODE) & FMODE_WRITE == 0 {
            package::opened::<C>(file, inode);
            return 0;
        }
        let written = if kind_of(inode) == MODE_BLOCK {
            if !in_use(inode) {
                return 0;
            }
            withdraw_all();
            WriteClass::BlockDevice as u32
        } else {
            0
        };
        ask_write::<C, true>(file, inode, written, GateHook::FileOpen as u32)
    }
}

/// `inode_setattr`: cutting a file by its path, or through a descriptor, is a write. 1 to refuse.
///
/// # Safety
/// `dentry` and `attr` are the hook's arguments (typed).
#[inline(always)]
pub unsafe fn cut<C: DigestCache>(dentry: *const u8, attr: *const u8) -> i32 {
    if !(has(&off::OFF_DENTRY_INODE) && has(&off::OFF_IATTR_VALID)) {
        return 0;
    }
    // SAFETY (all): typed pointers.
    unsafe {
        if Typed::read::<u32>(attr, &off::OFF_IATTR_VALID) & ATTR_SIZE == 0 {
            return 0;
        }
        let inode = Typed::pointer(dentry, &off::OFF_DENTRY_INODE);
        if inode.is_null() {
            return 0;
        }
        ask_write::<C, false>(core::ptr::null(), inode, 0, GateHook::InodeSetattr as u32)
    }
}

/// `inode_rename` and `inode_unlink`: a protected file's name goes to `by`, or to nobody. 1 to refuse.
///
/// # Safety
/// Both are arguments of the hook (typed); `by` is null if there is none.
#[inline(always)]
pub unsafe fn replaced<C: DigestCache>(dentry: *const u8, by: *const u8, hook: u32) -> i32 {
    if !has(&off::OFF_DENTRY_INODE) || config().is_none() {
        return 0;
    }
    // SAFETY (all): typed pointers.
    unsafe {
        let inode = Typed::pointer(dentry, &off::OFF_DENTRY_INODE);
        if inode.is_null() || kind_of(inode) != MODE_REGULAR || PROTECTED.get(&key_of(inode)).is_none() {
            return 0;
        }
        // Packages bring new versions of such files; what package managers open is told and verified.
        let answer = if package::is_manager() {
            0
        } else {
            ask_write::<C, false>(core::ptr::null(), inode, WriteClass::Replaced as u32, hook)
        };
        if answer == 0 && !by.is_null() {
            // The new file is protected from now on; should the renaming fail, user space finds out.
            let new = Typed::pointer(by, &off::OFF_DENTRY_INODE);
            if !new.is_null() {
                let _full = PROTECTED.insert(&key_of(new), &1, 0);
            }
        }
        answer
    }
}

/// `blkdev_close`, `blkdev_release`: who had a device in use open for writing is done with it.
///
/// # Safety
/// `file` is the function's argument (typed).
#[inline(always)]
pub unsafe fn block_closed(file: *const u8) {
    // SAFETY (all): typed pointers.
    unsafe {
        if Typed::read::<u32>(file, &off::OFF_FILE_MODE) & FMODE_WRITE != 0
            && in_use(Typed::pointer(file, &off::OFF_FILE_INODE))
        {
            withdraw_all();
        }
    }
}

/// Withdraws the verdict, and asks if there is something to ask. `written` is a [`WriteClass`] number if the class is
/// known already.
///
/// # Safety
/// `file` (null if there is none) and `inode` are typed pointers.
#[inline(always)]
unsafe fn ask_write<C: DigestCache, const PATHS: bool>(
    file: *const u8,
    inode: *const u8,
    written: u32,
    hook: u32,
) -> i32 {
    // SAFETY (all): typed pointers; the entry is live.
    unsafe {
        let mut entry: *mut InodeDigest = core::ptr::null_mut();
        let (mut was_held, mut writes) = (0, 0);
        let mut content = Content::none();
        if written == 0 && on(&off::HAS_INODE_STORAGE) {
            entry = C::entry(inode, false);
            if !entry.is_null() {
                let before = core::ptr::read_volatile(&raw const (*entry).writes);
                was_held = content::held(entry, before, &mut content.digest);
                // At once, or one of two who come together could take back what others have counted meanwhile.
                add_u32(&raw mut (*entry).writes, 1);
                writes = before.wrapping_add(1);
                (*entry).filled = 0;
                (*entry).opened_by = 0;
            }
            if was_held != 0 {
                count(Counter::GateWithdrawn);
                content.state = DigestState::Sha256 as u32;
                content.cached = 1;
            }
        }
        if config().is_none() {
            return 0;
        }
        let mut asked = Asked {
            kind: GateKind::Write as u32,
            hook,
            flags: 0,
            subject: 0,
            class: written,
        };
        if written == 0 {
            if kind_of(inode) == MODE_REGULAR && PROTECTED.get(&key_of(inode)).is_some() {
                asked.class = WriteClass::Protected as u32;
            } else if was_held == 0 && !(is_mapped(inode) && below::judged_above(inode)) {
                return 0;
            } else if is_mapped(inode) {
                asked.kind = GateKind::WriteRunning as u32;
            } else {
                asked.class = WriteClass::Packaged as u32;
            }
        }
        asked.subject = subject_for::<C>(asked.kind);
        let mut info = FileInfo::EMPTY;
        read_inode::<Typed>(&mut info, inode);
        if written == WriteClass::BlockDevice as u32 {
            // Rules name the device, not the file system that its name is in.
            info.dev = Typed::read(inode, &off::OFF_INODE_RDEV);
        }
        let answer = ask::<PATHS>(file, &info, &content, entry, asked);
        // Nothing was written: a refusal must not be what makes the next attempt one that nobody knows of.
        if answer != 0
            && was_held != 0
            && !entry.is_null()
            && core::ptr::read_volatile(&raw const (*entry).writes) == writes
        {
            (*entry).check = InodeDigest::check(was_held, writes, (*entry).raw_writes);
            (*entry).filled = 1;
        }
        answer
    }
}

/// `S_IFMT` of the inode's mode.
#[inline(always)]
unsafe fn kind_of(inode: *const u8) -> u32 {
    // SAFETY: typed, by the caller's promise.
    let mode: u16 = unsafe { Typed::read(inode, &off::OFF_INODE_MODE) };
    u32::from(mode) & MODE_TYPE
}

#[inline(always)]
unsafe fn key_of(inode: *const u8) -> FileKey {
    // SAFETY (all): typed, by the caller's promise.
    unsafe {
        FileKey {
            ino: Typed::read(inode, &off::OFF_INODE_INO),
            dev: Typed::read(Typed::pointer(inode, &off::OFF_INODE_SB), &off::OFF_SB_DEV),
            reserved: 0,
        }
    }
}

/// Whether it is the name of a block device in use.
#[inline(always)]
unsafe fn in_use(inode: *const u8) -> bool {
    if !has(&off::OFF_INODE_RDEV) {
        return false;
    }
    // SAFETY (both): typed; entries of a preallocated map stay readable.
    unsafe {
        let device: u32 = Typed::read(inode, &off::OFF_INODE_RDEV);
        BLOCK_DEVICES.get(&device).is_some()
    }
}

/// Whether the file is mapped somewhere.
#[inline(always)]
unsafe fn is_mapped(inode: *const u8) -> bool {
    if !(has(&off::OFF_INODE_MAPPING) && has(&off::OFF_MAPPING_MAPPED)) {
        return false;
    }
    // SAFETY (both): typed.
    unsafe {
        let mapping = Typed::pointer(inode, &off::OFF_INODE_MAPPING);
        !Typed::pointer(mapping, &off::OFF_MAPPING_MAPPED).is_null()
    }
}
