//! What a scan found wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most examples that a finding about many packages names.
pub const MAX_EXAMPLES: usize = 5;

/// Why a package's files are not trusted, or what is wrong with the database. Serialised as a map with `kind`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// An unsigned entry of the database repeats signed ones: rpm would believe the unsigned ones. The signed values
    /// are used. Also what a relocated package (`rpm --prefix`) looks like.
    RpmdbTampered {
        /// NEVRA, from the signed region where the header verified.
        package: String,
        /// Names of the repeated tags.
        tags: Vec<String>,
        /// Whether the header's signature is good all the same.
        verified: bool,
    },
    /// A signature by a pinned key that does not fit the header: header or signature was changed.
    BadSignature {
        /// NEVRA as the header says.
        package: String,
        /// Tag of the signature.
        tag: String,
        /// Fingerprint of the key, or its id.
        key: String,
        /// What did not fit.
        reason: String,
    },
    /// A signature that is refused by policy: SHA-1 or MD5, or a DSA key.
    WeakSignature {
        /// NEVRA as the header says.
        package: String,
        /// Tag of the signature.
        tag: String,
        /// Fingerprint of the key, or its id.
        key: String,
        /// What is weak.
        reason: String,
    },
    /// A header that cannot be read, or whose tables contradict each other.
    UnreadableHeader {
        /// NEVRA, if that much could be read; else empty.
        package: String,
        /// Number of the header in the database.
        header: u32,
        /// What is wrong.
        reason: String,
    },
    /// A signature packet that cannot be read, or of an algorithm that is not supported.
    UnreadableSignature {
        /// NEVRA as the header says.
        package: String,
        /// Tag of the signature.
        tag: String,
        /// What is wrong.
        reason: String,
    },
    /// Packages that nobody signed.
    Unsigned {
        /// How many.
        count: u64,
        /// NEVRAs of the first few.
        examples: Vec<String>,
    },
    /// Packages signed by a key that is not pinned, or of which no usable key material was found.
    UnpinnedKey {
        /// Id of the key as the signatures name it.
        key_id: String,
        /// Fingerprint, where the key's material is at hand.
        fingerprint: Option<String>,
        /// User id, where the key's material is at hand.
        user_id: Option<String>,
        /// Why the key does not count.
        reason: String,
        /// How many packages.
        count: u64,
        /// NEVRAs of the first few.
        examples: Vec<String>,
    },
    /// Packages with a good signature by a pinned key whose scope does not cover them.
    OutOfScope {
        /// Fingerprint of the pinned key.
        fingerprint: String,
        /// Name of the pin.
        pin: String,
        /// How many packages.
        count: u64,
        /// NEVRAs of the first few.
        examples: Vec<String>,
    },
    /// A pinned key whose material is unusable: revoked, or without any valid self-signature.
    UnusableKey {
        /// Fingerprint.
        fingerprint: String,
        /// Where the material was found.
        source: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of keys, or a gpg-pubkey header, that cannot be read.
    UnreadableKey {
        /// Where the material was found.
        source: String,
        /// What is wrong.
        reason: String,
    },
    /// Files whose signed digest is not SHA-256 and that could not be compared, so that they are not in the index.
    ForeignDigests {
        /// NEVRA.
        package: String,
        /// Name of the algorithm.
        algorithm: String,
        /// How many files.
        count: u64,
    },
    /// The database could only be read in part: packages may be missing from the index.
    DamagedDatabase {
        /// The database file.
        database: String,
        /// What is wrong.
        reason: String,
    },
    /// More findings of a kind than are kept.
    Truncated {
        /// The kind.
        of: String,
        /// How many were left out.
        count: u64,
    },
}

impl Finding {
    /// The kind as it is serialised.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RpmdbTampered { .. } => "rpmdb-tampered",
            Self::BadSignature { .. } => "bad-signature",
            Self::WeakSignature { .. } => "weak-signature",
            Self::UnreadableHeader { .. } => "unreadable-header",
            Self::UnreadableSignature { .. } => "unreadable-signature",
            Self::Unsigned { .. } => "unsigned",
            Self::UnpinnedKey { .. } => "unpinned-key",
            Self::OutOfScope { .. } => "out-of-scope",
            Self::UnusableKey { .. } => "unusable-key",
            Self::UnreadableKey { .. } => "unreadable-key",
            Self::ForeignDigests { .. } => "foreign-digests",
            Self::DamagedDatabase { .. } => "damaged-database",
            Self::Truncated { .. } => "truncated",
        }
    }

    /// Whether it speaks of tampering rather than of something that was never signed as it should be.
    pub const fn is_alarm(&self) -> bool {
        matches!(self, Self::RpmdbTampered { .. } | Self::BadSignature { .. })
    }
}

