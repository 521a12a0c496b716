//! Judging boots and telling the result: a line per scenario and kernel, and a table at the end.

use super::boot::{Boot, Kept, Part};
use super::kernels::Kernel;
use crate::check::Tally;
use crate::ui;
use hardpan_tests::frame::DaemonState;
use hardpan_tests::judge::{Problem, judge};
use hardpan_tests::plan::Role;
use hardpan_tests::scenario::{Requirement, Scenario};
use std::collections::BTreeMap;

/// Name of the row for the machine itself: it booted, ran to its end, and its kernel had no complaint.
const MACHINE: &str = "(machine)";

/// Results so far.
#[derive(Debug)]
pub(super) struct Report {
    rows: Vec<String>,
    kernels: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    release: String,
    tier: String,
    took_s: u64,
    verdicts: BTreeMap<String, Verdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail(Vec<Problem>),
    /// Not run, and why.
    NotRun(String),
}

impl Report {
    pub(super) fn new(scenarios: &[Scenario]) -> Self {
        let rows =
            std::iter::once(MACHINE.to_owned()).chain(scenarios.iter().map(|scenario| scenario.name.clone()));
        Self {
            rows: rows.collect(),
            kernels: Vec::new(),
        }
    }

    /// Judges a boot and prints its lines. `run`: the scenarios that the boot was to run.
    pub(super) fn add(&mut self, kernel: &Kernel, all: &[Scenario], run: &[&Scenario], boot: &Boot) {
        let tier = boot.tier();
        let verdicts = verdicts(kernel, all, run, boot);
        ui::data(&format!(
            "{}: Linux {}, tier {tier}, LSMs {}",
            kernel.name, boot.release, boot.lsm
        ));
        for row in &self.rows {
            if let Some(verdict) = verdicts.get(row) {
                line(&kernel.name, row, verdict);
            }
        }
        let column = Column {
            name: kernel.name.clone(),
            release: boot.release.clone(),
            tier,
            took_s: boot.took.as_secs(),
            verdicts,
        };
        self.kernels.push(column);
    }

    /// Puts the columns into the kernels' order.
    pub(super) fn sort(&mut self, kernels: &[Kernel]) {
        self.kernels
            .sort_by_key(|column| kernels.iter().position(|kernel| kernel.name == column.name));
    }

    /// The table at the end.
    pub(super) fn table(&self) {
        let width = self.rows.iter().map(String::len).max().unwrap_or(0).max(8);
        let row = |name: &str, cell: &dyn Fn(&Column) -> String| {
            let cells = self.kernels.iter().map(|column| format!("{:>10}", cell(column)));
            ui::data(format!("{name:width$} {}", cells.collect::<Vec<_>>().join(" ")).trim_end());
        };
        ui::data("");
        row("scenario", &|column| column.name.clone());
        row("tier", &|column| column.tier.clone());
        row("seconds", &|column| column.took_s.to_string());
        for name in &self.rows {
            row(name, &|column| match column.verdicts.get(name) {
                Some(Verdict::Pass) => "ok".into(),
                Some(Verdict::Fail(_)) => "FAILED".into(),
                Some(Verdict::NotRun(_)) => "not run".into(),
                None => String::new(),
            });
        }
        for column in &self.kernels {
            ui::data(&format!("{} is Linux {}", column.name, column.release));
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for verdict in self.kernels.iter().flat_map(|column| column.verdicts.values()) {
            match verdict {
                Verdict::Pass => tally.passed += 1,
                Verdict::Fail(_) => tally.failed += 1,
                Verdict::NotRun(_) => tally.skipped += 1,
            }
        }
        tally
    }
}

fn verdicts(kernel: &Kernel, all: &[Scenario], run: &[&Scenario], boot: &Boot) -> BTreeMap<String, Verdict> {
    let tier = boot.tier();
    let mut verdicts = BTreeMap::from([(MACHINE.to_owned(), machine(kernel, boot))]);
    for scenario in all {
        let verdict = if !run.iter().any(|other| other.name == scenario.name) {
            let why = if !scenario.usually.is_empty() && !scenario.usually.contains(&kernel.name) {
                "usually elsewhere: `--everywhere` has it here, too"
            } else if scenario.any_kernel
                || !scenario.kernels.is_empty()
                || scenario.requires.contains(&Requirement::Lab)
            {
                "one kernel is enough"
            } else {
                "the kernel brings no modules"
            };
            Verdict::NotRun(why.into())
        } else if !scenario.tiers.is_empty() && !scenario.tiers.contains(&tier) {
            Verdict::NotRun(format!("not at tier {tier}"))
        } else {
            of(scenario_problems(scenario, boot, &tier))
        };
        verdicts.insert(scenario.name.clone(), verdict);
    }
    verdicts
}

/// Whether nothing failed.
pub(super) fn is_clean(kernel: &Kernel, run: &[&Scenario], boot: &Boot) -> bool {
    let all: Vec<Scenario> = run.iter().map(|scenario| (*scenario).clone()).collect();
    !verdicts(kernel, &all, run, boot)
        .values()
        .any(|verdict| matches!(verdict, Verdict::Fail(_)))
}

fn line(kernel: &str, row: &str, verdict: &Verdict) {
    match verdict {
        Verdict::Pass => ui::data(&format!("ok      {kernel:8} {row}")),
        Verdict::NotRun(why) => ui::data(&format!("not run {kernel:8} {row} ({why})")),
        Verdict::Fail(problems) => {
            ui::data(&format!("FAILED  {kernel:8} {row}"));
            for problem in problems {
                for line in problem.to_string().lines() {
                    ui::data(&format!("          {line}"));
                }
            }
        }
    }
}

fn of(problems: Vec<Problem>) -> Verdict {
    if problems.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Fail(problems)
    }
}

