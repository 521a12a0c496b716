//! Benchmarks: versioned maps from control ids to checks, and the profiles that select from them.

use super::check::{Checks, ContentError};
use serde::{Deserialize, Serialize};

/// A benchmark of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    /// Id, such as `cis-rhel9`.
    pub id: String,
    /// cis, stig, or the name of a profile of our own.
    pub family: String,
    /// Version.
    pub version: String,
    /// Date of release, where known.
    #[serde(default)]
    pub released: String,
    /// EL major release; 0 for any.
    #[serde(default)]
    pub el: u32,
    /// Title.
    pub title: String,
    /// Where ids and values come from.
    pub source: String,
    /// The same numbers under other names.
    #[serde(default)]
    pub also: Vec<Alias>,
    /// The controls.
    pub controls: Vec<Control>,
}

/// Another distribution's benchmark with the same numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// `ID` of os-release.
    pub os: String,
    /// Title.
    pub title: String,
    /// Version.
    pub version: String,
}

/// One control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Number or id in the benchmark.
    pub id: String,
    /// What it asks, in our words.
    pub title: String,
    /// Chapter.
    #[serde(default)]
    pub chapter: String,
    /// Lowest CIS level for servers that has it; 0 if none has.
    #[serde(default)]
    pub server: u8,
    /// Lowest CIS level for workstations that has it; 0 if none has.
    #[serde(default)]
    pub workstation: u8,
    /// DISA category.
    #[serde(default)]
    pub severity: String,
    /// Whether the benchmark itself calls it automated (DISA does not say: true).
    #[serde(default = "yes")]
    pub automated: bool,
    /// Checks that answer it together.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Common Configuration Enumeration ids.
    #[serde(default)]
    pub cce: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Benchmark {
    /// Reads a benchmark and makes sure that every check it names exists.
    pub fn parse(file: &str, text: &str, checks: &Checks) -> Result<Self, ContentError> {
        let benchmark = Self::read(file, text)?;
        benchmark.verify(checks)?;
        Ok(benchmark)
    }

    /// Reads a benchmark; [`Self::verify`] is still to be asked.
    pub fn read(file: &str, text: &str) -> Result<Self, ContentError> {
        toml::from_str(text).map_err(|error| ContentError::Syntax {
            file: file.to_owned(),
            why: crate::syntax::complaint(text, &error),
        })
    }

    /// Makes sure that every check it names exists.
    pub fn verify(&self, checks: &Checks) -> Result<(), ContentError> {
        for control in &self.controls {
            if let Some(check) = control.checks.iter().find(|check| checks.get(check).is_none()) {
                return Err(ContentError::NoCheck {
                    benchmark: self.id.clone(),
                    control: control.id.clone(),
                    check: check.clone(),
                });
            }
        }
        Ok(())
    }

    /// Title and version as the host's distribution calls them.
    pub fn title_for(&self, os_id: &str) -> (&str, &str) {
        self.also
            .iter()
            .find(|alias| alias.os == os_id)
            .map_or((self.title.as_str(), self.version.as_str()), |alias| {
                (alias.title.as_str(), alias.version.as_str())
            })
    }

    /// The controls of a profile, in the benchmark's order.
    pub fn select(&self, profile: Profile) -> Vec<&Control> {
        let within = |level: u8, max: u8| level != 0 && level <= max;
        self.controls
            .iter()
            .filter(|control| match profile {
                Profile::CisServer(max) => within(control.server, max),
                Profile::CisWorkstation(max) => within(control.workstation, max),
                _ => true,
            })
            .collect()
    }
}

/// What an operator asks for with `--profile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// CIS for servers up to a level.
    CisServer(u8),
    /// CIS for workstations up to a level.
    CisWorkstation(u8),
    /// DISA STIG.
    Stig,
    /// Kernel hardening.
    Hardening,
    /// The FIPS report.
    Fips,
    /// Traces of a change of release.
    Migration,
}

impl Profile {
    /// All profiles, with their names and titles.
    pub const ALL: [(&'static str, Self, &'static str); 8] = [
        ("cis-l1-server", Self::CisServer(1), "CIS Level 1, server"),
        ("cis-l2-server", Self::CisServer(2), "CIS Level 2, server"),
        (
            "cis-l1-workstation",
            Self::CisWorkstation(1),
            "CIS Level 1, workstation",
        ),
        (
            "cis-l2-workstation",
            Self::CisWorkstation(2),
            "CIS Level 2, workstation",
        ),
        ("stig", Self::Stig, "DISA STIG"),
        ("hardening", Self::Hardening, "Kernel hardening"),
        ("fips", Self::Fips, "FIPS report"),
        ("migration", Self::Migration, "Migration report"),
    ];

    /// The profile of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _, _)| *known == name)
            .map(|(_, profile, _)| *profile)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, profile, _)| *profile == self)
            .map_or("", |(name, _, _)| name)
    }

    /// Its title.
    pub fn title(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, profile, _)| *profile == self)
            .map_or("", |(_, _, title)| title)
    }

    /// The family of benchmarks it selects from.
    pub fn family(self) -> &'static str {
        match self {
            Self::CisServer(_) | Self::CisWorkstation(_) => "cis",
            Self::Stig => "stig",
            Self::Hardening => "hardening",
            Self::Fips => "fips",
            Self::Migration => "migration",
        }
    }

    /// The benchmark for a host: of this family, for its release, of the wanted version (the newest without one).
    pub fn benchmark<'a>(
        self,
        all: &'a [Benchmark],
        el: Option<u32>,
        version: Option<&str>,
    ) -> Option<&'a Benchmark> {
        all.iter()
            .filter(|benchmark| benchmark.family == self.family())
            .filter(|benchmark| benchmark.el == 0 || Some(benchmark.el) == el)
            .filter(|benchmark| {
                version.is_none_or(|wanted| {
                    benchmark.version.trim_start_matches('v') == wanted.trim_start_matches('v')
                })
            })
            .max_by(|a, b| version_key(&a.version).cmp(&version_key(&b.version)))
    }
}

fn version_key(version: &str) -> Vec<u32> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_versions() {
        let text = |version: &str| {
            format!(
                "id = \"b\"\nfamily = \"cis\"\nversion = \"{version}\"\nel = 9\ntitle = \"t\"\nsource = \"s\"\ncontrols = [\n{{ id = \"1\", title = \"a\", server = 1, workstation = 2 }},\n{{ id = \"2\", title = \"b\", server = 2 }},\n]"
            )
        };
        let parse = |version: &str| Benchmark::parse("f", &text(version), &Checks::default()).unwrap();
        let all = [parse("2.0.0"), parse("10.0.0"), parse("3.0.0")];
        let ids = |profile: Profile| {
            all[0]
                .select(profile)
                .iter()
                .map(|c| c.id.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(Profile::CisServer(1)), ["1"]);
        assert_eq!(ids(Profile::CisServer(2)), ["1", "2"]);
        assert_eq!(ids(Profile::CisWorkstation(1)), [""; 0]);
        assert_eq!(
            Profile::CisServer(1)
                .benchmark(&all, Some(9), None)
                .unwrap()
                .version,
            "10.0.0"
        );
        assert_eq!(
            Profile::CisServer(1)
                .benchmark(&all, Some(9), Some("v2.0.0"))
                .unwrap()
                .version,
            "2.0.0"
        );
        assert!(Profile::CisServer(1).benchmark(&all, Some(8), None).is_none());
        for (name, profile, _) in Profile::ALL {
            assert_eq!(Profile::named(name), Some(profile));
            assert_eq!(profile.name(), name);
        }
    }
}
