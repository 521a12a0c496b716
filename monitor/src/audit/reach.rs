//! Which paths can be looked at without waiting for somebody else.
//!
//! A look at a file on a network or FUSE file system waits for its server, in the kernel and without an end: neither a
//! time limit nor a signal helps who waits there. A look below an autofs mount point makes the automounter mount. So
//! paths that lead to an autofs are not looked at, and a file system that others serve is asked first, by a child that
//! can be left behind. Where everything is local, none of this costs anything.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hardpan_core::audit::parse::mounts::mountinfo;

use super::tools;

/// Where the kernel lists this process's mounts.
const TABLE: &str = "/proc/self/mountinfo";
/// How long a file system's server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Most links that one path may go through, as in the kernel.
const MAX_LINKS: usize = 40;

/// File systems on local disks or in memory.
const LOCAL: [&str; 14] = [
    "xfs", "ext2", "ext3", "ext4", "btrfs", "tmpfs", "devtmpfs", "vfat", "exfat", "f2fs", "zfs", "jfs",
    "bcachefs", "ntfs3",
];
/// File systems that the kernel itself, or another file system of this host, answers for.
const OF_THE_KERNEL: [&str; 26] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "mqueue",
    "hugetlbfs",
    "securityfs",
    "selinuxfs",
    "debugfs",
    "tracefs",
    "bpf",
    "pstore",
    "efivarfs",
    "configfs",
    "binfmt_misc",
    "rpc_pipefs",
    "ramfs",
    "rootfs",
    "overlay",
    "squashfs",
    "erofs",
    "iso9660",
    "udf",
    "nsfs",
    "fusectl",
];

/// Whether a file system of this type is on a local disk or in memory, and of this host's own.
pub(super) fn is_local(fs: &str) -> bool {
    LOCAL.contains(&fs)
}

/// Mount points below a root, with their type, as paths inside it. The visible mount counts.
pub(super) fn mounts(root: &Path) -> Result<BTreeMap<String, String>, String> {
    // Names need not be UTF-8; who compares replaces what is not in the same way.
    let bytes = std::fs::read(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
    let prefix = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    Ok(mountinfo(&String::from_utf8_lossy(&bytes))
        .into_iter()
        .filter_map(|mount| {
            let inside = Path::new(&mount.target).strip_prefix(&prefix).ok()?;
            let inside = inside.to_string_lossy();
            (!inside.is_empty()).then(|| (format!("/{inside}"), mount.fs))
        })
        .collect())
}

/// What is known of the file systems that others serve.
#[derive(Debug)]
pub(super) struct Reach {
    root: PathBuf,
    /// Mount points of such file systems, with their type; of all others `None`.
    mounts: BTreeMap<String, Option<String>>,
    /// Those that were asked, with what is wrong.
    asked: BTreeMap<String, Option<String>>,
}

impl Reach {
    /// Reads which mounts there are below a root. Without a list everything counts as local.
    pub(super) fn new(root: &Path) -> Self {
        let all = mounts(root).unwrap_or_default();
        let served = |fs: &str| !is_local(fs) && !OF_THE_KERNEL.contains(&fs);
        let mounts: BTreeMap<_, _> = all
            .into_iter()
            // systemd has an autofs there on every host, for something no check asks for.
            .filter(|(at, _)| at != "/proc/sys/fs/binfmt_misc")
            .map(|(at, fs)| (at, served(&fs).then_some(fs)))
            .collect();
        Self {
            root: root.to_owned(),
            mounts: if mounts.values().any(Option::is_some) {
                mounts
            } else {
                BTreeMap::new()
            },
            asked: BTreeMap::new(),
        }
    }

    /// Why a path cannot be looked at; nothing if it can.
    pub(super) fn refuses(&mut self, path: &str) -> Option<String> {
        if self.mounts.is_empty() {
            return None;
        }
        let mut todo: VecDeque<OsString> = names(Path::new(path));
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            here.push(&name);
            if let Some(why) = self.mounted_at(&here) {
                return Some(why);
            }
            // Everything above was found to answer.
            let inside = here.strip_prefix("/").unwrap_or(&here);
            let Ok(target) = std::fs::read_link(self.root.join(inside)) else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            here.pop();
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            for name in names(&target).into_iter().rev() {
                todo.push_front(name);
            }
        }
        None
    }

    /// What is wrong with the file system that is mounted here, if one is.
    fn mounted_at(&mut self, path: &Path) -> Option<String> {
        let at = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
        let fs = self.mounts.get(&at)?.clone()?;
        if fs == "autofs" {
            return Some(format!(
                "{at} is autofs, not mounted: an audit makes nobody mount anything"
            ));
        }
        let root = &self.root;
        self.asked
            .entry(at.clone())
            .or_insert_with(|| {
                let inside = path.strip_prefix("/").unwrap_or(path);
                // A name that nobody has looked up before: the root's own attributes may be known without the server.
                let name = format!(".hardpan-{}", std::process::id());
                let question = root.join(inside).join(name);
                let question = question.to_string_lossy();
                match tools::run_within("stat", &["-c", "%i", &question], ANSWER_MAX) {
                    Ok(_answered) => None,
                    Err(why) => Some(format!("{at} is {fs}, and its server gives {why}")),
                }
            })
            .clone()
    }
}

/// The names in a path.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn autofs_is_found_through_links_and_nothing_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["home", "net", "srv/disk"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        symlink("/net/server/alice", dir.path().join("home/alice")).unwrap();
        symlink("../srv/../net/x", dir.path().join("home/bob")).unwrap();
        symlink("loop", dir.path().join("home/loop")).unwrap();
        let mut reach = Reach {
            root: dir.path().to_owned(),
            mounts: BTreeMap::from([
                ("/net".to_owned(), Some("autofs".to_owned())),
                ("/srv/disk".to_owned(), None),
            ]),
            asked: BTreeMap::new(),
        };
        let mut check = |path: &str, refused: bool| {
            assert_eq!(reach.refuses(path).is_some(), refused, "{path}");
        };
        check("/net", true);
        check("/net/server", true);
        check("/home/alice/.netrc", true);
        check("/home/bob", true);
        check("/home/loop/x", false);
        check("/srv/disk/x", false);
        check("/etc/passwd", false);
        check("/", false);
    }

    #[test]
    fn a_file_system_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut reach = Reach {
            root: dir.path().to_owned(),
            mounts: BTreeMap::from([("/home".to_owned(), Some("nfs4".to_owned()))]),
            asked: BTreeMap::new(),
        };
        assert_eq!(
            reach.refuses("/home/alice"),
            None,
            "it answers that there is no such name"
        );
        assert_eq!(reach.asked.get("/home"), Some(&None));
        reach.asked.insert("/home".into(), Some("silent".into()));
        assert_eq!(reach.refuses("/home/bob").as_deref(), Some("silent"));
    }
}
