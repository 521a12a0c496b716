//! The head of each record, the current task, credentials.

use crate::{
    mem::{Mem, Probed, Typed},
    off::{self, has, on},
};
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_task, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
    generated::bpf_get_current_task_btf,
};
use hardpan_abi::{ABI_VERSION, CredIds, EventHeader, EventKind, FileId, TaskInfo};

/// Fills a record's head for the current task.
///
/// # Safety
/// `header` points into memory the program may write, e.g. a ring-buffer reservation.
#[inline(always)]
pub unsafe fn fill_header(header: *mut EventHeader, kind: EventKind, size_bytes: u32) {
    // SAFETY: by the caller's promise `header` is writable.
    let header = unsafe { &mut *header };
    header.kind = kind as u16;
    header.abi_version = ABI_VERSION;
    header.size_bytes = size_bytes;
    // SAFETY: helpers without arguments.
    header.boottime_ns = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: as above.
    header.cpu = unsafe { bpf_get_smp_processor_id() };
    header.generation = off::GENERATION.load();
    // SAFETY: as above.
    header.task.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    if on(&off::HAS_TASK_BTF) {
        // SAFETY: the helper returns the current task as a typed pointer, never null.
        unsafe { fill_task::<Typed>(&mut header.task, bpf_get_current_task_btf().cast()) }
    } else {
        // SAFETY: the probed reads check every address.
        unsafe { fill_task::<Probed>(&mut header.task, bpf_get_current_task() as *const u8) }
    }
}

/// Fills the description of any task.
///
/// # Safety
/// `task` is a `task_struct` (typed for [`Typed`]).
#[inline(always)]
pub unsafe fn fill_task<M: Mem>(info: &mut TaskInfo, task: *const u8) {
    // SAFETY (all reads): `task` and what is reached from it is of the type each field belongs to.
    unsafe {
        info.pid = M::read(task, &off::OFF_TASK_PID);
        info.tgid = M::read(task, &off::OFF_TASK_TGID);
        let own_comm: [u64; 2] = comm::<M>(task);
        core::ptr::write_unaligned((&raw mut info.comm).cast(), own_comm);
        info.loginuid = if has(&off::OFF_TASK_LOGINUID) {
            M::read(task, &off::OFF_TASK_LOGINUID)
        } else {
            u32::MAX
        };
        info.sessionid = if has(&off::OFF_TASK_SESSIONID) {
            M::read(task, &off::OFF_TASK_SESSIONID)
        } else {
            u32::MAX
        };
        let leader = M::pointer(task, &off::OFF_TASK_GROUP_LEADER);
        info.start_boottime_ns = start::<M>(leader);
        let parent = M::pointer(task, &off::OFF_TASK_REAL_PARENT);
        info.parent_tgid = M::read(parent, &off::OFF_TASK_TGID);
        let parent_comm: [u64; 2] = comm::<M>(parent);
        core::ptr::write_unaligned((&raw mut info.parent_comm).cast(), parent_comm);
        let parent_leader = M::pointer(parent, &off::OFF_TASK_GROUP_LEADER);
        info.parent_start_boottime_ns = start::<M>(parent_leader);
        info.pid_ns = 0;
        info.mnt_ns = 0;
        info.reserved = 0;
        if has(&off::OFF_MM_EXE_FILE) && on(&off::HAS_PROBE_READ) {
            exe_of(&mut info.exe, task);
            exe_of(&mut info.parent_exe, parent);
        } else {
            info.exe = FileId::UNKNOWN;
            info.parent_exe = FileId::UNKNOWN;
        }
        if has(&off::OFF_TASK_NSPROXY) {
            let nsproxy = M::pointer(task, &off::OFF_TASK_NSPROXY);
            if !nsproxy.is_null() {
                if has(&off::OFF_NSPROXY_MNT_NS) && has(&off::OFF_MNT_NS_INUM) {
                    info.mnt_ns = M::read(
                        M::pointer(nsproxy, &off::OFF_NSPROXY_MNT_NS),
                        &off::OFF_MNT_NS_INUM,
                    );
                }
                if has(&off::OFF_NSPROXY_PID_NS) && has(&off::OFF_PID_NS_INUM) {
                    info.pid_ns = M::read(
                        M::pointer(nsproxy, &off::OFF_NSPROXY_PID_NS),
                        &off::OFF_PID_NS_INUM,
                    );
                }
            }
        }
    }
}

