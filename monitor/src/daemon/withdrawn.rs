//! Processes that run a file of a package that was opened to be installed and never was: they were let run on the
//! package's word, which nothing stands behind any more.
//!
//! Looked at is what a process was started from. Libraries of such packages that it maps, and scripts that an interpreter
//! reads, are not.

use super::packages::Withdrawn;
use crate::crypto::sha256_of;
use crate::enrich::Proc;
use hardpan_core::event::ProcessKey;
use hardpan_core::record::{Finding, FindingCode, Killed};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tokio::sync::mpsc;

/// Searches that wait for the event loop.
const WAITING: usize = 8;

/// A process that runs such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    /// Which one.
    pub process: ProcessKey,
    /// Its program, as `/proc` names it.
    pub path: String,
    /// The package.
    pub package: String,
}

/// Searches, seen from the event loop.
#[derive(Debug)]
pub(super) struct Strays {
    results: mpsc::Sender<Vec<Stray>>,
    /// What they found.
    pub found: mpsc::Receiver<Vec<Stray>>,
}

impl Strays {
    /// Nobody searches yet.
    pub(super) fn new() -> Self {
        let (results, found) = mpsc::channel(WAITING);
        Self { results, found }
    }

    /// Searches off the loop.
    pub(super) fn search(&self, withdrawn: Vec<Withdrawn>) {
        let results = self.results.clone();
        tokio::task::spawn_blocking(move || {
            let strays = strays(Path::new("/"), &withdrawn);
            if !strays.is_empty() {
                // The daemon may be ending.
                let _gone = results.blocking_send(strays);
            }
        });
    }
}

/// Processes below `root`'s `/proc` that run a file of these packages. Blocks: a file is hashed once, and only if one of
/// theirs has its size.
fn strays(root: &Path, withdrawn: &[Withdrawn]) -> Vec<Stray> {
    let mut wanted: BTreeMap<u64, BTreeMap<[u8; 32], &str>> = BTreeMap::new();
    for package in withdrawn {
        for (digest, size) in &package.digests {
            wanted.entry(*size).or_default().insert(*digest, &package.name);
        }
    }
    let proc = Proc::below(root);
    let mut known: BTreeMap<(u64, u64), Option<&str>> = BTreeMap::new();
    let mut found = Vec::new();
    let processes = fs::read_dir(root.join("proc"));
    for process in processes.into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(tgid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Before the file: whoever has the process id afterwards is not this one.
        let Some(process) = proc.key(tgid) else { continue };
        let link = proc.place(tgid, "exe");
        let Ok(file) = File::open(&link) else { continue };
        let Ok(meta) = file.metadata() else { continue };
        let Some(digests) = wanted.get(&meta.size()) else {
            continue;
        };
        let package = *known.entry((meta.dev(), meta.ino())).or_insert_with(|| {
            let (digest, _) = sha256_of(file.take(meta.size())).ok()?;
            digests.get(&digest).copied()
        });
        if let Some(package) = package {
            found.push(Stray {
                process,
                path: fs::read_link(&link)
                    .unwrap_or(link)
                    .to_string_lossy()
                    .into_owned(),
                package: package.to_owned(),
            });
        }
    }
    found
}

/// What is told of it; `killed`: what became of it if the policy says `gate.withdrawn = "kill"`.
pub(super) fn finding(stray: &Stray, killed: Option<&Killed>) -> Finding {
    let Stray {
        process,
        path,
        package,
    } = stray;
    let then = match killed {
        None => "it goes on".to_owned(),
        Some(Killed::Done) => "it was killed".to_owned(),
        Some(Killed::Gone) => "it has ended meanwhile".to_owned(),
        Some(Killed::Refused(why)) => format!("it was not killed: {why}"),
        Some(Killed::Failed(why)) => format!("it could not be killed: {why}"),
    };
    let found = Finding {
        packages: vec![package.clone()],
        path: Some(path.as_str().into()),
        ..Finding::new(
            FindingCode::WithdrawnRuns,
            format!(
                "{path} (pid {}) is of {package}, which was opened by a package manager and not installed: {then}",
                process.tgid
            ),
        )
    };
    if killed.is_some() {
        return found;
    }
    found.hint("gate.withdrawn = \"kill\" in the policy ends such processes in mode enforce")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn processes_are_found_by_the_content_of_their_program() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("late");
        let mut content = fs::read("/bin/sleep").unwrap();
        content.extend(b"of its own");
        fs::write(&program, &content).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let (digest, size) = sha256_of(content.as_slice()).unwrap();
        let package = |digest| Withdrawn {
            name: "hp-late-1-1.noarch".to_owned(),
            digests: vec![(digest, size)],
        };
        let mut child = Command::new(&program).arg("1000").spawn().unwrap();
        let found = strays(Path::new("/"), &[package(digest)]);
        let another = strays(Path::new("/"), &[package([7; 32])]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(another.is_empty(), "{another:?}");
        let [stray] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(stray.process.tgid, child.id());
        assert!(stray.process.start_boottime_ns.is_some());
        assert_eq!(stray.path, program.to_string_lossy());
        let told = finding(stray, Some(&Killed::Done));
        assert!(
            told.message.ends_with("not installed: it was killed"),
            "{}",
            told.message
        );
        assert!(finding(stray, None).message.ends_with("it goes on"));
    }
}
