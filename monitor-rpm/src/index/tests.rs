use std::sync::OnceLock;

use super::codec::{FILE_BYTES, HEADER_BYTES, MAGIC, VERSION};
use super::*;
use crate::files::{FileEntry, FileFlags};
use crate::scan::{ScanOptions, scan};
use crate::testing::{key_material, shared_data, vendor_pins};

/// The index of a small real database.
fn real_index() -> Option<&'static DigestIndex> {
    static INDEX: OnceLock<Option<DigestIndex>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut options = ScanOptions::new(shared_data("rpmdb")?, vendor_pins());
        options.dbpath = Some("el8-content-rpm4.18.rpmdb.sqlite".into());
        options.keys = key_material(&shared_data("keys")?, |name| !name.contains("IMA"));
        Some(scan(&options).unwrap().index)
    });
    index.as_ref()
}

#[test]
fn an_empty_index_knows_nothing() {
    let mut builder = IndexBuilder::new();
    builder.set_note("built from nothing");
    let index = builder.finish().unwrap();
    assert_eq!(
        (index.n_files(), index.n_digests(), index.n_packages()),
        (0, 0, 0)
    );
    assert_eq!(index.note(), "built from nothing");
    assert!(index.lookup(&[0; 32]).is_none());
    assert!(index.expected(b"/").is_empty());
    assert!(index.expected(b"").is_empty());
    let again = DigestIndex::decode(index.as_bytes().to_vec()).unwrap();
    assert_eq!(again.note(), index.note());
}

#[test]
fn every_file_is_found_by_path_and_by_digest() {
    let Some(index) = real_index() else { return };
    let mut n_digests = 0;
    for owner in index.files() {
        let at_path = index.expected(&owner.path());
        assert!(
            at_path
                .iter()
                .any(|found| found.package().number() == owner.package().number())
        );
        if let Some(sha256) = owner.sha256() {
            n_digests += 1;
            assert!(index.owners(&sha256).any(|found| found.path() == owner.path()));
            assert!(index.lookup(&sha256).is_some());
        }
    }
    assert!(n_digests > 100);
    let sorted: Vec<_> = index.digests().map(|digest| digest.sha256).collect();
    assert!(sorted.is_sorted() && sorted.len() == index.n_digests());
    let packages: Vec<_> = index.packages().map(|package| package.nevra()).collect();
    assert!(packages.is_sorted());
    assert!(
        index
            .packages()
            .all(|package| package.signer().fingerprint().is_some())
    );
}

#[test]
fn damaged_indexes_are_refused() {
    let Some(index) = real_index() else { return };
    let good = index.as_bytes().to_vec();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(DigestIndex::decode(bytes).unwrap_err().to_string(), expected);
    };
    check(&|bytes| bytes.clear(), "not a digest index");
    check(&|bytes| bytes[0] = 0, "not a digest index");
    check(&|bytes| bytes[8] = 99, "index layout 99, this program reads 1");
    check(&|bytes| bytes.truncate(100), "truncated index: 100 bytes");
    check(
        &|bytes| *bytes.last_mut().unwrap() ^= 1,
        "checksum does not match: the index is damaged",
    );
    check(
        &|bytes| bytes.truncate(1000),
        "checksum does not match: the index is damaged",
    );
    let resealed_check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        check(
            &|bytes| {
                change(bytes);
                *bytes = reseal(std::mem::take(bytes));
            },
            &format!("inconsistent index: {expected}"),
        );
    };
    resealed_check(&|bytes| bytes.push(0), "bytes behind the last section");
    resealed_check(&|bytes| bytes.truncate(1000), "section table");
    resealed_check(&|bytes| bytes[44] ^= 1, "section table");
    // Sections in order: files is the seventh, digests the eighth.
    let section = |number: usize| {
        let at = 44 + 16 * number;
        usize::try_from(u64::from_le_bytes(good[at..at + 8].try_into().unwrap())).unwrap()
    };
    let (files, digests, facts) = (section(6), section(7), section(8));
    resealed_check(&|bytes| bytes[files + 3] = 9, "directory or package of a file");
    resealed_check(&|bytes| bytes[files + 7] = 9, "name of a file");
    resealed_check(&|bytes| bytes[files + 11] = 9, "directory or package of a file");
    resealed_check(&|bytes| bytes[files + 15] = 9, "digest of a file");
    resealed_check(&|bytes| bytes[files + 19] = 9, "provenance of a file");
    resealed_check(
        &|bytes| {
            let (first, second) = bytes[files..files + 60 * FILE_BYTES].split_at_mut(59 * FILE_BYTES);
            first[..FILE_BYTES].swap_with_slice(second);
        },
        "order of files",
    );
    resealed_check(&|bytes| bytes[digests] = 255, "order of digests");
    resealed_check(&|bytes| bytes[facts] = 1, "files of a digest");
    resealed_check(&|bytes| bytes[section(4) + 3] = 9, "directory");
    // Found by fuzzing: paths that no look-up finds again. A text in the pool has its length in front.
    let in_pool = |at: usize| {
        let at =
            section(5) + usize::try_from(u32::from_le_bytes(good[at..at + 4].try_into().unwrap())).unwrap();
        let len = usize::from(u16::from_le_bytes([good[at], good[at + 1]]));
        (at + 2, at + 1 + len)
    };
    resealed_check(
        &|bytes| bytes[in_pool(section(4)).1] = b'x',
        "directory without a slash at its end",
    );
    resealed_check(&|bytes| bytes[in_pool(files + 4).0] = b'/', "name of a file");
    resealed_check(&|bytes| bytes[section(3) + 3] = 9, "text of a package");
    resealed_check(&|bytes| bytes[section(3) + 31] = 9, "signer of a package");
    resealed_check(&|bytes| bytes[section(2) + 3] = 9, "text of a signer");
}

