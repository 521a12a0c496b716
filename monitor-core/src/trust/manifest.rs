//! Manifests: digests of software that no RPM brings.
//!
//! The payload of a signed envelope of type "manifest" is a JSON object:
//!
//! ```json
//! {"files": [{"sha256": "…64 hexadecimal digits…", "size": 4711, "path": "/opt/tool/bin/tool"}]}
//! ```
//!
//! The digest is what is trusted, wherever the content lies; the path is for people. A manifest that was made on the
//! host itself is [`LocalUnsigned`]: nobody vouches for it, and strict policy refuses it.

use crate::envelope::{check_name, parse_time, time_text};
use serde::{Deserialize, Serialize};

/// Most files of a manifest.
pub const MAX_MANIFEST_FILES: usize = 500_000;
/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 4096;

/// A file in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestFile {
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// Size of the content in bytes.
    pub size: u64,
    /// Where it was when the manifest was made.
    pub path: String,
}

/// The digests of a manifest, sorted by digest and path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    files: Vec<ManifestFile>,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the JSON that is expected.
    #[error("cannot read the manifest")]
    Json(#[source] serde_json::Error),
    /// A file that cannot be understood.
    #[error("file {number} of the manifest: \"{member}\" {must}")]
    File {
        /// Number of the file, from 1.
        number: usize,
        /// The member.
        member: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// No file, or too many.
    #[error("a manifest lists 1 to {MAX_MANIFEST_FILES} files, not {found}")]
    Count {
        /// How many there are.
        found: usize,
    },
    /// Name, time or type of a manifest made on the host.
    #[error("\"{member}\" {must}")]
    Member {
        /// The member.
        member: &'static str,
        /// What it must be.
        must: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    files: Vec<RawFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    sha256: String,
    size: u64,
    path: String,
}

impl Manifest {
    /// Makes a manifest; the same file twice counts once.
    pub fn new(mut files: Vec<ManifestFile>) -> Result<Self, ManifestError> {
        files.sort();
        files.dedup();
        if files.is_empty() || files.len() > MAX_MANIFEST_FILES {
            return Err(ManifestError::Count { found: files.len() });
        }
        if let Some(at) = files.iter().position(|file| !path_is_fine(&file.path)) {
            return Err(wrong_path(at));
        }
        Ok(Self { files })
    }

    /// Reads a payload.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let raw: RawManifest = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        Self::from_raw(raw)
    }

    fn from_raw(raw: RawManifest) -> Result<Self, ManifestError> {
        let read = |(at, file): (usize, RawFile)| {
            let mut sha256 = [0; 32];
            if hex::decode_to_slice(&file.sha256, &mut sha256).is_err() {
                let must = "must be 64 hexadecimal digits";
                return Err(ManifestError::File {
                    number: at + 1,
                    member: "sha256",
                    must,
                });
            }
            if !path_is_fine(&file.path) {
                return Err(wrong_path(at));
            }
            Ok(ManifestFile {
                sha256,
                size: file.size,
                path: file.path,
            })
        };
        Self::new(
            raw.files
                .into_iter()
                .enumerate()
                .map(read)
                .collect::<Result<_, _>>()?,
        )
    }

    fn to_raw(&self) -> RawManifest {
        let file = |file: &ManifestFile| RawFile {
            sha256: hex::encode(file.sha256),
            size: file.size,
            path: file.path.clone(),
        };
        RawManifest {
            files: self.files.iter().map(file).collect(),
        }
    }

    /// The payload.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers can always be written.
        serde_json::to_vec(&self.to_raw()).unwrap_or_default()
    }

    /// The files, by digest.
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }
}

fn path_is_fine(path: &str) -> bool {
    path.starts_with('/') && path.len() <= MAX_PATH_BYTES && !path.chars().any(char::is_control)
}

fn wrong_path(at: usize) -> ManifestError {
    let must = "must be an absolute path without control characters";
    ManifestError::File {
        number: at + 1,
        member: "path",
        must,
    }
}

