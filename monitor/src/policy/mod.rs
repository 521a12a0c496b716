//! Finds policy files and the kind of host: the IO half of `hardpan_core::policy`.

mod detect;
mod load;
mod migration;

pub(crate) use detect::known;
pub use detect::{DetectError, Overrides, detect};
pub(crate) use load::load_with;
pub use load::{Folders, LoadError, Loaded, Origin, SignedFile, Sources, accept_serials, load, read_sources};
pub use migration::{IdentityFileError, gather_traces, identity, note_host};

#[cfg(test)]
mod tests;
