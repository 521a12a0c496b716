//! Packages that are being installed: what they bring may run before the package database lists it.
//!
//! Trusted is only what the header of a package lists that a pinned key signed, and only as long as a package manager that opened
//! this package holds the lock of this system's package database for writing: a process of real root in the user
//! namespace that hardpand is in, traced by nobody, whose program is one by its content (`rpm`), or which was seen to execute the
//! script of one (`dnf`). For a while after such a process was last seen to hold the lock, what its packages list goes on to
//! count: until trust was read from the database, which then lists it.
//!
//! A thread of its own looks at all that: a package or a key on a disk that does not answer holds up nobody but it. Who asks
//! waits no longer than for a digest, and what it has not found out by then is not so.

use super::content::Digests;
use super::handed::Given;
use super::held::Held;
use super::managers::{Executed, Managers, Process};
use super::opens::{Opens, is_local, is_package};
use super::packages::{Opened, Packages, Question, Stamp};
use super::records::{Records, opened};
use super::task::{Waiting, read_most};
use crate::config::Trust;
use crate::enrich::identity::file_info;
use crate::gate::locks::holders;
use crate::gate::package::{self, Keys};
use crate::sys::lease::ReadLease;
use nix::libc::{O_NOCTTY, O_NONBLOCK, O_PATH};
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes as _;

/// Words that wait for the thread; it is stuck where these are not enough.
const MOST_WORDS: usize = 16;
/// Time between two looks at what package managers have opened.
const LOOK: Duration = Duration::from_millis(50);
/// Time between two attempts to tell the daemon what is owed to it.
const OWED: Duration = Duration::from_millis(500);
/// What a package manager opens is looked at for so long; then again when it holds the lock and something is executed.
const WATCHED: Duration = Duration::from_secs(3600);
/// Time between two looks whether packages of those that held the lock still count, where nobody installs.
const LOOK_HELD: Duration = Duration::from_secs(5);
/// Longest time to take the digest of what a holder of the lock runs, where nobody waits for that.
const HOLDER: Duration = Duration::from_secs(2);
/// Descriptors of a process that are looked at, at most.
const MOST_DESCRIPTORS: usize = 4096;
/// Most that is read of a process's table of mounts.
const MAX_MOUNTS_BYTES: u64 = 4 << 20;

/// What is being installed, seen from who answers for executions.
#[derive(Debug)]
pub(super) struct Transactions {
    shared: Arc<Mutex<Shared>>,
    words: SyncSender<Word>,
}

/// What the thread goes by.
#[derive(Debug)]
struct Shared {
    given: Arc<Given>,
    managers: Managers,
}

#[derive(Debug)]
enum Word {
    /// A process begins to run a package manager.
    Begins,
    Asks {
        question: Question,
        until: Instant,
        answer: SyncSender<bool>,
    },
}

impl Transactions {
    /// Nobody installs yet.
    pub(super) fn begin(given: Arc<Given>, records: Records) -> io::Result<Self> {
        let managers = Managers::default();
        let shared = Arc::new(Mutex::new(Shared { given, managers }));
        let (words, taken) = sync_channel(MOST_WORDS);
        let watch = Watch {
            shared: Arc::clone(&shared),
            believed: None,
            keys: Keys::default(),
            programs: Digests::default(),
            packages: Packages::default(),
            records,
            opens: None,
            since: Instant::now(),
            holders: Vec::new(),
            held: Held::default(),
        };
        std::thread::Builder::new()
            .name("packages".to_owned())
            .spawn(move || watch.run(&taken))?;
        Ok(Self { shared, words })
    }

    /// Other signatures count from now on, or other programs are package managers.
    pub(super) fn believe(&self, given: Arc<Given>) {
        lock(&self.shared).given = given;
    }

    /// The task is let execute its file: a package manager's, or what may be a script's interpreter.
    pub(super) fn executes(&self, waiting: &Waiting<'_>, is_manager: bool, is_script: bool) {
        if !is_manager && lock(&self.shared).managers.is_empty() {
            return;
        }
        let process = waiting.status().and_then(|status| Process::now(status.tgid));
        let (Some((process, stat)), Ok(meta)) = (process, waiting.file().metadata()) else {
            return;
        };
        let executed = Executed {
            file: (meta.dev(), meta.ino()),
            is_manager: is_manager && waiting.is_free_root(),
            is_script,
        };
        lock(&self.shared)
            .managers
            .executes(process, stat.stack, executed);
        if executed.is_manager {
            // A thread that is stuck learns it when it asks who holds the lock.
            let _stuck = self.words.try_send(Word::Begins);
        }
    }

    /// Whether a package that is being installed lists this digest.
    pub(super) fn list(&self, sha256: &[u8; 32], until: Instant) -> bool {
        self.ask(Question::Sha256(*sha256), until)
    }

