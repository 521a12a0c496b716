//! The bytes of an index: layout, total check, and the accessors that rely on that check.
//!
//! Little-endian. Header: magic, version, SHA-256 of everything behind the header, table of sections
//! (offset and length, from the start of the file). Sections, back to back:
//!
//! | section | element | order |
//! |---|---|---|
//! | note | UTF-8 | |
//! | texts | u16 length + UTF-8 each | offset 0 is the empty text |
//! | signers | 6 text offsets | |
//! | packages | 92 bytes | by name, version, release, header |
//! | dirs | u32 offset into pool | by bytes |
//! | pool | u16 length + bytes each | |
//! | files | 20 bytes | by directory, name, package |
//! | digests | 32 bytes | ascending, unique |
//! | digest facts | u32 first entry in digest files, u64 size | as digests |
//! | digest files | u32 file | grouped by digest |
//! | capabilities | u32 file, u32 text offset | by file |

use std::ops::Range;

use super::{ExecClass, Provenance};
use crate::crypto;

pub(super) const MAGIC: [u8; 8] = *b"HPNDXRPM";
/// Raised with every change of the layout: an older file is rebuilt, not converted.
pub(super) const VERSION: u32 = 1;
pub(super) const N_SECTIONS: usize = 11;
pub(super) const HEADER_BYTES: usize = 8 + 4 + 32 + N_SECTIONS * 16;
/// Number that stands for "no digest".
pub(super) const NO_DIGEST: u32 = u32::MAX;

pub(super) const SIGNER_BYTES: usize = 24;
pub(super) const PACKAGE_BYTES: usize = 92;
pub(super) const DIR_BYTES: usize = 4;
pub(super) const FILE_BYTES: usize = 20;
pub(super) const DIGEST_BYTES: usize = 32;
pub(super) const FACTS_BYTES: usize = 12;
pub(super) const CAPS_BYTES: usize = 8;

pub(super) const FLAG_EXEC_BIT: u16 = 1;
pub(super) const FLAG_ELF: u16 = 2;
pub(super) const FLAG_SCRIPT: u16 = 4;
pub(super) const FLAG_MODULE: u16 = 8;
pub(super) const FLAG_CONFIG: u16 = 16;
pub(super) const FLAG_GHOST: u16 = 32;
pub(super) const FLAG_CAPS: u16 = 64;
const PROVENANCE_SHIFT: u32 = 8;

/// Why bytes are not an index. The answer to each is to rebuild it from the database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not an index at all.
    #[error("not a digest index")]
    BadMagic,
    /// Checksum does not fit.
    #[error("checksum does not match: the index is damaged")]
    Checksum,
    /// A section or element points outside its bounds or is out of order.
    #[error("inconsistent index: {0}")]
    Inconsistent(&'static str),
    /// Ends too early.
    #[error("truncated index: {found} bytes")]
    Truncated {
        /// What was given.
        found: usize,
    },
    /// Written by another version.
    #[error("index layout {found}, this program reads {VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
}

/// One file, decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileRecord {
    pub(super) number: u32,
    pub(super) dir: u32,
    pub(super) name: u32,
    pub(super) package: u32,
    pub(super) digest: u32,
    pub(super) mode: u16,
    pub(super) flags: u16,
}

impl FileRecord {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.dir, self.name, self.package, self.digest] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.mode.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
    }

    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn class(&self) -> ExecClass {
        ExecClass {
            exec_bit: self.has(FLAG_EXEC_BIT),
            elf: self.has(FLAG_ELF),
            script: self.has(FLAG_SCRIPT),
            kernel_module: self.has(FLAG_MODULE),
        }
    }

    pub(super) fn provenance(&self) -> Provenance {
        Provenance::from_number(self.flags >> PROVENANCE_SHIFT).unwrap_or(Provenance::Retired)
    }

    pub(super) fn set_provenance(&mut self, provenance: Provenance) {
        self.flags = (self.flags & 0xff) | (provenance.number() << PROVENANCE_SHIFT);
    }
}

/// One package, decoded; texts as offsets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PackageRecord {
    pub(super) name: u32,
    pub(super) version: u32,
    pub(super) release: u32,
    pub(super) arch: u32,
    pub(super) epoch: Option<u32>,
    pub(super) vendor: u32,
    pub(super) build_host: u32,
    pub(super) source_rpm: u32,
    pub(super) signer: u32,
    pub(super) build_time: u64,
    pub(super) install_time: u64,
    pub(super) retired: bool,
    pub(super) header_sha256: [u8; 32],
}

