//! What rules are about: kinds of events, the classes of their objects, actions. (tidy: table)

use crate::platform::Tier;
use serde::Serialize;

/// A kind of event that rules decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A program is executed.
    Exec,
    /// A file is mapped executable.
    Library,
    /// A file is handed to an interpreter.
    Script,
    /// A kernel module is loaded.
    Module,
    /// A task's credentials or confinement changed unlawfully.
    Credential,
    /// The kernel itself differs from what it should be.
    Kernel,
    /// A BPF program is loaded.
    Bpf,
    /// A task is debugged or written into.
    Ptrace,
    /// A file is opened for writing.
    FileWrite,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Exec,
        Self::Library,
        Self::Script,
        Self::Module,
        Self::Credential,
        Self::Kernel,
        Self::Bpf,
        Self::Ptrace,
        Self::FileWrite,
    ];

    /// The kind's name in policies and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Library => "library",
            Self::Script => "script",
            Self::Module => "module",
            Self::Credential => "credential",
            Self::Kernel => "kernel",
            Self::Bpf => "bpf",
            Self::Ptrace => "ptrace",
            Self::FileWrite => "file-write",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The classes an event's object can have. Every event has exactly one of them.
    pub const fn classes(self) -> &'static [&'static str] {
        match self {
            // trusted: digest from a verified package. local: from a manifest. provisional: of a running, proven rpm
            // transaction. retired: of a replaced package, until reboot. config-modified: a changed %config file.
            // container: runs in a container's mount namespace. mismatch: a packaged path with another digest.
            // fileless: memfd, deleted or O_TMPFILE.
            Self::Exec | Self::Library | Self::Script => &[
                "trusted",
                "local",
                "provisional",
                "retired",
                "config-modified",
                "container",
                "untrusted",
                "mismatch",
                "fileless",
            ],
            Self::Module => &["signed", "unsigned", "untrusted-loader"],
            Self::Credential => &["unwitnessed", "tampered", "pointer", "namespace", "seccomp"],
            Self::Kernel => &[
                "text",
                "table",
                "hidden-module",
                "selinux",
                "usermode-helper",
                "self-protection",
            ],
            Self::Bpf => &["trusted-loader", "untrusted-loader"],
            Self::Ptrace => &["same-user", "other-user", "trusted-daemon"],
            // running: it is mapped somewhere. packaged: its content was judged and a package lists it. protected: the
            // policy's protect.paths name it. replaced: another file takes a protected one's name, or it is removed.
            // block-device: it is mounted, or something on it is in use.
            Self::FileWrite => &["running", "packaged", "protected", "replaced", "block-device"],
        }
    }

    /// The classes of which events are seen today; the others have their words already and no sensor yet.
    pub const fn observed_classes(self) -> &'static [&'static str] {
        match self {
            Self::Kernel => &[],
            _ => self.classes(),
        }
    }

    /// Whether such an event can be refused at this tier.
    ///
    /// Kernel findings are noticed after the fact everywhere. At tier C the kernel refuses nothing by itself; fanotify does
    /// what is executed, if the policy has it asked (`gate.fallback`).
    pub const fn deniable(self, tier: Tier, by_fanotify: bool) -> bool {
        match tier {
            Tier::None => false,
            Tier::C => by_fanotify && matches!(self, Self::Exec | Self::Script),
            Tier::B | Tier::A => !matches!(self, Self::Kernel),
        }
    }
}

/// What to do. Ordered: stronger is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Let it happen.
    Allow,
    /// Let it happen, record a finding.
    Alert,
    /// Refuse it (`EPERM`), record a finding.
    Deny,
    /// Refuse it where possible and kill the process.
    Kill,
}

impl Action {
    /// All actions, weakest first, as [`ACTIONS`](crate::policy::schema::ACTIONS) has them.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Alert, Self::Deny, Self::Kill];

    /// The action's name in policies and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Alert => "alert",
            Self::Deny => "deny",
            Self::Kill => "kill",
        }
    }

    /// The action with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// Whose attribute it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Of the task that does it.
    Subject,
    /// Of what it is done to.
    Object,
}

