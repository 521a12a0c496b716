//! `cargo xtask test vm`: the same scenarios on several kernels.

pub(crate) mod apt;
mod attack;
mod boot;
mod dnf;
mod firmware;
mod initramfs;
mod interpreters;
mod kernels;
mod lab;
mod limited;
mod modules;
mod packages;
pub(crate) mod peers;
pub(crate) mod qemu;
mod report;
mod root;
mod sessions;
mod stuff;
mod tree;
mod upgrade;

pub(crate) use firmware::{run as firmware, test as test_firmware};
pub(crate) use kernels::{Kernel, select};
pub(crate) use root::Programs;

pub(crate) use packages::{Signer, rpm, rpmbuild};
pub(crate) use upgrade::{run as upgrade, test as test_upgrade};

use crate::check::Tally;
use crate::cli::{SOAKED, SoakArgs, VmArgs};
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::setup::{self, Extent};
use crate::{sh, signal, ui};
use boot::Boot;
use hardpan_tests::plan::Plan;
use hardpan_tests::predicate::Facts;
use hardpan_tests::scenario::{self, Requirement, Scenario};
use initramfs::Archive;
use report::Report;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// SCAP Security Guide's content of a newer Debian than the host's, downloaded where needed: older ones have none for
/// EL 10.
pub(crate) fn newer_content(places: &Places) -> Done<PathBuf> {
    const PACKAGE: &str = "ssg-nondebian";
    const INSIDE: &str = "usr/share/xml/scap/ssg/content";
    let kept = places.cache.join("ssg");
    if kept.is_dir() {
        return Ok(kept);
    }
    ui::step("downloading SCAP Security Guide's content");
    let mut session = apt::Session::open(places)?;
    let scratch = tempfile::tempdir_in(&places.cache)
        .map_err(TaskError::file("creating a folder in", &places.cache))?;
    let (tree, done) = (scratch.path().join("tree"), scratch.path().join("done"));
    for package in session.latest(&["forky"], PACKAGE, scratch.path())? {
        sh::quiet(Command::new("dpkg").arg("-x").arg(&package).arg(&tree))?;
    }
    // The package has two gigabytes for all distributions.
    for el in 8..=10 {
        let name = format!("ssg-rhel{el}-ds.xml");
        place::copy(&tree.join(INSIDE).join(&name), &done.join(&name))?;
    }
    fs::rename(&done, &kept).map_err(TaskError::file("moving content to", &kept))?;
    Ok(kept)
}

/// `cargo xtask test vm`.
pub(crate) fn run(args: &VmArgs) -> Done {
    let places = Places::find()?;
    if args.list {
        return list(&places);
    }
    test(&places, args)?.finish()
}

/// `cargo xtask test soak`.
pub(crate) fn soak(args: &SoakArgs) -> Done {
    let SoakArgs {
        forks,
        many,
        files,
        execs,
        ..
    } = args;
    let names = args
        .scenario
        .as_ref()
        .map_or_else(|| SOAKED.map(str::to_owned).to_vec(), |name| vec![name.clone()]);
    let vm = VmArgs {
        kernel: vec![args.kernel.clone()],
        scenario: names,
        ..VmArgs::default()
    };
    test_with(&Places::find()?, &vm, |scenario| {
        let run = &mut scenario.attack.run;
        *run = format!("HP_FORKS={forks}\nHP_MANY={many}\nHP_FILES={files}\nHP_EXECS={execs}\n{run}");
        // A fork that ends at once is ten times as quick as the rest.
        let times = [*forks, many / 10, files.saturating_add(*execs)];
        let times = times.map(u64::from).into_iter().max().unwrap_or_default();
        scenario.limit_s = scenario.limit_s.max(times / 20);
    })?
    .finish()
}

/// Boots every chosen kernel and judges every chosen scenario on it.
pub(crate) fn test(places: &Places, args: &VmArgs) -> Done<Tally> {
    test_with(places, args, |_| ())
}

