//! Package files: lead, signature header, header, payload. Verified as headers of a database are; besides, the payload
//! is compared with the digests that the header signs.
//!
//! Reads from any [`Read`]er, in one pass; memory is bounded by the headers.

use std::io::{self, Read};

use crate::crypto::{CryptoError, Hasher};
use crate::digest::{Digest, DigestAlgorithm};
use crate::header::{Header, HeaderError, MAGIC, MAX_DATA_BYTES, MAX_ENTRIES, TagError, View, tag};
use crate::signature::{Checked, Keyring, Nevra, check_package_header};

/// The lead: obsolete, but every package has it.
const LEAD_BYTES: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Most data of a signature header, as rpm limits it.
const MAX_SIGNATURE_BYTES: usize = 64 << 20;
const CHUNK_BYTES: usize = 128 * 1024;

/// Why a file is not a readable package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A payload digest of the header is not one.
    #[error("payload digest: {}", tag::TagName(*tag))]
    Digest {
        /// The tag that holds it.
        tag: u32,
    },
    /// One of the two headers cannot be read.
    #[error("{which} at offset {offset}")]
    Header {
        /// "signature header" or "header".
        which: &'static str,
        /// Where it starts.
        offset: u64,
        /// What is wrong.
        #[source]
        source: HeaderError,
    },
    /// The payload's hash algorithm is not supported.
    #[error("payload digest algorithm {0}")]
    Hash(DigestAlgorithm),
    /// The file does not start with a package's lead.
    #[error("not an rpm package: no lead magic (ed ab ee db)")]
    NotAPackage,
    /// Reading failed, or the file ended too early.
    #[error("cannot read {what}")]
    Read {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A tag has the wrong type.
    #[error("wrong type of tag")]
    Tag(#[source] TagError),
}

/// The payload against the digests in the signed header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// It has every digest that the header gives.
    Good(Vec<DigestAlgorithm>),
    /// It has another content than was signed.
    Mismatch(DigestAlgorithm),
    /// The header gives no digest (packages for EL 7 and older): only an installation shows whether the files are
    /// those of the header.
    NotCovered,
}

/// The answer about a package file.
#[derive(Debug)]
pub struct PackageReport {
    /// Name as the header says.
    pub nevra: Nevra,
    /// Signatures.
    pub checked: Checked,
    /// Payload. Worth something only if the header is verified.
    pub payload: Payload,
    /// Tags of the signed region that are repeated outside it.
    pub repeated_tags: Vec<u32>,
}

/// Reads and verifies a package file.
pub fn check_package(keyring: &Keyring, mut reader: impl Read) -> Result<PackageReport, PackageError> {
    let (signatures, header) = read_headers(&mut reader)?;
    let nevra = Nevra::read(header.region()).map_err(PackageError::Tag)?;
    let payload = check_payload(header.region(), &mut reader)?;
    let repeated_tags = header.repeated_tags();
    let checked = check_package_header(keyring, &signatures, header);
    Ok(PackageReport {
        nevra,
        checked,
        payload,
        repeated_tags,
    })
}

/// Reads lead, signature header and header; the reader then stands at the payload.
pub fn read_headers(reader: &mut dyn Read) -> Result<(Header, Header), PackageError> {
    let mut lead = [0; LEAD_BYTES];
    reader
        .read_exact(&mut lead)
        .map_err(|source| PackageError::Read {
            what: "the lead",
            source,
        })?;
    if !lead.starts_with(&LEAD_MAGIC) {
        return Err(PackageError::NotAPackage);
    }
    let mut offset = LEAD_BYTES as u64;
    let (signatures, len) = read_header(reader, offset, tag::HEADERSIGNATURES)?;
    // The signature header is padded to a multiple of eight.
    let padding = len.next_multiple_of(8) - len;
    let mut zeros = [0; 8];
    let zeros = zeros.get_mut(..padding).unwrap_or_default();
    reader.read_exact(zeros).map_err(|source| PackageError::Read {
        what: "the padding",
        source,
    })?;
    offset += (len + padding) as u64;
    let (header, _) = read_header(reader, offset, tag::HEADERIMMUTABLE)?;
    Ok((signatures, header))
}

