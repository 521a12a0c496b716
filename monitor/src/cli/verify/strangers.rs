//! What no verified package accounts for: programs in system directories, and rights to run as somebody else.

use crate::crypto::sha256_of;
use crate::trust::manifest::LocalTrust;
use hardpan_core::event::escape;
use hardpan_rpm::DigestIndex;
use hardpan_rpm::root::Root;
use hardpan_rpm::verify::{InventoryItem, InventoryOptions, Unaccounted, inventory};
use serde::Serialize;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Something that no verified package accounts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Stranger {
    #[serde(flatten)]
    item: InventoryItem,
    /// A manifest that nobody signed lists its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
}

impl Stranger {
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self.item.what, Unaccounted::Unreadable { .. })
    }

    /// A line of the table.
    pub(super) fn line(&self) -> String {
        let path = escape(&self.item.path);
        let of = |expected: &Option<String>, package: &Option<String>| match (expected, package) {
            (Some(expected), Some(package)) => {
                let expected = if expected.is_empty() { "none" } else { expected };
                format!("{package} gives {expected}")
            }
            _ => "of no package".to_owned(),
        };
        let (word, note) = match &self.item.what {
            Unaccounted::Unowned { class } => (
                "unowned",
                match &self.manifest {
                    Some(manifest) => format!("{class}, in manifest {manifest}"),
                    None => (*class).to_owned(),
                },
            ),
            Unaccounted::SpecialMode { expected, package } => (
                "set-id",
                format!("mode {}, {}", self.item.mode, of(expected, package)),
            ),
            Unaccounted::Capabilities {
                capabilities,
                expected,
                package,
            } => ("capability", format!("{capabilities}, {}", of(expected, package))),
            Unaccounted::Unreadable { error } => ("unreadable", error.clone()),
            // Kinds that later versions of the library add.
            other => ("unaccounted", format!("{other:?}")),
        };
        format!("{word:<11} {path} ({note})")
    }
}

/// Looks through the system below a root. What a signed manifest lists is no stranger, whatever its path; rights are
/// nothing that a manifest gives.
pub(super) fn find(
    root: &Path,
    index: &DigestIndex,
    local: &LocalTrust,
    options: &InventoryOptions,
) -> io::Result<Vec<Stranger>> {
    let found = inventory(root, index, options)?;
    let root = Root::open(root)?;
    let mut strangers = Vec::with_capacity(found.items.len());
    for mut item in found.items {
        let mut manifest = None;
        if matches!(item.what, Unaccounted::Unowned { .. }) && !local.digests().is_empty() {
            let path = Path::new(std::ffi::OsStr::from_bytes(&item.path));
            match root.open_file(path).and_then(sha256_of) {
                Ok((sha256, _)) => manifest = local.lookup(&sha256).map(|digest| &digest.manifest),
                Err(error) => {
                    item.what = Unaccounted::Unreadable {
                        error: error.to_string(),
                    }
                }
            }
        }
        if manifest.is_some_and(|manifest| manifest.source.is_signed()) {
            continue;
        }
        strangers.push(Stranger {
            item,
            manifest: manifest.map(|manifest| manifest.name.clone()),
        });
    }
    if found.dropped > 0 {
        strangers.push(Stranger {
            item: InventoryItem {
                path: b"/".to_vec(),
                mode: String::new(),
                what: Unaccounted::Unreadable {
                    error: format!("{} more were found and are not listed", found.dropped),
                },
            },
            manifest: None,
        });
    }
    Ok(strangers)
}
