//! What asks the gate, beside the check of executions.

use super::{Asked, ask, config, doubt, trusted};
use crate::{
    content::{self, Content, DigestCache},
    file::{MODE_REGULAR, MODE_TYPE, read_inode},
    maps::count,
    mem::{Mem, Typed},
    off::{self, has},
};
use hardpan_abi::{Counter, FileInfo, GateHook, GateKind, gate_flag, passed};

const PROT_EXEC: u64 = 4;

/// A mapping with these rights can be executed.
#[inline(always)]
pub const fn is_executable(prot: u64) -> bool {
    prot & PROT_EXEC != 0
}

/// `mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)` of an executable mapping. 1 to refuse.
///
/// `raw_file` is the hook's first argument as a number: kernels from 6.4 on take the typed pointer for one that is never
/// null, and would drop the test for it, though for anonymous memory it is.
///
/// # Safety
/// `file` is the hook's first argument (typed).
#[inline(always)]
pub unsafe fn mmap<C: DigestCache, const SLEEPABLE: bool>(file: *const u8, raw_file: u64) -> i32 {
    // The second test is for kernels that know that the pointer can be null, and ask for it.
    if raw_file == 0 || file.is_null() {
        return 0;
    }
    let Some(config) = config() else { return 0 };
    let mut info = FileInfo::EMPTY;
    let mut content = Content::none();
    // SAFETY (all): typed pointers.
    unsafe {
        let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
        if content::has_passed::<C>(inode, config.epoch, passed::LIBRARY as u32) != 0 {
            count(Counter::GateAskedMap);
            return 0;
        }
        read_inode::<Typed>(&mut info, inode);
        let entry = content::look::<C, SLEEPABLE>(file, inode, &info, &mut content);
        content.forget(&info);
        let asked = Asked {
            kind: GateKind::Library as u32,
            hook: GateHook::MmapFile as u32,
            flags: doubt::<SLEEPABLE>(&content),
            subject: 0,
            class: 0,
        };
        ask::<true>(file, &info, &content, entry, asked)
    }
}

/// `file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)`: runs under the memory's lock,
/// so it goes by what is remembered. What was never judged is in doubt; what never is judged (a file system whose content
/// can change at will) is not. 1 to refuse.
///
/// # Safety
/// `vma` is the hook's first argument (typed).
#[inline(always)]
pub unsafe fn mprotect<C: DigestCache>(vma: *const u8, prot: u64) -> i32 {
    if !is_executable(prot) || config().is_none() || !has(&off::OFF_VMA_FILE) {
        return 0;
    }
    let mut info = FileInfo::EMPTY;
    let mut content = Content::none();
    let mut asked = Asked {
        kind: GateKind::Library as u32,
        hook: GateHook::FileMprotect as u32,
        flags: 0,
        subject: 0,
        class: 0,
    };
    // SAFETY (all): typed pointers.
    unsafe {
        let file = Typed::pointer(vma, &off::OFF_VMA_FILE);
        if file.is_null() {
            // Memory without a file: just-in-time compilers live there.
            return 0;
        }
        let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
        read_inode::<Typed>(&mut info, inode);
        let entry = content::look::<C, false>(file, inode, &info, &mut content);
        content.forget(&info);
        asked.flags |= doubt::<false>(&content);
        if info.mode & MODE_TYPE != MODE_REGULAR {
            // A device: /dev/zero is memory.
            asked.flags |= gate_flag::DOUBT;
        }
        if has(&off::OFF_VMA_ANON) && !Typed::pointer(vma, &off::OFF_VMA_ANON).is_null() {
            asked.flags |= gate_flag::PRIVATE_COPY;
        }
        ask::<false>(core::ptr::null(), &info, &content, entry, asked)
    }
}

/// `bprm_creds_from_file(struct linux_binprm *bprm, struct file *file)`: the capabilities that the file gives have been
/// added to the new credentials. Does a signed file with this content give them? 1 to refuse.
///
/// Only of users other than root, in the initial user namespace: root and the roots of namespaces have them without the file.
///
/// # Safety
/// Both are the hook's arguments (typed).
#[inline(always)]
pub unsafe fn gained<C: DigestCache>(bprm: *const u8, file: *const u8) -> i32 {
    let Some(config) = config() else { return 0 };
    if !(has(&off::OFF_CRED_USER_NS) && has(&off::OFF_USER_NS_INUM)) {
        return 0;
    }
    // SAFETY (all): typed pointers, never null here; entries of a preallocated map stay readable.
    unsafe {
        let cred = Typed::pointer(bprm, &off::OFF_BPRM_CRED);
        let permitted: u64 = Typed::read(cred, &off::OFF_CRED_CAP_PERMITTED);
        // Those are the task's own.
        let ambient: u64 = Typed::read(cred, &off::OFF_CRED_CAP_AMBIENT);
        let given = permitted & !ambient;
        if given == 0
            || Typed::read::<u32>(cred, &off::OFF_CRED_EUID) == 0
            || Typed::read::<u32>(cred, &off::OFF_CRED_UID) == 0
        {
            return 0;
        }
        let user_ns = Typed::pointer(cred, &off::OFF_CRED_USER_NS);
        if Typed::read::<u32>(user_ns, &off::OFF_USER_NS_INUM) != config.init_user_ns {
            return 0;
        }
        let mut info = FileInfo::EMPTY;
        let mut content = Content::none();
        let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
        read_inode::<Typed>(&mut info, inode);
        let entry = content::look::<C, false>(file, inode, &info, &mut content);
        content.forget(&info);
        let signed = trusted::capabilities_of(&content.digest);
        if given & !signed == 0 {
            return 0;
        }
        let asked = Asked {
            kind: GateKind::Exec as u32,
            hook: GateHook::ExecCreds as u32,
            flags: gate_flag::CAPS_NOT_SIGNED | doubt::<false>(&content),
            subject: 0,
            class: 0,
        };
        ask::<false>(file, &info, &content, entry, asked)
    }
}

/// The kind of what `bprm_check_security` is asked about: scripts begin with `#!`.
///
/// # Safety
/// `bprm` is a typed pointer.
#[inline(always)]
pub unsafe fn exec_kind(bprm: *const u8) -> u32 {
    if has(&off::OFF_BPRM_BUF) {
        // SAFETY: a load may span elements of a char array.
        let first: u16 = unsafe { Typed::read(bprm, &off::OFF_BPRM_BUF) };
        if first == u16::from_ne_bytes(*b"#!") {
            return GateKind::Script as u32;
        }
    }
    GateKind::Exec as u32
}
