//! ASCII armour. Files of release keys hold several blocks, and text around them.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
const BEGIN: &[u8] = b"-----BEGIN PGP ";
const END: &[u8] = b"-----END PGP ";

/// Why armour cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArmorError {
    /// The text between the header and the footer is not base64.
    #[error("line {line}: armoured block is not base64")]
    Base64 {
        /// Line where the block begins.
        line: usize,
    },
    /// A block without its last line.
    #[error("line {line}: armoured block without END line")]
    Unfinished {
        /// Line where the block begins.
        line: usize,
    },
    /// Neither armour nor binary packets.
    #[error("neither an armoured block nor OpenPGP packets")]
    NoBlock,
}

/// The packets of all armoured blocks, put together; binary packets are returned as they are. The checksum line is
/// optional since RFC 9580 and is not looked at: the packets carry signatures.
pub fn dearmor(bytes: &[u8]) -> Result<Vec<u8>, ArmorError> {
    // Bit 7 is set in every packet and in no armour.
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Ok(bytes.to_vec());
    }
    let mut out = Vec::new();
    let mut found = false;
    let mut lines = bytes
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .zip(1..);
    while let Some((line, number)) = lines.next() {
        if !line.starts_with(BEGIN) {
            continue;
        }
        found = true;
        let mut body = Vec::new();
        let mut in_headers = true;
        let mut finished = false;
        for (line, _) in lines.by_ref() {
            if line.starts_with(END) {
                finished = true;
                break;
            }
            // Headers ("Version: …") end with an empty line, which sloppy writers leave out.
            if in_headers && line.contains(&b':') {
                continue;
            }
            in_headers = false;
            if !line.starts_with(b"=") {
                body.extend_from_slice(line);
            }
        }
        if !finished {
            return Err(ArmorError::Unfinished { line: number });
        }
        BASE64
            .decode_vec(&body, &mut out)
            .map_err(|_invalid| ArmorError::Base64 { line: number })?;
    }
    if found { Ok(out) } else { Err(ArmorError::NoBlock) }
}