/// Which file a task runs. Without a branch, for it is in each program that writes records: the verifier would walk what
/// follows once for each way.
///
/// # Safety
/// `task` is a `task_struct`.
#[inline(never)]
unsafe fn exe_of(out: &mut FileId, task: *const u8) {
    // SAFETY (all): probed reads check every address; null reads as null.
    unsafe {
        let memory = Probed::pointer(task, &off::OFF_TASK_MM);
        let file = Probed::pointer(memory, &off::OFF_MM_EXE_FILE);
        let inode = Probed::pointer(file, &off::OFF_FILE_INODE);
        out.ino = Probed::read(inode, &off::OFF_INODE_INO);
        out.dev = Probed::read(Probed::pointer(inode, &off::OFF_INODE_SB), &off::OFF_SB_DEV);
        out.generation = if has(&off::OFF_INODE_GENERATION) {
            Probed::read(inode, &off::OFF_INODE_GENERATION)
        } else {
            0
        };
    }
}

/// The same where the kernel vouches for the pointer: quicker, and with branches.
///
/// # Safety
/// `task` is a typed pointer to a `task_struct`.
#[inline(always)]
pub unsafe fn exe_of_typed(out: &mut FileId, task: *const u8) -> bool {
    // SAFETY (all): typed pointers are tested before they are followed.
    unsafe {
        let memory = Typed::pointer(task, &off::OFF_TASK_MM);
        if memory.is_null() {
            return false;
        }
        let file = Typed::pointer(memory, &off::OFF_MM_EXE_FILE);
        if file.is_null() {
            return false;
        }
        let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
        if inode.is_null() {
            return false;
        }
        out.ino = Typed::read(inode, &off::OFF_INODE_INO);
        out.dev = Typed::read(Typed::pointer(inode, &off::OFF_INODE_SB), &off::OFF_SB_DEV);
        out.generation = if has(&off::OFF_INODE_GENERATION) {
            Typed::read(inode, &off::OFF_INODE_GENERATION)
        } else {
            0
        };
    }
    true
}

#[inline(always)]
unsafe fn comm<M: Mem>(task: *const u8) -> [u64; 2] {
    // Two loads of eight bytes: the verifier lets a load span elements of a char array.
    // SAFETY: `comm` is 16 bytes long.
    unsafe {
        [
            M::read(task, &off::OFF_TASK_COMM),
            M::read(task.wrapping_add(8), &off::OFF_TASK_COMM),
        ]
    }
}

#[inline(always)]
unsafe fn start<M: Mem>(task: *const u8) -> u64 {
    // SAFETY: `task` is a task_struct.
    if has(&off::OFF_TASK_START_BOOTTIME) {
        unsafe { M::read(task, &off::OFF_TASK_START_BOOTTIME) }
    } else {
        0
    }
}

/// Reads the current task's credentials (`task->cred`).
#[inline(always)]
pub fn current_creds(out: &mut CredIds) {
    if on(&off::HAS_TASK_BTF) {
        // SAFETY: the helper returns the current task as a typed pointer, never null; a task always has credentials.
        unsafe {
            let task: *const u8 = bpf_get_current_task_btf().cast();
            read_creds::<Typed>(out, Typed::pointer(task, &off::OFF_TASK_CRED));
        }
    } else {
        // SAFETY: the probed reads check every address.
        unsafe {
            let task = bpf_get_current_task() as *const u8;
            read_creds::<Probed>(out, Probed::pointer(task, &off::OFF_TASK_CRED));
        }
    }
}

/// Reads a `struct cred`.
///
/// # Safety
/// `cred` is a `struct cred` (typed for [`Typed`]).
#[inline(always)]
pub unsafe fn read_creds<M: Mem>(out: &mut CredIds, cred: *const u8) {
    // SAFETY: by the caller's promise each field belongs to `cred`.
    unsafe {
        out.uid = M::read(cred, &off::OFF_CRED_UID);
        out.gid = M::read(cred, &off::OFF_CRED_GID);
        out.suid = M::read(cred, &off::OFF_CRED_SUID);
        out.sgid = M::read(cred, &off::OFF_CRED_SGID);
        out.euid = M::read(cred, &off::OFF_CRED_EUID);
        out.egid = M::read(cred, &off::OFF_CRED_EGID);
        out.fsuid = M::read(cred, &off::OFF_CRED_FSUID);
        out.fsgid = M::read(cred, &off::OFF_CRED_FSGID);
        out.cap_inheritable = M::read(cred, &off::OFF_CRED_CAP_INHERITABLE);
        out.cap_permitted = M::read(cred, &off::OFF_CRED_CAP_PERMITTED);
        out.cap_effective = M::read(cred, &off::OFF_CRED_CAP_EFFECTIVE);
        out.cap_bset = M::read(cred, &off::OFF_CRED_CAP_BSET);
        out.cap_ambient = M::read(cred, &off::OFF_CRED_CAP_AMBIENT);
        out.securebits = M::read(cred, &off::OFF_CRED_SECUREBITS);
        out.user_ns = if has(&off::OFF_CRED_USER_NS) && has(&off::OFF_USER_NS_INUM) {
            M::read(M::pointer(cred, &off::OFF_CRED_USER_NS), &off::OFF_USER_NS_INUM)
        } else {
            0
        };
    }
}
