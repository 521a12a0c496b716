//! What is no file: modules, BPF programs, other processes. Decided by the policy's defaults and rules like files are.
//!
//! Default on doubt (a module whose name could not be read): what the policy says, `gate.on_doubt`.

use super::{
    GATE_RULES, action_of, config,
    rules::{first_rule, marks_word},
    subject::{class_of, subject},
};
use crate::{
    access::{ATTACH_BY_CALL, is_own},
    content::DigestCache,
    image,
    judge::SIGKILL,
    maps::{EVENTS, FINDINGS, count},
    mem::{Mem, Probed, Typed},
    module::note_of_this_thread,
    off::{self, has, on},
    task,
    verifier::forgotten,
};
use aya_ebpf::{
    helpers::{
        bpf_get_current_uid_gid,
        generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_send_signal},
    },
    macros::map,
    maps::HashMap,
};
use hardpan_abi::{
    ABSENT, Counter, EventKind, FileInfo, GATE_NO_RULE, GateAction, GateClass, GateConfig, GateHook,
    GateKind, GateMode, OBJECT_NAME_LEN, OBJECT_NAMES_MAX, ObjectClass, ObjectEvent, gate_flag,
};

/// Names that rules use, with the rules' marks.
#[map]
pub static OBJECT_NAMES: HashMap<[u8; OBJECT_NAME_LEN], u32> = HashMap::with_max_entries(OBJECT_NAMES_MAX, 0);

/// `BPF_PROG_LOAD`, and where `union bpf_attr` has type and name (include/uapi/linux/bpf.h).
const PROG_LOAD: u32 = 5;
const ATTR_PROG_NAME: usize = 48;
const PROG_NAME_LEN: u32 = 16;

type Name = [u8; OBJECT_NAME_LEN];

/// What is asked about.
struct Object {
    kind: u32,
    class: u32,
    hook: u32,
    flags: u32,
    subject: u32,
    program_type: u32,
    target: u32,
    target_uid: u32,
}

/// Nobody vouches for the program of this class; of those about which nobody can tell nothing is said.
#[inline(always)]
const fn is_untrusted(subject: u32) -> bool {
    subject >= GateClass::Container as u32
}

/// `kernel_post_load_data(char *buf, loff_t size, enum kernel_load_data_id id, …)` and
/// `kernel_post_read_file(struct file *file, char *buf, loff_t size, enum kernel_read_file_id id)`: the image is in the
/// kernel's memory, nobody can change it any more, and nothing of it was used yet. 1 to refuse.
#[inline(always)]
pub fn module<C: DigestCache>(image: u64, size: u64, hook: GateHook) -> i32 {
    let Some(config) = config() else { return 0 };
    let Some(note) = note_of_this_thread() else {
        return 0;
    };
    let mut object = Object {
        kind: GateKind::Module as u32,
        class: ObjectClass::Signed as u32,
        hook: hook as u32,
        flags: 0,
        subject: subject::<C>(),
        program_type: 0,
        target: 0,
        target_uid: 0,
    };
    // SAFETY: an entry of this thread's own.
    let name = unsafe { &raw mut (*note).name };
    if image::name_into(image, size, name) == 0 {
        object.flags |= gate_flag::DOUBT;
    }
    let signature = image::has_signature(image, size);
    // SAFETY: as above.
    unsafe { (*note).signature = signature };
    if is_untrusted(object.subject) {
        object.class = ObjectClass::UntrustedLoader as u32;
    } else if signature == 0 {
        object.class = ObjectClass::Unsigned as u32;
    }
    ask(config, &mut object, name)
}

