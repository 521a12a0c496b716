//! Verifies a root as made by the example `make_root`, or only hashes its files for comparison:
//! `cargo run --release -p hardpan-rpm --example verify -- ROOT [THREADS] [--bare]`
//!
//! With `--bare` the last line is JSON: what the hashing cost, without the search for the files.

#![expect(clippy::print_stdout, reason = "an example for the terminal")]

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hardpan_rpm::verify::{Progress, VerifyOptions, verify};
use hardpan_rpm::{Pins, ScanOptions, scan};
use rustix::time::{ClockId, clock_gettime};

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// "VmHWM" of this process, in KiB.
fn peak() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// All regular files below a directory.
fn files(folder: PathBuf) -> std::io::Result<Vec<PathBuf>> {
    let (mut folders, mut files) = (vec![folder], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(files)
}

/// The bare limit: every file read and hashed by ring, nothing else. Gives the bytes.
fn bare(files: &[PathBuf], threads: usize) -> std::io::Result<u64> {
    let todo = Mutex::new(files.iter());
    let work = || -> std::io::Result<u64> {
        let mut buffer = vec![0; 128 * 1024];
        let mut bytes = 0;
        loop {
            let next = todo.lock().ok().and_then(|mut todo| todo.next());
            let Some(path) = next else { return Ok(bytes) };
            let mut file = File::open(path)?;
            let mut context = ring::digest::Context::new(&ring::digest::SHA256);
            loop {
                let n = file.read(&mut buffer)?;
                if n == 0 {
                    break;
                }
                context.update(buffer.get(..n).unwrap_or_default());
                bytes += n as u64;
            }
            std::hint::black_box(context.finish());
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_panic| Err(std::io::ErrorKind::Other.into()))
            })
            .sum()
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(arguments.first().ok_or("usage: verify ROOT [THREADS] [--bare]")?);
    let threads = match arguments.get(1) {
        Some(threads) if threads != "0" => threads.parse()?,
        _ => std::thread::available_parallelism()?.get(),
    };
    if arguments.iter().any(|argument| argument == "--bare") {
        let files = files(root.join("usr"))?;
        let (wall, cpu) = (Instant::now(), cpu_time());
        let bytes = bare(&files, threads)?;
        let (wall, cpu) = (wall.elapsed(), cpu_time().saturating_sub(cpu));
        println!("bare: {} files, {bytes} bytes", files.len());
        println!(
            "{{\"wall_s\":{:.4},\"cpu_s\":{:.4},\"peak_mib\":{:.1}}}",
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            f64::from(peak()) / 1024.0
        );
        return Ok(());
    }
    let mut pins = Pins::default();
    for entry in std::fs::read_dir(root.join("pins"))? {
        let path = entry?.path();
        pins.merge(&Pins::from_toml(
            &std::fs::read_to_string(&path)?,
            &path.display().to_string(),
        )?)?;
    }
    let mut options = VerifyOptions::new(ScanOptions::new(root, pins));
    options.scan.threads = threads;
    options.scan.keys = scan::key_files(root)?;
    let (wall, cpu) = (Instant::now(), cpu_time());
    let outcome = verify(&options, &Progress::default())?;
    let (wall, cpu) = (wall.elapsed(), cpu_time().saturating_sub(cpu));
    for report in outcome.files.iter().take(20) {
        println!("{}", report.rpm_line());
    }
    println!("{:?}\n{:?}", outcome.findings, outcome.summary);
    println!(
        "verify: wall {wall:?}, CPU {cpu:?}, {threads} threads, peak {} KiB",
        peak()
    );
    Ok(())
}
