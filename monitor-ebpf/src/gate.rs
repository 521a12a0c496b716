//! The exec gate: does what is about to run carry content that somebody vouches for, and what does the policy say if not?
//!
//! The verdict is made here, from a digest that the kernel took, without asking user space. Observe never refuses.
//! Default on doubt (the content could not be had): what the policy says, `gate.on_doubt`. Without a configuration from
//! user space the gate is off.

mod hooks;
pub mod lock;
pub mod object;
mod packaged;
mod rules;
mod scriptlet;
mod subject;
mod trusted;
mod write;

use crate::{
    content::{self, Content, DigestCache},
    file::path_into,
    judge::SIGKILL,
    maps::{EVENTS, FINDINGS, count},
    mem::{Mem, Probed},
    off::{self, has, on},
    rule::nonzero,
    task,
    verifier::forgotten,
};
use aya_ebpf::{
    helpers::{
        bpf_get_current_task,
        generated::{bpf_ktime_get_boot_ns, bpf_send_signal},
    },
    macros::map,
    maps::Array,
};
use hardpan_abi::{
    Counter, DigestState, DigestWords, EventKind, FileInfo, GATE_HASH_ALWAYS_BYTES, GATE_NO_RULE,
    GATE_RULES_MAX, GateAction, GateClass, GateConfig, GateEvent, GateHook, GateKind, GateMode, GateRule,
    InodeDigest, WriteClass, content_can_change_at_will, digest_value, gate_flag, passed, trusted_mark,
};
pub use hooks::{exec_kind, gained, is_executable, mmap, mprotect};
pub use packaged::sees_host;
use rules::{first_rule, marks_word};
pub use scriptlet::scriptlet;
pub use subject::subject;
pub use write::{block_closed, cut, is_worth_a_look, opened, replaced};

/// The settings.
#[map]
pub static GATE: Array<GateConfig> = Array::with_max_entries(1, 0);

/// Rules of the policy that the kernel side can decide, in order.
#[map]
pub static GATE_RULES: Array<GateRule> = Array::with_max_entries(GATE_RULES_MAX, 0);

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o010;

#[inline(always)]
pub fn config() -> Option<&'static GateConfig> {
    let config = GATE.get(0)?;
    (config.mode != GateMode::Off as u32).then_some(config)
}

/// What is asked: kind, hook, and flags found on the way.
#[derive(Clone, Copy)]
pub struct Asked {
    /// A [`GateKind`] number.
    pub kind: u32,
    /// A [`GateHook`] number.
    pub hook: u32,
    /// [`gate_flag`] bits.
    pub flags: u32,
    /// A [`GateClass`] number of the running program, where some rule asks for it. Programs that may sleep cannot look.
    pub subject: u32,
    /// Of a [`GateKind::Write`]: a [`WriteClass`] number. Else the [`GateClass`] number of what nobody vouches for, where that is known already,
    /// or 0.
    pub class: u32,
}

/// Programs that do not hash go by what user space filled in: where that is missing, it is doubt. [`gate_flag`] bits.
#[inline(always)]
pub fn doubt<const SLEEPABLE: bool>(content: &Content) -> u32 {
    // Without a branch: 1 or 0.
    if SLEEPABLE {
        0
    } else {
        content.missing * gate_flag::DOUBT
    }
}

/// What the current task runs, where some rule about this kind asks for it.
#[inline(always)]
pub fn subject_for<C: DigestCache>(kind: u32) -> u32 {
    match config() {
        Some(config) if config.asks_subject >> (kind & 7) & 1 != 0 => subject::<C>(),
        _ => 0,
    }
}

/// Judges a file and answers for it: 1 to refuse.
///
/// # Safety
/// See [`ask_for_marks`].
#[inline(always)]
pub unsafe fn ask<const PATHS: bool>(
    file: *const u8,
    info: &FileInfo,
    content: &Content,
    entry: *mut InodeDigest,
    asked: Asked,
) -> i32 {
    // SAFETY: the caller's promise is handed on.
    unsafe { ask_for_marks::<PATHS>(file, info, content, entry, asked) as i32 }
}

