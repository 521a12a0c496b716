//! The kernel's type information (BTF): where struct members lie, what enum constants are, which id a function has.
//!
//! Only as much of BTF as the sensors need. The bytes are hostile like all others: every offset is checked, nesting and
//! chains of modifiers are bounded. Format: Documentation/bpf/btf.rst.

mod resolve;

pub use resolve::{Resolved, Unresolved, resolve};

/// Why BTF could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Not BTF at all, or of the other byte order.
    #[error("no BTF: magic is {0:#06x}, expected 0xeb9f")]
    Magic(u16),
    /// The data ends inside a section or a type.
    #[error("BTF ends early: {what} at byte {at} does not fit into {len} bytes")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Offset in the file.
        at: usize,
        /// Length of the file.
        len: usize,
    },
    /// A type kind this reader does not know the length of.
    #[error("BTF type {id} has the unknown kind {kind}")]
    UnknownKind {
        /// Type id.
        id: u32,
        /// Kind number.
        kind: u32,
    },
}

/// Kind of a type, as far as look-ups need to tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `struct`
    Struct,
    /// `union`
    Union,
    /// `enum` (32 bits)
    Enum,
    /// `enum` (64 bits)
    Enum64,
    /// `typedef`
    Typedef,
    /// function
    Func,
    /// Anything else.
    Other,
}

/// Modifiers followed and anonymous members entered: the kernel's deepest nesting is far below.
const DEPTH_MAX: u32 = 16;

/// Bytes of a name that its hash is made of: `KSYM_NAME_LEN` of the kernel.
const NAME_MAX: usize = 512;

/// Parsed BTF: an index over the raw bytes.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    /// Byte offset of each type's head; index = type id - 1.
    types: Vec<u32>,
    /// Hash of its name and id of each type that can be found by name, sorted.
    names: Vec<(u32, u32)>,
    strings: usize,
    strings_end: usize,
}

struct Head {
    name: u32,
    kind: u32,
    vlen: u32,
    kind_flag: bool,
    /// `size` or `type`, by kind.
    third: u32,
}

impl Btf {
    /// Indexes the content of `/sys/kernel/btf/vmlinux`.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let len = data.len();
        let early = |what, at| BtfError::Truncated { what, at, len };
        let magic = u16_at(&data, 0).ok_or_else(|| early("header", 0))?;
        if magic != 0xeb9f {
            return Err(BtfError::Magic(magic));
        }
        let head = |at: usize| {
            u32_at(&data, at)
                .map(|v| v as usize)
                .ok_or_else(|| early("header", at))
        };
        let (header_len, type_off, type_len, str_off, str_len) =
            (head(4)?, head(8)?, head(12)?, head(16)?, head(20)?);
        let section = |off: usize, size: usize, what| {
            let start = header_len.checked_add(off).ok_or_else(|| early(what, off))?;
            let end = start.checked_add(size).ok_or_else(|| early(what, start))?;
            if end > len {
                Err(early(what, start))
            } else {
                Ok((start, end))
            }
        };
        let (types_start, types_end) = section(type_off, type_len, "type section")?;
        let (strings, strings_end) = section(str_off, str_len, "string section")?;

