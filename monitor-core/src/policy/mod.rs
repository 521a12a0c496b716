//! Policy: what Hardpan is told to do on a host, and why.
//!
//! A policy is made of layers of TOML files: base < EL release < vendor < hardware < role < level < local.
//! [`document`] parses one file, [`source`] chooses and orders files, [`resolve`] merges them and keeps the file and
//! line of every value. [`schema`] is the one table of keys. Nothing here does IO: texts go in, values come out.

pub mod document;
pub mod effective;
pub mod fapolicyd;
pub mod gate;
pub mod harden;
pub mod interpreter;
pub mod replay;
pub mod requirement;
pub mod resolve;
pub mod rule;
pub mod schema;
pub mod shipped;
pub mod show;
pub mod source;
pub mod strength;

mod origin;
mod reader;
mod suggest;
mod value;

pub use origin::{Layer, Origin, Problem, Severity};
pub use reader::MAX_FILE_BYTES;
pub use resolve::{Resolved, Setting};
pub use source::{Selector, Source, load};
pub use value::{KeyPath, Value, quote};

#[cfg(test)]
mod tests;
