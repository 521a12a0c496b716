//! Settings that are made by writing to the kernel or by running a program of the system.

use super::files;
use super::root::Root;
use super::run::HardenError;
use crate::chain::chain;
use hardpan_core::policy::harden::Host as _;
use hardpan_core::policy::harden::edit::{self, CRYPTO_CONFIG, LineEdit, Locator, Tool};
use std::fs;
use std::io;
use std::process::{Command, Output};

/// Sets a sysctl of the running kernel.
pub(super) fn write_sysctl(root: &Root, name: &str, value: &str) -> Result<(), HardenError> {
    let path = root.resolve(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    fs::write(path, format!("{value}\n")).map_err(|source| HardenError::Runtime {
        name: name.to_owned(),
        value: value.to_owned(),
        source,
    })
}

/// Exit code of firewall-cmd when firewalld does not run (`NOT_RUNNING` in firewalld's errors).
const NOT_RUNNING: i32 = 252;
/// The same when it cannot talk to the system bus (`DBUS_ERROR`); without a bus firewalld cannot run either.
const BUS_ERROR: i32 = 36;
/// The crypto policy in force; newer than the configuration if that was applied.
const CRYPTO_STATE: &str = "/etc/crypto-policies/state/current";
/// The system bus.
const BUS: &str = "/run/dbus/system_bus_socket";

/// Sets a value with its tool, and looks whether it is set now: a tool that says it worked is not enough.
pub(super) fn set(root: &Root, tool: &Tool, value: &str) -> Result<(), HardenError> {
    let text = text_of(root, tool).and_then(|text| with_value(&text, value));
    set_with(root, tool, value, text)
}

/// Sets the value there was before, with its file's text of then unless somebody changed that since. Answers what the
/// tool complained of, if the value is back all the same.
pub(super) fn restore(
    root: &Root,
    tool: &Tool,
    before: &str,
    after: &str,
    original: Option<&str>,
) -> Result<Option<String>, HardenError> {
    // Where it was not set, a failure may mean that the tool did nothing at all.
    let was_set = tool.current(root).as_deref() == Some(after);
    let present = text_of(root, tool);
    let text = present.and_then(|present| {
        let original = original?;
        // As `set` left it, or as the tool did, there or on the way back, before the comments could be put back, or not
        // yet touched.
        let is_ours = with_value(original, after).as_ref() == Some(&present)
            || [before, after].contains(&present.trim_end())
            || present == original;
        if is_ours {
            Some(original.to_owned())
        } else {
            with_value(&present, before)
        }
    });
    match set_with(root, tool, before, text) {
        Err(error) if was_set && tool.current(root).as_deref() == Some(before) && is_applied(root) => {
            Ok(Some(chain(&error)))
        }
        other => other.map(|()| None),
    }
}

/// Whether update-crypto-policies came to its end: it writes its state last, and `--is-applied` asks the same.
fn is_applied(root: &Root) -> bool {
    let time = |path: &str| fs::metadata(root.resolve(path).ok()?).ok()?.modified().ok();
    time(CRYPTO_STATE) >= time(CRYPTO_CONFIG)
}

/// The text of the file that a tool writes anew, without what people wrote into it.
pub(super) fn text_of(root: &Root, tool: &Tool) -> Option<String> {
    matches!(tool, Tool::CryptoPolicy)
        .then(|| root.read(CRYPTO_CONFIG))
        .flatten()
}

/// Sets a value; `text` is what the tool's own file is to be then, if the tool does not get that right.
fn set_with(root: &Root, tool: &Tool, value: &str, text: Option<String>) -> Result<(), HardenError> {
    let (program, arguments) = tool.command(value);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let in_file = |source| HardenError::File {
        item: tool.name().to_owned(),
        source,
    };
    match tool.file() {
        None if matches!(tool, Tool::CryptoPolicy) => {
            set_crypto_policy(root, value, text, || run(root, program, &arguments))?;
        }
        None => run(root, program, &arguments)?,
        Some((file, prefix)) => {
            let path = root.resolve(file)?;
            let before = files::Attributes::of(&path).map_err(in_file)?;
            let started = start(root, program, &arguments);
            let not_running = match &started {
                Ok(output) => {
                    output.status.code() == Some(NOT_RUNNING)
                        || (output.status.code() == Some(BUS_ERROR) && !root.resolve(BUS)?.exists())
                }
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            let outcome = if not_running {
                // The offline tools write more than the setting: copies of the zones that hide later updates.
                set_in_file(root, tool, file, prefix, value)
            } else {
                judge(program, started)
            };
            // Also after a failure: the file may be written all the same.
            before.put_back(&path).map_err(in_file)?;
            outcome?;
        }
    }
    if tool.current(root).as_deref() == Some(value) {
        return Ok(());
    }
    Err(HardenError::Program {
        program: program.to_owned(),
        output: format!("it reported success, but {} is not {value:?}", tool.name()),
    })
}

/// update-crypto-policies writes its configuration anew and forgets the comments in it, mode and label: they stay, with
/// the new value where the old one was.
fn set_crypto_policy(
    root: &Root,
    value: &str,
    text: Option<String>,
    set: impl FnOnce() -> Result<(), HardenError>,
) -> Result<(), HardenError> {
    let in_file = |source| HardenError::File {
        item: Tool::CryptoPolicy.name().to_owned(),
        source,
    };
    let path = root.resolve(CRYPTO_CONFIG)?;
    let before = files::Attributes::of(&path).map_err(in_file)?;
    let outcome = set();
    // Also after a failure: one back end that cannot be written does not keep it from writing the configuration.
    let is_set = Tool::CryptoPolicy.current(root).as_deref() == Some(value);
    if let Some(text) = text.filter(|text| is_set && root.read(CRYPTO_CONFIG).as_ref() != Some(text)) {
        let applied = fs::metadata(&path).and_then(|meta| meta.modified());
        files::replace(&path, &text).map_err(in_file)?;
        // `update-crypto-policies --is-applied` compares times: what is in force must not look older than this.
        if let Ok(applied) = applied {
            let dated = fs::File::open(&path).and_then(|file| file.set_modified(applied));
            dated.map_err(|source| HardenError::Program {
                program: Tool::CryptoPolicy.name().to_owned(),
                output: format!("the time of {CRYPTO_CONFIG} cannot be set: {source}"),
            })?;
        }
    }
    before.put_back(&path).map_err(in_file)?;
    outcome
}

/// The text with another value: in the place of the first one, comments and space around it kept; lines of further
/// sub-policies go. `None` if there is no value in it.
fn with_value(text: &str, value: &str) -> Option<String> {
    let mut is_there = false;
    let mut new = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let old = line.split('#').next().unwrap_or_default().trim();
        if old.is_empty() {
            new.push_str(line);
        } else if !is_there {
            is_there = true;
            new.push_str(&line.replacen(old, value, 1));
        }
    }
    is_there.then_some(new)
}

/// For a service that does not run: it reads the file when it starts.
fn set_in_file(root: &Root, tool: &Tool, file: &str, prefix: &str, value: &str) -> Result<(), HardenError> {
    let text = root.read(file);
    let before = text.as_deref().and_then(|text| {
        text.lines()
            .rfind(|line| line.trim_start().starts_with(prefix))
            .map(str::to_owned)
    });
    let change = LineEdit {
        locator: Locator::Prefix {
            prefix: prefix.to_owned(),
        },
        before,
        after: Some(format!("{prefix}{value}")),
        added: Vec::new(),
        removed: Vec::new(),
        separator: ' ',
    };
    let new = edit::apply(file, text.as_deref(), &change).map_err(|why| HardenError::Edit {
        item: tool.name().to_owned(),
        subject: file.to_owned(),
        why,
    })?;
    files::replace(&root.resolve(file)?, &new).map_err(|source| HardenError::File {
        item: tool.name().to_owned(),
        source,
    })
}

/// Runs a program of the root. Only a running host has programs that may run.
pub(super) fn run(root: &Root, program: &str, arguments: &[&str]) -> Result<(), HardenError> {
    judge(program, start(root, program, arguments))
}

fn start(root: &Root, program: &str, arguments: &[&str]) -> io::Result<Output> {
    let path = root.resolve(program).map_err(io::Error::other)?;
    Command::new(&path)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        // update-crypto-policies looks for policies in the working directory first, whoever may write there.
        .current_dir(root.directory())
        .output()
}

fn judge(program: &str, output: io::Result<Output>) -> Result<(), HardenError> {
    let failed = |output: String| HardenError::Program {
        program: program.to_owned(),
        output,
    };
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(ending(&String::from_utf8_lossy(&output.stderr)))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The last lines of what a program said: warnings come first, what it failed of last.
fn ending(said: &str) -> String {
    const SHOWN: usize = 400;
    let said = said.trim();
    let hidden = said.chars().count().saturating_sub(SHOWN);
    let shown: String = said.chars().skip(hidden).collect();
    match shown.split_once('\n') {
        // Not from the middle of a line, if a whole one follows.
        Some((_cut, rest)) if hidden > 0 => rest.to_owned(),
        _ => shown,
    }
}