fn problem(expected: impl Into<String>, found: impl Into<String>) -> Problem {
    Problem {
        expected: expected.into(),
        found: found.into().lines().map(str::to_owned).collect(),
    }
}

fn machine(kernel: &Kernel, boot: &Boot) -> Verdict {
    let mut problems: Vec<_> = boot
        .troubles
        .iter()
        .map(|trouble| problem("a machine without trouble", trouble.as_str()))
        .collect();
    match &boot.doctor {
        None => problems.push(problem("a report of `hardpan doctor --json`", "none")),
        Some(doctor) if !matches!(doctor.code, Some(0 | 1)) || !doctor.said.is_object() => {
            let found = format!("exit code {:?}, standard error:\n{}", doctor.code, doctor.stderr);
            problems.push(problem(
                "`hardpan doctor --json` ends with 0 or 1 and prints a JSON object",
                found,
            ));
        }
        Some(doctor) => {
            let tier = boot.tier();
            if kernel.tier.is_some_and(|known| known != tier) {
                let why = doctor
                    .said
                    .pointer("/tier/why")
                    .map(ToString::to_string)
                    .unwrap_or_default();
                problems.push(problem(
                    format!("tier {}", kernel.tier.unwrap_or_default()),
                    format!("tier {tier}: {why}"),
                ));
            }
        }
    }
    of(problems)
}

fn scenario_problems(scenario: &Scenario, boot: &Boot, tier: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for role in [Role::Attack, Role::Twin] {
        let found = half_problems(scenario, role, boot, tier);
        problems.extend(found.into_iter().map(|problem| Problem {
            expected: format!("({}) {}", role.name(), problem.expected),
            found: problem.found,
        }));
    }
    problems
}

fn half_problems(scenario: &Scenario, role: Role, boot: &Boot, tier: &str) -> Vec<Problem> {
    let key = (scenario.name.clone(), role);
    let group = boot.groups.get(&key).map(String::as_str).unwrap_or_default();
    let mut problems = daemon_problems(scenario, group, boot);
    let Some(part) = boot.parts.get(&key) else {
        problems.push(problem("a report of the part", "none"));
        return problems;
    };
    problems.extend(ran(part, scenario));
    let is_own = |kept: &&Kept| match &kept.owner {
        // The start and the stop of a daemon.
        None => scenario.fresh,
        Some(owner) => *owner == key,
    };
    let kept = || boot.records.get(group).into_iter().flatten().filter(is_own);
    let records: Vec<_> = kept()
        .filter(|kept| !kept.is_marker)
        .map(|kept| kept.record.clone())
        .collect();
    let mut facts = part.facts.clone();
    facts.insert(
        "markers".into(),
        kept().filter(|kept| kept.is_marker).count().to_string(),
    );
    problems.extend(judge(scenario.half(role), &records, &facts, tier));
    problems
}

fn ran(part: &Part, scenario: &Scenario) -> Vec<Problem> {
    let mut problems = Vec::new();
    if part.code != Some(0) {
        let ended = part.code.map_or_else(
            || format!("killed after {} s", scenario.limit_s),
            |code| format!("exit code {code}"),
        );
        problems.push(problem(
            "the part's commands succeed",
            format!("{ended}, output:\n{}", part.output),
        ));
    }
    if !part.has_marker && !scenario.daemon.refuses {
        problems.push(problem(
            "the marker's record after the part's own",
            format!("none within {} s", scenario.limit_s),
        ));
    }
    problems
}

fn daemon_problems(scenario: &Scenario, group: &str, boot: &Boot) -> Vec<Problem> {
    let states = boot.daemons.get(group).cloned().unwrap_or_default();
    let has = |wanted: &DaemonState| states.iter().any(|(state, _)| state == wanted);
    let exit = Some(scenario.daemon.exit);
    let expected = if scenario.daemon.refuses {
        vec![DaemonState::Refused(exit)]
    } else {
        vec![DaemonState::Ready, DaemonState::Stopped(exit)]
    };
    if expected.iter().all(has) {
        return Vec::new();
    }
    let wanted: Vec<_> = expected.iter().map(describe).collect();
    let found: Vec<_> = states
        .iter()
        .map(|(state, took)| format!("{} after {} ms", describe(state), took.as_millis()))
        .collect();
    let said = boot.stderr_of(group);
    vec![problem(
        format!("a daemon that is {}", wanted.join(" and then ")),
        format!("{}\n{said}", found.join("\n")),
    )]
}

fn describe(state: &DaemonState) -> String {
    let code = |code: &Option<i32>| {
        code.map_or_else(|| "by a signal".into(), |code| format!("with exit code {code}"))
    };
    match state {
        DaemonState::Ready => "ready".into(),
        DaemonState::Refused(how) => format!("gone before it was ready, {}", code(how)),
        DaemonState::Stuck => "neither ready nor gone".into(),
        DaemonState::Stopped(how) => format!("stopped {}", code(how)),
        DaemonState::Died(how) => format!("gone in the middle, {}", code(how)),
    }
}
