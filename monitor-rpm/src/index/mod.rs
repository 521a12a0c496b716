//! Index of signed file digests: SHA-256 to package and path, and path to expected digests.
//!
//! [`IndexBuilder`] takes digests from [`VerifiedHeader`](crate::signature::VerifiedHeader)s alone. The finished
//! [`DigestIndex`] is one byte buffer, the same in memory, in a pipe and on disk ([`DigestIndex::as_bytes`],
//! [`DigestIndex::decode`]): versioned, checksummed, and checked whole before use, so that no lookup can fail.
//! The checksum finds accidents, not forgery: whoever stores an index must keep others from writing it.

mod build;
mod codec;

use crate::verify::FileCaps;
pub use build::IndexBuilder;
pub use codec::DecodeError;
use codec::{FileRecord, Layout};
use serde::{Deserialize, Serialize};

use crate::pins::Fingerprint;
use crate::signature::Nevra;

/// Where trust in a digest comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Provenance {
    /// Out of the signed region of a header.
    Verified,
    /// The signed digest is of another algorithm; the file matched it, and this is the file's SHA-256.
    Derived,
    /// A signed manifest of the operator.
    Local,
    /// A file of a proven rpm transaction that still runs.
    Provisional,
    /// Of a package that was replaced or removed; its processes may still run until reboot.
    Retired,
}

impl Provenance {
    const fn number(self) -> u16 {
        match self {
            Self::Verified => 0,
            Self::Derived => 1,
            Self::Local => 2,
            Self::Provisional => 3,
            Self::Retired => 4,
        }
    }

    const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Verified,
            1 => Self::Derived,
            2 => Self::Local,
            3 => Self::Provisional,
            4 => Self::Retired,
            _ => return None,
        })
    }
}

/// What makes a file something that may execute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecClass {
    /// An execute permission bit is set.
    pub exec_bit: bool,
    /// ELF: executable, shared object or plain object.
    pub elf: bool,
    /// Text that libmagic called a script, by its first line.
    pub script: bool,
    /// A kernel module, compressed or not.
    pub kernel_module: bool,
}

impl ExecClass {
    /// Whether any of the classes applies.
    pub const fn may_execute(self) -> bool {
        self.exec_bit || self.elf || self.script || self.kernel_module
    }
}

/// A file that a verified package owns.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    index: &'a DigestIndex,
    record: FileRecord,
}

impl<'a> Owner<'a> {
    /// The package.
    pub fn package(&self) -> Package<'a> {
        Package {
            index: self.index,
            number: self.record.package,
        }
    }

    /// Full path as the package names it.
    pub fn path(&self) -> Vec<u8> {
        [
            self.index.layout.dir(&self.index.bytes, self.record.dir),
            self.name(),
        ]
        .concat()
    }

    /// Name without directory.
    pub fn name(&self) -> &'a [u8] {
        self.index.layout.name(&self.index.bytes, self.record.name)
    }

    /// Trusted SHA-256 of the content; `None` for what has no content, `%ghost`, and digests of other algorithms
    /// that were not derived.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.index.layout.digest(&self.index.bytes, self.record.digest)
    }

    /// Size of the content in bytes, where there is a digest.
    pub fn size(&self) -> Option<u64> {
        self.index
            .layout
            .digest_size(&self.index.bytes, self.record.digest)
    }

    /// Type and permissions as `st_mode`.
    pub fn mode(&self) -> u32 {
        u32::from(self.record.mode)
    }

    /// Capabilities in textual form, if the package gives the file any.
    pub fn capabilities(&self) -> Option<&'a str> {
        self.index.layout.caps(&self.index.bytes, &self.record)
    }

    /// What makes it executable, if anything.
    pub fn class(&self) -> ExecClass {
        self.record.class()
    }

    /// `%config`: an administrator may have changed it, which is no mismatch but `config-modified`.
    pub fn is_config(&self) -> bool {
        self.record.has(codec::FLAG_CONFIG)
    }

    /// `%ghost`: owned, content unknown.
    pub fn is_ghost(&self) -> bool {
        self.record.has(codec::FLAG_GHOST)
    }

    /// Where the trust comes from.
    pub fn provenance(&self) -> Provenance {
        self.record.provenance()
    }
}

/// A verified package in the index.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    index: &'a DigestIndex,
    number: u32,
}

impl<'a> Package<'a> {
    fn record(&self) -> codec::PackageRecord {
        self.index.layout.package(&self.index.bytes, self.number)
    }

