//! Numbers of records: one after the other for as long as the host runs, over restarts of the daemon too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Numbers taken ahead. After a crash this many, at most, are skipped; none is ever used twice.
const AHEAD: u64 = 1_000_000;

/// The next number, kept in a file that does not survive a reboot.
#[derive(Debug)]
pub struct Sequence {
    path: PathBuf,
    boot_id: String,
    next: u64,
    reserved: u64,
}

impl Sequence {
    /// Goes on where the last run of this boot ended. Without a usable file numbers start at the microseconds since
    /// boot, which rise from run to run too; the error says why.
    pub fn open(dir: &Path, boot_id: &str, boottime_us: u64) -> (Self, io::Result<()>) {
        let path = dir.join("sequence");
        let next = match fs::read_to_string(&path) {
            Ok(text) => parse(&text, boot_id).unwrap_or(1),
            Err(_) => 1,
        };
        let mut sequence = Self {
            path,
            boot_id: boot_id.to_owned(),
            next,
            reserved: 0,
        };
        let saved = fs::create_dir_all(dir).and_then(|()| sequence.reserve());
        if saved.is_err() {
            sequence.next = sequence.next.max(boottime_us).max(1);
        }
        (sequence, saved)
    }

    /// The number of the next record.
    pub fn take(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        if self.next >= self.reserved {
            // Where this fails, the same was said at the start.
            let _unsaved = self.reserve();
        }
        number
    }

    /// The number that comes next, for the start record.
    pub const fn peek(&self) -> u64 {
        self.next
    }

    /// Notes exactly where this run ended.
    pub fn close(&self) -> io::Result<()> {
        self.save(self.next)
    }

    fn reserve(&mut self) -> io::Result<()> {
        self.reserved = self.next.saturating_add(AHEAD);
        self.save(self.reserved)
    }

    fn save(&self, next: u64) -> io::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, format!("{} {next}\n", self.boot_id))?;
        fs::rename(&new, &self.path)
    }
}

fn parse(text: &str, boot_id: &str) -> Option<u64> {
    let (boot, next) = text.trim().split_once(' ')?;
    next.parse().ok().filter(|next| boot == boot_id && *next > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_over_restarts_and_begins_anew_at_boot() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("hardpan");
        let open = |boot: &str| {
            let (sequence, saved) = Sequence::open(&run, boot, 5_000_000);
            saved.unwrap();
            sequence
        };
        let mut first = open("boot-a");
        assert_eq!((first.take(), first.take(), first.peek()), (1, 2, 3));
        first.close().unwrap();
        let mut second = open("boot-a");
        assert_eq!(second.take(), 3);
        drop(second); // a crash: nothing is noted
        assert_eq!(open("boot-a").take(), 3 + AHEAD);
        assert_eq!(open("boot-b").take(), 1);
        fs::write(run.join("sequence"), "nonsense").unwrap();
        assert_eq!(open("boot-b").take(), 1);
    }

    #[test]
    fn without_a_directory_numbers_still_rise() {
        let (mut sequence, saved) = Sequence::open(Path::new("/proc/none"), "boot", 5_000_000);
        assert!(saved.is_err());
        assert_eq!((sequence.take(), sequence.take()), (5_000_000, 5_000_001));
    }
}
