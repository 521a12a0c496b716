//! `hp-caps FILE NUMBER`: gives a file one capability, permitted and effective; `hp-caps`: shows what this process has.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "hp-caps: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(number)) = (args.next(), args.next()) else {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find(|line| line.starts_with("CapPrm:"));
        return writeln!(io::stdout(), "{}", line.unwrap_or_default());
    };
    let number: u32 = number.parse().map_err(io::Error::other)?;
    let mask = 1u64.checked_shl(number).unwrap_or_default();
    // struct vfs_cap_data, version 2 (linux/capability.h): magic with the effective bit; permitted and inheritable, twice.
    let bytes = mask.to_le_bytes();
    let (low, high) = bytes.split_at(4);
    let value = [&[1, 0, 0, 2], low, &[0; 4], high, &[0; 4]].concat();
    rustix::fs::setxattr(
        file,
        "security.capability",
        &value,
        rustix::fs::XattrFlags::empty(),
    )?;
    Ok(())
}
