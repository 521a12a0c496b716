//! Telling systemd how it goes. Without systemd nothing happens.

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct Notify {
    watchdog: bool,
}

impl Notify {
    /// Looks at the environment.
    pub(super) fn new() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled().is_some(),
        }
    }

    /// What is going on.
    pub(super) fn status(status: &str) {
        tell(&[NotifyState::Status(status)]);
    }

    /// The daemon watches.
    pub(super) fn ready(status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The daemon stops.
    pub(super) fn stopping() {
        tell(&[NotifyState::Stopping]);
    }

    /// The event loop turns.
    pub(super) fn watchdog(&self) {
        if self.watchdog {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

/// A service manager that does not listen is no reason to stop watching.
fn tell(states: &[NotifyState<'_>]) {
    let _unheard = sd_notify::notify(states);
}
