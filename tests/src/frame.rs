//! The wire between guest and host: frames on the second serial port.
//!
//! A frame is one line of JSON after [`MARK`], ended by a line feed, then exactly `bytes` bytes of payload and another
//! line feed. Whatever stands between frames (a firmware's greeting) is skipped.

use crate::plan::Role;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};

/// Starts a frame's head line.
pub const MARK: &str = "@hardpan-vm ";
/// Longest head line accepted, in bytes.
pub const MAX_HEAD_BYTES: u64 = 64 << 10;
/// Largest payload accepted, in bytes.
pub const MAX_PAYLOAD_BYTES: u64 = 256 << 20;

/// What a frame tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum Head {
    /// The guest is up.
    Hello {
        /// `uname -r`.
        release: String,
        /// `/sys/kernel/security/lsm`, empty if it cannot be read.
        lsm: String,
    },
    /// `hardpan doctor --json` ended; the payload is its standard output.
    Doctor {
        /// Exit code; `None` when it was killed or ran over its limit.
        code: Option<i32>,
        /// What it wrote to standard error (its end, if long).
        stderr: String,
    },
    /// The daemon of a group reached a state; the payload is what it wrote to standard error since the last frame.
    Daemon {
        /// The group.
        group: String,
        /// Which state.
        state: DaemonState,
        /// Milliseconds the change took, in guest time.
        took_ms: u64,
    },
    /// A part's shell text ended; the payload is its output.
    Part {
        /// The scenario.
        scenario: String,
        /// Which half.
        role: Role,
        /// Exit code of the shell; `None` when it ran over its limit.
        code: Option<i32>,
        /// Whether the marker's record came within the limit.
        marker: bool,
        /// `name=value` lines that the part wrote to `$HP_FACTS`.
        facts: Vec<(String, String)>,
    },
    /// Records (JSON lines); the payload is gzip.
    Records {
        /// The group.
        group: String,
        /// The part during which they were written; `None`: while the daemon started or stopped.
        part: Option<(String, Role)>,
        /// Bytes before compression.
        plain_bytes: u64,
    },
    /// One line for a human watching (`cargo xtask run`); the payload is the line's text.
    Say {
        /// What kind of line it is.
        kind: SayKind,
    },
    /// The guest could not do its own work (not: a test failed).
    Trouble {
        /// What was attempted, on what, and why it failed.
        what: String,
    },
    /// What is to be kept for another boot; the payload is the content of [`crate::plan::KEPT_PATH`].
    Kept,
    /// Everything was done.
    End,
}

/// States of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DaemonState {
    /// It said that it is ready.
    Ready,
    /// It ended before it was ready, with this exit code (`None`: a signal).
    Refused(Option<i32>),
    /// It neither got ready nor ended in time.
    Stuck,
    /// It was asked to stop and ended with this exit code (`None`: a signal, or it had to be killed).
    Stopped(Option<i32>),
    /// It ended by itself while it was in use.
    Died(Option<i32>),
}

/// Kinds of lines for a human.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SayKind {
    /// What comes next.
    Caption,
    /// Output of a program.
    Output,
    /// A record, as written by the daemon.
    Record,
}

/// A frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed.
    #[error("reading a frame from the guest")]
    Read(#[source] io::Error),
    /// The stream ended inside a frame.
    #[error("the guest's stream ended inside a frame ({missing} of {bytes} bytes missing)")]
    Cut {
        /// Payload bytes announced.
        bytes: u64,
        /// Of which this many never came.
        missing: u64,
    },
    /// The head line is not what it should be.
    #[error("frame head {head:?}")]
    Head {
        /// Its beginning.
        head: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A frame announces more than is accepted.
    #[error("a frame announces {bytes} bytes, more than the {MAX_PAYLOAD_BYTES} accepted")]
    TooLarge {
        /// Announced.
        bytes: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    head: Head,
    bytes: u64,
}

/// Writes one frame.
pub fn write(out: &mut impl Write, head: &Head, payload: &[u8]) -> io::Result<()> {
    let line = Line {
        head: head.clone(),
        bytes: payload.len() as u64,
    };
    let json = serde_json::to_string(&line).map_err(io::Error::other)?;
    writeln!(out, "{MARK}{json}")?;
    out.write_all(payload)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Reads the next frame; `None` at the end of the stream.
pub fn read(input: &mut impl BufRead) -> Result<Option<(Head, Vec<u8>)>, FrameError> {
    loop {
        let mut raw = Vec::new();
        let got = input
            .by_ref()
            .take(MAX_HEAD_BYTES)
            .read_until(b'\n', &mut raw)
            .map_err(FrameError::Read)?;
        if got == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&raw);
        // Searched for, not only at the line's start: firmware may leave a line without an end before it.
        let Some((_, json)) = text.split_once(MARK) else {
            continue;
        };
        let line: Line = serde_json::from_str(json.trim_end()).map_err(|source| FrameError::Head {
            head: json.chars().take(200).collect(),
            source,
        })?;
        if line.bytes > MAX_PAYLOAD_BYTES {
            return Err(FrameError::TooLarge { bytes: line.bytes });
        }
        let mut payload = Vec::new();
        // One byte more: the line feed that ends every frame.
        let got = input
            .by_ref()
            .take(line.bytes + 1)
            .read_to_end(&mut payload)
            .map_err(FrameError::Read)? as u64;
        if got < line.bytes {
            return Err(FrameError::Cut {
                bytes: line.bytes,
                missing: line.bytes - got,
            });
        }
        payload.truncate(usize::try_from(line.bytes).unwrap_or(usize::MAX));
        return Ok(Some((line.head, payload)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon() -> Head {
        Head::Daemon {
            group: "g".into(),
            state: DaemonState::Refused(Some(3)),
            took_ms: 7,
        }
    }

    #[test]
    fn frames_come_back_as_written_with_noise_between() {
        let mut wire = b"SeaBIOS (version 1)\n\x1b[2J".to_vec();
        write(&mut wire, &daemon(), b"line\n@hardpan-vm not a head\n\0\xff").unwrap();
        wire.extend_from_slice(b"noise\n");
        write(&mut wire, &Head::End, b"").unwrap();
        let mut input = wire.as_slice();
        assert_eq!(
            read(&mut input).unwrap(),
            Some((daemon(), b"line\n@hardpan-vm not a head\n\0\xff".to_vec()))
        );
        assert_eq!(read(&mut input).unwrap(), Some((Head::End, Vec::new())));
        assert_eq!(read(&mut input).unwrap(), None);
    }

    #[test]
    fn cut_or_absurd_frames_are_errors() {
        let mut wire = Vec::new();
        write(&mut wire, &daemon(), b"0123456789").unwrap();
        let cut = &wire[..wire.len() - 6];
        assert!(matches!(
            read(&mut &cut[..]),
            Err(FrameError::Cut {
                bytes: 10,
                missing: 5
            })
        ));
        let absurd = format!("{MARK}{{\"frame\":\"end\",\"bytes\":99999999999}}\n");
        assert!(matches!(
            read(&mut absurd.as_bytes()),
            Err(FrameError::TooLarge {
                bytes: 99_999_999_999
            })
        ));
        let broken = format!("{MARK}{{\"frame\":\"unheard-of\"}}\n");
        assert!(matches!(
            read(&mut broken.as_bytes()),
            Err(FrameError::Head { .. })
        ));
    }
}
