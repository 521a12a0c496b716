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

/// The running system's addresses, without those of the loopback interface and of links.
pub(super) fn addresses() -> Vec<String> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut found = ipv4(&text("/proc/net/fib_trie"));
    found.extend(ipv6(&text("/proc/net/if_inet6")));
    found
}

/// Local addresses in the kernel's routing tree: the line before `/32 host LOCAL`.
fn ipv4(fib_trie: &str) -> Vec<String> {
    let mut found: Vec<std::net::Ipv4Addr> = Vec::new();
    let mut last: Option<std::net::Ipv4Addr> = None;
    for line in fib_trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found.sort();
    found.iter().map(ToString::to_string).collect()
}

/// Addresses in `/proc/net/if_inet6`: 32 hex digits, then index, prefix length, scope, flags, name.
fn ipv6(if_inet6: &str) -> Vec<String> {
    let mut found: Vec<std::net::Ipv6Addr> = if_inet6
        .lines()
        .filter_map(|line| {
            let digits = line
                .split_whitespace()
                .next()
                .filter(|digits| digits.len() == 32)?;
            u128::from_str_radix(digits, 16)
                .ok()
                .map(std::net::Ipv6Addr::from)
        })
        .filter(|address| !address.is_loopback() && !address.is_unicast_link_local())
        .collect();
    found.sort();
    found.dedup();
    found.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_kernel_s_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- junk\n        /32 host LOCAL\n";
        assert_eq!(ipv4(trie), ["10.0.0.7"]);
        let table = "00000000000000000000000000000001 01 80 10 80 lo\nfe80000000000000505400fffe123456 02 40 20 80 eth0\n20010db8000000000000000000000007 02 40 00 80 eth0\nzz 02\n";
        assert_eq!(ipv6(table), ["2001:db8::7"]);
        assert!(ipv4("").is_empty() && ipv6("").is_empty());
    }
}
