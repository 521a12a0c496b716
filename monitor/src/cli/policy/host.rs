//! Which host a policy is for, and which policy to compare it with.

use super::{Failure, read_bytes, tell};
use crate::enrich::clock::unix_us;
use crate::harden::Root;
use crate::policy::{DetectError, Folders, Loaded, Overrides, detect, known, load, load_with};
use clap::Args;
use hardpan_core::policy::{Selector, Source};
use std::path::{Path, PathBuf};

/// Which host the policy is for. What is not given is found out.
#[derive(Debug, Clone, Args)]
pub struct HostArgs {
    /// Treat this directory as the host's root (an image, a mounted disk).
    #[arg(long, value_name = "DIR", default_value = "/", global = true)]
    root: PathBuf,
    /// EL release [8, 9, 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=10), global = true)]
    el: Option<u32>,
    /// Vendor: rhel, rocky, rocky-ciq, almalinux, centos-stream, oracle.
    #[arg(long, value_name = "NAME", global = true)]
    vendor: Option<String>,
    /// Hardware level: x86-64-v1 to x86-64-v4, aarch64.
    #[arg(long, value_name = "NAME", global = true)]
    hardware: Option<String>,
    /// Role: server, webhost, hpc, container-host, build-host, kiosk, workstation.
    #[arg(long, value_name = "NAME", global = true)]
    role: Option<String>,
    /// Level: baseline, balanced, strict, locked.
    #[arg(long, value_name = "NAME", global = true)]
    level: Option<String>,
    /// Shipped sets instead of /usr/share/hardpan/policies (within the root).
    #[arg(long, value_name = "DIR", global = true)]
    policies: Option<String>,
}

/// A policy to compare with the host's.
#[derive(Debug, Clone, Args)]
pub(super) struct CandidateArgs {
    /// A policy file, taken as one more local file.
    #[arg(long, value_name = "FILE")]
    candidate: Option<PathBuf>,
    /// The same host with another role.
    #[arg(long, value_name = "NAME")]
    to_role: Option<String>,
    /// The same host with another level.
    #[arg(long, value_name = "NAME")]
    to_level: Option<String>,
}

/// A host whose layers are known.
pub(in crate::cli) struct Subject {
    pub(in crate::cli) root: Root,
    pub(in crate::cli) folders: Folders,
    pub(in crate::cli) selector: Selector,
    pub(super) now_s: i64,
}

impl HostArgs {
    /// The root of the host that is meant.
    pub(in crate::cli) fn root(&self) -> &Path {
        &self.root
    }

    /// Neither release nor vendor was given.
    pub(super) const fn names_none(&self) -> bool {
        self.el.is_none() && self.vendor.is_none()
    }

    /// A common kind of host.
    pub(super) fn stand_in(&self) -> Self {
        Self {
            el: Some(9),
            vendor: Some("rhel".to_owned()),
            ..self.clone()
        }
    }

    pub(in crate::cli) fn subject(&self) -> Result<Subject, Failure> {
        let root = Root::new(&self.root)?;
        let overrides = Overrides {
            el: self.el,
            vendor: self.vendor.clone(),
            hardware: self.hardware.clone(),
            role: self.role.clone(),
            level: self.level.clone(),
        };
        let selector = detect(&root, &overrides).map_err(|error: DetectError| {
            let hint = format!(
                "{}; vendors: {}; hardware: {}",
                error.hint(),
                known("vendor"),
                known("hardware")
            );
            Failure::new(error, Some(&hint))
        })?;
        let mut folders = Folders::default();
        if let Some(policies) = &self.policies {
            folders.vendor.clone_from(policies);
        }
        let now_s = unix_us()?.div_euclid(1_000_000);
        Ok(Subject {
            root,
            folders,
            selector,
            now_s,
        })
    }
}

impl Subject {
    pub(in crate::cli) fn load(&self) -> Result<Loaded, Failure> {
        Ok(load(&self.root, &self.folders, &self.selector, self.now_s)?)
    }

    /// The host's policy, or the reason why it cannot be used.
    pub(in crate::cli) fn usable(&self) -> Result<Loaded, Failure> {
        let loaded = self.load()?;
        if loaded.is_usable() {
            return Ok(loaded);
        }
        tell(&loaded.problems);
        Err(Failure::new(
            "the host's policy has errors",
            Some("hardpan policy check"),
        ))
    }

    pub(super) fn with(&self, candidate: &CandidateArgs) -> Result<Loaded, Failure> {
        let mut selector = self.selector.clone();
        if let Some(role) = &candidate.to_role {
            selector.role.clone_from(role);
        }
        if let Some(level) = &candidate.to_level {
            selector.level.clone_from(level);
        }
        let loaded = match &candidate.candidate {
            Some(file) => load_with(
                &self.root,
                &self.folders,
                &selector,
                self.now_s,
                candidate_source(file, None)?,
            )?,
            None if candidate.to_role.is_none() && candidate.to_level.is_none() => {
                return Err(Failure::usage(
                    "nothing to compare with: give --candidate, --to-role or --to-level",
                ));
            }
            None => load(&self.root, &self.folders, &selector, self.now_s)?,
        };
        if loaded.is_usable() {
            return Ok(loaded);
        }
        tell(&loaded.problems);
        Err(Failure::new(
            "the candidate has errors",
            Some("hardpan policy check FILE"),
        ))
    }
}

/// A file that is not installed, as a local source. Its name decides what it replaces and where it sorts.
pub(super) fn candidate_source(file: &Path, name: Option<&str>) -> Result<Source, Failure> {
    let text = String::from_utf8(read_bytes(file)?)
        .map_err(|_| Failure::new(format!("{} is not UTF-8 text", file.display()), None))?;
    let installed = file
        .strip_prefix("/etc/hardpan/policies")
        .ok()
        .and_then(Path::to_str);
    let base = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("candidate");
    let name = name.or(installed).map_or_else(
        // Ansible's temporary names say nothing: such a file sorts last.
        || {
            if has_toml_extension(base) && !base.starts_with('.') {
                base.to_owned()
            } else {
                "zz-candidate.toml".to_owned()
            }
        },
        str::to_owned,
    );
    Ok(Source {
        file: file.display().to_string(),
        name,
        text: Some(text),
    })
}

fn has_toml_extension(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "toml")
}
