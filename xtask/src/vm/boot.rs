//! What one boot left behind, gathered from its frames.

use super::kernels::Kernel;
use super::qemu::{self, Ending, trouble};
use crate::error::{Done, TaskError};
use crate::place;
use crate::{sh, ui};
use hardpan_tests::frame::{DaemonState, Head};
use hardpan_tests::plan::{MARKER_PATH, Plan, Role};
use hardpan_tests::predicate::{Facts, values};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How much longer than the longest part the guest may be silent: boot, doctor, start and stop of a daemon.
const SILENCE: Duration = Duration::from_secs(600);

/// What one boot left behind.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    pub(super) release: String,
    pub(super) lsm: String,
    pub(super) doctor: Option<Doctor>,
    /// The group whose daemon watches a part.
    pub(super) groups: BTreeMap<(String, Role), String>,
    /// States of each group's daemon, in order.
    pub(super) daemons: BTreeMap<String, Vec<(DaemonState, Duration)>>,
    pub(super) parts: BTreeMap<(String, Role), Part>,
    /// Records of each group, in order of writing.
    pub(super) records: BTreeMap<String, Vec<Kept>>,
    /// What went wrong with the machine itself.
    pub(super) troubles: Vec<String>,
    pub(super) took: Duration,
    /// The longest time during which the host did not let this process run.
    pub(super) stood_still: Duration,
    last_sequence: Option<u64>,
    results: PathBuf,
}

/// What `hardpan doctor --json` said.
#[derive(Debug)]
pub(super) struct Doctor {
    pub(super) code: Option<i32>,
    pub(super) said: Value,
    pub(super) stderr: String,
}

/// A record, and the part during which it was written (`None`: while the daemon started or stopped).
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) owner: Option<(String, Role)>,
    pub(super) record: Value,
    /// It is about the guest's own marker program.
    pub(super) is_marker: bool,
}

/// How a part went.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) code: Option<i32>,
    pub(super) has_marker: bool,
    pub(super) facts: Facts,
    pub(super) output: String,
}

