//! Kernel command line and boot loader.

use super::super::expect::Expect;
use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use super::super::parse::boot::{arguments, bls_options, kargs, value};
use serde::{Deserialize, Serialize};

/// One argument of the kernel command line: now, and in every boot entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BootArg {
    /// Name of the argument.
    pub arg: String,
    /// What its value must be.
    pub expect: Expect,
    /// The argument must not be there, or not with a value that fits `expect`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forbidden: bool,
}

/// Every boot entry's command line: (place, command line). Includes kargs.d of image mode.
pub(super) fn entries(ctx: &Ctx<'_>) -> Result<Vec<(String, String)>, Stop> {
    ctx.prefetch(["/boot/loader/entries", "/usr/lib/bootc/kargs.d"].map(|dir| Want::Dir(dir.into())));
    ctx.prefetch([Want::Text("/boot/grub2/grubenv".into())]);
    let paths = ctx.glob("/boot/loader/entries/*.conf")?;
    let images = ctx.glob("/usr/lib/bootc/kargs.d/*.toml")?;
    ctx.prefetch(paths.iter().chain(&images).map(|path| Want::Text(path.clone())));
    let grubenv = ctx.text("/boot/grub2/grubenv")?.unwrap_or_default();
    let mut found = Vec::new();
    for (path, text) in ctx.texts(&paths)? {
        // The rescue entry boots the same way and counts too.
        found.push((path, bls_options(text, grubenv)));
    }
    let extra: Vec<String> = ctx
        .texts(&images)?
        .iter()
        .flat_map(|(_, text)| kargs(text))
        .collect();
    if found.is_empty() && !images.is_empty() {
        found.push(("/usr/lib/bootc/kargs.d".to_owned(), extra.join(" ")));
    }
    Ok(found)
}

impl BootArg {
    pub(super) fn validate(&self) -> Result<(), String> {
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        if ctx.facts.live {
            ctx.prefetch([Want::Text("/proc/cmdline".into())]);
        }
        let mut outcome = Outcome::start();
        let entries = entries(ctx)?;
        match ctx.text("/proc/cmdline") {
            Ok(Some(line)) => self.judge("/proc/cmdline", line, &mut outcome),
            Ok(None) => {
                return Err(Stop::unreadable(
                    "/proc/cmdline",
                    "no such file; is /proc mounted?",
                ));
            }
            Err(Stop::Offline) => outcome = outcome.configured(),
            Err(stop) => return Err(stop),
        }
        for (place, line) in &entries {
            self.judge(place, line, &mut outcome);
        }
        if entries.is_empty() {
            outcome.note("/boot/loader/entries", "no boot entry");
            if !ctx.facts.live {
                return Ok(Outcome::not_applicable(
                    "no boot entry: a container image or a host that boots otherwise",
                ));
            }
        }
        Ok(outcome.because(format!("{} boot entries looked at", entries.len())))
    }

    fn judge(&self, place: &str, line: &str, outcome: &mut Outcome) {
        let arguments = arguments(line);
        let found = value(&arguments, &self.arg);
        let shown = match found {
            None => format!("no {}", self.arg),
            Some("") => self.arg.clone(),
            Some(value) => format!("{}={value}", self.arg),
        };
        let (ok, expected) = if self.forbidden {
            (
                !found.is_some_and(|value| self.expect.holds(value)),
                format!("no {}={}", self.arg, self.expect.describe()),
            )
        } else {
            (
                found.is_some_and(|value| self.expect.holds(value)),
                format!("{}={}", self.arg, self.expect.describe()),
            )
        };
        outcome.expect(ok, place, expected, shown);
    }
}

/// Protection of the boot loader's menu.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootloader {
    /// A password is set (user.cfg).
    pub password: bool,
    /// The superuser has a name of his own, not one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub superuser_not: Vec<String>,
}

