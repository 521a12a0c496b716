//! Headers of packages that are about to be installed, verified against the pinned keys.

use crate::chain::chain;
use crate::config::Trust;
use crate::trust::store::scan_options;
use hardpan_abi::{GateClass, TrustedEntry};
use hardpan_core::event::RawText;
use hardpan_core::verdict::{Package, Signer, TrustOrigin, TrustedFile};
use hardpan_rpm::IndexBuilder;
use hardpan_rpm::package::read_headers;
use hardpan_rpm::signature::{Keyring, check_package_header};
use std::fs::File;
use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time for which keys are not read again.
const KEYS_FOR: Duration = Duration::from_secs(10);
/// What the kernel knows of a file of such a package: never set-id, and without capabilities.
pub(crate) const PROVISIONAL: TrustedEntry = TrustedEntry {
    class: GateClass::Provisional as u32,
    marks: 0,
    capabilities: 0,
};

/// A package whose header was verified.
#[derive(Debug)]
pub(crate) struct Verified {
    /// Name and version.
    pub package: Package,
    /// Whose key signed it.
    pub signer: String,
    /// Its files that may execute, with their sizes.
    pub digests: Vec<([u8; 32], u64)>,
    /// The same files, as verdicts name them.
    pub files: Vec<([u8; 32], TrustedFile)>,
}

/// Pinned keys that were read a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<Option<(Instant, Trust, Arc<Keyring>)>>);

impl Keys {
    /// The keys that this configuration pins.
    pub(crate) fn get(&self, config: &Trust) -> Arc<Keyring> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, of, keyring)) = &*kept
            && since.elapsed() < KEYS_FOR
            && of == config
        {
            return Arc::clone(keyring);
        }
        let (options, _findings) = scan_options(config);
        let (keyring, _findings) = Keyring::build(&options.pins, &options.keys);
        let keyring = Arc::new(keyring);
        *kept = Some((Instant::now(), config.clone(), Arc::clone(&keyring)));
        keyring
    }
}

/// Verifies the header of a package, which begins where the file is.
pub(crate) fn verify(file: File, keyring: &Keyring) -> Result<Verified, String> {
    let (signatures, header) = read_headers(&mut BufReader::new(file)).map_err(|error| chain(&error))?;
    let checked = check_package_header(keyring, &signatures, header);
    let header = checked.header.map_err(|refusal| chain(&refusal))?;
    let mut builder = IndexBuilder::new();
    builder.add(&header);
    let index = builder.finish().map_err(|error| chain(&error))?;
    let Some(package) = index.packages().next() else {
        return Err("its header has no package".to_owned());
    };
    let nevra = package.nevra();
    let epoch = nevra.epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let signer = Signer {
        fingerprint: package.signer().pinned_key.to_owned(),
        name: package.signer().pin_name.to_owned(),
    };
    let package = Package {
        name: nevra.name,
        version: format!("{epoch}{}-{}", nevra.version, nevra.release),
        arch: nevra.arch.unwrap_or_else(|| "noarch".to_owned()),
    };
    let digests: Vec<([u8; 32], u64)> = index
        .digests()
        .filter(|digest| digest.class.may_execute() && !digest.class.kernel_module)
        .map(|digest| (digest.sha256, digest.size))
        .collect();
    let file = |sha256: &[u8; 32]| TrustedFile {
        package: package.clone(),
        signer: signer.clone(),
        path: index
            .lookup(sha256)
            .map_or_else(|| "".into(), |owner| RawText::new(owner.path())),
        origin: TrustOrigin::Provisional,
    };
    Ok(Verified {
        files: digests
            .iter()
            .map(|(sha256, _)| (*sha256, file(sha256)))
            .collect(),
        signer: signer.name.clone(),
        package,
        digests,
    })
}
