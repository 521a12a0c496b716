//! The process that is told of each execution before it happens. At tier B it takes the file's digest, puts it into the
//! kernel's memory, and lets it go on; at tier C it refuses by itself.
//!
//! It executes nothing, opens nothing that others can make it wait for after it has begun (the kernel opens the files it is
//! told of) but in a thread that nobody has to wait for, holds nothing of the package database, and writes nothing but signs of
//! life and records, without waiting. Observe never starts it.

use super::Job;
use super::channel::{self, ChannelError, Kind};
use super::handed::HandedError;
use super::marks::{Groups, keep_marked, mark_memory};
use super::pulse::{ALIVE, ANSWERS, ANSWERS_NOT_MEMORY, Pulse};
use super::refuse::Refuser;
use super::vouch::Voucher;
use crate::child::end_with_parent;
use crate::sensor::Subjects;
use nix::errno::Errno;
use nix::sys::fanotify::{EventFFlags, Fanotify, FanotifyEvent, InitFlags};
use nix::sys::mman::{MlockAllFlags, mlockall};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;

/// Hidden flag of `hardpand` that makes it the responder.
pub const RESPONDER_FLAG: &str = "--gate-responder";
/// Time to begin: the program has to be read and the file systems to be marked.
pub(super) const BEGIN: Duration = Duration::from_secs(10);

/// Why the responder does not run.
#[derive(Debug, Error)]
pub enum ResponderError {
    /// Its input is no job.
    #[error("standard input brings no job of hardpand: this process is not meant to be started by hand")]
    Job(#[source] ChannelError),
    /// The job cannot be read.
    #[error("reading the job")]
    Text(#[source] serde_json::Error),
    /// What it is to judge by is none.
    #[error("taking what is trusted from the daemon")]
    Table(#[source] HandedError),
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

/// What it does again and again: waits for events, at most for a quarter of what the watchdog allows, and answers.
pub(super) trait Rounds {
    fn round(&mut self, pulse: &mut Pulse) -> Result<(), ResponderError>;
}

/// Runs as the responder until the watchdog ends it.
pub fn responder() -> Result<(), ResponderError> {
    match run() {
        // The watchdog has ended, and the kernel is about to end this process, too.
        Err(ResponderError::Job(ChannelError::Closed)) => Ok(()),
        other => other,
    }
}

fn run() -> Result<(), ResponderError> {
    end_with_parent();
    let stdin = io::stdin();
    let message = channel::receive(stdin.as_fd(), true).map_err(ResponderError::Job)?;
    if message.kind != Kind::Job {
        return Err(ResponderError::Job(ChannelError::Unknown));
    }
    let job: Job = serde_json::from_slice(&message.body).map_err(ResponderError::Text)?;
    let timeout = Duration::from_millis(u64::from(job.timeout_ms));
    // Before the first group is there.
    let mut pulse =
        Pulse::new(BEGIN.max(timeout), timeout).map_err(|errno| ResponderError::Timer(errno.into()))?;
    survive_shortage();
    // From disk or swap its pages could be as slow as what it must not wait for. Where it is refused, it may be slow.
    let _refused = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE);
    let mounts = File::open("/proc/self/mountinfo").map_err(ResponderError::Mounts)?;
    let (groups, mut rounds): (_, Box<dyn Rounds>) = if let Some(maps) = job.maps {
        let subjects = Subjects::open(maps).map_err(|error| ResponderError::Map(Box::new(error)))?;
        let groups = Arc::new(Groups {
            execs: group(InitFlags::FAN_CLASS_CONTENT, "executions")?,
            written: Some(group(InitFlags::FAN_CLASS_NOTIF, "written files")?),
        });
        let voucher = Voucher {
            subjects,
            groups: Arc::clone(&groups),
            written: VecDeque::new(),
            timeout,
            own_pid: std::process::id(),
        };
        (groups, Box::new(voucher))
    } else {
        // What finds no room in the queue would be let run: one entry for each task that waits is what there can be.
        let class = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_UNLIMITED_QUEUE;
        let execs =
            group(class | InitFlags::FAN_REPORT_TID, "executions").or_else(|_| group(class, "executions"))?;
        let groups = Arc::new(Groups { execs, written: None });
        let tables = stdin
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| ResponderError::Job(error.into()))?;
        let refuser = Refuser::new(message.fds, tables, Arc::clone(&groups), timeout)?;
        (groups, Box::new(refuser))
    };
    let answers = if job.maps.is_some() || mark_memory(&groups.execs) {
        ANSWERS
    } else {
        ANSWERS_NOT_MEMORY
    };
    let is_marked = Arc::new(AtomicBool::new(false));
    // A path to a mount may lead through one that hangs: only this thread would.
    let (groups_to_mark, marked_once) = (groups, Arc::clone(&is_marked));
    let marker = std::thread::Builder::new()
        .name("marks".to_owned())
        .spawn(move || keep_marked(mounts, &groups_to_mark, &marked_once))
        .map_err(|source| ResponderError::Events {
            what: "starting the thread that marks file systems for",
            source,
        })?;
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
            answers
        } else {
            ALIVE
        };
        pulse.beat(word)?;
        rounds.round(&mut pulse)?;
    }
}

/// A group of this kind.
pub(super) fn group(class: InitFlags, what: &'static str) -> Result<Fanotify, ResponderError> {
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
}

pub(super) const fn events(what: &'static str) -> impl Fn(Errno) -> ResponderError {
    move |errno| ResponderError::Events {
        what,
        source: io::Error::from_raw_os_error(errno as i32),
    }
}

/// The events that are there.
pub(super) fn read(group: &Fanotify) -> Result<Vec<FanotifyEvent>, ResponderError> {
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
