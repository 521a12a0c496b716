//! Settings that have a tool of their own: PAM, firewall, crypto policy.

use super::super::edit::{DISABLED, ENABLED, Edit, LineEdit, Locator, Tool};
use super::{Draft, State, blocked, differs, not_applicable, satisfied};
use crate::policy::value::KeyPath;

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
        let config = "/etc/crypto-policies/config";
        if self.host.read(config).is_none() {
            return not_applicable("crypto-policies is not installed");
        }
        let current = Tool::CryptoPolicy.current(self.host).unwrap_or_default();
        if self.good_enough(&KeyPath::new(&["crypto", "policy"]), policy, &current) {
            return satisfied(current);
        }
        let base = policy.split(':').next().unwrap_or(policy);
        if self
            .host
            .stat(&format!("/usr/share/crypto-policies/policies/{base}.pol"))
            .is_none()
        {
            return blocked(format!("this release has no crypto policy {base}"));
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
        // In an image: what update-crypto-policies does for a policy without sub-policies.
        for file in [config, "/etc/crypto-policies/state/current"] {
            if self
                .host
                .read(file)
                .is_some_and(|text| text.lines().any(|line| line == current))
            {
                let edit = LineEdit {
                    locator: Locator::Prefix {
                        prefix: current.clone(),
                    },
                    before: Some(current.clone()),
                    after: Some(policy.to_owned()),
                    added: Vec::new(),
                    removed: Vec::new(),
                    separator: ' ',
                };
                self.line(file, edit);
            }
        }
        for name in self.host.list("/etc/crypto-policies/back-ends") {
            let path = format!("/etc/crypto-policies/back-ends/{name}");
            let Some(stem) = name.strip_suffix(".config") else {
                continue;
            };
            let target = format!("/usr/share/crypto-policies/{policy}/{stem}.txt");
            let before = self.host.link(&path);
            if before.is_some() && before.as_deref() != Some(&target) && self.host.stat(&target).is_some() {
                self.edits.push(Edit::Link {
                    path,
                    before,
                    after: target,
                });
            }
        }
        differs(current)
    }
}
