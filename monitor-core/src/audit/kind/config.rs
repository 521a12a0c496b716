//! Settings in key-value files with drop-in directories, and lines in text files.

use super::super::expect::Expect;
use super::super::facts::{Ctx, Stop};
use super::super::outcome::{Outcome, Verdict};
use super::super::parse::keyvalue::{Syntax, joined_lines, settings};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// One setting of a key-value file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Main files; the first that exists is read, before the drop-ins.
    pub files: Vec<String>,
    /// Drop-in directories, the stronger last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropins: Vec<String>,
    /// How the files are written.
    pub syntax: Syntax,
    /// Section, for `ini`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub section: String,
    /// Keys that all stand for the setting.
    pub keys: Vec<String>,
    /// What the value must be.
    pub expect: Expect,
    /// The value in effect when no file sets it; without it, not setting it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Every occurrence must be as wanted, not only the last.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub every: bool,
    /// The key must not be set at all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forbidden: bool,
    /// The drop-ins are read first, so that the main file wins (pwquality, limits and others read in this order).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub main_last: bool,
}

/// Reads a main file and its drop-ins in the order in which they count.
fn read<'a>(
    ctx: &Ctx<'a>,
    files: &[String],
    dropins: &[String],
    main_last: bool,
) -> Result<Vec<(String, &'a str)>, Stop> {
    let mut main = ctx.texts(files)?;
    main.truncate(1);
    let dirs: Vec<&str> = dropins.iter().map(String::as_str).collect();
    let extra = if dirs.is_empty() {
        Vec::new()
    } else {
        ctx.dropins(&dirs, ".conf")?
    };
    Ok(if main_last {
        extra.into_iter().chain(main).collect()
    } else {
        main.into_iter().chain(extra).collect()
    })
}

impl Config {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.keys.is_empty() || (self.files.is_empty() && self.dropins.is_empty()) {
            return Err("needs keys and files".into());
        }
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let texts = read(ctx, &self.files, &self.dropins, self.main_last)?;
        let mut found = Vec::new();
        for (path, text) in &texts {
            for setting in settings(text, self.syntax) {
                let key_ok = self.keys.iter().any(|key| key.eq_ignore_ascii_case(&setting.key));
                let section_ok =
                    self.section.is_empty() || self.section.eq_ignore_ascii_case(&setting.section);
                if key_ok && section_ok {
                    found.push((format!("{path}:{}", setting.line), setting));
                }
            }
        }
        let key = self.keys.join("/");
        let mut outcome = Outcome::start();
        if self.forbidden {
            for (place, setting) in found {
                outcome.expect(
                    false,
                    place,
                    format!("{key} not set"),
                    format!("{} {}", setting.key, setting.value),
                );
            }
            return Ok(outcome.because(format!("{key} is not set")));
        }
        let wanted = self.expect.describe();
        let expected = format!("{key} {wanted}");
        let Some((last, earlier)) = found.split_last() else {
            let place = self
                .files
                .first()
                .or_else(|| self.dropins.first())
                .map_or("", String::as_str);
            match &self.default {
                Some(value) => {
                    let shown = format!("not set; the default is {value}");
                    outcome.expect(self.expect.holds(value), place, expected, shown);
                }
                None => outcome.expect(false, place, expected, "not set"),
            }
            return Ok(outcome.because("the built-in default is as wanted"));
        };
        for (place, setting) in earlier {
            if self.every {
                outcome.expect(
                    self.expect.holds(&setting.value),
                    place,
                    &expected,
                    &setting.value,
                );
            } else {
                outcome.note(place, format!("{} (overridden)", setting.value));
            }
        }
        outcome.expect(self.expect.holds(&last.1.value), &last.0, expected, &last.1.value);
        Ok(outcome.because(format!("{key} is {wanted}")))
    }
}

/// Lines that must, or must not, stand in text files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lines {
    /// Files; `*` and `?` stand for names.
    pub files: Vec<String>,
    /// Each of these regular expressions matches some line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub must: Vec<String>,
    /// The first of `must` matches at least so many lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<usize>,
    /// At least one of these matches some line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// None of these matches any line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    /// Only lines that match this are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub among: Option<String>,
    /// The answer when none of the files exists; without it: fail if something must be there, pass otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<Verdict>,
    /// What is wanted, in words, for evidence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wanted: String,
}

