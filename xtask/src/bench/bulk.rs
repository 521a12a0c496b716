//! A big root: many signed packages with many files of realistic sizes. Made once, kept in the cache.

use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::sh;
use crate::ui;
use crate::vm::{Signer, rpm, rpmbuild};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Packages.
pub(crate) const PACKAGES: u32 = 1500;
/// Files in each.
pub(crate) const FILES: u32 = 70;

/// A finished root with its key.
#[derive(Debug, Clone)]
pub(crate) struct Bulk {
    /// Root with the files and the rpm database.
    pub(crate) root: PathBuf,
    /// Directory with the public key.
    pub(crate) keyring: PathBuf,
    /// Directory with the pin.
    pub(crate) pins: PathBuf,
    /// Bytes in all files.
    pub(crate) bytes: u64,
}

/// How large the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// As on a server: for what reads contents.
    Real,
    /// A few bytes: for what looks at metadata only.
    Tiny,
}

/// Makes the root, or takes the one from an earlier run.
pub(crate) fn bulk(places: &Places, sizes: Sizes) -> Done<Bulk> {
    let name = match sizes {
        Sizes::Real => "bench-root",
        Sizes::Tiny => "bench-root-tiny",
    };
    let dir = places.cache.join(format!("{name}-{PACKAGES}x{FILES}"));
    let bulk = |bytes| Bulk {
        root: dir.join("root"),
        keyring: dir.join("keyring"),
        pins: dir.join("pins"),
        bytes,
    };
    let done = dir.join("done");
    if let Some(bytes) = fs::read_to_string(&done)
        .ok()
        .and_then(|text| text.trim().parse().ok())
    {
        return Ok(bulk(bytes));
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(TaskError::file("removing", &dir))?;
    }
    ui::say(&format!(
        "making a root of {PACKAGES} signed packages with {} files (once)",
        PACKAGES * FILES
    ));
    let signer = Signer::generate("Hardpan bench key")?;
    let built = dir.join("build");
    let bytes = build(&built, sizes)?;
    let files: Vec<PathBuf> = (0..PACKAGES)
        .map(|package| built.join(format!("bulk-{package}.rpm")))
        .collect();
    for batch in files.chunks(100) {
        signer.sign_all(batch)?;
    }
    let made = bulk(bytes);
    place::make_dir(&made.root)?;
    place::write(&made.keyring.join("RPM-GPG-KEY-bench"), signer.public())?;
    let pin = format!(
        "vendor = \"bench\"\n\n[[key]]\nname = \"bench key\"\nfingerprint = \"{}\"\n",
        signer.fingerprint()
    );
    place::write(&made.pins.join("bench.toml"), pin)?;
    sh::quiet(
        rpm("rpmkeys", &made.root)?
            .arg("--import")
            .arg(made.keyring.join("RPM-GPG-KEY-bench")),
    )?;
    sh::quiet(
        rpm("rpm", &made.root)?
            .args(["-i", "--nodeps", "--noscripts", "--notriggers"])
            .args(&files),
    )?;
    fs::remove_dir_all(&built).map_err(TaskError::file("removing", &built))?;
    place::write(&done, format!("{bytes}\n"))?;
    Ok(made)
}

/// One spec with a sub-package each: one rpmbuild instead of 1500.
fn build(dir: &Path, sizes: Sizes) -> Done<u64> {
    let stage = dir.join("stage");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut total = 0;
    let mut spec = String::from(
        "Name: bulk-source\nVersion: 1.0\nRelease: 1\nSummary: bench\nLicense: none\nVendor: Hardpan bench\n\
         AutoReqProv: no\n%description\nbench\n",
    );
    for package in 0..PACKAGES {
        let folder = stage.join(format!("usr/share/bulk-{package}"));
        place::make_dir(&folder)?;
        for file in 0..FILES {
            let size = match sizes {
                Sizes::Real => size(&mut random),
                Sizes::Tiny => 1 + random.below(100),
            };
            write_file(&folder.join(format!("f{file}")), size, &mut random)?;
            total += size;
        }
        // Writing to a String can't fail.
        let _never = write!(
            spec,
            "%package -n bulk-{package}\nSummary: bench\nAutoReqProv: no\n%description -n bulk-{package}\nbench\n\
             %files -n bulk-{package}\n%defattr(0644,root,root,0755)\n/usr/share/bulk-{package}\n"
        );
    }
    let spec_file = dir.join("bulk.spec");
    place::write(&spec_file, spec)?;
    rpmbuild(dir, &stage, &spec_file)?;
    // The packages hold everything now, and the same bytes are about to be on disk once more.
    fs::remove_dir_all(&stage).map_err(TaskError::file("removing", &stage))?;
    Ok(total)
}

/// Sizes as on a server: most files are small, few large ones hold most bytes; 26 KB on average.
fn size(random: &mut Random) -> u64 {
    let (low, high) = match random.below(1000) {
        0..600 => (100, 4 << 10),
        600..850 => (4 << 10, 24 << 10),
        850..970 => (24 << 10, 128 << 10),
        970..998 => (128 << 10, 512 << 10),
        _ => (512 << 10, 3 << 20),
    };
    low + random.below(high - low)
}

fn write_file(path: &Path, size: u64, random: &mut Random) -> Done {
    let file = fs::File::create(path).map_err(TaskError::file("creating", path))?;
    let mut out = BufWriter::new(file);
    for _ in 0..size / 8 {
        out.write_all(&random.next().to_le_bytes())
            .map_err(TaskError::file("writing", path))?;
    }
    for _ in 0..size % 8 {
        out.write_all(b"x").map_err(TaskError::file("writing", path))?;
    }
    out.flush().map_err(TaskError::file("writing", path))
}

/// xorshift64*: the same files in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit.max(1)
    }
}
