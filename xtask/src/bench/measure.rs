//! Runs a command and says what it cost.

use crate::error::{Done, TaskError};
use crate::sh;
use serde::{Deserialize, Serialize};
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often the child's memory is looked at. VmHWM only rises, so the last look before the end is all but exact.
const LOOK: Duration = Duration::from_millis(2);

/// What a run cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Wall time, seconds.
    pub(crate) wall_s: f64,
    /// User and system time of the process and its children, seconds.
    pub(crate) cpu_s: f64,
    /// Peak resident memory of the process itself (not of its children), MiB.
    pub(crate) peak_mib: f64,
}

impl Cost {
    /// The best of two runs: the machine's noise only ever adds.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            wall_s: self.wall_s.min(other.wall_s),
            cpu_s: self.cpu_s.min(other.cpu_s),
            peak_mib: self.peak_mib.max(other.peak_mib),
        }
    }
}

/// A command's best of several runs: the machine's noise only ever adds. Exit code 1 is fine: the tools compared use it
/// for "differences found".
pub(crate) fn best(runs: u32, command: impl FnMut() -> Command) -> Done<Cost> {
    best_with(runs, &[0, 1], command)
}

/// The same for a program with other exit codes for success.
pub(crate) fn best_with(runs: u32, codes: &[i32], mut command: impl FnMut() -> Command) -> Done<Cost> {
    let mut best: Option<Cost> = None;
    for _ in 0..runs.max(1) {
        let cost = once(&mut command(), codes)?;
        best = Some(match best {
            None => cost,
            Some(so_far) => so_far.or(cost),
        });
    }
    best.ok_or_else(|| TaskError::cannot("nothing was measured", "this is a bug in the benchmark"))
}

/// The same for a short command: each run is several in a row and counts as their mean, since the kernel tells CPU time
/// in ticks of 10 ms.
pub(crate) fn best_of_rows(
    runs: u32,
    row: u32,
    codes: &[i32],
    mut command: impl FnMut() -> Command,
) -> Done<Cost> {
    let mut best: Option<Cost> = None;
    for _ in 0..runs.max(1) {
        let mut sum = once(&mut command(), codes)?;
        for _ in 1..row {
            let cost = once(&mut command(), codes)?;
            sum.wall_s += cost.wall_s;
            sum.cpu_s += cost.cpu_s;
            sum.peak_mib = sum.peak_mib.max(cost.peak_mib);
        }
        let mean = Cost {
            wall_s: sum.wall_s / f64::from(row.max(1)),
            cpu_s: sum.cpu_s / f64::from(row.max(1)),
            ..sum
        };
        best = Some(best.map_or(mean, |so_far| so_far.or(mean)));
    }
    best.ok_or_else(|| TaskError::cannot("nothing was measured", "this is a bug in the benchmark"))
}

/// A program that measures itself: its cost is the last line that it prints.
pub(super) fn told(command: &mut Command) -> Done<Cost> {
    let said = sh::output(command)?;
    said.lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| {
            TaskError::cannot(
                format!("{} ends without its cost", sh::shown(command)),
                "this is a bug",
            )
        })
}

/// Runs it once.
pub(super) fn once(command: &mut Command, codes: &[i32]) -> Done<Cost> {
    let before = children_cpu();
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| TaskError::Start {
            command: sh::shown(command),
            source,
        })?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = fs::read_to_string(&status_file)
            .ok()
            .and_then(|text| high_water(&text))
            .unwrap_or(0)
            .max(peak_kib);
        let waited = child.try_wait().map_err(|source| TaskError::Start {
            command: sh::shown(command),
            source,
        })?;
        match waited {
            Some(status) => break status,
            None => thread::sleep(LOOK),
        }
    };
    let wall = start.elapsed();
    if !status.code().is_some_and(|code| codes.contains(&code)) {
        return Err(TaskError::Command {
            command: sh::shown(command),
            ended: status.to_string(),
            said: String::new(),
        });
    }
    Ok(Cost {
        wall_s: wall.as_secs_f64(),
        cpu_s: children_cpu() - before,
        peak_mib: f64::from(peak_kib) / 1024.0,
    })
}

fn high_water(status: &str) -> Option<u32> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()
}

/// CPU seconds of all children that were waited for, from /proc/self/stat (clock ticks of 10 ms).
fn children_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command name is in parentheses and may hold anything; fields 16 and 17 are cutime and cstime.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u32 = rest
        .split_ascii_whitespace()
        .skip(13)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum();
    f64::from(ticks) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_cost() {
        let cost = best(1, || {
            let mut command = Command::new("sh");
            command.args(["-c", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"]);
            command
        })
        .unwrap();
        assert!(
            cost.wall_s > 0.0 && cost.cpu_s >= 0.01 && cost.peak_mib > 0.1,
            "{cost:?}"
        );
        assert!(best(1, || Command::new("/nonexistent/program")).is_err());
        let mut started = 0;
        let mean = best_of_rows(2, 3, &[0], || {
            started += 1;
            Command::new("true")
        });
        assert!(mean.unwrap().wall_s > 0.0);
        assert_eq!(started, 6);
    }

    #[test]
    fn high_water_mark() {
        assert_eq!(
            high_water("Name:\tx\nVmHWM:\t    4096 kB\nVmRSS:\t 1 kB\n"),
            Some(4096)
        );
        assert_eq!(high_water("VmHWM: many kB"), None);
    }
}
