//! Signature packets of versions 3, 4 and 6.

use super::{Packet, PacketError, Packets, Reader, tag};
use crate::pins::Fingerprint;

/// Most subpackets in one area: real signatures have about ten.
const MAX_SUBPACKETS: usize = 200;

/// Who made a signature, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// By fingerprint.
    Fingerprint(Fingerprint),
    /// By key id alone (version 3, and older version 4).
    KeyId([u8; 8]),
}

impl Issuer {
    /// The key id.
    pub fn key_id(&self) -> [u8; 8] {
        match self {
            Self::Fingerprint(fingerprint) => fingerprint.key_id(),
            Self::KeyId(id) => *id,
        }
    }
}

/// Why a signature cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// An unknown part that its maker marked as critical.
    #[error("critical subpacket {0} is not understood")]
    Critical(u8),
    /// Issuer fingerprint and key id name different keys.
    #[error("issuer fingerprint and key id contradict each other")]
    IssuerConflict,
    /// It does not say who made it.
    #[error("no issuer")]
    NoIssuer,
    /// Not exactly one signature packet.
    #[error("expected one signature packet: {0}")]
    NotOnePacket(&'static str),
    /// The framing is wrong.
    #[error("malformed packet")]
    Packet(#[source] PacketError),
    /// Ends too early or has impossible lengths.
    #[error("malformed signature: {0}")]
    Malformed(&'static str),
    /// A version that nobody uses.
    #[error("signature version {0} is not supported")]
    Version(u8),
}

/// A signature packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// 3, 4 or 6.
    pub version: u8,
    /// Signature type.
    pub kind: u8,
    /// OpenPGP number of the key's algorithm.
    pub key_algorithm: u8,
    /// OpenPGP number of the hash algorithm.
    pub hash_algorithm: u8,
    /// When it was made, seconds since 1970; signed.
    pub created: Option<u32>,
    /// Who made it. A hint: only verification proves it.
    pub issuer: Option<Issuer>,
    /// Key flags, signed.
    pub key_flags: Option<u8>,
    /// Reason for revocation, signed.
    pub revocation_reason: Option<u8>,
    /// A signature by the subkey back to its primary key.
    pub back_signature: Option<Box<Signature>>,
    /// Hashed before the data (version 6).
    salt: Vec<u8>,
    /// Hashed behind the data.
    trailer: Vec<u8>,
    /// The signature's numbers, as stored.
    pub(crate) value: Vec<u8>,
}

/// Reads bytes that hold exactly one signature packet.
pub fn signature_packet(bytes: &[u8]) -> Result<Signature, SignatureError> {
    let mut packets = Packets::new(bytes);
    let packet = match packets.next() {
        Some(packet) => packet.map_err(SignatureError::Packet)?,
        None => return Err(SignatureError::NotOnePacket("there is none")),
    };
    if packets.next().is_some() {
        return Err(SignatureError::NotOnePacket("there is more behind it"));
    }
    let Packet {
        tag: tag::SIGNATURE,
        body,
    } = packet
    else {
        return Err(SignatureError::NotOnePacket("it is of another type"));
    };
    Signature::parse(body)
}

impl Signature {
    /// Reads the body of a signature packet.
    pub fn parse(body: &[u8]) -> Result<Self, SignatureError> {
        Self::parse_nested(body, false)
    }

    fn parse_nested(body: &[u8], nested: bool) -> Result<Self, SignatureError> {
        match body.first() {
            Some(2 | 3) => Self::parse_v3(body),
            Some(4 | 6) => Self::parse_v4_v6(body, nested),
            Some(version) => Err(SignatureError::Version(*version)),
            None => Err(SignatureError::Malformed("empty")),
        }
    }

    fn parse_v3(body: &[u8]) -> Result<Self, SignatureError> {
        let mut reader = Reader::new(body);
        let fields = (|| {
            let version = reader.u8()?;
            let hashed_len = reader.u8()?;
            let trailer = reader.bytes(5)?;
            let id: [u8; 8] = reader.bytes(8)?.try_into().ok()?;
            let (key_algorithm, hash_algorithm) = (reader.u8()?, reader.u8()?);
            reader.bytes(2)?;
            Some((version, hashed_len, trailer, id, key_algorithm, hash_algorithm))
        })();
        let (version, hashed_len, trailer, id, key_algorithm, hash_algorithm) =
            fields.ok_or(SignatureError::Malformed("ends too early"))?;
        if version != 3 {
            return Err(SignatureError::Version(version));
        }
        let mut hashed = Reader::new(trailer);
        let kind = hashed.u8().filter(|_| hashed_len == 5);
        let kind = kind.ok_or(SignatureError::Malformed("hashed part is not 5 bytes"))?;
        Ok(Self {
            version,
            kind,
            key_algorithm,
            hash_algorithm,
            created: hashed.u32(),
            issuer: Some(Issuer::KeyId(id)),
            key_flags: None,
            revocation_reason: None,
            back_signature: None,
            salt: Vec::new(),
            trailer: trailer.to_vec(),
            value: reader.rest().to_vec(),
        })
    }

    fn parse_v4_v6(body: &[u8], nested: bool) -> Result<Self, SignatureError> {
        const SHORT: SignatureError = SignatureError::Malformed("ends too early");
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(SHORT)?;
        let [kind, key_algorithm, hash_algorithm] = [
            reader.u8().ok_or(SHORT)?,
            reader.u8().ok_or(SHORT)?,
            reader.u8().ok_or(SHORT)?,
        ];
        let mut area = || {
            let len = if version == 6 {
                reader.u32()? as usize
            } else {
                usize::from(reader.u16()?)
            };
            Some((reader.bytes(len)?, body.len() - reader.rest().len()))
        };
        let (hashed, hashed_end) = area().ok_or(SHORT)?;
        let (unhashed, _) = area().ok_or(SHORT)?;
        reader.bytes(2).ok_or(SHORT)?;
        let salt = if version == 6 {
            let len = usize::from(reader.u8().ok_or(SHORT)?);
            reader.bytes(len).ok_or(SHORT)?.to_vec()
        } else {
            Vec::new()
        };
        let mut trailer = body.get(..hashed_end).ok_or(SHORT)?.to_vec();
        trailer.extend_from_slice(&[version, 0xff]);
        trailer.extend_from_slice(
            &u32::try_from(hashed_end)
                .map_err(|_too_long| SHORT)?
                .to_be_bytes(),
        );
        let mut signature = Self {
            version,
            kind,
            key_algorithm,
            hash_algorithm,
            created: None,
            issuer: None,
            key_flags: None,
            revocation_reason: None,
            back_signature: None,
            salt,
            trailer,
            value: reader.rest().to_vec(),
        };
        signature.read_subpackets(hashed, true, nested)?;
        signature.read_subpackets(unhashed, false, nested)?;
        Ok(signature)
    }

    fn read_subpackets(&mut self, area: &[u8], hashed: bool, nested: bool) -> Result<(), SignatureError> {
        const SHORT: SignatureError = SignatureError::Malformed("subpacket ends too early");
        let mut reader = Reader::new(area);
        let mut n_subpackets = 0;
        while !reader.rest().is_empty() {
            n_subpackets += 1;
            if n_subpackets > MAX_SUBPACKETS {
                return Err(SignatureError::Malformed("too many subpackets"));
            }
            let len = match reader.u8().ok_or(SHORT)? {
                short @ 0..=191 => usize::from(short),
                high @ 192..=254 => {
                    (usize::from(high) - 192) * 256 + usize::from(reader.u8().ok_or(SHORT)?) + 192
                }
                255 => reader.u32().ok_or(SHORT)? as usize,
            };
            let mut subpacket = Reader::new(reader.bytes(len).ok_or(SHORT)?);
            let kind = subpacket.u8().ok_or(SHORT)?;
            self.read_subpacket(kind & 0x7f, kind & 0x80 != 0, subpacket.rest(), hashed, nested)?;
        }
        Ok(())
    }

    fn read_subpacket(
        &mut self,
        kind: u8,
        critical: bool,
        body: &[u8],
        hashed: bool,
        nested: bool,
    ) -> Result<(), SignatureError> {
        let malformed = SignatureError::Malformed("subpacket of wrong length");
        let mut reader = Reader::new(body);
        match kind {
            2 if hashed => self.created = Some(reader.u32().ok_or(malformed)?),
            27 if hashed => self.key_flags = Some(body.first().copied().unwrap_or_default()),
            29 if hashed => self.revocation_reason = Some(reader.u8().ok_or(malformed)?),
            16 => {
                let id = <[u8; 8]>::try_from(body).map_err(|_length| malformed)?;
                self.set_issuer(Issuer::KeyId(id))?;
            }
            33 => {
                let (version, bytes) = body.split_first().ok_or_else(|| malformed.clone())?;
                let fingerprint = match version {
                    4 => bytes.try_into().ok().map(Fingerprint::V4),
                    6 => bytes.try_into().ok().map(Fingerprint::V6),
                    _ => None,
                };
                self.set_issuer(Issuer::Fingerprint(fingerprint.ok_or(malformed)?))?;
            }
            32 if !nested => {
                // One that cannot be read is none: the subkey then is not bound back.
                if let Ok(back) = Self::parse_nested(body, true) {
                    self.back_signature = Some(Box::new(back));
                }
            }
            // Known, and without effect on package signatures or on pinned keys.
            2..=7 | 9 | 11 | 12 | 21..=35 | 39 => {}
            // Notations, and whatever else: fine unless the signer insists that it is understood.
            _ if critical && hashed => return Err(SignatureError::Critical(kind)),
            _ => {}
        }
        Ok(())
    }

    /// A fingerprint says more than an id; two different issuers are a contradiction.
    fn set_issuer(&mut self, issuer: Issuer) -> Result<(), SignatureError> {
        match (self.issuer, issuer) {
            (Some(Issuer::Fingerprint(a)), Issuer::Fingerprint(b)) if a != b => {
                return Err(SignatureError::IssuerConflict);
            }
            (Some(known), _) if known.key_id() != issuer.key_id() => {
                return Err(SignatureError::IssuerConflict);
            }
            (None, _) | (Some(_), Issuer::Fingerprint(_)) => self.issuer = Some(issuer),
            (Some(_), Issuer::KeyId(_)) => {}
        }
        Ok(())
    }

    /// What is hashed before and behind the data.
    pub(crate) fn hashed_parts(&self) -> [&[u8]; 2] {
        [&self.salt, &self.trailer]
    }

    /// What the signature signs: salt, data, trailer.
    pub(crate) fn message(&self, data: &[&[u8]]) -> Vec<u8> {
        let len = self.salt.len() + self.trailer.len() + data.iter().map(|part| part.len()).sum::<usize>();
        let mut message = Vec::with_capacity(len);
        message.extend_from_slice(&self.salt);
        for part in data {
            message.extend_from_slice(part);
        }
        message.extend_from_slice(&self.trailer);
        message
    }

    /// Whether the salt of a version 6 signature has the length that its hash algorithm demands.
    pub(crate) fn has_proper_salt(&self) -> bool {
        let expected = match (self.version, self.hash_algorithm) {
            (6, 8 | 11 | 12) => 16,
            (6, 9) => 24,
            (6, 10 | 14) => 32,
            (6, _) => return false,
            _ => 0,
        };
        self.salt.len() == expected
    }
}
