use super::*;
use hardpan_core::envelope::{Envelope, Kind, Known, Ledger, PublicKey, Refusal, TrustedKeys, open};
use std::path::{Path, PathBuf};
use std::process::Command;

const ED25519: &[&str] = &["-algorithm", "ed25519"];
const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];

/// Runs openssl; `None` where there is none.
fn openssl(args: &[&str]) -> Option<Vec<u8>> {
    match Command::new("openssl").args(args).output() {
        Ok(output) => {
            assert!(
                output.status.success(),
                "openssl {args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(output.stdout)
        }
        Err(error) => {
            println!("skipped: no openssl ({error})");
            None
        }
    }
}

/// A new private key in PEM form.
fn genpkey(dir: &Path, kind: &[&str]) -> Option<PathBuf> {
    let path = dir.join("key.pem");
    let out = path.to_str().unwrap().to_owned();
    openssl(&[&["genpkey"], kind, &["-out", &out]].concat())?;
    Some(path)
}

fn draft() -> Draft {
    Draft {
        kind: Kind::Manifest,
        serial: 1,
        issued: 1_000,
        expires: 2_000,
        targets: vec!["*".to_owned()],
        name: "tools".to_owned(),
        payload: b"content".to_vec(),
    }
}

/// Opens with the public key read back from its file form.
fn reopen(envelope: &Envelope, public: &PublicKey) -> Result<(), Refusal> {
    let mut keys = TrustedKeys::default();
    keys.add(
        PublicKey::from_toml(&public.to_toml()).unwrap(),
        "test",
        &HostCrypto,
    );
    let host = this_host(Path::new("/"));
    let known = Known {
        kind: Kind::Manifest,
        keys: &keys,
        host: &host,
        now: 1_500,
        ledger: &Ledger::default(),
    };
    let read = Envelope::parse(envelope.to_json().as_bytes()).unwrap();
    open(read, &known, &HostCrypto).map(|opened| assert_eq!(opened.payload(), b"content"))
}

#[test]
fn keys_of_openssl_sign_what_opens() {
    for (kind, algorithm) in [
        (ED25519, Algorithm::Ed25519),
        (P256, Algorithm::EcdsaP256Sha256),
        (P384, Algorithm::EcdsaP384Sha384),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let Some(path) = genpkey(dir.path(), kind) else {
            return;
        };
        let key = load_signing_key(&path).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let public = key.public_key("release team", &[Kind::Manifest]);
        let envelope = sign(&key, draft()).unwrap();
        reopen(&envelope, &public).unwrap();

        let mut forged = envelope.clone();
        forged.claims.payload = b"Content".to_vec();
        assert!(matches!(reopen(&forged, &public), Err(Refusal::Signature { .. })));
        let mut cut = envelope.clone();
        cut.signature.pop();
        assert!(matches!(reopen(&cut, &public), Err(Refusal::Signature { .. })));

        // The same key in DER form.
        let der = dir.path().join("key.der");
        let (from, to) = (path.to_str().unwrap(), der.to_str().unwrap());
        openssl(&[
            "pkcs8", "-topk8", "-nocrypt", "-in", from, "-outform", "DER", "-out", to,
        ]);
        assert_eq!(load_signing_key(&der).unwrap().public(), key.public());
    }
}

/// What a signing machine without Hardpan, or a hardware token behind openssl, would do.
#[test]
fn openssl_verifies_what_is_signed_and_signs_what_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let Some(path) = genpkey(dir.path(), P256) else {
        return;
    };
    let key = load_signing_key(&path).unwrap();
    let mut envelope = sign(&key, draft()).unwrap();
    let (message, signature, public) = (file("message"), file("signature"), file("public.pem"));
    std::fs::write(&message, envelope.claims.signed_bytes()).unwrap();
    std::fs::write(&signature, &envelope.signature).unwrap();
    openssl(&["pkey", "-in", path.to_str().unwrap(), "-pubout", "-out", &public]);
    let said = openssl(&[
        "dgst",
        "-sha256",
        "-verify",
        &public,
        "-signature",
        &signature,
        &message,
    ])
    .unwrap();
    assert_eq!(String::from_utf8_lossy(&said).trim(), "Verified OK");

    envelope.signature = openssl(&["dgst", "-sha256", "-sign", path.to_str().unwrap(), &message]).unwrap();
    reopen(&envelope, &key.public_key("x", &[Kind::Manifest])).unwrap();
}

