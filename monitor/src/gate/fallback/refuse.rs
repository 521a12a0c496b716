//! The responder at tier C, where no program in the kernel can refuse: it judges what is about to be executed by the table
//! that the daemon handed over, answers, and leaves a record of what it refused.
//!
//! It waits for nobody: not for the daemon, nor for room to leave a record; what finds none is counted. What it is asked
//! about cannot be written to until a moment after the answer: the kernel then has the program open in a way that keeps
//! writers out, and an interpreter its script.

use super::channel::{self, ChannelError, Kind, Message};
use super::content::Digests;
use super::handed;
use super::marks::Groups;
use super::pulse::{ALIVE, Pulse};
use super::responder::{ResponderError, Rounds, events, read};
use super::task::Waiting;
use crate::enrich::clock::boottime_ns;
use crate::enrich::identity::file_info;
use hardpan_abi::{
    ABI_VERSION, DigestState, EXEC_PATH_LEN, EventHeader, EventKind, FileInfo, GateAction, GateEvent,
    GateHook, GateKind, gate_flag,
};
use hardpan_core::gate::{Asked, Content, Table, Verdict, judge, way};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{FanotifyResponse, Response};
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::{FromZeros as _, IntoBytes as _};

/// How long after the answer nobody begins to write to the file.
const HELD: Duration = Duration::from_millis(250);
/// Files that are held so, at most; the oldest goes.
const MOST_HELD: usize = 256;
/// Files that an alert was told of, until all are told of again.
const MOST_TOLD: usize = 4096;

pub(super) struct Refuser {
    table: Table,
    /// Where the next tables come from.
    tables: OwnedFd,
    records: Records,
    digests: Digests,
    groups: Arc<Groups>,
    timeout: Duration,
    own_pid: u32,
    root: (u64, u64),
    held: VecDeque<(File, Instant)>,
    told: BTreeSet<(u32, u64)>,
}

/// The way of records to the daemon.
struct Records {
    socket: OwnedFd,
    /// Records that found no room since the last one that did.
    lost: u64,
}

impl Refuser {
    /// Takes the first table. `fds`: the table, and the socket for records.
    pub(super) fn new(
        fds: Vec<OwnedFd>,
        tables: OwnedFd,
        groups: Arc<Groups>,
        timeout: Duration,
    ) -> Result<Self, ResponderError> {
        let Ok([table, socket]) = <[OwnedFd; 2]>::try_from(fds) else {
            return Err(ResponderError::Table(handed::HandedError::NotSealed));
        };
        let table = handed::open(table).map_err(ResponderError::Table)?;
        let root = std::fs::metadata("/").map_err(ResponderError::Mounts)?;
        let mut digests = Digests::default();
        digests.know(table.known());
        Ok(Self {
            table,
            tables,
            records: Records { socket, lost: 0 },
            digests,
            groups,
            timeout,
            own_pid: std::process::id(),
            root: (root.dev(), root.ino()),
            held: VecDeque::new(),
            told: BTreeSet::new(),
        })
    }

    /// Takes tables that have come; the last one counts.
    fn take_tables(&mut self) -> Result<(), ResponderError> {
        loop {
            match channel::receive(self.tables.as_fd(), false) {
                Ok(Message {
                    kind: Kind::Table,
                    fds,
                    ..
                }) => {
                    let table = fds.into_iter().next().ok_or(handed::HandedError::NotSealed);
                    self.table = table.and_then(handed::open).map_err(ResponderError::Table)?;
                    self.digests.know(self.table.known());
                    self.told.clear();
                }
                Err(ChannelError::Empty) => return Ok(()),
                Ok(_) => return Err(ResponderError::Job(ChannelError::Unknown)),
                Err(error) => return Err(ResponderError::Job(error)),
            }
        }
    }

