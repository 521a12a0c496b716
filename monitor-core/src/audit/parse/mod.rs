//! Readers of configuration languages: text in, values out. None of them fails: a line that says nothing is left out.

pub mod accounts;
pub mod audit_rules;
pub mod boot;
pub mod keyvalue;
pub mod mounts;
pub mod pam;
pub mod sshd;
pub mod sudoers;
pub mod sysctl;
