//! Reader of BerkeleyDB hash databases (version 9, as rpm up to EL 8 writes them): pages in, records out.
//!
//! Pure: pages come through [`PageSource`]. The hash function is not needed, since all buckets are walked. Every page
//! is visited at most once as a bucket page, and all values together cannot be longer than the file, so a
//! database that points in circles ends in an error.

/// Largest page that BerkeleyDB allows.
const MAX_PAGE_BYTES: usize = 64 * 1024;
const MIN_PAGE_BYTES: usize = 512;
/// Fixed part of a page, before the table of items.
const PAGE_HEADER_BYTES: usize = 26;
const HASH_MAGIC: u32 = 0x0006_1561;
const HASH_VERSION: u32 = 9;

const PAGE_HASH_UNSORTED: u8 = 2;
const PAGE_OVERFLOW: u8 = 7;
const PAGE_HASH_META: u8 = 8;
const PAGE_HASH: u8 = 13;

const ITEM_KEY_DATA: u8 = 1;
const ITEM_OFF_PAGE: u8 = 3;

/// Where pages come from.
pub trait PageSource {
    /// Why a page could not be had.
    type Error;
    /// Size of the whole database in bytes.
    fn len_bytes(&self) -> u64;
    /// Fills `buffer` from `offset`; an error if fewer bytes are there.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

impl PageSource for &[u8] {
    type Error = ();

    fn len_bytes(&self) -> u64 {
        (**self).len() as u64
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), ()> {
        let start = usize::try_from(offset).map_err(|_too_large| ())?;
        let end = start.checked_add(buffer.len()).ok_or(())?;
        buffer.copy_from_slice(self.get(start..end).ok_or(())?);
        Ok(())
    }
}

/// What is wrong with a database, and at which page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BdbError<E> {
    /// A page contradicts itself or the rest.
    #[error("page {page} (offset {offset:#x}): {problem}")]
    Corrupt {
        /// The page.
        page: u32,
        /// Its offset in the file.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Encrypted or checksummed pages, which rpm never writes.
    #[error("pages are encrypted or checksummed, which rpm never does")]
    Encrypted,
    /// A hash database of another version.
    #[error("hash version {found}, only {HASH_VERSION} is read")]
    HashVersion {
        /// The version.
        found: u32,
    },
    /// Not a BerkeleyDB hash database.
    #[error("no BerkeleyDB hash database")]
    NotHash,
    /// A page could not be read.
    #[error("cannot read page {page} (offset {offset:#x})")]
    Read {
        /// The page.
        page: u32,
        /// Its offset in the file.
        offset: u64,
        /// Why.
        source: E,
    },
    /// The file is shorter than its metadata says.
    #[error("truncated: {expected} bytes expected, {found} there")]
    Truncated {
        /// Bytes that the metadata page implies.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let field: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(field),
            Self::Big => u16::from_be_bytes(field),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let field: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(field),
            Self::Big => u32::from_be_bytes(field),
        })
    }
}

/// Facts of the metadata page.
#[derive(Debug)]
struct Meta {
    order: Order,
    page_bytes: usize,
    last_page: u32,
    max_bucket: u32,
    spares: [u32; 32],
}

impl Meta {
    fn parse(page: &[u8; MIN_PAGE_BYTES]) -> Option<Result<Self, MetaProblem>> {
        let order = if Order::Little.u32(page, 12)? == HASH_MAGIC {
            Order::Little
        } else if Order::Big.u32(page, 12)? == HASH_MAGIC {
            Order::Big
        } else {
            return Some(Err(MetaProblem::NotHash));
        };
        let version = order.u32(page, 16)?;
        if version != HASH_VERSION {
            return Some(Err(MetaProblem::Version(version)));
        }
        let [encryption, kind, flags] = [*page.get(24)?, *page.get(25)?, *page.get(26)?];
        if encryption != 0 || flags & 1 != 0 {
            return Some(Err(MetaProblem::Encrypted));
        }
        let page_bytes = order.u32(page, 20)? as usize;
        if kind != PAGE_HASH_META {
            return Some(Err(MetaProblem::Corrupt("type is not hash metadata")));
        }
        if !page_bytes.is_power_of_two() || !(MIN_PAGE_BYTES..=MAX_PAGE_BYTES).contains(&page_bytes) {
            return Some(Err(MetaProblem::Corrupt("impossible page size")));
        }
        let mut spares = [0; 32];
        for (number, spare) in spares.iter_mut().enumerate() {
            *spare = order.u32(page, 96 + 4 * number)?;
        }
        let (last_page, max_bucket) = (order.u32(page, 32)?, order.u32(page, 72)?);
        if max_bucket > last_page {
            return Some(Err(MetaProblem::Corrupt("more buckets than pages")));
        }
        Some(Ok(Self {
            order,
            page_bytes,
            last_page,
            max_bucket,
            spares,
        }))
    }

