//! SELinux, banners, firewall, listening mail agents, wireless interfaces, AIDE.

use super::super::expect::Expect;
use super::super::facts::{Ctx, Stop, Tool, Want};
use super::super::outcome::Outcome;
use super::super::parse::keyvalue::{Syntax, plain_lines, settings};
use serde::{Deserialize, Serialize};

/// The SELinux mode, now and at the next boot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selinux {
    /// Allowed modes: enforcing, permissive.
    pub modes: Vec<String>,
}

impl Selinux {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        if ctx.facts.live {
            ctx.prefetch([Want::Text("/sys/fs/selinux/enforce".into())]);
        }
        let expected = self.modes.join(" or ");
        let mut outcome = Outcome::start();
        let text = ctx.text("/etc/selinux/config")?.unwrap_or_default();
        let configured = settings(text, Syntax::Equals)
            .into_iter()
            .rev()
            .find(|s| s.key == "SELINUX");
        match configured {
            Some(set) => {
                let ok = self
                    .modes
                    .iter()
                    .any(|mode| mode.eq_ignore_ascii_case(&set.value));
                outcome.expect(
                    ok,
                    format!("/etc/selinux/config:{}", set.line),
                    &expected,
                    set.value,
                );
            }
            None => outcome.expect(false, "/etc/selinux/config", &expected, "SELINUX is not set"),
        }
        match ctx.text("/sys/fs/selinux/enforce") {
            Ok(text) => {
                let mode = match text.map(str::trim) {
                    Some("1") => "enforcing",
                    Some(_) => "permissive",
                    None => "disabled",
                };
                let ok = self.modes.iter().any(|wanted| wanted == mode);
                outcome.expect(ok, "/sys/fs/selinux/enforce", &expected, mode);
            }
            Err(Stop::Offline) => outcome = outcome.configured(),
            Err(stop) => return Err(stop),
        }
        Ok(outcome.because(format!("SELinux is {expected}")))
    }
}

/// A text shown to users before or after login.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Banner {
    /// The file.
    pub file: String,
    /// The file must have a text.
    pub needs_text: bool,
    /// The text contains all of these words (in any spacing).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<String>,
}

impl Banner {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        let Some(text) = ctx.text(&self.file)? else {
            if self.needs_text || !self.phrases.is_empty() {
                outcome.expect(false, &self.file, "a banner text", "no such file");
            }
            return Ok(outcome.because("no such file, so it tells nothing"));
        };
        if self.needs_text {
            outcome.expect(!text.trim().is_empty(), &self.file, "a banner text", text);
        }
        let squeezed = text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_ascii_lowercase();
        for phrase in &self.phrases {
            let ok = squeezed.contains(&phrase.to_ascii_lowercase());
            outcome.expect(ok, &self.file, phrase, text);
        }
        // getty expands \m, \r, \s and \v; the name of the distribution tells as much.
        let id = ctx.facts.host.os_id.to_ascii_lowercase();
        let names: Vec<&str> = ["red hat", "rocky linux", "almalinux", "centos", "fedora"]
            .into_iter()
            .chain((!id.is_empty()).then_some(id.as_str()))
            .filter(|name| {
                squeezed
                    .split(|c: char| !c.is_alphanumeric() && c != ' ')
                    .any(|part| {
                        part.split(' ').any(|word| word == *name)
                            || (name.contains(' ') && part.contains(name))
                    })
            })
            .collect();
        let escapes: Vec<&str> = ["\\m", "\\r", "\\s", "\\v", "\\S"]
            .into_iter()
            .filter(|e| text.contains(e))
            .collect();
        let found = [escapes, names].concat().join(", ");
        let shown = if found.is_empty() {
            text.to_owned()
        } else {
            found.clone()
        };
        outcome.expect(
            found.is_empty(),
            &self.file,
            "no system details (\\m \\r \\s \\v, name of the system)",
            shown,
        );
        Ok(outcome.because("no system details"))
    }
}

