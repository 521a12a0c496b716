//! Rules: which subject may do what to which object.
//!
//! The first rule that fits decides. What no rule names falls to the policy's `default` table. Each attribute says
//! whether programs in the kernel can decide it, and [`lint`] refuses a `deny` that would need one they cannot.

mod decide;
mod facts;
mod glob;
mod kind;
mod lint;
mod model;
pub mod observed;
mod test;

pub use decide::{Decision, Defaults, HitCounters, Step, StepOutcome, Why, decide, decide_before, explain};
pub use facts::{Asked, Fact, Facts};
pub use glob::Glob;
pub use kind::{ATTRIBUTES, Action, Attribute, AttributeKind, Decider, Kind, Side};
pub use lint::lint;
pub(super) use lint::unheard;
pub use model::{MAX_RULES, Rule};
pub use test::{Accept, Outcome, Test};

pub(crate) use model::read;
