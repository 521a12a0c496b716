//! Checks as data, and the pure function that answers them.

use super::facts::{Ctx, Facts, Stop, Want};
use super::kind::{self, Kind};
use super::outcome::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Stable id of our own, `hp-…`.
    pub id: String,
    /// What it asks, in our words.
    pub title: String,
    /// Rules of SCAP Security Guide that ask the same (short names), for tailoring files and comparisons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssg: Vec<String>,
    /// Conditions that must all hold for the check to concern the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    /// How to put it right, as a shell hint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
    /// What the change may break.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub side_effect: String,
    /// Where the parameters come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provenance: String,
    /// What is looked at.
    #[serde(flatten)]
    pub kind: Kind,
}

/// Why check or benchmark data cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A file is not the TOML it should be.
    #[error("{file}: {why}")]
    Syntax {
        /// The file.
        file: String,
        /// Line and reason.
        why: String,
    },
    /// A check's parameters make no sense.
    #[error("check {id}: {why}")]
    Check {
        /// Its id.
        id: String,
        /// The reason.
        why: String,
    },
    /// Two checks have one id.
    #[error("check {0} is there twice")]
    Twice(String),
    /// A benchmark names a check that does not exist.
    #[error("benchmark {benchmark}, control {control}: no check {check}")]
    NoCheck {
        /// Benchmark id.
        benchmark: String,
        /// Control id.
        control: String,
        /// The missing check.
        check: String,
    },
}

impl Check {
    /// Whether id, conditions and parameters make sense.
    pub fn validate(&self) -> Result<(), ContentError> {
        let error = |why: String| ContentError::Check {
            id: self.id.clone(),
            why,
        };
        let id_ok = self.id.strip_prefix("hp-").is_some_and(|rest| {
            !rest.is_empty()
                && rest
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        });
        if !id_ok {
            return Err(error(
                "ids are hp- and lower-case letters, digits and dashes".into(),
            ));
        }
        for condition in &self.when {
            Condition::parse(condition).map_err(error)?;
        }
        self.kind.validate().map_err(error)
    }

    /// The remedy: the item of `hardpan harden` that does it, or a shell hint.
    pub fn remedy(&self) -> String {
        let hint = super::hint::hint(&self.kind);
        if self.fix.is_empty() || hint.starts_with(super::hint::HARDEN) {
            hint
        } else {
            self.fix.clone()
        }
    }
}

#[derive(Deserialize)]
struct CheckFile {
    #[serde(default)]
    check: Vec<Check>,
}

/// All checks, by id.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    by_id: BTreeMap<String, Check>,
}

impl Checks {
    /// Reads check files, each given as name and text.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ContentError> {
        let mut checks = Self::default();
        for (file, text) in files {
            let parsed: CheckFile = toml::from_str(text).map_err(|error| ContentError::Syntax {
                file: file.to_owned(),
                why: crate::syntax::complaint(text, &error),
            })?;
            for check in parsed.check {
                check.validate()?;
                if checks.by_id.contains_key(&check.id) {
                    return Err(ContentError::Twice(check.id));
                }
                checks.by_id.insert(check.id.clone(), check);
            }
        }
        Ok(checks)
    }

    /// Reads only the checks of these ids: of a thousand checks a release's benchmark needs a third.
    pub fn parse_only<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        wanted: &BTreeSet<&str>,
    ) -> Result<Self, ContentError> {
        let chosen: Vec<(&str, String)> = files
            .into_iter()
            .map(|(file, text)| (file, only(text, wanted)))
            .collect();
        Self::parse(chosen.iter().map(|(file, text)| (*file, text.as_str())))
    }

    /// The check of that id.
    pub fn get(&self, id: &str) -> Option<&Check> {
        self.by_id.get(id)
    }

    /// Puts a check in the place of the one with its id.
    pub(super) fn replace(&mut self, check: Check) {
        self.by_id.insert(check.id.clone(), check);
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Check> {
        self.by_id.values()
    }
}

/// The part of a check file that holds these checks. A check whose id is not its first line stays, too.
fn only(text: &str, wanted: &BTreeSet<&str>) -> String {
    const BEGIN: &str = "[[check]]\n";
    let mut chosen = String::new();
    for part in text.split(BEGIN).skip(1) {
        let id = part
            .strip_prefix("id = \"")
            .and_then(|rest| rest.split_once('"'))
            .map(|(id, _)| id);
        if id.is_none_or(|id| wanted.contains(id)) {
            chosen.push_str(BEGIN);
            chosen.push_str(part);
        }
    }
    chosen
}

