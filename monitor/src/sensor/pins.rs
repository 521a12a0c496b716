//! Links and maps that outlive the daemon: pinned below the BPF file system, in a folder per generation.
//!
//! A link that is pinned keeps its program attached when the process that made it ends. What is pinned by an earlier
//! generation goes on refusing beside the new one until the new one has taken over; both must allow.
//!
//! Programs are pinned whatever the policy says. The kernel calls all programs at a hook from one piece of code, and keeps
//! that, but not each program in it, until the last task has left it (`bpf_tramp_image_put` in kernel/bpf/trampoline.c of
//! 6.12; read, never seen to happen): a task that sleeps in the first one, because it reads a file to take its digest,
//! goes on to the second also if that was detached and freed meanwhile. Whoever detaches holds the programs for a while;
//! when hardpand is killed, the pins do.

use super::task::only_notes;
use crate::sys::bpf;
use aya::maps::{Array, Map, MapData, RingBuf};
use hardpan_abi::{COUNTER_SLOTS, Counter};
use hardpan_core::record::Ledger;
use nix::sys::statfs::statfs;
use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Where generations are pinned.
pub const PIN_ROOT: &str = "/sys/fs/bpf/hardpan";
/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPF_FS: i64 = 0xcafe_4a11;
/// Links first: what is attached is what matters.
const LINKS: &str = "links";
const MAPS: &str = "maps";
const PROGRAMS: &str = "programs";
/// A task sleeps in a program for as long as it takes to read a file of 1 GiB at most, from a slow disk.
const GONE_FOR: Duration = Duration::from_secs(120);
/// Until the kernel has freed the inodes of pins that were removed (an RCU grace period).
const NAMES_GONE: Duration = Duration::from_millis(100);
/// A program that does not sleep is through by then.
const LAST_RECORD: Duration = Duration::from_millis(20);
/// Maps that the next generation reads.
const LEFT: [&str; 3] = ["EVENTS", "FINDINGS", "COUNTERS"];
/// Most records taken from what an earlier generation left in a ring: more than it holds.
const MAX_LEFT: usize = 1 << 18;

/// A map that takes the place of one of the object's while that is loaded: aya opens what is pinned instead of making a map.
#[derive(Debug)]
pub(super) struct InPlace {
    pub(super) path: PathBuf,
}

impl InPlace {
    /// Task storage for shadows of this size; `None` where the kernel has none, or there is no BPF file system.
    pub(super) fn task_storage(root: &Path, value_bytes: u32) -> Option<Self> {
        let make = || -> Result<PathBuf, PinError> {
            make_root(root)?;
            let path = root.join(format!("tasks-{}", std::process::id()));
            let told = failed(&path);
            let map = bpf::task_storage(value_bytes).map_err(failed(&path))?;
            let text = CString::new(path.as_os_str().as_bytes())
                .map_err(|error| failed(&path)(io::Error::other(error)))?;
            // Left by a process of this number that was killed at just this moment.
            let _not_there = fs::remove_file(&path);
            bpf::pin(map.as_fd(), &text).map_err(told)?;
            Ok(path)
        };
        match make() {
            Ok(path) => Some(Self { path }),
            Err(error) => {
                tracing::debug!(error = %crate::chain::chain(&error), "no task storage: a hash holds the shadows of tasks");
                None
            }
        }
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(pin = %self.path.display(), %error, "cannot be removed");
        }
    }
}

/// Why something could not be pinned.
#[derive(Debug, Error)]
pub enum PinError {
    /// There is no BPF file system.
    #[error("{} is not on a BPF file system", path.display())]
    NoBpfFs {
        /// Where pins go.
        path: PathBuf,
    },
    /// A folder or pin could not be made.
    #[error("pinning {}", path.display())]
    Pin {
        /// The pin.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Another generation has the same number.
    #[error("{} is there already", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
}

impl PinError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoBpfFs { .. } => "mount -t bpf bpf /sys/fs/bpf (systemd does)",
            Self::Pin { .. } | Self::Taken { .. } => {
                "look into /sys/fs/bpf/hardpan; a pin that nobody needs can be removed"
            }
        }
    }
}