    fn answer(&mut self, fd: BorrowedFd<'_>, tid: i32) -> Response {
        let tid = u32::try_from(tid).unwrap_or_default();
        if tid == self.own_pid {
            return Response::FAN_ALLOW;
        }
        // Out of descriptors or memory: doubt.
        let looked = fd.try_clone_to_owned().ok().map(File::from);
        let Some((file, info)) = looked.and_then(|file| {
            let stat = fstat(&file).ok()?;
            let magic = fstatfs(&file).ok()?.filesystem_type().0;
            let info = file_info(&stat, u64::try_from(magic).unwrap_or(u64::MAX));
            Some((file, info))
        }) else {
            return self.in_doubt();
        };
        let (content, is_cached) = self.content(&file, &info);
        let kind = match way(&self.table, &info) {
            Ok(()) if is_script(&file) => GateKind::Script,
            _ => GateKind::Exec,
        };
        let asked = Asked {
            kind,
            file: &info,
            content,
            now_ns: boottime_ns().unwrap_or_default(),
        };
        let by = (self.table.config(), self.table.rules());
        let mut waiting = Waiting::new(tid, &file, by, self.root);
        let verdict = judge(&self.table, &asked, &mut waiting);
        if verdict.told && (verdict.refused || is_news(&mut self.told, &info)) {
            let record = record(&asked, &verdict, is_cached, &waiting);
            self.records.send(record.as_bytes());
        }
        if !verdict.refused {
            self.hold(file);
            return Response::FAN_ALLOW;
        }
        if verdict.action == GateAction::Kill
            && let Some(status) = waiting.status()
        {
            // Before the answer: it waits in the kernel, so the id is its own, and it never gets back to its program.
            kill(status.tgid);
        }
        Response::FAN_DENY
    }

    fn content(&mut self, file: &File, info: &FileInfo) -> (Content, bool) {
        if way(&self.table, info).is_err() {
            return (Content::NotHashed, false);
        }
        match self.digests.take(file, Instant::now() + self.timeout / 2) {
            Some(taken) => (Content::Sha256(taken.sha256), taken.is_cached),
            None => (Content::Doubt, false),
        }
    }

    /// Nothing can be said of the file.
    fn in_doubt(&self) -> Response {
        let config = self.table.config();
        if config.closed_on_doubt != 0 && config.mode == hardpan_abi::GateMode::Enforce as u32 {
            Response::FAN_DENY
        } else {
            Response::FAN_ALLOW
        }
    }

    /// Keeps the file open, and with it the lease on it, for a moment.
    fn hold(&mut self, file: File) {
        if self.held.len() >= MOST_HELD {
            self.held.pop_front();
        }
        self.held.push_back((file, Instant::now() + HELD));
    }

    fn let_go(&mut self) {
        let now = Instant::now();
        while self.held.front().is_some_and(|(_, until)| *until <= now) {
            self.held.pop_front();
        }
    }
}

impl Rounds for Refuser {
    fn round(&mut self, pulse: &mut Pulse) -> Result<(), ResponderError> {
        let groups = Arc::clone(&self.groups);
        let held = self
            .held
            .front()
            .map(|(_, until)| until.saturating_duration_since(Instant::now()));
        let wait = held.map_or(self.timeout / 4, |held| held.min(self.timeout / 4));
        let wait = PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO);
        let mut fds = [
            PollFd::new(groups.execs.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.tables.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(events("waiting for")(errno)),
        }
        self.take_tables()?;
        self.let_go();
        self.records.tell_lost();
        for event in &read(&groups.execs)? {
            let Some(fd) = event.fd() else { continue };
            let response = FanotifyResponse::new(fd, self.answer(fd, event.pid()));
            match groups.execs.write_response(response) {
                // It waits no longer: it was killed.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(events("answering")(errno)),
            }
            // Each has its own time: many that come at once must not make the last one doubtful.
            pulse.beat(ALIVE)?;
            self.let_go();
        }
        Ok(())
    }
}

