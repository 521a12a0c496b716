use std::collections::BTreeSet;

use super::*;

/// Writes a database with one record for each value: values up to `inline` bytes on the bucket page. One bucket.
fn build(values: &[(u32, Vec<u8>)], big_endian: bool, page_bytes: usize) -> Vec<u8> {
    let u16 = |value: usize| {
        let value = u16::try_from(value).unwrap();
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let u32 = |value: u32| {
        if big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let inline = page_bytes / 4;
    let mut pages: Vec<Vec<u8>> = vec![vec![0; page_bytes], vec![0; page_bytes]];
    let mut items: Vec<Vec<u8>> = vec![[&[1][..], &u32(0)].concat(), [&[1][..], &u32(99)].concat()];
    for (number, value) in values {
        items.push([&[1][..], &u32(*number)].concat());
        if value.len() <= inline {
            items.push([&[1][..], value].concat());
            continue;
        }
        let first = u32::try_from(pages.len()).unwrap();
        items.push(
            [
                &[3, 0, 0, 0][..],
                &u32(first),
                &u32(u32::try_from(value.len()).unwrap()),
            ]
            .concat(),
        );
        let chunks: Vec<&[u8]> = value.chunks(page_bytes - PAGE_HEADER_BYTES).collect();
        for (position, chunk) in chunks.iter().enumerate() {
            let number = u32::try_from(pages.len()).unwrap();
            let mut page = vec![0; page_bytes];
            page[8..12].copy_from_slice(&u32(number));
            let next = if position + 1 == chunks.len() {
                0
            } else {
                number + 1
            };
            page[16..20].copy_from_slice(&u32(next));
            page[22..24].copy_from_slice(&u16(chunk.len()));
            page[25] = PAGE_OVERFLOW;
            page[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + chunk.len()].copy_from_slice(chunk);
            pages.push(page);
        }
    }
    let last = u32::try_from(pages.len() - 1).unwrap();
    let meta = &mut pages[0];
    meta[12..16].copy_from_slice(&u32(HASH_MAGIC));
    meta[16..20].copy_from_slice(&u32(HASH_VERSION));
    meta[20..24].copy_from_slice(&u32(u32::try_from(page_bytes).unwrap()));
    meta[25] = PAGE_HASH_META;
    meta[32..36].copy_from_slice(&u32(last));
    meta[96..100].copy_from_slice(&u32(1));
    let bucket = &mut pages[1];
    bucket[8..12].copy_from_slice(&u32(1));
    bucket[20..22].copy_from_slice(&u16(items.len()));
    bucket[25] = PAGE_HASH;
    let mut end = page_bytes;
    for (position, item) in items.iter().enumerate() {
        let start = end - item.len();
        bucket[start..end].copy_from_slice(item);
        let at = PAGE_HEADER_BYTES + 2 * position;
        bucket[at..at + 2].copy_from_slice(&u16(start));
        end = start;
    }
    pages.concat()
}

fn values() -> Vec<(u32, Vec<u8>)> {
    vec![
        (1, b"small".to_vec()),
        (2, vec![7; 5000]),
        (9, (0..=255).cycle().take(4096 - 26).collect()),
    ]
}

#[test]
fn records_of_both_byte_orders_and_several_page_sizes() {
    for big_endian in [false, true] {
        for page_bytes in [512, 4096, 65536 / 2] {
            let file = build(&values(), big_endian, page_bytes);
            let found: Vec<_> = Records::open(&file[..]).unwrap().map(Result::unwrap).collect();
            assert_eq!(found, values(), "{page_bytes} bytes, big endian: {big_endian}");
        }
    }
}

#[test]
fn damage_is_named_with_its_page() {
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut file = build(&values(), false, 512);
        change(&mut file);
        let error = match Records::open(&file[..]) {
            Err(error) => error,
            Ok(records) => records
                .map(Result::err)
                .find_map(|error| error)
                .expect("no error found"),
        };
        assert_eq!(error.to_string(), expected);
    };
    check(
        &|file| file.truncate(100),
        "truncated: 512 bytes expected, 100 there",
    );
    check(
        &|file| file.truncate(2048),
        "truncated: 11264 bytes expected, 2048 there",
    );
    check(&|file| file[12] = 0, "no BerkeleyDB hash database");
    check(&|file| file[16] = 8, "hash version 8, only 9 is read");
    check(
        &|file| file[24] = 1,
        "pages are encrypted or checksummed, which rpm never does",
    );
    check(
        &|file| file[25] = 9,
        "page 0 (offset 0x0): type is not hash metadata",
    );
    check(&|file| file[21] = 3, "page 0 (offset 0x0): impossible page size");
    check(
        &|file| file[72] = 200,
        "page 0 (offset 0x0): more buckets than pages",
    );
    check(
        &|file| file[96] = 200,
        "page 200 (offset 0x19000): page number out of range",
    );
    check(
        &|file| file[512 + 8] = 2,
        "page 1 (offset 0x200): page carries another number",
    );
    check(
        &|file| file[512 + 16] = 1,
        "page 2 (offset 0x400): values longer than the file: overflow pages are shared",
    );
    check(
        &|file| file[512 + 20] = 255,
        "page 1 (offset 0x200): impossible number of items",
    );
    check(
        &|file| file[512 + 25] = 5,
        "page 1 (offset 0x200): not a hash page",
    );
    check(
        &|file| file[512 + 27] = 255,
        "page 1 (offset 0x200): item out of bounds",
    );
    check(
        &|file| file[512 + 26] -= 1,
        "page 1 (offset 0x200): key is not a header number",
    );
    check(
        &|file| file[1024 + 25] = 1,
        "page 2 (offset 0x400): not an overflow page",
    );
    check(
        &|file| file[1024 + 16] = 2,
        "page 2 (offset 0x400): overflow page of impossible length",
    );
    check(
        &|file| file[1024 + 22..1024 + 24].fill(0),
        "page 2 (offset 0x400): overflow page of impossible length",
    );
    check(
        &|file| file[1024 + 22..1024 + 24].fill(255),
        "page 2 (offset 0x400): overflow page of impossible length",
    );
}

#[test]
fn circular_chains_of_bucket_pages_end() {
    let mut file = build(&values()[..1], false, 512);
    file[512 + 16] = 1;
    let records: Vec<_> = Records::open(&file[..]).unwrap().collect();
    assert_eq!(records.len(), 2);
    assert_eq!(
        records[1].as_ref().unwrap_err().to_string(),
        "page 1 (offset 0x200): more bucket pages than pages: the chains are circular"
    );
}

#[test]
fn an_unreadable_record_does_not_hide_the_next() {
    let mut file = build(&values(), false, 512);
    file[1024 + 25] = 1;
    let found: Vec<_> = Records::open(&file[..])
        .unwrap()
        .map(|record| record.map(|(number, _)| number))
        .collect();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], Ok(1));
    assert!(found[1].is_err());
    assert_eq!(found[2], Ok(9));
}

