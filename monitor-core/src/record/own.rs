//! What the common schema has no field for: the top-level object `Hardpan`. (tidy: table)
//!
//! A key has the same JSON type in every record, so that an index built from some records takes the others.

use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Own {
    /// The worst verdict of what ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<&'static str>,
    /// The file whose code runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<OwnFile>,
    /// The script it was started for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) script: Option<OwnFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) args: Option<OwnArgs>,
    /// Exact bytes (base64) of texts that had to be escaped, by field name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) raw: BTreeMap<&'static str, String>,
    /// Who logged in, whatever user the process runs as now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) login: Option<OwnLogin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespaces: Option<OwnNamespaces>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aggregate: Option<OwnAggregate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credentials: Option<OwnCredentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<OwnModule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<OwnTask>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gate: Option<OwnGate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finding: Option<OwnFinding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<OwnService>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ledger: Option<OwnLedger>,
    /// Counters by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) counters: BTreeMap<String, u64>,
    /// What policy says of it; the epoch is stamped beside it.
    #[serde(skip)]
    pub(super) policy: OwnPolicy,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct OwnPolicy {
    /// `allow`, `alert`, `deny` or `kill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<&'static str>,
    /// Name of the rule that decided; absent where a default did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<String>,
    /// File and line of the rule or default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<String>,
    /// The policy says something stronger, which cannot be done at this tier.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) weakened: bool,
    /// What became of the process, where the daemon was to end it: `killed`, `gone`, `refused`, `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kill: Option<&'static str>,
    /// Layers of the policy: EL release, vendor, hardware, role, level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layers: Option<String>,
    /// `gate.mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<&'static str>,
    /// Settings, requirements and rules that differ from the policy before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) differences: Option<u64>,
    /// Hits by rule, in a heartbeat.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) hits: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct OwnFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<&'static str>,
    /// Why it is unverified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    /// `kernel`, `caller` or `proc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    /// `kernel`, `kernel-cache` or `user-space`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest_source: Option<&'static str>,
    /// What became of the kernel's own attempt, where it gave no digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel_digest: Option<&'static str>,
    /// For a digest mismatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected_sha256: Option<String>,
    /// `derived`, `provisional`, `retired`, `local` or `local-unsigned`; absent if a package that is installed lists the digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trust: Option<&'static str>,
    /// Name, version, release, architecture of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) package: Option<String>,
    /// Where the package puts the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) package_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signer: Option<OwnSigner>,
    /// A package that owns this path as a configuration file, which may differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changed_config_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fs_magic: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnSigner {
    pub(super) fingerprint: String,
    pub(super) name: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnArgs {
    /// Length of all arguments, each with its NUL.
    pub(super) total_bytes: u32,
    /// The kernel side or the record holds only the beginning.
    pub(super) cut: bool,
    pub(super) unreadable: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnLogin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnNamespaces {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mnt: Option<u32>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnAggregate {
    /// Executions this line stands for.
    pub(super) count: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnCredentials {
    pub(super) before: OwnCreds,
    pub(super) after: OwnCreds,
    /// Lawful way that announced the change: `setuid`, `capset`, `exec`, `none`.
    pub(super) witness: &'static str,
    /// Names of capabilities, permitted or effective, that were not there before.
    pub(super) gained: Vec<String>,
    pub(super) lost: Vec<String>,
}

/// Ids are strings as in the common schema; capability sets are 16 hex digits as in `/proc/PID/status`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnCreds {
    pub(super) uid: String,
    pub(super) euid: String,
    pub(super) suid: String,
    pub(super) fsuid: String,
    pub(super) gid: String,
    pub(super) egid: String,
    pub(super) sgid: String,
    pub(super) fsgid: String,
    pub(super) cap_inheritable: String,
    pub(super) cap_permitted: String,
    pub(super) cap_effective: String,
    pub(super) cap_bounding: String,
    pub(super) cap_ambient: String,
    pub(super) securebits: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_ns: Option<u32>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnModule {
    pub(super) name: String,
    /// `file`, `memory` or `unknown`.
    pub(super) origin: &'static str,
    /// `good`, `not-good` or `unknown`.
    pub(super) signature: &'static str,
    /// `TAINT_*` bits in hex.
    pub(super) taints: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) build_id: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnFinding {
    pub(super) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
    /// Key it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    /// Packages it is about, the first ones if there are many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) packages: Vec<String>,
    /// How many packages, events or bytes it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct OwnService {
    pub(super) version: String,
    pub(super) mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tier: Option<&'static str>,
    /// Reasons for the tier, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tier_why: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hooks: Vec<OwnHook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trust: Option<OwnTrust>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uptime_s: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnHook {
    pub(super) family: &'static str,
    pub(super) hook: String,
    pub(super) variant: String,
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consequence: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnTrust {
    /// `loaded` or `none`.
    pub(super) state: &'static str,
    pub(super) database: String,
    pub(super) packages_total: u64,
    pub(super) packages_verified: u64,
    pub(super) digests: u64,
}

/// generated = recorded + aggregated + lost + pending + unaccounted; the last two are 0 at a clean stop.
#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnLedger {
    pub(super) generated: u64,
    pub(super) received: u64,
    pub(super) recorded: u64,
    pub(super) aggregated: u64,
    /// All losses: in the ring, undecodable, at a full queue, at outputs that took nothing.
    pub(super) lost: u64,
    /// Received, and not yet recorded or aggregated.
    pub(super) pending: u64,
    pub(super) unaccounted: i64,
    pub(super) complete: bool,
}

/// What differs between a task and its shadow.
#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnTask {
    /// The hook that noticed it, or `sweep`.
    pub(super) noticed_at: &'static str,
    /// `record`, `deny` or `kill`.
    pub(super) response: &'static str,
    /// Names of the fields that differ.
    pub(super) fields: Vec<String>,
    pub(super) differences: Vec<OwnDifference>,
    /// Who accessed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<OwnActor>,
    /// What became of its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) freeze: Option<OwnFreeze>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnFreeze {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<String>,
    /// `frozen`, `already-frozen`, `refused` or `failed`.
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnActor {
    pub(super) pid: u32,
    pub(super) name: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnDifference {
    pub(super) field: &'static str,
    pub(super) before: String,
    pub(super) after: String,
}

/// What the exec gate did, and on what ground.
#[derive(Debug, Clone, Serialize)]
pub(super) struct OwnGate {
    /// `exec`, `library`, `script`, `file-write`, `module`, `bpf`, `ptrace`.
    pub(super) kind: &'static str,
    /// The hook that asked.
    pub(super) hook: &'static str,
    /// What the kernel side knew of the file.
    pub(super) class: &'static str,
    /// It was refused.
    pub(super) refused: bool,
    /// Why it was not judged by its digest alone: `setid-not-signed`, `private-copy`, `doubt`, `boot-grace`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) why: Vec<&'static str>,
    /// What is no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<OwnObject>,
}

/// A module, a BPF program or another process.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct OwnObject {
    /// Name of the module or BPF program, command name of the process.
    pub(super) name: String,
    /// Type of the BPF program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) program_type: Option<String>,
    /// Id of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    /// Its effective user id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<String>,
    /// Class of the program that did it, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject_class: Option<&'static str>,
}
