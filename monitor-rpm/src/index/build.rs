//! Building an index out of verified headers. The result does not depend on the order of the headers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::codec::{self, DecodeError, FileRecord, PackageRecord, SignerRecord};
use super::{DigestIndex, Owner, Package, Provenance};
use crate::files::FileEntry;
use crate::signature::VerifiedHeader;

/// Longest text kept of a header (vendor, build host, …), in bytes.
const MAX_TEXT_BYTES: usize = 1000;

/// Strings, each stored once.
#[derive(Debug, Default)]
struct Interner {
    numbers: HashMap<Arc<[u8]>, u32>,
    strings: Vec<Arc<[u8]>>,
    /// The last one: files of a package come directory by directory.
    last: u32,
}

impl Interner {
    /// For what is likely to be the same as the last time.
    fn intern_again(&mut self, bytes: &[u8]) -> u32 {
        if self
            .strings
            .get(self.last as usize)
            .is_none_or(|last| **last != *bytes)
        {
            self.last = self.intern(bytes);
        }
        self.last
    }

    fn intern(&mut self, bytes: &[u8]) -> u32 {
        if let Some(&number) = self.numbers.get(bytes) {
            return number;
        }
        let number = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        let bytes: Arc<[u8]> = bytes.into();
        self.strings.push(Arc::clone(&bytes));
        self.numbers.insert(bytes, number);
        number
    }

    fn bytes(&self, number: u32) -> &[u8] {
        self.strings
            .get(number as usize)
            .map(AsRef::as_ref)
            .unwrap_or_default()
    }
}

/// Strings with their length in front, each written once; gives offsets.
#[derive(Debug, Default)]
struct Pool {
    offsets: HashMap<Box<[u8]>, u32>,
    bytes: Vec<u8>,
}

impl Pool {
    fn put(&mut self, string: &[u8]) -> u32 {
        if let Some(&offset) = self.offsets.get(string) {
            return offset;
        }
        let offset = append(&mut self.bytes, string);
        self.offsets.insert(string.into(), offset);
        offset
    }
}

/// Appends a string with its length in front; gives its offset.
fn append(out: &mut Vec<u8>, string: &[u8]) -> u32 {
    let offset = u32::try_from(out.len()).unwrap_or(u32::MAX);
    let len = u16::try_from(string.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(string.get(..usize::from(len)).unwrap_or_default());
    offset
}

/// Interned strings, each written once; gives offsets by their numbers.
#[derive(Debug)]
struct NumberedPool<'a> {
    strings: &'a Interner,
    offsets: Vec<Option<u32>>,
    bytes: Vec<u8>,
}

impl<'a> NumberedPool<'a> {
    fn new(strings: &'a Interner) -> Self {
        Self {
            strings,
            offsets: vec![None; strings.strings.len()],
            bytes: Vec::new(),
        }
    }

    fn put(&mut self, number: u32) -> u32 {
        let Some(offset) = self.offsets.get_mut(number as usize) else {
            return 0;
        };
        *offset.get_or_insert_with(|| append(&mut self.bytes, self.strings.bytes(number)))
    }
}

/// The digests of files: each once, with its size and the files that have it.
#[derive(Debug, Default)]
struct DigestSections {
    digests: Vec<u8>,
    facts: Vec<u8>,
    files: Vec<u8>,
    /// Number of each file's digest.
    numbers: Vec<u32>,
}

impl DigestSections {
    fn new(files: &[BuildFile]) -> Self {
        let mut order: Vec<([u8; 32], u32, u64)> = (0_u32..)
            .zip(files)
            .filter_map(|(number, file)| Some((file.digest?, number, file.size)))
            .collect();
        order.sort_unstable();
        let mut sections = Self {
            files: Vec::with_capacity(order.len() * 4),
            numbers: vec![codec::NO_DIGEST; files.len()],
            ..Self::default()
        };
        let same = |a: &([u8; 32], u32, u64), b: &([u8; 32], u32, u64)| a.0 == b.0;
        for (number, members) in (0_u32..).zip(order.chunk_by(same)) {
            let Some((digest, ..)) = members.first() else {
                continue;
            };
            let first = u32::try_from(sections.files.len() / 4).unwrap_or(u32::MAX);
            // The same content cannot have two sizes; what a header says may.
            let size = members.iter().map(|(_, _, size)| *size).max().unwrap_or_default();
            sections.digests.extend_from_slice(digest);
            sections.facts.extend_from_slice(&first.to_le_bytes());
            sections.facts.extend_from_slice(&size.to_le_bytes());
            for (_, file, _) in members {
                sections.files.extend_from_slice(&file.to_le_bytes());
                if let Some(slot) = sections.numbers.get_mut(*file as usize) {
                    *slot = number;
                }
            }
        }
        sections
    }
}

