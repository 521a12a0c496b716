//! Downloading Debian packages of other suites with a private apt configuration: the system's stays as it is.

use super::kernels::{Debian, version_key};
use crate::error::{Done, TaskError};
use crate::place::{self, Places};
use crate::sh;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Overrides the mirror: the address of a Debian archive, as in a sources list.
const MIRROR: &str = "HARDPAN_DEBIAN_MIRROR";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private apt configuration, gone when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    dir: tempfile::TempDir,
    mirror: Mirror,
    suites: Vec<&'static str>,
}

/// Addresses of a Debian archive and its security archive, without the last slash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    main: String,
    security: String,
}

impl Session {
    pub(crate) fn open(places: &Places) -> Done<Self> {
        let mirror = Mirror::find()?;
        place::make_dir(&places.cache)?;
        let dir = tempfile::Builder::new()
            .prefix("apt-")
            .tempdir_in(&places.cache)
            .map_err(TaskError::file("creating a folder in", &places.cache))?;
        for name in [
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
        ] {
            place::make_dir(&dir.path().join(name))?;
        }
        let session = Self {
            dir,
            mirror,
            suites: Vec::new(),
        };
        place::write(&session.path("status"), "")?;
        place::write(&session.path("apt.conf"), session.configuration())?;
        Ok(session)
    }

