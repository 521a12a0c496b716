//! What the commands look at: which system, which keys, which stored state.

use super::{Failure, now, say};
pub(in crate::cli) use crate::chain::chain;
use crate::config::{self, Config, Sources, Trust};
use crate::enrich;
use crate::trust::local_trust;
use crate::trust::manifest::LocalTrust;
use crate::trust::store::{self, Current, ReadingOrigin, STORE_NAME, StoreError};
use clap::Args;
use hardpan_core::record::Finding;
use hardpan_rpm::{ScanError, ScanOptions, scan};
use std::io;
use std::path::{Path, PathBuf};

/// Where Hardpan keeps its state.
pub(super) const STATE_DIR: &str = "/var/lib/hardpan";

/// Which system to look at, and with which keys.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SightArgs {
    /// Look at the system below this directory (a mounted image, a container's files).
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Directory of the package database inside the root.
    #[arg(long, value_name = "DIR")]
    pub(super) dbpath: Option<PathBuf>,
    /// File, or directory of files, with public keys of packagers; only pinned ones count. Instead of /etc/pki/rpm-gpg.
    #[arg(long, value_name = "PATH")]
    pub(super) keyring: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) state: StateArgs,
}

/// Where the operator's keys and Hardpan's state are.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct StateArgs {
    /// Directory of pinned keys (*.toml) and of public keys for manifests (*.hpkey) [default: /etc/hardpan/keys.d].
    #[arg(long, value_name = "DIR")]
    pub(super) keys_dir: Option<PathBuf>,
    /// Directory for what is kept: the last reading of the database, manifests, serials. Without it nothing is kept
    /// for another system than the running one [default: /var/lib/hardpan].
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Read this configuration instead of /etc/hardpan/hardpan.toml and /etc/hardpan/conf.d/*.toml.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl StateArgs {
    /// The configuration, with these options in effect.
    pub(super) fn trust_config(&self) -> Result<Trust, Failure> {
        let sources = self.config.clone().map_or(Sources::Default, Sources::File);
        let config: Config = config::load(&sources).map_err(|error| {
            let hint = error.hint();
            Failure {
                exit: super::Exit::Usage,
                ..Failure::failed(error, hint)
            }
        })?;
        let mut trust = config.trust;
        if let Some(dir) = &self.keys_dir {
            trust.pins = vec![dir.clone()];
        }
        Ok(trust)
    }

    /// The state directory for changes.
    pub(super) fn dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| STATE_DIR.into())
    }
}

/// What was seen.
#[derive(Debug)]
pub(in crate::cli) struct Sight {
    /// The packages.
    pub(in crate::cli) current: Current,
    /// Manifests in effect.
    pub(in crate::cli) local: LocalTrust,
    /// What is wrong with keys, pins and manifests.
    pub(in crate::cli) findings: Vec<Finding>,
    /// The options of the reading.
    pub(super) options: ScanOptions,
    /// The file that keeps the reading.
    pub(super) store: Option<PathBuf>,
}

impl SightArgs {
    /// The system below a root, as configured if it is the running one.
    pub(in crate::cli) fn of_root(root: &Path) -> Self {
        Self {
            root: (root != Path::new("/")).then(|| root.to_owned()),
            dbpath: None,
            keyring: Vec::new(),
            state: StateArgs {
                keys_dir: None,
                state_dir: None,
                config: None,
            },
        }
    }

    /// The root that is meant.
    pub(in crate::cli) fn root(&self, config: &Trust) -> PathBuf {
        self.root.clone().unwrap_or_else(|| config.root.clone())
    }

    /// The configuration with these options in effect.
    pub(in crate::cli) fn config(&self) -> Result<Trust, Failure> {
        let mut config = self.state.trust_config()?;
        if let Some(root) = &self.root {
            config.root.clone_from(root);
            // What the configuration says of a database and of keys is about the running system.
            config.dbpath = None;
            if root != Path::new("/") {
                config.keyring.clear();
            }
        }
        if self.dbpath.is_some() {
            config.dbpath.clone_from(&self.dbpath);
        }
        if !self.keyring.is_empty() {
            config.keyring.clone_from(&self.keyring);
            config.database_keys = false;
        }
        Ok(config)
    }

    /// Directory for what is kept: the given one, or the usual one if it is the running system that is looked at.
    fn kept_in(&self) -> Option<PathBuf> {
        let usual = self.root.as_deref().is_none_or(|root| root == Path::new("/"))
            && self.dbpath.is_none()
            && self.keyring.is_empty();
        self.state
            .state_dir
            .clone()
            .or_else(|| usual.then(|| STATE_DIR.into()))
    }

    /// What to scan and whom to believe; the findings are about pins and keys.
    pub(in crate::cli) fn scan_options(
        &self,
        config: &Trust,
    ) -> Result<(ScanOptions, Vec<Finding>), Failure> {
        let (mut options, findings) = store::scan_options(config);
        if self.keyring.is_empty() && self.root.is_some() && config.root != Path::new("/") {
            // Inside a root that is not ours no link may lead out of it.
            options.keys = scan::key_files(&config.root).map_err(could_not_look)?;
        }
        Ok((options, findings))
    }

    /// Looks: takes the stored reading if it is current, else reads the database. `force` reads in any case.
    pub(in crate::cli) fn look(&self, force: bool) -> Result<Sight, Failure> {
        let config = self.config()?;
        let (options, mut findings) = self.scan_options(&config)?;
        let state = self.kept_in();
        let store = state.as_ref().map(|dir| dir.join(STORE_NAME));
        let boot_id = enrich::host(Path::new("/")).boot_id;
        let current = store::current(options.clone(), store.as_deref(), &boot_id, force, None, None)
            .map_err(could_not_look)?;
        tell_about_store(&current);
        let local = match &state {
            Some(dir) => manifests(dir, &config, &mut findings)?,
            None => LocalTrust::default(),
        };
        Ok(Sight {
            current,
            local,
            findings,
            options,
            store,
        })
    }
}

/// The manifests in a state directory.
pub(super) fn manifests(
    state_dir: &Path,
    config: &Trust,
    findings: &mut Vec<Finding>,
) -> Result<LocalTrust, Failure> {
    let (local, wrong) = local_trust(state_dir, &config.pins, now()?).map_err(|error| {
        let hint = error.hint();
        Failure::failed(error, hint)
    })?;
    findings.extend(wrong);
    Ok(local)
}

fn could_not_look(error: ScanError) -> Failure {
    Failure::failed(
        error,
        Some("is this an RPM system? see --root and --dbpath; reading the running system's database may need root".to_owned()),
    )
}

/// A stored reading that could not be used or written is no failure, but the next start will be slower.
fn tell_about_store(current: &Current) {
    if let ReadingOrigin::Scanned {
        store_problem,
        not_kept,
    } = &current.origin
    {
        for problem in [store_problem, not_kept].into_iter().flatten() {
            // Without root nothing can be kept; everybody knows.
            let denied = matches!(
                problem,
                StoreError::Read { source, .. } | StoreError::Write { source, .. }
                    if matches!(source.kind(), io::ErrorKind::PermissionDenied)
            );
            if !denied {
                say(&format!("note: {}; the database was read", chain(problem)));
            }
        }
    }
}
