//! SHA-256 of files whose signed digest is of another algorithm.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::crypto::Hasher;
use crate::digest::{Digest, DigestAlgorithm};
use crate::root::Root;
use crate::signature::VerifiedHeader;

const CHUNK_BYTES: usize = 128 * 1024;

/// The files of one package.
#[derive(Debug, Default)]
pub(super) struct Derived {
    /// SHA-256 by position in the package.
    pub(super) sha256: BTreeMap<usize, [u8; 32]>,
    /// Files that were not compared, or differ.
    pub(super) left_out: u64,
}

impl Derived {
    /// Compares each file with its signed digest; all are left out if `allowed` is not set.
    pub(super) fn find(root: &Root, header: &VerifiedHeader, allowed: bool) -> Self {
        let mut derived = Self::default();
        for (position, file) in header.files().enumerate() {
            let Some(signed) = file.digest else { continue };
            let found = if allowed {
                compare(root, file.dir, file.name, &signed).ok().flatten()
            } else {
                None
            };
            match found {
                Some(sha256) => {
                    derived.sha256.insert(position, sha256);
                }
                None => derived.left_out += 1,
            }
        }
        derived
    }
}

/// SHA-256 of a file if it has the signed digest; both are taken of the same bytes.
fn compare(root: &Root, dir: &[u8], name: &[u8], signed: &Digest) -> io::Result<Option<[u8; 32]>> {
    let mut file = root
        .open_dir(Path::new(OsStr::from_bytes(dir)))?
        .open_file(name)?;
    let unsupported = |_error| io::Error::from(io::ErrorKind::Unsupported);
    let mut signed_hasher = Hasher::new(signed.algorithm()).map_err(unsupported)?;
    let mut sha256_hasher = Hasher::new(DigestAlgorithm::Sha256).map_err(unsupported)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..n).unwrap_or_default();
        signed_hasher.update(bytes);
        sha256_hasher.update(bytes);
    }
    let same = signed_hasher.finish(signed.algorithm()) == Some(*signed);
    let sha256 = sha256_hasher
        .finish(DigestAlgorithm::Sha256)
        .and_then(|digest| digest.sha256());
    Ok(sha256.filter(|_| same))
}
