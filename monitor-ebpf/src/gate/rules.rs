//! The policy's rules as far as they are decided here.

use super::{GATE_RULES, SETGID, SETUID, config, in_container};
use crate::{
    mem::{Mem, Probed, Typed},
    off::{self, has, on},
    rule::nonzero,
    verifier::{at, forgotten, joined, opaque},
};
use aya_ebpf::helpers::{
    bpf_get_current_task,
    generated::{bpf_get_current_cgroup_id, bpf_get_current_task_btf},
};
use hardpan_abi::{FileInfo, GATE_NO_RULE, GATE_RULES_MAX, GateRule, gate_test, trusted_mark};

/// The marks in 16 bits: those of rules.
#[inline(always)]
pub(super) const fn marks_word(marks: u32) -> u32 {
    marks >> trusted_mark::RULES_FROM & 0xffff
}

/// The first rule that fits, or [`GATE_NO_RULE`]. `what` is the kind, the class (from bit 8), the marks of rules (from
/// bit 16), the class of the running program (from bit 32) and the type of a BPF program (from bit 40).
#[inline(never)]
pub(super) fn first_rule(what: u64, info: &FileInfo, rules: u32) -> u32 {
    let facts = Facts::of(info);
    let mut at = 0;
    while at < GATE_RULES_MAX {
        if at >= rules {
            break;
        }
        let Some(rule) = GATE_RULES.get(at) else { break };
        if facts.miss(rule, what) == 0 {
            // Not one way on for each index.
            return forgotten(at, rules);
        }
        at = opaque(at + 1);
    }
    GATE_NO_RULE
}

/// What rules ask of the task and the file, read once.
struct Facts {
    ids: [u32; 4],
    device: u32,
    flags: u32,
    inode: u64,
    filesystem: u64,
    capabilities: u64,
    cgroup: u64,
}

impl Facts {
    #[inline(always)]
    fn of(info: &FileInfo) -> Self {
        let mut facts = Self {
            ids: [0, 0, u32::MAX, info.uid],
            device: info.dev,
            flags: 0,
            inode: info.ino,
            filesystem: info.fs_magic,
            capabilities: 0,
            // SAFETY: helper without arguments.
            cgroup: unsafe { bpf_get_current_cgroup_id() },
        };
        if info.mode & (SETUID | SETGID) != 0 {
            facts.flags |= gate_test::SETID;
        }
        if let Some(config) = config()
            && in_container(config)
        {
            facts.flags |= gate_test::CONTAINER;
        }
        if on(&off::HAS_TASK_BTF) {
            // SAFETY: the helper returns the current task as a typed pointer, never null.
            unsafe { facts.of_task::<Typed>(bpf_get_current_task_btf().cast()) }
        } else {
            // SAFETY: the probed reads check every address.
            unsafe { facts.of_task::<Probed>(bpf_get_current_task() as *const u8) }
        }
        facts
    }

    #[inline(always)]
    unsafe fn of_task<M: Mem>(&mut self, task: *const u8) {
        // SAFETY (all): the caller's task.
        unsafe {
            let cred = M::pointer(task, &off::OFF_TASK_CRED);
            self.ids[0] = M::read(cred, &off::OFF_CRED_EUID);
            self.ids[1] = M::read(cred, &off::OFF_CRED_EGID);
            self.capabilities = M::read(cred, &off::OFF_CRED_CAP_EFFECTIVE);
            if has(&off::OFF_TASK_LOGINUID) {
                self.ids[2] = M::read(task, &off::OFF_TASK_LOGINUID);
            }
        }
    }

    /// 0 if the rule fits. Without branches: with them the verifier would walk 2^n ways per rule. A function of its own, and one
    /// test after the other: else it would take more stack than there is beside that of the callers.
    #[inline(never)]
    fn miss(&self, rule: &GateRule, what: u64) -> u64 {
        let (kind, class, marks) = (what & 31, what >> 8 & 31, what >> 16 & 0xffff);
        let (subject, program_type) = (what >> 32 & 31, what >> 40 & 63);
        let mut fails = 0u64;
        let mut id = 0;
        while id < 4 {
            let (low, high) = (u64::from(at(&rule.ids[id][0])), u64::from(at(&rule.ids[id][1])));
            fails = joined(fails | outside(u64::from(at(&self.ids[id])), low, high) << id);
            id += 1;
        }
        let (low, high) = (at(&rule.inode[0]), at(&rule.inode[1]));
        fails = joined(fails | outside(at(&self.inode), low, high) << 4);
        fails = joined(fails | nonzero(u64::from(at(&self.device)) ^ u64::from(at(&rule.device))) << 5);
        fails = joined(fails | nonzero(at(&self.filesystem) ^ at(&rule.filesystem)) << 6);
        let flags = !u64::from(at(&self.flags)) & u64::from(gate_test::SETID | gate_test::CONTAINER);
        fails = joined(fails | flags);
        fails = joined(fails | (1 ^ nonzero(at(&self.capabilities) & at(&rule.capabilities))) << 9);
        fails = joined(fails | nonzero(at(&self.cgroup) ^ at(&rule.cgroup)) << 10);
        fails = joined(
            fails | (1 ^ nonzero(marks & u64::from(at(&rule.marks)) >> trusted_mark::RULES_FROM)) << 11,
        );
        fails = joined(fails | (!u64::from(at(&rule.subjects)) >> subject & 1) << 12);
        fails = joined(fails | (!at(&rule.program_types) >> program_type & 1) << 13);
        let wrong = joined((fails ^ u64::from(at(&rule.negated))) & u64::from(at(&rule.tests)));
        let other_kind = joined(!u64::from(at(&rule.kinds)) >> kind & 1);
        let other_class = !u64::from(at(&rule.classes)) >> class & 1;
        wrong | other_kind | other_class
    }
}

/// 1 if the value is not within the inclusive range; all below 2^63 (inode numbers beyond do not fit any rule).
#[inline(always)]
const fn outside(value: u64, low: u64, high: u64) -> u64 {
    (value.wrapping_sub(low) | high.wrapping_sub(value)) >> 63
}
