//! How long a release is supported: dates as data. (tidy: table)
//!
//! Each row says where its dates come from and of when that is. A date that nobody published is [`Basis::Expected`]: it
//! follows from a rule of the vendor's, and nothing is claimed to have ended by it.

use super::{Release, Vendor};
use jiff::civil::{Date, date};
use std::fmt;

/// Support dates of one release of one vendor. Support ends with the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// Last day with new features and hardware support.
    pub full_until: Date,
    /// Last day with security updates.
    pub security_until: Date,
    /// What the dates are worth.
    pub basis: Basis,
    /// Where they were found, and of when that is.
    pub source: &'static str,
}

/// What dates are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The vendor published both.
    Published,
    /// They follow from what the vendor said about other releases or in years.
    Expected,
}

impl Basis {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Expected => "expected",
        }
    }
}

/// Where a release stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Features, hardware, bug and security fixes.
    Full,
    /// Security fixes only.
    SecurityOnly,
    /// No fixes at all.
    EndOfLife,
}

impl Phase {
    /// The phase's name in records and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full-support",
            Self::SecurityOnly => "security-only",
            Self::EndOfLife => "end-of-life",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// endoflife.date takes RHEL's dates from Red Hat's life-cycle interface.
const RED_HAT: &str =
    "access.redhat.com/support/policy/updates/errata by way of endoflife.date, as of 2026-05";
const CENTOS: &str = "centos.org by way of endoflife.date, as of 2024-12";
const STREAM_10: &str = "centos.org names only the year 2030: Stream ends when RHEL 10 leaves full support (endoflife.date, as of 2026-07)";
const ALMALINUX: &str = "almalinux.org by way of endoflife.date, as of 2025-05";
const ROCKY: &str = "wiki.rockylinux.org/rocky/version by way of endoflife.date, as of 2025-06";
const ROCKY_10: &str = "SUPPORT_END in the release's os-release, as of 2025-06";
const CIQ: &str =
    "Rocky Linux's own dates: CIQ publishes none beside contracts for single minors, as of 2026-11";
const ORACLE: &str = "Oracle's lifetime support policy by way of endoflife.date, as of 2023-11";
const ORACLE_10: &str = "ten years of Premier Support, as for the releases before; Oracle's policy did not list it, as of 2025-06";

const fn published(full_until: Date, security_until: Date, source: &'static str) -> Dates {
    Dates {
        full_until,
        security_until,
        basis: Basis::Published,
        source,
    }
}

const fn expected(full_until: Date, security_until: Date, source: &'static str) -> Dates {
    Dates {
        full_until,
        security_until,
        basis: Basis::Expected,
        source,
    }
}

/// Vendor (as policies name it), major release, dates.
#[rustfmt::skip]
const TABLE: &[(&str, u32, Dates)] = &[
    ("almalinux", 8, published(date(2024, 5, 1), date(2029, 3, 1), ALMALINUX)),
    ("almalinux", 9, published(date(2027, 5, 31), date(2032, 5, 31), ALMALINUX)),
    ("almalinux", 10, published(date(2030, 5, 31), date(2035, 5, 31), ALMALINUX)),
    ("rocky", 8, published(date(2024, 5, 31), date(2029, 5, 31), ROCKY)),
    ("rocky", 9, published(date(2027, 5, 31), date(2032, 5, 31), ROCKY)),
    ("rocky", 10, published(date(2030, 5, 31), date(2035, 5, 31), ROCKY_10)),
    ("rocky-ciq", 8, expected(date(2024, 5, 31), date(2029, 5, 31), CIQ)),
    ("rocky-ciq", 9, expected(date(2027, 5, 31), date(2032, 5, 31), CIQ)),
    ("rocky-ciq", 10, expected(date(2030, 5, 31), date(2035, 5, 31), CIQ)),
    ("rhel", 8, published(date(2024, 5, 31), date(2029, 5, 31), RED_HAT)),
    ("rhel", 9, published(date(2027, 5, 31), date(2032, 5, 31), RED_HAT)),
    ("rhel", 10, published(date(2030, 5, 31), date(2035, 5, 31), RED_HAT)),
    // CentOS Linux and Stream share their ID: 8 is the Stream's date, which is the later one.
    ("centos-stream", 8, published(date(2024, 5, 31), date(2024, 5, 31), CENTOS)),
    ("centos-stream", 9, published(date(2027, 5, 31), date(2027, 5, 31), CENTOS)),
    ("centos-stream", 10, expected(date(2030, 5, 31), date(2030, 5, 31), STREAM_10)),
    // Premier Support knows no phases.
    ("oracle", 8, published(date(2029, 7, 1), date(2029, 7, 1), ORACLE)),
    ("oracle", 9, published(date(2032, 6, 30), date(2032, 6, 30), ORACLE)),
    ("oracle", 10, expected(date(2035, 6, 30), date(2035, 6, 30), ORACLE_10)),
];

/// The dates of a release, if they are known.
pub fn dates_of(vendor: &Vendor, major: u32) -> Option<Dates> {
    TABLE
        .iter()
        .find(|(name, release, _)| *name == vendor.name() && *release == major)
        .map(|(_, _, dates)| *dates)
}

/// Where a release stands on a day; `None` if its dates are not known.
pub fn phase(release: &Release, today: Date) -> Option<Phase> {
    let dates = dates_of(&release.vendor, release.major?)?;
    Some(if today <= dates.full_until {
        Phase::Full
    } else if today <= dates.security_until {
        Phase::SecurityOnly
    } else {
        Phase::EndOfLife
    })
}

/// The sentence about a release that has ended; one about an expected date says so.
pub fn ended(pretty: &str, dates: &Dates) -> String {
    let until = dates.security_until;
    match dates.basis {
        Basis::Published => format!("{pretty} has had no security updates since {until}"),
        Basis::Expected => {
            format!("{pretty} was expected to get security updates until {until}: ask its vendor")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(os_release: &str, today: Date, expected: Option<Phase>) {
        assert_eq!(
            phase(&Release::parse(os_release), today),
            expected,
            "{os_release} on {today}"
        );
    }

    #[test]
    fn phases_change_the_day_after() {
        let alma8 = "ID=almalinux\nVERSION_ID=8.10\n";
        check(alma8, date(2024, 5, 1), Some(Phase::Full));
        check(alma8, date(2024, 5, 2), Some(Phase::SecurityOnly));
        check(alma8, date(2029, 3, 1), Some(Phase::SecurityOnly));
        check(alma8, date(2029, 3, 2), Some(Phase::EndOfLife));
        check(
            "ID=rocky\nVERSION_ID=9.6\n",
            date(2026, 11, 22),
            Some(Phase::Full),
        );
        check(
            "ID=centos\nVERSION_ID=8\n",
            date(2026, 11, 22),
            Some(Phase::EndOfLife),
        );
        check("ID=ol\nVERSION_ID=9.6\n", date(2026, 11, 22), Some(Phase::Full));
        check("ID=ol\nVERSION_ID=11.0\n", date(2026, 11, 22), None);
        check("ID=debian\nVERSION_ID=12\n", date(2026, 11, 22), None);
    }

    #[test]
    fn the_table_is_in_order() {
        for (vendor, major, dates) in TABLE {
            assert!(dates.full_until <= dates.security_until, "{vendor} {major}");
            assert!(dates.source.contains("as of 20"), "{vendor} {major}: of when?");
        }
        for (n, (vendor, major, _)) in TABLE.iter().enumerate() {
            let twin = TABLE
                .iter()
                .skip(n + 1)
                .any(|(other, release, _)| (other, release) == (vendor, major));
            assert!(!twin, "{vendor} {major} twice");
        }
    }
}
