//! What a kernel answered when its features were tried.
//!
//! The daemon tries each feature by loading or calling (never by comparing versions: EL kernels backport) and fills
//! [`Probes`]; [`tier`](super::tier::tier) judges them.

use super::errno::errno_text;
use std::fmt;

/// What came of trying one kernel feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was tried and did what it should.
    Works,
    /// The kernel does not have it, or it was seen not to do its work.
    Missing {
        /// What was seen, e.g. `no /sys/kernel/btf/vmlinux`.
        why: String,
    },
    /// The kernel has refused it.
    Refused {
        /// Positive error number.
        errno: i32,
        /// The call that was refused, e.g. `bpf(BPF_PROG_LOAD)`.
        what: String,
    },
    /// It was not tried; nothing is known about it.
    NotTried {
        /// Why not, e.g. `needs root`.
        why: String,
    },
}

impl Outcome {
    /// It was tried and worked.
    pub const fn works(&self) -> bool {
        matches!(self, Self::Works)
    }

    /// It was tried and did not work. [`Outcome::NotTried`] is neither this nor [`works`](Self::works).
    pub const fn failed(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Refused { .. })
    }

    /// Nothing is known.
    pub const fn untried(&self) -> bool {
        matches!(self, Self::NotTried { .. })
    }

    /// One word for tables and JSON: `works`, `missing`, `refused`, `not-tried`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Missing { .. } => "missing",
            Self::Refused { .. } => "refused",
            Self::NotTried { .. } => "not-tried",
        }
    }

    /// The reason without the word: empty for [`Outcome::Works`].
    pub fn detail(&self) -> String {
        match self {
            Self::Works => String::new(),
            Self::Missing { why } | Self::NotTried { why } => why.clone(),
            Self::Refused { errno, what } => format!("{what}: {}", errno_text(*errno)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("works"),
            Self::Missing { why } => write!(f, "missing ({why})"),
            Self::Refused { errno, what } => write!(f, "refused ({what}: {})", errno_text(*errno)),
            Self::NotTried { why } => write!(f, "not tried ({why})"),
        }
    }
}

/// The kernel's lockdown level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lockdown {
    /// The kernel has no lockdown, or its state could not be read (EL 8 has no file for it).
    Unknown,
    /// Not locked down.
    None,
    /// User space must not change the running kernel.
    Integrity,
    /// User space must not read kernel memory either: `bpf_probe_read*` is refused in tracing programs.
    Confidentiality,
}

impl Lockdown {
    /// Reads `/sys/kernel/security/lockdown`, e.g. `none [integrity] confidentiality`.
    pub fn parse(text: &str) -> Self {
        match text.split(['[', ']']).nth(1) {
            Some("none") => Self::None,
            Some("integrity") => Self::Integrity,
            Some("confidentiality") => Self::Confidentiality,
            _ => Self::Unknown,
        }
    }

    /// The kernel's word for the level, `unknown` if there is none.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

/// One row of the probe table, as `hardpan doctor` shows it.
#[derive(Debug, Clone, Copy)]
pub struct ProbeRow<'a> {
    /// Stable name, in JSON and in reasons: the field's name in [`Probes`].
    pub name: &'static str,
    /// What was tried, in the kernel's own terms.
    pub title: &'static str,
    /// What Hardpan cannot do without it.
    pub consequence: &'static str,
    /// What came of it.
    pub outcome: &'a Outcome,
}

