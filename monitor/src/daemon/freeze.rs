//! Freezes the cgroup of a tampered task: whatever it started stands still, and can be looked at.
//!
//! What the host cannot do without is left alone: the root cgroup, init's, this daemon's, and all above these.

use crate::enrich::Proc;
use hardpan_core::event::ProcessKey;
use hardpan_core::process::freezer_path;
use hardpan_core::record::{Freeze, FreezeOutcome};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Most directories that are looked at for a cgroup whose process is gone.
const MAX_DIRECTORIES: usize = 4096;
/// Most that is read of a file, in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// Freezes cgroups below a root directory.
#[derive(Debug)]
pub(super) struct Freezer {
    root: PathBuf,
    /// cgroup v2 at the usual place; else the v1 freezer (EL 8), in which services have no cgroup of their own.
    unified: bool,
}

impl Freezer {
    /// `root` is `/` but for tests.
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            unified: root.join("sys/fs/cgroup/cgroup.controllers").exists(),
        }
    }

    /// Freezes the cgroup of a process; of one that is gone, the cgroup that the kernel named.
    pub(super) fn freeze(&self, proc: &Proc, process: ProcessKey, cgroup_id: Option<u64>) -> Freeze {
        let path = proc
            .freezer(process, self.unified)
            .or_else(|| self.path_of(cgroup_id.filter(|_| self.unified)?));
        let Some(path) = path else {
            return Freeze {
                cgroup: None,
                outcome: FreezeOutcome::Failed("the process is gone, and its cgroup is not known".to_owned()),
            };
        };
        let outcome = match self.protected(&path) {
            Some(why) => FreezeOutcome::Refused(why),
            None => self.write(&path),
        };
        Freeze {
            cgroup: Some(path),
            outcome,
        }
    }

    fn write(&self, path: &str) -> FreezeOutcome {
        let (file, value) = if self.unified {
            ("cgroup.freeze", "1")
        } else {
            ("freezer.state", "FROZEN")
        };
        let file = self.place(path).join(file);
        let state = || read_text(&file).map(|text| text.trim().to_owned());
        if state().as_deref() == Some(value) {
            return FreezeOutcome::AlreadyFrozen;
        }
        match fs::write(&file, value) {
            Ok(()) => FreezeOutcome::Frozen,
            Err(error) => FreezeOutcome::Failed(format!("{}: {error}", file.display())),
        }
    }

    /// Why a cgroup must not be frozen.
    fn protected(&self, path: &str) -> Option<&'static str> {
        if path == "/" {
            return Some("it is the root cgroup");
        }
        let mut components = path.split('/').filter(|component| !component.is_empty());
        if components.clone().any(|component| component == "..") {
            return Some("it lies outside of this cgroup namespace");
        }
        if components.next() == Some("init.scope") {
            return Some("init runs in it");
        }
        for (who, why) in [("1", "init runs in it"), ("self", "hardpand runs in it")] {
            let theirs = read_text(&self.root.join("proc").join(who).join("cgroup"))
                .and_then(|text| freezer_path(&text, self.unified));
            match theirs {
                // Without knowing where they are, nothing is certain not to stop them.
                None => return Some("the cgroups of init and hardpand are not known"),
                Some(theirs) if is_within(&theirs, path) => return Some(why),
                Some(_) => {}
            }
        }
        None
    }

    fn place(&self, path: &str) -> PathBuf {
        let controller = if self.unified { "" } else { "freezer" };
        self.root
            .join("sys/fs/cgroup")
            .join(controller)
            .join(path.trim_start_matches('/'))
    }

    /// The cgroup with an id, which is its directory's inode number in the unified hierarchy.
    fn path_of(&self, id: u64) -> Option<String> {
        let top = self.place("/");
        if fs::metadata(&top).ok()?.ino() == id {
            return Some("/".to_owned());
        }
        let mut todo = vec![top.clone()];
        let mut looked = 0_usize;
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(&directory).ok()?.filter_map(Result::ok) {
                let Ok(metadata) = entry.metadata() else { continue };
                if !metadata.is_dir() {
                    continue;
                }
                if metadata.ino() == id {
                    let path = entry.path();
                    return Some(format!("/{}", path.strip_prefix(&top).ok()?.to_str()?));
                }
                looked += 1;
                if looked > MAX_DIRECTORIES {
                    return None;
                }
                todo.push(entry.path());
            }
        }
        None
    }
}