    fn text(&self, at: u32) -> &'a str {
        self.index.layout.text(&self.index.bytes, at)
    }

    fn optional(&self, at: u32) -> Option<&'a str> {
        Some(self.text(at)).filter(|text| !text.is_empty())
    }

    /// Position in the index, stable for its lifetime.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Name.
    pub fn name(&self) -> &'a str {
        self.text(self.record().name)
    }

    /// Name, epoch, version, release, architecture.
    pub fn nevra(&self) -> Nevra {
        let record = self.record();
        Nevra {
            name: self.text(record.name).to_owned(),
            epoch: record.epoch,
            version: self.text(record.version).to_owned(),
            release: self.text(record.release).to_owned(),
            arch: self.optional(record.arch).map(str::to_owned),
        }
    }

    /// VENDOR.
    pub fn vendor(&self) -> Option<&'a str> {
        self.optional(self.record().vendor)
    }

    /// BUILDHOST.
    pub fn build_host(&self) -> Option<&'a str> {
        self.optional(self.record().build_host)
    }

    /// SOURCERPM.
    pub fn source_rpm(&self) -> Option<&'a str> {
        self.optional(self.record().source_rpm)
    }

    /// BUILDTIME, seconds since 1970; 0 if the package does not say.
    pub fn build_time(&self) -> u64 {
        self.record().build_time
    }

    /// INSTALLTIME, seconds since 1970, **unsigned**; 0 if the database does not say.
    pub fn install_time(&self) -> u64 {
        self.record().install_time
    }

    /// SHA-256 of the signed bytes of the header: the package's identity.
    pub fn header_sha256(&self) -> [u8; 32] {
        self.record().header_sha256
    }

    /// The key that vouches for it (the first, if several do).
    pub fn signer(&self) -> SignerInfo<'a> {
        let signer = self.index.layout.signer(&self.index.bytes, self.record().signer);
        SignerInfo {
            pin_name: self.text(signer.pin_name),
            vendor: self.text(signer.vendor),
            releases: self.text(signer.releases),
            pinned_key: self.text(signer.pinned_key),
            signing_key: self.text(signer.signing_key),
            user_id: self.text(signer.user_id),
        }
    }

    /// Whether the package was taken from an older index because its files may still be running.
    pub fn is_retired(&self) -> bool {
        self.record().retired
    }
}

/// A signing key in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SignerInfo<'a> {
    /// [`crate::pins::Pin::name`].
    pub pin_name: &'a str,
    /// [`crate::pins::Pin::vendor`].
    pub vendor: &'a str,
    /// EL major releases the key signs for, separated by commas; empty means any.
    pub releases: &'a str,
    /// Fingerprint of the pinned primary key, hexadecimal.
    pub pinned_key: &'a str,
    /// Fingerprint of the key or subkey that made the signature, hexadecimal.
    pub signing_key: &'a str,
    /// User id of the key.
    pub user_id: &'a str,
}

impl SignerInfo<'_> {
    /// The pinned key as a value.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.pinned_key.parse().ok()
    }
}

/// A digest of the index, for filling a kernel map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedDigest {
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// Size of the content in bytes.
    pub size: u64,
    /// Union of the classes of all files with this content.
    pub class: ExecClass,
    /// Best provenance of all files with this content.
    pub provenance: Provenance,
    /// Mode bits (set-user-id, set-group-id) that at least one of the files carries, as in `st_mode`.
    pub special_mode: u32,
    /// Capabilities that at least one of the files gives: permitted and inheritable ones, as a mask.
    pub capabilities: u64,
}

/// For fuzzing: puts the right checksum into a damaged index.
#[doc(hidden)]
pub fn reseal(bytes: Vec<u8>) -> Vec<u8> {
    codec::reseal(bytes)
}

/// The index. See the module documentation.
#[derive(Clone)]
pub struct DigestIndex {
    bytes: Vec<u8>,
    layout: Layout,
}

