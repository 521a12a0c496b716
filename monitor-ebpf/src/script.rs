//! Files given to interpreters: `bash x`, `python3 x`, `perl x`.
//!
//! When an interpreter begins to run, its arguments are still what the caller wrote: those under which it can open its program
//! are kept, by their last component. When it opens a file that it asks for under such a name, the file is judged as a
//! script. What is compared is the name that was asked for, not that of the file it leads to, so that links change
//! nothing. Everything else that it opens is data to us. Code on the command line and from standard input has no file.

use crate::{
    content::{self, Content, DigestCache},
    file::{FMODE_WRITE, MODE_REGULAR, MODE_TYPE, read_inode},
    gate::{self, Asked},
    maps::{self, count},
    mem::{Mem, Probed, Typed},
    off::{self, has, on},
    rule::{negative, nonzero},
    verifier::opaque,
};
use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task,
        generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user_str},
    },
    macros::map,
    maps::{Array, HashMap},
};
use core::{cell::UnsafeCell, mem::MaybeUninit};
use hardpan_abi::{Counter, FileInfo, GRAMMARS_MAX, GateKind, GivenNames, Grammar, gate_flag, mixed};

/// Running interpreters, by process, with what they were given.
#[map]
pub static INTERPRETERS: HashMap<u32, GivenNames> = HashMap::with_max_entries(8192, 0);

/// How many there are, by the lowest bits of the process's number: opens are many, and most are no interpreter's.
#[repr(transparent)]
struct Interpreting(UnsafeCell<[u64; PLACES]>);

// SAFETY: single words, read whole and added to atomically.
unsafe impl Sync for Interpreting {}

/// Not a map that is looked up: an address that is there.
#[unsafe(no_mangle)]
static INTERPRETING: Interpreting = Interpreting(UnsafeCell::new([0; PLACES]));

const PLACES: usize = 4096;

/// How they read their arguments; user space sets it.
#[map]
pub static GRAMMARS: Array<Grammar> = Array::with_max_entries(GRAMMARS_MAX, 0);

/// Room for a name, with zeroes in front that nothing is written to, by thread: for as long as one is looked at. What is
/// there per processor another task could write to meanwhile.
#[map]
pub static NAMES: HashMap<u64, Name> = HashMap::with_max_entries(128, 0);

type Name = [u64; (NAME_BYTES + FRONT) / 8];

/// Templates, in read-only data.
static EMPTY_NAME: Name = [0; (NAME_BYTES + FRONT) / 8];
static NOTHING_GIVEN: GivenNames = GivenNames {
    names: [0; 4],
    any: 0,
};

/// `PATH_MAX`: longer names open nothing.
const NAME_BYTES: usize = 4096;
const FRONT: usize = 32;
/// Arguments that are looked at for the program.
const ARGUMENTS: u32 = 32;
const BPF_NOEXIST: u64 = 1;

const ONES: u64 = 0x0101_0101_0101_0101;
const SEVENS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// The execution succeeded: the process is an interpreter now, which reads its arguments by this grammar, or none (0).
/// `start` and `end` are those of its arguments.
#[inline(always)]
pub fn executed(process: u32, grammar: u32, start: u64, end: u64) {
    if grammar == 0 || !on(&off::HAS_PROBE_READ) {
        forget(process);
        return;
    }
    if INTERPRETERS.insert(&process, &NOTHING_GIVEN, BPF_NOEXIST).is_ok() {
        add(process, 1);
    } else {
        let _full = INTERPRETERS.insert(&process, &NOTHING_GIVEN, 0);
    }
    let Some(given) = INTERPRETERS.get_ptr_mut(&process) else {
        count(Counter::InterpreterFull);
        return;
    };
    let thread = bpf_get_current_pid_tgid();
    let _full = NAMES.insert(&thread, &EMPTY_NAME, 0);
    names(start, end, grammar, given.cast(), thread);
    let _gone = NAMES.remove(&thread);
}

/// A thread ended: with the leader goes the process.
#[inline(always)]
pub fn exited(key: u64) {
    if (key >> 32) as u32 == key as u32 {
        forget(key as u32);
    }
}

#[inline(always)]
fn forget(process: u32) {
    if maybe(process) && INTERPRETERS.remove(&process).is_ok() {
        add(process, u64::MAX);
    }
}

/// The process's place in the table.
#[inline(always)]
fn place_of(process: u32) -> *mut u64 {
    // SAFETY: within the table.
    unsafe {
        INTERPRETING
            .0
            .get()
            .cast::<u64>()
            .add(process as usize & (PLACES - 1))
    }
}

/// No: it is no interpreter.
#[inline(always)]
fn maybe(process: u32) -> bool {
    // SAFETY: a place in the table.
    unsafe { core::ptr::read_volatile(place_of(process)) != 0 }
}

#[inline(always)]
fn add(process: u32, what: u64) {
    // SAFETY: a word that is there.
    unsafe { maps::add(place_of(process), what) };
}

