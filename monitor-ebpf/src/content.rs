//! The SHA-256 of a file, taken in the kernel or from what is remembered of the inode.
//!
//! The order is the point: remember how often the file was opened for writing, see that nobody has it open for writing,
//! hash, look at both again. A writer that came in between makes the digest worthless, and it is neither used nor kept.

use crate::{
    below::{AT_WILL, OVERLAY, UNKNOWN, WRITTEN, real_mark},
    file,
    maps::count,
    mem::{Mem, Probed, Typed},
    off::{self, has, on},
    verifier::forgotten,
};
use aya_ebpf::{helpers::generated::bpf_ima_file_hash, macros::map, maps::Array};
use hardpan_abi::{
    Counter, DigestState, DigestWords, FileInfo, GATE_HASH_ALWAYS_BYTES, GATE_HASH_SIGNED_BYTES,
    GATE_SIZE_BITS, InodeDigest, content_can_change_at_will, gate_size_bits, passed,
};

/// `HASH_ALGO_SHA256` (include/uapi/linux/hash_info.h).
const HASH_ALGO_SHA256: i64 = 4;

/// `TMPFS_MAGIC` (include/uapi/linux/magic.h).
const TMPFS: u64 = 0x0102_1994;
/// `F_SEAL_WRITE` (include/uapi/linux/fcntl.h).
const F_SEAL_WRITE: u32 = 8;
/// `SB_KERNMOUNT` (include/linux/fs.h): a file system that nobody mounted; anonymous memory is on one.
const SB_KERNMOUNT: u64 = 1 << 22;

/// Sizes of signed files, as a Bloom filter (see [`gate_size_bits`]). A large file of another size is not hashed: the
/// helper reads to the end without looking at signals, and a sparse file of 8 TB would hold its task for hours.
#[map]
pub static SIGNED_SIZES: Array<u64> = Array::with_max_entries((GATE_SIZE_BITS / 64) as u32, 0);

/// How often a block device in use was opened for writing, or closed by who had: what is remembered of files may no longer
/// be true.
#[map]
pub static RAW_WRITES: Array<u32> = Array::with_max_entries(1, 0);

/// The number of today.
#[inline(always)]
pub fn raw_writes() -> u32 {
    match RAW_WRITES.get_ptr(0) {
        // SAFETY: a live slot; volatile, for it changes meanwhile.
        Some(number) => unsafe { core::ptr::read_volatile(number) },
        None => 0,
    }
}

/// Withdraws what is remembered of all files.
#[inline(always)]
pub fn withdraw_all() {
    if let Some(number) = RAW_WRITES.get_ptr_mut(0) {
        // SAFETY: a live slot. Two at once may count as one: the number changes all the same.
        unsafe { core::ptr::write_volatile(number, core::ptr::read_volatile(number).wrapping_add(1)) };
    }
}

/// How a program gets at the inode cache: only the LSM object has that map.
pub trait DigestCache {
    /// The inode's cache entry, made if `create`; null if there is none.
    ///
    /// # Safety
    /// `inode` is a typed pointer to a `struct inode`.
    unsafe fn entry(inode: *const u8, create: bool) -> *mut InodeDigest;
}

/// What came of a look at a file's content.
pub struct Content {
    /// SHA-256, where `state` says so.
    pub digest: [u64; 4],
    /// A [`DigestState`] number.
    pub state: u32,
    /// Negative errno of the failed hash, or 0.
    pub errno: i32,
    /// 1: the digest was remembered.
    pub cached: u32,
    /// 1: nothing is remembered of a file that user space should have told about.
    pub missing: u32,
    /// How often the file and devices had been opened for writing when it was looked at, as [`passed::word`] has it in epoch 0.
    pub seen: u64,
}

impl Content {
    /// Nothing was tried.
    #[inline(always)]
    pub const fn none() -> Self {
        Self {
            digest: [0; 4],
            state: DigestState::NotTried as u32,
            errno: 0,
            cached: 0,
            missing: 0,
            seen: 0,
        }
    }
}

impl Content {
    /// Makes the verifier forget which way led here (see [`forgotten`]).
    #[inline(always)]
    pub fn forget(&mut self, info: &FileInfo) {
        self.state = forgotten(self.state, info.dev);
        self.cached = forgotten(self.cached, info.dev);
        self.errno = forgotten(self.errno as u32, info.dev) as i32;
        self.missing = forgotten(self.missing, info.dev);
    }
}

