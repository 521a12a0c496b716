//! The daemon's configuration: `/etc/hardpan/hardpan.toml`, then `/etc/hardpan/conf.d/*.toml` in order of their names.
//!
//! One table ([`KEYS`]) names every key with its default and its meaning; reading, the messages about wrong keys and
//! the commented default file all come from it.

mod keys;
mod load;

pub use keys::{KEYS, Key, default_file};
pub use load::{ConfigError, Sources, load, parse_into, read_safely};

use crate::policy::Overrides;
use hardpan_abi::TaskResponse;
use hardpan_core::platform::Tier;
use std::path::PathBuf;
use std::time::Duration;

/// Where the configuration is looked for.
pub const DEFAULT_FILE: &str = "/etc/hardpan/hardpan.toml";
/// Directory of additions, read after [`DEFAULT_FILE`].
pub const DEFAULT_DIR: &str = "/etc/hardpan/conf.d";

/// Everything that can be configured, with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Observe or enforce.
    pub mode: Mode,
    /// What is recorded.
    pub record: Record,
    /// Where records go.
    pub output: Output,
    /// Hashing of files in user space.
    pub hash: Hash,
    /// What is trusted.
    pub trust: Trust,
    /// The kernel side.
    pub sensor: Sensor,
    /// Which policy layers this host gets; what is not said is found out.
    pub policy: Overrides,
    /// How often to look at what `hardpan harden apply` set.
    pub drift_interval: Duration,
    /// Regular audits.
    pub audit: Audit,
    /// Directory for what must survive a restart but not a reboot.
    pub run_dir: PathBuf,
}

/// What the daemon may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Watch and record. Never blocks anything.
    Observe,
    /// Deny what policy denies.
    Enforce,
}

impl Mode {
    /// The word in the configuration and in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

/// What is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which executions get a line each; `None`: as the policy says.
    pub exec: Option<RecordExec>,
    /// Length of the window in which trusted executions are counted together; `None`: as the policy says.
    pub aggregate_window: Option<Duration>,
    /// Most different (digest, parent, user) combinations counted at once.
    pub aggregate_max_keys: usize,
    /// Time between heartbeats; zero for none.
    pub heartbeat: Duration,
}

/// Which executions get a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordExec {
    /// Those that are not trusted; the others are counted per minute.
    Untrusted,
    /// All.
    All,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Write records to standard output.
    pub stdout: bool,
    /// File to append records to.
    pub file: Option<PathBuf>,
    /// Records that may wait for a slow output; more are dropped and counted.
    pub queue_records: usize,
}

/// Hashing of files in user space, where the kernel gave no digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    /// Larger files are not hashed.
    pub max_size_bytes: u64,
    /// Threads; 0: as the policy says.
    pub threads: usize,
    /// Files that may wait; more are "unverified: busy".
    pub queue_files: usize,
    /// Digests kept, by inode identity.
    pub cache_entries: usize,
}

/// What is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Root of the system whose package database is read.
    pub root: PathBuf,
    /// Directory of the database inside the root; `None` tries the usual ones.
    pub dbpath: Option<PathBuf>,
    /// Where readings of the database, manifests and accepted serials are kept. No key of the configuration: the
    /// command and the daemon must agree on it.
    pub state_dir: PathBuf,
    /// Directories with operators' pins (`*.toml`).
    pub pins: Vec<PathBuf>,
    /// Use the vendors' pins that come with Hardpan.
    pub vendor_pins: bool,
    /// The vendors whose pins count; `None`: all of them. Not a key of the configuration: the policy's
    /// `trust.key_sets` where `trust.foreign_packages` is `distrust`.
    pub key_sets: Option<Vec<String>>,
    /// SHA-1, MD5 and DSA signatures count. Not a key of the configuration: the policy's `trust.legacy_signatures`.
    pub legacy_signatures: bool,
    /// Directories and files with public keys.
    pub keyring: Vec<PathBuf>,
    /// Use keys in the package database as key material too; only pinned ones count in any case.
    pub database_keys: bool,
    /// How often to look whether the database changed.
    pub poll: Duration,
    /// Longest time a reader may take.
    pub timeout: Duration,
}

/// The kernel side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensor {
    /// The least tier that is good enough: below it `hardpan doctor` exits 1 and a finding is recorded.
    pub least_tier: Tier,
    /// Better tiers are not used.
    pub best_tier: Tier,
    /// Largest file hashed in the kernel, in bytes.
    pub hash_max_bytes: u64,
    /// Longest time to wait for the self-test's events.
    pub self_test: Duration,
    /// Whether the exec gate judges at all.
    pub gate: bool,
    /// Whether tasks are compared with their shadows.
    pub watch_tasks: bool,
    /// Time between two sweeps over all tasks; zero for none, `None`: as the policy says.
    pub sweep: Option<Duration>,
    /// What the kernel side does about a tampered task, in mode enforce; `None`: as the policy says.
    pub task_response: Option<TaskResponse>,
}

/// Regular audits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Profile as `hardpan audit --profile` takes it; `None` for no audits.
    pub profile: Option<String>,
    /// Between two audits; zero: as the policy says.
    pub interval: Duration,
    /// Up to so much is added at random, so that a fleet does not audit at once.
    pub jitter: Duration,
    /// Longest time a run may take.
    pub timeout: Duration,
    /// Also walk all local file systems.
    pub sweeps: bool,
    /// File of waivers.
    pub waivers: Option<PathBuf>,
    /// Tailoring file written for SCAP Security Guide.
    pub tailoring: Option<PathBuf>,
    /// Directory for the last result of each profile.
    pub dir: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            record: Record {
                exec: None,
                aggregate_window: None,
                aggregate_max_keys: 4096,
                heartbeat: Duration::from_secs(300),
            },
            output: Output {
                stdout: false,
                file: Some(PathBuf::from("/var/log/hardpan/events.json")),
                queue_records: 16_384,
            },
            hash: Hash {
                max_size_bytes: 512 << 20,
                threads: 0,
                queue_files: 1024,
                cache_entries: 16_384,
            },
            trust: Trust {
                root: PathBuf::from("/"),
                dbpath: None,
                state_dir: PathBuf::from("/var/lib/hardpan"),
                pins: vec![PathBuf::from("/etc/hardpan/keys.d")],
                vendor_pins: true,
                key_sets: None,
                legacy_signatures: false,
                keyring: vec![PathBuf::from("/etc/pki/rpm-gpg")],
                database_keys: true,
                poll: Duration::from_secs(5),
                timeout: Duration::from_secs(300),
            },
            sensor: Sensor {
                least_tier: Tier::C,
                best_tier: Tier::A,
                hash_max_bytes: 256 << 20,
                self_test: Duration::from_secs(5),
                gate: true,
                watch_tasks: true,
                sweep: None,
                task_response: None,
            },
            policy: Overrides::default(),
            drift_interval: Duration::from_secs(300),
            audit: Audit {
                profile: None,
                interval: Duration::ZERO,
                jitter: Duration::from_secs(1800),
                timeout: Duration::from_secs(3600),
                sweeps: true,
                waivers: None,
                tailoring: None,
                dir: PathBuf::from("/var/lib/hardpan/audit"),
            },
            run_dir: PathBuf::from("/run/hardpan"),
        }
    }
}
