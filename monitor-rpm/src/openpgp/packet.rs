//! Packet framing. Partial and indeterminate lengths are refused: keys and signatures never have them.

use super::Reader;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Packet type.
    pub tag: u8,
    /// Body.
    pub body: &'a [u8],
}

/// Why bytes are not packets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {problem}")]
pub struct PacketError {
    /// Offset of the packet.
    pub offset: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// Iterator over packets; ends after an error.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    reader: Reader<'a>,
    len: usize,
}

impl<'a> Packets<'a> {
    /// Iterates over binary packets.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            len: bytes.len(),
        }
    }

    fn read(&mut self) -> Result<Packet<'a>, &'static str> {
        const SHORT: &str = "packet ends too early";
        let reader = &mut self.reader;
        let first = reader.u8().ok_or(SHORT)?;
        if first & 0x80 == 0 {
            return Err("not a packet");
        }
        let (tag, len) = if first & 0x40 != 0 {
            let len = match reader.u8().ok_or(SHORT)? {
                short @ 0..=191 => usize::from(short),
                high @ 192..=223 => {
                    let low = usize::from(reader.u8().ok_or(SHORT)?);
                    (usize::from(high) - 192) * 256 + low + 192
                }
                255 => reader.u32().ok_or(SHORT)? as usize,
                _ => return Err("partial length"),
            };
            (first & 0x3f, len)
        } else {
            let len = match first & 3 {
                0 => usize::from(reader.u8().ok_or(SHORT)?),
                1 => usize::from(reader.u16().ok_or(SHORT)?),
                2 => reader.u32().ok_or(SHORT)? as usize,
                _ => return Err("indeterminate length"),
            };
            (first >> 2 & 0xf, len)
        };
        Ok(Packet {
            tag,
            body: reader.bytes(len).ok_or(SHORT)?,
        })
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        let offset = self.len - self.reader.rest().len();
        let packet = self.read();
        if packet.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(packet.map_err(|problem| PacketError { offset, problem }))
    }
}