/// The same, with the digest's [`trusted_mark`] bits from bit 32 on.
///
/// `PATHS`: the hook lets `bpf_d_path` be called.
///
/// # Safety
/// `file` is a typed pointer, null if there is none; `content` belongs to `info`.
#[inline(always)]
pub unsafe fn ask_for_marks<const PATHS: bool>(
    file: *const u8,
    info: &FileInfo,
    content: &Content,
    entry: *mut InodeDigest,
    mut asked: Asked,
) -> u64 {
    let Some(config) = config() else { return 0 };
    // Before anything else of the settings is: what is found to be let through while they change counts in no epoch to come.
    // SAFETY: a live value.
    let epoch = unsafe { core::ptr::read_volatile(&raw const config.epoch) };
    if asked.hook == GateHook::ExecCheck as u32 {
        count(Counter::GateAskedExec);
    } else if asked.hook == GateHook::MmapFile as u32 {
        count(Counter::GateAskedMap);
    } else if asked.hook == GateHook::FileMprotect as u32 {
        count(Counter::GateAskedProtect);
    }
    // Not by a set-id bit: who changes it in the kernel's memory leaves no trace in anything else.
    if way(&asked) == Some(passed::EXEC)
        && info.mode & (SETUID | SETGID) == 0
        && asked.flags == 0
        && content.cached != 0
        && !entry.is_null()
    {
        // SAFETY (both): by the caller's promise.
        let word = unsafe { core::ptr::read_volatile(&raw const (*entry).passed[passed::EXEC]) };
        let (value, differs) = unsafe { remembered(entry, &content.digest, epoch) };
        if (word ^ (u64::from(epoch) << 32 | content.seen)) | differs == 0 {
            return value << 32;
        }
    }
    let (mut class, mut marks) = (GateClass::Unknown as u32, 0);
    if content.state == DigestState::Sha256 as u32 {
        // SAFETY: by the caller's promise.
        let value = unsafe { known(&content.digest, entry) };
        class = forgotten((value >> 32) as u32, config.epoch);
        marks = forgotten(value as u32, config.epoch);
    } else if content.state == DigestState::Failed as u32
        || content.state == DigestState::OtherAlgorithm as u32
        || asked.flags & gate_flag::DOUBT != 0
    {
        asked.flags |= gate_flag::DOUBT;
    }
    if content.cached != 0 {
        asked.flags |= gate_flag::DIGEST_CACHED;
    }
    let setid = setid_not_signed(info, marks);
    if class != GateClass::Unknown as u32 && setid != 0 && asked.kind == GateKind::Exec as u32 {
        // A copy that somebody made set-id: the content is vouched for, this use of it is not.
        asked.flags |= gate_flag::SETID_NOT_SIGNED;
        class = GateClass::Untrusted as u32;
    }
    let vouched = class != GateClass::Unknown as u32;
    let mut settled = 0;
    if asked.flags & gate_flag::PRIVATE_COPY != 0
        || (vouched && asked.flags & gate_flag::CAPS_NOT_SIGNED != 0)
    {
        class = GateClass::Untrusted as u32;
    }
    if asked.kind == GateKind::Write as u32 {
        if asked.class == WriteClass::Packaged as u32
            && class != GateClass::Trusted as u32
            && class != GateClass::Provisional as u32
        {
            return of(0, marks);
        }
        class = asked.class;
    } else if class == GateClass::Unknown as u32 {
        class = if asked.class != 0 {
            asked.class
        } else if info.nlink == 0 {
            GateClass::Fileless as u32
        } else if in_container(config) {
            GateClass::Container as u32
        } else {
            settled = u32::from(is_settled(info, content, asked.flags));
            GateClass::Untrusted as u32
        };
    }
    // From here on one way for the verifier, whatever came before: it would walk all of them to the end.
    class = forgotten(class, config.epoch) & 15;
    asked.flags = forgotten(asked.flags, config.epoch);
    asked.kind = forgotten(asked.kind, config.epoch);
    marks = forgotten(marks, config.epoch);
    // SAFETY: typed, and not null; the hook lets paths be asked for.
    if PATHS
        && forgotten(settled, config.epoch) & 1 != 0
        && !file.is_null()
        && unsafe { packaged::is_packaged(file) } != 0
    {
        class = GateClass::Mismatch as u32;
    }
    class = forgotten(class, config.epoch) & 15;
    let mut rule = GATE_NO_RULE;
    let mut action = action_of(config, asked.kind, class);
    if !is_unruled(config, asked.kind, class) {
        let what = u64::from(asked.kind | class << 8 | marks_word(marks) << 16)
            | u64::from(forgotten(asked.subject, config.epoch) & 31) << 32;
        rule = first_rule(what, info, config.rules);
        if let Some(decided) = GATE_RULES.get(rule) {
            action = decided.action;
        }
    }
    if asked.flags & gate_flag::DOUBT != 0 && config.closed_on_doubt == 0 && action > GateAction::Alert as u32
    {
        action = GateAction::Alert as u32;
    }
    if action == GateAction::Allow as u32 {
        let is_plain = vouched && rule == GATE_NO_RULE && asked.flags & !gate_flag::DIGEST_CACHED == 0;
        if let Some(way) = way(&asked)
            && is_plain
            && is_unruled(config, asked.kind, class)
            && !entry.is_null()
        {
            // SAFETY: the caller's promises.
            unsafe { content::passes(entry, info, content, epoch, way) };
        }
        return of(0, marks);
    }
    // SAFETY: the caller's promises.
    of(
        unsafe { act::<PATHS>(config, file, info, content, entry, asked, class, rule, action) },
        marks,
    )
}