/// Fills in what is given. In the loop there are no branches: the verifier would walk every way through all arguments.
#[inline(always)]
fn names(start: u64, end: u64, grammar: u32, given: *mut u64, thread: u64) {
    // Until it is known better, each file counts.
    // SAFETY: the word behind the names.
    unsafe { core::ptr::write_volatile(given.add(4), 1) };
    let (Some(grammar), Some(name)) = (
        GRAMMARS.get(grammar & (GRAMMARS_MAX - 1)),
        NAMES.get_ptr_mut(&thread),
    ) else {
        return;
    };
    let name: *mut u64 = name.cast();
    // The interpreter's own name comes first.
    let mut at = start.wrapping_add(read_argument(name, start));
    let (mut over, mut plain, mut is_value, mut kept, mut lost) = (0, 0, 0, 0, 0);
    let mut number = 0;
    while number < ARGUMENTS {
        let length = read_argument(name, at);
        // Nothing more.
        over |= negative(at.wrapping_sub(end)) ^ 1 | is(length, 0);
        let too_long = negative((NAME_BYTES as u64 - 1).wrapping_sub(length));
        // SAFETY: behind the zeroes in front.
        let head = until_nul(unsafe { core::ptr::read_volatile(name.add(FRONT / 8)) });
        let live = over ^ 1;
        let lead = head & 0xff;
        let hyphen = is(lead, u64::from(b'-'));
        let dashes = is(head, 0x2d2d) | grammar.shell & is(head, 0x2d);
        let leads = hyphen_or_plus(hyphen, lead, grammar.shell) & nonzero(head >> 8);
        let option = live & leads & (dashes ^ 1) & (plain ^ 1) & (is_value ^ 1);
        let ends_options = live & dashes & (plain ^ 1) & (is_value ^ 1);
        let long = is(head & 0xffff, 0x2d2d);
        let (ends, takes) = cluster(head, grammar);
        let word = is(head, grammar.words[0])
            | is(head, grammar.words[1])
            | is(head, grammar.words[2])
            | is(head, grammar.words[3]);
        let operand = live & (option ^ 1) & (ends_options ^ 1);
        let component = last_component(name.cast(), length);
        let slot = (kept & 3) as usize;
        // SAFETY: four names.
        unsafe { core::ptr::write_volatile(given.add(slot), component & operand.wrapping_neg()) };
        kept += operand;
        let is_code = option & (long ^ 1) & ends;
        // What comes behind it cannot be found.
        lost |= live & too_long & (is_value | option & (is_code ^ 1));
        over |= operand & (is_value ^ 1) | is_code | live & too_long;
        is_value = option & (word | (long ^ 1) & takes);
        plain |= ends_options;
        at = at.wrapping_add(length);
        number = opaque(number + 1);
    }
    // SAFETY: the word behind the names.
    unsafe { core::ptr::write_volatile(given.add(4), over ^ 1 | lost) };
}

#[inline(always)]
fn hyphen_or_plus(hyphen: u64, lead: u64, shell: u64) -> u64 {
    hyphen | shell & is(lead, u64::from(b'+'))
}

/// Letters of an option that begins with one hyphen: 1 if none of the arguments behind is a program, 1 if the next one is
/// a value.
#[inline(always)]
fn cluster(head: u64, grammar: &Grammar) -> (u64, u64) {
    let (mut stop, mut ends, mut takes) = (0, 0, 0);
    let mut at = 8;
    while at < 64 {
        let letter = head >> at & 0xff;
        let is_last = if at < 56 {
            nonzero(head >> (at + 8) & 0xff) ^ 1
        } else {
            0
        };
        stop |= nonzero(letter) ^ 1;
        let live = stop ^ 1;
        let stops = bit(&grammar.stops, letter);
        ends |= live & bit(&grammar.ends, letter);
        takes |= live & bit(&grammar.takes, letter) & (stops ^ 1 | is_last);
        stop |= stops;
        at += 8;
    }
    (ends, takes)
}

#[inline(always)]
fn bit(mask: &[u64; 2], letter: u64) -> u64 {
    let high = (letter >> 6 & 1).wrapping_neg();
    (mask[0] & !high | mask[1] & high) >> (letter & 63) & 1
}

#[inline(always)]
fn is(value: u64, other: u64) -> u64 {
    nonzero(value ^ other) ^ 1
}

/// The bytes before the first NUL.
#[inline(always)]
const fn until_nul(word: u64) -> u64 {
    let zero = zeroes(word);
    word & (zero & zero.wrapping_neg()).wrapping_sub(1)
}

/// 0x80 in each byte that is zero.
#[inline(always)]
const fn zeroes(word: u64) -> u64 {
    !(((word & SEVENS) + SEVENS) | word | SEVENS)
}

/// Reads an argument of the current task behind the zeroes in front; its length with NUL, 0 if it cannot be read.
#[inline(always)]
fn read_argument(name: *mut u64, at: u64) -> u64 {
    // SAFETY: the map's value has so much room behind the front; the helper checks the address.
    let read =
        unsafe { bpf_probe_read_user_str(name.add(FRONT / 8).cast(), NAME_BYTES as u32, at as *const _) };
    positive(read)
}