/// The host firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// The question.
    pub ask: FirewallQuestion,
}

/// What is asked about the firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirewallQuestion {
    /// Loopback is in firewalld's trusted zone, or nftables accepts it.
    LoopbackTrusted,
    /// Traffic from 127.0.0.0/8 and ::1 that does not come over loopback is dropped.
    LoopbackRestricted,
    /// nftables has base chains for input, forward and output.
    NftBaseChains,
    /// Those chains drop by default.
    NftDefaultDrop,
    /// firewalld's default zone drops or rejects what no rule allows.
    DefaultDeny,
}

impl Firewall {
    pub(super) fn evaluate(self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        use FirewallQuestion as Q;
        let mut outcome = Outcome::start();
        match self.ask {
            Q::DefaultDeny => return default_deny(ctx),
            Q::LoopbackTrusted | Q::LoopbackRestricted => {
                let zones = [
                    "/etc/firewalld/zones/trusted.xml",
                    "/usr/lib/firewalld/zones/trusted.xml",
                ]
                .map(str::to_owned);
                let mut texts = ctx.texts(&zones)?;
                texts.truncate(1);
                let (path, text) = texts.pop().unwrap_or_default();
                let squeezed = text
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .replace('\'', "\"");
                let (ok, expected) = if self.ask == Q::LoopbackTrusted {
                    (
                        squeezed.contains("<interface name=\"lo\""),
                        "interface lo in the trusted zone",
                    )
                } else {
                    let drops = |source: &str| {
                        squeezed.split("<rule").any(|rule| {
                            rule.contains(&format!("address=\"{source}\""))
                                && rule.contains("<drop")
                                && rule.contains("invert=\"")
                        })
                    };
                    (
                        drops("127.0.0.1") && drops("::1"),
                        "rich rules that drop 127.0.0.1 and ::1 unless they come to loopback",
                    )
                };
                if ok {
                    outcome.expect(true, path, expected, "there");
                    return Ok(outcome.because(expected));
                }
                // Without firewalld's zone the rules themselves can say it.
                let rules = nft(ctx)?;
                let ok = match self.ask {
                    Q::LoopbackTrusted => rules
                        .lines()
                        .any(|l| l.contains("iif") && l.contains("\"lo\"") && l.contains("accept")),
                    _ => rules
                        .lines()
                        .any(|l| l.contains("saddr 127.0.0.0/8") && l.contains("drop")),
                };
                outcome.expect(
                    ok,
                    "firewalld's trusted zone, nft list ruleset",
                    expected,
                    if ok { "there" } else { "no such rule" },
                );
            }
            Q::NftBaseChains | Q::NftDefaultDrop => {
                let rules = nft(ctx)?;
                for hook in ["input", "forward", "output"] {
                    let chains: Vec<&str> = rules
                        .lines()
                        .filter(|l| l.contains(&format!("hook {hook} ")))
                        .collect();
                    let ok = if self.ask == Q::NftBaseChains {
                        !chains.is_empty()
                    } else {
                        chains.iter().any(|line| line.contains("policy drop"))
                    };
                    let expected = if self.ask == Q::NftBaseChains {
                        "a base chain"
                    } else {
                        "policy drop"
                    };
                    let found = if chains.is_empty() {
                        "no base chain".to_owned()
                    } else {
                        chains.join(" ")
                    };
                    outcome.expect(ok, format!("nft list ruleset: hook {hook}"), expected, found);
                }
            }
        }
        Ok(outcome.because("as wanted"))
    }
}

fn nft<'a>(ctx: &Ctx<'a>) -> Result<&'a str, Stop> {
    match ctx.output(Tool::Nft) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Stop::unreadable("nft list ruleset", "nft is not installed")),
        Err(stop) => Err(stop),
    }
}