/// "3 packages: a, b, c".
struct Packages<'a>(u64, &'a [String]);

impl fmt::Display for Packages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, examples) = self;
        write!(
            f,
            "{count} package{}: {}",
            if *count == 1 { "" } else { "s" },
            examples.join(", ")
        )?;
        f.write_str(if *count > examples.len() as u64 {
            ", …"
        } else {
            ""
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RpmdbTampered {
                package,
                tags,
                verified,
            } => {
                let what = if *verified {
                    "the signed values are used"
                } else {
                    "and the header is not verified"
                };
                write!(
                    f,
                    "{package}: unsigned entries repeat signed tags {}; {what}",
                    tags.join(", ")
                )
            }
            Self::BadSignature {
                package,
                tag,
                key,
                reason,
            } => {
                write!(f, "{package}: signature {tag} by {key} is bad: {reason}")
            }
            Self::WeakSignature {
                package,
                tag,
                key,
                reason,
            } => {
                write!(f, "{package}: signature {tag} by {key} is refused: {reason}")
            }
            Self::UnreadableHeader {
                package,
                header,
                reason,
            } => {
                let space = if package.is_empty() { "" } else { " " };
                write!(f, "{package}{space}(header {header}): cannot be read: {reason}")
            }
            Self::UnreadableSignature { package, tag, reason } => {
                write!(f, "{package}: signature {tag} cannot be read: {reason}")
            }
            Self::Unsigned { count, examples } => write!(f, "not signed: {}", Packages(*count, examples)),
            Self::UnpinnedKey {
                key_id,
                fingerprint,
                user_id,
                reason,
                count,
                examples,
            } => {
                write!(f, "signed by key {}", fingerprint.as_ref().unwrap_or(key_id))?;
                if let Some(user_id) = user_id {
                    write!(f, " ({user_id})")?;
                }
                write!(f, ", {reason}: {}", Packages(*count, examples))
            }
            Self::OutOfScope {
                fingerprint,
                pin,
                count,
                examples,
            } => {
                let packages = Packages(*count, examples);
                write!(
                    f,
                    "signed by {pin} ({fingerprint}), whose scope does not cover them: {packages}"
                )
            }
            Self::UnusableKey {
                fingerprint,
                source,
                reason,
            } => {
                write!(f, "pinned key {fingerprint} in {source} is unusable: {reason}")
            }
            Self::UnreadableKey { source, reason } => write!(f, "{source}: cannot read key: {reason}"),
            Self::ForeignDigests {
                package,
                algorithm,
                count,
            } => {
                write!(
                    f,
                    "{package}: {count} files with {algorithm} digests that were not compared"
                )
            }
            Self::DamagedDatabase { database, reason } => {
                write!(f, "{database}: only read in part: {reason}")
            }
            Self::Truncated { of, count } => write!(f, "{count} more findings of kind {of}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_serialised_as_they_are_named() {
        let findings = [
            Finding::Unsigned {
                count: 7,
                examples: vec!["a-1-1.x86_64".into(), "b-1-1.noarch".into()],
            },
            Finding::RpmdbTampered {
                package: "bash-5-1.x86_64".into(),
                tags: vec!["FILEDIGESTS".into()],
                verified: true,
            },
        ];
        for finding in &findings {
            let json = serde_json::to_value(finding).unwrap();
            assert_eq!(json["kind"], finding.kind());
            assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), *finding);
        }
        assert_eq!(
            findings[0].to_string(),
            "not signed: 7 packages: a-1-1.x86_64, b-1-1.noarch, …"
        );
        assert_eq!(
            findings[1].to_string(),
            "bash-5-1.x86_64: unsigned entries repeat signed tags FILEDIGESTS; the signed values are used"
        );
    }
}
