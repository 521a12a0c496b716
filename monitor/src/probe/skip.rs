//! Is a sleepable LSM program skipped while another task sleeps in it on the same CPU?
//!
//! Before 6.2 (6.1 stable, EL 9.3) it is, and skipping means allowing: a gate built on it could be slipped past. Loading
//! and attaching prove nothing, so two threads on one CPU try it. The first opens a file and is held inside the program
//! (`bpf_copy_from_user` on a page we hold back); the second opens a file and must be seen.

use super::{features::lsm, refused};
use crate::sys::{
    bpf::{self, Insn, WORDS},
    held_page::HeldPage,
};
use hardpan_core::platform::Outcome;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, gettid},
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::mpsc,
    thread,
};

// Words of the shared map.
const HOLDER: usize = 0;
const SECOND: usize = 1;
const ADDRESS: usize = 2;
const HOLDER_SEEN: usize = 3;
const SECOND_SEEN: usize = 4;

/// How long the holder may take to get into the program, in milliseconds.
const LIMIT_MS: u16 = 3000;

/// `btf_id` is that of `bpf_lsm_file_open`, a hook that may sleep on every kernel that has sleepable LSM programs.
pub(super) fn probe(btf_id: u32) -> Outcome {
    match attempt(btf_id) {
        Ok(Some(true)) => Outcome::Works,
        Ok(Some(false)) => Outcome::Missing {
            why: "a program was skipped for one task while another slept in it on the same CPU".to_owned(),
        },
        Ok(None) => Outcome::NotTried {
            why: "the first task was not held inside the program".to_owned(),
        },
        Err((what, error)) => match error.raw_os_error() {
            // Without userfaultfd nothing is known, neither good nor bad.
            Some(errno) if what == USERFAULTFD => Outcome::NotTried {
                why: format!("{what}: {}", io::Error::from_raw_os_error(errno)),
            },
            _ => refused(&error, what),
        },
    }
}

const USERFAULTFD: &str = "userfaultfd";

type Failure = (&'static str, io::Error);

fn attempt(btf_id: u32) -> Result<Option<bool>, Failure> {
    let page = HeldPage::new().map_err(|error| (USERFAULTFD, error))?;
    let map = bpf::words().map_err(|error| ("bpf(BPF_MAP_CREATE)", error))?;
    let prog = bpf::load(&lsm(btf_id, true, &program(map.as_fd()))).map_err(|error| {
        (
            "bpf(BPF_PROG_LOAD), bpf_copy_from_user in a sleepable LSM program",
            error,
        )
    })?;

    let (cpu_tasks, go) = (two_threads(), |error| ("starting a thread", error));
    let (holder, second) = cpu_tasks.map_err(go)?;
    let mut words = [0; WORDS];
    words[HOLDER] = holder.key;
    words[SECOND] = second.key;
    words[ADDRESS] = page.address();
    bpf::write_words(map.as_fd(), &words).map_err(|error| ("bpf(BPF_MAP_UPDATE_ELEM)", error))?;
    let link = bpf::attach(prog.as_fd(), None).map_err(|error| ("bpf(BPF_RAW_TRACEPOINT_OPEN)", error))?;

    holder.open();
    let held = waits(&page);
    if held {
        second.open();
        second.finish();
    }
    let seen = bpf::read_words(map.as_fd()).map_err(|error| ("bpf(BPF_MAP_LOOKUP_ELEM)", error));
    // Whatever came out: nobody may be left waiting.
    drop(page);
    holder.finish();
    drop(link);
    let seen = seen?;
    Ok((held && seen[HOLDER_SEEN] > 0).then_some(seen[SECOND_SEEN] > 0))
}

/// Counts both threads; the holder then reads the page that is held back. Everybody else passes at once.
fn program(map: BorrowedFd<'_>) -> Vec<Insn> {
    let word = |index: usize| i16::try_from(index * 8).unwrap_or(0);
    let mut insns = vec![Insn::call(14), Insn::mov(7, 0)]; // r7 = bpf_get_current_pid_tgid()
    insns.extend(Insn::map_value(6, map));
    insns.extend([
        Insn::mov_imm(2, 1),
        Insn::load(1, 6, word(SECOND)),
        Insn::jump_if_ne(7, 1, 1),
        Insn::atomic_add(6, 2, word(SECOND_SEEN)),
        Insn::load(1, 6, word(HOLDER)),
        Insn::jump_if_ne(7, 1, 7),
        Insn::atomic_add(6, 2, word(HOLDER_SEEN)),
        Insn::mov(1, 10),
        Insn::add_imm(1, -8),
        Insn::store_imm(1, 0, 0),
        Insn::mov_imm(2, 8),
        Insn::load(3, 6, word(ADDRESS)),
        Insn::call(148), // bpf_copy_from_user(r1, 8, address)
        Insn::mov_imm(0, 0),
        Insn::exit(),
    ]);
    insns
}

/// A thread pinned to a CPU that opens a file when told to.
struct Opener {
    /// As `bpf_get_current_pid_tgid` returns it.
    key: u64,
    go: mpsc::Sender<()>,
    handle: thread::JoinHandle<()>,
}

impl Opener {
    fn open(&self) {
        // A thread that has ended is noticed by its silence.
        let _ended = self.go.send(());
    }

    fn finish(self) {
        drop(self.go);
        let _panicked = self.handle.join();
    }
}

fn two_threads() -> io::Result<(Opener, Opener)> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpu = (0..CpuSet::count())
        .find(|&cpu| allowed.is_set(cpu).unwrap_or(false))
        .ok_or_else(|| io::Error::other("no CPU is allowed"))?;
    let mut one = CpuSet::new();
    one.set(cpu)?;
    let start = || -> io::Result<Opener> {
        let (go, wait) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let handle = thread::Builder::new()
            .name("hp-probe".to_owned())
            .spawn(move || {
                let pinned = sched_setaffinity(Pid::from_raw(0), &one).is_ok();
                let _gone = ready.send(pinned.then(|| gettid().as_raw().cast_unsigned()));
                if wait.recv().is_ok() {
                    let _opened = File::open("/proc/self/status");
                }
            })?;
        let tid = is_ready
            .recv()
            .ok()
            .flatten()
            .ok_or_else(|| io::Error::other("could not be pinned to a CPU"))?;
        Ok(Opener {
            key: u64::from(std::process::id()) << 32 | u64::from(tid),
            go,
            handle,
        })
    };
    Ok((start()?, start()?))
}

fn waits(page: &HeldPage) -> bool {
    let mut fds = [PollFd::new(page.waits(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::from(LIMIT_MS)), Ok(ready) if ready > 0)
}