fn test_with(places: &Places, args: &VmArgs, change: impl Fn(&mut Scenario)) -> Done<Tally> {
    let mut scenarios = chosen(places, &args.scenario)?;
    scenarios.iter_mut().for_each(change);
    // A kernel from outside is tried as a whole, and who names a kernel and a scenario wants to see just that.
    if args.kernel_image.is_some() || !(args.kernel.is_empty() || args.scenario.is_empty()) {
        for scenario in &mut scenarios {
            scenario.kernels.clear();
            scenario.usually.clear();
            scenario.any_kernel = false;
        }
    }
    if args.everywhere {
        for scenario in &mut scenarios {
            scenario.usually.clear();
        }
    }
    setup::ensure(places, Extent::Vm, args.yes)?;
    let kernels = match &args.kernel_image {
        Some(image) => vec![kernels::outside(image)?],
        None => select(places, &args.kernel)?,
    };
    let wants = |tree: Requirement| {
        kernels.iter().any(|kernel| {
            scenarios
                .iter()
                .any(|scenario| scenario.requires.contains(&tree) && fits(scenario, kernel))
        })
    };
    let lab = wants(Requirement::Lab).then(|| lab::tree(places)).transpose()?;
    let peers = wants(Requirement::Peers)
        .then(|| peers::tree(places))
        .transpose()?;
    let sessions = wants(Requirement::Sessions)
        .then(|| sessions::tree(places))
        .transpose()?;
    let dnf = wants(Requirement::Dnf).then(|| dnf::tree(places)).transpose()?;
    // Machines that share processors are as much slower.
    let slower = at_a_time(kernels.len()).div_ceil(processors());
    for scenario in &mut scenarios {
        scenario.limit_s = scenario.limit_s.saturating_mul(slower as u64);
    }
    let guest = Guest::prepare_with(places, &kernels, dnf.as_deref())?;
    let mut jobs = Vec::new();
    for (n, kernel) in kernels.iter().enumerate() {
        let here: Vec<_> = scenarios
            .iter()
            .filter(|scenario| fits(scenario, kernel) && (n == 0 || !scenario.any_kernel))
            .collect();
        let plan = Plan {
            groups: scenario::groups(&here),
            live: false,
        };
        let trees = [
            (&lab, Requirement::Lab),
            (&peers, Requirement::Peers),
            (&sessions, Requirement::Sessions),
            (&guest.dnf, Requirement::Dnf),
        ];
        let trees: Vec<&Path> = trees
            .into_iter()
            .filter(|(_, tree)| here.iter().any(|scenario| scenario.requires.contains(tree)))
            .filter_map(|(path, _)| path.as_deref())
            .collect();
        let initramfs = guest.archive_with(&kernel.name, &plan, &trees)?;
        jobs.push(Job {
            kernel,
            here,
            plan,
            initramfs,
            results: results_dir(places, &kernel.name),
        });
    }
    // The longest first, so that no processor waits at the end.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.parts()));
    let mut report = Report::new(&scenarios);
    boot_all(&jobs, &args.append, |job, boot| {
        report.add(job.kernel, &scenarios, &job.here, &boot);
    })?;
    report.sort(&kernels);
    report.table();
    ui::say(&format!(
        "records, consoles and logs are in {}",
        results_dir(places, "").display()
    ));
    Ok(report.tally())
}

/// The kernel on which scenarios with the tools of the field run.
const LAB_KERNEL: &str = "6.12";

/// A host that does not run for so long makes watchdogs in a guest bark.
const STOOD_STILL: Duration = Duration::from_secs(5);

/// Boots a machine that counts instructions, and returns the facts that its parts reported.
pub(crate) fn facts(places: &Places, kernel: &str, plan: &Plan, more: &[&Path]) -> Done<Facts> {
    setup::ensure(places, Extent::Vm, false)?;
    let mut kernels = select(places, &[kernel.to_owned()])?;
    for kernel in &mut kernels {
        kernel.counts = true;
    }
    let guest = Guest::prepare(places, &kernels)?;
    let mut facts = Facts::new();
    for kernel in &kernels {
        let initramfs = guest.archive_with(&kernel.name, plan, more)?;
        ui::step(&format!("booting {} with counted instructions", kernel.name));
        let boot = Boot::run(kernel, plan, &initramfs, "", &results_dir(places, "bench"))?;
        if let Some(trouble) = boot.troubles.first() {
            return Err(TaskError::cannot(
                format!("the machine was in trouble: {trouble}"),
                "its console and logs are in target/vm/results/bench",
            ));
        }
        facts.extend(boot.parts.into_values().flat_map(|part| part.facts));
    }
    Ok(facts)
}

/// One kernel's part of the work.
#[derive(Debug)]
struct Job<'a> {
    kernel: &'a Kernel,
    here: Vec<&'a Scenario>,
    plan: Plan,
    initramfs: PathBuf,
    results: PathBuf,
}

