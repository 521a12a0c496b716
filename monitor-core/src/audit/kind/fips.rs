//! The FIPS report: what the host really runs, and what is certified of it.

use super::super::facts::{Ctx, Stop, Tool, Want, wildcard};
use super::super::outcome::{Outcome, Verdict};
use super::super::parse::boot::{arguments, value};
use serde::{Deserialize, Serialize};

/// A question of the FIPS report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fips {
    /// The question.
    pub ask: FipsQuestion,
    /// Known certificates, for `modules`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// Packages that bring crypto of their own, for `other_crypto`; `*` is a wildcard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FipsQuestion {
    /// `fips=1` on the running command line and in every boot entry, with `boot=` where /boot is separate.
    BootEntries,
    /// The policy in effect is FIPS, also where EL 10 mounts it over the configured one.
    Policy,
    /// Every algorithm of /proc/crypto passed its self test.
    SelfTests,
    /// Integrity files lie beside the kernel and the libraries.
    HmacFiles,
    /// Installed crypto modules against the list of certificates.
    Modules,
    /// Programs that bring other crypto.
    OtherCrypto,
}

/// A certificate, as dated data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Package that holds the module.
    pub package: String,
    /// Version-release pattern the certificate names; `*` is a wildcard.
    pub builds: String,
    /// Vendor and product.
    pub product: String,
    /// Whose builds it names, as rpm's vendor tag has it; empty means any. The same version rebuilt by somebody else is
    /// not on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vendor: String,
    /// Certificate number, or `in process`, or `unverified`.
    pub number: String,
    /// active, historical, in process.
    pub status: String,
    /// Date of this knowledge.
    pub as_of: String,
}

impl Fips {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        match self.ask {
            FipsQuestion::BootEntries => boot_entries(ctx),
            FipsQuestion::Policy => policy(ctx),
            FipsQuestion::SelfTests => self_tests(ctx),
            FipsQuestion::HmacFiles => hmac_files(ctx),
            FipsQuestion::Modules => self.modules(ctx),
            FipsQuestion::OtherCrypto => self.other(ctx),
        }
    }

    /// The crypto modules that count, with what is known about their builds.
    fn modules(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        let mut names: Vec<&str> = self.certificates.iter().map(|c| c.package.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let installed = ctx.packages()?;
        let mut uncertified = 0;
        for package in installed
            .iter()
            .filter(|package| names.contains(&package.name.as_str()))
        {
            let known: Vec<&Certificate> = self
                .certificates
                .iter()
                .filter(|c| c.package == package.name && wildcard(&c.builds, &package.evr))
                .collect();
            let shown = format!(
                "{}-{} ({})",
                package.name,
                package.evr,
                if package.vendor.is_empty() {
                    "no vendor"
                } else {
                    &package.vendor
                }
            );
            match known.first() {
                Some(c) if !c.vendor.is_empty() && c.vendor != package.vendor => {
                    uncertified += 1;
                    outcome.note(
                        shown,
                        format!(
                            "certificate {} ({}) names builds of {}; this one is a rebuild and not on it (as of {})",
                            c.number, c.product, c.vendor, c.as_of
                        ),
                    );
                }
                Some(c) if c.status == "active" => {
                    let found = format!(
                        "certificate {} ({}, {}, as of {})",
                        c.number, c.product, c.status, c.as_of
                    );
                    outcome.expect(true, shown, "a build that a certificate names", found);
                }
                Some(c) => {
                    uncertified += 1;
                    outcome.note(
                        shown,
                        format!(
                            "{}: certificate {}, {} (as of {})",
                            c.product, c.number, c.status, c.as_of
                        ),
                    );
                }
                None => {
                    uncertified += 1;
                    outcome.note(
                        shown,
                        "no certificate known for this build; a certificate of a vendor covers that vendor's builds only, not rebuilds of the same version",
                    );
                }
            }
        }
        match ctx.output(Tool::OpensslProviders) {
            Ok(Some(text)) => {
                let active = fips_provider(text);
                outcome.note(
                    Tool::OpensslProviders.name(),
                    active.unwrap_or_else(|| "no FIPS provider is active".to_owned()),
                );
            }
            Ok(None) | Err(Stop::Offline) => {}
            Err(stop) => return Err(stop),
        }
        if uncertified > 0 {
            outcome.result = Verdict::Informational;
            return Ok(outcome.because(format!(
                "{uncertified} crypto modules run builds with no active certificate in the list; check the vendor and NIST's validation list"
            )));
        }
        Ok(outcome.because("every crypto module is a build that an active certificate names"))
    }

    fn other(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::of(
            Verdict::Informational,
            "FIPS mode of the host does not reach programs that bring their own crypto; this list is not complete",
        );
        for package in ctx.packages()? {
            if self
                .packages
                .iter()
                .any(|pattern| wildcard(pattern, &package.name))
            {
                outcome.note(
                    format!("{}-{}", package.name, package.evr),
                    "brings crypto of its own",
                );
            }
        }
        outcome.note(
            "hardpan",
            "uses ring and rPGP to verify signatures and digests; they are not validated modules",
        );
        Ok(outcome)
    }
}

