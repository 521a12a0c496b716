//! What the host says about itself.

use hardpan_core::audit::Host;
use hardpan_core::audit::parse::keyvalue::{Syntax, settings};
use hardpan_rpm::root::Root;

use super::files;

/// Reads os-release, host name, machine id and, on a running system, kernel and architecture.
pub(super) fn host(root: &Root, live: bool) -> Host {
    let text = |path: &str| {
        files::text(root, path)
            .ok()
            .flatten()
            .unwrap_or_else(|| "".into())
    };
    let mut release = text("/etc/os-release");
    if release.is_empty() {
        release = text("/usr/lib/os-release");
    }
    let release = settings(&release, Syntax::Shell);
    let field = |name: &str| {
        release
            .iter()
            .find(|setting| setting.key == name)
            .map(|setting| setting.value.clone())
            .unwrap_or_default()
    };
    let mut host = Host {
        name: text("/etc/hostname").trim().to_owned(),
        machine_id: text("/etc/machine-id").trim().to_owned(),
        os_id: field("ID"),
        os_like: field("ID_LIKE"),
        os_version: field("VERSION_ID"),
        os_name: field("PRETTY_NAME"),
        arch: String::new(),
        kernel: String::new(),
    };
    if live {
        let uname = rustix::system::uname();
        host.kernel = uname.release().to_string_lossy().into_owned();
        host.arch = uname.machine().to_string_lossy().into_owned();
        host.name = uname.nodename().to_string_lossy().into_owned();
    } else if files::stat(root, "/usr/lib64/ld-linux-x86-64.so.2")
        .ok()
        .flatten()
        .is_some()
    {
        host.arch = "x86_64".into();
    } else if files::stat(root, "/usr/lib/ld-linux-aarch64.so.1")
        .ok()
        .flatten()
        .is_some()
    {
        host.arch = "aarch64".into();
    }
    host
}
