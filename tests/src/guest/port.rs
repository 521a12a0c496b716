//! The second serial port, over which frames go to the host.

use super::GuestError;
use crate::frame::{self, Head};
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};

const DEVICE: &str = "/dev/ttyS1";

/// The open port.
#[derive(Debug)]
pub(super) struct Port(File);

impl Port {
    pub(super) fn open() -> Result<Self, GuestError> {
        let port = OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE)
            .map_err(GuestError::io(format!("opening {DEVICE}")))?;
        // Raw, or the terminal layer would turn line feeds inside payloads into two bytes.
        let mut settings =
            tcgetattr(&port).map_err(GuestError::system(format!("reading settings of {DEVICE}")))?;
        cfmakeraw(&mut settings);
        tcsetattr(&port, SetArg::TCSANOW, &settings)
            .map_err(GuestError::system(format!("making {DEVICE} raw")))?;
        Ok(Self(port))
    }

    pub(super) fn send(&mut self, head: &Head, payload: &[u8]) -> Result<(), GuestError> {
        frame::write(&mut self.0, head, payload).map_err(GuestError::io(format!("writing to {DEVICE}")))?;
        tcdrain(&self.0).map_err(GuestError::system(format!("draining {DEVICE}")))
    }

    /// For last words, when there is nothing left to do about a failure.
    pub(super) fn send_or_ignore(&mut self, head: &Head, payload: &[u8]) {
        drop(self.send(head, payload));
    }
}
