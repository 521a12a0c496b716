//! Bytes to [`Header`]: every count, offset and length is checked here and nowhere else.

use std::ffi::CStr;

use super::{
    ENTRY_BYTES, Entry, EntryProblem, Header, HeaderError, MAX_DATA_BYTES, MAX_ENTRIES, Region, TagType, tag,
};

/// Tags below this are reserved for regions and tables (rpm: HEADER_I18NTABLE).
const FIRST_DATA_TAG: u32 = 100;

/// Big-endian 32-bit number at `offset`.
pub(super) fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset.checked_add(4)?)?;
    field.try_into().ok().map(u32::from_be_bytes)
}

/// An index entry as stored.
struct RawEntry {
    tag: u32,
    kind: u32,
    offset: u32,
    count: u32,
}

fn raw_entry(index: &[u8], position: usize) -> Option<RawEntry> {
    let at = position.checked_mul(ENTRY_BYTES)?;
    Some(RawEntry {
        tag: be32(index, at)?,
        kind: be32(index, at + 4)?,
        offset: be32(index, at + 8)?,
        count: be32(index, at + 12)?,
    })
}

/// Parses the header at the start of `bytes`; also returns how many bytes it takes.
pub(super) fn header(bytes: &[u8], region_tag: u32) -> Result<(Header, usize), HeaderError> {
    let truncated = |expected: usize| HeaderError::Truncated {
        expected,
        found: bytes.len(),
    };
    let n_entries = be32(bytes, 0).ok_or_else(|| truncated(8))? as usize;
    let n_data = be32(bytes, 4).ok_or_else(|| truncated(8))? as usize;
    if n_entries == 0 {
        return Err(HeaderError::Empty);
    }
    if n_entries > MAX_ENTRIES {
        return Err(HeaderError::TooManyEntries { found: n_entries });
    }
    if n_data > MAX_DATA_BYTES {
        return Err(HeaderError::TooMuchData { found: n_data });
    }
    let index_bytes = n_entries * ENTRY_BYTES;
    let total = 8 + index_bytes + n_data;
    let body = bytes.get(8..total).ok_or_else(|| truncated(total))?;
    let (index, data) = body
        .split_at_checked(index_bytes)
        .ok_or_else(|| truncated(total))?;

    let region = region(index, data, n_entries, region_tag)?;
    let entries = entries(index, data, n_entries, region)?;
    let region_entries = region.map_or(0, |region| region.entries - 1);
    Ok((
        Header {
            bytes: body.into(),
            data_start: index_bytes,
            entries,
            region_entries,
            region,
        },
        total,
    ))
}

/// Reads the region's entry and trailer, if the first entry is one.
fn region(
    index: &[u8],
    data: &[u8],
    n_entries: usize,
    region_tag: u32,
) -> Result<Option<Region>, HeaderError> {
    let bad = |problem: &'static str| HeaderError::Region { problem };
    let first = raw_entry(index, 0).ok_or(HeaderError::Empty)?;
    if first.tag >= FIRST_DATA_TAG {
        return Ok(None);
    }
    if first.tag != region_tag {
        return Err(bad(match first.tag {
            tag::HEADERIMAGE => "an image region (tag 61) of rpm 3, which nothing signs",
            tag::HEADERSIGNATURES => "a signature region (tag 62) where a package header should be",
            tag::HEADERIMMUTABLE => "a package header's region (tag 63) where signatures should be",
            _ => "unknown region tag",
        }));
    }
    if first.kind != 7 || first.count as usize != ENTRY_BYTES {
        return Err(bad("its entry is not 16 bytes of type BIN"));
    }
    let trailer_at = first.offset as usize;
    let data_bytes = trailer_at
        .checked_add(ENTRY_BYTES)
        .ok_or_else(|| bad("trailer out of bounds"))?;
    let trailer = data
        .get(trailer_at..data_bytes)
        .ok_or_else(|| bad("trailer lies outside the data"))?;
    let trailer = raw_entry(trailer, 0).ok_or_else(|| bad("trailer too short"))?;
    // Some signature headers of old tools have the immutable tag in their trailer; rpm accepts exactly that.
    let tag_fits = trailer.tag == region_tag
        || (region_tag == tag::HEADERSIGNATURES && trailer.tag == tag::HEADERIMMUTABLE);
    if !tag_fits || trailer.kind != 7 || trailer.count as usize != ENTRY_BYTES {
        return Err(bad("trailer does not match its entry"));
    }
    // The trailer's offset is the negative size of the region's index.
    let region_index_bytes = (trailer.offset as usize).wrapping_neg() & 0xffff_ffff;
    if region_index_bytes == 0 || !region_index_bytes.is_multiple_of(ENTRY_BYTES) {
        return Err(bad("trailer does not give the size of the index"));
    }
    let entries = region_index_bytes / ENTRY_BYTES;
    if entries > n_entries {
        return Err(bad("trailer gives more entries than the header has"));
    }
    Ok(Some(Region {
        tag: first.tag,
        entries,
        data_bytes,
    }))
}

