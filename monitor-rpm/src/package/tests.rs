#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::expect;

use super::*;
use crate::header::tag::TagName;
use crate::pins::{Glob, Pin, Pins};
use crate::signature::KeyMaterial;
use crate::testing::{files, key_material, shared_data, vendor_pins};

/// One line about a package.
fn line(keyring: &Keyring, bytes: &[u8]) -> String {
    let report = match check_package(keyring, bytes) {
        Ok(report) => report,
        Err(error) => return crate::scan::chain(&error),
    };
    let answer = match &report.checked.header {
        Ok(header) => {
            let signers: Vec<String> = header
                .signers()
                .iter()
                .map(|signer| {
                    let subkey = if signer.key == signer.pin.fingerprint {
                        ""
                    } else {
                        " (subkey)"
                    };
                    format!(
                        "{}{subkey} v{} {} {}",
                        signer.pin.name,
                        signer.version,
                        signer.hash,
                        TagName(signer.tag)
                    )
                })
                .collect();
            signers.join(" + ")
        }
        Err(refusal) => refusal.to_string(),
    };
    format!("{}: {answer}; payload {:?}", report.nevra, report.payload)
}

/// A line for each package of a directory and its subdirectories.
fn lines(keyring: &Keyring, folder: &std::path::Path) -> String {
    let mut folders = vec![folder.to_owned()];
    let mut lines = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        for file in files(&folder)
            .iter()
            .filter(|file| file.extension().is_some_and(|end| end == "rpm"))
        {
            lines.push(format!("{}\n", line(keyring, &std::fs::read(file).unwrap())));
        }
    }
    lines.sort();
    lines.concat()
}

