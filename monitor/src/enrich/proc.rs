//! What `/proc` and `/sys` tell of processes and modules, right after an event.
//!
//! All of it may be gone, or belong to another process by now: start times are compared, and nothing read here decides
//! a verdict on its own.

use super::bounded::BoundedMap;
use hardpan_core::event::{ProcessKey, RawText};
use hardpan_core::process::{Container, cgroup_path, container_from_cgroup, freezer_path};
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A tick of the clock that `/proc` counts start times in, nanoseconds (USER_HZ is 100 on all architectures that EL has).
const TICK_NS: u64 = 10_000_000;

/// Most that is read of a file of `/proc` or `/sys`, in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// A view of `/proc` and `/sys` below a root directory.
#[derive(Debug)]
pub struct Proc {
    root: PathBuf,
    /// cgroup ids name a cgroup for good only in the unified hierarchy.
    unified: bool,
    containers: BoundedMap<u64, Option<Container>>,
    /// Whether a mount namespace shows the host's own tree.
    host_trees: BoundedMap<u32, bool>,
}

impl Proc {
    /// `root` is `/` but for tests.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            unified: root.join("sys/fs/cgroup/cgroup.controllers").exists(),
            containers: BoundedMap::new(4096),
            host_trees: BoundedMap::new(4096),
        }
    }

    /// The place of something about a process, e.g. `exe`.
    pub fn place(&self, tgid: u32, what: &str) -> PathBuf {
        self.root.join(format!("proc/{tgid}/{what}"))
    }

    /// What the process runs.
    pub fn executable(&self, process: ProcessKey) -> Option<RawText> {
        self.link(process, "exe")
    }

    /// Its working directory.
    pub fn working_directory(&self, process: ProcessKey) -> Option<RawText> {
        self.link(process, "cwd")
    }

    fn link(&self, process: ProcessKey, what: &str) -> Option<RawText> {
        let target = fs::read_link(self.place(process.tgid, what)).ok()?;
        self.is_same(process)
            .then(|| RawText::new(target.as_os_str().as_bytes()))
    }

    /// The container the process is in.
    pub fn container(&mut self, process: ProcessKey, cgroup_id: Option<u64>) -> Option<Container> {
        let id = cgroup_id.filter(|_| self.unified);
        if let Some(known) = id.and_then(|id| self.containers.get(&id)) {
            return known.clone();
        }
        let text = read_text(&self.place(process.tgid, "cgroup"))?;
        if !self.is_same(process) {
            return None;
        }
        let container = container_from_cgroup(&text);
        if let Some(id) = id {
            self.containers.insert(id, container.clone());
        }
        container
    }

    /// Path of its cgroup from the root of the unified hierarchy, or of systemd's where there is none.
    pub fn cgroup(&self, process: ProcessKey) -> Option<String> {
        let text = read_text(&self.place(process.tgid, "cgroup"))?;
        let path = cgroup_path(&text)?;
        self.is_same(process).then_some(path)
    }

    /// Path of the cgroup that freezes it: in the unified hierarchy, or in that of the v1 freezer.
    pub fn freezer(&self, process: ProcessKey, unified: bool) -> Option<String> {
        let text = read_text(&self.place(process.tgid, "cgroup"))?;
        let path = freezer_path(&text, unified)?;
        self.is_same(process).then_some(path)
    }

    /// Whether paths that this process names mean the host's files. Services with a private `/tmp` have a mount
    /// namespace of their own and still see the host's tree; a container or a chroot does not.
    pub fn sees_host_tree(&mut self, process: ProcessKey, mnt_ns: Option<u32>) -> bool {
        match self.compare_roots(process) {
            Some(same) => {
                if let Some(ns) = mnt_ns {
                    self.host_trees.insert(ns, same);
                }
                same
            }
            // It has ended. Another process of its namespace was seen, or it is taken for one of the host: a changed
            // file must not go unnoticed because its process was quick.
            None => mnt_ns
                .and_then(|ns| self.host_trees.get(&ns))
                .copied()
                .unwrap_or(true),
        }
    }

    /// The same from what is known already, without looking; `true` if nothing is known.
    pub fn saw_host_tree(&mut self, process: ProcessKey, mnt_ns: Option<u32>) -> bool {
        match mnt_ns.and_then(|ns| self.host_trees.get(&ns)) {
            Some(known) => *known,
            None => self.sees_host_tree(process, mnt_ns),
        }
    }

    fn compare_roots(&self, process: ProcessKey) -> Option<bool> {
        let theirs = fs::metadata(self.place(process.tgid, "root")).ok()?;
        let ours = fs::metadata(self.place(1, "root")).ok()?;
        self.is_same(process)
            .then(|| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()))
    }

    /// The process that has this id now; `None`: none has.
    pub fn key(&self, tgid: u32) -> Option<ProcessKey> {
        let ticks = start_ticks(&read_text(&self.place(tgid, "stat"))?)?;
        Some(ProcessKey {
            tgid,
            start_boottime_ns: Some(ticks.checked_mul(TICK_NS)?),
        })
    }

    /// The process id still belongs to the process. Start times in `/proc` have a resolution of 10 ms.
    pub fn is_same(&self, process: ProcessKey) -> bool {
        let Some(start_ns) = process.start_boottime_ns else {
            return true;
        };
        read_text(&self.place(process.tgid, "stat"))
            .and_then(|text| start_ticks(&text))
            .is_some_and(|ticks| ticks == start_ns / TICK_NS)
    }

    /// The build id of a loaded module, from its ELF note.
    pub fn module_build_id(&self, name: &RawText) -> Option<Vec<u8>> {
        let name = std::str::from_utf8(name.as_bytes()).ok()?;
        // The name comes from the module itself: it must not lead elsewhere.
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            return None;
        }
        let path = self
            .root
            .join(format!("sys/module/{name}/notes/.note.gnu.build-id"));
        build_id(&read_bytes(&path)?)
    }
}