impl PackageRecord {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flags = u32::from(self.epoch.is_some()) | (u32::from(self.retired) << 1);
        for field in [
            self.name,
            self.version,
            self.release,
            self.arch,
            self.vendor,
            self.build_host,
            self.source_rpm,
            self.signer,
            flags,
            self.epoch.unwrap_or_default(),
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.build_time.to_le_bytes());
        out.extend_from_slice(&self.install_time.to_le_bytes());
        out.extend_from_slice(&self.header_sha256);
        out.extend_from_slice(&[0; 4]);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let flags = le32(bytes, 32)?;
        Some(Self {
            name: le32(bytes, 0)?,
            version: le32(bytes, 4)?,
            release: le32(bytes, 8)?,
            arch: le32(bytes, 12)?,
            vendor: le32(bytes, 16)?,
            build_host: le32(bytes, 20)?,
            source_rpm: le32(bytes, 24)?,
            signer: le32(bytes, 28)?,
            epoch: if flags & 1 == 0 {
                None
            } else {
                Some(le32(bytes, 36)?)
            },
            retired: flags & 2 != 0,
            build_time: le64(bytes, 40)?,
            install_time: le64(bytes, 48)?,
            header_sha256: bytes.get(56..88)?.try_into().ok()?,
        })
    }
}

/// One signer, decoded: text offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SignerRecord {
    pub(super) pin_name: u32,
    pub(super) vendor: u32,
    pub(super) releases: u32,
    pub(super) pinned_key: u32,
    pub(super) signing_key: u32,
    pub(super) user_id: u32,
}

impl SignerRecord {
    fn fields(&self) -> [u32; 6] {
        [
            self.pin_name,
            self.vendor,
            self.releases,
            self.pinned_key,
            self.signing_key,
            self.user_id,
        ]
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for field in self.fields() {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            pin_name: le32(bytes, 0)?,
            vendor: le32(bytes, 4)?,
            releases: le32(bytes, 8)?,
            pinned_key: le32(bytes, 12)?,
            signing_key: le32(bytes, 16)?,
            user_id: le32(bytes, 20)?,
        })
    }
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at.checked_add(2)?)?
        .try_into()
        .ok()
        .map(u16::from_le_bytes)
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at.checked_add(4)?)?
        .try_into()
        .ok()
        .map(u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..at.checked_add(8)?)?
        .try_into()
        .ok()
        .map(u64::from_le_bytes)
}

/// Where the sections of a checked index are.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    note: Range<usize>,
    texts: Range<usize>,
    signers: Range<usize>,
    packages: Range<usize>,
    dirs: Range<usize>,
    pool: Range<usize>,
    files: Range<usize>,
    digests: Range<usize>,
    facts: Range<usize>,
    digest_files: Range<usize>,
    caps: Range<usize>,
}

/// Puts the sections (in the order of the table above) behind a header.
pub(super) fn assemble(sections: [Vec<u8>; N_SECTIONS]) -> Vec<u8> {
    let total = HEADER_BYTES + sections.iter().map(Vec::len).sum::<usize>();
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 32]);
    let mut at = HEADER_BYTES;
    for section in &sections {
        out.extend_from_slice(&(at as u64).to_le_bytes());
        out.extend_from_slice(&(section.len() as u64).to_le_bytes());
        at += section.len();
    }
    for section in sections {
        out.extend_from_slice(&section);
    }
    reseal(out)
}

/// Puts the right checksum into bytes that have the size of an index. The checksum finds accidents and is no secret:
/// tests use this to reach the checks behind it.
pub(super) fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(&bytes);
    if let Some(field) = bytes.get_mut(12..44) {
        field.copy_from_slice(&checksum);
    }
    bytes
}

/// SHA-256 of the section table and all sections.
fn checksum(bytes: &[u8]) -> [u8; 32] {
    crypto::sha256(bytes.get(44..).unwrap_or_default())
}

