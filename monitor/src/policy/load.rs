//! Policy files of a host: the shipped ones, the local ones, and whether the local ones are signed.

use crate::crypto::{HostCrypto, LedgerFile, LedgerFileError, public_keys, this_host};
use crate::harden::{Root, RootError};
use hardpan_core::envelope::{Envelope, Kind, Known, MAX_ENVELOPE_BYTES, Opened, open};
use hardpan_core::policy::{self, Layer, MAX_FILE_BYTES, Problem, Resolved, Selector, Source, shipped};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Extension of a signed policy: an envelope whose payload is the TOML.
const ENVELOPE_EXTENSION: &str = "hpm";
/// Most files looked at below one directory.
const MAX_ENTRIES: usize = 1_000;

/// Where policies, keys and serials lie, within the root.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The shipped sets; where there are none, the compiled-in ones count.
    pub vendor: String,
    /// The host's own.
    pub local: String,
    /// Operators' public keys.
    pub keys: String,
    /// Serials that were accepted.
    pub state: String,
}

impl Default for Folders {
    fn default() -> Self {
        Self {
            vendor: "/usr/share/hardpan/policies".to_owned(),
            local: "/etc/hardpan/policies".to_owned(),
            keys: "/etc/hardpan/keys.d".to_owned(),
            state: "/var/lib/hardpan".to_owned(),
        }
    }
}

/// Why policy files cannot be read. A policy that is wrong is no such error: its problems are in [`Loaded`].
#[derive(Debug, Error)]
pub enum LoadError {
    /// A path in the root.
    #[error("cannot find policies within the root")]
    Root(#[from] RootError),
    /// A directory or file.
    #[error("cannot read {path}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The serials that were accepted cannot be read: an old policy could come back.
    #[error("cannot tell which policies are older than those used before")]
    Serials(#[source] LedgerFileError),
}

/// Where the shipped sets came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The program itself.
    CompiledIn,
    /// The directory of the package.
    Directory,
}

/// A signed local file.
#[derive(Debug, Clone)]
pub struct SignedFile {
    /// Its name below the local directory, as a policy: `20-site.toml`.
    pub name: String,
    /// The proof.
    pub opened: Opened,
}

/// A host's policy with everything that is wrong with it.
#[derive(Debug)]
pub struct Loaded {
    /// The merged policy; not to be used if `problems` has an error.
    pub resolved: Resolved,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Local files with a good signature.
    pub signed: Vec<SignedFile>,
    /// Where the shipped sets came from.
    pub origin: Origin,
}

impl Loaded {
    /// Whether the policy can be used.
    pub fn is_usable(&self) -> bool {
        !self.problems.iter().any(Problem::is_error)
    }
}

/// All sources of a host.
#[derive(Debug)]
pub struct Sources {
    /// Shipped.
    pub vendor: Vec<Source>,
    /// Local ones without a signature.
    pub unsigned: Vec<Source>,
    /// Local ones with a good signature.
    pub signed: Vec<Source>,
    proofs: Vec<SignedFile>,
    problems: Vec<Problem>,
    origin: Origin,
}

/// Reads all policy files of a root; `now_s` is the time in seconds since 1970.
pub fn read_sources(root: &Root, folders: &Folders, now_s: i64) -> Result<Sources, LoadError> {
    let mut vendor = Vec::new();
    read_directory(root, &folders.vendor, "", &mut |file| {
        vendor.push(file);
    })?;
    vendor.retain(|file| file.name.strip_suffix(".toml").is_some());
    let origin = if vendor.is_empty() {
        Origin::CompiledIn
    } else {
        Origin::Directory
    };
    let vendor: Vec<Source> = if vendor.is_empty() {
        shipped::shipped()
    } else {
        vendor
            .into_iter()
            .map(|file| file.into_source(&mut Vec::new()))
            .collect()
    };
    let mut sources = Sources {
        vendor,
        unsigned: Vec::new(),
        signed: Vec::new(),
        proofs: Vec::new(),
        problems: Vec::new(),
        origin,
    };
    let mut files = Vec::new();
    read_directory(root, &folders.local, "", &mut |file| files.push(file))?;
    let judge = Judge::new(root, folders, now_s)?;
    for file in files {
        if root.is_real() && file.is_writable_by_others {
            let message = "others than root may write this file: a policy must be root's alone";
            sources.problems.push(
                Problem::error(place(&file.file), message).with_hint("chown root: FILE; chmod 0644 FILE"),
            );
        }
        if let Some(stem) = file.name.strip_suffix(&format!(".{ENVELOPE_EXTENSION}")) {
            judge.signed(&mut sources, &file, stem);
        } else if file.name.strip_suffix(".toml").is_some() {
            let source = file.into_source(&mut sources.problems);
            sources.unsigned.push(source);
        }
    }
    Ok(sources)
}

/// Checks envelopes.
struct Judge {
    keys: hardpan_core::envelope::TrustedKeys,
    host: hardpan_core::envelope::Host,
    ledger: LedgerFile,
    now_s: i64,
}

impl Judge {
    fn new(root: &Root, folders: &Folders, now_s: i64) -> Result<Self, LoadError> {
        let (keys, _findings) = public_keys(&[root.resolve(&folders.keys)?]);
        let ledger = LedgerFile::load(&root.resolve(&folders.state)?).map_err(LoadError::Serials)?;
        Ok(Self {
            keys,
            host: this_host(root.directory()),
            ledger,
            now_s,
        })
    }