/// Whether a cgroup is another one or below it.
fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn read_text(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with `/proc` and cgroups; the offender is process 77.
    fn host(unified: bool, offender: &str, own: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directories");
            fs::write(path, text).expect("file");
        };
        let line = |path: &str| {
            if unified {
                format!("0::{path}\n")
            } else {
                format!("9:freezer:{path}\n1:name=systemd:/system.slice/x.service\n0::/\n")
            }
        };
        write("proc/77/cgroup", &line(offender));
        write("proc/self/cgroup", &line(own));
        write("proc/1/cgroup", &line(if unified { "/init.scope" } else { "/" }));
        if unified {
            write("sys/fs/cgroup/cgroup.controllers", "");
            for cgroup in [offender, own, "/user.slice/session-1.scope"] {
                write(&format!("sys/fs/cgroup{cgroup}/cgroup.freeze"), "0\n");
            }
        } else {
            write(
                &format!("sys/fs/cgroup/freezer{offender}/freezer.state"),
                "THAWED\n",
            );
        }
        root
    }

    fn freeze(root: &Path, tgid: u32, cgroup_id: Option<u64>) -> Freeze {
        let process = ProcessKey {
            tgid,
            start_boottime_ns: None,
        };
        Freezer::below(root).freeze(&Proc::below(root), process, cgroup_id)
    }

    #[track_caller]
    fn check(unified: bool, offender: &str, own: &str, expected: &FreezeOutcome) {
        let root = host(unified, offender, own);
        let done = freeze(root.path(), 77, None);
        assert_eq!(done.cgroup.as_deref(), Some(offender));
        assert_eq!(done.outcome, *expected, "{offender} {own}");
    }

    #[test]
    fn the_offenders_cgroup_is_frozen_and_nothing_that_the_host_needs() {
        let own = "/system.slice/hardpand.service";
        check(true, "/system.slice/httpd.service", own, &FreezeOutcome::Frozen);
        check(true, "/", own, &FreezeOutcome::Refused("it is the root cgroup"));
        check(
            true,
            "/init.scope",
            own,
            &FreezeOutcome::Refused("init runs in it"),
        );
        check(
            true,
            "/init.scope/x",
            own,
            &FreezeOutcome::Refused("init runs in it"),
        );
        check(true, own, own, &FreezeOutcome::Refused("hardpand runs in it"));
        check(
            true,
            "/system.slice",
            own,
            &FreezeOutcome::Refused("hardpand runs in it"),
        );
        check(
            true,
            "/system.slice/hardpand.service2",
            own,
            &FreezeOutcome::Frozen,
        );
        check(
            true,
            "/../../host.slice",
            own,
            &FreezeOutcome::Refused("it lies outside of this cgroup namespace"),
        );
        // EL 8: containers have a freezer cgroup, services share the root's.
        check(false, "/docker/0123", "/", &FreezeOutcome::Frozen);
        check(false, "/", "/", &FreezeOutcome::Refused("it is the root cgroup"));
    }

    #[test]
    fn the_file_says_so_and_a_second_time_nothing_is_done() {
        let root = host(true, "/a.slice/b.scope", "/system.slice/hardpand.service");
        assert_eq!(freeze(root.path(), 77, None).outcome, FreezeOutcome::Frozen);
        let file = root.path().join("sys/fs/cgroup/a.slice/b.scope/cgroup.freeze");
        assert_eq!(fs::read_to_string(&file).expect("file"), "1");
        assert_eq!(
            freeze(root.path(), 77, None).outcome,
            FreezeOutcome::AlreadyFrozen
        );
        let v1 = host(false, "/docker/0123", "/");
        assert_eq!(freeze(v1.path(), 77, None).outcome, FreezeOutcome::Frozen);
        let state = v1.path().join("sys/fs/cgroup/freezer/docker/0123/freezer.state");
        assert_eq!(fs::read_to_string(&state).expect("file"), "FROZEN");
    }

    #[test]
    fn a_process_that_is_gone_leaves_its_cgroup() {
        let root = host(true, "/a.slice", "/system.slice/hardpand.service");
        let cgroup = root.path().join("sys/fs/cgroup/user.slice/session-1.scope");
        let id = fs::metadata(&cgroup).expect("cgroup").ino();
        let done = freeze(root.path(), 99, Some(id));
        assert_eq!(done.cgroup.as_deref(), Some("/user.slice/session-1.scope"));
        assert_eq!(done.outcome, FreezeOutcome::Frozen);
        let unknown = freeze(root.path(), 99, None);
        assert!(matches!(unknown.outcome, FreezeOutcome::Failed(_)), "{unknown:?}");
    }
}
