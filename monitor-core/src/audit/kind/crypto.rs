//! The system-wide crypto policy.

use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// What the policy must be, and what its back-ends must not contain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CryptoPolicy {
    /// Allowed base policies, or policies with their sub-policies (`DEFAULT:NO-SHA1`); empty means any but those in
    /// `never`.
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
    /// What holds where the policy has none of the keys (a crypto-policies that does not know them yet); without it a
    /// policy without the keys is not understood.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub absent: String,
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
        let mounted = Self::mounted_over(ctx, &mut outcome)?;
        match ctx.text(CURRENT)? {
            // Below the mount lies what was configured before: it is not in effect.
            Some(current) if mounted => outcome.note(CURRENT, current.trim()),
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
        if !self.without.is_empty() && mounted {
            return Err(Stop::unreadable(
                EFFECTIVE,
                "not the policy in effect: EL's FIPS overlay is mounted over the back-ends",
            ));
        }
        if !self.without.is_empty() {
            self.effective(ctx, &mut outcome)?;
        }
        if mounted {
            return Ok(
                outcome.because("the back-ends are the FIPS policy's, mounted over the configured ones")
            );
        }
        for name in &self.back_ends {
            let path = format!("/etc/crypto-policies/back-ends/{name}.config");
            let target = ctx.link(&path)?.unwrap_or("not a link");
            let ok = target.contains("/usr/share/crypto-policies/");
            outcome.expect(ok, path, "a link into /usr/share/crypto-policies", target);
        }
        Ok(outcome.because(format!("crypto policy {config}")))
    }

    /// Whether EL 10's fips-crypto-policy-overlay lies over the back-ends: they are no links then.
    fn mounted_over(ctx: &Ctx<'_>, outcome: &mut Outcome) -> Result<bool, Stop> {
        if !ctx.facts.live {
            return Ok(false);
        }
        let text = ctx.text("/proc/self/mountinfo")?.unwrap_or_default();
        let Some((source, is_fips)) = crate::platform::fips_overlay(text) else {
            return Ok(false);
        };
        outcome.expect(
            is_fips,
            "/proc/self/mountinfo",
            "over /etc/crypto-policies/back-ends: nothing, or the FIPS policy's (fips-crypto-policy-overlay)",
            format!("{source} is mounted there"),
        );
        Ok(true)
    }

    fn judge(&self, policy: &str, place: &str, outcome: &mut Outcome) {
        let mut parts = policy.split(':');
        let base = parts.next().unwrap_or_default();
        let as_a_whole = self.base.iter().any(|allowed| allowed == policy);
        if !self.base.is_empty() {
            outcome.expect(
                as_a_whole || self.base.iter().any(|allowed| allowed == base),
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
        for module in parts.filter(|_| !as_a_whole && !self.modules_allowed.is_empty()) {
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
            let (place, key, value) = match found {
                Some((line, key, value)) => (format!("{EFFECTIVE}:{line}"), key.clone(), value),
                None if !rule.absent.is_empty() => {
                    let keys = rule.keys.join(" or ");
                    (format!("{EFFECTIVE} (has no {keys})"), keys, rule.absent.as_str())
                }
                None => {
                    let keys = rule.keys.join(" or ");
                    return Err(Stop::unreadable(EFFECTIVE, format!("has no {keys}")));
                }
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
            outcome.expect(bad.is_empty(), place, expected, shown);
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
    fn back_ends_below_the_fips_overlay() {
        let check = |mounts: &str, expected: Verdict| {
            let mut facts = tree(&[
                ("/etc/crypto-policies/config", "FIPS\n"),
                // What was configured before the overlay.
                (
                    "/etc/crypto-policies/state/current",
                    if mounts.is_empty() { "FIPS\n" } else { "DEFAULT\n" },
                ),
            ]);
            facts.live = true;
            // The file system that the mounts show parts of.
            let table = format!("22 1 253:0 / / rw - xfs /dev/vda2 rw\n{mounts}");
            facts
                .texts
                .insert("/proc/self/mountinfo".into(), Ok(Some(table.into())));
            let outcome = outcome_of("kind = \"crypto_policy\"\nback_ends = [\"nss\"]", &facts);
            assert_eq!(outcome.result, expected, "{mounts}\n{outcome:?}");
        };
        let mount =
            |root: &str| format!("41 22 253:0 {root} /etc/crypto-policies/back-ends rw - xfs /dev/vda2 rw\n");
        check("", Fail);
        check(&mount("/usr/share/crypto-policies/back-ends/FIPS"), Pass);
        check(&mount("/usr/share/crypto-policies/back-ends/LEGACY"), Fail);
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
        let etm = "without = [{ keys = [\"etm@SSH\"], words = [\"ANY\"], absent = \"ANY\" }]";
        check(etm, "DEFAULT", "", Fail);
        check(etm, "DEFAULT:NO-ETM", "etm@SSH = DISABLE_ETM\n", Pass);
        assert_eq!(
            outcome_of("kind = \"crypto_policy\"\nnever = [\"LEGACY\"]", &tree(&[])).result,
            NotApplicable
        );
    }
}
