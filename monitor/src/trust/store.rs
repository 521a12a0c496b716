//! The last reading of the package database, kept in a file (usually `/var/lib/hardpan/trust.index`), so that a start
//! does not verify every signature again.
//!
//! The file is believed only if nobody but root can write it, its checksums fit, and [`scan::stamp`] says that neither
//! database nor keys have changed since. In doubt the database is read again.

use super::atomic;
use super::keys;
use crate::config::Trust;
use hardpan_core::record::Finding;
use hardpan_rpm::scan::{self, OutcomeError, ScanOutcome};
use hardpan_rpm::{DigestIndex, Proven, ScanError, ScanOptions};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the file in the state directory.
pub const STORE_NAME: &str = "trust.index";
/// Raised with every change of the layout.
const MAGIC: &[u8; 8] = b"HPTRUST1";
/// Magic, checksum, length of what the checksum covers.
const HEAD_BYTES: usize = 8 + 32 + 8;
/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Why a stored reading is not used. The answer to each is to read the database again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than root could have written it.
    #[error("{} is not used: {why}", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// Who could have.
        why: &'static str,
    },
    /// Not such a file, of another version, or damaged.
    #[error("{} is damaged or of another version: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: &'static str,
    },
    /// What is inside is damaged.
    #[error("{} is damaged or of another version", path.display())]
    Outcome {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        #[source]
        source: OutcomeError,
    },
    /// Cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The reading cannot be encoded.
    #[error("cannot encode the reading for {}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: OutcomeError,
    },
}

/// A stored reading.
#[derive(Debug)]
pub struct Stored {
    /// The reading.
    pub outcome: ScanOutcome,
    /// Boot during which it was made.
    pub boot_id: String,
}

#[derive(Serialize, Deserialize)]
struct Head {
    boot_id: String,
}

