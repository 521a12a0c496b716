#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};

use super::*;
use crate::index::Provenance;
use crate::pins::Pin;
use crate::testing::{key_material, shared_data, vendor_pins};

/// Options for a database of the shared data, with all keys there; one of them is no OpenPGP key.
fn options(database: &str) -> Option<ScanOptions> {
    let folder = shared_data("rpmdb")?;
    let mut options = ScanOptions::new(folder, vendor_pins());
    options.dbpath = Some(database.into());
    options.keys = key_material(&shared_data("keys")?, |_| true);
    Some(options)
}

/// What a person would be told: findings, then counts.
fn report(outcome: &ScanOutcome) -> String {
    let lines = outcome
        .findings
        .iter()
        .map(|finding| format!("{}: {finding}\n", finding.kind()));
    let s = &outcome.summary;
    let counts = format!(
        "{}: {} headers, {} keys, {} packages, {} verified, {} files, {} digests\n",
        s.backend, s.headers, s.key_headers, s.packages, s.verified, s.files, s.digests
    );
    lines.chain([counts]).collect()
}

fn check(database: &str, expected: &Expect) {
    let Some(mut options) = options(database) else {
        return;
    };
    options.threads = 2;
    let outcome = scan(&options).unwrap();
    expected.assert_eq(&report(&outcome));
    // One thread or two, through a pipe or not: the same.
    let carried = ScanOutcome::from_bytes(&outcome.to_bytes().unwrap()).unwrap();
    options.threads = 1;
    let alone = scan(&options).unwrap();
    for other in [carried, alone] {
        assert_eq!(other.index.as_bytes(), outcome.index.as_bytes());
        assert_eq!(other.findings, outcome.findings);
        assert_eq!(other.summary, outcome.summary);
    }
    assert_eq!(outcome.index.note(), stamp(&options).unwrap());
}

