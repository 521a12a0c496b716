//! `cargo xtask test vm`: the same scenarios on several kernels.

mod apt;
mod boot;
mod initramfs;
mod kernels;
mod packages;
pub(crate) mod qemu;
mod report;
mod root;

pub(crate) use boot::Boot;
pub(crate) use kernels::{Kernel, select};

pub(crate) use packages::Signer;

use crate::check::Tally;
use crate::cli::VmArgs;
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::setup::{self, Extent};
use crate::{ebpf, ui};
use hardpan_tests::plan::Plan;
use hardpan_tests::scenario::{self, Requirement, Scenario};
use initramfs::Archive;
use report::Report;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// `cargo xtask test vm`.
pub(crate) fn run(args: &VmArgs) -> Done {
    let places = Places::find()?;
    if args.list {
        return list(&places);
    }
    test(&places, args)?.finish()
}

/// Boots every chosen kernel and judges every chosen scenario on it.
pub(crate) fn test(places: &Places, args: &VmArgs) -> Done<Tally> {
    let scenarios = chosen(places, &args.scenario)?;
    setup::ensure(places, Extent::Vm, args.yes)?;
    let kernels = match &args.kernel_image {
        Some(image) => vec![kernels::outside(image)?],
        None => select(places, &args.kernel)?,
    };
    let guest = Guest::prepare(places, &kernels)?;
    let mut report = Report::new(&scenarios);
    for kernel in &kernels {
        let here: Vec<_> = scenarios
            .iter()
            .filter(|scenario| fits(scenario, kernel))
            .collect();
        let plan = Plan {
            groups: scenario::groups(&here),
            live: false,
        };
        let results = results_dir(places, &kernel.name);
        let boot = guest.boot(kernel, &plan, &args.append, &results)?;
        report.add(kernel, &scenarios, &here, &boot);
    }
    report.table();
    ui::say(&format!(
        "records, consoles and logs are in {}",
        results_dir(places, "").display()
    ));
    Ok(report.tally())
}

fn chosen(places: &Places, names: &[String]) -> Done<Vec<Scenario>> {
    let mut all = scenario::load_all(&scenarios_dir(places))?;
    for name in names {
        if !all.iter().any(|scenario| &scenario.name == name) {
            return Err(TaskError::cannot(
                format!("no scenario is named {name}"),
                "`cargo xtask test vm --list` lists them",
            ));
        }
    }
    all.retain(|scenario| names.is_empty() || names.contains(&scenario.name));
    Ok(all)
}

fn fits(scenario: &Scenario, kernel: &Kernel) -> bool {
    scenario.requires.iter().all(|requirement| match requirement {
        Requirement::Modules => kernel.modules.is_some(),
    })
}

fn list(places: &Places) -> Done {
    ui::data("kernels:");
    for kernel in kernels::MATRIX {
        ui::data(&format!("  {}", kernel.name));
    }
    ui::data("  host (only when asked for)");
    ui::data("scenarios:");
    for scenario in scenario::load_all(&scenarios_dir(places))? {
        ui::data(&format!("  {:24} {}", scenario.name, scenario.summary));
    }
    Ok(())
}

fn scenarios_dir(places: &Places) -> PathBuf {
    places.root.join("tests/scenarios")
}

fn results_dir(places: &Places, kernel: &str) -> PathBuf {
    places.target().join("vm/results").join(kernel)
}

/// A root file system that boots with any of some kernels.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Holds the root and the initramfs; gone when dropped.
    work: TempDir,
    root: PathBuf,
    scenarios: PathBuf,
}

impl Guest {
    /// Builds programs and packages.
    pub(crate) fn prepare(places: &Places, kernels: &[Kernel]) -> Done<Self> {
        let object = ebpf::build(places, true)?;
        let built = root::build(places, &object)?;
        let base = places.target().join("vm");
        place::make_dir(&base)?;
        let work = tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&base)
            .map_err(TaskError::file("creating a folder in", &base))?;
        let root = root::assemble(places, &built, kernels, work.path())?;
        Ok(Self {
            work,
            root,
            scenarios: scenarios_dir(places),
        })
    }

    /// One boot that carries out a plan.
    pub(crate) fn boot(&self, kernel: &Kernel, plan: &Plan, append: &str, results: &Path) -> Done<Boot> {
        let initramfs = self.archive(plan)?;
        ui::step(&format!(
            "booting {} ({} parts)",
            kernel.name,
            plan.groups.iter().map(|group| group.parts.len()).sum::<usize>()
        ));
        Boot::run(kernel, plan, &initramfs, append, results)
    }

    /// The initramfs for a plan.
    pub(crate) fn archive(&self, plan: &Plan) -> Done<PathBuf> {
        root::add_plan(&self.root, plan, &self.scenarios)?;
        let path = self.work.path().join("initramfs");
        let file = File::create(&path).map_err(TaskError::file("creating", &path))?;
        let mut archive = Archive::new(BufWriter::new(file));
        archive.tree(&self.root)?;
        // Without it the first files that init opens would become its standard streams.
        archive.device("dev/console", 0o600, 5, 1)?;
        archive.finish()?;
        Ok(path)
    }
}
