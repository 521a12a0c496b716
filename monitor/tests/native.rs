//! `hardpand` on this machine's own kernel, where it is allowed to load its programs: start, records, rotation, stop.
//!
//! Needs root and the eBPF objects (`HARDPAN_BPF_OBJECT`, set by `cargo xtask test`); says so and does nothing else.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

/// A running daemon that is ended with the test, whatever comes.
struct Daemon {
    child: Child,
    log: PathBuf,
    notified: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Daemon {
    /// Starts it and waits until it watches. `None` where the kernel does not let it, or there is nothing to load.
    fn start() -> Option<Self> {
        let object = std::env::var_os("HARDPAN_BPF_OBJECT").filter(|object| !object.is_empty());
        let object = object.map(PathBuf::from).map(|object| {
            // Relative to where cargo was started, which is above the package's directory.
            if object.exists() {
                object
            } else {
                Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(object)
            }
        });
        let Some(object) = object.filter(|_| nix::unistd::Uid::effective().is_root()) else {
            println!("skipped: needs root and HARDPAN_BPF_OBJECT");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("events.json");
        let config = dir.path().join("hardpan.toml");
        let text = format!(
            "run_dir = \"{0}/run\"\n[record]\nexec = \"all\"\n[output]\nfile = \"{0}/events.json\"\n\
             [trust]\nroot = \"{0}\"\npins = []\nkeyring = []\n[sensor]\nleast_tier = \"none\"\n",
            dir.path().display()
        );
        fs::write(&config, text).unwrap();
        let socket = dir.path().join("notify");
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_nonblocking(true).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hardpand"))
            .arg("--config")
            .arg(&config)
            .env("HARDPAN_BPF_OBJECT", object)
            .env("NOTIFY_SOCKET", &socket)
            .stderr(File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut daemon = Self {
            child,
            log,
            notified,
            dir,
        };
        loop {
            if daemon.child.try_wait().unwrap().is_some() {
                let stderr = fs::read_to_string(daemon.dir.path().join("stderr")).unwrap();
                println!("skipped: this kernel does not let it: {stderr}");
                return None;
            }
            if daemon
                .records()
                .iter()
                .any(|record| action(record) == "hardpand-started")
            {
                return Some(daemon);
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// The records so far, of the file and of the one it was before.
    fn records(&self) -> Vec<Value> {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let text = read(&self.log.with_extension("json.1")) + &read(&self.log);
        // The last line may be half written.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits for a record, far longer than it can take.
    fn wait_for(&self, what: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..2400 {
            if let Some(record) = self.records().into_iter().find(&what) {
                return record;
            }
            sleep(Duration::from_millis(50));
        }
        panic!(
            "no such record: {}",
            fs::read_to_string(&self.log).unwrap_or_default()
        );
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// What systemd would have been told.
    fn told(&self) -> String {
        let mut told = String::new();
        let mut buffer = [0; 4096];
        while let Ok(n) = self.notified.recv(&mut buffer) {
            told.push_str(&String::from_utf8_lossy(&buffer[..n]));
            told.push('\n');
        }
        told
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn action(record: &Value) -> &str {
    record["event"]["action"].as_str().unwrap_or_default()
}

fn ran(record: &Value, command_line: &str) -> bool {
    action(record) == "exec" && record["process"]["command_line"] == command_line
}

#[test]
fn from_start_to_stop() {
    let Some(mut daemon) = Daemon::start() else { return };
    // No package database below its root: said in a record, and no verdict is given.
    daemon.wait_for(|record| action(record) == "rpmdb-unreadable");

    let mark = format!("hardpan-test-{}", std::process::id());
    Command::new("/bin/true").arg(&mark).status().unwrap();
    let exec = daemon.wait_for(|record| ran(record, &format!("/bin/true {mark}")));
    assert_eq!(exec["Hardpan"]["verdict"], "unverified");
    assert_eq!(exec["Hardpan"]["file"]["why"], "no-trust-database");
    assert_eq!(exec["process"]["parent"]["pid"], std::process::id());

    // A script: the interpreter runs, and the script is named.
    let script = daemon.dir.path().join("script.sh");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Command::new(&script).arg(&mark).status().unwrap();
    let line = format!("/bin/sh {} {mark}", script.display());
    let exec = daemon.wait_for(|record| ran(record, &line));
    assert_eq!(exec["file"]["path"], script.to_str().unwrap());
    assert_eq!(exec["Hardpan"]["script"]["path"], script.to_str().unwrap());

    // A program that is in no directory.
    let memfd = memfd_create(c"hidden", MFdFlags::empty()).unwrap();
    let mut file = File::from(memfd);
    file.write_all(&fs::read("/bin/true").unwrap()).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    // The kernel runs nothing that somebody has open for writing.
    let readable = File::open(&path).unwrap();
    drop(file);
    let path = format!("/proc/{}/fd/{}", std::process::id(), readable.as_raw_fd());
    Command::new(&path).arg(&mark).status().unwrap();
    let exec = daemon.wait_for(|record| ran(record, &format!("{path} {mark}")));
    assert_eq!(exec["Hardpan"]["verdict"], "fileless");
    assert_eq!(exec["threat"]["technique"]["id"][0], "T1620");

    // Rotation.
    fs::rename(&daemon.log, daemon.log.with_extension("json.1")).unwrap();
    daemon.signal(Signal::SIGHUP);
    let again = format!("{mark}-again");
    Command::new("/bin/true").arg(&again).status().unwrap();
    daemon.wait_for(|record| ran(record, &format!("/bin/true {again}")));

    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    let records = daemon.records();
    let stop = records.last().unwrap();
    assert_eq!(action(stop), "hardpand-stopped");
    let ledger = &stop["Hardpan"]["ledger"];
    let number = |key: &str| ledger[key].as_i64().unwrap();
    assert_eq!(
        number("generated"),
        number("recorded")
            + number("aggregated")
            + number("lost")
            + number("pending")
            + number("unaccounted")
    );
    assert_eq!((number("pending"), number("unaccounted")), (0, 0));
    for (record, sequence) in records.iter().zip(1i64..) {
        assert_eq!(
            record["event"]["sequence"], sequence,
            "no gap, over the rotation too"
        );
    }
    let told = daemon.told();
    assert!(told.contains("READY=1") && told.contains("STOPPING=1"), "{told}");
}
