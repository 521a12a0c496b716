//! Helpers of this crate's tests.

use std::path::{Path, PathBuf};

use crate::pins::Pins;
use crate::signature::KeyMaterial;

/// A file or directory of the shared test data; says so and gives `None` where that is absent.
pub(crate) fn shared_data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data")
        .join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data ({})", path.display());
    None
}

/// The pins that are shipped.
pub(crate) fn vendor_pins() -> Pins {
    let mut pins = Pins::default();
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/vendor/keys")) {
        let text = std::fs::read_to_string(&path).unwrap();
        pins.merge(&Pins::from_toml(&text, &path.display().to_string()).unwrap())
            .unwrap();
    }
    pins
}

/// The files of a directory, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// The key files of a directory whose names satisfy `wanted`.
pub(crate) fn key_material(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<KeyMaterial> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files(folder)
        .into_iter()
        .filter(|path| wanted(&name(path)))
        .map(|path| KeyMaterial {
            source: name(&path),
            bytes: std::fs::read(&path).unwrap(),
        })
        .collect()
}
