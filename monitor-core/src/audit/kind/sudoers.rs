//! sudo's policy.

use super::super::expect::Expect;
use super::super::facts::{Ctx, Stop};
use super::super::outcome::Outcome;
use super::super::parse::sudoers::{defaults, lines};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// A question about sudoers, includes read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sudoers {
    /// These `Defaults` must be set for everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub defaults: Vec<String>,
    /// A `Defaults` with a value: its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub option: String,
    /// What that value must be.
    pub expect: Expect,
    /// The value in effect when it is not set; without it, not set fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unset: Option<String>,
    /// No line may match these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
}

impl Sudoers {
    pub(super) fn validate(&self) -> Result<(), String> {
        for pattern in &self.never {
            Regex::new(pattern).map_err(|error| format!("regular expression {pattern:?}: {error}"))?;
        }
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let lines = lines(ctx)?;
        if lines.is_empty() {
            return Ok(Outcome::not_applicable("no sudoers file"));
        }
        let mut outcome = Outcome::start();
        let settings: Vec<(String, String, &str)> = lines
            .iter()
            .filter_map(|line| {
                defaults(&line.text).map(|(scope, settings)| (scope, settings, line.place.as_str()))
            })
            .flat_map(|(scope, settings, place)| {
                settings
                    .into_iter()
                    .map(move |setting| (scope.clone(), setting, place))
            })
            .collect();
        for wanted in &self.defaults {
            let negated = format!("!{wanted}");
            let mut set = None;
            for (scope, setting, place) in &settings {
                if setting == wanted && scope.is_empty() {
                    set = Some((true, *place));
                } else if *setting == negated {
                    set = Some((false, *place));
                }
            }
            let (ok, place) = set.unwrap_or((false, "/etc/sudoers"));
            outcome.expect(
                ok,
                place,
                format!("Defaults {wanted}"),
                if ok { "set" } else { "not set" },
            );
        }
        if !self.option.is_empty() {
            self.option(&settings, &mut outcome);
        }
        for pattern in &self.never {
            let Ok(regex) = Regex::new(pattern) else { continue };
            for line in lines.iter().filter(|line| regex.is_match(&line.text)) {
                outcome.expect(
                    false,
                    &line.place,
                    format!("no line like /{pattern}/"),
                    &line.text,
                );
            }
        }
        Ok(outcome.because(format!("{} lines of sudoers looked at", lines.len())))
    }

    fn option(&self, settings: &[(String, String, &str)], outcome: &mut Outcome) {
        let expected = format!("{} {}", self.option, self.expect.describe());
        let mut count = 0;
        for (_, setting, place) in settings {
            let value = match setting.split_once('=') {
                Some((name, value)) if name.trim().trim_end_matches(['+', '-']) == self.option => {
                    value.trim()
                }
                None if setting == &format!("!{}", self.option) => "",
                _ => continue,
            };
            count += 1;
            outcome.expect(self.expect.holds(value), *place, &expected, setting);
        }
        if count == 0 {
            match &self.unset {
                Some(value) => {
                    let shown = format!("not set; the default is {value}");
                    outcome.expect(self.expect.holds(value), "/etc/sudoers", expected, shown);
                }
                None => outcome.expect(false, "/etc/sudoers", expected, "not set"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Fail, NotApplicable, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, text: &str, expected: Verdict) {
        let outcome = outcome_of(
            &format!("kind = \"sudoers\"\n{toml}"),
            &tree(&[("/etc/sudoers", text)]),
        );
        assert_eq!(outcome.result, expected, "{toml}\n{text}\n{outcome:?}");
    }

    #[test]
    fn defaults_and_tags() {
        let pty = "defaults = [\"use_pty\"]";
        check(pty, "Defaults use_pty\n", Pass);
        check(pty, "Defaults:bob use_pty\n", Fail);
        check(pty, "Defaults use_pty\nDefaults !use_pty\n", Fail);
        let log = "option = \"logfile\"\nexpect = { regex = \"^/\" }";
        check(log, "Defaults logfile=\"/var/log/sudo.log\"\n", Pass);
        check(log, "Defaults use_pty\n", Fail);
        let cache = "option = \"timestamp_timeout\"\nexpect = { min = 0, max = 15 }\nunset = \"5\"";
        check(cache, "Defaults use_pty\n", Pass);
        check(cache, "Defaults timestamp_timeout=-1\n", Fail);
        let tag = "never = ['\\bNOPASSWD\\b']";
        check(tag, "a ALL=(ALL) NOPASSWD: ALL\n", Fail);
        check(tag, "# a ALL=(ALL) NOPASSWD: ALL\na ALL=(ALL) ALL\n", Pass);
    }

    #[test]
    fn no_sudo() {
        let outcome = outcome_of("kind = \"sudoers\"\ndefaults = [\"use_pty\"]", &tree(&[]));
        assert_eq!(outcome.result, NotApplicable);
    }
}
