//! Writes seeds for every target into `seeds/TARGET/`: small, valid, with freshly made keys.

use std::error::Error;
use std::fs;
use std::path::Path;

use base64::Engine;
use hardpan_core::envelope::{Algorithm, Claims, Envelope, KeyId, Kind, PublicKey};
use hardpan_core::policy::shipped::shipped;
use hardpan_core::trust::{LocalUnsigned, Manifest, ManifestFile};
use hardpan_rpm::header::{Header, MAGIC, tag};
use hardpan_rpm::openpgp::{certificates, dearmor};
use hardpan_rpm::signature::{Keyring, check_header};
use hardpan_rpm::{IndexBuilder, KeyMaterial, Pins};
use pgp::composed::{
    ArmorOptions, DetachedSignature, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize;
use pgp::types::{KeyVersion, Password};
use rand::thread_rng;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// An entry of a header: tag, type, count, data.
type Entry = (u32, u32, u32, Vec<u8>);

fn main() -> Result<()> {
    let v4 = key(KeyVersion::V4, KeyType::Ed25519Legacy)?;
    let v6 = key(KeyVersion::V6, KeyType::Ed25519)?;
    let mut signatures = Vec::new();
    for (number, secret) in [&v4, &v6].into_iter().enumerate() {
        let public = SignedPublicKey::from(secret.clone());
        put("openpgp_keys", &format!("armor-{number}"), public.to_armored_string(ArmorOptions::default())?.as_bytes())?;
        put("openpgp_keys", &format!("binary-{number}"), &public.to_bytes()?)?;
    }

    let plain = header(&package_entries(), &[])?;
    put("rpm_header", "unsigned", &plain)?;
    let parsed = Header::parse_db(&plain)?;
    let signed = parsed.signed_bytes().ok_or("no region")?;
    for secret in [&v4, &v6] {
        let signature = DetachedSignature::sign_binary_data(
            thread_rng(),
            &secret.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha256,
            &signed[..],
        )?;
        signatures.push(signature.to_bytes()?);
    }
    for (number, signature) in signatures.iter().enumerate() {
        put("openpgp_signature", &format!("packet-{number}"), signature)?;
        put("openpgp_signature", &format!("body-{number}"), &signature[2..])?;
    }
    let encoded: Vec<String> =
        signatures.iter().map(|bytes| base64::engine::general_purpose::STANDARD.encode(bytes)).collect();
    let dribbles: Vec<Entry> = vec![
        (tag::DSAHEADER, 7, u32::try_from(signatures[0].len())?, signatures[0].clone()),
        (tag::OPENPGP, 8, 2, format!("{}\0{}\0", encoded[0], encoded[1]).into_bytes()),
        (tag::INSTALLTIME, 4, 1, vec![0, 0, 0, 9]),
        (tag::FILEDIGESTS, 8, 1, b"forged\0".to_vec()),
    ];
    let stored = header(&package_entries(), &dribbles)?;
    put("rpm_header", "signed", &stored)?;
    put("rpm_package", "signed", &package(&plain, &dribbles[..2])?)?;
    put("rpmdb_bdb", "little-endian", &bdb(&stored, false)?)?;
    put("rpmdb_bdb", "big-endian", &bdb(&stored, true)?)?;
    put("digest_index", "one-package", &index(&stored, &v4)?)?;
    put("digest_index", "empty", IndexBuilder::new().finish()?.as_bytes())?;
    envelopes()?;
    policies()?;
    put("pins", "one-key", pins_text("567E347AD0044ADE55BA8A5F199E2F91FD431D51").as_bytes())?;
    Ok(())
}

/// Parsing does not look at signatures, so that any bytes do.
fn envelopes() -> Result<()> {
    let file = |seed: u8, path: &str| ManifestFile { sha256: [seed; 32], size: u64::from(seed), path: path.to_owned() };
    let manifest = Manifest::new(vec![file(1, "/opt/tool/bin/tool"), file(2, "/opt/tool/lib/l\u{f6}b.so")])?;
    put("manifest", "payload", &manifest.to_bytes())?;
    let local = LocalUnsigned { name: "tools".into(), made: 1_800_000_000, manifest: manifest.clone() };
    put("manifest", "local-unsigned", local.to_json().as_bytes())?;
    let digest = "ab".repeat(32);
    let ledger = format!(r#"[{{"type":"manifest","name":"tools","serial":7,"digest":"{digest}"}}]"#);
    put("manifest", "ledger", ledger.as_bytes())?;
    for (algorithm, key_len) in [(Algorithm::Ed25519, 32), (Algorithm::EcdsaP256Sha256, 65), (Algorithm::EcdsaP384Sha384, 97)] {
        let envelope = Envelope {
            claims: Claims {
                kind: if key_len == 65 { Kind::Policy } else { Kind::Manifest },
                algorithm,
                key: KeyId([0xab; 32]),
                serial: 7,
                issued: 1_800_000_000,
                expires: 1_900_000_000,
                targets: vec!["web*.example.org".into(), "*".into()],
                name: "tools".into(),
                payload: manifest.to_bytes(),
            },
            signature: vec![0x30; 70],
        };
        put("envelope", algorithm.word(), envelope.to_json().as_bytes())?;
        let key = PublicKey { name: "Seed".into(), algorithm, public: vec![4; key_len], uses: Kind::ALL.to_vec() };
        put("envelope", &format!("{}.hpkey", algorithm.word()), key.to_toml().as_bytes())?;
    }
    Ok(())
}

/// The shipped policies, and rules of fapolicyd.
fn policies() -> Result<()> {
    for source in shipped().iter().filter(|source| source.text.as_ref().is_some_and(|text| text.len() < 4096)) {
        put("policy", &source.name.replace('/', "-"), source.text.as_deref().unwrap_or_default().as_bytes())?;
    }
    let rules = "%languages=text/x-python,text/x-shellscript\n\
        allow perm=any uid=0 trust=1 : all\n\
        deny_audit perm=execute all : dir=/tmp/ ftype=%languages trust=0\n\
        allow perm=open exe=/usr/bin/\"rpm : path=/etc/ld.so.cache sha256hash=00\n";
    put("policy", "fapolicyd", rules.as_bytes())
}

fn put(target: &str, name: &str, bytes: &[u8]) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// A key with a signing subkey.
fn key(version: KeyVersion, kind: KeyType) -> Result<SignedSecretKey> {
    let subkey = SubkeyParamsBuilder::default()
        .version(version)
        .key_type(kind.clone())
        .can_sign(true)
        .can_encrypt(EncryptionCaps::None)
        .build()?;
    let params = SecretKeyParamsBuilder::default()
        .version(version)
        .key_type(kind)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Seed <seed@example.org>".into())
        .subkey(subkey)
        .build()?;
    Ok(params.generate(thread_rng())?)
}

fn package_entries() -> Vec<Entry> {
    let text = |text: &str| format!("{text}\0").into_bytes();
    vec![
        (tag::HEADERI18NTABLE, 8, 1, text("C")),
        (tag::NAME, 6, 1, text("seed")),
        (tag::VERSION, 6, 1, text("1")),
        (tag::RELEASE, 6, 1, text("1")),
        (tag::SUMMARY, 9, 1, text("A seed")),
        (tag::ARCH, 6, 1, text("noarch")),
        (tag::FILESIZES, 4, 2, vec![0, 0, 0, 5, 0, 0, 0, 0]),
        (tag::FILEMODES, 3, 2, vec![0x81, 0xed, 0x41, 0xed]),
        (tag::FILEMTIMES, 4, 2, vec![0; 8]),
        (tag::FILEDIGESTS, 8, 2, [&[b'a'; 64][..], b"\0\0"].concat()),
        (tag::FILELINKTOS, 8, 2, vec![0, 0]),
        (tag::FILEFLAGS, 4, 2, vec![0, 0, 0, 1, 0, 0, 0, 0]),
        (tag::FILEUSERNAME, 8, 2, b"root\0root\0".to_vec()),
        (tag::FILEGROUPNAME, 8, 2, b"root\0root\0".to_vec()),
        (tag::DIRINDEXES, 4, 2, vec![0, 0, 0, 0, 0, 0, 0, 1]),
        (tag::BASENAMES, 8, 2, b"run\0seed\0".to_vec()),
        (tag::DIRNAMES, 8, 2, b"/opt/seed/\0/opt/\0".to_vec()),
        (tag::FILECAPS, 8, 2, b"= cap_net_raw+ep\0\0".to_vec()),
        (tag::FILEDIGESTALGO, 4, 1, vec![0, 0, 0, 8]),
    ]
}

/// A header as a database stores it; the region holds `entries`.
fn header(entries: &[Entry], dribbles: &[Entry]) -> Result<Vec<u8>> {
    blob(tag::HEADERIMMUTABLE, entries, dribbles)
}

fn blob(region: u32, entries: &[Entry], dribbles: &[Entry]) -> Result<Vec<u8>> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    let mut add = |entry: &Entry, data: &mut Vec<u8>| -> Result<()> {
        let (tag, kind, count, bytes) = entry;
        let align = match kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        data.resize(data.len().next_multiple_of(align), 0);
        for field in [*tag, *kind, u32::try_from(data.len())?, *count] {
            index.extend_from_slice(&field.to_be_bytes());
        }
        data.extend_from_slice(bytes);
        Ok(())
    };
    for entry in entries {
        add(entry, &mut data)?;
    }
    let trailer_at = u32::try_from(data.len())?;
    let n_region = u32::try_from(entries.len() + 1)?;
    for field in [region, 7, (n_region * 16).wrapping_neg(), 16] {
        data.extend_from_slice(&field.to_be_bytes());
    }
    for entry in dribbles {
        add(entry, &mut data)?;
    }
    let mut out = Vec::new();
    out.extend_from_slice(&(n_region + u32::try_from(dribbles.len())?).to_be_bytes());
    out.extend_from_slice(&u32::try_from(data.len())?.to_be_bytes());
    for field in [region, 7, trailer_at, 16] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&index);
    out.extend_from_slice(&data);
    Ok(out)
}

