//! The responder at tier B: takes the digest of what is executed, puts it into the kernel's memory, and lets it go on.

use super::marks::Groups;
use super::pulse::Pulse;
use super::responder::{ResponderError, Rounds, events, read};
use crate::sensor::Subjects;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{FanotifyResponse, Response};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Written files that are kept in sight until nothing changes about them any more.
const MOST_WRITTEN: usize = 256;
/// How long: package managers set owner, mode and time right after they closed a file.
const IN_SIGHT: Duration = Duration::from_secs(2);
/// Batches of closed files that are taken before an execution is answered.
const MOST_BATCHES: usize = 64;
const ELF: [u8; 4] = *b"\x7fELF";

pub(super) struct Voucher {
    pub(super) subjects: Subjects,
    pub(super) groups: Arc<Groups>,
    /// Programs and libraries that root has just written, with the time when.
    pub(super) written: VecDeque<(File, Instant)>,
    pub(super) timeout: Duration,
    pub(super) own_pid: u32,
}

impl Rounds for Voucher {
    /// Waits for events, at most for a quarter of what the watchdog allows, and answers those that are there.
    fn round(&mut self, _pulse: &mut Pulse) -> Result<(), ResponderError> {
        let wait = PollTimeout::try_from(self.timeout / 4).unwrap_or(PollTimeout::ZERO);
        let groups = Arc::clone(&self.groups);
        let mut fds: Vec<PollFd<'_>> = [Some(&groups.execs), groups.written.as_ref()]
            .into_iter()
            .flatten()
            .map(|group| PollFd::new(group.as_fd(), PollFlags::POLLIN))
            .collect();
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
}

impl Voucher {
    /// What cannot be hashed stays unknown; the program in the kernel says what becomes of it.
    fn vouch(&mut self, fd: BorrowedFd<'_>, until: Instant) {
        if let Ok(owned) = fd.try_clone_to_owned() {
            let _unknown = self.subjects.vouch(&File::from(owned), until);
        }
    }

    /// Programs and libraries that root closed after writing: hashed now, and again as long as something changes.
    fn look_at_written(&mut self, until: Instant) -> Result<(), ResponderError> {
        let groups = Arc::clone(&self.groups);
        let Some(group) = &groups.written else {
            return Ok(());
        };
        for _ in 0..MOST_BATCHES {
            let closed = read(group)?;
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
