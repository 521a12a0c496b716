//! Every key a policy may hold: its type, its bounds, which direction is stronger, what it means. (tidy: table)
//!
//! One table feeds the parser, `policy check`'s suggestions, the strength order behind `final` and the reference in
//! docs/POLICY.md (`hardpan policy show --schema`).

use super::interpreter;
use super::rule::Kind as EventKind;

/// Version of the policy language. A file says which it was written for; others are refused.
pub const SCHEMA_VERSION: i64 = 1;

/// One segment of a key's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this.
    Fixed(&'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A name of the reader's world (a sysctl, a module, a path), at most 256 bytes of printable text.
    Name,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within these bounds.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// Free text of at most 4096 bytes without control characters.
    Text,
    /// A number or a text: what the kernel's own files take.
    Scalar,
    /// A list of texts (at most 1024).
    Texts,
}

/// Which of two values is the stronger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Neither: `final` then forbids any change.
    None,
    /// The larger number; `true` over `false`.
    Up,
    /// The smaller number; `false` over `true`.
    Down,
    /// The word that comes later in the [`Kind::Word`] list.
    Listed,
    /// The list that holds all of the other.
    Grow,
    /// As the key's own table says ([`scalar_order`](super::strength::scalar_order)).
    ByName,
}

/// A key of the policy language.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// Its path.
    pub path: &'static [Segment],
    /// What it takes.
    pub kind: Kind,
    /// Which value is stronger.
    pub order: Order,
    /// What it means, in one line.
    pub doc: &'static str,
}

/// Keys that are reserved: they are read and checked, and have no effect yet.
pub const RESERVED: [&[&str]; 1] = [&["sweep", "kernel_interval_s"]];

/// A section whose entries are named by the reader: `[sysctl."kernel.kptr_restrict"]`.
#[derive(Debug, Clone, Copy)]
pub struct EntrySpec {
    /// The section.
    pub section: &'static str,
    /// The field meant when an entry is written short: `sysctl."kernel.kptr_restrict" = 2`.
    pub main: &'static str,
}

/// The sections with named entries.
pub const ENTRIES: &[EntrySpec] = &[
    EntrySpec {
        section: "boot",
        main: "value",
    },
    EntrySpec {
        section: "cpu",
        main: "expect",
    },
    EntrySpec {
        section: "firewall",
        main: "value",
    },
    EntrySpec {
        section: "module",
        main: "deny",
    },
    EntrySpec {
        section: "mount",
        main: "options",
    },
    EntrySpec {
        section: "pam",
        main: "enabled",
    },
    EntrySpec {
        section: "service",
        main: "state",
    },
    EntrySpec {
        section: "sshd",
        main: "value",
    },
    EntrySpec {
        section: "suid",
        main: "access",
    },
    EntrySpec {
        section: "sysctl",
        main: "value",
    },
];

/// What to do about something, weakest first.
pub const ACTIONS: &[&str] = &["allow", "alert", "deny", "kill"];

const fn key(path: &'static [Segment], kind: Kind, order: Order, doc: &'static str) -> KeySpec {
    KeySpec {
        path,
        kind,
        order,
        doc,
    }
}

const fn at(name: &'static str) -> Segment {
    Segment::Fixed(name)
}

