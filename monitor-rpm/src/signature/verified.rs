//! The proof that a header was signed by a pinned key.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::crypto;
use crate::digest::DigestAlgorithm;
use crate::files::{FileTable, Files, FilesError};
use crate::header::{Header, TagError, View, tag};
use crate::pins::{Fingerprint, Pin};

/// Name, epoch, version, release and architecture of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nevra {
    /// Name.
    pub name: String,
    /// Epoch, if the package has one.
    pub epoch: Option<u32>,
    /// Version.
    pub version: String,
    /// Release.
    pub release: String,
    /// Architecture; none for gpg-pubkey.
    pub arch: Option<String>,
}

impl Nevra {
    /// Reads it from a part of a header; text that is not UTF-8 is replaced lossily.
    pub fn read(view: View<'_>) -> Result<Self, TagError> {
        let text = |tag| view.string(tag).map(|text| text.map(lossy));
        Ok(Self {
            name: text(tag::NAME)?.unwrap_or_default(),
            epoch: view.int(tag::EPOCH)?.and_then(|epoch| u32::try_from(epoch).ok()),
            version: text(tag::VERSION)?.unwrap_or_default(),
            release: text(tag::RELEASE)?.unwrap_or_default(),
            arch: text(tag::ARCH)?,
        })
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.name)?;
        if let Some(epoch) = self.epoch {
            write!(f, "{epoch}:")?;
        }
        write!(f, "{}-{}", self.version, self.release)?;
        match &self.arch {
            Some(arch) => write!(f, ".{arch}"),
            None => Ok(()),
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A signature that was verified, and the pinned key that made it.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The pin that makes the key count.
    pub pin: Arc<Pin>,
    /// Fingerprint of the key that made the signature: the primary key, or one of its bound subkeys.
    pub key: Fingerprint,
    /// User id of the key, such as "AlmaLinux OS 9 <packager@almalinux.org>"; empty if it has none.
    pub user_id: String,
    /// Hash algorithm of the signature.
    pub hash: DigestAlgorithm,
    /// Version of the signature packet: 3, 4 or 6.
    pub version: u8,
    /// When the signature was made, as it says: seconds since 1970.
    pub created: u64,
    /// The header tag that held it: RSAHEADER, DSAHEADER or OPENPGP.
    pub tag: u32,
}

/// A package header whose signature by a pinned key was verified.
///
/// Signature verification is the only way to get one (the constructor is private to it), and everything it gives
/// out comes from inside the immutable region, except what [`VerifiedHeader::unsigned`] holds.
#[derive(Clone, Debug)]
pub struct VerifiedHeader {
    header: Header,
    nevra: Nevra,
    region_sha256: OnceLock<[u8; 32]>,
    files: FileTable,
    signers: Vec<Signer>,
}

impl VerifiedHeader {
    /// For the verifier alone: `first` and `others` are good signatures over `header.signed_bytes()`, of which
    /// `region_sha256` is the digest if it is known already.
    pub(super) fn new(
        header: Header,
        nevra: Nevra,
        region_sha256: Option<[u8; 32]>,
        first: Signer,
        others: Vec<Signer>,
    ) -> Result<Self, FilesError> {
        let files = FileTable::check(header.region())?;
        let signers = std::iter::once(first).chain(others).collect();
        Ok(Self {
            header,
            nevra,
            region_sha256: region_sha256.map(OnceLock::from).unwrap_or_default(),
            files,
            signers,
        })
    }

    /// Name, epoch, version, release, architecture.
    pub fn nevra(&self) -> &Nevra {
        &self.nevra
    }

    /// The good signatures by pinned keys whose scope covers the package, in stored order; at least one.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    fn text(&self, tag: u32) -> Option<String> {
        self.header.region().string(tag).ok().flatten().map(lossy)
    }

    /// SHA-256 of the signed bytes: what identifies this build of the package. The header's own SHA256HEADER says
    /// the same, but lies outside the region.
    pub fn region_sha256(&self) -> [u8; 32] {
        *self
            .region_sha256
            .get_or_init(|| crypto::sha256(&self.header.signed_bytes().unwrap_or_default()))
    }

    /// VENDOR.
    pub fn vendor(&self) -> Option<String> {
        self.text(tag::VENDOR)
    }

    /// DISTRIBUTION.
    pub fn distribution(&self) -> Option<String> {
        self.text(tag::DISTRIBUTION)
    }

    /// PACKAGER.
    pub fn packager(&self) -> Option<String> {
        self.text(tag::PACKAGER)
    }

    /// BUILDHOST.
    pub fn build_host(&self) -> Option<String> {
        self.text(tag::BUILDHOST)
    }

    /// SOURCERPM; `None` for a source package.
    pub fn source_rpm(&self) -> Option<String> {
        self.text(tag::SOURCERPM)
    }

    /// MODULARITYLABEL.
    pub fn module(&self) -> Option<String> {
        self.text(tag::MODULARITYLABEL)
    }

    /// BUILDTIME, seconds since 1970.
    pub fn build_time(&self) -> Option<u64> {
        self.header.region().int(tag::BUILDTIME).ok().flatten()
    }

    /// Algorithm of the file digests.
    pub fn digest_algorithm(&self) -> DigestAlgorithm {
        self.files.algorithm()
    }

    /// How many files the package has.
    pub fn n_files(&self) -> usize {
        self.files.len()
    }

    /// The files, as signed.
    pub fn files(&self) -> Files<'_> {
        self.files.files(self.header.region())
    }

    /// The signed entries, for tags without an accessor of their own.
    pub fn region(&self) -> View<'_> {
        self.header.region()
    }

    /// Facts from outside the signed region. They may excuse, never accuse or vouch.
    pub fn unsigned(&self) -> UnsignedFacts<'_> {
        UnsignedFacts {
            view: self.header.dribbles(),
        }
    }

    /// Tags of the signed region that an unsigned entry repeats: not empty means tampering (or a relocated
    /// package). See [`Header::repeated_tags`].
    pub fn repeated_tags(&self) -> Vec<u32> {
        self.header.repeated_tags()
    }
}

/// State of a file as rpm noted it at installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// 0: installed.
    Normal,
    /// 1: replaced by another package's file.
    Replaced,
    /// 2: not installed (for example `--nodocs` or a language).
    NotInstalled,
    /// 3: on a shared file system.
    NetShared,
    /// 4: left out because of its ELF class.
    WrongColor,
    /// Anything else.
    Unknown,
}

/// What rpm wrote into the header at installation; unsigned.
#[derive(Clone, Copy, Debug)]
pub struct UnsignedFacts<'a> {
    view: View<'a>,
}

impl<'a> UnsignedFacts<'a> {
    /// The facts of a header that is not verified.
    pub(crate) fn of(header: &'a Header) -> Self {
        Self {
            view: header.dribbles(),
        }
    }

    /// When the package was installed, seconds since 1970.
    pub fn install_time(&self) -> Option<u64> {
        self.view.int(tag::INSTALLTIME).ok().flatten()
    }

    /// The states of the files, in the order of [`VerifiedHeader::files`].
    pub fn file_states(&self) -> impl Iterator<Item = FileState> + use<'a> {
        self.view
            .ints(tag::FILESTATES)
            .into_iter()
            .flatten()
            .map(|state| match state {
                0 => FileState::Normal,
                1 => FileState::Replaced,
                2 => FileState::NotInstalled,
                3 => FileState::NetShared,
                4 => FileState::WrongColor,
                _ => FileState::Unknown,
            })
    }
}
