//! Hosts that were moved from one distribution or release to another, and what such a move left behind.
//!
//! Traces of ELevate/leapp, migrate2rocky and almalinux-deploy; then the loose ends that people forget: SELinux still
//! permissive, packages of the old release, repositories of the old vendor, network scripts. Pure: facts in, findings
//! out. And what a monitor that lived through an upgrade must learn anew: [`rebaseline`].

use super::{Release, os_release_value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// A program that moves hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// leapp, or ELevate, which is made of it.
    Leapp,
    /// migrate2rocky or migrate2rocky9.
    Migrate2rocky,
    /// almalinux-deploy.
    AlmalinuxDeploy,
    /// convert2rhel.
    Convert2rhel,
}

impl Tool {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leapp => "leapp (ELevate)",
            Self::Migrate2rocky => "migrate2rocky",
            Self::AlmalinuxDeploy => "almalinux-deploy",
            Self::Convert2rhel => "convert2rhel",
        }
    }
}

/// Paths that these programs leave. The caller says which of them exist.
pub const TRACES: &[(&str, Tool)] = &[
    ("/etc/migration-results", Tool::Leapp),
    ("/var/log/leapp", Tool::Leapp),
    ("/var/lib/leapp/leapp.db", Tool::Leapp),
    ("/etc/rhsm/facts/leapp.facts", Tool::Leapp),
    ("/root/tmp_leapp_py3", Tool::Leapp),
    ("/var/log/migrate2rocky.log", Tool::Migrate2rocky),
    ("/var/log/migrate2rocky9.log", Tool::Migrate2rocky),
    ("/root/convert", Tool::Migrate2rocky),
    ("/var/log/almalinux-deploy.log", Tool::AlmalinuxDeploy),
    ("/var/log/almalinux-deploy.debug.log", Tool::AlmalinuxDeploy),
    ("/var/run/almalinux-deploy-statuses", Tool::AlmalinuxDeploy),
    ("/var/log/convert2rhel/convert2rhel.log", Tool::Convert2rhel),
];

/// An installed package, as far as migration goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPackage {
    /// Name.
    pub name: String,
    /// Release: `9.el8_6`.
    pub release: String,
    /// Vendor of the header, if it has one.
    pub vendor: Option<String>,
}

/// A repository of /etc/yum.repos.d.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its file.
    pub file: String,
    /// Its id.
    pub id: String,
    /// Where it is.
    pub urls: Vec<String>,
    /// dnf uses it.
    pub enabled: bool,
    /// Signatures of its packages are checked.
    pub gpgcheck: bool,
}

/// What was read from a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces {
    /// os-release.
    pub os_release: String,
    /// Which of [`TRACES`] exist.
    pub paths: Vec<String>,
    /// /etc/migration-results.
    pub migration_results: Option<String>,
    /// /etc/selinux/config.
    pub selinux_config: Option<String>,
    /// Names in /boot/loader/entries.
    pub boot_entries: Vec<String>,
    /// Names in /etc/sysconfig/network-scripts.
    pub network_scripts: Vec<String>,
    /// /etc/yum.repos.d, parsed.
    pub repositories: Vec<Repository>,
    /// Installed packages; empty if they were not read.
    pub packages: Vec<InstalledPackage>,
    /// /var/lib/rpm is a directory of its own, not a link.
    pub var_lib_rpm_is_directory: bool,
    /// /usr/lib/sysimage/rpm/rpmdb.sqlite exists.
    pub has_sysimage_rpmdb: bool,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationCode {
    /// The host was moved by this program: a fact, no fault.
    Migrated,
    /// A move was begun and not ended.
    Unfinished,
    /// SELinux is not enforcing.
    SelinuxNotEnforcing,
    /// Packages of another release are installed.
    OldPackages,
    /// Packages of other vendors are installed.
    ForeignPackages,
    /// A repository of another release is enabled.
    OldRepository,
    /// A repository of neither the vendor nor EPEL is enabled.
    ThirdPartyRepository,
    /// A repository's packages are not checked.
    UncheckedRepository,
    /// ifcfg files that NetworkManager on EL 10 does not read.
    NetworkScripts,
    /// Two package databases.
    TwoRpmDatabases,
    /// Boot entries of another release's kernels.
    OldKernels,
}

