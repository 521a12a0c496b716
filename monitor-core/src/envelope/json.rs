//! Envelopes as files.

use super::claims::{Algorithm, Claims, KeyId, Kind, check_name};
use super::target::{MAX_TARGET_BYTES, MAX_TARGETS};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Largest content, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 32 << 20;
/// Largest file, in bytes: the content in base64 and room for the rest.
pub const MAX_ENVELOPE_BYTES: usize = MAX_PAYLOAD_BYTES / 3 * 4 + (1 << 20);
/// Longest signature, in bytes.
const MAX_SIGNATURE_BYTES: usize = 512;
/// The only version.
const VERSION: u64 = 1;

/// An envelope as it was read: well formed, but not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Everything that is signed.
    pub claims: Claims,
    /// The signature over [`Claims::signed_bytes`].
    pub signature: Vec<u8>,
}

/// Why bytes are no envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Too large.
    #[error("larger than {MAX_ENVELOPE_BYTES} bytes: no envelope")]
    TooLarge,
    /// Not the JSON that is expected.
    #[error("cannot read the envelope")]
    Json(#[source] serde_json::Error),
    /// A version that this program does not know.
    #[error("version {found} of the envelope is not known; this program reads version 1")]
    Version {
        /// The version.
        found: u64,
    },
    /// A member with a value that is not allowed.
    #[error("\"{member}\": {must}")]
    Member {
        /// Name of the member.
        member: &'static str,
        /// What it must be.
        must: String,
    },
}

fn member(member: &'static str, must: impl Into<String>) -> EnvelopeError {
    EnvelopeError::Member {
        member,
        must: must.into(),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "type")]
    kind: String,
    version: u64,
    algorithm: String,
    key: String,
    serial: u64,
    issued: String,
    expires: String,
    target: Vec<String>,
    name: String,
    payload: String,
    signature: String,
}

impl Envelope {
    /// Reads an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLarge);
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(EnvelopeError::Json)?;
        if raw.version != VERSION {
            return Err(EnvelopeError::Version { found: raw.version });
        }
        let words = |all: Vec<&str>| format!("must be one of {}", all.join(", "));
        let claims = Claims {
            kind: Kind::from_word(&raw.kind)
                .ok_or_else(|| member("type", words(Kind::ALL.map(Kind::word).to_vec())))?,
            algorithm: Algorithm::from_word(&raw.algorithm)
                .ok_or_else(|| member("algorithm", words(Algorithm::ALL.map(Algorithm::word).to_vec())))?,
            key: raw
                .key
                .parse::<KeyId>()
                .map_err(|error| member("key", format!("must be 64 hexadecimal digits ({error})")))?,
            serial: raw.serial,
            issued: parse_time(&raw.issued).map_err(|must| member("issued", must))?,
            expires: parse_time(&raw.expires).map_err(|must| member("expires", must))?,
            targets: raw.target,
            name: raw.name,
            payload: decode("payload", &raw.payload, MAX_PAYLOAD_BYTES)?,
        };
        let signature = decode("signature", &raw.signature, MAX_SIGNATURE_BYTES)?;
        let envelope = Self { claims, signature };
        envelope.claims.check()?;
        Ok(envelope)
    }

    /// The envelope as a file.
    pub fn to_json(&self) -> String {
        let claims = &self.claims;
        let raw = Raw {
            kind: claims.kind.word().to_owned(),
            version: VERSION,
            algorithm: claims.algorithm.word().to_owned(),
            key: claims.key.to_string(),
            serial: claims.serial,
            issued: time_text(claims.issued),
            expires: time_text(claims.expires),
            target: claims.targets.clone(),
            name: claims.name.clone(),
            payload: STANDARD.encode(&claims.payload),
            signature: STANDARD.encode(&self.signature),
        };
        // Strings and numbers can always be written.
        serde_json::to_string_pretty(&raw)
            .map(|json| json + "\n")
            .unwrap_or_default()
    }
}

impl Claims {
    /// Checks what has no type of its own: name, targets, order of the times, size. [`Envelope::parse`] has done so;
    /// call it before signing.
    pub fn check(&self) -> Result<(), EnvelopeError> {
        check_name(&self.name).map_err(|must| member("name", must))?;
        if self.targets.is_empty() || self.targets.len() > MAX_TARGETS {
            return Err(member("target", format!("must list 1 to {MAX_TARGETS} patterns")));
        }
        let fine = |target: &String| {
            !target.is_empty()
                && target.len() <= MAX_TARGET_BYTES
                && target.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !self.targets.iter().all(fine) {
            let must = format!("a pattern has 1 to {MAX_TARGET_BYTES} ASCII characters without white space");
            return Err(member("target", must));
        }
        if self.expires <= self.issued {
            return Err(member("expires", "must be later than \"issued\""));
        }
        if self.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(member(
                "payload",
                format!("must not be larger than {MAX_PAYLOAD_BYTES} bytes"),
            ));
        }
        Ok(())
    }
}

fn decode(name: &'static str, text: &str, most: usize) -> Result<Vec<u8>, EnvelopeError> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| member(name, format!("must be base64: {error}")))?;
    if bytes.len() > most {
        return Err(member(name, format!("must not be larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Reads an RFC 3339 time in UTC with whole seconds, as seconds since 1970. The error says what is allowed.
pub fn parse_time(text: &str) -> Result<i64, String> {
    let must = || "must be a time like 2026-01-31T08:00:00Z".to_owned();
    let time: jiff::Timestamp = text.parse().map_err(|_error| must())?;
    let seconds = time.as_second();
    // One way to write each time: what is shown is what was signed.
    if time_text(seconds) == text {
        Ok(seconds)
    } else {
        Err(must())
    }
}

/// A time in seconds since 1970 as RFC 3339 in UTC.
pub fn time_text(seconds: i64) -> String {
    let nearest = if seconds < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    };
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(nearest)
        .to_string()
}
