//! The report as JSON and as text.

use super::{Finding, PolicyReport, Support, Vulnerability};
use serde::Serialize;
use std::fmt::Write;

/// Everything `doctor` knows. The JSON form is a stable contract: fields are added, never renamed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The distribution and the machine.
    pub host: Host,
    /// The running kernel.
    pub kernel: Kernel,
    /// Security state.
    pub security: Security,
    /// How long the release is supported; null if its dates are not known.
    pub support: Option<Support>,
    /// Policy layers.
    pub policy: PolicyReport,
    /// What the kernel says of the processor's known holes.
    pub vulnerabilities: Vec<Vulnerability>,
    /// Each probe.
    pub probes: Vec<Probe>,
    /// The tier that follows.
    pub tier: TierReport,
    /// The programs, as they were loaded just now.
    pub sensors: Sensors,
    /// The package database.
    pub trust: TrustState,
    /// What to do.
    pub hints: Vec<Hint>,
    /// What it comes to.
    #[serde(skip)]
    pub finding: Finding,
}

/// The distribution and the machine.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// Vendor's stable name.
    pub vendor: String,
    /// Enterprise Linux 8, 9 or 10.
    pub supported: bool,
    /// EL major version.
    pub el: Option<u32>,
    /// Minor version.
    pub minor: Option<u32>,
    /// Name for people.
    pub pretty: String,
    /// `x86-64-v3`, `aarch64`, …
    pub hardware_level: String,
    /// The architecture packages are built for, where it is not the release's usual one: `x86_64_v2` (AlmaLinux 10).
    pub built_for: Option<String>,
    /// Processor model.
    pub cpu: Option<String>,
    /// Processor features that matter to hardening.
    pub cpu_features: Vec<CpuFlag>,
}

/// A processor feature.
#[derive(Debug, Clone, Serialize)]
pub struct CpuFlag {
    /// Name in `/proc/cpuinfo`.
    pub name: String,
    /// Present and used by the kernel.
    pub present: bool,
    /// What it gives.
    pub meaning: String,
}

/// The running kernel.
#[derive(Debug, Clone, Serialize)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub arch: String,
    /// `/proc/cmdline`.
    pub command_line: Option<String>,
    /// Active LSMs in order; null if the list could not be read.
    pub lsm: Option<Vec<String>>,
    /// Lockdown level.
    pub lockdown: String,
}

/// Security state of the host.
#[derive(Debug, Clone, Serialize)]
pub struct Security {
    /// Lockdown level.
    pub lockdown: String,
    /// SELinux mode.
    pub selinux: String,
    /// FIPS state.
    pub fips: String,
    /// Secure Boot state.
    pub secure_boot: String,
    /// Hypervisor.
    pub virtualisation: String,
    /// An ostree or bootc system.
    pub image_mode: bool,
    /// `2.x`, `1.x`, `none`.
    pub tpm: String,
}

/// One probe.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    /// Stable name.
    pub name: String,
    /// What was tried.
    pub title: String,
    /// `works`, `missing`, `refused`, `not-tried`.
    pub state: String,
    /// Reason, empty if it works.
    pub detail: String,
    /// What follows from its absence, empty if it works.
    pub consequence: String,
}

/// The tier.
#[derive(Debug, Clone, Serialize)]
pub struct TierReport {
    /// `A`, `B`, `C`, `none`; `unknown` without root.
    pub tier: String,
    /// What it means.
    pub meaning: String,
    /// Tier A only: concurrent execs were seen not to be skipped.
    pub gate_proven: bool,
    /// The least tier that is good enough here.
    pub wanted: String,
    /// Why not a better one, what is not proven.
    pub why: Vec<String>,
}

/// The programs as loaded by `doctor` itself.
#[derive(Debug, Clone, Serialize)]
pub struct Sensors {
    /// Where the objects came from.
    pub objects: String,
    /// Why nothing was loaded.
    pub error: Option<String>,
    /// Each hook.
    pub hooks: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Clone, Serialize)]
pub struct Hook {
    /// `exec`, `cred`, `module`.
    pub family: String,
    /// The kernel's name.
    pub hook: String,
    /// `lsm.s`, `lsm`, `fentry`, `tp_btf`, `raw_tp`.
    pub variant: String,
    /// `attached`, `self-tested`, `failed`, `not-tried`.
    pub state: String,
    /// Reason.
    pub detail: String,
    /// What is not seen, empty if it works.
    pub consequence: String,
}

/// The package database.
#[derive(Debug, Clone, Serialize)]
pub struct TrustState {
    /// The file.
    pub database: Option<String>,
    /// Its back end.
    pub backend: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

/// Something to do.
#[derive(Debug, Clone, Serialize)]
pub struct Hint {
    /// What was found.
    pub about: String,
    /// What to do.
    pub what: String,
}

impl Hint {
    pub(super) fn new(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            what: what.into(),
        }
    }
}

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const BOLD: &str = "1";

struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn state(&self, state: &str) -> String {
        let padded = format!("{state:<11}");
        match state {
            "works" | "self-tested" => self.with(GREEN, &padded),
            "attached" | "not-tried" => self.with(YELLOW, &padded),
            _ => self.with(RED, &padded),
        }
    }
}

/// The report for people. Foreign text (os-release, command line) loses its control characters.
pub fn render(report: &Report, colour: bool) -> String {
    let paint = Paint(colour);
    let mut out = String::new();
    // Writing to a String can't fail.
    let _never = render_into(report, &paint, &mut out);
    out
}

