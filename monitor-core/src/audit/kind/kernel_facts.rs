//! Facts about the running kernel, and its known weaknesses.

use super::super::facts::{Ctx, Stop, Tool};
use super::super::outcome::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// Options of the running kernel's build, and its known weaknesses, as facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KernelFacts {
    /// Build options to show.
    pub options: Vec<String>,
    /// CPU vulnerabilities: one that is not mitigated fails.
    pub vulnerabilities: bool,
    /// Processes that run unconfined by SELinux.
    pub unconfined: bool,
}

impl KernelFacts {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        if self.vulnerabilities {
            return vulnerabilities(ctx);
        }
        let mut outcome = Outcome::of(Verdict::Informational, "fixed when the vendor built the kernel");
        if self.unconfined {
            let text = ctx.output(Tool::Processes)?.unwrap_or_default();
            for line in text.lines().filter(|line| line.contains("unconfined_service_t")) {
                outcome.note("process", line);
            }
            return Ok(outcome);
        }
        let kernels = if ctx.facts.host.kernel.is_empty() {
            ctx.dir("/lib/modules")?.unwrap_or_default().to_vec()
        } else {
            vec![ctx.facts.host.kernel.clone()]
        };
        for kernel in kernels {
            let paths = [
                format!("/boot/config-{kernel}"),
                format!("/lib/modules/{kernel}/config"),
            ];
            let texts = ctx.texts(&paths)?;
            let Some((path, text)) = texts.first() else {
                outcome.note(&paths[0], "no such file");
                continue;
            };
            for option in &self.options {
                let found = text
                    .lines()
                    .find_map(|line| line.strip_prefix(option.as_str())?.strip_prefix('='));
                outcome.note(path, format!("{option}={}", found.unwrap_or("not set")));
            }
        }
        Ok(outcome)
    }
}

fn vulnerabilities(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    const DIR: &str = "/sys/devices/system/cpu/vulnerabilities";
    if !ctx.facts.live {
        return Err(Stop::Offline);
    }
    let names = ctx.dir(DIR)?.unwrap_or_default();
    let paths: Vec<String> = names.iter().map(|name| format!("{DIR}/{name}")).collect();
    let mut outcome = Outcome::start();
    for (path, text) in ctx.texts(&paths)? {
        let ok = !text.starts_with("Vulnerable");
        outcome.expect(ok, path, "not affected, or mitigated", text);
    }
    Ok(outcome.because(format!("{} known weaknesses looked at", names.len())))
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{Fail, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    #[test]
    fn a_weakness_without_mitigation_fails() {
        let dir = "/sys/devices/system/cpu/vulnerabilities";
        let mut facts = tree(&[]);
        facts.live = true;
        facts.dirs.insert(dir.into(), Ok(Some(vec!["mds".into()])));
        for (text, expected) in [
            ("Vulnerable: no microcode\n", Fail),
            ("Mitigation: Clear CPU buffers\n", Pass),
        ] {
            facts.texts.insert(format!("{dir}/mds"), Ok(Some(text.into())));
            let toml = "kind = \"kernel_facts\"\nvulnerabilities = true";
            assert_eq!(outcome_of(toml, &facts).result, expected, "{text}");
        }
    }
}
