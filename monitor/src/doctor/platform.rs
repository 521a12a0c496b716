//! What the distribution and the machine mean for the host: support, policy layers, processor, leftovers of a move.

use super::{Hint, Options};
use crate::chain::chain;
use crate::config;
use crate::harden::Root;
use crate::policy::{DetectError, Folders, Overrides, detect, gather_traces, load};
use hardpan_core::platform::lifecycle::{self, Phase};
use hardpan_core::platform::migration::{self, InstalledPackage};
use hardpan_core::platform::{Hardware, Probes, Release, Tier, lower};
use hardpan_core::policy::Resolved;
use hardpan_core::policy::effective::{Effective, Mode};
use hardpan_core::policy::gate::gates_files;
use jiff::civil::Date;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// How long the release is supported.
#[derive(Debug, Clone, Serialize)]
pub struct Support {
    /// `full-support`, `security-only`, `end-of-life`.
    pub phase: &'static str,
    /// Last day with features and hardware support.
    pub full_until: String,
    /// Last day with security updates.
    pub security_until: String,
    /// What the dates are worth: `published` by the vendor, or only `expected`.
    pub basis: &'static str,
    /// Where they were found, and of when that is.
    pub source: &'static str,
}

/// The policy this host gets.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PolicyReport {
    /// EL release, vendor, hardware, role, level.
    pub layers: Option<String>,
    /// `observe` or `enforce`, as the policy wants it.
    pub mode: Option<String>,
    /// The tier the policy expects of this host.
    pub expected_tier: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

/// A mitigation's state, as the kernel tells it.
#[derive(Debug, Clone, Serialize)]
pub struct Vulnerability {
    /// `meltdown`, `spectre_v2`, …
    pub name: String,
    /// The kernel's words: `Mitigation: …`, `Vulnerable`, `Not affected`.
    pub state: String,
}

/// What hardpand's configuration says of the probes: `sensor.best_tier`. Of this host only, not of an image.
pub(super) fn configured(options: &Options, probes: &mut Probes, hints: &mut Vec<Hint>) {
    if options.root != Path::new("/") {
        return;
    }
    match config::load(&config::Sources::Default) {
        Ok(config) => lower(probes, config.sensor.best_tier),
        Err(error) => hints.push(Hint::new(
            format!(
                "hardpand does not start with this configuration: {}",
                chain(&error)
            ),
            error
                .hint()
                .unwrap_or_else(|| "correct the file; `hardpand --print-config` shows every key".to_owned()),
        )),
    }
}

/// The release's support on a day.
pub(super) fn support(release: &Release, today: Date, hints: &mut Vec<Hint>) -> Option<Support> {
    let phase = lifecycle::phase(release, today)?;
    let dates = lifecycle::dates_of(&release.vendor, release.major?)?;
    match phase {
        Phase::EndOfLife => hints.push(Hint::new(
            lifecycle::ended(&release.pretty, &dates),
            "move to a supported release (ELevate, leapp); what is found from now on stays open here",
        )),
        Phase::SecurityOnly | Phase::Full => {}
    }
    Some(Support {
        phase: phase.name(),
        full_until: dates.full_until.to_string(),
        security_until: dates.security_until.to_string(),
        basis: dates.basis.name(),
        source: dates.source,
    })
}