impl Bootloader {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        let mut users = ctx.glob("/boot/efi/EFI/*/user.cfg")?;
        users.insert(0, "/boot/grub2/user.cfg".to_owned());
        let mut configs = ctx.glob("/boot/efi/EFI/*/grub.cfg")?;
        configs.insert(0, "/boot/grub2/grub.cfg".to_owned());
        ctx.prefetch(users.iter().chain(&configs).map(|path| Want::Text(path.clone())));
        let configs = ctx.texts(&configs)?;
        if configs.is_empty() {
            return Ok(Outcome::not_applicable("GRUB is not installed"));
        }
        if self.password {
            let users = ctx.texts(&users)?;
            let set = users.iter().find(|(_, text)| {
                text.lines()
                    .any(|line| line.trim().starts_with("GRUB2_PASSWORD=grub.pbkdf2."))
            });
            // A hash in grub.cfg itself (from /etc/grub.d) protects as well; EL's own line there is a variable.
            let set = set.or_else(|| {
                configs.iter().find(|(_, text)| {
                    text.lines().any(|line| {
                        let mut words = line.split_whitespace();
                        words.next() == Some("password_pbkdf2")
                            && words.nth(1).is_some_and(|hash| hash.starts_with("grub.pbkdf2."))
                    })
                })
            });
            let place = set.map_or("/boot/grub2/user.cfg", |(path, _)| path);
            outcome.expect(
                set.is_some(),
                place,
                "GRUB2_PASSWORD with a PBKDF2 hash",
                if set.is_some() { "set" } else { "not set" },
            );
        }
        if !self.superuser_not.is_empty() {
            let mut found = None;
            for (path, text) in &configs {
                for (index, line) in text.lines().enumerate() {
                    if let Some(name) = line.trim().strip_prefix("set superusers=") {
                        found = Some((
                            format!("{path}:{}", index + 1),
                            name.trim_matches(['"', '\'']).to_owned(),
                        ));
                    }
                }
            }
            let (place, name) = found.unwrap_or_else(|| ("grub.cfg".to_owned(), String::new()));
            let ok = !name.is_empty() && !self.superuser_not.contains(&name);
            let expected = format!("a superuser other than {}", self.superuser_not.join(", "));
            outcome.expect(ok, place, expected, if name.is_empty() { "none" } else { &name });
        }
        Ok(outcome.because("the boot menu is protected"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Fail, NotApplicable, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, options: &str, cmdline: Option<&str>, expected: Verdict) {
        let entry = format!("title x\noptions {options}\n");
        let mut facts = tree(&[
            ("/boot/loader/entries/a.conf", &entry),
            ("/boot/grub2/grubenv", "kernelopts=ro audit=1\n"),
        ]);
        if let Some(line) = cmdline {
            facts.live = true;
            facts.texts.insert("/proc/cmdline".into(), Ok(Some(line.into())));
        }
        let outcome = outcome_of(&format!("kind = \"boot_arg\"\n{toml}"), &facts);
        assert_eq!(outcome.result, expected, "{toml} {options}\n{outcome:?}");
    }

    #[test]
    fn now_and_at_the_next_boot() {
        let audit = "arg = \"audit\"\nexpect = { eq = \"1\" }";
        check(audit, "$kernelopts", None, Pass);
        check(audit, "ro quiet", None, Fail);
        check(audit, "ro audit=1", Some("ro audit=0"), Fail);
        check(audit, "ro audit=1", Some("ro audit=1"), Pass);
        let selinux = "arg = \"selinux\"\nforbidden = true\nexpect = { eq = \"0\" }";
        check(selinux, "ro selinux=0", None, Fail);
        check(selinux, "ro", None, Pass);
        let facts = tree(&[]);
        assert_eq!(
            outcome_of(&format!("kind = \"boot_arg\"\n{audit}"), &facts).result,
            NotApplicable
        );
    }

    #[test]
    fn grub() {
        let facts = tree(&[
            ("/boot/grub2/grub.cfg", "set superusers=\"root\"\n"),
            (
                "/boot/grub2/user.cfg",
                "GRUB2_PASSWORD=grub.pbkdf2.sha512.10000.AB\n",
            ),
        ]);
        assert_eq!(
            outcome_of("kind = \"bootloader\"\npassword = true", &facts).result,
            Pass
        );
        assert_eq!(
            outcome_of(
                "kind = \"bootloader\"\nsuperuser_not = [\"root\", \"admin\"]",
                &facts
            )
            .result,
            Fail
        );
        let password = |config: &str, expected: Verdict| {
            let outcome = outcome_of(
                "kind = \"bootloader\"\npassword = true",
                &tree(&[("/boot/grub2/grub.cfg", config)]),
            );
            assert_eq!(outcome.result, expected, "{config}");
        };
        password("", Fail);
        password("password_pbkdf2 root ${GRUB2_PASSWORD}\n", Fail);
        password("  password_pbkdf2 boss grub.pbkdf2.sha512.10000.AB\n", Pass);
    }
}
