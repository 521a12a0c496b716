//! `hardpan trust whence`: where a file comes from and whether it still is what was signed.

use super::sight::{Sight, SightArgs};
use super::table::{facts, push};
use super::{Answer, Exit, Failure};
use crate::crypto::sha256_of;
use crate::trust::manifest::ManifestSource;
use clap::Args;
use hardpan_core::envelope::time_text;
use hardpan_core::event::escape;
use hardpan_core::trust::{BuildSystem, build_system};
use hardpan_rpm::root::{Last, Root};
use hardpan_rpm::{DigestIndex, Owner, Provenance};
use serde::Serialize;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Shows which package a file comes from, who built and signed it, and whether its content still is what was signed.
///
/// States: trusted, mismatch, config-modified, retired (content of a package that was replaced since the last boot),
/// untrusted (owned, but nothing vouches for the content), unowned, missing, no-digest (nothing to compare:
/// directories, links, %ghost), unreadable.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hardpan trust whence /usr/bin/ls /usr/sbin/sshd\n  \
        hardpan trust whence --root /mnt /usr/bin/ls\n  \
        hardpan trust whence --json /usr/bin/* | jq -r 'select(.state != \"trusted\") | .path'\n\n\
        Exit codes: 0 every file is trusted, config-modified, retired or has no digest; 1 any other; 3 unreadable."
)]
pub(super) struct WhenceArgs {
    /// Files. With --root: paths inside it.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print a JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sight: SightArgs,
}

pub(super) fn run(args: &WhenceArgs) -> Result<Answer, Failure> {
    let sight = args.sight.look(false)?;
    let root_path = args.sight.root(&args.sight.config()?);
    let root = Root::open(&root_path).map_err(|error| Failure::failed(error, None))?;
    let outside = std::fs::canonicalize(&root_path).map_err(|error| Failure::failed(error, None))?;
    let mut text = String::new();
    let mut exit = Exit::Fine;
    for path in &args.paths {
        let asked = std::path::absolute(path).map_err(|error| Failure::failed(error, None))?;
        let found = Found::at(&root, &outside, &asked);
        let whence = whence(&sight, &asked, &found);
        exit = worse(exit, whence.state.exit());
        if args.json {
            // Strings and numbers can always be written.
            text.push_str(&serde_json::to_string(&whence).unwrap_or_default());
            text.push('\n');
        } else {
            text.push_str(&whence.text());
        }
    }
    Ok(Answer { text, exit })
}

pub(super) fn worse(a: Exit, b: Exit) -> Exit {
    if a.code() >= b.code() { a } else { b }
}

/// What is at a path.
#[derive(Debug)]
struct Found {
    /// The path inside the root, without symbolic links.
    path: Vec<u8>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Missing,
    Regular {
        sha256: [u8; 32],
    },
    /// Type bits of `st_mode`.
    Other(u32),
    Unreadable(io::Error),
}

impl Found {
    /// Looks at a path inside the root. Links are followed; none can lead out of the root.
    fn at(root: &Root, outside: &Path, asked: &Path) -> Self {
        let missing = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
        };
        let fd = match root.resolve(asked, Last::Follow) {
            // A link that leads nowhere is still there itself.
            Err(error) if missing(&error) => root.resolve(asked, Last::Keep),
            other => other,
        };
        let fd = match fd {
            Ok(fd) => fd,
            Err(error) => {
                let content = if missing(&error) {
                    Content::Missing
                } else {
                    Content::Unreadable(error)
                };
                return Self {
                    path: missing_path(root, outside, asked),
                    content,
                };
            }
        };
        let path = inside(&fd, outside).unwrap_or_else(|| asked.as_os_str().as_bytes().to_vec());
        let content = content(&fd).unwrap_or_else(Content::Unreadable);
        Self { path, content }
    }
}

/// The path of an open file inside the root.
fn inside(fd: &OwnedFd, outside: &Path) -> Option<Vec<u8>> {
    let real = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    let inside = real.strip_prefix(outside).ok()?;
    Some([b"/", inside.as_os_str().as_bytes()].concat())
}

/// The path that a missing file would have: its directory without links, then its name.
fn missing_path(root: &Root, outside: &Path, asked: &Path) -> Vec<u8> {
    let resolved = || {
        let dir = root.resolve(asked.parent()?, Last::Follow).ok()?;
        let mut path = inside(&dir, outside)?;
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(asked.file_name()?.as_bytes());
        Some(path)
    };
    resolved().unwrap_or_else(|| asked.as_os_str().as_bytes().to_vec())
}

const TYPE_BITS: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

fn content(fd: &OwnedFd) -> io::Result<Content> {
    let mode = nix::sys::stat::fstat(fd.as_fd())?.st_mode;
    if mode & TYPE_BITS != REGULAR {
        return Ok(Content::Other(mode & TYPE_BITS));
    }
    // The very file that was resolved, whatever its path has become.
    let file = File::open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    sha256_of(file).map(|(sha256, _)| Content::Regular { sha256 })
}

/// State of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Trusted,
    Mismatch,
    ConfigModified,
    Retired,
    Untrusted,
    Unowned,
    Missing,
    NoDigest,
    Unreadable,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Mismatch => "mismatch",
            Self::ConfigModified => "config-modified",
            Self::Retired => "retired",
            Self::Untrusted => "untrusted",
            Self::Unowned => "unowned",
            Self::Missing => "missing",
            Self::NoDigest => "no-digest",
            Self::Unreadable => "unreadable",
        }
    }

    const fn exit(self) -> Exit {
        match self {
            Self::Trusted | Self::ConfigModified | Self::Retired | Self::NoDigest => Exit::Fine,
            Self::Mismatch | Self::Untrusted | Self::Unowned | Self::Missing => Exit::Findings,
            Self::Unreadable => Exit::Failed,
        }
    }
}

/// The answer for one path. Fields are added, never renamed.
#[derive(Debug, Default, Serialize)]
struct Whence {
    path: String,
    /// The path that was asked for, if it led elsewhere through links.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
    state: StateField,
    /// Why, if the state does not say it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// "verified", "derived", "retired", "local" (signed manifest), "local-unsigned".
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<PackageInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<ManifestInfo>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct StateField(State);

impl Default for StateField {
    fn default() -> Self {
        Self(State::Unowned)
    }
}

impl std::ops::Deref for StateField {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// A package in answers.
#[derive(Debug, Serialize)]
struct PackageInfo {
    nevra: String,
    name: String,
    version: String,
    release: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_system: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    built: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_rpm: Option<String>,
    /// Where the package puts the content, if that is not the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    signer: SignerInfo,
}

#[derive(Debug, Serialize)]
struct SignerInfo {
    name: String,
    vendor: String,
    fingerprint: String,
    /// Fingerprint of the subkey that made the signature, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    subkey: Option<String>,
}

#[derive(Debug, Serialize)]
struct ManifestInfo {
    name: String,
    signed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// Where the manifest saw the content.
    file: String,
}

fn text(bytes: &[u8]) -> String {
    escape(bytes).into_owned()
}

impl PackageInfo {
    fn of(owner: &Owner<'_>, path: &[u8]) -> Self {
        let package = owner.package();
        let nevra = package.nevra();
        let signer = package.signer();
        let some = |value: Option<&str>| value.map(str::to_owned);
        let epoch = nevra.epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        Self {
            nevra: nevra.to_string(),
            version: format!("{epoch}{}", nevra.version),
            name: nevra.name,
            release: nevra.release,
            vendor: some(package.vendor()),
            build_host: some(package.build_host()),
            build_system: build_system(package.build_host(), package.vendor()).map(BuildSystem::name),
            built: Some(package.build_time())
                .filter(|seconds| *seconds > 0)
                .map(|seconds| time_text(i64::try_from(seconds).unwrap_or(i64::MAX))),
            source_rpm: some(package.source_rpm()),
            file: Some(owner.path())
                .filter(|file| file != path)
                .map(|file| text(&file)),
            signer: SignerInfo {
                name: signer.pin_name.to_owned(),
                vendor: signer.vendor.to_owned(),
                fingerprint: signer.pinned_key.to_owned(),
                subkey: Some(signer.signing_key)
                    .filter(|key| *key != signer.pinned_key)
                    .map(str::to_owned),
            },
        }
    }
}

const fn provenance_word(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Derived => "derived",
        Provenance::Local => "local",
        Provenance::Provisional => "provisional",
        Provenance::Retired => "retired",
        _ => "verified",
    }
}

/// What is known of one path.
fn whence(sight: &Sight, asked: &Path, found: &Found) -> Whence {
    let asked = text(asked.as_os_str().as_bytes());
    let mut answer = Whence {
        path: text(&found.path),
        asked: Some(asked).filter(|asked| *asked != text(&found.path)),
        ..Whence::default()
    };
    let index = &sight.current.outcome.index;
    let owners = owners(index, &found.path);
    match &found.content {
        Content::Missing => {
            answer.state = StateField(State::Missing);
            if owners.is_empty() {
                answer.detail = Some("no verified package owns it either".to_owned());
            }
        }
        Content::Unreadable(error) => {
            answer.state = StateField(State::Unreadable);
            answer.detail = Some(error.to_string());
        }
        Content::Other(file_type) => {
            let as_packaged = |owner: &&Owner<'_>| owner.is_ghost() || owner.mode() & TYPE_BITS == *file_type;
            answer.state = StateField(match owners.iter().find(as_packaged) {
                Some(_) => State::NoDigest,
                None if owners.is_empty() => State::Unowned,
                None => State::Mismatch,
            });
            answer.detail = Some(type_word(*file_type).to_owned());
        }
        Content::Regular { sha256 } => {
            answer.sha256 = Some(hex::encode(sha256));
            judge(sight, &owners, sha256, &found.path, &mut answer);
        }
    }
    if answer.package.is_none() {
        answer.package = owners.first().map(|owner| PackageInfo::of(owner, &found.path));
    }
    answer
}

/// The packages' files at a path, without those of packages that were replaced.
fn owners<'a>(index: &'a DigestIndex, path: &[u8]) -> Vec<Owner<'a>> {
    let mut owners = index.expected(path);
    owners.retain(|owner| owner.provenance() != Provenance::Retired);
    owners
}

/// Judges the content of a regular file: what its owners signed, then what signed manifests list, then what packages
/// have elsewhere.
fn judge(sight: &Sight, owners: &[Owner<'_>], sha256: &[u8; 32], path: &[u8], answer: &mut Whence) {
    if let Some(owner) = owners
        .iter()
        .find(|owner| owner.sha256().as_ref() == Some(sha256))
    {
        answer.state = StateField(State::Trusted);
        answer.provenance = Some(provenance_word(owner.provenance()));
        answer.package = Some(PackageInfo::of(owner, path));
        return;
    }
    let expected = owners.iter().find_map(Owner::sha256);
    answer.expected_sha256 = expected.map(hex::encode);
    let elsewhere = sight.current.outcome.index.lookup(sha256);
    let listed = sight.local.lookup(sha256);
    if let Some(digest) = listed {
        let (key_name, key, expires) = match &digest.manifest.source {
            ManifestSource::Signed {
                key_name,
                key,
                expires,
                ..
            } => (
                Some(key_name.clone()),
                Some(key.clone()),
                Some(time_text(*expires)),
            ),
            ManifestSource::LocalUnsigned { .. } => (None, None, None),
        };
        let signed = digest.manifest.source.is_signed();
        answer.manifest = Some(ManifestInfo {
            name: digest.manifest.name.clone(),
            signed,
            key_name,
            key,
            expires,
            file: digest.path.to_string(),
        });
        answer.provenance = Some(if signed { "local" } else { "local-unsigned" });
        if signed || owners.is_empty() && elsewhere.is_none() {
            answer.state = StateField(State::Trusted);
            answer.detail = if expected.is_some() {
                Some("differs from the package; a signed manifest lists it".to_owned())
            } else if signed {
                None
            } else {
                Some("nobody signed the manifest: strict policy does not count it".to_owned())
            };
            return;
        }
    }
    if owners.is_empty() {
        answer.state = StateField(match elsewhere.map(|owner| owner.provenance()) {
            None => State::Unowned,
            Some(Provenance::Retired) => State::Retired,
            Some(_) => State::Trusted,
        });
        if let Some(owner) = elsewhere {
            answer.provenance = Some(provenance_word(owner.provenance()));
            answer.package = Some(PackageInfo::of(&owner, path));
            answer.detail = Some(copy_of(&owner));
        } else {
            answer.detail = Some("no verified package or manifest has this path or content".to_owned());
        }
        return;
    }
    answer.state = StateField(if owners.iter().all(Owner::is_ghost) {
        State::NoDigest
    } else if owners.iter().any(Owner::is_config) {
        State::ConfigModified
    } else if expected.is_some() || owners.iter().all(|owner| owner.mode() & TYPE_BITS != REGULAR) {
        State::Mismatch
    } else {
        State::Untrusted
    });
    answer.detail = match elsewhere {
        Some(owner) => Some(copy_of(&owner)),
        None if *answer.state == State::Untrusted => {
            Some("its signed digest is no SHA-256, and its content did not match it".to_owned())
        }
        None if *answer.state == State::NoDigest => Some("%ghost: its content is not signed".to_owned()),
        None => None,
    };
}

fn copy_of(owner: &Owner<'_>) -> String {
    let of = if owner.provenance() == Provenance::Retired {
        ", which was replaced since the last boot"
    } else {
        ""
    };
    format!(
        "content of {} of {}{of}",
        text(&owner.path()),
        owner.package().nevra()
    )
}

const fn type_word(file_type: u32) -> &'static str {
    match file_type {
        0o040_000 => "directory",
        0o120_000 => "symbolic link that leads nowhere",
        0o020_000 | 0o060_000 => "device",
        0o010_000 => "FIFO",
        0o140_000 => "socket",
        _ => "something else",
    }
}

impl Whence {
    fn text(&self) -> String {
        let mut state = self.state.word().to_owned();
        if let Some(detail) = &self.detail {
            push(&mut state, format_args!(" ({detail})"));
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut lines = vec![("asked for", text(&self.asked)), ("state", state)];
        if let Some(package) = &self.package {
            let built_by = package
                .build_system
                .map(|system| format!(" ({system})"))
                .unwrap_or_default();
            let host = package
                .build_host
                .as_ref()
                .map(|host| format!("{host}{built_by}"));
            lines.extend([
                ("package", package.nevra.clone()),
                ("vendor", text(&package.vendor)),
                ("build host", host.unwrap_or_default()),
                ("built", text(&package.built)),
                ("source", text(&package.source_rpm)),
                ("signer", package.signer.name.clone()),
                ("key", package.signer.fingerprint.clone()),
                ("subkey", text(&package.signer.subkey)),
            ]);
        }
        if let Some(manifest) = &self.manifest {
            let signer = manifest.key_name.clone().unwrap_or_else(|| "nobody".to_owned());
            lines.extend([
                ("manifest", format!("{}, signed by {signer}", manifest.name)),
                ("manifest key", text(&manifest.key)),
                ("expires", text(&manifest.expires)),
            ]);
        }
        lines.extend([
            ("provenance", self.provenance.unwrap_or_default().to_owned()),
            ("sha256", text(&self.sha256)),
            ("expected", text(&self.expected_sha256)),
        ]);
        facts(&self.path, &lines)
    }
}