/// A condition for a check to concern the host.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Package(String, bool),
    Path(String, bool),
    Arch(String),
    Uefi(bool),
    Logger(String),
    FirewallIs(String),
    El(u32, bool),
    Before(u32, u32),
}

impl Condition {
    fn parse(text: &str) -> Result<Self, String> {
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        Ok(match name {
            "package" => Self::Package(value.to_owned(), !negated),
            "path" => Self::Path(value.to_owned(), !negated),
            "arch" => Self::Arch(value.to_owned()),
            "uefi" => Self::Uefi(!negated),
            "logger" => Self::Logger(value.to_owned()),
            "firewall" => Self::FirewallIs(value.to_owned()),
            "el" => {
                let major = value.parse().map_err(|_| format!("no release number: {text}"))?;
                Self::El(major, !negated)
            }
            "before" => {
                let (major, minor) = value
                    .split_once('.')
                    .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
                    .ok_or_else(|| format!("no release: {text}"))?;
                Self::Before(major, minor)
            }
            _ => return Err(format!("unknown condition {text:?}")),
        })
    }

    /// `None` if it holds, otherwise why not.
    fn unmet(&self, ctx: &Ctx<'_>) -> Result<Option<String>, Stop> {
        let reason = |holds: bool, why: String| (!holds).then_some(why);
        Ok(match self {
            Self::Package(name, wanted) => {
                let there = ctx.package(name)?.is_some();
                reason(
                    there == *wanted,
                    format!("package {name} is {}installed", if there { "" } else { "not " }),
                )
            }
            Self::Path(path, wanted) => {
                let there = ctx.stat(path)?.is_some();
                reason(
                    there == *wanted,
                    format!("{path} {}", if there { "exists" } else { "does not exist" }),
                )
            }
            Self::Arch(arch) => {
                let host = &ctx.facts.host.arch;
                reason(
                    host.is_empty() || host == arch,
                    format!("the machine is {host}, not {arch}"),
                )
            }
            Self::Uefi(wanted) => {
                let path = if ctx.facts.live {
                    "/sys/firmware/efi"
                } else {
                    "/boot/efi/EFI"
                };
                let uefi = ctx.stat(path)?.is_some();
                reason(
                    uefi == *wanted,
                    format!("the machine boots by {}", if uefi { "UEFI" } else { "BIOS" }),
                )
            }
            Self::Logger(wanted) => {
                let rsyslog = ctx.unit("rsyslog.service")?;
                let uses_rsyslog =
                    rsyslog.file.is_some() && !rsyslog.masked && !rsyslog.enabled_by.is_empty();
                let logger = if uses_rsyslog { "rsyslog" } else { "journald" };
                reason(logger == wanted, format!("the logger in use is {logger}"))
            }
            Self::FirewallIs(wanted) => {
                let firewalld = ctx.unit("firewalld.service")?;
                let uses_firewalld =
                    firewalld.file.is_some() && !firewalld.masked && !firewalld.enabled_by.is_empty();
                let firewall = if uses_firewalld { "firewalld" } else { "nftables" };
                reason(firewall == wanted, format!("the firewall in use is {firewall}"))
            }
            Self::Before(major, minor) => {
                let host = &ctx.facts.host;
                let mut parts = host.os_version.split('.');
                let own_major = parts.next().and_then(|part| part.parse::<u32>().ok());
                // A distribution without minor releases (CentOS Stream) is as its newest.
                let own_minor = parts.next().and_then(|part| part.parse::<u32>().ok());
                let holds = host.el_major() == Some(*major)
                    && own_major == Some(*major)
                    && own_minor.is_some_and(|own| own < *minor);
                reason(holds, format!("the release is not before EL {major}.{minor}"))
            }
            Self::El(major, wanted) => {
                let is_that = ctx.facts.host.el_major() == Some(*major);
                reason(
                    is_that == *wanted,
                    format!("the release is {}EL {major}", if is_that { "" } else { "not " }),
                )
            }
        })
    }
}

/// Answers a check, or says what has to be read first.
pub fn evaluate(check: &Check, facts: &Facts) -> Result<Outcome, BTreeSet<Want>> {
    let ctx = Ctx::new(facts);
    match attempt(check, &ctx) {
        Ok(outcome) => Ok(outcome),
        Err(Stop::Missing) => Err(ctx.into_wants()),
        Err(Stop::Offline) => Ok(Outcome::of(
            Verdict::NotChecked,
            "needs the running system; this is an image",
        )),
        Err(Stop::Unreadable { what, why }) => Ok(Outcome::of(Verdict::Error, format!("{what}: {why}"))),
    }
}

