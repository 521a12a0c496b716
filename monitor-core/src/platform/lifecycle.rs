//! How long a release is supported: dates as data. (tidy: table)
//!
//! Dates are those of the vendors' pages, where marked as checked against a dated copy of them (endoflife.date's data,
//! Rocky Linux 10 also by `SUPPORT_END` in its os-release); the others are announcements: [`Dates::is_checked`] tells.

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
    /// Looked up at the vendor (state of 2026-11).
    pub is_checked: bool,
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

const fn dates(full_until: Date, security_until: Date, is_checked: bool) -> Dates {
    Dates {
        full_until,
        security_until,
        is_checked,
    }
}

/// Vendor (as policies name it), major release, dates.
const TABLE: &[(&str, u32, Dates)] = &[
    ("almalinux", 8, dates(date(2024, 5, 1), date(2029, 3, 1), true)),
    ("almalinux", 9, dates(date(2027, 5, 31), date(2032, 5, 31), true)),
    ("almalinux", 10, dates(date(2030, 5, 31), date(2035, 5, 31), true)),
    ("rocky", 8, dates(date(2024, 5, 31), date(2029, 5, 31), true)),
    ("rocky", 9, dates(date(2027, 5, 31), date(2032, 5, 31), true)),
    ("rocky", 10, dates(date(2030, 5, 31), date(2035, 5, 31), true)),
    // CIQ's long-term minors have contracts of their own; these are the dates of Rocky Linux itself.
    ("rocky-ciq", 8, dates(date(2024, 5, 31), date(2029, 5, 31), false)),
    ("rocky-ciq", 9, dates(date(2027, 5, 31), date(2032, 5, 31), false)),
    (
        "rocky-ciq",
        10,
        dates(date(2030, 5, 31), date(2035, 5, 31), false),
    ),
    ("rhel", 8, dates(date(2024, 5, 31), date(2029, 5, 31), true)),
    ("rhel", 9, dates(date(2027, 5, 31), date(2032, 5, 31), true)),
    // Only the end was found in a second place, not the end of full support.
    ("rhel", 10, dates(date(2030, 5, 31), date(2035, 5, 31), false)),
    // CentOS Linux and Stream share their ID: 8 is the Stream's date, which is the later one.
    (
        "centos-stream",
        8,
        dates(date(2024, 5, 31), date(2024, 5, 31), true),
    ),
    (
        "centos-stream",
        9,
        dates(date(2027, 5, 31), date(2027, 5, 31), true),
    ),
    // "Around 2030": it ends when RHEL 10 leaves full support.
    (
        "centos-stream",
        10,
        dates(date(2030, 1, 1), date(2030, 1, 1), false),
    ),
    // Premier Support knows no phases.
    ("oracle", 8, dates(date(2029, 7, 1), date(2029, 7, 1), true)),
    ("oracle", 9, dates(date(2032, 6, 30), date(2032, 6, 30), true)),
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
