//! The manifests that count on this host, with everything they are held against.

use super::manifest::{LocalTrust, MANIFEST_DIR, load_all};
use crate::crypto::{LedgerFile, LedgerFileError, public_keys, this_host};
use hardpan_core::envelope::{Kind, Known};
use hardpan_core::record::Finding;
use std::path::{Path, PathBuf};

/// Loads the manifests of a state directory. `keys` are the directories of public keys, `now` is in seconds since
/// 1970. What does not count is a finding; an error means that serials cannot be told, so that nothing counts.
pub fn local_trust(
    state_dir: &Path,
    keys: &[PathBuf],
    now: i64,
) -> Result<(LocalTrust, Vec<Finding>), LedgerFileError> {
    let dir = state_dir.join(MANIFEST_DIR);
    if !dir.exists() {
        return Ok((LocalTrust::default(), Vec::new()));
    }
    let (keys, mut findings) = public_keys(keys);
    let ledger = LedgerFile::load(state_dir)?;
    let host = this_host(Path::new("/"));
    let known = Known {
        kind: Kind::Manifest,
        keys: &keys,
        host: &host,
        now,
        ledger: ledger.ledger(),
    };
    let (local, refused) = load_all(&dir, &known);
    findings.extend(refused);
    Ok((local, findings))
}
