//! Executions on their way from event to record: digest, verdict, line or aggregate.

use crate::enrich::Proc;
use crate::enrich::hash::{Hashed, Wanted};
use crate::enrich::identity::Identity;
use crate::enrich::pool::DigestCache;
use hardpan_abi::FileInfo;
use hardpan_core::event::{Exec, KernelDigest, RawText};
use hardpan_core::process::Container;
use hardpan_core::record::{DigestSource, ExecFacts, FileDigest, FileFacts, PathSource};
use hardpan_core::verdict::{ExecVerdict, NoDigest, Subject, TrustIndex, Verdict, judge};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What was found out about an exec right after it happened.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// When, microseconds since 1970.
    pub at_us: i64,
    /// What the process was seen to run in `/proc`.
    pub proc_executable: Option<RawText>,
    /// What the parent runs.
    pub parent_executable: Option<RawText>,
    /// Working directory.
    pub working_directory: Option<RawText>,
    /// Container.
    pub container: Option<Container>,
    /// Path of its cgroup, where a rule asks for it.
    pub cgroup: Option<String>,
    /// Somebody looked for a container.
    pub looked: bool,
    /// Paths mean the host's files.
    pub host_tree: bool,
}

/// An exec that waits for its digests.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The event.
    pub exec: Box<Exec>,
    /// What surrounds it.
    pub around: Surroundings,
}

/// The digests of an exec as far as they are known without opening a file.
#[derive(Debug)]
pub(super) struct Known {
    /// Of the file whose code runs; `None` if it must be hashed.
    pub file: Option<FileDigest>,
    /// Of the script; `None` if it must be hashed. Meaningless where there is no script.
    pub script: Option<FileDigest>,
}

impl Known {
    /// Looks at what the kernel said and at what is remembered of the same inode.
    pub(super) fn of(exec: &Exec, cache: &DigestCache) -> Self {
        let kernel = if exec.digest_cached {
            DigestSource::KernelCache
        } else {
            DigestSource::Kernel
        };
        let known = |digest: &KernelDigest, info: Option<&FileInfo>, source| {
            if let Some(sha256) = digest.sha256() {
                return Some(FileDigest {
                    sha256: *sha256,
                    source,
                });
            }
            let identity = info.and_then(Identity::of_event)?;
            cache.get(&identity).map(|sha256| FileDigest {
                sha256,
                source: DigestSource::UserSpace,
            })
        };
        Self {
            file: known(&exec.digest, Some(&exec.file), kernel),
            script: exec
                .script
                .as_ref()
                .and_then(|script| known(&script.digest, Some(&script.file), DigestSource::Kernel)),
        }
    }

    /// Nothing has to be hashed.
    pub(super) const fn is_complete(&self, exec: &Exec) -> bool {
        self.file.is_some() && (self.script.is_some() || !has_script(exec))
    }
}

/// The kernel ran an interpreter for another file.
pub(super) const fn has_script(exec: &Exec) -> bool {
    exec.script.is_some() || exec.script_path.is_some()
}

/// Best path of the file whose code runs.
pub(super) fn executable(exec: &Exec, proc_executable: Option<&RawText>) -> Option<(RawText, PathSource)> {
    let from_kernel = || Some((exec.path.clone(), PathSource::Kernel));
    if exec.path_from_kernel && !exec.path.is_empty() && !exec.path_cut {
        return from_kernel();
    }
    if let Some(path) = proc_executable {
        // The link's text says "(deleted)" also when the file went away after it was run, e.g. in an update.
        let bytes = path.as_bytes();
        let bytes = if exec.no_link {
            bytes
        } else {
            bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)
        };
        return Some((RawText::new(bytes), PathSource::Proc));
    }
    if exec.path_from_kernel && !exec.path.is_empty() {
        return from_kernel();
    }
    // For a script the caller's path is the script's.
    (!has_script(exec) && !exec.path.is_empty()).then(|| (exec.path.clone(), PathSource::Caller))
}

/// Path of the script, absolute where that can be said.
pub(super) fn script_path(exec: &Exec, working_directory: Option<&RawText>) -> Option<(RawText, PathSource)> {
    let path = exec.script_path.as_ref()?;
    if exec.script_path_from_kernel {
        return Some((path.clone(), PathSource::Kernel));
    }
    match working_directory {
        Some(dir) if !path.as_bytes().starts_with(b"/") => {
            let joined =
                Path::new(OsStr::from_bytes(dir.as_bytes())).join(OsStr::from_bytes(path.as_bytes()));
            Some((RawText::new(joined.as_os_str().as_bytes()), PathSource::Caller))
        }
        _ => Some((path.clone(), PathSource::Caller)),
    }
}

/// Where to find the file whose code runs.
pub(super) fn wanted_file(exec: &Exec, around: &Surroundings, proc: &Proc) -> Wanted {
    let mut places = vec![proc.place(exec.head.task.process.tgid, "exe")];
    if let Some((path, _)) = executable(exec, around.proc_executable.as_ref())
        && around.host_tree
        && path.as_bytes().starts_with(b"/")
    {
        places.push(to_path(&path));
    }
    Wanted {
        places,
        identity: Identity::of_event(&exec.file),
        at_us: around.at_us,
    }
}

