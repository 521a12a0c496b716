//! File identity.

use crate::{
    mem::Mem,
    off::{self, has},
};
use aya_ebpf::helpers::generated::bpf_d_path;
use hardpan_abi::{EXEC_PATH_LEN, FileInfo};

/// `FMODE_WRITE` (include/linux/fs.h).
pub const FMODE_WRITE: u32 = 2;
/// `S_IFMT`.
pub const MODE_TYPE: u32 = 0o170_000;
/// Nanoseconds of a change time: since 6.13 bit 31 says that somebody has looked at it (`I_CTIME_QUERIED`).
pub const CTIME_NS: u32 = 0x3fff_ffff;
/// `S_IFREG`.
pub const MODE_REGULAR: u32 = 0o100_000;

/// Reads an inode's identity.
///
/// # Safety
/// `inode` is a `struct inode` (typed for [`crate::mem::Typed`]).
#[inline(always)]
pub unsafe fn read_inode<M: Mem>(out: &mut FileInfo, inode: *const u8) {
    // SAFETY: by the caller's promise each field belongs to `inode` or its super block.
    unsafe {
        out.ino = M::read(inode, &off::OFF_INODE_INO);
        out.size_bytes = M::read(inode, &off::OFF_INODE_SIZE);
        out.ctime_s = M::read(inode, &off::OFF_INODE_CTIME_S);
        out.ctime_ns = M::read::<u32>(inode, &off::OFF_INODE_CTIME_NS) & CTIME_NS;
        let mode: u16 = M::read(inode, &off::OFF_INODE_MODE);
        out.mode = u32::from(mode);
        out.nlink = M::read(inode, &off::OFF_INODE_NLINK);
        out.uid = M::read(inode, &off::OFF_INODE_UID);
        out.gid = M::read(inode, &off::OFF_INODE_GID);
        out.generation = if has(&off::OFF_INODE_GENERATION) {
            M::read(inode, &off::OFF_INODE_GENERATION)
        } else {
            0
        };
        out.reserved = 0;
        let sb = M::pointer(inode, &off::OFF_INODE_SB);
        out.dev = M::read(sb, &off::OFF_SB_DEV);
        out.fs_magic = M::read(sb, &off::OFF_SB_MAGIC);
    }
}

/// Writes a file's path and gives its length without the null byte; 0 if it is longer than the buffer, or outside the
/// task's root. Only where the kernel lets the hook call `bpf_d_path` (`off::HAS_D_PATH`).
///
/// # Safety
/// `file` is a typed `struct file`, not null.
#[inline(always)]
pub unsafe fn path_into(file: *const u8, out: *mut [u8; EXEC_PATH_LEN]) -> u32 {
    // SAFETY: `f_path` lies within the file; the buffer is as long as said.
    let written = unsafe {
        let path = file.add(off::OFF_FILE_PATH.load() as usize);
        bpf_d_path(path.cast_mut().cast(), out.cast(), EXEC_PATH_LEN as u32)
    };
    if written > 0 && written <= EXEC_PATH_LEN as i64 {
        (written - 1) as u32
    } else {
        0
    }
}