/// The policy layers, and what they expect of the machine.
pub(super) fn policy(
    options: &Options,
    hardware: &Hardware,
    tier: Option<Tier>,
    now_s: i64,
    hints: &mut Vec<Hint>,
) -> PolicyReport {
    let failed = |error: String| PolicyReport {
        error: Some(error),
        ..PolicyReport::default()
    };
    let root = match Root::new(&options.root) {
        Ok(root) => root,
        Err(error) => return failed(chain(&error)),
    };
    let selector = match detect(&root, &Overrides::default()) {
        Ok(selector) => selector,
        Err(error) => {
            // That the host is no Enterprise Linux is hinted at where the release is told.
            if !matches!(error, DetectError::NotEnterpriseLinux { .. }) {
                hints.push(Hint::new(chain(&error), error.hint()));
            }
            return failed(chain(&error));
        }
    };
    let loaded = match load(&root, &Folders::default(), &selector, now_s) {
        Ok(loaded) => loaded,
        Err(error) => return failed(chain(&error)),
    };
    if !loaded.is_usable() {
        hints.push(Hint::new(
            "the policy has errors: hardpand keeps the one in force, or has none",
            "`hardpan policy check` shows where and why",
        ));
    }
    processor(&loaded.resolved, hardware, hints);
    let effective = Effective::new(&loaded.resolved).ok();
    let expected = effective.as_ref().map(|policy| policy.gate.expected_tier);
    if let (Some(expected), Some(tier)) = (expected, tier)
        && tier < expected
    {
        hints.push(Hint::new(
            format!("tier {tier}; hosts of this release and processor usually reach {expected}"),
            "the reasons are listed under the tier; a missing `bpf` in the list of LSMs is the usual one",
        ));
    }
    if let (Some(effective), Some(tier)) = (&effective, tier)
        && effective.gate.mode == Mode::Enforce
        && !gates_files(effective, tier)
    {
        hints.push(Hint::new(
            format!("the policy's gate enforces, but at tier {tier} nothing judges files here"),
            match tier {
                Tier::B => "set gate.fallback = \"fanotify\": user space then takes the digests that this kernel cannot",
                Tier::C => "set gate.fallback = \"fanotify\": a process then answers for programs and scripts (docs/GATE.md, tier C); or see the reasons under the tier",
                _ => "the reasons are listed under the tier",
            },
        ));
    }
    if let (Some(effective), Some(Tier::C)) = (&effective, tier)
        && effective.gate.mode == Mode::Enforce
        && gates_files(effective, Tier::C)
    {
        hints.push(Hint::new(
            "tier C: programs and scripts are refused through fanotify; libraries, files given to interpreters, `ld.so ./program`, modules, BPF programs and ptrace are not",
            "the reasons for the tier are listed under it; docs/GATE.md has what tier C does not see",
        ));
    }
    PolicyReport {
        layers: Some(format!(
            "el{}/{}/{}/{}/{}",
            selector.el, selector.vendor, selector.hardware, selector.role, selector.level
        )),
        mode: loaded
            .resolved
            .setting(&["gate", "mode"])
            .map(|setting| setting.value.to_plain()),
        expected_tier: expected.map(|tier| tier.name().to_owned()),
        error: (!loaded.is_usable()).then(|| "the policy has errors".to_owned()),
    }
}

/// Features that the hardware layer expects and the processor does not show.
fn processor(resolved: &Resolved, hardware: &Hardware, hints: &mut Vec<Hint>) {
    for flag in resolved.entries("cpu") {
        let expected = resolved.setting(&["cpu", flag, "expect"]);
        if expected.and_then(|setting| setting.value.as_text()) != Some("present") || hardware.has(flag) {
            continue;
        }
        let reason = resolved
            .setting(&["cpu", flag, "reason"])
            .map_or_else(String::new, |setting| format!(" ({})", setting.value.to_plain()));
        let place = expected
            .map(|setting| setting.origin.to_string())
            .unwrap_or_default();
        hints.push(Hint::new(
            format!("the processor's {flag} is missing, which {place} expects{reason}"),
            "the firmware, the hypervisor or a boot argument switched it off; give guests a newer CPU model",
        ));
    }
}

/// Loose ends of an upgrade or a move to another vendor.
pub(super) fn leftovers(options: &Options, hints: &mut Vec<Hint>) {
    let Ok(root) = Root::new(&options.root) else {
        return;
    };
    let traces = gather_traces(&root, packages(options));
    for finding in migration::findings(&traces) {
        hints.push(Hint::new(finding.message, finding.hint));
    }
}

fn packages(options: &Options) -> Vec<InstalledPackage> {
    // Without a database there are no packages to look at; that is told elsewhere.
    let Ok(root) = hardpan_rpm::root::Root::open(&options.root) else {
        return Vec::new();
    };
    crate::audit::installed_packages(&root, options.dbpath.as_deref())
        .unwrap_or_default()
        .into_iter()
        .map(|package| InstalledPackage {
            release: package
                .evr
                .rsplit_once('-')
                .map_or_else(String::new, |(_, release)| release.to_owned()),
            vendor: Some(package.vendor).filter(|vendor| !vendor.is_empty()),
            name: package.name,
        })
        .collect()
}

/// What the kernel says of the processor's known holes.
pub(super) fn vulnerabilities(hints: &mut Vec<Hint>) -> Vec<Vulnerability> {
    let directory = Path::new("/sys/devices/system/cpu/vulnerabilities");
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<Vulnerability> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some(Vulnerability {
                name: entry.file_name().to_string_lossy().into_owned(),
                state: fs::read_to_string(entry.path()).ok()?.trim().to_owned(),
            })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let open: Vec<&str> = found
        .iter()
        .filter(|vulnerability| vulnerability.state.starts_with("Vulnerable"))
        .map(|vulnerability| vulnerability.name.as_str())
        .collect();
    if !open.is_empty() {
        hints.push(Hint::new(
            format!("the kernel says it is vulnerable to {}", open.join(", ")),
            "update microcode_ctl and the kernel; look for mitigations=off on the kernel command line",
        ));
    }
    found
}