/// Where to find the script.
pub(super) fn wanted_script(exec: &Exec, around: &Surroundings, proc: &Proc) -> Wanted {
    let tgid = exec.head.task.process.tgid;
    let mut places = Vec::new();
    if let Some(path) = &exec.script_path {
        match path.as_bytes().strip_prefix(b"/") {
            // Through the task's own root and directory: a container's path is not the host's.
            Some(inside) => places.push(proc.place(tgid, "root").join(OsStr::from_bytes(inside))),
            None => places.push(proc.place(tgid, "cwd").join(to_path(path))),
        }
        if let Some((path, _)) = script_path(exec, around.working_directory.as_ref())
            && around.host_tree
            && path.as_bytes().starts_with(b"/")
        {
            places.push(to_path(&path));
        }
    }
    let identity = exec
        .script
        .as_ref()
        .and_then(|script| Identity::of_event(&script.file));
    Wanted {
        places,
        identity,
        at_us: around.at_us,
    }
}

fn to_path(text: &RawText) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(text.as_bytes()))
}

/// The facts of an exec with everything that could be found out.
pub(super) fn facts(
    exec: &Exec,
    around: &Surroundings,
    known: &Known,
    file: Option<&Result<Hashed, NoDigest>>,
    script: Option<&Result<Hashed, NoDigest>>,
) -> ExecFacts {
    ExecFacts {
        file: FileFacts {
            path: executable(exec, around.proc_executable.as_ref()),
            digest: digest(known.file, file, &exec.digest),
            kernel: exec.digest,
            info: Some(exec.file)
                .filter(|info| info.ino != 0)
                .or_else(|| hashed_info(file)),
        },
        script: has_script(exec).then(|| {
            let kernel = exec
                .script
                .as_ref()
                .map_or(KernelDigest::NotTried, |script| script.digest);
            // The path behind an opened descriptor has no links left in it.
            let resolved = match script {
                Some(Ok(hashed)) if around.host_tree => {
                    hashed.path.clone().map(|path| (path, PathSource::Proc))
                }
                _ => None,
            };
            let told = script_path(exec, around.working_directory.as_ref());
            FileFacts {
                path: if exec.script_path_from_kernel {
                    told
                } else {
                    resolved.or(told)
                },
                digest: digest(known.script, script, &kernel),
                kernel,
                info: exec
                    .script
                    .as_ref()
                    .map(|script| script.file)
                    .or_else(|| hashed_info(script)),
            }
        }),
    }
}

fn hashed_info(hashed: Option<&Result<Hashed, NoDigest>>) -> Option<FileInfo> {
    hashed
        .and_then(|hashed| hashed.as_ref().ok())
        .map(|hashed| hashed.info)
}

fn digest(
    known: Option<FileDigest>,
    hashed: Option<&Result<Hashed, NoDigest>>,
    kernel: &KernelDigest,
) -> Result<FileDigest, NoDigest> {
    match (known, hashed) {
        (Some(digest), _) => Ok(digest),
        (None, Some(Ok(hashed))) => Ok(FileDigest {
            sha256: hashed.sha256,
            source: DigestSource::UserSpace,
        }),
        (None, Some(Err(why))) => Err(why.clone()),
        // Nobody was asked: the queue was full, or the kernel's word has to do.
        (None, None) => Err(NoDigest::of_kernel(kernel, NoDigest::Busy)),
    }
}

/// The verdict on an exec.
pub(super) fn verdict(
    exec: &Exec,
    facts: &ExecFacts,
    host_tree: bool,
    trust: Option<&dyn TrustIndex>,
) -> ExecVerdict {
    let judge_one = |facts: &FileFacts, no_link: bool, cut: bool| {
        let path = facts.path.as_ref().map(|(path, _)| path.as_bytes());
        let subject = Subject {
            digest: facts.digest.as_ref().map(|digest| &digest.sha256),
            // A cut path is the path of another file.
            host_path: path.filter(|path| host_tree && !cut && path.starts_with(b"/")),
            no_link,
        };
        judge(&subject, trust)
    };
    let path_cut = exec.path_cut
        && matches!(
            facts.file.path,
            Some((_, PathSource::Kernel | PathSource::Caller))
        );
    ExecVerdict {
        file: judge_one(&facts.file, exec.no_link, path_cut),
        script: facts.script.as_ref().map(|script| {
            let no_link = script.info.is_some_and(|info| info.nlink == 0);
            judge_one(script, no_link, false)
        }),
    }
}

/// A digest mismatch, the gravest verdict, which hangs on the path being the host's.
pub(super) fn is_mismatch(verdict: &ExecVerdict) -> bool {
    matches!(verdict.overall(), Verdict::DigestMismatch { .. })
}
