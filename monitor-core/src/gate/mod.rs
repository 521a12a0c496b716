//! The exec gate where user space judges (tier C): the same table of trusted digests, the same settings and rules as the
//! kernel side has at tiers A and B, and the same answers.

mod judge;
mod rules;
mod table;

pub use judge::{Around, Asked, Content, Verdict, WhyNot, judge, way};
pub use rules::SubjectFacts;
pub use table::{Known, MAX_TABLE_BYTES, MAX_TRUST_BYTES, Table, TableError};
