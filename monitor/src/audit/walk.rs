//! The one walk over local file systems that answers all sweep questions of a run.
//!
//! Each device is walked once: a bind mount shows nothing new. Network file systems, autofs, pseudo file systems and
//! container storage are left out. Links are never followed, and every directory is opened relative to its parent, so
//! that a rename meanwhile cannot lead out of the root.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use hardpan_core::audit::parse::mounts::mountinfo;
use hardpan_core::audit::{FileKind, SweepHit, SweepQuery, SweepResult};
use hardpan_rpm::root::{Last, Root};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::names::{self, Database};
use super::{Progress, files};

/// Hits kept per question; more are counted.
const HITS_MAX: usize = 2000;
/// Deeper directories are reported, not entered: each level holds an open descriptor.
const DEPTH_MAX: usize = 256;
/// Places that could not be looked at, kept per run.
const UNREAD_MAX: usize = 20;

/// File systems on local disks or in memory.
const LOCAL: [&str; 14] = [
    "xfs", "ext2", "ext3", "ext4", "btrfs", "tmpfs", "devtmpfs", "vfat", "exfat", "f2fs", "zfs", "jfs",
    "bcachefs", "ntfs3",
];

/// Storage of container engines: another system's files.
const CONTAINERS: [&str; 6] = [
    "/var/lib/containers/storage",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/kubelet/pods",
    "/var/lib/machines",
    "/sysroot/ostree/repo",
];

struct Question {
    query: SweepQuery,
    result: SweepResult,
    /// Hits whose owner or group has to be looked up: number to (count, examples).
    by_number: BTreeMap<u32, (u64, Vec<SweepHit>)>,
}

struct Walk<'a> {
    questions: Vec<Question>,
    seen: u64,
    unread: Vec<String>,
    /// Mount points below the root, with their type.
    mounts: BTreeMap<String, String>,
    devices: BTreeSet<u64>,
    progress: &'a mut dyn FnMut(Progress),
}

/// Answers questions about a root.
pub(super) fn sweep(
    root: &Root,
    path: &Path,
    live: bool,
    queries: Vec<SweepQuery>,
    progress: &mut dyn FnMut(Progress),
) -> Vec<(SweepQuery, Result<SweepResult, String>)> {
    let start = match open_root(root) {
        Ok(start) => start,
        Err(error) => {
            return queries
                .into_iter()
                .map(|query| (query, Err(format!("/: {error}"))))
                .collect();
        }
    };
    let questions = queries
        .into_iter()
        .map(|query| Question {
            query,
            result: SweepResult::default(),
            by_number: BTreeMap::new(),
        })
        .collect();
    let mut walk = Walk {
        questions,
        seen: 0,
        unread: Vec::new(),
        mounts: mounts(path),
        devices: BTreeSet::new(),
        progress,
    };
    if let Ok(stat) = rustix::fs::fstat(&start) {
        walk.devices.insert(stat.st_dev);
        walk.dir(start, &mut String::new(), stat.st_dev, 0);
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

/// Mount points below the root, as paths inside it.
fn mounts(root: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let prefix = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    mountinfo(&text)
        .into_iter()
        .filter_map(|mount| {
            let inside = Path::new(&mount.target).strip_prefix(&prefix).ok()?;
            let inside = inside.to_string_lossy();
            (!inside.is_empty()).then(|| (format!("/{inside}"), mount.fs))
        })
        .collect()
}

impl Walk<'_> {
    /// Looks at every entry of an open directory. `path` is its path inside the root, without a slash at its end.
    fn dir(&mut self, dir: OwnedFd, path: &mut String, device: u64, depth: usize) {
        // Takes the descriptor itself: `read_from` would open each directory a second time.
        let mut entries = match rustix::fs::Dir::new(dir) {
            Ok(entries) => entries,
            Err(error) => return self.blind(path, error),
        };
        while let Some(entry) = entries.read() {
            let dir = match entries.fd() {
                Ok(dir) => dir,
                Err(error) => return self.blind(path, error),
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.blind(path, error),
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let length = path.len();
            path.push('/');
            path.push_str(&name.to_string_lossy());
            self.entry(dir, name, path, device, depth);
            path.truncate(length);
        }
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &mut String, device: u64, depth: usize) {
        let raw = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(raw) => raw,
            // Gone meanwhile.
            Err(rustix::io::Errno::NOENT) => return,
            Err(error) => return self.blind(path, error),
        };
        self.seen += 1;
        if self.seen.is_multiple_of(8192) {
            (self.progress)(Progress::Walk { seen: self.seen });
        }
        let stat = files::convert(&raw);
        let base = path.rsplit('/').next().unwrap_or_default();
        for question in &mut self.questions {
            if question.query.matches(path, base, stat) {
                question.hit(dir, name, path, stat);
            }
        }
        if stat.kind != FileKind::Dir
            || CONTAINERS.contains(&path.as_str())
            || path.ends_with("/.local/share/containers")
        {
            return;
        }
        let mounted = self.mounts.get(path.as_str());
        if raw.st_dev != device || mounted.is_some() {
            let local = mounted.is_some_and(|fs| LOCAL.contains(&fs.as_str()));
            // Without a mount entry it is a subvolume of the same disk.
            let subvolume = mounted.is_none();
            if !(local || subvolume) || !self.devices.insert(raw.st_dev) {
                return;
            }
        }
        if depth >= DEPTH_MAX {
            return self.blind(path, "nested too deeply");
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => self.dir(fd, path, raw.st_dev, depth + 1),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {}
            Err(error) => self.blind(path, error),
        }
    }

    fn blind(&mut self, path: &str, why: impl std::fmt::Display) {
        if self.unread.len() < UNREAD_MAX {
            self.unread.push(format!("{path}: {why}"));
        }
    }

    /// Looks up owners and groups, and hands the answers out.
    fn finish(self, root: &Root, live: bool) -> Vec<(SweepQuery, Result<SweepResult, String>)> {
        let (seen, unread) = (self.seen, self.unread);
        self.questions
            .into_iter()
            .map(|mut question| {
                question.result.seen = seen;
                question.result.unread.clone_from(&unread);
                let database = match (question.query.unowned, question.query.ungrouped) {
                    (true, _) => Database::Users,
                    (_, true) => Database::Groups,
                    _ => return (question.query, Ok(question.result)),
                };
                let numbers: BTreeSet<u32> = question.by_number.keys().copied().collect();
                let unknown = match names::unknown(root, live, database, &numbers) {
                    Ok(unknown) => unknown,
                    Err(why) => return (question.query, Err(why)),
                };
                for (number, (count, hits)) in question.by_number {
                    if unknown.contains(&number) {
                        question.result.total += count;
                        question.result.hits.extend(hits);
                    }
                }
                (question.query, Ok(question.result))
            })
            .collect()
    }
}

impl Question {
    fn hit(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &str, stat: hardpan_core::audit::Stat) {
        let hit = || SweepHit {
            path: path.to_owned(),
            stat,
        };
        if self.query.unowned || self.query.ungrouped {
            let number = if self.query.unowned { stat.uid } else { stat.gid };
            let (count, hits) = self.by_number.entry(number).or_default();
            *count += 1;
            if hits.len() < 5 {
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
