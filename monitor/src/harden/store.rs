//! The journal on disk, and the mark of a transaction that waits for confirmation.

use super::files;
use super::root::Root;
use super::run::HardenError;
use hardpan_core::policy::harden::edit::{CRYPTO_CONFIG, Edit, Tool};
use hardpan_core::policy::harden::journal::{self, Journal, Line, MAX_JOURNAL_BYTES, Stage};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the journal lies, within the root.
const STATE: &str = "/var/lib/hardpan/harden";
/// How often a lock that another process holds is tried again.
const LOCK_TRIES: u32 = 60;
/// Between two tries.
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// A transaction that waits for confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The transaction.
    pub transaction: u64,
    /// When it is rolled back, seconds since 1970.
    pub deadline_s: u64,
    /// The first time that this was tried, if not all of it could be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_s: Option<u64>,
}

/// The journal on disk, locked.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) journal: Journal,
    file: Flock<File>,
    path: PathBuf,
    pending_path: PathBuf,
}

impl Store {
    /// Whether one of its files is there.
    pub(super) fn exists(root: &Root, name: &str) -> bool {
        root.resolve(&format!("{STATE}/{name}"))
            .is_ok_and(|path| path.exists())
    }

    /// Opens it for this process alone. Another one (the daemon looks now and then) is waited for, not for long.
    pub(super) fn open(root: &Root) -> Result<Self, HardenError> {
        let path = root.resolve(&format!("{STATE}/journal.jsonl"))?;
        let failed = |action: &'static str| {
            let path = path.clone();
            move |source: io::Error| HardenError::Journal { action, path, source }
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed("open"))?;
        }
        let file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(failed("open"))?;
        let file = lock(file).map_err(failed("lock"))?;
        let mut text = String::new();
        (&*file)
            .take(MAX_JOURNAL_BYTES)
            .read_to_string(&mut text)
            .map_err(failed("read"))?;
        let journal = journal::read(&text);
        // A torn last line must not swallow the next one.
        if !text.is_empty() && !text.ends_with('\n') {
            (&*file).write_all(b"\n").map_err(failed("append to"))?;
        }
        let pending_path = root.resolve(&format!("{STATE}/pending.json"))?;
        files::tidy(&pending_path);
        let places: BTreeSet<PathBuf> = journal
            .in_place
            .values()
            .filter_map(|line| match &line.change {
                Edit::Line { path, .. } => root.resolve(path).ok(),
                Edit::Link { path, .. } => root.resolve_parent(path).ok(),
                Edit::Tool { tool, .. } => root.resolve(written(tool)?).ok(),
                Edit::Mode { .. } | Edit::Runtime { .. } => None,
            })
            .collect();
        for place in &places {
            files::tidy(place);
        }
        Ok(Self {
            journal,
            file,
            path,
            pending_path,
        })
    }

    pub(super) fn append(&mut self, line: &Line) -> Result<(), HardenError> {
        let text = journal::write(line).map_err(HardenError::Encode)?;
        (&*self.file)
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|source| HardenError::Journal {
                action: "append to",
                path: self.path.clone(),
                source,
            })?;
        let key = (line.transaction, line.number);
        match line.stage {
            Stage::Intended | Stage::Done => {
                self.journal.in_place.insert(key, line.clone());
            }
            Stage::Undone => {
                self.journal.in_place.remove(&key);
            }
        }
        self.journal.last_transaction = self.journal.last_transaction.max(line.transaction);
        Ok(())
    }

    /// Where lines lie that another version of the program wrote.
    pub(super) fn foreign(&self) -> impl Iterator<Item = String> {
        let lines = self.journal.foreign.iter();
        lines.map(|line| format!("{STATE}/journal.jsonl:{line}"))
    }

    pub(super) fn pending(&self) -> Option<Confirmation> {
        let text = fs::read_to_string(&self.pending_path).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(super) fn set_pending(&self, transaction: u64, within: Duration) -> Result<(), HardenError> {
        self.write_pending(&Confirmation {
            transaction,
            deadline_s: seconds(SystemTime::now()).saturating_add(within.as_secs()),
            tried_s: None,
        })
    }

    pub(super) fn write_pending(&self, pending: &Confirmation) -> Result<(), HardenError> {
        let text = serde_json::to_string(pending).map_err(HardenError::Encode)?;
        files::replace(&self.pending_path, &text).map_err(|source| HardenError::File {
            item: "the pending confirmation".to_owned(),
            source,
        })
    }

    pub(super) fn clear_pending(&self) -> Result<(), HardenError> {
        // For good: a confirmed transaction must not be taken back after a loss of power.
        let gone =
            fs::remove_file(&self.pending_path).and_then(|()| files::sync_directory(&self.pending_path));
        match gone {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(HardenError::Journal {
                action: "clear",
                path: self.pending_path.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }
}

/// The file of a tool's own into which its value, or what the tool forgot of it, is written.
fn written(tool: &Tool) -> Option<&'static str> {
    match tool {
        Tool::CryptoPolicy => Some(CRYPTO_CONFIG),
        Tool::Authselect { .. } | Tool::FirewallZone => tool.file().map(|(file, _)| file),
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn lock(mut file: File) -> io::Result<Flock<File>> {
    let mut tries = 0;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((again, nix::errno::Errno::EWOULDBLOCK)) if tries < LOCK_TRIES => {
                file = again;
                tries += 1;
                std::thread::sleep(LOCK_WAIT);
            }
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}
