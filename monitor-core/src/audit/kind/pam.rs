//! PAM stacks and the authselect profile behind them.

use super::super::expect::Expect;
use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use super::super::parse::keyvalue::{Syntax, settings};
use super::super::parse::pam::{Entry, stack};
use serde::{Deserialize, Serialize};

/// PAM's management groups.
const GROUPS: [&str; 4] = ["auth", "account", "password", "session"];

/// A module that must stand in PAM stacks, and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pam {
    /// Service files below /etc/pam.d; each must be as wanted.
    pub services: Vec<String>,
    /// Management group: auth, account, password, session; empty means any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Module file name; several mean that any of them will do.
    pub modules: Vec<String>,
    /// Allowed control words; empty means any. A bracket expression counts as `required` unless it ignores failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<String>,
    /// Arguments that must be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub need: Vec<String>,
    /// At least one of these arguments must be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub need_one: Vec<String>,
    /// Arguments that must not be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forbid: Vec<String>,
    /// An argument with a value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arg: String,
    /// What that value must be.
    pub expect: Expect,
    /// A file where the module also reads that setting (`/etc/security/pwhistory.conf`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// At least this many lines of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// The module must stand in each of the four groups.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub every_group: bool,
    /// The conditions on arguments hold for every line of the module that is there; none need be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub if_present: bool,
    /// The module must not be there at all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

impl Pam {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.services.is_empty() || self.modules.is_empty() {
            return Err("needs services and modules".into());
        }
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let paths: Vec<String> = self
            .services
            .iter()
            .map(|service| format!("/etc/pam.d/{service}"))
            .collect();
        ctx.prefetch(paths.iter().map(|path| Want::Text(path.clone())));
        let from_file = self.file_value(ctx)?;
        let mut outcome = Outcome::start();
        for path in &paths {
            let Some(text) = ctx.text(path)? else {
                if !self.if_present && !self.absent {
                    outcome.expect(false, path, "a PAM service file", "no such file");
                }
                continue;
            };
            let entries = stack(text);
            let lines: Vec<&Entry> = entries
                .iter()
                .filter(|entry| self.modules.contains(&entry.module))
                .filter(|entry| self.group.is_empty() || entry.group == self.group)
                .collect();
            self.judge(path, &lines, from_file.as_ref(), &mut outcome);
        }
        Ok(outcome.because(format!(
            "{} is as wanted in {}",
            self.modules.join("/"),
            self.services.join(", ")
        )))
    }

    fn file_value(&self, ctx: &Ctx<'_>) -> Result<Option<(String, String)>, Stop> {
        if self.file.is_empty() {
            return Ok(None);
        }
        let Some(text) = ctx.text(&self.file)? else {
            return Ok(None);
        };
        let wanted = if self.arg.is_empty() {
            self.need.first()
        } else {
            Some(&self.arg)
        };
        Ok(settings(text, Syntax::Equals)
            .into_iter()
            .rev()
            .find(|s| Some(&s.key) == wanted)
            .map(|setting| (format!("{}:{}", self.file, setting.line), setting.value)))
    }

    fn judge(
        &self,
        path: &str,
        lines: &[&Entry],
        from_file: Option<&(String, String)>,
        outcome: &mut Outcome,
    ) {
        let module = self.modules.join("/");
        let group = if self.group.is_empty() { "any" } else { &self.group };
        if self.absent {
            for line in lines {
                outcome.expect(false, place(path, line), format!("no {module}"), show(line));
            }
            return;
        }
        if self.every_group {
            for group in GROUPS {
                if !lines.iter().any(|line| line.group == group) {
                    outcome.expect(false, path, format!("a {group} line of {module}"), "no such line");
                }
            }
            return;
        }
        let wanted_count = self.count.unwrap_or(1);
        if lines.len() < wanted_count && !self.if_present {
            let expected = format!("{wanted_count} {group} line(s) of {module}");
            outcome.expect(false, path, expected, format!("{} line(s)", lines.len()));
            return;
        }
        for line in lines {
            let (ok, expected) = self.wanted(line, from_file);
            outcome.expect(ok, place(path, line), expected, show(line));
            if let Some((place, value)) = from_file {
                outcome.note(place, value);
            }
        }
    }

    fn wanted(&self, line: &Entry, from_file: Option<&(String, String)>) -> (bool, String) {
        let mut ok = true;
        let mut words = vec![self.modules.join("/")];
        if !self.control.is_empty() {
            ok &= self
                .control
                .iter()
                .any(|control| control_holds(&line.control, control));
            words.push(format!("control {}", self.control.join(" or ")));
        }
        for argument in &self.need {
            ok &= line.has(argument) || from_file.is_some();
            words.push(argument.clone());
        }
        if !self.need_one.is_empty() {
            ok &= self.need_one.iter().any(|argument| line.has(argument));
            words.push(self.need_one.join(" or "));
        }
        for argument in &self.forbid {
            ok &= !line.has(argument);
            words.push(format!("no {argument}"));
        }
        if !self.arg.is_empty() {
            // An argument in the stack beats the module's own file.
            let value = line
                .value(&self.arg)
                .or_else(|| from_file.map(|(_, value)| value.as_str()));
            ok &= value.is_some_and(|value| self.expect.holds(value));
            words.push(format!("{} {}", self.arg, self.expect.describe()));
        }
        (ok, words.join(", "))
    }
}