#[test]
fn one_overflow_chain_cannot_be_read_again_and_again() {
    // Twenty records that all point to the same 5000 bytes.
    let values: Vec<_> = (1..=20).map(|number| (number, vec![7; 5000])).collect();
    let mut file = build(&values[..1], false, 512);
    let many = build(&values, false, 512);
    file[512..1024].copy_from_slice(&many[512..1024]);
    let mut end = 512 + 512 - 10;
    for _ in 0..20 {
        end -= 5 + 12;
        file[end + 4] = 2;
        file[end + 5..end + 8].fill(0);
    }
    let read: usize = Records::open(&file[..])
        .unwrap()
        .filter_map(Result::ok)
        .map(|(_, value)| value.len())
        .sum();
    assert!(read <= file.len(), "{read} bytes from a file of {}", file.len());
}

#[test]
fn the_buckets_of_real_databases_hold_every_hash_page() {
    for (name, n_headers) in [
        ("rhel8-libuuid.Packages", 1),
        ("centos8-modularity.Packages", 518),
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../shared/data/rpmdb")
            .join(name);
        let Ok(file) = std::fs::read(path) else {
            println!("skipped: no shared data ({name})");
            continue;
        };
        let numbers: BTreeSet<u32> = Records::open(&file[..])
            .unwrap()
            .map(|record| record.unwrap().0)
            .collect();
        assert_eq!(numbers.len(), n_headers);
        // The same by looking at all pages, linked or not.
        let mut records = Records::open(&file[..]).unwrap();
        let mut found = BTreeSet::new();
        for page in 1..=records.meta.last_page {
            let mut bytes = vec![0; records.meta.page_bytes];
            records.read_page(page, &mut bytes).unwrap();
            if matches!(bytes[25], PAGE_HASH | PAGE_HASH_UNSORTED) {
                (records.page, records.page_number) = (bytes, page);
                found.extend(records.items().unwrap().into_iter().map(|(number, _)| number));
            }
        }
        assert_eq!(found, numbers);
    }
}

proptest::proptest! {
    #[test]
    fn never_panics_and_ends(patches: Vec<(u16, u8)>, big_endian: bool) {
        let mut file = build(&values(), big_endian, 512);
        let len = file.len();
        for (at, byte) in patches {
            file[usize::from(at) % len] = byte;
        }
        if let Ok(records) = Records::open(&file[..]) {
            assert!(records.count() < 10_000);
        }
    }
}
