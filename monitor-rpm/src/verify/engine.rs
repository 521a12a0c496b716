//! Headers in, reports out: threads that verify headers, cut file lists into portions, and look at files.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::compare::{Properties, compare, excuses_absence};
use super::job::{Job, portions};
use super::look::{Look, Looker, Progress, Shared};
use super::users::Accounts;
use super::{
    FileReport, MAX_REPORTS, PackageReport, Verdict, VerifyError, VerifyOptions, VerifyOutcome, VerifySummary,
};
use crate::db::{Record, RpmDb};
use crate::files::FileTable;
use crate::finding::Finding;
use crate::header::{Header, View, tag};
use crate::scan::collect::Collector;
use crate::scan::{KEY_PACKAGE, chain, database_keys, open_root};
use crate::signature::{Checked, FileState, Keyring, Nevra, UnsignedFacts, check_header};

/// A package of which files are looked at.
#[derive(Debug)]
struct Subject {
    package: String,
    /// Name and architecture: two packages that share both do not excuse each other.
    kind: (String, Option<String>),
    verified: bool,
}

/// Files of one package for one thread.
#[derive(Debug)]
struct Portion {
    subject: Arc<Subject>,
    jobs: Vec<Job>,
}

/// What the threads take work from.
#[derive(Debug, Default)]
struct Queue {
    portions: VecDeque<Portion>,
    /// Threads that read headers right now, and so may add portions.
    busy: usize,
    /// Whether all headers were taken.
    exhausted: bool,
}

/// A differing file, and what is needed to look whether it is another package's.
#[derive(Debug)]
struct Suspect {
    report: FileReport,
    kind: (String, Option<String>),
    color: u32,
}

/// The colour that rpm prefers: 64-bit ELF.
const PREFERRED_COLOR: u32 = 2;

/// Whether a path that packages of several architectures own is the first one's and not the second one's.
fn is_preferred(color: u32, other: u32) -> bool {
    other != 0 && color & PREFERRED_COLOR != 0 && other & PREFERRED_COLOR == 0
}

/// What one thread found.
#[derive(Debug, Default)]
struct Found {
    suspects: Vec<Suspect>,
    packages: Vec<PackageReport>,
    /// Hashes of all paths, to tell which are owned twice.
    paths: Vec<u64>,
    summary: VerifySummary,
}

/// What the threads share.
#[derive(Debug)]
struct Engine<'a> {
    options: &'a VerifyOptions,
    keyring: &'a Keyring,
    shared: &'a Shared<'a>,
    collector: Mutex<Collector>,
    queue: Mutex<Queue>,
    wake: Condvar,
    hasher: RandomState,
}

/// Verifies the installed files of a system. `progress` can be watched from another thread.
pub fn verify(options: &VerifyOptions, progress: &Progress) -> Result<VerifyOutcome, VerifyError> {
    let scan = &options.scan;
    let root = open_root(&scan.root)?;
    let db = RpmDb::open(&root, scan.dbpath.as_deref(), scan.scratch.as_deref())?;
    let mut keys = scan.keys.clone();
    if scan.use_database_keys {
        keys.extend(database_keys(&db)?);
    }
    let (keyring, findings) = Keyring::build(&scan.pins, &keys);
    let accounts = Accounts::read(&root);
    let shared = Shared {
        root: &root,
        accounts: &accounts,
        progress,
        links: Mutex::default(),
        compare_digests: options.digests,
        drop_cache: options.drop_cache,
    };
    let engine = Engine {
        options,
        keyring: &keyring,
        shared: &shared,
        collector: Mutex::new(Collector::new(findings)),
        queue: Mutex::default(),
        wake: Condvar::new(),
        hasher: RandomState::new(),
    };
    let (mut found, damage) = engine.run(&db);
    let mut collector = engine.collector.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = damage {
        if collector.n_headers() == 0 && found.packages.is_empty() {
            return Err(error.into());
        }
        let database = db.path().display().to_string();
        collector.add_finding(Finding::DamagedDatabase {
            database,
            reason: chain(&error),
        });
    }
    if found.packages.is_empty() && !(options.packages.is_empty() && options.paths.is_empty()) {
        let wanted = options.packages.iter().map(ToString::to_string);
        let paths = options.paths.iter().map(|path| path.display().to_string());
        return Err(VerifyError::NoMatch(
            wanted.chain(paths).collect::<Vec<_>>().join(", "),
        ));
    }
    engine.find_replaced(&db, &mut found);
    Ok(outcome(found, collector.findings(), progress))
}

