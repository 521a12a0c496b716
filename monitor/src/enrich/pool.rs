//! Threads that hash files, so that a slow disk delays one record and not all.

use super::bounded::BoundedMap;
use super::hash::{Hashed, Wanted, hash};
use super::identity::Identity;
use hardpan_core::verdict::NoDigest;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How far ahead of its budget hashing may run: a burst of new files is hashed at once, a flood is not.
const BURST: Duration = Duration::from_secs(4);
/// Longest sleep before a thread looks whether it is to end.
const NAP: Duration = Duration::from_millis(50);

/// Files of one event to hash, and the event itself on its way through.
#[derive(Debug)]
pub struct Job<T> {
    /// The event.
    pub event: T,
    /// Its file.
    pub file: Option<Wanted>,
    /// Its script.
    pub script: Option<Wanted>,
}

/// A finished job.
#[derive(Debug)]
pub struct Done<T> {
    /// The event.
    pub event: T,
    /// Its file, if that was asked for.
    pub file: Option<Result<Hashed, NoDigest>>,
    /// Its script, if that was asked for.
    pub script: Option<Result<Hashed, NoDigest>>,
}

/// Digests by inode identity, shared by the threads and the event loop.
#[derive(Debug, Clone)]
pub struct DigestCache {
    entries: Arc<Mutex<BoundedMap<Identity, [u8; 32]>>>,
}

impl DigestCache {
    /// A cache of at most `capacity` digests.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: Arc::new(Mutex::new(BoundedMap::new(capacity))),
        }
    }

    /// The digest of the file with this identity.
    pub fn get(&self, identity: &Identity) -> Option<[u8; 32]> {
        self.lock().get(identity).copied()
    }

    fn insert(&self, identity: Identity, digest: [u8; 32]) {
        self.lock().insert(identity, digest);
    }

    /// A panic elsewhere cannot leave the map half changed in a way that matters: entries are independent.
    fn lock(&self) -> MutexGuard<'_, BoundedMap<Identity, [u8; 32]>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes the threads may read in a second, all together.
#[derive(Debug, Default)]
struct Budget {
    /// 0: as many as they can.
    bytes_per_s: AtomicU64,
    /// When what was read so far is paid for.
    paid_at: Mutex<Option<Instant>>,
    /// Nobody waits any more: the daemon stops.
    over: AtomicBool,
}

impl Budget {
    /// Waits until the debt is within the burst.
    fn wait(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let paid_at = *self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
            let ahead = paid_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            if ahead <= BURST {
                return;
            }
            thread::sleep(NAP.min(ahead.saturating_sub(BURST)));
        }
    }

    fn spend(&self, bytes: u64) {
        let rate = self.bytes_per_s.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let micros = u128::from(bytes)
            .saturating_mul(1_000_000)
            .checked_div(u128::from(rate))
            .unwrap_or_default();
        let cost = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let from = paid_at.map_or(now, |at| at.max(now));
        *paid_at = from.checked_add(cost).or(*paid_at);
    }
}

/// The threads.
#[derive(Debug)]
pub struct HashPool<T> {
    budget: Arc<Budget>,
    jobs: Option<SyncSender<Box<Job<T>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> HashPool<T> {
    /// Starts the threads. Results come through the receiver, which holds as many as the queue does.
    pub fn start(
        n_threads: usize,
        queue: usize,
        max_size_bytes: u64,
        cache: &DigestCache,
    ) -> std::io::Result<(Self, mpsc::Receiver<Done<T>>)> {
        let (jobs, waiting) = sync_channel(queue.max(1));
        let (results, done) = mpsc::channel(queue.max(1));
        let waiting = Arc::new(Mutex::new(waiting));
        let budget = Arc::new(Budget::default());
        let mut threads = Vec::new();
        for n in 0..n_threads.max(1) {
            let (waiting, results, cache) = (Arc::clone(&waiting), results.clone(), cache.clone());
            let budget = Arc::clone(&budget);
            let thread = thread::Builder::new()
                .name(format!("hash-{n}"))
                .spawn(move || work(&waiting, &results, &cache, &budget, max_size_bytes))?;
            threads.push(thread);
        }
        Ok((
            Self {
                budget,
                jobs: Some(jobs),
                threads,
            },
            done,
        ))
    }

    /// Queues a job; hands it back if there is no room.
    pub fn submit(&self, job: Box<Job<T>>) -> Result<(), Box<Job<T>>> {
        match &self.jobs {
            None => Err(job),
            Some(jobs) => jobs.try_send(job).map_err(|error| match error {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }),
        }
    }

    /// How many bytes may be read in a second from now on; 0: as many as can be.
    pub fn set_budget(&self, bytes_per_s: u64) {
        self.budget.bytes_per_s.store(bytes_per_s, Ordering::Relaxed);
    }

    /// Takes no more jobs. The receiver ends when the waiting ones are done.
    pub fn close(&mut self) {
        self.budget.over.store(true, Ordering::Relaxed);
        self.jobs = None;
    }

    /// All threads have ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

fn work<T>(
    waiting: &Mutex<Receiver<Box<Job<T>>>>,
    results: &mpsc::Sender<Done<T>>,
    cache: &DigestCache,
    budget: &Budget,
    max_size_bytes: u64,
) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let one =
            |wanted: Option<Wanted>| wanted.map(|wanted| cached(&wanted, cache, budget, max_size_bytes));
        let done = Done {
            event: job.event,
            file: one(job.file),
            script: one(job.script),
        };
        if results.blocking_send(done).is_err() {
            return;
        }
    }
}

