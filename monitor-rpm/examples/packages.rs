//! Writes each signed header of an rpm database as a package file without a payload, for tools that check files:
//! `cargo run --release -p hardpan-rpm --example packages -- DATABASE DIRECTORY`

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

use hardpan_rpm::db::RpmDb;
use hardpan_rpm::header::{Header, MAGIC, tag};

/// rpm's types of the signature header's entries.
const STRING: u32 = 6;
const BIN: u32 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, folder] = arguments.as_slice() else {
        return Err("usage: packages DATABASE DIRECTORY".into());
    };
    let mut done: Result<(), Box<dyn Error>> = Ok(());
    RpmDb::open_file(Path::new(database), None)?.for_each(&mut |record| {
        let written = record
            .map_err(Into::into)
            .and_then(|(number, blob)| write(Path::new(folder), number, &blob));
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                done = Err(error);
                ControlFlow::Break(())
            }
        }
    })?;
    done
}

fn write(folder: &Path, number: u32, blob: &[u8]) -> Result<(), Box<dyn Error>> {
    let header = Header::parse_db(blob)?;
    let view = header.dribbles();
    let mut entries: Vec<(u32, u32, Vec<u8>)> = Vec::new();
    for tag in [tag::DSAHEADER, tag::RSAHEADER] {
        if let Some(bytes) = view.bin(tag)? {
            entries.push((tag, BIN, bytes.to_vec()));
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    for tag in [tag::SHA1HEADER, tag::SHA256HEADER] {
        if let Some(text) = view.string(tag)? {
            entries.push((tag, STRING, [text, b"\0"].concat()));
        }
    }
    let mut out = vec![0; 96];
    let lead = [0xed, 0xab, 0xee, 0xdb, 3, 0];
    out.splice(..lead.len(), lead);
    // Signature header, as rpm knows it.
    out.splice(78..80, [0, 5]);
    out.extend_from_slice(&MAGIC);
    out.extend(signature_header(&entries)?);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(header.signed_bytes().ok_or("a signature over nothing")?);
    Ok(std::fs::write(folder.join(format!("{number}.rpm")), out)?)
}

/// Entries inside a region, as rpmsign writes them.
fn signature_header(entries: &[(u32, u32, Vec<u8>)]) -> Result<Vec<u8>, Box<dyn Error>> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, kind, bytes) in entries {
        let count = if *kind == STRING {
            1
        } else {
            u32::try_from(bytes.len())?
        };
        for field in [*tag, *kind, u32::try_from(data.len())?, count] {
            index.extend_from_slice(&field.to_be_bytes());
        }
        data.extend_from_slice(bytes);
    }
    let n_entries = u32::try_from(entries.len() + 1)?;
    let trailer_at = u32::try_from(data.len())?;
    for field in [tag::HEADERSIGNATURES, BIN, (n_entries * 16).wrapping_neg(), 16] {
        data.extend_from_slice(&field.to_be_bytes());
    }
    let mut out = Vec::new();
    for field in [
        n_entries,
        u32::try_from(data.len())?,
        tag::HEADERSIGNATURES,
        BIN,
        trailer_at,
        16,
    ] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend(index);
    out.extend(data);
    Ok(out)
}