impl Layout {
    /// Checks everything that the accessors below rely on.
    pub(super) fn check(bytes: &[u8]) -> Result<Self, DecodeError> {
        let truncated = || DecodeError::Truncated { found: bytes.len() };
        if bytes.get(..8) != Some(&MAGIC[..]) {
            return Err(DecodeError::BadMagic);
        }
        let found = le32(bytes, 8).ok_or_else(truncated)?;
        if found != VERSION {
            return Err(DecodeError::Version { found });
        }
        if bytes.len() < HEADER_BYTES {
            return Err(truncated());
        }
        if bytes.get(12..44) != Some(&checksum(bytes)[..]) {
            return Err(DecodeError::Checksum);
        }
        let layout = Self::sections(bytes)?;
        layout.check_elements(bytes).map_err(DecodeError::Inconsistent)?;
        Ok(layout)
    }

    fn sections(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut expected_start = HEADER_BYTES;
        let mut position = 44;
        let mut next = || {
            let start = le64(bytes, position).and_then(|start| usize::try_from(start).ok());
            let len = le64(bytes, position + 8).and_then(|len| usize::try_from(len).ok());
            position += 16;
            let end = start.zip(len).and_then(|(start, len)| start.checked_add(len));
            match (start, end) {
                (Some(start), Some(end)) if start == expected_start && end <= bytes.len() => {
                    expected_start = end;
                    Ok(start..end)
                }
                _ => Err(DecodeError::Inconsistent("section table")),
            }
        };
        let layout = Self {
            note: next()?,
            texts: next()?,
            signers: next()?,
            packages: next()?,
            dirs: next()?,
            pool: next()?,
            files: next()?,
            digests: next()?,
            facts: next()?,
            digest_files: next()?,
            caps: next()?,
        };
        if expected_start != bytes.len() {
            return Err(DecodeError::Inconsistent("bytes behind the last section"));
        }
        Ok(layout)
    }

