//! Which programs to load on this kernel: the probes' answers turned into a list.

use super::{SensorOptions, gate};
use hardpan_core::platform::{HookFamily, Probes};

/// How a program is loaded and attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    LsmSleepable,
    Lsm,
    TpBtf,
    Fentry,
    Fexit,
    Iter,
    RawTp,
}

impl Kind {
    /// The section prefix everybody knows it by.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::LsmSleepable => "lsm.s",
            Self::Lsm => "lsm",
            Self::TpBtf => "tp_btf",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Iter => "iter",
            Self::RawTp => "raw_tp",
        }
    }
}

/// One program of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) family: HookFamily,
    /// Name of the program in the object.
    pub(super) program: &'static str,
    /// Hook as the kernel names it.
    pub(super) hook: &'static str,
    pub(super) kind: Kind,
    /// What is not seen without it.
    pub(super) consequence: &'static str,
}

pub(super) const fn spec(
    family: HookFamily,
    program: &'static str,
    hook: &'static str,
    kind: Kind,
    consequence: &'static str,
) -> Spec {
    Spec {
        family,
        program,
        hook,
        kind,
        consequence,
    }
}

/// The program that hashes; first choice for `bprm_check_security`.
pub(super) const EXEC_CHECK_SLEEPABLE: Spec = spec(
    HookFamily::Exec,
    "exec_check_sleepable",
    "bprm_check_security",
    Kind::LsmSleepable,
    "files are hashed in user space after they started; scripts are not told from their interpreters",
);

/// Second choice: sees the file, does not hash.
pub(super) const EXEC_CHECK: Spec = spec(
    HookFamily::Exec,
    "exec_check",
    "bprm_check_security",
    Kind::Lsm,
    "scripts are not told from their interpreters",
);

/// Files that modules are loaded from.
pub(super) const READ_FILE: Spec = spec(
    HookFamily::Module,
    "module_read_file",
    "kernel_read_file",
    Kind::Lsm,
    "module records lack the file the module came from",
);

const TYPED: &[Spec] = &[
    spec(
        HookFamily::Exec,
        "exec_done",
        "sched_process_exec",
        Kind::TpBtf,
        "executions are not seen",
    ),
    spec(
        HookFamily::Exec,
        "exec_exit",
        "sched_process_exit",
        Kind::TpBtf,
        "notes of failed execs stay until their thread id is used again",
    ),
    spec(
        HookFamily::Cred,
        "cred_commit",
        "commit_creds",
        Kind::Fentry,
        "credential changes are not seen",
    ),
    spec(
        HookFamily::Cred,
        "cred_setuid",
        "task_fix_setuid",
        Kind::Lsm,
        "records of credential changes do not tell set*id calls from others",
    ),
    spec(
        HookFamily::Cred,
        "cred_capset",
        "capset",
        Kind::Lsm,
        "records of credential changes do not tell capset from others",
    ),
    spec(
        HookFamily::Cred,
        "cred_exec",
        "bprm_committing_creds",
        Kind::Lsm,
        "records of credential changes do not tell execs from others",
    ),
    READ_FILE,
    spec(
        HookFamily::Module,
        "module_load_data",
        "kernel_load_data",
        Kind::Lsm,
        "module records do not tell modules loaded from memory",
    ),
    spec(
        HookFamily::Module,
        "module_load",
        "module_load",
        Kind::TpBtf,
        "module loads are not seen",
    ),
    spec(
        HookFamily::Module,
        "module_free",
        "module_free",
        Kind::TpBtf,
        "module unloads are not seen",
    ),
];

const RAW: &[Spec] = &[
    spec(
        HookFamily::Exec,
        "exec_done_raw",
        "sched_process_exec",
        Kind::RawTp,
        "executions are not seen",
    ),
    spec(
        HookFamily::Module,
        "module_load_raw",
        "module_load",
        Kind::RawTp,
        "module loads are not seen",
    ),
    spec(
        HookFamily::Module,
        "module_free_raw",
        "module_free",
        Kind::RawTp,
        "module unloads are not seen",
    ),
];

/// What to load, and what is left out with the reason.
#[derive(Debug)]
pub(super) struct Plan {
    /// The object with the LSM programs and their inode storage; otherwise the one without.
    pub(super) full: bool,
    /// BTF tracepoints, or raw ones.
    pub(super) typed: bool,
    /// To be loaded, in this order.
    pub(super) load: Vec<Spec>,
    /// Left out: the kernel refused that kind of program when probed.
    pub(super) skipped: Vec<(Spec, String)>,
}