#[test]
fn real_packages_of_vendors() {
    let (Some(folder), Some(keys)) = (shared_data("rpms/v4-real"), shared_data("keys")) else {
        return;
    };
    let (keyring, _) = Keyring::build(&vendor_pins(), &key_material(&keys, |_| true));
    expect![[r#"
        almalinux-gpg-keys-9.3-1.el9.x86_64: AlmaLinux 9 v4 SHA256 RSAHEADER; payload Good([Sha256])
        almalinux-release-8.9-1.el8.aarch64: AlmaLinux 8 (2021) (subkey) v4 SHA256 RSAHEADER; payload Good([Sha256])
        almalinux-release-8.9-1.el8.x86_64: AlmaLinux 8 (2021) (subkey) v4 SHA256 RSAHEADER; payload Good([Sha256])
        almalinux-release-9.3-1.el9.x86_64: AlmaLinux 9 v4 SHA256 RSAHEADER; payload Good([Sha256])
        almalinux-repos-9.3-1.el9.x86_64: AlmaLinux 9 v4 SHA256 RSAHEADER; payload Good([Sha256])
        centos-release-7-2.1511.el7.centos.2.10.x86_64: CentOS 7 v3 SHA256 RSAHEADER; payload NotCovered
        crypto-policies-20210617-1.gitc776d3e.el8.noarch: Red Hat release key 2 v3 SHA256 RSAHEADER; payload Good([Sha256])
        epel-release-7-14.noarch: EPEL 7 v4 SHA256 RSAHEADER; payload NotCovered
        epel-release-8-16.el8.noarch: EPEL 8 v4 SHA256 RSAHEADER; payload Good([Sha256])
        epel-release-9-8.el9.noarch: EPEL 9 v4 SHA256 RSAHEADER; payload Good([Sha256])
        fedora-release-common-40-0.2.noarch: not signed; payload Good([Sha256])
        remi-release-8.6-1.el8.remi.noarch: no good signature by a pinned key; payload Good([Sha256])
        testpkg-1.0-1.x86_64: no good signature by a pinned key; payload Good([Sha256])
        thai-scalable-fonts-common-0.6.5-1.el8.noarch: AlmaLinux 8 (2021) (subkey) v4 SHA256 RSAHEADER; payload Good([Sha256])
        usbguard-selinux-1.0.0-13.el8.noarch: AlmaLinux 8 (2021) (subkey) v4 SHA256 RSAHEADER; payload Good([Sha256])
        vim-filesystem-2:8.0.1763-19.el8_6.4.noarch: AlmaLinux 8 (2021) (subkey) v4 SHA256 RSAHEADER; payload Good([Sha256])
    "#]].assert_eq(&lines(&keyring, &folder));
}

/// Pins every primary key in the material.
fn pin_all(material: &[KeyMaterial]) -> Pins {
    let mut pins = Pins::default();
    for key in material {
        let packets = crate::openpgp::dearmor(&key.bytes).unwrap();
        for certificate in crate::openpgp::certificates(&packets).0 {
            pins.add(Pin {
                fingerprint: certificate.primary.fingerprint(),
                name: certificate.claimed_user_id(),
                vendor: "test".into(),
                releases: Vec::new(),
                scope: vec![Glob::new("*")],
                legacy: false,
                source: "test".into(),
            })
            .unwrap();
        }
    }
    pins
}

#[test]
fn packages_of_every_algorithm_and_both_formats() {
    let (Some(folder), Some(keys)) = (
        shared_data("rpms/rpm-rs/RPMS"),
        shared_data("rpms/rpm-rs/signing_keys"),
    ) else {
        return;
    };
    let mut material = key_material(&keys.join("v4"), |name| !name.contains("protected"));
    material.extend(key_material(&keys.join("v6"), |_| true));
    let (keyring, findings) = Keyring::build(&pin_all(&material), &material);
    assert_eq!(findings, []);
    expect![[r#"
        rpm-basic-1:2.3.4-5.el9.noarch: <rpm-testkey-v6-ed25519@example.org> (subkey) v6 SHA512 OPENPGP + <rpm-testkey-v6-rsa4k@example.org> (subkey) v6 SHA512 OPENPGP; payload Good([Sha256, Sha512, Sha3_256])
        rpm-basic-1:2.3.4-5.el9.noarch: <rpm-testkey-v6-ed25519@example.org> (subkey) v6 SHA512 OPENPGP; payload Good([Sha256, Sha512, Sha3_256])
        rpm-basic-1:2.3.4-5.el9.noarch: <rpm-testkey-v6-mldsa65-ed25519@example.org> (subkey) v6 SHA512 OPENPGP; payload Good([Sha256, Sha512, Sha3_256])
        rpm-basic-1:2.3.4-5.el9.noarch: <rpm-testkey-v6-rsa4k@example.org> (subkey) v6 SHA512 OPENPGP; payload Good([Sha256, Sha512, Sha3_256])
        rpm-basic-1:2.3.4-5.el9.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-basic-1:2.3.4-5.el9.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-basic-1:2.3.4-5.el9.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-basic-1:2.3.4-5.el9.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-basic-1:2.3.4-5.el9.noarch: not signed; payload Good([Sha256])
        rpm-basic-1:2.3.4-5.el9.noarch: rpm-testkey-v4-ecdsa-nistp256 <rpm-testkey-v4-ecdsa-nistp256@example.com> v4 SHA256 DSAHEADER; payload Good([Sha256])
        rpm-basic-1:2.3.4-5.el9.noarch: rpm-testkey-v4-ed25519 <rpm-testkey-v4-ed25519@example.com> v4 SHA512 DSAHEADER + rpm-testkey-v4-ed25519 <rpm-testkey-v4-ed25519@example.com> v4 SHA512 OPENPGP + rpm-testkey-v4-ecdsa-nistp256 <rpm-testkey-v4-ecdsa-nistp256@example.com> v4 SHA256 OPENPGP + rpm-testkey-v4-rsa4096 <rpm-testkey-v4-rsa4096@example.com> v4 SHA512 OPENPGP; payload Good([Sha256])
        rpm-basic-1:2.3.4-5.el9.noarch: rpm-testkey-v4-ed25519 <rpm-testkey-v4-ed25519@example.com> v4 SHA512 DSAHEADER; payload Good([Sha256])
        rpm-basic-1:2.3.4-5.el9.noarch: rpm-testkey-v4-rsa4096 <rpm-testkey-v4-rsa4096@example.com> v4 SHA512 RSAHEADER; payload Good([Sha256])
        rpm-empty-0-0.x86_64: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-empty-0-0.x86_64: not signed; payload Good([Sha256])
        rpm-file-attrs-1.0-1.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-file-types-0:1.0-1.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-hardlinks-1.0-1.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-i18n-1.0-1.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-rich-deps-1.0-1.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-scriptlets-1.0-1.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
        rpm-with-patch-1.0-0.noarch: not signed; payload Good([Sha256, Sha512, Sha3_256])
    "#]].assert_eq(&lines(&keyring, &folder));
}

#[test]
fn a_changed_payload_or_header_is_seen() {
    let Some(package) = shared_data("rpms/v4-real/vim-filesystem-8.0.1763-19.el8_6.4.noarch.rpm") else {
        return;
    };
    let (keyring, _) = Keyring::build(
        &vendor_pins(),
        &key_material(&shared_data("keys").unwrap(), |name| name.contains("Alma")),
    );
    let good = std::fs::read(package).unwrap();
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(line(&keyring, &bytes), expected);
    };
    let name = "vim-filesystem-2:8.0.1763-19.el8_6.4.noarch";
    let signer = "AlmaLinux 8 (2021) (subkey) v4 SHA256 RSAHEADER";
    check(&|_| {}, &format!("{name}: {signer}; payload Good([Sha256])"));
    check(
        &|bytes| *bytes.last_mut().unwrap() ^= 1,
        &format!("{name}: {signer}; payload Mismatch(Sha256)"),
    );
    check(
        &|bytes| bytes.push(0),
        &format!("{name}: {signer}; payload Mismatch(Sha256)"),
    );
    let summary = good.windows(9).position(|window| window == b"VIM files").unwrap();
    check(
        &|bytes| bytes[summary] ^= 1,
        &format!("{name}: no good signature by a pinned key; payload Good([Sha256])"),
    );
    check(
        &|bytes| bytes[0] = 0,
        "not an rpm package: no lead magic (ed ab ee db)",
    );
    check(
        &|bytes| bytes.truncate(50),
        "cannot read the lead: failed to fill whole buffer",
    );
    check(
        &|bytes| bytes[96] = 0,
        "signature header at offset 96: no rpm header magic (8e ad e8 01)",
    );
    check(
        &|bytes| bytes[104] = 255,
        "signature header at offset 96: 4278190089 index entries, more than rpm's limit",
    );
    check(
        &|bytes| bytes.truncate(5000),
        "header at offset 4504: truncated: 45528 bytes needed, 488 there",
    );
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>) {
        let keyring = Keyring::default();
        let mut package = vec![0; LEAD_BYTES];
        package[..4].copy_from_slice(&LEAD_MAGIC);
        package.extend_from_slice(&MAGIC);
        package.extend_from_slice(&bytes);
        assert!(check_package(&keyring, &package[..]).is_err());
    }
}
