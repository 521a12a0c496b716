//! Keeps every file system marked.

use super::mounts::{Marked, marked};
use super::responder::ResponderError;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{Fanotify, MarkFlags, MaskFlags};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// The groups.
#[derive(Debug)]
pub(super) struct Groups {
    /// Executions; they wait.
    pub execs: Fanotify,
    /// Files closed after writing; nobody waits. Not where the responder refuses.
    pub written: Option<Fanotify>,
}

/// Marks every file system, and again whenever something is mounted.
pub(super) fn keep_marked(
    mut mounts: File,
    groups: &Groups,
    is_marked: &AtomicBool,
) -> Result<(), ResponderError> {
    let mut text = Vec::new();
    loop {
        text.clear();
        mounts.rewind().map_err(ResponderError::Mounts)?;
        mounts.read_to_end(&mut text).map_err(ResponderError::Mounts)?;
        let (mut done, mut last) = (0_usize, Errno::ENOENT);
        for place in marked(&text) {
            match mark(groups, &place) {
                Ok(()) => done += 1,
                Err(errno) => last = errno,
            }
        }
        if done == 0 {
            return Err(ResponderError::Marks(last.into()));
        }
        is_marked.store(true, Ordering::Release);
        let mut fds = [PollFd::new(mounts.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(ResponderError::Mounts(errno.into())),
        }
    }
}

/// Marks the file system that anonymous memory is in. Kernels from 6.6 on refuse, and stable ones that took that over.
pub(super) fn mark_memory(execs: &Fanotify) -> bool {
    let Ok(memory) = memfd_create(c"hardpan-mark", MemfdFlags::CLOEXEC) else {
        return false;
    };
    let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
    execs
        .mark(flags, MaskFlags::FAN_OPEN_EXEC_PERM, &memory, None::<&str>)
        .is_ok()
}

fn mark(groups: &Groups, place: &Marked) -> nix::Result<()> {
    mark_for(&groups.execs, MaskFlags::FAN_OPEN_EXEC_PERM, place)?;
    match &groups.written {
        Some(written) if !place.holds_devices => mark_for(written, MaskFlags::FAN_CLOSE_WRITE, place),
        _ => Ok(()),
    }
}

/// The whole file system, or the mount where the kernel marks no file systems (before 4.20).
pub(super) fn mark_for(group: &Fanotify, mask: MaskFlags, place: &Marked) -> nix::Result<()> {
    let at = |kind| {
        group.mark(
            MarkFlags::FAN_MARK_ADD | kind,
            mask,
            nix::fcntl::AT_FDCWD,
            Some(place.point.as_path()),
        )
    };
    at(MarkFlags::FAN_MARK_FILESYSTEM).or_else(|_| at(MarkFlags::FAN_MARK_MOUNT))
}
