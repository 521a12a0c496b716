//! Records on their way out: numbering, queues, files.

mod line;
mod output;
mod sequence;
mod sink;

pub use line::{Entry, Fates, Line};
pub use output::{LogFile, Output, Stdout};
pub use sequence::Sequence;
pub use sink::{Sink, SinkCounts, SinkStats};
