//! Which tier a kernel allows, and why not a better one.

use super::probes::{Outcome, Probes};
use std::fmt;

/// How much of Hardpan a kernel allows. Ordered: better tiers are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Executions cannot be seen at all.
    None,
    /// Tracepoints: executions are seen and judged after the fact.
    C,
    /// Typed programs in the LSM or at `security_bprm_check`: the very file is seen; files are hashed in user space.
    B,
    /// The kernel hashes what it is about to run.
    A,
}

impl Tier {
    /// `A`, `B`, `C` or `none`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::C => "C",
            Self::B => "B",
            Self::A => "A",
        }
    }

    /// The tier with this name, in either case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "C" | "c" => Some(Self::C),
            "B" | "b" => Some(Self::B),
            "A" | "a" => Some(Self::A),
            _ => None,
        }
    }

    /// What the tier means, in one line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::None => "executions cannot be seen",
            Self::C => "executions are seen by tracepoints and judged after they started",
            Self::B => "the kernel reports the very file it runs; files are hashed in user space",
            Self::A => "the kernel hashes what it is about to run",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One reason for a decision: what stands in the way of a better tier, or what is not proven about the chosen one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Name of the probe, a field of [`Probes`] (`lsm_list` included).
    pub probe: &'static str,
    /// What was tried and what came of it, e.g. `LSM programs refused (bpf(BPF_PROG_LOAD): EPERM)`.
    pub finding: String,
    /// What that means.
    pub consequence: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.finding, self.consequence)
    }
}

/// The chosen tier and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierDecision {
    /// The best tier the probes allow.
    pub tier: Tier,
    /// Why not a better one; what is unproven.
    pub why: Vec<Reason>,
    /// Tier A only: a behaviour probe has shown that concurrent execs are not skipped. Without it the hash of each
    /// record is still true, but a gate built on it could be slipped past.
    pub gate_proven: bool,
}

/// Chooses the tier. Pure: the same probes give the same decision.
pub fn tier(probes: &Probes) -> TierDecision {
    let mut why = Vec::new();
    let can_load = need(probes, &mut why, &["btf", "ringbuf"]);
    if !can_load {
        return TierDecision {
            tier: Tier::None,
            why,
            gate_proven: false,
        };
    }
    let lsm_active = lsm_active(probes, &mut why);
    if lsm_active && need(probes, &mut why, &["lsm_sleepable", "ima_file_hash"]) {
        match &probes.sleepable_not_skipped {
            Outcome::Works => {
                return TierDecision {
                    tier: Tier::A,
                    why,
                    gate_proven: true,
                };
            }
            Outcome::NotTried { .. } => {
                why.extend(reason(
                    probes,
                    "sleepable_not_skipped",
                    Some("digests in records are the kernel's own; as a gate it is unproven on this kernel"),
                ));
                return TierDecision {
                    tier: Tier::A,
                    why,
                    gate_proven: false,
                };
            }
            Outcome::Missing { .. } | Outcome::Refused { .. } => {
                why.extend(reason(probes, "sleepable_not_skipped", None));
            }
        }
    }
    // `fmod_ret` programs could refuse as well where LSM programs never run, but have no memory of inodes to go by: there
    // the gate is tier C's.
    if lsm_active {
        return TierDecision {
            tier: Tier::B,
            why,
            gate_proven: false,
        };
    }
    if !probes.fentry.works() {
        why.extend(reason(probes, "fentry", None));
    }
    if probes.tp_btf.works() || need(probes, &mut why, &["raw_tracepoint"]) {
        if !probes.tp_btf.works() {
            why.extend(reason(probes, "tp_btf", None));
        }
        return TierDecision {
            tier: Tier::C,
            why,
            gate_proven: false,
        };
    }
    why.extend(reason(probes, "tp_btf", None));
    TierDecision {
        tier: Tier::None,
        why,
        gate_proven: false,
    }
}

