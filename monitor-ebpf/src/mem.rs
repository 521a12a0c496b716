//! Two ways to read kernel memory behind one interface.

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};

/// Reads fields of kernel structs. `base` is the struct's address, the field's offset comes from BTF.
pub trait Mem {
    /// Reads a `T` at `base + field`. Unreadable memory reads as zero.
    ///
    /// # Safety
    /// For [`Typed`], the verifier must know `base` as a BTF pointer to the struct that the field belongs to.
    unsafe fn read<T: Copy + Default>(base: *const u8, field: &Global<u32>) -> T;

    /// Reads a pointer field.
    ///
    /// # Safety
    /// As [`Mem::read`].
    #[inline(always)]
    unsafe fn pointer(base: *const u8, field: &Global<u32>) -> *const u8 {
        // SAFETY: the caller's promise is handed on.
        unsafe { Self::load_pointer(base, field) }
    }

    #[doc(hidden)]
    unsafe fn load_pointer(base: *const u8, field: &Global<u32>) -> *const u8;
}

/// Plain loads through BTF pointers: the verifier checks them against the struct's type, the kernel turns faults into
/// zeroes, and the result stays typed.
#[derive(Debug)]
pub struct Typed;

impl Mem for Typed {
    #[inline(always)]
    unsafe fn read<T: Copy + Default>(base: *const u8, field: &Global<u32>) -> T {
        // SAFETY: the verifier accepts the load only inside the struct `base` points to.
        unsafe { core::ptr::read_volatile(base.add(field.load() as usize).cast()) }
    }

    #[inline(always)]
    unsafe fn load_pointer(base: *const u8, field: &Global<u32>) -> *const u8 {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(base.add(field.load() as usize).cast::<*const u8>()) }
    }
}

/// `bpf_probe_read_kernel`, for programs whose arguments carry no types (raw tracepoints, kernels without
/// `bpf_get_current_task_btf`).
#[derive(Debug)]
pub struct Probed;

impl Mem for Probed {
    #[inline(always)]
    unsafe fn read<T: Copy + Default>(base: *const u8, field: &Global<u32>) -> T {
        let mut value = T::default();
        // The result is not looked at: on a fault the helper zeroes the buffer, and a branch per read makes the
        // verifier of 5.10 walk 2^n paths.
        // SAFETY: the helper checks the address; the buffer is `value`.
        unsafe {
            bpf_probe_read_kernel(
                (&raw mut value).cast(),
                size_of::<T>() as u32,
                base.wrapping_add(field.load() as usize).cast(),
            );
        }
        value
    }

    #[inline(always)]
    unsafe fn load_pointer(base: *const u8, field: &Global<u32>) -> *const u8 {
        // SAFETY: as above.
        let raw: u64 = unsafe { Self::read(base, field) };
        raw as *const u8
    }
}
