//! What exec, fork, setuid and open cost in guest instructions, with and without Hardpan.
//!
//! QEMU counts: with one processor and `-icount shift=0` a guest's nanosecond is an instruction, so the figures are the
//! same on every host, to within what timer ticks and the daemon's own work add.

use crate::error::{Done, TaskError};
use crate::place::Places;
use crate::ui;
use crate::vm;
use hardpan_tests::plan::{Group, Part, Plan, Role};
use serde::Serialize;
use std::fmt::Write as _;

/// The kernel that is measured, the base of EL 10.
const KERNEL: &str = "6.12";
/// The loops, as the guest's program names them, and what they are.
const LOOPS: [(&str, &str); 5] = [
    ("exec", "fork+exec+exit"),
    ("dynamic", "the same, dynamic"),
    ("fork", "fork+exit"),
    ("setuid", "setuid twice"),
    ("open", "open+close"),
];
/// A case: its name in the guest, what it is, and what is loaded.
const CASES: [(&str, &str); 16] = [
    ("nothing", "nothing loaded"),
    ("floor", "empty LSM programs at the hooks of gate and guards"),
    ("fapolicyd", "fapolicyd 1.1.7, file trust, integrity sha256, warm"),
    (
        "off",
        "hardpand with the same policy, tasks not watched, gate off",
    ),
    ("observe", "hardpand, tasks not watched, gate observes"),
    ("enforce", "hardpand, tasks not watched, gate enforces"),
    ("on", "hardpand, tasks watched, gate enforces"),
    (
        "off_still",
        "in the kernel alone (hardpand stopped): gate off, tasks not watched",
    ),
    ("observe_still", "in the kernel alone: gate observes"),
    ("enforce_still", "in the kernel alone: gate enforces"),
    ("on_still", "in the kernel alone: gate enforces, tasks watched"),
    (
        "off_recorded",
        "in the kernel alone, each execution a record: gate off, tasks not watched",
    ),
    (
        "enforce_recorded",
        "in the kernel alone, each execution a record: gate enforces",
    ),
    (
        "on_recorded",
        "in the kernel alone, each execution a record: gate enforces, tasks watched",
    ),
    ("again", "nothing loaded, at the end"),
    ("auditd", "auditd 3.0.9, a rule on execve"),
];
/// Figures measured before on the same kernel series with the same loops (one processor, `-icount shift=0`), not in
/// this run: what it is, then exec and open+close without and with it.
const MEASURED_BEFORE: [(&str, [u64; 4]); 2] = [
    ("LKRG 1.0.1, default profile", [654_700, 730_100, 5_410, 19_870]),
    (
        "fapolicyd 1.1.7, file trust, warm",
        [654_700, 809_850, 5_410, 41_950],
    ),
];

/// Below a figure: the same without what hardpand does itself.
const IN_KERNEL: &str = "  in the kernel alone";

/// What two runs of the same case may differ by.
const NOISE: f64 = 0.05;

/// One case.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    /// Instructions of each loop, in the order of `loops`; `null`: not measured.
    instructions: Vec<Option<u64>>,
    /// Per cent more than with nothing loaded.
    more_percent: Vec<Option<f64>>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    bench: &'static str,
    kernel: &'static str,
    loops: Vec<&'static str>,
    rows: Vec<Row>,
    /// What the gate in mode enforce adds, per cent of nothing loaded.
    gate_adds_percent: Vec<Option<f64>>,
    /// What the gate in mode enforce adds, as a share of what fapolicyd adds; `null` where that is nothing.
    gate_share_of_fapolicyd: Vec<Option<f64>>,
    /// What watching tasks adds, per cent of nothing loaded.
    watching_adds_percent: Vec<Option<f64>>,
    /// The same three while hardpand is stopped: what it does itself, the same in each case, adds no noise.
    in_kernel: InKernel,
}

/// What is added in the kernel alone.
#[derive(Debug, Serialize)]
struct InKernel {
    gate_adds_percent: Vec<Option<f64>>,
    gate_share_of_fapolicyd: Vec<Option<f64>>,
    watching_adds_percent: Vec<Option<f64>>,
}

