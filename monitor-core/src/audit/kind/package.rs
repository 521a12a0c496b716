//! Installed and absent packages, and systemd units.

use super::super::facts::{Ctx, Stop, UnitState};
use super::super::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// Packages that must be there or must not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageCheck {
    /// Names; `present` needs one of them, `absent` none of them.
    pub names: Vec<String>,
    /// Which of the two.
    pub state: Presence,
}

/// Whether something must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It must be there.
    Present,
    /// It must not be there.
    Absent,
}

impl PackageCheck {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let installed: Vec<String> = ctx
            .packages()?
            .iter()
            .filter(|package| self.names.contains(&package.name))
            .map(|package| format!("{}-{}", package.name, package.evr))
            .collect();
        let mut outcome = Outcome::start();
        let found = if installed.is_empty() {
            "not installed".to_owned()
        } else {
            installed.join(", ")
        };
        let (ok, expected) = match self.state {
            Presence::Present => (!installed.is_empty(), "installed"),
            Presence::Absent => (installed.is_empty(), "not installed"),
        };
        outcome.expect(
            ok,
            format!("rpm database: {}", self.names.join(", ")),
            expected,
            &found,
        );
        Ok(outcome.because(found))
    }
}

/// A systemd unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitCheck {
    /// Unit names; `disabled` is about all of them, `enabled` needs one of them.
    pub units: Vec<String>,
    /// What it must be.
    pub state: UnitWanted,
}

/// What a unit must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitWanted {
    /// Started at boot, and running now.
    Enabled,
    /// Neither started at boot nor running.
    Disabled,
    /// Linked to /dev/null (or not installed).
    Masked,
}

impl UnitCheck {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        ctx.prefetch(
            self.units
                .iter()
                .map(|unit| super::super::facts::Want::Unit(unit.clone())),
        );
        let mut outcome = Outcome::start();
        let mut good = Vec::new();
        for unit in &self.units {
            let state = ctx.unit(unit)?;
            let (ok, expected) = wanted(state, self.state);
            good.push(ok);
            if self.state == UnitWanted::Enabled && self.units.len() > 1 {
                outcome.note(unit, describe(state));
            } else {
                outcome.expect(ok, unit, expected, describe(state));
            }
        }
        if self.state == UnitWanted::Enabled && !good.contains(&true) {
            outcome.fail(format!("none of {} is enabled and active", self.units.join(", ")));
        }
        if !ctx.facts.live {
            outcome = outcome.configured();
        }
        Ok(outcome.because(match self.state {
            UnitWanted::Enabled => "enabled",
            UnitWanted::Disabled => "not enabled and not running",
            UnitWanted::Masked => "masked or not installed",
        }))
    }
}

fn wanted(state: &UnitState, wanted: UnitWanted) -> (bool, &'static str) {
    let active = state.active.as_deref() == Some("active");
    let starts = state.file.is_some() && !state.masked && !state.enabled_by.is_empty();
    match wanted {
        UnitWanted::Enabled => (starts && (active || state.active.is_none()), "enabled and active"),
        UnitWanted::Disabled => (!starts && !active, "not enabled, not active"),
        UnitWanted::Masked => (
            (state.masked || state.file.is_none()) && !active,
            "masked, not active",
        ),
    }
}

/// A unit's state in words.
pub(super) fn describe(state: &UnitState) -> String {
    let mut words = Vec::new();
    match (&state.file, state.masked) {
        (_, true) => words.push("masked".to_owned()),
        (None, _) => words.push("no unit file".to_owned()),
        (Some(_), _) if state.enabled_by.is_empty() => words.push("not enabled".to_owned()),
        (Some(_), _) => words.push(format!("enabled by {}", state.enabled_by.join(", "))),
    }
    if let Some(active) = &state.active {
        words.push(active.clone());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Facts, Package};
    use super::super::super::outcome::Verdict::{self, Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};
    use super::*;

    #[test]
    fn packages() {
        let mut facts = Facts::default();
        let package = Package {
            name: "telnet".into(),
            evr: "1-1".into(),
            vendor: String::new(),
            summary: String::new(),
        };
        facts.packages = Some(Ok(vec![package]));
        for (names, state, expected) in [
            ("telnet", "absent", Fail),
            ("ftp", "absent", Pass),
            ("telnet", "present", Pass),
            ("ftp", "present", Fail),
        ] {
            let toml = format!("kind = \"package\"\nnames = [\"{names}\"]\nstate = \"{state}\"");
            assert_eq!(outcome_of(&toml, &facts).result, expected, "{toml}");
        }
        facts.packages = Some(Err("no database".into()));
        let outcome = outcome_of("kind = \"package\"\nnames = [\"x\"]\nstate = \"absent\"", &facts);
        assert_eq!(
            outcome.result,
            Verdict::Error,
            "an unreadable database must not pass"
        );
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "each caller makes a state of its own"
    )]
    fn check(state: UnitState, wanted: &str, expected: Verdict) {
        let mut facts = tree(&[]);
        facts.live = state.active.is_some();
        facts.units.insert("a.service".into(), Ok(state.clone()));
        let toml = format!("kind = \"unit\"\nunits = [\"a.service\"]\nstate = \"{wanted}\"");
        assert_eq!(outcome_of(&toml, &facts).result, expected, "{wanted} {state:?}");
    }

    #[test]
    fn units() {
        let unit = |enabled: bool, masked: bool, active: Option<&str>| UnitState {
            file: Some("/usr/lib/systemd/system/a.service".into()),
            masked,
            enabled_by: if enabled {
                vec!["multi-user.target".into()]
            } else {
                vec![]
            },
            active: active.map(Into::into),
        };
        check(unit(true, false, Some("active")), "enabled", Pass);
        check(unit(true, false, Some("failed")), "enabled", Fail);
        check(unit(true, false, None), "enabled", Pass);
        check(unit(true, true, None), "enabled", Fail);
        check(unit(false, false, None), "enabled", Fail);
        check(unit(false, false, Some("active")), "disabled", Fail);
        check(unit(false, false, Some("inactive")), "disabled", Pass);
        check(unit(true, false, None), "disabled", Fail);
        check(UnitState::default(), "disabled", Pass);
        check(UnitState::default(), "enabled", Fail);
        check(unit(false, true, None), "masked", Pass);
    }
}
