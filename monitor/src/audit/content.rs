//! The shipped checks and benchmarks, compiled in; a directory can replace them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hardpan_core::audit::{Benchmark, Checks, ContentError};

/// Checks and benchmarks.
#[derive(Clone, Debug)]
pub struct Content {
    /// All checks.
    pub checks: Checks,
    /// All benchmarks.
    pub benchmarks: Vec<Benchmark>,
}

/// Why checks and benchmarks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContentLoadError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// They make no sense.
    #[error("checks and benchmarks cannot be used")]
    Content(#[from] ContentError),
}

macro_rules! shipped {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$((
            concat!($folder, "/", $name, ".toml"),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/audit/", $folder, "/", $name, ".toml")),
        )),*]
    };
}

const CHECKS: &[(&str, &str)] = shipped!("checks": "accounts", "audit-rules", "boot", "config", "crypto", "files", "fips", "gnome", "hardening", "kmod", "migration", "minor-releases", "mounts", "packages", "pam", "questions", "sshd", "sweeps", "sysctl", "system", "units");
const BENCHMARKS: &[(&str, &str)] = shipped!("benchmarks": "cis-rhel10", "cis-rhel8", "cis-rhel9", "fips", "hardening", "migration", "stig-rhel10", "stig-rhel8", "stig-rhel9");

impl Content {
    /// What was compiled in; only the benchmarks of a family (`cis`, `stig`, …) are read when one is named.
    pub fn shipped(family: Option<&str>) -> Result<Self, ContentLoadError> {
        let checks = Checks::parse(CHECKS.iter().copied())?;
        let benchmarks = BENCHMARKS
            .iter()
            .filter(|(name, _)| family.is_none_or(|family| name.contains(family)))
            .map(|(name, text)| Benchmark::parse(name, text, &checks))
            .collect::<Result<_, _>>()?;
        Ok(Self { checks, benchmarks })
    }

    /// Of what was compiled in, the benchmark of a family for an EL release (all of the family if the release is not
    /// known), and the checks that it names.
    pub fn shipped_for(family: &str, el: Option<u32>) -> Result<Self, ContentLoadError> {
        let benchmarks = BENCHMARKS
            .iter()
            .filter(|(name, _)| name.contains(family))
            .filter(|(name, _)| match (el, name.split_once("-rhel")) {
                (Some(el), Some((_, release))) => release.strip_suffix(".toml") == Some(&el.to_string()),
                _ => true,
            })
            .map(|(name, text)| Benchmark::read(name, text))
            .collect::<Result<Vec<_>, _>>()?;
        let wanted: BTreeSet<&str> = benchmarks
            .iter()
            .flat_map(|benchmark| &benchmark.controls)
            .flat_map(|control| control.checks.iter().map(String::as_str))
            .collect();
        let checks = Checks::parse_only(CHECKS.iter().copied(), &wanted)?;
        benchmarks
            .iter()
            .try_for_each(|benchmark| benchmark.verify(&checks))?;
        Ok(Self { checks, benchmarks })
    }

    /// What lies in `checks` and `benchmarks` of a directory.
    pub fn from_dir(dir: &Path) -> Result<Self, ContentLoadError> {
        let texts = |folder: &str| -> Result<Vec<(String, String)>, ContentLoadError> {
            let path = dir.join(folder);
            let read = |source| ContentLoadError::Read {
                path: path.clone(),
                source,
            };
            let mut files: Vec<PathBuf> = std::fs::read_dir(&path)
                .map_err(read)?
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
                .collect();
            files.sort();
            files
                .into_iter()
                .map(|path| {
                    let text = std::fs::read_to_string(&path).map_err(|source| ContentLoadError::Read {
                        path: path.clone(),
                        source,
                    })?;
                    Ok((path.display().to_string(), text))
                })
                .collect()
        };
        let files = texts("checks")?;
        let checks = Checks::parse(files.iter().map(|(name, text)| (name.as_str(), text.as_str())))?;
        let benchmarks = texts("benchmarks")?
            .iter()
            .map(|(name, text)| Benchmark::parse(name, text, &checks))
            .collect::<Result<_, _>>()?;
        Ok(Self { checks, benchmarks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_compiled_in() {
        let shipped = Content::shipped(None).unwrap();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/audit");
        let read = Content::from_dir(&dir).unwrap();
        assert_eq!(shipped.checks.iter().count(), read.checks.iter().count());
        assert_eq!(shipped.benchmarks.len(), read.benchmarks.len());
    }

    #[test]
    fn a_release_s_part_is_the_same_as_in_the_whole() {
        let whole = Content::shipped(None).unwrap();
        for (family, el, benchmark) in [
            ("cis", Some(8), "cis-rhel8"),
            ("cis", Some(10), "cis-rhel10"),
            ("stig", Some(9), "stig-rhel9"),
            ("fips", Some(9), "fips"),
        ] {
            let part = Content::shipped_for(family, el).unwrap();
            let ids: Vec<&str> = part.benchmarks.iter().map(|found| found.id.as_str()).collect();
            assert_eq!(ids, [benchmark]);
            for check in part.checks.iter() {
                assert_eq!(whole.checks.get(&check.id), Some(check));
            }
        }
        assert_eq!(Content::shipped_for("cis", None).unwrap().benchmarks.len(), 3);
        assert!(
            Content::shipped_for("cis", Some(7))
                .unwrap()
                .benchmarks
                .is_empty()
        );
    }
}