/// Links and maps of the running generation.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) links: Vec<(&'static str, OwnedFd)>,
    pub(super) maps: Vec<(&'static str, OwnedFd)>,
    programs: Vec<(String, OwnedFd)>,
    /// Where the programs are pinned.
    kept: Option<PathBuf>,
    pinned: Option<PathBuf>,
}

impl Held {
    /// Keeps a descriptor of the maps that the next generation would read.
    pub(super) fn note_maps(&mut self, ebpf: &mut aya::Ebpf) {
        for name in LEFT {
            let Some(Map::RingBuf(data) | Map::Array(data)) = ebpf.map(name) else {
                continue;
            };
            if let Ok(fd) = data.fd().as_fd().try_clone_to_owned() {
                self.maps.push((name, fd));
            }
        }
    }

    /// Keeps a descriptor of the programs.
    pub(super) fn note_programs(&mut self, ebpf: &aya::Ebpf) {
        for (name, program) in ebpf.programs() {
            if let Ok(fd) = program.fd()
                && let Ok(fd) = fd.as_fd().try_clone_to_owned()
            {
                self.programs.push((name.to_owned(), fd));
            }
        }
    }

    /// Pins the programs, not their links: they stay in memory and end with their links.
    pub(super) fn keep_programs(&mut self, root: &Path, generation: u32) -> Result<(), PinError> {
        let dir = generation_dir(root, generation);
        make_root(root)?;
        make(&dir).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => PinError::Taken { path: dir.clone() },
            _ => failed(&dir)(source),
        })?;
        self.kept = Some(dir.clone());
        pin_all(&dir.join(PROGRAMS), &self.programs)
    }

    /// Pins everything, or nothing.
    pub(super) fn pin(&mut self, root: &Path, generation: u32) -> Result<(), PinError> {
        if self.is_pinned() {
            return Ok(());
        }
        let dir = generation_dir(root, generation);
        make_root(root)?;
        match make(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&dir)(error)),
            _ => {}
        }
        if dir.join(LINKS).exists() {
            return Err(PinError::Taken { path: dir });
        }
        let result =
            pin_all(&dir.join(MAPS), &self.maps).and_then(|()| pin_all(&dir.join(LINKS), &self.links));
        match &result {
            Ok(()) => self.pinned = Some(dir),
            Err(_) => remove_links(&dir),
        }
        result
    }

    /// Removes the pins; links last as long as this value does.
    pub(super) fn unpin(&mut self) {
        if let Some(dir) = self.pinned.take() {
            remove_links(&dir);
        }
    }

    /// An operator may have removed them.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinned.as_ref().is_some_and(|dir| dir.join(LINKS).is_dir())
    }

    /// Detaches, unless it is pinned; in the opposite order, for each takes the kernel a tenth of a second: what judges must
    /// not miss what others note.
    pub(super) fn release_links(&mut self) {
        while self.links.pop().is_some() {}
    }

    /// Lets go of the programs. Nothing may call them any more.
    pub(super) fn release_programs(&mut self) {
        self.programs.clear();
        if let Some(dir) = self.kept.take()
            && !self.is_pinned()
        {
            remove_programs(&dir);
        }
    }
}

fn generation_dir(root: &Path, generation: u32) -> PathBuf {
    root.join(format!("g{generation}"))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Pin { path, source }
}

fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}

fn make_root(root: &Path) -> Result<(), PinError> {
    let parent = root.parent().unwrap_or(root);
    let is_bpf = statfs(parent).is_ok_and(|fs| fs.filesystem_type().0 == BPF_FS);
    if !is_bpf {
        return Err(PinError::NoBpfFs {
            path: parent.to_owned(),
        });
    }
    match make(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(root)(error)),
        _ => Ok(()),
    }
}

