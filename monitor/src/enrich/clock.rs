//! Time of events: the kernel counts from boot, records count from 1970.

use nix::time::{ClockId, clock_gettime};
use std::io;

/// The difference between the two clocks. Taken anew every second, so that a corrected system clock is followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    boot_us: i64,
}

impl Clock {
    /// Reads both clocks.
    pub fn now() -> io::Result<Self> {
        let unix_us = micros(ClockId::CLOCK_REALTIME)?;
        let since_boot_us = micros(ClockId::CLOCK_BOOTTIME)?;
        Ok(Self {
            boot_us: unix_us.saturating_sub(since_boot_us),
        })
    }

    /// Microseconds since 1970 of a time in nanoseconds since boot.
    pub fn unix_us(&self, boottime_ns: u64) -> i64 {
        let us = i64::try_from(boottime_ns / 1000).unwrap_or(i64::MAX);
        self.boot_us.saturating_add(us)
    }
}

/// Microseconds since 1970, now.
pub fn unix_us() -> io::Result<i64> {
    micros(ClockId::CLOCK_REALTIME)
}

/// Nanoseconds since boot, suspend included, now.
pub fn boottime_ns() -> io::Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Ok(seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0)))
}

fn micros(clock: ClockId) -> io::Result<i64> {
    let time = clock_gettime(clock)?;
    Ok(time
        .tv_sec()
        .saturating_mul(1_000_000)
        .saturating_add(time.tv_nsec() / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_tell_the_same_time() {
        let clock = Clock::now().unwrap();
        let before = unix_us().unwrap();
        let event = clock.unix_us(boottime_ns().unwrap());
        let after = unix_us().unwrap();
        // The two readings of the clock pair are not at the same instant; a second is more than generous.
        assert!((before - 1_000_000..=after + 1_000_000).contains(&event));
        assert_eq!(clock.unix_us(0), clock.boot_us);
    }
}