fn boot_entries(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    if ctx.facts.live {
        ctx.prefetch([Want::Text("/proc/cmdline".into())]);
    }
    let mut lines = super::boot::entries(ctx)?;
    let mut outcome = Outcome::start();
    let fstab = super::super::parse::mounts::fstab(ctx.text("/etc/fstab")?.unwrap_or_default());
    let separate = super::super::parse::mounts::at(&fstab, "/boot").is_some();
    match ctx.text("/proc/cmdline") {
        Ok(text) => lines.push(("/proc/cmdline".into(), text.unwrap_or_default().to_owned())),
        Err(Stop::Offline) => outcome = outcome.configured(),
        Err(stop) => return Err(stop),
    }
    if lines.is_empty() {
        return Ok(Outcome::not_applicable("no boot entry: a container image"));
    }
    for (place, line) in lines {
        let arguments = arguments(&line);
        let fips = value(&arguments, "fips");
        outcome.expect(
            fips == Some("1"),
            &place,
            "fips=1",
            fips.map_or_else(|| "no fips".to_owned(), |v| format!("fips={v}")),
        );
        if separate {
            let boot = value(&arguments, "boot").unwrap_or_default();
            outcome.expect(
                !boot.is_empty(),
                &place,
                "boot=UUID=… (the /boot file system, for the kernel's integrity check)",
                boot,
            );
        }
    }
    Ok(outcome.because("fips=1 everywhere"))
}

/// Name, version and status of OpenSSL's FIPS provider, from `openssl list -providers`.
fn fips_provider(text: &str) -> Option<String> {
    let mut found: Option<Vec<&str>> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if indent <= 2 {
            found = match found {
                None if line == "fips" => Some(Vec::new()),
                None => None,
                done => return done.map(|parts| parts.join(", ")),
            };
        } else if let Some(parts) = &mut found {
            parts.push(line);
        }
    }
    found.map(|parts| parts.join(", "))
}

/// Whether a bind mount of EL 10's fips-crypto-policy-overlay lies over the back-ends: its source must be the FIPS
/// policy's own. Anything else mounted there is no FIPS policy, whatever the configuration says.
pub(super) fn overlay(mountinfo: &str) -> Option<(String, bool)> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, target) = (fields.next()?, fields.next()?);
            (target == "/etc/crypto-policies/back-ends").then(|| {
                (
                    root.to_owned(),
                    root.ends_with("/share/crypto-policies/back-ends/FIPS"),
                )
            })
        })
        .next_back()
}

