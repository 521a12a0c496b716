//! Globals that user space fills before loading: field offsets, enum constants, switches.

use aya_ebpf::Global;
use hardpan_abi::ABSENT;

macro_rules! declare {
    ($($global:ident, $owner:literal, [$($member:literal),+], $need:ident $(($what:literal))?;)+) => {
        $(
            #[doc = concat!("Offset of `", $owner, "` member ", stringify!($($member),+), ", in bytes.")]
            #[unsafe(no_mangle)]
            pub static $global: Global<u32> = Global::new(ABSENT);
        )+
    };
}

hardpan_abi::kernel_fields!(declare);

/// The first member of whatever it is.
#[unsafe(no_mangle)]
pub static FIRST: Global<u32> = Global::new(0);
/// Enum constant `READING_MODULE`.
#[unsafe(no_mangle)]
pub static READING_MODULE: Global<u32> = Global::new(ABSENT);
/// Enum constant `LOADING_MODULE`.
#[unsafe(no_mangle)]
pub static LOADING_MODULE: Global<u32> = Global::new(ABSENT);
/// Enum constant `LOCKDOWN_MODULE_SIGNATURE`.
#[unsafe(no_mangle)]
pub static LOCKDOWN_MODULE_SIGNATURE: Global<u32> = Global::new(ABSENT);
/// Enum constant `SYSCALL_WORK_BIT_SECCOMP`.
#[unsafe(no_mangle)]
pub static SYSCALL_WORK_BIT_SECCOMP: Global<u32> = Global::new(ABSENT);

/// See [`hardpan_abi::switch::TASK_BTF`].
#[unsafe(no_mangle)]
pub static HAS_TASK_BTF: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::D_PATH`].
#[unsafe(no_mangle)]
pub static HAS_D_PATH: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::PROBE_READ`].
#[unsafe(no_mangle)]
pub static HAS_PROBE_READ: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::IMA_FILE_HASH`].
#[unsafe(no_mangle)]
pub static HAS_IMA_FILE_HASH: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::INODE_STORAGE`].
#[unsafe(no_mangle)]
pub static HAS_INODE_STORAGE: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::SETGID_HOOK`].
#[unsafe(no_mangle)]
pub static HAS_SETGID_HOOK: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::PRCTL_HOOK`].
#[unsafe(no_mangle)]
pub static HAS_PRCTL_HOOK: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::OVERRIDE_HOOKS`].
#[unsafe(no_mangle)]
pub static HAS_OVERRIDE_HOOKS: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::ROOT_HOOKS`].
#[unsafe(no_mangle)]
pub static HAS_ROOT_HOOKS: Global<u32> = Global::new(0);

/// See [`hardpan_abi::switch::TASK_STORAGE`].
#[unsafe(no_mangle)]
pub static HAS_TASK_STORAGE: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::OPEN_MARK`].
#[unsafe(no_mangle)]
pub static HAS_OPEN_MARK: Global<u32> = Global::new(0);
/// See [`hardpan_abi::switch::CONTEXT_HOOK`].
#[unsafe(no_mangle)]
pub static HAS_CONTEXT_HOOK: Global<u32> = Global::new(0);

/// See [`hardpan_abi::GLOBAL_SELINUX_BLOBS`].
#[unsafe(no_mangle)]
pub static SELINUX_BLOBS: Global<u64> = Global::new(0);
/// See [`hardpan_abi::GLOBAL_PACKAGED_BUCKETS`].
#[unsafe(no_mangle)]
pub static PACKAGED_BUCKETS: Global<u32> = Global::new(0);
/// See [`hardpan_abi::GLOBAL_TRUSTED_BUCKETS`].
#[unsafe(no_mangle)]
pub static TRUSTED_BUCKETS: Global<u32> = Global::new(0);
/// Generation of this load, written into every record.
#[unsafe(no_mangle)]
pub static GENERATION: Global<u32> = Global::new(0);
/// Largest file hashed in the kernel, in bytes: the helper reads to the end without looking at signals.
#[unsafe(no_mangle)]
pub static HASH_MAX_BYTES: Global<u64> = Global::new(256 << 20);

/// True if the kernel has the field.
#[inline(always)]
pub fn has(field: &Global<u32>) -> bool {
    field.load() != ABSENT
}

/// True if the switch is on.
#[inline(always)]
pub fn on(switch: &Global<u32>) -> bool {
    switch.load() != 0
}
