//! Typed access to the entries of one part of a header.

use std::ffi::CStr;

use super::{Entry, TagError, TagType};

/// Either the region's entries or the dribbles of a [`super::Header`].
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) data: &'a [u8],
}

impl<'a> View<'a> {
    /// All tags, in stored order.
    pub fn tags(&self) -> impl Iterator<Item = u32> + 'a {
        self.entries.iter().map(|entry| entry.tag)
    }

    /// Whether there is an entry of this tag.
    pub fn has(&self, tag: u32) -> bool {
        self.find(tag).is_some()
    }

    fn find(&self, tag: u32) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    fn bytes(&self, entry: &Entry) -> &'a [u8] {
        let start = entry.offset as usize;
        self.data
            .get(start..start + entry.len as usize)
            .unwrap_or_default()
    }

    /// The one string of a STRING entry, or the first (C locale) of an I18NSTRING entry, without its NUL.
    pub fn string(&self, tag: u32) -> Result<Option<&'a [u8]>, TagError> {
        let Some(entry) = self.find(tag) else {
            return Ok(None);
        };
        match entry.kind {
            TagType::Str | TagType::I18nStr => Ok(Strings {
                rest: self.bytes(entry),
            }
            .next()),
            found => Err(TagError {
                tag,
                expected: "one string",
                found,
            }),
        }
    }

    /// The strings of a STRING_ARRAY, STRING or I18NSTRING entry; empty if there is none.
    pub fn strings(&self, tag: u32) -> Result<Strings<'a>, TagError> {
        let Some(entry) = self.find(tag) else {
            return Ok(Strings { rest: &[] });
        };
        match entry.kind {
            TagType::Str | TagType::StrArray | TagType::I18nStr => Ok(Strings {
                rest: self.bytes(entry),
            }),
            found => Err(TagError {
                tag,
                expected: "strings",
                found,
            }),
        }
    }

    /// The bytes of a BIN entry.
    pub fn bin(&self, tag: u32) -> Result<Option<&'a [u8]>, TagError> {
        let Some(entry) = self.find(tag) else {
            return Ok(None);
        };
        match entry.kind {
            TagType::Bin => Ok(Some(self.bytes(entry))),
            found => Err(TagError {
                tag,
                expected: "bytes",
                found,
            }),
        }
    }

    /// Every BIN entry of this tag, in stored order: dribbles may hold several.
    pub fn bins(&self, tag: u32) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let view = *self;
        self.entries
            .iter()
            .filter(move |entry| entry.tag == tag && entry.kind == TagType::Bin)
            .map(move |entry| view.bytes(entry))
    }

    /// The integers of an entry of any integer width; empty if there is none.
    pub fn ints(&self, tag: u32) -> Result<Ints<'a>, TagError> {
        let Some(entry) = self.find(tag) else {
            return Ok(Ints { rest: &[], width: 1 });
        };
        let width = match entry.kind {
            TagType::Char | TagType::Int8 => 1,
            TagType::Int16 => 2,
            TagType::Int32 => 4,
            TagType::Int64 => 8,
            found => {
                return Err(TagError {
                    tag,
                    expected: "integers",
                    found,
                });
            }
        };
        Ok(Ints {
            rest: self.bytes(entry),
            width,
        })
    }

    /// The first integer of an entry.
    pub fn int(&self, tag: u32) -> Result<Option<u64>, TagError> {
        Ok(self.ints(tag)?.next())
    }

    /// How many elements the entry has; 0 if there is none.
    pub fn count(&self, tag: u32) -> usize {
        self.find(tag).map_or(0, |entry| entry.count as usize)
    }
}

/// Iterator over NUL-terminated strings, without their NULs.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let string = CStr::from_bytes_until_nul(self.rest).ok()?;
        self.rest = self.rest.get(string.count_bytes() + 1..).unwrap_or_default();
        Some(string.to_bytes())
    }
}

/// Iterator over big-endian integers, widened to 64 bits.
#[derive(Clone, Debug)]
pub struct Ints<'a> {
    rest: &'a [u8],
    width: usize,
}

impl Iterator for Ints<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (field, rest) = self.rest.split_at_checked(self.width)?;
        if field.is_empty() {
            return None;
        }
        self.rest = rest;
        Some(
            field
                .iter()
                .fold(0, |value, &byte| (value << 8) | u64::from(byte)),
        )
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = self.rest.len() / self.width;
        (n, Some(n))
    }

    fn nth(&mut self, n: usize) -> Option<u64> {
        self.rest = self.rest.get(n.checked_mul(self.width)?..).unwrap_or_default();
        self.next()
    }
}

impl ExactSizeIterator for Ints<'_> {}
