//! The gate's watchdog and responder, seen from the daemon: started when the gate is to enforce at tier B, ended when not.

use crate::gate::fallback::{Job, News, WATCHDOG_FLAG};
use hardpan_core::policy::effective::Doubt;
use hardpan_core::record::{Finding, FindingCode};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pause before a watchdog that ended is started again.
const PAUSE: Duration = Duration::from_secs(2);

/// Both processes.
#[derive(Debug)]
pub(super) struct Fallback {
    tell: mpsc::Sender<(u64, News)>,
    news: mpsc::Receiver<(u64, News)>,
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
        Self {
            tell,
            news,
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

    /// Has both run with these settings.
    pub(super) fn ensure(&mut self, job: Job) {
        if self.running.as_ref().is_some_and(|(running, _)| *running == job) {
            return;
        }
        self.stop();
        self.run += 1;
        let (run, tell) = (self.run, self.tell.clone());
        self.running = Some((job, tokio::spawn(keep(job, run, tell))));
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
        self.answers = false;
    }

    /// Waits for news of the present run.
    pub(super) async fn next(&mut self) -> News {
        loop {
            match self.news.recv().await {
                Some((run, news)) if run == self.run && self.running.is_some() => {
                    self.answers = news == News::Answers;
                    self.is_missed |= !self.answers;
                    return news;
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

async fn keep(job: Job, run: u64, tell: mpsc::Sender<(u64, News)>) {
    loop {
        let why = match talk(job, run, &tell).await {
            Ok(status) => format!("its watchdog ended: {status}"),
            Err(error) => format!("its watchdog cannot be started: {error}"),
        };
        if tell.send((run, News::Ended(why))).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn talk(
    job: Job,
    run: u64,
    tell: &mpsc::Sender<(u64, News)>,
) -> std::io::Result<std::process::ExitStatus> {
    let mut child = Command::new(Path::new("/proc/self/exe"))
        .arg(WATCHDOG_FLAG)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(&job)?).await?;
    }
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(news) = News::parse(&line)
                && tell.send((run, news)).await.is_err()
            {
                break;
            }
        }
    }
    child.wait().await
}

/// What an operator has to know of it.
pub(super) fn finding(news: &News, timeout_ms: u32, doubt: Doubt) -> Option<Finding> {
    let until = match doubt {
        Doubt::Open => {
            "runs, with an alert where the policy refuses what nobody signed (gate.on_doubt = \"open\")"
        }
        Doubt::Closed => "is judged as if nobody had signed it (gate.on_doubt = \"closed\")",
    };
    let (code, what) = match news {
        News::Answers => return None,
        News::Killed => (
            FindingCode::GateResponderKilled,
            format!("gave no sign of life for {timeout_ms} ms and was killed: whoever waited for it goes on"),
        ),
        News::Ended(why) => (FindingCode::GateResponderEnded, format!("ended ({why})")),
    };
    Some(
        Finding::new(
            code,
            format!("the process that takes digests for the gate {what}; until it is back, what the kernel has no digest of {until}"),
        )
        .hint("it is started again by itself; a slow disk can be the reason, gate.fallback_timeout_ms is the limit"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_say_what_becomes_of_what_is_unknown() {
        assert!(finding(&News::Answers, 10, Doubt::Open).is_none());
        let killed = finding(&News::Killed, 1000, Doubt::Closed).unwrap();
        assert_eq!(killed.code, FindingCode::GateResponderKilled);
        assert!(
            killed.message.contains("1000 ms") && killed.message.contains("closed"),
            "{killed:?}"
        );
        let ended = finding(&News::Ended("exit status: 3".into()), 10, Doubt::Open).unwrap();
        assert!(
            ended.message.contains("exit status: 3") && ended.message.contains("alert"),
            "{ended:?}"
        );
    }
}
