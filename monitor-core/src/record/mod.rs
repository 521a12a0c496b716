//! Records: one JSON object per line, in the Elastic Common Schema 9.4, own data under `Hardpan`.
//!
//! A constructor makes a [`Draft`]; [`Draft::line`] stamps it with host and sequence number. The time is always first,
//! keys keep their type for ever, a line has no newline inside and stays far below 64 kB whatever came in.

pub mod attack;
mod cred;
mod ecs;
mod exec;
mod finding;
mod gate;
mod ledger;
mod module;
mod object;
mod own;
mod package;
mod parts;
mod service;
mod task;
#[cfg(test)]
mod tests;
mod text;

pub use cred::cred_change;
pub use exec::{
    DigestSource, ExecFacts, ExecSummary, FileDigest, FileFacts, PathSource, exec, exec_aggregate,
};
pub use finding::{Finding, FindingCode, FindingKind};
pub use gate::{GateFacts, gate};
pub use ledger::Ledger;
pub use module::module_change;
pub use object::object;
pub use package::package_opened;
pub use parts::Scene;
pub use service::{PolicyState, Service, ServiceEvent, TrustState};
pub use task::{Freeze, FreezeOutcome, task_finding};

use crate::policy::rule::{Action, Decision, Why};
use ecs::{ContainerFields, ECS_VERSION, Ecs, Event, File, PackageFields, Process, Related, Threat, User};
use jiff::Timestamp;
use own::{Own, OwnPolicy};
use serde::Serialize;

/// Whose records these are. The same in every line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `/etc/machine-id`.
    pub id: String,
    /// Host name.
    pub name: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// A record without its number.
#[derive(Debug, Clone)]
pub struct Draft {
    at_us: i64,
    events: u64,
    event: Event,
    message: String,
    process: Option<Process>,
    file: Option<File>,
    package: Option<PackageFields>,
    container: Option<ContainerFields>,
    user: Option<User>,
    threat: Option<Threat>,
    related: Option<Related>,
    own: Own,
}

/// How ending a process went that the policy says must not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Killed {
    /// It got the signal.
    Done,
    /// It had ended.
    Gone,
    /// It was left alone, since the host needs it or it may be another one.
    Refused(&'static str),
    /// The signal could not be sent.
    Failed(String),
}

impl Draft {
    fn new(at_us: i64, events: u64, event: Event, message: String) -> Self {
        Self {
            at_us,
            events,
            event,
            message,
            process: None,
            file: None,
            package: None,
            container: None,
            user: None,
            threat: None,
            related: None,
            own: Own::default(),
        }
    }

    /// How many kernel events the record stands for: 1 for most, the count for an aggregate, 0 for the daemon's own.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The one-line summary.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Notes what policy decided about it.
    ///
    /// A rule that allows turns an alert into an event; one that alerts, denies or kills turns an event into an alert.
    /// Defaults leave it as the verdict has it.
    pub fn decided(&mut self, decision: &Decision<'_>) {
        let (rule, origin) = match decision.why {
            Why::Rule(_, rule) => (Some(rule.name.clone()), Some(rule.origin.to_string())),
            Why::Default(origin) => (None, Some(origin.to_string())),
            Why::Nothing => (None, None),
        };
        if rule.is_some() {
            self.event.set_alert(decision.action >= Action::Alert);
            if decision.action < Action::Alert {
                self.threat = None;
            }
        }
        self.own.policy = OwnPolicy {
            action: Some(decision.action.name()),
            rule,
            origin,
            weakened: decision.weakened,
            ..OwnPolicy::default()
        };
    }

    /// Notes what became of the process that the policy says must not run.
    pub fn killed(&mut self, killed: &Killed) {
        let (word, text) = match killed {
            Killed::Done => ("killed", "the process was killed".to_owned()),
            Killed::Gone => ("gone", "the process has ended meanwhile".to_owned()),
            Killed::Refused(why) => ("refused", format!("the process was not killed: {why}")),
            Killed::Failed(why) => ("failed", format!("the process could not be killed: {why}")),
        };
        self.message.push_str("; ");
        self.message.push_str(&text);
        self.own.policy.kill = Some(word);
    }

    /// The finished line, newline included. `sequence` counts the records of this boot, so that a gap shows;
    /// `epoch` is that of the policy in force, 0 while there is none.
    pub fn line(&self, host: &Host, sequence: u64, epoch: u64) -> String {
        let stamped = Stamped {
            timestamp: rfc3339(self.at_us),
            message: &self.message,
            event: EventLine {
                id: format!("{}-{sequence}", host.boot_id),
                sequence,
                module: "hardpan",
                fields: &self.event,
            },
            host: HostFields {
                id: &host.id,
                name: &host.name,
                boot: Boot { id: &host.boot_id },
            },
            process: self.process.as_ref(),
            file: self.file.as_ref(),
            package: self.package.as_ref(),
            container: self.container.as_ref(),
            user: self.user.as_ref(),
            threat: self.threat.as_ref(),
            related: self.related.as_ref(),
            own: OwnLine {
                fields: &self.own,
                policy: PolicyLine {
                    epoch,
                    fields: &self.own.policy,
                },
            },
            ecs: Ecs { version: ECS_VERSION },
            agent: Agent {
                kind: "hardpan",
                version: env!("CARGO_PKG_VERSION"),
            },
        };
        // Serialising strings, numbers and vectors into memory cannot fail; should it ever, the sequence number
        // and the reason still go out.
        let mut line = serde_json::to_string(&stamped).unwrap_or_else(|error| {
            let reason = error.to_string().replace(['"', '\\'], "'");
            format!(
                r#"{{"@timestamp":"{}","event":{{"kind":"pipeline_error","category":[],"type":[],"sequence":{sequence}}},"ecs":{{"version":"{ECS_VERSION}"}},"message":"{reason}"}}"#,
                stamped.timestamp,
            )
        });
        line.push('\n');
        line
    }
}

#[derive(Serialize)]
struct Stamped<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    message: &'a str,
    event: EventLine<'a>,
    host: HostFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a Process>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<&'a PackageFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a ContainerFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threat: Option<&'a Threat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    related: Option<&'a Related>,
    #[serde(rename = "Hardpan")]
    own: OwnLine<'a>,
    ecs: Ecs,
    agent: Agent,
}

#[derive(Serialize)]
struct OwnLine<'a> {
    #[serde(flatten)]
    fields: &'a Own,
    policy: PolicyLine<'a>,
}

#[derive(Serialize)]
struct PolicyLine<'a> {
    epoch: u64,
    #[serde(flatten)]
    fields: &'a OwnPolicy,
}

#[derive(Serialize)]
struct EventLine<'a> {
    id: String,
    sequence: u64,
    module: &'static str,
    #[serde(flatten)]
    fields: &'a Event,
}

#[derive(Serialize)]
struct HostFields<'a> {
    id: &'a str,
    name: &'a str,
    boot: Boot<'a>,
}

#[derive(Serialize)]
struct Boot<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct Agent {
    #[serde(rename = "type")]
    kind: &'static str,
    version: &'static str,
}

/// RFC 3339, UTC, always six digits of seconds. A time outside the years 1 to 9999 becomes 1970.
fn rfc3339(unix_us: i64) -> String {
    let time = Timestamp::from_microsecond(unix_us).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.6}")
}
