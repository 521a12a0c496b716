//! Home directories of people and what lies in them.

use super::super::facts::{Ctx, FileKind, Stop, TreeEntry, Want, wildcard};
use super::super::outcome::Outcome;
use super::super::parse::accounts::User;
use super::accounts::interactive;
use super::file_attr::{describe, octal};
use serde::{Deserialize, Serialize};

/// A question about home directories of interactive users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// The question.
    pub ask: HomeQuestion,
    /// Octal mode for the questions about modes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_max: Option<String>,
    /// File names (with `*`) for the questions about files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeQuestion {
    /// The home directory exists.
    Exists,
    /// It belongs to its user.
    Owner,
    /// Its group is the user's primary group.
    Group,
    /// Its mode has no bit beyond `mode_max`.
    Mode,
    /// Matching files belong to the user.
    FileOwner,
    /// Matching files belong to the user's primary group.
    FileGroup,
    /// Matching files have no mode bit beyond `mode_max`.
    FileMode,
    /// No matching file exists.
    NoFile,
    /// Private SSH keys carry a passphrase.
    KeysProtected,
    /// Start-up files set no search path outside the home.
    PathInside,
    /// Start-up files set no umask weaker than `mode_max` (as a umask).
    Umask,
    /// Start-up files run no world-writable program.
    NoWorldWritableProgram,
    /// The home directory lies on a file system of its own.
    SeparateFileSystem,
}

impl Home {
    pub(super) fn validate(&self) -> Result<(), String> {
        self.mode_max
            .as_deref()
            .map_or(Ok(()), |mode| octal(mode).map(|_| ()))
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        use HomeQuestion as Q;
        let users = interactive(ctx)?;
        let mut outcome = Outcome::start();
        match self.ask {
            Q::Exists | Q::Owner | Q::Group | Q::Mode => self.directories(ctx, &users, &mut outcome)?,
            Q::FileOwner | Q::FileGroup | Q::FileMode | Q::NoFile => self.files(ctx, &users, &mut outcome)?,
            Q::KeysProtected => keys(ctx, &users, &mut outcome)?,
            Q::SeparateFileSystem => separate(ctx, &users, &mut outcome)?,
            Q::PathInside | Q::Umask | Q::NoWorldWritableProgram => {
                self.startup(ctx, &users, &mut outcome)?;
            }
        }
        Ok(outcome.because(format!("{} interactive users looked at", users.len())))
    }

    fn directories(&self, ctx: &Ctx<'_>, users: &[User], outcome: &mut Outcome) -> Result<(), Stop> {
        ctx.prefetch(users.iter().map(|user| Want::Stat(user.home.clone())));
        let mode = self
            .mode_max
            .as_deref()
            .and_then(|mode| octal(mode).ok())
            .unwrap_or(0o7777);
        for user in users {
            let place = format!("{} ({})", user.home, user.name);
            let Some(stat) = ctx.stat(&user.home)?.filter(|stat| stat.kind == FileKind::Dir) else {
                if self.ask == HomeQuestion::Exists {
                    outcome.expect(false, place, "a directory", "no such directory");
                }
                continue;
            };
            let (ok, expected) = match self.ask {
                HomeQuestion::Owner => (stat.uid == user.uid, format!("owner {}", user.uid)),
                HomeQuestion::Group => (stat.gid == user.gid, format!("group {}", user.gid)),
                HomeQuestion::Mode => (stat.mode & !mode == 0, format!("mode {mode:04o} or stricter")),
                _ => (true, "a directory".to_owned()),
            };
            outcome.expect(ok, place, expected, describe(stat));
        }
        Ok(())
    }

