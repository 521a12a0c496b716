//! Crypto modules of the FIPS report, what is known of their certificates, and programs that bring other crypto.

use super::super::facts::{Ctx, Package, Stop, Tool, wildcard};
use super::super::outcome::{Outcome, Verdict};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// A certificate, as dated data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Package that holds the module.
    pub package: String,
    /// Version-release pattern (without epoch) that the certificate names; `*` is a wildcard.
    pub builds: String,
    /// Vendor and product.
    pub product: String,
    /// Whose builds it names, as rpm's vendor tag has it; empty where the release itself tells. The same version rebuilt
    /// by somebody else is not on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vendor: String,
    /// What the module calls itself (OpenSSL's provider), where the certificate names that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub module_version: String,
    /// Certificate number; empty if there is none or it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub number: String,
    /// `140-2` or `140-3`, where known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub standard: String,
    /// What the source says of it.
    pub status: Status,
    /// Last day as active, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// Date of this knowledge.
    pub as_of: Date,
    /// Who says so.
    pub source: String,
}

/// Standing of a validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On the list of validated modules.
    Active,
    /// Submitted, not yet validated.
    InProcess,
    /// On the historical list: for existing systems only.
    Historical,
    /// A certificate or a policy paper is known, its standing is not.
    Unverified,
    /// No certificate is known.
    NoneKnown,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::InProcess => "in process",
            Self::Historical => "historical",
            Self::Unverified => "standing not verified",
            Self::NoneKnown => "no certificate known",
        }
    }
}

/// FIPS 140-2 certificates went to the historical list on the day after.
const LAST_140_2: Date = jiff::civil::date(2026, 9, 21);

impl Certificate {
    fn matches(&self, package: &Package) -> bool {
        let evr = package
            .evr
            .split_once(':')
            .map_or(package.evr.as_str(), |(_epoch, rest)| rest);
        self.package == package.name && wildcard(&self.builds, evr)
    }

    fn of_vendor(&self, package: &Package) -> bool {
        self.vendor.is_empty() || self.vendor == package.vendor
    }

    /// Its standing on a day: what was active may have run out since.
    fn status_on(&self, today: Option<Date>) -> Status {
        let until = match (self.until, self.standard.as_str()) {
            (Some(until), "140-2") => Some(until.min(LAST_140_2)),
            (None, "140-2") => Some(LAST_140_2),
            (until, _) => until,
        };
        match (self.status, until, today) {
            (Status::Active | Status::Unverified, Some(until), Some(today)) if today > until => {
                Status::Historical
            }
            (status, _, _) => status,
        }
    }

    fn describe(&self, today: Option<Date>) -> String {
        let part = |begin: &str, what: &str, end: &str| {
            if what.is_empty() {
                String::new()
            } else {
                format!("{begin}{what}{end}")
            }
        };
        let until = self.until.map(|until| until.to_string()).unwrap_or_default();
        [
            self.product.clone(),
            part(", certificate ", &self.number, ""),
            part(" (FIPS ", &self.standard, ")"),
            part(", ", self.status_on(today).word(), ""),
            part(", until ", &until, ""),
            format!("; as of {} ({})", self.as_of, self.source),
        ]
        .concat()
    }
}

