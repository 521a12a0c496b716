use std::path::PathBuf;

use super::*;

/// Builds a header blob: entries as (tag, type, bytes, count), the first `n_region` of them in the region.
pub(crate) fn build(entries: &[(u32, u32, Vec<u8>, u32)], n_region: usize) -> Vec<u8> {
    let mut data = Vec::new();
    let mut index = Vec::new();
    let align = |data: &mut Vec<u8>, kind: u32| {
        let bytes = match kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        while !data.len().is_multiple_of(bytes) {
            data.push(0);
        }
    };
    let mut region_offset = 0_u32;
    for (position, (tag, kind, bytes, count)) in entries.iter().enumerate() {
        if position == n_region {
            region_offset = trailer(&mut data, n_region);
        }
        align(&mut data, *kind);
        for field in [*tag, *kind, u32::try_from(data.len()).unwrap(), *count] {
            index.extend_from_slice(&field.to_be_bytes());
        }
        data.extend_from_slice(bytes);
    }
    if n_region == entries.len() {
        region_offset = trailer(&mut data, n_region);
    }
    let mut out = Vec::new();
    out.extend_from_slice(&u32::try_from(entries.len() + 1).unwrap().to_be_bytes());
    out.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
    for field in [63, 7, region_offset, 16] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&index);
    out.extend_from_slice(&data);
    out
}

fn trailer(data: &mut Vec<u8>, n_region: usize) -> u32 {
    let at = u32::try_from(data.len()).unwrap();
    let negative = u32::try_from((n_region + 1) * ENTRY_BYTES)
        .unwrap()
        .wrapping_neg();
    for field in [63, 7, negative, 16] {
        data.extend_from_slice(&field.to_be_bytes());
    }
    at
}

fn sample() -> Vec<u8> {
    build(
        &[
            (tag::NAME, 6, b"pkg\0".to_vec(), 1),
            (tag::FILEMODES, 3, vec![0x81, 0xed, 0xa1, 0xff], 2),
            (tag::BASENAMES, 8, b"a\0bc\0".to_vec(), 2),
            (tag::INSTALLTIME, 4, vec![0, 0, 0, 9], 1),
        ],
        3,
    )
}

#[test]
fn region_and_dribbles_are_apart() {
    let header = Header::parse_db(&sample()).unwrap();
    assert_eq!(header.region().string(tag::NAME).unwrap(), Some(&b"pkg"[..]));
    assert_eq!(
        header.region().ints(tag::FILEMODES).unwrap().collect::<Vec<_>>(),
        [0o100_755, 0o120_777]
    );
    assert_eq!(
        header
            .region()
            .strings(tag::BASENAMES)
            .unwrap()
            .collect::<Vec<_>>(),
        [&b"a"[..], b"bc"]
    );
    assert_eq!(header.region().int(tag::INSTALLTIME).unwrap(), None);
    assert_eq!(header.dribbles().int(tag::INSTALLTIME).unwrap(), Some(9));
    assert_eq!(header.dribbles().string(tag::NAME).unwrap(), None);
    assert_eq!(header.repeated_tags(), Vec::<u32>::new());
}

#[test]
fn signed_bytes_leave_the_dribbles_out() {
    let with = Header::parse_db(&sample()).unwrap().signed_bytes().unwrap();
    let mut entries = vec![
        (tag::NAME, 6, b"pkg\0".to_vec(), 1),
        (tag::FILEMODES, 3, vec![0x81, 0xed, 0xa1, 0xff], 2),
        (tag::BASENAMES, 8, b"a\0bc\0".to_vec(), 2),
    ];
    let without = build(&entries, 3);
    let expected: Vec<u8> = MAGIC.iter().copied().chain(without.iter().copied()).collect();
    assert_eq!(with, expected);
    entries.push((tag::NAME, 6, b"forged\0".to_vec(), 1));
    let forged = Header::parse_db(&build(&entries, 3)).unwrap();
    assert_eq!(forged.signed_bytes().unwrap(), expected);
    assert_eq!(forged.repeated_tags(), [tag::NAME]);
    assert_eq!(forged.region().string(tag::NAME).unwrap(), Some(&b"pkg"[..]));
}

#[test]
fn a_tag_of_another_type_is_an_error_not_a_guess() {
    let header = Header::parse_db(&sample()).unwrap();
    let error = header.region().ints(tag::NAME).unwrap_err();
    assert_eq!(error.to_string(), "NAME has type Str, expected integers");
}

