//! Running programs: shown, checked, and with what they said kept for the error.

use crate::error::{Done, TaskError};
use crate::ui;
use std::process::{Command, ExitStatus, Stdio};

/// Lines of a failed program's output that an error repeats.
const LINES_KEPT: usize = 30;

/// The command line as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "'\"$&;|<>()*?".contains(c)) {
                format!("'{}'", word.replace('\'', r"'\''"))
            } else {
                word.into_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a program that talks to the user itself.
pub(crate) fn run(command: &mut Command) -> Done {
    ui::say(&format!("  $ {}", shown(command)));
    let status = command.status().map_err(|source| TaskError::Start {
        command: shown(command),
        source,
    })?;
    check(command, status, String::new())
}

/// Runs a program for its output.
pub(crate) fn output(command: &mut Command) -> Done<String> {
    Ok(String::from_utf8_lossy(&output_bytes(command)?).into_owned())
}

/// Runs a program for its output, which need not be text.
pub(crate) fn output_bytes(command: &mut Command) -> Done<Vec<u8>> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| TaskError::Start {
            command: shown(command),
            source,
        })?;
    let said = last_lines(&String::from_utf8_lossy(&out.stderr));
    check(command, out.status, said)?;
    Ok(out.stdout)
}

/// Runs a program quietly; what it said shows up only when it fails.
pub(crate) fn quiet(command: &mut Command) -> Done {
    said(command).map(drop)
}

/// Runs a program for what it says, on standard output and standard error.
pub(crate) fn said(command: &mut Command) -> Done<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| TaskError::Start {
            command: shown(command),
            source,
        })?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    check(command, out.status, last_lines(&said))?;
    Ok(said)
}

/// Whether a program can be started and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn check(command: &Command, status: ExitStatus, said: String) -> Done {
    if status.success() {
        return Ok(());
    }
    Err(TaskError::Command {
        command: shown(command),
        ended: format!("ended with {status}"),
        said,
    })
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES_KEPT)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_pasted() {
        let mut command = Command::new("apt-get");
        command.args(["install", "a b", "it's", "", "--define=x"]);
        assert_eq!(shown(&command), r"apt-get install 'a b' 'it'\''s' '' --define=x");
    }

    #[test]
    fn a_failure_says_what_was_run_and_what_it_said() {
        let error = quiet(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 7"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("sh -c") && text.contains("exit status: 7") && text.contains("out\nerr"),
            "{text}"
        );
        let error = quiet(&mut Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(error.to_string(), "starting `/nonexistent/program`");
    }
}
