//! Reads what `hardpan_core::platform::migration` judges, and remembers what the host was.

use crate::harden::Root;
use hardpan_core::platform::Release;
use hardpan_core::platform::migration::{
    HostIdentity, IDENTITY_VERSION, InstalledPackage, Rebaseline, STAGES, TRACES, Traces, parse_repositories,
    rebaseline, rebuilt,
};
use hardpan_core::policy::harden::Host as _;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// The stored identity, within the root.
const IDENTITY: &str = "/var/lib/hardpan/host.json";

/// Where package databases lie, the newest layout first.
const DATABASES: [&str; 4] = [
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/rpm/Packages.db",
];

/// Why the host's identity could not be remembered.
#[derive(Debug, Error)]
pub enum IdentityFileError {
    /// The root.
    #[error("cannot find {IDENTITY} within the root")]
    Root(#[from] crate::harden::RootError),
    /// Writing it.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Encoding it.
    #[error("cannot encode the host's identity")]
    Encode(#[source] serde_json::Error),
}

/// Traces of a move. `packages` come from whoever reads the package database; without them the rest is still found.
pub fn gather_traces(root: &Root, packages: Vec<InstalledPackage>) -> Traces {
    let exists = |path: &str| root.resolve(path).is_ok_and(|path| path.exists());
    let repositories = root
        .list("/etc/yum.repos.d")
        .iter()
        .filter(|name| name.strip_suffix(".repo").is_some())
        .flat_map(|name| {
            let file = format!("/etc/yum.repos.d/{name}");
            let text = root.read(&file).unwrap_or_default();
            parse_repositories(&file, &text)
        })
        .collect();
    Traces {
        os_release: os_release(root),
        paths: TRACES
            .iter()
            .map(|(path, _)| *path)
            .filter(|path| exists(path))
            .map(str::to_owned)
            .collect(),
        migration_results: root.read("/etc/migration-results"),
        stages: root.list(STAGES),
        selinux_config: root.read("/etc/selinux/config"),
        boot_entries: root.list("/boot/loader/entries"),
        network_scripts: root.list("/etc/sysconfig/network-scripts"),
        repositories,
        packages,
        var_lib_rpm_is_directory: root.link("/var/lib/rpm").is_none() && exists("/var/lib/rpm/rpmdb.sqlite"),
        has_sysimage_rpmdb: exists("/usr/lib/sysimage/rpm/rpmdb.sqlite"),
    }
}

fn os_release(root: &Root) -> String {
    root.read("/etc/os-release")
        .or_else(|| root.read("/usr/lib/os-release"))
        .unwrap_or_default()
}

/// What the host is now. `kernel` is `uname -r`.
pub fn identity(root: &Root, kernel: &str) -> HostIdentity {
    let release = Release::parse(&os_release(root));
    let database = DATABASES.iter().find(|path| root.stat(path).is_some());
    HostIdentity {
        version: IDENTITY_VERSION,
        vendor: release.vendor.name().to_owned(),
        release: release.version,
        kernel: kernel.to_owned(),
        rpmdb: database.map_or_else(|| "none".to_owned(), |path| (*path).to_owned()),
    }
}

/// Compares the host with what it was when this was last called, and remembers what it is now.
///
/// `Some` once after an upgrade or move, and once where the stored identity is damaged or of another version: the daemon
/// writes one record and learns anew. The first call ever has nothing to compare with and answers `None`.
pub fn note_host(root: &Root, kernel: &str) -> Result<Option<Rebaseline>, IdentityFileError> {
    let now = identity(root, kernel);
    let before = root.read(IDENTITY).map(|text| HostIdentity::parse(&text));
    if matches!(&before, Some(Ok(before)) if *before == now) {
        return Ok(None);
    }
    let path = root.resolve(IDENTITY)?;
    let text = serde_json::to_string_pretty(&now).map_err(IdentityFileError::Encode)?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| IdentityFileError::Write {
            path: path.clone(),
            source,
        })?;
    }
    crate::trust::atomic::write(&path, text.as_bytes(), 0o644)
        .map_err(|source| IdentityFileError::Write { path, source })?;
    Ok(match before {
        None => None,
        Some(Ok(before)) => rebaseline(&before, &now),
        Some(Err(why)) => Some(rebuilt(&why)),
    })
}