/// Field 22 of `/proc/PID/stat`. The second field, the command name, may hold anything but ends with the last `)`.
fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The content of a `NT_GNU_BUILD_ID` note.
fn build_id(note: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| {
        Some(u32::from_ne_bytes(
            note.get(at..at.checked_add(4)?)?.try_into().ok()?,
        ))
    };
    let (name_len, id_len, kind) = (word(0)?, usize::try_from(word(4)?).ok()?, word(8)?);
    if name_len != 4 || kind != 3 || note.get(12..16)? != b"GNU\0" || !(1..=64).contains(&id_len) {
        return None;
    }
    note.get(16..16usize.checked_add(id_len)?).map(<[u8]>::to_vec)
}

fn read_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

fn read_text(path: &Path) -> Option<String> {
    read_bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_process() -> ProcessKey {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let ticks = start_ticks(&stat).unwrap();
        ProcessKey {
            tgid: std::process::id(),
            start_boottime_ns: Some(ticks * 10_000_000 + 1),
        }
    }

    #[test]
    fn this_process_is_found() {
        let mut proc = Proc::below(Path::new("/"));
        let key = this_process();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(
            proc.executable(key).unwrap().as_bytes(),
            exe.as_os_str().as_bytes()
        );
        assert!(proc.working_directory(key).is_some());
        let other = ProcessKey {
            start_boottime_ns: Some(1),
            ..key
        };
        assert_eq!(proc.executable(other), None, "a reused process id");
        let gone = ProcessKey {
            tgid: 4_194_305,
            ..key
        };
        assert!(proc.sees_host_tree(gone, None), "taken for the host's");
    }

    #[test]
    fn command_names_cannot_forge_start_times() {
        let stat = "1 (a) b 1 1) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2";
        assert_eq!(start_ticks(stat), Some(777));
        assert_eq!(start_ticks("1 (x"), None);
    }

    #[test]
    fn build_ids() {
        let mut note = Vec::new();
        for word in [4u32, 3, 3] {
            note.extend_from_slice(&word.to_ne_bytes());
        }
        note.extend_from_slice(b"GNU\0\x01\x02\xff\0");
        assert_eq!(build_id(&note), Some(vec![1, 2, 0xff]));
        assert_eq!(build_id(&note[..18]), None);
        assert_eq!(build_id(b""), None);
    }

    #[test]
    fn a_tree_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("sys/module/evil/notes");
        fs::create_dir_all(&module).unwrap();
        fs::create_dir_all(dir.path().join("proc/7")).unwrap();
        fs::create_dir_all(dir.path().join("sys/fs/cgroup")).unwrap();
        fs::write(dir.path().join("sys/fs/cgroup/cgroup.controllers"), "").unwrap();
        let id = "4c9a1f2b7d5e4a0b8c3d6e7f8a9b0c1d".repeat(2);
        fs::write(dir.path().join("proc/7/cgroup"), format!("0::/docker/{id}\n")).unwrap();
        let mut proc = Proc::below(dir.path());
        let key = ProcessKey {
            tgid: 7,
            start_boottime_ns: None,
        };
        assert_eq!(proc.container(key, Some(9)).map(|c| c.id), Some(id.clone()));
        fs::remove_file(dir.path().join("proc/7/cgroup")).unwrap();
        assert_eq!(
            proc.container(key, Some(9)).map(|c| c.id),
            Some(id),
            "remembered by cgroup id"
        );
        assert_eq!(proc.module_build_id(&"../evil".into()), None);
        assert_eq!(proc.module_build_id(&"evil".into()), None, "no note");
    }
}
