use expect_test::expect;

use super::*;
use crate::testing::{files, shared_data};

#[test]
fn packet_lengths() {
    let check = |bytes: &[u8], expected: Result<Vec<(u8, usize)>, &str>| {
        let found: Result<Vec<_>, _> = Packets::new(bytes)
            .map(|packet| packet.map(|packet| (packet.tag, packet.body.len())))
            .collect();
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned)
        );
    };
    check(&[], Ok(vec![]));
    check(&[0x88, 1, 0], Ok(vec![(2, 1)]));
    check(&[0x89, 0, 2, 0, 0, 0xc2, 1, 9], Ok(vec![(2, 2), (2, 1)]));
    check(&[0x8a, 0, 0, 0, 0], Ok(vec![(2, 0)]));
    check(&[&[0xc6, 192, 8][..], &[0; 200]].concat(), Ok(vec![(6, 200)]));
    check(&[0xc6, 255, 0, 0, 0, 1, 7], Ok(vec![(6, 1)]));
    check(&[0x88], Err("offset 0: packet ends too early"));
    check(&[0x88, 1, 0, 0x88, 9, 0], Err("offset 3: packet ends too early"));
    check(&[0x8b, 1, 0], Err("offset 0: indeterminate length"));
    check(&[0xc6, 224, 1], Err("offset 0: partial length"));
    check(&[0x10], Err("offset 0: not a packet"));
    check(
        &[0xc6, 255, 255, 255, 255, 255, 7],
        Err("offset 0: packet ends too early"),
    );
}

#[test]
fn armor() {
    let check = |text: &str, expected: Result<&[u8], &str>| {
        let found = dearmor(text.as_bytes());
        assert_eq!(
            found.as_deref().map_err(ToString::to_string),
            expected.map_err(str::to_owned),
            "{text}"
        );
    };
    let block = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\nAAEC\nAwQF\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
    check(block, Ok(&[0, 1, 2, 3, 4, 5]));
    check(&block.replace('\n', "\r\n"), Ok(&[0, 1, 2, 3, 4, 5]));
    check(&block.replace("=abcd\n", ""), Ok(&[0, 1, 2, 3, 4, 5]));
    check(&block.replace("Version: 1\n", ""), Ok(&[0, 1, 2, 3, 4, 5]));
    check(
        &format!("a text\n{block}between\n{block}"),
        Ok(&[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]),
    );
    check("\u{0}", Err("neither an armoured block nor OpenPGP packets"));
    check("", Err("neither an armoured block nor OpenPGP packets"));
    check(
        &format!("x\n{}", &block[..60]),
        Err("line 2: armoured block without END line"),
    );
    check(
        &block.replace("AwQF", "A*QF"),
        Err("line 1: armoured block is not base64"),
    );
    assert_eq!(dearmor(&[0x99, 1]).unwrap(), [0x99, 1]);
}

