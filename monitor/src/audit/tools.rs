//! Questions to the running system: programs with a time limit and bounded output.

use std::fmt::Write as _;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hardpan_core::audit::{Read, Tool};

/// How long a program may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Most bytes of its output that are kept.
const OUTPUT_MAX: u64 = 16 << 20;
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
    let Some(path) = PATHS
        .iter()
        .map(|dir| format!("{dir}/{program}"))
        .find(|path| std::path::Path::new(path).exists())
    else {
        return Ok(None);
    };
    let mut child = Command::new(&path)
        .args(args)
        .env_clear()
        .env("PATH", PATHS.join(":"))
        .env("LC_ALL", "C")
        .env("SYSTEMD_PAGER", "cat")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {path}: {error}"))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{path} has no output"));
    };
    let reader = |source: Box<dyn std::io::Read + Send>, bound: u64| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read until an error is still what the program said.
            if source.take(bound).read_to_end(&mut bytes).is_err() {
                bytes.extend_from_slice(b"\n");
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = reader(Box::new(stdout), OUTPUT_MAX);
    let stderr = reader(Box::new(stderr), 64 << 10);
    let begin = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code(),
            Ok(None) if begin.elapsed() > TIME_MAX => {
                // Killing can only fail if it has ended meanwhile.
                drop(child.kill());
                drop(child.wait());
                return Err(format!("no answer within {} s", TIME_MAX.as_secs()));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(error.to_string()),
        }
    };
    let stdout = stdout
        .join()
        .map_err(|_| "its output could not be read".to_owned())?;
    let stderr = stderr.join().unwrap_or_default();
    Ok(Some(Answer {
        status,
        stdout,
        complaint: stderr.lines().next().unwrap_or_default().to_owned(),
    }))
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
}
