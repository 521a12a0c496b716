//! Owner, group, mode and existence of named files.

use super::super::facts::{Ctx, FileKind, Stat, Stop, Want, wildcard};
use super::super::outcome::{Outcome, Verdict};
use super::super::parse::accounts;
use serde::{Deserialize, Serialize};

/// Owner, group, mode and existence of named files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileAttr {
    /// Paths; `*` and `?` stand for names.
    pub paths: Vec<String>,
    /// With `below`: the paths are directories and these name patterns select what is looked at in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// With `below`: names that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// How many directory levels below the paths are looked at; 0 means the paths themselves.
    #[serde(skip_serializing_if = "is_zero")]
    pub below: u8,
    /// Only directories, instead of only files, below the paths.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dirs: bool,
    /// No permission bit outside this octal mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode_max: Option<String>,
    /// Allowed owners, as names or numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid: Vec<String>,
    /// Allowed groups, as names or numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid: Vec<String>,
    /// The paths must, or must not, exist. Without it a missing file is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// A looser mode where the file belongs to this group (OpenSSH host keys of group `ssh_keys`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_mode: Option<GroupMode>,
}

/// A mode that holds for one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupMode {
    /// Group name.
    pub group: String,
    /// Octal mode.
    pub mode_max: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(value: &u8) -> bool {
    *value == 0
}

/// Reads an octal mode.
pub(super) fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|_| format!("mode {text:?} is not octal"))
}

impl FileAttr {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.paths.is_empty() {
            return Err("no paths".into());
        }
        if let Some(mode) = &self.mode_max {
            octal(mode)?;
        }
        if let Some(group) = &self.group_mode {
            octal(&group.mode_max)?;
        }
        Ok(())
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        let uids = resolve(ctx, &self.uid, "/etc/passwd")?;
        let gids = resolve(ctx, &self.gid, "/etc/group")?;
        let mut found = 0_usize;
        for (path, stat) in self.targets(ctx)? {
            let Some(stat) = stat else {
                if self.exists == Some(true) {
                    outcome.expect(false, &path, "to exist", "no such file");
                }
                continue;
            };
            found += 1;
            if self.exists == Some(false) {
                outcome.expect(false, &path, "not to exist", describe(stat));
                continue;
            }
            let (ok, expected) = self.wanted(ctx, stat, &uids, &gids)?;
            outcome.expect(ok, &path, expected, describe(stat));
        }
        if found == 0 && outcome.result == Verdict::Pass {
            if self.exists != Some(false) {
                outcome.note(self.paths.join(" "), "no such file");
            }
            return Ok(outcome.because("no such file"));
        }
        Ok(outcome.because(format!("{found} looked at")))
    }

    fn targets(&self, ctx: &Ctx<'_>) -> Result<Vec<(String, Option<Stat>)>, Stop> {
        let mut paths = Vec::new();
        for pattern in &self.paths {
            paths.extend(ctx.glob(pattern)?);
        }
        let mut targets = Vec::new();
        if self.below == 0 {
            ctx.prefetch(paths.iter().map(|path| Want::Stat(path.clone())));
            for path in paths {
                let stat = ctx.stat(&path)?;
                targets.push((path, stat));
            }
            return Ok(targets);
        }
        ctx.prefetch(paths.iter().map(|path| Want::Tree(path.clone(), self.below)));
        let wanted = if self.dirs { FileKind::Dir } else { FileKind::File };
        for path in paths {
            for entry in ctx.tree(&path, self.below)?.unwrap_or_default() {
                let name = entry.path.rsplit('/').next().unwrap_or_default();
                let selected = self.names.is_empty() || self.names.iter().any(|p| wildcard(p, name));
                let left_out = self.except.iter().any(|p| wildcard(p, name));
                if entry.stat.kind == wanted && selected && !left_out {
                    targets.push((entry.path.clone(), Some(entry.stat)));
                }
            }
        }
        Ok(targets)
    }

    fn wanted(&self, ctx: &Ctx<'_>, stat: Stat, uids: &[u32], gids: &[u32]) -> Result<(bool, String), Stop> {
        let mut ok = true;
        let mut words = Vec::new();
        if let Some(text) = &self.mode_max {
            let mut mode = octal(text).unwrap_or(0);
            let mut shown = text.as_str();
            if let Some(group) = &self.group_mode {
                let group_ids = resolve(ctx, std::slice::from_ref(&group.group), "/etc/group")?;
                if group_ids.contains(&stat.gid) {
                    mode = octal(&group.mode_max).unwrap_or(0);
                    shown = &group.mode_max;
                }
            }
            ok &= stat.mode & !mode == 0;
            words.push(format!("mode {shown} or stricter"));
        }
        if !self.uid.is_empty() {
            ok &= uids.contains(&stat.uid);
            words.push(format!("owner {}", self.uid.join(" or ")));
        }
        if !self.gid.is_empty() {
            ok &= gids.contains(&stat.gid);
            words.push(format!("group {}", self.gid.join(" or ")));
        }
        if words.is_empty() {
            words.push("to exist".to_owned());
        }
        Ok((ok, words.join(", ")))
    }
}

