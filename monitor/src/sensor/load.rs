//! Loading and attaching, one program at a time, so that one refusal does not take the others with it.

use super::{
    Objects, SensorError, SensorOptions, gate,
    plan::{EXEC_CHECK, EXEC_CHECK_SLEEPABLE, Kind, Plan, Spec},
};
use crate::probe::{self, KernelTypes};
use crate::sys::bpf;
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{Program, ProgramError},
};
use hardpan_abi::{GLOBAL_GENERATION, GLOBAL_HASH_MAX_BYTES, switch};
use hardpan_core::btf::Kind as BtfKind;
use hardpan_core::platform::{HookFamily, HookReport, HookState, Probes};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    /// What holds the programs at their hooks, by program.
    pub(super) links: Vec<(&'static str, OwnedFd)>,
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
    let mut links = Vec::with_capacity(plan.load.len());
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
        let (mut state, mut link) = attach(&mut ebpf, spec, btf.as_ref());
        tracing::debug!(program = spec.program, took = ?began.elapsed(), %state, "loaded");
        // Which of the two a kernel has, only loading tells.
        if spec.program == gate::PATHS[0].program && matches!(state, HookState::Failed { .. }) {
            (state, link) = attach(&mut ebpf, &gate::SETATTR_IDMAP, btf.as_ref());
        }
        links.extend(link.map(|link| (spec.program, link)));
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
            let (state, link) = attach(&mut ebpf, second, btf.as_ref());
            links.extend(link.map(|link| (second.program, link)));
            hooks.push(report(second, state));
            continue;
        }
        hooks.push(report(spec, state));
    }
    Ok(Loaded { ebpf, links, hooks })
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

fn attach(ebpf: &mut Ebpf, spec: &Spec, btf: Option<&Btf>) -> (HookState, Option<OwnedFd>) {
    let Some(program) = ebpf.program_mut(spec.program) else {
        let state = HookState::Failed {
            what: format!(
                "the object has no program {}: it belongs to another build",
                spec.program
            ),
            errno: None,
        };
        return (state, None);
    };
    if let Err(error) = load_program(program, spec, btf) {
        let errno = errno(&error);
        tracing::debug!(hook = spec.hook, program = spec.program, %error, "load failed");
        let what = if errno.is_some() {
            "load".to_owned()
        } else {
            format!("load: {error}")
        };
        return (HookState::Failed { what, errno }, None);
    }
    match attach_program(program, spec) {
        Ok(link) => (HookState::Attached, link),
        Err(error) => {
            let state = HookState::Failed {
                what: "attach".to_owned(),
                errno: error.raw_os_error(),
            };
            (state, None)
        }
    }
}

fn load_program(program: &mut Program, spec: &Spec, btf: Option<&Btf>) -> Result<(), ProgramError> {
    use aya::programs::{BtfTracePoint, FEntry, FExit, Iter, Lsm, RawTracePoint};
    let hook = spec.hook;
    if spec.kind == Kind::RawTp {
        let program: &mut RawTracePoint = program.try_into()?;
        return program.load();
    }
    let btf = btf.ok_or(ProgramError::NotLoaded)?;
    match spec.kind {
        Kind::Lsm | Kind::LsmSleepable => <&mut Lsm>::try_from(program)?.load(hook, btf),
        Kind::TpBtf => <&mut BtfTracePoint>::try_from(program)?.load(hook, btf),
        Kind::Fentry => <&mut FEntry>::try_from(program)?.load(hook, btf),
        Kind::Fexit => <&mut FExit>::try_from(program)?.load(hook, btf),
        Kind::Iter => <&mut Iter>::try_from(program)?.load(hook, btf),
        Kind::RawTp => Ok(()),
    }
}

/// The link is this program's own, so that it can be pinned. `None`: an iterator is attached anew for each run.
fn attach_program(program: &Program, spec: &Spec) -> io::Result<Option<OwnedFd>> {
    let fd = program.fd().map_err(io::Error::other)?.as_fd();
    match spec.kind {
        Kind::Iter => Ok(None),
        Kind::RawTp => {
            let name = CString::new(spec.hook).map_err(io::Error::other)?;
            bpf::attach(fd, Some(&name)).map(Some)
        }
        _ => bpf::attach(fd, None).map(Some),
    }
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::LoadError { io_error, .. } => io_error.raw_os_error(),
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}
