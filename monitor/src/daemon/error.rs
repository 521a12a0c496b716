//! Why the daemon does not run.

use crate::config::ConfigError;
use crate::sensor::{ObjectError, SensorError};
use std::io;
use thiserror::Error;

/// Why the daemon does not run, or had to stop.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Bad configuration.
    #[error("the configuration is not usable")]
    Config(#[from] ConfigError),
    /// Not root.
    #[error("hardpand needs root: the kernel lets nobody else load its programs")]
    NotRoot,
    /// Enforce mode was asked for.
    #[error(
        "in mode \"enforce\" this build can only answer tampered tasks, and sensor.task_response is \"record\""
    )]
    NoEnforcement,
    /// The response to tampered tasks could not be set.
    #[error("the response to tampered tasks could not be set")]
    TaskResponse(#[source] crate::sensor::SweepError),
    /// No eBPF programs.
    #[error("hardpand has no eBPF programs to load")]
    Objects(#[from] ObjectError),
    /// No output could be opened.
    #[error("cannot write records to {output}")]
    Output {
        /// The output.
        output: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The configuration names no output.
    #[error("records have nowhere to go: output.file is \"\" and output.stdout is false")]
    NoOutput,
    /// The system refused something basic.
    #[error("{what}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The sensor could not start.
    #[error("the kernel side could not be started")]
    Sensor(#[from] SensorError),
    /// The sensor failed while it ran.
    #[error("reading events from the kernel")]
    Read(#[source] io::Error),
}

impl DaemonError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Config(error) => return error.hint(),
            Self::NotRoot => "run it with sudo, or as the service: systemctl start hardpand".to_owned(),
            Self::NoEnforcement => {
                "use --mode observe, or set sensor.task_response to \"deny\" or \"kill\"".to_owned()
            }
            Self::TaskResponse(_) => {
                "`hardpan doctor` shows which programs this kernel takes; --mode observe needs none of this"
                    .to_owned()
            }
            Self::Objects(_) => {
                "build them with `cargo xtask ebpf`, name them in HARDPAN_BPF_OBJECT, or install the package"
                    .to_owned()
            }
            Self::Output { .. } => "check that the directory exists, is writable and has room".to_owned(),
            Self::NoOutput => "set output.file, or use --stdout".to_owned(),
            Self::Sensor(_) => {
                "`hardpan doctor` shows what this kernel allows and what is missing".to_owned()
            }
            Self::System { .. } | Self::Read(_) => return None,
        })
    }

    /// It is the user's input that is wrong, not the system.
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Config(_) | Self::NoOutput)
    }
}
