//! `bpf(2)` for what aya does not do: attaching by a descriptor that this program keeps, pins, and tiny programs for
//! probes, written as instructions, that the kernel accepts or refuses.
//!
//! aya loads the real programs; a probe answers "would the kernel let me?" without the object, one feature at a time.

use nix::libc;
use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_BTF_LOAD: libc::c_long = 18;

/// Program types (`enum bpf_prog_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgType {
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`
    RawTracepoint = 17,
    /// `BPF_PROG_TYPE_TRACING`
    Tracing = 26,
    /// `BPF_PROG_TYPE_LSM`
    Lsm = 29,
}

/// Attach types (`enum bpf_attach_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum AttachType {
    /// None; for raw tracepoints.
    None = 0,
    /// `BPF_TRACE_RAW_TP`
    TraceRawTp = 23,
    /// `BPF_TRACE_FENTRY`
    Fentry = 24,
    /// `BPF_MODIFY_RETURN`
    ModifyReturn = 26,
    /// `BPF_LSM_MAC`
    LsmMac = 27,
}

/// One instruction, as the kernel stores it.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Insn(u64);

impl Insn {
    const fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        Self(
            code as u64
                | (dst as u64) << 8
                | (src as u64) << 12
                | (off.cast_unsigned() as u64) << 16
                | (imm.cast_unsigned() as u64) << 32,
        )
    }

    /// `dst = imm`
    pub const fn mov_imm(dst: u8, imm: i32) -> Self {
        Self::new(0xb7, dst, 0, 0, imm)
    }

    /// `dst = src`
    pub const fn mov(dst: u8, src: u8) -> Self {
        Self::new(0xbf, dst, src, 0, 0)
    }

    /// `dst += imm`
    pub const fn add_imm(dst: u8, imm: i32) -> Self {
        Self::new(0x07, dst, 0, 0, imm)
    }

    /// `dst = *(u64 *)(src + off)`
    pub const fn load(dst: u8, src: u8, off: i16) -> Self {
        Self::new(0x79, dst, src, off, 0)
    }

    /// `*(u64 *)(dst + off) = imm`
    pub const fn store_imm(dst: u8, off: i16, imm: i32) -> Self {
        Self::new(0x7a, dst, 0, off, imm)
    }

    /// `if dst != src goto +skip`
    pub const fn jump_if_ne(dst: u8, src: u8, skip: i16) -> Self {
        Self::new(0x5d, dst, src, skip, 0)
    }

    /// `lock *(u64 *)(dst + off) += src`
    pub const fn atomic_add(dst: u8, src: u8, off: i16) -> Self {
        Self::new(0xdb, dst, src, off, 0)
    }

    /// `call helper`
    pub const fn call(helper: i32) -> Self {
        Self::new(0x85, 0, 0, 0, helper)
    }

    /// `exit`
    pub const fn exit() -> Self {
        Self::new(0x95, 0, 0, 0, 0)
    }

    /// `dst = &map[0]` (`BPF_PSEUDO_MAP_VALUE`), two instructions.
    pub fn map_value(dst: u8, map: BorrowedFd<'_>) -> [Self; 2] {
        [
            Self::new(0x18, dst, 2, 0, map.as_raw_fd()),
            Self::new(0, 0, 0, 0, 0),
        ]
    }
}

/// A program to try.
#[derive(Debug)]
pub struct Prog<'a> {
    /// Type.
    pub kind: ProgType,
    /// Attach type.
    pub attach: AttachType,
    /// BTF id of the function or tracepoint typedef it attaches to; 0 for raw tracepoints.
    pub btf_id: u32,
    /// `BPF_F_SLEEPABLE`.
    pub sleepable: bool,
    /// Code.
    pub insns: &'a [Insn],
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_prog_fd: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Default)]
struct BtfLoad {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    reserved: u32,
}