fn render_into(report: &Report, paint: &Paint, out: &mut String) -> std::fmt::Result {
    let row = |out: &mut String, name: &str, value: &str| writeln!(out, "  {name:<16}{}", clean(value));
    writeln!(out, "{}", paint.with(BOLD, "Host"))?;
    let el = report
        .host
        .el
        .map_or_else(|| "not a supported EL".to_owned(), |el| format!("EL {el}"));
    row(
        out,
        "release",
        &format!("{} ({}, {el})", report.host.pretty, report.host.vendor),
    )?;
    let kernel = format!("{} {}", report.kernel.release, report.kernel.arch);
    row(out, "kernel", &kernel)?;
    let level = match &report.host.built_for {
        Some(built_for) => format!(
            "{}; packages are built for {built_for}",
            report.host.hardware_level
        ),
        None => report.host.hardware_level.clone(),
    };
    row(out, "hardware level", &level)?;
    let (present, absent): (Vec<_>, Vec<_>) = report.host.cpu_features.iter().partition(|flag| flag.present);
    let names = |flags: Vec<&CpuFlag>| {
        if flags.is_empty() {
            "-".to_owned()
        } else {
            flags
                .iter()
                .map(|flag| flag.name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        }
    };
    row(
        out,
        "cpu features",
        &format!("{}; not on this hardware: {}", names(present), names(absent)),
    )?;
    let lsm = report.kernel.lsm.as_ref().map_or_else(
        || "unknown (/sys/kernel/security/lsm could not be read)".to_owned(),
        |list| list.join(","),
    );
    row(out, "LSM list", &lsm)?;
    row(out, "lockdown", &report.security.lockdown)?;
    row(out, "SELinux", &report.security.selinux)?;
    row(out, "FIPS", &report.security.fips)?;
    row(out, "Secure Boot", &report.security.secure_boot)?;
    row(out, "virtualisation", &report.security.virtualisation)?;
    row(out, "TPM", &report.security.tpm)?;
    row(
        out,
        "image mode",
        if report.security.image_mode {
            "yes (ostree or bootc)"
        } else {
            "no"
        },
    )?;
    render_standing(report, out)?;

    render_probes(report, paint, out)?;
    render_sensors(report, paint, out)?;

    writeln!(out, "\n{}", paint.with(BOLD, "Trust"))?;
    let database = match (&report.trust.database, &report.trust.error) {
        (Some(path), _) => format!("{path} ({})", report.trust.backend.as_deref().unwrap_or("?")),
        (None, error) => format!("none: {}", error.as_deref().unwrap_or("?")),
    };
    row(out, "rpm database", &database)?;
    for hint in &report.hints {
        writeln!(
            out,
            "\n{} {}\n      {}",
            paint.with(YELLOW, "hint:"),
            clean(&hint.about),
            clean(&hint.what)
        )?;
    }
    Ok(())
}

/// Support, mitigations, policy.
fn render_standing(report: &Report, out: &mut String) -> std::fmt::Result {
    let row = |out: &mut String, name: &str, value: &str| writeln!(out, "  {name:<16}{}", clean(value));
    let support = report.support.as_ref().map_or_else(
        || "unknown: no dates for this release".to_owned(),
        |support| {
            format!(
                "{}, security updates {} until {} ({})",
                support.phase, support.basis, support.security_until, support.source
            )
        },
    );
    row(out, "support", &support)?;
    let open = |vulnerability: &&Vulnerability| vulnerability.state.starts_with("Vulnerable");
    let vulnerable = report.vulnerabilities.iter().filter(open).count();
    row(
        out,
        "vulnerabilities",
        &format!(
            "{} known to the kernel, {vulnerable} open",
            report.vulnerabilities.len()
        ),
    )?;
    let policy = match (&report.policy.layers, &report.policy.mode) {
        (Some(layers), Some(mode)) => format!("{layers}, mode {mode}"),
        _ => format!("none: {}", report.policy.error.as_deref().unwrap_or("?")),
    };
    row(out, "policy", &policy)
}

fn render_probes(report: &Report, paint: &Paint, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n{}", paint.with(BOLD, "Kernel features"))?;
    for probe in &report.probes {
        let line = format!(
            "  {} {:<72} {}",
            paint.state(&probe.state),
            probe.title,
            clean(&probe.detail)
        );
        writeln!(out, "{}", line.trim_end())?;
    }

    writeln!(
        out,
        "\n{}",
        paint.with(
            BOLD,
            &format!("Tier {}: {}", report.tier.tier, report.tier.meaning)
        )
    )?;
    if report.tier.tier == "A" && report.tier.gate_proven {
        writeln!(
            out,
            "  two execs on one CPU were both seen while the first slept in the program"
        )?;
    }
    for why in &report.tier.why {
        writeln!(out, "  - {}", clean(why))?;
    }

    Ok(())
}

fn render_sensors(report: &Report, paint: &Paint, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\n{}",
        paint.with(
            BOLD,
            &format!("Sensors (programs: {})", clean(&report.sensors.objects))
        )
    )?;
    if let Some(error) = &report.sensors.error {
        writeln!(out, "  {} {}", paint.state("failed"), clean(error))?;
    }
    for hook in &report.sensors.hooks {
        let name = format!("{}/{}", hook.variant, hook.hook);
        let line = format!("  {} {name:<34}{}", paint.state(&hook.state), clean(&hook.detail));
        writeln!(out, "{}", line.trim_end())?;
        if !hook.consequence.is_empty() {
            writeln!(out, "              {}", hook.consequence)?;
        }
    }
    Ok(())
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
