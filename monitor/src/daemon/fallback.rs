//! The gate's watchdog and responder, seen from the daemon: started when the gate is to enforce at tier B or C, ended when
//! not.

use crate::gate::fallback::channel::{self, Kind};
use crate::gate::fallback::{Job, News, WATCHDOG_FLAG, sealed};
use hardpan_core::policy::effective::Doubt;
use hardpan_core::record::{Finding, FindingCode};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Pause before a watchdog that ended is started again.
const PAUSE: Duration = Duration::from_secs(2);

/// Records that wait for the event loop; more wait in the socket, and what finds no room there is counted.
const RECORDS: usize = 64;

/// What is heard of them.
#[derive(Debug)]
pub(super) enum Heard {
    /// How they are.
    News(News),
    /// A record of the responder, behind the number of those that were lost.
    Record(Vec<u8>),
}

/// The daemon's ends of the lines, until nobody is at the other end.
type Lines = Arc<Mutex<Vec<Arc<OwnedFd>>>>;

/// What a run of both goes by.
#[derive(Debug, Clone)]
struct Run {
    job: Job,
    number: u64,
    tell: mpsc::Sender<(u64, News)>,
    record: mpsc::Sender<Vec<u8>>,
    table: watch::Receiver<Option<Arc<OwnedFd>>>,
    lines: Lines,
}

/// Both processes.
#[derive(Debug)]
pub(super) struct Fallback {
    tell: mpsc::Sender<(u64, News)>,
    news: mpsc::Receiver<(u64, News)>,
    record: mpsc::Sender<Vec<u8>>,
    records: mpsc::Receiver<Vec<u8>>,
    /// What the responder judges by, where it does.
    table: watch::Sender<Option<Arc<OwnedFd>>>,
    lines: Lines,
    running: Option<(Job, JoinHandle<()>)>,
    /// Counts starts: what was told before the last one is old.
    run: u64,
    answers: bool,
    /// It was told that nobody answers, and not yet that somebody does again.
    is_missed: bool,
}

impl Fallback {
    /// Nobody runs yet.
    pub(super) fn new() -> Self {
        let (tell, news) = mpsc::channel(16);
        let (record, records) = mpsc::channel(RECORDS);
        Self {
            tell,
            news,
            record,
            records,
            table: watch::Sender::new(None),
            lines: Lines::default(),
            running: None,
            run: 0,
            answers: false,
            is_missed: false,
        }
    }

    /// Whether executions are answered, by these settings.
    pub(super) fn answers(&self, job: Job) -> bool {
        self.answers && self.running.as_ref().is_some_and(|(running, _)| *running == job)
    }

    /// Whether both run, or are about to.
    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Has both run with these settings.
    pub(super) fn ensure(&mut self, job: Job) {
        if self.running.as_ref().is_some_and(|(running, _)| *running == job) {
            return;
        }
        self.stop();
        self.run += 1;
        let run = Run {
            job,
            number: self.run,
            tell: self.tell.clone(),
            record: self.record.clone(),
            table: self.table.subscribe(),
            lines: Arc::clone(&self.lines),
        };
        self.running = Some((job, tokio::spawn(keep(run))));
    }

    /// Has the responder judge by this table from now on; nobody waits until it does.
    pub(super) fn judge_by(&self, table: &[u8]) -> io::Result<()> {
        self.table.send_replace(Some(Arc::new(sealed(table)?)));
        Ok(())
    }

