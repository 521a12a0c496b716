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
    /// From `/proc/sys/crypto/fips_enabled` and `/etc/crypto-policies/state/current`.
    pub fn parse(fips_enabled: Option<&str>, crypto_policy: Option<&str>) -> Self {
        let kernel = fips_enabled.is_some_and(|text| text.trim() == "1");
        let policy = crypto_policy.is_some_and(|text| text.trim().split(':').next() == Some("FIPS"));
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
        assert_eq!(Fips::parse(Some("1\n"), Some("FIPS:OSPP\n")), Fips::On);
        assert_eq!(Fips::parse(Some("0"), Some("FIPS")), Fips::PolicyOnly);
        assert_eq!(Fips::parse(Some("1"), Some("DEFAULT")), Fips::KernelOnly);
        assert_eq!(Fips::parse(None, None), Fips::Off);
        assert_eq!(Fips::parse(None, Some("FIPSISH")), Fips::Off);
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
