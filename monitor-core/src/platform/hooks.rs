//! What became of each sensor hook.

use super::errno::errno_text;
use std::fmt;

/// A family of hooks: it has the same name in the wire crate, the eBPF programs, here and in the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookFamily {
    /// Program executions.
    Exec,
    /// Changes of credentials.
    Cred,
    /// Kernel modules.
    Module,
    /// Integrity of tasks.
    Task,
    /// The exec gate.
    Gate,
}

impl HookFamily {
    /// The family's name in records and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Cred => "cred",
            Self::Module => "module",
            Self::Task => "task",
            Self::Gate => "gate",
        }
    }
}

/// How far a hook got. Only [`HookState::SelfTested`] means that it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookState {
    /// Loaded and attached without error. That alone proves nothing.
    Attached,
    /// A real event came back through it.
    SelfTested,
    /// It could not be loaded or attached, or its self-test event never came.
    Failed {
        /// What was attempted, e.g. `load`, `attach`, `self-test: no event within 2 s`.
        what: String,
        /// Positive error number, if a call failed.
        errno: Option<i32>,
    },
    /// It was not tried.
    NotTried {
        /// Why not, e.g. `lsm programs are refused`.
        why: String,
    },
}

impl HookState {
    /// One word for tables and JSON: `attached`, `self-tested`, `failed`, `not-tried`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::SelfTested => "self-tested",
            Self::Failed { .. } => "failed",
            Self::NotTried { .. } => "not-tried",
        }
    }

    /// The reason without the word: empty if there is none.
    pub fn detail(&self) -> String {
        match self {
            Self::Attached | Self::SelfTested => String::new(),
            Self::Failed {
                what,
                errno: Some(errno),
            } => format!("{what}: {}", errno_text(*errno)),
            Self::Failed { what, errno: None } => what.clone(),
            Self::NotTried { why } => why.clone(),
        }
    }
}

impl fmt::Display for HookState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail();
        if detail.is_empty() {
            f.write_str(self.word())
        } else {
            write!(f, "{} ({detail})", self.word())
        }
    }
}

/// One hook, the variant that was chosen for this kernel, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReport {
    /// Family the hook belongs to.
    pub family: HookFamily,
    /// Hook as the kernel names it, e.g. `bprm_check_security`, `sched_process_exec`.
    pub hook: String,
    /// Way of attaching, e.g. `lsm.s`, `lsm`, `fentry`, `raw_tp`.
    pub variant: String,
    /// How far it got.
    pub state: HookState,
    /// What is not seen while it does not work; empty if another hook covers the same.
    pub consequence: String,
}

impl HookReport {
    /// The hook neither works nor is replaced by another: something is not seen.
    pub fn is_gap(&self) -> bool {
        !self.consequence.is_empty()
            && matches!(self.state, HookState::Failed { .. } | HookState::NotTried { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(state: HookState, consequence: &str) -> HookReport {
        HookReport {
            family: HookFamily::Cred,
            hook: "commit_creds".into(),
            variant: "fentry".into(),
            state,
            consequence: consequence.into(),
        }
    }

    #[test]
    fn a_gap_is_a_failed_hook_with_a_consequence() {
        let failed = HookState::Failed {
            what: "attach".into(),
            errno: Some(524),
        };
        assert_eq!(failed.to_string(), "failed (attach: ENOTSUPP)");
        assert!(report(failed.clone(), "credential changes are not seen").is_gap());
        assert!(!report(failed, "").is_gap());
        assert!(!report(HookState::SelfTested, "credential changes are not seen").is_gap());
        assert!(report(HookState::NotTried { why: "no BTF".into() }, "x").is_gap());
    }
}