/// A package as collected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BuildPackage {
    name: String,
    version: String,
    release: String,
    header_sha256: [u8; 32],
    arch: String,
    epoch: Option<u32>,
    vendor: String,
    build_host: String,
    source_rpm: String,
    /// Pin name, vendor, releases, pinned key, signing key, user id.
    signer: [String; 6],
    build_time: u64,
    install_time: u64,
    retired: bool,
}

/// A file as collected.
#[derive(Clone, Copy, Debug)]
struct BuildFile {
    dir: u32,
    name: u32,
    package: u32,
    digest: Option<[u8; 32]>,
    size: u64,
    mode: u16,
    flags: u16,
    /// Number of the capability text plus one; 0 is none.
    caps: u32,
}

/// Collects verified headers.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    strings: Interner,
    packages: Vec<BuildPackage>,
    files: Vec<BuildFile>,
    seen: HashSet<[u8; 32]>,
    note: String,
}

/// Cuts a text to at most `max` bytes, between characters.
fn truncate(text: &mut String, max: usize) {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

fn text(value: Option<String>) -> String {
    let mut value = value.unwrap_or_default();
    truncate(&mut value, MAX_TEXT_BYTES);
    value
}

impl IndexBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a note with the index, such as the stamp of the database it is built from (at most 64 KiB are kept).
    pub fn set_note(&mut self, note: &str) {
        note.clone_into(&mut self.note);
        truncate(&mut self.note, 0xffff);
    }

    /// Adds a package's files. The same header again adds nothing.
    pub fn add(&mut self, header: &VerifiedHeader) {
        self.add_derived(header, &BTreeMap::new());
    }

    /// Adds a package's files; `derived` gives the SHA-256 of files (by position in the package) whose signed digest
    /// is of another algorithm and was compared with the file's content.
    pub(crate) fn add_derived(&mut self, header: &VerifiedHeader, derived: &BTreeMap<usize, [u8; 32]>) {
        let header_sha256 = header.region_sha256();
        if !self.seen.insert(header_sha256) {
            return;
        }
        let Some(signer) = header.signers().first() else {
            return;
        };
        let nevra = header.nevra();
        let releases: Vec<String> = signer.pin.releases.iter().map(u8::to_string).collect();
        let number = u32::try_from(self.packages.len()).unwrap_or(u32::MAX);
        self.packages.push(BuildPackage {
            name: text(Some(nevra.name.clone())),
            version: text(Some(nevra.version.clone())),
            release: text(Some(nevra.release.clone())),
            header_sha256,
            arch: text(nevra.arch.clone()),
            epoch: nevra.epoch,
            vendor: text(header.vendor()),
            build_host: text(header.build_host()),
            source_rpm: text(header.source_rpm()),
            signer: [
                text(Some(signer.pin.name.clone())),
                text(Some(signer.pin.vendor.clone())),
                text(Some(releases.join(","))),
                signer.pin.fingerprint.to_string(),
                signer.key.to_string(),
                text(Some(signer.user_id.clone())),
            ],
            build_time: header.build_time().unwrap_or_default(),
            install_time: header.unsigned().install_time().unwrap_or_default(),
            retired: false,
        });
        for (position, file) in header.files().enumerate() {
            let sha256 = file.digest.and_then(|digest| digest.sha256());
            let (digest, provenance) = match (sha256, derived.get(&position)) {
                (Some(digest), _) => (Some(digest), Provenance::Verified),
                (None, Some(digest)) => (Some(*digest), Provenance::Derived),
                (None, None) => (None, Provenance::Verified),
            };
            self.add_file(number, &file, digest, provenance);
        }
    }

    fn add_file(
        &mut self,
        package: u32,
        file: &FileEntry<'_>,
        digest: Option<[u8; 32]>,
        provenance: Provenance,
    ) {
        let mut record = FileRecord {
            number: 0,
            dir: 0,
            name: 0,
            package,
            digest: 0,
            mode: 0,
            flags: class_flags(file),
        };
        record.set_provenance(provenance);
        let caps = file
            .caps
            .map_or(0, |caps| self.strings.intern(caps).saturating_add(1));
        self.files.push(BuildFile {
            dir: self.strings.intern_again(file.dir),
            name: self.strings.intern(file.name),
            package,
            digest,
            size: file.size,
            mode: u16::try_from(file.mode & 0xffff).unwrap_or_default(),
            flags: record.flags,
            caps,
        });
    }

    /// Takes over from an older index what may still be running although its package is gone: files that may
    /// execute and whose digest no package added so far has. Only packages for which `vouched` says so: a key that has
    /// been unpinned or revoked since vouches for nothing any more. Call it last.
    pub fn retire(&mut self, old: &DigestIndex, vouched: impl Fn(&Package<'_>) -> bool) {
        let current: HashSet<[u8; 32]> = self.files.iter().filter_map(|file| file.digest).collect();
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let refused: HashSet<u32> = old
            .packages()
            .filter(|package| !vouched(package))
            .map(|package| package.number())
            .collect();
        for owner in old.files() {
            let Some(digest) = owner.sha256() else { continue };
            if current.contains(&digest) || !owner.class().may_execute() {
                continue;
            }
            let package = owner.package();
            if refused.contains(&package.number()) {
                continue;
            }
            let packages = &mut self.packages;
            let number = *numbers.entry(package.number()).or_insert_with(|| {
                packages.push(retired_package(&package));
                u32::try_from(packages.len() - 1).unwrap_or(u32::MAX)
            });
            self.add_retired(number, &owner, digest);
        }
    }

    fn add_retired(&mut self, package: u32, owner: &Owner<'_>, digest: [u8; 32]) {
        let path = owner.path();
        let dir = path.get(..path.len() - owner.name().len()).unwrap_or_default();
        let mut record = owner.record;
        record.set_provenance(Provenance::Retired);
        let caps = owner
            .capabilities()
            .map_or(0, |caps| self.strings.intern(caps.as_bytes()).saturating_add(1));
        self.files.push(BuildFile {
            dir: self.strings.intern_again(dir),
            name: self.strings.intern(owner.name()),
            package,
            digest: Some(digest),
            size: owner.size().unwrap_or_default(),
            mode: record.mode,
            flags: record.flags,
            caps,
        });
    }

    /// Builds the index. An error means that the packages are too many for its 32-bit offsets.
    pub fn finish(self) -> Result<DigestIndex, DecodeError> {
        DigestIndex::decode(self.encode())
    }

    fn encode(mut self) -> Vec<u8> {
        let mut texts = Pool::default();
        texts.put(b"");
        let (signers, packages, package_numbers) = self.encode_packages(&mut texts);

        let mut pool = NumberedPool::new(&self.strings);
        let mut dir_order: Vec<(&[u8], u32)> = self
            .files
            .iter()
            .map(|file| (self.strings.bytes(file.dir), file.dir))
            .collect();
        dir_order.dedup();
        dir_order.sort_unstable();
        dir_order.dedup();
        let mut dirs = Vec::with_capacity(dir_order.len() * codec::DIR_BYTES);
        let mut dir_numbers: HashMap<u32, u32> = HashMap::with_capacity(dir_order.len());
        for (number, (_, interned)) in (0_u32..).zip(&dir_order) {
            dirs.extend_from_slice(&pool.put(*interned).to_le_bytes());
            dir_numbers.insert(*interned, number);
        }

        for file in &mut self.files {
            file.dir = dir_numbers.get(&file.dir).copied().unwrap_or_default();
            file.package = package_numbers
                .get(file.package as usize)
                .copied()
                .unwrap_or_default();
        }
        let strings = &self.strings;
        self.files.sort_by(|a, b| {
            (a.dir, strings.bytes(a.name), a.package, a.digest).cmp(&(
                b.dir,
                strings.bytes(b.name),
                b.package,
                b.digest,
            ))
        });

        let digests = DigestSections::new(&self.files);
        let mut files = Vec::with_capacity(self.files.len() * codec::FILE_BYTES);
        let mut caps = Vec::new();
        for ((number, file), digest) in (0_u32..).zip(&self.files).zip(&digests.numbers) {
            if let Some(caps_number) = file.caps.checked_sub(1) {
                let caps_text = String::from_utf8_lossy(strings.bytes(caps_number)).into_owned();
                caps.extend_from_slice(&number.to_le_bytes());
                caps.extend_from_slice(&texts.put(text(Some(caps_text)).as_bytes()).to_le_bytes());
            }
            FileRecord {
                number,
                dir: file.dir,
                name: pool.put(file.name),
                package: file.package,
                digest: *digest,
                mode: file.mode,
                flags: file.flags,
            }
            .encode(&mut files);
        }
        codec::assemble([
            self.note.into_bytes(),
            texts.bytes,
            signers,
            packages,
            dirs,
            pool.bytes,
            files,
            digests.digests,
            digests.facts,
            digests.files,
            caps,
        ])
    }

    /// Encodes signers and packages in order; also gives the new number of each collected package.
    fn encode_packages(&mut self, texts: &mut Pool) -> (Vec<u8>, Vec<u8>, Vec<u32>) {
        let mut order: Vec<usize> = (0..self.packages.len()).collect();
        order.sort_by_key(|&position| self.packages.get(position));
        let mut numbers = vec![0; self.packages.len()];
        let mut signer_numbers: BTreeMap<[String; 6], u32> = BTreeMap::new();
        let (mut signers, mut packages) = (Vec::new(), Vec::new());
        for (number, &position) in (0_u32..).zip(&order) {
            let Some(package) = self.packages.get(position) else {
                continue;
            };
            if let Some(slot) = numbers.get_mut(position) {
                *slot = number;
            }
            let next = u32::try_from(signer_numbers.len()).unwrap_or(u32::MAX);
            let signer = *signer_numbers.entry(package.signer.clone()).or_insert_with(|| {
                let [pin_name, vendor, releases, pinned_key, signing_key, user_id] =
                    package.signer.each_ref().map(|field| texts.put(field.as_bytes()));
                SignerRecord {
                    pin_name,
                    vendor,
                    releases,
                    pinned_key,
                    signing_key,
                    user_id,
                }
                .encode(&mut signers);
                next
            });
            let mut put = |text: &str| texts.put(text.as_bytes());
            PackageRecord {
                name: put(&package.name),
                version: put(&package.version),
                release: put(&package.release),
                arch: put(&package.arch),
                epoch: package.epoch,
                vendor: put(&package.vendor),
                build_host: put(&package.build_host),
                source_rpm: put(&package.source_rpm),
                signer,
                build_time: package.build_time,
                install_time: package.install_time,
                retired: package.retired,
                header_sha256: package.header_sha256,
            }
            .encode(&mut packages);
        }
        (signers, packages, numbers)
    }
}

fn retired_package(package: &Package<'_>) -> BuildPackage {
    let nevra = package.nevra();
    let signer = package.signer();
    BuildPackage {
        name: nevra.name,
        version: nevra.version,
        release: nevra.release,
        header_sha256: package.header_sha256(),
        arch: nevra.arch.unwrap_or_default(),
        epoch: nevra.epoch,
        vendor: package.vendor().unwrap_or_default().to_owned(),
        build_host: package.build_host().unwrap_or_default().to_owned(),
        source_rpm: package.source_rpm().unwrap_or_default().to_owned(),
        signer: [
            signer.pin_name.to_owned(),
            signer.vendor.to_owned(),
            signer.releases.to_owned(),
            signer.pinned_key.to_owned(),
            signer.signing_key.to_owned(),
            signer.user_id.to_owned(),
        ],
        build_time: package.build_time(),
        install_time: package.install_time(),
        retired: true,
    }
}

/// The flags that do not depend on provenance.
pub(super) fn class_flags(file: &FileEntry<'_>) -> u16 {
    let starts = |prefix: &[u8]| file.class.starts_with(prefix);
    let contains = |part: &[u8]| file.class.windows(part.len()).any(|window| window == part);
    let regular = file.is_regular();
    let module = regular
        && [&b".ko"[..], b".ko.xz", b".ko.gz", b".ko.zst", b".ko.bz2"]
            .iter()
            .any(|end| file.name.ends_with(end));
    // libmagic: "ELF 64-bit LSB shared object, …"; "Python script, ASCII text executable", "POSIX shell script, …",
    // "a /usr/bin/perl script, ASCII text executable".
    let elf = regular && (starts(b"ELF ") || file.color & 3 != 0);
    let script = regular && (contains(b" script") || contains(b"text executable"));
    let mut flags = 0;
    for (set, flag) in [
        (regular && file.mode & 0o111 != 0, codec::FLAG_EXEC_BIT),
        (elf, codec::FLAG_ELF),
        (script, codec::FLAG_SCRIPT),
        (module, codec::FLAG_MODULE),
        (file.flags.is_config(), codec::FLAG_CONFIG),
        (file.flags.is_ghost(), codec::FLAG_GHOST),
        (file.caps.is_some(), codec::FLAG_CAPS),
    ] {
        if set {
            flags |= flag;
        }
    }
    flags
}
