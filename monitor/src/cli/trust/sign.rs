//! `hardpan trust sign` and `pubkey`: what is done on the machine that holds the private key.

use super::table::count;
use super::{Answer, Exit, Failure, Message, now, say};
use crate::crypto::{Draft, KeyLoadError, load_signing_key, sha256_of};
use crate::trust::atomic;
use clap::Args;
use hardpan_core::envelope::{Kind, parse_time, time_text};
use hardpan_core::event::escape;
use hardpan_core::trust::{MAX_MANIFEST_FILES, Manifest, ManifestFile};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Signs a manifest of files and directories. Do this on a machine of its own, not on the hosts.
///
/// Make the key with `openssl genpkey -algorithm ed25519 -out key.pem` (or -algorithm EC -pkeyopt
/// ec_paramgen_curve:P-256, P-384), its public half for the hosts with `hardpan trust pubkey`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hardpan trust sign --key key.pem --serial 7 --expires 2027-12-31 --target 'web*.example.org' \\\n    \
        --name inhouse-tools /opt/tools -o inhouse-tools.hpm"
)]
pub(super) struct SignArgs {
    /// Files, and directories of files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Private key: PKCS#8, PEM or DER, not encrypted; Ed25519, ECDSA P-256 or P-384.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Serial number: higher than that of the last issue with this name. Hosts refuse lower ones.
    #[arg(long, value_name = "N")]
    serial: u64,
    /// From when on it is void: 2027-12-31 or 2027-12-31T12:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    expires: i64,
    /// Hosts it is for: pattern over host names and machine-ids; * and ? are wildcards. Repeatable.
    #[arg(long, value_name = "GLOB", required = true)]
    target: Vec<String>,
    /// Name; serials are counted per name.
    #[arg(long)]
    name: String,
    /// The file to write, NAME.hpm.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Prints the public half of a private key, as the hosts need it in /etc/hardpan/keys.d/NAME.hpkey.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hardpan trust pubkey --key key.pem --name 'Release team 2026' > release-2026.hpkey"
)]
pub(super) struct PubkeyArgs {
    /// Private key: PKCS#8, PEM or DER, not encrypted.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Name for people.
    #[arg(long)]
    name: String,
    /// What it may sign: manifest, policy. Repeatable; both if not given.
    #[arg(long = "use", value_name = "WHAT", value_parser = parse_use)]
    uses: Vec<Kind>,
}

/// A date (its first second, in UTC) or a time, as seconds since 1970.
fn parse_date(text: &str) -> Result<i64, String> {
    let whole = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    parse_time(&whole).map_err(|_must| "must be like 2027-12-31 or 2027-12-31T12:00:00Z".to_owned())
}

fn parse_use(text: &str) -> Result<Kind, String> {
    Kind::from_word(text).ok_or_else(|| "must be manifest or policy".to_owned())
}

fn key_failure(error: KeyLoadError) -> Failure {
    let hint = error.hint().map(str::to_owned);
    Failure::failed(error, hint)
}

pub(super) fn sign(args: &SignArgs) -> Result<Answer, Failure> {
    let key = load_signing_key(&args.key).map_err(key_failure)?;
    let manifest = collect(&args.paths)?;
    let draft = Draft {
        kind: Kind::Manifest,
        serial: args.serial,
        issued: now()?,
        expires: args.expires,
        targets: args.target.clone(),
        name: args.name.clone(),
        payload: manifest.to_bytes(),
    };
    let envelope = crate::crypto::sign(&key, draft).map_err(|error| match error {
        error @ KeyLoadError::Claims { .. } => Failure {
            exit: Exit::Usage,
            ..key_failure(error)
        },
        error => key_failure(error),
    })?;
    atomic::write(&args.output, envelope.to_json().as_bytes(), 0o644).map_err(|error| {
        Failure::failed(
            Message(format!("cannot write {}: {error}", args.output.display())),
            None,
        )
    })?;
    say(&format!(
        "{}: {}, key {}, serial {}, valid until {}",
        args.output.display(),
        count(manifest.files().len() as u64, "file"),
        envelope.claims.key,
        args.serial,
        time_text(args.expires),
    ));
    Ok(Answer::silent())
}

pub(super) fn pubkey(args: &PubkeyArgs) -> Result<Answer, Failure> {
    let key = load_signing_key(&args.key).map_err(key_failure)?;
    let uses = if args.uses.is_empty() {
        Kind::ALL.to_vec()
    } else {
        args.uses.clone()
    };
    let text = key.public_key(&args.name, &uses).to_toml();
    // What is printed must be readable by the hosts: names may hold anything.
    hardpan_core::envelope::PublicKey::from_toml(&text)
        .map_err(|error| Failure::usage(error.to_string(), None))?;
    Ok(Answer {
        text,
        exit: Exit::Fine,
    })
}

/// The digests of files, and of all regular files below directories. Links are not followed.
pub(super) fn collect(paths: &[PathBuf]) -> Result<Manifest, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let path = std::path::absolute(path).map_err(|error| Failure::failed(error, None))?;
        let meta = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if meta.is_dir() {
            walk(&path, &mut files)?;
        } else {
            files.push(hash(&path)?);
        }
    }
    Manifest::new(files).map_err(|error| Failure::failed(error, None))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(Message(format!("cannot read {}: {error}", path.display())), None)
}

fn walk(top: &Path, files: &mut Vec<ManifestFile>) -> Result<(), Failure> {
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        let failed = |error: std::io::Error| unreadable(&dir, &error);
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                files.push(hash(&entry.path())?);
            }
            if files.len() > MAX_MANIFEST_FILES {
                let message = format!("more than {MAX_MANIFEST_FILES} files below {}", top.display());
                return Err(Failure::refused(
                    Message(message),
                    Some("make several manifests".to_owned()),
                ));
            }
        }
    }
    Ok(())
}

fn hash(path: &Path) -> Result<ManifestFile, Failure> {
    let failed = |error: std::io::Error| unreadable(path, &error);
    // Opening a FIFO must not wait for a writer.
    let file = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        let message = format!("{} is neither a file nor a directory", path.display());
        return Err(Failure::failed(Message(message), None));
    }
    let (sha256, size) = sha256_of(file).map_err(failed)?;
    Ok(ManifestFile {
        sha256,
        size,
        path: escape(path.as_os_str().as_bytes()).into_owned(),
    })
}