#[inline(always)]
const fn of(refuse: i32, marks: u32) -> u64 {
    refuse as u64 | (marks as u64) << 32
}

/// What is remembered of a digest in this epoch, as [`hardpan_abi::digest_value`] packs it; it is worth nothing if the second number is
/// not 0.
///
/// # Safety
/// `entry` is a live entry.
#[inline(always)]
unsafe fn remembered(entry: *const InodeDigest, digest: &DigestWords, epoch: u32) -> (u64, u64) {
    // SAFETY (all): by the caller's promise. Volatile: somebody may be writing.
    unsafe {
        let value = digest_value(
            core::ptr::read_volatile(&raw const (*entry).class),
            core::ptr::read_volatile(&raw const (*entry).marks),
        );
        let judged = core::ptr::read_volatile(&raw const (*entry).judged);
        (value, judged ^ InodeDigest::judged(digest, value, epoch))
    }
}

/// Which of the [`passed`] words it is about.
#[inline(always)]
const fn way(asked: &Asked) -> Option<usize> {
    if asked.hook == GateHook::MmapFile as u32 {
        Some(passed::LIBRARY)
    } else if asked.hook == GateHook::ExecCheck as u32 && asked.kind == GateKind::Exec as u32 {
        Some(passed::EXEC)
    } else {
        None
    }
}

/// What nobody vouches for is sure to be another content than what any package lists: its digest says so, or its size, for
/// which it was not hashed.
#[inline(always)]
fn is_settled(info: &FileInfo, content: &Content, flags: u32) -> bool {
    let too_large = content.state == DigestState::NotTried as u32
        && flags & gate_flag::DOUBT == 0
        && info.size_bytes > GATE_HASH_ALWAYS_BYTES
        && !content_can_change_at_will(info.fs_magic);
    too_large || content.state == DigestState::Sha256 as u32
}