impl Side {
    /// `subject` or `object`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Object => "object",
        }
    }
}

/// Who can decide a condition on an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decider {
    /// The programs in the kernel, at the moment it happens.
    Kernel,
    /// The daemon, afterwards.
    UserSpace,
}

/// What an attribute's values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeKind {
    /// Numbers and ranges: `0`, `"1000-59999"`.
    Ids,
    /// `true` or `false`.
    Flag,
    /// SHA-256 digests in hexadecimal.
    Digests,
    /// Paths with `*` (within a directory) and `**` (across directories).
    Paths,
    /// `major:minor`.
    Devices,
    /// Names compared whole.
    Names,
    /// Names of capabilities: any of them suffices.
    Capabilities,
    /// One of the kind's classes ([`Kind::classes`]).
    Classes,
}

/// An attribute that conditions can name.
#[derive(Debug)]
pub struct Attribute {
    /// Whose.
    pub side: Side,
    /// Its name in policies.
    pub name: &'static str,
    /// What its values look like.
    pub kind: AttributeKind,
    /// Events that have it; empty: all.
    pub on: &'static [Kind],
    /// Whether programs in the kernel can decide it, at tiers A and B. At tier C nothing is decided there.
    pub in_kernel: bool,
    /// What it means.
    pub doc: &'static str,
}

const FILES: &[Kind] = &[Kind::Exec, Kind::Library, Kind::Script, Kind::FileWrite];
const GATED: &[Kind] = &[Kind::Exec, Kind::Library, Kind::Script];

const fn attribute(
    side: Side,
    name: &'static str,
    kind: AttributeKind,
    on: &'static [Kind],
    in_kernel: bool,
    doc: &'static str,
) -> Attribute {
    Attribute {
        side,
        name,
        kind,
        on,
        in_kernel,
        doc,
    }
}

/// Every attribute.
///
/// In the kernel are those that a program reads from the task, the inode or a map keyed by them. Paths, command names,
/// packages and signers are looked up by the daemon: they depend on mounts, on what the task says of itself, or on the
/// package index.
pub const ATTRIBUTES: &[Attribute] = &[
    attribute(
        Side::Subject,
        "uid",
        AttributeKind::Ids,
        &[],
        true,
        "effective user id",
    ),
    attribute(
        Side::Subject,
        "gid",
        AttributeKind::Ids,
        &[],
        true,
        "effective group id",
    ),
    attribute(
        Side::Subject,
        "loginuid",
        AttributeKind::Ids,
        &[],
        true,
        "audit login uid; 4294967295 is unset",
    ),
    attribute(
        Side::Subject,
        "cgroup",
        AttributeKind::Names,
        &[],
        true,
        "cgroup path, resolved to its id when the policy is loaded",
    ),
    attribute(
        Side::Subject,
        "container",
        AttributeKind::Flag,
        &[],
        true,
        "outside the initial PID and mount namespaces",
    ),
    attribute(
        Side::Subject,
        "capabilities",
        AttributeKind::Capabilities,
        &[],
        true,
        "effective capabilities, any of these",
    ),
    attribute(
        Side::Subject,
        "class",
        AttributeKind::Classes,
        &[],
        true,
        "digest class of the running program; decided in the kernel at tier A, but not for exec, library and script",
    ),
    attribute(
        Side::Subject,
        "exe",
        AttributeKind::Paths,
        &[],
        false,
        "path of the running program",
    ),
    attribute(
        Side::Subject,
        "comm",
        AttributeKind::Names,
        &[],
        false,
        "command name, which the task itself can change",
    ),
    attribute(
        Side::Subject,
        "package",
        AttributeKind::Names,
        &[],
        false,
        "package of the running program",
    ),
    attribute(
        Side::Subject,
        "parent",
        AttributeKind::Paths,
        &[],
        false,
        "path of the parent's program",
    ),
    attribute(
        Side::Object,
        "class",
        AttributeKind::Classes,
        &[],
        true,
        "what Hardpan knows of it",
    ),
    attribute(
        Side::Object,
        "digest",
        AttributeKind::Digests,
        GATED,
        true,
        "SHA-256 of the content; compiled into a mark on the digest's map entry",
    ),
    attribute(
        Side::Object,
        "inode",
        AttributeKind::Ids,
        FILES,
        true,
        "inode number; give the device as well",
    ),
    attribute(
        Side::Object,
        "device",
        AttributeKind::Devices,
        FILES,
        true,
        "device of the file system",
    ),
    attribute(
        Side::Object,
        "filesystem",
        AttributeKind::Names,
        FILES,
        true,
        "type of the file system",
    ),
    attribute(
        Side::Object,
        "owner",
        AttributeKind::Ids,
        FILES,
        true,
        "user id of the file's owner",
    ),
    attribute(
        Side::Object,
        "setid",
        AttributeKind::Flag,
        GATED,
        true,
        "set-user-id, set-group-id or file capabilities",
    ),
    attribute(
        Side::Object,
        "path",
        AttributeKind::Paths,
        FILES,
        false,
        "path as the task saw it",
    ),
    attribute(
        Side::Object,
        "package",
        AttributeKind::Names,
        GATED,
        false,
        "package that owns the digest",
    ),
    attribute(
        Side::Object,
        "signer",
        AttributeKind::Names,
        GATED,
        false,
        "fingerprint of the key that signed the package",
    ),
    attribute(
        Side::Object,
        "name",
        AttributeKind::Names,
        &[Kind::Module, Kind::Bpf],
        true,
        "name of the module or BPF program",
    ),
    attribute(
        Side::Object,
        "program_type",
        AttributeKind::Names,
        &[Kind::Bpf],
        true,
        "type of the BPF program",
    ),
    attribute(
        Side::Object,
        "field",
        AttributeKind::Names,
        &[Kind::Credential, Kind::Kernel],
        true,
        "what was changed",
    ),
    attribute(
        Side::Object,
        "uid",
        AttributeKind::Ids,
        &[Kind::Ptrace],
        true,
        "user id of the debugged task",
    ),
];