impl Boot {
    /// Boots and gathers. `results`: a folder for records, console and logs, emptied first.
    pub(super) fn run(
        kernel: &Kernel,
        plan: &Plan,
        initramfs: &Path,
        append: &str,
        results: &Path,
    ) -> Done<Self> {
        drop(fs::remove_dir_all(results));
        place::make_dir(results)?;
        let console = results.join("console.log");
        let longest = plan
            .groups
            .iter()
            .flat_map(|group| &group.parts)
            .map(|part| part.limit_s)
            .max()
            .unwrap_or(0);
        // A part may run up to its limit, and its marker's record may be waited for as long again.
        let patience = SILENCE + Duration::from_secs(2 * longest);
        let groups = plan.groups.iter().flat_map(|group| {
            group
                .parts
                .iter()
                .map(|part| ((part.scenario.clone(), part.role), group.name.clone()))
        });
        let mut boot = Self {
            results: results.to_owned(),
            groups: groups.collect(),
            ..Self::default()
        };
        let started = Instant::now();
        let ending = qemu::run(kernel, initramfs, append, &console, patience, |head, payload| {
            boot.clock(&head, started.elapsed());
            if let Err(error) = boot.take(head, &payload) {
                boot.troubles.push(ui::chain(&error));
            }
        })?;
        boot.took = started.elapsed();
        boot.stood_still = ending.stood_still;
        boot.end(
            &ending.how,
            &String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()),
        )?;
        Ok(boot)
    }

    fn end(&mut self, ending: &Ending, console: &str) -> Done {
        match ending {
            Ending::Orderly => {}
            Ending::Abrupt => self.troubles.push(format!(
                "the machine ended before its work; console:\n{}",
                tail(console)
            )),
            Ending::Hang(patience) => self.troubles.push(format!(
                "the machine was silent for {} s and was killed; console:\n{}",
                patience.as_secs(),
                tail(console)
            )),
            Ending::Garbled(what) => self
                .troubles
                .push(format!("frames from the machine make no sense: {what}")),
            Ending::Interrupted => return Err(TaskError::Interrupted),
        }
        let seen = trouble(console);
        if !seen.is_empty() {
            self.troubles
                .push(format!("the kernel complained:\n{}", seen.join("\n")));
        }
        Ok(())
    }

    /// Writes down when a frame came: where a boot's time went is seen in `timeline.tsv` (seconds, then what ended).
    fn clock(&mut self, head: &Head, at: Duration) {
        let what = match head {
            Head::Hello { .. } => "boot".to_owned(),
            Head::Doctor { .. } => "doctor".to_owned(),
            Head::Daemon { group, state, .. } => format!("daemon {group} {state:?}"),
            Head::Part { scenario, role, .. } => format!("part {scenario} {}", role.name()),
            Head::End => "end".to_owned(),
            Head::Records { .. } | Head::Trouble { .. } | Head::Kept | Head::Say { .. } => return,
        };
        let line = format!("{:.1}\t{what}\n", at.as_secs_f64());
        if let Err(error) = self.append("timeline.tsv", line.as_bytes()) {
            self.troubles.push(ui::chain(&error));
        }
    }

    fn take(&mut self, head: Head, payload: &[u8]) -> Done {
        match head {
            Head::Hello { release, lsm } => (self.release, self.lsm) = (release, lsm),
            Head::Doctor { code, stderr } => {
                place::write(&self.results.join("doctor.json"), payload)?;
                place::write(&self.results.join("doctor.err"), &stderr)?;
                let said = serde_json::from_slice(payload).unwrap_or(Value::Null);
                self.doctor = Some(Doctor { code, said, stderr });
            }
            Head::Daemon {
                group,
                state,
                took_ms,
            } => {
                self.append(&format!("{group}.err"), payload)?;
                self.daemons
                    .entry(group)
                    .or_default()
                    .push((state, Duration::from_millis(took_ms)));
            }
            Head::Part {
                scenario,
                role,
                code,
                marker,
                facts,
            } => {
                let output = String::from_utf8_lossy(payload).into_owned();
                self.append(&format!("{scenario}-{}.out", role.name()), payload)?;
                let part = Part {
                    code,
                    has_marker: marker,
                    facts: facts.into_iter().collect(),
                    output,
                };
                self.parts.insert((scenario, role), part);
            }
            Head::Records {
                group,
                part,
                plain_bytes,
            } => self.take_records(&group, part.as_ref(), plain_bytes, payload)?,
            Head::Trouble { what } => self.troubles.push(format!("the guest: {what}")),
            Head::Kept => place::write(&self.results.join("kept.tar.gz"), payload)?,
            Head::Say { .. } | Head::End => {}
        }
        Ok(())
    }

    fn take_records(
        &mut self,
        group: &str,
        part: Option<&(String, Role)>,
        plain_bytes: u64,
        packed: &[u8],
    ) -> Done {
        let piece = self.results.join("piece.gz");
        place::write(&piece, packed)?;
        let plain = sh::output_bytes(Command::new("gzip").arg("-dc").arg(&piece))?;
        drop(fs::remove_file(&piece));
        self.append(&format!("{group}.json"), &plain)?;
        if plain.len() as u64 != plain_bytes {
            self.troubles
                .push(format!("{} bytes of records came of {plain_bytes}", plain.len()));
        }
        for line in plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.take_line(group, part, line);
        }
        Ok(())
    }

    /// One record: kept for the scenarios, checked for what holds for every line.
    fn take_line(&mut self, group: &str, part: Option<&(String, Role)>, line: &[u8]) {
        let shown = || {
            String::from_utf8_lossy(line)
                .chars()
                .take(200)
                .collect::<String>()
        };
        let record: Value = match serde_json::from_slice(line) {
            Ok(record) => record,
            Err(error) => {
                self.troubles.push(format!(
                    "group {group}: a record is no JSON ({error}): {}",
                    shown()
                ));
                return;
            }
        };
        if !line.starts_with(b"{\"@timestamp\":\"") {
            self.troubles.push(format!(
                "group {group}: a record does not start with its time: {}",
                shown()
            ));
        }
        let sequence = record.pointer("/event/sequence").and_then(Value::as_u64);
        if let (Some(before), Some(now)) = (self.last_sequence, sequence)
            && now != before + 1
        {
            self.troubles
                .push(format!("group {group}: record {now} follows {before}"));
        }
        self.last_sequence = sequence.or(self.last_sequence);
        let is_marker = values(&record, "process.executable")
            .iter()
            .any(|value| *value == MARKER_PATH);
        self.records.entry(group.to_owned()).or_default().push(Kept {
            owner: part.cloned(),
            record,
            is_marker,
        });
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Done {
        use std::io::Write;
        let path = self.results.join(name);
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes))
            .map_err(TaskError::file("appending to", &path))
    }

    /// The end of what a group's daemon wrote to standard error.
    pub(super) fn stderr_of(&self, group: &str) -> String {
        tail(&String::from_utf8_lossy(
            &fs::read(self.results.join(format!("{group}.err"))).unwrap_or_default(),
        ))
    }

    /// The tier that doctor named, or `?`.
    pub(super) fn tier(&self) -> String {
        let said = self.doctor.as_ref().map(|doctor| &doctor.said);
        said.and_then(|said| said.pointer("/tier/tier")?.as_str())
            .unwrap_or("?")
            .to_owned()
    }
}

/// The last lines of a log.
fn tail(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    lines
        .get(lines.len().saturating_sub(15)..)
        .unwrap_or_default()
        .join("\n")
}