/// The number, or 0 if it is negative.
#[inline(always)]
fn positive(number: i64) -> u64 {
    let number = number as u64;
    number & negative(number).wrapping_sub(1)
}

/// The number of what follows the last slash of a name of so many bytes with NUL that stands behind zeroes, of its last 32
/// bytes; 0 if nothing follows.
#[inline(always)]
fn last_component(name: *const u8, length: u64) -> u64 {
    let mut words = MaybeUninit::<[u64; 4]>::uninit();
    // The end of the name is at `FRONT + length - 1`. A length of 0 gives what lies before the map's value, which is
    // readable or reads as zero; it is not used.
    // SAFETY: the helper checks the address and fills all of it.
    let words = unsafe {
        bpf_probe_read_kernel(
            words.as_mut_ptr().cast(),
            32,
            (name as u64).wrapping_add(length).wrapping_sub(1) as *const _,
        );
        words.assume_init()
    };
    let (mut number, mut is_some) = (0, 0);
    let mut open = u64::MAX;
    let mut at = 4;
    while at > 0 {
        at -= 1;
        let borders = zeroes(words[at]) | zeroes(words[at] ^ (ONES * b'/' as u64));
        let mut below = borders | borders >> 8;
        below |= below >> 16;
        below |= below >> 32;
        let part = words[at] & !((below >> 7) * 0xff) & open;
        if at == 3 {
            is_some = nonzero(part);
        }
        number = mixed(number, part);
        number ^= number >> 32;
        open &= nonzero(borders).wrapping_sub(1);
    }
    (number | 1) & is_some.wrapping_neg()
}

/// Opening a file, or having opened it: does an interpreter ask for it under a name it was given? 1 to refuse.
///
/// # Safety
/// `file` is the hook's argument (typed).
#[inline(always)]
pub unsafe fn opened<C: DigestCache, const SLEEPABLE: bool>(file: *const u8, hook: u32) -> i32 {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !maybe(process) || gate::config().is_none() {
        return 0;
    }
    let Some(given) = INTERPRETERS.get_ptr(&process) else {
        return 0;
    };
    // SAFETY (all): typed pointers; the entry stays readable.
    unsafe {
        if Typed::read::<u32>(file, &off::OFF_FILE_MODE) & FMODE_WRITE != 0 {
            return 0;
        }
        let inode = Typed::pointer(file, &off::OFF_FILE_INODE);
        let mut info = FileInfo::EMPTY;
        read_inode::<Typed>(&mut info, inode);
        if info.mode & MODE_TYPE != MODE_REGULAR || !is_asked_for(&*given) {
            return 0;
        }
        let mut content = Content::none();
        let entry = content::look::<C, SLEEPABLE>(file, inode, &info, &mut content);
        content.forget(&info);
        let asked = Asked {
            kind: GateKind::Script as u32,
            hook,
            flags: gate_flag::ARGUMENT | gate::doubt::<SLEEPABLE>(&content),
            subject: 0,
            class: gate::scriptlet(file, &info),
        };
        gate::ask::<true>(file, &info, &content, entry, asked)
    }
}

/// Whether the file that is being opened is asked for under one of the names.
// A function of its own: its stack is free again when the file is judged.
#[inline(never)]
fn is_asked_for(given: &GivenNames) -> bool {
    if !(has(&off::OFF_TASK_NAMEIDATA) && has(&off::OFF_NAMEIDATA_NAME) && has(&off::OFF_FILENAME_NAME)) {
        return false;
    }
    let thread = bpf_get_current_pid_tgid();
    let _full = NAMES.insert(&thread, &EMPTY_NAME, 0);
    let fits = asked_for_under(given, thread);
    let _gone = NAMES.remove(&thread);
    fits
}

#[inline(always)]
fn asked_for_under(given: &GivenNames, thread: u64) -> bool {
    // No room to look: it may be.
    let Some(name) = NAMES.get_ptr_mut(&thread) else {
        return true;
    };
    let name: *mut u64 = name.cast();
    // SAFETY (all): probed reads check every address; no walk reads as null. The task itself keeps the name while it
    // opens the file.
    let length = unsafe {
        let walk = Probed::pointer(bpf_get_current_task() as *const u8, &off::OFF_TASK_NAMEIDATA);
        let asked = Probed::pointer(walk, &off::OFF_NAMEIDATA_NAME);
        let text = Probed::pointer(asked, &off::OFF_FILENAME_NAME);
        positive(bpf_probe_read_kernel_str(
            name.add(FRONT / 8).cast(),
            NAME_BYTES as u32,
            text.cast(),
        ))
    };
    if length == 0 {
        return false;
    }
    let component = last_component(name.cast(), length);
    let mut fits = nonzero(given.any);
    let mut at = 0;
    while at < 4 {
        fits |= is(given.names[at], component) & nonzero(component);
        at += 1;
    }
    fits != 0
}