    fn check_elements(&self, bytes: &[u8]) -> Result<(), &'static str> {
        for (section, size) in [
            (&self.signers, SIGNER_BYTES),
            (&self.packages, PACKAGE_BYTES),
            (&self.dirs, DIR_BYTES),
            (&self.files, FILE_BYTES),
            (&self.digests, DIGEST_BYTES),
            (&self.facts, FACTS_BYTES),
            (&self.digest_files, 4),
            (&self.caps, CAPS_BYTES),
        ] {
            if !section.len().is_multiple_of(size) || section.len() / size >= NO_DIGEST as usize {
                return Err("size of a section");
            }
        }
        let note = bytes.get(self.note.clone()).ok_or("note")?;
        std::str::from_utf8(note).map_err(|_invalid| "note is not text")?;
        self.check_packages(bytes)?;
        self.check_files(bytes)?;
        self.check_digests(bytes)
    }

    fn check_packages(&self, bytes: &[u8]) -> Result<(), &'static str> {
        let n_signers = self.signers.len() / SIGNER_BYTES;
        for number in 0..u32::try_from(n_signers).unwrap_or(u32::MAX) {
            for at in self.signer(bytes, number).fields() {
                self.text_checked(bytes, at).ok_or("text of a signer")?;
            }
        }
        for number in 0..u32::try_from(self.n_packages()).unwrap_or(u32::MAX) {
            let record = self.package(bytes, number);
            for at in [
                record.name,
                record.version,
                record.release,
                record.arch,
                record.vendor,
                record.build_host,
                record.source_rpm,
            ] {
                self.text_checked(bytes, at).ok_or("text of a package")?;
            }
            if record.signer as usize >= n_signers {
                return Err("signer of a package");
            }
        }
        Ok(())
    }

    fn check_files(&self, bytes: &[u8]) -> Result<(), &'static str> {
        let n_dirs = self.n_dirs();
        let mut previous: Option<&[u8]> = None;
        for number in 0..u32::try_from(n_dirs).unwrap_or(u32::MAX) {
            let dir = self.dir_checked(bytes, number).ok_or("directory")?;
            // Else a path could be put together in several ways, and a look-up would miss it. Source packages have "".
            if !dir.is_empty() && !dir.ends_with(b"/") {
                return Err("directory without a slash at its end");
            }
            if previous.is_some_and(|previous| previous >= dir) {
                return Err("order of directories");
            }
            previous = Some(dir);
        }
        let mut last: Option<(u32, &[u8])> = None;
        for number in 0..u32::try_from(self.n_files()).unwrap_or(u32::MAX) {
            let record = self.file(bytes, number).ok_or("file")?;
            let name = self.name_checked(bytes, record.name).ok_or("name of a file")?;
            if name.contains(&b'/') {
                return Err("name of a file");
            }
            if record.dir as usize >= n_dirs || record.package as usize >= self.n_packages() {
                return Err("directory or package of a file");
            }
            if record.digest != NO_DIGEST && record.digest as usize >= self.n_digests() {
                return Err("digest of a file");
            }
            if Provenance::from_number(record.flags >> PROVENANCE_SHIFT).is_none() {
                return Err("provenance of a file");
            }
            if last.is_some_and(|last| last > (record.dir, name)) {
                return Err("order of files");
            }
            last = Some((record.dir, name));
        }
        Ok(())
    }

    fn check_digests(&self, bytes: &[u8]) -> Result<(), &'static str> {
        if self.facts.len() / FACTS_BYTES != self.n_digests() {
            return Err("number of digest facts");
        }
        let mut previous: Option<[u8; 32]> = None;
        let mut expected_start = 0;
        for number in 0..u32::try_from(self.n_digests()).unwrap_or(u32::MAX) {
            let digest = self.digest(bytes, number).ok_or("digest")?;
            if previous.is_some_and(|previous| previous >= digest) {
                return Err("order of digests");
            }
            previous = Some(digest);
            let files = self.digest_files(bytes, number).ok_or("files of a digest")?;
            if files.start != expected_start || files.is_empty() {
                return Err("files of a digest");
            }
            for at in files.clone() {
                let file = self
                    .digest_file(bytes, at)
                    .and_then(|file| self.file(bytes, file));
                if file.is_none_or(|file| file.digest != number) {
                    return Err("file of a digest");
                }
            }
            expected_start = files.end;
        }
        if expected_start as usize != self.digest_files.len() / 4 {
            return Err("files without digest");
        }
        let mut last = None;
        for at in self.caps.clone().step_by(CAPS_BYTES) {
            let file = le32(bytes, at).ok_or("capabilities")?;
            let text = le32(bytes, at + 4).ok_or("capabilities")?;
            self.text_checked(bytes, text).ok_or("text of capabilities")?;
            if last.is_some_and(|last| last >= file) || file as usize >= self.n_files() {
                return Err("file of capabilities");
            }
            last = Some(file);
        }
        Ok(())
    }

    pub(super) fn n_files(&self) -> usize {
        self.files.len() / FILE_BYTES
    }

    pub(super) fn n_digests(&self) -> usize {
        self.digests.len() / DIGEST_BYTES
    }

    pub(super) fn n_packages(&self) -> usize {
        self.packages.len() / PACKAGE_BYTES
    }

    fn n_dirs(&self) -> usize {
        self.dirs.len() / DIR_BYTES
    }

    pub(super) fn note<'a>(&self, bytes: &'a [u8]) -> &'a str {
        bytes
            .get(self.note.clone())
            .and_then(|note| std::str::from_utf8(note).ok())
            .unwrap_or_default()
    }

    fn element<'a>(bytes: &'a [u8], section: &Range<usize>, size: usize, number: u32) -> Option<&'a [u8]> {
        let at = (number as usize).checked_mul(size)?;
        bytes.get(section.clone())?.get(at..at.checked_add(size)?)
    }

    fn sized<'a>(bytes: &'a [u8], section: &Range<usize>, at: u32) -> Option<&'a [u8]> {
        let section = bytes.get(section.clone())?;
        let start = (at as usize).checked_add(2)?;
        section.get(start..start.checked_add(usize::from(le16(section, at as usize)?))?)
    }

    fn text_checked<'a>(&self, bytes: &'a [u8], at: u32) -> Option<&'a str> {
        std::str::from_utf8(Self::sized(bytes, &self.texts, at)?).ok()
    }

    pub(super) fn text<'a>(&self, bytes: &'a [u8], at: u32) -> &'a str {
        self.text_checked(bytes, at).unwrap_or_default()
    }

    fn name_checked<'a>(&self, bytes: &'a [u8], at: u32) -> Option<&'a [u8]> {
        Self::sized(bytes, &self.pool, at)
    }

    pub(super) fn name<'a>(&self, bytes: &'a [u8], at: u32) -> &'a [u8] {
        self.name_checked(bytes, at).unwrap_or_default()
    }

    fn dir_checked<'a>(&self, bytes: &'a [u8], number: u32) -> Option<&'a [u8]> {
        let at = le32(Self::element(bytes, &self.dirs, DIR_BYTES, number)?, 0)?;
        self.name_checked(bytes, at)
    }

    pub(super) fn dir<'a>(&self, bytes: &'a [u8], number: u32) -> &'a [u8] {
        self.dir_checked(bytes, number).unwrap_or_default()
    }

    pub(super) fn signer(&self, bytes: &[u8], number: u32) -> SignerRecord {
        Self::element(bytes, &self.signers, SIGNER_BYTES, number)
            .and_then(SignerRecord::decode)
            .unwrap_or_default()
    }

    pub(super) fn package(&self, bytes: &[u8], number: u32) -> PackageRecord {
        Self::element(bytes, &self.packages, PACKAGE_BYTES, number)
            .and_then(PackageRecord::decode)
            .unwrap_or_default()
    }

    pub(super) fn file(&self, bytes: &[u8], number: u32) -> Option<FileRecord> {
        let record = Self::element(bytes, &self.files, FILE_BYTES, number)?;
        Some(FileRecord {
            number,
            dir: le32(record, 0)?,
            name: le32(record, 4)?,
            package: le32(record, 8)?,
            digest: le32(record, 12)?,
            mode: le16(record, 16)?,
            flags: le16(record, 18)?,
        })
    }

    pub(super) fn digest(&self, bytes: &[u8], number: u32) -> Option<[u8; 32]> {
        Self::element(bytes, &self.digests, DIGEST_BYTES, number)?
            .try_into()
            .ok()
    }

    pub(super) fn digest_size(&self, bytes: &[u8], number: u32) -> Option<u64> {
        le64(Self::element(bytes, &self.facts, FACTS_BYTES, number)?, 4)
    }

    /// Positions in "digest files" of the files with this digest.
    pub(super) fn digest_files(&self, bytes: &[u8], number: u32) -> Option<Range<u32>> {
        let start = le32(Self::element(bytes, &self.facts, FACTS_BYTES, number)?, 0)?;
        let end = match Self::element(bytes, &self.facts, FACTS_BYTES, number.checked_add(1)?) {
            Some(next) => le32(next, 0)?,
            None => u32::try_from(self.digest_files.len() / 4).ok()?,
        };
        Some(start..end)
    }

    /// The file at a position in "digest files".
    pub(super) fn digest_file(&self, bytes: &[u8], at: u32) -> Option<u32> {
        le32(Self::element(bytes, &self.digest_files, 4, at)?, 0)
    }

    /// Positions in "digest files" of the files with this content.
    pub(super) fn find_digest(&self, bytes: &[u8], sha256: &[u8; 32]) -> Option<Range<u32>> {
        let (mut low, mut high) = (0, u32::try_from(self.n_digests()).ok()?);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = Self::element(bytes, &self.digests, DIGEST_BYTES, middle)?;
            match found.cmp(sha256.as_slice()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.digest_files(bytes, middle),
            }
        }
        None
    }

    /// Numbers of the files at a path.
    pub(super) fn find_path(&self, bytes: &[u8], dir: &[u8], name: &[u8]) -> Range<u32> {
        let n_dirs = u32::try_from(self.n_dirs()).unwrap_or(u32::MAX);
        let dir_number = partition(n_dirs, |number| self.dir(bytes, number) < dir);
        if self.dir_checked(bytes, dir_number) != Some(dir) {
            return 0..0;
        }
        let n_files = u32::try_from(self.n_files()).unwrap_or(u32::MAX);
        let key = |number: u32| {
            self.file(bytes, number)
                .map(|record| (record.dir, self.name(bytes, record.name)))
        };
        let wanted = Some((dir_number, name));
        let start = partition(n_files, |number| key(number) < wanted);
        let end = partition(n_files, |number| key(number) <= wanted);
        start..end
    }

    pub(super) fn caps<'a>(&self, bytes: &'a [u8], file: &FileRecord) -> Option<&'a str> {
        if !file.has(FLAG_CAPS) {
            return None;
        }
        let n = u32::try_from(self.caps.len() / CAPS_BYTES).ok()?;
        let element = |number| Self::element(bytes, &self.caps, CAPS_BYTES, number);
        let at = partition(n, |number| {
            element(number).and_then(|e| le32(e, 0)) < Some(file.number)
        });
        let found = element(at).filter(|found| le32(found, 0) == Some(file.number))?;
        self.text_checked(bytes, le32(found, 4)?)
    }
}

/// First number of `0..n` for which `before` is false.
fn partition(n: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