fn policy(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::start();
    let current = ctx
        .text("/etc/crypto-policies/state/current")?
        .unwrap_or_default()
        .trim();
    let mounted = match ctx.text("/proc/self/mountinfo") {
        Ok(text) => overlay(text.unwrap_or_default()),
        Err(Stop::Offline) => {
            outcome = outcome.configured();
            None
        }
        Err(stop) => return Err(stop),
    };
    let base = current.split(':').next().unwrap_or_default();
    match &mounted {
        Some((source, is_fips)) => {
            outcome.expect(
                *is_fips,
                "/proc/self/mountinfo",
                "over /etc/crypto-policies/back-ends: nothing, or the FIPS policy's (fips-crypto-policy-overlay)",
                format!("{source} is mounted there"),
            );
            // The files below the mounts may say DEFAULT: they are not in effect.
            outcome.note("/etc/crypto-policies/state/current", current);
        }
        None => outcome.expect(
            base == "FIPS",
            "/etc/crypto-policies/state/current",
            "FIPS, or FIPS with sub-policies",
            current,
        ),
    }
    // A sub-policy may take back what the base asks for: what counts is the result.
    let effective = ctx
        .text("/etc/crypto-policies/state/CURRENT.pol")?
        .unwrap_or_default();
    for line in effective.lines().filter(|_| mounted.is_none()) {
        if let Some((key, value)) = line.split_once('=')
            && ["hash", "sign", "mac", "group", "cipher", "min_rsa_size"].contains(&key.trim())
        {
            outcome.note(
                format!("/etc/crypto-policies/state/CURRENT.pol {}", key.trim()),
                value.trim(),
            );
        }
    }
    for module in current.split(':').skip(1) {
        let relaxes = !["OSPP", "STIG", "NO-SHA1", "NO-CAMELLIA", "NO-ENFORCE-EMS"].contains(&module)
            || module == "NO-ENFORCE-EMS";
        outcome.note(
            "sub-policy",
            format!(
                "{module}{}",
                if relaxes {
                    " (not among those that only tighten)"
                } else {
                    ""
                }
            ),
        );
    }
    Ok(outcome.because(format!("crypto policy {current}")))
}

fn self_tests(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::start();
    let text = ctx
        .text("/proc/crypto")?
        .ok_or_else(|| Stop::unreadable("/proc/crypto", "no such file"))?;
    let (mut driver, mut count) = ("", 0);
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        match key.trim() {
            "driver" => driver = value.trim(),
            "selftest" => {
                count += 1;
                if value.trim() != "passed" {
                    outcome.expect(false, format!("/proc/crypto {driver}"), "passed", value.trim());
                }
            }
            _ => {}
        }
    }
    Ok(outcome.because(format!("{count} algorithms passed their self tests")))
}

fn hmac_files(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::start();
    let kernels = ctx.glob("/boot/vmlinuz-*")?;
    let wanted: Vec<String> = kernels
        .iter()
        .map(|path| path.replace("/boot/vmlinuz-", "/boot/.vmlinuz-") + ".hmac")
        .collect();
    let libraries = [
        "/usr/lib64/ossl-modules/fips.so",
        "/usr/lib64/libgcrypt.so.20",
        "/usr/lib64/libgnutls.so.30",
        "/usr/lib64/libfreeblpriv3.so",
        "/usr/lib64/libsoftokn3.so",
    ];
    let beside = [
        "/usr/lib64/ossl-modules/fips.so",
        "/usr/lib64/.libgcrypt.so.20.hmac",
        "/usr/lib64/.libgnutls.so.30.hmac",
        "/usr/lib64/libfreeblpriv3.chk",
        "/usr/lib64/libsoftokn3.chk",
    ];
    ctx.prefetch(
        wanted
            .iter()
            .map(String::as_str)
            .chain(libraries)
            .chain(beside)
            .map(|path| Want::Stat(path.to_owned())),
    );
    for path in &wanted {
        let there = ctx.stat(path)?.is_some();
        outcome.expect(
            there,
            path,
            "the kernel image's HMAC",
            if there { "there" } else { "no such file" },
        );
    }
    for (library, file) in libraries.iter().zip(beside) {
        if ctx.stat(library)?.is_some() {
            let there = ctx.stat(file)?.is_some();
            // libgcrypt of EL 9 carries its HMAC inside the library.
            if there {
                outcome.note(file, "there");
            } else {
                outcome.note(
                    *library,
                    format!("no {file}; the integrity value may lie inside the library"),
                );
            }
        }
    }
    if kernels.is_empty() {
        outcome.note("/boot", "no kernel image here");
    }
    Ok(outcome.because("integrity files looked at"))
}

