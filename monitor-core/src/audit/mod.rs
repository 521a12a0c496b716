//! Compliance audits: checks as data, facts in, outcomes with evidence out.
//!
//! Everything here is pure. A collector outside this crate reads what checks wish for ([`Want`]) into [`Facts`];
//! [`evaluate`] answers a check from them.

pub mod benchmark;
pub mod check;
pub mod expect;
pub mod facts;
mod hint;
pub mod kind;
mod memo;
pub mod outcome;
pub mod parse;
pub mod report;
pub mod run;
pub mod sweep;
mod tailored;
mod tailored_rules;
pub mod tailoring;
#[cfg(test)]
mod testkit;
pub mod waiver;

pub use benchmark::{Alias, Benchmark, Control, Profile};
pub use check::{Check, Checks, ContentError, evaluate};
pub use expect::Expect;
pub use facts::{Ctx, Facts, FileKind, Host, Package, Read, Stat, Stop, Tool, TreeEntry, UnitState, Want};
pub use kind::Kind;
pub use memo::Memo;
pub use outcome::{Evidence, Outcome, Verdict, clip};
pub use run::{CheckResult, ControlResult, Coverage, Report, Run, Selection, counts, coverage, score};
pub use sweep::{SweepHit, SweepQuery, SweepResult};
pub use tailoring::{Tailoring, TailoringError};
pub use waiver::{Applied, Waiver, WaiverError, Waivers};
