//! The process that is told of each execution before it happens, takes the file's digest, puts it into the kernel's
//! memory, and lets it go on.
//!
//! It executes nothing, opens nothing after it has begun (the kernel opens the files it is told of), holds nothing of the
//! package database, and writes nothing but signs of life, without waiting. Observe never starts it.

use super::Job;
use super::deadman::DeadMan;
use super::mounts::{Marked, marked};
use crate::child::{end_with_parent, job};
use crate::sensor::Subjects;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};
use nix::sys::mman::{MlockAllFlags, mlockall};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Hidden flag of `hardpand` that makes it the responder.
pub const RESPONDER_FLAG: &str = "--gate-responder";
/// A sign of life.
pub(super) const ALIVE: u8 = b'.';
/// All file systems are marked: executions are answered from here on.
pub(super) const ANSWERS: u8 = b'r';

/// Time to begin: the program has to be read and the file systems to be marked.
pub(super) const BEGIN: Duration = Duration::from_secs(10);
/// The kernel ends a responder that gave no sign of life for so many times as long as its watchdog allows: it is asked
/// only if the watchdog does not, either.
const WATCHDOG_FIRST: u32 = 2;
/// Written files that are kept in sight until nothing changes about them any more.
const MOST_WRITTEN: usize = 256;
/// How long: package managers set owner, mode and time right after they closed a file.
const IN_SIGHT: Duration = Duration::from_secs(2);
/// Batches of closed files that are taken before an execution is answered.
const MOST_BATCHES: usize = 64;
const ELF: [u8; 4] = *b"\x7fELF";