/// Options of the running kernel's build, and its known weaknesses, as facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KernelFacts {
    /// Build options to show.
    pub options: Vec<String>,
    /// CPU vulnerabilities: one that is not mitigated fails.
    pub vulnerabilities: bool,
    /// Processes that run unconfined by SELinux.
    pub unconfined: bool,
}

impl KernelFacts {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        if self.vulnerabilities {
            return vulnerabilities(ctx);
        }
        let mut outcome = Outcome::of(Verdict::Informational, "fixed when the vendor built the kernel");
        if self.unconfined {
            let text = ctx.output(Tool::Processes)?.unwrap_or_default();
            for line in text.lines().filter(|line| line.contains("unconfined_service_t")) {
                outcome.note("process", line);
            }
            return Ok(outcome);
        }
        let kernels = if ctx.facts.host.kernel.is_empty() {
            ctx.dir("/lib/modules")?.unwrap_or_default().to_vec()
        } else {
            vec![ctx.facts.host.kernel.clone()]
        };
        for kernel in kernels {
            let paths = [
                format!("/boot/config-{kernel}"),
                format!("/lib/modules/{kernel}/config"),
            ];
            let texts = ctx.texts(&paths)?;
            let Some((path, text)) = texts.first() else {
                outcome.note(&paths[0], "no such file");
                continue;
            };
            for option in &self.options {
                let found = text
                    .lines()
                    .find_map(|line| line.strip_prefix(option.as_str())?.strip_prefix('='));
                outcome.note(path, format!("{option}={}", found.unwrap_or("not set")));
            }
        }
        Ok(outcome)
    }
}

