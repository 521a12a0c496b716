//! Hardpan user space: everything that touches the running system.
