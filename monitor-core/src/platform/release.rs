//! Which distribution release this is, from os-release(5).

use std::fmt;

/// Who built the distribution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vendor {
    /// AlmaLinux OS Foundation.
    AlmaLinux,
    /// CentOS Stream (and the ended CentOS Linux).
    CentOs,
    /// Oracle Linux.
    Oracle,
    /// Red Hat Enterprise Linux.
    Rhel,
    /// Rocky Enterprise Software Foundation.
    Rocky,
    /// Rocky Linux from CIQ (RLC, LTS, Hardened).
    RockyCiq,
    /// Not an Enterprise Linux we know, by its `ID`.
    Other(String),
}

impl Vendor {
    /// Stable name, as policy layers and records use it.
    pub fn name(&self) -> &str {
        match self {
            Self::AlmaLinux => "almalinux",
            Self::CentOs => "centos-stream",
            Self::Oracle => "oracle",
            Self::Rhel => "rhel",
            Self::Rocky => "rocky",
            Self::RockyCiq => "rocky-ciq",
            Self::Other(id) => id,
        }
    }

    /// True for the Enterprise Linux family.
    pub const fn is_el(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A distribution release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Who built it.
    pub vendor: Vendor,
    /// `NAME`.
    pub name: String,
    /// `VERSION_ID`, e.g. `9.6`.
    pub version: String,
    /// Major version, if `VERSION_ID` starts with a number.
    pub major: Option<u32>,
    /// Minor version; `None` where there is none (CentOS Stream).
    pub minor: Option<u32>,
    /// `PRETTY_NAME`, or name and version.
    pub pretty: String,
    /// `PLATFORM_ID`, e.g. `platform:el9`.
    pub platform_id: Option<String>,
    /// `ID_LIKE`, split.
    pub like: Vec<String>,
}

impl Release {
    /// Reads os-release. Never fails: what is missing is empty, an unknown `ID` is [`Vendor::Other`].
    pub fn parse(os_release: &str) -> Self {
        let id = value(os_release, "ID").unwrap_or_default();
        let name = value(os_release, "NAME").unwrap_or_default();
        let version = value(os_release, "VERSION_ID").unwrap_or_default();
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
        let major = numbers.next().flatten();
        let minor = numbers.next().flatten();
        let pretty =
            value(os_release, "PRETTY_NAME").unwrap_or_else(|| format!("{name} {version}").trim().to_owned());
        let vendor = match id.as_str() {
            "almalinux" => Vendor::AlmaLinux,
            "centos" => Vendor::CentOs,
            "ol" => Vendor::Oracle,
            "rhel" => Vendor::Rhel,
            "rocky" if names_ciq(os_release) => Vendor::RockyCiq,
            "rocky" => Vendor::Rocky,
            _ => Vendor::Other(if id.is_empty() { "unknown".to_owned() } else { id }),
        };
        Self {
            vendor,
            name,
            version,
            major,
            minor,
            pretty,
            platform_id: value(os_release, "PLATFORM_ID"),
            like: value(os_release, "ID_LIKE")
                .unwrap_or_default()
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect(),
        }
    }

    /// EL major version, if this is an Enterprise Linux that Hardpan supports (8, 9, 10).
    pub fn supported_el(&self) -> Option<u32> {
        self.major
            .filter(|major| self.vendor.is_el() && (8..=10).contains(major))
    }
}

/// CIQ's builds keep `ID=rocky`; their name or support address tells.
fn names_ciq(os_release: &str) -> bool {
    ["NAME", "PRETTY_NAME", "VENDOR_NAME", "SUPPORT_URL", "HOME_URL"]
        .iter()
        .filter_map(|key| value(os_release, key))
        .any(|text| {
            text.split(|c: char| !c.is_ascii_alphanumeric())
                .any(|word| word.eq_ignore_ascii_case("ciq"))
        })
}

/// Value of a key: the last assignment wins, quotes and backslash escapes as a shell reads them.
pub fn value(os_release: &str, key: &str) -> Option<String> {
    os_release
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix('='))
        .next_back()
        .map(unquote)
}

fn unquote(raw: &str) -> String {
    let raw = raw.trim_end();
    let inner = |quote: char| raw.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(literal) = inner('\'') {
        return literal.to_owned();
    }
    let raw = inner('"').unwrap_or(raw);
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, vendor: &Vendor, major: Option<u32>, minor: Option<u32>) {
        let release = Release::parse(text);
        assert_eq!(
            (&release.vendor, release.major, release.minor),
            (vendor, major, minor),
            "{text}"
        );
    }

    #[test]
    fn vendors_and_versions() {
        check(
            "NAME=\"AlmaLinux\"\nID=\"almalinux\"\nVERSION_ID=\"8.9\"\n",
            &Vendor::AlmaLinux,
            Some(8),
            Some(9),
        );
        check(
            "ID=\"rocky\"\nVERSION_ID=\"9.6\"",
            &Vendor::Rocky,
            Some(9),
            Some(6),
        );
        check("ID=rhel\nVERSION_ID='10.0'", &Vendor::Rhel, Some(10), Some(0));
        check("ID=\"centos\"\nVERSION_ID=\"9\"", &Vendor::CentOs, Some(9), None);
        check(
            "ID=\"ol\"\nVERSION_ID=\"8.10\"",
            &Vendor::Oracle,
            Some(8),
            Some(10),
        );
        check(
            "NAME=\"Rocky Linux from CIQ\"\nID=rocky\nVERSION_ID=9.4",
            &Vendor::RockyCiq,
            Some(9),
            Some(4),
        );
        check(
            "ID=debian\nVERSION_ID=\"12\"",
            &Vendor::Other("debian".into()),
            Some(12),
            None,
        );
        check("", &Vendor::Other("unknown".into()), None, None);
    }

    #[test]
    fn supported() {
        let el = |text| Release::parse(text).supported_el();
        assert_eq!(el("ID=rhel\nVERSION_ID=9.2"), Some(9));
        assert_eq!(el("ID=rhel\nVERSION_ID=7.9"), None);
        assert_eq!(el("ID=debian\nVERSION_ID=9"), None);
    }

    #[test]
    fn quoting_and_repeats() {
        assert_eq!(
            value("A=1\n A=\"x \\\"y\\\"\"\nAB=3", "A").as_deref(),
            Some("x \"y\"")
        );
        assert_eq!(value("A='a\\b'", "A").as_deref(), Some("a\\b"));
        assert_eq!(value("A=", "A").as_deref(), Some(""));
        assert_eq!(value("A=\"", "A").as_deref(), Some("\""));
        assert_eq!(value("#A=1", "A"), None);
    }
}
