//! As much of OpenPGP (RFC 9580, and version 3 signatures of RFC 4880) as package signatures need: armour, packets,
//! signatures and certificates. Pure; keys and signatures are hostile until proven.
//!
//! Ready-made verifiers stumble over what release keys are like: several certificates in one file, signatures
//! without issuer fingerprint, expired primary keys, SHA-1 self-signatures. So parsing and the choice of keys are
//! our own; the mathematics is ring's and rPGP's ([`crate::crypto`]).

mod armor;
mod certificate;
mod key;
mod packet;
mod signature;

pub use armor::{ArmorError, dearmor};
pub use certificate::{Certificate, CertificateParts, Revocation, SigningKey, certificates};
pub use key::PublicKey;
pub use packet::{Packet, PacketError, Packets};
pub use signature::{Issuer, Signature, SignatureError, signature_packet};

/// Packet tags.
pub(crate) mod tag {
    pub(crate) const SIGNATURE: u8 = 2;
    pub(crate) const SECRET_KEY: u8 = 5;
    pub(crate) const PUBLIC_KEY: u8 = 6;
    pub(crate) const SECRET_SUBKEY: u8 = 7;
    pub(crate) const USER_ID: u8 = 13;
    pub(crate) const PUBLIC_SUBKEY: u8 = 14;
    pub(crate) const USER_ATTRIBUTE: u8 = 17;
}

/// Signature types.
pub(crate) mod sigtype {
    pub(crate) const BINARY: u8 = 0x00;
    pub(crate) const GENERIC_CERTIFICATION: u8 = 0x10;
    pub(crate) const POSITIVE_CERTIFICATION: u8 = 0x13;
    pub(crate) const SUBKEY_BINDING: u8 = 0x18;
    pub(crate) const PRIMARY_KEY_BINDING: u8 = 0x19;
    pub(crate) const DIRECT_KEY: u8 = 0x1f;
    pub(crate) const KEY_REVOCATION: u8 = 0x20;
    pub(crate) const SUBKEY_REVOCATION: u8 = 0x28;
}

/// Big-endian reader that never reads past its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A multiprecision integer, without leading zeros.
    pub(crate) fn mpi(&mut self) -> Option<&'a [u8]> {
        let bits = usize::from(self.u16()?);
        let bytes = self.bytes(bits.div_ceil(8))?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        bytes.get(zeros..)
    }
}

#[cfg(test)]
mod tests;
