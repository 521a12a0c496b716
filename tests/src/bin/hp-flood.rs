//! `hp-flood COUNT PROGRAM`: runs PROGRAM so many times, one after the other, and prints how many succeeded.

use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "hp-flood: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(count), Some(program)) = (args.next(), args.next()) else {
        return Err(io::Error::other("usage: hp-flood COUNT PROGRAM"));
    };
    let count: u32 = count.parse().map_err(io::Error::other)?;
    let mut succeeded = 0_u32;
    for _ in 0..count {
        if Command::new(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?
            .success()
        {
            succeeded += 1;
        }
    }
    writeln!(io::stdout(), "{succeeded}")
}
