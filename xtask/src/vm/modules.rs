//! Kernel modules in the guest.

use super::attack;
use super::kernels::Kernel;
use super::packages::{Builder, Content, Package, Signer};
use crate::error::Done;
use crate::place::{self, program};
use crate::sh;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules that go into the guest: small ones without needs of their own.
const MODULES: [&str; 5] = ["binfmt_misc", "brd", "dummy", "nls_utf8", "overlay"];
/// Modules for a firewall, in the kernel's package where the kernel has them as modules.
const FIREWALL_MODULES: &str = "libcrc32c nfnetlink nf_conntrack nf_defrag_ipv4 nf_defrag_ipv6 nf_nat nf_reject_ipv4 \
    nf_reject_ipv6 nf_tables nft_chain_nat nft_ct nft_fib nft_fib_inet nft_fib_ipv4 nft_fib_ipv6 nft_limit nft_log nft_masq \
    nft_nat nft_reject nft_reject_inet nft_reject_ipv4 nft_reject_ipv6";
/// File systems and devices that audits and hardening meet, where the kernel has them as modules.
const FILE_MODULES: &str = "autofs4 efivarfs fuse loop";
/// What serves files over NFS and uses them, compressed: it is much.
const NFS_MODULES: &str =
    "auth_rpcgss dns_resolver fscache grace lockd netfs nfs nfs_acl nfsd nfsv3 nfsv4 sunrpc";

/// Variants share their kernel's modules.
pub(super) fn by_release(kernels: &[Kernel]) -> BTreeMap<String, &Kernel> {
    let releases = kernels.iter().map(|kernel| (kernel.release(), kernel));
    releases
        .filter_map(|(release, kernel)| Some((release?, kernel)))
        .collect()
}

/// Lists the modules of a kernel.
pub(super) fn depmod(root: &Path, release: &str) -> Done {
    // Not there where all modules are built in.
    place::make_dir(&root.join("lib/modules").join(release))?;
    sh::quiet(
        Command::new(program("depmod").unwrap_or_else(|| "depmod".into()))
            .arg("-b")
            .arg(root)
            .arg(release),
    )
}

/// The kernel's modules as a signed package, compressed as EL has them; and, outside any package, one whose
/// signature was cut off, and one that names a key as its signer which no kernel has.
pub(super) fn packaged(kernel: &Kernel, stuff: &Path, builder: &mut Builder, vendor: &Signer) -> Done {
    let (Some(source), Some(release)) = (&kernel.modules, kernel.release()) else {
        return Ok(());
    };
    let mut package = Package::new(
        &format!("kernel-modules-{}", kernel.name.replace('.', "")),
        "Kernel modules",
    );
    let stuff = stuff.join("modules").join(&release);
    for name in MODULES {
        let Some(path) = find_module(&source.join("kernel"), name) else {
            continue;
        };
        let plain = unpacked(&path)?;
        let file = stuff.join(format!("{name}.ko"));
        place::write(&file, &plain)?;
        place::write(
            &stuff.join(format!("{name}-unsigned.ko")),
            without_signature(&plain),
        )?;
        place::write(&stuff.join(format!("{name}-foreign.ko")), foreign(&plain))?;
        package.content(
            &compressed_name(&release, name),
            Content::Bytes(compressed(&file)?),
            0o644,
        );
    }
    for name in FIREWALL_MODULES
        .split_whitespace()
        .chain(FILE_MODULES.split_whitespace())
    {
        // Built in, or of another name there: who misses one says so.
        let Some(path) = find_module(&source.join("kernel"), name) else {
            continue;
        };
        let inside = format!("/usr/lib/modules/{release}/kernel/{name}.ko");
        package.content(&inside, Content::Bytes(unpacked(&path)?), 0o644);
    }
    for name in NFS_MODULES.split_whitespace() {
        let Some(path) = find_module(&source.join("kernel"), name) else {
            continue;
        };
        let bytes = if path.extension().is_some_and(|extension| extension == "xz") {
            place::read(&path)?
        } else {
            compressed(&path)?
        };
        package.content(&compressed_name(&release, name), Content::Bytes(bytes), 0o644);
    }
    if let Some(attack) = &kernel.attack {
        place::copy(attack, &stuff.join(format!("{}.ko", attack::MODULE)))?;
    }
    builder.add(&package, Some(vendor))
}

fn compressed_name(release: &str, name: &str) -> String {
    format!("/usr/lib/modules/{release}/kernel/{name}.ko.xz")
}

fn compressed(module: &Path) -> Done<Vec<u8>> {
    sh::output_bytes(Command::new("xz").args(["--check=crc32", "-1", "-c"]).arg(module))
}

fn unpacked(module: &Path) -> Done<Vec<u8>> {
    if module.extension().is_some_and(|extension| extension == "xz") {
        sh::output_bytes(Command::new("xz").arg("-dc").arg(module))
    } else {
        place::read(module)
    }
}

fn find_module(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(dir).ok()?.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_module(&path, name) {
                return Some(found);
            }
        } else if entry
            .file_name()
            .to_string_lossy()
            .split_once(".ko")
            .is_some_and(|(stem, _)| stem == name)
        {
            return Some(path);
        }
    }
    None
}

/// A module without the signature at its end: `struct module_signature` (12 bytes, the last four the signature's
/// length, big-endian) and a marker line follow it.
fn without_signature(module: &[u8]) -> Vec<u8> {
    const MARKER: &[u8] = b"~Module signature appended~\n";
    let cut = || {
        let body = module.strip_suffix(MARKER)?;
        let (body, info) = body.split_last_chunk::<12>()?;
        let [.., a, b, c, d] = *info;
        body.get(
            ..body
                .len()
                .checked_sub(u32::from_be_bytes([a, b, c, d]).try_into().ok()?)?,
        )
    };
    cut().unwrap_or(module).to_vec()
}

/// The module with another name of its signer's key: the kernel looks that key up and finds none.
fn foreign(module: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"autogenerated kernel key";
    let mut changed = module.to_vec();
    let at = changed.windows(NAME.len()).rposition(|window| window == NAME);
    if let Some(letter) = at.and_then(|at| changed.get_mut(at)) {
        *letter = b'A';
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_loses_its_signature_and_nothing_else() {
        let mut module = b"module body".to_vec();
        module.extend_from_slice(b"SIGNATURE");
        module.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        module.extend_from_slice(b"~Module signature appended~\n");
        assert_eq!(without_signature(&module), b"module body");
        assert_eq!(without_signature(b"never signed"), b"never signed");
        let mut absurd = b"x".to_vec();
        absurd.extend_from_slice(&[0xff; 12]);
        absurd.extend_from_slice(b"~Module signature appended~\n");
        assert_eq!(without_signature(&absurd), absurd);
    }
}
