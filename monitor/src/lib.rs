//! Hardpan user space: everything that touches the running system.

pub mod probe;
pub mod sensor;
pub mod sys;