/// Something a move left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationFinding {
    /// What it is about.
    pub code: MigrationCode,
    /// What was found.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

/// Most names listed in one message.
const LISTED: usize = 8;

/// Looks at the traces. Empty for a host that was never moved and has no loose ends.
pub fn findings(traces: &Traces) -> Vec<MigrationFinding> {
    let release = Release::parse(&traces.os_release);
    let mut found = Vec::new();
    let mut add = |code, message: String, hint| found.push(MigrationFinding { code, message, hint });
    let mut tools: BTreeMap<Tool, Vec<&str>> = BTreeMap::new();
    for path in &traces.paths {
        if let Some((_, tool)) = TRACES.iter().find(|(known, _)| known == path) {
            tools.entry(*tool).or_default().push(path);
        }
    }
    for (tool, paths) in &tools {
        add(
            MigrationCode::Migrated,
            format!("the host was moved with {} ({})", tool.name(), paths.join(", ")),
            "nothing to do; hardpan trust list --foreign shows packages of the old vendor",
        );
    }
    if let Some(message) = unfinished(traces, tools.contains_key(&Tool::Leapp)) {
        add(
            MigrationCode::Unfinished,
            message,
            "finish or abort the upgrade before changing anything else",
        );
    }
    let moved = !tools.is_empty();
    if let Some(config) = &traces.selinux_config {
        let mode = os_release_value(config, "SELINUX").unwrap_or_default();
        if mode != "enforcing" {
            add(
                MigrationCode::SelinuxNotEnforcing,
                format!(
                    "SELINUX={mode} in /etc/selinux/config{}",
                    if moved {
                        ", as migration tools leave it"
                    } else {
                        ""
                    }
                ),
                "set SELINUX=enforcing, touch /.autorelabel, reboot",
            );
        }
    }
    if let Some(major) = release.supported_el() {
        packages(traces, &release, major, &mut add);
        repositories(traces, &release, major, &mut add);
        let old: Vec<&str> = traces
            .boot_entries
            .iter()
            .filter(|name| el_of(name).is_some_and(|el| el != major))
            .map(String::as_str)
            .collect();
        if !old.is_empty() {
            add(
                MigrationCode::OldKernels,
                format!("boot entries of another release: {}", list(&old)),
                "remove the old kernels: dnf remove 'kernel*.elN*'",
            );
        }
        let scripts: Vec<&str> = traces
            .network_scripts
            .iter()
            .filter(|name| name.starts_with("ifcfg-") && *name != "ifcfg-lo")
            .map(String::as_str)
            .collect();
        if major >= 9 && !scripts.is_empty() {
            add(
                MigrationCode::NetworkScripts,
                format!("network scripts: {}", list(&scripts)),
                "nmcli connection migrate; EL 10 does not read ifcfg files at all",
            );
        }
        if major >= 10 && traces.var_lib_rpm_is_directory && traces.has_sysimage_rpmdb {
            add(
                MigrationCode::TwoRpmDatabases,
                "both /var/lib/rpm and /usr/lib/sysimage/rpm hold a package database".to_owned(),
                "find out which one rpm uses (rpm -E %_dbpath) and move the other one away",
            );
        }
    }
    found.sort_by_key(|finding| finding.code);
    found
}

/// leapp writes its results at the end; before, its boot entry waits.
fn unfinished(traces: &Traces, leapp: bool) -> Option<String> {
    let waiting = traces.boot_entries.iter().find(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("leapp") || name.contains("elevate") || name.contains("upgrade-initramfs")
    });
    if let Some(entry) = waiting {
        return Some(format!("the boot entry {entry} of an upgrade is still there"));
    }
    let results = traces.migration_results.as_deref().unwrap_or_default();
    let parsed: Option<serde_json::Value> = serde_json::from_str(results).ok();
    let activities = parsed
        .as_ref()
        .and_then(|json| json.get("activities"))
        .and_then(|list| list.as_array());
    let last = activities.and_then(|list| list.last());
    let success = last
        .and_then(|activity| activity.get("success"))
        .and_then(serde_json::Value::as_bool);
    (leapp && success == Some(false))
        .then(|| "the last activity in /etc/migration-results did not succeed".to_owned())
}

