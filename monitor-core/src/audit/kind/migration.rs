//! What a move from another release or distribution left behind, judged as doctor's hints are.

use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use crate::platform::Release;
use crate::platform::migration::{
    InstalledPackage, MigrationCode, STAGES, TRACES, Traces, distribution_of, findings, parse_repositories,
};
use serde::{Deserialize, Serialize};

const RESULTS: &str = "/etc/migration-results";
const SELINUX: &str = "/etc/selinux/config";
const ENTRIES: &str = "/boot/loader/entries";
const SCRIPTS: &str = "/etc/sysconfig/network-scripts";
const REPOSITORIES: &str = "/etc/yum.repos.d";
const OLD_DATABASE: &str = "/var/lib/rpm/rpmdb.sqlite";
const NEW_DATABASE: &str = "/usr/lib/sysimage/rpm/rpmdb.sqlite";

/// Loose ends that must not be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Which ones.
    #[serde(default)]
    pub codes: Vec<MigrationCode>,
    /// Signing keys of another distribution in the package database.
    #[serde(default)]
    pub foreign_keys: bool,
}

impl Migration {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.codes.is_empty() && !self.foreign_keys {
            return Err("needs codes or foreign_keys".into());
        }
        Ok(())
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let traces = traces(ctx)?;
        let mut outcome = Outcome::start();
        for finding in findings(&traces)
            .into_iter()
            .filter(|finding| self.codes.contains(&finding.code))
        {
            outcome.expect(false, "migration", "nothing left behind", finding.message);
        }
        if self.foreign_keys {
            let release = Release::parse(&traces.os_release);
            for key in ctx
                .packages()?
                .iter()
                .filter(|package| package.name == "gpg-pubkey")
            {
                if let Some(other) = distribution_of(&key.summary, &release) {
                    outcome.expect(
                        false,
                        format!("gpg-pubkey-{}", key.evr),
                        "a key of this distribution, or of a repository in use",
                        format!("{} ({other})", key.summary),
                    );
                }
            }
        }
        Ok(outcome.because("nothing of the kind"))
    }
}

fn traces(ctx: &Ctx<'_>) -> Result<Traces, Stop> {
    let text = |path: &str| Want::Text(path.to_owned());
    ctx.prefetch(TRACES.iter().map(|(path, _)| Want::Stat((*path).to_owned())));
    ctx.prefetch([OLD_DATABASE, NEW_DATABASE, "/var/lib/rpm"].map(|path| Want::Stat(path.to_owned())));
    ctx.prefetch([Want::Link("/var/lib/rpm".to_owned()), Want::Packages]);
    ctx.prefetch(["/etc/os-release", "/usr/lib/os-release", RESULTS, SELINUX].map(text));
    ctx.prefetch([ENTRIES, SCRIPTS, STAGES, REPOSITORIES].map(|path| Want::Dir(path.to_owned())));
    let files: Vec<String> = names(ctx, REPOSITORIES)?
        .iter()
        .filter(|name| name.strip_suffix(".repo").is_some())
        .map(|name| format!("{REPOSITORIES}/{name}"))
        .collect();
    ctx.prefetch(files.iter().map(|file| text(file)));
    let mut repositories = Vec::new();
    for file in &files {
        repositories.extend(parse_repositories(file, ctx.text(file)?.unwrap_or_default()));
    }
    let mut paths = Vec::new();
    for (path, _) in TRACES {
        if ctx.stat(path)?.is_some() {
            paths.push((*path).to_owned());
        }
    }
    let packages = ctx.packages()?.iter().map(|package| InstalledPackage {
        name: package.name.clone(),
        release: package
            .evr
            .rsplit_once('-')
            .map_or_else(String::new, |(_, release)| release.to_owned()),
        vendor: Some(package.vendor.clone()).filter(|vendor| !vendor.is_empty()),
    });
    let own = |path: &str| Ok::<_, Stop>(ctx.text(path)?.map(str::to_owned));
    Ok(Traces {
        os_release: match own("/etc/os-release")? {
            Some(text) => text,
            None => own("/usr/lib/os-release")?.unwrap_or_default(),
        },
        paths,
        migration_results: own(RESULTS)?,
        stages: names(ctx, STAGES)?.to_vec(),
        selinux_config: own(SELINUX)?,
        boot_entries: names(ctx, ENTRIES)?.to_vec(),
        network_scripts: names(ctx, SCRIPTS)?.to_vec(),
        repositories,
        packages: packages.collect(),
        var_lib_rpm_is_directory: ctx.link("/var/lib/rpm")?.is_none() && ctx.stat(OLD_DATABASE)?.is_some(),
        has_sysimage_rpmdb: ctx.stat(NEW_DATABASE)?.is_some(),
    })
}

fn names<'a>(ctx: &Ctx<'a>, path: &str) -> Result<&'a [String], Stop> {
    Ok(ctx.dir(path)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::super::Verdict::{self, Fail, Pass};
    use super::super::super::facts::Package;
    use super::super::super::testkit::{outcome_of, tree};

    fn package(name: &str, evr: &str, vendor: &str, summary: &str) -> Package {
        Package {
            name: name.to_owned(),
            evr: evr.to_owned(),
            vendor: vendor.to_owned(),
            summary: summary.to_owned(),
        }
    }

    fn check(toml: &str, packages: Vec<Package>, repository: &str, expected: Verdict) {
        let mut facts = tree(&[
            ("/etc/os-release", "ID=\"rocky\"\nVERSION_ID=\"9.6\"\n"),
            ("/etc/yum.repos.d/a.repo", repository),
        ]);
        facts.packages = Some(Ok(packages));
        let outcome = outcome_of(&format!("kind = \"migration\"\n{toml}"), &facts);
        assert_eq!(outcome.result, expected, "{toml}\n{outcome:?}");
    }

    #[test]
    fn packages_keys_and_repositories_of_before() {
        let rocky = || package("bash", "5.1.8-9.el9", "Rocky Enterprise Software Foundation", "");
        let old = || package("python36", "3.6.8-38.el8", "AlmaLinux", "");
        let none = "[baseos]\nbaseurl=https://dl.rockylinux.org/pub/rocky/9/BaseOS/x86_64/os/\ngpgcheck=1\n";
        let codes = |codes: &str| format!("codes = [{codes}]");
        check(&codes("\"old-packages\""), vec![rocky()], none, Pass);
        check(&codes("\"old-packages\""), vec![rocky(), old()], none, Fail);
        check(&codes("\"foreign-packages\""), vec![rocky(), old()], none, Fail);
        check(&codes("\"unfinished\""), vec![rocky(), old()], none, Pass);
        let elsewhere = "[x]\nbaseurl=https://packages.example.org/el9\ngpgcheck=1\n";
        check(
            &codes("\"third-party-repository\""),
            vec![rocky()],
            elsewhere,
            Fail,
        );
        check(&codes("\"third-party-repository\""), vec![rocky()], none, Pass);
        let key = |summary: &str| package("gpg-pubkey", "3abb34f8-5ffd890e", "", summary);
        check(
            "foreign_keys = true",
            vec![key("AlmaLinux <packager@almalinux.org>")],
            none,
            Fail,
        );
        check(
            "foreign_keys = true",
            vec![key("Rocky Enterprise Software Foundation")],
            none,
            Pass,
        );
        check("foreign_keys = true", vec![key("Fedora (epel9)")], none, Pass);
    }
}
