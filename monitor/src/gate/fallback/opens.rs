//! What package managers open while one runs: the kernel tells of each file that anybody opens, and nobody waits for that.
//!
//! It is told in the order in which it happens: what a package manager opened before something was executed is there
//! when the responder is asked about that.

use super::managers::Process;
use super::marks::mark_for;
use super::mounts::marked;
use super::responder::group;
use super::task::read_most;
use nix::errno::Errno;
use nix::sys::fanotify::{Fanotify, FanotifyEvent, InitFlags, MaskFlags};
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Most that is read of a table of mounts.
const MAX_MOUNTS_BYTES: u64 = 4 << 20;
/// Batches that are taken at a time; the kernel keeps 16 384 events, a batch is at least a hundred.
const MOST_BATCHES: usize = 256;

/// Until it is dropped.
#[derive(Debug)]
pub(super) struct Opens(Fanotify);

impl Opens {
    /// Begins. `None`: the kernel tells of nothing.
    pub(super) fn begin() -> Option<Self> {
        let group = group(InitFlags::FAN_CLASS_NOTIF, "opened packages").ok()?;
        let mounts = read_most(Path::new("/proc/self/mountinfo"), MAX_MOUNTS_BYTES)?;
        let places = marked(mounts.as_bytes());
        // To be told of one, the kernel opens it: no packages are where devices are.
        let done = places
            .iter()
            .filter(|place| !place.holds_devices)
            .filter(|place| mark_for(&group, MaskFlags::FAN_OPEN, place).is_ok());
        (done.count() > 0).then_some(Self(group))
    }

    /// The packages that were opened since, and by which of the processes that `find` knows.
    pub(super) fn take(&self, find: impl Fn(u32) -> Option<Process>, mut tell: impl FnMut(Process, File)) {
        for _ in 0..MOST_BATCHES {
            let events = match self.0.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return,
                // A file that could not be opened for us; it is told of no more.
                Err(_) => continue,
            };
            for event in &events {
                if let Some((process, file)) = package(event, &find) {
                    tell(process, file);
                }
            }
        }
    }
}

fn package(event: &FanotifyEvent, find: impl Fn(u32) -> Option<Process>) -> Option<(Process, File)> {
    let process = find(u32::try_from(event.pid()).ok()?)?;
    let fd = event.fd().filter(|fd| is_named_package(*fd))?;
    Some((process, File::from(fd.try_clone_to_owned().ok()?)))
}

fn is_named_package(fd: BorrowedFd<'_>) -> bool {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    fs::read_link(link).is_ok_and(|path| is_package(&path))
}

/// Named as packages are.
pub(super) fn is_package(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b".rpm")
}

/// Whether an open file, by the text of its `fdinfo`, is on a file system of this host: another host could let the reader wait,
/// and so could a process that serves one.
pub(super) fn is_local(fdinfo: &str, mountinfo: &str) -> bool {
    let id = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .map(str::trim);
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return false;
    };
    let line = mountinfo.lines().find(|line| line.split(' ').next() == Some(id));
    line.is_some_and(|line| !marked(line.as_bytes()).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_host_serves_is_not_read() {
        let mounts =
            "21 1 8:2 / / rw shared:1 - ext4 /dev/sda2 rw\n25 21 0:41 / /home rw - nfs4 server:/home rw\n";
        assert!(is_local("pos:\t0\nflags:\t0100000\nmnt_id:\t21\n", mounts));
        for info in [
            "mnt_id:\t25\n",
            "mnt_id:\t99\n",
            "",
            "mnt_id:\t\n",
            "mnt_id:\t2\n",
        ] {
            assert!(!is_local(info, mounts), "{info:?}");
        }
        assert!(!is_local("mnt_id:\t21\n", "21 - ext4\n"));
    }

    #[test]
    fn names_of_packages() {
        for (path, expected) in [
            ("/var/cache/dnf/x.rpm", true),
            ("/tmp/x.rpm (deleted)", false),
            ("/tmp/x.rpm/y", false),
            ("", false),
        ] {
            assert_eq!(is_package(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn opened_packages_are_told_of() {
        let Some(opens) = Opens::begin() else {
            return println!("skipped: no fanotify for file systems here");
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.rpm");
        fs::write(&path, "package").unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "other").unwrap();
        let (own, _) = Process::now(std::process::id()).unwrap();
        let mut told = Vec::new();
        let find = |tgid| (tgid == own.tgid).then_some(own);
        opens.take(find, |by, file| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut { file }, &mut text).unwrap();
            told.push((by, text));
        });
        assert!(
            told.iter().any(|(by, text)| *by == own && text == "package"),
            "{told:?}"
        );
        assert!(!told.iter().any(|(_, text)| text == "other"));
        File::open(&path).unwrap();
        opens.take(|_| None, |_, _| panic!("by nobody who is known"));
    }
}