    /// The first page of a bucket: buckets are allocated in groups that double in size, each group at its own base.
    fn bucket_page(&self, bucket: u32) -> Option<u32> {
        let group = if bucket == 0 {
            0
        } else {
            u32::BITS - bucket.leading_zeros()
        };
        bucket.checked_add(*self.spares.get(group as usize)?)
    }
}

enum MetaProblem {
    Corrupt(&'static str),
    Encrypted,
    NotHash,
    Version(u32),
}

/// A place of a value on a bucket page.
#[derive(Clone, Copy, Debug)]
enum Value {
    Inline { start: usize, end: usize },
    Overflow { page: u32, len: u32 },
}

/// Iterator over the records whose key is a header number: (number, header). After an error it goes on with the next
/// bucket or record; see [`BdbError`].
#[derive(Debug)]
pub struct Records<S> {
    source: S,
    meta: Meta,
    next_bucket: u32,
    /// Next page of the bucket's chain, 0 for none.
    next_page: u32,
    /// The current bucket page, and the records in it that are still to be given out, last first.
    page: Vec<u8>,
    page_number: u32,
    pending: Vec<(u32, Value)>,
    pages_left: u32,
    value_bytes_left: u64,
}

impl<S: PageSource> Records<S> {
    /// Reads the metadata page.
    pub fn open(mut source: S) -> Result<Self, BdbError<S::Error>> {
        let mut first = [0; MIN_PAGE_BYTES];
        if source.len_bytes() < MIN_PAGE_BYTES as u64 {
            return Err(BdbError::Truncated {
                expected: MIN_PAGE_BYTES as u64,
                found: source.len_bytes(),
            });
        }
        source.read_at(0, &mut first).map_err(|source| BdbError::Read {
            page: 0,
            offset: 0,
            source,
        })?;
        let meta = match Meta::parse(&first) {
            Some(Ok(meta)) => meta,
            Some(Err(MetaProblem::Corrupt(problem))) => {
                return Err(BdbError::Corrupt {
                    page: 0,
                    offset: 0,
                    problem,
                });
            }
            Some(Err(MetaProblem::Encrypted)) => return Err(BdbError::Encrypted),
            Some(Err(MetaProblem::Version(found))) => return Err(BdbError::HashVersion { found }),
            Some(Err(MetaProblem::NotHash)) | None => return Err(BdbError::NotHash),
        };
        let expected = (u64::from(meta.last_page) + 1) * meta.page_bytes as u64;
        if source.len_bytes() < expected {
            return Err(BdbError::Truncated {
                expected,
                found: source.len_bytes(),
            });
        }
        Ok(Self {
            page: vec![0; meta.page_bytes],
            pages_left: meta.last_page,
            value_bytes_left: source.len_bytes(),
            source,
            meta,
            next_bucket: 0,
            next_page: 0,
            page_number: 0,
            pending: Vec::new(),
        })
    }

    fn offset(&self, page: u32) -> u64 {
        u64::from(page) * self.meta.page_bytes as u64
    }

    fn corrupt(&self, page: u32, problem: &'static str) -> BdbError<S::Error> {
        BdbError::Corrupt {
            page,
            offset: self.offset(page),
            problem,
        }
    }

    /// Reads a page into `buffer`.
    fn read_page(&mut self, number: u32, buffer: &mut [u8]) -> Result<(), BdbError<S::Error>> {
        if number == 0 || number > self.meta.last_page {
            return Err(self.corrupt(number, "page number out of range"));
        }
        let offset = self.offset(number);
        self.source
            .read_at(offset, buffer)
            .map_err(|source| BdbError::Read {
                page: number,
                offset,
                source,
            })?;
        if self.meta.order.u32(buffer, 8) != Some(number) {
            return Err(self.corrupt(number, "page carries another number"));
        }
        Ok(())
    }

    /// Loads the next bucket page; `false` at the end.
    fn advance(&mut self) -> Result<bool, BdbError<S::Error>> {
        let number = if self.next_page != 0 {
            self.next_page
        } else if self.next_bucket <= self.meta.max_bucket {
            let bucket = self.next_bucket;
            self.next_bucket += 1;
            match self.meta.bucket_page(bucket) {
                Some(number) => number,
                None => return Err(self.corrupt(0, "bucket without page")),
            }
        } else {
            return Ok(false);
        };
        self.next_page = 0;
        self.page_number = number;
        let Some(left) = self.pages_left.checked_sub(1) else {
            self.next_bucket = self.meta.max_bucket.saturating_add(1);
            return Err(self.corrupt(number, "more bucket pages than pages: the chains are circular"));
        };
        self.pages_left = left;
        let mut page = std::mem::take(&mut self.page);
        let read = self.read_page(number, &mut page);
        self.page = page;
        read?;
        self.pending = self.items()?;
        Ok(true)
    }