    fn signed(&self, sources: &mut Sources, file: &PolicyFile, stem: &str) {
        let name = format!("{stem}.toml");
        let refuse = |sources: &mut Sources, message: String, hint: Option<&str>| {
            let mut problem = Problem::error(place(&file.file), message);
            if let Some(hint) = hint {
                problem = problem.with_hint(hint);
            }
            sources.problems.push(problem);
        };
        let envelope = match Envelope::parse(&file.bytes) {
            Ok(envelope) => envelope,
            Err(error) => return refuse(sources, format!("no envelope: {error}"), None),
        };
        let known = Known {
            kind: Kind::Policy,
            keys: &self.keys,
            host: &self.host,
            now: self.now_s,
            ledger: self.ledger.ledger(),
        };
        let opened = match open(envelope, &known, &HostCrypto) {
            Ok(opened) => opened,
            Err(refusal) => return refuse(sources, format!("refused: {refusal}"), Some(refusal.hint())),
        };
        // The name is signed: a good envelope under another file name would take another file's place.
        let base = stem.rsplit('/').next().unwrap_or(stem);
        if opened.claims().name != base {
            let message = format!(
                "the signed policy is named {:?}, the file {base:?}",
                opened.claims().name
            );
            return refuse(
                sources,
                message,
                Some("give the file the name it was signed under"),
            );
        }
        match std::str::from_utf8(opened.payload()) {
            Ok(text) => sources.signed.push(Source {
                file: file.file.clone(),
                name: name.clone(),
                text: Some(text.to_owned()),
            }),
            Err(_) => return refuse(sources, "the payload is not text".to_owned(), None),
        }
        sources.proofs.push(SignedFile { name, opened });
    }
}

fn place(file: &str) -> policy::Origin {
    policy::Origin {
        layer: Layer::Local,
        file: file.into(),
        line: 1,
        column: 1,
    }
}

/// Reads, selects and merges a host's policy.
///
/// Whether unsigned local files count is decided by the policy without them: they cannot vouch for themselves.
pub fn load(root: &Root, folders: &Folders, selector: &Selector, now_s: i64) -> Result<Loaded, LoadError> {
    Ok(merge(read_sources(root, folders, now_s)?, selector, Vec::new()))
}

/// The same with one more unsigned file, which need not be installed (`policy check FILE`).
pub(crate) fn load_with(
    root: &Root,
    folders: &Folders,
    selector: &Selector,
    now_s: i64,
    candidate: Source,
) -> Result<Loaded, LoadError> {
    Ok(merge(
        read_sources(root, folders, now_s)?,
        selector,
        vec![candidate],
    ))
}

fn merge(sources: Sources, selector: &Selector, candidates: Vec<Source>) -> Loaded {
    let Sources {
        vendor,
        mut unsigned,
        signed,
        proofs,
        mut problems,
        origin,
    } = sources;
    unsigned.retain(|file| !candidates.iter().any(|candidate| candidate.name == file.name));
    unsigned.extend(candidates);
    // A signed file stands above an unsigned one of the same name.
    unsigned.retain(|file| !signed.iter().any(|other| other.name == file.name));
    let (vouched, _) = policy::load(selector, &vendor, &signed);
    let setting = vouched.setting(&["policy", "unsigned_local"]);
    if let Some(setting) = setting.filter(|setting| setting.value.as_text() == Some("refuse")) {
        for file in unsigned.drain(..) {
            let message = format!(
                "the file is not signed, and {} refuses unsigned local policy",
                setting.origin
            );
            problems.push(
                Problem::error(place(&file.file), message)
                    .with_hint("sign it away from this host: hardpan policy sign --key KEY.pem …"),
            );
        }
    }
    let local: Vec<Source> = signed.into_iter().chain(unsigned).collect();
    let (resolved, more) = policy::load(selector, &vendor, &local);
    problems.extend(more);
    Loaded {
        resolved,
        problems,
        signed: proofs,
        origin,
    }
}

/// Remembers the serials of signed files once their policy is in use, so that older ones are refused from then on.
pub fn accept_serials(root: &Root, folders: &Folders, signed: &[SignedFile]) -> Result<(), LoadError> {
    if signed.is_empty() {
        return Ok(());
    }
    let mut ledger = LedgerFile::load(&root.resolve(&folders.state)?).map_err(LoadError::Serials)?;
    for file in signed {
        ledger.accept(&file.opened).map_err(LoadError::Serials)?;
    }
    Ok(())
}

/// A file as it was found.
struct PolicyFile {
    /// As it appears in messages: its path within the root.
    file: String,
    /// Its name below the directory.
    name: String,
    bytes: Vec<u8>,
    is_masked: bool,
    is_writable_by_others: bool,
}

impl PolicyFile {
    fn into_source(self, problems: &mut Vec<Problem>) -> Source {
        let text = if self.is_masked {
            None
        } else if let Ok(text) = String::from_utf8(self.bytes) {
            Some(text)
        } else {
            problems.push(Problem::error(place(&self.file), "the file is not UTF-8 text"));
            Some(String::new())
        };
        Source {
            file: self.file,
            name: self.name,
            text,
        }
    }
}

/// Files of a directory and of the directories in it. A directory that is not there is empty.
fn read_directory(
    root: &Root,
    directory: &str,
    below: &str,
    take: &mut dyn FnMut(PolicyFile),
) -> Result<(), LoadError> {
    let within = if below.is_empty() {
        directory.to_owned()
    } else {
        format!("{directory}/{below}")
    };
    let path = root.resolve(&within)?;
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(LoadError::Read { path, source }),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .take(MAX_ENTRIES)
        .collect();
    names.sort();
    for name in names {
        let file = format!("{within}/{name}");
        let is_policy =
            name.strip_suffix(".toml").is_some() || name.ends_with(&format!(".{ENVELOPE_EXTENSION}"));
        let real = root.resolve(&file)?;
        if !is_policy {
            // Layers are one directory deep.
            if below.is_empty() && real.is_dir() {
                read_directory(root, directory, &name, take)?;
            }
            continue;
        }
        let relative = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        let link = fs::read_link(root.resolve_parent(&file)?).ok();
        let is_masked = link.as_deref() == Some(Path::new("/dev/null"));
        let (bytes, is_writable_by_others) = if is_masked {
            (Vec::new(), false)
        } else {
            read_file(&real).map_err(|source| LoadError::Read { path: real, source })?
        };
        take(PolicyFile {
            file,
            name: relative,
            bytes,
            is_masked,
            is_writable_by_others,
        });
    }
    Ok(())
}

/// A file's bytes, one more than allowed at most, and whether others than root may write it.
fn read_file(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let limit = MAX_FILE_BYTES.max(MAX_ENVELOPE_BYTES) as u64 + 1;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes, metadata.uid() != 0 || metadata.mode() & 0o022 != 0))
}