/// When a file was changed last; of a file on overlayfs a mark of the file below, which the host can change by itself.
pub struct Changed {
    s: i64,
    ns: u32,
}

/// Whether the entry holds the digest of the file as it is, after `writes` openings for writing; it is in `out` then.
///
/// # Safety
/// `entry` is a live entry.
#[inline(always)]
pub unsafe fn holds(
    entry: *const InodeDigest,
    info: &FileInfo,
    changed: &Changed,
    writes: u32,
    out: &mut DigestWords,
) -> bool {
    // SAFETY: by the caller's promise. Whoever writes to it meanwhile: what does not fit together is seen.
    unsafe {
        copy4((&raw const (*entry).digest).cast(), out);
        let raw = raw_writes();
        let base = InodeDigest::base(out, info.size_bytes, changed.s, changed.ns);
        core::ptr::read_volatile(&raw const (*entry).filled) == 1
            && core::ptr::read_volatile(&raw const (*entry).check) == InodeDigest::check(base, writes, raw)
    }
}

/// The digest in the entry, whatever the file is by now, and the number behind it; 0 if there is none.
///
/// # Safety
/// `entry` is a live entry.
#[inline(always)]
pub unsafe fn held(entry: *const InodeDigest, writes: u32, out: &mut DigestWords) -> u64 {
    // SAFETY (all): as above.
    unsafe {
        copy4((&raw const (*entry).digest).cast(), out);
        let base = InodeDigest::base(
            out,
            core::ptr::read_volatile(&raw const (*entry).size_bytes),
            core::ptr::read_volatile(&raw const (*entry).ctime_s),
            core::ptr::read_volatile(&raw const (*entry).ctime_ns),
        );
        let raw = core::ptr::read_volatile(&raw const (*entry).raw_writes);
        let fits = core::ptr::read_volatile(&raw const (*entry).filled) == 1
            && core::ptr::read_volatile(&raw const (*entry).check) == InodeDigest::check(base, writes, raw);
        if fits { base } else { 0 }
    }
}

/// Not 0: the gate has let this file through in this epoch, and nobody can have changed it since. For what comes by often.
///
/// # Safety
/// `inode` is a typed pointer.
#[inline(never)]
pub unsafe fn has_passed<C: DigestCache>(inode: *const u8, epoch: u32, way: u32) -> u32 {
    if !on(&off::HAS_INODE_STORAGE) || epoch == 0 {
        return 0;
    }
    // SAFETY (all): typed inode; a live entry, whose fields may be torn by somebody who hashes the file anew: of a change of the file `writes`,
    // which comes first, tells.
    unsafe {
        let entry = C::entry(inode, false);
        if entry.is_null() {
            return 0;
        }
        let raw = raw_writes();
        let now = passed::word(epoch, core::ptr::read_volatile(&raw const (*entry).writes), raw);
        if core::ptr::read_volatile(&raw const (*entry).passed[(way & 1) as usize]) != now {
            return 0;
        }
        let writers: i32 = Typed::read(inode, &off::OFF_INODE_WRITECOUNT);
        let size: u64 = Typed::read(inode, &off::OFF_INODE_SIZE);
        let ctime_s: i64 = Typed::read(inode, &off::OFF_INODE_CTIME_S);
        let ctime_ns = Typed::read::<u32>(inode, &off::OFF_INODE_CTIME_NS) & file::CTIME_NS;
        let entry = &*entry;
        u32::from(
            writers <= 0
                && entry.filled == 1
                && entry.raw_writes == raw
                && entry.size_bytes == size
                && entry.ctime_s == ctime_s
                && entry.ctime_ns == ctime_ns,
        )
    }
}

/// Notes for [`has_passed`] that the gate lets this content through.
///
/// # Safety
/// `entry` is the live entry of the file that `info` describes, and holds `content`.
#[inline(always)]
pub unsafe fn passes(entry: *mut InodeDigest, info: &FileInfo, content: &Content, epoch: u32, way: usize) {
    // The host can change the file below an overlay, and nothing of the inode above would tell.
    if info.fs_magic != OVERLAY {
        // SAFETY: by the caller's promise; one aligned word.
        unsafe {
            core::ptr::write_volatile(
                &raw mut (*entry).passed[way & 1],
                u64::from(epoch) << 32 | content.seen,
            );
        }
    }
}

