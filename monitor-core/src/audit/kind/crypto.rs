//! The system-wide crypto policy.

use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// What the policy must be, and what its back-ends must not contain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CryptoPolicy {
    /// Allowed base policies; empty means any but those in `never`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub base: Vec<String>,
    /// Base policies that are not allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    /// Sub-policies beyond the base that may be there; empty means any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules_allowed: Vec<String>,
    /// Properties of the effective policy (`state/CURRENT.pol`): nothing listed may stand in the value of the key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Without>,
    /// Back-end files that must be the policy's own links, not local replacements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub back_ends: Vec<String>,
}

/// A key of the effective policy and the words that must not stand in its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Without {
    /// Keys, such as `hash`, `mac`, `cipher@SSH`; the first that exists counts.
    pub keys: Vec<String>,
    /// Words; `*` is a wildcard.
    pub words: Vec<String>,
}

const CONFIG: &str = "/etc/crypto-policies/config";
const CURRENT: &str = "/etc/crypto-policies/state/current";
const EFFECTIVE: &str = "/etc/crypto-policies/state/CURRENT.pol";

/// The configured policy: the last line of config that is no comment.
fn configured(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !line.starts_with('#'))
        .unwrap_or_default()
        .to_owned()
}

impl CryptoPolicy {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        ctx.prefetch([CONFIG, CURRENT].map(|path| Want::Text(path.to_owned())));
        let Some(config) = ctx.text(CONFIG)? else {
            return Ok(Outcome::not_applicable("crypto-policies is not installed"));
        };
        let config = configured(config);
        let mut outcome = Outcome::start();
        self.judge(&config, CONFIG, &mut outcome);
        match ctx.text(CURRENT)? {
            Some(current) => {
                let current = current.trim();
                self.judge(current, CURRENT, &mut outcome);
                outcome.expect(
                    current == config,
                    CURRENT,
                    format!("the configured policy {config}"),
                    current,
                );
            }
            None => outcome.note(CURRENT, "no such file"),
        }
        if !self.without.is_empty() {
            self.effective(ctx, &mut outcome)?;
        }
        for name in &self.back_ends {
            let path = format!("/etc/crypto-policies/back-ends/{name}.config");
            let target = ctx.link(&path)?.unwrap_or("not a link");
            let ok = target.contains("/usr/share/crypto-policies/");
            outcome.expect(ok, path, "a link into /usr/share/crypto-policies", target);
        }
        Ok(outcome.because(format!("crypto policy {config}")))
    }

    fn judge(&self, policy: &str, place: &str, outcome: &mut Outcome) {
        let mut parts = policy.split(':');
        let base = parts.next().unwrap_or_default();
        if !self.base.is_empty() {
            outcome.expect(
                self.base.iter().any(|b| b == base),
                place,
                self.base.join(" or "),
                policy,
            );
        }
        if self.never.iter().any(|never| never == base) || base.is_empty() {
            outcome.expect(false, place, format!("not {}", self.never.join(" nor ")), policy);
        } else {
            outcome.note(place, policy);
        }
        for module in parts.filter(|_| !self.modules_allowed.is_empty()) {
            let ok = self.modules_allowed.iter().any(|allowed| allowed == module);
            outcome.expect(
                ok,
                place,
                format!("sub-policies of {}", self.modules_allowed.join(", ")),
                module,
            );
        }
    }

    fn effective(&self, ctx: &Ctx<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
        let text = ctx.text(EFFECTIVE)?.ok_or_else(|| {
            Stop::unreadable(EFFECTIVE, "no such file; run update-crypto-policies to write it")
        })?;
        for rule in &self.without {
            let found = rule.keys.iter().find_map(|key| {
                text.lines().enumerate().find_map(|(index, line)| {
                    let (name, value) = line.split_once('=')?;
                    name.trim()
                        .eq_ignore_ascii_case(key)
                        .then(|| (index + 1, key, value.trim()))
                })
            });
            let Some((line, key, value)) = found else {
                let keys = rule.keys.join(" or ");
                return Err(Stop::unreadable(EFFECTIVE, format!("has no {keys}")));
            };
            let bad: Vec<&str> = value
                .split_whitespace()
                .filter(|word| rule.words.iter().any(|w| super::super::facts::wildcard(w, word)))
                .collect();
            let expected = format!("{key} without {}", rule.words.join(", "));
            let shown = if bad.is_empty() {
                value.to_owned()
            } else {
                bad.join(" ")
            };
            outcome.expect(bad.is_empty(), format!("{EFFECTIVE}:{line}"), expected, shown);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Error, Fail, NotApplicable, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    fn check(toml: &str, policy: &str, effective: &str, expected: Verdict) {
        let facts = tree(&[
            ("/etc/crypto-policies/config", &format!("# comment\n{policy}\n")),
            ("/etc/crypto-policies/state/current", policy),
            ("/etc/crypto-policies/state/CURRENT.pol", effective),
        ]);
        let outcome = outcome_of(&format!("kind = \"crypto_policy\"\n{toml}"), &facts);
        assert_eq!(outcome.result, expected, "{toml} {policy}\n{outcome:?}");
    }

    #[test]
    fn policies() {
        check("never = [\"LEGACY\"]", "DEFAULT:NO-SHA1", "", Pass);
        check("never = [\"LEGACY\"]", "LEGACY", "", Fail);
        check(
            "base = [\"FIPS\"]\nmodules_allowed = [\"STIG\"]",
            "FIPS:STIG",
            "",
            Pass,
        );
        check(
            "base = [\"FIPS\"]\nmodules_allowed = [\"STIG\"]",
            "FIPS:AD-SUPPORT",
            "",
            Fail,
        );
        let cbc = "without = [{ keys = [\"cipher@SSH\", \"cipher\"], words = [\"*-CBC\"] }]";
        check(cbc, "DEFAULT", "cipher = AES-256-GCM AES-128-CBC\n", Fail);
        check(
            cbc,
            "DEFAULT",
            "cipher@SSH = AES-256-GCM\ncipher = AES-128-CBC\n",
            Pass,
        );
        check(cbc, "DEFAULT", "", Error);
        assert_eq!(
            outcome_of("kind = \"crypto_policy\"\nnever = [\"LEGACY\"]", &tree(&[])).result,
            NotApplicable
        );
    }
}
