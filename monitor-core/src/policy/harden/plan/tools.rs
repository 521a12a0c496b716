//! Settings that have a tool of their own: PAM, firewall, crypto policy.

use super::super::edit::{CRYPTO_CONFIG, DISABLED, ENABLED, Edit, LineEdit, Locator, Tool};
use super::{Draft, State, blocked, differs, not_applicable, satisfied};
use crate::policy::value::KeyPath;

/// The policies' own definitions, and each one's text for each back end.
const PROFILES: &str = "/usr/share/crypto-policies";
/// Policies of the site, beside the release's.
const SITE: &str = "/etc/crypto-policies";
/// What is in force.
const STATE: &str = "/etc/crypto-policies/state";
/// What programs read.
const BACK_ENDS: &str = "/etc/crypto-policies/back-ends";
/// What the host adds to back ends' texts.
const LOCAL: &str = "/etc/crypto-policies/local.d";

impl Draft<'_> {
    /// PAM is never edited by hand: authselect would take it back, and a slip locks everybody out.
    pub(super) fn pam(&mut self, feature: &str, enabled: bool) -> State {
        let tool = Tool::Authselect {
            feature: feature.to_owned(),
        };
        let config = "/etc/authselect/authselect.conf";
        let text = self.host.read(config).unwrap_or_default();
        let (Some(current), Some(profile)) = (tool.current(self.host), text.lines().next()) else {
            if self.host.stat("/usr/bin/authselect").is_none() {
                return not_applicable("authselect is not installed");
            }
            return blocked("PAM is not managed by authselect: `authselect select PROFILE` first");
        };
        let wanted = if enabled { ENABLED } else { DISABLED };
        if current == wanted {
            return satisfied(current);
        }
        let directory = match profile.trim().strip_prefix("custom/") {
            Some(own) => format!("/etc/authselect/custom/{own}"),
            None => format!("/usr/share/authselect/default/{}", profile.trim()),
        };
        let quoted = format!("\"{feature}\"");
        let known = self.host.list(&directory).iter().any(|file| {
            self.host
                .read(&format!("{directory}/{file}"))
                .is_some_and(|text| text.contains(&quoted))
        });
        if enabled && !known {
            return not_applicable(format!("profile {} has no feature {feature}", profile.trim()));
        }
        if !self.host.is_live() {
            return blocked("authselect builds PAM's files: run it in the image");
        }
        self.edits.push(Edit::Tool {
            tool,
            before: current.clone(),
            after: wanted.to_owned(),
        });
        differs(current)
    }

    pub(super) fn firewall(&mut self, zone: &str) -> State {
        let config = "/etc/firewalld/firewalld.conf";
        let Some(current) = Tool::FirewallZone.current(self.host) else {
            return not_applicable("firewalld is not installed");
        };
        if current == zone {
            return satisfied(current);
        }
        let known = ["/etc/firewalld/zones", "/usr/lib/firewalld/zones"]
            .iter()
            .any(|directory| self.host.stat(&format!("{directory}/{zone}.xml")).is_some());
        if !known {
            return blocked(format!("there is no zone {zone}"));
        }
        if self.host.is_live() {
            self.notes.push(format!(
                "what zone {zone} does not allow is closed on all interfaces without a zone of their own"
            ));
            self.edits.push(Edit::Tool {
                tool: Tool::FirewallZone,
                before: current.clone(),
                after: zone.to_owned(),
            });
        } else {
            let line = LineEdit {
                locator: Locator::Prefix {
                    prefix: "DefaultZone=".to_owned(),
                },
                before: Some(format!("DefaultZone={current}")),
                after: Some(format!("DefaultZone={zone}")),
                added: Vec::new(),
                removed: Vec::new(),
                separator: ' ',
            };
            self.line(config, line);
        }
        differs(current)
    }

    pub(super) fn crypto(&mut self, policy: &str) -> State {
        // As the tool reads it.
        let policy = policy.to_ascii_uppercase();
        let policy = policy.as_str();
        if self.host.read(CRYPTO_CONFIG).is_none() {
            return not_applicable("crypto-policies is not installed");
        }
        let current = Tool::CryptoPolicy.current(self.host).unwrap_or_default();
        if self.good_enough(&KeyPath::new(&["crypto", "policy"]), policy, &current) {
            return satisfied(current);
        }
        if let Some(missing) = self.crypto_unknown(policy) {
            return blocked(format!("this host has no crypto {missing}"));
        }
        if self.host.is_live() {
            self.edits.push(Edit::Tool {
                tool: Tool::CryptoPolicy,
                before: current.clone(),
                after: policy.to_owned(),
            });
            return differs(current);
        }
        if policy.contains(':') || current.contains(':') {
            return blocked("sub-policies are built by update-crypto-policies: run it in the image");
        }
        match self.crypto_of_an_image(&current, policy) {
            Ok(edits) => self.edits.extend(edits),
            Err(why) => return blocked(format!("{why}: run update-crypto-policies in the image")),
        }
        self.notes.push(format!(
            "{STATE}/CURRENT.pol still describes {current}: update-crypto-policies writes it, as each update of crypto-policies does"
        ));
        differs(current)
    }

    /// The policy or sub-policy that has no file, the release's or the site's own.
    fn crypto_unknown(&self, policy: &str) -> Option<String> {
        let is_there = |file: &str| {
            [PROFILES, SITE]
                .iter()
                .any(|directory| self.host.stat(&format!("{directory}/policies/{file}")).is_some())
        };
        policy
            .split(':')
            .filter(|name| !name.is_empty())
            .enumerate()
            .find_map(|(n, name)| match n {
                0 => (!is_there(&format!("{name}.pol"))).then(|| format!("policy {name}")),
                _ => (!is_there(&format!("modules/{name}.pmod"))).then(|| format!("sub-policy {name}")),
            })
    }

    /// In an image: what update-crypto-policies does for a policy without sub-policies. The error says what only it can do.
    fn crypto_of_an_image(&self, current: &str, policy: &str) -> Result<Vec<Edit>, String> {
        let mut edits = Vec::new();
        for name in self.host.list(BACK_ENDS) {
            let path = format!("{BACK_ENDS}/{name}");
            let Some(stem) = name.strip_suffix(".config") else {
                continue;
            };
            let target = format!("{PROFILES}/{policy}/{stem}.txt");
            let Some(after) = self.host.read(&target) else {
                return Err(format!("{target} is not there"));
            };
            match self.host.link(&path) {
                Some(before) if before == target => {}
                before @ Some(_) => edits.push(Edit::Link {
                    path,
                    before,
                    after: target,
                }),
                None => edits.extend(self.merged(&path, stem, current, &after)?),
            }
        }
        // The file that says which policy there is comes last: until then nobody takes half of it for the whole.
        for file in [format!("{STATE}/current"), CRYPTO_CONFIG.to_owned()] {
            let Some(text) = self.host.read(&file) else {
                continue;
            };
            let says = |name: &str| {
                text.lines()
                    .find(|line| !line.starts_with('#') && line.trim().eq_ignore_ascii_case(name))
            };
            if says(policy).is_some() {
                continue;
            }
            let line = says(current).ok_or_else(|| format!("{file} has no line {current} alone"))?;
            edits.push(whole_line(&file, line, policy));
        }
        Ok(edits)
    }

    /// A back end's file that holds the profile's text and the host's own additions (p11-kit's for NSS, on every EL).
    fn merged(&self, path: &str, stem: &str, current: &str, after: &str) -> Result<Vec<Edit>, String> {
        let text = self.host.read(path).unwrap_or_default();
        let profile = format!("{PROFILES}/{current}/{stem}.txt");
        let before = self.host.read(&profile).unwrap_or_default();
        let own = self.host.list(LOCAL).into_iter().filter(|name| {
            name.strip_suffix(".config")
                .and_then(|name| name.strip_prefix(stem))
                .is_some_and(|rest| rest.starts_with('-'))
        });
        let own: String = own
            .filter_map(|name| self.host.read(&format!("{LOCAL}/{name}")))
            .collect();
        if before.lines().count() != after.lines().count() {
            return Err(format!("{path} gets another number of lines"));
        }
        // Some lines may be the new ones already: an earlier run was interrupted.
        let own: Vec<&str> = own.lines().collect();
        let pairs = || before.lines().zip(after.lines());
        let is_one_of = |line: &str, (before, after): (&str, &str)| line == before || line == after;
        let as_expected = text.lines().count() == before.lines().count() + own.len()
            && text
                .lines()
                .zip(pairs())
                .all(|(line, pair)| is_one_of(line, pair))
            && text.lines().skip(before.lines().count()).eq(own.iter().copied());
        if !as_expected {
            return Err(format!("{path} is not {profile} with what {LOCAL} adds"));
        }
        Ok(text
            .lines()
            .zip(pairs())
            .filter(|(line, (_, after))| line != after)
            .map(|(line, (_, after))| whole_line(path, line, after))
            .collect())
    }
}

/// One line in the place of another.
fn whole_line(path: &str, before: &str, after: &str) -> Edit {
    Edit::Line {
        path: path.to_owned(),
        line: LineEdit {
            locator: Locator::Prefix {
                prefix: before.trim_start().to_owned(),
            },
            before: Some(before.to_owned()),
            after: Some(after.to_owned()),
            added: Vec::new(),
            removed: Vec::new(),
            separator: ' ',
        },
    }
}
