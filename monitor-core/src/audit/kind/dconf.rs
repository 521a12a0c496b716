//! GNOME settings in system dconf databases: key files and locks.

use super::super::expect::Expect;
use super::super::facts::{Ctx, FileKind, Stop, Want};
use super::super::outcome::Outcome;
use super::super::parse::keyvalue::{Syntax, settings};
use serde::{Deserialize, Serialize};

/// One setting of a dconf database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dconf {
    /// Section, such as `org/gnome/desktop/media-handling`.
    pub section: String,
    /// Key.
    pub key: String,
    /// What the value must be (written as in the key file, `uint32` taken off); without conditions the lock alone counts.
    pub expect: Expect,
    /// The key must also be locked.
    pub locked: bool,
    /// Only the lock counts.
    pub lock_only: bool,
    /// The compiled databases must be newer than their key files.
    pub compiled: bool,
}

impl Dconf {
    pub(super) fn validate(&self) -> Result<(), String> {
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        ctx.prefetch([Want::Tree("/etc/dconf/db".into(), 3)]);
        let Some(tree) = ctx.tree("/etc/dconf/db", 3)? else {
            return Ok(Outcome::not_applicable("no dconf database (/etc/dconf/db)"));
        };
        if self.compiled {
            return Self::databases(ctx, tree);
        }
        let files = |in_locks: bool| {
            tree.iter()
                .filter(move |entry| {
                    entry.stat.kind == FileKind::File && entry.path.contains("/locks/") == in_locks
                })
                .filter(|entry| entry.path.contains(".d/"))
                .map(|entry| entry.path.clone())
                .collect::<Vec<_>>()
        };
        let (keys, locks) = (files(false), files(true));
        ctx.prefetch(keys.iter().chain(&locks).map(|path| Want::Text(path.clone())));
        let mut outcome = Outcome::start();
        let name = format!("/{}/{}", self.section, self.key);
        if !self.lock_only {
            self.value(ctx, &keys, &mut outcome)?;
        }
        if self.locked || self.lock_only {
            let mut found = None;
            for (path, text) in ctx.texts(&locks)? {
                if let Some(line) = text.lines().position(|line| line.trim() == name) {
                    found = Some(format!("{path}:{}", line + 1));
                }
            }
            let source = found
                .clone()
                .unwrap_or_else(|| "/etc/dconf/db/*.d/locks".to_owned());
            outcome.expect(
                found.is_some(),
                source,
                format!("lock of {name}"),
                if found.is_some() { "locked" } else { "not locked" },
            );
        }
        Ok(outcome.because(format!("{name} is as wanted")))
    }

    fn value(&self, ctx: &Ctx<'_>, files: &[String], outcome: &mut Outcome) -> Result<(), Stop> {
        let mut found = None;
        for (path, text) in ctx.texts(files)? {
            for setting in settings(text, Syntax::Ini) {
                if setting.section == self.section && setting.key == self.key {
                    found = Some((format!("{path}:{}", setting.line), setting.value));
                }
            }
        }
        let expected = format!("{}/{} {}", self.section, self.key, self.expect.describe());
        match found {
            Some((place, value)) => {
                let plain = value.trim_start_matches("uint32").trim();
                let plain = super::super::parse::keyvalue::unquote(plain);
                outcome.expect(self.expect.holds(plain), place, expected, value);
            }
            None => outcome.expect(false, "/etc/dconf/db", expected, "not set"),
        }
        Ok(())
    }

    fn databases(ctx: &Ctx<'_>, tree: &[super::super::facts::TreeEntry]) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        for entry in tree.iter().filter(|entry| entry.stat.kind == FileKind::Dir) {
            let Some(database) = entry
                .path
                .strip_suffix(".d")
                .filter(|path| path.matches('/').count() == 4)
            else {
                continue;
            };
            let has_keys = tree.iter().any(|file| {
                file.stat.kind == FileKind::File && super::super::sweep::below(&file.path, &entry.path)
            });
            if !has_keys {
                continue;
            }
            let exists = ctx.stat(database)?.is_some();
            outcome.expect(
                exists,
                database,
                "a compiled database",
                if exists { "there" } else { "no such file" },
            );
            if exists {
                let newest = tree
                    .iter()
                    .filter(|file| super::super::sweep::below(&file.path, &entry.path))
                    .map(|file| file.mtime)
                    .max()
                    .unwrap_or(0);
                let compiled = tree
                    .iter()
                    .find(|file| file.path == database)
                    .map_or(0, |file| file.mtime);
                outcome.expect(
                    compiled >= newest,
                    database,
                    "newer than its key files",
                    format!("compiled {compiled}, newest key file {newest}"),
                );
            }
        }
        Ok(outcome.because("databases are compiled"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{FileKind, Stat, TreeEntry};
    use super::super::super::outcome::Verdict::{self, Fail, NotApplicable, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, keys: &str, locks: &str, mtime: i64, expected: Verdict) {
        let files = [
            ("/etc/dconf/db/local.d/00-x", keys),
            ("/etc/dconf/db/local.d/locks/00-x", locks),
            ("/etc/dconf/db/local", ""),
        ];
        let mut facts = tree(&files);
        let entry = |path: &str, kind, mtime| TreeEntry {
            path: path.into(),
            stat: Stat {
                kind,
                ..Stat::default()
            },
            mtime,
        };
        let mut entries = vec![entry("/etc/dconf/db/local.d", FileKind::Dir, 1)];
        entries.extend(files.iter().map(|(path, _)| entry(path, FileKind::File, 10)));
        if let Some(last) = entries.last_mut() {
            last.mtime = mtime;
        }
        facts.trees.insert(("/etc/dconf/db".into(), 3), Ok(Some(entries)));
        let outcome = outcome_of(&format!("kind = \"dconf\"\n{toml}"), &facts);
        assert_eq!(outcome.result, expected, "{toml}\n{outcome:?}");
    }

    #[test]
    fn keys_locks_databases() {
        let idle = "section = \"org/gnome/desktop/session\"\nkey = \"idle-delay\"\nexpect = { min = 1, max = 900 }\nlocked = true";
        let keys = "[org/gnome/desktop/session]\nidle-delay=uint32 900\n";
        check(idle, keys, "/org/gnome/desktop/session/idle-delay\n", 10, Pass);
        check(idle, keys, "", 10, Fail);
        check(
            idle,
            "[org/gnome/desktop/session]\nidle-delay=uint32 0\n",
            "/org/gnome/desktop/session/idle-delay\n",
            10,
            Fail,
        );
        check("compiled = true", keys, "", 10, Pass);
        check("compiled = true", keys, "", 9, Fail);
        assert_eq!(
            outcome_of(&format!("kind = \"dconf\"\n{idle}"), &tree(&[])).result,
            NotApplicable
        );
    }
}