impl Attribute {
    /// The attribute of this side with this name.
    pub fn find(side: Side, name: &str) -> Option<&'static Self> {
        ATTRIBUTES
            .iter()
            .find(|attribute| attribute.side == side && attribute.name == name)
    }

    /// Who decides a condition on it at `tier`, for events of this kind.
    pub fn decider(&self, tier: Tier, kind: Kind) -> Decider {
        // What runs is known by the digest that the kernel took of it; programs that may sleep, which hash, cannot look
        // at what runs.
        let looks_at_program = self.side == Side::Subject && self.name == "class";
        // What is done about tampering is laid down by class before it happens.
        let is_laid_down = self.side == Side::Object && self.name == "class";
        let able = match kind {
            Kind::Credential => is_laid_down,
            _ => !looks_at_program || (tier == Tier::A && !GATED.contains(&kind)),
        };
        // Where fanotify refuses, a process does that knows what the kernel side would.
        let is_asked = match tier {
            Tier::A | Tier::B => true,
            Tier::C => matches!(kind, Kind::Exec | Kind::Script),
            Tier::None => false,
        };
        if self.in_kernel && is_asked && able {
            Decider::Kernel
        } else {
            Decider::UserSpace
        }
    }

    /// Whether events of this kind have it.
    pub fn applies_to(&self, kind: Kind) -> bool {
        self.on.is_empty() || self.on.contains(&kind)
    }
}

/// Attributes are the entries of one static table: the same entry or another one.
impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.side == other.side && self.name == other.name
    }
}

impl Eq for Attribute {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_actions_agree_with_the_schema() {
        for (n, attribute) in ATTRIBUTES.iter().enumerate() {
            assert!(
                ATTRIBUTES.iter().skip(n + 1).all(|other| other != attribute),
                "{}",
                attribute.name
            );
        }
        assert_eq!(
            Action::ALL.map(Action::name).as_slice(),
            crate::policy::schema::ACTIONS
        );
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}
