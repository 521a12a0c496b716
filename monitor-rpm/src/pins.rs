//! Pinned signing keys: which fingerprints may vouch for which packages.
//!
//! A key found on the host (in `/etc/pki/rpm-gpg` or as a gpg-pubkey header) counts only if its fingerprint is
//! pinned. Vendor pins are data (`policies/vendor/keys/*.toml`), operators add theirs in the same format:
//!
//! ```toml
//! vendor = "example"
//!
//! [[key]]
//! name = "Example release key"
//! fingerprint = "567E347AD0044ADE55BA8A5F199E2F91FD431D51"
//! releases = [8, 9, 10]          # EL major releases it signs for; empty or absent: any
//! scope = ["example-*"]          # globs over package names; absent: every package
//! legacy = false                 # true: DSA and SHA-1 signatures by this key are accepted
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Fingerprint of an OpenPGP key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fingerprint {
    /// SHA-1 of a version 4 key.
    V4([u8; 20]),
    /// SHA-256 of a version 6 key.
    V6([u8; 32]),
}

impl Fingerprint {
    /// The key id that signatures name: the last 8 bytes of a v4 fingerprint, the first 8 of a v6 one.
    pub fn key_id(&self) -> [u8; 8] {
        match self {
            Self::V4(bytes) => bytes.last_chunk().copied(),
            Self::V6(bytes) => bytes.first_chunk().copied(),
        }
        .unwrap_or_default()
    }

    /// The bytes of the fingerprint.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(bytes) => bytes,
            Self::V6(bytes) => bytes,
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(self.as_bytes()))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Hexadecimal digits in either case; spaces (as `gpg` groups them) are skipped.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: String = text.chars().filter(|c| *c != ' ').collect();
        let bytes = hex::decode(&digits).unwrap_or_default();
        if let Ok(v4) = <[u8; 20]>::try_from(bytes.as_slice()) {
            return Ok(Self::V4(v4));
        }
        <[u8; 32]>::try_from(bytes.as_slice())
            .map(Self::V6)
            .map_err(|_not_32_bytes| FingerprintError {
                text: text.chars().take(80).collect(),
            })
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

/// A text that is no fingerprint. A key id is not enough: ids of 8 or 16 digits can be forged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a key fingerprint: 40 hexadecimal digits (OpenPGP v4) or 64 (v6) are needed")]
pub struct FingerprintError {
    text: String,
}

/// Pattern over package names: `*` is any run of characters, `?` any one character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// Takes any text as a pattern.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether the whole of `name` matches. Time is at most the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.as_bytes(), name.as_bytes());
        // Where to go on when a match fails: behind the last star, with one more byte given to it.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            match (pattern, rest) {
                ([], []) => return true,
                ([b'*', after @ ..], _) => {
                    retry = Some((after, rest));
                    pattern = after;
                    continue;
                }
                ([p, after @ ..], [c, tail @ ..]) if *p == b'?' || p == c => {
                    (pattern, rest) = (after, tail);
                    continue;
                }
                _ => {}
            }
            match retry {
                Some((after_star, [_, tail @ ..])) => {
                    retry = Some((after_star, tail));
                    (pattern, rest) = (after_star, tail);
                }
                _ => return false,
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One pinned key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Fingerprint of the primary key. Its bound signing subkeys are covered.
    pub fingerprint: Fingerprint,
    /// Name for people, such as "AlmaLinux 8 (2023)".
    pub name: String,
    /// Vendor, such as "almalinux"; what `--foreign` compares.
    pub vendor: String,
    /// EL major releases whose packages it signs; empty means any.
    pub releases: Vec<u8>,
    /// Globs over package names it may vouch for.
    pub scope: Vec<Glob>,
    /// Whether DSA keys and SHA-1 or MD5 signatures are accepted from this key.
    pub legacy: bool,
    /// Where the pin was read, for messages.
    pub source: String,
}

impl Pin {
    /// Whether the key may vouch for a package of this name.
    pub fn covers(&self, package_name: &str) -> bool {
        self.scope.iter().any(|glob| glob.matches(package_name))
    }
}

/// A set of pinned keys.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    by_fingerprint: BTreeMap<Fingerprint, Arc<Pin>>,
}

