//! Keeps the kernel side's lists of protected files and of block devices in use up to date, in a thread of its own: it
//! only looks, at file systems that may be slow.

use super::policy::InForce;
use crate::chain::chain;
use crate::gate::{find_protected, in_use, mounts};
use crate::sensor::{GateError, Writes};
use hardpan_abi::{BLOCK_DEVICES_MAX, FileInfo, FileKey, PROTECTED_MAX};
use hardpan_core::event::RawText;
use hardpan_core::record::{Finding, FindingCode};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two looks whether the policy is another one.
const SLICE_MS: u16 = 500;
/// Looks at the files each so many slices: what takes a protected file's name is protected by the kernel side at once.
const FILES_EVERY: u32 = 10;
/// Looks into all mount namespaces each so many looks.
const EVERYWHERE_EVERY: u32 = 12;
/// Wait where mounts cannot be watched.
const BLIND: Duration = Duration::from_millis(500);

type Paths = BTreeMap<FileKey, PathBuf>;

/// What the loop and the thread tell each other.
#[derive(Debug, Default)]
pub(super) struct Watched {
    wanted: Mutex<Option<Arc<InForce>>>,
    /// Paths of protected files, those of now and those of the look before.
    paths: Mutex<[Paths; 2]>,
}

impl Watched {
    /// Goes by this policy from now on.
    pub(super) fn want(&self, policy: Option<&Arc<InForce>>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = policy.cloned();
    }

    fn wanted(&self) -> Option<Arc<InForce>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The path of a protected file.
    pub(super) fn path(&self, file: &FileInfo) -> Option<RawText> {
        let key = FileKey {
            ino: file.ino,
            dev: file.dev,
            reserved: 0,
        };
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let path = paths.iter().find_map(|paths| paths.get(&key))?;
        Some(RawText::new(path.as_os_str().as_bytes()))
    }

    fn publish(&self, new: Paths) {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let [now, before] = &mut *paths;
        if *now != new {
            *before = std::mem::replace(now, new);
        }
    }
}

/// Where a block device usually is, where the kernel did not tell.
pub(super) fn device_path(device: u32) -> Option<RawText> {
    let number = format!("/sys/dev/block/{}:{}", device >> 20, device & 0xf_ffff);
    let place = fs::canonicalize(number).ok()?;
    let path = Path::new("/dev").join(place.file_name()?);
    Some(RawText::new(path.as_os_str().as_bytes()))
}

/// Starts the thread; it ends when nobody listens to its findings.
pub(super) fn start(
    writes: Writes,
    watched: Arc<Watched>,
    findings: mpsc::Sender<Vec<Finding>>,
) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("writes".to_owned())
        .spawn(move || keep(writes, &watched, &findings))
        .map(drop)
}

fn keep(mut writes: Writes, watched: &Watched, findings: &mpsc::Sender<Vec<Finding>>) {
    let root = Path::new("/");
    let table = File::open("/proc/self/mountinfo").ok();
    let mut told = String::new();
    let mut policy = None;
    let mut elsewhere = BTreeSet::new();
    for look in 0u32.. {
        policy = watched.wanted().or(policy);
        let patterns = policy.as_ref().map_or(&[][..], |policy| &policy.gate.protect);
        if look % EVERYWHERE_EVERY == 0 {
            elsewhere = &in_use(root, true) - &in_use(root, false);
        }
        let news = look_once(root, patterns, &elsewhere, &mut writes, watched);
        let message = news.as_ref().map_or("", |finding| finding.message.as_str());
        if message != told {
            message.clone_into(&mut told);
            if let Some(finding) = news
                && findings.blocking_send(vec![finding]).is_err()
            {
                return;
            }
        }
        for _ in 0..FILES_EVERY {
            if findings.is_closed() {
                return;
            }
            let new = watched.wanted();
            let is_other = match (&new, &policy) {
                (Some(new), Some(old)) => !Arc::ptr_eq(new, old),
                (new, _) => new.is_some(),
            };
            if mounts_changed(table.as_ref()) || is_other {
                break;
            }
        }
    }
}

/// Waits a slice; true if something was mounted or unmounted meanwhile.
fn mounts_changed(table: Option<&File>) -> bool {
    // Without a table this is a sleep.
    let mut fds: Vec<PollFd<'_>> = table
        .iter()
        .map(|table| PollFd::new(table.as_fd(), PollFlags::POLLPRI))
        .collect();
    let changed = PollFlags::POLLPRI | PollFlags::POLLERR;
    match poll(&mut fds, PollTimeout::from(SLICE_MS)) {
        Ok(0) => false,
        Ok(_) => fds
            .iter()
            .filter_map(PollFd::revents)
            .any(|events| events.intersects(changed)),
        Err(_) => {
            std::thread::sleep(BLIND);
            false
        }
    }
}

/// What is wrong, if anything is. `elsewhere`: devices in use in other mount namespaces.
fn look_once(
    root: &Path,
    patterns: &[String],
    elsewhere: &BTreeSet<u32>,
    writes: &mut Writes,
    watched: &Watched,
) -> Option<Finding> {
    let failed = |error: &GateError| {
        Finding::new(
            FindingCode::SensorMissing,
            format!("writes are not watched as the policy says: {}", chain(error)),
        )
    };
    let before = match writes.protected() {
        Ok(before) => before,
        Err(error) => return Some(failed(&error)),
    };
    let mountinfo = fs::read(root.join("proc/self/mountinfo")).unwrap_or_default();
    let found = find_protected(root, patterns, &mounts(&mountinfo));
    let devices = &in_use(root, false) | elsewhere;
    let keys = found.files.keys().copied().collect();
    let overflow = match writes.set(&before, &keys, &devices) {
        Ok(overflow) => overflow,
        Err(error) => return Some(failed(&error)),
    };
    watched.publish(found.files);
    let mut wrong = Vec::new();
    if overflow.files > 0 {
        wrong.push(format!(
            "{} of the files that protect.paths names are not protected: the kernel holds {PROTECTED_MAX}",
            overflow.files
        ));
    }
    if found.cut_short {
        wrong.push("protect.paths names folders with too many entries: not all were looked at".to_owned());
    }
    if overflow.devices > 0 {
        wrong.push(format!(
            "{} block devices in use are not watched: the kernel holds {BLOCK_DEVICES_MAX}",
            overflow.devices
        ));
    }
    (!wrong.is_empty()).then(|| {
        Finding::new(FindingCode::SensorMissing, wrong.join("; ")).hint("name fewer files in protect.paths")
    })
}
