//! The operator's word on the mode: a file that outlives the daemon, written by `hardpan policy mode`.

use crate::trust::atomic;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file in the state directory by which an operator confirms that digests may go; hardpand removes it.
pub const ACCEPT_LOSS: &str = "accept-trust-loss";

/// What an operator can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Refuse nothing, whatever configuration and policy say: break-glass.
    Observe,
    /// What configuration and policy say.
    Configured,
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeFile {
    /// What is wanted.
    pub mode: Wanted,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who asked: login uid, else uid.
    pub uid: u32,
    /// When, seconds since 1970.
    pub at_s: i64,
}

/// Why the file could not be read or written.
#[derive(Debug, Error)]
#[error("{what} {}", path.display())]
pub struct ModeFileError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ModeFile {
    /// Its name in the state directory.
    pub const NAME: &'static str = "mode.json";
    const MAX_BYTES: u64 = 64 << 10;

    /// Reads it; `None` if nobody wrote one.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, ModeFileError> {
        let path = state_dir.join(Self::NAME);
        let fail = |source| ModeFileError {
            what: "reading the mode from",
            path: path.clone(),
            source,
        };
        match fs::metadata(&path) {
            Ok(meta) if meta.len() > Self::MAX_BYTES => {
                return Err(fail(io::Error::other("it is too large")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let bytes = fs::read(&path).map_err(fail)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| fail(error.into()))
    }

    /// Writes it as a whole.
    pub fn save(&self, state_dir: &Path) -> Result<(), ModeFileError> {
        let path = state_dir.join(Self::NAME);
        let fail = |source| ModeFileError {
            what: "writing the mode to",
            path: path.clone(),
            source,
        };
        let bytes = serde_json::to_vec(self).map_err(|error| fail(error.into()))?;
        atomic::write(&path, &bytes, 0o600).map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_comes_back_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ModeFile::load(dir.path()).unwrap(), None);
        let file = ModeFile {
            mode: Wanted::Observe,
            reason: "nothing starts".into(),
            uid: 1000,
            at_s: 5,
        };
        file.save(dir.path()).unwrap();
        assert_eq!(ModeFile::load(dir.path()).unwrap(), Some(file));
        fs::write(dir.path().join(ModeFile::NAME), "{\"mode\": 1").unwrap();
        let error = ModeFile::load(dir.path()).unwrap_err();
        assert!(error.to_string().contains(ModeFile::NAME), "{error}");
    }
}
