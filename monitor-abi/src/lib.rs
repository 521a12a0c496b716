//! What Hardpan's eBPF programs and its user space say to each other: event records, counters, ids, sizes,
//! and the table of kernel struct fields whose offsets user space hands to the programs.
//!
//! Layout rules, each asserted at compile time:
//! - every struct is `repr(C)` without implicit padding (`zerocopy::IntoBytes` refuses padding);
//! - numbers are host-endian: both sides run on the same machine;
//! - ids are never reused: a retired number stays in its enum's comment.
//!
//! No logic lives here: decoding is `hardpan-core`'s, filling is `hardpan-ebpf`'s.
#![no_std]
#![forbid(unsafe_code)]

mod counter;
mod cred;
mod digest;
mod event;
mod exec;
mod field;
mod gate;
mod module;
mod packaged;
mod tally;
mod task;

pub use counter::{COUNTER_SLOTS, Counter};
pub use cred::{CredEvent, CredIds, CredWitness, WitnessNote};
pub use digest::{
    DIGEST_SLOTS, DigestBucket, DigestWords, GLOBAL_TRUSTED_BUCKETS, buckets_for, digest_buckets,
    digest_value, digests_apart_for,
};
pub use event::{
    ABI_VERSION, EventHeader, EventKind, FileId, RING_EVENTS_BYTES, RING_FINDINGS_BYTES, TASK_COMM_LEN,
    TaskInfo,
};
pub use exec::{
    DigestState, EXEC_ARGV_LARGE, EXEC_ARGV_SMALL, EXEC_PATH_LEN, ExecEvent, ExecStash, FileInfo,
    InodeDigest, MIX, content_can_change_at_will, exec_flag, mixed, passed,
};
pub use field::{
    ABSENT, ENUM_CONSTANTS, EnumConstant, FIELDS, Field, FieldNeed, GLOBAL_GENERATION, GLOBAL_HASH_MAX_BYTES,
    GLOBAL_SELINUX_BLOBS, switch,
};
pub use gate::{
    BLOCK_DEVICES_MAX, FileKey, GATE_HASH_ALWAYS_BYTES, GATE_HASH_SIGNED_BYTES, GATE_NO_RULE, GATE_RULES_MAX,
    GATE_SIZE_BITS, GRAMMARS_MAX, GateAction, GateClass, GateConfig, GateEvent, GateHook, GateKind, GateMode,
    GateRule, GivenNames, Grammar, OBJECT_NAME_LEN, OBJECT_NAMES_MAX, ObjectClass, ObjectEvent,
    PROTECTED_MAX, PackageEvent, TrustedEntry, WriteClass, gate_flag, gate_size_bits, gate_test,
    trusted_mark,
};
pub use module::{MODULE_NAME_LEN, ModuleEvent, ModuleNote, ModuleOrigin};
pub use packaged::{
    GLOBAL_PACKAGED_BUCKETS, PACKAGED_SLOTS, PATH_NUMBER, PackagedBucket, packaged_buckets, path_number,
    path_number_done, path_number_with,
};
pub use tally::{COUNTED_EXECS, CountedExec, TALLIES_MAX, Tally, TallyKey, TallyLease, TallySlot};
pub use task::{
    GROUPS_SEEN, NS_COUNT, NS_NAMES, OPENS_SEEN, TASKS_MAX, TaskFindingEvent, TaskFindingKind, TaskHook,
    TaskResponse, TaskRest, TaskShadow, TaskView, TaskWitness, task_state,
};