const ANY: Segment = Segment::Name;
const fn int(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

/// Every key, in the order `policy show` prints sections.
pub static KEYS: &[KeySpec] = &[
    // The exec gate.
    key(
        &[at("gate"), at("mode")],
        Kind::Word(&["observe", "enforce"]),
        Order::Listed,
        "whether `deny` and `kill` act or are only recorded",
    ),
    key(
        &[at("gate"), at("on_doubt")],
        Kind::Word(&["open", "closed"]),
        Order::Listed,
        "the answer when no verdict can be had (hash failed, map full)",
    ),
    key(
        &[at("gate"), at("daemon_lost")],
        Kind::Word(&["open", "closed"]),
        Order::Listed,
        "the gate's answer to unknown files while hardpand does not run",
    ),
    key(
        &[at("gate"), at("expected_tier")],
        Kind::Word(&["C", "B", "A"]),
        Order::Listed,
        "the tier this host should reach; `doctor` exits 1 below it",
    ),
    key(
        &[at("gate"), at("fallback")],
        Kind::Word(&["none", "fanotify"]),
        Order::Listed,
        "tier B: whether the gate judges files, with digests that user space takes when a file is executed (\"fanotify\")",
    ),
    key(
        &[at("gate"), at("fallback_timeout_ms")],
        int(10, 60_000),
        Order::None,
        "tier B: milliseconds after which a stalled answer is waited for no longer; what is missing is judged by `on_doubt`",
    ),
    key(
        &[at("gate"), at("max_hash_bytes")],
        int(1 << 20, 1 << 40),
        Order::None,
        "largest file hashed in the kernel if no signed file has its size (and 16 MiB at most); others are untrusted at once",
    ),
    key(
        &[at("gate"), at("max_digests")],
        int(1_000, 4_000_000),
        Order::None,
        "room for trusted digests in the kernel's map",
    ),
    key(
        &[at("gate"), at("boot_grace_s")],
        int(0, 3_600),
        Order::Down,
        "after boot, during which denials are only recorded",
    ),
    key(
        &[at("gate"), at("refresh_loss_percent")],
        int(0, 100),
        Order::Down,
        "a trust refresh that would lose more is held until confirmed",
    ),
    key(
        &[at("gate"), at("provisional_s")],
        int(10, 3_600),
        Order::Down,
        "seconds within which the package database must list a package that was opened to be installed",
    ),
    key(
        &[at("gate"), at("provisional")],
        Kind::Word(&["any", "system"]),
        Order::Listed,
        "whose packages may run before the package database lists them: what any package manager of root opens, or only what one installs into this system",
    ),
    key(
        &[at("gate"), at("withdrawn")],
        Kind::Word(&["report", "kill"]),
        Order::Listed,
        "what becomes, in mode enforce, of a process whose program is of a package that was opened and not installed",
    ),
    key(
        &[at("gate"), at("package_managers")],
        Kind::Texts,
        Order::None,
        "packages whose programs install packages: what they open is verified, and trusted before it is unpacked",
    ),
    key(
        &[at("gate"), at("interpreters"), Segment::OneOf(interpreter::NAMES)],
        Kind::Texts,
        Order::None,
        "packages (or, with a slash, files of packages) whose programs run files that they are given like this family's",
    ),
    key(
        &[at("gate"), at("must_run")],
        Kind::Texts,
        Order::None,
        "files that must be allowed to run before the gate enforces, where they exist",
    ),
    key(
        &[at("protect"), at("paths")],
        Kind::Texts,
        Order::Grow,
        "files whose writing is file-write of class protected; `*` stays within a directory, `**` crosses them",
    ),
    key(
        &[at("gate"), at("hooks"), at("exec")],
        Kind::Texts,
        Order::None,
        "hooks for executions, best first; the first that the probes accept is used",
    ),
    key(
        &[at("gate"), at("hooks"), at("library")],
        Kind::Texts,
        Order::None,
        "hooks for libraries, best first",
    ),
    key(
        &[at("gate"), at("hooks"), at("script")],
        Kind::Texts,
        Order::None,
        "hooks for files given to interpreters, best first",
    ),
    key(
        &[at("gate"), at("hooks"), at("module")],
        Kind::Texts,
        Order::None,
        "hooks for kernel modules, best first",
    ),
    key(
        &[at("gate"), at("hooks"), at("credential")],
        Kind::Texts,
        Order::None,
        "hooks for credential changes, best first",
    ),
    // What happens to what no rule names.
    key(
        &[
            at("default"),
            at("exec"),
            Segment::OneOf(EventKind::Exec.classes()),
        ],
        Kind::Word(ACTIONS),
        Order::Listed,
        "executables of this class",
    ),
    key(
        &[
            at("default"),
            at("library"),
            Segment::OneOf(EventKind::Library.classes()),
        ],
        Kind::Word(ACTIONS),
        Order::Listed,
        "libraries of this class",
    ),
    key(
        &[
            at("default"),
            at("script"),
            Segment::OneOf(EventKind::Script.classes()),
        ],
        Kind::Word(ACTIONS),
        Order::Listed,
        "scripts of this class",
    ),
    key(
        &[
            at("default"),
            at("module"),
            Segment::OneOf(EventKind::Module.classes()),
        ],
        Kind::Word(ACTIONS),
        Order::Listed,
        "kernel modules of this class",
    ),
    key(
        &[
            at("default"),
            at("credential"),
            Segment::OneOf(EventKind::Credential.classes()),
        ],
        Kind::Word(ACTIONS),
        Order::Listed,
        "credential findings of this class",
    ),
    key(
        &[
            at("default"),
            at("kernel"),
            Segment::OneOf(EventKind::Kernel.classes()),
        ],
        Kind::Word(ACTIONS),
        Order::Listed,
        "kernel integrity findings of this class",
    ),
    key(
        &[at("default"), at("bpf"), Segment::OneOf(EventKind::Bpf.classes())],
        Kind::Word(ACTIONS),
        Order::Listed,
        "BPF program loads of this class",
    ),
    key(
        &[
            at("default"),
            at("ptrace"),
            Segment::OneOf(EventKind::Ptrace.classes()),
        ],
        Kind::Word(ACTIONS),
        Order::Listed,
        "debugging of this class",
    ),
    key(
        &[
            at("default"),
            at("file-write"),
            Segment::OneOf(EventKind::FileWrite.classes()),
        ],
        Kind::Word(ACTIONS),
        Order::Listed,
        "writes to files of this class",
    ),
    // How often, how much.
    key(
        &[at("sweep"), at("tasks_interval_ms")],
        int(100, 600_000),
        Order::Down,
        "between two passes over all tasks' credentials",
    ),
    key(
        &[at("sweep"), at("kernel_interval_s")],
        int(1, 86_400),
        Order::Down,
        "between two passes over kernel text, tables and modules; reserved: no effect yet",
    ),
    key(
        &[at("sweep"), at("files_interval_s")],
        int(60, 31_536_000),
        Order::Down,
        "between two verifications of all packages' files",
    ),
    key(
        &[at("sweep"), at("audit_interval_s")],
        int(60, 31_536_000),
        Order::Down,
        "between two compliance audits by the daemon",
    ),
    key(
        &[at("hash"), at("budget_bytes_per_s")],
        int(1 << 20, 1 << 40),
        Order::None,
        "hashing in user space is slowed to this",
    ),
    key(
        &[at("hash"), at("threads")],
        int(0, 1_024),
        Order::None,
        "threads that hash; 0 = one per CPU",
    ),
    // Records.
    key(
        &[at("record"), at("exec")],
        Kind::Word(&["untrusted", "all"]),
        Order::Listed,
        "whether trusted executions are aggregated or recorded one by one",
    ),
    key(
        &[at("record"), at("aggregate_s")],
        int(1, 3_600),
        Order::None,
        "length of an aggregate's window",
    ),
    key(
        &[at("record"), at("argv_bytes")],
        int(0, 4_096),
        Order::None,
        "argument bytes kept per record",
    ),
    // Trust.
    key(
        &[at("trust"), at("key_sets")],
        Kind::Texts,
        Order::None,
        "which sets of pinned release keys vouch for packages",
    ),
    key(
        &[at("trust"), at("legacy_signatures")],
        Kind::Word(&["accept", "refuse"]),
        Order::Listed,
        "package signatures made with SHA-1, MD5 or DSA",
    ),
    key(
        &[at("trust"), at("foreign_packages")],
        Kind::Word(&["accept", "report", "distrust"]),
        Order::Listed,
        "packages signed by another vendor's pinned key",
    ),
    key(
        &[at("trust"), at("local_unsigned")],
        Kind::Word(&["accept", "refuse"]),
        Order::Listed,
        "digest manifests made on this host without a signature",
    ),
    key(
        &[at("policy"), at("unsigned_local")],
        Kind::Word(&["accept", "refuse"]),
        Order::Listed,
        "unsigned files in /etc/hardpan/policies",
    ),
    key(
        &[at("policy"), at("lifecycle")],
        Kind::Word(&["ignore", "warn", "refuse"]),
        Order::Listed,
        "what an end-of-life release means for enforcing",
    ),
    key(
        &[at("response"), at("freeze_cgroup")],
        Kind::Bool,
        Order::Up,
        "freeze the cgroup of a task whose credentials were tampered with",
    ),
    // The kernel as it should be.
    key(
        &[at("kernel"), at("lockdown")],
        Kind::Word(&["none", "integrity", "confidentiality"]),
        Order::Listed,
        "least lockdown expected",
    ),
    key(
        &[at("kernel"), at("lockdown_source")],
        Kind::Word(&["securityfs", "secure-boot"]),
        Order::None,
        "where the state is read: EL 8 has no securityfs file and ties it to Secure Boot",
    ),
    key(
        &[at("kernel"), at("module_signatures")],
        Kind::Word(&["report", "require"]),
        Order::Listed,
        "whether a module without a good signature is a finding",
    ),
    key(
        &[at("kernel"), at("function_entry")],
        Kind::Word(&["fentry", "endbr-fentry", "bti-fentry"]),
        Order::None,
        "what function entries look like: with IBT each starts with ENDBR, on Arm with BTI",
    ),
    key(
        &[at("cpu"), ANY, at("expect")],
        Kind::Word(&["not-on-this-hardware", "optional", "present"]),
        Order::Listed,
        "a processor feature that hardening relies on",
    ),
    // Hardening items.
    key(
        &[at("sysctl"), ANY, at("value")],
        Kind::Scalar,
        Order::ByName,
        "value of a sysctl",
    ),
    key(
        &[at("sysctl"), ANY, at("exists")],
        Kind::Bool,
        Order::None,
        "false: kernels of this release do not have it",
    ),
    key(
        &[at("sysctl"), ANY, at("one_way")],
        Kind::Bool,
        Order::None,
        "true: cannot be undone before the next boot; needs --irreversible",
    ),
    key(
        &[at("module"), ANY, at("deny")],
        Kind::Bool,
        Order::Up,
        "whether modprobe may load it",
    ),
    key(
        &[at("module"), ANY, at("built")],
        Kind::Bool,
        Order::None,
        "false: this release's kernel does not build it",
    ),
    key(
        &[at("boot"), ANY, at("value")],
        Kind::Scalar,
        Order::ByName,
        "argument on the kernel command line; \"\" for one without a value",
    ),
    key(
        &[at("boot"), ANY, at("absent")],
        Kind::Bool,
        Order::Up,
        "true: the argument must not be there",
    ),
    key(
        &[at("boot"), ANY, at("exists")],
        Kind::Bool,
        Order::None,
        "false: kernels of this release or processor do not know it",
    ),
    key(
        &[at("service"), ANY, at("state")],
        Kind::Word(&["ignored", "masked"]),
        Order::Listed,
        "state of a systemd unit",
    ),
    key(
        &[at("suid"), ANY, at("access")],
        Kind::Word(&["public", "wheelonly", "restricted"]),
        Order::Listed,
        "who may run a set-id program with its privileges",
    ),
    key(
        &[at("mount"), ANY, at("options")],
        Kind::Texts,
        Order::Grow,
        "options a mount in fstab must have",
    ),
    key(
        &[at("sshd"), ANY, at("value")],
        Kind::Scalar,
        Order::None,
        "a keyword of sshd_config",
    ),
    key(
        &[at("pam"), ANY, at("enabled")],
        Kind::Bool,
        Order::None,
        "whether a feature of authselect's profile is on",
    ),
    key(
        &[at("firewall"), at("default-zone"), at("value")],
        Kind::Text,
        Order::None,
        "firewalld's default zone; \"\" leaves it alone",
    ),
    key(
        &[at("crypto"), at("policy")],
        Kind::Text,
        Order::ByName,
        "system-wide crypto policy; \"\" leaves it alone",
    ),
    key(
        &[at("crypto"), at("reason")],
        Kind::Text,
        Order::None,
        "why, for people",
    ),
    key(
        &[at("crypto"), at("breaks")],
        Kind::Text,
        Order::None,
        "what may stop working",
    ),
    key(
        &[at("crypto"), at("controls")],
        Kind::Texts,
        Order::None,
        "control ids this satisfies",
    ),
    key(
        &[Segment::OneOf(ITEM_SECTIONS), ANY, at("managed")],
        Kind::Bool,
        Order::Up,
        "false: Hardpan leaves it alone",
    ),
    key(
        &[Segment::OneOf(ITEM_SECTIONS), ANY, at("reason")],
        Kind::Text,
        Order::None,
        "why, for people",
    ),
    key(
        &[Segment::OneOf(ITEM_SECTIONS), ANY, at("breaks")],
        Kind::Text,
        Order::None,
        "what may stop working",
    ),
    key(
        &[Segment::OneOf(ITEM_SECTIONS), ANY, at("controls")],
        Kind::Texts,
        Order::None,
        "control ids this satisfies",
    ),
];

/// Sections whose entries `hardpan harden` acts on, and `cpu`, which it only reports.
const ITEM_SECTIONS: &[&str] = &[
    "boot", "cpu", "firewall", "module", "mount", "pam", "service", "sshd", "suid", "sysctl",
];

impl Segment {
    /// Whether a segment of a path fits.
    pub fn matches(self, text: &str) -> bool {
        match self {
            Self::Fixed(name) => name == text,
            Self::OneOf(names) => names.contains(&text),
            Self::Name => true,
        }
    }
}

/// The specification of a complete path.
pub fn find(path: &[String]) -> Option<&'static KeySpec> {
    KEYS.iter().find(|spec| {
        spec.path.len() == path.len()
            && spec
                .path
                .iter()
                .zip(path)
                .all(|(segment, text)| segment.matches(text))
    })
}