    /// Whether one has a file of this size: it is hashed then, however large.
    pub(super) fn list_size(&self, bytes: u64, until: Instant) -> bool {
        self.ask(Question::Size(bytes), until)
    }

    fn ask(&self, question: Question, until: Instant) -> bool {
        let (answer, answered) = sync_channel(1);
        let word = Word::Asks {
            question,
            until,
            answer,
        };
        let left = until.saturating_duration_since(Instant::now());
        self.words.try_send(word).is_ok() && answered.recv_timeout(left).unwrap_or(false)
    }
}

/// The thread.
struct Watch {
    shared: Arc<Mutex<Shared>>,
    /// Whose signatures the packages that are known were verified by.
    believed: Option<Trust>,
    keys: Keys,
    /// Digests of what holders of the lock run.
    programs: Digests,
    packages: Packages,
    records: Records,
    opens: Option<Opens>,
    /// When `opens` was last asked for.
    since: Instant,
    /// Package managers that held the lock when somebody asked: as long as they live, what they open is told of.
    holders: Vec<Process>,
    /// Package managers that held the lock lately: what they opened counts, though they may be gone.
    held: Held,
}

impl Watch {
    fn run(mut self, words: &Receiver<Word>) {
        loop {
            let word = match self.pause() {
                Some(pause) => words.recv_timeout(pause),
                None => words.recv().map_err(|_ended| RecvTimeoutError::Disconnected),
            };
            match word {
                Ok(Word::Begins) => self.begin(),
                Ok(Word::Asks {
                    question,
                    until,
                    answer,
                }) => {
                    // Who asked may have gone on.
                    let _late = answer.try_send(self.answer(question, until));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.take_opened();
                    let given = self.given();
                    self.see_holders(&given);
                    self.verify_next(&given, None);
                    self.end();
                    self.records.tell_lost();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How long nothing is to be done.
    fn pause(&self) -> Option<Duration> {
        if self.packages.wait() {
            return Some(Duration::ZERO);
        }
        let looks = self.opens.is_some() || !self.holders.is_empty();
        let is_kept = !self.held.is_empty();
        looks
            .then_some(LOOK)
            .or_else(|| is_kept.then_some(LOOK_HELD))
            .or_else(|| self.records.owes().then_some(OWED))
    }

    /// What counts now. What was verified under another trust is forgotten.
    fn given(&mut self) -> Arc<Given> {
        let given = Arc::clone(&lock(&self.shared).given);
        if given.trust != self.believed {
            self.packages.forget_verified();
            self.believed.clone_from(&given.trust);
        }
        given
    }

    fn begin(&mut self) {
        self.since = Instant::now();
        if self.opens.is_none() {
            self.opens = Opens::begin();
        }
    }

    /// Forgets who is gone; when nobody is left, the kernel tells of nothing any more.
    fn end(&mut self) {
        let mut shared = lock(&self.shared);
        shared.managers.forget_gone();
        let is_empty = shared.managers.is_empty();
        drop(shared);
        self.holders.retain(|process| process.lives());
        self.held.forget_old();
        let is_over = is_empty && self.holders.is_empty();
        if is_over || self.since.elapsed() > WATCHED {
            self.opens = None;
        }
        if is_over && !self.packages.is_empty() {
            let held: Vec<Process> = self.held.lately().collect();
            self.packages.retain(|process| held.contains(&process));
        }
    }

    /// Remembers who holds the lock, although nobody asks: packages without scriptlets bring programs, too.
    fn see_holders(&mut self, given: &Given) {
        let Some(trust) = given.trust.as_ref().filter(|_| self.opens.is_some()) else {
            return;
        };
        for tgid in holders(trust) {
            let known = Process::now(tgid).map(|(process, _)| process);
            let known = known.filter(|process| self.held.lately().any(|one| one == *process));
            let holder = known.or_else(|| self.installs(given, tgid, Instant::now() + HOLDER));
            if let Some(process) = holder {
                self.held.note(process);
            }
        }
    }

    fn answer(&mut self, question: Question, until: Instant) -> bool {
        let given = self.given();
        let Some(trust) = &given.trust else { return false };
        if Instant::now() >= until {
            return false;
        }
        let installing: Vec<Process> = holders(trust)
            .into_iter()
            .filter_map(|tgid| self.installs(&given, tgid, until))
            .collect();
        if !installing.is_empty() {
            for process in &installing {
                self.held.note(*process);
            }
            self.holders.clone_from(&installing);
            self.begin();
        }
        self.take_opened();
        for process in &installing {
            self.look_at_open(*process);
        }
        let mut by = installing;
        by.extend(self.held.lately());
        loop {
            if self.packages.list(&by, question) {
                return true;
            }
            if Instant::now() >= until || !self.verify_next(&given, Some(&by)) {
                return false;
            }
        }
    }

    /// The process, if it is a package manager that may install.
    fn installs(&mut self, given: &Given, tgid: u32, until: Instant) -> Option<Process> {
        let (process, stat) = Process::now(tgid)?;
        let exe = place(tgid, "exe");
        // Only named, not opened: on a file system of another host that could wait for it.
        let named = OpenOptions::new()
            .read(true)
            .custom_flags(O_PATH)
            .open(&exe)
            .ok()?;
        let info = read_most(&place_of_own(&named), MAX_MOUNTS_BYTES)?;
        let mounts = read_most(&place(tgid, "mountinfo"), MAX_MOUNTS_BYTES)?;
        let program = is_local(&info, &mounts).then(|| open(&exe)).flatten()?;
        let by = (given.table.config(), given.table.rules());
        let task = Waiting::new(tgid, &program, by, (0, 0));
        if !task.is_free_root() || task.status().is_none_or(|status| status.tgid != tgid) {
            return None;
        }
        let runs = program.metadata().ok()?;
        let runs = (runs.dev(), runs.ino());
        let is_script = lock(&self.shared).managers.runs_script(process, stat.stack, runs);
        let is_manager = is_script || {
            let taken = self.programs.take(&program, until)?;
            given.is_manager(&taken.sha256)
        };
        (is_manager && process.lives()).then_some(process)
    }

    /// Takes what the kernel told of.
    fn take_opened(&mut self) {
        let Some(opens) = self.opens.take() else { return };
        let shared = Arc::clone(&self.shared);
        let holders = self.holders.clone();
        let find = |tgid| {
            let holder = holders.iter().find(|process| process.tgid == tgid).copied();
            holder.or_else(|| lock(&shared).managers.find(tgid))
        };
        opens.take(find, |process, file| self.notice(process, file));
        self.opens = Some(opens);
    }

    /// Looks at the packages that a process has open: it may have opened them before anybody was told.
    fn look_at_open(&mut self, process: Process) {
        let Ok(descriptors) = fs::read_dir(place(process.tgid, "fd")) else {
            return;
        };
        let mut mounts = None;
        for descriptor in descriptors.flatten().take(MOST_DESCRIPTORS) {
            let link = descriptor.path();
            if !fs::read_link(&link).is_ok_and(|path| is_package(&path)) {
                continue;
            }
            let mounts = mounts.get_or_insert_with(|| {
                read_most(&place(process.tgid, "mountinfo"), MAX_MOUNTS_BYTES).unwrap_or_default()
            });
            let info = place(process.tgid, "fdinfo").join(descriptor.file_name());
            let info = read_most(&info, MAX_MOUNTS_BYTES).unwrap_or_default();
            if is_local(&info, mounts)
                && let Some(file) = open(&link)
            {
                self.notice(process, file);
            }
        }
    }

    /// A package manager has opened this. The daemon is told, and verifies it, too: for its records.
    fn notice(&mut self, process: Process, file: File) {
        let Ok(meta) = file.metadata() else { return };
        let stamp = Stamp::new(&meta);
        if !meta.is_file() || self.packages.is_known(stamp, process) || is_written(&file) {
            return;
        }
        let (Ok(stat), Ok(system)) = (fstat(&file), fstatfs(&file)) else {
            return;
        };
        let info = file_info(
            &stat,
            u64::try_from(system.filesystem_type().0).unwrap_or(u64::MAX),
        );
        let given = self.given();
        let by = (given.table.config(), given.table.rules());
        let record = opened(&info, &Waiting::new(process.tgid, &file, by, (0, 0)));
        self.records.send(record.as_bytes());
        self.packages.put(Opened {
            stamp,
            by: process,
            file,
        });
    }

    /// Verifies the package that was opened last. False: none waits.
    fn verify_next(&mut self, given: &Given, by: Option<&[Process]>) -> bool {
        let Some(Opened { stamp, by, file }) = self.packages.next(by) else {
            return false;
        };
        let verified = given
            .trust
            .as_ref()
            .and_then(|trust| package::verify(file, &self.keys.get(trust)).ok());
        let digests = verified.map(|verified| verified.digests).unwrap_or_default();
        self.packages.verified(stamp, by, digests);
        true
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether somebody has the file open for writing: it is being downloaded, and opened once more before it is installed. Where
/// there are no leases nobody knows.
fn is_written(file: &File) -> bool {
    ReadLease::take(file).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn place(tgid: u32, what: &str) -> PathBuf {
    Path::new("/proc").join(tgid.to_string()).join(what)
}

fn place_of_own(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))
}

/// What is named may be a FIFO by now.
fn open(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    options.open(path).ok()
}

#[cfg(test)]
mod tests;