/// Chooses programs by what the kernel answered.
pub(super) fn plan(probes: &Probes, options: &SensorOptions) -> Plan {
    let &SensorOptions {
        watch_tasks,
        sleepable_exec,
        ..
    } = options;
    let typed = probes.tp_btf.works();
    // The object with the LSM programs holds an inode storage map, which the kernel refuses where `bpf` is not active.
    let lsm_runs = probes.lsm.works() && !probes.lsm_fires.failed() && probes.inode_storage.works();
    let why_not_lsm = || {
        if probes.lsm.works() && !probes.lsm_fires.failed() {
            format!("inode storage: {}", probes.inode_storage)
        } else if probes.lsm.works() {
            format!("LSM programs: {}", probes.lsm_fires)
        } else {
            format!("LSM programs: {}", probes.lsm)
        }
    };
    if !typed {
        let skipped = [EXEC_CHECK_SLEEPABLE]
            .iter()
            .chain(
                TYPED
                    .iter()
                    .chain(super::task::SPECS.iter().filter(|_| watch_tasks))
                    .filter(|spec| !RAW.iter().any(|raw| raw.hook == spec.hook)),
            )
            .filter(|spec| !matches!(spec.program, "exec_exit" | "shadow_exit" | "shadow_exec"))
            .map(|&spec| {
                let why = match spec.kind {
                    Kind::Lsm | Kind::LsmSleepable => why_not_lsm(),
                    _ => format!("tracing programs: {}", probes.fentry),
                };
                (spec, why)
            })
            .collect();
        return Plan {
            full: false,
            typed,
            load: RAW.to_vec(),
            skipped,
        };
    }
    let (mut load, mut skipped) = (Vec::new(), Vec::new());
    if !lsm_runs {
        skipped.push((EXEC_CHECK_SLEEPABLE, why_not_lsm()));
    } else if !sleepable_exec {
        load.push(EXEC_CHECK);
        let why = "the policy's gate.hooks.exec leaves lsm.s/bprm_check_security out".to_owned();
        skipped.push((EXEC_CHECK_SLEEPABLE, why));
    } else if probes.lsm_sleepable.works() && probes.ima_file_hash.works() {
        load.push(EXEC_CHECK_SLEEPABLE);
    } else {
        load.push(EXEC_CHECK);
        let why = if probes.lsm_sleepable.works() {
            &probes.ima_file_hash
        } else {
            &probes.lsm_sleepable
        };
        skipped.push((EXEC_CHECK_SLEEPABLE, format!("hashing in the kernel: {why}")));
    }
    for &spec in TYPED.iter().chain(super::task::SPECS) {
        // Switched off by choice is no gap to report.
        if spec.family == HookFamily::Task && !watch_tasks {
            continue;
        }
        match spec.kind {
            // It clears up behind the LSM program.
            _ if !lsm_runs && spec.program == "exec_exit" => {}
            Kind::Lsm | Kind::LsmSleepable if !lsm_runs => skipped.push((spec, why_not_lsm())),
            Kind::Fentry | Kind::Fexit if !probes.fentry.works() => {
                skipped.push((spec, format!("fentry programs: {}", probes.fentry)));
            }
            _ => load.push(spec),
        }
    }
    plan_gate(
        probes,
        options,
        lsm_runs.then_some(()).ok_or_else(why_not_lsm),
        &mut load,
        &mut skipped,
    );
    Plan {
        full: lsm_runs,
        typed,
        load,
        skipped,
    }
}

