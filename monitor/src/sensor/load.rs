//! Loading and attaching, one program at a time, so that one refusal does not take the others with it.

use super::{
    Objects, SensorError, SensorOptions, gate,
    plan::{EXEC_CHECK, EXEC_CHECK_SLEEPABLE, Kind, Plan, Spec},
};
use crate::probe::{self, KernelTypes};
use aya::{Btf, Ebpf, EbpfLoader, programs::ProgramError};
use hardpan_abi::{GLOBAL_GENERATION, GLOBAL_HASH_MAX_BYTES, switch};
use hardpan_core::btf::Kind as BtfKind;
use hardpan_core::platform::{HookFamily, HookReport, HookState, Probes};

pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) hooks: Vec<HookReport>,
}

#[derive(Debug, Clone, Copy)]
struct Switches {
    task_btf: bool,
    probe_read: bool,
    d_path: bool,
    ima_file_hash: bool,
    inode_storage: bool,
    setgid_hook: bool,
    prctl_hook: bool,
    override_hooks: bool,
    root_hooks: bool,
}

/// Loads the plan's programs.
pub(super) fn load(
    objects: &Objects,
    plan: &Plan,
    probes: &Probes,
    types: &KernelTypes,
    options: &SensorOptions,
) -> Result<Loaded, SensorError> {
    let helpers = probe::helpers(types);
    let has = |function| types.btf.find(function, BtfKind::Func).is_some();
    let wanted = Switches {
        task_btf: helpers.task_btf && plan.typed,
        // Raw tracepoint programs know no other way to read.
        probe_read: helpers.probe_read || !plan.typed,
        d_path: probes.d_path.works(),
        ima_file_hash: probes.ima_file_hash.works(),
        inode_storage: probes.inode_storage.works(),
        setgid_hook: has("bpf_lsm_task_fix_setgid"),
        prctl_hook: has("security_task_prctl"),
        override_hooks: has("override_creds") && has("revert_creds") && probes.fentry.works(),
        root_hooks: has("set_fs_root") && has("chroot_fs_refs") && probes.fentry.works(),
    };
    // A helper can be known and yet be refused in the program that matters (inode storage in sleepable programs before
    // 5.17): give up one convenience at a time rather than the hook.
    let ladder = [
        wanted,
        Switches {
            inode_storage: false,
            ..wanted
        },
        Switches {
            inode_storage: false,
            d_path: false,
            ..wanted
        },
    ];
    let mut last = None;
    for switches in ladder {
        let loaded = load_with(objects, plan, types, options, switches)?;
        let exec_check_failed = loaded.hooks.iter().any(|hook| {
            hook.family == HookFamily::Exec
                && hook.hook == EXEC_CHECK.hook
                && matches!(hook.state, HookState::Failed { .. })
        });
        let done = !exec_check_failed;
        last = Some(loaded);
        if done {
            break;
        }
    }
    let Some(mut loaded) = last else {
        return Err(SensorError::NothingAttached("no attempt was made".to_owned()));
    };
    if !loaded.hooks.iter().any(|hook| hook.state == HookState::Attached) {
        let first = loaded
            .hooks
            .iter()
            .find(|hook| matches!(hook.state, HookState::Failed { .. }));
        let why = first.map_or_else(
            || "every kind of program was refused when probed".to_owned(),
            |hook| format!("{}/{}: {}", hook.variant, hook.hook, hook.state),
        );
        return Err(SensorError::NothingAttached(why));
    }
    loaded
        .hooks
        .extend(plan.skipped.iter().map(|(spec, why)| HookReport {
            state: HookState::NotTried { why: why.clone() },
            ..report(spec, HookState::Attached)
        }));
    Ok(loaded)
}

