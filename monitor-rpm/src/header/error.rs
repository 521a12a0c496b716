use super::tag::TagName;

/// Why bytes are not a header. Offsets are in bytes from the start of the header (behind the magic).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// A package's header does not start with rpm's magic.
    #[error("no rpm header magic (8e ad e8 01)")]
    BadMagic,
    /// An entry of the index is wrong.
    #[error("index entry {index} ({}): {problem}", TagName(*tag))]
    Entry {
        /// Position in the index, the region's entry being 0.
        index: usize,
        /// The entry's tag.
        tag: u32,
        /// What is wrong.
        problem: EntryProblem,
    },
    /// The region's entry or trailer contradicts itself or the header.
    #[error("region: {problem}")]
    Region {
        /// What is wrong.
        problem: &'static str,
    },
    /// The header says that it has no entries.
    #[error("no index entries")]
    Empty,
    /// More data than [`super::MAX_DATA_BYTES`].
    #[error("data area of {found} bytes, more than rpm's limit")]
    TooMuchData {
        /// What the header says.
        found: usize,
    },
    /// More entries than [`super::MAX_ENTRIES`].
    #[error("{found} index entries, more than rpm's limit")]
    TooManyEntries {
        /// What the header says.
        found: usize,
    },
    /// A database stores more bytes than the header says it has.
    #[error("{found} bytes stored, but index and data are {expected} bytes")]
    TrailingBytes {
        /// From the header's own counts.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The input ends before the header does.
    #[error("truncated: {expected} bytes needed, {found} there")]
    Truncated {
        /// Bytes needed for the next part, from the header's own counts.
        expected: usize,
        /// What was given.
        found: usize,
    },
}

/// What is wrong with an index entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// The tag is below 100 (reserved for regions) where only data tags may be.
    #[error("reserved tag number")]
    ReservedTag,
    /// The type number is unknown, or has no data.
    #[error("unknown data type {0}")]
    UnknownType(u32),
    /// The count is zero, or more than the data area could hold.
    #[error("count {0} does not fit the data")]
    BadCount(u32),
    /// The offset is not aligned for the type.
    #[error("offset {0} is not aligned")]
    Misaligned(u32),
    /// The data lies, or ends, outside its area.
    #[error("data at offset {0} leaves its area")]
    OutOfBounds(u32),
    /// The data overlaps the previous entry's.
    #[error("data at offset {0} overlaps the previous entry")]
    Overlaps(u32),
    /// The tag is there twice inside the region.
    #[error("tag appears twice in the region")]
    Duplicate,
}

/// A tag whose data has not the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} has type {found:?}, expected {expected}", TagName(*tag))]
pub struct TagError {
    /// The tag.
    pub tag: u32,
    /// What was asked for.
    pub expected: &'static str,
    /// What is there.
    pub found: super::TagType,
}
