//! Kernel modules.

use crate::{
    file::read_inode,
    maps::{FINDINGS, count},
    mem::{Mem, Typed},
    off::{self, has},
    task,
};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::HashMap};
use hardpan_abi::{
    ABSENT, Counter, EventKind, FileInfo, MODULE_NAME_LEN, ModuleEvent, ModuleNote, ModuleOrigin,
    OBJECT_NAME_LEN,
};

/// What the LSM hooks saw this thread load; consumed at `module_load`.
#[map]
pub static MODULE_NOTES: HashMap<u64, ModuleNote> = HashMap::with_max_entries(256, 0);

/// The number is `READING_MODULE`.
#[inline(always)]
pub fn is_module_file(id: u32) -> bool {
    id == off::READING_MODULE.load() && id != ABSENT
}

/// The number is `LOADING_MODULE`.
#[inline(always)]
pub fn is_module_data(id: u32) -> bool {
    id == off::LOADING_MODULE.load() && id != ABSENT
}

/// `kernel_read_file(struct file *file, enum kernel_read_file_id id[, bool contents])`: the third argument exists since
/// 5.10 / EL 9.0 and is not read.
///
/// # Safety
/// `file` is the hook's first argument (typed).
#[inline(always)]
pub unsafe fn read_file(file: *const u8, id: u32) {
    if !is_module_file(id) {
        return;
    }
    let mut note = ModuleNote {
        file: FileInfo::EMPTY,
        origin: ModuleOrigin::File as u32,
        signature: 0,
        name: [0; OBJECT_NAME_LEN],
    };
    // SAFETY: by the caller's promise; an open file has an inode.
    unsafe { read_inode::<Typed>(&mut note.file, Typed::pointer(file, &off::OFF_FILE_INODE)) };
    let _full = MODULE_NOTES.insert(&bpf_get_current_pid_tgid(), &note, 0);
}

/// `kernel_load_data(enum kernel_load_data_id id[, bool contents])`.
#[inline(always)]
pub fn load_data(id: u32) {
    if !is_module_data(id) {
        return;
    }
    let note = ModuleNote {
        file: FileInfo::EMPTY,
        origin: ModuleOrigin::Memory as u32,
        signature: 0,
        name: [0; OBJECT_NAME_LEN],
    };
    let _full = MODULE_NOTES.insert(&bpf_get_current_pid_tgid(), &note, 0);
}

/// What is known of the module that this thread is loading.
#[inline(always)]
pub fn note_of_this_thread() -> Option<*mut ModuleNote> {
    MODULE_NOTES.get_ptr_mut(&bpf_get_current_pid_tgid())
}

/// `module_load(struct module *mod)`: after the signature was checked, before the module's init runs.
/// `module_free(struct module *mod)`: before the memory goes.
///
/// # Safety
/// `module` is the tracepoint's first argument (typed for [`Typed`]).
#[inline(always)]
pub unsafe fn event<M: Mem>(module: *const u8, kind: EventKind) {
    count(Counter::ModuleGenerated);
    let key = bpf_get_current_pid_tgid();
    let note = if matches!(kind, EventKind::ModuleLoad) {
        MODULE_NOTES.get_ptr(&key)
    } else {
        None
    };
    let Some(mut entry) = FINDINGS.reserve::<ModuleEvent>(0) else {
        count(Counter::ModuleLost);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is a `ModuleEvent`; nothing below sleeps; `module` by the caller's promise.
    unsafe {
        let record = &mut *record;
        match note {
            Some(note) => {
                record.file = (*note).file;
                record.origin = (*note).origin;
            }
            None => {
                record.file = FileInfo::EMPTY;
                record.origin = ModuleOrigin::Unknown as u32;
            }
        }
        record.taints = M::read(module, &off::OFF_MODULE_TAINTS);
        record.sig_ok = if has(&off::OFF_MODULE_SIG_OK) {
            let ok: u8 = M::read(module, &off::OFF_MODULE_SIG_OK);
            u32::from(ok & 1)
        } else {
            u32::MAX
        };
        let name = (&raw mut record.name).cast::<u64>();
        let mut word = 0;
        while word < MODULE_NAME_LEN / 8 {
            let value: u64 = M::read(module.wrapping_add(word * 8), &off::OFF_MODULE_NAME);
            core::ptr::write_volatile(name.add(word), value);
            word += 1;
        }
        task::current_creds(&mut record.creds);
        task::fill_header(&raw mut record.header, kind, size_of::<ModuleEvent>() as u32);
    }
    entry.submit(0);
    if note.is_some() {
        let _gone = MODULE_NOTES.remove(&key);
    }
}