/// Metadata as `ls` users read it.
pub(super) fn describe(stat: Stat) -> String {
    format!("mode {:04o}, owner {}, group {}", stat.mode, stat.uid, stat.gid)
}

/// Names to numbers. A name the file does not know matches nothing, which is right: nothing can belong to it.
fn resolve(ctx: &Ctx<'_>, names: &[String], file: &str) -> Result<Vec<u32>, Stop> {
    let mut numbers = Vec::new();
    for name in names {
        if let Ok(number) = name.parse() {
            numbers.push(number);
        } else if name == "root" {
            numbers.push(0);
        } else {
            let text = ctx.text(file)?.unwrap_or_default();
            numbers.extend(if file == "/etc/group" {
                accounts::group(text)
                    .entries
                    .into_iter()
                    .find(|g| g.name == *name)
                    .map(|g| g.gid)
            } else {
                accounts::passwd(text)
                    .entries
                    .into_iter()
                    .find(|u| u.name == *name)
                    .map(|u| u.uid)
            });
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};
    use super::*;

    fn check(toml: &str, stat: Option<(u32, u32, u32)>, expected: Verdict) {
        let mut facts = tree(&[("/etc/group", "ssh_keys:x:999:\n")]);
        let stat = stat.map(|(mode, uid, gid)| Stat {
            mode,
            uid,
            gid,
            ..Default::default()
        });
        facts.stats.insert("/x".into(), Ok(stat));
        let outcome = outcome_of(&format!("kind = \"file_attr\"\npaths = [\"/x\"]\n{toml}"), &facts);
        assert_eq!(outcome.result, expected, "{toml} {stat:?}: {outcome:?}");
    }

    #[test]
    fn attributes() {
        check(
            "mode_max = \"0644\"\nuid = [\"0\"]\ngid = [\"0\"]",
            Some((0o644, 0, 0)),
            Pass,
        );
        check("mode_max = \"0644\"", Some((0o664, 0, 0)), Fail);
        check("mode_max = \"0000\"", Some((0o000, 0, 0)), Pass);
        check("mode_max = \"0600\"", Some((0o4600, 0, 0)), Fail);
        check("uid = [\"root\"]", Some((0o600, 1, 0)), Fail);
        check("gid = [\"root\", \"ssh_keys\"]", Some((0o600, 0, 999)), Pass);
        check(
            "mode_max = \"0600\"\ngroup_mode = { group = \"ssh_keys\", mode_max = \"0640\" }",
            Some((0o640, 0, 999)),
            Pass,
        );
        check(
            "mode_max = \"0600\"\ngroup_mode = { group = \"ssh_keys\", mode_max = \"0640\" }",
            Some((0o640, 0, 0)),
            Fail,
        );
        check("mode_max = \"0600\"", None, Pass);
        check("exists = true", None, Fail);
        check("exists = true", Some((0, 0, 0)), Pass);
        check("exists = false", Some((0, 0, 0)), Fail);
        check("exists = false", None, Pass);
    }

    #[test]
    fn an_unreadable_file_is_an_error() {
        let mut facts = tree(&[]);
        facts.stats.insert("/x".into(), Err("permission denied".into()));
        let outcome = outcome_of("kind = \"file_attr\"\npaths = [\"/x\"]\nuid = [\"0\"]", &facts);
        assert_eq!(outcome.result, Verdict::Error);
        assert!(outcome.reason.contains("permission denied"), "{}", outcome.reason);
    }
}
