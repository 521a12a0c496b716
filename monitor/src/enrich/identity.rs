//! Is the file that can be opened now the file that the kernel ran?

use hardpan_abi::FileInfo;
use nix::sys::stat::{FileStat, major, minor};

/// File systems whose `stat` tells another device than the inode's super block: the device is not compared there.
/// overlayfs (containers) and btrfs.
const OTHER_DEVICE: [u64; 2] = [0x794c_7630, 0x9123_683e];

/// What identifies a file's content: inode and change time. The change time cannot be set by any call; it moves with
/// every write, truncation, rename and change of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device, major << 20 | minor; 0 where it is not compared.
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Change time, seconds since 1970.
    pub ctime_s: i64,
    /// Change time, nanoseconds part.
    pub ctime_ns: u32,
}

impl Identity {
    /// Identity by what the kernel reported; `None` if it reported nothing.
    pub fn of_event(info: &FileInfo) -> Option<Self> {
        (info.ino != 0).then(|| Self {
            dev: if OTHER_DEVICE.contains(&info.fs_magic) {
                0
            } else {
                info.dev
            },
            ino: info.ino,
            size_bytes: info.size_bytes,
            ctime_s: info.ctime_s,
            ctime_ns: info.ctime_ns,
        })
    }

    /// Identity of an open file. The file system's magic number decides whether the device counts.
    pub fn of_stat(stat: &FileStat, fs_magic: u64) -> Self {
        Self {
            dev: if OTHER_DEVICE.contains(&fs_magic) {
                0
            } else {
                kernel_dev(stat)
            },
            ino: stat.st_ino,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            ctime_s: stat.st_ctime,
            ctime_ns: u32::try_from(stat.st_ctime_nsec).unwrap_or(0),
        }
    }
}

/// The device number as the kernel itself packs it.
pub fn kernel_dev(stat: &FileStat) -> u32 {
    let (major, minor) = (major(stat.st_dev), minor(stat.st_dev));
    u32::try_from(major << 20 | (minor & 0xf_ffff)).unwrap_or(0)
}

/// What records tell of an inode that only `stat` has seen.
pub fn file_info(stat: &FileStat, fs_magic: u64) -> FileInfo {
    FileInfo {
        ino: stat.st_ino,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        fs_magic,
        ctime_s: stat.st_ctime,
        ctime_ns: u32::try_from(stat.st_ctime_nsec).unwrap_or(0),
        dev: kernel_dev(stat),
        mode: stat.st_mode,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        generation: 0,
        reserved: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_change_is_another_identity() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let stat = || nix::sys::stat::stat(file.path()).unwrap();
        let before = stat();
        let info = file_info(&before, 0xef53);
        assert_eq!(
            Identity::of_event(&info),
            Some(Identity::of_stat(&before, 0xef53))
        );
        assert_eq!(Identity::of_event(&FileInfo::default()), None);
        let overlay = FileInfo {
            fs_magic: 0x794c_7630,
            dev: 1,
            ..info
        };
        assert_eq!(
            Identity::of_event(&overlay),
            Some(Identity::of_stat(&before, 0x794c_7630))
        );
        file.write_all(b"x").unwrap();
        let after = nix::sys::stat::stat(file.path()).unwrap();
        assert_ne!(Identity::of_event(&info), Some(Identity::of_stat(&after, 0xef53)));
        let meta = fs::metadata(file.path()).unwrap();
        assert_eq!(meta.ino(), info.ino);
    }
}
