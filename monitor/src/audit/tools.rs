//! Questions to the running system: programs with a time limit and bounded output.

use std::fmt::Write as _;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hardpan_core::audit::{Read, Tool};

/// How long a program may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Most bytes of its output that are kept.
const OUTPUT_MAX: u64 = 16 << 20;
/// Most bytes of its standard error.
const COMPLAINT_MAX: u64 = 64 << 10;
const PATHS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What a program answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Exit status; `None` if a signal ended it.
    pub(super) status: Option<i32>,
    /// Standard output.
    pub(super) stdout: String,
    /// First line of standard error.
    pub(super) complaint: String,
}

/// Runs a program of the system without a shell, with an environment of its own.
pub(super) fn run(program: &str, args: &[&str]) -> Read<Answer> {
    run_within(program, args, TIME_MAX)
}

/// The same with a time limit of the caller's. The limit holds whatever the program and its children do: who cannot
/// even be killed (waiting for a file server, say) is left behind.
pub(super) fn run_within(program: &str, args: &[&str], limit: Duration) -> Read<Answer> {
    let Some(path) = PATHS
        .iter()
        .map(|dir| format!("{dir}/{program}"))
        .find(|path| std::path::Path::new(path).exists())
    else {
        return Ok(None);
    };
    let begin = Instant::now();
    let mut child = Command::new(&path)
        .args(args)
        .env_clear()
        .env("PATH", PATHS.join(":"))
        .env("LC_ALL", "C")
        .env("SYSTEMD_PAGER", "cat")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its children end with it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start {path}: {error}"))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{path} has no output"));
    };
    let stdout = reader(stdout, OUTPUT_MAX);
    let stderr = reader(stderr, COMPLAINT_MAX);
    let late = |child: &mut Child| {
        end_group(child);
        Err(format!("no answer within {} s", limit.as_secs()))
    };
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code(),
            Ok(None) if begin.elapsed() > limit => return late(&mut child),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(error.to_string()),
        }
    };
    // A child of its own may have inherited the pipes and hold them open.
    let left = || limit.saturating_sub(begin.elapsed());
    let Ok(stdout) = stdout.recv_timeout(left()) else {
        return late(&mut child);
    };
    let stderr = stderr.recv_timeout(left()).unwrap_or_default();
    Ok(Some(Answer {
        status,
        stdout,
        complaint: stderr.lines().next().unwrap_or_default().to_owned(),
    }))
}

/// Reads a pipe to its end on a thread of its own.
fn reader(source: impl std::io::Read + Send + 'static, bound: u64) -> Receiver<String> {
    let (sender, text) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is still what the program said.
        if source.take(bound).read_to_end(&mut bytes).is_err() {
            bytes.extend_from_slice(b"\n");
        }
        // Nobody may wait for it any more.
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    text
}

/// Kills a child and its children. One that sits in the kernel and does not die is not waited for.
fn end_group(child: &mut Child) {
    let group = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // Fails only if all have ended meanwhile.
        let _ended = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    for _ in 0..50 {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Answers one of the questions checks may ask.
pub(super) fn ask(tool: Tool) -> Read<Arc<str>> {
    let (program, args): (&str, &[&str]) = match tool {
        Tool::Sshd => ("sshd", &["-T"]),
        Tool::AuditRules => ("auditctl", &["-l"]),
        Tool::AuditStatus => ("auditctl", &["-s"]),
        Tool::Nft => ("nft", &["list", "ruleset"]),
        Tool::Firewalld => ("firewall-cmd", &["--list-all-zones"]),
        Tool::DefaultTarget => ("systemctl", &["get-default"]),
        Tool::Users => ("getent", &["passwd"]),
        Tool::OpensslProviders => ("openssl", &["list", "-providers"]),
        Tool::Processes => return Ok(Some(processes().into())),
    };
    match run(program, args)? {
        None => Ok(None),
        Some(answer) if answer.status == Some(0) => Ok(Some(answer.stdout.into())),
        Some(answer) => {
            let status = answer
                .status
                .map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"));
            Err(format!("{program} ended with {status}: {}", answer.complaint))
        }
    }
}

/// Label, number and name of every process.
fn processes() -> String {
    let mut lines = String::new();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return lines;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let label = read("attr/current");
        let _infallible = writeln!(
            lines,
            "{} {name} {}",
            label.trim_end_matches(['\0', '\n']),
            read("comm").trim()
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_answer_or_say_why_not() {
        let answer = run("echo", &["a", "$(b)"]).unwrap().unwrap();
        assert_eq!((answer.status, answer.stdout.as_str()), (Some(0), "a $(b)\n"));
        assert_eq!(run("false", &[]).unwrap().unwrap().status, Some(1));
        assert!(run("no-such-program-here", &[]).unwrap().is_none());
    }

    #[test]
    fn the_limit_holds_whatever_a_program_and_its_children_do() {
        let check = |script: &str| {
            let why = run_within("sh", &["-c", script], Duration::from_secs(1)).unwrap_err();
            assert_eq!(why, "no answer within 1 s", "{script}");
        };
        check("sleep 1000");
        // It ends at once; its child keeps the pipes open.
        check("sleep 1000 & echo done");
        check("trap '' TERM INT HUP; sleep 1000");
    }
}