        let mut types = Vec::with_capacity((type_len / 24).min(1 << 20));
        let mut names = Vec::with_capacity((type_len / 48).min(1 << 20));
        let mut at = types_start;
        while at < types_end {
            let info = u32_at(&data, at + 4).ok_or_else(|| early("type", at))?;
            let (kind, vlen) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            let tail = match kind {
                1 | 14 | 17 => 4,
                2 | 7..=12 | 16 | 18 => 0,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * vlen,
                6 | 13 => 8 * vlen,
                _ => {
                    let id = u32::try_from(types.len() + 1).unwrap_or(u32::MAX);
                    return Err(BtfError::UnknownKind { id, kind });
                }
            };
            let next = at + 12 + tail;
            if next > types_end {
                return Err(early("type", at));
            }
            types.push(u32::try_from(at).map_err(|_| early("type", at))?);
            let name = u32_at(&data, at).unwrap_or_default() as usize;
            if kind_of(kind) != Kind::Other && name != 0 {
                let text = strings
                    .checked_add(name)
                    .and_then(|start| data.get(start..strings_end))
                    .unwrap_or_default();
                names.push((name_hash(text), u32::try_from(types.len()).unwrap_or(u32::MAX)));
            }
            at = next;
        }
        names.sort_unstable();
        Ok(Self {
            data,
            types,
            names,
            strings,
            strings_end,
        })
    }

    /// Number of types.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// True if there is no type.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Id of the first type of this name and kind ([`Kind::Other`] is never found).
    pub fn find(&self, name: &str, kind: Kind) -> Option<u32> {
        let hash = name_hash(name.as_bytes());
        let first = self.names.partition_point(|(other, _)| *other < hash);
        let same = self
            .names
            .get(first..)?
            .iter()
            .take_while(|(other, _)| *other == hash);
        same.map(|(_, id)| *id).find(|id| {
            self.head(*id)
                .is_some_and(|head| kind_of(head.kind) == kind && self.is_named(head.name, name))
        })
    }

    /// Byte offset of a member given as a path (`ns.inum` steps into the embedded struct `ns`); members of anonymous
    /// structs and unions are found as in C. `None` if it does not exist or is a bit field that starts inside a byte.
    pub fn member(&self, owner: u32, path: &str) -> Option<u32> {
        let mut at = self.strip(owner)?;
        let mut bits = 0u32;
        for step in path.split('.') {
            let (offset, member) = self.step(at, step, 0)?;
            bits = bits.checked_add(offset)?;
            at = self.strip(member)?;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Value of an enumerator.
    pub fn enumerator(&self, owner: &str, name: &str) -> Option<i64> {
        for (kind, width) in [(Kind::Enum, 8usize), (Kind::Enum64, 12)] {
            let Some(id) = self.find(owner, kind) else {
                continue;
            };
            let (start, head) = (self.start(id)?, self.head(id)?);
            for index in 0..head.vlen as usize {
                let at = start + 12 + index * width;
                if self.is_named(u32_at(&self.data, at)?, name) {
                    let low = u32_at(&self.data, at + 4)?;
                    return Some(if width == 8 {
                        i64::from(low.cast_signed())
                    } else {
                        (u64::from(low) | u64::from(u32_at(&self.data, at + 8)?) << 32).cast_signed()
                    });
                }
            }
        }
        None
    }

    fn step(&self, owner: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        let head = self.head(owner)?;
        if depth > DEPTH_MAX || !matches!(kind_of(head.kind), Kind::Struct | Kind::Union) {
            return None;
        }
        let start = self.start(owner)?;
        for index in 0..head.vlen as usize {
            let at = start + 12 + index * 12;
            let (member_name, member_type, raw) = (
                u32_at(&self.data, at)?,
                u32_at(&self.data, at + 4)?,
                u32_at(&self.data, at + 8)?,
            );
            let bits = if head.kind_flag { raw & 0x00ff_ffff } else { raw };
            if self.is_named(member_name, name) {
                return Some((bits, member_type));
            }
            if self.is_named(member_name, "")
                && let Some(inner) = self.strip(member_type)
                && let Some((more, found)) = self.step(inner, name, depth + 1)
            {
                return Some((bits.checked_add(more)?, found));
            }
        }
        None
    }

    /// Follows typedefs and qualifiers.
    fn strip(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH_MAX {
            let head = self.head(id)?;
            match head.kind {
                8..=11 | 18 => id = head.third,
                _ => return Some(id),
            }
        }
        None
    }

    fn start(&self, id: u32) -> Option<usize> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.types.get(index).map(|&at| at as usize)
    }

    fn head(&self, id: u32) -> Option<Head> {
        let at = self.start(id)?;
        let info = u32_at(&self.data, at + 4)?;
        Some(Head {
            name: u32_at(&self.data, at)?,
            kind: (info >> 24) & 0x1f,
            vlen: info & 0xffff,
            kind_flag: info >> 31 == 1,
            third: u32_at(&self.data, at + 8)?,
        })
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let Some(start) = self.strings.checked_add(offset as usize) else {
            return false;
        };
        let Some(end) = start.checked_add(name.len()) else {
            return false;
        };
        end < self.strings_end
            && self.data.get(start..end) == Some(name.as_bytes())
            && self.data.get(end) == Some(&0)
    }
}

/// FNV-1a of a name up to its NUL; of long ones the beginning counts, as a bound on the work that hostile data makes.
fn name_hash(text: &[u8]) -> u32 {
    let name = text.iter().take(NAME_MAX).take_while(|byte| **byte != 0);
    name.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

const fn kind_of(raw: u32) -> Kind {
    match raw {
        4 => Kind::Struct,
        5 => Kind::Union,
        6 => Kind::Enum,
        8 => Kind::Typedef,
        12 => Kind::Func,
        19 => Kind::Enum64,
        _ => Kind::Other,
    }
}

// BTF has the byte order of the machine it describes: ours.
fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?)?
        .try_into()
        .ok()
        .map(u32::from_ne_bytes)
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at.checked_add(2)?)?
        .try_into()
        .ok()
        .map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests;
