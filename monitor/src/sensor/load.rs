//! Loading and attaching, one program at a time, so that one refusal does not take the others with it.

use super::{
    Objects, SensorError, SensorOptions, gate,
    pins::{InPlace, PIN_ROOT},
    plan::{EXEC_CHECK, EXEC_CHECK_SLEEPABLE, Kind, Plan, READ_FILE, Spec},
    takeover::Span,
    task,
};
use crate::enrich::clock::boottime_ns;
use crate::probe::{self, KernelTypes};
use crate::sys::bpf;
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{Program, ProgramError},
};
use hardpan_abi::{
    GLOBAL_GENERATION, GLOBAL_HASH_MAX_BYTES, GLOBAL_PACKAGED_BUCKETS, GLOBAL_SELINUX_BLOBS,
    GLOBAL_TRUSTED_BUCKETS, TaskShadow, digests_apart_for, switch,
};
use hardpan_core::btf::Kind as BtfKind;
use hardpan_core::platform::{HookFamily, HookReport, HookState, Probes};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// What the kernel side keeps of a task.
#[expect(clippy::cast_possible_truncation, reason = "a few hundred bytes")]
const SHADOW_BYTES: u32 = size_of::<TaskShadow>() as u32;

/// Beside what every kernel has, a task's mark at an open needs these.
const OPEN_MARK: [&str; 2] = ["OFF_TASK_SYSCALL_WORK", "OFF_TASK_SECCOMP_FILTER"];

/// Where SELinux keeps how its parts of kernel structs are laid out.
const SELINUX_BLOBS: &str = "selinux_blob_sizes";

pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    /// What holds the programs at their hooks, by program.
    pub(super) links: Vec<(&'static str, OwnedFd)>,
    /// When they were put there, by program.
    pub(super) attached: Vec<(&'static str, Span)>,
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
    task_storage: bool,
    context_hook: bool,
    open_mark: bool,
    /// See [`GLOBAL_SELINUX_BLOBS`].
    selinux_blobs: u64,
}

impl Switches {
    /// What the programs get to know of it.
    fn globals(self, task_storage: bool, generation: u32) -> [(&'static str, u32); 13] {
        [
            (switch::TASK_BTF, u32::from(self.task_btf)),
            (switch::PROBE_READ, u32::from(self.probe_read)),
            (switch::D_PATH, u32::from(self.d_path)),
            (switch::IMA_FILE_HASH, u32::from(self.ima_file_hash)),
            (switch::INODE_STORAGE, u32::from(self.inode_storage)),
            (switch::SETGID_HOOK, u32::from(self.setgid_hook)),
            (switch::PRCTL_HOOK, u32::from(self.prctl_hook)),
            (switch::OVERRIDE_HOOKS, u32::from(self.override_hooks)),
            (switch::ROOT_HOOKS, u32::from(self.root_hooks)),
            (switch::OPEN_MARK, u32::from(self.open_mark)),
            (switch::CONTEXT_HOOK, u32::from(self.context_hook)),
            (switch::TASK_STORAGE, u32::from(task_storage)),
            (GLOBAL_GENERATION, generation),
        ]
    }
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
    let lsms = probes.lsm_list.as_deref().unwrap_or_default();
    let watches_selinux =
        plan.load.contains(&task::GUARD_FILE_OPEN) && lsms.iter().any(|lsm| lsm == "selinux");
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
        task_storage: helpers.task_btf && plan.typed && plan.load.contains(&task::GUARD_FILE_OPEN),
        context_hook: has("security_setprocattr") && probes.fentry.works(),
        open_mark: helpers.task_btf
            && plan.typed
            && OPEN_MARK
                .iter()
                .all(|field| types.resolved.value(field).is_some()),
        selinux_blobs: if watches_selinux {
            probe::symbol(SELINUX_BLOBS)
        } else {
            0
        },
    };
    // A helper can be known and yet be refused in the program that matters (inode storage in sleepable programs before
    // 5.17, task storage in tracing programs before 5.13): give up one convenience at a time rather than the hook.
    let mut switches = wanted;
    let mut loaded = loop {
        let loaded = load_with(objects, plan, types, options, switches)?;
        let failed = |family, name: &str| {
            let of_hook = |hook: &&HookReport| hook.family == family && hook.hook == name;
            let mut reports = loaded.hooks.iter().filter(of_hook);
            reports.any(|hook| matches!(hook.state, HookState::Failed { .. }))
        };
        if switches.task_storage && failed(HookFamily::Task, "sched_process_fork") {
            switches.task_storage = false;
        } else if switches.inode_storage && failed(HookFamily::Exec, EXEC_CHECK.hook) {
            switches.inode_storage = false;
        } else if switches.d_path && failed(HookFamily::Exec, EXEC_CHECK.hook) {
            switches.d_path = false;
        } else {
            break loaded;
        }
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
    if watches_selinux && wanted.selinux_blobs == 0 {
        loaded.hooks.push(HookReport {
            family: HookFamily::Task,
            hook: SELINUX_BLOBS.to_owned(),
            variant: "symbol".to_owned(),
            state: HookState::NotTried {
                why: "/proc/kallsyms does not tell where it is (kernel.kptr_restrict = 2?)".to_owned(),
            },
            consequence: "SELinux contexts that are overwritten in place are not noticed".to_owned(),
        });
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
    // Until everything is loaded.
    let in_place = if switches.task_storage {
        InPlace::task_storage(Path::new(PIN_ROOT), SHADOW_BYTES)
    } else {
        None
    };
    let flags = switches.globals(in_place.is_some(), options.generation);
    let buckets = &options.buckets();
    let mut loader = EbpfLoader::new();
    if let Some(storage) = &in_place {
        loader.map_pin_path("TASKS", &storage.path);
    }
    // Globals that no program of an object uses are not in it, so none must exist.
    for (name, value) in types.resolved.globals.iter().chain(&flags) {
        loader.override_global(name, value, false);
    }
    loader.override_global(GLOBAL_HASH_MAX_BYTES, &options.hash_max_bytes, false);
    loader.override_global(GLOBAL_SELINUX_BLOBS, &switches.selinux_blobs, false);
    if plan.full {
        loader.map_max_entries("TRUSTED", *buckets);
        loader.map_max_entries("TRUSTED_APART", digests_apart_for(options.trusted_max));
        loader.override_global(GLOBAL_TRUSTED_BUCKETS, buckets, false);
        loader.map_max_entries("PACKAGED", *buckets);
        loader.override_global(GLOBAL_PACKAGED_BUCKETS, buckets, false);
    }
    let ebpf = loader
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
    tracing::debug!("objects are read");
    let mut loading = Loading {
        ebpf,
        btf,
        hooks: Vec::with_capacity(plan.load.len()),
        links: Vec::with_capacity(plan.load.len()),
        attached: Vec::with_capacity(plan.load.len()),
    };
    let pairs: Vec<&Pair> = PAIRS.iter().filter(|pair| pair.is_in(plan, switches)).collect();
    for spec in &plan.load {
        if pairs.iter().any(|pair| pair.other == *spec) {
            // When it is the guard's turn.
            continue;
        }
        if *spec == gate::PACKAGE_OPEN && switches.d_path {
            // The gate's own program at `file_open` tells.
            continue;
        }
        match pairs.iter().find(|pair| pair.guard == *spec) {
            Some(pair) if loading.attach_both(pair) => {}
            Some(pair) => {
                loading.attach(spec, types, switches);
                loading.attach(&pair.other, types, switches);
            }
            None => loading.attach(spec, types, switches),
        }
    }
    let Loading {
        ebpf,
        links,
        attached,
        hooks,
        ..
    } = loading;
    Ok(Loaded {
        ebpf,
        links,
        attached,
        hooks,
    })
}

/// A guard of the task family and another's program at the same hook, which one program does both for.
struct Pair {
    both: &'static str,
    guard: Spec,
    other: Spec,
}

/// Where there are both and the verifier takes it, there is one program at a hook. Each is attached when it is the guard's
/// turn: by then all that keeps shadows up to date is there.
const PAIRS: [Pair; 6] = [
    pair("open_check", task::GUARD_FILE_OPEN, gate::FILE_OPEN),
    pair("exec_both_sleepable", task::GUARD_EXEC, EXEC_CHECK_SLEEPABLE),
    pair("exec_both", task::GUARD_EXEC, EXEC_CHECK),
    pair("bpf_both", task::GUARD_BPF, gate::BPF),
    pair("ptrace_both", task::GUARD_PTRACE, gate::PTRACE),
    pair("read_file_both", task::GUARD_READ_FILE, READ_FILE),
];

const fn pair(both: &'static str, guard: Spec, other: Spec) -> Pair {
    Pair { both, guard, other }
}

impl Pair {
    fn is_in(&self, plan: &Plan, switches: Switches) -> bool {
        // Both in one are too much for verifiers that do not know the types of tasks; only executions are not.
        let is_small = self.guard == task::GUARD_EXEC || switches.open_mark;
        is_small && plan.load.contains(&self.guard) && plan.load.contains(&self.other)
    }
}

/// Programs on their way to their hooks.
struct Loading {
    ebpf: Ebpf,
    btf: Option<Btf>,
    hooks: Vec<HookReport>,
    links: Vec<(&'static str, OwnedFd)>,
    attached: Vec<(&'static str, Span)>,
}

impl Loading {
    /// One program for both. False: the verifier did not take it.
    fn attach_both(&mut self, pair: &Pair) -> bool {
        let both = Spec {
            program: pair.both,
            ..pair.other
        };
        let began = std::time::Instant::now();
        let (state, link) = attach(&mut self.ebpf, &both, self.btf.as_ref());
        let insns = self.verified(pair.both);
        tracing::debug!(program = pair.both, took = ?began.elapsed(), insns, %state, "two in one");
        self.keep(pair.both, link);
        let is_attached = state == HookState::Attached;
        if is_attached {
            let reports = [pair.guard, pair.other].map(|spec| report(&spec, state.clone()));
            self.hooks.extend(reports);
        }
        is_attached
    }

    fn attach(&mut self, spec: &Spec, types: &KernelTypes, switches: Switches) {
        let before = match spec.program {
            program if program == gate::BLOCK_CLOSED.program => Some(&gate::BLOCK_CLOSED_BEFORE),
            program if program == gate::SCRIPT_SLEEPABLE.program => Some(&gate::SCRIPT),
            _ => None,
        };
        let before = before.filter(|_| not_in_kernel(spec, types).is_some());
        let spec = before.unwrap_or(spec);
        // Its first argument can be null, which only this helper tells on every kernel.
        if spec.hook == gate::MMAP.hook && !switches.probe_read {
            let why = "this kernel refuses bpf_probe_read_kernel".to_owned();
            self.hooks.push(report(spec, HookState::NotTried { why }));
            return;
        }
        if let Some(why) = not_in_kernel(spec, types) {
            self.hooks.push(report(spec, HookState::NotTried { why }));
            return;
        }
        let mut state = self.attach_one(spec, spec.program);
        // Which of the two a kernel has, only loading tells.
        if spec.program == gate::PATHS[0].program && matches!(state, HookState::Failed { .. }) {
            state = self.attach_one(&gate::SETATTR_IDMAP, spec.program);
        }
        let second = match spec.program {
            program if program == EXEC_CHECK_SLEEPABLE.program => Some(&EXEC_CHECK),
            program if program == gate::MMAP_SLEEPABLE.program => Some(&gate::MMAP),
            program if program == gate::SCRIPT_SLEEPABLE.program => Some(&gate::SCRIPT),
            _ => None,
        };
        let failed = matches!(state, HookState::Failed { .. });
        // Where it does not hash, report why, and still see the file.
        self.hooks.push(report(spec, state));
        if let Some(second) = second.filter(|_| failed) {
            let state = self.attach_one(second, second.program);
            self.hooks.push(report(second, state));
        }
    }

    fn attach_one(&mut self, spec: &Spec, name: &'static str) -> HookState {
        let began = std::time::Instant::now();
        let (state, link) = attach(&mut self.ebpf, spec, self.btf.as_ref());
        let insns = self.verified(spec.program);
        tracing::debug!(program = spec.program, took = ?began.elapsed(), insns, %state, "loaded");
        self.keep(name, link);
        state
    }

    fn keep(&mut self, name: &'static str, link: Option<(OwnedFd, Span)>) {
        if let Some((link, span)) = link {
            self.links.push((name, link));
            self.attached.push((name, span));
        }
    }

    /// How many instructions the verifier looked at, which is what loading takes; kernels tell it since 5.16.
    fn verified(&self, program: &str) -> Option<u32> {
        self.ebpf
            .program(program)?
            .info()
            .ok()?
            .verified_instruction_count()
    }
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

fn attach(ebpf: &mut Ebpf, spec: &Spec, btf: Option<&Btf>) -> (HookState, Option<(OwnedFd, Span)>) {
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
fn attach_program(program: &Program, spec: &Spec) -> io::Result<Option<(OwnedFd, Span)>> {
    let fd = program.fd().map_err(io::Error::other)?.as_fd();
    let name = match spec.kind {
        Kind::Iter => return Ok(None),
        Kind::RawTp => Some(CString::new(spec.hook).map_err(io::Error::other)?),
        _ => None,
    };
    // Without a clock all is told that an earlier generation left, also what this one tells.
    let now = || boottime_ns().unwrap_or(u64::MAX);
    let before_ns = now();
    let link = bpf::attach(fd, name.as_deref())?;
    let span = Span {
        before_ns,
        after_ns: now(),
    };
    Ok(Some((link, span)))
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::LoadError { io_error, .. } => io_error.raw_os_error(),
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}