fn read_header(reader: &mut dyn Read, offset: u64, region_tag: u32) -> Result<(Header, usize), PackageError> {
    let (which, max_data_bytes) = match region_tag {
        tag::HEADERSIGNATURES => ("signature header", MAX_SIGNATURE_BYTES),
        _ => ("header", MAX_DATA_BYTES),
    };
    let failed = |source| PackageError::Read { what: which, source };
    let malformed = |source| PackageError::Header {
        which,
        offset,
        source,
    };
    let mut intro = [0; 16];
    reader.read_exact(&mut intro).map_err(failed)?;
    if !intro.starts_with(&MAGIC[..4]) {
        return Err(malformed(HeaderError::BadMagic));
    }
    let number = |at: usize| {
        let field = intro
            .get(at..at + 4)
            .and_then(|field| field.try_into().ok())
            .unwrap_or_default();
        u32::from_be_bytes(field) as usize
    };
    let (n_entries, n_data) = (number(8), number(12));
    if n_entries > MAX_ENTRIES {
        return Err(malformed(HeaderError::TooManyEntries { found: n_entries }));
    }
    if n_data > max_data_bytes {
        return Err(malformed(HeaderError::TooMuchData { found: n_data }));
    }
    // Grows with what really comes, not with what the counts promise.
    let mut bytes = intro.to_vec();
    let rest = (n_entries * 16 + n_data) as u64;
    reader.take(rest).read_to_end(&mut bytes).map_err(failed)?;
    let (header, len) = Header::parse_file(&bytes, region_tag).map_err(malformed)?;
    Ok((header, len))
}

/// Digests of the payload as it is in the file, by the tag that holds them.
fn payload_digests(view: View<'_>) -> Result<Vec<(Digest, Hasher)>, PackageError> {
    let mut expected = Vec::new();
    let first_algorithm = match view.int(tag::PAYLOADSHA256ALGO).map_err(PackageError::Tag)? {
        None => Some(DigestAlgorithm::Sha256),
        Some(number) => DigestAlgorithm::from_number(number),
    };
    for (tag, algorithm) in [
        (tag::PAYLOADSHA256, first_algorithm),
        (tag::PAYLOADSHA512, Some(DigestAlgorithm::Sha512)),
        (tag::PAYLOADSHA3_256, Some(DigestAlgorithm::Sha3_256)),
    ] {
        let Some(digits) = view.strings(tag).map_err(PackageError::Tag)?.next() else {
            continue;
        };
        let algorithm = algorithm.ok_or(PackageError::Digest { tag })?;
        let digest = Digest::from_hex(algorithm, digits).ok_or(PackageError::Digest { tag })?;
        let hasher =
            Hasher::new(algorithm).map_err(|_unsupported: CryptoError| PackageError::Hash(algorithm))?;
        expected.push((digest, hasher));
    }
    Ok(expected)
}

fn check_payload(view: View<'_>, reader: &mut dyn Read) -> Result<Payload, PackageError> {
    let mut expected = payload_digests(view)?;
    if expected.is_empty() {
        return Ok(Payload::NotCovered);
    }
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(PackageError::Read {
                    what: "the payload",
                    source,
                });
            }
        };
        for (_, hasher) in &mut expected {
            hasher.update(buffer.get(..n).unwrap_or_default());
        }
    }
    let mut good = Vec::new();
    for (digest, hasher) in expected {
        let algorithm = digest.algorithm();
        if hasher.finish(algorithm) != Some(digest) {
            return Ok(Payload::Mismatch(algorithm));
        }
        good.push(algorithm);
    }
    Ok(Payload::Good(good))
}

#[cfg(test)]
mod tests;
