//! The one walk over local file systems that answers all sweep questions of a run.
//!
//! Each device is walked once: a bind mount shows nothing new. Network file systems, autofs, pseudo file systems and
//! container storage are left out, and their mount points are not even looked at: one whose server is gone would stop
//! the walk. Links are never followed, and every directory is opened relative to its parent, so that a rename meanwhile
//! cannot lead out of the root.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::ops::Bound;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use hardpan_core::audit::{FileKind, Stat, SweepHit, SweepQuery, SweepResult};
use hardpan_rpm::root::{Last, Root};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};

use super::names::{self, Database};
use super::reach::{is_local, mounts};
use super::{Progress, files};

/// Hits kept per question; more are counted.
const HITS_MAX: usize = 2000;
/// Examples kept per unknown owner.
const EXAMPLES_MAX: usize = 5;
/// Deeper directories are reported, not entered: each level holds an open descriptor and a buffer.
const DEPTH_MAX: usize = 256;
/// Bytes of directory entries that are read at a time.
const BUFFER_BYTES: usize = 32 << 10;
/// Places that could not be looked at, kept per run.
const UNREAD_MAX: usize = 20;

/// Storage of container engines: another system's files.
const CONTAINERS: [&str; 6] = [
    "/var/lib/containers/storage",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/kubelet/pods",
    "/var/lib/machines",
    "/sysroot/ostree/repo",
];
/// The same in home directories.
const CONTAINERS_OF_USERS: &str = "/.local/share/containers";

type Answers = Vec<(SweepQuery, Result<SweepResult, String>)>;

struct Walk<'a> {
    questions: Vec<Question>,
    /// Kinds of entry that no question asks for are not looked at.
    wanted: BTreeSet<FileKind>,
    seen: u64,
    unread: Vec<String>,
    /// Mount points below the root, with their type.
    mounts: BTreeMap<String, String>,
    /// Whether the directory at hand has mount points in it.
    holds_mounts: bool,
    devices: BTreeSet<u64>,
    /// The entry at hand, as a path inside the root; of a directory without a slash at its end.
    path: Vec<u8>,
    /// Buffers that no level uses now.
    buffers: Vec<Vec<u8>>,
    progress: &'a mut dyn FnMut(Progress),
}

/// Answers questions about a root.
pub(super) fn sweep(
    root: &Root,
    path: &Path,
    live: bool,
    queries: Vec<SweepQuery>,
    progress: &mut dyn FnMut(Progress),
) -> Answers {
    let start = open_root(root)
        .map_err(|error| format!("/: {error}"))
        .and_then(|start| Ok((mounts(path)?, start)));
    let (mounts, start) = match start {
        Ok(start) => start,
        Err(why) => {
            return queries
                .into_iter()
                .map(|query| (query, Err(why.clone())))
                .collect();
        }
    };
    let mut walk = Walk {
        wanted: queries.iter().flat_map(SweepQuery::kinds).collect(),
        questions: queries
            .into_iter()
            .map(|query| Question::new(query, root))
            .collect(),
        seen: 0,
        unread: Vec::new(),
        mounts,
        holds_mounts: true,
        devices: BTreeSet::new(),
        path: Vec::new(),
        buffers: Vec::new(),
        progress,
    };
    match rustix::fs::fstat(&start) {
        Ok(raw) => {
            walk.devices.insert(raw.st_dev);
            walk.dir(&start, raw.st_dev, 0);
        }
        Err(error) => walk.blind(error),
    }
    walk.finish(root, live)
}