    fn entries<'a>(&self, ctx: &Ctx<'a>, users: &[User]) -> Result<Vec<(User, &'a TreeEntry)>, Stop> {
        ctx.prefetch(users.iter().map(|user| Want::Tree(user.home.clone(), 1)));
        let mut found = Vec::new();
        for user in users.iter().filter(|user| user.home != "/") {
            for entry in ctx.tree(&user.home, 1)?.unwrap_or_default() {
                let name = entry.path.rsplit('/').next().unwrap_or_default();
                if self.names.iter().any(|pattern| wildcard(pattern, name)) {
                    found.push((user.clone(), entry));
                }
            }
        }
        Ok(found)
    }

    fn files(&self, ctx: &Ctx<'_>, users: &[User], outcome: &mut Outcome) -> Result<(), Stop> {
        let mode = self
            .mode_max
            .as_deref()
            .and_then(|mode| octal(mode).ok())
            .unwrap_or(0o7777);
        for (user, entry) in self.entries(ctx, users)? {
            if entry.stat.kind != FileKind::File {
                continue;
            }
            let (ok, expected) = match self.ask {
                HomeQuestion::FileOwner => (entry.stat.uid == user.uid, format!("owner {}", user.uid)),
                HomeQuestion::FileGroup => (entry.stat.gid == user.gid, format!("group {}", user.gid)),
                HomeQuestion::FileMode => (
                    entry.stat.mode & !mode == 0,
                    format!("mode {mode:04o} or stricter"),
                ),
                _ => (false, "no such file".to_owned()),
            };
            outcome.expect(ok, &entry.path, expected, describe(entry.stat));
        }
        Ok(())
    }

    /// Looks into shell start-up files.
    fn startup(&self, ctx: &Ctx<'_>, users: &[User], outcome: &mut Outcome) -> Result<(), Stop> {
        let names = [
            ".bashrc",
            ".bash_profile",
            ".profile",
            ".cshrc",
            ".tcshrc",
            ".zshrc",
            ".login",
            ".bash_login",
            ".kshrc",
        ];
        let wanted = self.mode_max.as_deref().unwrap_or("077");
        let mut lines: Vec<(String, &str)> = Vec::new();
        for user in users.iter().filter(|user| user.home != "/") {
            let paths: Vec<String> = names.iter().map(|name| format!("{}/{name}", user.home)).collect();
            for (path, text) in ctx.texts(&paths)? {
                for (number, line) in super::super::parse::keyvalue::plain_lines(text) {
                    let place = format!("{path}:{number}");
                    match self.ask {
                        HomeQuestion::Umask => {
                            if let Some(value) = line.strip_prefix("umask ") {
                                let value = value.trim();
                                let ok = super::super::expect::umask_covers(value, wanted);
                                outcome.expect(ok, place, format!("{wanted} or stricter"), value);
                            }
                        }
                        HomeQuestion::PathInside => {
                            for bad in outside(line, &user.home) {
                                outcome.expect(false, &place, "search path inside the home", bad);
                            }
                        }
                        _ => lines.push((place, line)),
                    }
                }
            }
        }
        if self.ask == HomeQuestion::NoWorldWritableProgram {
            let query = super::sweep_check::world_writable_programs();
            let result = ctx.sweep(&query)?;
            if let Some(why) = result.incomplete() {
                return Err(Stop::unreadable("file-system walk", why));
            }
            for hit in &result.hits {
                let name = hit.path.rsplit('/').next().unwrap_or_default();
                let run = lines.iter().find(|(_, line)| runs(line, &hit.path, name));
                if let Some((place, line)) = run {
                    let found = format!("{line} ({}: {})", hit.path, describe(hit.stat));
                    outcome.expect(false, place, "no world-writable program", found);
                }
            }
            outcome.note(
                "all local file systems",
                format!("{} world-writable programs", result.total),
            );
        }
        Ok(())
    }
}

/// Whether a line of a start-up file names a program, by path or as a word.
fn runs(line: &str, path: &str, name: &str) -> bool {
    line.split(|c: char| c.is_whitespace() || ";|&()`$\"'=<>".contains(c))
        .any(|word| word == path || word == name)
}

/// Parts of a PATH assignment that lead out of the home and are not the inherited path.
fn outside(line: &str, home: &str) -> Vec<String> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some(value) = line.strip_prefix("PATH=") else {
        return Vec::new();
    };
    let value = super::super::parse::keyvalue::unquote(value);
    value
        .split(':')
        .map(str::trim)
        .filter(|part| !part.starts_with("$PATH") && !part.starts_with("${PATH"))
        .filter(|part| {
            !["$HOME", "${HOME}", "~", home]
                .iter()
                .any(|start| part.starts_with(start))
        })
        .map(str::to_owned)
        .collect()
}

fn keys(ctx: &Ctx<'_>, users: &[User], outcome: &mut Outcome) -> Result<(), Stop> {
    ctx.prefetch(
        users
            .iter()
            .map(|user| Want::Tree(format!("{}/.ssh", user.home), 1)),
    );
    let mut paths = Vec::new();
    for user in users {
        for entry in ctx.tree(&format!("{}/.ssh", user.home), 1)?.unwrap_or_default() {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            let public = std::path::Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "pub");
            if entry.stat.kind == FileKind::File && name.starts_with("id_") && !public {
                paths.push(entry.path.clone());
            }
        }
    }
    for (path, text) in ctx.texts(&paths)? {
        let open = text.contains("PRIVATE KEY-----") && !protected(text);
        outcome.expect(
            !open,
            path,
            "a passphrase",
            if open { "none" } else { "protected" },
        );
    }
    Ok(())
}

