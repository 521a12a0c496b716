//! One look at a whole rpm database: what a short-lived child process does for the daemon.

pub(crate) mod collect;
mod derive;
mod outcome;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use collect::Collector;
use derive::Derived;
pub use outcome::{OutcomeError, ScanOutcome, ScanSummary};

use crate::db::{DbError, Record, RpmDb, locate};
use crate::digest::DigestAlgorithm;
use crate::finding::Finding;
use crate::header::{Header, tag};
use crate::index::{DecodeError, DigestIndex};
use crate::pins::Pins;
use crate::root::Root;
use crate::signature::{
    Checked, Keyring, MAX_KEY_BYTES, Nevra, Recall, check_header, check_header_again, trust_digest,
};
pub use crate::signature::{KeyMaterial, Proven};

/// Where packages of release keys put them.
pub const KEY_DIRECTORY: &str = "/etc/pki/rpm-gpg";
/// Most files of keys that are read.
const MAX_KEY_FILES: usize = 1000;
/// Name of the headers that hold imported keys.
pub(crate) const KEY_PACKAGE: &[u8] = b"gpg-pubkey";

/// How often a database is read while rpm is at work and headers look damaged, and the pause between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// What to scan, and what to believe.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Root directory of the system, `/` for the running one.
    pub root: PathBuf,
    /// Directory of the database (or the database file) inside the root; `None` tries the usual ones.
    pub dbpath: Option<PathBuf>,
    /// Keys that may vouch.
    pub pins: Pins,
    /// Key material besides the gpg-pubkey headers of the database; see [`key_files`].
    pub keys: Vec<KeyMaterial>,
    /// Whether gpg-pubkey headers of the database count as key material too (only pinned keys do, in any case).
    pub use_database_keys: bool,
    /// Worker threads; 0 means as many as the process may use.
    pub threads: usize,
    /// Where to put the private copy of the database; `None` is the system's directory for temporary files.
    pub scratch: Option<PathBuf>,
    /// Whether files with signed digests of other algorithms than SHA-256 are read below `root`, compared, and
    /// admitted with their SHA-256 as [`crate::index::Provenance::Derived`].
    pub derive_foreign_digests: bool,
    /// Index of the last scan: its digests that are gone stay in the new one as
    /// [`crate::index::Provenance::Retired`], unless the key that vouched has been unpinned or revoked since.
    pub retire: Option<DigestIndex>,
}

impl ScanOptions {
    /// Options for a system with these pins, everything else as usual. Key material has still to be added.
    pub fn new(root: impl Into<PathBuf>, pins: Pins) -> Self {
        Self {
            root: root.into(),
            dbpath: None,
            pins,
            keys: Vec::new(),
            use_database_keys: true,
            threads: 0,
            scratch: None,
            derive_foreign_digests: false,
            retire: None,
        }
    }
}