/// AlmaLinux 10 also comes built for x86-64-v2; only the names of its kernels tell.
pub(super) fn built_for(root: &Path, kernel_release: &str) -> Option<String> {
    const V2: &str = "x86_64_v2";
    let is_v2 = |name: &str| name.strip_suffix(V2).is_some_and(|rest| rest.ends_with('.'));
    let kernels = fs::read_dir(root.join("usr/lib/modules")).into_iter().flatten();
    let installed = || {
        kernels
            .flatten()
            .any(|entry| is_v2(&entry.file_name().to_string_lossy()))
    };
    ((root == Path::new("/") && is_v2(kernel_release)) || installed()).then(|| V2.to_owned())
}

/// Whether the root is an image's deployment (bootc, rpm-ostree): the running system's initramfs leaves a mark, or its
/// command line names the deployment; an image at rest has the repository or bootc's own folder.
pub(super) fn image_mode(root: &Path) -> bool {
    if root != Path::new("/") {
        return ["run/ostree-booted", "sysroot/ostree/repo", "usr/lib/bootc"]
            .iter()
            .any(|mark| root.join(mark).exists());
    }
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    root.join("run/ostree-booted").exists() || boots_an_image(&line)
}

/// Whether a kernel command line names a deployment: `ostree=` by ostree, `composefs=` by bootc without it.
fn boots_an_image(line: &str) -> bool {
    line.split_whitespace()
        .any(|word| word.starts_with("ostree=") || word.starts_with("composefs="))
}