fn attempt(check: &Check, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    for text in &check.when {
        let condition = Condition::parse(text).map_err(|why| Stop::unreadable("condition", why))?;
        if let Some(why) = condition.unmet(ctx)? {
            return Ok(Outcome::not_applicable(why));
        }
    }
    kind::answer(&check.kind, ctx)
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{outcome_of, tree};
    use super::*;

    #[test]
    fn data_errors_name_the_check() {
        let parse = |text: &str| Checks::parse([("f.toml", text)]).unwrap_err().to_string();
        assert!(
            parse("[[check]]\nid = \"x\"\ntitle = \"t\"\nkind = \"kmod\"\nmodule = \"m\"")
                .starts_with("check x:")
        );
        assert!(
            parse("[[check]]\nid = \"hp-a\"\ntitle = \"t\"\nkind = \"kmod\"\nmodul = \"m\"")
                .contains("f.toml")
        );
        let twice = "[[check]]\nid = \"hp-a\"\ntitle = \"t\"\nkind = \"kmod\"\nmodule = \"m\"\n".repeat(2);
        assert_eq!(parse(&twice), "check hp-a is there twice");
        assert!(
            parse(
                "[[check]]\nid = \"hp-a\"\ntitle = \"t\"\nwhen = [\"moon\"]\nkind = \"kmod\"\nmodule = \"m\""
            )
            .contains("moon")
        );
    }

    #[test]
    fn only_some_checks_are_read() {
        let kmod =
            |id: &str| format!("[[check]]\nid = \"{id}\"\ntitle = \"t\"\nkind = \"kmod\"\nmodule = \"m\"\n");
        let text = ["# comment\n".to_owned(), kmod("hp-a"), kmod("hp-b"), kmod("hp-c")].concat();
        let checks = Checks::parse_only([("f", text.as_str())], &BTreeSet::from(["hp-b", "hp-z"])).unwrap();
        let ids: Vec<&str> = checks.iter().map(|check| check.id.as_str()).collect();
        assert_eq!(ids, ["hp-b"]);
    }

    #[test]
    fn conditions_decide_whether_a_check_concerns_the_host() {
        let check = |when: &str, expected: Verdict| {
            let facts = tree(&[("/etc/x", "a\n")]);
            let toml = format!("when = [\"{when}\"]\nkind = \"lines\"\nfiles = [\"/etc/x\"]\nmust = [\"a\"]");
            assert_eq!(outcome_of(&toml, &facts).result, expected, "{when}");
        };
        check("path:/etc/x", Verdict::Pass);
        check("path:/etc/y", Verdict::NotApplicable);
        check("!path:/etc/y", Verdict::Pass);
        check("package:gdm", Verdict::NotApplicable);
        check("logger:journald", Verdict::Pass);
        check("el:9", Verdict::NotApplicable);
        check("!el:9", Verdict::Pass);
        check("before:8.2", Verdict::NotApplicable);
        for (version, expected) in [
            ("8.1", Verdict::Pass),
            ("8.2", Verdict::NotApplicable),
            ("8.10", Verdict::NotApplicable),
            ("8", Verdict::NotApplicable),
            ("7.9", Verdict::NotApplicable),
        ] {
            let mut facts = tree(&[("/etc/x", "a\n")]);
            facts.host.os_id = "rhel".into();
            facts.host.os_version = version.into();
            let toml = "when = [\"before:8.2\"]\nkind = \"lines\"\nfiles = [\"/etc/x\"]\nmust = [\"a\"]";
            assert_eq!(outcome_of(toml, &facts).result, expected, "{version}");
        }
    }

    #[test]
    fn several_parts() {
        let part = |word: &str| format!("{{ kind = \"lines\", files = [\"/etc/x\"], must = [\"{word}\"] }}");
        let facts = tree(&[("/etc/x", "a\n")]);
        let any = format!("kind = \"any\"\nof = [{}, {}]", part("zzz"), part("a"));
        assert_eq!(outcome_of(&any, &facts).result, Verdict::Pass);
        let all = format!("kind = \"all\"\nof = [{}, {}]", part("zzz"), part("a"));
        assert_eq!(outcome_of(&all, &facts).result, Verdict::Fail);
    }
}