/// Why nothing could be scanned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The database cannot be read at all.
    #[error(transparent)]
    Db(#[from] DbError),
    /// More packages than an index can hold.
    #[error("cannot build the index")]
    Index(#[source] DecodeError),
    /// A directory of keys cannot be read.
    #[error("{}: cannot read keys", path.display())]
    Keys {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The root directory cannot be opened.
    #[error("{}: cannot open the root directory", path.display())]
    Root {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

pub(crate) fn open_root(path: &Path) -> Result<Root, ScanError> {
    Root::open(path).map_err(|source| ScanError::Root {
        path: path.to_owned(),
        source,
    })
}

/// All files in `/etc/pki/rpm-gpg` below a root; none if the directory does not exist.
pub fn key_files(root: &Path) -> Result<Vec<KeyMaterial>, ScanError> {
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    let root = open_root(root)?;
    let folder = Path::new(KEY_DIRECTORY);
    let failed = |source| ScanError::Keys {
        path: root.display(folder),
        source,
    };
    let dir = match root.open_dir(folder) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for name in dir.names().map_err(failed)?.into_iter().take(MAX_KEY_FILES) {
        let path = folder.join(std::ffi::OsStr::from_bytes(&name));
        // Directories and dangling links are no keys.
        let Ok(file) = root.open_file(&path) else { continue };
        let mut bytes = Vec::new();
        file.take(MAX_KEY_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        found.push(KeyMaterial {
            source: root.display(&path).display().to_string(),
            bytes,
        });
    }
    Ok(found)
}

/// What a scan with these options would depend on: the database's files, pins and key material. Equal to
/// [`DigestIndex::note`] of a scan's index as long as that index is current.
pub fn stamp(options: &ScanOptions) -> Result<String, ScanError> {
    let root = open_root(&options.root)?;
    let located = locate(&root, options.dbpath.as_deref())?;
    Ok(note(options, &located.stamp()?))
}

fn note(options: &ScanOptions, database_stamp: &str) -> String {
    format!(
        "{database_stamp} trust:{} database-keys:{} derive:{}",
        hex::encode(trust_digest(&options.pins, &options.keys)),
        options.use_database_keys,
        options.derive_foreign_digests
    )
}

/// Reads and verifies every header of a system's database and indexes the signed digests. One bad header, key or
/// signature is a finding; an error means that there is nothing to say.
///
/// Headers that look damaged or forged while rpm is at work are looked at again: it may not have finished writing them.
pub fn scan(options: &ScanOptions) -> Result<ScanOutcome, ScanError> {
    scan_until_whole(options, || Ok(scan_once(options, None)?.0))
}

/// The same after an earlier scan that is still in memory: of signatures that it found good the mathematics is not
/// repeated, as long as pins and key material are the same. Everything else is. Gives also what the next scan needs.
pub fn rescan(options: &ScanOptions, known: &Proven) -> Result<(ScanOutcome, Proven), ScanError> {
    let mut proven = Proven::default();
    let outcome = scan_until_whole(options, || {
        let (outcome, now) = scan_once(options, Some(known))?;
        proven = now;
        Ok(outcome)
    })?;
    Ok((outcome, proven))
}

fn scan_until_whole(
    options: &ScanOptions,
    mut scan_once: impl FnMut() -> Result<ScanOutcome, ScanError>,
) -> Result<ScanOutcome, ScanError> {
    for attempt in 1..TRIES {
        let outcome = scan_once()?;
        if !outcome.findings.iter().any(Finding::may_be_half_written) {
            return Ok(outcome);
        }
        std::thread::sleep(PAUSE * attempt);
        let located = locate(&open_root(&options.root)?, options.dbpath.as_deref())?;
        let at_work = outcome.summary.transaction_running || located.transaction_running();
        if !at_work && located.stamp()? == outcome.summary.stamp {
            return Ok(outcome);
        }
    }
    scan_once()
}

fn scan_once(options: &ScanOptions, known: Option<&Proven>) -> Result<(ScanOutcome, Proven), ScanError> {
    let root = open_root(&options.root)?;
    let db = RpmDb::open(&root, options.dbpath.as_deref(), options.scratch.as_deref())?;
    let mut keys = options.keys.clone();
    if options.use_database_keys {
        keys.extend(database_keys(&db)?);
    }
    let (keyring, findings) = Keyring::build(&options.pins, &keys);
    let recall = known.map(|known| Recall::new(known, &options.pins, &keys));
    let collector = Mutex::new(Collector::new(findings));
    let job = Job {
        keyring: &keyring,
        recall: recall.as_ref(),
        root: &root,
        options,
        collector: &collector,
    };
    let damage = job.run(&db);
    let mut collector = collector.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = damage {
        // Something was read, so go on with that.
        if collector.n_headers() == 0 {
            return Err(error.into());
        }
        let database = db.path().display().to_string();
        collector.add_finding(Finding::DamagedDatabase {
            database,
            reason: chain(&error),
        });
    }
    let summary = ScanSummary {
        database: db.path().display().to_string(),
        backend: db.backend().name().to_owned(),
        stamp: db.stamp().to_owned(),
        transaction_running: db.transaction_running(),
        ignored_databases: db
            .ignored()
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        usable_keys: keyring.n_usable() as u64,
        ..ScanSummary::default()
    };
    let retire = options.retire.as_ref().map(|old| (old, &keyring, &options.pins));
    let outcome = collector
        .finish(summary, &note(options, db.stamp()), retire)
        .map_err(ScanError::Index)?;
    Ok((outcome, recall.map(Recall::finish).unwrap_or_default()))
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The keys that rpm imported: gpg-pubkey headers. They are unsigned; only pinned keys among them will count.
pub(crate) fn database_keys(db: &RpmDb) -> Result<Vec<KeyMaterial>, DbError> {
    let mut keys = Vec::new();
    let mut add = |number: u32, blob: &[u8]| {
        if Header::peek_name(blob) == Some(KEY_PACKAGE)
            && let Ok(header) = Header::parse_db(blob)
        {
            keys.extend(key_of(&header, number));
        }
    };
    if let Some(named) = std::str::from_utf8(KEY_PACKAGE)
        .ok()
        .and_then(|name| db.named(name))
    {
        for (number, blob) in &named {
            add(*number, blob);
        }
        return Ok(keys);
    }
    let walked = db.for_each(&mut |record| {
        if let Ok((number, blob)) = record {
            add(number, &blob);
        }
        ControlFlow::Continue(())
    });
    match walked {
        Err(error) if keys.is_empty() => Err(error),
        _ => Ok(keys),
    }
}

/// Key material of a gpg-pubkey header: PUBKEYS is base64, DESCRIPTION is armour.
fn key_of(header: &Header, number: u32) -> Vec<KeyMaterial> {
    use base64::Engine;
    let mut found = Vec::new();
    for view in [header.region(), header.dribbles()] {
        let source = || {
            let nevra = Nevra::read(view)
                .map(|nevra| nevra.to_string())
                .unwrap_or_default();
            format!("{nevra} in the rpm database (header {number})")
        };
        for text in view.strings(tag::PUBKEYS).into_iter().flatten() {
            if let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) {
                found.push(KeyMaterial {
                    source: source(),
                    bytes,
                });
            }
        }
        if found.is_empty()
            && let Ok(Some(armor)) = view.string(tag::DESCRIPTION)
        {
            found.push(KeyMaterial {
                source: source(),
                bytes: armor.to_vec(),
            });
        }
    }
    found
}

/// What the workers share.
#[derive(Clone, Copy)]
struct Job<'a> {
    keyring: &'a Keyring,
    recall: Option<&'a Recall<'a>>,
    root: &'a Root,
    options: &'a ScanOptions,
    collector: &'a Mutex<Collector>,
}

impl Job<'_> {
    /// Walks the database; the error is what ended the walk early.
    fn run(self, db: &RpmDb) -> Option<DbError> {
        let threads = match self.options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        if threads == 1 {
            let mut visit = |record| {
                self.record(record);
                ControlFlow::Continue(())
            };
            return db.for_each(&mut visit).err();
        }
        let (sender, receiver) = sync_channel::<Record>(2 * threads);
        let receiver = Mutex::new(receiver);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&receiver));
            }
            let mut visit = |record| match sender.send(record) {
                Ok(()) => ControlFlow::Continue(()),
                // Every worker is gone: one of them panicked, which the scope reports.
                Err(_closed) => ControlFlow::Break(()),
            };
            let result = db.for_each(&mut visit);
            drop(sender);
            result.err()
        })
    }

    fn work(self, receiver: &Mutex<Receiver<Record>>) {
        loop {
            let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(record) = next else { return };
            self.record(record);
        }
    }

    fn record(self, record: Record) {
        let collect = |add: &mut dyn FnMut(&mut Collector)| {
            add(&mut self.collector.lock().unwrap_or_else(PoisonError::into_inner));
        };
        let (number, blob) = match record {
            Ok(record) => record,
            Err(error) => {
                let reason = chain(&error);
                return collect(&mut |collector| collector.unreadable(String::new(), 0, reason.clone()));
            }
        };
        let header = match Header::parse_db(&blob) {
            Ok(header) => header,
            Err(error) => {
                let name = Header::peek_name(&blob)
                    .map(String::from_utf8_lossy)
                    .unwrap_or_default();
                return collect(&mut |collector| {
                    collector.unreadable(name.clone().into_owned(), number, error.to_string());
                });
            }
        };
        drop(blob);
        let view = if header.region_facts().is_some() {
            header.region()
        } else {
            header.dribbles()
        };
        let nevra = Nevra::read(view).unwrap_or_default();
        // A key has no files; something that has is a package, whatever it calls itself.
        if nevra.name.as_bytes() == KEY_PACKAGE && !header.region().has(tag::BASENAMES) {
            return collect(&mut |collector| collector.key_header());
        }
        let repeated = header.repeated_tags();
        let Checked { header, problems, .. } = match self.recall {
            Some(recall) => check_header_again(self.keyring, header, recall),
            None => check_header(self.keyring, header),
        };
        let derived = match &header {
            Ok(header) if header.digest_algorithm() != DigestAlgorithm::Sha256 => {
                Derived::find(self.root, header, self.options.derive_foreign_digests)
            }
            _ => Derived::default(),
        };
        let package = nevra.to_string();
        collect(&mut |collector| {
            collector.judge(&package, number, &header, &problems, &repeated);
            if let Ok(header) = &header {
                collector.index(&package, header, &derived);
            }
        });
    }
}

#[cfg(test)]
mod tests;
