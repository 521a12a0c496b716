//! A process that others wait for, or that watches one, ends when it does nothing: the kernel ends it.
//!
//! A watchdog alone is not enough. Whoever stops all of hardpand's processes (`kill -STOP $(pidof hardpand)`, a frozen
//! control group of version 2) stops the watchdog, too, and with the group of fanotify still open every execution on the
//! host would wait until somebody lets them go on: with a program, which would have to be executed.

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::time::Duration;

/// A timer in the kernel that sends this process SIGKILL, which also a stopped process gets (timer_create(2)). It is
/// neither inherited nor kept across an execution.
#[derive(Debug)]
pub(super) struct DeadMan(Timer);

impl DeadMan {
    /// Runs from here on.
    pub(super) fn within(limit: Duration) -> nix::Result<Self> {
        let event = SigEvent::new(SigevNotify::SigevSignal {
            signal: Signal::SIGKILL,
            si_value: 0,
        });
        // Time in which the machine itself slept does not count.
        let mut timer = Self(Timer::new(ClockId::CLOCK_MONOTONIC, event)?);
        timer.alive(limit)?;
        Ok(timer)
    }

    /// The next sign of life has to come within `limit`.
    pub(super) fn alive(&mut self, limit: Duration) -> nix::Result<()> {
        self.0
            .set(Expiration::OneShot(limit.into()), TimerSetTimeFlags::empty())
    }
}
