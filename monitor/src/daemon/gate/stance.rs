//! Who wants enforcement, and what stands against it: configuration, policy, the operator's word, the kernel.

use super::Gate;
use crate::chain::chain;
use crate::daemon::policy::InForce;
use crate::gate::{ACCEPT_LOSS, ModeFile, Wanted};
use hardpan_abi::GateMode;
use hardpan_core::platform::Tier;
use hardpan_core::policy::effective::Mode;
use hardpan_core::record::{Finding, FindingCode};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

impl Gate {
    /// Whether the kernel refuses at this moment.
    pub(in crate::daemon) fn enforces(&self) -> bool {
        self.mode == GateMode::Enforce
    }

    /// Enforcement is asked for by configuration and policy, nobody has taken it back, and the kernel can do it. Else
    /// why not: `Ok` findings are silence (nobody asked).
    pub(super) fn wanted(&self, policy: &InForce) -> Result<(), Option<Box<Finding>>> {
        if !self.configured || policy.gate.mode != Mode::Enforce {
            return Err(None);
        }
        match ModeFile::load(&self.state_dir) {
            Ok(Some(file)) if file.mode == Wanted::Observe => return Err(None),
            Ok(_) => {}
            // Break-glass must not fail because its file is damaged.
            Err(error) => {
                return Err(Some(Box::new(
                    Finding::new(
                        FindingCode::EnforceUnavailable,
                        format!("the gate observes: {}", chain(&error)),
                    )
                    .hint("`hardpan policy mode configured` writes the file anew"),
                )));
            }
        }
        let why = if let Some(why) = &self.missing {
            why.clone()
        } else if !self.gates_files(policy) {
            format!(
                "tier {} cannot refuse executions without gate.fallback = \"fanotify\"{}",
                self.tier,
                if self.objects_enforced(policy) {
                    "; modules, BPF programs and ptrace are refused as the policy says"
                } else {
                    ""
                }
            )
        } else if let [first, ..] = policy.table.problems.as_slice() {
            format!(
                "{} of the policy's rules cannot be decided before it happens: {first}",
                policy.table.problems.len()
            )
        } else {
            return Ok(());
        };
        Err(Some(Box::new(
            Finding::new(
                FindingCode::EnforceUnavailable,
                format!("the policy asks for gate.mode = \"enforce\"; the gate observes: {why}"),
            )
            .hint("`hardpan doctor` says what the kernel lacks, `hardpan policy check` what the policy does"),
        )))
    }

    /// Whether files are judged: the kernel takes digests, user space does for it, or answers by itself.
    pub(super) fn gates_files(&self, policy: &InForce) -> bool {
        let by_fanotify = policy.gate.fanotify_fallback;
        match self.tier {
            Tier::A => true,
            Tier::B => by_fanotify && self.maps.is_some(),
            Tier::C => by_fanotify,
            Tier::None => false,
        }
    }

    /// What needs no digests is enforced although files are not: everybody wants it, and nothing stands against it.
    pub(super) fn objects_enforced(&self, policy: &InForce) -> bool {
        self.tier == Tier::B
            && self.missing.is_none()
            && !self.gates_files(policy)
            && self.configured
            && policy.gate.mode == Mode::Enforce
            && policy.table.problems.is_empty()
            && !self.operator_observes()
    }

    /// Whether processes may be killed for what the policy says: everybody wants enforcement, and where the kernel
    /// refuses files it has begun.
    pub(in crate::daemon) fn kills(&self, policy: Option<&Arc<InForce>>) -> bool {
        let wanted = policy.is_some_and(|policy| policy.gate.mode == Mode::Enforce)
            && self.configured
            && !self.operator_observes();
        let gates_files = policy.is_some_and(|policy| self.gates_files(policy));
        wanted && (!gates_files || self.mode == GateMode::Enforce)
    }

    /// Whether an operator has said something since the last call.
    pub(in crate::daemon) fn operator_spoke(&mut self) -> bool {
        let stamp = |name: &str| {
            let meta = fs::metadata(self.state_dir.join(name)).ok()?;
            Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
        };
        let now = [stamp(ModeFile::NAME), stamp(ACCEPT_LOSS)];
        let spoke = now != self.operator && self.operator_known;
        self.operator = now;
        self.operator_known = true;
        spoke
    }

    pub(super) fn operator_observes(&self) -> bool {
        matches!(ModeFile::load(&self.state_dir), Ok(Some(file)) if file.mode == Wanted::Observe)
    }

    pub(super) fn operator_word(&self) -> String {
        match ModeFile::load(&self.state_dir) {
            Ok(Some(file)) => format!("uid {} asked for it: {}", file.uid, file.reason),
            _ => "an operator asked for it".to_owned(),
        }
    }
}