pub(super) fn run(places: &Places, cases: &[String], json: bool) -> Done {
    let outcome = measure(places, cases)?;
    if json {
        return super::print_json(&outcome);
    }
    ui::data(&format!(
        "{}: guest instructions per operation, kernel {}",
        outcome.bench, outcome.kernel
    ));
    let mut head = format!("{:<66}", "");
    for name in &outcome.loops {
        let _infallible = write!(head, "{name:>24}");
    }
    ui::data(&head);
    for row in &outcome.rows {
        let mut line = format!("{:<66}", row.what);
        for (count, more) in row.instructions.iter().zip(&row.more_percent) {
            let cell = match (count, more) {
                (Some(count), Some(more)) => format!("{count} ({more:+.1} %)"),
                (Some(count), None) => count.to_string(),
                _ => "-".to_owned(),
            };
            let _infallible = write!(line, "{cell:>24}");
        }
        ui::data(&line);
    }
    let alone = &outcome.in_kernel;
    let adds = |more: f64| format!("{more:+.2} %");
    let share = |share: f64| format!("{share:.3}");
    data_line("the gate in mode enforce adds", &outcome.gate_adds_percent, adds);
    data_line(IN_KERNEL, &alone.gate_adds_percent, adds);
    data_line("watching tasks adds", &outcome.watching_adds_percent, adds);
    data_line(IN_KERNEL, &alone.watching_adds_percent, adds);
    let what = "the gate's share of what fapolicyd adds";
    data_line(what, &outcome.gate_share_of_fapolicyd, share);
    data_line(IN_KERNEL, &alone.gate_share_of_fapolicyd, share);
    Ok(())
}

/// A line of figures below the table's columns.
fn data_line(what: &str, figures: &[Option<f64>], text: impl Fn(f64) -> String) {
    let mut line = format!("{what:<66}");
    for figure in figures {
        let cell = figure.map_or_else(|| "-".to_owned(), &text);
        let _infallible = write!(line, "{cell:>24}");
    }
    ui::data(&line);
}

fn measure(places: &Places, cases: &[String]) -> Done<Outcome> {
    let mut plan = plan();
    let names: Vec<_> = plan.groups.iter().map(|group| group.name.clone()).collect();
    if let Some(unknown) = cases.iter().find(|case| !names.contains(case)) {
        return Err(TaskError::cannot(
            format!("there is no case {unknown}"),
            format!("cases: {}", names.join(", ")),
        ));
    }
    let is_wanted = |name: &String| cases.is_empty() || name == "nothing" || cases.contains(name);
    plan.groups.retain(|group| is_wanted(&group.name));
    let found = vm::facts(places, KERNEL, &plan, &[&vm::peers::tree(places)?])?;
    let number =
        |case: &str, name: &str| -> Option<u64> { found.get(&format!("{case}_{name}"))?.parse().ok() };
    let measured = |case: &str| LOOPS.map(|(name, _)| number(case, name));
    let nothing = measured("nothing");
    if nothing.iter().any(Option::is_none) {
        return Err(TaskError::cannot(
            "the guest measured nothing",
            "its output is in target/vm/results/bench",
        ));
    }
    for (_, what) in CASES
        .iter()
        .filter(|(case, _)| measured(case).iter().all(Option::is_none))
    {
        ui::step(&format!(
            "not measured: {what}; the guest's output is in target/vm/results/bench"
        ));
    }
    let rows = CASES
        .iter()
        .map(|&(case, what)| row(what, measured(case), nothing));
    let before = MEASURED_BEFORE
        .iter()
        .map(|(what, [exec, exec_with, open, open_with])| {
            row(
                &format!("{what} (measured before)"),
                [Some(*exec_with), None, None, None, Some(*open_with)],
                [Some(*exec), None, None, None, Some(*open)],
            )
        });
    let adds = |case: &str, base: &str| -> Vec<Option<f64>> {
        let pairs = measured(case).into_iter().zip(measured(base)).zip(nothing);
        pairs
            .map(|((with, without), nothing)| {
                Some((float(with?) - float(without?)) * 100.0 / float(nothing?))
            })
            .collect()
    };
    let share = |case: &str, base: &str| -> Vec<Option<f64>> {
        let pairs = measured(case).into_iter().zip(measured(base));
        pairs
            .zip(measured("fapolicyd").into_iter().zip(nothing))
            .map(|((with, without), (fapolicyd, nothing))| {
                let of = float(fapolicyd?) - float(nothing?);
                // Less than what two runs of the same differ by.
                let is_something = of > float(nothing?) * NOISE;
                is_something.then_some((float(with?) - float(without?)) / of)
            })
            .collect()
    };
    Ok(Outcome {
        bench: "exec",
        kernel: KERNEL,
        loops: LOOPS.map(|(_, what)| what).to_vec(),
        rows: rows.chain(before).collect(),
        gate_adds_percent: adds("enforce", "off"),
        gate_share_of_fapolicyd: share("enforce", "off"),
        watching_adds_percent: adds("on", "enforce"),
        in_kernel: InKernel {
            gate_adds_percent: adds("enforce_still", "off_still"),
            gate_share_of_fapolicyd: share("enforce_still", "off_still"),
            watching_adds_percent: adds("on_still", "enforce_still"),
        },
    })
}

