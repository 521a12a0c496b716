//! Settings that are made by writing to the kernel or by running a program of the system.

use super::files;
use super::root::Root;
use super::run::HardenError;
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
/// The system bus.
const BUS: &str = "/run/dbus/system_bus_socket";

/// Sets a value with its tool, and looks whether it is set now: a tool that says it worked is not enough.
pub(super) fn set(root: &Root, tool: &Tool, value: &str) -> Result<(), HardenError> {
    let (program, arguments) = tool.command(value);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let in_file = |source| HardenError::File {
        item: tool.name().to_owned(),
        source,
    };
    match tool.file() {
        None if matches!(tool, Tool::CryptoPolicy) => {
            set_crypto_policy(root, value, || run(root, program, &arguments))?;
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
    set: impl FnOnce() -> Result<(), HardenError>,
) -> Result<(), HardenError> {
    let in_file = |source| HardenError::File {
        item: Tool::CryptoPolicy.name().to_owned(),
        source,
    };
    let path = root.resolve(CRYPTO_CONFIG)?;
    let before = files::Attributes::of(&path).map_err(in_file)?;
    let text = root.read(CRYPTO_CONFIG).and_then(|text| with_value(&text, value));
    set()?;
    if let Some(text) = text.filter(|text| root.read(CRYPTO_CONFIG).as_ref() != Some(text)) {
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
    before.put_back(&path).map_err(in_file)
}

/// The text with another value; `None` if the value is not one line alone.
fn with_value(text: &str, value: &str) -> Option<String> {
    let is_value = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let mut values = text.lines().filter(is_value);
    let (Some(old), None) = (values.next(), values.next()) else {
        return None;
    };
    let new = |line: &str| {
        if line.trim_end_matches('\n') == old {
            line.replacen(old, value, 1)
        } else {
            line.to_owned()
        }
    };
    Some(text.split_inclusive('\n').map(new).collect())
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
        .output()
}

fn judge(program: &str, output: io::Result<Output>) -> Result<(), HardenError> {
    let failed = |output: String| HardenError::Program {
        program: program.to_owned(),
        output,
    };
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(
            String::from_utf8_lossy(&output.stderr)
                .trim()
                .chars()
                .take(400)
                .collect(),
        )),
        Err(error) => Err(failed(error.to_string())),
    }
}
