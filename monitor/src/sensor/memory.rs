//! What the kernel side's maps take, by the kernel's own books.

use aya::{Ebpf, maps::Map};
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

/// Maps that are there for the exec gate only.
const GATE: [&str; 16] = [
    "BELOW",
    "BLOCK_DEVICES",
    "GATE",
    "GATE_RULES",
    "GRAMMARS",
    "INODE_DIGESTS",
    "INTERPRETERS",
    "MANAGERS",
    "NAMES",
    "OBJECT_NAMES",
    "PACKAGED",
    "PROTECTED",
    "RAW_WRITES",
    "SIGNED_SIZES",
    "TRUSTED",
    "TRUSTED_APART",
];

/// Bytes of kernel memory, as `/proc/self/fdinfo` tells them: exact since 6.4, before that without the overhead of each entry. What
/// grows with tasks and inodes (storage of task and inode) is not in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MapBytes {
    /// Of all maps.
    pub all: u64,
    /// Of those that only the exec gate has.
    pub gate: u64,
}

impl MapBytes {
    /// Of maps that were just made.
    pub(super) fn of(ebpf: &Ebpf) -> Self {
        let mut bytes = Self::default();
        for (name, map) in ebpf.maps() {
            let Some(of_map) = bytes_of(map) else { continue };
            tracing::debug!(map = name, bytes = of_map, "made");
            bytes.all += of_map;
            if GATE.contains(&name) {
                bytes.gate += of_map;
            }
        }
        bytes
    }
}

fn bytes_of(map: &Map) -> Option<u64> {
    let (Map::Array(data) | Map::HashMap(data) | Map::RingBuf(data) | Map::InodeStorage(data)) = map else {
        return None;
    };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd())).ok()?;
    memlock(&info)
}

fn memlock(info: &str) -> Option<u64> {
    info.lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_books_are_read() {
        let info = "pos:\t0\nflags:\t02000002\nmap_type:\t2\nkey_size:\t4\nmemlock:\t4100\nmap_id:\t7\n";
        assert_eq!(memlock(info), Some(4100));
        assert_eq!(memlock("pos:\t0\n"), None);
        assert_eq!(memlock("memlock:\t-1\n"), None);
    }
}
