//! Which block devices are in use: what is mounted, and what lies below.

use nix::sys::stat::{major, minor};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Mount namespaces that are looked into, at most.
const NAMESPACES: usize = 256;
/// Mounts that are looked at, at most, in each.
const MOUNTS: usize = 10_000;
/// Devices below one another.
const DEPTH: usize = 16;

/// A mount, as `/proc/PID/mountinfo` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Device of the file system, the kernel's encoding.
    pub device: u32,
    /// Where.
    pub point: PathBuf,
    /// From what.
    pub source: PathBuf,
    /// Something is mounted there as soon as somebody looks.
    pub is_automount: bool,
}

/// The kernel's encoding of a device: major << 20 | minor.
pub(super) const fn kernel_device(major: u64, minor: u64) -> u32 {
    let number = (major & 0xfff) << 20 | minor & 0xf_ffff;
    // 12 and 20 bits.
    #[expect(clippy::cast_possible_truncation, reason = "masked to 32 bits")]
    {
        number as u32
    }
}

/// The lines of a `mountinfo` that can be read.
pub fn mounts(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n')
        .take(MOUNTS)
        .filter_map(mount)
        .collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let mut words = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(words.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let device = kernel_device(major.parse().ok()?, minor.parse().ok()?);
    let point = unescaped(words.nth(1)?);
    words.find(|word| *word == b"-")?;
    let is_automount = words.next()? == b"autofs";
    let source = unescaped(words.next()?);
    Some(Mount {
        device,
        point,
        source,
        is_automount,
    })
}

/// A word of a mount table: blank, tab, newline and backslash are written as `\040` and the like.
pub(super) fn unescaped(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, behind)) = rest.split_first() {
        let octal = (*first == b'\\')
            .then(|| behind.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = octal {
            bytes.push(byte);
            rest = behind.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// Block devices in use, the kernel's encoding: what file systems of any mount namespace are on, and what these are
/// a part of, or made of. Physical volumes of LVM are left out: its commands write to them while volumes on them are in
/// use. So is swap: `swapoff` opens it for writing.
///
/// `everywhere`: looks into the mount namespaces of all processes, else into this one's only.
pub fn in_use(root: &Path, everywhere: bool) -> BTreeSet<u32> {
    let mut used = BTreeSet::new();
    for text in mountinfos(&root.join("proc"), everywhere) {
        for mount in mounts(&text) {
            if mount.device >> 20 != 0 {
                used.insert(mount.device);
            } else if mount.source.starts_with("/dev") {
                // Btrfs: the file system has a number of its own.
                used.extend(block_device(&mount.source));
            }
        }
    }
    let mut all = BTreeSet::new();
    for device in used {
        add(root, device, 0, &mut all);
    }
    all
}

/// One `mountinfo` for each mount namespace.
fn mountinfos(proc: &Path, everywhere: bool) -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = fs::read(proc.join("self/mountinfo")).into_iter().collect();
    if !everywhere {
        return texts;
    }
    let namespace = |process: &Path| fs::metadata(process.join("ns/mnt")).map(|meta| meta.ino());
    let mut seen: BTreeSet<u64> = namespace(&proc.join("self")).into_iter().collect();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let process = entry.path();
        let is_process = entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit);
        if seen.len() < NAMESPACES
            && is_process
            && let Ok(number) = namespace(&process)
            && seen.insert(number)
        {
            texts.extend(fs::read(process.join("mountinfo")));
        }
    }
    texts
}

fn block_device(path: &Path) -> Option<u32> {
    let meta = fs::metadata(path).ok()?;
    let is_block = meta.file_type().is_block_device();
    is_block.then(|| kernel_device(major(meta.rdev()), minor(meta.rdev())))
}

/// Adds a device and what it is a part of, or made of.
fn add(root: &Path, device: u32, depth: usize, all: &mut BTreeSet<u32>) {
    if depth > DEPTH || !all.insert(device) {
        return;
    }
    let name = format!("{}:{}", device >> 20, device & 0xf_ffff);
    let Ok(place) = fs::canonicalize(root.join("sys/dev/block").join(name)) else {
        return;
    };
    if place.join("partition").exists()
        && let Some(whole) = place.parent().and_then(number)
    {
        add(root, whole, depth + 1, all);
    }
    let is_volume = fs::read(place.join("dm/uuid")).is_ok_and(|uuid| uuid.starts_with(b"LVM-"));
    if !is_volume {
        for below in fs::read_dir(place.join("slaves")).into_iter().flatten().flatten() {
            if let Some(below) = number(&below.path()) {
                add(root, below, depth + 1, all);
            }
        }
    }
}

/// The number in a device's folder below `/sys`.
fn number(place: &Path) -> Option<u32> {
    let text = fs::read_to_string(place.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(kernel_device(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn mountinfo_is_read_as_the_kernel_writes_it() {
        let text = b"22 1 8:2 / / rw,relatime shared:1 - xfs /dev/sda2 rw\n\
            23 22 0:5 / /mnt/with\\040blank rw - tmpfs none rw\n\
            nonsense\n\
            24 22 x:1 / /x rw - ext4 /dev/x rw\n\
            25 22 8:3 / /no-end rw\n\
            26 22 0:9 / /auto rw - autofs systemd-1 rw\n";
        let found = mounts(text);
        let points: Vec<_> = found
            .iter()
            .map(|mount| mount.point.display().to_string())
            .collect();
        assert_eq!(points, ["/", "/mnt/with blank", "/auto"]);
        assert!(found[2].is_automount && !found[0].is_automount);
        assert_eq!(found[0].device, 8 << 20 | 2);
        assert_eq!(found[0].source, Path::new("/dev/sda2"));
    }

    #[test]
    fn what_lies_below_is_in_use_except_volumes_of_lvm() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let device = |place: &str, number: &str, files: &[(&str, &str)]| {
            let place = root.join("sys/devices").join(place);
            fs::create_dir_all(place.join("slaves")).unwrap();
            fs::write(place.join("dev"), format!("{number}\n")).unwrap();
            for (name, text) in files {
                let file = place.join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            fs::create_dir_all(root.join("sys/dev/block")).unwrap();
            symlink(&place, root.join("sys/dev/block").join(number)).unwrap();
            place
        };
        device("sda", "8:0", &[]);
        let part = device("sda/sda1", "8:1", &[("partition", "1\n")]);
        device("sda/sda2", "8:2", &[("partition", "2\n")]);
        let crypt = device("dm-0", "253:0", &[("dm/uuid", "CRYPT-LUKS2-x")]);
        symlink(&part, crypt.join("slaves/sda1")).unwrap();
        device("sdb", "8:16", &[]);
        let physical = device("sdb/sdb1", "8:17", &[("partition", "1\n")]);
        let volume = device("dm-1", "253:1", &[("dm/uuid", "LVM-abc")]);
        symlink(&physical, volume.join("slaves/sdb1")).unwrap();
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::write(
            root.join("proc/self/mountinfo"),
            "22 1 253:0 / / rw - xfs /dev/dm-0 rw\n23 1 253:1 / /srv rw - xfs /dev/dm-1 rw\n24 1 0:4 / /proc rw - proc proc rw\n",
        )
        .unwrap();
        let found: Vec<String> = in_use(root, false)
            .into_iter()
            .map(|device| format!("{}:{}", device >> 20, device & 0xf_ffff))
            .collect();
        // The disk whose other partition is free is in use as a whole; the free partition is not.
        assert_eq!(found, ["8:0", "8:1", "253:0", "253:1"]);
    }
}
