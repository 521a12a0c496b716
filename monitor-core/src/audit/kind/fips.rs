//! The FIPS report: what the host really runs, and what is certified of it.

use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::{Outcome, Verdict};
use super::super::parse::boot::{arguments, value};
use super::fips_modules::{self, Certificate};
use crate::platform::fips_overlay;
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

impl Fips {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        match self.ask {
            FipsQuestion::BootEntries => boot_entries(ctx),
            FipsQuestion::Policy => policy(ctx),
            FipsQuestion::SelfTests => self_tests(ctx),
            FipsQuestion::HmacFiles => hmac_files(ctx),
            FipsQuestion::Modules => fips_modules::modules(&self.certificates, ctx),
            FipsQuestion::OtherCrypto => fips_modules::other(&self.packages, ctx),
        }
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

/// Sub-policies that take nothing of FIPS back. (NO-ENFORCE-EMS does, for TLS 1.2.)
const TIGHTENING: [&str; 4] = ["OSPP", "STIG", "NO-SHA1", "NO-CAMELLIA"];

fn policy(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::start();
    let current = ctx
        .text("/etc/crypto-policies/state/current")?
        .unwrap_or_default()
        .trim();
    let mounted = match ctx.text("/proc/self/mountinfo") {
        Ok(text) => fips_overlay(text.unwrap_or_default()),
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
    for module in current.split(':').skip(1).filter(|_| mounted.is_none()) {
        outcome.expect(
            TIGHTENING.contains(&module),
            "/etc/crypto-policies/state/current",
            format!("sub-policies that only tighten ({})", TIGHTENING.join(", ")),
            format!("{module}, which may allow again what FIPS does not"),
        );
    }
    Ok(outcome.because(format!("crypto policy {current}")))
}

fn self_tests(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    const MODE: &str = "/proc/sys/crypto/fips_enabled";
    ctx.prefetch([MODE, "/proc/crypto"].map(|path| Want::Text(path.to_owned())));
    let mut outcome = Outcome::start();
    let is_fips = ctx.text(MODE)?.is_some_and(|text| text.trim() == "1");
    let text = ctx
        .text("/proc/crypto")?
        .ok_or_else(|| Stop::unreadable("/proc/crypto", "no such file"))?;
    let (mut driver, mut count, mut withheld) = ("", 0, 0);
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        match (key.trim(), value.trim()) {
            ("driver", name) => driver = name,
            ("selftest", "passed") => count += 1,
            // The kernel refuses to test what it does not allow in FIPS mode, and hands out nothing untested. A test that
            // fails stops it.
            ("selftest", "unknown") if is_fips => {
                withheld += 1;
                outcome.note(
                    format!("/proc/crypto {driver}"),
                    "not allowed in FIPS mode, not tested and not handed out",
                );
            }
            ("selftest", other) => {
                count += 1;
                outcome.expect(false, format!("/proc/crypto {driver}"), "passed", other);
            }
            _ => {}
        }
    }
    if count == 0 {
        return Err(Stop::unreadable("/proc/crypto", "names no algorithm"));
    }
    let passed = format!("{count} algorithms passed their self tests");
    Ok(outcome.because(if withheld > 0 {
        format!("{passed}; {withheld} are withheld in FIPS mode")
    } else {
        passed
    }))
}

/// Libraries of crypto modules, and the files that may hold their integrity values.
const LIBRARIES: [(&str, &[&str]); 8] = [
    ("/usr/lib64/ossl-modules/fips.so", &[]),
    (
        "/usr/lib64/libcrypto.so.1.1",
        &["/usr/lib64/.libcrypto.so.1.1.hmac"],
    ),
    ("/usr/lib64/libssl.so.1.1", &["/usr/lib64/.libssl.so.1.1.hmac"]),
    (
        "/usr/lib64/libgcrypt.so.20",
        &["/usr/lib64/.libgcrypt.so.20.hmac"],
    ),
    (
        "/usr/lib64/libgnutls.so.30",
        &["/usr/lib64/.libgnutls.so.30.hmac", "/usr/lib64/.gnutls.hmac"],
    ),
    ("/usr/lib64/libfreeblpriv3.so", &["/usr/lib64/libfreeblpriv3.chk"]),
    ("/usr/lib64/libsoftokn3.so", &["/usr/lib64/libsoftokn3.chk"]),
    (
        "/usr/lib64/libkcapi.so.1",
        &[
            "/usr/lib64/.libkcapi.so.1.hmac",
            "/usr/lib64/fipscheck/libkcapi.so.1.hmac",
        ],
    ),
];

fn hmac_files(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::start();
    let kernels = ctx.glob("/boot/vmlinuz-*")?;
    let wanted: Vec<String> = kernels
        .iter()
        .map(|path| path.replace("/boot/vmlinuz-", "/boot/.vmlinuz-") + ".hmac")
        .collect();
    ctx.prefetch(
        wanted
            .iter()
            .map(String::as_str)
            .chain(
                LIBRARIES
                    .iter()
                    .flat_map(|(library, files)| files.iter().chain([library]))
                    .copied(),
            )
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
    for (library, files) in LIBRARIES {
        if ctx.stat(library)?.is_none() {
            continue;
        }
        let mut there = Vec::new();
        for file in files {
            if ctx.stat(file)?.is_some() {
                there.push(*file);
            }
        }
        match there.first() {
            Some(file) => outcome.note(*file, "there"),
            None if files.is_empty() => outcome.note(library, "carries its integrity value inside"),
            // Of EL 9 on some libraries carry it inside; which do cannot be told from outside.
            None => outcome.note(
                library,
                format!(
                    "no {}; the integrity value may lie inside the library",
                    files.join(" nor ")
                ),
            ),
        }
    }
    if kernels.is_empty() {
        // Of the libraries alone nothing is asked: that must not read as a pass.
        outcome.result = Verdict::NotApplicable;
        return Ok(outcome.because("no kernel image in /boot: a container image, or kernels kept elsewhere"));
    }
    Ok(outcome.because("every kernel image has its integrity file"))
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Error, Fail, NotApplicable, Pass};
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
            let over = root.map_or_else(String::new, |root| {
                format!("41 22 253:0 {root} /etc/crypto-policies/back-ends rw - xfs /dev/vda2 rw\n")
            });
            let mounts = format!("22 1 253:0 / / rw - xfs /dev/vda2 rw\n{over}");
            facts
                .texts
                .insert("/proc/self/mountinfo".into(), Ok(Some(mounts.into())));
            let outcome = outcome_of("kind = \"fips\"\nask = \"policy\"", &facts);
            assert_eq!(outcome.result, expected, "{root:?} {current}\n{outcome:?}");
        };
        check(None, "FIPS", Pass);
        check(None, "FIPS:OSPP", Pass);
        check(None, "FIPS:NO-ENFORCE-EMS", Fail);
        check(None, "FIPS:OSPP:SITE", Fail);
        check(None, "DEFAULT", Fail);
        check(Some("/usr/share/crypto-policies/back-ends/FIPS"), "DEFAULT", Pass);
        check(Some("/usr/share/crypto-policies/back-ends/LEGACY"), "FIPS", Fail);
        check(Some("/tmp/x"), "FIPS", Fail);
        check(Some("/tmp/share/crypto-policies/back-ends/FIPS"), "FIPS", Fail);
    }

    #[test]
    fn self_tests_must_have_passed() {
        let mut facts = tree(&[]);
        facts.live = true;
        let mut check = |fips: &str, text: &str, expected: Verdict| {
            facts
                .texts
                .insert("/proc/sys/crypto/fips_enabled".into(), Ok(Some(fips.into())));
            facts.texts.insert("/proc/crypto".into(), Ok(Some(text.into())));
            assert_eq!(
                outcome_of("kind = \"fips\"\nask = \"self_tests\"", &facts).result,
                expected,
                "{fips} {text}"
            );
        };
        check("1\n", "driver : aes\nselftest : passed\n", Pass);
        check("0\n", "driver : aes\nselftest : unknown\n", Fail);
        // As Linux 6.12 shows DRBGs with SHA-384.
        let withheld = "driver : aes\nselftest : passed\n\ndriver : drbg\nselftest : unknown\n";
        check("1\n", withheld, Pass);
        check("0\n", withheld, Fail);
        check("1\n", "driver : aes\nselftest : failed\n", Fail);
        check("1\n", "driver : drbg\nselftest : unknown\n", Error);
        check("1\n", "", Error);
    }

    #[test]
    fn every_kernel_has_its_integrity_file() {
        let check = |files: &[(&str, &str)], expected: Verdict| {
            let outcome = outcome_of("kind = \"fips\"\nask = \"hmac_files\"", &tree(files));
            assert_eq!(outcome.result, expected, "{outcome:?}");
        };
        let (kernel, hmac) = (("/boot/vmlinuz-5", "x"), ("/boot/.vmlinuz-5.hmac", "x"));
        check(&[kernel, hmac], Pass);
        check(&[kernel], Fail);
        check(&[("/usr/lib64/libgcrypt.so.20", "x")], NotApplicable);
    }
}