/// A package file with these signatures.
fn package(header: &[u8], signatures: &[Entry]) -> Result<Vec<u8>> {
    let mut out = vec![0; 96];
    out[..4].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb]);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&blob(tag::HEADERSIGNATURES, signatures, &[])?);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(header);
    out.extend_from_slice(b"payload");
    Ok(out)
}

/// A BerkeleyDB hash of one bucket: the next header number, and one header on overflow pages.
fn bdb(value: &[u8], big_endian: bool) -> Result<Vec<u8>> {
    const PAGE: usize = 512;
    let u32b = |value: usize| -> Result<[u8; 4]> {
        let value = u32::try_from(value)?;
        Ok(if big_endian { value.to_be_bytes() } else { value.to_le_bytes() })
    };
    let u16b = |value: usize| -> Result<[u8; 2]> {
        let value = u16::try_from(value)?;
        Ok(if big_endian { value.to_be_bytes() } else { value.to_le_bytes() })
    };
    let chunks: Vec<&[u8]> = value.chunks(PAGE - 26).collect();
    let mut out = vec![0; PAGE * (2 + chunks.len())];
    let mut set = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    set(12, &u32b(0x0006_1561)?);
    set(16, &u32b(9)?);
    set(20, &u32b(PAGE)?);
    set(25, &[8]);
    set(32, &u32b(1 + chunks.len())?);
    set(96, &u32b(1)?);
    set(PAGE + 8, &u32b(1)?);
    set(PAGE + 20, &u16b(4)?);
    set(PAGE + 25, &[13]);
    let items = [
        [&[1][..], &u32b(0)?].concat(),
        [&[1][..], &u32b(2)?].concat(),
        [&[1][..], &u32b(1)?].concat(),
        [&[3, 0, 0, 0][..], &u32b(2)?, &u32b(value.len())?].concat(),
    ];
    let mut end = PAGE;
    for (number, item) in items.iter().enumerate() {
        end -= item.len();
        set(PAGE + 26 + 2 * number, &u16b(end)?);
        set(PAGE + end, item);
    }
    for (number, chunk) in chunks.iter().enumerate() {
        let at = PAGE * (2 + number);
        set(at + 8, &u32b(2 + number)?);
        set(at + 16, &u32b(if number + 1 == chunks.len() { 0 } else { 3 + number })?);
        set(at + 22, &u16b(chunk.len())?);
        set(at + 25, &[7]);
        set(at + 26, chunk);
    }
    Ok(out)
}

fn pins_text(fingerprint: &str) -> String {
    format!("vendor = 'seed'\n[[key]]\nname = 'Seed'\nfingerprint = '{fingerprint}'\nscope = ['s*d']\nlegacy = true\n")
}

/// The index of a database with this one header.
fn index(stored: &[u8], key: &SignedSecretKey) -> Result<Vec<u8>> {
    let bytes = SignedPublicKey::from(key.clone()).to_bytes()?;
    let (found, _) = certificates(&dearmor(&bytes)?);
    let fingerprint = found.first().ok_or("no certificate")?.primary.fingerprint();
    let pins = Pins::from_toml(&pins_text(&fingerprint.to_string()), "seeds")?;
    let (keyring, _) = Keyring::build(&pins, &[KeyMaterial { source: "seeds".into(), bytes }]);
    let checked = check_header(&keyring, Header::parse_db(stored)?);
    let mut builder = IndexBuilder::new();
    builder.add(&checked.header?);
    Ok(builder.finish()?.as_bytes().to_vec())
}
