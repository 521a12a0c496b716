//! One life of `hardpand` inside the guest.

use super::part::pid_of;
use super::{GuestError, Port, RUN_DIR};
use crate::frame::{DaemonState, Head, SayKind};
use crate::plan::Group;
use nix::sys::signal::{Signal, kill};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PROGRAM: &str = "/usr/sbin/hardpand";
const CONFIG: &str = "/etc/hardpan/hardpan.toml";
/// Where the daemon writes records unless it is told otherwise.
const RECORDS: &str = "/var/log/hardpan/events.json";
const NOTIFY_SOCKET: &str = "/run/hardpan-vm/notify";
/// Time to get ready: BTF, trust database, programs, a self-test of each hook, all under emulation, and beside other machines
/// (40 s alone; 120 s were not enough for a machine among four on two slow processors).
const READY_LIMIT: Duration = Duration::from_secs(400);
/// Time to write the last records after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

/// A started daemon, its output and its notification socket.
#[derive(Debug)]
pub(super) struct Daemon {
    group: String,
    child: Child,
    notify: UnixDatagram,
    records: PathBuf,
    stderr: PathBuf,
    stderr_sent: u64,
    shown: u64,
    whole: u64,
    live: bool,
    since: Instant,
    ended: bool,
}

impl Daemon {
    pub(super) fn start(group: &Group, live: bool) -> Result<Self, GuestError> {
        fs::write(CONFIG, &group.config).map_err(GuestError::io(format!("writing {CONFIG}")))?;
        if Path::new(NOTIFY_SOCKET).exists() {
            fs::remove_file(NOTIFY_SOCKET).map_err(GuestError::io(format!("removing {NOTIFY_SOCKET}")))?;
        }
        let notify =
            UnixDatagram::bind(NOTIFY_SOCKET).map_err(GuestError::io(format!("binding {NOTIFY_SOCKET}")))?;
        notify
            .set_read_timeout(Some(POLL))
            .map_err(GuestError::io("setting a read timeout"))?;
        let file = |suffix: &str| Path::new(RUN_DIR).join(format!("{}.{suffix}", group.name));
        let (records, stdout, stderr) = (PathBuf::from(RECORDS), file("out"), file("err"));
        if records.exists() {
            fs::remove_file(&records).map_err(GuestError::io(format!("removing {RECORDS}")))?;
        }
        let create =
            |path: &Path| File::create(path).map_err(GuestError::io(format!("creating {}", path.display())));
        let child = Command::new(PROGRAM)
            .args(["--foreground", "--config", CONFIG])
            .env("NOTIFY_SOCKET", NOTIFY_SOCKET)
            .env("PATH", super::part::PATH)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(create(&stdout)?)
            .stderr(create(&stderr)?)
            .spawn()
            .map_err(GuestError::io(format!("starting {PROGRAM}")))?;
        Ok(Self {
            group: group.name.clone(),
            child,
            notify,
            records,
            stderr,
            stderr_sent: 0,
            shown: 0,
            whole: 0,
            live,
            since: Instant::now(),
            ended: false,
        })
    }

    /// Waits until the daemon says `READY=1` to its notification socket, as it would say to systemd.
    pub(super) fn wait_ready(&mut self, port: &mut Port) -> Result<DaemonState, GuestError> {
        let state = loop {
            let mut message = [0; 4096];
            if let Ok(bytes) = self.notify.recv(&mut message)
                && message
                    .get(..bytes)
                    .unwrap_or_default()
                    .split(|byte| *byte == b'\n')
                    .any(|line| line == b"READY=1")
            {
                break DaemonState::Ready;
            }
            if let Some(status) = self.poll_exit()? {
                break DaemonState::Refused(status.code());
            }
            if self.since.elapsed() > READY_LIMIT {
                break DaemonState::Stuck;
            }
            self.show(port)?;
        };
        self.tell(port, state.clone())?;
        Ok(state)
    }

    /// Asks the daemon to stop (SIGTERM), waits for it, and kills it when it does not obey.
    pub(super) fn stop(&mut self, port: &mut Port) -> Result<(), GuestError> {
        if self.ended {
            return Ok(());
        }
        self.since = Instant::now();
        self.signal(Signal::SIGTERM)?;
        let state = loop {
            if let Some(status) = self.poll_exit()? {
                break DaemonState::Stopped(status.code());
            }
            if self.since.elapsed() > STOP_LIMIT {
                self.signal(Signal::SIGKILL)?;
                self.child
                    .wait()
                    .map_err(GuestError::io("waiting for the killed daemon"))?;
                self.ended = true;
                break DaemonState::Stopped(None);
            }
            sleep(POLL);
        };
        self.show(port)?;
        self.tell(port, state)
    }

    /// Reports a daemon that ended by itself; whether it did.
    pub(super) fn report_death(&mut self, port: &mut Port) -> Result<bool, GuestError> {
        if !self.ended
            && let Some(status) = self.poll_exit()?
        {
            self.tell(port, DaemonState::Died(status.code()))?;
        }
        Ok(self.ended)
    }

    /// Bytes of whole records so far: a line still being written counts for what comes next.
    pub(super) fn written(&mut self) -> u64 {
        let new = read_from(&self.records, self.whole).unwrap_or_default();
        self.whole += new
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end as u64 + 1);
        self.whole
    }

    /// The file with the records.
    pub(super) fn records(&self) -> &Path {
        &self.records
    }

    /// Whether the records from `offset` on contain `text`.
    pub(super) fn has_written(&self, offset: u64, text: &str) -> bool {
        read_from(&self.records, offset)
            .is_some_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// Shows new records to a human, when one is watching.
    pub(super) fn show(&mut self, port: &mut Port) -> Result<(), GuestError> {
        if !self.live {
            return Ok(());
        }
        for line in new_lines(&self.records, &mut self.shown) {
            port.send(
                &Head::Say {
                    kind: SayKind::Record,
                },
                &line,
            )?;
        }
        Ok(())
    }

    /// Whether a human is watching.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    fn tell(&mut self, port: &mut Port, state: DaemonState) -> Result<(), GuestError> {
        let took_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let said = read_from(&self.stderr, self.stderr_sent).unwrap_or_default();
        self.stderr_sent += said.len() as u64;
        port.send(
            &Head::Daemon {
                group: self.group.clone(),
                state,
                took_ms,
            },
            &said,
        )
    }

    fn poll_exit(&mut self) -> Result<Option<ExitStatus>, GuestError> {
        let status = self
            .child
            .try_wait()
            .map_err(GuestError::io("looking after the daemon"))?;
        self.ended |= status.is_some();
        Ok(status)
    }

    fn signal(&self, signal: Signal) -> Result<(), GuestError> {
        kill(pid_of(&self.child), signal)
            .map_err(GuestError::system(format!("sending {signal} to the daemon")))
    }
}

/// The whole lines that `path` has beyond `offset`, which moves past them; a line without its end comes next time.
pub(super) fn new_lines(path: &Path, offset: &mut u64) -> Vec<Vec<u8>> {
    let mut new = read_from(path, *offset).unwrap_or_default();
    new.truncate(
        new.iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1),
    );
    *offset += new.len() as u64;
    new.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

fn read_from(path: &Path, offset: u64) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