/// The gate's own programs; `bprm_check_security` is the exec family's.
fn plan_gate(
    probes: &Probes,
    options: &SensorOptions,
    lsm: Result<(), String>,
    load: &mut Vec<Spec>,
    skipped: &mut Vec<(Spec, String)>,
) {
    if let Err(why) = lsm {
        skipped.extend([(gate::MMAP_SLEEPABLE, why.clone()), (gate::MPROTECT, why.clone())]);
        skipped.extend(gate::PATHS.map(|spec| (spec, why.clone())));
        skipped.extend(gate::OBJECTS.map(|spec| (spec, why.clone())));
        return;
    }
    // Apart from the guard at the same hook: both in one are more than the verifier of 5.10 takes.
    load.extend([
        gate::FILE_OPEN,
        gate::MPROTECT,
        gate::EXEC_CAPS,
        gate::PACKAGE_LOCK,
    ]);
    load.extend(gate::OBJECTS);
    load.extend(gate::PATHS);
    if probes.fentry.works() {
        load.extend([gate::BLOCK_CLOSED, gate::PACKAGE_OPEN]);
    } else {
        skipped.push((gate::BLOCK_CLOSED, format!("fentry programs: {}", probes.fentry)));
    }
    if options.sleepable_exec && probes.lsm_sleepable.works() && probes.ima_file_hash.works() {
        load.extend([gate::MMAP_SLEEPABLE, gate::SCRIPT_SLEEPABLE]);
    } else {
        load.extend([gate::MMAP, gate::SCRIPT]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardpan_core::platform::Outcome;

    fn programs(plan: &Plan) -> Vec<&'static str> {
        plan.load.iter().map(|spec| spec.program).collect()
    }

    fn plan_of(probes: &Probes) -> Plan {
        plan(probes, &WATCHING)
    }

    const WATCHING: SensorOptions = SensorOptions {
        generation: 1,
        hash_max_bytes: 1 << 20,
        sleepable_exec: true,
        watch_tasks: true,
        trusted_max: 1,
    };

    #[test]
    fn tasks_are_not_watched_when_that_is_switched_off() {
        let off = SensorOptions {
            watch_tasks: false,
            ..WATCHING
        };
        let plan = plan(&probes(|_| ()), &off);
        assert!(plan.load.iter().all(|spec| spec.family != HookFamily::Task));
        assert!(plan.skipped.is_empty());
    }

    fn probes(change: impl FnOnce(&mut Probes)) -> Probes {
        let mut probes = Probes::untried("test", "x86_64", "a test");
        for outcome in [
            &mut probes.btf,
            &mut probes.tp_btf,
            &mut probes.fentry,
            &mut probes.lsm,
            &mut probes.lsm_fires,
            &mut probes.lsm_sleepable,
            &mut probes.ima_file_hash,
            &mut probes.inode_storage,
        ] {
            *outcome = Outcome::Works;
        }
        change(&mut probes);
        probes
    }

    #[test]
    fn everything_works() {
        let plan = plan_of(&probes(|_| ()));
        assert!(plan.typed && plan.skipped.is_empty());
        // The exec check, and the gate's own eight about files.
        let gates = 9 + gate::PATHS.len() + gate::OBJECTS.len();
        assert_eq!(
            plan.load.len(),
            TYPED.len() + super::super::task::SPECS.len() + gates
        );
        assert!(programs(&plan).contains(&"gate_mmap_sleepable"));
        assert!(programs(&plan).contains(&"exec_check_sleepable"));
    }

    #[test]
    fn a_policy_can_leave_the_sleepable_program_out() {
        let options = SensorOptions {
            sleepable_exec: false,
            ..WATCHING
        };
        let plan = plan(&probes(|_| ()), &options);
        assert!(
            programs(&plan).contains(&"exec_check") && !programs(&plan).contains(&"exec_check_sleepable")
        );
        assert!(plan.skipped[0].1.contains("gate.hooks.exec"));
    }

    #[test]
    fn no_hash_helper_takes_the_plain_program() {
        let plan = plan_of(&probes(|p| {
            p.ima_file_hash = Outcome::Missing {
                why: "unknown helper".into(),
            }
        }));
        assert!(
            programs(&plan).contains(&"exec_check") && !programs(&plan).contains(&"exec_check_sleepable")
        );
        assert_eq!(plan.skipped.len(), 1);
        assert!(plan.skipped[0].1.contains("unknown helper"));
    }

    #[test]
    fn bpf_not_among_the_lsms_leaves_tracing() {
        let plan = plan_of(&probes(|p| {
            p.lsm_fires = Outcome::Missing {
                why: "did not run".into(),
            }
        }));
        assert!(
            plan.typed && !plan.full,
            "the object with inode storage does not load there"
        );
        assert!(programs(&plan).contains(&"exec_done") && programs(&plan).contains(&"cred_commit"));
        assert!(
            plan.load
                .iter()
                .all(|spec| !matches!(spec.kind, Kind::Lsm | Kind::LsmSleepable))
        );
        assert!(plan.skipped.iter().all(|(_, why)| why.contains("did not run")));
    }

    #[test]
    fn nothing_but_raw_tracepoints() {
        let refused = || Outcome::Refused {
            errno: 1,
            what: "bpf(BPF_PROG_LOAD)".into(),
        };
        let plan = plan_of(&probes(|p| {
            p.tp_btf = refused();
            p.fentry = refused();
            p.lsm = refused();
        }));
        assert!(!plan.typed);
        assert_eq!(
            programs(&plan),
            ["exec_done_raw", "module_load_raw", "module_free_raw"]
        );
        let left_out: Vec<_> = plan.skipped.iter().map(|(spec, _)| spec.hook).collect();
        assert!(left_out.contains(&"commit_creds") && left_out.contains(&"bprm_check_security"));
        assert!(plan.skipped.iter().all(|(_, why)| why.contains("EPERM")));
    }
}
