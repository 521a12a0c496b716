//! Which layers a host gets: release and vendor from os-release, level from the processor, role and level from the
//! configuration. Everything can be said by hand instead, for images and for trying things out.

use hardpan_core::platform::{Hardware, HardwareLevel, Release};
use hardpan_core::policy::harden::Host as _;
use hardpan_core::policy::{Selector, shipped};
use std::path::Path;
use thiserror::Error;

use crate::harden::{Root, RootError};

/// The role of a host that nobody gave one.
const DEFAULT_ROLE: &str = "server";
/// The level of a host that nobody gave one.
const DEFAULT_LEVEL: &str = "balanced";

/// What the caller says instead of what is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// EL release.
    pub el: Option<u32>,
    /// Vendor.
    pub vendor: Option<String>,
    /// Hardware level.
    pub hardware: Option<String>,
    /// Role.
    pub role: Option<String>,
    /// Level.
    pub level: Option<String>,
}

/// Why the layers of a host cannot be told.
#[derive(Debug, Error)]
pub enum DetectError {
    /// The root cannot be used.
    #[error("cannot look at the host")]
    Root(#[from] RootError),
    /// Not an Enterprise Linux that there are sets for.
    #[error("{found} is no Enterprise Linux 8, 9 or 10 of a known vendor")]
    NotEnterpriseLinux {
        /// What os-release says.
        found: String,
    },
    /// The processor is of another architecture.
    #[error("there is no hardware layer for {found}")]
    UnknownHardware {
        /// Architecture.
        found: String,
    },
}

impl DetectError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Root(_) => "name a directory that holds a whole file tree",
            Self::NotEnterpriseLinux { .. } => "say which layers to use: --el 9 --vendor rhel",
            Self::UnknownHardware { .. } => "say which layer to use: --hardware x86-64-v3",
        }
    }
}

/// The selector for a root.
pub fn detect(root: &Root, overrides: &Overrides) -> Result<Selector, DetectError> {
    let os_release = root
        .read("/etc/os-release")
        .or_else(|| root.read("/usr/lib/os-release"))
        .unwrap_or_default();
    let release = Release::parse(&os_release);
    let not_el = || DetectError::NotEnterpriseLinux {
        found: if release.pretty.is_empty() {
            "a root without os-release".to_owned()
        } else {
            release.pretty.clone()
        },
    };
    let el = match overrides.el {
        Some(el) => el,
        None => release.supported_el().ok_or_else(not_el)?,
    };
    let vendor = match &overrides.vendor {
        Some(vendor) => vendor.clone(),
        None if release.vendor.is_el() => {
            let name = release.vendor.name();
            let sig = name == "rocky" && has_sig_security(root);
            if sig {
                "rocky-ciq".to_owned()
            } else {
                name.to_owned()
            }
        }
        None => return Err(not_el()),
    };
    let hardware = match &overrides.hardware {
        Some(hardware) => hardware.clone(),
        None => hardware_level(root)?,
    };
    let configured = |key: &str| configured(root, key);
    Ok(Selector {
        el,
        vendor,
        hardware,
        role: overrides
            .role
            .clone()
            .or_else(|| configured("role"))
            .unwrap_or_else(|| DEFAULT_ROLE.to_owned()),
        level: overrides
            .level
            .clone()
            .or_else(|| configured("level"))
            .unwrap_or_else(|| DEFAULT_LEVEL.to_owned()),
    })
}

/// Rocky's SIG/Security repository is set up, so its hardened packages may be installed.
fn has_sig_security(root: &Root) -> bool {
    root.list("/etc/yum.repos.d").iter().any(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("security") && name.contains("rocky") || name.contains("ciq")
    })
}

/// The level of the processor this runs on. An image has no processor: it gets the level of the machine it is made on
/// unless the caller says otherwise.
fn hardware_level(root: &Root) -> Result<String, DetectError> {
    let machine = nix::sys::utsname::uname().map_or_else(
        |_| String::new(),
        |uname| uname.machine().to_string_lossy().into_owned(),
    );
    let cpuinfo = root
        .read("/proc/cpuinfo")
        .or_else(|| Root::new(Path::new("/")).ok()?.read("/proc/cpuinfo"))
        .unwrap_or_default();
    match Hardware::parse(&cpuinfo, &machine).level {
        HardwareLevel::Other(found) => Err(DetectError::UnknownHardware { found }),
        level => Ok(level.to_string()),
    }
}

/// `policy.role` or `policy.level` in hardpan.toml and conf.d, the last one. Whether the rest of these files is right
/// is the daemon's business.
fn configured(root: &Root, key: &str) -> Option<String> {
    let mut files = vec!["/etc/hardpan/hardpan.toml".to_owned()];
    let drop_ins = root
        .list("/etc/hardpan/conf.d")
        .into_iter()
        .filter(|name| name.strip_suffix(".toml").is_some());
    files.extend(drop_ins.map(|name| format!("/etc/hardpan/conf.d/{name}")));
    files
        .iter()
        .filter_map(|file| {
            let table: toml::Table = root.read(file)?.parse().ok()?;
            table.get("policy")?.get(key)?.as_str().map(str::to_owned)
        })
        .next_back()
}

/// The names that a layer's override may have, for help texts.
pub(crate) fn known(layer: &str) -> String {
    shipped::names(layer).join(", ")
}
