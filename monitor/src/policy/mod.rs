//! Finds policy files and the kind of host: the IO half of `hardpan_core::policy`.

mod detect;
mod load;

pub use detect::{DetectError, Overrides, detect};
pub use load::{Folders, LoadError, Loaded, Origin, SignedFile, Sources, accept_serials, load, read_sources};
pub(crate) use detect::known;
pub(crate) use load::load_with;

#[cfg(test)]
mod tests;
