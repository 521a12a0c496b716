//! `hardpan trust add` and `remove`: manifests of software outside RPM.

use super::keys::as_root;
use super::sight::StateArgs;
use super::sign::collect;
use super::table::count;
use super::{Answer, Failure, now, say};
use crate::crypto::{LedgerFile, public_keys, this_host};
use crate::trust::manifest::{
    LocalManifest, MANIFEST_DIR, ManifestFileError, ManifestSource, SIGNED_EXTENSION, add_signed,
    add_unsigned, remove as remove_manifest,
};
use clap::Args;
use hardpan_core::envelope::{check_name, time_text};
use hardpan_core::trust::LocalUnsigned;
use std::path::{Path, PathBuf};

/// Adds a signed manifest, or makes an unsigned one of files on this host.
///
/// A signed manifest (*.hpm, made with `hardpan trust sign` on another machine) is checked and copied: signature by a
/// key in /etc/hardpan/keys.d, target, dates, serial. With --name, the digests of the given files and directories go
/// into a manifest that nobody signed ("local-unsigned"), which strict policy does not count.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan trust add inhouse-tools.hpm\n  hardpan trust add /opt/tool --name tool\n\n\
        Exit codes: 0 added, 1 refused, 2 wrong usage, 3 it could not be read or written."
)]
pub(super) struct AddArgs {
    /// A signed manifest; or, with --name, files and directories.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Make an unsigned manifest with this name.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    state: StateArgs,
}

/// Removes a manifest.
///
/// The serial of a signed one stays noted: an older one with the same name cannot come back.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hardpan trust remove inhouse-tools")]
pub(super) struct RemoveArgs {
    /// Name of the manifest; `hardpan trust list --manifests` shows them.
    name: String,
    #[command(flatten)]
    state: StateArgs,
}

fn is_signed(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == SIGNED_EXTENSION)
}

fn failure(error: ManifestFileError) -> Failure {
    let hint = error.hint();
    match error {
        ManifestFileError::Write { .. } => Failure::failed(error, as_root()),
        ManifestFileError::Read { .. } | ManifestFileError::Ledger(_) => Failure::failed(error, hint),
        _ => Failure::refused(error, hint),
    }
}

pub(super) fn add(args: &AddArgs) -> Result<Answer, Failure> {
    let dir = args.state.dir().join(MANIFEST_DIR);
    let Some(name) = &args.name else {
        let [file] = args.paths.as_slice() else {
            return Err(not_one_manifest());
        };
        if !is_signed(file) {
            return Err(not_one_manifest());
        }
        let manifest = add_file(args, file, &dir)?;
        tell(&manifest);
        return Ok(Answer::silent());
    };
    check_name(name).map_err(|must| Failure::usage(format!("--name: {must}"), None))?;
    let manifest = collect(&args.paths)?;
    let local = LocalUnsigned {
        name: name.clone(),
        made: now()?,
        manifest,
    };
    tell(&add_unsigned(&local, &dir).map_err(failure)?);
    say(
        "note: nobody signed it, so strict policy does not count it; sign on another machine with `hardpan trust sign`",
    );
    Ok(Answer::silent())
}

fn not_one_manifest() -> Failure {
    Failure::usage(
        "one signed manifest (*.hpm) is wanted, or --name for files and directories",
        Some("hardpan trust add FILE.hpm, or hardpan trust add PATH… --name NAME".to_owned()),
    )
}

fn add_file(args: &AddArgs, file: &Path, dir: &Path) -> Result<LocalManifest, Failure> {
    let config = args.state.trust_config()?;
    let (keys, findings) = public_keys(&config.pins);
    for finding in findings {
        let path = finding
            .path
            .map(|path| path.text().into_owned())
            .unwrap_or_default();
        say(&format!("{path}: {}", finding.message));
    }
    let mut ledger = LedgerFile::load(&args.state.dir()).map_err(|error| failure(error.into()))?;
    add_signed(file, dir, &mut ledger, &keys, &this_host(Path::new("/")), now()?).map_err(failure)
}

fn tell(manifest: &LocalManifest) {
    let files = count(manifest.files as u64, "file");
    let name = &manifest.name;
    say(&match &manifest.source {
        ManifestSource::Signed {
            key_name,
            serial,
            expires,
            ..
        } => {
            let until = time_text(*expires);
            format!("added {name}: {files}, signed by \"{key_name}\", serial {serial}, valid until {until}")
        }
        ManifestSource::LocalUnsigned { .. } => format!("added {name}: {files}, local-unsigned"),
    });
}

pub(super) fn remove(args: &RemoveArgs) -> Result<Answer, Failure> {
    let dir = args.state.dir().join(MANIFEST_DIR);
    let path = remove_manifest(&dir, &args.name).map_err(failure)?;
    say(&format!("removed {}", path.display()));
    Ok(Answer::silent())
}
