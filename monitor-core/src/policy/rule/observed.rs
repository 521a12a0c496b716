//! Events as they come from the kernel, in the terms of rules. The same event, read back from its record by
//! [`replay`](crate::policy::replay), must be decided the same way; a test holds both together.

use super::facts::{Asked, Fact, Facts};
use super::kind::{Kind, Side};
use crate::event::{Exec, ModuleChange, RawText, SignatureState, Task, TaskFinding};
use crate::record::{ExecFacts, FileFacts};
use crate::verdict::{ExecVerdict, TrustOrigin, Verdict};
use hardpan_abi::{CredIds, FileInfo, TaskFindingKind};

/// What enrichment knows of the task.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around<'a> {
    /// In a container; `None` if nobody looked.
    pub container: Option<bool>,
    /// What the parent runs.
    pub parent_executable: Option<&'a RawText>,
    /// Path of its cgroup, from the root of the hierarchy; `None` if nobody looked.
    pub cgroup: Option<&'a str>,
    /// What the rules look at; `None`: all there is.
    pub asked: Option<&'a Asked>,
}

/// An event that is being put into the terms of rules, as far as they ask.
struct Draft<'a> {
    facts: Facts,
    asked: Option<&'a Asked>,
}

impl Draft<'_> {
    fn set(&mut self, side: Side, name: &'static str, fact: impl FnOnce() -> Option<Fact>) {
        if self.asked.is_none_or(|asked| asked.contains(side, name)) {
            self.facts.set(side, name, fact());
        }
    }
}

/// An execution: the file whose code runs, and the script if there is one.
pub fn exec_events(
    event: &Exec,
    facts: &ExecFacts,
    verdict: &ExecVerdict,
    around: Around<'_>,
) -> (Facts, Option<Facts>) {
    let subject = |kind| subject(kind, &event.head.task, &event.creds, around);
    let file = of_file(subject(Kind::Exec), &facts.file, &verdict.file, around);
    let script = match (&facts.script, &verdict.script) {
        (Some(facts), Some(verdict)) => Some(of_file(subject(Kind::Script), facts, verdict, around)),
        _ => None,
    };
    (file.facts, script.map(|script| script.facts))
}

/// A module that enters the kernel.
pub fn module_event(event: &ModuleChange, around: Around<'_>) -> Facts {
    let class = match event.signature {
        SignatureState::Good => "signed",
        SignatureState::NotGood | SignatureState::Unknown => "unsigned",
    };
    let mut facts = subject(Kind::Module, &event.head.task, &event.creds, around);
    facts.set(Side::Object, "class", || Some(Fact::Text(class.to_owned())));
    facts.set(Side::Object, "name", || Some(text(&event.name)));
    facts.facts
}

/// A task that is not as it lawfully would be, or that another one wrote into.
pub fn task_event(event: &TaskFinding, around: Around<'_>) -> Facts {
    let class = task_class(event.kind);
    let kind = match class {
        Some(_) => Kind::Credential,
        None => Kind::Ptrace,
    };
    let mut facts = subject(kind, &event.task, &event.new, around);
    let Some(class) = class else {
        facts.set(Side::Object, "uid", || Some(Fact::Id(u64::from(event.new.euid))));
        return facts.facts;
    };
    facts.set(Side::Object, "class", || Some(Fact::Text(class.to_owned())));
    facts.set(Side::Object, "field", || {
        let fields = crate::detect::differences(event);
        Some(Fact::Texts(
            fields.iter().map(|one| one.field.to_owned()).collect(),
        ))
    });
    facts.facts
}

/// The class of a finding about a task, as rules name it; `None`: it is about another task's access to it.
pub const fn task_class(kind: TaskFindingKind) -> Option<&'static str> {
    Some(match kind {
        TaskFindingKind::CredNoWitness | TaskFindingKind::CredRule => "unwitnessed",
        TaskFindingKind::CredEdited | TaskFindingKind::AddressLimit => "tampered",
        TaskFindingKind::CredSwapped => "pointer",
        TaskFindingKind::NsRepointed | TaskFindingKind::RootMoved => "namespace",
        TaskFindingKind::SeccompWeakened => "seccomp",
        TaskFindingKind::Accessed => return None,
    })
}