/// The crypto modules that count, with what is known about their builds.
pub(super) fn modules(certificates: &[Certificate], ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    let today = ctx.facts.today.and_then(day);
    let mut outcome = Outcome::start();
    let mut open = 0;
    for package in ctx.packages()? {
        if !certificates.iter().any(|known| known.package == package.name) {
            continue;
        }
        let vendor = if package.vendor.is_empty() {
            "no vendor"
        } else {
            &package.vendor
        };
        let shown = format!("{}-{} ({vendor})", package.name, package.evr);
        let named: Vec<&Certificate> = certificates
            .iter()
            .filter(|known| known.matches(package))
            .collect();
        let own = named.iter().find(|known| known.of_vendor(package));
        match (own, named.first()) {
            (Some(known), _) if known.status_on(today) == Status::Active => {
                let found = known.describe(today);
                outcome.expect(true, shown, "a build that an active certificate names", found);
                continue;
            }
            (Some(known), _) => outcome.note(shown, known.describe(today)),
            (None, Some(known)) => outcome.note(
                shown,
                format!(
                    "a rebuild of what {} has validated ({}), and not on that vendor's certificate",
                    known.vendor,
                    known.describe(today)
                ),
            ),
            (None, None) => outcome.note(
                shown,
                "no certificate known for this build; a vendor's certificate covers that vendor's builds only, not rebuilds of the same version",
            ),
        }
        open += 1;
    }
    provider(certificates, ctx, today, &mut outcome)?;
    if open > 0 {
        outcome.result = Verdict::Informational;
        return Ok(outcome.because(format!(
            "{open} crypto modules run builds without an active certificate in the list; ask the vendor and NIST's list of validated modules"
        )));
    }
    Ok(outcome.because("every crypto module is a build that an active certificate names"))
}

/// What OpenSSL's FIPS provider calls itself: the module's version is what a certificate names.
fn provider(
    certificates: &[Certificate],
    ctx: &Ctx<'_>,
    today: Option<Date>,
    outcome: &mut Outcome,
) -> Result<(), Stop> {
    let text = match ctx.output(Tool::OpensslProviders) {
        Ok(Some(text)) => text,
        Ok(None) | Err(Stop::Offline) => return Ok(()),
        Err(stop) => return Err(stop),
    };
    let Some(active) = fips_provider(text) else {
        outcome.note(Tool::OpensslProviders.name(), "no FIPS provider is active");
        return Ok(());
    };
    outcome.note(Tool::OpensslProviders.name(), active.join(", "));
    let version = active
        .iter()
        .find_map(|line| line.strip_prefix("version:"))
        .unwrap_or_default()
        .trim();
    let named = certificates
        .iter()
        .find(|known| !version.is_empty() && known.module_version == version);
    outcome.note(
        format!("OpenSSL FIPS provider {version}"),
        named.map_or_else(
            || "no certificate known for this version of the module".to_owned(),
            |known| known.describe(today),
        ),
    );
    Ok(())
}

/// Lines about OpenSSL's FIPS provider in `openssl list -providers`.
fn fips_provider(text: &str) -> Option<Vec<&str>> {
    let mut found: Option<Vec<&str>> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if indent <= 2 {
            found = match found {
                None if line == "fips" => Some(Vec::new()),
                None => None,
                done => return done,
            };
        } else if let Some(parts) = &mut found {
            parts.push(line);
        }
    }
    found
}

fn day(days: i64) -> Option<Date> {
    let days = i32::try_from(days).ok()?;
    jiff::civil::date(1970, 1, 1)
        .checked_add(jiff::Span::new().try_days(days).ok()?)
        .ok()
}

