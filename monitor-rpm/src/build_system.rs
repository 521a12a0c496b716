//! Which build system made a package, as far as its build host tells.

/// Endings of build hosts' names, and the system that runs there. Those of Fedora, CentOS, Red Hat and AlmaLinux are
/// as seen in signed packages.
// tidy: table
const HOSTS: [(&str, &str); 7] = [
    (".fedoraproject.org", "Koji (Fedora)"),
    (".mbox.centos.org", "Koji (CentOS)"),
    (".bsys.centos.org", "CentOS 7 build system"),
    (".redhat.com", "Brew (Red Hat)"),
    (".almalinux.org", "AlmaLinux Build System"),
    (".almalinux.org.novalocal", "AlmaLinux Build System"),
    (".rockylinux.org", "Rocky Linux build system"),
];

/// The build system of a package, from its signed BUILDHOST and VENDOR; `None` if these do not tell.
pub fn build_system(build_host: Option<&str>, vendor: Option<&str>) -> Option<&'static str> {
    if vendor.is_some_and(|vendor| vendor.starts_with("Fedora Copr")) {
        return Some("Copr");
    }
    let host = build_host?;
    // Peridot names its pods, not hosts.
    if host.starts_with("pb-") && !host.contains('.') {
        return Some("Peridot (Rocky Linux)");
    }
    HOSTS
        .iter()
        .find(|(ending, _)| host.ends_with(ending))
        .map(|(_, system)| *system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_known_builders() {
        let check = |host: Option<&str>, vendor: Option<&str>, expected: Option<&str>| {
            assert_eq!(build_system(host, vendor), expected, "{host:?}");
        };
        check(
            Some("buildvm-x86-10.iad2.fedoraproject.org"),
            Some("Fedora Project"),
            Some("Koji (Fedora)"),
        );
        check(
            Some("x86-01.mbox.centos.org"),
            Some("CentOS"),
            Some("Koji (CentOS)"),
        );
        check(
            Some("x86-037.build.eng.bos.redhat.com"),
            None,
            Some("Brew (Red Hat)"),
        );
        check(
            Some("ppc64le-builder02.almalinux.org.novalocal"),
            None,
            Some("AlmaLinux Build System"),
        );
        check(Some("evil-almalinux.org"), None, None);
        check(
            Some("copr-host"),
            Some("Fedora Copr - user somebody"),
            Some("Copr"),
        );
        check(Some("localhost"), None, None);
        check(None, None, None);
    }
}