impl std::fmt::Debug for DigestIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestIndex")
            .field("packages", &self.n_packages())
            .field("files", &self.n_files())
            .field("digests", &self.n_digests())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl DigestIndex {
    /// Checks and takes over an encoded index.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let layout = Layout::check(&bytes)?;
        Ok(Self { bytes, layout })
    }

    /// The encoded index, for a pipe or a file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Caller-defined note stored with the index: what it was built from (for example a database's stamp).
    pub fn note(&self) -> &str {
        self.layout.note(&self.bytes)
    }

    /// Memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>()
    }

    /// Files of any kind.
    pub fn n_files(&self) -> usize {
        self.layout.n_files()
    }

    /// Different digests.
    pub fn n_digests(&self) -> usize {
        self.layout.n_digests()
    }

    /// Packages.
    pub fn n_packages(&self) -> usize {
        self.layout.n_packages()
    }

    /// Who owns content with this SHA-256: the owner with the best provenance, first by path. `None` means that no
    /// verified package contains it.
    pub fn lookup(&self, sha256: &[u8; 32]) -> Option<Owner<'_>> {
        self.owners(sha256).min_by_key(Owner::provenance)
    }

    /// All files with this content.
    pub fn owners(&self, sha256: &[u8; 32]) -> impl Iterator<Item = Owner<'_>> {
        let files = self.layout.find_digest(&self.bytes, sha256).unwrap_or(0..0);
        files.filter_map(|at| self.owner(self.layout.digest_file(&self.bytes, at)?))
    }

    fn owner(&self, file: u32) -> Option<Owner<'_>> {
        Some(Owner {
            index: self,
            record: self.layout.file(&self.bytes, file)?,
        })
    }

    /// All packages' files at a path (absolute, without symbolic links): more than one if packages share it, none
    /// if no package owns it. `/bin`, `/sbin`, `/lib`, `/lib64` are the same as below `/usr`, as they are on
    /// every EL release.
    pub fn expected(&self, path: &[u8]) -> Vec<Owner<'_>> {
        let mut owners = self.expected_exactly(path);
        if owners.is_empty()
            && let Some(alias) = usr_merge_alias(path)
        {
            owners = self.expected_exactly(&alias);
        }
        owners
    }

    fn expected_exactly(&self, path: &[u8]) -> Vec<Owner<'_>> {
        let split = path
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1);
        let Some((dir, name)) = path.split_at_checked(split) else {
            return Vec::new();
        };
        let files = self.layout.find_path(&self.bytes, dir, name);
        files.filter_map(|file| self.owner(file)).collect()
    }

    /// All packages.
    pub fn packages(&self) -> impl Iterator<Item = Package<'_>> {
        let n = u32::try_from(self.n_packages()).unwrap_or(u32::MAX);
        (0..n).map(|number| Package { index: self, number })
    }

    /// All files, by path.
    pub fn files(&self) -> impl Iterator<Item = Owner<'_>> {
        let n = u32::try_from(self.n_files()).unwrap_or(u32::MAX);
        (0..n).filter_map(|file| self.owner(file))
    }

    /// All digests, ascending.
    pub fn digests(&self) -> impl Iterator<Item = TrustedDigest> {
        let n = u32::try_from(self.n_digests()).unwrap_or(u32::MAX);
        (0..n).filter_map(|number| self.trusted_digest(number))
    }

    fn trusted_digest(&self, number: u32) -> Option<TrustedDigest> {
        let mut digest = TrustedDigest {
            sha256: self.layout.digest(&self.bytes, number)?,
            size: self.layout.digest_size(&self.bytes, number)?,
            class: ExecClass::default(),
            provenance: Provenance::Retired,
            special_mode: 0,
            capabilities: 0,
        };
        for at in self.layout.digest_files(&self.bytes, number)? {
            let owner = self.owner(self.layout.digest_file(&self.bytes, at)?)?;
            let class = owner.class();
            digest.class.exec_bit |= class.exec_bit;
            digest.class.elf |= class.elf;
            digest.class.script |= class.script;
            digest.class.kernel_module |= class.kernel_module;
            digest.provenance = digest.provenance.min(owner.provenance());
            digest.special_mode |= owner.mode() & 0o6000;
            let caps = owner.capabilities();
            let caps = caps.and_then(|text| FileCaps::from_text(text.as_bytes()));
            digest.capabilities |= caps.map_or(0, |caps| caps.permitted | caps.inheritable);
        }
        Some(digest)
    }
}

/// The other name of a path on a system where `/bin`, `/sbin`, `/lib` and `/lib64` are links into `/usr`.
pub fn usr_merge_alias(path: &[u8]) -> Option<Vec<u8>> {
    const MERGED: [&[u8]; 4] = [b"/bin/", b"/sbin/", b"/lib/", b"/lib64/"];
    if MERGED.iter().any(|dir| path.starts_with(dir)) {
        return Some([b"/usr", path].concat());
    }
    let short = path.strip_prefix(b"/usr")?;
    MERGED
        .iter()
        .any(|dir| short.starts_with(dir))
        .then(|| short.to_vec())
}

#[cfg(test)]
mod tests;
