//! Packages that another vendor or another release signed: what conversions and in-place upgrades leave behind, and
//! what add-on repositories bring.

use crate::platform::Vendor;
use std::fmt;

/// The release that packages are compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRelease {
    /// Vendor as pins name it: "almalinux", "centos", "oracle", "redhat", "rocky".
    pub vendor: String,
    /// EL major version.
    pub major: Option<u32>,
}

impl HostRelease {
    /// The release of a host; `None` if it is no Enterprise Linux.
    pub fn of(vendor: &Vendor, major: Option<u32>) -> Option<Self> {
        let vendor = match vendor {
            Vendor::AlmaLinux => "almalinux",
            Vendor::CentOs => "centos",
            Vendor::Oracle => "oracle",
            Vendor::Rhel => "redhat",
            Vendor::Rocky | Vendor::RockyCiq => "rocky",
            Vendor::Other(_) => return None,
        };
        Some(Self {
            vendor: vendor.to_owned(),
            major,
        })
    }
}

/// What a package says of where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Vendor of the pinned key that signed it.
    pub signer_vendor: &'a str,
    /// EL major releases the key signs for, separated by commas; empty means any.
    pub key_releases: &'a str,
    /// RELEASE of the package.
    pub release: &'a str,
}

/// Why a package is foreign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Foreign {
    /// Signed by the vendor of another distribution.
    OtherDistribution {
        /// The signer's vendor.
        signer: String,
    },
    /// Signed by the vendor of an add-on repository, or by the operator's own key.
    AddOn {
        /// The signer's vendor.
        signer: String,
    },
    /// The key does not sign for the host's release.
    KeyOfOtherRelease {
        /// EL major releases it signs for, separated by commas.
        releases: String,
    },
    /// Built for another release, by its dist tag.
    BuiltForOtherRelease {
        /// EL major release.
        major: u32,
    },
}

impl Foreign {
    /// A word for JSON.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::OtherDistribution { .. } => "other-distribution",
            Self::AddOn { .. } => "add-on",
            Self::KeyOfOtherRelease { .. } => "key-of-other-release",
            Self::BuiltForOtherRelease { .. } => "built-for-other-release",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherDistribution { signer } => write!(f, "signed by another distribution: {signer}"),
            Self::AddOn { signer } => write!(f, "add-on: signed by {signer}"),
            Self::KeyOfOtherRelease { releases } => write!(f, "its key signs for EL {releases}"),
            Self::BuiltForOtherRelease { major } => write!(f, "built for EL {major}"),
        }
    }
}

/// Vendors of distributions, as pins name them; every other vendor is an add-on. (tidy: table)
const DISTRIBUTIONS: [&str; 6] = ["almalinux", "centos", "oracle", "redhat", "redhat-beta", "rocky"];

/// Why a package is foreign on a host; empty if it is not.
pub fn foreign(origin: &Origin<'_>, host: &HostRelease) -> Vec<Foreign> {
    let mut reasons = Vec::new();
    if origin.signer_vendor != host.vendor {
        let signer = origin.signer_vendor.to_owned();
        reasons.push(if DISTRIBUTIONS.contains(&origin.signer_vendor) {
            Foreign::OtherDistribution { signer }
        } else {
            Foreign::AddOn { signer }
        });
    }
    let Some(major) = host.major else {
        return reasons;
    };
    let mut releases = origin
        .key_releases
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .peekable();
    if releases.peek().is_some() && !releases.any(|text| text.parse() == Ok(major)) {
        reasons.push(Foreign::KeyOfOtherRelease {
            releases: origin.key_releases.to_owned(),
        });
    }
    if let Some(built_for) = dist_tag_release(origin.release).filter(|built_for| *built_for != major) {
        reasons.push(Foreign::BuiltForOtherRelease { major: built_for });
    }
    reasons
}

/// The EL major release in a package's release: `9` of `4.el9_5.1` and of `3.module+el9.2.0+1`.
pub fn dist_tag_release(release: &str) -> Option<u32> {
    release.match_indices("el").find_map(|(at, _)| {
        let before = release.get(..at)?.chars().next_back();
        if !matches!(before, Some('.' | '+' | '_')) {
            return None;
        }
        let digits: String = release
            .get(at + 2..)?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        // el610 was once used for EL 6.10.
        digits.parse().ok().filter(|major| (1..=99).contains(major))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dist_tags() {
        let check = |release: &str, expected: Option<u32>| {
            assert_eq!(dist_tag_release(release), expected, "{release}");
        };
        check("11.el9", Some(9));
        check("13.20250207gitb202a2f.el10", Some(10));
        check("4.el8_6.4", Some(8));
        check("79.module+el8.3.0+645+12", Some(8));
        check("2.module_el8.4.0+520", Some(8));
        check("1.gitc776d3e.el8", Some(8));
        check("1.el8.remi", Some(8));
        check("1.model5", None);
        check("1.fc40", None);
        check("1.el", None);
        check("", None);
    }

    #[test]
    fn reasons() {
        let host = HostRelease::of(&Vendor::Rocky, Some(9)).unwrap();
        let check = |signer: &str, releases: &str, release: &str, expected: &[&str]| {
            let origin = Origin {
                signer_vendor: signer,
                key_releases: releases,
                release,
            };
            let found = foreign(&origin, &host);
            let words: Vec<&str> = found.iter().map(Foreign::word).collect();
            assert_eq!(words, expected, "{origin:?}");
            assert!(found.iter().all(|reason| !reason.to_string().is_empty()));
        };
        check("rocky", "9", "1.el9", &[]);
        check("rocky", "", "1", &[]);
        // After migrate2rocky.
        check("centos", "8,9", "1.el9", &["other-distribution"]);
        check("almalinux", "9", "1.el9_4", &["other-distribution"]);
        // After an in-place upgrade.
        check(
            "rocky",
            "8",
            "1.el8",
            &["key-of-other-release", "built-for-other-release"],
        );
        check("rocky", "8, 9", "1.el8", &["built-for-other-release"]);
        check("epel", "9", "1.el9", &["add-on"]);
        check("our company", "", "1", &["add-on"]);
        let unknown = HostRelease {
            vendor: "rocky".into(),
            major: None,
        };
        let origin = Origin {
            signer_vendor: "rocky",
            key_releases: "8",
            release: "1.el8",
        };
        assert!(foreign(&origin, &unknown).is_empty());
        assert_eq!(HostRelease::of(&Vendor::Other("debian".into()), Some(12)), None);
    }
}
