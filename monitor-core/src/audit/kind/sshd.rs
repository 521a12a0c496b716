//! The effective configuration of the OpenSSH server.

use super::super::expect::Expect;
use super::super::facts::{Ctx, Stop};
use super::super::outcome::Outcome;
use super::super::parse::sshd::effective;
use serde::{Deserialize, Serialize};

/// One keyword of sshd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sshd {
    /// Keywords; with more than one, any that is set and as wanted will do.
    pub keys: Vec<String>,
    /// What the value must be.
    pub expect: Expect,
    /// Names that must not stand in a comma-separated list; `*` is a wildcard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Upper bounds of a value of several numbers (`MaxStartups 10:30:60`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at_most: Vec<u64>,
}

impl Sshd {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.keys.is_empty() {
            return Err("no keys".into());
        }
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let Some(config) = effective(ctx)? else {
            return Ok(Outcome::not_applicable("no sshd is installed"));
        };
        let mut outcome = Outcome::start();
        let expected = self.describe();
        let mut good = false;
        let mut seen = Vec::new();
        for key in &self.keys {
            let found = match config.value(key) {
                Some(found) => Some(found),
                None => policy_default(ctx, key, config.runtime)?,
            };
            let Some((value, place)) = found else { continue };
            let ok = self.holds(&value);
            good |= ok;
            seen.push((place, key, value, ok));
        }
        let single = self.keys.len() == 1;
        for (place, key, value, ok) in seen {
            let source = format!("{place}: {key}");
            if single {
                outcome.expect(ok, source, &expected, value);
            } else {
                outcome.note(source, value);
            }
        }
        if !good {
            outcome.fail(format!(
                "{}: expected {expected}, found nothing",
                self.keys.join(", ")
            ));
        }
        for (block, key, value, place) in &config.matched {
            if self.keys.iter().any(|wanted| wanted.eq_ignore_ascii_case(key)) {
                let source = format!("{place}: Match {block}: {key}");
                if single {
                    outcome.expect(self.holds(value), source, &expected, value);
                } else {
                    outcome.note(source, value);
                }
            }
        }
        if !config.runtime {
            outcome = outcome.configured();
        }
        Ok(outcome.because(format!("{} is {expected}", self.keys.join(" or "))))
    }

    fn holds(&self, value: &str) -> bool {
        if !self.expect.holds(value) {
            return false;
        }
        if !self.without.is_empty() {
            let removes = value.starts_with('-');
            let listed = value.trim_start_matches(['+', '-', '^']).split([',', ' ']);
            let bad = listed.into_iter().any(|item| {
                self.without
                    .iter()
                    .any(|pattern| super::super::facts::wildcard(pattern, item))
            });
            if bad && !removes {
                return false;
            }
        }
        self.at_most.is_empty() || self.numbers_hold(value)
    }

    fn numbers_hold(&self, value: &str) -> bool {
        let numbers: Vec<Option<u64>> = value.split(':').map(|part| part.trim().parse().ok()).collect();
        numbers.len() == self.at_most.len()
            && numbers
                .iter()
                .zip(&self.at_most)
                .all(|(number, bound)| number.is_some_and(|n| n <= *bound))
    }

    fn describe(&self) -> String {
        if !self.without.is_empty() {
            return format!("none of {}", self.without.join(", "));
        }
        if !self.at_most.is_empty() {
            let bounds: Vec<String> = self.at_most.iter().map(u64::to_string).collect();
            return format!("at most {}", bounds.join(":"));
        }
        self.expect.describe()
    }
}

/// EL 8 hands the crypto policy to sshd on its command line (`-oCiphers=…` in the back-end file).
fn policy_default(ctx: &Ctx<'_>, key: &str, runtime: bool) -> Result<Option<(String, String)>, Stop> {
    const BACK_END: &str = "/etc/crypto-policies/back-ends/opensshserver.config";
    if runtime || !["ciphers", "macs", "kexalgorithms"].contains(&key.to_ascii_lowercase().as_str()) {
        return Ok(None);
    }
    let Some(text) = ctx.text(BACK_END)? else {
        return Ok(None);
    };
    let value = text.split(['\'', ' ', '\n', '"']).find_map(|word| {
        let (name, value) = word.strip_prefix("-o").unwrap_or(word).split_once('=')?;
        name.eq_ignore_ascii_case(key).then(|| value.to_owned())
    });
    let spaced = || {
        text.lines().find_map(|line| {
            let (name, value) = line.trim().split_once(' ')?;
            name.eq_ignore_ascii_case(key).then(|| value.trim().to_owned())
        })
    };
    Ok(value.or_else(spaced).map(|value| (value, BACK_END.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Tool;
    use super::super::super::outcome::Verdict::{self, Fail, NotApplicable, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, config: &str, expected: Verdict) {
        let facts = tree(&[
            ("/etc/ssh/sshd_config", config),
            (
                "/etc/crypto-policies/back-ends/opensshserver.config",
                "CRYPTO_POLICY='-oCiphers=aes256-ctr,aes128-cbc -oMACs=hmac-sha2-256'",
            ),
        ]);
        let outcome = outcome_of(&format!("kind = \"sshd\"\n{toml}"), &facts);
        assert_eq!(outcome.result, expected, "{toml}\n{config}\n{outcome:?}");
    }

    #[test]
    fn values() {
        let root = "keys = [\"PermitRootLogin\"]\nexpect = { eq = \"no\" }";
        check(root, "PermitRootLogin no\n", Pass);
        check(root, "", Fail);
        check(
            root,
            "PermitRootLogin no\nMatch Address 10.0.0.0/8\nPermitRootLogin yes\n",
            Fail,
        );
        check(
            "keys = [\"PermitEmptyPasswords\"]\nexpect = { eq = \"no\" }",
            "",
            Pass,
        );
        check(
            "keys = [\"LoginGraceTime\"]\nexpect = { min = 1, max = 60 }",
            "LoginGraceTime 1m\n",
            Pass,
        );
        check(
            "keys = [\"MaxStartups\"]\nat_most = [10, 30, 60]",
            "MaxStartups 10:30:60\n",
            Pass,
        );
        check("keys = [\"MaxStartups\"]\nat_most = [10, 30, 60]", "", Fail);
        let who = "keys = [\"AllowUsers\", \"DenyGroups\"]\nexpect = { regex = \".\" }";
        check(who, "DenyGroups nobody\n", Pass);
        check(who, "", Fail);
        check("keys = [\"Ciphers\"]\nwithout = [\"*-cbc\"]", "", Fail);
        check("keys = [\"MACs\"]\nwithout = [\"*-md5\"]", "", Pass);
    }

    #[test]
    fn the_running_server_is_asked_first() {
        let mut facts = tree(&[("/etc/ssh/sshd_config", "PermitRootLogin no\n")]);
        facts.live = true;
        facts
            .outputs
            .insert(Tool::Sshd, Ok(Some("permitrootlogin yes\n".into())));
        let toml = "kind = \"sshd\"\nkeys = [\"PermitRootLogin\"]\nexpect = { eq = \"no\" }";
        assert_eq!(outcome_of(toml, &facts).result, Fail);
        facts.outputs.insert(Tool::Sshd, Err("exit status 255".into()));
        assert_eq!(outcome_of(toml, &facts).result, Verdict::Error);
        assert_eq!(outcome_of(toml, &tree(&[])).result, NotApplicable);
    }
}
