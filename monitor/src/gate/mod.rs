//! The exec gate's user side: which digests the kernel gets, whether it may enforce, and who says so.

mod change;
mod entries;
pub mod fallback;
mod mode;
mod ready;

pub use change::{Held, change};
pub use entries::{Entries, class_of_owner, entries};
pub use mode::{ACCEPT_LOSS, ModeFile, ModeFileError, Wanted};
pub use ready::{Obstacle, obstacles};