#[test]
fn centos_8() {
    check(
        "centos8-modularity.Packages",
        &expect![[r#"
        bdb: 518 headers, 1 keys, 517 packages, 517 verified, 63825 files, 30728 digests
    "#]],
    );
}

#[test]
fn rhel_8() {
    check(
        "rhel8-libuuid.Packages",
        &expect![[r#"
        bdb: 1 headers, 0 keys, 1 packages, 1 verified, 7 files, 3 digests
    "#]],
    );
}

#[test]
fn el_8_with_subkey_of_an_expired_key() {
    check(
        "el8-content-rpm4.18.rpmdb.sqlite",
        &expect![[r#"
        unpinned-key: signed by key 555097595f11735a, of which no key material is at hand: 1 package: remi-release-8.6-1.el8.remi.noarch
        sqlite: 12 headers, 2 keys, 10 packages, 9 verified, 275 files, 136 digests
    "#]],
    );
}

#[test]
fn el_9() {
    check(
        "el9-content-rpm4.18.rpmdb.sqlite",
        &expect![[r#"
        sqlite: 6 headers, 2 keys, 4 packages, 4 verified, 45 files, 33 digests
    "#]],
    );
}

#[test]
fn el_10_layout_with_v6_packages() {
    check(
        "el10-layout-rpm6.1.rpmdb.sqlite",
        &expect![[r#"
        unpinned-key: signed by key 12e1f31e46105918, of which no key material is at hand: 1 package: rpm-basic-1:2.3.4-5.el9.noarch
        unpinned-key: signed by key 715619ae2365d909, of which no key material is at hand: 1 package: rpm-basic-1:2.3.4-5.el9.noarch
        unsigned: not signed: 1 package: rpm-file-types-0:1.0-1.noarch
        sqlite: 10 headers, 6 keys, 4 packages, 2 verified, 31 files, 20 digests
    "#]],
    );
}

#[test]
fn a_forged_digest_is_not_trusted_and_the_package_is_named() {
    let Some(options) = options("el9-TAMPERED-dribble-filedigests.rpmdb.sqlite") else {
        return;
    };
    let outcome = scan(&options).unwrap();
    expect![[r#"
        rpmdb-tampered: almalinux-release-9.3-1.el9.x86_64: unsigned entries repeat signed tags FILEDIGESTS; the signed values are used
        sqlite: 6 headers, 2 keys, 4 packages, 4 verified, 45 files, 33 digests
    "#]]
    .assert_eq(&report(&outcome));
    assert!(outcome.findings[0].is_alarm());

    // Every digest that only the dribble has is missing from the index; the index is that of the clean database.
    let db = RpmDb::open_file(&options.root.join(options.dbpath.as_ref().unwrap()), None).unwrap();
    let mut n_forged = 0;
    db.for_each(&mut |record| {
        let header = Header::parse_db(&record.unwrap().1).unwrap();
        let signed: Vec<&[u8]> = header.region().strings(tag::FILEDIGESTS).unwrap().collect();
        for digest in header.dribbles().strings(tag::FILEDIGESTS).unwrap() {
            if !digest.is_empty() && !signed.contains(&digest) {
                n_forged += 1;
                let forged: [u8; 32] = hex::decode(digest).unwrap().try_into().unwrap();
                assert!(outcome.index.lookup(&forged).is_none());
            }
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(n_forged > 0, "the test data has no forged digest");
    let clean = scan(&self::options("el9-content-rpm4.18.rpmdb.sqlite").unwrap()).unwrap();
    let digests = |outcome: &ScanOutcome| outcome.index.digests().collect::<Vec<_>>();
    assert_eq!(digests(&outcome), digests(&clean));
}

#[test]
fn the_databases_own_keys_are_enough_if_they_are_pinned() {
    let Some(mut options) = options("el9-content-rpm4.18.rpmdb.sqlite") else {
        return;
    };
    options.keys.clear();
    assert_eq!(scan(&options).unwrap().summary.verified, 4);
    options.use_database_keys = false;
    expect![[r#"
        unpinned-key: signed by key 8a3872bf3228467c, of which no key material is at hand: 1 package: epel-release-9-8.el9.noarch
        unpinned-key: signed by key d36cb86cb86b3716, of which no key material is at hand: 3 packages: almalinux-gpg-keys-9.3-1.el9.x86_64, almalinux-release-9.3-1.el9.x86_64, almalinux-repos-9.3-1.el9.x86_64
        sqlite: 6 headers, 2 keys, 4 packages, 0 verified, 0 files, 0 digests
    "#]]
    .assert_eq(&report(&scan(&options).unwrap()));
}

#[test]
fn an_imported_key_that_is_not_pinned_is_one_finding() {
    let Some(mut options) = options("el9-content-rpm4.18.rpmdb.sqlite") else {
        return;
    };
    options.keys.clear();
    options.pins = Pins::default();
    expect![[r#"
        unpinned-key: signed by key FF8AD1344597106ECE813B918A3872BF3228467C (Fedora (epel9) <epel@fedoraproject.org>), which is not pinned: 1 package: epel-release-9-8.el9.noarch
        unpinned-key: signed by key BF18AC2876178908D6E71267D36CB86CB86B3716 (AlmaLinux OS 9 <packager@almalinux.org>), which is not pinned: 3 packages: almalinux-gpg-keys-9.3-1.el9.x86_64, almalinux-release-9.3-1.el9.x86_64, almalinux-repos-9.3-1.el9.x86_64
        sqlite: 6 headers, 2 keys, 4 packages, 0 verified, 0 files, 0 digests
    "#]]
    .assert_eq(&report(&scan(&options).unwrap()));
}

#[test]
fn a_key_vouches_only_inside_its_scope() {
    let Some(mut options) = options("el9-content-rpm4.18.rpmdb.sqlite") else {
        return;
    };
    options.pins = Pins::from_toml(
        "vendor = 'almalinux'\n[[key]]\nname = 'Alma 9'\nfingerprint = 'BF18AC2876178908D6E71267D36CB86CB86B3716'\nscope = ['*-release', '*-repos']",
        "test",
    )
    .unwrap();
    expect![[r#"
        out-of-scope: signed by Alma 9 (BF18AC2876178908D6E71267D36CB86CB86B3716), whose scope does not cover them: 1 package: almalinux-gpg-keys-9.3-1.el9.x86_64
        unpinned-key: signed by key FF8AD1344597106ECE813B918A3872BF3228467C (Fedora (epel9) <epel@fedoraproject.org>), which is not pinned: 1 package: epel-release-9-8.el9.noarch
        sqlite: 6 headers, 2 keys, 4 packages, 2 verified, 35 files, 25 digests
    "#]]
    .assert_eq(&report(&scan(&options).unwrap()));
}

#[test]
fn replaced_digests_stay_retired_until_the_caller_drops_them() {
    let Some(old) = options("el8-content-rpm4.18.rpmdb.sqlite") else {
        return;
    };
    let old = scan(&old).unwrap().index;
    let mut options = options("el9-content-rpm4.18.rpmdb.sqlite").unwrap();
    let fresh = scan(&options).unwrap().index;
    options.retire = Some(old.clone());
    let index = scan(&options).unwrap().index;
    let mut n_retired = 0;
    for digest in old.digests() {
        let expected = match fresh.lookup(&digest.sha256) {
            Some(_) => Some(Provenance::Verified),
            None if digest.class.may_execute() => Some(Provenance::Retired),
            None => None,
        };
        let found = index.lookup(&digest.sha256);
        assert_eq!(found.map(|owner| owner.provenance()), expected);
        if expected == Some(Provenance::Retired) {
            n_retired += 1;
            assert!(found.unwrap().package().is_retired());
        }
    }
    assert!(n_retired > 0);
    // Retired digests stay retired in the next round, too.
    options.retire = Some(index.clone());
    assert_eq!(scan(&options).unwrap().index.as_bytes(), index.as_bytes());
}

/// The mathematics is done once for each signature, as long as nobody else's count.
#[test]
fn a_second_scan_computes_only_what_is_new() {
    let Some(mut options) = options("centos8-modularity.Packages") else {
        return;
    };
    let counts = |proven: &Proven| (proven.n_computed(), proven.n_recalled(), proven.n_facts());
    let (first, proven) = rescan(&options, &Proven::default()).unwrap();
    assert_eq!(counts(&proven), (517, 0, 517));
    let through_a_pipe = Proven::from_bytes(&proven.to_bytes()).unwrap();
    let (second, again) = rescan(&options, &through_a_pipe).unwrap();
    assert_eq!(counts(&again), (0, 517, 517));
    for outcome in [&second, &scan(&options).unwrap()] {
        assert_eq!(outcome.index.as_bytes(), first.index.as_bytes());
        assert_eq!(outcome.findings, first.findings);
        assert_eq!(outcome.summary, first.summary);
    }
    // Another database: nothing of it is known, and what is gone is forgotten.
    let small = self::options("el8-content-rpm4.18.rpmdb.sqlite").unwrap();
    let (_, other) = rescan(&small, &Proven::default()).unwrap();
    let n_small = other.n_facts();
    // Key headers of the database are key material, too: so the facts of both are not exchangeable.
    let (_, other) = rescan(&small, &proven).unwrap();
    assert_eq!(counts(&other), (n_small as u64, 0, n_small));

    // One key less: all is computed anew, and what it vouched for is gone.
    let mut pins = Pins::default();
    for pin in options.pins.iter().filter(|pin| pin.vendor != "epel") {
        pins.add(Pin::clone(pin)).unwrap();
    }
    options.pins = pins;
    let (_, fewer) = rescan(&options, &proven).unwrap();
    assert_eq!(counts(&fewer), (517, 0, 517));
    let mut pins = Pins::default();
    for pin in options.pins.iter().filter(|pin| pin.vendor != "centos") {
        pins.add(Pin::clone(pin)).unwrap();
    }
    options.pins = pins;
    let (outcome, none) = rescan(&options, &proven).unwrap();
    assert_eq!((outcome.summary.verified, counts(&none)), (0, (0, 0, 0)));
    // Other key material.
    let mut options = self::options("centos8-modularity.Packages").unwrap();
    options.keys.pop();
    let (_, other) = rescan(&options, &proven).unwrap();
    assert_eq!(counts(&other), (517, 0, 517));
}

#[test]
fn the_index_answers_for_real_packages() {
    let Some(options) = options("centos8-modularity.Packages") else {
        return;
    };
    let index = scan(&options).unwrap().index;
    let bash = index.expected(b"/bin/bash");
    assert_eq!(bash.len(), 1);
    let owner = bash[0];
    assert_eq!(owner.path(), b"/usr/bin/bash");
    assert_eq!(owner.mode(), 0o100_755);
    assert!(owner.class().elf && owner.class().exec_bit && !owner.is_config());
    let package = owner.package();
    assert_eq!(package.nevra().to_string(), "bash-4.4.19-10.el8.x86_64");
    assert_eq!(package.vendor(), Some("CentOS"));
    assert_eq!(package.signer().pin_name, "CentOS Official");
    assert_eq!(
        package.signer().signing_key,
        "99DB70FAE1D7CE227FB6488205B555B38483C65D"
    );
    assert_eq!(package.source_rpm(), Some("bash-4.4.19-10.el8.src.rpm"));
    let same = index.lookup(&owner.sha256().unwrap()).unwrap();
    assert_eq!(same.path(), owner.path());
    assert!(index.expected(b"/etc/passwd")[0].is_config());
    assert!(index.expected(b"/usr/bin/no-such-program").is_empty());
    assert!(index.lookup(&[0; 32]).is_none());
    assert_eq!(
        index.expected(b"/usr/bin/ping")[0].capabilities(),
        Some("= cap_net_admin,cap_net_raw+p")
    );
    let per_file = index.memory_bytes() / index.n_files();
    assert!(per_file <= 100, "{per_file} bytes per file");
}

#[test]
fn what_cannot_be_scanned_is_an_error_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let options = ScanOptions::new(folder.path().join("absent"), Pins::default());
    let text = chain(&scan(&options).unwrap_err()).replace(&folder.path().display().to_string(), "ROOT");
    assert_eq!(
        text,
        "ROOT/absent: cannot open the root directory: No such file or directory (os error 2)"
    );
    let options = ScanOptions::new(folder.path(), Pins::default());
    assert!(matches!(
        scan(&options),
        Err(ScanError::Db(DbError::Missing { .. }))
    ));
    assert_eq!(key_files(folder.path()).unwrap().len(), 0);
}

#[test]
fn keys_are_read_from_the_systems_directory() {
    let Some(keys) = shared_data("keys") else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("etc/pki/rpm-gpg");
    std::fs::create_dir_all(target.join("directory")).unwrap();
    std::fs::copy(keys.join("RPM-GPG-KEY-AlmaLinux-9"), target.join("key")).unwrap();
    std::os::unix::fs::symlink("key", target.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/absent", target.join("dangling")).unwrap();
    let found = key_files(folder.path()).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].bytes, found[1].bytes);
}

#[test]
fn broken_outcomes_are_errors() {
    let check = |bytes: &[u8], expected: &str| {
        assert_eq!(chain(&ScanOutcome::from_bytes(bytes).unwrap_err()), expected);
    };
    check(b"", "scan outcome: not one, or cut short after 0 bytes");
    check(
        b"HPSCAN01\xff\xff\xff\xff\xff\xff\xff\xff{}",
        "scan outcome: not one, or cut short after 18 bytes",
    );
    check(
        b"HPSCAN01\x02\0\0\0\0\0\0\0{}",
        "scan outcome: report: missing field `findings` at line 1 column 2",
    );
}