    /// Records that have come and that nobody waits for any more, too.
    pub(super) fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut left = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            left.push(record);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| channel::drain(line, &mut |record| left.push(record)));
        left
    }

    /// True once after somebody answers again.
    pub(super) const fn recovered(&mut self) -> bool {
        let recovered = self.answers && self.is_missed;
        self.is_missed &= !recovered;
        recovered
    }

    /// Ends both: nobody is held up from here on.
    pub(super) fn stop(&mut self) {
        if let Some((_, task)) = self.running.take() {
            // The watchdog is killed when the task goes, and the responder goes with it.
            task.abort();
        }
        // What the next run judges by is not known yet.
        self.table.send_replace(None);
        self.answers = false;
    }

    /// Waits for records, and for news of the present run.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            let news = tokio::select! {
                Some(record) = self.records.recv() => return Heard::Record(record),
                news = self.news.recv() => news,
            };
            match news {
                Some((run, news)) if run == self.run && self.running.is_some() => {
                    self.answers = matches!(news, News::Answers | News::AnswersNotMemory);
                    self.is_missed |= !self.answers;
                    return Heard::News(news);
                }
                Some(_) => {}
                // Not while `tell` lives here.
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Fallback {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn keep(mut run: Run) {
    loop {
        let why = match talk(&mut run).await {
            Ok(status) => format!("its watchdog ended: {status}"),
            Err(error) => format!("its watchdog cannot be started: {error}"),
        };
        if run.tell.send((run.number, News::Ended(why))).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn talk(run: &mut Run) -> io::Result<ExitStatus> {
    let table = if run.job.maps.is_some() {
        None
    } else {
        // It has nothing to judge by before.
        let table = run.table.wait_for(Option::is_some).await;
        table.map_err(io::Error::other)?.clone()
    };
    run.table.mark_unchanged();
    let (here, there) = channel::pair()?;
    let fds: Vec<BorrowedFd<'_>> = table.iter().map(|table| table.as_fd()).collect();
    channel::send(here.as_fd(), Kind::Job, &serde_json::to_vec(&run.job)?, &fds)?;
    let line = Arc::new(here);
    note(&run.lines, &line);
    let mut child = Command::new(Path::new("/proc/self/exe"))
        .arg(WATCHDOG_FLAG)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(there))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(stdout) = child.stdout.take() {
        let mut told = BufReader::new(stdout).lines();
        let wakes = std::os::unix::net::UnixStream::from(line.try_clone()?);
        wakes.set_nonblocking(true)?;
        let wakes = UnixStream::from_std(wakes)?;
        let mut is_open = true;
        loop {
            tokio::select! {
                text = told.next_line() => match text? {
                    Some(text) => {
                        if let Some(news) = News::parse(&text)
                            && run.tell.send((run.number, news)).await.is_err()
                        {
                            break;
                        }
                    }
                    None => break,
                },
                ready = wakes.readable(), if is_open => {
                    ready?;
                    let mut record = None;
                    // An error clears the readiness, so that it is waited for again.
                    let taken = wakes.try_io(Interest::READABLE, || match channel::receive(line.as_fd(), false) {
                        Ok(message) => {
                            record = Some(message).filter(|message| message.kind == Kind::Record);
                            Ok(true)
                        }
                        Err(channel::ChannelError::Unknown) => Ok(true),
                        Err(channel::ChannelError::Empty) => Err(io::ErrorKind::WouldBlock.into()),
                        Err(_) => Ok(false),
                    });
                    is_open = taken.unwrap_or(true);
                    if let Some(record) = record
                        && run.record.send(record.body).await.is_err()
                    {
                        break;
                    }
                }
                changed = run.table.changed() => {
                    changed.map_err(io::Error::other)?;
                    let table = run.table.borrow_and_update().clone();
                    if let Some(table) = table {
                        hand_over(&line, &table).await?;
                    }
                }
            }
        }
    }
    child.wait().await
}

/// What comes on this line is taken in any case.
fn note(lines: &Lines, line: &Arc<OwnedFd>) {
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    lines.push(Arc::clone(line));
}

/// The watchdog takes it at once, but while it waits for the kernel.
async fn hand_over(line: &OwnedFd, table: &OwnedFd) -> io::Result<()> {
    loop {
        match channel::send(line.as_fd(), Kind::Table, b"", &[table.as_fd()]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// What an operator has to know of it. `refuses`: at tier C, where it refuses by itself.
pub(super) fn finding(news: &News, timeout_ms: u32, doubt: Doubt, refuses: bool) -> Option<Finding> {
    let until = match doubt {
        _ if refuses => "nothing is refused (tier C: no program in the kernel can)",
        Doubt::Open => {
            "what the kernel has no digest of runs, with an alert where the policy refuses what nobody signed (gate.on_doubt = \"open\")"
        }
        Doubt::Closed => {
            "what the kernel has no digest of is judged as if nobody had signed it (gate.on_doubt = \"closed\")"
        }
    };
    let (code, what) = match news {
        News::Answers | News::AnswersNotMemory => return None,
        News::Killed => (
            FindingCode::GateResponderKilled,
            format!("gave no sign of life for {timeout_ms} ms and was killed: whoever waited for it goes on"),
        ),
        News::Ended(why) => (FindingCode::GateResponderEnded, format!("ended ({why})")),
    };
    let who = if refuses {
        "the process that answers for executions"
    } else {
        "the process that takes digests for the gate"
    };
    Some(
        Finding::new(code, format!("{who} {what}; until it is back, {until}")).hint(
            "it is started again by itself; a slow disk can be the reason, gate.fallback_timeout_ms is the limit",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_say_what_becomes_of_what_is_unknown() {
        assert!(finding(&News::Answers, 10, Doubt::Open, false).is_none());
        let killed = finding(&News::Killed, 1000, Doubt::Closed, false).unwrap();
        assert_eq!(killed.code, FindingCode::GateResponderKilled);
        assert!(
            killed.message.contains("1000 ms") && killed.message.contains("closed"),
            "{killed:?}"
        );
        let ended = finding(&News::Ended("exit status: 3".into()), 10, Doubt::Open, false).unwrap();
        assert!(
            ended.message.contains("exit status: 3") && ended.message.contains("alert"),
            "{ended:?}"
        );
        let alone = finding(&News::Killed, 1000, Doubt::Closed, true).unwrap();
        assert!(alone.message.contains("nothing is refused"), "{alone:?}");
    }
}
