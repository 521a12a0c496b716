//! `hp-memfd FILE [ARGUMENT…]`: copies FILE into an anonymous memory file and runs it from there, as fileless
//! malware does.

use nix::fcntl::AtFlags;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::execveat;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Only a failure comes back.
    let failure = run();
    drop(writeln!(io::stderr(), "hp-memfd: {failure}"));
    ExitCode::from(2)
}

fn run() -> io::Error {
    let Some(path) = std::env::args_os().nth(1) else {
        return io::Error::other("usage: hp-memfd FILE [ARGUMENT…]");
    };
    let copy = || -> io::Result<()> {
        let content = std::fs::read(&path)?;
        let memory = memfd_create(c"hp-memfd", MFdFlags::MFD_CLOEXEC)?;
        let mut file = File::from(memory);
        file.write_all(&content)?;
        let args: Vec<CString> = std::env::args()
            .skip(1)
            .map(CString::new)
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?;
        let env: [CString; 0] = [];
        execveat(&file, c"", &args, &env, AtFlags::AT_EMPTY_PATH)?;
        Ok(())
    };
    copy()
        .err()
        .unwrap_or_else(|| io::Error::other("the exec neither happened nor failed"))
}