/// The file's digest, and what is remembered of the inode (null if nothing can be): returned rather than put into `out`,
/// for a pointer that LLVM moves through memory in pieces is none to the verifier. Programs that are not `SLEEPABLE` only
/// remember.
///
/// # Safety
/// `file` and its `inode` are typed pointers; `info` describes the inode.
// A function of its own: its stack is free again when the file is judged.
#[inline(never)]
pub unsafe fn look<C: DigestCache, const SLEEPABLE: bool>(
    file: *const u8,
    inode: *const u8,
    info: &FileInfo,
    out: &mut Content,
) -> *mut InodeDigest {
    let nothing = core::ptr::null_mut();
    if info.mode & file::MODE_TYPE != file::MODE_REGULAR || content_can_change_at_will(info.fs_magic) {
        return nothing;
    }
    // SAFETY (all reads): typed pointers.
    let writers: i32 = unsafe { Typed::read(inode, &off::OFF_INODE_WRITECOUNT) };
    if writers > 0 {
        out.state = DigestState::Writers as u32;
        return nothing;
    }
    // The descriptor that comes with anonymous memory is no writer in the kernel's books: only a seal keeps the content.
    if info.nlink == 0 && info.fs_magic == TMPFS && is_anonymous(inode) && !is_sealed(inode) {
        out.state = DigestState::Writers as u32;
        return nothing;
    }
    let mut changed = Changed {
        s: info.ctime_s,
        ns: info.ctime_ns,
    };
    let mut remembers = on(&off::HAS_INODE_STORAGE);
    if info.fs_magic == OVERLAY {
        let mark = real_mark(file);
        // The kernel keeps writers out of the overlay's file alone, and hashes through it what a server answers once.
        if mark == AT_WILL {
            return nothing;
        }
        if mark == WRITTEN {
            out.state = DigestState::Writers as u32;
            return nothing;
        }
        changed.s = mark as i64;
        changed.ns = 0;
        remembers &= mark != UNKNOWN;
    }
    let (mut writes, mut entry) = (0, nothing);
    if remembers {
        // SAFETY: typed inode.
        entry = unsafe { C::entry(inode, false) };
        if !entry.is_null() {
            // SAFETY: the helper returned a live value.
            unsafe {
                writes = core::ptr::read_volatile(&raw const (*entry).writes);
                out.seen = passed::word(0, writes, raw_writes());
                if holds(entry, info, &changed, writes, &mut out.digest) {
                    out.state = DigestState::Sha256 as u32;
                    out.cached = 1;
                    count(Counter::ExecHashCached);
                    return entry;
                }
            }
        }
    }
    if info.size_bytes > GATE_HASH_SIGNED_BYTES {
        return entry;
    }
    let is_large = info.size_bytes > GATE_HASH_ALWAYS_BYTES || info.size_bytes > off::HASH_MAX_BYTES.load();
    if is_large && !is_signed_size(info.size_bytes) {
        return entry;
    }
    if !SLEEPABLE || !on(&off::HAS_IMA_FILE_HASH) {
        out.missing = 1;
        return entry;
    }
    if remembers && entry.is_null() {
        // Made before the hash, so that a writer has something to leave a trace in.
        // SAFETY: typed inode.
        entry = unsafe { C::entry(inode, true) };
    }
    let raw = raw_writes();
    out.seen = passed::word(0, writes, raw);
    let mut digest = [0u64; 8]; // room for SHA-512, should an IMA policy answer with it
    // SAFETY: typed file; the buffer is 64 bytes long.
    let algorithm = unsafe { bpf_ima_file_hash(file.cast_mut().cast(), (&raw mut digest).cast(), 64) };
    count(Counter::ExecHashed);
    if algorithm < 0 {
        out.errno = algorithm as i32;
        out.state = DigestState::Failed as u32;
        return entry;
    }
    if algorithm != HASH_ALGO_SHA256 {
        out.state = DigestState::OtherAlgorithm as u32;
        return entry;
    }
    // Hashing took a while: recheck that nobody began to write, and that the inode is what it was.
    // SAFETY: typed inode.
    let (writers, size, ctime_s, ctime_ns) = unsafe {
        (
            Typed::read::<i32>(inode, &off::OFF_INODE_WRITECOUNT),
            Typed::read::<u64>(inode, &off::OFF_INODE_SIZE),
            Typed::read::<i64>(inode, &off::OFF_INODE_CTIME_S),
            Typed::read::<u32>(inode, &off::OFF_INODE_CTIME_NS) & file::CTIME_NS,
        )
    };
    let mut is_same =
        writers <= 0 && size == info.size_bytes && ctime_s == info.ctime_s && ctime_ns == info.ctime_ns;
    if info.fs_magic == OVERLAY {
        is_same &= real_mark(file) as i64 == changed.s;
    }
    if !is_same {
        out.state = DigestState::Writers as u32;
        return entry;
    }
    if !entry.is_null() {
        // SAFETY: a live entry.
        unsafe {
            if core::ptr::read_volatile(&raw const (*entry).writes) != writes {
                out.state = DigestState::Writers as u32;
                return entry;
            }
            let entry = &mut *entry;
            entry.filled = 0;
            entry.size_bytes = info.size_bytes;
            entry.ctime_s = changed.s;
            entry.ctime_ns = changed.ns;
            entry.epoch = 0;
            entry.passed = [0; 2];
            entry.raw_writes = raw;
            copy4(digest.as_ptr(), &mut *(&raw mut entry.digest).cast());
            copy4(digest.as_ptr(), &mut out.digest);
            let base = InodeDigest::base(&out.digest, info.size_bytes, changed.s, changed.ns);
            entry.check = InodeDigest::check(base, writes, raw);
            entry.filled = 1;
        }
    }
    // SAFETY: 32 of the 64 bytes.
    unsafe { copy4(digest.as_ptr(), &mut out.digest) };
    out.state = DigestState::Sha256 as u32;
    entry
}