/// Class and marks of a digest, as [`hardpan_abi::digest_value`] packs them: what is remembered in this epoch, else what the table
/// says.
///
/// # Safety
/// `entry` is a live entry that holds the digest, or null.
// A function of its own: nothing of it stays on the stack of who asks.
#[inline(never)]
pub unsafe fn known(digest: &DigestWords, entry: *mut InodeDigest) -> u64 {
    let Some(config) = GATE.get_ptr(0) else { return 0 };
    // Before the table is looked at: what is read there while it changes is looked up again in the next epoch.
    // SAFETY: a live value.
    let epoch = unsafe { core::ptr::read_volatile(&raw const (*config).epoch) };
    if !entry.is_null() {
        // SAFETY: by the caller's promise.
        let (value, differs) = unsafe { remembered(entry, digest, epoch) };
        if differs == 0 {
            return value;
        }
    }
    let stands = trusted::value_of(digest);
    let value = lock::counts(stands);
    if !entry.is_null() {
        // What does not count yet may do so in the same epoch: that is not remembered.
        let is_final = nonzero(value) | (nonzero(stands) ^ 1);
        // SAFETY: as above. Who writes late, of another digest, writes what is no word on this one.
        unsafe {
            (*entry).class = (value >> 32) as u32;
            (*entry).marks = value as u32;
            (*entry).epoch = epoch;
            let judged = InodeDigest::judged(digest, value, epoch) & is_final.wrapping_neg();
            core::ptr::write_volatile(&raw mut (*entry).judged, judged);
        }
    }
    value
}

/// Not 0 if the mode gives an id that no signed file with this content gives.
#[inline(always)]
fn setid_not_signed(info: &FileInfo, marks: u32) -> u32 {
    let user = info.mode & SETUID != 0 && marks & trusted_mark::SETUID == 0;
    let group = info.mode & (SETGID | GROUP_EXEC) == SETGID | GROUP_EXEC && marks & trusted_mark::SETGID == 0;
    u32::from(user | group)
}

/// A PID namespace of its own that somebody with rights in the initial user namespace made: container runtimes do. An
/// ordinary user's `unshare` is none, or it would be a way around the gate.
#[inline(always)]
fn in_container(config: &GateConfig) -> bool {
    if !(has(&off::OFF_TASK_NSPROXY) && has(&off::OFF_NSPROXY_PID_NS) && has(&off::OFF_PID_NS_INUM))
        || !(has(&off::OFF_CRED_USER_NS) && has(&off::OFF_USER_NS_INUM))
        || !on(&off::HAS_PROBE_READ)
    {
        return false;
    }
    // SAFETY (all): probed reads check every address; null reads as null.
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        let nsproxy = Probed::pointer(task, &off::OFF_TASK_NSPROXY);
        let pid_ns: u32 = Probed::read(
            Probed::pointer(nsproxy, &off::OFF_NSPROXY_PID_NS),
            &off::OFF_PID_NS_INUM,
        );
        let cred = Probed::pointer(task, &off::OFF_TASK_REAL_CRED);
        let user_ns: u32 = Probed::read(
            Probed::pointer(cred, &off::OFF_CRED_USER_NS),
            &off::OFF_USER_NS_INUM,
        );
        pid_ns != 0 && pid_ns != config.init_pid_ns && user_ns == config.init_user_ns
    }
}

/// Volatile: behind the epoch.
#[inline(always)]
fn action_of(config: &GateConfig, kind: u32, class: u32) -> u32 {
    let at = ((kind & 7) as usize) * GateClass::SLOTS + (class & 15) as usize;
    // SAFETY: 8 kinds of 16 classes; both are masked.
    u32::from(unsafe { core::ptr::read_volatile((&raw const config.actions).cast::<u8>().add(at)) })
}

