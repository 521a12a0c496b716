//! Which keys are pinned, and where their material may be found.

use crate::chain::chain;
use crate::config::read_safely;
use hardpan_core::record::{Finding, FindingCode};
use hardpan_rpm::Pins;
use hardpan_rpm::scan::KeyMaterial;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Vendors' release keys, as they are in `policies/vendor/keys`. (tidy: table)
const VENDOR_PINS: [(&str, &str); 7] = [
    (
        "almalinux.toml",
        include_str!("../../../policies/vendor/keys/almalinux.toml"),
    ),
    (
        "centos.toml",
        include_str!("../../../policies/vendor/keys/centos.toml"),
    ),
    (
        "epel.toml",
        include_str!("../../../policies/vendor/keys/epel.toml"),
    ),
    (
        "oracle.toml",
        include_str!("../../../policies/vendor/keys/oracle.toml"),
    ),
    (
        "redhat-beta.toml",
        include_str!("../../../policies/vendor/keys/redhat-beta.toml"),
    ),
    (
        "redhat.toml",
        include_str!("../../../policies/vendor/keys/redhat.toml"),
    ),
    (
        "rocky.toml",
        include_str!("../../../policies/vendor/keys/rocky.toml"),
    ),
];

/// Files below one keyring directory, at most.
const MAX_KEY_FILES: usize = 1000;
/// Bytes of one key file, at most.
const MAX_KEY_BYTES: u64 = 1 << 20;

/// All pins that can be read. What cannot is told in findings: one broken file does not take trust from the others.
/// `key_sets` names the vendors whose pins count; `None`: all of them.
pub(super) fn pins(vendor: bool, key_sets: Option<&[String]>, dirs: &[PathBuf]) -> (Pins, Vec<Finding>) {
    let mut pins = Pins::default();
    let mut findings = Vec::new();
    let mut add = |text: &str, origin: &str| {
        let added = Pins::from_toml(text, origin).and_then(|file| pins.merge(&file));
        if let Err(error) = added {
            findings.push(unusable(Path::new(origin), &chain(&error)));
        }
    };
    if vendor {
        for (name, text) in VENDOR_PINS {
            let stem = name.strip_suffix(".toml").unwrap_or(name);
            if key_sets.is_some_and(|sets| !sets.iter().any(|set| set == stem)) {
                continue;
            }
            add(text, &format!("vendor pins {name}"));
        }
    }
    let mut unread = Vec::new();
    for dir in dirs {
        match files(dir) {
            Ok(paths) => {
                for path in paths
                    .iter()
                    .filter(|path| path.extension().is_some_and(|e| e == "toml"))
                {
                    match read_safely(path) {
                        Ok(text) => add(&text, &path.display().to_string()),
                        Err(error) => unread.push(unusable(path, &chain(&error))),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unread.push(unusable(dir, &error.to_string())),
        }
    }
    findings.append(&mut unread);
    (pins, findings)
}

/// Key material in files and directories. Pins decide what it is worth.
pub(super) fn material(places: &[PathBuf]) -> (Vec<KeyMaterial>, Vec<Finding>) {
    let mut keys = Vec::new();
    let mut findings = Vec::new();
    for place in places {
        let paths = if place.is_dir() {
            files(place)
        } else {
            Ok(vec![place.clone()])
        };
        match paths {
            Ok(paths) => {
                for path in paths {
                    match read_key(&path) {
                        Ok(Some(bytes)) => keys.push(KeyMaterial {
                            source: path.display().to_string(),
                            bytes,
                        }),
                        Ok(None) => {}
                        Err(error) => findings.push(unusable(&path, &error.to_string())),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => findings.push(unusable(place, &error.to_string())),
        }
    }
    (keys, findings)
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)?.take(MAX_KEY_FILES) {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The bytes of a regular file; `None` for a missing one and for what is no file.
fn read_key(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => return Ok(None),
        Ok(meta) if meta.len() > MAX_KEY_BYTES => {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "larger than 1 MiB: no key file",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_KEY_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn unusable(path: &Path, why: &str) -> Finding {
    Finding {
        path: Some(path.display().to_string().as_str().into()),
        ..Finding::new(FindingCode::KeyUnusable, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_can_leave_vendors_out() {
        let (all, _) = pins(true, None, &[]);
        let (few, findings) = pins(true, Some(&["rocky".to_owned(), "epel".to_owned()]), &[]);
        assert!(findings.is_empty());
        let vendors: std::collections::BTreeSet<&str> = few.iter().map(|pin| pin.vendor.as_str()).collect();
        assert_eq!(vendors.into_iter().collect::<Vec<_>>(), ["epel", "rocky"]);
        assert!(few.len() < all.len());
        let (mut legacy, _) = pins(true, None, &[]);
        assert!(!legacy.iter().all(|pin| pin.legacy));
        legacy.accept_legacy();
        assert!(legacy.iter().all(|pin| pin.legacy));
    }

    #[test]
    fn every_vendor_file_is_built_in_and_usable() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/vendor/keys");
        let mut there: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, VENDOR_PINS.map(|(name, _)| name));
        let (pins, findings) = pins(true, None, &[]);
        assert!(findings.is_empty(), "{findings:?}");
        assert!(pins.len() >= 7);
    }

    #[test]
    fn operators_pins_are_added_and_broken_ones_told() {
        let dir = tempfile::tempdir().unwrap();
        let pin = "vendor = \"us\"\n[[key]]\nname = \"Our key\"\n\
                   fingerprint = \"567E347AD0044ADE55BA8A5F199E2F91FD431D52\"\n";
        fs::write(dir.path().join("ours.toml"), pin).unwrap();
        fs::write(dir.path().join("broken.toml"), "nonsense").unwrap();
        fs::write(dir.path().join("ignored.txt"), "nonsense").unwrap();
        let (pins, findings) = pins(false, None, &[dir.path().to_owned(), "/nonexistent".into()]);
        assert_eq!((pins.len(), findings.len()), (1, 1));
        assert_eq!(findings[0].code, FindingCode::KeyUnusable);
        assert!(findings[0].path.as_ref().unwrap().text().ends_with("broken.toml"));
    }

    #[test]
    fn material_of_files_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "key").unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let (keys, findings) =
            material(&[dir.path().to_owned(), dir.path().join("a"), "/nonexistent".into()]);
        assert_eq!((keys.len(), findings.len()), (2, 0));
        assert_eq!(keys[0].bytes, b"key");
    }
}