fn outcome(found: Found, findings: Vec<Finding>, progress: &Progress) -> VerifyOutcome {
    let mut summary = found.summary;
    let mut files: Vec<FileReport> = found.suspects.into_iter().map(|suspect| suspect.report).collect();
    files.sort_by(|a, b| (&a.package, &a.path).cmp(&(&b.package, &b.path)));
    for report in &files {
        *match report.verdict {
            Verdict::Changed => &mut summary.changed,
            Verdict::ConfigModified => &mut summary.config_modified,
            Verdict::Missing => &mut summary.missing,
            Verdict::Replaced { .. } => &mut summary.replaced,
            Verdict::Unreadable { .. } => &mut summary.unreadable,
        } += 1;
    }
    let mut packages = found.packages;
    packages.sort_by(|a, b| a.package.cmp(&b.package));
    summary.packages = packages.len() as u64;
    summary.verified = packages
        .iter()
        .filter(|package| package.refused.is_none())
        .count() as u64;
    summary.bytes_hashed = progress.bytes_hashed.load(Ordering::Relaxed);
    summary.links_skipped = progress.links_skipped.load(Ordering::Relaxed);
    VerifyOutcome {
        files,
        packages,
        findings,
        summary,
    }
}

impl Engine<'_> {
    fn n_threads(&self) -> usize {
        match self.options.scan.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    /// Runs all threads to the end; the error is what ended the walk over the database early.
    fn run(&self, db: &RpmDb) -> (Found, Option<crate::db::DbError>) {
        let n_threads = self.n_threads();
        let (sender, receiver) = sync_channel::<Record>(2 * n_threads);
        let receiver = Mutex::new(receiver);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..n_threads)
                .map(|_| scope.spawn(|| self.work(&receiver)))
                .collect();
            let result = db.for_each(&mut |record| match sender.send(record) {
                Ok(()) => ControlFlow::Continue(()),
                // Every thread is gone: one of them panicked, which is passed on below.
                Err(_closed) => ControlFlow::Break(()),
            });
            drop(sender);
            let mut all = Found::default();
            for thread in threads {
                match thread.join() {
                    Ok(found) => all.add(found),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            (all, result.err())
        })
    }

    fn work(&self, receiver: &Mutex<Receiver<Record>>) -> Found {
        let mut found = Found::default();
        let mut looker = Looker::new(self.shared);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(portion) = queue.portions.pop_front() {
                drop(queue);
                self.look_at(&mut looker, &portion, &mut found);
                queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            } else if !queue.exhausted {
                queue.busy += 1;
                drop(queue);
                let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let exhausted = next.is_err();
                let portions = next.map_or_else(|_closed| Vec::new(), |record| self.read(record, &mut found));
                queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.busy -= 1;
                queue.exhausted |= exhausted;
                queue.portions.extend(portions);
                self.wake.notify_all();
            } else if queue.busy == 0 {
                return found;
            } else {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Verifies a header and cuts up its file list.
    fn read(&self, record: Record, found: &mut Found) -> Vec<Portion> {
        let collect = |add: &mut dyn FnMut(&mut Collector)| {
            add(&mut self.collector.lock().unwrap_or_else(PoisonError::into_inner));
        };
        let unreadable = |package: &str, number: u32, reason: &dyn std::error::Error| {
            let reason = chain(reason);
            collect(&mut |collector| collector.unreadable(package.to_owned(), number, reason.clone()));
            Vec::new()
        };
        let (number, blob) = match record {
            Ok(record) => record,
            Err(error) => return unreadable("", 0, &error),
        };
        let header = match Header::parse_db(&blob) {
            Ok(header) => header,
            Err(error) => {
                let name = Header::peek_name(&blob)
                    .map(String::from_utf8_lossy)
                    .unwrap_or_default();
                return unreadable(&name, number, &error);
            }
        };
        drop(blob);
        let nevra = Nevra::read(signed_view(&header)).unwrap_or_default();
        let package = nevra.to_string();
        let is_key = nevra.name.as_bytes() == KEY_PACKAGE && !header.region().has(tag::BASENAMES);
        if is_key || !self.wants_package(&nevra, &package) {
            return Vec::new();
        }
        let repeated = header.repeated_tags();
        let Checked {
            header,
            problems,
            unverified,
        } = check_header(self.keyring, header);
        let subject = Arc::new(Subject {
            package: package.clone(),
            kind: (nevra.name, nevra.arch),
            verified: header.is_ok(),
        });
        let jobs = match (&header, &unverified) {
            (Ok(header), _) => {
                let states = header
                    .unsigned()
                    .file_states()
                    .chain(std::iter::repeat(FileState::Normal));
                self.portions_of(header.files().zip(states))
            }
            (Err(_), Some(header)) => match FileTable::check(signed_view(header)) {
                Ok(table) => {
                    let states = UnsignedFacts::of(header);
                    let states = states.file_states().chain(std::iter::repeat(FileState::Normal));
                    self.portions_of(table.files(signed_view(header)).zip(states))
                }
                Err(error) => return unreadable(&package, number, &error),
            },
            (Err(_), None) => Vec::new(),
        };
        if jobs.is_empty() && !self.options.paths.is_empty() {
            return Vec::new();
        }
        collect(&mut |collector| collector.judge(&package, number, &header, &problems, &repeated));
        let signer = header.as_ref().ok().and_then(|header| header.signers().first());
        found.packages.push(PackageReport {
            package,
            signer: signer.map(|signer| signer.pin.name.clone()),
            key: signer.map(|signer| signer.key.to_string()),
            refused: header.as_ref().err().map(|refusal| chain(refusal)),
        });
        let n_files: usize = jobs.iter().map(Vec::len).sum();
        self.shared
            .progress
            .files_known
            .fetch_add(n_files as u64, Ordering::Relaxed);
        jobs.into_iter()
            .map(|jobs| Portion {
                subject: Arc::clone(&subject),
                jobs,
            })
            .collect()
    }

    fn portions_of<'b>(
        &self,
        files: impl Iterator<Item = (crate::files::FileEntry<'b>, FileState)>,
    ) -> Vec<Vec<Job>> {
        if self.options.paths.is_empty() {
            return portions(files);
        }
        portions(files.filter(|(file, _)| self.wants_path(&file.path())))
    }

    fn wants_package(&self, nevra: &Nevra, package: &str) -> bool {
        let patterns = &self.options.packages;
        patterns.is_empty()
            || patterns
                .iter()
                .any(|glob| glob.matches(&nevra.name) || glob.matches(package))
    }

    fn wants_path(&self, path: &[u8]) -> bool {
        self.options.paths.iter().any(|wanted| {
            let wanted = wanted.as_os_str().as_bytes();
            let wanted = wanted.strip_suffix(b"/").unwrap_or(wanted);
            path.strip_prefix(wanted)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }

    fn look_at(&self, looker: &mut Looker<'_>, portion: &Portion, found: &mut Found) {
        for job in &portion.jobs {
            found.summary.files += 1;
            let path = job.path();
            found.paths.push(self.hasher.hash_one(merged(&path)));
            let Some(report) = self.report(looker, &portion.subject, job, path, &mut found.summary) else {
                continue;
            };
            if found.suspects.len() < MAX_REPORTS {
                found.suspects.push(Suspect {
                    report,
                    kind: portion.subject.kind.clone(),
                    color: job.color,
                });
            } else {
                found.summary.reports_dropped += 1;
            }
        }
    }

    /// What is wrong with a file, if anything.
    fn report(
        &self,
        looker: &mut Looker<'_>,
        subject: &Subject,
        job: &Job,
        path: Vec<u8>,
        summary: &mut VerifySummary,
    ) -> Option<FileReport> {
        let mut report = FileReport {
            package: String::new(),
            verified: subject.verified,
            path,
            verdict: Verdict::Changed,
            properties: Properties::default(),
            letter: job.letter(),
            differences: Vec::new(),
        };
        match looker.look(job) {
            Look::Missing
                if excuses_absence(job.state) || job.flags.is_ghost() || job.flags.is_missing_ok() =>
            {
                summary.absent_excused += 1;
                return None;
            }
            Look::Missing => report.verdict = Verdict::Missing,
            Look::Failed(error) => {
                report.verdict = Verdict::Unreadable {
                    error: error.to_string(),
                }
            }
            Look::There {
                facts,
                content,
                wanted,
            } => {
                if facts.mode & 0o170_000 == 0o100_000 && !wanted.has(Properties::DIGEST) {
                    summary.generated += 1;
                }
                let (properties, differences) = compare(job, &facts, &content, wanted, self.shared.accounts);
                if properties.is_empty() {
                    summary.fine += 1;
                    return None;
                }
                report.verdict = verdict(job, properties, &differences);
                (report.properties, report.differences) = (properties, differences);
            }
        }
        report.package.clone_from(&subject.package);
        Some(report)
    }

    /// Looks whether differing files are those of another verified package, by reading the headers once more.
    fn find_replaced(&self, db: &RpmDb, found: &mut Found) {
        found.paths.sort_unstable();
        let shared_path = |path: &[u8]| {
            let hash = self.hasher.hash_one(merged(path));
            let first = found.paths.partition_point(|&other| other < hash);
            found.paths.get(first + 1) == Some(&hash)
        };
        // With a narrowed look, other packages were not counted.
        let narrowed = !(self.options.packages.is_empty() && self.options.paths.is_empty());
        let mut suspects: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (position, suspect) in found.suspects.iter().enumerate() {
            let there = matches!(suspect.report.verdict, Verdict::Changed | Verdict::ConfigModified);
            if there && (narrowed || shared_path(&suspect.report.path)) {
                suspects
                    .entry(merged(&suspect.report.path).into_owned())
                    .or_default()
                    .push(position);
            }
        }
        if suspects.is_empty() {
            return;
        }
        let mut looker = Looker::new(self.shared);
        let walked = db.for_each(&mut |record| {
            if let Ok((_, blob)) = record {
                self.excuse(&blob, &suspects, &mut looker, &mut found.suspects);
            }
            ControlFlow::Continue(())
        });
        // What cannot be read a second time excuses nothing; the first walk has reported it.
        drop(walked);
        let before = found.suspects.len();
        found.suspects.retain(|suspect| {
            let compared = matches!(suspect.report.verdict, Verdict::Changed | Verdict::ConfigModified);
            !compared || !suspect.report.properties.is_empty()
        });
        found.summary.fine += (before - found.suspects.len()) as u64;
    }

    /// Excuses the suspects that are as this header wants them.
    fn excuse(
        &self,
        blob: &[u8],
        wanted: &BTreeMap<Vec<u8>, Vec<usize>>,
        looker: &mut Looker<'_>,
        suspects: &mut [Suspect],
    ) {
        let Ok(header) = Header::parse_db(blob) else {
            return;
        };
        let Ok(table) = FileTable::check(header.region()) else {
            return;
        };
        let mut any = table.files(header.region()).map(|file| file.path());
        if !any.any(|path| wanted.contains_key(&*merged(&path))) {
            return;
        }
        let Ok(header) = check_header(self.keyring, header).header else {
            return;
        };
        let kind = (header.nevra().name.clone(), header.nevra().arch.clone());
        let by = header.nevra().to_string();
        let files = header
            .files()
            .filter(|file| wanted.contains_key(&*merged(&file.path())));
        for job in portions(files.map(|file| (file, FileState::Normal)))
            .iter()
            .flatten()
        {
            let Look::There {
                facts,
                content,
                wanted: properties,
            } = looker.look(job)
            else {
                continue;
            };
            let (mut differs, differences) = compare(job, &facts, &content, properties, self.shared.accounts);
            // The path has two owners, each with a time of its own: rpm compares neither.
            differs.remove(Properties::MTIME);
            let fits = differs.is_empty() || verdict(job, differs, &differences) == Verdict::ConfigModified;
            for &position in wanted.get(&*merged(&job.path())).into_iter().flatten() {
                let Some(suspect) = suspects.get_mut(position) else {
                    continue;
                };
                // Another version of the same package would excuse a downgrade.
                if suspect.kind == kind {
                    continue;
                }
                suspect.report.forget_time();
                // So would the other architecture's file where this one's is preferred.
                if is_preferred(suspect.color, job.color) {
                    continue;
                }
                if fits {
                    suspect.report.verdict = Verdict::Replaced { by: by.clone() };
                } else if is_preferred(job.color, suspect.color) && !differs.has(Properties::DIGEST) {
                    suspect.report.forget_content();
                }
            }
        }
    }
}

impl Found {
    fn add(&mut self, other: Self) {
        let room = MAX_REPORTS.saturating_sub(self.suspects.len());
        let dropped = other.suspects.len().saturating_sub(room);
        self.suspects.extend(other.suspects.into_iter().take(room));
        self.packages.extend(other.packages);
        self.paths.extend(other.paths);
        let (sum, more) = (&mut self.summary, other.summary);
        sum.files += more.files;
        sum.fine += more.fine;
        sum.absent_excused += more.absent_excused;
        sum.generated += more.generated;
        sum.reports_dropped += more.reports_dropped + dropped as u64;
    }
}

/// The part of a header that would be signed, or all of a header without region.
fn signed_view(header: &Header) -> View<'_> {
    if header.region_facts().is_some() {
        header.region()
    } else {
        header.dribbles()
    }
}

/// A path as it is on systems where `/bin`, `/sbin`, `/lib` and `/lib64` are links into `/usr`: two packages that
/// name one file differently own the same file.
fn merged(path: &[u8]) -> Cow<'_, [u8]> {
    const MERGED: [&[u8]; 4] = [b"/bin/", b"/sbin/", b"/lib/", b"/lib64/"];
    if MERGED.iter().any(|dir| path.starts_with(dir)) {
        return Cow::Owned([b"/usr", path].concat());
    }
    Cow::Borrowed(path)
}

fn verdict(job: &Job, properties: Properties, differences: &[super::Difference]) -> Verdict {
    if properties.has(Properties::READ_FAILED) || properties.has(Properties::READLINK_FAILED) {
        let error = differences
            .iter()
            .find(|difference| difference.found.starts_with("unreadable"));
        return Verdict::Unreadable {
            error: error.map(|error| error.found.clone()).unwrap_or_default(),
        };
    }
    let content = Properties(Properties::DIGEST.0 | Properties::SIZE.0 | Properties::MTIME.0);
    if job.flags.is_config() && properties.is_within(content) {
        return Verdict::ConfigModified;
    }
    Verdict::Changed
}