    /// The records of the loaded page.
    fn items(&mut self) -> Result<Vec<(u32, Value)>, BdbError<S::Error>> {
        let (page, order, number) = (&self.page, self.meta.order, self.page_number);
        let kind = page.get(25).copied().unwrap_or_default();
        if kind != PAGE_HASH && kind != PAGE_HASH_UNSORTED {
            // A bucket whose page was never used is all zero: it has no type and no items.
            let unused = kind == 0 && order.u16(page, 20) == Some(0);
            return if unused {
                Ok(Vec::new())
            } else {
                Err(self.corrupt(number, "not a hash page"))
            };
        }
        let n_items = usize::from(order.u16(page, 20).unwrap_or_default());
        let table_end = PAGE_HEADER_BYTES + 2 * n_items;
        if !n_items.is_multiple_of(2) || table_end > page.len() {
            return Err(self.corrupt(number, "impossible number of items"));
        }
        // Items are stored from the end of the page towards its start, each ending where its predecessor starts.
        let mut records = Vec::with_capacity(n_items / 2);
        let mut end = page.len();
        let mut key: Option<u32> = None;
        for item in 0..n_items {
            let start = usize::from(order.u16(page, PAGE_HEADER_BYTES + 2 * item).unwrap_or_default());
            if start < table_end || start >= end {
                return Err(self.corrupt(number, "item out of bounds"));
            }
            let bytes = page.get(start..end).unwrap_or_default();
            let (kind, body) = bytes.split_first().unwrap_or((&0, &[]));
            if item.is_multiple_of(2) {
                key = (*kind == ITEM_KEY_DATA && body.len() == 4)
                    .then(|| order.u32(body, 0))
                    .flatten();
                if key.is_none() {
                    return Err(self.corrupt(number, "key is not a header number"));
                }
            } else if let Some(key) = key.take().filter(|key| *key != 0) {
                // Key 0 holds the next free header number.
                let value = match *kind {
                    ITEM_KEY_DATA => Some(Value::Inline {
                        start: start + 1,
                        end,
                    }),
                    ITEM_OFF_PAGE if bytes.len() == 12 => order
                        .u32(bytes, 4)
                        .zip(order.u32(bytes, 8))
                        .map(|(page, len)| Value::Overflow { page, len }),
                    _ => None,
                };
                match value {
                    Some(value) => records.push((key, value)),
                    None => return Err(self.corrupt(number, "value of unknown kind")),
                }
            }
            end = start;
        }
        self.next_page = order.u32(page, 16).unwrap_or_default();
        records.reverse();
        Ok(records)
    }

    fn value(&mut self, value: Value) -> Result<Vec<u8>, BdbError<S::Error>> {
        let (first, len) = match value {
            Value::Inline { start, end } => {
                return Ok(self.page.get(start..end).unwrap_or_default().to_vec());
            }
            Value::Overflow { page, len } => (page, len as usize),
        };
        // Each overflow page belongs to one value, so all values together are shorter than the file.
        match self.value_bytes_left.checked_sub(len as u64) {
            Some(left) => self.value_bytes_left = left,
            None => return Err(self.corrupt(first, "values longer than the file: overflow pages are shared")),
        }
        let mut out = Vec::with_capacity(len);
        let mut page = vec![0; self.meta.page_bytes];
        let mut number = first;
        while out.len() < len {
            self.read_page(number, &mut page)?;
            if page.get(25) != Some(&PAGE_OVERFLOW) {
                return Err(self.corrupt(number, "not an overflow page"));
            }
            let on_page = usize::from(self.meta.order.u16(&page, 22).unwrap_or_default());
            let bytes = page
                .get(PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + on_page)
                .unwrap_or_default();
            if bytes.is_empty() || bytes.len() > len - out.len() {
                return Err(self.corrupt(number, "overflow page of impossible length"));
            }
            out.extend_from_slice(bytes);
            number = self.meta.order.u32(&page, 16).unwrap_or_default();
        }
        Ok(out)
    }
}

impl<S: PageSource> Iterator for Records<S> {
    type Item = Result<(u32, Vec<u8>), BdbError<S::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((number, value)) = self.pending.pop() {
                return Some(self.value(value).map(|bytes| (number, bytes)));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
#[path = "bdb_tests.rs"]
mod tests;