fn cached(
    wanted: &Wanted,
    cache: &DigestCache,
    budget: &Budget,
    max_size_bytes: u64,
) -> Result<Hashed, NoDigest> {
    // Many executions of a new file wait together: the first one hashes it for all.
    if let Some(identity) = &wanted.identity
        && let Some(sha256) = cache.get(identity)
    {
        return Ok(Hashed {
            sha256,
            info: info_of(identity),
            path: None,
            settled: true,
        });
    }
    budget.wait();
    let hashed = hash(wanted, max_size_bytes)?;
    budget.spend(hashed.info.size_bytes);
    if hashed.settled
        && let Some(identity) = Identity::of_event(&hashed.info)
    {
        cache.insert(identity, hashed.sha256);
    }
    Ok(hashed)
}

/// Only for a file whose event carries the full inode anyway.
fn info_of(identity: &Identity) -> hardpan_abi::FileInfo {
    hardpan_abi::FileInfo {
        dev: identity.dev,
        ino: identity.ino,
        size_bytes: identity.size_bytes,
        ctime_s: identity.ctime_s,
        ctime_ns: identity.ctime_ns,
        ..hardpan_abi::FileInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn wanted(place: &str) -> Wanted {
        Wanted {
            places: vec![PathBuf::from(place)],
            identity: None,
            at_us: i64::MAX,
        }
    }

    #[test]
    fn a_budget_allows_bursts_and_ends_floods() {
        let budget = Budget::default();
        budget.spend(u64::MAX);
        budget.wait();
        budget.bytes_per_s.store(1000, Ordering::Relaxed);
        let ahead = || {
            budget
                .paid_at
                .lock()
                .unwrap()
                .unwrap()
                .saturating_duration_since(Instant::now())
        };
        budget.spend(3000);
        budget.wait();
        assert!(ahead() > Duration::ZERO, "within the burst nobody waits");
        budget.spend(3000);
        budget.wait();
        assert!(ahead() <= BURST, "beyond it somebody does");
        // The daemon stops: what waits is hashed at once.
        budget.spend(1_000_000);
        budget.over.store(true, Ordering::Relaxed);
        budget.wait();
        assert!(ahead() > BURST);
    }

    #[tokio::test]
    async fn jobs_are_done_and_remembered() {
        let cache = DigestCache::new(16);
        let (mut pool, mut done) = HashPool::start(2, 8, 1 << 30, &cache).unwrap();
        let itself = std::env::current_exe().unwrap();
        let file = Wanted {
            places: vec![itself.clone()],
            ..wanted("")
        };
        assert!(
            pool.submit(Box::new(Job {
                event: 1,
                file: Some(file),
                script: Some(wanted("/nonexistent/x"))
            }))
            .is_ok()
        );
        pool.close();
        assert!(
            pool.submit(Box::new(Job {
                event: 2,
                file: None,
                script: None
            }))
            .is_err()
        );
        let first = done.recv().await.unwrap();
        assert_eq!(first.event, 1);
        let hashed = first.file.unwrap().unwrap();
        assert_eq!(first.script.unwrap().unwrap_err(), NoDigest::ProcessGone);
        assert!(done.recv().await.is_none(), "the threads ended");
        let content = std::fs::read(itself).unwrap();
        assert_eq!(
            hashed.sha256,
            ring::digest::digest(&ring::digest::SHA256, &content).as_ref()
        );
        if hashed.settled {
            assert_eq!(
                cache.get(&Identity::of_event(&hashed.info).unwrap()),
                Some(hashed.sha256)
            );
        }
    }

    #[test]
    fn a_full_queue_hands_the_job_back() {
        let cache = DigestCache::new(16);
        // A FIFO blocks nobody: the thread is kept busy by results that nobody takes.
        let (pool, _done) = HashPool::start(1, 1, 1 << 30, &cache).unwrap();
        let mut refused = 0;
        for n in 0..64 {
            if let Err(job) = pool.submit(Box::new(Job {
                event: n,
                file: None,
                script: None,
            })) {
                assert_eq!(job.event, n);
                refused += 1;
            }
        }
        assert!(refused > 0);
    }
}
