//! Numbers as the verifier, or LLVM, is to see them: written out in assembly, for either would draw its own conclusions.

/// `min(value, N)` in a form whose bound the verifier sees: LLVM is free to compute the minimum in one register and to hand the
/// unbounded one to the helper.
#[inline(always)]
pub fn at_most<const N: usize>(value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut bounded = value;
        // SAFETY: registers only.
        unsafe {
            core::arch::asm!("if {n} <= {max} goto +1", "{n} = {max}", n = inout(reg) bounded, max = const N);
        }
        bounded
    }
    #[cfg(not(target_arch = "bpf"))]
    value.min(N as u64)
}

/// A function that returns its number, though LLVM does not know it. A macro: assembly takes no generic types.
macro_rules! unknown_to_llvm {
    ($(#[$about:meta])* $name:ident, $number:ty) => {
        $(#[$about])*
        #[inline(always)]
        pub fn $name(mut number: $number) -> $number {
            #[cfg(target_arch = "bpf")]
            // SAFETY: touches nothing but its register.
            unsafe {
                core::arch::asm!("{n} = {n}", n = inout(reg) number);
            }
            #[cfg(not(target_arch = "bpf"))]
            {
                number = core::hint::black_box(number);
            }
            number
        }
    };
}

unknown_to_llvm! {
    /// The same number, though LLVM does not know it: it would unroll the loop.
    opaque, u32
}
unknown_to_llvm! {
    /// The same number, though LLVM does not know it: it would gather all differences first and join them last, for which
    /// the stack is too small.
    joined, u64
}

/// Reads what is known of a field there and then: LLVM would read all of it first and need a stack that the verifier
/// does not allow.
#[inline(always)]
pub fn at<T: Copy>(field: &T) -> T {
    // SAFETY: a reference.
    unsafe { core::ptr::read_volatile(field) }
}

/// The same number, of which the verifier knows nothing more than that it is one. `unknown` is a number that it knows
/// nothing of already.
#[inline(always)]
pub fn forgotten(number: u32, unknown: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = u64::from(number);
        // SAFETY: registers only; a number combined with itself leaves zero, which the verifier does not see.
        unsafe {
            core::arch::asm!("{t} = {u}", "{t} ^= {u}", "{n} |= {t}", t = out(reg) _, u = in(reg) u64::from(unknown),
                n = inout(reg) number);
        }
        number as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _unused = unknown;
        number
    }
}

/// How far one address is from another: a number, which addresses are not to the verifier.
#[inline(always)]
pub fn distance(address: *const u8, from: *const u8) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let number: u64;
        // SAFETY: registers only.
        unsafe {
            core::arch::asm!("{n} = {a}", "{n} -= {f}", n = out(reg) number, a = in(reg) address, f = in(reg) from);
        }
        number
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        (address as u64).wrapping_sub(from as u64)
    }
}
