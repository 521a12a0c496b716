//! The single probes.

use super::{KernelTypes, refused};
use crate::sys::bpf::{self, AttachType, Insn, Prog, ProgType};
use hardpan_core::{
    btf::Kind,
    platform::{Outcome, Probes},
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

const NOTHING: [Insn; 2] = [Insn::mov_imm(0, 0), Insn::exit()];
const HOOK: &str = "bpf_lsm_bprm_check_security";

/// A map type, as aya probes it (creates one, BTF included where the type wants it).
pub(super) fn map(kind: aya::maps::MapType) -> Outcome {
    match aya::sys::is_map_supported(kind) {
        Ok(true) => Outcome::Works,
        Ok(false) => Outcome::Missing {
            why: format!("the kernel has no {kind:?} maps"),
        },
        Err(error) => refused(&error.io_error, "bpf(BPF_MAP_CREATE)"),
    }
}

/// Loads and attaches an empty raw tracepoint program.
pub(super) fn raw_tracepoint() -> Outcome {
    let prog = Prog {
        kind: ProgType::RawTracepoint,
        attach: AttachType::None,
        btf_id: 0,
        sleepable: false,
        insns: &NOTHING,
    };
    load_and_attach(&prog, Some(c"sched_process_exec"))
}

/// All probes that need a BTF id.
pub(super) fn typed(types: &KernelTypes, probes: &mut Probes) {
    let function = |name: &str| types.btf.find(name, Kind::Func);
    let tracing = |attach| {
        move |btf_id| Prog {
            kind: ProgType::Tracing,
            attach,
            btf_id,
            sleepable: false,
            insns: &NOTHING,
        }
    };
    let exec_tracepoint = types.btf.find("btf_trace_sched_process_exec", Kind::Typedef);
    probes.tp_btf = with(exec_tracepoint, "tracepoint sched_process_exec", |id| {
        load_and_attach(&tracing(AttachType::TraceRawTp)(id), None)
    });
    probes.fentry = with(function("commit_creds"), "function commit_creds", |id| {
        load_and_attach(&tracing(AttachType::Fentry)(id), None)
    });
    probes.fmod_ret = with(
        function("security_bprm_check"),
        "function security_bprm_check",
        |id| load_and_attach(&tracing(AttachType::ModifyReturn)(id), None),
    );
    let hook = function(HOOK);
    probes.lsm = with(hook, HOOK, |id| load_and_attach(&lsm(id, false, &NOTHING), None));
    if !probes.lsm.works() {
        let why = || Outcome::NotTried {
            why: "LSM programs do not load".to_owned(),
        };
        probes.lsm_fires = why();
        probes.lsm_sleepable = why();
        probes.sleepable_not_skipped = why();
        probes.ima_file_hash = why();
        probes.d_path = why();
        return;
    }
    probes.lsm_fires = with(function("bpf_lsm_file_open"), "bpf_lsm_file_open", lsm_fires);
    probes.lsm_sleepable = with(hook, HOOK, |id| load_and_attach(&lsm(id, true, &NOTHING), None));
    probes.sleepable_not_skipped = if probes.lsm_sleepable.works() && probes.lsm_fires.works() {
        with(
            function("bpf_lsm_file_open"),
            "bpf_lsm_file_open",
            super::skip::probe,
        )
    } else {
        Outcome::NotTried {
            why: "sleepable LSM programs do not run".to_owned(),
        }
    };
    let offset = |global| {
        types
            .resolved
            .value(global)
            .and_then(|value| i16::try_from(value).ok())
    };
    let (file, path) = (offset("OFF_BPRM_FILE"), offset("OFF_FILE_PATH"));
    if let (Some(file), Some(path)) = (file, path) {
        probes.d_path = with(hook, HOOK, |id| {
            load_only(&lsm(id, false, &on_file(file, path, 147)))
        });
        probes.ima_file_hash = if probes.lsm_sleepable.works() {
            with(hook, HOOK, |id| load_only(&lsm(id, true, &on_file(file, 0, 193))))
        } else {
            Outcome::NotTried {
                why: "sleepable LSM programs do not load".to_owned(),
            }
        };
    }
}

pub(super) const fn lsm(btf_id: u32, sleepable: bool, insns: &[Insn]) -> Prog<'_> {
    Prog {
        kind: ProgType::Lsm,
        attach: AttachType::LsmMac,
        btf_id,
        sleepable,
        insns,
    }
}

