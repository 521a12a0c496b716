//! A read lease on a file: while it is held, nobody's open for writing and no truncation gets through (fcntl(2)).

use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// `F_SETSIG` (include/uapi/asm-generic/fcntl.h).
const F_SETSIG: libc::c_int = 10;

/// Nobody has the file open for writing, and whoever wants to waits until this is dropped.
#[derive(Debug)]
pub struct ReadLease<'f>(&'f File);

impl<'f> ReadLease<'f> {
    /// Takes it. Fails if somebody has the file open for writing, and on file systems without leases. Needs `CAP_LEASE`
    /// for files of others. Nobody is sent a signal that matters when somebody wants to write.
    pub fn take(file: &'f File) -> io::Result<Self> {
        // The default, SIGIO, ends a process that does not expect it; SIGURG is ignored.
        set(file, F_SETSIG, libc::SIGURG)?;
        set(file, libc::F_SETLEASE, libc::F_RDLCK)?;
        Ok(Self(file))
    }

    /// Leaves it in place until the last descriptor of this open file is closed.
    pub fn until_closed(self) {
        std::mem::forget(self);
    }

    /// Whether nobody has begun to open the file for writing since: such an opener is counted before anybody is asked
    /// about it, and waits. Read-only openers do not matter.
    pub fn holds(&self) -> bool {
        set(self.0, libc::F_SETLEASE, libc::F_RDLCK).is_ok()
    }
}

impl Drop for ReadLease<'_> {
    fn drop(&mut self) {
        // If this fails, closing the file ends the lease.
        let _on_close = set(self.0, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

fn set(file: &File, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: these commands take a number.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt as _;

    #[test]
    fn writers_and_leases_exclude_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let reader = File::open(&path).unwrap();
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(ReadLease::take(&reader).is_err(), "somebody can write");
        drop(writer);
        let lease = match ReadLease::take(&reader) {
            Ok(lease) => lease,
            // Not every place where tests run has leases.
            Err(error) => return println!("skipped: no leases here: {error}"),
        };
        assert!(lease.holds());
        let mut writing = OpenOptions::new();
        writing.append(true).custom_flags(libc::O_NONBLOCK);
        assert_eq!(
            writing.open(&path).unwrap_err().raw_os_error(),
            Some(libc::EWOULDBLOCK)
        );
        drop(lease);
        assert!(writing.open(&path).is_ok());
    }
}
