//! The table of keys. (tidy: table)

use super::{Config, Mode, RecordExec};
use hardpan_abi::TaskResponse;
use hardpan_core::platform::Tier;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// A key of the configuration.
#[derive(Clone, Copy)]
pub struct Key {
    /// Dotted name: table and key.
    pub name: &'static str,
    /// Meaning, one sentence.
    pub doc: &'static str,
    /// Default, as TOML.
    pub default: &'static str,
    /// Puts a value into the configuration; the error says what is allowed.
    pub(super) set: fn(&mut Config, &DeValue<'_>) -> Result<(), String>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

macro_rules! keys {
    ($($name:literal = $default:literal, $doc:literal, |$config:ident, $value:ident| $set:expr;)+) => {
        /// Every key, in the order of the default file.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name,
            doc: $doc,
            default: $default,
            set: |$config, $value| { $set; Ok(()) },
        }),+];
    };
}

keys! {
    "mode" = "\"observe\"",
        "What hardpand may do: \"observe\" watches and records, \"enforce\" denies what policy denies.",
        |config, value| config.mode = word(value, &[("observe", Mode::Observe), ("enforce", Mode::Enforce)])?;
    "run_dir" = "\"/run/hardpan\"",
        "Directory for what must survive a restart but not a reboot.",
        |config, value| config.run_dir = absolute(value)?;
    "record.exec" = "\"policy\"",
        "Which executions get a line each: \"untrusted\" (the others are counted together), \"all\", or as the policy says.",
        |config, value| config.record.exec = word(
            value,
            &[("policy", None), ("untrusted", Some(RecordExec::Untrusted)), ("all", Some(RecordExec::All))],
        )?;
    "record.aggregate_window_s" = "0",
        "Seconds in which trusted executions of the same file, parent and user are counted together; 0: as the policy says.",
        |config, value| config.record.aggregate_window =
            Some(seconds(value, 0, 3600)?).filter(|window| !window.is_zero());
    "record.aggregate_max_keys" = "4096",
        "Most different combinations counted at once; more end the window early.",
        |config, value| config.record.aggregate_max_keys = size(value, 1, 1 << 20)?;
    "record.heartbeat_s" = "300",
        "Seconds between heartbeat records; 0 for none.",
        |config, value| config.record.heartbeat = seconds(value, 0, 86_400)?;
    "output.stdout" = "false",
        "Write records to standard output.",
        |config, value| config.output.stdout = boolean(value)?;
    "output.file" = "\"/var/log/hardpan/events.json\"",
        "File to append records to; \"\" for none. Reopened when renamed, removed, or on SIGHUP.",
        |config, value| config.output.file = optional_absolute(value)?;
    "output.queue_records" = "16384",
        "Records that may wait for a slow output; more are dropped and counted.",
        |config, value| config.output.queue_records = size(value, 16, 1 << 20)?;
    "hash.max_size_bytes" = "536870912",
        "Larger files are not hashed in user space.",
        |config, value| config.hash.max_size_bytes = integer(value, 0, u64::MAX >> 1)?;
    "hash.threads" = "0",
        "Threads that hash files in user space; 0: as the policy says.",
        |config, value| config.hash.threads = size(value, 0, 64)?;
    "hash.queue_files" = "1024",
        "Files that may wait to be hashed; more are recorded as unverified.",
        |config, value| config.hash.queue_files = size(value, 1, 1 << 20)?;
    "hash.cache_entries" = "16384",
        "Digests kept in memory, by inode.",
        |config, value| config.hash.cache_entries = size(value, 0, 1 << 22)?;
    "trust.root" = "\"/\"",
        "Root of the system whose package database is read.",
        |config, value| config.trust.root = absolute(value)?;
    "trust.dbpath" = "\"\"",
        "Directory of the package database inside the root; \"\" tries the usual ones.",
        |config, value| config.trust.dbpath = optional_absolute(value)?;
    "trust.pins" = "[\"/etc/hardpan/keys.d\"]",
        "Directories with your own pinned keys (*.toml).",
        |config, value| config.trust.pins = paths(value)?;
    "trust.vendor_pins" = "true",
        "Trust the vendors' keys that are pinned in Hardpan itself.",
        |config, value| config.trust.vendor_pins = boolean(value)?;
    "trust.keyring" = "[\"/etc/pki/rpm-gpg\"]",
        "Files, and directories of files, with public keys. Only pinned keys count.",
        |config, value| config.trust.keyring = paths(value)?;
    "trust.database_keys" = "true",
        "Also take key material from the package database. Only pinned keys count.",
        |config, value| config.trust.database_keys = boolean(value)?;
    "trust.poll_s" = "5",
        "Seconds between two looks whether the package database changed.",
        |config, value| config.trust.poll = seconds(value, 1, 3600)?;
    "trust.timeout_s" = "300",
        "Longest time the process that reads the package database may take, in seconds.",
        |config, value| config.trust.timeout = seconds(value, 1, 3600)?;
    "policy.role" = "\"\"",
        "What this host is for: server, webhost, hpc, container-host, build-host, kiosk, workstation; \"\" is server.",
        |config, value| config.policy.role = optional_name(value)?;
    "policy.level" = "\"\"",
        "How strict it is to be: baseline, balanced, strict, locked; \"\" is balanced.",
        |config, value| config.policy.level = optional_name(value)?;
    "policy.el" = "0",
        "Enterprise Linux release whose policies count: 8, 9 or 10; 0 asks os-release.",
        |config, value| config.policy.el = optional_release(value)?;
    "policy.vendor" = "\"\"",
        "Vendor whose policies count: rhel, rocky, rocky-ciq, almalinux, centos-stream, oracle; \"\" asks os-release.",
        |config, value| config.policy.vendor = optional_name(value)?;
    "policy.hardware" = "\"\"",
        "Processor level whose policies count: x86-64-v1 to x86-64-v4, aarch64; \"\" asks the processor.",
        |config, value| config.policy.hardware = optional_name(value)?;
    "hardening.drift_interval_s" = "300",
        "Seconds between two looks at what `hardpan harden apply` set.",
        |config, value| config.drift_interval = seconds(value, 1, 86_400)?;
    "sensor.least_tier" = "\"C\"",
        "The least tier that is good enough for this host: \"A\", \"B\", \"C\" or \"none\".",
        |config, value| config.sensor.least_tier =
            word(value, &[("A", Tier::A), ("B", Tier::B), ("C", Tier::C), ("none", Tier::None)])?;
    "sensor.best_tier" = "\"A\"",
        "The best tier that is used, \"A\", \"B\" or \"C\": what better ones need is left alone even where the kernel has it.",
        |config, value| config.sensor.best_tier = word(value, &[("A", Tier::A), ("B", Tier::B), ("C", Tier::C)])?;
    "sensor.hash_max_bytes" = "268435456",
        "Larger files are not hashed in the kernel, since a process cannot be interrupted meanwhile.",
        |config, value| config.sensor.hash_max_bytes = integer(value, 0, u64::MAX >> 1)?;
    "sensor.self_test_s" = "5",
        "Longest time to wait for the events of the self-test, in seconds.",
        |config, value| config.sensor.self_test = seconds(value, 0, 60)?;
    "sensor.gate" = "true",
        "Judge what is executed, mapped and written. false: the gate's programs return at once, whatever the policy says; for hosts where something else does it.",
        |config, value| config.sensor.gate = boolean(value)?;
    "sensor.watch_tasks" = "true",
        "Compare the credentials, namespaces, seccomp filters and root of every task with what it lawfully has.",
        |config, value| config.sensor.watch_tasks = boolean(value)?;
    "sensor.sweep_ms" = "\"policy\"",
        "Milliseconds between two sweeps over all tasks, 0 for none, or \"policy\". What two sweeps in a row saw is a finding.",
        |config, value| config.sensor.sweep = match value.as_str() {
            Some("policy") => None,
            _ => Some(milliseconds(value, 0, 60_000).map_err(|must| format!("{must}, or \"policy\""))?),
        };
    "sensor.task_response" = "\"policy\"",
        "In mode \"enforce\", what is done about a tampered task besides a record: \"record\" (nothing), \"deny\", \"kill\", or as the policy says.",
        |config, value| config.sensor.task_response = word(
            value,
            &[
                ("policy", None),
                ("record", Some(TaskResponse::Record)),
                ("deny", Some(TaskResponse::Deny)),
                ("kill", Some(TaskResponse::Kill)),
            ],
        )?;
    "audit.profile" = "\"\"",
        "Profile to audit regularly, such as \"cis-l1-server\" (`hardpan audit --list`); \"\" for no audits.",
        |config, value| config.audit.profile = profile(value)?;
    "audit.interval_s" = "0",
        "Seconds from one audit to the next, 600 at least; 0: as the policy says. The first one follows the start unless a recent result is there.",
        |config, value| config.audit.interval = match seconds(value, 0, 31 * 86_400)? {
            short if !short.is_zero() && short < Duration::from_secs(600) => {
                return Err("must be 0 or a whole number from 600 to 2678400".to_owned());
            }
            interval => interval,
        };
    "audit.jitter_s" = "1800",
        "Up to so many seconds are added at random, so that a fleet does not audit at once.",
        |config, value| config.audit.jitter = seconds(value, 0, 86_400)?;
    "audit.timeout_s" = "3600",
        "Longest time an audit may take, in seconds.",
        |config, value| config.audit.timeout = seconds(value, 10, 86_400)?;
    "audit.sweeps" = "true",
        "Audits also walk all local file systems.",
        |config, value| config.audit.sweeps = boolean(value)?;
    "audit.waivers" = "\"\"",
        "File of waivers for audits; \"\" for none.",
        |config, value| config.audit.waivers = optional_absolute(value)?;
    "audit.tailoring" = "\"\"",
        "Tailoring file (SCAP Security Guide, XCCDF 1.2) for audits; \"\" for none.",
        |config, value| config.audit.tailoring = optional_absolute(value)?;
    "audit.dir" = "\"/var/lib/hardpan/audit\"",
        "Directory for the last result of each profile, which the next one is compared with.",
        |config, value| config.audit.dir = absolute(value)?;
}

