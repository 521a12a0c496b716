//! Asks the running kernel what it can do, by doing it.
//!
//! Nothing here compares version numbers: EL kernels backport. Each feature is tried with a tiny program or call that
//! changes nothing; `hardpan-core` judges the answers.

mod features;
mod skip;

use crate::sys::bpf::{self, AttachType, Insn, Prog, ProgType};
use hardpan_core::{
    btf::{Btf, Kind, Resolved, resolve},
    platform::{Lockdown, Outcome, Probes},
};
use std::{fs, io, path::Path};

/// Where the kernel keeps its own BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The kernel's BTF with the values of all globals.
#[derive(Debug)]
pub struct KernelTypes {
    /// Parsed BTF.
    pub btf: Btf,
    /// Field offsets and enum constants.
    pub resolved: Resolved,
}

/// Reads and resolves the running kernel's BTF.
pub fn kernel_types() -> Result<KernelTypes, Outcome> {
    let data = fs::read(KERNEL_BTF).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Outcome::Missing {
            why: format!(
                "no {KERNEL_BTF}: the kernel was built without CONFIG_DEBUG_INFO_BTF, or /sys is not mounted"
            ),
        },
        _ => refused(&error, &format!("reading {KERNEL_BTF}")),
    })?;
    let btf = Btf::parse(data).map_err(|error| Outcome::Missing {
        why: format!("{KERNEL_BTF}: {error}"),
    })?;
    let resolved = resolve(&btf);
    if let Some(missing) = resolved.fatal().next() {
        return Err(Outcome::Missing {
            why: format!("{KERNEL_BTF} has no {}", missing.looked_for),
        });
    }
    Ok(KernelTypes { btf, resolved })
}

/// The kernel's address of a symbol of its own; 0 if it does not tell.
pub fn symbol(name: &str) -> u64 {
    use io::BufRead as _;
    let Ok(file) = fs::File::open("/proc/kallsyms") else {
        return 0;
    };
    // Some 200 000 lines; a module's symbols follow the kernel's and carry its name.
    for line in io::BufReader::with_capacity(1 << 16, file)
        .lines()
        .map_while(Result::ok)
    {
        let mut words = line.split_ascii_whitespace();
        if let (Some(address), Some(_), Some(found), None) =
            (words.next(), words.next(), words.next(), words.next())
            && found == name
        {
            return u64::from_str_radix(address, 16).unwrap_or(0);
        }
    }
    0
}

/// Probes the running kernel. Needs root; without it every outcome is "not tried" and says so.
pub fn probe() -> Probes {
    let (release, arch) = uname();
    let mut probes = Probes::untried(&release, &arch, "needs root");
    probes.lsm_list = read_trimmed("/sys/kernel/security/lsm").map(|list| {
        list.split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    });
    probes.lockdown = fs::read_to_string("/sys/kernel/security/lockdown")
        .map_or(Lockdown::Unknown, |text| Lockdown::parse(&text));
    if !nix::unistd::Uid::effective().is_root() {
        return probes;
    }
    raise_memlock();
    let types = match kernel_types() {
        Ok(types) => {
            probes.btf = Outcome::Works;
            Some(types)
        }
        Err(outcome) => {
            probes.btf = outcome;
            None
        }
    };
    probes.ringbuf = features::map(aya::maps::MapType::RingBuf);
    probes.inode_storage = features::map(aya::maps::MapType::InodeStorage);
    probes.task_storage = features::map(aya::maps::MapType::TaskStorage);
    probes.raw_tracepoint = features::raw_tracepoint();
    probes.fanotify_perm = features::fanotify_perm();
    if let Some(types) = types {
        features::typed(&types, &mut probes);
        return probes;
    }
    for outcome in [
        &mut probes.tp_btf,
        &mut probes.fentry,
        &mut probes.lsm,
        &mut probes.lsm_fires,
        &mut probes.lsm_sleepable,
        &mut probes.sleepable_not_skipped,
        &mut probes.fmod_ret,
        &mut probes.ima_file_hash,
        &mut probes.d_path,
    ] {
        *outcome = Outcome::NotTried {
            why: "no kernel BTF".to_owned(),
        };
    }
    probes
}

/// Helpers the programs may call on this kernel, beyond those [`Probes`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Helpers {
    /// `bpf_get_current_task_btf` in tracing programs.
    pub task_btf: bool,
    /// `bpf_probe_read_kernel` in tracing programs (refused under lockdown=confidentiality).
    pub probe_read: bool,
}

/// Tries the helpers that choose between variants inside a program.
pub fn helpers(types: &KernelTypes) -> Helpers {
    let target = types.btf.find("btf_trace_sched_process_exec", Kind::Typedef);
    let try_insns = |insns: &[Insn]| {
        target.is_some_and(|btf_id| {
            let prog = Prog {
                kind: ProgType::Tracing,
                attach: AttachType::TraceRawTp,
                btf_id,
                sleepable: false,
                insns,
            };
            bpf::load(&prog).is_ok()
        })
    };
    Helpers {
        task_btf: try_insns(&[Insn::call(158), Insn::mov_imm(0, 0), Insn::exit()]),
        probe_read: try_insns(&[
            Insn::load(3, 1, 0),
            Insn::mov(1, 10),
            Insn::add_imm(1, -8),
            Insn::store_imm(1, 0, 0),
            Insn::mov_imm(2, 8),
            Insn::call(113),
            Insn::mov_imm(0, 0),
            Insn::exit(),
        ]),
    }
}

/// Before 5.11 (EL 8) maps and programs count against RLIMIT_MEMLOCK, 64 KiB by default.
pub fn raise_memlock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    // Where this is refused, loading says so itself.
    let _refused = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

fn refused(error: &io::Error, what: &str) -> Outcome {
    match error.raw_os_error() {
        Some(errno) => Outcome::Refused {
            errno,
            what: what.to_owned(),
        },
        None => Outcome::Missing {
            why: format!("{what}: {error}"),
        },
    }
}

fn read_trimmed(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn uname() -> (String, String) {
    nix::sys::utsname::uname().map_or_else(
        |_| (String::new(), String::new()),
        |name| {
            (
                name.release().to_string_lossy().into_owned(),
                name.machine().to_string_lossy().into_owned(),
            )
        },
    )
}
