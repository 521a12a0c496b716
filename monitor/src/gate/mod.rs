//! The exec gate's user side: which digests the kernel gets, whether it may enforce, and who says so.

mod change;
mod devices;
mod entries;
pub mod fallback;
pub(crate) mod locks;
mod mode;
pub(crate) mod package;
mod protect;
mod ready;

pub use change::{Held, additions, change};
pub use devices::{Mount, in_use, mounts};
pub use entries::{Entries, class_of_owner, digests, entries, is_fixed, scripts};
pub use mode::{ACCEPT_LOSS, ModeFile, ModeFileError, Wanted};
pub use protect::{Found, find as find_protected, root_key};
pub use ready::{Obstacle, obstacles};