/// A manifest that was made on the host itself, without a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalUnsigned {
    /// Its name.
    pub name: String,
    /// When it was made, seconds since 1970.
    pub made: i64,
    /// The digests.
    pub manifest: Manifest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLocal {
    #[serde(rename = "type")]
    kind: String,
    version: u64,
    name: String,
    made: String,
    files: Vec<RawFile>,
}

/// Type of a manifest without a signature.
const LOCAL_UNSIGNED: &str = "local-unsigned";

impl LocalUnsigned {
    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let raw: RawLocal = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let member = |member, must: String| ManifestError::Member { member, must };
        if raw.kind != LOCAL_UNSIGNED {
            return Err(member("type", format!("must be \"{LOCAL_UNSIGNED}\"")));
        }
        if raw.version != 1 {
            return Err(member("version", "must be 1".to_owned()));
        }
        check_name(&raw.name).map_err(|must| member("name", format!("is wrong: {must}")))?;
        Ok(Self {
            made: parse_time(&raw.made).map_err(|must| member("made", must))?,
            name: raw.name,
            manifest: Manifest::from_raw(RawManifest { files: raw.files })?,
        })
    }

    /// The file.
    pub fn to_json(&self) -> String {
        let raw = RawLocal {
            kind: LOCAL_UNSIGNED.to_owned(),
            version: 1,
            name: self.name.clone(),
            made: time_text(self.made),
            files: self.manifest.to_raw().files,
        };
        // Strings and numbers can always be written.
        serde_json::to_string_pretty(&raw)
            .map(|json| json + "\n")
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(seed: u8, path: &str) -> ManifestFile {
        ManifestFile {
            sha256: [seed; 32],
            size: u64::from(seed),
            path: path.to_owned(),
        }
    }

    #[test]
    fn manifests_survive_and_are_sorted() {
        let manifest = Manifest::new(vec![file(2, "/b"), file(1, "/a"), file(2, "/b")]).unwrap();
        assert_eq!(manifest.files(), [file(1, "/a"), file(2, "/b")]);
        assert_eq!(Manifest::parse(&manifest.to_bytes()).unwrap(), manifest);
        let local = LocalUnsigned {
            name: "tools".into(),
            made: 1_800_000_000,
            manifest,
        };
        assert_eq!(LocalUnsigned::parse(local.to_json().as_bytes()).unwrap(), local);
    }

    #[test]
    fn wrong_manifests_are_refused_with_the_place() {
        let check = |text: &str, expected: &str| {
            let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let good = String::from_utf8(Manifest::new(vec![file(1, "/a")]).unwrap().to_bytes()).unwrap();
        check("", "cannot read the manifest");
        check("{\"files\":[]}", "lists 1 to 500000 files, not 0");
        check(
            &good.replace("0101", "xx"),
            "file 1 of the manifest: \"sha256\" must be",
        );
        check(
            &good.replace("/a", "a"),
            "file 1 of the manifest: \"path\" must be",
        );
        check(
            &good.replace("/a", "/a\\n"),
            "file 1 of the manifest: \"path\" must be",
        );
        check(&good.replace("size", "length"), "cannot read the manifest");
        assert!(Manifest::new(vec![file(1, "a")]).is_err());
        assert!(Manifest::new(Vec::new()).is_err());
    }

    #[test]
    fn a_signed_envelope_is_no_local_manifest() {
        let local = LocalUnsigned {
            name: "tools".into(),
            made: 0,
            manifest: Manifest::new(vec![file(1, "/a")]).unwrap(),
        };
        let check = |from: &str, to: &str, expected: &str| {
            let error = LocalUnsigned::parse(local.to_json().replace(from, to).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check("local-unsigned", "manifest", "\"type\" must be");
        check("\"version\": 1", "\"version\": 2", "\"version\" must be 1");
        check("tools", "../tools", "\"name\" is wrong: a name has");
        check("1970", "19700", "\"made\" must be a time");
    }
}
