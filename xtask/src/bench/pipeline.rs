//! How many executions a second are taken from the kernel's rings, judged and recorded without losing one, and what each
//! costs hardpand.
//!
//! In a machine with one processor that counts instructions (see [`super::exec`]): it does a thousand million a second,
//! whatever the host, and what executes has the same processor as hardpand.

use crate::error::{Done, TaskError};
use crate::place::Places;
use crate::ui;
use crate::vm;
use hardpan_tests::plan::{Group, Part, Plan, Role};
use serde::Serialize;

/// The kernel that is measured, the base of EL 10.
const KERNEL: &str = "6.12";
/// Executions in each case.
const EXECUTIONS: u32 = 10_000;
/// A case: its name in the guest, a scenario whose folder it runs in, executions a second (0: as fast as it goes), and
/// whether each is a record.
const CASES: [(&str, &str, u32, bool); 4] = [
    ("p300", "aggregate", 300, false),
    ("p1000", "memfd-exec", 1000, false),
    ("p1000_all", "not-root", 1000, true),
    ("flat_out", "setuid", 0, false),
];

#[derive(Debug, Serialize)]
struct Outcome {
    bench: &'static str,
    kernel: &'static str,
    rows: Vec<Row>,
}

/// What came of a case.
#[derive(Debug, Serialize)]
struct Row {
    /// Executions a second that were asked for; 0: as fast as it goes.
    per_second_wanted: u32,
    /// Whether each execution is a record; else they are counted by the minute.
    each_a_record: bool,
    executions: u64,
    guest_ms: u64,
    per_second: u64,
    /// Events that the programs told of, of all kinds.
    events: u64,
    recorded: u64,
    aggregated: u64,
    lost: u64,
    /// What hardpand itself needed, in instructions for each execution.
    daemon_instructions: u64,
}

pub(super) fn run(places: &Places, json: bool) -> Done {
    let found = vm::facts(places, KERNEL, &plan(), &[])?;
    let rows = CASES.iter().map(|&(case, _, wanted, each_a_record)| {
        let number = |what: &str| -> Option<u64> { found.get(&format!("{case}_{what}"))?.parse().ok() };
        let (executions, guest_ms) = (number("ran")?, number("ms")?);
        Some(Row {
            per_second_wanted: wanted,
            each_a_record,
            executions,
            guest_ms,
            per_second: executions.saturating_mul(1000).checked_div(guest_ms)?,
            events: number("generated")?,
            recorded: number("recorded")?,
            aggregated: number("aggregated")?,
            lost: number("lost")?,
            // Ticks of a hundredth of a second.
            daemon_instructions: number("ticks")?
                .saturating_mul(10_000_000)
                .checked_div(executions)?,
        })
    });
    let rows: Option<Vec<Row>> = rows.collect();
    let outcome = Outcome {
        bench: "pipeline",
        kernel: KERNEL,
        rows: rows.ok_or_else(|| {
            TaskError::cannot(
                "the guest did not measure all cases",
                "its output is in target/vm/results/bench",
            )
        })?,
    };
    if json {
        return super::print_json(&outcome);
    }
    ui::data(&format!(
        "{}: executions of a signed program, gate enforcing and tasks watched, kernel {}, a processor of 10^9 instructions a second",
        outcome.bench, outcome.kernel
    ));
    ui::data(&format!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8} {:>20}",
        "wanted/s", "done/s", "events", "recorded", "of them", "aggregated", "lost", "hardpand, each exec"
    ));
    for row in &outcome.rows {
        ui::data(&format!(
            "{:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8} {:>20}",
            row.per_second_wanted,
            row.per_second,
            row.events,
            row.recorded,
            if row.each_a_record { "each" } else { "" },
            row.aggregated,
            row.lost,
            row.daemon_instructions
        ));
    }
    Ok(())
}

/// The ledger of the newest heartbeat, less the one before the executions.
const MEASURE: &str = r#"
. /hardpan-vm/scenarios/gate-enforce/policy.sh
gate_enforces
beats() { grep -c '"action":"heartbeat"' /var/log/hardpan/events.json || true; }
beat() { now=$(beats); while test $(beats) -le $((now + 1)); do sleep 0.2; done; }
number() { grep '"action":"heartbeat"' /var/log/hardpan/events.json | tail -1 | sed 's/.*"ledger"://' | tr '{},' '\n' | sed -n "s/^\"$1\":\([0-9]*\)$/\1/p" | head -1; }
ledger() { for what in generated recorded aggregated lost; do echo $what $(number $what); done; }
uptime_ms() { sed 's/\([0-9]*\)\.\([0-9]*\) .*/\1\20/' /proc/uptime; }
ticks() { sed 's/.*) //' /proc/$(pidof hardpand)/stat | awk '{ print $12 + $13 }'; }
hp-flood 500 /usr/bin/hp-hello > /dev/null
beat
ledger > /run/before
since=$(uptime_ms)
worked=$(ticks)
ran=$(hp-flood COUNT /usr/bin/hp-hello RATE)
took=$(($(uptime_ms) - since))
beat
echo "CASE_ran=$ran" >> $HP_FACTS
echo "CASE_ms=$took" >> $HP_FACTS
echo "CASE_ticks=$(($(ticks) - worked))" >> $HP_FACTS
ledger > /run/after
difference() { awk 'NR == FNR { before[$1] = $2; next } { print $1 "=" $2 - before[$1] }' /run/before /run/after; }
difference | sed 's/^/CASE_/' >> $HP_FACTS
"#;

fn plan() -> Plan {
    let groups = CASES.iter().map(|&(case, scenario, rate, each_a_record)| {
        let each = if each_a_record { "exec = \"all\"\n" } else { "" };
        let pace = if rate == 0 { String::new() } else { rate.to_string() };
        Group {
            name: case.to_owned(),
            config: format!(
                "mode = \"enforce\"\n[record]\nheartbeat_s = 1\n{each}[policy]\nel = 10\nvendor = \"rocky\"\nhardware = \"x86-64-v3\"\n"
            ),
            scenario: None,
            prepare: Some(". /hardpan-vm/scenarios/gate-enforce/policy.sh\ngate_policy\n".to_owned()),
            restore: Some("rm -rf /etc/hardpan/policies".to_owned()),
            may_refuse: false,
            // A part runs in the folder of a scenario, of which nothing is used.
            parts: vec![Part {
                scenario: scenario.to_owned(),
                role: Role::Attack,
                run: MEASURE
                    .replace("COUNT", &EXECUTIONS.to_string())
                    .replace("RATE", &pace)
                    .replace("CASE", case),
                limit_s: 900,
                tiers: Vec::new(),
            }],
        }
    });
    Plan {
        groups: groups.collect(),
        live: false,
    }
}