fn load_with(
    objects: &Objects,
    plan: &Plan,
    types: &KernelTypes,
    options: &SensorOptions,
    switches: Switches,
) -> Result<Loaded, SensorError> {
    let what = if plan.full {
        "with LSM programs"
    } else {
        "without LSM programs"
    };
    let fail = |source| SensorError::Load {
        what,
        source: Box::new(source),
    };
    let flags = [
        (switch::TASK_BTF, u32::from(switches.task_btf)),
        (switch::PROBE_READ, u32::from(switches.probe_read)),
        (switch::D_PATH, u32::from(switches.d_path)),
        (switch::IMA_FILE_HASH, u32::from(switches.ima_file_hash)),
        (switch::INODE_STORAGE, u32::from(switches.inode_storage)),
        (switch::SETGID_HOOK, u32::from(switches.setgid_hook)),
        (switch::PRCTL_HOOK, u32::from(switches.prctl_hook)),
        (switch::OVERRIDE_HOOKS, u32::from(switches.override_hooks)),
        (switch::ROOT_HOOKS, u32::from(switches.root_hooks)),
        (GLOBAL_GENERATION, options.generation),
    ];
    let mut loader = EbpfLoader::new();
    // Globals that no program of an object uses are not in it, so none must exist.
    for (name, value) in types.resolved.globals.iter().chain(&flags) {
        loader.override_global(name, value, false);
    }
    loader.override_global(GLOBAL_HASH_MAX_BYTES, &options.hash_max_bytes, false);
    if plan.full {
        loader.map_max_entries("TRUSTED", options.trusted_max.max(1));
    }
    let mut ebpf = loader
        .load(if plan.full {
            &objects.typed
        } else {
            &objects.tracepoints
        })
        .map_err(fail)?;
    let btf = if plan.typed {
        Some(Btf::from_sys_fs().map_err(|error| fail(error.into()))?)
    } else {
        None
    };

    let mut hooks = Vec::with_capacity(plan.load.len());
    for spec in &plan.load {
        let before = Some(&gate::BLOCK_CLOSED_BEFORE)
            .filter(|before| before.program == spec.program && not_in_kernel(spec, types).is_some());
        let spec = before.unwrap_or(spec);
        // Its first argument can be null, which only this helper tells on every kernel.
        if spec.hook == gate::MMAP.hook && !switches.probe_read {
            let why = "this kernel refuses bpf_probe_read_kernel".to_owned();
            hooks.push(report(spec, HookState::NotTried { why }));
            continue;
        }
        if let Some(why) = not_in_kernel(spec, types) {
            hooks.push(report(spec, HookState::NotTried { why }));
            continue;
        }
        let began = std::time::Instant::now();
        let mut state = attach(&mut ebpf, spec, btf.as_ref());
        tracing::debug!(program = spec.program, took = ?began.elapsed(), %state, "loaded");
        // Which of the two a kernel has, only loading tells.
        if spec.program == gate::PATHS[0].program && matches!(state, HookState::Failed { .. }) {
            state = attach(&mut ebpf, &gate::SETATTR_IDMAP, btf.as_ref());
        }
        let second = match spec.program {
            program if program == EXEC_CHECK_SLEEPABLE.program => Some(&EXEC_CHECK),
            program if program == gate::MMAP_SLEEPABLE.program => Some(&gate::MMAP),
            _ => None,
        };
        if let Some(second) = second
            && matches!(state, HookState::Failed { .. })
        {
            // Report why it does not hash, and still see the file.
            hooks.push(report(spec, state));
            state = attach(&mut ebpf, second, btf.as_ref());
            hooks.push(report(second, state));
            continue;
        }
        hooks.push(report(spec, state));
    }
    Ok(Loaded { ebpf, hooks })
}

/// Some hooks and functions of the task family came with later kernels, or belong to one architecture.
fn not_in_kernel(spec: &Spec, types: &KernelTypes) -> Option<String> {
    if spec.family != HookFamily::Task && spec.family != HookFamily::Gate {
        return None;
    }
    let function = match spec.kind {
        Kind::Lsm | Kind::LsmSleepable => format!("bpf_lsm_{}", spec.hook),
        Kind::Fentry | Kind::Fexit => spec.hook.to_owned(),
        Kind::TpBtf | Kind::Iter | Kind::RawTp => return None,
    };
    if types.btf.find(&function, BtfKind::Func).is_some() {
        None
    } else {
        Some(format!("this kernel has no function {function}"))
    }
}