fn default_deny(ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
    let mut outcome = Outcome::start();
    let text = ctx.text("/etc/firewalld/firewalld.conf")?.unwrap_or_default();
    let zone = settings(text, Syntax::Equals)
        .into_iter()
        .find(|s| s.key == "DefaultZone")
        .map_or_else(|| "public".to_owned(), |s| s.value);
    outcome.note("/etc/firewalld/firewalld.conf", format!("DefaultZone={zone}"));
    let files = [
        format!("/etc/firewalld/zones/{zone}.xml"),
        format!("/usr/lib/firewalld/zones/{zone}.xml"),
    ];
    let texts = ctx.texts(&files)?;
    let Some((path, text)) = texts.first() else {
        return Err(Stop::unreadable(format!("zone {zone}"), "no such zone file"));
    };
    // A zone without a target rejects what no rule allows.
    let target = text
        .split_once("target=\"")
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or("default");
    let ok = target != "ACCEPT";
    outcome.expect(ok, path, "a target other than ACCEPT", target);
    Ok(outcome.because(format!("zone {zone}: target {target}")))
}

/// No mail agent listens on an address other than loopback.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// TCP ports that may listen on loopback only.
    pub ports: Vec<u16>,
}

/// Listening TCP sockets: (address as text, port, loopback).
pub(super) fn listeners(table: &str) -> Vec<(String, u16, bool)> {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let local = fields.nth(1)?;
            // State 0A is LISTEN.
            if fields.nth(1)? != "0A" {
                return None;
            }
            let (address, port) = local.split_once(':')?;
            let port = u16::from_str_radix(port, 16).ok()?;
            let loopback = match address.len() {
                8 => address.ends_with("7F"),
                _ => {
                    address == "00000000000000000000000001000000"
                        || address.starts_with("0000000000000000FFFF0000") && address.ends_with("7F")
                }
            };
            let shown = match address {
                "00000000" => "0.0.0.0".to_owned(),
                "00000000000000000000000000000000" => "::".to_owned(),
                _ if address.len() == 8 => u32::from_str_radix(address, 16).map_or_else(
                    |_| address.to_owned(),
                    |raw| std::net::Ipv4Addr::from(raw.swap_bytes()).to_string(),
                ),
                _ => address.to_owned(),
            };
            Some((shown, port, loopback))
        })
        .collect()
}

impl Listening {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let files = ["/proc/net/tcp", "/proc/net/tcp6"];
        if ctx.facts.live {
            ctx.prefetch(files.map(|path| Want::Text(path.to_owned())));
        }
        let mut outcome = Outcome::start();
        for path in files {
            for (address, port, loopback) in listeners(ctx.text(path)?.unwrap_or_default()) {
                if self.ports.contains(&port) {
                    outcome.expect(loopback, path, "loopback only", format!("{address} port {port}"));
                }
            }
        }
        Ok(outcome.because("nothing listens there beyond loopback"))
    }
}

/// AIDE: database, schedule, rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aide {
    /// A database exists where aide.conf says.
    pub database: bool,
    /// A timer or a cron job runs it.
    pub scheduled: bool,
    /// Its report is mailed.
    pub mailed: bool,
    /// These paths have a rule of their own with all of these attributes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Attributes: for `paths`, or for every rule if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// Every rule's hashes must be among these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<String>,
}

const AIDE_CONF: &str = "/etc/aide.conf";

