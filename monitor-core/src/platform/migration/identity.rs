//! What a monitor that lived through an upgrade must learn anew: [`rebaseline`].

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of [`HostIdentity`] as it is stored.
pub const IDENTITY_VERSION: u32 = 1;

/// What a host was when the monitor last looked. Kept in its state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// [`IDENTITY_VERSION`].
    pub version: u32,
    /// Vendor, as policies name it.
    pub vendor: String,
    /// `VERSION_ID`.
    pub release: String,
    /// `uname -r`.
    pub kernel: String,
    /// Where the package database lies.
    pub rpmdb: String,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a stored identity cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Not JSON of the right shape.
    #[error("the stored identity of the host cannot be read")]
    Malformed(#[source] serde_json::Error),
    /// Written by another version of the program.
    #[error("the stored identity of the host has version {0}, not {IDENTITY_VERSION}")]
    Version(u32),
}

impl HostIdentity {
    /// Reads a stored identity.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        // The version first: what another one has beside it is not known.
        let Versioned { version } = serde_json::from_str(text).map_err(IdentityError::Malformed)?;
        if version != IDENTITY_VERSION {
            return Err(IdentityError::Version(version));
        }
        serde_json::from_str(text).map_err(IdentityError::Malformed)
    }
}

/// What must be learned anew, and the sentence for the one record about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebaseline {
    /// The kernel differs: text hashes, offsets, probes, attached programs.
    pub kernel: bool,
    /// Release, vendor or database differ: trust index, keys, policy layers.
    pub trust: bool,
    /// For the record.
    pub message: String,
}

/// Compares what a host was with what it is. `None` if everything learned still holds.
pub fn rebaseline(before: &HostIdentity, now: &HostIdentity) -> Option<Rebaseline> {
    let parts = [
        ("vendor", &before.vendor, &now.vendor),
        ("release", &before.release, &now.release),
        ("kernel", &before.kernel, &now.kernel),
        ("package database", &before.rpmdb, &now.rpmdb),
    ];
    let changes: Vec<String> = parts
        .iter()
        .filter(|(_, before, now)| before != now)
        .map(|(what, before, now)| format!("{what} {before} -> {now}"))
        .collect();
    if changes.is_empty() {
        return None;
    }
    let kernel = before.kernel != now.kernel;
    let trust = (&before.vendor, &before.release, &before.rpmdb) != (&now.vendor, &now.release, &now.rpmdb);
    Some(Rebaseline {
        kernel,
        trust,
        message: format!("baseline renewed: {}{}", changes.join(", "), anew(kernel, trust)),
    })
}

/// What is made anew where the stored identity cannot be compared with: in doubt everything.
pub fn rebuilt(why: &IdentityError) -> Rebaseline {
    Rebaseline {
        kernel: true,
        trust: true,
        message: format!(
            "baseline renewed: {why}; whether the host was upgraded meanwhile is not known{}",
            anew(true, true)
        ),
    }
}

/// What does not hold any more, as the end of a sentence.
fn anew(kernel: bool, trust: bool) -> String {
    let parts = [
        (kernel, "the kernel's offsets, probes and programs"),
        (trust, "trusted digests, policy layers and the audit's baseline"),
    ];
    let parts: Vec<&str> = parts
        .iter()
        .filter(|(is_anew, _)| *is_anew)
        .map(|(_, what)| *what)
        .collect();
    format!("; learned anew: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgraded_host_is_learned_anew_once() {
        let before = HostIdentity {
            version: IDENTITY_VERSION,
            vendor: "rocky".to_owned(),
            release: "8.10".to_owned(),
            kernel: "4.18.0-553.el8_10".to_owned(),
            rpmdb: "/var/lib/rpm/Packages".to_owned(),
        };
        let stored = serde_json::to_string(&before).expect("json");
        let read = HostIdentity::parse(&stored).expect("own text");
        assert_eq!(rebaseline(&read, &before), None);
        let now = HostIdentity {
            release: "9.6".to_owned(),
            kernel: "5.14.0-570.el9_6".to_owned(),
            rpmdb: "/var/lib/rpm/rpmdb.sqlite".to_owned(),
            ..before.clone()
        };
        let found = rebaseline(&before, &now).expect("changed");
        assert!(found.kernel && found.trust);
        assert_eq!(
            found.message,
            "baseline renewed: release 8.10 -> 9.6, kernel 4.18.0-553.el8_10 -> 5.14.0-570.el9_6, package database /var/lib/rpm/Packages -> /var/lib/rpm/rpmdb.sqlite; learned anew: the kernel's offsets, probes and programs, trusted digests, policy layers and the audit's baseline"
        );
        let kernel_only = HostIdentity {
            kernel: "x".to_owned(),
            ..before.clone()
        };
        assert!(rebaseline(&before, &kernel_only).is_some_and(|found| found.kernel && !found.trust));
        assert!(HostIdentity::parse("{}").is_err());
        let other = HostIdentity::parse(&stored.replace("\"version\":1", "\"version\":9"));
        let why = other.expect_err("another version");
        assert!(matches!(why, IdentityError::Version(9)));
        let found = rebuilt(&why);
        assert!(found.kernel && found.trust);
        assert!(
            found.message.contains("has version 9, not 1; whether the host"),
            "{}",
            found.message
        );
    }
}
