//! `cargo xtask setup`: finds out what is missing, says so, asks, installs it. Doing it again does nothing.

pub(crate) mod berkeley;
mod bpf;
mod needs;
mod packages;

pub(crate) use bpf::{TARGET, Toolchain, Way};
pub(crate) use needs::QEMU;

use crate::error::{Done, TaskError};
use crate::place::Places;
use crate::{sh, ui};
use needs::Purpose;
use packages::Manager;
use std::io::{self, BufRead, IsTerminal};
use std::process::Command;

/// What a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    /// The compiler for eBPF programs.
    Bpf,
    /// Also what static programs are linked with.
    Programs,
    /// Also what virtual machines need.
    Vm,
    /// Also rustfmt, clippy, and what benchmarks compare with.
    All,
}

/// Something that will be done, when nobody objects.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Install these distribution packages.
    Packages(Vec<String>),
    /// Run this (it needs no root).
    Command(Vec<String>),
    /// Build bpf-linker for the compiler that will then be there.
    Linker,
    /// Download an rpm that writes BerkeleyDB.
    BerkeleyDb,
}

/// `cargo xtask setup`.
pub(crate) fn run(yes: bool) -> Done {
    let places = Places::find()?;
    ensure(&places, Extent::All, yes)?;
    let chosen = bpf::ready(&places).ok_or_else(|| TaskError::Cannot {
        what: "no way to build eBPF after all".into(),
        hint: None,
    })?;
    ui::say(&format!("eBPF programs are built with {chosen}"));
    ui::say("everything is installed");
    Ok(())
}

/// Installs what is missing for a task; asks first where somebody can answer.
pub(crate) fn ensure(places: &Places, extent: Extent, yes: bool) -> Done {
    let steps = missing(places, extent)?;
    if steps.is_empty() {
        return Ok(());
    }
    announce(&steps);
    consent(yes, &steps)?;
    for step in &steps {
        match step {
            Step::Packages(names) => Manager::find()?.install(names)?,
            Step::Command(words) => run_words(words)?,
            Step::BerkeleyDb => berkeley_db(places)?,
            Step::Linker => {
                // Only now is the compiler there and says which LLVM it has.
                let more = bpf::plan(places, Manager::find().as_ref().ok())?.packages;
                if !more.is_empty() {
                    Manager::find()?.install(&more)?;
                }
                bpf::install_linker(places)?;
            }
        }
    }
    let mut left = missing(places, extent)?;
    left.retain(|step| *step != Step::BerkeleyDb);
    if left.is_empty() {
        return Ok(());
    }
    Err(TaskError::Cannot {
        what: format!(
            "still missing after the installation: {}",
            describe(&left).join("; ")
        ),
        hint: None,
    })
}

/// The compiler for eBPF programs, once [`ensure`] succeeded.
pub(crate) fn toolchain(places: &Places) -> Done<Toolchain> {
    bpf::ready(places).ok_or_else(|| {
        TaskError::cannot(
            "there is no compiler for eBPF programs",
            "run `cargo xtask setup`",
        )
    })
}

fn missing(places: &Places, extent: Extent) -> Done<Vec<Step>> {
    let mut names = Vec::new();
    let mut steps = Vec::new();
    let manager = Manager::find();
    if bpf::ready(places).is_none() {
        if matches!(manager, Ok(Manager::Apt)) {
            packages::refresh_lists(bpf::PREBUILT_PACKAGES);
        }
        let plan = bpf::plan(places, manager.as_ref().ok())?;
        names.extend(plan.packages);
        steps.extend(plan.commands.into_iter().map(Step::Command));
        steps.push(Step::Linker);
    }
    for need in needs::NEEDS {
        let wanted = match need.purpose {
            Purpose::Programs => extent >= Extent::Programs,
            Purpose::Vm => extent >= Extent::Vm,
            Purpose::Lint | Purpose::Bench | Purpose::Firmware => extent >= Extent::All,
        };
        if !wanted || need.is_met() {
            continue;
        }
        match (need.rustup_component, crate::place::program("rustup")) {
            (Some(component), Some(_)) => {
                steps.push(Step::Command(
                    ["rustup", "component", "add", component]
                        .map(str::to_owned)
                        .into(),
                ));
            }
            _ => names.extend(
                need.packages(manager.as_ref().ok())
                    .iter()
                    .map(|name| (*name).to_owned()),
            ),
        }
    }
    if extent >= Extent::All && berkeley::is_missing(places) {
        steps.push(Step::BerkeleyDb);
    }
    if !names.is_empty() {
        manager?;
        names.sort();
        names.dedup();
        steps.insert(0, Step::Packages(names));
    }
    Ok(steps)
}

fn describe(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|step| match step {
            Step::Packages(names) => format!("distribution packages: {}", names.join(" ")),
            Step::Command(words) => words.join(" "),
            Step::Linker => "bpf-linker, built into the cache folder for the compiler's LLVM".to_owned(),
            Step::BerkeleyDb => {
                "an rpm that writes BerkeleyDB (Debian bullseye's), into the cache folder".to_owned()
            }
        })
        .collect()
}

fn announce(steps: &[Step]) {
    ui::step("to be installed");
    for line in describe(steps) {
        ui::say(&format!("  {line}"));
    }
}

/// Whether this runs where nobody watches and nothing may be left out.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// One test wants it, and old suites leave the mirrors some day: only CI cannot do without.
fn berkeley_db(places: &Places) -> Done {
    match berkeley::install(places) {
        Err(error) if !in_ci() => {
            ui::report(&error);
            ui::say("ignoring: tests with rpm on BerkeleyDB will be skipped");
            Ok(())
        }
        done => done,
    }
}

fn consent(yes: bool, steps: &[Step]) -> Done {
    // What stays in the cache folder needs nobody's leave.
    let harmless = steps.iter().all(|step| *step == Step::BerkeleyDb);
    if yes || harmless || in_ci() {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let commands = steps.iter().filter_map(|step| match step {
            Step::Packages(names) => Manager::find().ok().map(|manager| manager.as_root(names)),
            Step::Command(words) => Some(words.join(" ")),
            Step::Linker | Step::BerkeleyDb => None,
        });
        return Err(TaskError::cannot(
            "the things listed above are missing, and nobody can be asked (standard input is no terminal)",
            format!(
                "run `cargo xtask setup --yes`, or by hand and then again:\n  {}",
                commands.collect::<Vec<_>>().join("\n  ")
            ),
        ));
    }
    ui::say("install them? [Y/n] ");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(TaskError::file("reading an answer from", "the terminal"))?;
    match answer.trim() {
        "" | "y" | "Y" | "yes" => Ok(()),
        _ => Err(TaskError::Cannot {
            what: "not installed, as you wish".into(),
            hint: None,
        }),
    }
}

fn run_words(words: &[String]) -> Done {
    let Some((program, args)) = words.split_first() else {
        return Ok(());
    };
    sh::run(Command::new(program).args(args))
}
