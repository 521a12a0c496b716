//! Makes a root directory with signed packages for benches: files on disk, headers in an SQLite database, the public
//! key and a pin beside it. rpm reads the result after `rpmdb --rebuilddb`.
//!
//! `cargo run --release -p hardpan-rpm --example make_root -- TARGET [PACKAGES] [FILES] [BYTES]`

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hardpan_rpm::header::{Header, tag};
use hardpan_rpm::openpgp::{certificates, dearmor};
use pgp::composed::{
    ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize;
use pgp::types::{KeyVersion, Password};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Time of everything that is made: 2023-11-14.
const TIME: u32 = 1_700_000_000;

/// An entry of a header: tag, type, count, data.
type Entry = (u32, u32, u32, Vec<u8>);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: u64| arguments.get(at).map_or(Ok(usual), |text| text.parse());
    let target = arguments
        .first()
        .ok_or("usage: make_root TARGET [PACKAGES] [FILES] [BYTES]")?;
    let (n_packages, n_files) = (number(1, 1500)?, number(2, 100_000)?);
    let n_bytes = number(3, 2 << 30)?;
    let root = Path::new(target);
    let mut rng = StdRng::seed_from_u64(7);

    let key = SecretKeyParamsBuilder::default()
        .version(KeyVersion::V4)
        .key_type(KeyType::Rsa(4096))
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Bench <bench@example.org>".into())
        .build()?
        .generate(rand::thread_rng())?;
    write_key(root, &key)?;
    for (path, text) in [
        ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
    ] {
        fs::write(root.join(path), text)?;
    }
    let dbpath = root.join("var/lib/rpm");
    fs::create_dir_all(&dbpath)?;
    let db = rusqlite::Connection::open(dbpath.join("rpmdb.sqlite"))?;
    db.execute_batch(
        "PRAGMA synchronous = OFF;
         CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);
         BEGIN",
    )?;
    for package in 0..n_packages {
        // A few packages hold most of the files, as on real systems.
        let share = if package.is_multiple_of(10) { 5 } else { 1 };
        let files = (n_files * share * 10 / (n_packages * 14)).max(1);
        let header = make_package(root, package, files, n_bytes / n_files, &mut rng)?;
        let signed = Header::parse_db(&blob(&header, &[])?)?
            .signed_bytes()
            .ok_or("no region")?;
        let signature = DetachedSignature::sign_binary_data(
            rand::thread_rng(),
            &key.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha256,
            &signed[..],
        )?
        .to_bytes()?;
        let dribbles = [
            (tag::RSAHEADER, 7, u32::try_from(signature.len())?, signature),
            (tag::INSTALLTIME, 4, 1, TIME.to_be_bytes().to_vec()),
            (
                tag::FILESTATES,
                1,
                u32::try_from(files)?,
                vec![0; usize::try_from(files)?],
            ),
        ];
        db.execute(
            "INSERT INTO Packages (blob) VALUES (?1)",
            [blob(&header, &dribbles)?],
        )?;
    }
    db.execute_batch("COMMIT")?;
    Ok(())
}

/// The public key where a system has it, and a file of pins beside the root.
fn write_key(root: &Path, key: &SignedSecretKey) -> Result<()> {
    let folder = root.join("etc/pki/rpm-gpg");
    fs::create_dir_all(&folder)?;
    let armor = SignedPublicKey::from(key.clone()).to_armored_string(ArmorOptions::default())?;
    fs::write(folder.join("RPM-GPG-KEY-bench"), &armor)?;
    let (found, _) = certificates(&dearmor(armor.as_bytes())?);
    let fingerprint = found.first().ok_or("no certificate")?.primary.fingerprint();
    let pins = root.join("pins");
    fs::create_dir_all(&pins)?;
    let text = format!("vendor = \"bench\"\n\n[[key]]\nname = \"Bench\"\nfingerprint = \"{fingerprint}\"\n");
    Ok(fs::write(pins.join("bench.toml"), text)?)
}

/// A size with the spread of real systems: most files small, a few of megabytes, the mean as asked for.
fn size(rng: &mut StdRng, mean: u64) -> usize {
    let factor = match rng.gen_range(0..1000) {
        0..600 => 0.08,
        600..900 => 0.4,
        900..980 => 2.0,
        980..998 => 15.0,
        _ => 200.0,
    };
    let spread: f64 = rng.gen_range(0.5..1.5);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "sizes of files"
    )]
    let bytes = (mean as f64 * factor * spread) as usize;
    bytes
}

