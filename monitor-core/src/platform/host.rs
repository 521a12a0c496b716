//! Security state of the host: FIPS mode, SELinux, Secure Boot, virtualisation, image mode.

/// SELinux as the kernel runs it and as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeLinux {
    /// Not compiled in, switched off at boot, or its file system is not mounted.
    Disabled,
    /// Loaded, only logging.
    Permissive,
    /// Loaded and enforcing.
    Enforcing,
    /// The state file holds something else.
    Unknown(String),
}

impl SeLinux {
    /// From `/sys/fs/selinux/enforce`; `None` if there is no such file.
    pub fn parse(enforce: Option<&str>) -> Self {
        match enforce.map(str::trim) {
            None => Self::Disabled,
            Some("0") => Self::Permissive,
            Some("1") => Self::Enforcing,
            Some(other) => Self::Unknown(other.chars().take(40).collect()),
        }
    }

    /// `disabled`, `permissive`, `enforcing`, `unknown`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Permissive => "permissive",
            Self::Enforcing => "enforcing",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// FIPS state. The crypto policy alone is not FIPS mode; the two can disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fips {
    /// The kernel runs in FIPS mode and the crypto policy is FIPS.
    On,
    /// Neither.
    Off,
    /// The kernel runs in FIPS mode, the policy is another.
    KernelOnly,
    /// The policy is FIPS, the kernel is not in FIPS mode: not a FIPS system.
    PolicyOnly,
}

impl Fips {
    /// From `/proc/sys/crypto/fips_enabled`, `/etc/crypto-policies/state/current` and `/proc/self/mountinfo`: what EL 10
    /// mounts over the configured policy is the one in effect.
    pub fn parse(fips_enabled: Option<&str>, crypto_policy: Option<&str>, mountinfo: Option<&str>) -> Self {
        let kernel = fips_enabled.is_some_and(|text| text.trim() == "1");
        let configured = crypto_policy.is_some_and(|text| text.trim().split(':').next() == Some("FIPS"));
        let policy = mountinfo
            .and_then(fips_overlay)
            .map_or(configured, |(_, is_fips)| is_fips);
        match (kernel, policy) {
            (true, true) => Self::On,
            (false, false) => Self::Off,
            (true, false) => Self::KernelOnly,
            (false, true) => Self::PolicyOnly,
        }
    }

    /// A few words for tables.
    pub const fn words(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::KernelOnly => "kernel on, crypto policy is not FIPS",
            Self::PolicyOnly => "crypto policy is FIPS, kernel is not in FIPS mode",
        }
    }
}