/// No rule can fit this class.
#[inline(always)]
fn is_unruled(config: &GateConfig, kind: u32, class: u32) -> bool {
    // SAFETY: 8 kinds.
    let ruled = unsafe { core::ptr::read_volatile(&raw const config.ruled[(kind & 7) as usize]) };
    ruled >> class & 1 == 0
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined")]
unsafe fn act<const PATHS: bool>(
    config: &GateConfig,
    file: *const u8,
    info: &FileInfo,
    content: &Content,
    entry: *mut InodeDigest,
    mut asked: Asked,
    class: u32,
    rule: u32,
    action: u32,
) -> i32 {
    let mut refuse = 0;
    if config.mode == GateMode::Enforce as u32 && action >= GateAction::Deny as u32 {
        // SAFETY: helper without arguments.
        if unsafe { bpf_ktime_get_boot_ns() } < config.grace_until_ns {
            asked.flags |= gate_flag::GRACE;
        } else {
            asked.flags |= gate_flag::REFUSED;
            refuse = 1;
        }
    }
    if refuse == 0 {
        // Executions that happen have a record of their own, unless it can't know what is wrong.
        let told_elsewhere = asked.kind < GateKind::Library as u32 || asked.kind == GateKind::Script as u32;
        let untold =
            gate_flag::SETID_NOT_SIGNED | gate_flag::CAPS_NOT_SIGNED | gate_flag::GRACE | gate_flag::ARGUMENT;
        if told_elsewhere && asked.flags & untold == 0 {
            return 0;
        }
        if !entry.is_null() && asked.kind < GateKind::WriteRunning as u32 {
            // Once per file and epoch.
            // SAFETY: a live entry.
            let entry = unsafe { &mut *entry };
            if entry.alerted == config.epoch {
                return 0;
            }
            entry.alerted = config.epoch;
        }
    } else {
        count(Counter::GateRefused);
    }
    let what = asked.kind | class << 8 | action << 16 | asked.hook << 24;
    // SAFETY: the caller's promises.
    unsafe {
        emit::<PATHS>(
            file,
            info,
            content,
            what,
            u64::from(rule) | u64::from(asked.flags) << 32,
        )
    };
    if refuse == 1 && action == GateAction::Kill as u32 {
        // SAFETY: helper without pointers.
        unsafe { bpf_send_signal(SIGKILL) };
    }
    refuse
}

/// Writes the record. `what` packs kind, class, action and hook, `why` the rule and the flags.
#[inline(always)]
unsafe fn emit<const PATHS: bool>(file: *const u8, info: &FileInfo, content: &Content, what: u32, why: u64) {
    count(Counter::GateGenerated);
    let flags = (why >> 32) as u32;
    // Alerts come in such numbers as ordinary events do; refusals must not be crowded out by them.
    let ring = if flags & gate_flag::REFUSED != 0 {
        &FINDINGS
    } else {
        &EVENTS
    };
    let Some(mut entry) = ring.reserve::<GateEvent>(0) else {
        count(Counter::GateLost);
        return;
    };
    // SAFETY: the reservation is a `GateEvent`; nothing below sleeps; `file` by the caller's promise.
    unsafe {
        let record = &mut *entry.as_mut_ptr();
        record.file = *info;
        content::copy4(content.digest.as_ptr(), &mut *(&raw mut record.digest).cast());
        record.kind = what & 0xff;
        record.class = what >> 8 & 0xff;
        record.action = what >> 16 & 0xff;
        record.hook = what >> 24;
        record.rule = why as u32;
        record.digest_state = content.state;
        record.digest_errno = content.errno;
        record.path_bytes = 0;
        record.reserved = 0;
        let mut flags = flags;
        if PATHS && on(&off::HAS_D_PATH) && !file.is_null() {
            let bytes = path_into(file, &raw mut record.path);
            if bytes > 0 {
                record.path_bytes = bytes;
                flags |= gate_flag::PATH_FROM_KERNEL;
            }
        }
        record.flags = flags;
        task::current_creds(&mut record.creds);
        task::fill_header(
            &raw mut record.header,
            EventKind::Gate,
            size_of::<GateEvent>() as u32,
        );
    }
    entry.submit(0);
}
