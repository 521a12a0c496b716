//! Who asks: does somebody vouch for the program that the task runs?

use super::{config, in_container, known};
use crate::{
    content::{DigestCache, held},
    mem::{Mem, Typed},
    off::{self, has, on},
};
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use hardpan_abi::{GateClass, GateConfig};

/// [`GateClass`] number of what the current task runs; 0 if nobody can tell.
#[inline(never)]
pub fn subject<C: DigestCache>() -> u32 {
    let Some(config) = config() else { return 0 };
    if !on(&off::HAS_TASK_BTF) {
        return 0;
    }
    // SAFETY: the helper returns the current task as a typed pointer, never null.
    unsafe { class_of::<C>(config, bpf_get_current_task_btf().cast()) }
}

/// The same of another task.
///
/// # Safety
/// `task` is a typed pointer, not null.
#[inline(always)]
pub unsafe fn class_of<C: DigestCache>(config: &GateConfig, task: *const u8) -> u32 {
    if config.knows_subjects == 0 || !on(&off::HAS_INODE_STORAGE) || !has(&off::OFF_MM_EXE_FILE) {
        return 0;
    }
    // SAFETY (all): typed pointers, tested before they are followed; entries are live.
    unsafe {
        let memory = Typed::pointer(task, &off::OFF_TASK_MM);
        if memory.is_null() {
            // The kernel itself.
            return GateClass::Trusted as u32;
        }
        let file = Typed::pointer(memory, &off::OFF_MM_EXE_FILE);
        if !file.is_null() {
            let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
            let entry = if inode.is_null() {
                core::ptr::null_mut()
            } else {
                C::entry(inode, false)
            };
            let mut digest = [0u64; 4];
            if !entry.is_null()
                && held(
                    entry,
                    core::ptr::read_volatile(&raw const (*entry).writes),
                    &mut digest,
                ) != 0
            {
                let class = (known(&digest, core::ptr::null_mut()) >> 32) as u32;
                if class != GateClass::Unknown as u32 {
                    return class;
                }
            }
        }
    }
    if in_container(config) {
        GateClass::Container as u32
    } else {
        GateClass::Untrusted as u32
    }
}
