//! Hardening that can be undone: what a policy wants of a host's settings, what is there, and the edits between them.
//!
//! [`item`] turns a policy into items, [`plan`] compares them with a host (seen through [`Host`]) and names the
//! [`edit`]s, [`journal`] is what lets them be taken back. Nothing here touches the host.

pub mod ansible;
pub mod conf;
pub mod edit;
pub mod item;
pub mod journal;
pub mod plan;

pub use edit::{Edit, Locator, Reverted};
pub use item::{Item, Want};
pub use plan::{Entry, Plan, State};

/// Type, mode, owner and file capabilities of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Permission bits with set-id and sticky bits (`st_mode & 07777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whether it has file capabilities.
    pub has_capabilities: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// A host as planning sees it: a running one, or an image below some directory. Paths are absolute within it.
pub trait Host {
    /// A file's text; `None` if it is not there or cannot be read as text of reasonable size.
    fn read(&self, path: &str) -> Option<String>;
    /// Names in a directory, sorted; empty if it is not there.
    fn list(&self, path: &str) -> Vec<String>;
    /// What is at a path, links followed.
    fn stat(&self, path: &str) -> Option<Stat>;
    /// Where a symbolic link points.
    fn link(&self, path: &str) -> Option<String>;
    /// Whether this is the running system (then /proc and /sys are its own).
    fn is_live(&self) -> bool;
}