fn report(spec: &Spec, state: HookState) -> HookReport {
    HookReport {
        family: spec.family,
        hook: spec.hook.to_owned(),
        variant: spec.kind.name().to_owned(),
        state,
        consequence: spec.consequence.to_owned(),
    }
}

fn attach(ebpf: &mut Ebpf, spec: &Spec, btf: Option<&Btf>) -> HookState {
    let Some(program) = ebpf.program_mut(spec.program) else {
        return HookState::Failed {
            what: format!(
                "the object has no program {}: it belongs to another build",
                spec.program
            ),
            errno: None,
        };
    };
    let result = match (spec.kind, btf) {
        (Kind::RawTp, _) => attach_raw(program, spec.hook),
        (_, None) => Err(("load", ProgramError::NotLoaded)),
        (Kind::Lsm | Kind::LsmSleepable, Some(btf)) => attach_lsm(program, spec.hook, btf),
        (Kind::TpBtf, Some(btf)) => attach_tp_btf(program, spec.hook, btf),
        (Kind::Fentry, Some(btf)) => attach_fentry(program, spec.hook, btf),
        (Kind::Fexit, Some(btf)) => attach_fexit(program, spec.hook, btf),
        (Kind::Iter, Some(btf)) => load_iter(program, spec.hook, btf),
    };
    match result {
        Ok(()) => HookState::Attached,
        Err((what, error)) => {
            let errno = errno(&error);
            tracing::debug!(hook = spec.hook, program = spec.program, %error, "{what} failed");
            let what = if errno.is_some() {
                what.to_owned()
            } else {
                format!("{what}: {error}")
            };
            HookState::Failed { what, errno }
        }
    }
}

type Step = Result<(), (&'static str, ProgramError)>;

macro_rules! attach_by {
    ($name:ident, $variant:ty, $load:expr, $attach:expr) => {
        fn $name(program: &mut aya::programs::Program, hook: &str, btf: &Btf) -> Step {
            let program: &mut $variant = program.try_into().map_err(|error| ("load", error))?;
            $load(program, hook, btf).map_err(|error| ("load", error))?;
            $attach(program).map_err(|error| ("attach", error))
        }
    };
}

attach_by!(
    attach_lsm,
    aya::programs::Lsm,
    aya::programs::Lsm::load,
    |program: &mut aya::programs::Lsm| program.attach().map(drop)
);
attach_by!(
    attach_tp_btf,
    aya::programs::BtfTracePoint,
    aya::programs::BtfTracePoint::load,
    |program: &mut aya::programs::BtfTracePoint| program.attach().map(drop)
);
attach_by!(
    attach_fentry,
    aya::programs::FEntry,
    aya::programs::FEntry::load,
    |program: &mut aya::programs::FEntry| program.attach().map(drop)
);
attach_by!(
    attach_fexit,
    aya::programs::FExit,
    aya::programs::FExit::load,
    |program: &mut aya::programs::FExit| program.attach().map(drop)
);
// An iterator is attached anew for each run.
attach_by!(
    load_iter,
    aya::programs::Iter,
    aya::programs::Iter::load,
    |_program: &mut aya::programs::Iter| Ok(())
);

fn attach_raw(program: &mut aya::programs::Program, hook: &str) -> Step {
    let program: &mut aya::programs::RawTracePoint = program.try_into().map_err(|error| ("load", error))?;
    program.load().map_err(|error| ("load", error))?;
    program.attach(hook).map(drop).map_err(|error| ("attach", error))
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::LoadError { io_error, .. } => io_error.raw_os_error(),
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}