/// `locked_down(enum lockdown_reason what)`: for modules it is asked only if the signature is missing or by a key the
/// kernel does not know. 1 to refuse.
#[inline(always)]
pub fn module_not_signed<C: DigestCache>(reason: u32) -> i32 {
    if reason != off::LOCKDOWN_MODULE_SIGNATURE.load() || reason == ABSENT {
        return 0;
    }
    let Some(config) = config() else { return 0 };
    let Some(note) = note_of_this_thread() else {
        return 0;
    };
    // Without a signature it has been asked about as unsigned.
    // SAFETY: an entry of this thread's own.
    if unsafe { (*note).signature } == 0 {
        return 0;
    }
    let subject = subject::<C>();
    if is_untrusted(subject) {
        return 0;
    }
    let mut object = Object {
        kind: GateKind::Module as u32,
        class: ObjectClass::Unsigned as u32,
        hook: GateHook::LockedDown as u32,
        flags: 0,
        subject,
        program_type: 0,
        target: 0,
        target_uid: 0,
    };
    // SAFETY: as above.
    ask(config, &mut object, unsafe { &raw mut (*note).name })
}

/// `bpf(int cmd, union bpf_attr *attr, unsigned int size)`: `attr` is the kernel's own copy. 1 to refuse.
#[inline(always)]
pub fn bpf<C: DigestCache>(command: u32, attr: *const u8) -> i32 {
    if command != PROG_LOAD {
        return 0;
    }
    let Some(config) = config() else { return 0 };
    let subject = subject::<C>();
    let mut object = Object {
        kind: GateKind::Bpf as u32,
        class: if is_untrusted(subject) {
            ObjectClass::UntrustedLoader as u32
        } else {
            ObjectClass::TrustedLoader as u32
        },
        hook: GateHook::Bpf as u32,
        flags: 0,
        subject,
        program_type: 0,
        target: 0,
        target_uid: 0,
    };
    let mut name: Name = [0; OBJECT_NAME_LEN];
    if on(&off::HAS_PROBE_READ) {
        // SAFETY (both): the helper checks the address.
        unsafe {
            bpf_probe_read_kernel((&raw mut object.program_type).cast(), 4, attr.cast());
            bpf_probe_read_kernel(
                (&raw mut name).cast(),
                PROG_NAME_LEN,
                attr.wrapping_add(ATTR_PROG_NAME).cast(),
            );
        }
    } else {
        object.flags |= gate_flag::DOUBT;
    }
    ask(config, &mut object, &raw mut name)
}

/// `ptrace_access_check(struct task_struct *child, unsigned int mode)`. 1 to refuse.
///
/// # Safety
/// `child` is the hook's argument (typed).
#[inline(always)]
pub unsafe fn ptrace<C: DigestCache>(child: *const u8, mode: u32) -> i32 {
    if mode & ATTACH_BY_CALL != ATTACH_BY_CALL || !on(&off::HAS_PROBE_READ) {
        return 0;
    }
    let Some(config) = config() else { return 0 };
    let mut name: Name = [0; OBJECT_NAME_LEN];
    // A debugger has what it started.
    if is_own(child as u64) != 0 {
        return 0;
    }
    let own_uid = bpf_get_current_uid_gid() as u32;
    // SAFETY (all): typed, or probed.
    let mut object = unsafe {
        let target: u32 = Typed::read(child, &off::OFF_TASK_TGID);
        let cred = Probed::pointer(child, &off::OFF_TASK_REAL_CRED);
        let uid: u32 = Probed::read(cred, &off::OFF_CRED_EUID);
        let words: *mut u64 = (&raw mut name).cast();
        *words = Probed::read(child, &off::OFF_TASK_COMM);
        *words.add(1) = Probed::read(child.wrapping_add(8), &off::OFF_TASK_COMM);
        let class = class_of::<C>(config, child);
        let is_daemon = has(&off::OFF_TASK_LOGINUID)
            && Typed::read::<u32>(child, &off::OFF_TASK_LOGINUID) == u32::MAX
            && class != 0
            && !is_untrusted(class);
        Object {
            kind: GateKind::Ptrace as u32,
            class: if is_daemon {
                ObjectClass::TrustedDaemon as u32
            } else if own_uid == uid {
                ObjectClass::SameUser as u32
            } else {
                ObjectClass::OtherUser as u32
            },
            hook: GateHook::Ptrace as u32,
            flags: 0,
            subject: 0,
            program_type: 0,
            target,
            target_uid: uid,
        }
    };
    if config.asks_subject >> (GateKind::Ptrace as u32) & 1 != 0 {
        object.subject = subject::<C>();
    }
    ask(config, &mut object, &raw mut name)
}

