//! Kernel parameters: what is set now, and what the next boot sets.

use super::super::expect::Expect;
use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::{Outcome, Verdict};
use super::super::parse::sysctl::{DIRS, configured, proc_path};
use serde::{Deserialize, Serialize};

/// One kernel parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Key, such as `kernel.dmesg_restrict`.
    pub key: String,
    /// What it must be.
    pub expect: Expect,
    /// Accept a key that no file sets when the running value is right (kernel defaults no file has to repeat).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unset_ok: bool,
}

impl Sysctl {
    pub(super) fn validate(&self) -> Result<(), String> {
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let path = proc_path(&self.key);
        if ctx.facts.live {
            ctx.prefetch([Want::Text(path.clone())]);
        }
        let files = ctx.dropins(&DIRS, ".conf")?;
        let mut outcome = Outcome::start();
        let wanted = self.expect.describe();
        let running = match ctx.text(&path) {
            Ok(Some(text)) => Some(text.trim()),
            Ok(None) => {
                return Ok(Outcome::not_applicable(format!(
                    "the running kernel has no {}",
                    self.key
                )));
            }
            Err(Stop::Offline) => None,
            Err(stop) => return Err(stop),
        };
        if let Some(value) = running {
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            outcome.expect(self.expect.holds(&value), path, &wanted, value);
        }
        match configured(&files, &self.key) {
            Some(set) => outcome.expect(self.expect.holds(&set.value), set.place, &wanted, set.value),
            None if self.unset_ok && running.is_some() => outcome.note("sysctl.d", "not set by any file"),
            None => {
                outcome.expect(
                    false,
                    "sysctl.d",
                    format!("{} = {wanted}", self.key),
                    "not set by any file",
                );
            }
        }
        if running.is_none() {
            outcome = outcome.configured();
        }
        if outcome.result == Verdict::Pass {
            outcome = outcome.because(format!("{} is {wanted}", self.key));
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{self, Fail, NotApplicable, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    const CHECK: &str = "kind = \"sysctl\"\nkey = \"kernel.dmesg_restrict\"\nexpect = { eq = \"1\" }";

    #[expect(
        clippy::option_option,
        reason = "not live, live without the key, live with it"
    )]
    fn check(running: Option<Option<&str>>, file: &str, expected: (Verdict, bool)) {
        let mut facts = tree(&[("/etc/sysctl.d/99-x.conf", file)]);
        if let Some(running) = running {
            facts.live = true;
            facts.texts.insert(
                "/proc/sys/kernel/dmesg_restrict".into(),
                Ok(running.map(Into::into)),
            );
        }
        let outcome = outcome_of(CHECK, &facts);
        assert_eq!((outcome.result, outcome.configured_only), expected, "{outcome:?}");
    }

    #[test]
    fn both_halves_count() {
        check(Some(Some("1\n")), "kernel.dmesg_restrict=1", (Pass, false));
        check(Some(Some("0\n")), "kernel.dmesg_restrict=1", (Fail, false));
        check(Some(Some("1\n")), "kernel.dmesg_restrict=0", (Fail, false));
        check(Some(Some("1\n")), "", (Fail, false));
        check(Some(None), "", (NotApplicable, false));
        check(None, "kernel.dmesg_restrict=1", (Pass, true));
        check(None, "kernel.dmesg_restrict=0", (Fail, true));
    }
}
