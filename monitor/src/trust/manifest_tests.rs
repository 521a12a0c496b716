use super::*;
use crate::crypto::{Draft, SigningKey, sign};
use hardpan_core::trust::ManifestFile;
use std::os::unix::fs::PermissionsExt as _;

const NOW: i64 = 1_800_000_000;

/// A signing machine and a host.
struct Bench {
    dir: tempfile::TempDir,
    key: SigningKey,
    keys: TrustedKeys,
    host: Host,
}

impl Bench {
    fn new() -> Self {
        // RFC 8410, section 10.3: a published example key.
        let der = hex::decode(
            "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
        )
        .unwrap();
        let key = SigningKey::from_pkcs8(&der).unwrap();
        let mut keys = TrustedKeys::default();
        keys.add(
            key.public_key("release team", &[Kind::Manifest]),
            "test",
            &HostCrypto,
        );
        let host = Host {
            names: vec!["web1".to_owned()],
            machine_id: None,
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            key,
            keys,
            host,
        }
    }

    fn manifests(&self) -> PathBuf {
        self.dir.path().join(MANIFEST_DIR)
    }

    fn known<'a>(&'a self, ledger: &'a LedgerFile, now: i64) -> Known<'a> {
        Known {
            kind: Kind::Manifest,
            keys: &self.keys,
            host: &self.host,
            now,
            ledger: ledger.ledger(),
        }
    }

    /// A signed file, somewhere else than where manifests live.
    fn signed(&self, name: &str, serial: u64, seeds: &[u8]) -> PathBuf {
        let draft = Draft {
            kind: Kind::Manifest,
            serial,
            issued: NOW,
            expires: NOW + 1000,
            targets: vec!["web?".to_owned()],
            name: name.to_owned(),
            payload: content(seeds).to_bytes(),
        };
        let path = self.dir.path().join("download");
        fs::write(&path, sign(&self.key, draft).unwrap().to_json()).unwrap();
        path
    }

    fn add(&self, file: &Path) -> Result<LocalManifest, ManifestFileError> {
        let mut ledger = LedgerFile::load(self.dir.path()).unwrap();
        add_signed(
            file,
            &self.manifests(),
            &mut ledger,
            &self.keys,
            &self.host,
            NOW + 1,
        )
    }

    fn load(&self, now: i64) -> (LocalTrust, Vec<String>) {
        let ledger = LedgerFile::load(self.dir.path()).unwrap();
        let (trust, findings) = load_all(&self.manifests(), &self.known(&ledger, now));
        (
            trust,
            findings.into_iter().map(|finding| finding.message).collect(),
        )
    }
}

fn content(seeds: &[u8]) -> Manifest {
    let file = |seed: &u8| ManifestFile {
        sha256: [*seed; 32],
        size: 10,
        path: format!("/opt/{seed}"),
    };
    Manifest::new(seeds.iter().map(file).collect()).unwrap()
}

fn local(name: &str, seeds: &[u8]) -> LocalUnsigned {
    LocalUnsigned {
        name: name.to_owned(),
        made: NOW,
        manifest: content(seeds),
    }
}

#[test]
fn signed_and_unsigned_manifests_are_looked_up() {
    let bench = Bench::new();
    assert_eq!(bench.load(NOW).0.digests().len(), 0);
    bench.add(&bench.signed("vendor-tool", 1, &[1, 2])).unwrap();
    add_unsigned(&local("mine", &[2, 3]), &bench.manifests()).unwrap();
    let (trust, findings) = bench.load(NOW + 1);
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(trust.manifests().len(), 2);
    assert_eq!(trust.next_expiry(), Some(NOW + 1000));
    let who = |seed: u8| {
        trust
            .lookup(&[seed; 32])
            .map(|digest| digest.manifest.source.word())
    };
    // Where both list it, the signed one counts.
    assert_eq!(
        [who(1), who(2), who(3), who(4)],
        [Some("signed"), Some("signed"), Some("local-unsigned"), None]
    );
    assert_eq!(&*trust.lookup(&[1; 32]).unwrap().path, "/opt/1");
}

