//! Signs of life of the responder: to the watchdog, and to the kernel, which ends it if the watchdog does not.

use super::deadman::DeadMan;
use super::responder::ResponderError;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// A sign of life.
pub(super) const ALIVE: u8 = b'.';
/// All file systems are marked: executions are answered from here on.
pub(super) const ANSWERS: u8 = b'r';
/// The same, but for what is in anonymous memory: nobody is asked about that.
pub(super) const ANSWERS_NOT_MEMORY: u8 = b'm';

/// The kernel ends a responder that gave no sign of life for so many times as long as its watchdog allows: it is asked
/// only if the watchdog does not, either.
const WATCHDOG_FIRST: u32 = 2;

/// Who is told.
#[derive(Debug)]
pub(super) struct Pulse {
    dead_man: DeadMan,
    limit: Duration,
}

impl Pulse {
    /// From here on a sign is due, the first within `begin`, then each within `limit`.
    pub(super) fn new(begin: Duration, limit: Duration) -> nix::Result<Self> {
        Ok(Self {
            dead_man: DeadMan::within(begin * WATCHDOG_FIRST)?,
            limit,
        })
    }

    /// A sign of life, or one that says more.
    pub(super) fn beat(&mut self, word: u8) -> Result<(), ResponderError> {
        self.dead_man
            .alive(self.limit * WATCHDOG_FIRST)
            .map_err(|errno| ResponderError::Timer(errno.into()))?;
        sign(word)
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
