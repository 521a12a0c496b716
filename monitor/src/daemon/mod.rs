//! `hardpand`: takes events from the sensor, judges them, writes records.

mod error;
mod execs;
mod health;
mod life;
mod notify;
mod pipeline;
mod recorder;
mod run;
mod source;
#[cfg(test)]
mod tests;

pub use error::DaemonError;
pub use run::run;
pub use source::EventSource;
