//! What kind of host this is and what its kernel allows. Pure: text and probe outcomes in, facts and decisions out.

mod errno;
mod hardware;
mod hooks;
mod host;
pub mod lifecycle;
pub mod migration;
mod probes;
mod release;
mod tier;

pub use errno::{errno_name, errno_text};
pub use hardware::{CpuFeature, Hardware, HardwareLevel};
pub use hooks::{HookFamily, HookReport, HookState};
pub use host::{Fips, SeLinux, fips_overlay, secure_boot, virtualisation};
pub use probes::{Lockdown, Outcome, ProbeRow, Probes};
pub use release::{Release, Vendor, value as os_release_value};
pub use tier::{Reason, Tier, TierDecision, lower, tier};
