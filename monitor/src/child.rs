//! A child of this program that is handed a job on standard input and answers on standard output: how the daemon keeps
//! databases, audits and sweeps out of its own process.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// Longest complaint that is taken, in bytes.
const MAX_COMPLAINT_BYTES: u64 = 16 << 10;
/// Longest job in text that a child takes, in bytes.
const MAX_JOB_BYTES: u64 = 1 << 20;
/// As far down as it goes.
const NICE: i32 = 19;

/// Why there is no answer at all.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The child could not be started.
    Spawn(io::Error),
    /// The job could not be handed over or the answer not be taken.
    Pipe(io::Error),
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub answer: Vec<u8>,
    /// What it wrote to standard error.
    pub complaint: String,
}

/// Starts `program` with one flag, hands it the job and takes its answer, `most` bytes of it. The child is killed when
/// this future is dropped.
pub(crate) async fn ask(program: &Path, flag: &str, job: Vec<u8>, most: u64) -> Result<Ended, Trouble> {
    let mut child = Command::new(program)
        .arg(flag)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Trouble::Spawn)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let send = async move {
        if let Some(mut stdin) = stdin {
            // A child that died has said why on its standard error.
            let _broken_pipe = stdin.write_all(&job).await;
        }
    };
    let ((), answer, complaint) = tokio::join!(send, take(stdout, most), take(stderr, MAX_COMPLAINT_BYTES));
    let status = child.wait().await.map_err(Trouble::Pipe)?;
    let complaint = complaint.map_err(Trouble::Pipe)?;
    Ok(Ended {
        status,
        answer: answer.map_err(Trouble::Pipe)?,
        complaint: String::from_utf8_lossy(&complaint).trim().to_owned(),
    })
}

async fn take(stream: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// In the child: ends with the daemon.
pub(crate) fn end_with_parent() {
    // Where this is refused, the pipe breaks anyway.
    let _unsupported = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
}

/// In the child: has time.
pub(crate) fn give_way() {
    // A kernel that refuses to make a process less important leaves it as it is.
    let _unsupported = rustix::process::nice(NICE);
}

/// In the child: the job, in text.
pub(crate) fn job() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_JOB_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
