//! Which mounts the responder is told of executions on.

use crate::gate::devices::unescaped;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Types of file systems that hold no programs, or whose content the server or daemon behind them changes at will: the
/// gate never judges those by a digest. (tidy: table)
const NOT_MARKED: [&str; 37] = [
    "9p",
    "afs",
    "autofs",
    "bdev",
    "binfmt_misc",
    "bpf",
    "ceph",
    "cgroup",
    "cgroup2",
    "cifs",
    "coda",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fuse",
    "fuseblk",
    "fusectl",
    "glusterfs",
    "gfs2",
    "gpfs",
    "lustre",
    "mqueue",
    "nfs",
    "nfs4",
    "nsfs",
    "ocfs2",
    "pipefs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smb3",
    "sockfs",
    "sysfs",
    "tracefs",
];

/// A file system to be marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    /// One of the places where it is mounted.
    pub point: PathBuf,
    /// Devices are in it: to be told of a file that was written, the kernel opens it for who is told, and opening a device
    /// can do something. No package brings a program there.
    pub holds_devices: bool,
}

/// Each file system that is marked, from the text of `/proc/self/mountinfo`. Lines that are none are passed over.
pub(super) fn marked(mountinfo: &[u8]) -> Vec<Marked> {
    let mut found: BTreeMap<&str, Marked> = BTreeMap::new();
    let text = String::from_utf8_lossy(mountinfo);
    for line in text.lines() {
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        let Some((place, system)) = line.split_once(" - ") else {
            continue;
        };
        let mut place = place.split(' ');
        let (Some(device), Some(point)) = (place.nth(2), place.nth(1)) else {
            continue;
        };
        let Some(kind) = system.split(' ').next() else {
            continue;
        };
        let family = kind.split_once('.').map_or(kind, |(family, _)| family);
        if !NOT_MARKED.contains(&family) {
            found.entry(device).or_insert_with(|| Marked {
                point: unescaped(point.as_bytes()),
                holds_devices: kind == "devtmpfs",
            });
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mountinfo: &str, expected: &[&str]) {
        let found = marked(mountinfo.as_bytes());
        let points: Vec<_> = found.into_iter().map(|one| one.point).collect();
        assert_eq!(points, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn local_file_systems_are_marked_once() {
        check(
            "21 1 8:2 / / rw shared:1 - ext4 /dev/sda2 rw\n\
             22 21 0:5 / /proc rw - proc proc rw\n\
             23 21 8:2 /var /bind rw - ext4 /dev/sda2 rw\n\
             24 21 0:40 / /mnt/with\\040space rw - tmpfs tmpfs rw\n\
             25 21 0:41 / /home rw - nfs4 server:/home rw\n\
             26 21 0:42 / /media rw - fuse.sshfs host: rw\n\
             27 21 0:43 / /merged rw - overlay overlay rw\n",
            &["/mnt/with space", "/merged", "/"],
        );
        check("", &[]);
        check("21 1 8:2 - ext4\nx - \n - - - -\n", &[]);
    }

    #[test]
    fn where_devices_are_nobody_is_told_of_what_is_written() {
        let found = marked(b"5 1 0:6 / /dev rw - devtmpfs udev rw\n6 5 0:7 / /dev/shm rw - tmpfs tmpfs rw\n");
        let devices: Vec<_> = found.iter().map(|one| one.holds_devices).collect();
        assert_eq!(devices, [true, false]);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescaped(b"/a\\134b\\04"), PathBuf::from("/a\\b\\04"));
    }
}