/// Programs with crypto of their own, by package; Hardpan's is among them.
pub(super) fn other(packages: &[String], ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::of(
        Verdict::Informational,
        "FIPS mode of the host does not reach programs that bring their own crypto; this list is not complete",
    );
    for package in ctx.packages()? {
        if packages.iter().any(|pattern| wildcard(pattern, &package.name)) {
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

#[cfg(test)]
mod tests {
    use super::super::super::testkit::{outcome_of, tree};
    use super::*;
    use Verdict::{Informational, Pass};

    #[test]
    fn the_active_provider_is_read() {
        let text = "Providers:\n  default\n    name: OpenSSL Default Provider\n    status: active\n  fips\n    name: Red Hat Enterprise Linux 9 - OpenSSL FIPS Provider\n    version: 3.0.7-395c1a240fbfffd8\n    status: active\n";
        assert_eq!(
            fips_provider(text).unwrap(),
            [
                "name: Red Hat Enterprise Linux 9 - OpenSSL FIPS Provider",
                "version: 3.0.7-395c1a240fbfffd8",
                "status: active"
            ]
        );
        assert_eq!(fips_provider("Providers:\n  default\n    status: active\n"), None);
    }

    const KNOWN: &str = r#"kind = "fips"
ask = "modules"
[[certificates]]
package = "openssl-libs"
builds = "3.0.7-27*"
vendor = "Red Hat, Inc."
module_version = "3.0.7-395c"
product = "RHEL"
number = "4857"
standard = "140-3"
status = "active"
until = "2029-10-28"
as_of = "2026-10-09"
source = "the vendor's page"
[[certificates]]
package = "openssl-libs"
builds = "*ciqfips*"
product = "CIQ"
number = "5116"
status = "active"
as_of = "2026-02-01"
source = "the vendor's page"
[[certificates]]
package = "openssl-libs"
builds = "1.1.1*"
vendor = "Red Hat, Inc."
product = "RHEL 8"
number = "1"
standard = "140-2"
status = "active"
as_of = "2026-02-01"
source = "the vendor's page"
"#;

    #[track_caller]
    fn check(evr: &str, vendor: &str, on: &str, expected: Verdict, says: &str) {
        let mut facts = tree(&[]);
        let today: Date = on.parse().unwrap();
        let days = jiff::civil::date(1970, 1, 1).until(today).unwrap().get_days();
        facts.today = Some(days.into());
        facts.packages = Some(Ok(vec![Package {
            name: "openssl-libs".into(),
            evr: evr.into(),
            vendor: vendor.into(),
            summary: String::new(),
        }]));
        let outcome = outcome_of(KNOWN, &facts);
        assert_eq!(outcome.result, expected, "{outcome:?}");
        assert!(outcome.evidence[0].found.contains(says), "{outcome:?}");
    }

    #[test]
    fn a_rebuild_is_not_on_the_vendors_certificate() {
        let (red_hat, today) = ("Red Hat, Inc.", "2026-11-22");
        check(
            "1:3.0.7-27.el9",
            red_hat,
            today,
            Pass,
            "certificate 4857 (FIPS 140-3), active",
        );
        check(
            "1:3.0.7-27.el9",
            "Rocky",
            today,
            Informational,
            "a rebuild of what Red Hat, Inc.",
        );
        // The release names the vendor whose build it is; another vendor's pattern for the same version is no obstacle.
        check(
            "1:3.0.7-27.el9_6ciqfips.1",
            "CIQ",
            today,
            Pass,
            "CIQ, certificate 5116",
        );
        check(
            "1:3.2.2-6.el9",
            red_hat,
            today,
            Informational,
            "no certificate known for this build",
        );
    }

    #[test]
    fn what_was_active_runs_out() {
        let red_hat = "Red Hat, Inc.";
        check("1:3.0.7-27.el9", red_hat, "2029-10-28", Pass, "active");
        check(
            "1:3.0.7-27.el9",
            red_hat,
            "2029-10-29",
            Informational,
            "historical",
        );
        check("1:1.1.1k-12.el8", red_hat, "2026-09-21", Pass, "active");
        check(
            "1:1.1.1k-12.el8",
            red_hat,
            "2026-09-22",
            Informational,
            "historical",
        );
    }

    #[test]
    fn the_module_s_own_version_counts() {
        for (version, says) in [
            ("3.0.7-395c", "certificate 4857"),
            ("3.0.7-cda1", "no certificate known for this version"),
        ] {
            let mut facts = tree(&[]);
            facts.live = true;
            facts.packages = Some(Ok(Vec::new()));
            let text = format!("Providers:\n  fips\n    version: {version}\n    status: active\n");
            facts
                .outputs
                .insert(Tool::OpensslProviders, Ok(Some(text.as_str().into())));
            let outcome = outcome_of(KNOWN, &facts);
            let last = outcome.evidence.last().unwrap();
            assert!(last.found.contains(says), "{outcome:?}");
        }
    }
}
