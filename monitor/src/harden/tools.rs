//! Settings that are made by writing to the kernel or by running a program of the system.

use super::root::Root;
use super::run::HardenError;
use hardpan_core::policy::harden::edit::Tool;
use std::fs;
use std::process::Command;

/// Sets a sysctl of the running kernel.
pub(super) fn write_sysctl(root: &Root, name: &str, value: &str) -> Result<(), HardenError> {
    let path = root.resolve(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    fs::write(path, format!("{value}\n")).map_err(|source| HardenError::Runtime {
        name: name.to_owned(),
        value: value.to_owned(),
        source,
    })
}

/// Sets a value with its tool, and looks whether it is set now: a tool that says it worked is not enough.
pub(super) fn set(root: &Root, tool: &Tool, value: &str) -> Result<(), HardenError> {
    let mut failed = None;
    for (program, arguments) in tool.commands(value) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match run(root, program, &arguments) {
            Ok(()) if tool.current(root).as_deref() == Some(value) => return Ok(()),
            Ok(()) => {
                failed = Some(HardenError::Program {
                    program: program.to_owned(),
                    output: format!("it reported success, but {} is not {value:?}", tool.name()),
                });
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Runs a program of the root. Only a running host has programs that may run.
pub(super) fn run(root: &Root, program: &str, arguments: &[&str]) -> Result<(), HardenError> {
    let path = root.resolve(program)?;
    let output = Command::new(&path)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .output();
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