/// `helper(bprm->file + add, buffer, 64)`, the shape of both `bpf_d_path` and `bpf_ima_file_hash`.
fn on_file(file: i16, add: i16, helper: i32) -> Vec<Insn> {
    let mut insns = vec![
        Insn::load(6, 1, 0),
        Insn::load(1, 6, file),
        Insn::add_imm(1, i32::from(add)),
    ];
    insns.extend([Insn::mov(2, 10), Insn::add_imm(2, -64)]);
    insns.extend((0..8).map(|word| Insn::store_imm(2, word * 8, 0)));
    insns.extend([
        Insn::mov_imm(3, 64),
        Insn::call(helper),
        Insn::mov_imm(0, 0),
        Insn::exit(),
    ]);
    insns
}

/// Attaches a counting program to `file_open`, opens a file, and looks whether it ran: LSM programs attach without
/// error and never run where `bpf` is not among the active LSMs.
fn lsm_fires(btf_id: u32) -> Outcome {
    let attempt = || -> io::Result<bool> {
        let counter = bpf::words()?;
        let mut insns = Vec::from(Insn::map_value(1, counter.as_fd()));
        insns.extend([
            Insn::mov_imm(2, 1),
            Insn::atomic_add(1, 2, 0),
            Insn::mov_imm(0, 0),
            Insn::exit(),
        ]);
        let prog = bpf::load(&lsm(btf_id, false, &insns))?;
        let _link: OwnedFd = bpf::attach(prog.as_fd(), None)?;
        drop(File::open("/proc/self/status")?);
        Ok(bpf::read_words(counter.as_fd())?.iter().sum::<u64>() > 0)
    };
    match attempt() {
        Ok(true) => Outcome::Works,
        Ok(false) => Outcome::Missing {
            why: "a program attached to file_open did not run when a file was opened".to_owned(),
        },
        Err(error) => refused(
            &error,
            "bpf(BPF_PROG_LOAD or BPF_RAW_TRACEPOINT_OPEN), lsm/file_open",
        ),
    }
}

/// A permission mark on a private temporary file, which can hold up nobody else.
pub(super) fn fanotify_perm() -> Outcome {
    use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
    let attempt = || -> io::Result<()> {
        let group = Fanotify::init(
            InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK,
            EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC,
        )?;
        let file = std::env::temp_dir().join(format!("hardpan-probe-{}", std::process::id()));
        std::fs::write(&file, b"")?;
        let marked = group.mark(
            MarkFlags::FAN_MARK_ADD,
            MaskFlags::FAN_OPEN_EXEC_PERM,
            nix::fcntl::AT_FDCWD,
            Some(&file),
        );
        std::fs::remove_file(&file)?;
        Ok(marked?)
    };
    match attempt() {
        Ok(()) => Outcome::Works,
        Err(error) => refused(&error, "fanotify_init/fanotify_mark(FAN_OPEN_EXEC_PERM)"),
    }
}

fn with(id: Option<u32>, what: &str, probe: impl FnOnce(u32) -> Outcome) -> Outcome {
    id.map_or_else(
        || Outcome::Missing {
            why: format!("the kernel's BTF has no {what}"),
        },
        probe,
    )
}

fn load_only(prog: &Prog<'_>) -> Outcome {
    match bpf::load(prog) {
        Ok(_unloaded_at_once) => Outcome::Works,
        Err(error) => refused(&error, "bpf(BPF_PROG_LOAD)"),
    }
}

fn load_and_attach(prog: &Prog<'_>, tracepoint: Option<&std::ffi::CStr>) -> Outcome {
    let loaded = match bpf::load(prog) {
        Ok(loaded) => loaded,
        Err(error) => return refused(&error, "bpf(BPF_PROG_LOAD)"),
    };
    match bpf::attach(loaded.as_fd(), tracepoint) {
        Ok(_detached_at_once) => Outcome::Works,
        Err(error) => refused(&error, "bpf(BPF_RAW_TRACEPOINT_OPEN)"),
    }
}
