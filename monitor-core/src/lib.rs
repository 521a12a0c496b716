//! See the crate's section in docs/ARCHITECTURE.md.
