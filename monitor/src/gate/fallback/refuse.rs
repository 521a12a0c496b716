//! The responder at tier C, where no program in the kernel can refuse: it judges what is about to be executed by the table
//! that the daemon handed over, answers, and leaves a record of what it refused.
//!
//! It waits for nobody: not for the daemon, nor for room to leave a record; what finds none is counted. What it is asked
//! about cannot be written to until a moment after the answer: the kernel then has the program open in a way that keeps
//! writers out, and an interpreter its script.

use super::channel::{self, ChannelError, Kind, Message};
use super::content::Digests;
use super::handed::{self, Given};
use super::marks::Groups;
use super::pulse::{ALIVE, Pulse};
use super::records::{Records, judged};
use super::responder::{ResponderError, Rounds, events, read};
use super::task::Waiting;
use super::transaction::Transactions;
use crate::enrich::clock::boottime_ns;
use crate::enrich::identity::file_info;
use hardpan_abi::{FileInfo, GateAction, GateKind, GateMode};
use hardpan_core::gate::{Asked, Content, WhyNot, judge, way};
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
use zerocopy::IntoBytes as _;

/// How long after the answer nobody begins to write to the file.
const HELD: Duration = Duration::from_millis(250);
/// Files that are held so, at most; the oldest goes.
const MOST_HELD: usize = 256;
/// Files that an alert was told of, until all are told of again.
const MOST_TOLD: usize = 4096;

pub(super) struct Refuser {
    given: Arc<Given>,
    /// Where the next tables come from.
    tables: OwnedFd,
    records: Records,
    digests: Digests,
    transactions: Transactions,
    groups: Arc<Groups>,
    timeout: Duration,
    own_pid: u32,
    root: (u64, u64),
    held: VecDeque<(File, Instant)>,
    told: BTreeSet<(u32, u64)>,
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
        let given = Arc::new(handed::open(table).map_err(ResponderError::Table)?);
        let root = std::fs::metadata("/").map_err(ResponderError::Mounts)?;
        let mut digests = Digests::default();
        digests.know(given.table.known());
        let records = Records::new(socket);
        let transactions = records
            .another()
            .and_then(|records| Transactions::begin(Arc::clone(&given), records));
        let transactions = transactions.map_err(|source| ResponderError::Events {
            what: "starting the thread that looks at packages for",
            source,
        })?;
        Ok(Self {
            given,
            tables,
            records,
            digests,
            transactions,
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
                    let given = table.and_then(handed::open).map_err(ResponderError::Table)?;
                    self.given = Arc::new(given);
                    self.digests.know(self.given.table.known());
                    self.transactions.believe(Arc::clone(&self.given));
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
        let until = Instant::now() + self.timeout / 2;
        let (content, is_cached) = self.content(&file, &info, until);
        let table = &self.given.table;
        let kind = match way(table, &info) {
            Ok(()) if is_script(&file) => GateKind::Script,
            _ => GateKind::Exec,
        };
        let asked = Asked {
            kind,
            file: &info,
            content,
            now_ns: boottime_ns().unwrap_or_default(),
        };
        let by = (table.config(), table.rules());
        let installed = (&self.transactions, until);
        let mut waiting = Waiting::new(tid, &file, by, self.root).during(installed);
        let verdict = judge(table, &asked, &mut waiting);
        if verdict.told && (verdict.refused || is_news(&mut self.told, &info)) {
            let record = judged(&asked, &verdict, is_cached, &waiting);
            self.records.send(record.as_bytes());
        }
        if !verdict.refused {
            if let Content::Sha256(sha256) = content {
                let is_manager = self.given.is_manager(&sha256);
                self.transactions
                    .executes(&waiting, is_manager, kind == GateKind::Script);
            }
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

    fn content(&mut self, file: &File, info: &FileInfo, until: Instant) -> (Content, bool) {
        let is_hashed = match way(&self.given.table, info) {
            Ok(()) => true,
            Err(WhyNot::Kind) => false,
            Err(WhyNot::Size) => self.transactions.list_size(info.size_bytes, until),
        };
        if !is_hashed {
            return (Content::NotHashed, false);
        }
        match self.digests.take(file, until) {
            Some(taken) => (Content::Sha256(taken.sha256), taken.is_cached),
            None => (Content::Doubt, false),
        }
    }

    /// Nothing can be said of the file.
    fn in_doubt(&self) -> Response {
        let config = self.given.table.config();
        if config.closed_on_doubt != 0 && config.mode == GateMode::Enforce as u32 {
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
