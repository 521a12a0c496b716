//! Digest values as headers state them.

use std::fmt;

/// Hash algorithm, by its OpenPGP number (RFC 9580, 9.5), which rpm uses too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// 1. Broken; rpm's default before EL 6.
    Md5,
    /// 2. Broken.
    Sha1,
    /// 8.
    Sha256,
    /// 9.
    Sha384,
    /// 10.
    Sha512,
    /// 11.
    Sha224,
    /// 12.
    Sha3_256,
    /// 14.
    Sha3_512,
}

impl DigestAlgorithm {
    /// The algorithm of an OpenPGP hash number.
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Md5,
            2 => Self::Sha1,
            8 => Self::Sha256,
            9 => Self::Sha384,
            10 => Self::Sha512,
            11 => Self::Sha224,
            12 => Self::Sha3_256,
            14 => Self::Sha3_512,
            _ => return None,
        })
    }

    /// Length of a digest in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 | Self::Sha3_256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// Whether collisions can be made, so that a signature over such a digest proves nothing.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }

    /// Name as rpm and OpenPGP write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
            Self::Sha3_256 => "SHA3-256",
            Self::Sha3_512 => "SHA3-512",
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest and its algorithm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    bytes: [u8; 64],
}

impl Digest {
    /// Reads hexadecimal digits of exactly the algorithm's length.
    pub fn from_hex(algorithm: DigestAlgorithm, digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(digits, bytes.get_mut(..algorithm.bytes())?).ok()?;
        Some(Self { algorithm, bytes })
    }

    /// Takes bytes of exactly the algorithm's length.
    pub fn from_bytes(algorithm: DigestAlgorithm, digest: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        let field = bytes.get_mut(..algorithm.bytes())?;
        if field.len() != digest.len() {
            return None;
        }
        field.copy_from_slice(digest);
        Some(Self { algorithm, bytes })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The digest, as long as the algorithm says.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.bytes()).unwrap_or_default()
    }

    /// The digest, if it is a SHA-256 one.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        match self.algorithm {
            DigestAlgorithm::Sha256 => self.as_bytes().try_into().ok(),
            _ => None,
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, hex::encode(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_of_the_right_length_are_read() {
        let check = |algorithm: DigestAlgorithm, digits: &str, expected: Option<&str>| {
            let found = Digest::from_hex(algorithm, digits.as_bytes()).map(|digest| format!("{digest:?}"));
            assert_eq!(found.as_deref(), expected);
        };
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        check(DigestAlgorithm::Sha256, empty, Some(&format!("SHA256:{empty}")));
        check(
            DigestAlgorithm::Sha256,
            &empty.to_uppercase(),
            Some(&format!("SHA256:{empty}")),
        );
        check(DigestAlgorithm::Sha256, &empty[2..], None);
        check(DigestAlgorithm::Sha256, &empty.replace("e3", "x3"), None);
        check(DigestAlgorithm::Sha512, empty, None);
        check(DigestAlgorithm::Md5, "", None);
        check(
            DigestAlgorithm::Md5,
            "00112233445566778899aabbccddeeff",
            Some("MD5:00112233445566778899aabbccddeeff"),
        );
    }
}