impl Job<'_> {
    fn parts(&self) -> usize {
        self.plan.groups.iter().map(|group| group.parts.len()).sum()
    }

    /// Boots the machine; once more if the host stood still meanwhile and something failed.
    fn boot(&self, append: &str) -> Done<Boot> {
        ui::step(&format!("booting {} ({} parts)", self.kernel.name, self.parts()));
        let run = || Boot::run(self.kernel, &self.plan, &self.initramfs, append, &self.results);
        let boot = run()?;
        if boot.stood_still < STOOD_STILL || report::is_clean(self.kernel, &self.here, &boot) {
            return Ok(boot);
        }
        ui::step(&format!(
            "booting {} again: this host stood still for {} s and something failed",
            self.kernel.name,
            boot.stood_still.as_secs()
        ));
        run()
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// How many of so many machines run at a time: twice as many as there are processors. An emulated one keeps at most one busy,
/// and waits for a third of its time (for the kernel to let go of programs, for records).
fn at_a_time(machines: usize) -> usize {
    machines.min(2 * processors())
}

/// Boots every job's machine.
fn boot_all(jobs: &[Job<'_>], append: &str, mut take: impl FnMut(&Job<'_>, Boot)) -> Done {
    let workers = at_a_time(jobs.len());
    let next = AtomicUsize::new(0);
    let (sender, results) = channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if signal::seen() {
                        break;
                    }
                    let boot = job.boot(append);
                    if sender.send((job, boot)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut interrupted = Ok(());
        for (job, boot) in results {
            match boot {
                Ok(boot) => take(job, boot),
                // The other machines end by themselves after Ctrl-C; after another error they finish their work.
                Err(error) => {
                    next.store(jobs.len(), Ordering::Relaxed);
                    interrupted = Err(error);
                }
            }
        }
        interrupted
    })
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
    all.retain(|scenario| {
        let is_named = names.contains(&scenario.name);
        if names.is_empty() && scenario.only_named {
            ui::say(&format!("not run: {} (only when it is named)", scenario.name));
        }
        is_named || (names.is_empty() && !scenario.only_named)
    });
    Ok(all)
}

fn fits(scenario: &Scenario, kernel: &Kernel) -> bool {
    let is_meant = |names: &[String]| names.is_empty() || names.contains(&kernel.name);
    is_meant(&scenario.kernels)
        && is_meant(&scenario.usually)
        && scenario.requires.iter().all(|requirement| match requirement {
            Requirement::Modules => kernel.modules.is_some(),
            Requirement::AttackModule => kernel.attack.is_some(),
            // A hundred megabytes more to unpack: one kernel is enough for what does not depend on kernels.
            Requirement::Lab => kernel.name == LAB_KERNEL,
            // Where they are of use: such scenarios name their kernels.
            Requirement::Peers | Requirement::Sessions | Requirement::Dnf => true,
        })
}

fn list(places: &Places) -> Done {
    ui::data("kernels:");
    for kernel in kernels::MATRIX {
        ui::data(&format!("  {}", kernel.name));
    }
    for name in kernels::VARIANTS
        .iter()
        .map(|variant| variant.name)
        .chain([limited::NAME, "host"])
    {
        ui::data(&format!("  {name} (only when asked for)"));
    }
    ui::data("scenarios:");
    for scenario in scenario::load_all(&scenarios_dir(places))? {
        let when = if scenario.only_named {
            " (only when it is named)"
        } else {
            ""
        };
        ui::data(&format!("  {:24} {}{when}", scenario.name, scenario.summary));
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
    /// The packages that are installed in it.
    packages: Vec<PathBuf>,
    /// dnf's packages, to be archived over the root.
    dnf: Option<PathBuf>,
}

impl Guest {
    /// Builds programs and packages.
    pub(crate) fn prepare(places: &Places, kernels: &[Kernel]) -> Done<Self> {
        Self::prepare_with(places, kernels, None)
    }

    /// The same with packages of dnf, out of a tree.
    fn prepare_with(places: &Places, kernels: &[Kernel], dnf: Option<&Path>) -> Done<Self> {
        let built = Programs::build(places)?;
        let base = places.target().join("vm");
        place::make_dir(&base)?;
        let work = tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&base)
            .map_err(TaskError::file("creating a folder in", &base))?;
        let assembled = root::assemble(places, &built, kernels, dnf, work.path())?;
        Ok(Self {
            work,
            root: assembled.root,
            packages: assembled.packages,
            dnf: assembled.dnf,
            scenarios: scenarios_dir(places),
        })
    }

    /// An initramfs for a plan.
    pub(crate) fn archive(&self, name: &str, plan: &Plan) -> Done<PathBuf> {
        self.archive_with(name, plan, &[])
    }

    /// The same with more below the root.
    fn archive_with(&self, name: &str, plan: &Plan, more: &[&Path]) -> Done<PathBuf> {
        root::add_plan(&self.root, plan, &self.scenarios)?;
        let path = self.work.path().join(format!("initramfs-{name}"));
        let file = File::create(&path).map_err(TaskError::file("creating", &path))?;
        let mut archive = Archive::new(BufWriter::new(file));
        archive.tree(&self.root)?;
        for more in more {
            archive.tree(more)?;
        }
        // Without it the first files that init opens would become its standard streams.
        archive.device("dev/console", 0o600, 5, 1)?;
        archive.finish()?;
        Ok(path)
    }
}