/// Why a file of pins is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinsError {
    /// Not the TOML that is expected; the source names line and column.
    #[error("{origin}: cannot read pinned keys")]
    Syntax {
        /// File or other origin.
        origin: String,
        /// What the TOML reader says.
        #[source]
        source: toml::de::Error,
    },
    /// A fingerprint appears twice with different facts.
    #[error("{origin}: key {fingerprint} is already pinned in {first} with another scope or name")]
    Conflict {
        /// File or other origin of the second pin.
        origin: String,
        /// The key.
        fingerprint: Fingerprint,
        /// Origin of the first pin.
        first: String,
    },
    /// A pin whose scope is an empty list would never vouch for anything.
    #[error("{origin}: key {fingerprint} has an empty scope; leave `scope` out to cover every package")]
    EmptyScope {
        /// File or other origin.
        origin: String,
        /// The key.
        fingerprint: Fingerprint,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    vendor: String,
    #[serde(default)]
    key: Vec<RawKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    name: String,
    fingerprint: Fingerprint,
    #[serde(default)]
    releases: Vec<u8>,
    scope: Option<Vec<Glob>>,
    #[serde(default)]
    legacy: bool,
    /// Facts for the reader of the file; not used.
    #[serde(rename = "algorithm")]
    _algorithm: Option<String>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

impl Pins {
    /// Accepts DSA and SHA-1 signatures by every pinned key.
    pub fn accept_legacy(&mut self) {
        for pin in self.by_fingerprint.values_mut() {
            Arc::make_mut(pin).legacy = true;
        }
    }

    /// Reads one file of pins. `origin` (usually its path) appears in messages and in [`Pin::source`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, PinsError> {
        let file: RawFile = toml::from_str(text).map_err(|source| PinsError::Syntax {
            origin: origin.to_owned(),
            source,
        })?;
        let mut pins = Self::default();
        for key in file.key {
            let scope = key.scope.unwrap_or_else(|| vec![Glob::new("*")]);
            if scope.is_empty() {
                return Err(PinsError::EmptyScope {
                    origin: origin.to_owned(),
                    fingerprint: key.fingerprint,
                });
            }
            pins.add(Pin {
                fingerprint: key.fingerprint,
                name: key.name,
                vendor: file.vendor.clone(),
                releases: key.releases,
                scope,
                legacy: key.legacy,
                source: origin.to_owned(),
            })?;
        }
        Ok(pins)
    }

    /// Adds all pins of another set. The same key pinned twice must say the same.
    pub fn merge(&mut self, other: &Self) -> Result<(), PinsError> {
        other.iter().try_for_each(|pin| self.add(pin.clone()))
    }

    /// Adds one pin.
    pub fn add(&mut self, pin: Pin) -> Result<(), PinsError> {
        if let Some(first) = self.by_fingerprint.get(&pin.fingerprint) {
            let same = Pin {
                source: first.source.clone(),
                ..pin.clone()
            } == **first;
            if !same {
                return Err(PinsError::Conflict {
                    origin: pin.source,
                    fingerprint: pin.fingerprint,
                    first: first.source.clone(),
                });
            }
            return Ok(());
        }
        self.by_fingerprint.insert(pin.fingerprint, Arc::new(pin));
        Ok(())
    }

    /// Takes a pin out, for example one that an operator revoked. Tells whether it was there.
    pub fn remove(&mut self, fingerprint: &Fingerprint) -> bool {
        self.by_fingerprint.remove(fingerprint).is_some()
    }

    /// The pin of a primary key.
    pub fn find(&self, fingerprint: &Fingerprint) -> Option<&Arc<Pin>> {
        self.by_fingerprint.get(fingerprint)
    }

    /// All pins, by fingerprint.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.by_fingerprint.values().map(AsRef::as_ref)
    }

    /// How many keys are pinned.
    pub fn len(&self) -> usize {
        self.by_fingerprint.len()
    }

    /// Whether no key is pinned.
    pub fn is_empty(&self) -> bool {
        self.by_fingerprint.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} on {name}");
        };
        check("*", "", true);
        check("*", "kernel-core", true);
        check("kernel*", "kernel", true);
        check("kernel*", "xkernel", false);
        check("*-release", "almalinux-release", true);
        check("*-release", "almalinux-release-upstream", false);
        check("a*b*c", "a1b2b3c", true);
        check("a*b*c", "a1b2b3", false);
        check("python?", "python3", true);
        check("python?", "python", false);
        check("", "", true);
        check("", "x", false);
    }

    #[test]
    fn fingerprints() {
        let v4: Fingerprint = "567E 347A D004 4ADE 55BA  8A5F 199E 2F91 FD43 1D51"
            .parse()
            .unwrap();
        assert_eq!(v4.to_string(), "567E347AD0044ADE55BA8A5F199E2F91FD431D51");
        assert_eq!(hex::encode(v4.key_id()), "199e2f91fd431d51");
        let v6: Fingerprint = "FCD355B305707A62DA143AB6E422397E50FE8467A2A95343D246D6276AFEDF8F"
            .parse()
            .unwrap();
        assert_eq!(hex::encode(v6.key_id()), "fcd355b305707a62");
        assert_eq!(
            "199E2F91FD431D51".parse::<Fingerprint>().unwrap_err().to_string(),
            "\"199E2F91FD431D51\" is not a key fingerprint: 40 hexadecimal digits (OpenPGP v4) or 64 (v6) are needed"
        );
    }

    #[test]
    fn files_are_refused_with_place_and_reason() {
        let check = |text: &str, expected: &str| {
            let error = Pins::from_toml(text, "keys.d/x.toml").unwrap_err();
            let chain = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            assert!(chain.contains(expected), "{chain}");
        };
        check("vendor = 3", "keys.d/x.toml: cannot read pinned keys");
        check(
            "vendor = 'x'\n[[key]]\nname = 'n'\nfingerprint = 'FD431D51'",
            "is not a key fingerprint",
        );
        check(
            "vendor = 'x'\n[[key]]\nname = 'n'\nscopes = []",
            "unknown field `scopes`",
        );
        let key = "[[key]]\nname='n'\nfingerprint='567E347AD0044ADE55BA8A5F199E2F91FD431D51'\n";
        check(&format!("vendor='x'\n{key}scope=[]"), "has an empty scope");
        check(
            &format!("vendor='x'\n{key}scope=['a']\n{key}scope=['b']"),
            "is already pinned in keys.d/x.toml",
        );
    }

    #[test]
    fn the_shipped_vendor_pins_are_readable_and_complete() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/vendor/keys");
        let mut pins = Pins::default();
        let mut vendors = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            pins.merge(&Pins::from_toml(&text, &path.display().to_string()).unwrap())
                .unwrap();
        }
        for pin in pins.iter() {
            assert!(!pin.releases.is_empty(), "{} has no releases", pin.name);
            vendors.insert((pin.vendor.clone(), pin.releases.clone()));
        }
        for release in [8, 9, 10] {
            for vendor in ["redhat", "rocky", "almalinux", "centos", "epel", "oracle"] {
                assert!(
                    vendors
                        .iter()
                        .any(|(v, releases)| v == vendor && releases.contains(&release)),
                    "no key of {vendor} for EL {release}"
                );
            }
        }
    }
}