impl Aide {
    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::start();
        if self.scheduled || self.mailed {
            self.schedule(ctx, &mut outcome)?;
            return Ok(outcome.because("scheduled"));
        }
        let Some(text) = ctx.text(AIDE_CONF)? else {
            outcome.expect(false, AIDE_CONF, "AIDE's configuration", "no such file");
            return Ok(outcome);
        };
        let config = aide_config(text);
        if self.database {
            let path = config
                .database
                .clone()
                .unwrap_or_else(|| "/var/lib/aide/aide.db.gz".to_owned());
            let exists = ctx.stat(&path)?.is_some_and(|stat| stat.size > 0);
            outcome.expect(
                exists,
                path,
                "a database",
                if exists { "there" } else { "no such file, or empty" },
            );
        }
        for path in &self.paths {
            let rule = config
                .rules
                .iter()
                .rev()
                .find(|(_, rule, _)| rule.trim_end_matches('$') == path);
            let Some((line, _, attributes)) = rule else {
                outcome.expect(false, AIDE_CONF, format!("a rule for {path}"), "none");
                continue;
            };
            let missing: Vec<&str> = self
                .attributes
                .iter()
                .filter(|a| !attributes.contains(a))
                .map(String::as_str)
                .collect();
            let shown = if missing.is_empty() {
                attributes.join("+")
            } else {
                format!("lacks {}", missing.join(", "))
            };
            outcome.expect(
                missing.is_empty(),
                format!("{AIDE_CONF}:{line}"),
                self.attributes.join("+"),
                shown,
            );
        }
        if self.paths.is_empty() {
            self.every_rule(&config, &mut outcome);
        }
        Ok(outcome.because("as wanted"))
    }

    fn every_rule(&self, config: &AideConfig, outcome: &mut Outcome) {
        const HASHES: [&str; 9] = [
            "md5",
            "sha1",
            "rmd160",
            "tiger",
            "crc32",
            "haval",
            "gost",
            "whirlpool",
            "sha224",
        ];
        for (line, path, attributes) in config.rules.iter().filter(|(_, path, _)| !path.starts_with('!')) {
            for wanted in &self.attributes {
                let ok = attributes.contains(wanted);
                outcome.expect(
                    ok,
                    format!("{AIDE_CONF}:{line} {path}"),
                    wanted,
                    attributes.join("+"),
                );
            }
            for weak in HASHES
                .iter()
                .filter(|weak| !self.hashes.is_empty() && attributes.iter().any(|a| a == *weak))
            {
                outcome.expect(
                    false,
                    format!("{AIDE_CONF}:{line} {path}"),
                    self.hashes.join(" or "),
                    *weak,
                );
            }
        }
    }

    fn schedule(&self, ctx: &Ctx<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
        let dirs = [
            "/etc/cron.d",
            "/etc/cron.daily",
            "/etc/cron.weekly",
            "/etc/cron.hourly",
            "/var/spool/cron",
        ];
        ctx.prefetch(dirs.iter().map(|dir| Want::Dir((*dir).to_owned())));
        ctx.prefetch([
            Want::Unit("aidecheck.timer".into()),
            Want::Unit("aide-check.timer".into()),
            Want::Text("/etc/crontab".into()),
        ]);
        let mut paths = vec!["/etc/crontab".to_owned()];
        for dir in dirs {
            paths.extend(
                ctx.dir(dir)?
                    .unwrap_or_default()
                    .iter()
                    .map(|name| format!("{dir}/{name}")),
            );
        }
        let mut found = None;
        for (path, text) in ctx.texts(&paths)? {
            for (number, line) in plain_lines(text) {
                let runs = line.contains("aide") && (line.contains("--check") || line.contains(" -C"));
                if runs && (!self.mailed || line.contains("mail")) {
                    found = Some(format!("{path}:{number}: {line}"));
                }
            }
        }
        if found.is_none() && !self.mailed {
            for unit in ["aidecheck.timer", "aide-check.timer"] {
                let state = ctx.unit(unit)?;
                if state.file.is_some() && !state.masked && !state.enabled_by.is_empty() {
                    found = Some(format!("{unit} is enabled"));
                }
            }
        }
        let expected = if self.mailed {
            "a cron job that mails aide --check"
        } else {
            "a cron job or timer for aide --check"
        };
        outcome.expect(
            found.is_some(),
            "cron, timers",
            expected,
            found.unwrap_or_else(|| "none".to_owned()),
        );
        Ok(())
    }
}

struct AideConfig {
    database: Option<String>,
    rules: Vec<(usize, String, Vec<String>)>,
}