/// Checks and lists all entries but the region's own.
fn entries(
    index: &[u8],
    data: &[u8],
    n_entries: usize,
    region: Option<Region>,
) -> Result<Vec<Entry>, HeaderError> {
    let first = usize::from(region.is_some());
    let mut entries = Vec::with_capacity(n_entries - first);
    // Data must be stored in the order of the index: so entries cannot share bytes, and the sum of all lengths is
    // bounded by the size of the data.
    let mut previous_end = 0_usize;
    for position in first..n_entries {
        let raw = raw_entry(index, position).ok_or(HeaderError::Empty)?;
        let bounds = match region {
            Some(region) if position < region.entries => 0..region.data_bytes - ENTRY_BYTES,
            Some(region) => region.data_bytes..data.len(),
            None => 0..data.len(),
        };
        let entry = entry(&raw, data, bounds.clone(), previous_end.max(bounds.start)).map_err(|problem| {
            HeaderError::Entry {
                index: position,
                tag: raw.tag,
                problem,
            }
        })?;
        previous_end = entry.offset as usize + entry.len as usize;
        entries.push(entry);
    }
    if let Some(region) = region {
        refuse_duplicates(entries.get(..region.entries - 1).unwrap_or_default())?;
    }
    Ok(entries)
}

fn entry(
    raw: &RawEntry,
    data: &[u8],
    bounds: std::ops::Range<usize>,
    previous_end: usize,
) -> Result<Entry, EntryProblem> {
    if raw.tag < FIRST_DATA_TAG {
        return Err(EntryProblem::ReservedTag);
    }
    let kind = TagType::from_number(raw.kind).ok_or(EntryProblem::UnknownType(raw.kind))?;
    if kind == TagType::Null {
        return Err(EntryProblem::UnknownType(raw.kind));
    }
    let offset = raw.offset as usize;
    let count = raw.count as usize;
    if count == 0 || count > data.len() || (kind == TagType::Str && count != 1) {
        return Err(EntryProblem::BadCount(raw.count));
    }
    if offset < bounds.start || offset >= bounds.end {
        return Err(EntryProblem::OutOfBounds(raw.offset));
    }
    if offset < previous_end {
        return Err(EntryProblem::Overlaps(raw.offset));
    }
    let area = data
        .get(offset..bounds.end)
        .ok_or(EntryProblem::OutOfBounds(raw.offset))?;
    let len = match kind.element_bytes() {
        Some(bytes) => {
            if !offset.is_multiple_of(bytes) {
                return Err(EntryProblem::Misaligned(raw.offset));
            }
            count.checked_mul(bytes).filter(|len| *len <= area.len())
        }
        None => strings_len(area, count),
    };
    let len = len
        .and_then(|len| u32::try_from(len).ok())
        .ok_or(EntryProblem::OutOfBounds(raw.offset))?;
    Ok(Entry {
        tag: raw.tag,
        kind,
        offset: raw.offset,
        count: raw.count,
        len,
    })
}

/// Bytes that `count` NUL-terminated strings at the start of `area` take; `None` if there are fewer.
fn strings_len(area: &[u8], count: usize) -> Option<usize> {
    let mut len = 0_usize;
    for _ in 0..count {
        len += CStr::from_bytes_until_nul(area.get(len..)?).ok()?.count_bytes() + 1;
    }
    Some(len)
}

/// A region is written by rpmbuild, which writes each tag once. Two entries of one tag would let two readers
/// disagree about what was signed.
fn refuse_duplicates(entries: &[Entry]) -> Result<(), HeaderError> {
    let mut seen = std::collections::BTreeSet::new();
    for (position, entry) in entries.iter().enumerate() {
        if !seen.insert(entry.tag) {
            return Err(HeaderError::Entry {
                index: position + 1,
                tag: entry.tag,
                problem: EntryProblem::Duplicate,
            });
        }
    }
    Ok(())
}

/// The name in a database's header, found without checking anything else: to pick out gpg-pubkey headers.
pub(super) fn peek_name(blob: &[u8]) -> Option<&[u8]> {
    let n_entries = (be32(blob, 0)? as usize).min(MAX_ENTRIES);
    let index = blob.get(8..8 + n_entries * ENTRY_BYTES)?;
    let data = blob.get(8 + n_entries * ENTRY_BYTES..)?;
    (0..n_entries)
        .filter_map(|position| raw_entry(index, position))
        .find(|entry| entry.tag == tag::NAME)
        .and_then(|entry| CStr::from_bytes_until_nul(data.get(entry.offset as usize..)?).ok())
        .map(CStr::to_bytes)
}
