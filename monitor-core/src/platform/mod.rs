//! What kind of host this is and what its kernel allows. Pure: text and probe outcomes in, facts and decisions out.

mod errno;
mod hooks;
mod probes;
mod tier;

pub use errno::{errno_name, errno_text};
pub use hooks::{HookFamily, HookReport, HookState};
pub use probes::{Lockdown, Outcome, ProbeRow, Probes};
pub use tier::{Reason, Tier, TierDecision, tier};
