//! Scans an rpm database file and prints what it found and what it cost:
//! `cargo run --release -p hardpan-rpm --example scan -- DATABASE KEYS-DIRECTORY PINS-DIRECTORY [THREADS]`
//!
//! The last line is JSON: what the scan cost, and what a second one cost that was given the signatures of the first.

#![expect(clippy::print_stdout, reason = "an example for the terminal")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use hardpan_rpm::{KeyMaterial, Pins, Proven, ScanOptions, rescan};
use rustix::time::{ClockId, clock_gettime};

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// "VmHWM" of this process, in KiB.
fn peak_kib() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, keys, pin_folder, rest @ ..] = arguments.as_slice() else {
        return Err("usage: scan DATABASE KEYS-DIRECTORY PINS-DIRECTORY [THREADS]".into());
    };
    let mut pins = Pins::default();
    for entry in std::fs::read_dir(pin_folder)? {
        let path = entry?.path();
        pins.merge(&Pins::from_toml(
            &std::fs::read_to_string(&path)?,
            &path.display().to_string(),
        )?)?;
    }
    let path = Path::new(database);
    let mut options = ScanOptions::new(path.parent().unwrap_or_else(|| Path::new(".")), pins);
    options.dbpath = path.file_name().map(Into::into);
    options.threads = rest.first().map_or(Ok(1), |threads| threads.parse())?;
    for entry in std::fs::read_dir(keys)? {
        let path = entry?.path();
        options.keys.push(KeyMaterial {
            source: path.display().to_string(),
            bytes: std::fs::read(&path)?,
        });
    }

    let timed = |known: &Proven| -> Result<_, Box<dyn Error>> {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let found = rescan(&options, known)?;
        Ok((found, wall.elapsed(), cpu_time().saturating_sub(cpu)))
    };
    let ((outcome, proven), wall, cpu) = timed(&Proven::default())?;
    let ((_, again), wall_again, cpu_again) = timed(&proven)?;

    for finding in &outcome.findings {
        println!("{}: {finding}", finding.kind());
    }
    println!("{:#?}", outcome.summary);
    let index = &outcome.index;
    println!(
        "index: {index:?}, {} bytes per file",
        index.memory_bytes().div_ceil(index.n_files().max(1))
    );
    let decoded = Instant::now();
    hardpan_rpm::DigestIndex::decode(index.as_bytes().to_vec())?;
    println!("decoding the index: {:?}", decoded.elapsed());
    println!(
        "CPU {cpu:?}, wall {wall:?}, {} threads, peak memory {} KiB",
        options.threads,
        peak_kib()
    );
    let cost = |proven: &Proven, wall: Duration, cpu: Duration| {
        format!(
            "{{\"computed\":{},\"recalled\":{},\"wall_s\":{:.4},\"cpu_s\":{:.4},\"peak_mib\":{:.1}}}",
            proven.n_computed(),
            proven.n_recalled(),
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            f64::from(peak_kib()) / 1024.0
        )
    };
    println!(
        "{{\"first\":{},\"again\":{}}}",
        cost(&proven, wall, cpu),
        cost(&again, wall_again, cpu_again)
    );
    Ok(())
}