/// Leaves out what is needed for better tiers than `best`, as if the kernel had refused it: for hosts that are to be the
/// same as others, and for tests.
pub fn lower(probes: &mut Probes, best: Tier) {
    let why = || Outcome::NotTried {
        why: format!("sensor.best_tier is {best}"),
    };
    if best < Tier::A {
        probes.ima_file_hash = why();
    }
    if best < Tier::B {
        probes.lsm = why();
    }
}

/// True if all named probes work; otherwise the ones that do not are added to the reasons.
fn need(probes: &Probes, why: &mut Vec<Reason>, names: &[&str]) -> bool {
    let before = why.len();
    for name in names {
        let Some(row) = probes.row(name) else { continue };
        if !row.outcome.works() {
            why.extend(reason(probes, row.name, None));
        }
    }
    why.len() == before
}

/// LSM programs load *and* run. Loading and attaching succeed even where `bpf` is not among the active LSMs, so that
/// proves nothing: a program seen to run does, and the kernel's own list is the next best.
fn lsm_active(probes: &Probes, why: &mut Vec<Reason>) -> bool {
    if !need(probes, why, &["lsm"]) {
        return false;
    }
    match (&probes.lsm_fires, &probes.lsm_list) {
        (Outcome::Works, _) => true,
        (Outcome::Missing { .. } | Outcome::Refused { .. }, _) => {
            why.extend(reason(probes, "lsm_fires", None));
            if probes.lsm_list.as_ref().is_some_and(|list| !has_bpf(list)) {
                why.push(bpf_not_listed(probes));
            }
            false
        }
        (Outcome::NotTried { .. }, Some(list)) if has_bpf(list) => true,
        (Outcome::NotTried { .. }, Some(_)) => {
            why.push(bpf_not_listed(probes));
            false
        }
        (Outcome::NotTried { .. }, None) => {
            why.push(Reason {
                probe: "lsm_list",
                finding: "the list of active LSMs could not be read (/sys/kernel/security/lsm)".to_owned(),
                consequence: "LSM programs may never run, and none was seen to".to_owned(),
            });
            false
        }
    }
}

fn has_bpf(list: &[String]) -> bool {
    list.iter().any(|name| name == "bpf")
}

fn bpf_not_listed(probes: &Probes) -> Reason {
    let list = probes.lsm_list.as_deref().unwrap_or_default().join(",");
    Reason {
        probe: "lsm_list",
        finding: format!("bpf is not among the active LSMs ({list})"),
        consequence: "LSM programs load and attach without error and never run; boot with bpf in lsm="
            .to_owned(),
    }
}