macro_rules! probes {
    ($($(#[$doc:meta])* $field:ident: $title:literal, $consequence:literal;)+) => {
        /// Everything probed on one kernel.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Probes {
            /// `uname -r`.
            pub kernel_release: String,
            /// `uname -m`.
            pub arch: String,
            /// `/sys/kernel/security/lsm`, split at commas; `None` if it could not be read.
            pub lsm_list: Option<Vec<String>>,
            /// Lockdown level.
            pub lockdown: Lockdown,
            $($(#[$doc])* pub $field: Outcome,)+
        }

        impl Probes {
            /// Probes of a kernel of which nothing has been tried yet, for the given reason.
            pub fn untried(kernel_release: &str, arch: &str, why: &str) -> Self {
                Self {
                    kernel_release: kernel_release.to_owned(),
                    arch: arch.to_owned(),
                    lsm_list: None,
                    lockdown: Lockdown::Unknown,
                    $($field: Outcome::NotTried { why: why.to_owned() },)+
                }
            }

            /// All outcomes in table order.
            pub fn rows(&self) -> Vec<ProbeRow<'_>> {
                vec![$(ProbeRow {
                    name: stringify!($field),
                    title: $title,
                    consequence: $consequence,
                    outcome: &self.$field,
                },)+]
            }

            /// The row of the probe with this name.
            pub fn row(&self, name: &str) -> Option<ProbeRow<'_>> {
                self.rows().into_iter().find(|row| row.name == name)
            }
        }
    };
}

probes! {
    /// The kernel's own BTF can be read and holds the fields we need.
    btf: "kernel BTF (/sys/kernel/btf/vmlinux)",
        "the offsets of kernel fields are unknown, so no program can be loaded";
    /// `BPF_MAP_TYPE_RINGBUF`.
    ringbuf: "BPF ring buffer map",
        "events cannot reach user space without loss accounting";
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT` loads and attaches.
    raw_tracepoint: "raw tracepoint programs",
        "executions cannot be seen where typed tracepoints are refused too";
    /// `BPF_PROG_TYPE_TRACING`, attach type `BPF_TRACE_RAW_TP`.
    tp_btf: "BTF tracepoint programs (tracing)",
        "tracepoint programs read kernel memory by address instead of by type";
    /// `BPF_PROG_TYPE_TRACING`, attach type `BPF_TRACE_FENTRY`, on `commit_creds`.
    fentry: "fentry programs (tracing)",
        "credential changes inside the kernel are not seen";
    /// `BPF_PROG_TYPE_LSM`, plain, on `bprm_check_security`: loads and attaches. Says nothing about firing.
    lsm: "LSM programs",
        "the very file the kernel is about to run is not seen; nothing can be denied in the kernel";
    /// An attached LSM program was seen to run. The only proof that `bpf` is active.
    lsm_fires: "an attached LSM program runs",
        "LSM programs load and attach without error and never run";
    /// The same, sleepable.
    lsm_sleepable: "sleepable LSM programs",
        "files cannot be hashed in the kernel before they run";
    /// A second task was seen while a first slept inside the program on the same CPU (upstream 6.2, EL 9.3).
    sleepable_not_skipped: "a sleepable LSM program is not skipped while another task sleeps in it",
        "an exec can slip through unseen while another exec is being hashed on the same CPU";
    /// `BPF_MODIFY_RETURN` on `security_bprm_check`.
    fmod_ret: "fmod_ret programs on security_bprm_check (tracing)",
        "nothing is lost: where bpf is not among the active LSMs, a process refuses through fanotify";
    /// Helper `bpf_ima_file_hash` in a sleepable LSM program.
    ima_file_hash: "helper bpf_ima_file_hash",
        "files are hashed in user space after they started, not in the kernel before";
    /// `BPF_MAP_TYPE_INODE_STORAGE`.
    inode_storage: "inode local storage",
        "digests are cached in a hash map instead of with the inode";
    /// `BPF_MAP_TYPE_TASK_STORAGE`.
    task_storage: "task local storage",
        "state of tasks is kept in a hash map instead of with the task";
    /// Helper `bpf_d_path` in an LSM program.
    d_path: "helper bpf_d_path",
        "records carry the path the caller passed, not the path of the file the kernel opened";
    /// `fanotify_init(FAN_CLASS_CONTENT)` and a permission mark.
    fanotify_perm: "fanotify permission events",
        "no gate in user space where the kernel has none";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_levels() {
        assert_eq!(
            Lockdown::parse("[none] integrity confidentiality\n"),
            Lockdown::None
        );
        assert_eq!(
            Lockdown::parse("none [integrity] confidentiality\n"),
            Lockdown::Integrity
        );
        assert_eq!(
            Lockdown::parse("none integrity [confidentiality]\n"),
            Lockdown::Confidentiality
        );
        assert_eq!(Lockdown::parse(""), Lockdown::Unknown);
        assert_eq!(Lockdown::parse("[]["), Lockdown::Unknown);
    }

    #[test]
    fn outcomes_in_words() {
        let refused = Outcome::Refused {
            errno: 1,
            what: "bpf(BPF_PROG_LOAD)".into(),
        };
        assert_eq!(refused.to_string(), "refused (bpf(BPF_PROG_LOAD): EPERM)");
        assert_eq!(refused.detail(), "bpf(BPF_PROG_LOAD): EPERM");
        assert!(refused.failed() && !refused.works() && !refused.untried());
        let untried = Outcome::NotTried {
            why: "needs root".into(),
        };
        assert!(!untried.failed() && !untried.works() && untried.untried());
    }

    #[test]
    fn every_row_says_what_its_absence_means() {
        let probes = Probes::untried("5.14.0", "x86_64", "a test");
        for row in probes.rows() {
            assert!(
                !row.title.is_empty() && !row.consequence.is_empty(),
                "{}",
                row.name
            );
            assert!(row.outcome.untried());
        }
        assert_eq!(probes.row("lsm").map(|row| row.title), Some("LSM programs"));
        assert!(probes.row("no such probe").is_none());
    }
}
