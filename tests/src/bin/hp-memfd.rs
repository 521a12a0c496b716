//! `hp-memfd [--seal] FILE [ARGUMENT…]`: copies FILE into an anonymous memory file and runs it from there, as fileless
//! malware does; sealed against writing, as container runtimes do with themselves.

use nix::fcntl::{AtFlags, FcntlArg, SealFlag, fcntl};
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
    let seal = std::env::args_os().nth(1).is_some_and(|first| first == "--seal");
    let skipped = if seal { 2 } else { 1 };
    let Some(path) = std::env::args_os().nth(skipped) else {
        return io::Error::other("usage: hp-memfd [--seal] FILE [ARGUMENT…]");
    };
    let copy = || -> io::Result<()> {
        let content = std::fs::read(&path)?;
        let memory = memfd_create(c"hp-memfd", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let mut file = File::from(memory);
        file.write_all(&content)?;
        if seal {
            let all = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
            fcntl(&file, FcntlArg::F_ADD_SEALS(all))?;
        }
        let args: Vec<CString> = std::env::args()
            .skip(skipped)
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