/// What each release key file of the shared data holds, and which keys in it may sign.
#[test]
fn release_keys() {
    let Some(folder) = shared_data("keys") else { return };
    let mut lines = Vec::new();
    for file in files(&folder) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let packets = match dearmor(&std::fs::read(&file).unwrap()) {
            Ok(packets) => packets,
            Err(error) => {
                lines.push(format!("{name}: {error}\n"));
                continue;
            }
        };
        let (found, problems) = certificates(&packets);
        assert_eq!(problems, [""; 0], "{name}");
        for parts in found {
            let certificate = Certificate::evaluate(&parts);
            let keys: Vec<String> = certificate
                .keys
                .iter()
                .map(|key| {
                    let fingerprint = key.key.fingerprint().to_string();
                    let short = fingerprint[fingerprint.len() - 16..].to_owned();
                    format!("{short} (algorithm {})", key.key.algorithm())
                })
                .collect();
            lines.push(format!(
                "{name}: {} {:?} revoked: {:?}, signs: {}\n",
                certificate.fingerprint,
                certificate.user_id,
                certificate.revocation,
                keys.join(", ")
            ));
        }
    }
    expect![[r#"
        RPM-GPG-KEY-AlmaLinux-10: EE6DB7B98F5BF5EDD9DA0DE5DEE5C11CC2A1E572 "AlmaLinux OS 10 <packager@almalinux.org>" revoked: None, signs: DEE5C11CC2A1E572 (algorithm 1)
        RPM-GPG-KEY-AlmaLinux-10-EPEL-AltArch: 68DD137B7690F4735197C4B1B620C02335D447A6 "AlmaLinux EPEL 10 AltArch <packager@almalinux.org>" revoked: None, signs: B620C02335D447A6 (algorithm 1)
        RPM-GPG-KEY-AlmaLinux-8: 5E9B8F5617B5066CE92057C3488FCF7C3ABB34F8 "AlmaLinux <packager@almalinux.org>" revoked: None, signs: 51D6647EC21AD6EA (algorithm 1)
        RPM-GPG-KEY-AlmaLinux-8: BC5EDDCADF502C077F1582882AE81E8ACED7258B "AlmaLinux OS 8 <packager@almalinux.org>" revoked: None, signs: 2AE81E8ACED7258B (algorithm 1)
        RPM-GPG-KEY-AlmaLinux-9: BF18AC2876178908D6E71267D36CB86CB86B3716 "AlmaLinux OS 9 <packager@almalinux.org>" revoked: None, signs: D36CB86CB86B3716 (algorithm 1)
        RPM-GPG-KEY-CentOS-7: 6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5 "CentOS-7 Key (CentOS 7 Official Signing Key) <security@centos.org>" revoked: None, signs: 24C6A8A7F4A80EB5 (algorithm 1)
        RPM-GPG-KEY-CentOS-Official: 99DB70FAE1D7CE227FB6488205B555B38483C65D "CentOS (CentOS Official Signing Key) <security@centos.org>" revoked: None, signs: 05B555B38483C65D (algorithm 1)
        RPM-GPG-KEY-CentOS-Official-SHA256: 99DB70FAE1D7CE227FB6488205B555B38483C65D "CentOS (CentOS Official Signing Key) <security@centos.org>" revoked: None, signs: 05B555B38483C65D (algorithm 1)
        RPM-GPG-KEY-EPEL-10: 7D8D15CBFC4E62688591FB2633D98517E37ED158 "Fedora (epel10) <epel@fedoraproject.org>" revoked: None, signs: 33D98517E37ED158 (algorithm 1)
        RPM-GPG-KEY-EPEL-10-IMA: neither an armoured block nor OpenPGP packets
        RPM-GPG-KEY-EPEL-7: 91E97D7C4A5E96F17F3E888F6A2FAEA2352C64E5 "Fedora EPEL (7) <epel@fedoraproject.org>" revoked: None, signs: 6A2FAEA2352C64E5 (algorithm 1)
        RPM-GPG-KEY-EPEL-8: 94E279EB8D8F25B21810ADF121EA45AB2F86D6A1 "Fedora EPEL (8) <epel@fedoraproject.org>" revoked: None, signs: 21EA45AB2F86D6A1 (algorithm 1)
        RPM-GPG-KEY-EPEL-9: FF8AD1344597106ECE813B918A3872BF3228467C "Fedora (epel9) <epel@fedoraproject.org>" revoked: None, signs: 8A3872BF3228467C (algorithm 1)
        RPM-GPG-KEY-Rocky-10: FC226859C0860BF0DDB95B085B106C736FEDFC85 "Release Engineering (Rocky Linux 10) <releng@rockylinux.org>" revoked: None, signs: 5B106C736FEDFC85 (algorithm 1)
        RPM-GPG-KEY-Rocky-9: 21CB256AE16FC54C6E652949702D426D350D275D "Rocky Enterprise Software Foundation - Release key 2022 <releng@rockylinux.org>" revoked: None, signs: 702D426D350D275D (algorithm 1)
        RPM-GPG-KEY-centosofficial-PQC: 4B5C2F1DF220BD72D43402C727EC878D33DAEE4DDF1EBFF1F862219D3C5972BB "CentOS Key (CentOS Official Signing Key) <security@centos.org>" revoked: None, signs: F862219D3C5972BB (algorithm 31)
        RPM-GPG-KEY-oracle-ol10: 3E6D826D3FBAB389C2F38E34BC4D06A08D8B756F "Oracle Linux (release key 1) <secalert_us@oracle.com>" revoked: None, signs: BC4D06A08D8B756F (algorithm 1)
        RPM-GPG-KEY-oracle-ol10: 982231759C7467065D0CE9B2A7DD07088B4EFBE6 "Oracle Linux (backup key 1) <secalert_us@oracle.com>" revoked: None, signs: A7DD07088B4EFBE6 (algorithm 1)
        RPM-GPG-KEY-oracle-ol8: 76FD3DB13AB67410B89DB10E82562EA9AD986DA3 "Oracle OSS group (Open Source Software group) <build@oss.oracle.com>" revoked: None, signs: 82562EA9AD986DA3 (algorithm 1)
        RPM-GPG-KEY-oracle-ol9: 3E6D826D3FBAB389C2F38E34BC4D06A08D8B756F "Oracle Linux (release key 1) <secalert_us@oracle.com>" revoked: None, signs: BC4D06A08D8B756F (algorithm 1)
        RPM-GPG-KEY-oracle-ol9: 982231759C7467065D0CE9B2A7DD07088B4EFBE6 "Oracle Linux (backup key 1) <secalert_us@oracle.com>" revoked: None, signs: A7DD07088B4EFBE6 (algorithm 1)
        RPM-GPG-KEY-redhat10-beta: B08B659EE86AF623BC90E8DB938A80CAF21541EB "Red Hat, Inc. (beta key 2) <security@redhat.com>" revoked: None, signs: 938A80CAF21541EB (algorithm 1)
        RPM-GPG-KEY-redhat10-release: 567E347AD0044ADE55BA8A5F199E2F91FD431D51 "Red Hat, Inc. (release key 2) <security@redhat.com>" revoked: None, signs: 199E2F91FD431D51 (algorithm 1)
        RPM-GPG-KEY-redhat10-release: 7E4624258C406535D56D6F135054E4A45A6340B3 "Red Hat, Inc. (auxiliary key 3) <security@redhat.com>" revoked: None, signs: 5054E4A45A6340B3 (algorithm 1)
        RPM-GPG-KEY-redhat10-release: FCD355B305707A62DA143AB6E422397E50FE8467A2A95343D246D6276AFEDF8F "Red Hat, Inc. (release key 4) <security@redhat.com>" revoked: None, signs: D246D6276AFEDF8F (algorithm 31)
        RPM-GPG-KEY-redhat10-release-without-PQC: 567E347AD0044ADE55BA8A5F199E2F91FD431D51 "Red Hat, Inc. (release key 2) <security@redhat.com>" revoked: None, signs: 199E2F91FD431D51 (algorithm 1)
        RPM-GPG-KEY-redhat10-release-without-PQC: 7E4624258C406535D56D6F135054E4A45A6340B3 "Red Hat, Inc. (auxiliary key 3) <security@redhat.com>" revoked: None, signs: 5054E4A45A6340B3 (algorithm 1)
        RPM-GPG-KEY-redhat8-beta: B08B659EE86AF623BC90E8DB938A80CAF21541EB "Red Hat, Inc. (beta key 2) <security@redhat.com>" revoked: None, signs: 938A80CAF21541EB (algorithm 1)
        RPM-GPG-KEY-redhat8-release: 567E347AD0044ADE55BA8A5F199E2F91FD431D51 "Red Hat, Inc. (release key 2) <security@redhat.com>" revoked: None, signs: 199E2F91FD431D51 (algorithm 1)
        RPM-GPG-KEY-redhat8-release: 43A6E49C4A38F4BE9ABF2A5345689C882FA658E0 "Red Hat, Inc. (auxiliary key) <security@redhat.com>" revoked: None, signs: 45689C882FA658E0 (algorithm 17)
        RPM-GPG-KEY-redhat9-PQC-release: FCD355B305707A62DA143AB6E422397E50FE8467A2A95343D246D6276AFEDF8F "Red Hat, Inc. (release key 4) <security@redhat.com>" revoked: None, signs: D246D6276AFEDF8F (algorithm 31)
        RPM-GPG-KEY-redhat9-release: 567E347AD0044ADE55BA8A5F199E2F91FD431D51 "Red Hat, Inc. (release key 2) <security@redhat.com>" revoked: None, signs: 199E2F91FD431D51 (algorithm 1)
        RPM-GPG-KEY-redhat9-release: 7E4624258C406535D56D6F135054E4A45A6340B3 "Red Hat, Inc. (auxiliary key 3) <security@redhat.com>" revoked: None, signs: 5054E4A45A6340B3 (algorithm 1)
        RPM-GPG-KEY-rockyinfra: BFC3D8F20D15F4FD46281D7FAA650F52D6C094FA "Core Infrastructure <infrastructure@rockylinux.org>" revoked: None, signs: AA650F52D6C094FA (algorithm 22)
        RPM-GPG-KEY-rockyofficial: 7051C470A929F454CEBE37B715AF5DAC6D745A60 "Release Engineering <infrastructure@rockylinux.org>" revoked: None, signs: 15AF5DAC6D745A60 (algorithm 1)
    "#]].assert_eq(&lines.concat());
}

#[test]
fn a_subkey_without_binding_does_not_sign() {
    let Some(folder) = shared_data("keys") else { return };
    let read = |name: &str| dearmor(&std::fs::read(folder.join(name)).unwrap()).unwrap();
    let alma = read("RPM-GPG-KEY-AlmaLinux-9");
    let rocky = read("RPM-GPG-KEY-Rocky-9");
    // Rocky's primary key as a subkey of Alma's, with and without somebody else's binding signature.
    let rocky_key = Packets::new(&rocky).next().unwrap().unwrap().body.to_vec();
    let binding: Vec<u8> = Packets::new(&alma)
        .map(Result::unwrap)
        .find(|packet| packet.tag == tag::SIGNATURE && packet.body[1] == sigtype::SUBKEY_BINDING)
        .expect("the test key has a subkey")
        .body
        .to_vec();
    let packet = |tag: u8, body: &[u8]| {
        let mut bytes = vec![0xc0 | tag, 255];
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    };
    let original = &certificates(&alma).0[0];
    let honest = Certificate::evaluate(original).keys.len();
    for attack in [
        packet(tag::PUBLIC_SUBKEY, &rocky_key),
        [
            packet(tag::PUBLIC_SUBKEY, &rocky_key),
            packet(tag::SIGNATURE, &binding),
        ]
        .concat(),
    ] {
        let (found, _) = certificates(&[&alma[..], &attack].concat());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].claimed_fingerprints().len(),
            original.claimed_fingerprints().len() + 1
        );
        let evaluated = Certificate::evaluate(&found[0]);
        assert_eq!(evaluated.keys.len(), honest);
        assert!(evaluated.keys.iter().all(|key| key.key.body() != rocky_key));
    }
}

