//! The ledger of accepted serials as a file, usually `/var/lib/hardpan/serials.json`.

use crate::trust::atomic;
use hardpan_core::envelope::{Ledger, LedgerError, Opened};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Largest ledger, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Why the ledger cannot be used. Nothing may be accepted then: an old envelope could come back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerFileError {
    /// Cannot be read.
    #[error("cannot read the accepted serials in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Cannot be understood.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: LedgerError,
    },
    /// Cannot be written.
    #[error("cannot write the accepted serials to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl LedgerFileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged { path, .. } => Some(format!(
                "restore {0} from a backup; without it, older signed files would be accepted again",
                path.display()
            )),
            _ => None,
        }
    }
}

/// The ledger and its file.
#[derive(Debug, Clone)]
pub struct LedgerFile {
    path: PathBuf,
    ledger: Ledger,
}

impl LedgerFile {
    /// Name of the file in the state directory.
    pub const NAME: &'static str = "serials.json";

    /// Reads the ledger of a state directory (usually `/var/lib/hardpan`); a missing one is empty.
    pub fn load(state_dir: &Path) -> Result<Self, LedgerFileError> {
        let path = state_dir.join(Self::NAME);
        let read = |source| LedgerFileError::Read {
            path: path.clone(),
            source,
        };
        let bytes = match fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_BYTES => {
                return Err(read(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "larger than 16 MiB",
                )));
            }
            Ok(_) => fs::read(&path).map_err(read)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    path,
                    ledger: Ledger::default(),
                });
            }
            Err(error) => return Err(read(error)),
        };
        match Ledger::parse(&bytes) {
            Ok(ledger) => Ok(Self { path, ledger }),
            Err(source) => Err(LedgerFileError::Damaged { path, source }),
        }
    }

    /// What was accepted, for [`hardpan_core::envelope::Known`].
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Notes an accepted envelope and writes the file.
    pub fn accept(&mut self, opened: &Opened) -> Result<(), LedgerFileError> {
        self.ledger.accept(opened);
        atomic::write(&self.path, self.ledger.to_json().as_bytes(), 0o640).map_err(|source| {
            LedgerFileError::Write {
                path: self.path.clone(),
                source,
            }
        })
    }
}