fn open_root(root: &Root) -> std::io::Result<OwnedFd> {
    let fd = root.resolve(Path::new("/"), Last::Follow)?;
    Ok(rustix::fs::openat(
        &fd,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Kind of an entry as its directory tells it; `None` where the file system does not say.
fn kind_of(file_type: FileType) -> Option<FileKind> {
    Some(match file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Link,
        FileType::BlockDevice | FileType::CharacterDevice => FileKind::Device,
        FileType::Fifo | FileType::Socket => FileKind::Other,
        FileType::Unknown => return None,
    })
}

impl Walk<'_> {
    /// Looks at every entry of an open directory, which is at `self.path`.
    fn dir(&mut self, dir: &OwnedFd, device: u64, depth: usize) {
        let holds_mounts = self.has_mounts_in();
        let mut buffer = self
            .buffers
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.blind(error);
                    break;
                }
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let length = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name.to_bytes());
            self.holds_mounts = holds_mounts;
            self.entry(dir.as_fd(), name, kind_of(entry.file_type()), device, depth);
            self.path.truncate(length);
        }
        self.buffers.push(buffer);
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, told: Option<FileKind>, device: u64, depth: usize) {
        self.seen += 1;
        if self.seen.is_multiple_of(8192) {
            (self.progress)(Progress::Walk { seen: self.seen });
        }
        if told.is_some_and(|kind| kind != FileKind::Dir && !self.wanted.contains(&kind)) {
            return;
        }
        // Any entry may be a mount point, a file as well; what lies under the mount tells the kind.
        if self.holds_mounts && self.mounted_here().is_some_and(|fs| !is_local(fs)) {
            return;
        }
        let raw = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(raw) => raw,
            // Gone meanwhile.
            Err(rustix::io::Errno::NOENT) => return,
            Err(error) => return self.blind(error),
        };
        let stat = files::convert(&raw);
        for question in &mut self.questions {
            question.ask(dir, name, &self.path, stat);
        }
        if stat.kind == FileKind::Dir && self.enters(raw.st_dev, device) {
            self.descend(dir, name, raw.st_dev, depth);
        }
    }

    /// Whether there are mount points in the directory at hand.
    fn has_mounts_in(&self) -> bool {
        let start = format!("{}/", String::from_utf8_lossy(&self.path));
        let mut from_there = self
            .mounts
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        from_there.next().is_some_and(|(at, _)| at.starts_with(&start))
    }

    /// Type of the file system that is mounted at the entry at hand, if one is.
    fn mounted_here(&self) -> Option<&str> {
        let path = String::from_utf8_lossy(&self.path);
        self.mounts.get(path.as_ref()).map(String::as_str)
    }

    /// Whether the directory at hand belongs to the walk; its device counts as walked from now on.
    fn enters(&mut self, own: u64, parent: u64) -> bool {
        let path = String::from_utf8_lossy(&self.path);
        if CONTAINERS.contains(&path.as_ref()) || path.ends_with(CONTAINERS_OF_USERS) {
            return false;
        }
        let mounted = self.mounts.get(path.as_ref());
        if own == parent && mounted.is_none() {
            return true;
        }
        // Another device without a mount entry is a subvolume of the same disk.
        mounted.is_none_or(|fs| is_local(fs)) && self.devices.insert(own)
    }

    fn descend(&mut self, dir: BorrowedFd<'_>, name: &CStr, device: u64, depth: usize) {
        if depth >= DEPTH_MAX {
            return self.blind("nested too deeply");
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => self.dir(&fd, device, depth + 1),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {}
            Err(error) => self.blind(error),
        }
    }

    fn blind(&mut self, why: impl std::fmt::Display) {
        if self.unread.len() < UNREAD_MAX {
            let path = String::from_utf8_lossy(&self.path);
            self.unread.push(format!("{path}: {why}"));
        }
    }

    /// Looks up owners and groups, and hands the answers out.
    fn finish(self, root: &Root, live: bool) -> Answers {
        let (seen, unread) = (self.seen, self.unread);
        self.questions
            .into_iter()
            .map(|mut question| {
                question.result.seen = seen;
                question.result.unread.clone_from(&unread);
                let Question {
                    query,
                    result,
                    owners,
                } = question;
                let answer = match owners {
                    Some(owners) => owners.and_then(|owners| owners.answer(result, root, live)),
                    None => Ok(result),
                };
                (query, answer)
            })
            .collect()
    }
}

struct Question {
    query: SweepQuery,
    result: SweepResult,
    /// For questions after files of nobody; or why they cannot be answered.
    owners: Option<Result<Owners, String>>,
}

impl Question {
    fn new(query: SweepQuery, root: &Root) -> Self {
        let database = match (query.unowned, query.ungrouped) {
            (true, _) => Some(Database::Users),
            (_, true) => Some(Database::Groups),
            _ => None,
        };
        Self {
            owners: database.map(|database| Owners::new(database, root)),
            query,
            result: SweepResult::default(),
        }
    }

    /// Looks at one entry. What its metadata can answer comes first: few entries go further.
    fn ask(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8], stat: Stat) {
        if !self.query.concerns(stat) || !self.query.named(name.to_bytes()) {
            return;
        }
        let number = match &mut self.owners {
            Some(Ok(owners)) => match owners.unknown(stat) {
                Some(number) => Some(number),
                None => return,
            },
            Some(Err(_)) => return,
            None => None,
        };
        let path = String::from_utf8_lossy(path);
        if !self.query.covers(&path) {
            return;
        }
        let hit = || SweepHit {
            path: path.clone().into_owned(),
            stat,
        };
        if let (Some(Ok(owners)), Some(number)) = (&mut self.owners, number) {
            let (count, hits) = owners.by_number.entry(number).or_default();
            *count += 1;
            if hits.len() < EXAMPLES_MAX {
                hits.push(hit());
            }
            return;
        }
        if !self.query.label_types.is_empty() && !self.labelled_so(dir, name) {
            return;
        }
        self.result.total += 1;
        if self.result.hits.len() < HITS_MAX {
            self.result.hits.push(hit());
        }
    }

    /// Whether the SELinux type of an entry is among those asked for.
    fn labelled_so(&self, dir: BorrowedFd<'_>, name: &CStr) -> bool {
        use std::os::fd::AsRawFd as _;
        let path = format!("/proc/self/fd/{}/{}", dir.as_raw_fd(), name.to_string_lossy());
        let mut buffer = [0_u8; 256];
        let Ok(length) = rustix::fs::lgetxattr(path, "security.selinux", &mut buffer) else {
            return false;
        };
        let label = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        let kind = label.split(':').nth(2).unwrap_or_default();
        self.query.label_types.iter().any(|wanted| wanted == kind)
    }
}