#[test]
fn odd_signatures_are_refused() {
    // Version 4, binary, RSA, SHA-256.
    let build = |hashed: &[u8], unhashed: &[u8]| {
        let mut body = vec![4, 0, 1, 8];
        for area in [hashed, unhashed] {
            body.extend_from_slice(&u16::try_from(area.len()).unwrap().to_be_bytes());
            body.extend_from_slice(area);
        }
        body.extend_from_slice(&[0, 0, 0, 1, 1]);
        body
    };
    let check = |body: &[u8], expected: &str| {
        let found = Signature::parse(body).map_err(|error| error.to_string());
        assert_eq!(found.err().as_deref().unwrap_or("good"), expected);
    };
    let id = |id: u8| [&[9, 16][..], &[id; 8]].concat();
    let fingerprint = |id: u8| [&[22, 33, 4][..], &[id; 20]].concat();
    check(&build(&[5, 2, 0, 0, 0, 1], &id(1)), "good");
    check(&build(&fingerprint(1), &id(1)), "good");
    check(
        &build(&fingerprint(1), &id(2)),
        "issuer fingerprint and key id contradict each other",
    );
    check(
        &build(&fingerprint(1), &fingerprint(2)),
        "issuer fingerprint and key id contradict each other",
    );
    check(&build(&[2, 100, 0], &[]), "good");
    check(
        &build(&[2, 0xe4, 0], &[]),
        "critical subpacket 100 is not understood",
    );
    check(
        &build(&[2, 0x94, 0], &[]),
        "critical subpacket 20 is not understood",
    );
    check(
        &build(&[3, 2, 0, 0], &[]),
        "malformed signature: subpacket of wrong length",
    );
    check(
        &build(&[9, 2, 0, 0], &[]),
        "malformed signature: subpacket ends too early",
    );
    check(&build(&[0], &[]), "malformed signature: subpacket ends too early");
    check(
        &build(&[2, 100, 0].repeat(201), &[]),
        "malformed signature: too many subpackets",
    );
    check(&[5, 0, 1, 8], "signature version 5 is not supported");
    check(&[2; 40], "signature version 2 is not supported");
    check(
        &[3, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 8, 0, 0],
        "malformed signature: hashed part is not 5 bytes",
    );
    check(&[4, 0, 1, 8, 255, 255], "malformed signature: ends too early");
    check(&[], "malformed signature: empty");
    let one = |body: &[u8]| [&[0x88, u8::try_from(body.len()).unwrap()][..], body].concat();
    let good = one(&build(&[], &id(1)));
    assert!(signature_packet(&good).is_ok());
    let refused = |bytes: &[u8]| signature_packet(bytes).unwrap_err().to_string();
    assert_eq!(
        refused(&[good.clone(), good].concat()),
        "expected one signature packet: there is more behind it"
    );
    assert_eq!(
        refused(&[0x98, 1, 4]),
        "expected one signature packet: it is of another type"
    );
    assert_eq!(refused(&[]), "expected one signature packet: there is none");
}

proptest::proptest! {
    #[test]
    fn parsers_never_panic(bytes: Vec<u8>, text: String) {
        let _ignored = dearmor(text.as_bytes());
        let _ignored = Signature::parse(&bytes);
        let _ignored = signature_packet(&bytes);
        let (found, _) = certificates(&bytes);
        for parts in &found {
            Certificate::evaluate(parts);
        }
    }

    /// A real certificate with bytes changed: never a panic, and never a key that was not in it.
    #[test]
    fn changed_certificates(patches: Vec<(u16, u8)>) {
        let Some(folder) = shared_data("keys") else { return Ok(()) };
        let mut bytes = dearmor(&std::fs::read(folder.join("RPM-GPG-KEY-AlmaLinux-9")).unwrap()).unwrap();
        let known = certificates(&bytes).0[0].claimed_fingerprints();
        let len = bytes.len();
        for (at, byte) in patches {
            bytes[usize::from(at) % len] = byte;
        }
        for parts in certificates(&bytes).0 {
            let primary = parts.primary.fingerprint();
            for key in Certificate::evaluate(&parts).keys.iter().skip(1) {
                assert!(known.contains(&key.key.fingerprint()) && known.contains(&primary));
            }
        }
    }
}