fn pin_all(folder: &Path, objects: &[(impl AsRef<Path>, OwnedFd)]) -> Result<(), PinError> {
    make(folder).map_err(failed(folder))?;
    for (name, fd) in objects {
        let path = folder.join(name);
        let text = CString::new(path.as_os_str().as_bytes())
            .map_err(|error| failed(&path)(io::Error::other(error)))?;
        bpf::pin(fd.as_fd(), &text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Removes the pins of a generation's links and maps, links first, and of these what judges first. What cannot be removed is
/// told: it would go on refusing.
fn remove_links(dir: &Path) {
    let links = dir.join(LINKS);
    remove_pins(&links, |name| !only_notes(name));
    for folder in [links, dir.join(MAPS)] {
        remove_pins(&folder, |_| true);
        let _not_there = fs::remove_dir(folder);
    }
}

fn remove_programs(dir: &Path) {
    let programs = dir.join(PROGRAMS);
    remove_pins(&programs, |_| true);
    for folder in [&programs, dir] {
        let _not_empty = fs::remove_dir(folder);
    }
}

fn remove_pins(folder: &Path, is_meant: impl Fn(&str) -> bool) {
    for pin in fs::read_dir(folder).into_iter().flatten().flatten() {
        if pin.file_name().to_str().is_some_and(&is_meant)
            && let Err(error) = fs::remove_file(pin.path())
        {
            tracing::warn!(pin = %pin.path().display(), %error, "cannot be removed");
        }
    }
}

/// Programs of generations that are at no hook any more.
#[derive(Debug, Default)]
pub(super) struct Gone {
    dirs: Vec<(Instant, PathBuf)>,
}

impl Gone {
    /// Those that are there now, of other generations than `own`.
    pub(super) fn find(root: &Path, own: u32) -> Self {
        let mut gone = Self::default();
        for (generation, dir) in generations(root) {
            if generation != own && !dir.join(LINKS).is_dir() {
                gone.add(dir);
            }
        }
        gone
    }

    pub(super) fn add(&mut self, dir: PathBuf) {
        self.dirs.push((Instant::now(), dir));
    }

    /// Removes what has been gone for long enough.
    pub(super) fn forget(&mut self) {
        self.dirs.retain(|(since, dir)| {
            let is_over = since.elapsed() >= GONE_FOR;
            if is_over {
                remove_programs(dir);
            }
            !is_over
        });
    }
}

/// What a daemon left behind that ended without taking its gate down.
#[derive(Debug)]
pub struct Previous {
    dir: PathBuf,
    /// Its generation.
    pub generation: u32,
}

/// What there was to take over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Records that waited in its rings and are told now.
    pub records: u64,
    /// Events of which nothing will be told any more, at most: that found no room in its rings, and those that were on
    /// their way through the daemon when it was killed.
    pub lost: u64,
}

/// All generations whose links are pinned, oldest first.
pub fn previous(root: &Path) -> Vec<Previous> {
    generations(root)
        .into_iter()
        .filter(|(_, dir)| dir.join(LINKS).is_dir())
        .map(|(generation, dir)| Previous { dir, generation })
        .collect()
}

/// All generations of which something is there, oldest first.
fn generations(root: &Path) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let generation = entry.file_name().to_str()?.strip_prefix('g')?.parse().ok()?;
            Some((generation, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// The number of the next generation.
pub fn next_generation(root: &Path) -> u32 {
    generations(root)
        .last()
        .map_or(1, |(last, _)| last.wrapping_add(1).max(1))
}

impl Previous {
    /// Takes its programs from their hooks, unless a process holds them; what is in its rings is gone. The programs
    /// themselves stay until the next hardpand removes them.
    pub fn open(self) {
        remove_links(&self.dir);
    }

    /// Detaches its programs and takes the records that nobody took.
    pub(super) fn take_over(self) -> Left {
        let maps = self.dir.join(MAPS);
        let open = |name: &str| MapData::from_pin(maps.join(name)).ok();
        let rings: Vec<RingBuf<MapData>> = ["FINDINGS", "EVENTS"]
            .into_iter()
            .filter_map(|name| RingBuf::try_from(Map::RingBuf(open(name)?)).ok())
            .collect();
        let counters = open("COUNTERS").and_then(|data| Array::<_, u64>::try_from(Map::Array(data)).ok());
        let links = pinned_links(&self.dir.join(LINKS));
        remove_links(&self.dir);
        // A name lets go of its link some moments after it is gone, and the kernel then detaches when it comes to it. For
        // the last descriptor it does so before it is closed: from then on nothing more is written.
        std::thread::sleep(NAMES_GONE);
        drop(links);
        // Programs that run at this moment may still write their last record.
        std::thread::sleep(LAST_RECORD);
        let mut records = Vec::new();
        for mut ring in rings {
            let end = records.len().saturating_add(MAX_LEFT);
            while records.len() < end
                && let Some(record) = ring.next()
            {
                records.push(record.to_vec());
            }
        }
        let lost = counters.map_or(0, |counters| {
            let values: Vec<u64> = (0..COUNTER_SLOTS)
                .map(|slot| counters.get(&slot, 0).unwrap_or_default())
                .collect();
            lost(&values, records.len() as u64)
        });
        Left {
            records,
            lost,
            dir: self.dir,
        }
    }
}

/// What was taken from a generation.
pub(super) struct Left {
    /// Those of the ring for findings first.
    pub(super) records: Vec<Vec<u8>>,
    /// See [`TakenOver::lost`].
    pub(super) lost: u64,
    /// Where its programs stay for a while.
    pub(super) dir: PathBuf,
}

/// Descriptors of the links in a folder, as far as they can be had; those first that judge.
fn pinned_links(folder: &Path) -> Vec<OwnedFd> {
    let pins = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut links: Vec<(bool, OwnedFd)> = pins
        .filter_map(|pin| {
            let notes = pin.file_name().to_str().is_some_and(only_notes);
            let path = CString::new(pin.path().into_os_string().into_vec()).ok()?;
            Some((notes, bpf::get(&path).ok()?))
        })
        .collect();
    links.sort_by_key(|(notes, _)| *notes);
    links.into_iter().map(|(_, link)| link).collect()
}

/// How many events there will be no record of, by a generation's counters and the number of records in its rings.
fn lost(counters: &[u64], left: u64) -> u64 {
    let mut ledger = Ledger::default();
    ledger.set_kernel(counters);
    let user = |counter: Counter| counters.get(counter as usize).copied().unwrap_or_default();
    let (told, inherited) = (user(Counter::UserTold), user(Counter::UserInherited));
    if (told, inherited) == (0, 0) {
        // It was killed before it had written anything, or it is of a version that leaves no word.
        return ledger.lost_in_ring;
    }
    ledger
        .generated
        .saturating_add(inherited)
        .saturating_sub(left)
        .saturating_sub(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_daemon_had_in_hand_is_lost() {
        let mut counters = [0; COUNTER_SLOTS as usize];
        counters[Counter::ExecGenerated as usize] = 100;
        counters[Counter::ExecLost as usize] = 10;
        assert_eq!(lost(&counters, 30), 10, "nobody left word");
        counters[Counter::UserTold as usize] = 50;
        assert_eq!(lost(&counters, 30), 20, "ten more were on their way");
        counters[Counter::UserInherited as usize] = 5;
        assert_eq!(lost(&counters, 30), 25, "and what it had taken over itself");
        counters[Counter::UserTold as usize] = 75;
        assert_eq!(lost(&counters, 30), 0, "its stop record told of the rest");
    }

    #[test]
    fn generations_are_counted_on() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(next_generation(root.path()), 1);
        for name in ["g2/links", "g10/links", "g11/programs", "other", "gx"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let found: Vec<u32> = previous(root.path()).iter().map(|one| one.generation).collect();
        assert_eq!(found, [2, 10]);
        assert_eq!(next_generation(root.path()), 12);
        for one in previous(root.path()) {
            one.open();
        }
        assert!(previous(root.path()).is_empty());
    }

    /// Programs stay for a while after they are at no hook any more; those of the running generation stay.
    #[test]
    fn what_is_gone_is_forgotten_later() {
        let root = tempfile::tempdir().unwrap();
        for name in ["g1/programs", "g2/programs", "g2/links", "g3/programs"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let mut gone = Gone::find(root.path(), 3);
        gone.forget();
        assert!(root.path().join("g1").exists());
        for (since, _) in &mut gone.dirs {
            *since = since.checked_sub(GONE_FOR).unwrap();
        }
        gone.forget();
        let left: Vec<u32> = generations(root.path()).into_iter().map(|(one, _)| one).collect();
        assert_eq!(left, [2, 3]);
    }

    /// A folder on an ordinary file system takes no pins, and nothing is left behind.
    #[test]
    fn without_a_bpf_file_system_nothing_is_pinned() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("hardpan");
        let mut held = Held::default();
        let error = held.pin(&root, 1).unwrap_err();
        assert!(matches!(error, PinError::NoBpfFs { .. }), "{error}");
        assert!(!held.is_pinned() && !root.exists());
    }
}