/// The class of a file with this verdict, as rules name it.
pub const fn class_of(verdict: &Verdict, container: bool) -> &'static str {
    match verdict {
        Verdict::Trusted(file) => match file.origin {
            TrustOrigin::Verified | TrustOrigin::Derived => "trusted",
            TrustOrigin::Local | TrustOrigin::LocalUnsigned => "local",
            TrustOrigin::Provisional => "provisional",
            TrustOrigin::Retired => "retired",
        },
        Verdict::DigestMismatch { .. } => "mismatch",
        Verdict::Fileless { .. } => "fileless",
        Verdict::Untrusted {
            changed_config_of: Some(_),
        } => "config-modified",
        Verdict::Untrusted { .. } | Verdict::Unverified(_) if container => "container",
        // What could not be looked at gets the gate's answer to the unknown.
        Verdict::Untrusted { .. } | Verdict::Unverified(_) => "untrusted",
    }
}

/// Magic numbers of file systems, as `linux/magic.h` has them, and their types.
const FILESYSTEMS: &[(u64, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlay"),
    (0x9123_683e, "btrfs"),
    (0x6969, "nfs"),
    (0x6573_5546, "fuse"),
    (0xff53_4d42, "cifs"),
    (0x7371_7368, "squashfs"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x00c3_6400, "ceph"),
    (0x2fc1_2fc1, "zfs"),
    (0x4249_4e4d, "binfmt_misc"),
];

/// Type of a file system from its magic number.
pub fn filesystem_of(magic: u64) -> Option<&'static str> {
    let known = FILESYSTEMS.iter().find(|(number, _)| *number == magic);
    known.map(|(_, name)| *name)
}

/// Magic number of a type of file system.
pub fn filesystem_magic(name: &str) -> Option<u64> {
    let known = FILESYSTEMS.iter().find(|(_, known)| *known == name);
    known.map(|(number, _)| *number)
}

fn text(raw: &RawText) -> Fact {
    Fact::Text(raw.text().into_owned())
}

fn subject<'a>(kind: Kind, task: &Task, creds: &CredIds, around: Around<'a>) -> Draft<'a> {
    let mut event = Draft {
        facts: Facts::new(kind),
        asked: around.asked,
    };
    let id = |id: u32| Some(Fact::Id(u64::from(id)));
    event.set(Side::Subject, "uid", || id(creds.euid));
    event.set(Side::Subject, "gid", || id(creds.egid));
    // Nobody logged in is a value of its own, which policies write as 4294967295.
    let loginuid = task.loginuid.unwrap_or(u32::MAX);
    event.set(Side::Subject, "loginuid", || id(loginuid));
    event.set(Side::Subject, "container", || around.container.map(Fact::Flag));
    event.set(Side::Subject, "parent", || around.parent_executable.map(text));
    event.set(Side::Subject, "comm", || Some(text(&task.comm)));
    event.set(Side::Subject, "cgroup", || around.cgroup.and_then(own));
    event
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what an attribute is set to may be unknown"
)]
fn own(text: &str) -> Option<Fact> {
    Some(Fact::Text(text.to_owned()))
}

fn of_file<'a>(mut event: Draft<'a>, facts: &FileFacts, verdict: &Verdict, around: Around<'_>) -> Draft<'a> {
    let class = class_of(verdict, around.container == Some(true));
    event.set(Side::Object, "class", || own(class));
    let path = facts.path.as_ref().map(|(path, _)| path);
    event.set(Side::Object, "path", || path.map(text));
    let digest = facts.digest.as_ref().ok();
    event.set(Side::Object, "digest", || {
        digest.map(|digest| Fact::Text(hex::encode(digest.sha256)))
    });
    if let Some(owner) = verdict.owner() {
        event.set(Side::Object, "package", || own(&owner.package.name));
        event.set(Side::Object, "signer", || own(&owner.signer.fingerprint));
    }
    if let Some(info) = &facts.info {
        of_inode(&mut event, info);
    }
    event
}

fn of_inode(event: &mut Draft<'_>, info: &FileInfo) {
    event.set(Side::Object, "inode", || Some(Fact::Id(info.ino)));
    event.set(Side::Object, "owner", || Some(Fact::Id(u64::from(info.uid))));
    event.set(Side::Object, "device", || {
        Some(Fact::Text(format!("{}:{}", info.dev >> 20, info.dev & 0xf_ffff)))
    });
    let setid = info.mode & 0o6000 != 0;
    event.set(Side::Object, "setid", || Some(Fact::Flag(setid)));
    event.set(Side::Object, "filesystem", || {
        filesystem_of(info.fs_magic).and_then(own)
    });
}
