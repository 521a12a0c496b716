use super::*;
use expect_test::expect;

/// No cryptography: a "signature" is the sum of key and message. What ring says is tested where ring is.
struct Sum;

impl Crypto for Sum {
    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        let mut out = [0_u8; 32];
        for (at, byte) in bytes.iter().enumerate() {
            out[at % 32] = out[at % 32].rotate_left(1) ^ byte;
        }
        out
    }

    fn verify(&self, _algorithm: Algorithm, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
        signature == [self.sha256(public), self.sha256(message)].concat()
    }
}

const NOW: i64 = 1_800_000_000;

fn public(seed: u8, uses: &[Kind]) -> PublicKey {
    PublicKey {
        name: format!("key {seed}"),
        algorithm: Algorithm::Ed25519,
        public: vec![seed; 32],
        uses: uses.to_vec(),
    }
}

fn claims() -> Claims {
    Claims {
        kind: Kind::Manifest,
        algorithm: Algorithm::Ed25519,
        key: public(1, &[]).id(&Sum),
        serial: 7,
        issued: NOW - 100,
        expires: NOW + 1000,
        targets: vec!["web*.example.org".to_owned()],
        name: "tools".to_owned(),
        payload: b"content".to_vec(),
    }
}

fn sign(claims: Claims) -> Envelope {
    let signature = [Sum.sha256(&[1; 32]), Sum.sha256(&claims.signed_bytes())].concat();
    Envelope { claims, signature }
}

