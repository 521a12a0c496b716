//! Recorded events: replayed, learned from, explained.

use super::{CandidateArgs, FINDINGS, FINE, Failure, HostArgs, json, out, out_then, record};
use hardpan_core::platform::Tier;
use hardpan_core::policy::quote;
use hardpan_core::policy::replay::{Learner, Simulator, events_of};
use hardpan_core::policy::rule::{self, Action, Kind, StepOutcome, Why};
use serde_json::Value as Json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Feeds the lines of files to `take`.
fn lines(paths: &[PathBuf], take: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    for path in paths {
        let failed =
            |error: io::Error| Failure::new(format!("cannot read {}: {error}", path.display()), None);
        let reader: Box<dyn io::BufRead> = if path == Path::new("-") {
            Box::new(BufReader::new(io::stdin()))
        } else {
            Box::new(BufReader::new(File::open(path).map_err(failed)?))
        };
        let mut reader = reader;
        let mut line = Vec::new();
        loop {
            line.clear();
            // A line of any length must not fill the memory.
            let read = reader
                .by_ref()
                .take(2 << 20)
                .read_until(b'\n', &mut line)
                .map_err(failed)?;
            if read == 0 {
                break;
            }
            take(&String::from_utf8_lossy(&line));
        }
    }
    Ok(())
}

pub(super) fn simulate(
    host: &HostArgs,
    candidate: &CandidateArgs,
    events: &[PathBuf],
    tier: Tier,
    as_json: bool,
) -> Result<u8, Failure> {
    let subject = host.subject()?;
    let (before, after) = (subject.usable()?, subject.with(candidate)?);
    let mut simulator = Simulator::new(&before.resolved, &after.resolved, tier);
    lines(events, &mut |line| simulator.line(line))?;
    let simulation = simulator.finish();
    let code = if simulation.changes.is_empty() {
        FINE
    } else {
        FINDINGS
    };
    let text = if as_json {
        json(&simulation)?
    } else {
        simulation.text()
    };
    Ok(out_then(&text, code))
}

pub(super) fn learn(events: &[PathBuf], policy: bool) -> Result<u8, Failure> {
    let mut learner = Learner::default();
    lines(events, &mut |line| learner.line(line))?;
    Ok(out(&if policy {
        learner.policy()
    } else {
        learner.manifest()
    }))
}

/// The way to the decision on a recorded event, as the record tells it and as the policy decides now; whether that is more
/// than to let it be.
pub(super) fn explain(
    host: &HostArgs,
    id: &str,
    events: &Path,
    tier: Tier,
) -> Result<(String, bool), Failure> {
    let subject = host.subject()?;
    let loaded = subject.usable()?;
    let mut found = Vec::new();
    lines(&[events.to_owned()], &mut |line| {
        if line.contains(id) {
            let record: Json = serde_json::from_str(line).unwrap_or_default();
            let events = events_of(line).unwrap_or_default().into_iter();
            let events = events.filter(|event| event.id == id);
            found.extend(events.map(|event| (event, record.clone())));
        }
    })?;
    if found.is_empty() {
        let message = format!("{} has no event {id:?} that rules decide", events.display());
        return Err(Failure::new(message, Some("event.id stands in every record")));
    }
    let defaults = loaded.resolved.defaults();
    let mut text = String::new();
    let mut worst = Action::Allow;
    for (event, record) in found {
        let class = event.facts.class().unwrap_or("unknown").to_owned();
        let kind = event.facts.kind;
        let _infallible = writeln!(text, "{} of {}, class {class}", kind.name(), quote(&event.path));
        let is_gate = record.pointer("/Hardpan/gate").is_some();
        // An execution of a script is of two files; a record of the gate is of one.
        let part = if kind == Kind::Script && !is_gate {
            "script"
        } else {
            "file"
        };
        for (label, said) in record::way(&record, part) {
            let _infallible = writeln!(text, "  {label:<9} {said}");
        }
        for step in rule::explain(&loaded.resolved.rules, &event.facts) {
            let how = match step.outcome {
                StepOutcome::OtherKind => continue,
                StepOutcome::Decided => format!("fits: {}", step.rule.action_at(tier).name()),
                StepOutcome::Failed(condition) => format!("does not fit: {condition} fails"),
                StepOutcome::Unknown(condition) => {
                    format!("does not fit: the record does not tell whether {condition}")
                }
            };
            let _infallible = writeln!(text, "  rule {} ({}) {how}", step.rule.name, step.rule.origin);
        }
        let decision = rule::decide(&loaded.resolved.rules, &defaults, &event.facts, tier);
        let why = match decision.why {
            Why::Rule(_, rule) => rule
                .reason
                .clone()
                .unwrap_or_else(|| format!("rule {}", rule.name)),
            Why::Default(origin) => format!("the default for class {class} ({origin})"),
            Why::Nothing => "neither a rule nor a default names it".to_owned(),
        };
        let weaker = if decision.weakened {
            ", weaker than wanted at this tier"
        } else {
            ""
        };
        let _infallible = writeln!(text, "  => {}{weaker}: {why}", decision.action.name());
        if decision.action > Action::Allow {
            let advice = record::advice(&record, part, kind, &class);
            let _infallible = writeln!(text, "  {:<9} {advice}", "to allow");
        }
        worst = worst.max(decision.action);
    }
    Ok((text, worst > Action::Allow))
}
