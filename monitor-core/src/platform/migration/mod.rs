//! Hosts that were moved from one distribution or release to another, and what such a move left behind.
//!
//! Traces of ELevate/leapp, migrate2rocky, almalinux-deploy and convert2rhel; then the loose ends that people forget: SELinux still
//! permissive, packages of the old release, repositories of the old vendor, network scripts. Pure: facts in, findings
//! out. And what a monitor that lived through an upgrade must learn anew: [`rebaseline`].

mod identity;
mod tools;

use super::{Release, os_release_value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use identity::{HostIdentity, IDENTITY_VERSION, IdentityError, Rebaseline, rebaseline, rebuilt};
pub use tools::{STAGES, TRACES, Tool};

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
    /// Names in [`STAGES`].
    pub stages: Vec<String>,
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
    /// ifcfg files that NetworkManager on EL 10 does not read, or the package network-scripts, which EL 9 has not.
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
    let movers = tools::movers(traces);
    for (tool, paths) in &movers {
        add(
            MigrationCode::Migrated,
            format!("the host was moved with {} ({})", tool.name(), paths.join(", ")),
            "nothing to do; hardpan trust list --foreign shows packages of the old vendor",
        );
    }
    for message in tools::unfinished(traces) {
        add(
            MigrationCode::Unfinished,
            message,
            "finish or abort the upgrade before changing anything else",
        );
    }
    let moved = !movers.is_empty();
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
    let scripts = traces
        .packages
        .iter()
        .find(|package| package.name == "network-scripts");
    if let Some(scripts) = scripts.filter(|_| major >= 9) {
        add(
            MigrationCode::NetworkScripts,
            format!(
                "package network-scripts ({}) is installed, which EL {major} does not have",
                scripts.release
            ),
            "nmcli connection migrate, see that the network comes up, then dnf remove network-scripts",
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
                package("network-scripts", "1.el8", "AlmaLinux"),
                package("python36", "3.6.8-38.module+el8.5.0+671", "CentOS"),
            ],
            ..Traces::default()
        };
        check(
            &traces,
            &expect![[r"
            Migrated: the host was moved with leapp (ELevate) (/etc/migration-results, /var/log/leapp)
            SelinuxNotEnforcing: SELINUX=permissive in /etc/selinux/config, as migration tools leave it
            OldPackages: 3 packages of an older release: leapp-upgrade-el8toel9, network-scripts, python36
            ForeignPackages: 1 packages built by centos-stream: python36
            OldRepository: repository old (/etc/yum.repos.d/x.repo) is of another release
            ThirdPartyRepository: repository docker-ce (/etc/yum.repos.d/x.repo) is neither the vendor's nor EPEL's
            UncheckedRepository: repository docker-ce (/etc/yum.repos.d/x.repo) has gpgcheck=0
            NetworkScripts: package network-scripts (1.el8) is installed, which EL 9 does not have
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
            Unfinished: the last run of leapp (ELevate) in /etc/migration-results did not succeed
        "]],
        );
    }

    #[test]
    fn leapp_and_convert2rhel_share_a_file_and_looking_is_not_moving() {
        let traces = |paths: &[&str], runs: &[(&str, bool)]| {
            let runs: Vec<String> = runs
                .iter()
                .map(|(activity, success)| {
                    format!("{{\"activity\":\"{activity}\",\"success\":{success},\"version\":\"1\"}}")
                })
                .collect();
            Traces {
                os_release: "ID=rhel\nVERSION_ID=9.6\n".to_owned(),
                paths: texts(paths),
                migration_results: Some(format!("{{\"activities\":[{}]}}", runs.join(","))),
                ..Traces::default()
            }
        };
        let results = "/etc/migration-results";
        let log = "/var/log/convert2rhel/convert2rhel.log";
        check(
            &traces(&[results, log], &[("analysis", false), ("conversion", true)]),
            &expect![[r"
                Migrated: the host was moved with convert2rhel (/etc/migration-results, /var/log/convert2rhel/convert2rhel.log)
            "]],
        );
        check(
            &traces(
                &[results, log, "/var/log/leapp"],
                &[
                    ("conversion", true),
                    ("preupgrade", true),
                    ("upgrade", true),
                    ("upgrade", false),
                ],
            ),
            &expect![[r"
                Migrated: the host was moved with leapp (ELevate) (/etc/migration-results, /var/log/leapp)
                Migrated: the host was moved with convert2rhel (/etc/migration-results, /var/log/convert2rhel/convert2rhel.log)
                Unfinished: the last run of leapp (ELevate) in /etc/migration-results did not succeed
            "]],
        );
        check(
            &traces(
                &[results, log, "/var/log/leapp"],
                &[("analysis", true), ("preupgrade", false)],
            ),
            &expect![""],
        );
    }

    #[test]
    fn almalinux_deploy_says_whether_it_came_to_its_end() {
        let traces = |stages: &[&str]| Traces {
            os_release: "ID=almalinux\nVERSION_ID=9.6\n".to_owned(),
            paths: texts(&["/var/log/almalinux-deploy.log", STAGES]),
            stages: texts(stages),
            ..Traces::default()
        };
        check(
            &traces(&["distro_sync", "completed"]),
            &expect![[r"
                Migrated: the host was moved with almalinux-deploy (/var/log/almalinux-deploy.log, /var/run/almalinux-deploy-statuses)
            "]],
        );
        check(
            &traces(&["distro_sync"]),
            &expect![[r"
                Migrated: the host was moved with almalinux-deploy (/var/log/almalinux-deploy.log, /var/run/almalinux-deploy-statuses)
                Unfinished: almalinux-deploy has not come to its end: no `completed` in /var/run/almalinux-deploy-statuses
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
}