fn packages(
    traces: &Traces,
    release: &Release,
    major: u32,
    add: &mut impl FnMut(MigrationCode, String, &'static str),
) {
    let old: Vec<&str> = traces
        .packages
        .iter()
        .filter(|package| el_of(&package.release).is_some_and(|el| el < major))
        .map(|package| package.name.as_str())
        .collect();
    if !old.is_empty() {
        add(
            MigrationCode::OldPackages,
            format!("{} packages of an older release: {}", old.len(), list(&old)),
            "dnf distro-sync, then remove what has no newer build",
        );
    }
    let mut foreign: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &traces.packages {
        let Some(vendor) = package.vendor.as_deref() else {
            continue;
        };
        if let Some(other) = distribution_of(vendor, release) {
            foreign.entry(other).or_default().push(&package.name);
        }
    }
    for (vendor, names) in foreign {
        add(
            MigrationCode::ForeignPackages,
            format!("{} packages built by {vendor}: {}", names.len(), list(&names)),
            "dnf distro-sync; the signed header names the vendor, hardpan trust list --foreign lists them all",
        );
    }
}

/// The distribution that a key's or package's text names, if it is another one than the host's.
pub fn distribution_of(text: &str, release: &Release) -> Option<&'static str> {
    vendor_of(text).filter(|other| *other != release.vendor.name().trim_end_matches("-ciq"))
}

/// The distribution behind a header's vendor.
fn vendor_of(vendor: &str) -> Option<&'static str> {
    let known = [
        ("Red Hat", "rhel"),
        ("Rocky", "rocky"),
        ("AlmaLinux", "almalinux"),
        ("CentOS", "centos-stream"),
        ("Oracle", "oracle"),
    ];
    known
        .iter()
        .find(|(text, _)| vendor.contains(text))
        .map(|(_, name)| *name)
}

fn repositories(
    traces: &Traces,
    release: &Release,
    major: u32,
    add: &mut impl FnMut(MigrationCode, String, &'static str),
) {
    for repository in traces.repositories.iter().filter(|repository| repository.enabled) {
        let Repository {
            id,
            file,
            urls,
            gpgcheck,
            ..
        } = repository;
        let of_release = urls
            .iter()
            .chain([id])
            .find_map(|text| el_of(text).or_else(|| path_release(text)));
        if of_release.is_some_and(|el| el != major) {
            add(
                MigrationCode::OldRepository,
                format!("repository {id} ({file}) is of another release"),
                "disable it: dnf config-manager --set-disabled ID",
            );
        } else if !is_of_vendor(id, release) {
            add(
                MigrationCode::ThirdPartyRepository,
                format!("repository {id} ({file}) is neither the vendor's nor EPEL's"),
                "disable it, or pin its key for its packages only: hardpan trust keys pin FINGERPRINT --scope GLOB",
            );
        }
        if !gpgcheck {
            add(
                MigrationCode::UncheckedRepository,
                format!("repository {id} ({file}) has gpgcheck=0"),
                "set gpgcheck=1 and import the key",
            );
        }
    }
}

/// Ids that the distributions and EPEL use.
fn is_of_vendor(id: &str, release: &Release) -> bool {
    const COMMON: [&str; 15] = [
        "baseos",
        "appstream",
        "crb",
        "powertools",
        "extras",
        "highavailability",
        "ha",
        "resilientstorage",
        "nfv",
        "rt",
        "sap",
        "saphana",
        "devel",
        "plus",
        "epel",
    ];
    let id = id.to_ascii_lowercase();
    let first = id.split(['-', '_']).next().unwrap_or_default();
    let vendor = release.vendor.name().split('-').next().unwrap_or_default();
    COMMON.contains(&first)
        || first == vendor
        || (vendor == "rhel" && ["rhui", "codeready", "satellite"].contains(&first))
        || (vendor == "oracle" && first.starts_with("ol"))
        || (vendor == "rocky" && ["security", "synergy", "ciq"].contains(&first))
        || (vendor == "almalinux" && ["synergy", "nvidia"].contains(&first))
}

/// `9` in `5.14.0-570.el9_6`, `module+el8.6.0`, `.el10`.
fn el_of(text: &str) -> Option<u32> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("el") {
        // Not the `el` of a word: kernel, model, rhel (whose number counts as well).
        let starts = !before
            .chars()
            .next_back()
            .is_some_and(|c| c.is_ascii_alphabetic())
            || before.ends_with("rh");
        let digits: String = after.chars().take_while(char::is_ascii_digit).take(3).collect();
        if starts && !digits.is_empty() {
            return digits.parse().ok();
        }
        rest = after;
    }
    None
}

