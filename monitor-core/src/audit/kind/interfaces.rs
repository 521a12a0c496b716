//! Network interfaces of the running system.

use super::super::facts::{Ctx, Stop, Want};
use super::super::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// Directories of all interfaces.
fn interfaces(ctx: &Ctx<'_>) -> Result<Vec<String>, Stop> {
    const DIR: &str = "/sys/class/net";
    if !ctx.facts.live {
        return Err(Stop::Offline);
    }
    let names = ctx
        .dir(DIR)?
        .ok_or_else(|| Stop::unreadable(DIR, "no such directory"))?;
    Ok(names.iter().map(|name| format!("{DIR}/{name}")).collect())
}

/// No wireless interface is there (or none is up).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wireless {}

impl Wireless {
    pub(super) fn evaluate(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let paths = interfaces(ctx)?;
        ctx.prefetch(
            paths
                .iter()
                .flat_map(|path| [Want::Dir(path.clone()), Want::Text(format!("{path}/operstate"))]),
        );
        let mut outcome = Outcome::start();
        let mut count = 0;
        for path in &paths {
            let radio = ctx
                .dir(path)?
                .unwrap_or_default()
                .iter()
                .any(|name| name == "wireless" || name == "phy80211");
            if radio {
                count += 1;
                let state = ctx
                    .text(&format!("{path}/operstate"))?
                    .unwrap_or("unknown")
                    .trim();
                outcome.expect(state == "down", path, "down", state);
            }
        }
        Ok(outcome.because(format!("{count} wireless interfaces among {}", paths.len())))
    }
}

/// No interface listens to what is not for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promiscuous {}

/// `IFF_PROMISC` of linux/if.h; the kernel sets it for packet sockets, too.
const PROMISCUOUS: u32 = 0x100;

impl Promiscuous {
    pub(super) fn evaluate(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let paths = interfaces(ctx)?;
        let files: Vec<String> = paths.iter().map(|path| format!("{path}/flags")).collect();
        ctx.prefetch(paths.iter().map(|path| Want::Stat(format!("{path}/brport"))));
        let mut outcome = Outcome::start();
        for (file, text) in ctx.texts(&files)? {
            let flags = text.trim().trim_start_matches("0x");
            let flags = u32::from_str_radix(flags, 16)
                .map_err(|_not_hex| Stop::unreadable(&file, format!("{text:?} are no flags")))?;
            let bridged = ctx.stat(&file.replace("/flags", "/brport"))?.is_some();
            let found = match (flags & PROMISCUOUS != 0, bridged) {
                (true, true) => "promiscuous, a port of a bridge",
                (true, false) => "promiscuous",
                (false, _) => "not promiscuous",
            };
            outcome.expect(flags & PROMISCUOUS == 0, file, "not promiscuous", found);
        }
        Ok(outcome.because(format!("{} interfaces looked at", paths.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::Verdict::{Error, Fail, NotChecked, Pass};
    use super::super::super::testkit::{outcome_of, tree};

    #[test]
    fn flags_tell() {
        let toml = "kind = \"promiscuous\"";
        assert_eq!(outcome_of(toml, &tree(&[])).result, NotChecked);
        for (flags, expected) in [("0x1003\n", Pass), ("0x1103\n", Fail), ("up\n", Error)] {
            let mut facts = tree(&[("/sys/class/net/eth0/flags", flags)]);
            facts.live = true;
            assert_eq!(outcome_of(toml, &facts).result, expected, "{flags}");
        }
        let mut nowhere = tree(&[]);
        nowhere.live = true;
        assert_eq!(outcome_of(toml, &nowhere).result, Error);
    }
}
