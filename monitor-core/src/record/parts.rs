//! Pieces that several records share.

use super::attack::Technique;
use super::ecs::{
    CodeSignature, ContainerFields, File, Ids, PackageFields, Process, SubTechnique, TechniqueFields, Thread,
    Threat, User,
};
use super::own::{Own, OwnLogin, OwnNamespaces};
use super::text::shown;
use crate::event::{ProcessKey, RawText, Task};
use crate::process::Container;
use crate::verdict::{Package, TrustOrigin, Verdict};
use hardpan_abi::{CredIds, FileInfo};
use std::fmt;

/// What enrichment found out about the surroundings of an event.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// When it happened, microseconds since 1970, UTC.
    pub at_us: i64,
    /// Boot id, part of process entity ids.
    pub boot_id: &'a str,
    /// Name of a user id.
    pub user_name: &'a dyn Fn(u32) -> Option<String>,
    /// What the process runs, where the event itself does not tell.
    pub executable: Option<&'a RawText>,
    /// What the parent runs.
    pub parent_executable: Option<&'a RawText>,
    /// Working directory.
    pub working_directory: Option<&'a RawText>,
    /// Container the task is in.
    pub container: Option<&'a Container>,
}

impl fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene")
            .field("at_us", &self.at_us)
            .field("executable", &self.executable)
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

impl Scene<'_> {
    pub(super) fn user(&self, uid: u32) -> User {
        User {
            id: Some(uid.to_string()),
            name: (self.user_name)(uid),
            ..User::default()
        }
    }

    /// Process and parent; what the process runs is the caller's to fill in.
    pub(super) fn process(&self, own: &mut Own, task: &Task, creds: &CredIds) -> Process {
        own.login = (task.loginuid.is_some() || task.sessionid.is_some()).then(|| OwnLogin {
            uid: task.loginuid.map(|id| id.to_string()),
            session: task.sessionid.map(|id| id.to_string()),
        });
        own.namespaces = (task.pid_ns.is_some() || task.mnt_ns.is_some()).then_some(OwnNamespaces {
            pid: task.pid_ns,
            mnt: task.mnt_ns,
        });
        let parent_comm = shown(own, "process.parent.comm", &task.parent_comm);
        let parent = Process {
            pid: Some(task.parent.tgid),
            entity_id: Some(self.entity_id(task.parent)),
            name: Some(match self.parent_executable {
                Some(path) => path.file_name().text().into_owned(),
                None => parent_comm,
            }),
            executable: self
                .parent_executable
                .map(|path| shown(own, "process.parent.executable", path)),
            ..Process::default()
        };
        let comm = shown(own, "process.thread.name", &task.comm);
        Process {
            pid: Some(task.process.tgid),
            entity_id: Some(self.entity_id(task.process)),
            user: Some(self.user(creds.euid)),
            real_user: Some(self.user(creds.uid)),
            saved_user: (creds.suid != creds.euid).then(|| self.user(creds.suid)),
            name: Some(comm.clone()),
            thread: Some(Thread {
                id: task.tid,
                name: comm,
            }),
            working_directory: self
                .working_directory
                .map(|path| shown(own, "process.working_directory", path)),
            parent: Some(Box::new(parent)),
            ..Process::default()
        }
    }

    /// The user who acts: the real one, with the effective one beside it where they differ.
    pub(super) fn acting_user(&self, creds: &CredIds) -> User {
        let effective = (creds.uid != creds.euid).then(|| Box::new(self.user(creds.euid)));
        User {
            effective,
            ..self.user(creds.uid)
        }
    }

    pub(super) fn container(&self) -> Option<ContainerFields> {
        self.container.map(|c| ContainerFields {
            id: c.id.clone(),
            runtime: c.runtime,
        })
    }

    /// Names a process for good: boot, process id and start time.
    pub(super) fn entity_id(&self, process: ProcessKey) -> String {
        format!(
            "{}:{}:{}",
            self.boot_id,
            process.tgid,
            process.start_boottime_ns.unwrap_or_default()
        )
    }
}

/// What the common schema can say of a file's inode.
pub(super) fn file_fields(info: &FileInfo) -> File {
    File {
        inode: Some(info.ino.to_string()),
        device: Some(format!("{}:{}", info.dev >> 20, info.dev & 0xf_ffff)),
        mode: Some(format!("{:04o}", info.mode & 0o7777)),
        uid: Some(info.uid.to_string()),
        gid: Some(info.gid.to_string()),
        size: Some(info.size_bytes),
        ..File::default()
    }
}

/// The verdict in the schema's terms: a package signature covers the file through its digest.
pub(super) fn code_signature(verdict: &Verdict) -> CodeSignature {
    let signature = |exists, valid, trusted| CodeSignature {
        exists,
        valid,
        trusted,
        status: verdict.word(),
        subject_name: verdict
            .owner()
            .map(|file| file.signer.name.clone())
            .filter(|name| !name.is_empty()),
    };
    match verdict {
        Verdict::Trusted(file) if file.origin == TrustOrigin::LocalUnsigned => {
            signature(Some(false), None, Some(true))
        }
        Verdict::Trusted(_) => signature(Some(true), Some(true), Some(true)),
        // Content that a vendor signed, and no name under which he put it.
        Verdict::Fileless { trusted: Some(_) } => signature(Some(true), Some(true), Some(false)),
        Verdict::DigestMismatch { .. } => signature(Some(true), Some(false), Some(false)),
        Verdict::Untrusted { .. } | Verdict::Fileless { trusted: None } => {
            signature(Some(false), None, Some(false))
        }
        // Nobody could look: nothing is claimed.
        Verdict::Unverified(_) => signature(None, None, None),
    }
}

pub(super) fn package_fields(package: &Package, origin: TrustOrigin) -> PackageFields {
    PackageFields {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.arch.clone(),
        kind: if origin.is_local() { "manifest" } else { "rpm" },
    }
}

pub(super) fn threat(technique: &Technique) -> Threat {
    Threat {
        framework: "MITRE ATT&CK",
        tactic: Ids {
            id: technique.tactics.to_vec(),
        },
        technique: TechniqueFields {
            id: vec![technique.id],
            name: vec![technique.name],
            subtechnique: technique.sub.map(|(id, name)| SubTechnique {
                id: vec![id],
                name: vec![name],
            }),
        },
    }
}