/// Why the responder does not run.
#[derive(Debug, Error)]
pub enum ResponderError {
    /// Its input is no job.
    #[error("standard input is no job of hardpand: this process is not meant to be started by hand")]
    Job(#[source] io::Error),
    /// The kernel gave no timer, without which nobody may be made to wait.
    #[error("setting the timer that ends the gate's responder when it stalls")]
    Timer(#[source] io::Error),
    /// The kernel's memory of inodes could not be opened.
    #[error("opening the kernel's memory of inodes")]
    Map(#[source] Box<aya::maps::MapError>),
    /// The kernel refused a group.
    #[error("fanotify_init for {what}")]
    Group {
        /// What it is for.
        what: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The list of mounts could not be read.
    #[error("reading /proc/self/mountinfo")]
    Mounts(#[source] io::Error),
    /// Not one file system could be marked.
    #[error("fanotify_mark refused every file system; the last one")]
    Marks(#[source] io::Error),
    /// Events could not be read or answered.
    #[error("{what} the gate's fanotify group")]
    Events {
        /// What was attempted.
        what: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The watchdog is gone.
    #[error("telling the watchdog")]
    Watchdog(#[source] io::Error),
}

/// As a process whose death would open or close the gate: the kernel is asked to kill others first.
pub(super) fn survive_shortage() {
    // Without it the process is killed like any other, and started again.
    let _refused = std::fs::write("/proc/self/oom_score_adj", "-1000");
}

/// The two groups.
#[derive(Debug)]
struct Groups {
    /// Executions; they wait.
    execs: Fanotify,
    /// Files closed after writing; nobody waits.
    written: Fanotify,
}

/// Runs as the responder until the watchdog ends it.
pub fn responder() -> Result<(), ResponderError> {
    end_with_parent();
    let text = job().map_err(ResponderError::Job)?;
    let job: Job = serde_json::from_str(&text).map_err(|error| ResponderError::Job(error.into()))?;
    let timeout = Duration::from_millis(u64::from(job.timeout_ms));
    // Before the first group is there.
    let mut dead_man = DeadMan::within(BEGIN.max(timeout) * WATCHDOG_FIRST).map_err(timer)?;
    let subjects = Subjects::open(job.maps).map_err(|error| ResponderError::Map(Box::new(error)))?;
    survive_shortage();
    // From disk or swap its pages could be as slow as what it must not wait for. Where it is refused, it may be slow.
    let _refused = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE);
    let mounts = File::open("/proc/self/mountinfo").map_err(ResponderError::Mounts)?;
    let group = |class, what| {
        let flags = InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK | class;
        let opened = EventFFlags::O_RDONLY
            | EventFFlags::O_LARGEFILE
            | EventFFlags::O_CLOEXEC
            // A FIFO that was written to would be waited for.
            | EventFFlags::O_NONBLOCK
            | EventFFlags::O_NOATIME;
        Fanotify::init(flags, opened).map_err(|errno| ResponderError::Group {
            what,
            source: errno.into(),
        })
    };
    let groups = Arc::new(Groups {
        execs: group(InitFlags::FAN_CLASS_CONTENT, "executions")?,
        written: group(InitFlags::FAN_CLASS_NOTIF, "written files")?,
    });
    let is_marked = Arc::new(AtomicBool::new(false));
    // A path to a mount may lead through one that hangs: only this thread would.
    let (groups_to_mark, marked_once) = (Arc::clone(&groups), Arc::clone(&is_marked));
    let marker = std::thread::Builder::new()
        .name("marks".to_owned())
        .spawn(move || keep_marked(mounts, &groups_to_mark, &marked_once))
        .map_err(|source| ResponderError::Events {
            what: "starting the thread that marks file systems for",
            source,
        })?;
    let mut responder = Responder {
        subjects,
        groups,
        written: VecDeque::new(),
        timeout,
        own_pid: std::process::id(),
    };
    let mut has_told = false;
    loop {
        if marker.is_finished() {
            return match marker.join() {
                Ok(Err(error)) => Err(error),
                _ => Err(ResponderError::Mounts(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        let word = if !has_told && is_marked.load(Ordering::Acquire) {
            has_told = true;
            ANSWERS
        } else {
            ALIVE
        };
        dead_man.alive(timeout * WATCHDOG_FIRST).map_err(timer)?;
        sign(word)?;
        responder.round()?;
    }
}

/// One byte for the watchdog. A pipe that is full is a watchdog that sleeps: nobody waits for it here.
fn sign(word: u8) -> Result<(), ResponderError> {
    let out = io::stdout();
    let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(0) | Err(Errno::EINTR) => return Ok(()),
        Ok(_) => {}
        Err(errno) => return Err(ResponderError::Watchdog(errno.into())),
    }
    let mut out = out.lock();
    out.write_all(&[word])
        .and_then(|()| out.flush())
        .map_err(ResponderError::Watchdog)
}

struct Responder {
    subjects: Subjects,
    groups: Arc<Groups>,
    /// Programs and libraries that root has just written, with the time when.
    written: VecDeque<(File, Instant)>,
    timeout: Duration,
    own_pid: u32,
}

impl Responder {
    /// Waits for events, at most for a quarter of what the watchdog allows, and answers those that are there.
    fn round(&mut self) -> Result<(), ResponderError> {
        let wait = PollTimeout::try_from(self.timeout / 4).unwrap_or(PollTimeout::ZERO);
        let groups = Arc::clone(&self.groups);
        let mut fds = [
            PollFd::new(groups.execs.as_fd(), PollFlags::POLLIN),
            PollFd::new(groups.written.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(events("waiting for")(errno)),
        }
        // Executions first, then what was written before them, then the answers: whatever a program maps that is executed
        // after a package was unpacked is known by the time it runs.
        let waiting = read(&groups.execs)?;
        let until = Instant::now() + self.timeout / 2;
        self.look_at_written(until)?;
        for event in &waiting {
            let Some(fd) = event.fd() else { continue };
            if u32::try_from(event.pid()) != Ok(self.own_pid) && Instant::now() < until {
                self.vouch(fd, until);
            }
            match groups
                .execs
                .write_response(FanotifyResponse::new(fd, Response::FAN_ALLOW))
            {
                // It waits no longer: it was killed.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(events("answering")(errno)),
            }
        }
        Ok(())
    }

    /// What cannot be hashed stays unknown; the program in the kernel says what becomes of it.
    fn vouch(&mut self, fd: BorrowedFd<'_>, until: Instant) {
        if let Ok(owned) = fd.try_clone_to_owned() {
            let _unknown = self.subjects.vouch(&File::from(owned), until);
        }
    }

    /// Programs and libraries that root closed after writing: hashed now, and again as long as something changes.
    fn look_at_written(&mut self, until: Instant) -> Result<(), ResponderError> {
        let groups = Arc::clone(&self.groups);
        for _ in 0..MOST_BATCHES {
            let closed = read(&groups.written)?;
            if closed.is_empty() || Instant::now() > until {
                break;
            }
            for event in &closed {
                let file = event.fd().and_then(|fd| fd.try_clone_to_owned().ok());
                let Some(file) = file.map(File::from).filter(is_roots_program) else {
                    continue;
                };
                if self.written.len() >= MOST_WRITTEN {
                    self.written.pop_front();
                }
                self.written.push_back((file, Instant::now()));
            }
        }
        for (file, _) in &self.written {
            if Instant::now() > until {
                break;
            }
            let _unknown = self.subjects.vouch(file, until);
        }
        self.written.retain(|(_, since)| since.elapsed() < IN_SIGHT);
        Ok(())
    }
}

/// What packages bring: others must not be able to keep the responder busy.
fn is_roots_program(file: &File) -> bool {
    let mut magic = [0; 4];
    file.metadata().is_ok_and(|meta| {
        meta.is_file() && meta.uid() == 0 && meta.size() <= hardpan_abi::GATE_HASH_ALWAYS_BYTES
    }) && file.read_exact_at(&mut magic, 0).is_ok()
        && magic == ELF
}

fn timer(errno: Errno) -> ResponderError {
    ResponderError::Timer(errno.into())
}

const fn events(what: &'static str) -> impl Fn(Errno) -> ResponderError {
    move |errno| ResponderError::Events {
        what,
        source: io::Error::from_raw_os_error(errno as i32),
    }
}

/// The events that are there.
fn read(group: &Fanotify) -> Result<Vec<FanotifyEvent>, ResponderError> {
    match group.read_events() {
        Ok(events) => Ok(events),
        // None; or the file of one event could not be opened for us, and the kernel has answered for it.
        Err(
            Errno::EAGAIN
            | Errno::EINTR
            | Errno::EACCES
            | Errno::EPERM
            | Errno::ENOENT
            | Errno::ENXIO
            | Errno::ENODEV
            | Errno::ETXTBSY
            | Errno::ESTALE
            | Errno::EIO,
        ) => Ok(Vec::new()),
        Err(errno) => Err(events("reading")(errno)),
    }
}

/// Marks every file system, and again whenever something is mounted.
fn keep_marked(mut mounts: File, groups: &Groups, is_marked: &AtomicBool) -> Result<(), ResponderError> {
    let mut text = Vec::new();
    loop {
        text.clear();
        mounts.rewind().map_err(ResponderError::Mounts)?;
        mounts.read_to_end(&mut text).map_err(ResponderError::Mounts)?;
        let (mut done, mut last) = (0_usize, Errno::ENOENT);
        for place in marked(&text) {
            match mark(groups, &place) {
                Ok(()) => done += 1,
                Err(errno) => last = errno,
            }
        }
        if done == 0 {
            return Err(ResponderError::Marks(last.into()));
        }
        is_marked.store(true, Ordering::Release);
        let mut fds = [PollFd::new(mounts.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(ResponderError::Mounts(errno.into())),
        }
    }
}

/// The whole file system, or the mount where the kernel marks no file systems (before 4.20).
fn mark(groups: &Groups, place: &Marked) -> nix::Result<()> {
    let add = |group: &Fanotify, mask| {
        let at = |kind| {
            group.mark(
                MarkFlags::FAN_MARK_ADD | kind,
                mask,
                nix::fcntl::AT_FDCWD,
                Some(place.point.as_path()),
            )
        };
        at(MarkFlags::FAN_MARK_FILESYSTEM).or_else(|_| at(MarkFlags::FAN_MARK_MOUNT))
    };
    add(&groups.execs, MaskFlags::FAN_OPEN_EXEC_PERM)?;
    if place.holds_devices {
        return Ok(());
    }
    add(&groups.written, MaskFlags::FAN_CLOSE_WRITE)
}