/// The reason a probe's outcome gives, with its own or the table's consequence.
fn reason(probes: &Probes, name: &str, consequence: Option<&str>) -> Option<Reason> {
    let row = probes.row(name)?;
    Some(Reason {
        probe: row.name,
        finding: format!("{} {}", row.title, row.outcome),
        consequence: consequence.unwrap_or(row.consequence).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Builds probes from what a kernel answered, as saved by bpftool and by two probing programs.
    /// `None` if the shared data is not there.
    fn saved(el: &str) -> Option<Probes> {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/facts/el-probes");
        let read = |kind: &str| std::fs::read_to_string(dir.join(format!("{kind}-{el}.txt"))).ok();
        let (features, helpers, hooks, readme) = (
            read("features")?,
            read("helpers")?,
            read("hooks")?,
            std::fs::read_to_string(dir.join("README.md")).ok()?,
        );
        let feature = |line: &str| {
            if features.contains(&format!("{line} is available")) {
                Outcome::Works
            } else {
                assert!(
                    features.contains(&format!("{line} is NOT available")),
                    "{line} not in features-{el}"
                );
                Outcome::Missing {
                    why: format!("{line} is NOT available"),
                }
            }
        };
        let hook = |name: &str, column: usize| {
            let row = hooks
                .lines()
                .find(|l| l.starts_with(&format!("K {name} ")))
                .unwrap();
            match row
                .split_whitespace()
                .nth(2 + column)
                .unwrap()
                .parse::<i32>()
                .unwrap()
            {
                0 => Outcome::Works,
                errno => Outcome::Refused {
                    errno: -errno,
                    what: "bpf(BPF_PROG_LOAD)".into(),
                },
            }
        };
        let columns: Vec<&str> = helpers
            .lines()
            .find(|l| l.starts_with("HELPER id"))
            .unwrap()
            .split_whitespace()
            .skip(2)
            .collect();
        let ptype = |name: &str| {
            let row = helpers
                .lines()
                .find(|l| l.starts_with(&format!("PTYPE {name} ")))
                .unwrap();
            if row.contains(" load=0") {
                Outcome::Works
            } else {
                Outcome::Missing { why: row.to_owned() }
            }
        };
        let helper = |name: &str, kind: &str| {
            let column = columns.iter().position(|c| *c == kind).unwrap();
            let row = helpers
                .lines()
                .find(|l| l.starts_with(&format!("H {name} ")))
                .unwrap();
            match row.split_whitespace().nth(3 + column).unwrap() {
                "Y" => Outcome::Works,
                answer => Outcome::Missing {
                    why: format!("{name} in {kind}: {answer}"),
                },
            }
        };
        let list_row = readme
            .lines()
            .find(|l| l.starts_with("| LSM list by default"))
            .unwrap();
        let column = ["8.10", "9.6", "10.0"].iter().position(|e| *e == el).unwrap();
        let list = list_row.split('|').nth(2 + column).unwrap().trim();

        let mut probes = Probes::untried(el, "x86_64", "not in the saved answers");
        probes.lsm_list = Some(list.split(',').map(str::to_owned).collect());
        assert!(features.contains("CONFIG_DEBUG_INFO_BTF is set to y"));
        probes.btf = Outcome::Works;
        probes.ringbuf = feature("eBPF map_type ringbuf");
        probes.raw_tracepoint = feature("eBPF program_type raw_tracepoint");
        probes.tp_btf = ptype("tp_btf");
        probes.fentry = ptype("fentry");
        probes.fmod_ret = ptype("fmod_ret");
        probes.lsm = hook("bprm_check_security", 0);
        probes.lsm_sleepable = hook("bprm_check_security", 1);
        probes.ima_file_hash = helper("ima_file_hash", "lsm.s");
        probes.d_path = helper("d_path", "lsm");
        probes.inode_storage = feature("eBPF map_type inode_storage");
        probes.task_storage = feature("eBPF map_type task_storage");
        Some(probes)
    }

    fn check(el: &str, expected: Tier, reasons: &[&str]) {
        let Some(probes) = saved(el) else {
            println!("skipped: no shared data");
            return;
        };
        let decision = tier(&probes);
        let names: Vec<&str> = decision.why.iter().map(|r| r.probe).collect();
        assert_eq!(
            (decision.tier, names.as_slice()),
            (expected, reasons),
            "{:#?}",
            decision.why
        );
    }

    #[test]
    fn el8_is_b_for_want_of_the_hash_helper() {
        check("8.10", Tier::B, &["ima_file_hash"]);
    }

    #[test]
    fn el9_and_el10_are_a_with_the_gate_unproven() {
        for el in ["9.6", "10.0"] {
            check(el, Tier::A, &["sleepable_not_skipped"]);
            if let Some(probes) = saved(el) {
                assert!(!tier(&probes).gate_proven);
            }
        }
    }

    #[test]
    fn bpf_missing_from_the_lsm_list_leaves_c() {
        for el in ["8.10", "9.6", "10.0"] {
            let Some(mut probes) = saved(el) else {
                println!("skipped: no shared data");
                return;
            };
            probes.lsm_list.as_mut().unwrap().retain(|name| name != "bpf");
            let decision = tier(&probes);
            assert_eq!(decision.tier, Tier::C, "and fmod_ret works there");
            assert_eq!(decision.why.first().map(|r| r.probe), Some("lsm_list"));
        }
    }

    /// A kernel on which everything works.
    fn complete() -> Probes {
        let mut p = Probes::untried("6.12.0", "x86_64", "a test");
        p.lsm_list = Some(vec!["capability".into(), "bpf".into()]);
        for outcome in [
            &mut p.btf,
            &mut p.ringbuf,
            &mut p.raw_tracepoint,
            &mut p.tp_btf,
            &mut p.fentry,
            &mut p.lsm,
            &mut p.lsm_fires,
            &mut p.lsm_sleepable,
            &mut p.sleepable_not_skipped,
            &mut p.fmod_ret,
            &mut p.ima_file_hash,
        ] {
            *outcome = Outcome::Works;
        }
        p
    }

    #[test]
    fn a_tier_can_be_lowered_and_not_raised() {
        for (best, expected) in [(Tier::A, Tier::A), (Tier::B, Tier::B), (Tier::C, Tier::C)] {
            let mut p = complete();
            p.tp_btf = Outcome::Works;
            lower(&mut p, best);
            assert_eq!(tier(&p).tier, expected);
        }
        let mut p = complete();
        p.ima_file_hash = refused();
        lower(&mut p, Tier::A);
        let decision = tier(&p);
        assert_eq!(decision.tier, Tier::B);
        lower(&mut p, Tier::B);
        assert!(
            tier(&p).why[0].finding.contains("sensor.best_tier"),
            "{decision:?}"
        );
    }

    fn refused() -> Outcome {
        Outcome::Refused {
            errno: 1,
            what: "bpf(BPF_PROG_LOAD)".into(),
        }
    }

    #[test]
    fn everything_works() {
        let decision = tier(&complete());
        assert_eq!(
            decision,
            TierDecision {
                tier: Tier::A,
                why: vec![],
                gate_proven: true
            }
        );
    }

    #[test]
    fn a_program_seen_to_be_skipped_is_no_gate() {
        let mut p = complete();
        p.sleepable_not_skipped = Outcome::Missing {
            why: "the second exec was not seen".into(),
        };
        let decision = tier(&p);
        assert_eq!(decision.tier, Tier::B);
        assert!(decision.why[0].finding.contains("the second exec was not seen"));
    }

    #[test]
    fn a_program_that_attached_and_never_ran_is_not_active() {
        let mut p = complete();
        p.lsm_fires = Outcome::Missing {
            why: "attached; no call within 1 s".into(),
        };
        assert_eq!(tier(&p).tier, Tier::C);
    }

    #[test]
    fn an_unreadable_list_is_not_taken_for_an_active_bpf_lsm() {
        let mut p = complete();
        p.lsm_list = None;
        assert_eq!(tier(&p).tier, Tier::A, "seen to run");
        p.lsm_fires = Outcome::NotTried { why: "a test".into() };
        let decision = tier(&p);
        assert_eq!(decision.tier, Tier::C);
        assert_eq!(decision.why[0].probe, "lsm_list");
    }

    #[test]
    fn a_host_that_refuses_lsm_and_tracing_programs_is_c_and_says_which() {
        let mut p = complete();
        p.lsm_list = None;
        for outcome in [&mut p.lsm, &mut p.lsm_sleepable, &mut p.fentry, &mut p.tp_btf] {
            *outcome = refused();
        }
        let decision = tier(&p);
        assert_eq!(decision.tier, Tier::C);
        let names: Vec<&str> = decision.why.iter().map(|r| r.probe).collect();
        assert_eq!(names, ["lsm", "fentry", "tp_btf"]);
        assert_eq!(
            decision.why[0].to_string(),
            "LSM programs refused (bpf(BPF_PROG_LOAD): EPERM): the very file the kernel is about to run is not seen; \
             nothing can be denied in the kernel"
        );
    }

    #[test]
    fn nothing_tried_is_no_tier() {
        let p = Probes::untried("6.12.0", "x86_64", "needs root");
        let decision = tier(&p);
        assert_eq!(decision.tier, Tier::None);
        assert_eq!(decision.why.len(), 2);
    }

    #[test]
    fn tiers_are_ordered() {
        assert!(Tier::A > Tier::B && Tier::B > Tier::C && Tier::C > Tier::None);
        for t in [Tier::A, Tier::B, Tier::C, Tier::None] {
            assert_eq!(Tier::from_name(t.name()), Some(t));
        }
    }
}
