//! Which build system made a package, as far as its build host or vendor tells.
//!
//! Both are inside the signed header: they are as true as the signer is honest, and no more than a hint.

use crate::envelope::glob_matches;
use std::fmt;

/// A build system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuildSystem {
    /// AlmaLinux Build System.
    Albs,
    /// Red Hat's internal Koji.
    Brew,
    /// Fedora Copr, which builds in mock.
    Copr,
    /// Koji: Fedora, CentOS, CentOS Stream, Rocky Linux.
    Koji,
    /// Open Build Service.
    Obs,
    /// Peridot: Rocky Linux 9.
    Peridot,
}

impl BuildSystem {
    /// Name for people and for JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Albs => "ALBS",
            Self::Brew => "Brew",
            Self::Copr => "COPR/mock",
            Self::Koji => "Koji",
            Self::Obs => "OBS",
            Self::Peridot => "Peridot",
        }
    }
}

impl fmt::Display for BuildSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Build hosts, as they are seen in released packages; the first that matches counts. (tidy: table)
const BY_HOST: &[(&str, BuildSystem)] = &[
    // x86-037.build.eng.bos.redhat.com, s390-064.build.eng.rdu2.redhat.com
    ("*.build.eng.*.redhat.com", BuildSystem::Brew),
    // x86-06.stream.rdu2.redhat.com: CentOS Stream 9 and 10
    ("*.stream.rdu2.redhat.com", BuildSystem::Koji),
    // x86-01.mbox.centos.org: CentOS 8 and CentOS Stream 8
    ("*.mbox.centos.org", BuildSystem::Koji),
    // aah11.rdu2.centos.org: CentOS 8, aarch64
    ("aah*.rdu2.centos.org", BuildSystem::Koji),
    // ord1-prod-x86build003.svc.aws.rockylinux.org: Rocky Linux 8 and 10, the first packages of 9
    ("ord1-prod-*build*.svc.aws.rockylinux.org", BuildSystem::Koji),
    // pb-5e445082-056e-4562-99d1-1285e51d1fb1-b-x86-64: Rocky Linux 9
    (
        "pb-????????-????-????-????-????????????-b-*",
        BuildSystem::Peridot,
    ),
    // x64-builder01.almalinux.org, ppc64le-builder02.almalinux.org.novalocal
    ("*-builder*.almalinux.org", BuildSystem::Albs),
    ("*-builder*.almalinux.org.novalocal", BuildSystem::Albs),
    // almalinux-p9.osuosl.org: AlmaLinux for ppc64le
    ("almalinux-*.osuosl.org", BuildSystem::Albs),
    // buildvm-x86-10.iad2.fedoraproject.org, buildhw-a64-02.iad2.fedoraproject.org: Fedora and EPEL
    ("build*.fedoraproject.org", BuildSystem::Koji),
    // copr-builder-435276744.novalocal
    ("copr-builder-*", BuildSystem::Copr),
];

/// Vendors that a build system writes itself. (tidy: table)
const BY_VENDOR: &[(&str, BuildSystem)] = &[
    ("Fedora Project COPR (*", BuildSystem::Copr),
    ("Fedora Copr - *", BuildSystem::Copr),
    ("obs://*", BuildSystem::Obs),
];

/// The build system of a package with this build host and vendor; `None` if they do not tell.
pub fn build_system(build_host: Option<&str>, vendor: Option<&str>) -> Option<BuildSystem> {
    let find = |table: &[(&str, BuildSystem)], text: Option<&str>| {
        let text = text?;
        table
            .iter()
            .find(|(pattern, _)| glob_matches(pattern, text))
            .map(|(_, system)| *system)
    };
    find(BY_VENDOR, vendor).or_else(|| find(BY_HOST, build_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_hosts_of_released_packages() {
        let check = |host: &str, expected: Option<BuildSystem>| {
            assert_eq!(build_system(Some(host), Some("any")), expected, "{host}");
        };
        check("x86-037.build.eng.bos.redhat.com", Some(BuildSystem::Brew));
        check("x86-06.stream.rdu2.redhat.com", Some(BuildSystem::Koji));
        check("aarch64-02.mbox.centos.org", Some(BuildSystem::Koji));
        check("aah11.rdu2.centos.org", Some(BuildSystem::Koji));
        check(
            "ord1-prod-a64build005.svc.aws.rockylinux.org",
            Some(BuildSystem::Koji),
        );
        check(
            "pb-2da088e8-e0a2-47e5-9218-08f149dcb385-b-noarch",
            Some(BuildSystem::Peridot),
        );
        check("x64-builder01.almalinux.org", Some(BuildSystem::Albs));
        check(
            "ppc64le-builder02.almalinux.org.novalocal",
            Some(BuildSystem::Albs),
        );
        check("almalinux-p9.osuosl.org", Some(BuildSystem::Albs));
        check(
            "buildvm-ppc64le-04.iad2.fedoraproject.org",
            Some(BuildSystem::Koji),
        );
        check("copr-builder-435276744.novalocal", Some(BuildSystem::Copr));
        // What does not tell.
        check("localhost", None);
        check("builder.remirepo.net", None);
        check("192-168-246-197.atm.cloudlinux.com", None);
        check("x86-037.build.eng.bos.redhat.com.example.org", None);
        check("", None);
    }

    #[test]
    fn vendors_that_a_build_system_writes() {
        let check = |vendor: &str, expected: Option<BuildSystem>| {
            assert_eq!(build_system(Some("4f1c8a"), Some(vendor)), expected, "{vendor}");
        };
        check("Fedora Project COPR (jross/ssorj)", Some(BuildSystem::Copr));
        check("Fedora Copr - user example", Some(BuildSystem::Copr));
        check("obs://build.opensuse.org/home:example", Some(BuildSystem::Obs));
        check("Fedora Project", None);
        assert_eq!(build_system(None, None), None);
    }
}
