//! The programs that move hosts: what they leave, and what that says.

use super::Traces;
use serde::Serialize;
use std::collections::BTreeMap;

/// A program that moves hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// leapp, or ELevate, which is made of it.
    Leapp,
    /// migrate2rocky or migrate2rocky9.
    Migrate2rocky,
    /// almalinux-deploy.
    AlmalinuxDeploy,
    /// convert2rhel.
    Convert2rhel,
}

impl Tool {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leapp => "leapp (ELevate)",
            Self::Migrate2rocky => "migrate2rocky",
            Self::AlmalinuxDeploy => "almalinux-deploy",
            Self::Convert2rhel => "convert2rhel",
        }
    }
}

/// Runs of leapp and convert2rhel, one beneath the other.
const RESULTS: &str = "/etc/migration-results";
/// An empty file for each stage that almalinux-deploy has behind it. Gone with the next boot.
pub const STAGES: &str = "/var/run/almalinux-deploy-statuses";

/// Paths that these programs leave. The caller says which of them exist.
pub const TRACES: &[(&str, Tool)] = &[
    // convert2rhel writes there as well: what it says decides.
    (RESULTS, Tool::Leapp),
    ("/var/log/leapp", Tool::Leapp),
    ("/var/lib/leapp/leapp.db", Tool::Leapp),
    ("/etc/rhsm/facts/leapp.facts", Tool::Leapp),
    ("/root/tmp_leapp_py3", Tool::Leapp),
    ("/var/log/migrate2rocky.log", Tool::Migrate2rocky),
    ("/var/log/migrate2rocky9.log", Tool::Migrate2rocky),
    ("/root/convert", Tool::Migrate2rocky),
    ("/var/log/almalinux-deploy.log", Tool::AlmalinuxDeploy),
    ("/var/log/almalinux-deploy.debug.log", Tool::AlmalinuxDeploy),
    (STAGES, Tool::AlmalinuxDeploy),
    ("/var/log/convert2rhel/convert2rhel.log", Tool::Convert2rhel),
    ("/etc/rhsm/facts/convert2rhel.facts", Tool::Convert2rhel),
];

/// A run in /etc/migration-results.
struct Run {
    tool: Tool,
    /// It was to change the host, not only to look.
    moves: bool,
    success: Option<bool>,
}

/// The runs, the last one last. None where the file is not there or not what these programs write.
fn runs(results: Option<&str>) -> Vec<Run> {
    let parsed: Option<serde_json::Value> = serde_json::from_str(results.unwrap_or_default()).ok();
    let activities = parsed
        .as_ref()
        .and_then(|json| json.get("activities")?.as_array());
    activities.into_iter().flatten().map(run).collect()
}

fn run(activity: &serde_json::Value) -> Run {
    let text = |key: &str| activity.get(key).and_then(serde_json::Value::as_str);
    let (tool, moves) = match text("activity") {
        Some("conversion") => (Tool::Convert2rhel, true),
        Some("analysis") => (Tool::Convert2rhel, false),
        Some("preupgrade") => (Tool::Leapp, false),
        _ if text("executed").is_some_and(|command| command.contains("convert2rhel")) => {
            (Tool::Convert2rhel, true)
        }
        _ => (Tool::Leapp, true),
    };
    let success = activity.get("success").and_then(serde_json::Value::as_bool);
    Run { tool, moves, success }
}

/// Which programs moved the host, each with the paths that say so. One that only looked (`leapp preupgrade`,
/// `convert2rhel analyze`), or never came to an end, did not.
pub(super) fn movers(traces: &Traces) -> BTreeMap<Tool, Vec<&str>> {
    let runs = runs(traces.migration_results.as_deref());
    let mut movers: BTreeMap<Tool, Vec<&str>> = BTreeMap::new();
    for path in &traces.paths {
        let Some((_, tool)) = TRACES.iter().find(|(known, _)| known == path) else {
            continue;
        };
        if path != RESULTS || runs.is_empty() {
            movers.entry(*tool).or_default().push(path);
            continue;
        }
        for tool in [Tool::Leapp, Tool::Convert2rhel] {
            if runs.iter().any(|run| run.tool == tool) {
                movers.entry(tool).or_default().push(path);
            }
        }
    }
    movers.retain(|tool, _| {
        let mut own = runs.iter().filter(|run| run.tool == *tool).peekable();
        own.peek().is_none() || own.any(|run| run.moves && run.success != Some(false))
    });
    movers
}

/// Moves that were begun and not ended.
pub(super) fn unfinished(traces: &Traces) -> Vec<String> {
    // leapp writes its results at the end; before, its boot entry waits.
    let waiting = traces.boot_entries.iter().find(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("leapp") || name.contains("elevate") || name.contains("upgrade-initramfs")
    });
    let runs = runs(traces.migration_results.as_deref());
    let last = runs.iter().rfind(|run| run.moves);
    let stopped = traces.paths.iter().any(|path| path == STAGES)
        && !traces.stages.iter().any(|stage| stage == "completed");
    [
        waiting.map(|entry| format!("the boot entry {entry} of an upgrade is still there")),
        last.filter(|run| waiting.is_none() && run.success == Some(false))
            .map(|run| format!("the last run of {} in {RESULTS} did not succeed", run.tool.name())),
        stopped.then(|| {
            format!(
                "{} has not come to its end: no `completed` in {STAGES}",
                Tool::AlmalinuxDeploy.name()
            )
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