/// What is mounted over the crypto policy's back-ends, and whether it is the FIPS policy's own folder, as EL 10's
/// fips-crypto-policy-overlay mounts it. A folder of the same name elsewhere is not; `None`: nothing is mounted there.
pub fn fips_overlay(mountinfo: &str) -> Option<(String, bool)> {
    const BACK_ENDS: &str = "/etc/crypto-policies/back-ends";
    const OF_FIPS: &str = "/usr/share/crypto-policies/back-ends/FIPS";
    let mounts: Vec<(&str, &str, &str)> = mountinfo
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(2);
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .collect();
    // A bind mount names the folder it shows by its place within its own file system.
    let (device, shown, _) = *mounts.iter().rev().find(|(_, _, target)| *target == BACK_ENDS)?;
    let within = |target: &str| {
        let rest = OF_FIPS.strip_prefix(target.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    };
    let holder = mounts
        .iter()
        .filter_map(|(device, root, target)| Some((target.len(), *device, *root, within(target)?)))
        .max_by_key(|(length, ..)| *length);
    let is_fips = holder.is_some_and(|(_, own, root, rest)| {
        own == device && format!("{}{rest}", root.trim_end_matches('/')) == shown
    });
    Some((shown.to_owned(), is_fips))
}

/// Content of the EFI variable `SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c`: four bytes of attributes, one of value.
/// `None` if that is not what it looks like.
pub fn secure_boot(variable: &[u8]) -> Option<bool> {
    match variable {
        [_, _, _, _, 0] => Some(false),
        [_, _, _, _, 1] => Some(true),
        _ => None,
    }
}

/// Name of the hypervisor or cloud from DMI's system vendor and product, in systemd-detect-virt's words where it has one.
pub fn virtualisation(sys_vendor: &str, product_name: &str, hypervisor_flag: bool) -> Option<String> {
    const KNOWN: &[(&str, &str)] = &[
        ("QEMU", "qemu"),
        ("KVM", "kvm"),
        ("Amazon EC2", "amazon"),
        ("VMware", "vmware"),
        ("innotek GmbH", "oracle"),
        ("Xen", "xen"),
        ("Microsoft Corporation", "microsoft"),
        ("Google", "google"),
        ("OpenStack", "kvm"),
        ("Red Hat", "kvm"),
        ("Nutanix", "kvm"),
    ];
    if !hypervisor_flag {
        return None;
    }
    let known = KNOWN
        .iter()
        .find(|(name, _)| sys_vendor.starts_with(name) || product_name.starts_with(name));
    Some(known.map_or_else(|| "unknown hypervisor".to_owned(), |&(_, word)| word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selinux() {
        assert_eq!(SeLinux::parse(Some("1")), SeLinux::Enforcing);
        assert_eq!(SeLinux::parse(Some("0\n")), SeLinux::Permissive);
        assert_eq!(SeLinux::parse(None), SeLinux::Disabled);
        assert_eq!(SeLinux::parse(Some("x")).word(), "unknown");
    }

    #[test]
    fn fips() {
        assert_eq!(Fips::parse(Some("1\n"), Some("FIPS:OSPP\n"), None), Fips::On);
        assert_eq!(Fips::parse(Some("0"), Some("FIPS"), None), Fips::PolicyOnly);
        assert_eq!(Fips::parse(Some("1"), Some("DEFAULT"), None), Fips::KernelOnly);
        assert_eq!(Fips::parse(None, None, None), Fips::Off);
        assert_eq!(Fips::parse(None, Some("FIPSISH"), None), Fips::Off);
    }

    #[test]
    fn the_policy_in_effect_is_the_one_mounted_over_the_other() {
        const ROOT: &str = "22 1 253:0 / / rw - xfs /dev/vda2 rw\n";
        let check = |above: &str, mounts: &str, expected: Fips| {
            let table = format!("{above}{mounts}");
            assert_eq!(
                Fips::parse(Some("1"), Some("DEFAULT"), Some(&table)),
                expected,
                "{mounts}"
            );
        };
        let at = |device: &str, shown: &str| {
            format!("41 22 {device} {shown} /etc/crypto-policies/back-ends rw - xfs x rw\n")
        };
        let own = "/usr/share/crypto-policies/back-ends/FIPS";
        check(ROOT, "", Fips::KernelOnly);
        check(ROOT, &at("253:0", own), Fips::On);
        check(ROOT, &at("0:44", own), Fips::KernelOnly);
        check(ROOT, &at("253:0", &format!("/tmp{own}")), Fips::KernelOnly);
        check(
            ROOT,
            &at("253:0", "/usr/share/crypto-policies/back-ends/LEGACY"),
            Fips::KernelOnly,
        );
        // /usr on a disk of its own, and a subvolume as root.
        let usr = "23 22 253:1 / /usr rw - xfs /dev/vdb rw\n";
        check(
            &format!("{ROOT}{usr}"),
            &at("253:1", "/share/crypto-policies/back-ends/FIPS"),
            Fips::On,
        );
        check(&format!("{ROOT}{usr}"), &at("253:0", own), Fips::KernelOnly);
        let volume = "22 1 0:30 /root / rw - btrfs /dev/vda2 rw\n";
        check(volume, &at("0:30", &format!("/root{own}")), Fips::On);
        // The last mount is the visible one.
        let twice = at("253:0", own) + &at("253:0", "/tmp/x");
        check(ROOT, &twice, Fips::KernelOnly);
    }

    #[test]
    fn boot_and_virtualisation() {
        assert_eq!(secure_boot(&[6, 0, 0, 0, 1]), Some(true));
        assert_eq!(secure_boot(&[6, 0, 0, 0, 0]), Some(false));
        assert_eq!(secure_boot(&[1]), None);
        assert_eq!(
            virtualisation("QEMU", "Standard PC", true).as_deref(),
            Some("qemu")
        );
        assert_eq!(virtualisation("Dell Inc.", "PowerEdge", false), None);
        assert_eq!(
            virtualisation("", "", true).as_deref(),
            Some("unknown hypervisor")
        );
    }
}
