//! `hp-setuid UID PROGRAM [ARGUMENT…]`: takes on another user's ids with setresgid and setresuid, then runs PROGRAM.

use nix::unistd::{Gid, Uid, execv, setgroups, setresgid, setresuid};
use std::ffi::CString;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let failure = run()
        .err()
        .unwrap_or_else(|| io::Error::other("usage: hp-setuid UID PROGRAM [ARGUMENT…]"));
    drop(writeln!(io::stderr(), "hp-setuid: {failure}"));
    ExitCode::from(2)
}

fn run() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(uid), Some(program)) = (args.next(), args.next()) else {
        return Ok(());
    };
    let id: u32 = uid.parse().map_err(io::Error::other)?;
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    if Uid::effective().is_root() && !uid.is_root() {
        setgroups(&[])?;
    }
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let command: Vec<CString> = [program]
        .into_iter()
        .chain(args)
        .map(CString::new)
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    if let Some(path) = command.first() {
        execv(path, &command)?;
    }
    Ok(())
}
