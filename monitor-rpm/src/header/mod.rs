//! Total parser of rpm header blobs.
//!
//! A header is an index of 16-byte entries followed by a data area. Its first entry may be a *region* tag whose
//! trailer says how many of the entries, and how many bytes of data, rpm signed when the package was built.
//! Everything behind the region ("dribbles") was added later by whoever wrote the database: nothing in there is
//! signed. rpm itself lets a dribble replace an entry of the region; this parser keeps the two apart for good:
//! [`Header::region`] and [`Header::dribbles`] are separate views, and [`Header::repeated_tags`] names every tag
//! of the region that a dribble repeats.
//!
//! No IO, no panic; memory is bounded by the size of the input.

mod error;
mod parse;
pub mod tag;
mod view;

pub use error::{EntryProblem, HeaderError, TagError};
pub use view::{Ints, Strings, View};

/// Most index entries a header may have (rpm's own limit).
pub const MAX_ENTRIES: usize = 0xffff;
/// Most bytes of data a header may have, 256 MiB (rpm's own limit).
pub const MAX_DATA_BYTES: usize = 0x0fff_ffff;
/// Magic and reserved bytes that precede a header in a package file, and that rpm hashes although the database
/// does not store them.
pub const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// Size of one index entry in bytes.
const ENTRY_BYTES: usize = 16;

/// Data type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagType {
    /// 0: no data. rpm refuses it too.
    Null,
    /// 1: single bytes.
    Char,
    /// 2: single bytes.
    Int8,
    /// 3: big-endian 16-bit integers.
    Int16,
    /// 4: big-endian 32-bit integers.
    Int32,
    /// 5: big-endian 64-bit integers.
    Int64,
    /// 6: one NUL-terminated string.
    Str,
    /// 7: bytes.
    Bin,
    /// 8: NUL-terminated strings.
    StrArray,
    /// 9: NUL-terminated strings, one for each locale.
    I18nStr,
}

impl TagType {
    /// The type of rpm's number, if it is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Null,
            1 => Self::Char,
            2 => Self::Int8,
            3 => Self::Int16,
            4 => Self::Int32,
            5 => Self::Int64,
            6 => Self::Str,
            7 => Self::Bin,
            8 => Self::StrArray,
            9 => Self::I18nStr,
            _ => return None,
        })
    }

    /// Bytes of one element; `None` for strings, whose length is in the data.
    const fn element_bytes(self) -> Option<usize> {
        match self {
            Self::Null => Some(0),
            Self::Char | Self::Int8 | Self::Bin => Some(1),
            Self::Int16 => Some(2),
            Self::Int32 => Some(4),
            Self::Int64 => Some(8),
            Self::Str | Self::StrArray | Self::I18nStr => None,
        }
    }
}

/// One entry of the index, checked: `offset..offset + len` lies within the data and holds `count` elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) tag: u32,
    pub(crate) kind: TagType,
    pub(crate) offset: u32,
    pub(crate) count: u32,
    pub(crate) len: u32,
}

/// The region of a header: what rpm hashed and signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// [`tag::HEADERIMMUTABLE`] or [`tag::HEADERSIGNATURES`].
    pub tag: u32,
    /// Entries of the index inside the region, the region's own entry included.
    pub entries: usize,
    /// Bytes of data inside the region, its 16-byte trailer included.
    pub data_bytes: usize,
}

/// A parsed header. Owns its bytes.
#[derive(Clone, Debug)]
pub struct Header {
    /// Index entries as stored, then the data area.
    bytes: Box<[u8]>,
    /// Where the data area starts in `bytes`.
    data_start: usize,
    /// All entries but the region's own, in stored order.
    entries: Vec<Entry>,
    /// How many of `entries` lie in the region.
    region_entries: usize,
    region: Option<Region>,
}

impl Header {
    /// Parses a header as an rpm database stores it: without magic, and nothing behind it.
    pub fn parse_db(blob: &[u8]) -> Result<Self, HeaderError> {
        let (header, used) = parse::header(blob, tag::HEADERIMMUTABLE)?;
        if used != blob.len() {
            return Err(HeaderError::TrailingBytes {
                expected: used,
                found: blob.len(),
            });
        }
        Ok(header)
    }

    /// The package name in a database's header, found without checking anything else.
    pub fn peek_name(blob: &[u8]) -> Option<&[u8]> {
        parse::peek_name(blob)
    }

    /// Parses a header as a package file stores it, with magic, at the start of `bytes`. `region_tag` is
    /// [`tag::HEADERSIGNATURES`] for the signature header, [`tag::HEADERIMMUTABLE`] for the main one.
    /// Also returns how many bytes it takes (without padding).
    pub fn parse_file(bytes: &[u8], region_tag: u32) -> Result<(Self, usize), HeaderError> {
        let Some(rest) = bytes
            .strip_prefix(&MAGIC[..4])
            .and_then(|_| bytes.get(MAGIC.len()..))
        else {
            return Err(HeaderError::BadMagic);
        };
        let (header, used) = parse::header(rest, region_tag)?;
        Ok((header, used + MAGIC.len()))
    }

    /// The region, if the header has one.
    pub fn region_facts(&self) -> Option<Region> {
        self.region
    }

    /// The entries inside the region: signed, if a signature over [`Header::signed_bytes`] is good. Empty where
    /// the header has no region.
    pub fn region(&self) -> View<'_> {
        self.view(0, self.region_entries)
    }

    /// The entries outside the region: **unsigned**, whoever could write the database wrote them.
    pub fn dribbles(&self) -> View<'_> {
        self.view(self.region_entries, self.entries.len())
    }

    fn view(&self, from: usize, to: usize) -> View<'_> {
        View {
            entries: self.entries.get(from..to).unwrap_or_default(),
            data: self.bytes.get(self.data_start..).unwrap_or_default(),
        }
    }

    /// The bytes that rpm hashes and signs: magic, the region's entry and data counts, the region's entries as
    /// stored, the region's data. `None` without a region: such a header cannot be verified.
    pub fn signed_bytes(&self) -> Option<Vec<u8>> {
        let region = self.region?;
        let index_bytes = region.entries * ENTRY_BYTES;
        let mut out = Vec::with_capacity(MAGIC.len() + 8 + index_bytes + region.data_bytes);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&u32::try_from(region.entries).ok()?.to_be_bytes());
        out.extend_from_slice(&u32::try_from(region.data_bytes).ok()?.to_be_bytes());
        out.extend_from_slice(self.bytes.get(..index_bytes)?);
        out.extend_from_slice(
            self.bytes
                .get(self.data_start..self.data_start + region.data_bytes)?,
        );
        Some(out)
    }

    /// Tags of the region that a dribble repeats, ascending, each once. rpm's own reader would take the unsigned
    /// entry in place of the signed one: any answer but an empty list means that the database was tampered with
    /// (or the package was relocated at installation, which writes DIRNAMES and BASENAMES anew).
    pub fn repeated_tags(&self) -> Vec<u32> {
        let signed: std::collections::BTreeSet<u32> = self.region().tags().collect();
        let repeated: std::collections::BTreeSet<u32> = self
            .dribbles()
            .tags()
            .filter(|tag| signed.contains(tag))
            .collect();
        repeated.into_iter().collect()
    }

    /// Memory that this header holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.entries.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests;