/// Counts of instructions stay far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "a ratio is shown with one decimal")]
fn float(count: u64) -> f64 {
    count as f64
}

fn row(what: &str, count: [Option<u64>; LOOPS.len()], base: [Option<u64>; LOOPS.len()]) -> Row {
    Row {
        what: what.to_owned(),
        instructions: count.to_vec(),
        more_percent: count
            .into_iter()
            .zip(base)
            .map(|(count, base)| Some((float(count?) / float(base?) - 1.0) * 100.0))
            .collect(),
    }
}

/// What each program takes of each operation, into the guest's output: the kernel's own count of runs and nanoseconds. It costs, too, so it
/// comes last.
const PROGRAMS: &str = "hp-task programs\n";

/// The same while hardpand does nothing: at first the kernel only counts, after three seconds it writes records.
const STILL: &str = r#"
kill -STOP $(pidof hardpand)
hp-task cost few > /run/measured
sleep 5
hp-task cost few > /run/recorded
kill -CONT $(pidof hardpand)
sed "s/^/${case}_still_/" /run/measured >> $HP_FACTS
sed "s/^/${case}_recorded_/" /run/recorded >> $HP_FACTS
"#;

const TASKS_OFF: &str = "watch_tasks = false\n";
/// The guest is no release that policies know.
const POLICY: &str = "[policy]\nel = 10\nvendor = \"rocky\"\nhardware = \"x86-64-v3\"\n";
/// With this it ends at once, and what is measured has no hardpand beside it.
const NO_DAEMON: &str = "this is no configuration\n";
/// Shell functions of the gate's scenarios.
const GATE: &str = "/hardpan-vm/scenarios/gate-enforce/policy.sh";
const PEERS: &str = "/hardpan-vm/scenarios/gate-beside/peers.sh";
const ENFORCING: &str = ". /hardpan-vm/scenarios/gate-enforce/policy.sh\ngate_policy\n";
/// Trust and policy are worked out, and the gate has said why it does not act.
const GATE_IS_OUT: &str = "for i in $(seq 300); do grep -q 'observes: sensor.gate' /var/log/hardpan/events.json && break; sleep 0.1; done
grep -q 'observes: sensor.gate' /var/log/hardpan/events.json\n";

/// Parts run in the folder of a scenario. Nothing of it is used, but two parts must not have one in common.
fn group(name: &str, scenario: &str, config: String, prepare: Option<&str>, run: [&str; 3]) -> Group {
    let [before, loops, after] = run;
    let is_without = config == NO_DAEMON;
    let still = if is_without { "" } else { STILL };
    Group {
        name: name.to_owned(),
        config,
        scenario: None,
        prepare: prepare.map(str::to_owned),
        restore: None,
        may_refuse: is_without,
        parts: vec![Part {
            scenario: scenario.to_owned(),
            role: Role::Attack,
            run: format!(
                ". {GATE}\n. {PEERS}\ncase={name}\n{before}hp-task {loops} > /run/measured\nsed 's/^/{name}_/' /run/measured >> $HP_FACTS\n{still}{after}"
            ),
            limit_s: 600,
            tiers: Vec::new(),
        }],
    }
}

/// Without a daemon first, then with each configuration. auditd comes last: tasks keep what the kernel gives them for it.
fn plan() -> Plan {
    let without = |name, scenario, run| group(name, scenario, NO_DAEMON.to_owned(), None, run);
    let enforcing = |name, scenario, sensor: &str, before| {
        let config = format!("mode = \"enforce\"\n[sensor]\n{sensor}{POLICY}");
        group(
            name,
            scenario,
            config,
            Some(ENFORCING),
            [before, "cost", PROGRAMS],
        )
    };
    Plan {
        groups: vec![
            without("nothing", "setuid", ["", "cost", ""]),
            without("floor", "script", ["", "floor", ""]),
            without(
                "fapolicyd",
                "gate-beside",
                [
                    "fapolicyd_up rootfs\n",
                    "cost",
                    "fapolicyd_refuses\nfapolicyd_down\n",
                ],
            ),
            enforcing(
                "off",
                "files-sweep",
                &format!("gate = false\n{TASKS_OFF}"),
                GATE_IS_OUT,
            ),
            group(
                "observe",
                "stop",
                format!("[sensor]\n{TASKS_OFF}{POLICY}"),
                Some(ENFORCING),
                ["", "cost", PROGRAMS],
            ),
            enforcing("enforce", "aggregate", TASKS_OFF, "gate_enforces\n"),
            enforcing("on", "memfd-exec", "", "gate_enforces\n"),
            without("again", "not-root", ["", "cost", ""]),
            without("auditd", "unpinned-key", ["auditd_up\n", "cost", ""]),
        ],
        live: false,
    }
}
