//! Installed packages, from the rpm database.

use crate::chain::chain;
use std::ops::ControlFlow;
use std::path::Path;

use hardpan_core::audit::Package;
use hardpan_rpm::db::{DbError, RpmDb};
use hardpan_rpm::header::Header;
use hardpan_rpm::root::Root;

// Tag numbers of rpm's header format.
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const SUMMARY: u32 = 1004;
const VENDOR: u32 = 1011;

/// All installed packages, sorted by name. Signatures are not looked at here: an audit asks what rpm would answer.
pub(crate) fn packages(root: &Root, dbpath: Option<&Path>) -> Result<Vec<Package>, String> {
    let database = RpmDb::open(root, dbpath, None).map_err(|error| chain(&error))?;
    let mut packages = Vec::new();
    let mut broken = None;
    database
        .for_each(&mut |record| {
            match record.map_err(|error| chain(&error)).and_then(|(number, blob)| {
                Header::parse_db(&blob).map_err(|error| format!("header {number}: {}", chain(&error)))
            }) {
                Ok(header) => packages.extend(package(&header)),
                Err(why) => broken = Some(why),
            }
            ControlFlow::Continue(())
        })
        .map_err(|error: DbError| chain(&error))?;
    if let Some(why) = broken {
        // A package that cannot be read may be the one a check asks for.
        return Err(why);
    }
    packages.sort();
    Ok(packages)
}

fn package(header: &Header) -> Option<Package> {
    let view = header.region();
    let view = if view.has(NAME) { view } else { header.dribbles() };
    let text = |tag: u32| {
        view.string(tag)
            .ok()
            .flatten()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    };
    let name = text(NAME);
    if name.is_empty() {
        return None;
    }
    let epoch = view.int(EPOCH).ok().flatten().filter(|epoch| *epoch > 0);
    let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let summary = if name == "gpg-pubkey" {
        text(SUMMARY)
    } else {
        String::new()
    };
    Some(Package {
        evr: format!("{epoch}{}-{}", text(VERSION), text(RELEASE)),
        vendor: text(VENDOR),
        summary,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_databases_are_listed() {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/rpmdb");
        let Ok(entries) = std::fs::read_dir(&shared) else {
            println!("skipped: no shared data");
            return;
        };
        let mut count = 0;
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let dir = tempfile::tempdir().unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let file = if name.ends_with("sqlite") {
                "rpmdb.sqlite"
            } else {
                "Packages"
            };
            if !(name.contains("sqlite") || name.contains("Packages")) || name.contains("TAMPERED") {
                continue;
            }
            std::fs::create_dir_all(dir.path().join("var/lib/rpm")).unwrap();
            std::fs::copy(&path, dir.path().join("var/lib/rpm").join(file)).unwrap();
            let root = Root::open(dir.path()).unwrap();
            // A back end that EL does not have, and a database without rpm's tables: never "no packages".
            if name.contains("ndb") || name.starts_with("empty") {
                assert!(packages(&root, None).is_err(), "{name}");
                continue;
            }
            let packages = packages(&root, None).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(!packages.is_empty(), "{name}");
            assert!(packages.iter().all(|package| package.evr.contains('-')), "{name}");
            count += 1;
        }
        println!("{count} databases");
    }

    #[test]
    fn no_database_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(packages(&Root::open(dir.path()).unwrap(), None).is_err());
    }
}
