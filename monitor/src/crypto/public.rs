//! Public keys of this host, and its names: what envelopes are checked against.

use super::HostCrypto;
use crate::config::read_safely;
use crate::enrich::host;
use hardpan_core::envelope::{Host, PublicKey, TrustedKeys};
use hardpan_core::record::{Finding, FindingCode};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Public keys are in files with this extension.
pub const PUBLIC_KEY_EXTENSION: &str = "hpkey";
/// Entries of one directory that are looked at, at most.
const MAX_ENTRIES: usize = 1000;

/// All public keys in these directories (usually `/etc/hardpan/keys.d`). What cannot be read is told in findings: one
/// broken file does not take trust from the others.
pub fn public_keys(dirs: &[PathBuf]) -> (TrustedKeys, Vec<Finding>) {
    let mut keys = TrustedKeys::default();
    let mut findings = Vec::new();
    for dir in dirs {
        let paths = match key_files(dir) {
            Ok(paths) => paths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                findings.push(unusable(dir, &error));
                continue;
            }
        };
        for path in paths {
            let text = match read_safely(&path) {
                Ok(text) => text,
                Err(error) => {
                    findings.push(unusable(&path, &error));
                    continue;
                }
            };
            match PublicKey::from_toml(&text) {
                Ok(key) => keys.add(key, path.display().to_string(), &HostCrypto),
                Err(error) => findings.push(unusable(&path, &error)),
            }
        }
    }
    (keys, findings)
}

fn key_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)?.take(MAX_ENTRIES) {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == PUBLIC_KEY_EXTENSION)
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unusable(path: &Path, error: &dyn Error) -> Finding {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why.push_str(": ");
        why.push_str(&cause.to_string());
        source = cause.source();
    }
    Finding {
        path: Some(path.display().to_string().as_str().into()),
        ..Finding::new(FindingCode::KeyUnusable, why)
    }
}

/// The names of the host below a root directory, as targets of envelopes mean them. With another root than `/`, the
/// name is that of its `/etc/hostname`.
pub fn this_host(root: &Path) -> Host {
    let identity = host(root);
    let known = |text: String| Some(text).filter(|text| text != "unknown");
    let name = known(identity.name).or_else(|| {
        let text = std::fs::read_to_string(root.join("etc/hostname")).ok()?;
        let name = text.trim().to_owned();
        let clean = !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_graphic());
        clean.then_some(name)
    });
    let mut names = Vec::new();
    if let Some(name) = name {
        let short = name.split('.').next().map(str::to_owned);
        names.extend(short.filter(|short| *short != name));
        names.insert(0, name);
    }
    Host {
        names,
        machine_id: known(identity.id),
    }
}
