//! Records on their way out: numbering, queues, files.

mod output;
mod sequence;
mod sink;

pub use output::{LogFile, Output, Stdout};
pub use sequence::Sequence;
pub use sink::{Line, Sink, SinkCounts, SinkStats};
