//! Items against a host: what holds already, what does not apply, which edits are needed.

mod access;
mod kernel;
mod tools;

use super::Host;
use super::edit::{Edit, LineEdit, Locator, matches};
use super::item::{Item, Want};
use crate::policy::resolve::Resolved;
use crate::policy::strength;
use crate::policy::value::{KeyPath, Value};
use serde::Serialize;
use std::cmp::Ordering;

/// Our own drop-in of sysctl.d. Its name sorts behind 99-sysctl.conf, the link to /etc/sysctl.conf.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/99-zz-hardpan.conf";
/// Our own drop-in of modprobe.d.
pub const MODPROBE_FILE: &str = "/etc/modprobe.d/hardpan.conf";
/// Our own drop-in of sshd_config.d: the first value counts, so it sorts first.
pub const SSHD_FILE: &str = "/etc/ssh/sshd_config.d/00-hardpan.conf";

/// How an item stands on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It holds, or something stronger does.
    Satisfied {
        /// What was found.
        found: String,
    },
    /// Edits are needed.
    Differs {
        /// What was found.
        found: String,
    },
    /// It has no meaning here.
    NotApplicable {
        /// Why.
        why: String,
    },
    /// It cannot be done from here.
    Blocked {
        /// Why, and what to do.
        why: String,
    },
}

/// An item, how it stands, and what would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
    /// The edits, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
    /// What people should know besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A plan: one entry per item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The entries, by item id.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// How many items need edits.
    pub fn changes(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| matches!(entry.state, State::Differs { .. }))
            .count()
    }
}

/// Plans all items.
pub fn plan(host: &dyn Host, resolved: &Resolved, items: &[Item]) -> Plan {
    Plan {
        entries: items.iter().map(|item| entry(host, resolved, item)).collect(),
    }
}

/// Plans one item.
pub fn entry(host: &dyn Host, resolved: &Resolved, item: &Item) -> Entry {
    let mut draft = Draft {
        host,
        resolved,
        edits: Vec::new(),
        notes: Vec::new(),
    };
    let state = match &item.not_applicable {
        Some(why) => State::NotApplicable { why: why.clone() },
        None => draft.state(&item.want),
    };
    if !matches!(state, State::Differs { .. }) {
        draft.edits.clear();
    }
    Entry {
        item: item.clone(),
        state,
        edits: draft.edits,
        notes: draft.notes,
    }
}

struct Draft<'h> {
    host: &'h dyn Host,
    resolved: &'h Resolved,
    edits: Vec<Edit>,
    notes: Vec<String>,
}

fn differs(found: impl Into<String>) -> State {
    State::Differs { found: found.into() }
}

fn satisfied(found: impl Into<String>) -> State {
    State::Satisfied { found: found.into() }
}

fn not_applicable(why: impl Into<String>) -> State {
    State::NotApplicable { why: why.into() }
}

fn blocked(why: impl Into<String>) -> State {
    State::Blocked { why: why.into() }
}

impl Draft<'_> {
    fn state(&mut self, want: &Want) -> State {
        match want {
            Want::Sysctl { name, value } => self.sysctl(name, value),
            Want::ModuleDenied { name } => self.module(name),
            Want::BootArgument { name, value } => self.boot(name, value.as_deref()),
            Want::ServiceMasked { unit } => self.service(unit),
            Want::SetIdReduced { path, wheel } => self.set_id(path, *wheel),
            Want::MountOptions { target, options } => self.mount(target, options),
            Want::Sshd { keyword, value } => self.sshd(keyword, value),
            Want::CryptoPolicy { policy } => self.crypto(policy),
            Want::PamFeature { feature, enabled } => self.pam(feature, *enabled),
            Want::FirewallZone { zone } => self.firewall(zone),
        }
    }

    /// Whether what was found is what is wanted, or stronger and within the policy's requirements.
    fn good_enough(&self, key: &KeyPath, wanted: &str, found: &str) -> bool {
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        if found == wanted {
            return true;
        }
        let value = |text: &str| {
            text.parse()
                .map_or_else(|_| Value::Text(text.to_owned()), Value::Integer)
        };
        let (wanted, found) = (value(wanted), value(&found));
        let stronger = strength::scalar_order(key, &found, &wanted) == Some(Ordering::Greater);
        stronger && self.resolved.accepts(key, &found)
    }

    fn line(&mut self, path: &str, line: LineEdit) {
        self.edits.push(Edit::Line {
            path: path.to_owned(),
            line,
        });
    }

    /// A line of one of our own files: added, or replaced where an earlier policy wrote another value.
    fn own_line(&mut self, path: &str, prefix: &str, after: &str) {
        let locator = Locator::Prefix {
            prefix: prefix.to_owned(),
        };
        let text = self.host.read(path).unwrap_or_default();
        let before = text
            .lines()
            .find(|line| matches(&locator, line))
            .map(str::to_owned);
        if before.as_deref() == Some(after) {
            return;
        }
        let after = Some(after.to_owned());
        self.line(
            path,
            LineEdit {
                locator,
                before,
                after,
                added: Vec::new(),
                removed: Vec::new(),
                separator: ' ',
            },
        );
    }
}