#[test]
fn manifests_expire_while_they_lie_there() {
    let bench = Bench::new();
    bench.add(&bench.signed("tool", 1, &[1])).unwrap();
    let (trust, findings) = bench.load(NOW + 1000);
    assert!(trust.lookup(&[1; 32]).is_none());
    assert!(findings[0].contains("expired at"), "{findings:?}");
}

#[test]
fn an_old_issue_does_not_come_back() {
    let bench = Bench::new();
    let first = bench.signed("tool", 1, &[1]);
    let copy = bench.dir.path().join("copy");
    fs::copy(&first, &copy).unwrap();
    bench.add(&first).unwrap();
    bench.add(&first).unwrap();
    bench.add(&bench.signed("tool", 2, &[2])).unwrap();
    let refused = |error: ManifestFileError| {
        assert!(error.hint().unwrap().contains("higher serial"));
        matches!(
            error,
            ManifestFileError::Refused {
                source: Refusal::Replayed { .. },
                ..
            }
        )
    };
    assert!(refused(bench.add(&copy).unwrap_err()));
    // Not even after it was removed, or past the command.
    remove(&bench.manifests(), "tool").unwrap();
    assert!(refused(bench.add(&copy).unwrap_err()));
    fs::copy(&copy, bench.manifests().join("tool.hpm")).unwrap();
    let (trust, findings) = bench.load(NOW + 1);
    assert!(trust.digests().is_empty());
    assert!(
        findings[0].contains("has serial 1, but 2 was accepted before"),
        "{findings:?}"
    );
}

#[test]
fn what_does_not_count_is_told_and_the_rest_is_loaded() {
    let bench = Bench::new();
    bench.add(&bench.signed("good", 1, &[1])).unwrap();
    let dir = bench.manifests();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
    let signed = fs::read(bench.signed("renamed", 1, &[2])).unwrap();
    put("other.hpm", &signed);
    put("broken.hpm", b"{}");
    put("broken.json", b"{}");
    // A signed file posing as one made here, and the reverse.
    put("posing.json", &signed);
    put("fake.hpm", local("fake", &[9]).to_json().as_bytes());
    put("ignored.txt", b"");
    put(".new.hpm", b"half");
    put("writable.json", local("writable", &[8]).to_json().as_bytes());
    fs::set_permissions(dir.join("writable.json"), fs::Permissions::from_mode(0o666)).unwrap();
    let (trust, findings) = bench.load(NOW + 1);
    assert_eq!(trust.digests().len(), 1);
    let expected = [
        "broken.hpm is no signed manifest",
        "broken.json: its content is no manifest",
        "fake.hpm is no signed manifest",
        "other.hpm holds the manifest \"renamed\"",
        "posing.json: its content is no manifest",
        "writable.json is refused: its group or everybody may change it",
    ];
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, expected) in findings.iter().zip(expected) {
        assert!(finding.contains(expected), "{finding}");
    }
}

#[test]
fn names_are_taken_once() {
    let bench = Bench::new();
    add_unsigned(&local("tool", &[1]), &bench.manifests()).unwrap();
    add_unsigned(&local("tool", &[2]), &bench.manifests()).unwrap();
    let error = bench.add(&bench.signed("tool", 1, &[3])).unwrap_err();
    assert!(matches!(error, ManifestFileError::Taken { .. }), "{error}");
    remove(&bench.manifests(), "tool").unwrap();
    bench.add(&bench.signed("tool", 1, &[3])).unwrap();
    assert!(matches!(
        add_unsigned(&local("tool", &[1]), &bench.manifests()),
        Err(ManifestFileError::Taken { .. })
    ));
    for name in ["other", "../download", ""] {
        assert!(matches!(
            remove(&bench.manifests(), name),
            Err(ManifestFileError::Missing { .. })
        ));
    }
    assert!(bench.dir.path().join("download").exists());
}
