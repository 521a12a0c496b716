//! `hp-flood COUNT PROGRAM [PER_SECOND]`: runs PROGRAM so many times, one after the other, and prints how many succeeded. With
//! a rate it waits before each until it is due; who is late does not wait until the pace is kept again.

use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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
        return Err(io::Error::other("usage: hp-flood COUNT PROGRAM [PER_SECOND]"));
    };
    let count: u32 = count.parse().map_err(io::Error::other)?;
    let rate: Option<u32> = args
        .next()
        .map(|rate| rate.parse().map_err(io::Error::other))
        .transpose()?;
    let each = rate.and_then(|rate| Duration::from_secs(1).checked_div(rate));
    let begin = Instant::now();
    let mut succeeded = 0_u32;
    for n in 0..count {
        if let Some(each) = each {
            thread::sleep((each * n).saturating_sub(begin.elapsed()));
        }
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
