//! `hardpan doctor`: what this host is, what its kernel allows, what is missing and what to do about it.

mod gather;
mod platform;
mod report;

pub use gather::gather;
pub use platform::{PolicyReport, Support, Vulnerability};
pub use report::{
    CpuFlag, Hint, Hook, Host, Kernel, Probe, Report, Security, Sensors, TierReport, TrustState, render,
};

use hardpan_core::platform::Tier;
use std::path::PathBuf;

/// What to look at.
#[derive(Debug, Clone)]
pub struct Options {
    /// Root of the file tree with `/etc` and the package database; `/` for this host. Probes always ask the running
    /// kernel.
    pub root: PathBuf,
    /// Directory of the package database inside the root; `None` tries the usual ones.
    pub dbpath: Option<PathBuf>,
    /// The least tier that is good enough.
    pub least_tier: Tier,
    /// Load the eBPF programs and self-test them.
    pub self_test: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            dbpath: None,
            least_tier: Tier::C,
            self_test: true,
        }
    }
}

/// What a report comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The tier is good enough.
    Fine,
    /// Below the wanted tier.
    BelowTier,
    /// Something could not be looked at (not root).
    CouldNotLook,
}