/// Files whose owner, or group, the local files do not know.
struct Owners {
    database: Database,
    /// Numbers in local files.
    known: BTreeSet<u32>,
    /// The one of them seen last: most files in a row belong to one owner.
    last: Option<u32>,
    /// Other numbers, with count and examples.
    by_number: BTreeMap<u32, (u64, Vec<SweepHit>)>,
}

impl Owners {
    fn new(database: Database, root: &Root) -> Result<Self, String> {
        Ok(Self {
            database,
            known: names::local(root, database)?,
            last: None,
            by_number: BTreeMap::new(),
        })
    }

    /// The number that has to be looked up, if it does.
    fn unknown(&mut self, stat: Stat) -> Option<u32> {
        let number = match self.database {
            Database::Users => stat.uid,
            Database::Groups => stat.gid,
        };
        if self.last == Some(number) {
            return None;
        }
        if self.known.contains(&number) {
            self.last = Some(number);
            return None;
        }
        Some(number)
    }

    /// Hits whose number nobody knows.
    fn answer(self, mut result: SweepResult, root: &Root, live: bool) -> Result<SweepResult, String> {
        let numbers = self.by_number.keys().copied().collect();
        let unknown = names::unknown(root, live, self.database, numbers)?;
        for (number, (count, hits)) in self.by_number {
            if unknown.contains(&number) {
                result.total += count;
                result.hits.extend(hits);
            }
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    fn ask(base: &Path, query: SweepQuery) -> Result<(Vec<String>, u64), String> {
        let root = Root::open(base).unwrap();
        let mut results = sweep(&root, base, false, vec![query], &mut |_| {});
        let (_, result) = results.pop().unwrap();
        result.map(|result| {
            (
                result.hits.into_iter().map(|hit| hit.path).collect(),
                result.total,
            )
        })
    }

    #[test]
    fn one_walk_answers() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        fs::create_dir_all(base.join("a/b")).unwrap();
        fs::create_dir_all(base.join("var/lib/docker/x")).unwrap();
        fs::write(base.join("a/open"), "").unwrap();
        fs::write(base.join("var/lib/docker/x/open"), "").unwrap();
        for path in ["a/open", "var/lib/docker/x/open"] {
            fs::set_permissions(base.join(path), fs::Permissions::from_mode(0o666)).unwrap();
        }
        fs::set_permissions(base.join("a/b"), fs::Permissions::from_mode(0o777)).unwrap();
        symlink("/", base.join("a/loop")).unwrap();
        let writable = SweepQuery {
            kinds: vec![FileKind::File],
            any_mode: 2,
            ..SweepQuery::default()
        };
        assert_eq!(ask(base, writable).unwrap(), (vec!["/a/open".to_owned()], 1));
        let sticky = SweepQuery {
            kinds: vec![FileKind::Dir],
            any_mode: 2,
            no_mode: 0o1000,
            ..SweepQuery::default()
        };
        assert_eq!(ask(base, sticky).unwrap().0, ["/a/b"]);
        let named = SweepQuery {
            names: vec!["open".into()],
            under: vec!["/a".into()],
            ..SweepQuery::default()
        };
        assert_eq!(ask(base, named).unwrap().1, 1);
    }

    #[test]
    fn files_of_nobody_are_found_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        fs::create_dir(base.join("etc")).unwrap();
        fs::write(base.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        fs::write(base.join("etc/group"), "root:x:0:\n").unwrap();
        fs::write(base.join("orphan"), "").unwrap();
        if chown(base.join("orphan"), Some(4242), Some(0)).is_err() {
            println!("skipped: changing owners needs root");
            return;
        }
        let unowned = SweepQuery {
            unowned: true,
            ..SweepQuery::default()
        };
        assert_eq!(
            ask(base, unowned.clone()).unwrap(),
            (vec!["/orphan".to_owned()], 1)
        );
        fs::write(base.join("etc/nsswitch.conf"), "passwd: sss files\n").unwrap();
        assert!(ask(base, unowned).is_err());
    }
}