impl Lines {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.files.is_empty() {
            return Err("no files".into());
        }
        for pattern in self
            .must
            .iter()
            .chain(&self.one_of)
            .chain(&self.never)
            .chain(&self.among)
        {
            Regex::new(pattern).map_err(|error| format!("regular expression {pattern:?}: {error}"))?;
        }
        Ok(())
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut paths = Vec::new();
        for pattern in &self.files {
            paths.extend(ctx.glob(pattern)?);
        }
        let texts = ctx.texts(&paths)?;
        let shown = self.files.join(" ");
        if texts.is_empty()
            && let Some(result) = self.absent
        {
            return Ok(Outcome::of(result, format!("{shown}: no such file")));
        }
        let among = self.among.as_deref().and_then(|pattern| Regex::new(pattern).ok());
        let mut lines = Vec::new();
        for (path, text) in &texts {
            for (number, line) in joined_lines(text) {
                let content = line.trim();
                let counts = !content.is_empty() && !content.starts_with('#');
                if counts && among.as_ref().is_none_or(|regex| regex.is_match(content)) {
                    lines.push((format!("{path}:{number}"), content.to_owned()));
                }
            }
        }
        let find = |pattern: &String| {
            let regex = Regex::new(pattern).ok()?;
            lines.iter().find(|(_, line)| regex.is_match(line))
        };
        let words = |pattern: &String| {
            if self.wanted.is_empty() {
                format!("a line like /{pattern}/")
            } else {
                self.wanted.clone()
            }
        };
        let mut outcome = Outcome::start();
        for pattern in &self.must {
            match find(pattern) {
                Some((place, line)) => outcome.expect(true, place, words(pattern), line),
                None => outcome.expect(false, &shown, words(pattern), "no such line"),
            }
        }
        if let (Some(wanted), Some(pattern)) = (self.at_least, self.must.first()) {
            let regex = Regex::new(pattern).ok();
            let count = lines
                .iter()
                .filter(|(_, line)| regex.as_ref().is_some_and(|r| r.is_match(line)))
                .count();
            outcome.expect(
                count >= wanted,
                &shown,
                format!("{wanted} such lines"),
                count.to_string(),
            );
        }
        if !self.one_of.is_empty() {
            match self
                .one_of
                .iter()
                .find_map(|pattern| find(pattern).map(|hit| (pattern, hit)))
            {
                Some((pattern, (place, line))) => outcome.expect(true, place, words(pattern), line),
                None => outcome.expect(false, &shown, words(&self.one_of.join("|")), "no such line"),
            }
        }
        for pattern in &self.never {
            let Ok(regex) = Regex::new(pattern) else { continue };
            for (place, line) in lines.iter().filter(|(_, line)| regex.is_match(line)) {
                let expected = if self.wanted.is_empty() {
                    format!("no line like /{pattern}/")
                } else {
                    self.wanted.clone()
                };
                outcome.expect(false, place, expected, line);
            }
        }
        Ok(outcome.because(format!("{} lines looked at in {shown}", lines.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Fail, NotApplicable, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, files: &[(&str, &str)], expected: Verdict) {
        let outcome = outcome_of(toml, &tree(files));
        assert_eq!(outcome.result, expected, "{toml}\n{outcome:?}");
    }

    #[test]
    fn settings_and_dropins() {
        let minlen = "kind = \"config\"\nfiles = [\"/etc/p.conf\"]\ndropins = [\"/etc/p.conf.d\"]\nkeys = [\"minlen\"]\nexpect = { min = 14 }";
        check(minlen, &[("/etc/p.conf", "minlen = 14\n")], Pass);
        check(minlen, &[("/etc/p.conf", "# minlen = 14\n")], Fail);
        check(
            minlen,
            &[
                ("/etc/p.conf", "minlen = 14\n"),
                ("/etc/p.conf.d/9.conf", "minlen=8\n"),
            ],
            Fail,
        );
        check(
            &format!("{minlen}\nmain_last = true"),
            &[
                ("/etc/p.conf", "minlen = 14\n"),
                ("/etc/p.conf.d/9.conf", "minlen=8\n"),
            ],
            Pass,
        );
        check(minlen, &[], Fail);
        check(&format!("{minlen}\ndefault = \"15\""), &[], Pass);
        let ini = "kind = \"config\"\nsyntax = \"ini\"\nsection = \"Coredump\"\nfiles = [\"/etc/c.conf\"]\nkeys = [\"Storage\"]\nexpect = { eq = \"none\" }";
        check(ini, &[("/etc/c.conf", "[Coredump]\nStorage=none\n")], Pass);
        check(ini, &[("/etc/c.conf", "[Other]\nStorage=none\n")], Fail);
        let never = "kind = \"config\"\nfiles = [\"/etc/c.conf\"]\nkeys = [\"x\"]\nforbidden = true";
        check(never, &[("/etc/c.conf", "x = 1\n")], Fail);
        check(never, &[("/etc/c.conf", "y = 1\n")], Pass);
    }

    #[test]
    fn lines() {
        let toml = "kind = \"lines\"\nfiles = [\"/etc/r.d/*.conf\"]\nmust = [\"^a\"]\nnever = [\"b$\"]";
        check(toml, &[("/etc/r.d/1.conf", "axe\n")], Pass);
        check(toml, &[("/etc/r.d/1.conf", "axe\nclimb\n")], Fail);
        check(toml, &[("/etc/r.d/1.conf", "#axe\n")], Fail);
        check(toml, &[], Fail);
        check(&format!("{toml}\nabsent = \"notapplicable\""), &[], NotApplicable);
        check(
            "kind = \"lines\"\nfiles = [\"/f\"]\none_of = [\"^x\", \"^y\"]",
            &[("/f", "yes\n")],
            Pass,
        );
    }
}
