//! The policy sets that come with Hardpan, compiled in. (tidy: table)
//!
//! The package also installs them below `/usr/share/hardpan/policies`, where they can be read; a program without
//! that directory (an image under test, a fresh build) uses these. A test keeps both lists equal.

use super::source::Source;

macro_rules! shipped {
    ($($name:literal,)+) => {
        /// Name below `policies/` and text of every shipped file.
        pub const SHIPPED: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../policies/", $name))),)+
        ];
    };
}

shipped! {
    "base/10-gate.toml",
    "base/15-protect.toml",
    "base/20-cadence.toml",
    "base/30-trust.toml",
    "base/40-kernel.toml",
    "base/50-sysctl.toml",
    "base/60-modules.toml",
    "base/70-boot.toml",
    "base/90-rules.toml",
    "el8/10-release.toml",
    "el8/20-controls.toml",
    "el9/10-release.toml",
    "el9/20-controls.toml",
    "el10/10-release.toml",
    "el10/20-controls.toml",
    "vendor/almalinux.toml",
    "vendor/centos-stream.toml",
    "vendor/oracle.toml",
    "vendor/rhel.toml",
    "vendor/rocky-ciq.toml",
    "vendor/rocky.toml",
    "hardware/aarch64-el10.toml",
    "hardware/aarch64-el8.toml",
    "hardware/aarch64-el9.toml",
    "hardware/aarch64.toml",
    "hardware/x86-64-v1.toml",
    "hardware/x86-64-v2.toml",
    "hardware/x86-64-v3.toml",
    "hardware/x86-64-v4.toml",
    "role/build-host.toml",
    "role/container-host.toml",
    "role/hpc.toml",
    "role/kiosk.toml",
    "role/server.toml",
    "role/webhost.toml",
    "role/workstation.toml",
    "level/balanced.toml",
    "level/baseline.toml",
    "level/locked.toml",
    "level/strict.toml",
}

/// The releases that there are sets for.
pub const RELEASES: [u32; 3] = [8, 9, 10];

/// The shipped files as sources; messages name them `policies/…`.
pub fn shipped() -> Vec<Source> {
    let source = |(name, text): &(&str, &str)| Source {
        file: format!("policies/{name}"),
        name: (*name).to_owned(),
        text: Some((*text).to_owned()),
    };
    SHIPPED.iter().map(source).collect()
}

/// The names of a layer's sets: `names("role")`.
pub fn names(layer: &str) -> Vec<&'static str> {
    let stem = |(name, _): &(&'static str, &str)| {
        let stem = name
            .strip_prefix(layer)?
            .strip_prefix('/')?
            .strip_suffix(".toml")?;
        (!stem.contains("-el")).then_some(stem)
    };
    SHIPPED.iter().filter_map(stem).collect()
}