#[test]
fn other_keys_are_refused_with_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let check = |expected: &str| {
        let error = load_signing_key(&path).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check("cannot read the private key");
    for (content, expected) in [
        ("", "it is not an Ed25519"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "it is cut short"),
        (
            "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
            "it is not base64",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "it is not an Ed25519",
        ),
        ("-----BEGIN PUBLIC KEY-----", "it is a public key"),
        ("-----BEGIN CERTIFICATE-----", "there is no \"BEGIN PRIVATE KEY\""),
    ] {
        std::fs::write(&path, content).unwrap();
        check(expected);
    }
    let out = path.to_str().unwrap();
    for (kind, expected) in [
        (
            ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"].as_slice(),
            "it is not an Ed25519",
        ),
        (
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            "it is not an Ed25519",
        ),
        (
            &["-algorithm", "ed25519", "-aes256", "-pass", "pass:x"],
            "it is encrypted",
        ),
    ] {
        if openssl(&[&["genpkey"], kind, &["-out", out]].concat()).is_none() {
            return;
        }
        check(expected);
    }
}

#[test]
fn nothing_wrong_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = genpkey(dir.path(), ED25519) else {
        return;
    };
    let key = load_signing_key(&path).unwrap();
    let wrong: [fn(&mut Draft); 3] = [
        |d| d.name = "../x".into(),
        |d| d.expires = d.issued,
        |d| d.targets.clear(),
    ];
    for change in wrong {
        let mut draft = draft();
        change(&mut draft);
        assert!(matches!(sign(&key, draft), Err(KeyLoadError::Claims { .. })));
    }
}

#[test]
fn public_keys_of_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let key = |seed: u8| PublicKey {
        name: format!("key {seed}"),
        algorithm: Algorithm::Ed25519,
        public: vec![seed; 32],
        uses: vec![Kind::Policy],
    };
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.hpkey", &key(1).to_toml());
    write("b.hpkey", &key(2).to_toml());
    write("ignored.toml", "vendor = 'x'");
    write("broken.hpkey", "name = 1");
    let (keys, findings) = public_keys(&[dir.path().to_owned(), "/nonexistent".into()]);
    assert_eq!(keys.len(), 2);
    let paths: Vec<_> = findings
        .iter()
        .map(|finding| finding.path.as_ref().unwrap().text().into_owned())
        .collect();
    assert_eq!(paths.len(), 1);
    assert!(paths[0].ends_with("broken.hpkey"), "{paths:?}");
}

#[test]
fn a_host_has_its_long_and_its_short_name() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("etc/hostname"), "web1.example.org\n").unwrap();
    std::fs::write(root.path().join("etc/machine-id"), "0123\n").unwrap();
    let host = this_host(root.path());
    assert_eq!(host.names, ["web1.example.org", "web1"]);
    assert_eq!(host.machine_id.as_deref(), Some("0123"));
    std::fs::write(root.path().join("etc/hostname"), "bad name\n").unwrap();
    assert!(this_host(root.path()).names.is_empty());
}

#[test]
fn accepted_serials_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = genpkey(dir.path(), ED25519) else {
        return;
    };
    let key = load_signing_key(&path).unwrap();
    let mut keys = TrustedKeys::default();
    keys.add(key.public_key("x", &[Kind::Manifest]), "", &HostCrypto);
    let state = dir.path().join("state");
    let open_serial = |serial| {
        let envelope = sign(&key, Draft { serial, ..draft() }).unwrap();
        let file = LedgerFile::load(&state).unwrap();
        let host = this_host(Path::new("/"));
        let known = Known {
            kind: Kind::Manifest,
            keys: &keys,
            host: &host,
            now: 1_500,
            ledger: file.ledger(),
        };
        open(envelope, &known, &HostCrypto)
    };
    LedgerFile::load(&state)
        .unwrap()
        .accept(&open_serial(5).unwrap())
        .unwrap();
    assert!(matches!(open_serial(4), Err(Refusal::Replayed { .. })));
    open_serial(5).unwrap();
    std::fs::write(state.join(LedgerFile::NAME), "damage").unwrap();
    let error = LedgerFile::load(&state).unwrap_err();
    assert!(matches!(error, LedgerFileError::Damaged { .. }));
    assert!(error.hint().unwrap().contains("backup"));
}

#[test]
fn sha256_of_a_reader() {
    let bytes = vec![7_u8; 600_000];
    assert_eq!(sha256_of(bytes.as_slice()).unwrap(), (sha256(&bytes), 600_000));
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex::encode(sha256_of(b"".as_slice()).unwrap().0), empty);
}