impl Records {
    fn send(&mut self, record: &[u8]) {
        let body = [&self.lost.to_ne_bytes(), record].concat();
        if channel::send(self.socket.as_fd(), Kind::Record, &body, &[]).is_ok() {
            self.lost = 0;
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Tells what is owed as soon as there is room.
    fn tell_lost(&mut self) {
        if self.lost > 0
            && channel::send(self.socket.as_fd(), Kind::Record, &self.lost.to_ne_bytes(), &[]).is_ok()
        {
            self.lost = 0;
        }
    }
}

fn is_news(told: &mut BTreeSet<(u32, u64)>, file: &FileInfo) -> bool {
    if told.len() >= MOST_TOLD {
        told.clear();
    }
    told.insert((file.dev, file.ino))
}

fn is_script(file: &File) -> bool {
    let mut first = [0; 2];
    file.read_exact_at(&mut first, 0).is_ok() && first == *b"#!"
}

fn record(asked: &Asked<'_>, verdict: &Verdict, is_cached: bool, waiting: &Waiting<'_>) -> GateEvent {
    let mut record = GateEvent::new_zeroed();
    let (task, creds) = waiting.describe();
    record.header = EventHeader {
        kind: EventKind::Gate as u16,
        abi_version: ABI_VERSION,
        size_bytes: u32::try_from(size_of::<GateEvent>()).unwrap_or_default(),
        boottime_ns: asked.now_ns,
        cpu: 0,
        generation: 0,
        task,
    };
    record.creds = creds;
    record.file = *asked.file;
    record.digest_state = match asked.content {
        Content::Sha256(digest) => {
            record.digest = digest;
            DigestState::Sha256 as u32
        }
        Content::NotHashed => DigestState::NotTried as u32,
        Content::Doubt => DigestState::Writers as u32,
    };
    record.kind = asked.kind as u32;
    record.class = verdict.class as u32;
    record.action = verdict.action as u32;
    record.hook = GateHook::OpenExecPerm as u32;
    record.rule = verdict.rule;
    record.flags = verdict.flags;
    if is_cached {
        record.flags |= gate_flag::DIGEST_CACHED;
    }
    // One that does not fit is none, as in the kernel.
    let path = waiting.path().filter(|path| path.len() < EXEC_PATH_LEN);
    if let Some(path) = path
        && let Some(room) = record.path.get_mut(..path.len())
    {
        room.copy_from_slice(&path);
        record.path_bytes = u32::try_from(path.len()).unwrap_or_default();
        record.flags |= gate_flag::PATH_FROM_KERNEL;
    }
    record
}

/// Kills a process that is known to be there.
fn kill(tgid: u32) {
    let pid = i32::try_from(tgid)
        .ok()
        .filter(|pid| *pid > 1)
        .and_then(Pid::from_raw);
    let Some(pid) = pid else { return };
    // Kernels of EL 8 have no such descriptors; the id cannot become another's while one of its tasks waits for us.
    let _gone = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(held) => pidfd_send_signal(held, Signal::KILL),
        Err(rustix::io::Errno::NOSYS) => rustix::process::kill_process(pid, Signal::KILL),
        Err(error) => Err(error),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_abi::GateClass;
    use hardpan_core::event::{Event, decode};

    #[test]
    fn a_record_is_one_that_the_daemon_knows() {
        let file = File::open("/proc/self/exe").unwrap();
        let stat = fstat(&file).unwrap();
        let info = file_info(&stat, 0xef53);
        let config = hardpan_abi::GateConfig::new_zeroed();
        let waiting = Waiting::new(std::process::id(), &file, (&config, &[]), (0, 0));
        let asked = Asked {
            kind: GateKind::Script,
            file: &info,
            content: Content::Sha256([7; 32]),
            now_ns: 5,
        };
        let verdict = Verdict {
            action: GateAction::Deny,
            class: GateClass::Untrusted,
            rule: hardpan_abi::GATE_NO_RULE,
            flags: gate_flag::REFUSED,
            refused: true,
            told: true,
        };
        let bytes = record(&asked, &verdict, true, &waiting);
        let Ok(Event::Gate(event)) = decode(bytes.as_bytes()) else {
            panic!("no record of the gate");
        };
        assert_eq!((event.kind, event.hook.name()), (GateKind::Script, "fanotify"));
        assert!(event.refused && event.digest_cached && !event.doubt);
        assert_eq!(
            (event.digest.sha256(), event.head.boottime_ns),
            (Some(&[7; 32]), 5)
        );
        assert_eq!(event.head.task.process.tgid, std::process::id());
        let exe = std::fs::read_link("/proc/self/exe").unwrap();
        let path = event.path.map(|path| path.as_bytes().to_vec());
        assert!(path.is_none_or(|path| path == exe.as_os_str().as_encoded_bytes()));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (here, there) = channel::pair().unwrap();
        let mut records = Records {
            socket: here,
            lost: 0,
        };
        let mut sent = 0_u64;
        while records.lost == 0 {
            records.send(&[0; 800]);
            sent += 1;
        }
        records.send(&[0; 800]);
        sent += 1;
        records.tell_lost();
        let (mut taken, mut lost) = (0_u64, 0_u64);
        let mut take = |body: Vec<u8>| {
            let (head, rest) = body.split_first_chunk::<8>().unwrap();
            lost += u64::from_ne_bytes(*head);
            taken += u64::from(!rest.is_empty());
        };
        channel::drain(&there, &mut take);
        records.tell_lost();
        channel::drain(&there, &mut take);
        assert_eq!((taken + lost, lost, records.lost), (sent, 2, 0));
    }
}
