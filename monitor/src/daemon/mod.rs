//! `hardpand`: takes events from the sensor, judges them, writes records.

mod audit;
mod error;
mod execs;
mod fallback;
mod freeze;
mod gate;
mod hardening;
mod health;
mod kill;
mod life;
mod notify;
mod packages;
mod pipeline;
mod policy;
mod recorder;
mod run;
mod source;
mod sweep;
mod tally;
#[cfg(test)]
mod tests;
mod withdrawn;
mod writes;

pub use error::DaemonError;
pub use run::run;
pub use source::EventSource;
