//! The shipped checks and benchmarks, compiled in; a directory can replace them.

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
}