    /// For each name pattern, the newest package that matches it; all of the same version.
    pub(super) fn newest(&mut self, kernel: &Debian, patterns: &[(&str, &str)]) -> Done<Vec<String>> {
        for suites in [kernel.suites, kernel.more_suites] {
            self.update(suites)?;
            let found = self.matching(patterns)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(TaskError::cannot(
            format!(
                "{} has no kernel {} in {} or {}",
                self.mirror.main,
                kernel.name,
                kernel.suites.join(", "),
                kernel.more_suites.join(", ")
            ),
            format!("name another Debian archive in {MIRROR}, or leave this kernel out with --kernel"),
        ))
    }

    /// A package's name, and the names of those among its needs that are wanted.
    pub(super) fn with_needs(
        &mut self,
        kernel: &Debian,
        package: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Done<Vec<String>> {
        for suites in [kernel.suites, kernel.more_suites] {
            self.update(suites)?;
            let Ok(said) = sh::output(self.apt("apt-cache").args(["depends", package])) else {
                continue;
            };
            let needs = said
                .lines()
                .filter_map(|line| line.trim().strip_prefix("Depends: "))
                .filter(|name| wanted(name))
                .map(str::to_owned);
            return Ok([package.to_owned()].into_iter().chain(needs).collect());
        }
        Err(TaskError::cannot(
            format!("{} has no package {package}", self.mirror.main),
            "a newer kernel came: remove the old one from the cache, and both are downloaded anew",
        ))
    }

    /// Packages with all that they need, as if nothing was installed; files that last as long as this value.
    pub(super) fn with_all_needs(&mut self, suites: &[&'static str], names: &[&str]) -> Done<Vec<PathBuf>> {
        self.update(suites)?;
        sh::quiet(
            self.apt("apt-get")
                .args([
                    "-q",
                    "-y",
                    "--no-install-recommends",
                    "--download-only",
                    "install",
                ])
                .args(names),
        )?;
        debs(&self.path("cache/archives"))
    }

    /// Downloads a package of a suite into `dir`.
    pub(super) fn latest(&mut self, suites: &[&'static str], name: &str, dir: &Path) -> Done<Vec<PathBuf>> {
        self.update(suites)?;
        self.download(&[name.to_owned()], dir)
    }

    /// Downloads packages into `dir`.
    pub(crate) fn download(&self, names: &[String], dir: &Path) -> Done<Vec<PathBuf>> {
        sh::quiet(
            self.apt("apt-get")
                .args(["-q", "download"])
                .args(names)
                .current_dir(dir),
        )?;
        debs(dir)
    }

    /// Fetches the lists of these suites, too.
    pub(crate) fn update(&mut self, suites: &[&'static str]) -> Done {
        let new: Vec<_> = suites
            .iter()
            .copied()
            .filter(|suite| !self.suites.contains(suite))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.suites.extend(new);
        let lines: Vec<_> = self.suites.iter().map(|suite| self.mirror.line(suite)).collect();
        place::write(&self.path("sources.list"), lines.join("\n") + "\n")?;
        sh::quiet(self.apt("apt-get").args(["-q", "update"]))
    }

    fn matching(&self, patterns: &[(&str, &str)]) -> Done<Vec<String>> {
        let mut names = Vec::new();
        let mut version: Option<String> = None;
        for (start, end) in patterns {
            let list = sh::output(self.apt("apt-cache").args(["pkgnames", start]))?;
            let middle = |name: &str| {
                let middle = name.strip_prefix(start)?.strip_suffix(end)?;
                let plain = middle.starts_with(|c: char| c.is_ascii_digit()) && !middle.contains("-rt");
                plain.then(|| middle.to_owned())
            };
            let mut versions: Vec<String> = list.lines().filter_map(middle).collect();
            versions.sort_by_key(|version| version_key(version));
            let chosen = match &version {
                // The modules must fit the image.
                Some(version) => versions.into_iter().find(|other| other == version),
                None => versions.pop(),
            };
            let Some(chosen) = chosen else {
                return Ok(Vec::new());
            };
            names.push(format!("{start}{chosen}{end}"));
            version = Some(chosen);
        }
        Ok(names)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.path("apt.conf"));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configuration(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            "Dir \"{dir}\";\n\
             Dir::State \"{dir}/state\";\n\
             Dir::State::status \"{dir}/status\";\n\
             Dir::Cache \"{dir}/cache\";\n\
             Dir::Etc \"{dir}/etc\";\n\
             Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::trusted \"/etc/apt/trusted.gpg\";\n\
             Dir::Etc::trustedparts \"/etc/apt/trusted.gpg.d\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\n"
        )
    }
}

/// The packages in a folder.
fn debs(dir: &Path) -> Done<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(TaskError::file("reading", dir))?;
    let debs = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(debs
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect())
}

impl Mirror {
    /// The archive that this host already uses.
    fn find() -> Done<Self> {
        if let Ok(main) = env::var(MIRROR)
            && !main.is_empty()
        {
            return Ok(Self::with_main(&main));
        }
        let format = "$(REPO_URI)";
        let list = sh::output(Command::new("apt-get").args(["indextargets", "--format", format]))?;
        Self::among(&list).ok_or_else(|| {
            TaskError::cannot(
                "this host's apt sources name no Debian archive to download from",
                format!("set {MIRROR}=ADDRESS, or give a kernel with --kernel-image FILE"),
            )
        })
    }

    fn among(list: &str) -> Option<Self> {
        let addresses = || list.lines().map(|line| line.trim().trim_end_matches('/'));
        let main = addresses().find(|address| address.ends_with("/debian"))?;
        let security = addresses().find(|address| address.ends_with("/debian-security"));
        let mut mirror = Self::with_main(main);
        if let Some(security) = security {
            security.clone_into(&mut mirror.security);
        }
        Some(mirror)
    }

    fn with_main(main: &str) -> Self {
        let main = main.trim_end_matches('/').to_owned();
        Self {
            security: format!("{main}-security"),
            main,
        }
    }

    fn line(&self, suite: &str) -> String {
        let base = if suite.ends_with("-security") {
            &self.security
        } else {
            &self.main
        };
        // An archive that stands still is as good for a test kernel; its signature is checked all the same.
        let mut options = "arch=amd64 check-valid-until=no".to_owned();
        if Path::new(KEYRING).is_file() {
            options.push_str(" signed-by=");
            options.push_str(KEYRING);
        }
        format!("deb [{options}] {base} {suite} main")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_the_host_uses() {
        let list =
            "http://mirror.example/debian/\nhttp://mirror.example/debian-security/\nhttp://x.example/apt/\n";
        let expected = Mirror {
            main: "http://mirror.example/debian".into(),
            security: "http://mirror.example/debian-security".into(),
        };
        assert_eq!(Mirror::among(list), Some(expected));
        assert_eq!(Mirror::among("http://archive.example/ubuntu/\n"), None);
        let alone = Mirror::among("http://mirror.example/debian\n").map(|mirror| mirror.security);
        assert_eq!(alone.as_deref(), Some("http://mirror.example/debian-security"));
    }
}
