//! What shells give to users: idle time-out, umask, root's search path; and which logger is in use.

use super::super::expect::umask_covers;
use super::super::facts::{Ctx, FileKind, Stop, Want};
use super::super::outcome::Outcome;
use super::super::parse::keyvalue::{plain_lines, unquote};
use super::file_attr::describe;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A question about shell start-up files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    /// The question.
    pub ask: ShellQuestion,
    /// Files that are read; `*` stands for names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Seconds for `tmout`, an octal mask for `umask`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bound: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShellQuestion {
    /// TMOUT is set, between 1 and the bound, read-only and exported.
    Tmout,
    /// Every umask line is at least as strict as the bound, and one is there.
    Umask,
    /// Every umask line is at least as strict as the bound; none need be there.
    UmaskIfSet,
    /// root's search path holds no `.`, no empty part, no relative part.
    PathNoDot,
    /// Directories of root's search path are not writable by group or others.
    PathNotWritable,
    /// Directories of root's search path belong to root.
    PathOwnedByRoot,
    /// Parts of root's search path are directories.
    PathAllDirs,
}

impl Shell {
    pub(super) fn validate(&self) -> Result<(), String> {
        match self.ask {
            ShellQuestion::Tmout if self.bound.parse::<u32>().is_err() => {
                Err("bound is no number of seconds".into())
            }
            ShellQuestion::Umask | ShellQuestion::UmaskIfSet
                if u32::from_str_radix(&self.bound, 8).is_err() =>
            {
                Err("bound is no octal mask".into())
            }
            ShellQuestion::Tmout | ShellQuestion::Umask | ShellQuestion::UmaskIfSet
                if self.files.is_empty() =>
            {
                Err("no files".into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        match self.ask {
            ShellQuestion::Tmout => self.tmout(ctx),
            ShellQuestion::Umask | ShellQuestion::UmaskIfSet => self.umask(ctx),
            _ => self.path(ctx),
        }
    }

    fn texts<'a>(&self, ctx: &Ctx<'a>) -> Result<Vec<(String, &'a str)>, Stop> {
        let mut paths = Vec::new();
        for pattern in &self.files {
            paths.extend(ctx.glob(pattern)?);
        }
        ctx.texts(&paths)
    }

    fn tmout(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let bound: u32 = self.bound.parse().unwrap_or(900);
        let mut outcome = Outcome::start();
        let (mut set, mut readonly, mut exported) = (false, false, false);
        for (path, text) in self.texts(ctx)? {
            for (number, line) in plain_lines(text) {
                for command in line.split(';').map(str::trim) {
                    let words: Vec<&str> = command.split_whitespace().collect();
                    if !words
                        .iter()
                        .any(|word| *word == "TMOUT" || word.starts_with("TMOUT="))
                    {
                        continue;
                    }
                    readonly |= words.contains(&"readonly") || declares(&words, 'r');
                    exported |= words.contains(&"export") || declares(&words, 'x');
                    for value in words.iter().filter_map(|word| word.strip_prefix("TMOUT=")) {
                        set = true;
                        let ok = unquote(value)
                            .parse::<u32>()
                            .is_ok_and(|seconds| (1..=bound).contains(&seconds));
                        outcome.expect(
                            ok,
                            format!("{path}:{number}"),
                            format!("TMOUT 1 to {bound}"),
                            value,
                        );
                    }
                }
            }
        }
        let place = self.files.join(" ");
        outcome.expect(set, &place, "TMOUT", if set { "set" } else { "not set" });
        outcome.expect(
            readonly,
            &place,
            "readonly TMOUT",
            if readonly { "read-only" } else { "not read-only" },
        );
        outcome.expect(
            exported,
            &place,
            "export TMOUT",
            if exported { "exported" } else { "not exported" },
        );
        Ok(outcome.because("TMOUT is set, read-only and exported"))
    }

    fn umask(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        let mut count = 0;
        for (path, text) in self.texts(ctx)? {
            for (number, line) in plain_lines(text) {
                let Some(value) = line
                    .strip_prefix("umask")
                    .filter(|rest| rest.starts_with(char::is_whitespace))
                else {
                    continue;
                };
                let value = value.split('#').next().unwrap_or_default().trim();
                count += 1;
                let ok = umask_covers(value, &self.bound);
                outcome.expect(
                    ok,
                    format!("{path}:{number}"),
                    format!("umask {} or stricter", self.bound),
                    value,
                );
            }
        }
        if count == 0 && self.ask == ShellQuestion::Umask {
            outcome.expect(
                false,
                self.files.join(" "),
                format!("umask {} or stricter", self.bound),
                "no umask line",
            );
        }
        Ok(outcome.because(format!("{count} umask lines looked at")))
    }

    fn path(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        let parts = root_path(ctx)?;
        if self.ask == ShellQuestion::PathNoDot {
            for (part, place) in &parts {
                let ok = part.starts_with('/');
                outcome.expect(
                    ok,
                    place,
                    "an absolute path",
                    if part.is_empty() { "an empty part" } else { part },
                );
            }
            return Ok(outcome.because("only absolute parts"));
        }
        let dirs: BTreeSet<&str> = parts
            .iter()
            .map(|(part, _)| part.as_str())
            .filter(|p| p.starts_with('/'))
            .collect();
        ctx.prefetch(dirs.iter().map(|dir| Want::Stat((*dir).to_owned())));
        for dir in dirs {
            let Some(stat) = ctx.stat(dir)? else {
                if self.ask == ShellQuestion::PathAllDirs && dir != "/root/bin" {
                    outcome.expect(false, dir, "a directory", "no such directory");
                }
                continue;
            };
            let (ok, expected) = match self.ask {
                ShellQuestion::PathNotWritable => (stat.mode & 0o022 == 0, "not writable by group or others"),
                ShellQuestion::PathOwnedByRoot => (stat.uid == 0, "owner 0"),
                _ => (stat.kind == FileKind::Dir, "a directory"),
            };
            outcome.expect(ok, dir, expected, describe(stat));
        }
        Ok(outcome.because("root's search path is sound"))
    }
}

/// Whether `declare` or `typeset` gives an attribute.
fn declares(words: &[&str], attribute: char) -> bool {
    matches!(words.first(), Some(&"declare" | &"typeset"))
        && words
            .iter()
            .any(|word| word.starts_with('-') && word.contains(attribute))
}

/// root's search path: the system's default, and every literal part that start-up files add.
fn root_path(ctx: &Ctx<'_>) -> Result<Vec<(String, String)>, Stop> {
    let default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
    let mut parts: Vec<(String, String)> = default
        .split(':')
        .map(|part| (part.to_owned(), "default path of root".to_owned()))
        .collect();
    let files = [
        "/etc/environment",
        "/etc/profile",
        "/etc/bashrc",
        "/root/.bash_profile",
        "/root/.bashrc",
        "/root/.profile",
    ];
    for (path, text) in ctx.texts(&files.map(str::to_owned))? {
        for (number, line) in plain_lines(text) {
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some(value) = line.strip_prefix("PATH=") else {
                continue;
            };
            for part in unquote(value.trim()).split(':') {
                let part = part.replace("${HOME}", "/root").replace("$HOME", "/root");
                let part = part
                    .strip_prefix('~')
                    .map_or_else(|| part.clone(), |rest| format!("/root{rest}"));
                if !part.contains('$') {
                    parts.push((part, format!("{path}:{number}")));
                }
            }
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Stat;
    use super::super::super::outcome::Verdict::{self, Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};
    use super::*;

    fn check(toml: &str, files: &[(&str, &str)], expected: Verdict) {
        let outcome = outcome_of(&format!("kind = \"shell\"\n{toml}"), &tree(files));
        assert_eq!(outcome.result, expected, "{toml} {files:?}\n{outcome:?}");
    }

    #[test]
    fn time_out_and_umask() {
        let tmout = "ask = \"tmout\"\nbound = \"900\"\nfiles = [\"/etc/profile.d/*.sh\"]";
        check(
            tmout,
            &[("/etc/profile.d/t.sh", "TMOUT=900\nreadonly TMOUT\nexport TMOUT\n")],
            Pass,
        );
        check(tmout, &[("/etc/profile.d/t.sh", "declare -xr TMOUT=600\n")], Pass);
        check(
            tmout,
            &[("/etc/profile.d/t.sh", "readonly TMOUT=900 ; export TMOUT\n")],
            Pass,
        );
        check(
            tmout,
            &[("/etc/profile.d/t.sh", "export TMOUT=1800\nreadonly TMOUT\n")],
            Fail,
        );
        check(
            tmout,
            &[("/etc/profile.d/t.sh", "export TMOUT=0\nreadonly TMOUT\n")],
            Fail,
        );
        check(tmout, &[("/etc/profile.d/t.sh", "declare -x TMOUT=600\n")], Fail);
        check(tmout, &[], Fail);
        let umask = "ask = \"umask\"\nbound = \"027\"\nfiles = [\"/etc/bashrc\"]";
        check(umask, &[("/etc/bashrc", "   umask 027 # x\n")], Pass);
        check(umask, &[("/etc/bashrc", "umask 027\numask 022\n")], Fail);
        check(umask, &[("/etc/bashrc", "")], Fail);
    }

    #[test]
    fn search_path() {
        check(
            "ask = \"path_no_dot\"",
            &[("/root/.bashrc", "PATH=$PATH:$HOME/bin\n")],
            Pass,
        );
        check(
            "ask = \"path_no_dot\"",
            &[("/root/.bashrc", "PATH=$PATH:.\n")],
            Fail,
        );
        check(
            "ask = \"path_no_dot\"",
            &[("/root/.bashrc", "PATH=$PATH:\n")],
            Fail,
        );
        let mut facts = tree(&[]);
        facts.stats.insert(
            "/usr/local/bin".into(),
            Ok(Some(Stat {
                kind: FileKind::Dir,
                mode: 0o775,
                ..Stat::default()
            })),
        );
        assert_eq!(
            outcome_of("kind = \"shell\"\nask = \"path_not_writable\"", &facts).result,
            Fail
        );
    }
}