#[test]
fn reads_what_it_writes() {
    let envelope = sign(claims());
    let json = envelope.to_json();
    assert_eq!(Envelope::parse(json.as_bytes()).unwrap(), envelope);
    expect![[r#"
        {
          "type": "manifest",
          "version": 1,
          "algorithm": "ed25519",
          "key": "0101010101010101010101010101010101010101010101010101010101010101",
          "serial": 7,
          "issued": "2027-01-15T07:58:20Z",
          "expires": "2027-01-15T08:16:40Z",
          "target": [
            "web*.example.org"
          ],
          "name": "tools",
          "payload": "Y29udGVudA==",
    "#]]
    .assert_eq(json.split_inclusive('\n').take(13).collect::<String>().as_str());
}

#[test]
fn broken_files_are_refused_with_the_member() {
    let check = |from: &str, to: &str, expected: &str| {
        let json = sign(claims()).to_json();
        assert!(json.contains(from), "{from} is not in {json}");
        let error = Envelope::parse(json.replace(from, to).as_bytes()).unwrap_err();
        let text =
            std::error::Error::source(&error).map_or_else(|| error.to_string(), |s| format!("{error}: {s}"));
        assert!(text.contains(expected), "{text}");
    };
    check(
        "\"manifest\"",
        "\"letter\"",
        "\"type\": must be one of manifest, policy",
    );
    check(
        "\"version\": 1",
        "\"version\": 2",
        "version 2 of the envelope is not known",
    );
    check("ed25519", "rsa", "\"algorithm\": must be one of");
    check("\"0101", "\"01zz", "\"key\": must be 64 hexadecimal digits");
    check(
        "\"serial\": 7",
        "\"serial\": -7",
        "cannot read the envelope: invalid value",
    );
    check(
        "\"serial\": 7",
        "\"serial\": 7, \"serial\": 8",
        "duplicate field `serial`",
    );
    check(
        "\"serial\": 7",
        "\"serial\": 7, \"note\": 8",
        "unknown field `note`",
    );
    check("07:58:20Z", "07:58:20+00:00", "\"issued\": must be a time like");
    check("07:58:20Z", "07:58:20.5Z", "\"issued\": must be a time like");
    check(
        "2027-01-15T08:16",
        "2027-01-15T07:16",
        "\"expires\": must be later than",
    );
    check("\"web*.example.org\"", "", "\"target\": must list 1 to 256");
    check("web*.example.org", "a b", "\"target\": a pattern has");
    check("\"tools\"", "\"../tools\"", "\"name\": a name has");
    check("Y29udGVudA==", "Y29udGVudA", "\"payload\": must be base64");
    // Two spellings of the same bytes.
    check("Y29udGVudA==", "Y29udGVudB==", "\"payload\": must be base64");
    assert!(Envelope::parse(b"").is_err());
    assert!(Envelope::parse(&vec![b'['; 100_000]).is_err());
}

#[test]
fn every_claim_is_signed() {
    let base = claims().signed_bytes();
    let alterations: [fn(&mut Claims); 10] = [
        |c| c.kind = Kind::Policy,
        |c| c.algorithm = Algorithm::EcdsaP256Sha256,
        |c| c.key.0[31] ^= 1,
        |c| c.serial += 1,
        |c| c.issued += 1,
        |c| c.expires += 1,
        |c| c.targets.push("x".to_owned()),
        // What moves from one field to the next.
        |c| c.targets = vec!["web*".to_owned(), ".example.org".to_owned()],
        |c| (c.name, c.payload) = ("toolsc".to_owned(), b"ontent".to_vec()),
        |c| c.payload.push(0),
    ];
    let mut seen = vec![base];
    for change in alterations {
        let mut changed = claims();
        change(&mut changed);
        let bytes = changed.signed_bytes();
        assert!(!seen.contains(&bytes), "{changed:?}");
        seen.push(bytes);
    }
}

#[test]
fn the_signed_bytes_are_as_documented() {
    let mut expected = DOMAIN.to_vec();
    for field in [
        b"manifest".as_slice(),
        &1_u64.to_be_bytes(),
        b"ed25519",
        &[1; 32],
        &7_u64.to_be_bytes(),
        &(NOW - 100).to_be_bytes(),
        &(NOW + 1000).to_be_bytes(),
        &1_u64.to_be_bytes(),
        b"web*.example.org",
        b"tools",
        b"content",
    ] {
        expected.extend((field.len() as u64).to_be_bytes());
        expected.extend(field);
    }
    assert_eq!(claims().signed_bytes(), expected);
}

/// Opens an envelope with these changes before signing.
fn opened(
    change: impl Fn(&mut Claims),
    known: impl Fn(&mut TrustedKeys, &mut Ledger),
) -> Result<Opened, String> {
    let mut changed = claims();
    change(&mut changed);
    let mut keys = TrustedKeys::default();
    let mut ledger = Ledger::default();
    known(&mut keys, &mut ledger);
    if keys.is_empty() {
        keys.add(public(1, &[Kind::Manifest]), "a.hpkey", &Sum);
    }
    let host = Host {
        names: vec!["WEB1.example.org".to_owned(), "WEB1".to_owned()],
        machine_id: Some("ab12".into()),
    };
    let known = Known {
        kind: Kind::Manifest,
        keys: &keys,
        host: &host,
        now: NOW,
        ledger: &ledger,
    };
    open(sign(changed), &known, &Sum).map_err(|refusal| {
        assert!(!refusal.hint().is_empty());
        refusal.to_string()
    })
}

#[test]
fn good_envelopes_open() {
    let nothing = |_: &mut TrustedKeys, _: &mut Ledger| {};
    let envelope = opened(|_| {}, nothing).unwrap();
    assert_eq!(
        (envelope.payload(), envelope.key_name()),
        (b"content".as_slice(), "key 1")
    );
    opened(|c| c.targets = vec!["db*".into(), "ab??".into()], nothing).unwrap();
    opened(|c| c.issued = NOW + CLOCK_SKEW_S, nothing).unwrap();
    // The same again, and a later one.
    let accepted = |ledger: &mut Ledger| ledger.accept(&opened(|_| {}, nothing).unwrap());
    opened(|_| {}, |_, ledger| accepted(ledger)).unwrap();
    opened(|c| c.serial = 8, |_, ledger| accepted(ledger)).unwrap();
    // Serials are counted per name.
    opened(
        |c| (c.serial, c.name) = (1, "other".into()),
        |_, ledger| accepted(ledger),
    )
    .unwrap();
}

#[test]
fn bad_envelopes_do_not_open() {
    let nothing = |_: &mut TrustedKeys, _: &mut Ledger| {};
    let check = |change: fn(&mut Claims), known: &dyn Fn(&mut TrustedKeys, &mut Ledger), expected: &str| {
        let error = opened(change, known).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    check(|c| c.kind = Kind::Policy, &nothing, "is a policy, not a manifest");
    check(|c| c.key.0[0] ^= 1, &nothing, "which is not trusted here");
    check(
        |_| {},
        &|keys, _| keys.add(public(1, &[Kind::Policy]), "", &Sum),
        "may not sign a manifest",
    );
    check(
        |c| c.algorithm = Algorithm::EcdsaP384Sha384,
        &nothing,
        "names ecdsa-p384-sha384, but its key",
    );
    check(
        |c| c.targets = vec!["db*".into()],
        &nothing,
        "is not for this host; it is for db*",
    );
    check(
        |c| (c.issued, c.expires) = (NOW + CLOCK_SKEW_S + 1, NOW + 999),
        &nothing,
        "is not valid before",
    );
    check(|c| c.expires = NOW, &nothing, "expired at 2027-01-15T08:00:00Z");
    let accepted =
        |_: &mut TrustedKeys, ledger: &mut Ledger| ledger.accept(&opened(|_| {}, nothing).unwrap());
    check(
        |c| c.serial = 6,
        &accepted,
        "has serial 6, but 7 was accepted before",
    );
    check(
        |c| c.payload.push(b'!'),
        &accepted,
        "has serial 7, which was accepted before with other content",
    );
    check(
        |c| c.expires += 1,
        &accepted,
        "has serial 7, which was accepted before with other content",
    );
}

#[test]
fn a_changed_envelope_has_a_bad_signature() {
    let mut keys = TrustedKeys::default();
    keys.add(public(1, &[Kind::Manifest]), "a.hpkey", &Sum);
    let host = Host {
        names: vec!["web1.example.org".into()],
        machine_id: None,
    };
    let ledger = Ledger::default();
    let known = Known {
        kind: Kind::Manifest,
        keys: &keys,
        host: &host,
        now: NOW,
        ledger: &ledger,
    };
    let mut envelope = sign(claims());
    envelope.claims.payload.push(b'!');
    let refusal = open(envelope, &known, &Sum).unwrap_err();
    assert!(matches!(refusal, Refusal::Signature { .. }), "{refusal:?}");
}

#[test]
fn ledgers_survive_a_file() {
    let mut ledger = Ledger::default();
    assert_eq!(Ledger::parse(ledger.to_json().as_bytes()).unwrap(), ledger);
    ledger.accept(&opened(|_| {}, |_, _| {}).unwrap());
    assert_eq!(Ledger::parse(ledger.to_json().as_bytes()).unwrap(), ledger);
    assert_eq!(ledger.last(Kind::Manifest, "tools").unwrap().serial, 7);
    assert!(ledger.last(Kind::Policy, "tools").is_none());
    let check = |text: &str, expected: &str| {
        assert!(
            Ledger::parse(text.as_bytes())
                .unwrap_err()
                .to_string()
                .contains(expected),
            "{text}"
        );
    };
    check("{}", "cannot read");
    check(
        "[{\"type\":\"x\",\"name\":\"n\",\"serial\":1,\"digest\":\"\"}]",
        "entry 1: \"type\"",
    );
    check(
        "[{\"type\":\"policy\",\"name\":\"n\",\"serial\":1,\"digest\":\"ab\"}]",
        "entry 1: \"digest\"",
    );
}

#[test]
fn key_files() {
    let key = public(9, &[Kind::Manifest, Kind::Policy]);
    assert_eq!(PublicKey::from_toml(&key.to_toml()).unwrap(), key);
    let odd = PublicKey {
        name: "quote \" and \\ \u{e9}".into(),
        ..key.clone()
    };
    assert_eq!(PublicKey::from_toml(&odd.to_toml()).unwrap(), odd);
    let check = |from: &str, to: &str, expected: &str| {
        let error = PublicKey::from_toml(&key.to_toml().replace(from, to))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("ed25519", "rot13", "\"algorithm\" must be one of");
    check("ed25519", "ecdsa-p256-sha256", "\"public\" must be the 65 bytes");
    check("CQkJ", "C", "\"public\" must be base64");
    check("\"policy\"", "\"all\"", "\"uses\" must list at least one");
    check("\"manifest\", \"policy\"", "", "\"uses\" must list at least one");
    check("key 9", " ", "\"name\" must have");
    check("name", "nick", "cannot read the public key");
}

#[test]
fn the_same_key_twice_may_do_what_both_files_allow() {
    let mut keys = TrustedKeys::default();
    keys.add(public(1, &[Kind::Manifest, Kind::Policy]), "a", &Sum);
    keys.add(public(1, &[Kind::Policy]), "b", &Sum);
    assert_eq!(keys.len(), 1);
    assert_eq!(keys.iter().next().unwrap().1.key.uses, [Kind::Policy]);
}

#[test]
fn globs() {
    let check = |pattern: &str, text: &str, expected: bool| {
        assert_eq!(glob_matches(pattern, text), expected, "{pattern} on {text}");
    };
    check("*", "", true);
    check("*", "any", true);
    check("", "any", false);
    check("web?", "web1", true);
    check("WEB?", "web1", true);
    check("web?", "web", false);
    check("*.example.org", "a.b.example.org", true);
    check("*.example.org", "example.org", false);
    check("a*b*c", "a1b2b3c", true);
    check("a*b*c", "a1b2b3", false);
}

#[test]
fn names() {
    let check = |name: &str, fine: bool| assert_eq!(check_name(name).is_ok(), fine, "{name:?}");
    check("a", true);
    check("Tools-1.2_x", true);
    check("", false);
    check(".hidden", false);
    check("-option", false);
    check("a/b", false);
    check("a\0", false);
    check("\u{e9}", false);
    check(&"a".repeat(101), false);
}