#[inline(always)]
fn ask(config: &GateConfig, object: &mut Object, name: *mut Name) -> i32 {
    // As in the question about files: one way for the verifier from here on.
    let class = forgotten(object.class, config.epoch) & 15;
    let kind = forgotten(object.kind, config.epoch) & 7;
    object.flags = forgotten(object.flags, config.epoch);
    // SAFETY: a whole name, on the stack or in a map's value.
    let marks = match unsafe { OBJECT_NAMES.get(&*name) } {
        Some(marks) => *marks,
        None => 0,
    };
    let mut action = action_of(config, kind, class);
    let mut rule = GATE_NO_RULE;
    if config.ruled[kind as usize] >> class & 1 != 0 {
        let mut info = FileInfo::EMPTY;
        info.uid = object.target_uid;
        let what = u64::from(kind | class << 8 | marks_word(marks) << 16)
            | u64::from(object.subject & 31) << 32
            | u64::from(object.program_type.min(63)) << 40;
        rule = first_rule(what, &info, config.rules);
        if let Some(decided) = GATE_RULES.get(rule) {
            action = decided.action;
        }
    }
    if object.flags & gate_flag::DOUBT != 0
        && config.closed_on_doubt == 0
        && action > GateAction::Alert as u32
    {
        action = GateAction::Alert as u32;
    }
    if action == GateAction::Allow as u32 {
        return 0;
    }
    let mut refuse = 0;
    if config.mode == GateMode::Enforce as u32 && action >= GateAction::Deny as u32 {
        // SAFETY: helper without arguments.
        if unsafe { bpf_ktime_get_boot_ns() } < config.grace_until_ns {
            object.flags |= gate_flag::GRACE;
        } else {
            object.flags |= gate_flag::REFUSED;
            refuse = 1;
        }
    }
    // Modules that are loaded have a record of their own, which tells the policy's answer.
    if refuse == 0 && kind == GateKind::Module as u32 && object.flags & gate_flag::GRACE == 0 {
        return 0;
    }
    emit(object, kind | class << 8 | action << 16, rule, name);
    if refuse == 1 {
        count(Counter::GateRefused);
        if action == GateAction::Kill as u32 {
            // SAFETY: helper without pointers.
            unsafe { bpf_send_signal(SIGKILL) };
        }
    }
    refuse
}

/// Writes the record. `what` packs kind, class and action.
#[inline(always)]
fn emit(object: &Object, what: u32, rule: u32, name: *const Name) {
    count(Counter::GateGenerated);
    let ring = if object.flags & gate_flag::REFUSED != 0 {
        &FINDINGS
    } else {
        &EVENTS
    };
    let Some(mut entry) = ring.reserve::<ObjectEvent>(0) else {
        count(Counter::GateLost);
        return;
    };
    // SAFETY: the reservation is an `ObjectEvent`; nothing below sleeps; the name is whole and aligned to 8.
    unsafe {
        let record = &mut *entry.as_mut_ptr();
        record.kind = what & 0xff;
        record.class = what >> 8 & 0xff;
        record.action = what >> 16 & 0xff;
        record.hook = object.hook;
        record.rule = rule;
        record.flags = object.flags;
        record.subject = object.subject;
        record.program_type = object.program_type;
        record.target = object.target;
        record.target_uid = object.target_uid;
        let (from, to): (*const u64, *mut u64) = (name.cast(), (&raw mut record.name).cast());
        let mut at = 0;
        while at < OBJECT_NAME_LEN / 8 {
            core::ptr::write_volatile(to.add(at), core::ptr::read_volatile(from.add(at)));
            at += 1;
        }
        task::current_creds(&mut record.creds);
        task::fill_header(
            &raw mut record.header,
            EventKind::Object,
            size_of::<ObjectEvent>() as u32,
        );
    }
    entry.submit(0);
}