#[repr(C)]
struct MapElem {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct RawTracepoint {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is a live struct whose size is passed with it; every pointer inside refers to memory that its
    // owner (the caller in this module) keeps alive for the call; the kernel writes only where those pointers allow.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the command just returned this descriptor, nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Loads a program; closing the descriptor unloads it. The verifier's log is not asked for: the errno tells enough.
pub fn load(prog: &Prog<'_>) -> io::Result<OwnedFd> {
    const SLEEPABLE: u32 = 1 << 4;
    const LICENSE: &CStr = c"Dual MIT/GPL";
    let mut attr = ProgLoad {
        prog_type: prog.kind as u32,
        insn_cnt: u32::try_from(prog.insns.len()).map_err(io::Error::other)?,
        insns: prog.insns.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        prog_flags: if prog.sleepable { SLEEPABLE } else { 0 },
        expected_attach_type: prog.attach as u32,
        attach_btf_id: prog.btf_id,
        ..ProgLoad::default()
    };
    bpf(BPF_PROG_LOAD, &mut attr).map(owned)
}

/// Words in the map that probes and their programs share.
pub const WORDS: usize = 8;

/// Makes an array map with one value of [`WORDS`] `u64`.
pub fn words() -> io::Result<OwnedFd> {
    const ARRAY: u32 = 2;
    let mut attr = MapCreate {
        map_type: ARRAY,
        key_size: 4,
        value_size: u32::try_from(WORDS * 8).map_err(io::Error::other)?,
        max_entries: 1,
        ..MapCreate::default()
    };
    bpf(BPF_MAP_CREATE, &mut attr).map(owned)
}

/// Makes a task storage map (5.11) with values of this size: aya knows no such maps. The kernel wants the types of key and
/// value described: a number and an array of numbers.
pub fn task_storage(value_bytes: u32) -> io::Result<OwnedFd> {
    const TASK_STORAGE: u32 = 29;
    const NO_PREALLOC: u32 = 1;
    // struct btf_header, then an int of 32 bits (type 1) and an array of them (type 2); see linux/btf.h.
    const INT: u32 = 1 << 24;
    const ARRAY: u32 = 3 << 24;
    let types: [u32; 10] = [1, INT, 4, 32, 0, ARRAY, 0, 1, 1, value_bytes / 4];
    let header: [u32; 6] = [0x0001_eb9f, 24, 0, 40, 40, 5];
    let mut blob: Vec<u8> = header
        .iter()
        .chain(&types)
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    blob.extend_from_slice(b"\0int\0");
    let mut attr = BtfLoad {
        btf: blob.as_ptr() as u64,
        btf_size: u32::try_from(blob.len()).map_err(io::Error::other)?,
        ..BtfLoad::default()
    };
    let btf = bpf(BPF_BTF_LOAD, &mut attr).map(owned)?;
    let mut attr = MapCreate {
        map_type: TASK_STORAGE,
        key_size: 4,
        value_size: value_bytes,
        map_flags: NO_PREALLOC,
        map_name: *b"TASKS\0\0\0\0\0\0\0\0\0\0\0",
        btf_fd: btf.as_raw_fd().cast_unsigned(),
        btf_key_type_id: 1,
        btf_value_type_id: 2,
        ..MapCreate::default()
    };
    bpf(BPF_MAP_CREATE, &mut attr).map(owned)
}

/// Reads the value of [`words`].
pub fn read_words(map: BorrowedFd<'_>) -> io::Result<[u64; WORDS]> {
    let (key, mut value) = (0u32, [0u64; WORDS]);
    let mut attr = MapElem {
        map_fd: map.as_raw_fd().cast_unsigned(),
        pad: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    bpf(BPF_MAP_LOOKUP_ELEM, &mut attr)?;
    Ok(value)
}

/// Writes the value of [`words`].
pub fn write_words(map: BorrowedFd<'_>, value: &[u64; WORDS]) -> io::Result<()> {
    let key = 0u32;
    let mut attr = MapElem {
        map_fd: map.as_raw_fd().cast_unsigned(),
        pad: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: value.as_ptr() as u64,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Gives a map or a link a name in the BPF file system, which keeps it when its descriptors are closed.
pub fn pin(object: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let mut attr = Pin {
        path: path.as_ptr() as u64,
        fd: object.as_raw_fd().cast_unsigned(),
        flags: 0,
    };
    bpf(BPF_OBJ_PIN, &mut attr).map(drop)
}

/// A descriptor of what is pinned under this name.
pub fn get(path: &CStr) -> io::Result<OwnedFd> {
    let mut attr = Pin {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    bpf(BPF_OBJ_GET, &mut attr).map(owned)
}

/// Attaches a program by `BPF_RAW_TRACEPOINT_OPEN`: raw tracepoints by name; LSM, fentry and BTF tracepoints without
/// (EL 8 answers EINVAL to `BPF_LINK_CREATE` for those). Closing the descriptor detaches.
pub fn attach(prog: BorrowedFd<'_>, tracepoint: Option<&CStr>) -> io::Result<OwnedFd> {
    let mut attr = RawTracepoint {
        name: tracepoint.map_or(0, |name| name.as_ptr() as u64),
        prog_fd: prog.as_raw_fd().cast_unsigned(),
        pad: 0,
    };
    bpf(BPF_RAW_TRACEPOINT_OPEN, &mut attr).map(owned)
}
