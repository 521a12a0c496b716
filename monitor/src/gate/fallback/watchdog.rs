//! The process that watches the responder: starts it, waits for its signs of life, kills it when there are none, and
//! starts it again. It holds no descriptor of the fanotify group, so nothing waits for it.

use super::channel::{self, ChannelError, Kind};
use super::deadman::DeadMan;
use super::pulse::{ALIVE, ANSWERS, ANSWERS_NOT_MEMORY};
use super::responder::BEGIN;
use super::{Job, News, RESPONDER_FLAG};
use crate::child::end_with_parent;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Hidden flag of `hardpand` that makes it the watchdog.
pub const WATCHDOG_FLAG: &str = "--gate-watchdog";
/// Pause before the responder is started again: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A watchdog that does nothing for this long is ended by the kernel, and the daemon starts another: while it starts a
/// responder, which a slow disk may hold up, and between two of them. Longer than any pause.
const OWN_LIMIT: Duration = Duration::from_secs(90);
/// The same while a responder runs, or twice what that one is allowed where this is more.
const WATCHING: Duration = Duration::from_secs(15);
/// A responder that lived this long begins with the first pause again.
const LIVED: Duration = Duration::from_secs(60);

/// Why the watchdog gives up.
#[derive(Debug, Error)]
pub enum WatchdogError {
    /// Its input is no job.
    #[error("standard input brings no job of hardpand: this process is not meant to be started by hand")]
    Job(#[source] ChannelError),
    /// The job cannot be read.
    #[error("reading the job")]
    Text(#[source] serde_json::Error),
    /// The daemon does not listen any more.
    #[error("telling the daemon about the gate's responder")]
    Tell(#[source] io::Error),
    /// The kernel gave no timer.
    #[error("setting the timer that ends the watchdog of the gate's responder when it stalls")]
    Timer(#[source] io::Error),
    /// The responder could not be waited for.
    #[error("waiting for the gate's responder")]
    Wait(#[source] io::Error),
}

/// Runs as the watchdog until the daemon ends.
pub fn watchdog() -> Result<(), WatchdogError> {
    match run() {
        // The daemon has ended, and the kernel is about to end this process, too.
        Err(WatchdogError::Job(ChannelError::Closed)) => Ok(()),
        other => other,
    }
}

fn run() -> Result<(), WatchdogError> {
    end_with_parent();
    super::responder::survive_shortage();
    let message = channel::receive(io::stdin().as_fd(), true).map_err(WatchdogError::Job)?;
    if message.kind != Kind::Job {
        return Err(WatchdogError::Job(ChannelError::Unknown));
    }
    let text = message.body;
    let job: Job = serde_json::from_slice(&text).map_err(WatchdogError::Text)?;
    let mut table = message.fds.into_iter().next();
    let mut dead_man = DeadMan::within(OWN_LIMIT).map_err(timer)?;
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        // What came while nobody ran.
        while let Some(newer) = newer_table()? {
            table = Some(newer);
        }
        let news = match start(&text, table.as_ref()) {
            Ok((mut child, line)) => {
                let news = watch(&mut child, &line, &mut table, job, &mut dead_man)?;
                dead_man.alive(OWN_LIMIT).map_err(timer)?;
                // Also after it ended by itself: nothing of it may stay.
                let _dead = child.kill();
                let status = child.wait().map_err(WatchdogError::Wait)?;
                match news {
                    News::Ended(_) => News::Ended(status.to_string()),
                    news => news,
                }
            }
            Err(error) => News::Ended(format!("it cannot be started: {error}")),
        };
        tell(&news)?;
        dead_man.alive(OWN_LIMIT).map_err(timer)?;
        if began.elapsed() > LIVED {
            pause = PAUSE;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A table that the daemon has sent.
fn newer_table() -> Result<Option<OwnedFd>, WatchdogError> {
    match channel::receive(io::stdin().as_fd(), false) {
        Ok(message) if message.kind == Kind::Table => Ok(message.fds.into_iter().next()),
        Ok(_) => Err(WatchdogError::Job(ChannelError::Unknown)),
        Err(ChannelError::Empty) => Ok(None),
        Err(error) => Err(WatchdogError::Job(error)),
    }
}

/// Starts a responder. Back come it and the end of the line on which it gets tables.
fn start(job: &[u8], table: Option<&OwnedFd>) -> io::Result<(Child, OwnedFd)> {
    let (here, there) = channel::pair()?;
    let daemon = io::stdin();
    let fds: Vec<_> = table
        .into_iter()
        .flat_map(|table| [table.as_fd(), daemon.as_fd()])
        .collect();
    channel::send(here.as_fd(), Kind::Job, job, &fds)?;
    // This very program, even if its file has been replaced meanwhile.
    let child = Command::new(Path::new("/proc/self/exe"))
        .arg(RESPONDER_FLAG)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(there))
        .stdout(Stdio::piped())
        .spawn()?;
    Ok((child, here))
}

/// Until the responder ends or gives no sign of life.
fn watch(
    child: &mut Child,
    line: &OwnedFd,
    table: &mut Option<OwnedFd>,
    job: Job,
    dead_man: &mut DeadMan,
) -> Result<News, WatchdogError> {
    let daemon = io::stdin();
    let Some(mut signs) = child.stdout.take() else {
        return Ok(News::Ended(String::new()));
    };
    let timeout = Duration::from_millis(u64::from(job.timeout_ms));
    let mut limit = BEGIN.max(timeout);
    let mut last = Instant::now();
    let mut buffer = [0; 4096];
    loop {
        dead_man.alive(WATCHING.max(limit * 2)).map_err(timer)?;
        let left = limit.saturating_sub(last.elapsed());
        if left.is_zero() {
            return Ok(News::Killed);
        }
        let wait = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut fds = [
            PollFd::new(signs.as_fd(), PollFlags::POLLIN),
            PollFd::new(daemon.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, wait) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(WatchdogError::Wait(errno.into())),
        }
        let [has_signs, has_table] = fds.map(|fd| fd.any().unwrap_or(true));
        if has_table && let Some(newer) = newer_table()? {
            let sent = channel::send(line.as_fd(), Kind::Table, b"", &[newer.as_fd()]);
            *table = Some(newer);
            // It does not take them; the next one begins with this. One that is gone shows below.
            if sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Ok(News::Killed);
            }
        }
        if !has_signs {
            continue;
        }
        let read = signs.read(&mut buffer).map_err(WatchdogError::Wait)?;
        let Some(seen) = buffer.get(..read).filter(|seen| !seen.is_empty()) else {
            return Ok(News::Ended(String::new()));
        };
        if seen.contains(&ANSWERS) {
            tell(&News::Answers)?;
        } else if seen.contains(&ANSWERS_NOT_MEMORY) {
            tell(&News::AnswersNotMemory)?;
        }
        if [ALIVE, ANSWERS, ANSWERS_NOT_MEMORY]
            .iter()
            .any(|word| seen.contains(word))
        {
            last = Instant::now();
            limit = timeout;
        }
    }
}

fn timer(errno: nix::errno::Errno) -> WatchdogError {
    WatchdogError::Timer(errno.into())
}

fn tell(news: &News) -> Result<(), WatchdogError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", news.line())
        .and_then(|()| out.flush())
        .map_err(WatchdogError::Tell)
}