#[test]
fn refused() {
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut blob = sample();
        change(&mut blob);
        assert_eq!(Header::parse_db(&blob).unwrap_err().to_string(), expected);
    };
    // The index starts at 8; entry n at 8 + 16 n: tag, type, offset, count.
    let put = |at: usize, value: u32| {
        move |blob: &mut Vec<u8>| blob[at..at + 4].copy_from_slice(&value.to_be_bytes())
    };
    check(&|blob| blob.truncate(5), "truncated: 8 bytes needed, 5 there");
    check(&|blob| blob.truncate(40), "truncated: 124 bytes needed, 40 there");
    check(
        &|blob| blob.push(0),
        "125 bytes stored, but index and data are 124 bytes",
    );
    check(&put(0, 0), "no index entries");
    check(&put(0, 0x1_0000), "65536 index entries, more than rpm's limit");
    check(
        &put(4, 0x1000_0000),
        "data area of 268435456 bytes, more than rpm's limit",
    );
    check(
        &put(8, 61),
        "region: an image region (tag 61) of rpm 3, which nothing signs",
    );
    check(
        &put(8, 62),
        "region: a signature region (tag 62) where a package header should be",
    );
    check(&put(16, 0xffff_fff8), "region: trailer lies outside the data");
    check(&put(20, 15), "region: its entry is not 16 bytes of type BIN");
    check(
        &put(24, 63),
        "index entry 1 (HEADERIMMUTABLE): reserved tag number",
    );
    check(&put(28, 10), "index entry 1 (NAME): unknown data type 10");
    check(&put(28, 0), "index entry 1 (NAME): unknown data type 0");
    check(&put(36, 2), "index entry 1 (NAME): count 2 does not fit the data");
    check(&put(36, 0), "index entry 1 (NAME): count 0 does not fit the data");
    check(
        &put(32, 60),
        "index entry 1 (NAME): data at offset 60 leaves its area",
    );
    check(&put(48, 5), "index entry 2 (FILEMODES): offset 5 is not aligned");
    check(
        &put(48, 2),
        "index entry 2 (FILEMODES): data at offset 2 overlaps the previous entry",
    );
    check(
        &put(52, 0xffff_ffff),
        "index entry 2 (FILEMODES): count 4294967295 does not fit the data",
    );
    check(
        &put(52, 20),
        "index entry 2 (FILEMODES): data at offset 4 leaves its area",
    );
    check(
        &put(68, 3),
        "index entry 3 (BASENAMES): data at offset 8 leaves its area",
    );
    check(
        &put(56, tag::NAME),
        "index entry 3 (NAME): tag appears twice in the region",
    );
    // A signed entry must not reach into the unsigned data behind the region, nor a dribble into the region.
    check(
        &put(64, 32),
        "index entry 3 (BASENAMES): data at offset 32 leaves its area",
    );
    check(
        &put(80, 12),
        "index entry 4 (INSTALLTIME): data at offset 12 leaves its area",
    );
    // Trailer: at data offset 13, that is byte 88 + 13 (8 + 5 * 16 = 88).
    check(
        &put(101 + 8, 80_u32.wrapping_neg() - 16),
        "region: trailer gives more entries than the header has",
    );
    check(
        &put(101 + 8, 7_u32.wrapping_neg()),
        "region: trailer does not give the size of the index",
    );
    check(
        &put(101 + 8, 0),
        "region: trailer does not give the size of the index",
    );
    check(&put(101, 62), "region: trailer does not match its entry");
}

#[test]
fn a_header_without_region_is_all_unsigned() {
    let mut blob = Vec::new();
    for field in [1_u32, 4, tag::NAME, 6, 0, 1] {
        blob.extend_from_slice(&field.to_be_bytes());
    }
    blob.extend_from_slice(b"pkg\0");
    let header = Header::parse_db(&blob).unwrap();
    assert_eq!(header.region_facts(), None);
    assert_eq!(header.signed_bytes(), None);
    assert!(!header.region().has(tag::NAME));
    assert_eq!(header.dribbles().string(tag::NAME).unwrap(), Some(&b"pkg"[..]));
}

fn shared_data(path: &str) -> Option<Vec<u8>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data")
        .join(path);
    let bytes = std::fs::read(file).ok();
    if bytes.is_none() {
        println!("skipped: no shared data ({path})");
    }
    bytes
}

#[test]
fn real_header_blobs() {
    let check = |path: &str, name: &str, n_files: usize| {
        let Some(blob) = shared_data(path) else { return };
        let header = Header::parse_db(&blob).unwrap();
        assert_eq!(header.region().string(tag::NAME).unwrap(), Some(name.as_bytes()));
        assert_eq!(header.region().count(tag::BASENAMES), n_files);
        assert_eq!(header.repeated_tags(), Vec::<u32>::new());
    };
    check("header/claircore-package.header", "crypto-policies", 152);
    check("header/go-rpmdb-blob.bin", "publicsuffix-list-dafsa", 4);
}

proptest::proptest! {
    #[test]
    fn never_panics_and_never_reads_outside(mut blob: Vec<u8>, patches: Vec<(u16, u8)>) {
        if let Ok(header) = Header::parse_db(&blob) {
            exercise(&header);
        }
        blob = sample();
        for (at, byte) in patches {
            let len = blob.len();
            blob[usize::from(at) % len] = byte;
        }
        if let Ok(header) = Header::parse_db(&blob) {
            exercise(&header);
        }
    }
}

/// Calls every accessor on every tag.
fn exercise(header: &Header) {
    for view in [header.region(), header.dribbles()] {
        for tag in view.tags() {
            let elements =
                view.strings(tag).map_or(0, Iterator::count) + view.ints(tag).map_or(0, Iterator::count);
            assert!(elements <= header.memory_bytes());
            assert!(view.bin(tag).is_ok() || view.string(tag).is_ok() || view.count(tag) > 0);
        }
    }
    if let Some(signed) = header.signed_bytes() {
        assert!(signed.len() <= header.memory_bytes() + 16);
    }
}