/// PEM keys say ENCRYPTED; OpenSSH's own format names its cipher in the first bytes (`none` when open).
fn protected(text: &str) -> bool {
    // "openssh-key-v1\0" + length 4 + "none", in base64.
    text.contains("ENCRYPTED")
        || (text.contains("OPENSSH PRIVATE KEY") && !text.contains("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"))
}

fn separate(ctx: &Ctx<'_>, users: &[User], outcome: &mut Outcome) -> Result<(), Stop> {
    let text = ctx.text("/etc/fstab")?.unwrap_or_default();
    let mounts = super::super::parse::mounts::fstab(text);
    for user in users {
        let mount = super::super::parse::mounts::holding(&mounts, &user.home);
        let found = mount.map_or("/", |mount| mount.target.as_str());
        outcome.expect(
            found != "/",
            format!("{} ({})", user.home, user.name),
            "a file system other than /",
            found,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Stat;
    use super::super::super::outcome::Verdict::{self, Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};
    use super::*;

    fn check(toml: &str, home: Option<Stat>, file: (&str, Stat), text: &str, expected: Verdict) {
        let mut facts = tree(&[
            (
                "/etc/passwd",
                "root:x:0:0::/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\n",
            ),
            ("/etc/group", "root:x:0:\nann:x:1000:\n"),
            ("/home/ann/.bashrc", text),
        ]);
        facts.stats.insert("/home/ann".into(), Ok(home));
        let entry = TreeEntry {
            path: format!("/home/ann/{}", file.0),
            stat: file.1,
            mtime: 0,
        };
        facts.trees.insert(("/home/ann".into(), 1), Ok(Some(vec![entry])));
        let outcome = outcome_of(&format!("kind = \"home\"\n{toml}"), &facts);
        assert_eq!(outcome.result, expected, "{toml}\n{outcome:?}");
    }

    #[test]
    fn questions() {
        let dir = |mode, uid| {
            Some(Stat {
                kind: FileKind::Dir,
                mode,
                uid,
                gid: 1000,
                size: 0,
            })
        };
        let file = |mode, uid| {
            (
                ".netrc",
                Stat {
                    kind: FileKind::File,
                    mode,
                    uid,
                    gid: 1000,
                    size: 0,
                },
            )
        };
        let plain = (".x", file(0o600, 1000).1);
        check("ask = \"exists\"", dir(0o700, 1000), plain, "", Pass);
        check("ask = \"exists\"", None, plain, "", Fail);
        check("ask = \"owner\"", dir(0o700, 0), plain, "", Fail);
        check(
            "ask = \"mode\"\nmode_max = \"0750\"",
            dir(0o750, 1000),
            plain,
            "",
            Pass,
        );
        check(
            "ask = \"mode\"\nmode_max = \"0750\"",
            dir(0o755, 1000),
            plain,
            "",
            Fail,
        );
        check(
            "ask = \"no_file\"\nnames = [\".netrc\"]",
            dir(0o700, 1000),
            file(0o600, 1000),
            "",
            Fail,
        );
        check(
            "ask = \"no_file\"\nnames = [\".rhosts\"]",
            dir(0o700, 1000),
            file(0o600, 1000),
            "",
            Pass,
        );
        check(
            "ask = \"file_owner\"\nnames = [\".*\"]",
            dir(0o700, 1000),
            file(0o600, 0),
            "",
            Fail,
        );
        check(
            "ask = \"file_mode\"\nnames = [\".*\"]\nmode_max = \"0740\"",
            dir(0o700, 1000),
            file(0o644, 1000),
            "",
            Fail,
        );
        check("ask = \"umask\"", dir(0o700, 1000), plain, "umask 022\n", Fail);
        check("ask = \"umask\"", dir(0o700, 1000), plain, "umask 077\n", Pass);
        check(
            "ask = \"path_inside\"",
            dir(0o700, 1000),
            plain,
            "PATH=$PATH:$HOME/bin\n",
            Pass,
        );
        check(
            "ask = \"path_inside\"",
            dir(0o700, 1000),
            plain,
            "export PATH=\"$PATH:/opt/x\"\n",
            Fail,
        );
    }

    #[test]
    fn open_keys_are_seen() {
        assert!(!protected(
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n"
        ));
        assert!(protected(
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHI\n"
        ));
        assert!(protected("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    }
}
