//! Who this host is.

use hardpan_core::record::Host;
use std::fs;
use std::path::Path;

/// Reads the host's identity below a root directory. What is missing becomes `unknown`: records go out all the same.
pub fn host(root: &Path) -> Host {
    let read = |path: &str| {
        let text = fs::read_to_string(root.join(path)).unwrap_or_default();
        let text = text.trim();
        // These end up in the id of every record; whoever may write them must not forge other fields.
        let clean = !text.is_empty() && text.len() <= 253 && text.bytes().all(|b| b.is_ascii_graphic());
        if clean {
            text.to_owned()
        } else {
            "unknown".to_owned()
        }
    };
    Host {
        id: read("etc/machine-id"),
        name: read("proc/sys/kernel/hostname"),
        boot_id: read("proc/sys/kernel/random/boot_id"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_and_an_empty_one() {
        let here = host(Path::new("/"));
        assert_eq!(here.boot_id.len(), 36);
        assert_ne!(here.name, "unknown");
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/machine-id"), "a\"b\nc").unwrap();
        let nowhere = host(dir.path());
        assert_eq!(
            (nowhere.id.as_str(), nowhere.name.as_str()),
            ("unknown", "unknown")
        );
    }
}