/// Reads a stored reading; `None` if there is no file.
pub fn load(path: &Path) -> Result<Option<Stored>, StoreError> {
    let failed = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    // Opening a FIFO must not wait for a writer.
    let file = match File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let meta = file.metadata().map_err(failed)?;
    let doubtful = |why| StoreError::Unsafe {
        path: path.to_owned(),
        why,
    };
    if !meta.is_file() {
        return Err(doubtful("it is not a regular file"));
    }
    if meta.uid() != 0 && meta.uid() != nix::unistd::Uid::effective().as_raw() {
        return Err(doubtful("it does not belong to root"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(doubtful("its group or everybody may change it"));
    }
    if meta.len() > MAX_BYTES {
        return Err(doubtful("it is larger than 1 GiB"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    decode(&bytes, path).map(Some)
}

/// The checksum covers all but the index, which has its own.
fn decode(bytes: &[u8], path: &Path) -> Result<Stored, StoreError> {
    let damaged = |why| StoreError::Damaged {
        path: path.to_owned(),
        why,
    };
    let cut = || damaged("it is cut short");
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("it does not begin as it should"))?;
    let (checksum, rest) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
    let (covered_len, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let covered_len = usize::try_from(u64::from_le_bytes(*covered_len)).map_err(|_too_long| cut())?;
    let covered = rest.get(..covered_len).ok_or_else(cut)?;
    if crate::crypto::sha256(covered) != *checksum {
        return Err(damaged("its checksum does not fit"));
    }
    let (head_len, _) = covered.split_first_chunk::<4>().ok_or_else(cut)?;
    let head_len = usize::try_from(u32::from_le_bytes(*head_len)).map_err(|_too_long| cut())?;
    let head_end = head_len.checked_add(4).ok_or_else(cut)?;
    let head = covered.get(4..head_end).ok_or_else(cut)?;
    let head: Head = serde_json::from_slice(head).map_err(|_no_head| damaged("its head is not JSON"))?;
    let outcome = ScanOutcome::from_bytes(rest.get(head_end..).ok_or_else(cut)?).map_err(|source| {
        StoreError::Outcome {
            path: path.to_owned(),
            source,
        }
    })?;
    Ok(Stored {
        outcome,
        boot_id: head.boot_id,
    })
}

/// Writes a reading: replaced whole, mode 0640. Readers see the old or the new one.
pub fn save(path: &Path, outcome: &ScanOutcome, boot_id: &str) -> Result<(), StoreError> {
    let bytes = encode(outcome, boot_id).map_err(|source| StoreError::Encode {
        path: path.to_owned(),
        source,
    })?;
    atomic::write(path, &bytes, 0o640).map_err(|source| StoreError::Write {
        path: path.to_owned(),
        source,
    })
}

fn encode(outcome: &ScanOutcome, boot_id: &str) -> Result<Vec<u8>, OutcomeError> {
    let body = outcome.to_bytes()?;
    let report_len = body.len().saturating_sub(outcome.index.as_bytes().len());
    let (report, index) = body.split_at_checked(report_len).unwrap_or((&body, &[]));
    let head = Head {
        boot_id: boot_id.to_owned(),
    };
    let head = serde_json::to_vec(&head).map_err(OutcomeError::Report)?;
    // A boot id is a few dozen bytes.
    let head_len = u32::try_from(head.len()).unwrap_or_default().to_le_bytes();
    let covered = [head_len.as_slice(), &head, report].concat();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + covered.len() + index.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&crate::crypto::sha256(&covered));
    bytes.extend_from_slice(&(covered.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&covered);
    bytes.extend_from_slice(index);
    Ok(bytes)
}

/// What to scan and whom to believe, from the configuration; the findings are about pins and keys that cannot be read.
pub fn scan_options(config: &Trust) -> (ScanOptions, Vec<Finding>) {
    let (mut pins, mut findings) = keys::pins(config.vendor_pins, config.key_sets.as_deref(), &config.pins);
    if config.legacy_signatures {
        pins.accept_legacy();
    }
    let (material, unreadable) = keys::material(&config.keyring);
    findings.extend(unreadable);
    let mut options = ScanOptions::new(&config.root, pins);
    options.dbpath.clone_from(&config.dbpath);
    options.keys = material;
    options.use_database_keys = config.database_keys;
    options.derive_foreign_digests = true;
    (options, findings)
}

/// Where a reading comes from.
#[derive(Debug)]
pub enum ReadingOrigin {
    /// Out of the store: nothing has changed since.
    Stored,
    /// The database was read now.
    Scanned {
        /// Why the stored reading was not used, if it is worth telling.
        store_problem: Option<StoreError>,
        /// Why the new reading was not kept.
        not_kept: Option<StoreError>,
    },
}

/// A reading that fits the database and the keys as they are now.
#[derive(Debug)]
pub struct Current {
    /// The reading.
    pub outcome: ScanOutcome,
    /// Where it comes from.
    pub origin: ReadingOrigin,
}

/// A reading that a running program has in memory.
#[derive(Debug)]
pub struct Previous {
    /// Its index.
    pub index: DigestIndex,
    /// The database it is of.
    pub database: String,
}

/// Takes the stored reading if it is current, else reads the database (in this process) and stores what it finds.
/// Without a `store` nothing is kept. `force` reads in any case. Digests of packages that were replaced since the
/// last reading (the stored one, or `previous` if none is stored) stay as "retired" until the boot with `boot_id`
/// ends, as long as the key that vouched for them is pinned and not revoked.
///
/// `proven` are the signatures that a reading before this one, in this program or the one that started it, found good;
/// those of this reading take their place. The store knows nothing of them.
pub fn current(
    mut options: ScanOptions,
    store: Option<&Path>,
    boot_id: &str,
    force: bool,
    previous: Option<Previous>,
    mut proven: Option<&mut Proven>,
) -> Result<Current, ScanError> {
    options.retire = None;
    let mut scan = |options: &ScanOptions| match proven.as_deref_mut() {
        None => scan::scan(options),
        Some(proven) => {
            let (outcome, now) = scan::rescan(options, proven)?;
            *proven = now;
            Ok(outcome)
        }
    };
    let (stored, store_problem) = match store.map(load).transpose() {
        Ok(stored) => (stored.flatten(), None),
        Err(problem) => (None, Some(problem)),
    };
    let mut previous = previous;
    if let Some(stored) = stored {
        let same_boot = stored.boot_id == boot_id;
        let has_retired = || {
            stored
                .outcome
                .index
                .packages()
                .any(|package| package.is_retired())
        };
        let fresh = !force
            && scan::stamp(&options)? == stored.outcome.index.note()
            // What was retired before a reboot runs no more.
            && (same_boot || !has_retired())
            // It was read during a transaction: packages may have been half installed.
            && !stored.outcome.summary.transaction_running;
        if fresh {
            return Ok(Current {
                outcome: stored.outcome,
                origin: ReadingOrigin::Stored,
            });
        }
        if same_boot {
            previous = Some(Previous {
                index: stored.outcome.index,
                database: stored.outcome.summary.database,
            });
        }
    }
    let old_database = previous.map(|previous| {
        options.retire = Some(previous.index);
        PathBuf::from(previous.database)
    });
    let mut outcome = scan(&options)?;
    let new_dir = Path::new(&outcome.summary.database).parent();
    if old_database.is_some_and(|old| old.parent() != new_dir) {
        // What another database held was never of this system.
        options.retire = None;
        outcome = scan(&options)?;
    }
    let not_kept = store.and_then(|path| save(path, &outcome, boot_id).err());
    Ok(Current {
        outcome,
        origin: ReadingOrigin::Scanned {
            store_problem,
            not_kept,
        },
    })
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
