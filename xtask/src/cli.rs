//! The command line as typed.

use crate::error::Done;
use crate::{bench, check, ebpf, fuzz, guided, setup, tidy, truth, vm};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Hardpan's development tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Install what is missing: a BPF toolchain, QEMU, rpm and friends. Lists it and asks first
    Setup {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Build the eBPF objects and print where they are
    Ebpf {
        /// Without the programs' own diagnostics
        #[arg(long)]
        release: bool,
    },
    /// Show Hardpan at work: on this host where its kernel lets it, else in a virtual machine
    Run(RunArgs),
    /// Everything CI runs, in the same order; or a part of it
    Test {
        #[command(subcommand)]
        part: Option<TestPart>,
    },
    /// Compare with what users run today
    Bench {
        /// What to measure
        name: bench::Bench,
        /// Of `exec`: only these cases, beside "nothing loaded" (nothing, floor, fapolicyd, off, observe, enforce, on, again, auditd)
        #[arg(long)]
        case: Vec<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold audits against OpenSCAP's on the same made-up roots; each difference needs a reason
    Truth(truth::TruthArgs),
    /// Fuzz everything that reads hostile bytes; needs a nightly compiler and cargo-fuzz
    Fuzz {
        /// Only these targets: files in fuzz/fuzz_targets
        target: Vec<String>,
        /// For how long, each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Check the tree's own rules: file lengths, thin binaries, no private keys, no unsafe outside its rooms
    Tidy,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TestPart {
    /// Unit tests only; needs no BPF toolchain
    Unit,
    /// Scenarios in virtual machines only
    Vm(VmArgs),
    /// One host's state on its way from EL 8 to 9 to 10, a boot and a kernel each
    Upgrade,
    /// Two machines that a real firmware starts: with Secure Boot, a TPM and FIPS mode, and without
    Firmware {
        /// Only this one: secure-boot or open-boot
        #[arg(long, value_parser = ["secure-boot", "open-boot"])]
        machine: Option<String>,
    },
    /// The scenarios cred-soak, cred-million and gate-flood for long
    Soak(SoakArgs),
}

/// Scenarios that run for long in `test soak`.
pub(crate) const SOAKED: [&str; 3] = ["cred-soak", "cred-million", "gate-flood"];

#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// Forks with changes of credentials, namespaces, roots, filters and overlays (cred-soak)
    #[arg(long, default_value_t = 200_000)]
    pub(crate) forks: u32,
    /// Forks that end at once (cred-million)
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) many: u32,
    /// Files that nobody signed, mapped and executed (gate-flood)
    #[arg(long, default_value_t = 100_000)]
    pub(crate) files: u32,
    /// Executions of a fork bomb (gate-flood)
    #[arg(long, default_value_t = 50_000)]
    pub(crate) execs: u32,
    /// One of them only
    #[arg(long, value_name = "NAME", value_parser = SOAKED)]
    pub(crate) scenario: Option<String>,
    /// On this kernel
    #[arg(long, value_name = "NAME", default_value = "6.12")]
    pub(crate) kernel: String,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// In a virtual machine, whatever this host can do
    #[arg(long, conflicts_with = "native")]
    pub(crate) vm: bool,
    /// On this host, whatever its kernel can do
    #[arg(long)]
    pub(crate) native: bool,
    /// Do not ask before installing what is missing
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct VmArgs {
    /// Only this kernel (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) kernel: Vec<String>,
    /// Only this scenario (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Vec<String>,
    /// Every scenario on every kernel that can run it (by default long ones run on some of them); takes twice as long
    #[arg(long)]
    pub(crate) everywhere: bool,
    /// List kernels and scenarios
    #[arg(long)]
    pub(crate) list: bool,
    /// A kernel brought from outside (a bzImage), instead of the downloaded ones
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    pub(crate) kernel_image: Option<PathBuf>,
    /// More kernel command line; later options win
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    pub(crate) append: String,
    /// Do not ask before installing what is missing
    #[arg(long)]
    pub(crate) yes: bool,
}

impl bench::Bench {
    /// The name as typed.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// Does a task.
pub(crate) fn run(task: Task) -> Done {
    match task {
        Task::Setup { yes } => setup::run(yes),
        Task::Ebpf { release } => ebpf::run(release),
        Task::Run(args) => guided::run(&args),
        Task::Test { part: None } => check::everything(),
        Task::Test {
            part: Some(TestPart::Unit),
        } => check::unit(),
        Task::Test {
            part: Some(TestPart::Vm(args)),
        } => vm::run(&args),
        Task::Test {
            part: Some(TestPart::Upgrade),
        } => vm::upgrade(),
        Task::Test {
            part: Some(TestPart::Firmware { machine }),
        } => vm::firmware(machine.as_deref()),
        Task::Test {
            part: Some(TestPart::Soak(args)),
        } => vm::soak(&args),
        Task::Bench { name, case, json } => bench::run(name, &case, json),
        Task::Truth(args) => truth::run(&args),
        Task::Fuzz { target, seconds } => fuzz::run(&target, seconds),
        Task::Tidy => tidy::run(),
    }
}