/// The entry section with this name.
pub fn entry(section: &str) -> Option<&'static EntrySpec> {
    ENTRIES.iter().find(|entry| entry.section == section)
}

/// The names that may follow `prefix`; empty if any name may, or none.
pub fn names_after(prefix: &[String]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for spec in KEYS {
        let fits = spec.path.len() > prefix.len()
            && spec
                .path
                .iter()
                .zip(prefix)
                .all(|(segment, text)| segment.matches(text));
        if !fits {
            continue;
        }
        match spec.path.get(prefix.len()) {
            Some(Segment::Fixed(name)) => names.push(name),
            Some(Segment::OneOf(more)) => names.extend_from_slice(more),
            Some(Segment::Name) | None => {}
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// True if a path that starts with `prefix` can be completed to a key.
pub fn is_prefix(prefix: &[String]) -> bool {
    KEYS.iter().any(|spec| {
        spec.path.len() > prefix.len()
            && spec
                .path
                .iter()
                .zip(prefix)
                .all(|(segment, text)| segment.matches(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_found_by_its_own_path() {
        for spec in KEYS {
            assert!(!spec.doc.is_empty());
            let path: Vec<String> = spec
                .path
                .iter()
                .map(|segment| match segment {
                    Segment::Fixed(name) => (*name).to_owned(),
                    Segment::OneOf(names) => names.first().copied().unwrap_or_default().to_owned(),
                    Segment::Name => "anything".to_owned(),
                })
                .collect();
            let found = find(&path).expect("own path");
            assert!(std::ptr::eq(found, spec), "{path:?} is shadowed by another key");
        }
    }

    #[test]
    fn word_orders_need_words() {
        for spec in KEYS {
            let words = matches!(spec.kind, Kind::Word(_));
            assert!(spec.order != Order::Listed || words, "{:?}", spec.path);
        }
    }

    #[test]
    fn entry_sections_have_their_main_field() {
        for entry in ENTRIES {
            let names = names_after(&[entry.section.to_owned()]);
            let name = names.first().copied().unwrap_or("x");
            let path = [entry.section, name, entry.main].map(str::to_owned);
            assert!(find(&path).is_some(), "{}", entry.section);
        }
    }
}
