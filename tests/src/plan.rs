//! What the host asks the guest to do, in order.

use serde::{Deserialize, Serialize};

/// Where the plan lies in the guest's root.
pub const PLAN_PATH: &str = "/hardpan-vm/plan.json";
/// Where scenario folders lie in the guest's root.
pub const SCENARIOS_DIR: &str = "/hardpan-vm/scenarios";
/// A file that the guest hands out at its end, if a scenario wrote it: state for the next boot.
pub const KEPT_PATH: &str = "/run/hardpan-vm/kept.tar.gz";
/// An unsigned program that the guest runs after each part: once its record is there, everything before it is too.
pub const MARKER_PATH: &str = "/hardpan-vm/marker";

/// Everything one boot does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Text lines of `hardpand`'s configuration that every group starts from.
    pub groups: Vec<Group>,
    /// Show what happens to a human instead of collecting it: frames are sent as it happens.
    #[serde(default)]
    pub live: bool,
}

/// Parts that share one life of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Unique in the plan; names frames and log files.
    pub name: String,
    /// Content of `/etc/hardpan/hardpan.toml`.
    pub config: String,
    /// Folder of the scenario in [`SCENARIOS_DIR`] whose `prepare` and `restore` belong to this group.
    pub scenario: Option<String>,
    /// Shell text run before the daemon starts.
    pub prepare: Option<String>,
    /// Shell text run after the daemon stopped.
    pub restore: Option<String>,
    /// The daemon is expected to refuse to run: that it does is no failure of the group.
    pub may_refuse: bool,
    /// In order.
    pub parts: Vec<Part>,
}

/// One half of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The scenario's name.
    pub scenario: String,
    /// Which half.
    pub role: Role,
    /// Shell text, run by the guest's `/bin/sh -e` in the scenario's folder.
    pub run: String,
    /// Seconds until the guest gives up on it and on its records.
    pub limit_s: u64,
    /// Carried out at these tiers only; empty: at each.
    #[serde(default)]
    pub tiers: Vec<String>,
}

impl Part {
    /// Whether it is carried out at the tier that `hardpan doctor` names; one that it could not find out counts as each.
    pub fn runs_at(&self, tier: Option<&str>) -> bool {
        self.tiers.is_empty() || tier.is_none_or(|tier| self.tiers.iter().any(|name| name == tier))
    }
}

/// The halves of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What Hardpan must notice.
    Attack,
    /// What looks alike and must not alarm anybody.
    Twin,
}

impl Role {
    /// The role's name in file names and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Twin => "twin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_carried_out_where_they_are_judged() {
        let part = |tiers: &[&str]| Part {
            scenario: String::new(),
            role: Role::Attack,
            run: String::new(),
            limit_s: 1,
            tiers: tiers.iter().map(|&tier| tier.to_owned()).collect(),
        };
        assert!(part(&[]).runs_at(Some("C")));
        assert!(part(&["A", "B"]).runs_at(Some("B")));
        assert!(!part(&["A"]).runs_at(Some("B")));
        assert!(part(&["A"]).runs_at(None), "nobody knows");
    }
}
