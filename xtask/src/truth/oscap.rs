//! OpenSCAP on the same roots, offline as `oscap-chroot` runs it.

use crate::error::{Done, TaskError};
use crate::place::{self, program};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where distributions put SCAP Security Guide.
pub(super) const CONTENT: &str = "/usr/share/xml/scap/ssg/content";

/// Prefix of SCAP Security Guide's rule ids.
const RULE: &str = "xccdf_org.ssgproject.content_rule_";

/// OpenSCAP with content for a release.
#[derive(Debug, Clone)]
pub(crate) struct Oscap {
    content: PathBuf,
    home: PathBuf,
}

impl Oscap {
    /// Finds both. `home` is for what oscap keeps.
    pub(crate) fn find(el: u8, home: &Path) -> Done<Self> {
        Self::with_content(el, Path::new(CONTENT), home)
    }

    /// The same with content in a certain folder.
    pub(crate) fn with_content(el: u8, folder: &Path, home: &Path) -> Done<Self> {
        let content = folder.join(format!("ssg-rhel{el}-ds.xml"));
        for (there, what, package) in [
            (program("oscap").is_some(), "oscap", "openscap-scanner"),
            (
                content.is_file(),
                "SCAP Security Guide's content",
                "ssg-nondebian (Debian), scap-security-guide (EL)",
            ),
        ] {
            if !there {
                return Err(TaskError::cannot(
                    format!("{what} for RHEL {el} is not installed"),
                    format!("install {package}"),
                ));
            }
        }
        // Debian's rpm looks for its database in the user's home otherwise, and every rule would not apply.
        place::write(&home.join(".rpmmacros"), "%_dbpath /var/lib/rpm\n")?;
        Ok(Self {
            content,
            home: home.to_owned(),
        })
    }

    /// The command that looks at a root with a profile.
    pub(crate) fn command(&self, root: &Path, profile: &str) -> Command {
        let mut command = Command::new("oscap");
        command
            .args(["xccdf", "eval", "--profile"])
            .arg(format!("xccdf_org.ssgproject.content_profile_{profile}"))
            .env("HOME", &self.home)
            .env("OSCAP_PROBE_ROOT", root)
            .env("OSCAP_PROBE_ARCHITECTURE", "x86_64")
            .env("OSCAP_PROBE_OS_NAME", "Linux")
            .env("OSCAP_PROBE_OS_VERSION", "5.14.0")
            .env("OSCAP_PROBE_PRIMARY_HOST_NAME", "fake")
            .env("OSCAP_OFFLINE_MODE", "1");
        command
    }

    /// The data stream, the last argument of the command.
    pub(crate) fn content(&self) -> &Path {
        &self.content
    }

    /// Results by short rule name.
    pub(crate) fn results(&self, root: &Path, profile: &str) -> Done<BTreeMap<String, String>> {
        let mut command = self.command(root, profile);
        let out = command
            .arg(&self.content)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| TaskError::Start {
                command: "oscap".into(),
                source,
            })?;
        // 2: a rule failed.
        if !matches!(out.status.code(), Some(0 | 2)) {
            return Err(TaskError::Command {
                command: crate::sh::shown(&command),
                ended: format!("ended with {}", out.status),
                said: String::from_utf8_lossy(&out.stderr).chars().take(2000).collect(),
            });
        }
        Ok(parse(&String::from_utf8_lossy(&out.stdout)))
    }
}

/// Reads oscap's list: a line `Rule` and, some lines later, a line `Result`.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut results = BTreeMap::new();
    let mut rule = None;
    for line in text.lines() {
        let Some((key, value)) = line.split_once('\t') else {
            continue;
        };
        let value = value.trim();
        // Where the output is no terminal there is a carriage return before the tab.
        match key.trim() {
            "Rule" => rule = value.strip_prefix(RULE).map(str::to_owned),
            "Result" => {
                if let Some(rule) = rule.take() {
                    results.insert(rule, value.to_owned());
                }
            }
            _ => {}
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read() {
        let results = parse(
            "--- Starting Evaluation ---\n\nTitle\r\tx\nRule\r\txccdf_org.ssgproject.content_rule_a_b\nIdent\tCCE-1\nResult\tpass\n\nRule\tother\nResult\tfail\n",
        );
        assert_eq!(results.len(), 1);
        assert_eq!(results["a_b"], "pass");
    }
}