fn vulnerabilities(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    const DIR: &str = "/sys/devices/system/cpu/vulnerabilities";
    if !ctx.facts.live {
        return Err(Stop::Offline);
    }
    let names = ctx.dir(DIR)?.unwrap_or_default();
    let paths: Vec<String> = names.iter().map(|name| format!("{DIR}/{name}")).collect();
    let mut outcome = Outcome::start();
    for (path, text) in ctx.texts(&paths)? {
        let ok = !text.starts_with("Vulnerable");
        outcome.expect(ok, path, "not affected, or mitigated", text);
    }
    Ok(outcome.because(format!("{} known weaknesses looked at", names.len())))
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Package;
    use super::super::super::outcome::Verdict::{self, Fail, Informational, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    #[test]
    fn every_boot_entry_counts() {
        let check = |options: &str, fstab: &str, expected: Verdict| {
            let facts = tree(&[
                ("/boot/loader/entries/a.conf", &format!("options {options}\n")),
                ("/etc/fstab", fstab),
            ]);
            assert_eq!(
                outcome_of("kind = \"fips\"\nask = \"boot_entries\"", &facts).result,
                expected,
                "{options}"
            );
        };
        check("ro fips=1", "", Pass);
        check("ro", "", Fail);
        check("ro fips=1", "UUID=1 /boot xfs defaults 0 0\n", Fail);
        check("ro fips=1 boot=UUID=1", "UUID=1 /boot xfs defaults 0 0\n", Pass);
    }

    #[test]
    fn what_is_mounted_over_the_policy_counts() {
        let check = |root: Option<&str>, current: &str, expected: Verdict| {
            let mut facts = tree(&[
                ("/etc/crypto-policies/state/current", current),
                ("/etc/crypto-policies/state/CURRENT.pol", "hash = SHA2-256\n"),
            ]);
            facts.live = true;
            let mounts = root.map_or_else(String::new, |root| {
                format!("41 22 253:0 {root} /etc/crypto-policies/back-ends rw - xfs /dev/vda2 rw\n")
            });
            facts
                .texts
                .insert("/proc/self/mountinfo".into(), Ok(Some(mounts.into())));
            let outcome = outcome_of("kind = \"fips\"\nask = \"policy\"", &facts);
            assert_eq!(outcome.result, expected, "{root:?} {current}\n{outcome:?}");
        };
        check(None, "FIPS", Pass);
        check(None, "FIPS:OSPP", Pass);
        check(None, "DEFAULT", Fail);
        check(Some("/usr/share/crypto-policies/back-ends/FIPS"), "DEFAULT", Pass);
        check(Some("/usr/share/crypto-policies/back-ends/LEGACY"), "FIPS", Fail);
        check(Some("/tmp/x"), "FIPS", Fail);
    }

    #[test]
    fn the_active_provider_is_read() {
        let text = "Providers:\n  default\n    name: OpenSSL Default Provider\n    status: active\n  fips\n    name: Red Hat Enterprise Linux 9 - OpenSSL FIPS Provider\n    version: 3.0.7-395c1a240fbfffd8\n    status: active\n";
        assert_eq!(
            super::fips_provider(text).as_deref(),
            Some(
                "name: Red Hat Enterprise Linux 9 - OpenSSL FIPS Provider, version: 3.0.7-395c1a240fbfffd8, status: active"
            )
        );
        assert_eq!(
            super::fips_provider("Providers:\n  default\n    status: active\n"),
            None
        );
    }

    #[test]
    fn a_rebuild_is_not_on_the_vendors_certificate() {
        let toml = "kind = \"fips\"\nask = \"modules\"\n[[certificates]]\npackage = \"openssl-libs\"\nbuilds = \"*ciqfips*\"\nproduct = \"CIQ\"\nnumber = \"5116\"\nstatus = \"active\"\nas_of = \"2026-02-01\"\n";
        let of_vendor = toml.replace("number =", "vendor = \"CIQ, Inc.\"\nnumber =");
        let check = |toml: &str, evr: &str, expected: Verdict| {
            let mut facts = tree(&[]);
            let package = Package {
                name: "openssl-libs".into(),
                evr: evr.into(),
                vendor: "x".into(),
                summary: String::new(),
            };
            facts.packages = Some(Ok(vec![package]));
            assert_eq!(outcome_of(toml, &facts).result, expected, "{evr}");
        };
        check(toml, "3.0.7-27.el9.ciqfips.1", Pass);
        check(toml, "3.0.7-27.el9", Informational);
        check(&of_vendor, "3.0.7-27.el9.ciqfips.1", Informational);
    }

    #[test]
    fn self_tests_and_weaknesses() {
        let mut facts = tree(&[]);
        facts.live = true;
        facts.texts.insert(
            "/proc/crypto".into(),
            Ok(Some("driver : aes\nselftest : unknown\n".into())),
        );
        assert_eq!(
            outcome_of("kind = \"fips\"\nask = \"self_tests\"", &facts).result,
            Fail
        );
        let dir = "/sys/devices/system/cpu/vulnerabilities";
        facts.dirs.insert(dir.into(), Ok(Some(vec!["mds".into()])));
        facts.texts.insert(
            format!("{dir}/mds"),
            Ok(Some("Vulnerable: no microcode\n".into())),
        );
        assert_eq!(
            outcome_of("kind = \"kernel_facts\"\nvulnerabilities = true", &facts).result,
            Fail
        );
    }
}