/// The default file: every key with its meaning, commented out.
pub fn default_file() -> String {
    let mut text = String::from("# Configuration of hardpand. Every key is shown with its default.\n");
    let mut table = "";
    for key in KEYS {
        let (new_table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if new_table != table {
            table = new_table;
            // Writing to a String cannot fail.
            let _written = write!(text, "\n[{table}]\n");
        }
        let _written = write!(text, "# {}\n#{name} = {}\n", key.doc, key.default);
    }
    text
}

fn word<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let found = value
        .as_str()
        .and_then(|text| words.iter().find(|(word, _)| *word == text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let allowed: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("must be one of {}", allowed.join(", "))
    })
}

fn profile(value: &DeValue<'_>) -> Result<Option<String>, String> {
    let text = value
        .as_str()
        .ok_or_else(|| "must be a profile, or \"\"".to_owned())?;
    if text.is_empty() {
        return Ok(None);
    }
    crate::audit::child::parse_profile(text).map(|_known| Some(text.to_owned()))
}

fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

fn integer(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    value
        .as_integer()
        .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

fn size(value: &DeValue<'_>, least: u64, most: u64) -> Result<usize, String> {
    integer(value, least, most).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

fn seconds(value: &DeValue<'_>, least: u64, most: u64) -> Result<Duration, String> {
    integer(value, least, most).map(Duration::from_secs)
}

fn milliseconds(value: &DeValue<'_>, least: u64, most: u64) -> Result<Duration, String> {
    integer(value, least, most).map(Duration::from_millis)
}

fn absolute(value: &DeValue<'_>) -> Result<PathBuf, String> {
    value
        .as_str()
        .map(Path::new)
        .filter(|path| path.is_absolute())
        .map(Path::to_owned)
        .ok_or_else(|| "must be an absolute path".to_owned())
}

fn optional_absolute(value: &DeValue<'_>) -> Result<Option<PathBuf>, String> {
    if value.as_str() == Some("") {
        return Ok(None);
    }
    absolute(value)
        .map(Some)
        .map_err(|must| format!("{must}, or \"\""))
}

/// The name of a policy layer: it becomes part of a file's name.
fn optional_name(value: &DeValue<'_>) -> Result<Option<String>, String> {
    let is_name = |text: &&str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = value
        .as_str()
        .filter(is_name)
        .ok_or_else(|| "must be a name of letters, digits, - and _, or \"\"".to_owned())?;
    Ok(Some(name.to_owned()).filter(|name| !name.is_empty()))
}

fn optional_release(value: &DeValue<'_>) -> Result<Option<u32>, String> {
    match integer(value, 0, 10) {
        Ok(0) => Ok(None),
        Ok(release @ 8..=10) => Ok(u32::try_from(release).ok()),
        _ => Err("must be 8, 9, 10 or 0".to_owned()),
    }
}

fn paths(value: &DeValue<'_>) -> Result<Vec<PathBuf>, String> {
    let must = "must be a list of absolute paths";
    let list = value.as_array().ok_or(must)?;
    list.iter()
        .map(|item| absolute(item.get_ref()).map_err(|_not_absolute| must.to_owned()))
        .collect()
}