/// Writes a package's files and gives the entries of its header.
fn make_package(root: &Path, package: u64, n_files: u64, mean: u64, rng: &mut StdRng) -> Result<Vec<Entry>> {
    let name = format!("bench-{package:04}");
    let (mut names, mut digests, mut links, mut users) = (Vec::new(), String::new(), Vec::new(), Vec::new());
    let (mut sizes, mut modes, mut numbers, mut dirs) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    let (mut times, mut flags, mut verify) = (Vec::new(), Vec::new(), Vec::new());
    let mut content = Vec::new();
    for file in 0..n_files {
        let dir = format!("/usr/share/{name}/{}/", file / 50);
        if file.is_multiple_of(50) {
            write!(dirs, "{dir}\0")?;
            fs::create_dir_all(root.join(&dir[1..]))?;
        }
        let base = format!("file-{file:05}.so");
        content.resize(size(rng, mean), 0);
        rng.fill_bytes(&mut content);
        let path = root.join(&dir[1..]).join(&base);
        fs::write(&path, &content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(TIME.into());
        fs::File::options().write(true).open(&path)?.set_modified(time)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &content);
        write!(digests, "{}\0", hex::encode(digest))?;
        names.extend_from_slice(format!("{base}\0").as_bytes());
        sizes.extend_from_slice(&u32::try_from(content.len())?.to_be_bytes());
        modes.extend_from_slice(&0o100_755_u16.to_be_bytes());
        numbers.extend_from_slice(&u32::try_from(file / 50)?.to_be_bytes());
        times.extend_from_slice(&TIME.to_be_bytes());
        flags.extend_from_slice(&[0; 4]);
        verify.extend_from_slice(&[0xff; 4]);
        links.push(0);
        users.extend_from_slice(b"root\0");
    }
    let n = u32::try_from(n_files)?;
    let n_dirs = u32::try_from(n_files.div_ceil(50))?;
    let text = |text: &str| format!("{text}\0").into_bytes();
    Ok(vec![
        (tag::HEADERI18NTABLE, 8, 1, text("C")),
        (tag::NAME, 6, 1, text(&name)),
        (tag::VERSION, 6, 1, text("1")),
        (tag::RELEASE, 6, 1, text("1")),
        (tag::SUMMARY, 9, 1, text("Files for a bench")),
        (tag::DESCRIPTION, 9, 1, text("Files for a bench")),
        (tag::BUILDTIME, 4, 1, TIME.to_be_bytes().to_vec()),
        (tag::BUILDHOST, 6, 1, text("builder.example.org")),
        (tag::SIZE, 4, 1, vec![0; 4]),
        (tag::VENDOR, 6, 1, text("Bench")),
        (tag::LICENSE, 6, 1, text("MIT")),
        (1016, 9, 1, text("Unspecified")),
        (tag::OS, 6, 1, text("linux")),
        (tag::ARCH, 6, 1, text("noarch")),
        (tag::FILESIZES, 4, n, sizes),
        (tag::FILEMODES, 3, n, modes),
        (tag::FILERDEVS, 3, n, vec![0; 2 * links.len()]),
        (tag::FILEMTIMES, 4, n, times),
        (tag::FILEDIGESTS, 8, n, digests.into_bytes()),
        (tag::FILELINKTOS, 8, n, links),
        (tag::FILEFLAGS, 4, n, flags),
        (tag::FILEUSERNAME, 8, n, users.clone()),
        (tag::FILEGROUPNAME, 8, n, users),
        (tag::SOURCERPM, 6, 1, text(&format!("{name}-1-1.src.rpm"))),
        (tag::FILEVERIFYFLAGS, 4, n, verify),
        (tag::DIRINDEXES, 4, n, numbers),
        (tag::BASENAMES, 8, n, names),
        (tag::DIRNAMES, 8, n_dirs, dirs.into_bytes()),
        (tag::FILEDIGESTALGO, 4, 1, vec![0, 0, 0, 8]),
    ])
}

/// A header as a database stores it.
fn blob(entries: &[Entry], dribbles: &[Entry]) -> Result<Vec<u8>> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    let mut add = |entry: &Entry, data: &mut Vec<u8>| -> Result<()> {
        let (tag, kind, count, bytes) = entry;
        let align = match kind {
            3 => 2,
            4 => 4,
            _ => 1,
        };
        data.resize(data.len().next_multiple_of(align), 0);
        for field in [*tag, *kind, u32::try_from(data.len())?, *count] {
            index.extend_from_slice(&field.to_be_bytes());
        }
        data.extend_from_slice(bytes);
        Ok(())
    };
    for entry in entries {
        add(entry, &mut data)?;
    }
    let trailer_at = u32::try_from(data.len())?;
    let n_region = u32::try_from(entries.len() + 1)?;
    for field in [tag::HEADERIMMUTABLE, 7, (n_region * 16).wrapping_neg(), 16] {
        data.extend_from_slice(&field.to_be_bytes());
    }
    for entry in dribbles {
        add(entry, &mut data)?;
    }
    let mut out = Vec::new();
    out.extend_from_slice(&(n_region + u32::try_from(dribbles.len())?).to_be_bytes());
    out.extend_from_slice(&u32::try_from(data.len())?.to_be_bytes());
    for field in [tag::HEADERIMMUTABLE, 7, trailer_at, 16] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&index);
    out.extend_from_slice(&data);
    Ok(out)
}