/// `8` in `https://mirror/rocky/8.10/BaseOS/`; variables like $releasever say nothing.
fn path_release(text: &str) -> Option<u32> {
    if !text.contains("://") {
        return None;
    }
    text.split('/').skip(3).find_map(|part| {
        let major = part.split('.').next()?;
        let number: u32 = major.trim_end_matches("-stream").parse().ok()?;
        (7..=10).contains(&number).then_some(number)
    })
}

fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| name.chars().filter(|c| !c.is_control()).collect())
        .collect();
    let more = names.len().saturating_sub(LISTED);
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}

/// Reads a `.repo` file. Total.
pub fn parse_repositories(file: &str, text: &str) -> Vec<Repository> {
    let mut found: Vec<Repository> = Vec::new();
    for line in text.lines().map(str::trim).take(10_000) {
        if let Some(id) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            found.push(Repository {
                file: file.to_owned(),
                id: id.to_owned(),
                urls: Vec::new(),
                enabled: true,
                gpgcheck: true,
            });
        } else if let (Some((key, value)), Some(repository)) = (line.split_once('='), found.last_mut()) {
            let value = value.trim();
            let off = ["0", "false", "no"].contains(&value.to_ascii_lowercase().as_str());
            match key.trim() {
                "enabled" => repository.enabled = !off,
                "gpgcheck" => repository.gpgcheck = !off,
                "baseurl" | "mirrorlist" | "metalink" => repository.urls.push(value.to_owned()),
                _ => {}
            }
        }
    }
    found.retain(|repository| repository.id != "main");
    found
}

/// Version of [`HostIdentity`] as it is stored.
pub const IDENTITY_VERSION: u32 = 1;

/// What a host was when the monitor last looked. Kept in its state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// [`IDENTITY_VERSION`].
    pub version: u32,
    /// Vendor, as policies name it.
    pub vendor: String,
    /// `VERSION_ID`.
    pub release: String,
    /// `uname -r`.
    pub kernel: String,
    /// Where the package database lies.
    pub rpmdb: String,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a stored identity cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Not JSON of the right shape.
    #[error("the stored identity of the host cannot be read")]
    Malformed(#[source] serde_json::Error),
    /// Written by another version of the program.
    #[error("the stored identity of the host has version {0}, not {IDENTITY_VERSION}")]
    Version(u32),
}

impl HostIdentity {
    /// Reads a stored identity.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        // The version first: what another one has beside it is not known.
        let Versioned { version } = serde_json::from_str(text).map_err(IdentityError::Malformed)?;
        if version != IDENTITY_VERSION {
            return Err(IdentityError::Version(version));
        }
        serde_json::from_str(text).map_err(IdentityError::Malformed)
    }
}

/// What must be learned anew, and the sentence for the one record about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebaseline {
    /// The kernel differs: text hashes, offsets, probes, attached programs.
    pub kernel: bool,
    /// Release, vendor or database differ: trust index, keys, policy layers.
    pub trust: bool,
    /// For the record.
    pub message: String,
}

/// Compares what a host was with what it is. `None` if everything learned still holds.
pub fn rebaseline(before: &HostIdentity, now: &HostIdentity) -> Option<Rebaseline> {
    let parts = [
        ("vendor", &before.vendor, &now.vendor),
        ("release", &before.release, &now.release),
        ("kernel", &before.kernel, &now.kernel),
        ("package database", &before.rpmdb, &now.rpmdb),
    ];
    let changes: Vec<String> = parts
        .iter()
        .filter(|(_, before, now)| before != now)
        .map(|(what, before, now)| format!("{what} {before} -> {now}"))
        .collect();
    if changes.is_empty() {
        return None;
    }
    let kernel = before.kernel != now.kernel;
    let trust = (&before.vendor, &before.release, &before.rpmdb) != (&now.vendor, &now.release, &now.rpmdb);
    Some(Rebaseline {
        kernel,
        trust,
        message: format!("baseline renewed: {}{}", changes.join(", "), anew(kernel, trust)),
    })
}

