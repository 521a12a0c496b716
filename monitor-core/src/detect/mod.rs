//! What events mean.

mod task;

pub(crate) use task::witness_word;
pub use task::{Difference, TaskFindingText, differences, task_text};