/// Reads aide.conf: groups are resolved into attributes, `@@define`d names into values.
fn aide_config(text: &str) -> AideConfig {
    let mut config = AideConfig {
        database: None,
        rules: Vec::new(),
    };
    let mut defines: Vec<(String, String)> = Vec::new();
    let mut groups: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    // `R` and others are built in (aide.conf(5)).
    let builtin = |name: &str| match name {
        "R" => "p+i+n+u+g+s+m+c+acl+selinux+xattrs+md5",
        "L" => "p+i+n+u+g+acl+selinux+xattrs",
        ">" => "p+u+g+i+n+S+acl+selinux+xattrs",
        _ => "",
    };
    let expand = |expression: &str, groups: &std::collections::BTreeMap<String, Vec<String>>| {
        let mut out: Vec<String> = Vec::new();
        for part in expression
            .split('+')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match groups.get(part) {
                Some(inner) => out.extend(inner.iter().cloned()),
                None if !builtin(part).is_empty() => out.extend(builtin(part).split('+').map(str::to_owned)),
                None => out.push(part.to_owned()),
            }
        }
        out
    };
    for (number, line) in plain_lines(text) {
        if let Some(rest) = line.strip_prefix("@@define ") {
            if let Some((name, value)) = rest.trim().split_once(char::is_whitespace) {
                defines.push((format!("@@{{{name}}}"), value.trim().to_owned()));
            }
            continue;
        }
        let mut line = line.to_owned();
        for (name, value) in &defines {
            line = line.replace(name, value);
        }
        if line.starts_with('/') || line.starts_with("=/") {
            if let Some((path, attributes)) = line.trim_start_matches('=').split_once(char::is_whitespace) {
                config
                    .rules
                    .push((number, path.to_owned(), expand(attributes, &groups)));
            }
        } else if let Some((name, value)) = line.split_once('=') {
            let (name, value) = (name.trim(), value.trim());
            if matches!(name, "database" | "database_in") {
                config.database = value.strip_prefix("file:").map(|path| path.replace("//", "/"));
            } else {
                let expanded = expand(value, &groups);
                groups.insert(name.to_owned(), expanded);
            }
        }
    }
    config
}

/// A value of a file that holds just one (`/proc`, `/sys`), or a word in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KernelFile {
    /// The file.
    pub path: String,
    /// Its whole content (white space trimmed) must be so.
    pub expect: Expect,
    /// The word must be in it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub word: String,
}

impl KernelFile {
    pub(super) fn validate(&self) -> Result<(), String> {
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        let Some(text) = ctx.text(&self.path)? else {
            return Ok(Outcome::not_applicable(format!(
                "the running kernel has no {}",
                self.path
            )));
        };
        let mut outcome = Outcome::start();
        if self.word.is_empty() {
            outcome.expect(self.expect.holds(text), &self.path, self.expect.describe(), text);
        } else {
            let ok = text
                .split(|c: char| c.is_whitespace() || "[],".contains(c))
                .any(|word| word == self.word);
            outcome.expect(
                ok,
                &self.path,
                &self.word,
                if ok { self.word.as_str() } else { "not there" },
            );
        }
        Ok(outcome.because("as wanted"))
    }
}

/// Where a symbolic link points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// The links; the first that exists counts.
    pub paths: Vec<String>,
    /// What the target must be.
    pub expect: Expect,
}

impl Link {
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.paths.is_empty() {
            return Err("no paths".into());
        }
        self.expect.validate()
    }

    pub(super) fn evaluate(&self, ctx: &Ctx<'_>) -> Result<Outcome, Stop> {
        ctx.prefetch(self.paths.iter().map(|path| Want::Link(path.clone())));
        let mut outcome = Outcome::start();
        for path in &self.paths {
            if let Some(target) = ctx.link(path)? {
                outcome.expect(self.expect.holds(target), path, self.expect.describe(), target);
                return Ok(outcome.because(format!("{path} points to {target}")));
            }
        }
        Ok(Outcome::not_applicable(format!(
            "no link {}",
            self.paths.join(" or ")
        )))
    }
}

#[cfg(test)]
#[path = "system_tests.rs"]
mod tests;