/// What is made anew where the stored identity cannot be compared with: in doubt everything.
pub fn rebuilt(why: &IdentityError) -> Rebaseline {
    Rebaseline {
        kernel: true,
        trust: true,
        message: format!(
            "baseline renewed: {why}; whether the host was upgraded meanwhile is not known{}",
            anew(true, true)
        ),
    }
}

/// What does not hold any more, as the end of a sentence.
fn anew(kernel: bool, trust: bool) -> String {
    let parts = [
        (kernel, "the kernel's offsets, probes and programs"),
        (trust, "trusted digests, policy layers and the audit's baseline"),
    ];
    let parts: Vec<&str> = parts
        .iter()
        .filter(|(is_anew, _)| *is_anew)
        .map(|(_, what)| *what)
        .collect();
    format!("; learned anew: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(traces: &Traces, expected: &Expect) {
        let text: String = findings(traces)
            .iter()
            .map(|finding| [&format!("{:?}: ", finding.code), &finding.message, "\n"].concat())
            .collect();
        expected.assert_eq(&text);
    }

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn package(name: &str, release: &str, vendor: &str) -> InstalledPackage {
        InstalledPackage {
            name: name.to_owned(),
            release: release.to_owned(),
            vendor: Some(vendor.to_owned()),
        }
    }

    #[test]
    fn a_host_that_was_never_moved_has_nothing_to_say() {
        let traces = Traces {
            os_release: "ID=rocky\nVERSION_ID=9.6\n".to_owned(),
            selinux_config: Some("SELINUX=enforcing\nSELINUXTYPE=targeted\n".to_owned()),
            boot_entries: texts(&["4c9a-5.14.0-570.el9_6.x86_64.conf", "4c9a-0-rescue.conf"]),
            repositories: parse_repositories(
                "/etc/yum.repos.d/rocky.repo",
                "[baseos]\nmirrorlist=https://mirrors.example/mirrorlist?repo=rocky-BaseOS-$releasever\ngpgcheck=1\n[epel]\nmetalink=https://m.example/?repo=epel-9\n",
            ),
            packages: vec![
                package("bash", "9.el9", "Rocky Enterprise Software Foundation"),
                package("htop", "1.el9", "Fedora Project"),
            ],
            ..Traces::default()
        };
        check(&traces, &expect![""]);
    }

    #[test]
    fn elevate_from_8_to_9_leaves_loose_ends() {
        let traces = Traces {
            os_release: "ID=almalinux\nVERSION_ID=9.6\n".to_owned(),
            paths: texts(&["/etc/migration-results", "/var/log/leapp", "/var/log/unrelated"]),
            migration_results: Some(
                "{\"activities\":[{\"activity\":\"upgrade\",\"success\":true}]}".to_owned(),
            ),
            selinux_config: Some("# comment\nSELINUX=permissive\n".to_owned()),
            boot_entries: texts(&[
                "4c9a-4.18.0-553.el8_10.x86_64.conf",
                "4c9a-5.14.0-570.el9_6.x86_64.conf",
            ]),
            network_scripts: texts(&["ifcfg-lo", "ifcfg-eth0", "readme-ifcfg-rh.txt"]),
            repositories: parse_repositories(
                "/etc/yum.repos.d/x.repo",
                "[main]\nkeepcache=1\n[appstream]\nbaseurl=https://m.example/almalinux/9/AppStream\n[old]\nbaseurl=https://m.example/centos/8/BaseOS\n[docker-ce]\nbaseurl=https://d.example/linux\ngpgcheck=0\n[off]\nenabled=0\nbaseurl=https://m.example/7/x\n",
            ),
            packages: vec![
                package("bash", "9.el9", "AlmaLinux"),
                package("leapp-upgrade-el8toel9", "1.el8", "AlmaLinux"),
                package("python36", "3.6.8-38.module+el8.5.0+671", "CentOS"),
            ],
            ..Traces::default()
        };
        check(
            &traces,
            &expect![[r"
            Migrated: the host was moved with leapp (ELevate) (/etc/migration-results, /var/log/leapp)
            SelinuxNotEnforcing: SELINUX=permissive in /etc/selinux/config, as migration tools leave it
            OldPackages: 2 packages of an older release: leapp-upgrade-el8toel9, python36
            ForeignPackages: 1 packages built by centos-stream: python36
            OldRepository: repository old (/etc/yum.repos.d/x.repo) is of another release
            ThirdPartyRepository: repository docker-ce (/etc/yum.repos.d/x.repo) is neither the vendor's nor EPEL's
            UncheckedRepository: repository docker-ce (/etc/yum.repos.d/x.repo) has gpgcheck=0
            NetworkScripts: network scripts: ifcfg-eth0
            OldKernels: boot entries of another release: 4c9a-4.18.0-553.el8_10.x86_64.conf
        "]],
        );
    }

    #[test]
    fn an_upgrade_in_flight_is_named() {
        let waiting = Traces {
            os_release: "ID=rhel\nVERSION_ID=8.10\n".to_owned(),
            boot_entries: texts(&["4c9a-upgrade.x86_64-Leapp.conf"]),
            ..Traces::default()
        };
        check(
            &waiting,
            &expect![[r"
            Unfinished: the boot entry 4c9a-upgrade.x86_64-Leapp.conf of an upgrade is still there
        "]],
        );
        let failed = Traces {
            os_release: "ID=rhel\nVERSION_ID=8.10\n".to_owned(),
            paths: texts(&["/etc/migration-results"]),
            migration_results: Some("{\"activities\":[{\"success\":false}]}".to_owned()),
            ..Traces::default()
        };
        check(
            &failed,
            &expect![[r"
            Migrated: the host was moved with leapp (ELevate) (/etc/migration-results)
            Unfinished: the last activity in /etc/migration-results did not succeed
        "]],
        );
    }

    #[test]
    fn releases_are_read_out_of_names() {
        for (text, expected) in [
            ("5.14.0-570.el9_6", Some(9)),
            ("3.6.8-38.module+el8.5.0+671", Some(8)),
            ("1.el10", Some(10)),
            ("rhel-8-for-x86_64-baseos-rpms", None),
            ("rhel8-extras", Some(8)),
            ("kernel7", None),
            ("modelel", None),
            ("", None),
        ] {
            assert_eq!(el_of(text), expected, "{text}");
        }
        assert_eq!(path_release("https://m.example/rocky/8.10/BaseOS"), Some(8));
        assert_eq!(
            path_release("https://m.example/centos-stream/9-stream/BaseOS"),
            Some(9)
        );
        assert_eq!(path_release("https://8.8.8.8/x"), None);
    }

    #[test]
    fn an_upgraded_host_is_learned_anew_once() {
        let before = HostIdentity {
            version: IDENTITY_VERSION,
            vendor: "rocky".to_owned(),
            release: "8.10".to_owned(),
            kernel: "4.18.0-553.el8_10".to_owned(),
            rpmdb: "/var/lib/rpm/Packages".to_owned(),
        };
        let stored = serde_json::to_string(&before).expect("json");
        let read = HostIdentity::parse(&stored).expect("own text");
        assert_eq!(rebaseline(&read, &before), None);
        let now = HostIdentity {
            release: "9.6".to_owned(),
            kernel: "5.14.0-570.el9_6".to_owned(),
            rpmdb: "/var/lib/rpm/rpmdb.sqlite".to_owned(),
            ..before.clone()
        };
        let found = rebaseline(&before, &now).expect("changed");
        assert!(found.kernel && found.trust);
        assert_eq!(
            found.message,
            "baseline renewed: release 8.10 -> 9.6, kernel 4.18.0-553.el8_10 -> 5.14.0-570.el9_6, package database /var/lib/rpm/Packages -> /var/lib/rpm/rpmdb.sqlite; learned anew: the kernel's offsets, probes and programs, trusted digests, policy layers and the audit's baseline"
        );
        let kernel_only = HostIdentity {
            kernel: "x".to_owned(),
            ..before.clone()
        };
        assert!(rebaseline(&before, &kernel_only).is_some_and(|found| found.kernel && !found.trust));
        assert!(HostIdentity::parse("{}").is_err());
        let other = HostIdentity::parse(&stored.replace("\"version\":1", "\"version\":9"));
        let why = other.expect_err("another version");
        assert!(matches!(why, IdentityError::Version(9)));
        let found = rebuilt(&why);
        assert!(found.kernel && found.trust);
        assert!(
            found.message.contains("has version 9, not 1; whether the host"),
            "{}",
            found.message
        );
    }
}
