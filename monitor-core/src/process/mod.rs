//! Facts about processes: containers, capabilities, what runs where. Pure.

mod capability;
mod container;
mod table;

pub(crate) use capability::CAPABILITIES;
pub use capability::capability_names;
pub use container::{Container, cgroup_path, container_from_cgroup, container_from_path, freezer_path};
pub use table::ProcessTable;