/// Whether the firmware verified what it started: `on`, `off`, or why nobody knows. `sys`: where sysfs is.
pub(super) fn secure_boot(sys: &Path) -> String {
    let firmware = sys.join("firmware/efi");
    let variable = firmware.join("efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    let found = fs::read(variable);
    match found
        .as_deref()
        .ok()
        .and_then(hardpan_core::platform::secure_boot)
    {
        Some(true) => "on",
        Some(false) => "off",
        None if !firmware.exists() => "none (not started by EFI)",
        None if found.is_ok() => "unknown (the EFI variable makes no sense)",
        // Firmware without Secure Boot has no such variable; where nothing is mounted there is none either.
        None => "unknown (no EFI variable; is efivarfs mounted?)",
    }
    .to_owned()
}

/// Version of the TPM, if there is one. `sys`: where sysfs is.
pub(super) fn tpm(sys: &Path) -> String {
    let class = sys.join("class");
    let chip = class.join("tpm/tpm0");
    if !chip.exists() {
        return "none".to_owned();
    }
    let version = match fs::read_to_string(chip.join("tpm_version_major")) {
        Ok(major) => major.trim().to_owned(),
        // Kernels before 5.6 have no such file: only TPM 2 has a resource manager, only TPM 1.2 these capabilities.
        Err(_older) if class.join("tpmrm/tpmrm0").exists() => "2".to_owned(),
        Err(_older) if chip.join("caps").exists() || chip.join("device/caps").exists() => "1".to_owned(),
        Err(_older) => String::new(),
    };
    match version.as_str() {
        "1" => "1.2",
        "2" => "2.0",
        _ => "present, version unknown",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harden::tests::fake::{Fake, KINDS};
    use jiff::civil::date;

    fn options(root: &Path) -> Options {
        Options {
            root: root.to_owned(),
            ..Options::default()
        }
    }

    fn hardware(flags: &str) -> Hardware {
        Hardware::parse(&format!("flags : {flags}\n"), "x86_64")
    }

    #[test]
    fn an_old_release_is_told() {
        let release = Release::parse("ID=centos\nVERSION_ID=8\nPRETTY_NAME=\"CentOS Stream 8\"\n");
        let mut hints = Vec::new();
        let found = support(&release, date(2026, 11, 22), &mut hints).unwrap();
        assert_eq!(found.phase, "end-of-life");
        assert_eq!(hints.len(), 1);
        let release = Release::parse("ID=rocky\nVERSION_ID=9.6\n");
        hints.clear();
        assert!(support(&release, date(2026, 11, 22), &mut hints).is_some() && hints.is_empty());
    }

    #[test]
    fn builds_for_older_processors_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            built_for(dir.path(), "6.12.0-55.el10_0.x86_64_v2"),
            None,
            "another host's kernel"
        );
        fs::create_dir_all(dir.path().join("usr/lib/modules/6.12.0-55.el10_0.x86_64")).unwrap();
        assert_eq!(built_for(dir.path(), ""), None);
        fs::create_dir_all(dir.path().join("usr/lib/modules/6.12.0-55.el10_0.x86_64_v2")).unwrap();
        assert_eq!(built_for(dir.path(), "").as_deref(), Some("x86_64_v2"));
    }

    #[test]
    fn secure_boot_is_told_where_the_firmware_tells() {
        let check = |variable: Option<&[u8]>, expected: &str| {
            let sys = tempfile::tempdir().unwrap();
            let variables = sys.path().join("firmware/efi/efivars");
            if let Some(value) = variable {
                fs::create_dir_all(&variables).unwrap();
                let name = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
                fs::write(variables.join(name), value).unwrap();
            }
            assert_eq!(secure_boot(sys.path()), expected);
        };
        check(None, "none (not started by EFI)");
        check(Some(&[6, 0, 0, 0, 1]), "on");
        check(Some(&[6, 0, 0, 0, 0]), "off");
        check(Some(&[]), "unknown (the EFI variable makes no sense)");
        let sys = tempfile::tempdir().unwrap();
        fs::create_dir_all(sys.path().join("firmware/efi/efivars")).unwrap();
        assert!(secure_boot(sys.path()).starts_with("unknown (no EFI variable;"));
    }

    #[test]
    fn deployments_of_images_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!image_mode(dir.path()));
        fs::create_dir_all(dir.path().join("sysroot/ostree/repo")).unwrap();
        assert!(image_mode(dir.path()));
        assert!(boots_an_image("root=UUID=1 ostree=/ostree/boot.1/x/0 ro"));
        assert!(boots_an_image("composefs=0123 rw"));
        assert!(!boots_an_image("root=UUID=1 ro noostree=1"));
    }

    #[test]
    fn tpms_are_told_apart_on_old_kernels_too() {
        let check = |files: &[&str], expected: &str| {
            let sys = tempfile::tempdir().unwrap();
            for file in files {
                let (path, content) = file.split_once('=').unwrap_or((file, ""));
                let path = sys.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            assert_eq!(tpm(sys.path()), expected, "{files:?}");
        };
        check(&[], "none");
        check(&["class/tpm/tpm0/tpm_version_major=2\n"], "2.0");
        check(&["class/tpm/tpm0/tpm_version_major=1\n"], "1.2");
        check(&["class/tpm/tpm0/dev", "class/tpmrm/tpmrm0/dev"], "2.0");
        check(&["class/tpm/tpm0/device/caps"], "1.2");
        check(&["class/tpm/tpm0/dev"], "present, version unknown");
    }

    #[test]
    fn layers_expectations_and_leftovers() {
        let fake = Fake::new(&KINDS[4]);
        fake.write("etc/hardpan/hardpan.toml", "[policy]\nhardware = \"x86-64-v3\"\n");
        let options = options(fake.path());
        let mut hints = Vec::new();
        let all = "nx smep smap sha_ni rdrand avx2";
        let report = policy(&options, &hardware(all), Some(Tier::A), 1_800_000_000, &mut hints);
        assert_eq!(
            report.layers.as_deref(),
            Some("el9/rocky/x86-64-v3/server/balanced")
        );
        assert_eq!((report.error, hints.len()), (None, 0), "{hints:?}");
        policy(
            &options,
            &hardware("nx"),
            Some(Tier::C),
            1_800_000_000,
            &mut hints,
        );
        let about: Vec<&str> = hints.iter().map(|hint| hint.about.as_str()).collect();
        assert!(
            about.iter().any(|about| about.contains("smep is missing")),
            "{about:?}"
        );
        assert!(
            about.iter().any(|about| about.starts_with("tier C; hosts")),
            "{about:?}"
        );
        fake.write("etc/hardpan/policies/x.toml", "schema = 1\nnonsense = 1\n");
        hints.clear();
        let report = policy(&options, &hardware(all), None, 1_800_000_000, &mut hints);
        assert!(report.error.is_some() && hints[0].what.contains("policy check"));
        hints.clear();
        fake.write("etc/selinux/config", "SELINUX=permissive\n");
        fake.write("var/log/leapp/leapp-report.txt", "x");
        leftovers(&options, &mut hints);
        assert!(
            hints
                .iter()
                .any(|hint| hint.about.to_lowercase().contains("selinux")),
            "{hints:?}"
        );
    }
}
