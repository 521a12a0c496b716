//! Events from the kernel: raw records in, typed values out.
//!
//! Decoding is total. Whatever is wrong with a record becomes a [`DecodeError`], which the caller counts; nothing
//! panics, and nothing is read beyond the record's own length.

mod cred;
mod decode;
mod exec;
mod gate;
mod module;
mod object;
mod package;
#[cfg(test)]
pub(crate) mod sample;
mod task;
mod text;

pub use cred::CredChange;
pub use decode::{DecodeError, decode};
pub use exec::{Argv, Exec, KernelDigest, ScriptFile};
pub use gate::GateEvent;
pub use module::{ModuleAction, ModuleChange, SignatureState};
pub use object::ObjectEvent;
pub use package::PackageOpened;
pub use task::TaskFinding;
pub use text::{RawText, escape};

use hardpan_abi::{FileId, TaskInfo};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A program was executed.
    Exec(Box<Exec>),
    /// Credentials changed.
    Cred(Box<CredChange>),
    /// A kernel module came or went.
    Module(Box<ModuleChange>),
    /// Something is wrong with a task.
    Task(Box<TaskFinding>),
    /// The exec gate refused something, or alerts.
    Gate(Box<GateEvent>),
    /// The gate refused something that is no file, or alerts.
    Object(Box<ObjectEvent>),
    /// A package manager opened a package.
    Package(Box<PackageOpened>),
}

impl Event {
    /// The head, whatever the event is.
    pub fn head(&self) -> &Head {
        match self {
            Self::Exec(event) => &event.head,
            Self::Cred(event) => &event.head,
            Self::Module(event) => &event.head,
            Self::Task(event) => &event.head,
            Self::Gate(event) => &event.head,
            Self::Object(event) => &event.head,
            Self::Package(event) => &event.head,
        }
    }
}

/// When and where an event happened, and who caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Nanoseconds since boot, suspend included.
    pub boottime_ns: u64,
    /// CPU it happened on.
    pub cpu: u32,
    /// Generation of the attached programs.
    pub generation: u32,
    /// The task.
    pub task: Task,
}

/// The task that caused an event, as the kernel saw it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Process: thread group and start time name it for good.
    pub process: ProcessKey,
    /// Thread id in the initial PID namespace.
    pub tid: u32,
    /// The real parent.
    pub parent: ProcessKey,
    /// Inode number of the task's cgroup v2.
    pub cgroup_id: Option<u64>,
    /// Audit login uid.
    pub loginuid: Option<u32>,
    /// Audit session id.
    pub sessionid: Option<u32>,
    /// Inode number of the PID namespace.
    pub pid_ns: Option<u32>,
    /// Inode number of the mount namespace.
    pub mnt_ns: Option<u32>,
    /// Command name, at most 15 bytes.
    pub comm: RawText,
    /// Command name of the real parent.
    pub parent_comm: RawText,
    /// Which file the task runs.
    pub exe: Option<FileId>,
    /// Which file the real parent runs.
    pub parent_exe: Option<FileId>,
}

/// A process, named so that a reused process id cannot be taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessKey {
    /// Process id in the initial PID namespace.
    pub tgid: u32,
    /// Start, nanoseconds since boot; `None` if the kernel did not tell.
    pub start_boottime_ns: Option<u64>,
}

impl Task {
    pub(crate) fn from_wire(wire: &TaskInfo) -> Self {
        Self {
            process: ProcessKey {
                tgid: wire.tgid,
                start_boottime_ns: nonzero(wire.start_boottime_ns),
            },
            tid: wire.pid,
            parent: ProcessKey {
                tgid: wire.parent_tgid,
                start_boottime_ns: nonzero(wire.parent_start_boottime_ns),
            },
            cgroup_id: nonzero(wire.cgroup_id),
            loginuid: Some(wire.loginuid).filter(|id| *id != u32::MAX),
            sessionid: Some(wire.sessionid).filter(|id| *id != u32::MAX),
            pid_ns: Some(wire.pid_ns).filter(|id| *id != 0),
            mnt_ns: Some(wire.mnt_ns).filter(|id| *id != 0),
            comm: RawText::from_padded(&wire.comm),
            parent_comm: RawText::from_padded(&wire.parent_comm),
            exe: Some(wire.exe).filter(FileId::is_known),
            parent_exe: Some(wire.parent_exe).filter(FileId::is_known),
        }
    }
}

fn nonzero(value: u64) -> Option<u64> {
    Some(value).filter(|value| *value != 0)
}