/// Whether it is memory (memfd, shared memory), not a file that lost its name on some tmpfs: who writes to those is counted.
#[inline(always)]
fn is_anonymous(inode: *const u8) -> bool {
    if !has(&off::OFF_SB_FLAGS) {
        return true;
    }
    // SAFETY (both): typed, by the caller's promise.
    let flags: u64 = unsafe { Typed::read(Typed::pointer(inode, &off::OFF_INODE_SB), &off::OFF_SB_FLAGS) };
    flags & SB_KERNMOUNT != 0
}

/// Whether nobody can write to this anonymous memory any more.
#[inline(always)]
fn is_sealed(inode: *const u8) -> bool {
    if !(on(&off::HAS_PROBE_READ) && has(&off::OFF_SHMEM_SEALS) && has(&off::OFF_SHMEM_INODE)) {
        return false;
    }
    let outer = (inode as u64).wrapping_sub(u64::from(off::OFF_SHMEM_INODE.load())) as *const u8;
    // SAFETY: a probed read; the inode of a tmpfs file lies in this struct.
    let seals: u32 = unsafe { Probed::read(outer, &off::OFF_SHMEM_SEALS) };
    seals & F_SEAL_WRITE != 0
}

#[inline(always)]
fn is_signed_size(size_bytes: u64) -> bool {
    let [first, second] = gate_size_bits(size_bytes);
    is_set(first) && is_set(second)
}

#[inline(always)]
fn is_set(bit: u64) -> bool {
    SIGNED_SIZES
        .get((bit / 64) as u32)
        .is_some_and(|word| *word >> (bit % 64) & 1 != 0)
}

/// Copies 32 bytes without a call to `memcpy`, which would be a byte loop here.
///
/// # Safety
/// `from` is valid for 4 words and 8-aligned.
#[inline(always)]
pub unsafe fn copy4(from: *const u64, to: &mut [u64; 4]) {
    let to: *mut u64 = to.as_mut_ptr();
    let mut i = 0;
    while i < 4 {
        // SAFETY: `i < 4`. Volatile keeps LLVM from making a memcpy call of the loop.
        unsafe { core::ptr::write_volatile(to.add(i), core::ptr::read_volatile(from.add(i))) };
        i += 1;
    }
}