#[test]
fn classes_of_files() {
    let check = |name: &str, mode: u32, class: &str, color: u32, expected: &str| {
        let entry = FileEntry {
            dir: b"/usr/lib/",
            name: name.as_bytes(),
            digest: None,
            size: 0,
            mode,
            mtime: 0,
            user: b"root",
            group: b"root",
            flags: FileFlags(0),
            verify_flags: u32::MAX,
            link_to: b"",
            rdev: 0,
            caps: None,
            color,
            class: class.as_bytes(),
            inode: 0,
        };
        let flags = build::class_flags(&entry);
        let record = FileRecord {
            number: 0,
            dir: 0,
            name: 0,
            package: 0,
            digest: 0,
            mode: 0,
            flags,
        };
        let class = record.class();
        let names = [
            (class.exec_bit, "exec"),
            (class.elf, "elf"),
            (class.script, "script"),
            (class.kernel_module, "module"),
        ];
        let found: Vec<_> = names
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| *name)
            .collect();
        assert_eq!(found.join(" "), expected, "{name}");
        assert_eq!(class.may_execute(), !expected.is_empty());
    };
    let elf = "ELF 64-bit LSB shared object, x86-64, version 1 (SYSV), dynamically linked";
    check("bash", 0o100_755, elf, 2, "exec elf");
    check("libc.so.6", 0o100_644, elf, 2, "elf");
    check("libc.so.6", 0o100_644, "", 1, "elf");
    check(
        "yum",
        0o100_755,
        "Python script, ASCII text executable",
        0,
        "exec script",
    );
    check(
        "helper",
        0o100_644,
        "Bourne-Again shell script, ASCII text executable",
        0,
        "script",
    );
    check(
        "tool.pl",
        0o100_644,
        "a /usr/bin/perl script, ASCII text executable",
        0,
        "script",
    );
    check("README", 0o100_644, "ASCII text", 0, "");
    check("ext4.ko.xz", 0o100_644, "XZ compressed data", 0, "module");
    check(
        "ext4.ko",
        0o100_644,
        "ELF 64-bit LSB relocatable",
        2,
        "elf module",
    );
    check("dir", 0o040_755, "directory", 0, "");
    check("link", 0o120_777, "", 0, "");
}

#[test]
fn usr_merge_names() {
    let check = |path: &str, expected: Option<&str>| {
        let found = usr_merge_alias(path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(found.as_deref(), expected);
    };
    check("/bin/sh", Some("/usr/bin/sh"));
    check("/usr/bin/sh", Some("/bin/sh"));
    check("/lib64/libc.so.6", Some("/usr/lib64/libc.so.6"));
    check("/usr/sbin/ip", Some("/sbin/ip"));
    check("/usr/share/doc", None);
    check("/opt/bin/x", None);
    check("/usr", None);
    check("/libexec/x", None);
}

proptest::proptest! {
    /// Whatever is in the sections: no panic, neither in the check nor in any accessor.
    #[test]
    fn decoding_is_total(patches: Vec<(u32, u8)>, tail: Vec<u8>) {
        let mut bytes = real_index().map_or_else(
            || IndexBuilder::new().finish().unwrap().as_bytes().to_vec(),
            |index| index.as_bytes().to_vec(),
        );
        bytes.extend_from_slice(&tail);
        let len = bytes.len();
        for (at, byte) in patches {
            bytes[at as usize % len] = byte;
        }
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        proptest::prop_assert!(bytes.len() >= HEADER_BYTES);
        if let Ok(index) = DigestIndex::decode(reseal(bytes)) {
            for owner in index.files() {
                index.expected(&owner.path());
                owner.package().nevra();
                owner.capabilities();
            }
            assert!(index.digests().count() <= index.n_digests());
            assert!(index.packages().all(|package| package.signer().pin_name.len() < 70_000));
        }
    }
}