fn control_holds(found: &str, wanted: &str) -> bool {
    if found.eq_ignore_ascii_case(wanted) {
        return true;
    }
    let bracket = found.trim_start_matches('[').trim_end_matches(']');
    match wanted {
        "required" | "requisite" => found.starts_with('[') && !bracket.contains("default=ignore"),
        "sufficient" => bracket.contains("success=done"),
        _ => false,
    }
}

fn place(path: &str, line: &Entry) -> String {
    format!("{path}:{}", line.line)
}

fn show(line: &Entry) -> String {
    format!(
        "{} {} {} {}",
        line.group,
        line.control,
        line.module,
        line.args.join(" ")
    )
}

/// The authselect profile in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authselect {
    /// Modules that the profile's templates must name.
    pub modules: Vec<String>,
}

impl Authselect {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        let Some(text) = ctx.text("/etc/authselect/authselect.conf")? else {
            outcome.expect(
                false,
                "/etc/authselect/authselect.conf",
                "a selected profile",
                "no such file",
            );
            return Ok(outcome);
        };
        let profile = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .unwrap_or_default();
        outcome.expect(
            !profile.is_empty(),
            "/etc/authselect/authselect.conf:1",
            "a selected profile",
            profile,
        );
        let dir = match profile.strip_prefix("custom/") {
            Some(name) => format!("/etc/authselect/custom/{name}"),
            None => format!("/usr/share/authselect/default/{profile}"),
        };
        let files = ["system-auth", "password-auth"].map(|service| format!("{dir}/{service}"));
        if !self.modules.is_empty() {
            ctx.prefetch(files.iter().map(|path| Want::Text(path.clone())));
        }
        for path in files.iter().filter(|_| !self.modules.is_empty()) {
            let text = ctx.text(path)?.unwrap_or_default();
            for module in &self.modules {
                let named = text
                    .lines()
                    .any(|line| !line.trim_start().starts_with('#') && line.contains(module));
                outcome.expect(named, path, module, if named { "named" } else { "not named" });
            }
        }
        Ok(outcome.because(format!("authselect profile {profile}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, stack: &str, conf: &str, expected: Verdict) {
        let facts = tree(&[
            ("/etc/pam.d/system-auth", stack),
            ("/etc/security/pwhistory.conf", conf),
        ]);
        let outcome = outcome_of(
            &format!("kind = \"pam\"\nservices = [\"system-auth\"]\n{toml}"),
            &facts,
        );
        assert_eq!(outcome.result, expected, "{toml}\n{stack}\n{outcome:?}");
    }

    #[test]
    fn stacks() {
        let history = "group = \"password\"\nmodules = [\"pam_pwhistory.so\"]\narg = \"remember\"\nexpect = { min = 24 }\nfile = \"/etc/security/pwhistory.conf\"";
        check(
            history,
            "password required pam_pwhistory.so remember=24\n",
            "",
            Pass,
        );
        check(
            history,
            "password required pam_pwhistory.so use_authtok\n",
            "remember = 24\n",
            Pass,
        );
        check(
            history,
            "password required pam_pwhistory.so remember=5\n",
            "remember = 24\n",
            Fail,
        );
        check(history, "password required pam_pwhistory.so\n", "", Fail);
        check(history, "", "remember = 24\n", Fail);
        let unix = "modules = [\"pam_unix.so\"]\nevery_group = true";
        let three =
            "auth sufficient pam_unix.so\naccount required pam_unix.so\npassword sufficient pam_unix.so\n";
        check(unix, three, "", Fail);
        check(unix, &format!("{three}session required pam_unix.so\n"), "", Pass);
        let nullok = "modules = [\"pam_unix.so\"]\nforbid = [\"nullok\"]\nif_present = true";
        check(nullok, "auth sufficient pam_unix.so nullok\n", "", Fail);
        check(nullok, "auth sufficient pam_unix.so\n", "", Pass);
        let lock = "group = \"auth\"\nmodules = [\"pam_faillock.so\"]\ncount = 2\ncontrol = [\"required\"]";
        check(
            lock,
            "auth required pam_faillock.so preauth\nauth [default=die] pam_faillock.so authfail\n",
            "",
            Pass,
        );
        check(lock, "auth required pam_faillock.so preauth\n", "", Fail);
    }

    #[test]
    fn profiles() {
        let facts = tree(&[
            ("/etc/authselect/authselect.conf", "custom/x\nwith-faillock\n"),
            (
                "/etc/authselect/custom/x/system-auth",
                "auth required pam_faillock.so {include if \"with-faillock\"}\n",
            ),
            ("/etc/authselect/custom/x/password-auth", "# pam_faillock.so\n"),
        ]);
        assert_eq!(outcome_of("kind = \"authselect\"", &facts).result, Pass);
        assert_eq!(
            outcome_of("kind = \"authselect\"\nmodules = [\"pam_faillock.so\"]", &facts).result,
            Fail
        );
        assert_eq!(outcome_of("kind = \"authselect\"", &tree(&[])).result, Fail);
    }
}
